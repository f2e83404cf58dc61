//! Executors: what runs an attempt. The registry of the attempts that run on this node.
//!
//! An attempt is one task. It loads its job, runs the executor of its kind, and reports; it ends only when nothing that it
//! started runs any more. Orders reach it through a channel; its commits go through the core, which asks the metastore
//! under the attempt's fence.
//!
//! | kind | runs |
//! |---|---|
//! | `build` | the steps of an index build, in a worker process |
//! | `command` | a program with arguments, below a worker process, on nodes that allow it by `kirin.command.enabled` |
//! | `probe` | nothing at all, in steps: for measuring and for trying things out |

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kirin_core::ask::{Fence, JobId};
use kirin_core::effect::Why;
use kirin_core::event::End;
use kirin_core::{Capabilities, Member, Outcome, Time};
use kirin_metastore::{EndReport, JobInfo, StepInfo, StepReport, Store, StoreError};
use kirin_plant::Defence;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use kirin_shell::CoreHandle;
use kirin_shell::clock::{Clock, wall_ms};

pub mod build;
pub mod children;
pub mod command;
mod deadline;
pub mod entry;
pub mod kind;
pub mod log;
pub mod probe;
pub mod protocol;
pub mod work;
pub mod worker;
pub mod working_dir;

pub use kind::{Covers, OwnEndpoint};
pub use log::BoundedLog;
pub use working_dir::WorkingDir;

use kind::Kind;

/// The kinds whose attempts run in worker processes.
pub static KINDS: [&Kind; 2] = [&build::KIND, &command::KIND];

/// Runs the attempts at jobs of one kind.
pub trait Executor: Send + Sync {
    /// The kind's name in the API.
    fn kind(&self) -> &'static str;

    /// Kylin's name for the type of a job with this specification.
    fn job_type(&self, spec: &Value) -> &'static str;

    /// Where clients submit such jobs, if they have an endpoint of their own.
    fn own_endpoint(&self) -> Option<OwnEndpoint> {
        None
    }

    /// Whether an attempt has side effects that the metastore can't refuse.
    fn is_external(&self) -> bool;

    /// What a node must be able to do to run such a job. A node without it accepts the job and leaves it to others.
    fn needs(&self) -> Capabilities;

    /// Checks the specification of a job before it is accepted, and names its steps.
    ///
    /// # Errors
    /// What is wrong with it and what to do.
    fn steps(&self, spec: &Value) -> Result<Vec<String>, String>;

    /// The segment that such a job builds, if it builds one.
    fn covers(&self, _spec: &Value) -> Option<Covers> {
        None
    }

    /// Checks what must hold when an attempt begins.
    ///
    /// # Errors
    /// Why the job cannot succeed.
    fn precondition<'a>(&'a self, _store: &'a Store, _job: &'a JobInfo) -> BoxFuture<'a, Result<(), String>> {
        async { Ok(()) }.boxed()
    }

    /// Runs one attempt. Returns when nothing of it runs any more, also when it was stopped.
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Ended>;
}

/// The names of these capabilities: those of the kinds of job that need them.
pub fn capable_of(of: Capabilities) -> Vec<&'static str> {
    KINDS.iter().filter(|kind| of.covers(kind.needs)).map(|kind| kind.name).collect()
}

/// The names of these capabilities, for people.
pub fn capability_names(of: Capabilities) -> String {
    let named = capable_of(of);
    if named.is_empty() { "nothing special".to_owned() } else { named.join(", ") }
}

/// How an executor ends an attempt.
pub enum Ended {
    /// All steps are committed.
    Done(EndReport),
    /// A step failed, with this text for people.
    Failed(String),
    /// What the job was for does not exist any more.
    Vanished(String),
    /// It was stopped.
    Stopped,
}

/// What the core says to a running attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The step before this one is committed.
    Proceed(u32),
    /// Stop, kill what runs.
    Stop(Why),
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// The step is committed.
    On,
    /// Stop.
    Stop,
}

/// One attempt, as its executor sees it.
pub struct Attempt {
    /// The right to write.
    pub fence: Fence,
    /// As which member.
    pub by: Member,
    /// The job.
    pub job: JobInfo,
    /// The steps that are committed, by whichever attempt.
    pub done: Vec<StepInfo>,
    /// Where this attempt, and no other, writes its files.
    pub dir: PathBuf,
    /// Where its output goes.
    pub log: BoundedLog,
    clock: Clock,
    mind: CoreHandle,
    store: Store,
    orders: Orders,
    retry: Retry,
    checked: Option<WorkingDir>,
}

