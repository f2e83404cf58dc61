//! Group commit: requests of one kind that arrive during a transaction share the next one.
//!
//! Each kind has a lane. A lane runs one transaction at a time. A single request starts at once. Two requests for the
//! same job
//! never share a transaction, so that each sees the effect of the other. Every request has its own answer and its own
//! deadline.
//! A request that is still queued at its deadline certainly did not happen. The same holds for a request that was
//! queued so
//! long that too little time was left for its transaction.
//!
//! If the metastore refuses a transaction because of the data of one request, the transaction is split in two, and so
//! on until
//! that request is alone. It gets the reason, and the others are not affected. A batch stays below the server's limit
//! for one
//! statement.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use kirin_core::Answer;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::commit::{Finish, Finishes, Release, Releases, Step, Steps};
use crate::error::{Fault, StoreError};
use crate::store::Inner;
use crate::submit::{NewJob, Submits, Submitted};
use crate::take::{Take, Takes};

/// The most requests of a batch. More would only make the transaction longer, not cheaper per request.
const BATCH_MAX: usize = 1000;

/// The most bytes of a batch. The server limits the size of a statement.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// The approximate size of a request's numbers in a statement, in bytes.
const ROW: usize = 200;

/// How long a transaction may take after its deadline to report its outcome.
const LAST_WORD: Duration = Duration::from_millis(50);

/// The lanes, once they are started.
#[derive(Default)]
pub(crate) struct Batches {
    takes: Lane<Take>,
    steps: Lane<Step>,
    finishes: Lane<Finish>,
    releases: Lane<Release>,
    submits: Lane<NewJob>,
}

struct Lane<R: Request>(OnceLock<mpsc::UnboundedSender<Waiting<R>>>);

impl<R: Request> Default for Lane<R> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

/// A request that can share a transaction with others.
pub(crate) trait Request: Clone + Send + Sync + 'static {
    type Out: Send + 'static;

    /// Requests with equal subjects never share a transaction.
    fn subject(&self) -> u128;

    /// Whether the request needs its own transaction.
    fn alone(&self) -> bool;

    /// The approximate number of bytes that it adds to a statement.
    fn size(&self) -> usize;

    /// Runs one transaction for all requests.
    fn carry(
        inner: &Inner,
        requests: &[Self],
        patience: Duration,
    ) -> impl Future<Output = Result<Vec<Self::Out>, Fault>> + Send;
}

/// The stage of a request. It can be cancelled only while it is queued.
const QUEUED: u8 = 0;
const UNDER_WAY: u8 = 1;
const GIVEN_UP: u8 = 2;

struct Waiting<R: Request> {
    request: R,
    deadline: Instant,
    stage: Arc<AtomicU8>,
    reply: oneshot::Sender<Result<R::Out, Fault>>,
}

impl Batches {
    /// Starts the lanes, which end with the store.
    pub(crate) fn start(&self, inner: &Arc<Inner>) {
        self.takes.start(inner);
        self.steps.start(inner);
        self.finishes.start(inner);
        self.releases.start(inner);
        self.submits.start(inner);
    }

    pub(crate) async fn take(inner: &Inner, take: Take) -> Result<Answer, Fault> {
        ask(inner, |batches| &batches.takes, take).await
    }

    pub(crate) async fn step(inner: &Inner, step: Step) -> Result<Answer, Fault> {
        ask(inner, |batches| &batches.steps, step).await
    }

    pub(crate) async fn finish(inner: &Inner, finish: Finish) -> Result<Answer, Fault> {
        ask(inner, |batches| &batches.finishes, finish).await
    }

    pub(crate) async fn release(inner: &Inner, release: Release) -> Result<Answer, Fault> {
        ask(inner, |batches| &batches.releases, release).await
    }

    pub(crate) async fn submit(inner: &Inner, job: NewJob) -> Result<Submitted, Fault> {
        ask(inner, |batches| &batches.submits, job).await
    }
}