/// How often a failed step is tried again within an attempt, and after which pause.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retry {
    /// `kylin.job.retry`.
    pub times: u32,
    /// `kylin.job.retry-interval`.
    pub after: Duration,
}

/// What the core says to the attempt.
struct Orders {
    inbox: mpsc::UnboundedReceiver<Order>,
    stopped: Option<Why>,
}

impl Orders {
    async fn next(&mut self) -> Order {
        if let Some(why) = self.stopped {
            return Order::Stop(why);
        }
        // A registry that is gone means that the node is ending.
        let order = self.inbox.recv().await.unwrap_or(Order::Stop(Why::Drained));
        if let Order::Stop(why) = order {
            self.stopped = Some(why);
        }
        order
    }

    async fn stop(&mut self) -> Why {
        loop {
            if let Order::Stop(why) = self.next().await {
                return why;
            }
        }
    }
}

impl Attempt {
    /// Has a step's result committed and waits for the word to go on.
    pub async fn commit(&mut self, step: u32, report: StepReport) -> Go {
        self.mind.step_ended(self.fence, step, report);
        loop {
            match self.orders.next().await {
                Order::Proceed(next) if next > step => return Go::On,
                Order::Proceed(_) => {}
                Order::Stop(_) => return Go::Stop,
            }
        }
    }

    /// Until when this node may let side effects happen that the metastore can't refuse.
    pub fn trust(&self) -> Trust {
        Trust { clock: self.clock, until: self.mind.trusted_until() }
    }

    /// Returns when the attempt has to stop.
    pub async fn stop(&mut self) -> Why {
        self.orders.stop().await
    }

    /// Has the working directory checked. Whether what this attempt has written there is where other nodes read it.
    pub async fn dir_suits(&self, kind: &Kind) -> bool {
        match &self.checked {
            Some(dir) => dir.check().await.suits(kind),
            None => true,
        }
    }

    /// After a failure: waits for the next try and reads what is committed by then. False if there is none, or if the node's
    /// working directory does not suit this kind: then no try on this node can succeed.
    pub async fn try_again(&mut self, kind: &Kind, failure: &str) -> bool {
        if self.retry.times == 0 {
            return false;
        }
        if !self.dir_suits(kind).await {
            return false;
        }
        self.retry.times -= 1;
        tracing::info!(job = %self.job.uuid, failure, left = self.retry.times, "a step failed and is tried again");
        tokio::select! {
            biased;
            _ = self.orders.stop() => return false,
            () = tokio::time::sleep(self.retry.after) => {}
        }
        match self.store.steps(self.fence.job).await {
            Ok(done) => {
                self.done = done;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "what is committed can't be read, so nothing is tried again");
                false
            }
        }
    }

    /// Reports how far the step is, in per mille of the whole job. Best effort: the metastore refuses it under a stale fence.
    pub fn progress(&self, per_mille: u32) {
        let (store, fence, by) = (self.store.clone(), self.fence, self.by);
        tokio::spawn(async move {
            if let Err(error) = store.progress(fence, by, per_mille).await {
                tracing::debug!(%error, ?fence, "progress could not be reported");
            }
        });
    }
}

/// Until when a node trusts itself, for processes that must not outlive that.
pub struct Trust {
    clock: Clock,
    until: watch::Receiver<Time>,
}

impl Trust {
    /// The moment, in microseconds of this machine's boot time.
    pub fn until_us(&mut self) -> u64 {
        let until = *self.until.borrow_and_update();
        u64::try_from(self.clock.boot_time_of(until).as_micros()).unwrap_or(u64::MAX)
    }

    /// Waits for a later one. `None` if the node has ended.
    pub async fn renewed_us(&mut self) -> Option<u64> {
        self.until.changed().await.ok()?;
        Some(self.until_us())
    }
}

/// The executors of a node and the attempts that run.
#[derive(Clone)]
pub struct Attempts {
    store: Store,
    executors: Arc<[Arc<dyn Executor>]>,
    clock: Clock,
    working_dir: Arc<Path>,
    loads: mpsc::UnboundedSender<Load>,
    retry: Retry,
    checked: Option<WorkingDir>,
    running: Arc<Mutex<BTreeMap<Fence, mpsc::UnboundedSender<Order>>>>,
}