/// Sends the request through its lane, if there is one, else as its own transaction.
async fn ask<R: Request>(inner: &Inner, lane: fn(&Batches) -> &Lane<R>, request: R) -> Result<R::Out, Fault> {
    let sender = inner.batches().and_then(|batches| lane(batches).0.get());
    let patience = inner.ask_timeout();
    let Some(sender) = sender else {
        let mut answers = Box::pin(R::carry(inner, &[request], patience)).await?;
        return answers
            .pop()
            .ok_or_else(|| Fault::Maybe(StoreError::Corrupt("a transaction without answer".to_owned())));
    };
    let deadline = crate::clock::now() + patience;
    let stage = Arc::new(AtomicU8::new(QUEUED));
    let (reply, answer) = oneshot::channel();
    let closed = || StoreError::Unreachable("the metastore is closed".to_owned());
    if sender.send(Waiting { request, deadline, stage: stage.clone(), reply }).is_err() {
        return Err(Fault::Certain(closed()));
    }
    // The transaction has the same deadline and knows the outcome, so its report is awaited.
    match tokio::time::timeout_at(deadline + LAST_WORD, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(unsure(&stage, closed())),
        Err(_) => Err(unsure(&stage, StoreError::Late(patience))),
    }
}

/// Cancels a queued request, whose outcome is then certain.
fn unsure(stage: &AtomicU8, error: StoreError) -> Fault {
    match stage.compare_exchange(QUEUED, GIVEN_UP, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => Fault::Certain(error),
        Err(_) => Fault::Maybe(error),
    }
}

impl<R: Request> Lane<R> {
    fn start(&self, inner: &Arc<Inner>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        if self.0.set(sender).is_ok() {
            tokio::spawn(drive(Arc::downgrade(inner), receiver));
        }
    }
}

async fn drive<R: Request>(inner: Weak<Inner>, mut receiver: mpsc::UnboundedReceiver<Waiting<R>>) {
    let mut queue: VecDeque<Waiting<R>> = VecDeque::new();
    loop {
        if queue.is_empty() {
            match receiver.recv().await {
                Some(waiting) => queue.push_back(waiting),
                None => return,
            }
        }
        while let Ok(waiting) = receiver.try_recv() {
            queue.push_back(waiting);
        }
        let Some(inner) = inner.upgrade() else { return };
        let patience = inner.ask_timeout();
        let bytes_max = BATCH_BYTES_MAX.min(inner.work.packet_max() / 4);
        let batch = next(&mut queue, crate::clock::now() + patience / 4, patience, bytes_max);
        carry(&inner, batch).await;
    }
}

/// Runs the requests and answers them.
async fn carry<R: Request>(inner: &Inner, batch: Vec<Waiting<R>>) {
    let mut parts = vec![batch];
    while let Some(mut part) = parts.pop() {
        let Some(deadline) = part.iter().map(|waiting| waiting.deadline).min() else { continue };
        let requests: Vec<R> = part.iter().map(|waiting| waiting.request.clone()).collect();
        let answers = R::carry(inner, &requests, deadline.saturating_duration_since(crate::clock::now())).await;
        tracing::trace!(requests = requests.len(), "metastore batch");
        match answers {
            Ok(answers) => {
                for (waiting, answer) in part.into_iter().zip(answers) {
                    // A caller that timed out has dropped its end.
                    let _ = waiting.reply.send(Ok(answer));
                }
            }
            // The transaction was rolled back because of one of its requests.
            Err(Fault::Certain(error)) if error.is_final() && part.len() > 1 => {
                tracing::debug!(requests = part.len(), %error, "metastore batch is split");
                let rest = part.split_off(part.len() / 2);
                parts.push(rest);
                parts.push(part);
            }
            Err(fault) => {
                for waiting in part {
                    let _ = waiting.reply.send(Err(fault.again()));
                }
            }
        }
    }
}

/// The requests of the next transaction, in order of arrival. Requests that cannot be part of it stay in the queue.
/// Requests
/// with a deadline before `soonest` are cancelled.
fn next<R: Request>(
    queue: &mut VecDeque<Waiting<R>>,
    soonest: Instant,
    patience: Duration,
    bytes_max: usize,
) -> Vec<Waiting<R>> {
    let mut batch: Vec<Waiting<R>> = Vec::new();
    let mut bytes = 0;
    let mut subjects = BTreeSet::new();
    let mut left = VecDeque::new();
    while let Some(waiting) = queue.pop_front() {
        let size = waiting.request.size();
        let full = batch.len() >= BATCH_MAX
            || !batch.is_empty() && bytes + size > bytes_max
            || batch.first().is_some_and(|first| first.request.alone());
        let fits =
            !full && (batch.is_empty() || !waiting.request.alone()) && !subjects.contains(&waiting.request.subject());
        if !fits {
            // A later request for the same job must not overtake this one.
            subjects.insert(waiting.request.subject());
            left.push_back(waiting);
            if full {
                left.append(queue);
            }
            continue;
        }
        if waiting.deadline < soonest {
            let _ = waiting.reply.send(Err(Fault::Certain(StoreError::Late(patience))));
            continue;
        }
        let begun = waiting.stage.compare_exchange(QUEUED, UNDER_WAY, Ordering::SeqCst, Ordering::SeqCst);
        if begun.is_ok() {
            subjects.insert(waiting.request.subject());
            bytes += size;
            batch.push(waiting);
        }
    }
    *queue = left;
    batch.sort_by_key(|waiting| waiting.request.subject());
    batch
}

impl Request for Take {
    type Out = Answer;

    fn subject(&self) -> u128 {
        self.fence.job.0.into()
    }

    fn alone(&self) -> bool {
        self.in_order
    }

    fn size(&self) -> usize {
        ROW
    }

    async fn carry(inner: &Inner, requests: &[Self], patience: Duration) -> Result<Vec<Answer>, Fault> {
        inner.work.carry(&Takes(requests), patience).await
    }
}

impl Request for Step {
    type Out = Answer;

    fn subject(&self) -> u128 {
        self.fence.job.0.into()
    }

    fn alone(&self) -> bool {
        false
    }

    fn size(&self) -> usize {
        ROW + self.name.len() + self.result.as_ref().map_or(0, String::len)
    }

    async fn carry(inner: &Inner, requests: &[Self], patience: Duration) -> Result<Vec<Answer>, Fault> {
        inner.work.carry(&Steps(requests), patience).await
    }
}

impl Request for Finish {
    type Out = Answer;

    fn subject(&self) -> u128 {
        self.fence.job.0.into()
    }

    fn alone(&self) -> bool {
        self.touches_segments()
    }

    fn size(&self) -> usize {
        let texts = [&self.failure, &self.result].into_iter().flatten().map(String::len).sum::<usize>();
        ROW + texts + self.publish.iter().map(|publish| ROW + publish.manifest.len()).sum::<usize>()
    }

    async fn carry(inner: &Inner, requests: &[Self], patience: Duration) -> Result<Vec<Answer>, Fault> {
        inner.work.carry(&Finishes(requests), patience).await
    }
}

impl Request for Release {
    type Out = Answer;

    fn subject(&self) -> u128 {
        self.fence.job.0.into()
    }

    fn alone(&self) -> bool {
        false
    }

    fn size(&self) -> usize {
        ROW
    }

    async fn carry(inner: &Inner, requests: &[Self], patience: Duration) -> Result<Vec<Answer>, Fault> {
        inner.work.carry(&Releases(requests), patience).await
    }
}

impl Request for NewJob {
    type Out = Submitted;

    fn subject(&self) -> u128 {
        self.key
    }

    fn alone(&self) -> bool {
        !self.segments.is_empty()
    }

    fn size(&self) -> usize {
        ROW + [&self.kind, &self.subject, &self.submitter, &self.spec].into_iter().map(String::len).sum::<usize>()
    }

    async fn carry(inner: &Inner, requests: &[Self], patience: Duration) -> Result<Vec<Submitted>, Fault> {
        inner.work.carry(&Submits(requests), patience).await
    }
}

impl Fault {
    /// A copy for another request of the batch.
    fn again(&self) -> Self {
        let told = |error: &StoreError| match error {
            StoreError::Late(patience) => StoreError::Late(*patience),
            StoreError::Refused(why) => StoreError::Refused(why.clone()),
            StoreError::Busy(why) => StoreError::Busy(why.clone()),
            StoreError::TooLarge { bytes, limit } => StoreError::TooLarge { bytes: *bytes, limit: *limit },
            StoreError::Unusable(why) => StoreError::Unusable(why.clone()),
            other => StoreError::Unreachable(other.to_string()),
        };
        match self {
            Self::Again(error) => Self::Again(told(error)),
            Self::Certain(error) => Self::Certain(told(error)),
            Self::Maybe(error) => Self::Maybe(told(error)),
        }
    }
}