impl Attempts {
    /// No attempts yet.
    pub fn new(
        store: Store,
        clock: Clock,
        working_dir: &Path,
        executors: Vec<Arc<dyn Executor>>,
        retry: Retry,
    ) -> Self {
        let (loads, inbox) = mpsc::unbounded_channel();
        tokio::spawn(load(store.clone(), inbox));
        let (executors, working_dir) = (executors.into(), working_dir.into());
        Self { store, executors, clock, working_dir, loads, retry, checked: None, running: Arc::default() }
    }

    /// Has the working directory checked after each failure, before it is reported.
    #[must_use]
    pub fn checking(self, dir: WorkingDir) -> Self {
        Self { checked: Some(dir), ..self }
    }

    /// Where the logs of a job's steps are, those of all attempts together.
    pub fn log_dir(&self, job: &JobInfo) -> PathBuf {
        job_dir(&self.working_dir, &job.project, job.uuid).join("log")
    }

    /// The executor of that kind.
    ///
    /// # Errors
    /// The kinds that there are.
    pub fn executor(&self, kind: &str) -> Result<&Arc<dyn Executor>, String> {
        self.executors.iter().find(|e| e.kind() == kind).ok_or_else(|| {
            let kinds: Vec<_> = self.executors.iter().map(|e| e.kind()).collect();
            format!("there is no kind of job named '{kind}' on this node; use one of: {}", kinds.join(", "))
        })
    }

    /// Kylin's name for the type of such a job; the kind's own name if this node does not know the kind.
    pub fn job_type(&self, kind: &str, spec: &Value) -> String {
        self.executor(kind).map_or_else(|_| kind.to_ascii_uppercase(), |executor| executor.job_type(spec).to_owned())
    }

    /// Starts the attempt at step `step`.
    pub fn begin(&self, mind: &CoreHandle, by: Member, fence: Fence, step: u32) {
        let (orders, inbox) = mpsc::unbounded_channel();
        self.running().insert(fence, orders);
        let (attempts, mind) = (self.clone(), mind.clone());
        tokio::spawn(async move {
            let run = AssertUnwindSafe(attempts.run(&mind, by, fence, step, inbox)).catch_unwind();
            let ended =
                run.await.unwrap_or_else(|_| Ended::Failed("the executor broke; see the node's log".to_owned()));
            if let (Ended::Failed(failure), Some(dir)) = (&ended, &attempts.checked)
                && let Some(trouble) = dir.check().await.trouble()
            {
                tracing::warn!(
                    ?fence,
                    failure,
                    trouble,
                    "an attempt failed while the working directory is out of order"
                );
            }
            attempts.running().remove(&fence);
            let (end, report) = match ended {
                Ended::Done(report) => (End::Ran(Outcome::Succeeded), report),
                Ended::Failed(text) => (End::Ran(Outcome::Failed), failure(text)),
                Ended::Vanished(text) => (End::Ran(Outcome::Vanished), failure(text)),
                Ended::Stopped => (End::Stopped, EndReport::default()),
            };
            mind.attempt_ended(fence, end, report);
        });
    }

    /// The attempt's last step is committed.
    pub fn proceed(&self, fence: Fence, step: u32) {
        if let Some(orders) = self.running().get(&fence) {
            let _ = orders.send(Order::Proceed(step));
        }
    }

    /// Stops the attempt. If none runs, says so.
    pub fn cancel(&self, mind: &CoreHandle, fence: Fence, why: Why) {
        match self.running().get(&fence) {
            Some(orders) => {
                let _ = orders.send(Order::Stop(why));
            }
            None => mind.attempt_ended(fence, End::Stopped, EndReport::default()),
        }
    }

    /// Stops whatever runs.
    pub fn stop_all(&self, why: Why) {
        for orders in self.running().values() {
            let _ = orders.send(Order::Stop(why));
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<Fence, mpsc::UnboundedSender<Order>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(
        &self,
        mind: &CoreHandle,
        by: Member,
        fence: Fence,
        step: u32,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Ended {
        let mut orders = Orders { inbox: orders, stopped: None };
        let loaded = tokio::select! {
            biased;
            _ = orders.stop() => return Ended::Stopped,
            loaded = self.load(fence.job, step) => loaded,
        };
        let Some((job, done)) = loaded else {
            return Ended::Failed("the job's row is gone".to_owned());
        };
        let executor = match self.executor(&job.kind) {
            Ok(executor) => executor.clone(),
            Err(error) => return Ended::Failed(error),
        };
        if let Err(why) = executor.precondition(&self.store, &job).await {
            return Ended::Failed(why);
        }
        let dir = attempt_dir(&self.working_dir, &job, fence);
        let log = BoundedLog::at(self.log_dir(&job));
        let (clock, mind, store, retry) = (self.clock, mind.clone(), self.store.clone(), self.retry);
        let checked = self.checked.clone();
        executor.run(Attempt { fence, by, job, done, dir, log, clock, mind, store, orders, retry, checked }).await
    }

    /// Reads the job and its committed steps, for as long as it takes: the attempt is this node's until somebody says
    /// otherwise, and then it is stopped.
    async fn load(&self, job: JobId, steps: u32) -> Option<(JobInfo, Vec<StepInfo>)> {
        loop {
            let loaded = async {
                let (reply, answer) = oneshot::channel();
                // Both ends of the channel live as long as the node.
                let _ = self.loads.send(Load { job, reply });
                let info = answer.await.unwrap_or(Ok(None))?;
                let done = if steps == 0 { Vec::new() } else { self.store.steps(job).await.map_err(Arc::new)? };
                Ok::<_, Arc<StoreError>>((info, done))
            };
            match loaded.await {
                Ok((info, done)) => return info.map(|info| (info, done)),
                Err(error) => {
                    tracing::warn!(%error, ?job, "a job can't be loaded yet");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }
}

/// A job that an attempt wants to read.
struct Load {
    job: JobId,
    reply: oneshot::Sender<Result<Option<JobInfo>, Arc<StoreError>>>,
}

/// So many jobs are read at once, at most.
const LOAD_BATCH: usize = 512;

/// Reads jobs for attempts: those that are wanted while a question is under way share the next one.
async fn load(store: Store, mut inbox: mpsc::UnboundedReceiver<Load>) {
    let mut wanted = Vec::new();
    while inbox.recv_many(&mut wanted, LOAD_BATCH).await > 0 {
        let ids: Vec<_> = wanted.iter().map(|load| load.job).collect();
        let jobs = store.jobs_by_id(&ids).await.map_err(Arc::new);
        let jobs = jobs.map(|jobs| jobs.into_iter().map(|job| (job.row.id, job)).collect::<BTreeMap<_, _>>());
        for load in wanted.drain(..) {
            let found = jobs.as_ref().map(|jobs| jobs.get(&load.job).cloned()).map_err(Clone::clone);
            // An attempt that was stopped meanwhile does not wait any more.
            let _ = load.reply.send(found);
        }
    }
}

fn failure(text: String) -> EndReport {
    EndReport { failure: Some(text), publish: Vec::new() }
}

/// Where the files of a job are.
pub fn job_dir(working_dir: &Path, project: &str, uuid: uuid::Uuid) -> PathBuf {
    working_dir.join(project).join("jobs").join(uuid.to_string())
}

fn attempt_dir(working_dir: &Path, job: &JobInfo, fence: Fence) -> PathBuf {
    let epoch = if Defence::AttemptPaths.is_missing() { 1 } else { fence.epoch.0 };
    job_dir(working_dir, &job.project, job.uuid).join(format!("attempt={epoch}"))
}

/// A step's report, with the times filled in.
pub fn report(name: &str, started_ms: i64, result: Value) -> StepReport {
    StepReport { name: name.to_owned(), result, started_ms, ended_ms: wall_ms() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_needs_a_capability_of_its_own() {
        for (at, kind) in KINDS.iter().enumerate() {
            assert_eq!(kind.needs.0.count_ones(), 1, "{}", kind.name);
            let others = KINDS[..at].iter();
            let same: Vec<_> = others.filter(|other| other.needs.covers(kind.needs)).map(|other| other.name).collect();
            assert!(same.is_empty(), "{} needs the same as {same:?}", kind.name);
            assert_eq!(capability_names(kind.needs), kind.name);
        }
        assert_eq!(capability_names(Capabilities::NONE), "nothing special");
    }
}
