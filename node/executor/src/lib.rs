//! Executors, which run attempts, and the registry of the attempts on this node.
//!
//! An attempt is one task. It loads its job, runs the executor of its kind, and reports. It ends only when all its
//! processes have ended. It receives orders through a channel. The core sends its commits to the metastore under the
//! attempt's fence.
//!
//! | kind | runs |
//! |---|---|
//! | `build` | the steps of an index build, in a worker process |
//! | `command` | a program with arguments, as a child of a worker process, on nodes with `kirin.command.enabled` |
//! | `probe` | steps that do nothing, for measurements and experiments |

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

    /// Kylin's type name of a job with this specification.
    fn job_type(&self, spec: &Value) -> &'static str;

    /// The endpoint for submits, if the kind has its own.
    fn own_endpoint(&self) -> Option<OwnEndpoint> {
        None
    }

    /// Whether an attempt has side effects that the metastore cannot refuse.
    fn is_external(&self) -> bool;

    /// The capabilities that a node needs to run such a job. A node without them accepts the job and leaves it to others.
    fn needs(&self) -> Capabilities;

    /// Checks the specification of a job before it is accepted, and returns the names of its steps.
    ///
    /// # Errors
    /// Why it is invalid, and what to do.
    fn steps(&self, spec: &Value) -> Result<Vec<String>, String>;

    /// The segment that such a job builds, if any.
    fn covers(&self, _spec: &Value) -> Option<Covers> {
        None
    }

    /// Checks the preconditions at the start of an attempt.
    ///
    /// # Errors
    /// Why the job cannot succeed.
    fn precondition<'a>(&'a self, _store: &'a Store, _job: &'a JobInfo) -> BoxFuture<'a, Result<(), String>> {
        async { Ok(()) }.boxed()
    }

    /// Runs one attempt. Returns after all its processes have ended, even if it was stopped.
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Ended>;
}

/// The names of these capabilities: those of the kinds of job that need them.
pub fn capable_of(of: Capabilities) -> Vec<&'static str> {
    KINDS.iter().filter(|kind| of.covers(kind.needs)).map(|kind| kind.name).collect()
}

/// The names of these capabilities, for users.
pub fn capability_names(of: Capabilities) -> String {
    let named = capable_of(of);
    if named.is_empty() { "nothing special".to_owned() } else { named.join(", ") }
}

/// The settings without which a node lacks some of these capabilities, separated by commas; empty if there are none.
pub fn settings_for(of: Capabilities) -> String {
    let kinds = KINDS.iter().filter(|kind| of.covers(kind.needs));
    kinds.filter_map(|kind| kind.setting).collect::<Vec<_>>().join(", ")
}

/// How an attempt ended.
pub enum Ended {
    /// All steps are committed.
    Done(EndReport),
    /// A step failed, with this message for users.
    Failed(String),
    /// The job's target no longer exists.
    Vanished(String),
    /// It was stopped.
    Stopped,
}

/// An order of the core to a running attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The step before this one is committed.
    Proceed(u32),
    /// Stop, and kill running processes.
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

/// An attempt, with everything that its executor needs.
pub struct Attempt {
    /// The right to write.
    pub fence: Fence,
    /// The member that holds the job.
    pub by: Member,
    /// The job.
    pub job: JobInfo,
    /// The committed steps of all attempts.
    pub done: Vec<StepInfo>,
    /// The directory of this attempt's files only.
    pub dir: PathBuf,
    /// The log of its output.
    pub log: BoundedLog,
    clock: Clock,
    core: CoreHandle,
    store: Store,
    orders: Orders,
    retry: Retry,
    checked: Option<WorkingDir>,
}

/// The retries of a failed step within an attempt, and the pause before each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retry {
    /// `kylin.job.retry`.
    pub times: u32,
    /// `kylin.job.retry-interval`.
    pub after: Duration,
}

/// The orders of the core to an attempt.
struct Orders {
    inbox: mpsc::UnboundedReceiver<Order>,
    stopped: Option<Why>,
}

impl Orders {
    async fn next(&mut self) -> Order {
        if let Some(why) = self.stopped {
            return Order::Stop(why);
        }
        // A dropped registry means that the node is exiting.
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
    /// Commits a step's result and waits for the order to proceed.
    pub async fn commit(&mut self, step: u32, report: StepReport) -> Go {
        self.core.step_ended(self.fence, step, report);
        loop {
            match self.orders.next().await {
                Order::Proceed(next) if next > step => return Go::On,
                Order::Proceed(_) => {}
                Order::Stop(_) => return Go::Stop,
            }
        }
    }

    /// The end of the node's trust, until which side effects are allowed that the metastore cannot refuse.
    pub fn trust(&self) -> Trust {
        Trust { clock: self.clock, until: self.core.trusted_until() }
    }

    /// Returns when the attempt must stop.
    pub async fn stop(&mut self) -> Why {
        self.orders.stop().await
    }

    /// Requests a check of the working directory. Returns whether other nodes can read what this attempt has written
    /// there.
    pub async fn dir_suits(&self, kind: &Kind) -> bool {
        match &self.checked {
            Some(dir) => dir.check().await.suits(kind),
            None => true,
        }
    }

    /// After a failure: waits for the next retry and reads the committed steps. False if no retry is left, or if the
    /// node's working directory does not suit this kind: then no retry on this node can succeed.
    pub async fn try_again(&mut self, kind: &Kind, failure: &str) -> bool {
        if self.retry.times == 0 {
            return false;
        }
        if !self.dir_suits(kind).await {
            return false;
        }
        self.retry.times -= 1;
        tracing::info!(job = %self.job.uuid, failure, left = self.retry.times, "retrying a failed step");
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
                tracing::warn!(%error, "cannot read the committed steps; the step is not retried");
                false
            }
        }
    }

    /// Reports the progress in per mille of the whole job. Best effort: the metastore refuses it under a stale fence.
    pub fn progress(&self, per_mille: u32) {
        let (store, fence, by) = (self.store.clone(), self.fence, self.by);
        tokio::spawn(async move {
            if let Err(error) = store.progress(fence, by, per_mille).await {
                tracing::debug!(%error, ?fence, "cannot report progress");
            }
        });
    }
}

/// The end of a node's trust, for processes that must not outlive it.
pub struct Trust {
    clock: Clock,
    until: watch::Receiver<Time>,
}

impl Trust {
    /// The end in microseconds since the machine's boot.
    pub fn until_us(&mut self) -> u64 {
        let until = *self.until.borrow_and_update();
        u64::try_from(self.clock.boot_time_of(until).as_micros()).unwrap_or(u64::MAX)
    }

    /// Waits for a later end. `None` if the node has ended.
    pub async fn renewed_us(&mut self) -> Option<u64> {
        self.until.changed().await.ok()?;
        Some(self.until_us())
    }
}

/// The executors of a node and its running attempts.
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
    /// A registry without attempts.
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

    /// Checks the working directory after each failure, before the failure is reported.
    #[must_use]
    pub fn checking(self, dir: WorkingDir) -> Self {
        Self { checked: Some(dir), ..self }
    }

    /// The directory of the logs of a job's steps, shared by all attempts.
    pub fn log_dir(&self, job: &JobInfo) -> PathBuf {
        job_dir(&self.working_dir, &job.project, job.uuid).join("log")
    }

    /// The executor of this kind.
    ///
    /// # Errors
    /// The kinds that exist.
    pub fn executor(&self, kind: &str) -> Result<&Arc<dyn Executor>, String> {
        self.executors.iter().find(|e| e.kind() == kind).ok_or_else(|| {
            let kinds: Vec<_> = self.executors.iter().map(|e| e.kind()).collect();
            format!("unknown kind of job '{kind}'; use one of: {}", kinds.join(", "))
        })
    }

    /// Kylin's type name of such a job; the kind's own name if this node does not know the kind.
    pub fn job_type(&self, kind: &str, spec: &Value) -> String {
        self.executor(kind).map_or_else(|_| kind.to_ascii_uppercase(), |executor| executor.job_type(spec).to_owned())
    }

    /// Starts the attempt at step `step`.
    pub fn begin(&self, core: &CoreHandle, by: Member, fence: Fence, step: u32) {
        let (orders, inbox) = mpsc::unbounded_channel();
        self.running().insert(fence, orders);
        let (attempts, core) = (self.clone(), core.clone());
        tokio::spawn(async move {
            let run = AssertUnwindSafe(attempts.run(&core, by, fence, step, inbox)).catch_unwind();
            let ended =
                run.await.unwrap_or_else(|_| Ended::Failed("the executor panicked; see the node's log".to_owned()));
            if let (Ended::Failed(failure), Some(dir)) = (&ended, &attempts.checked)
                && let Some(trouble) = dir.check().await.trouble()
            {
                tracing::warn!(?fence, failure, trouble, "an attempt failed while the working directory is unusable");
            }
            attempts.running().remove(&fence);
            let (end, report) = match ended {
                Ended::Done(report) => (End::Ran(Outcome::Succeeded), report),
                Ended::Failed(text) => (End::Ran(Outcome::Failed), failure(text)),
                Ended::Vanished(text) => (End::Ran(Outcome::Vanished), failure(text)),
                Ended::Stopped => (End::Stopped, EndReport::default()),
            };
            core.attempt_ended(fence, end, report);
        });
    }

    /// Reports that the attempt's last step is committed.
    pub fn proceed(&self, fence: Fence, step: u32) {
        if let Some(orders) = self.running().get(&fence) {
            let _ = orders.send(Order::Proceed(step));
        }
    }

    /// Stops the attempt. If it does not run, reports this to the core.
    pub fn cancel(&self, core: &CoreHandle, fence: Fence, why: Why) {
        match self.running().get(&fence) {
            Some(orders) => {
                let _ = orders.send(Order::Stop(why));
            }
            None => core.attempt_ended(fence, End::Stopped, EndReport::default()),
        }
    }

    /// Stops all attempts.
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
        core: &CoreHandle,
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
            return Ended::Failed("the job's row no longer exists".to_owned());
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
        let (clock, core, store, retry) = (self.clock, core.clone(), self.store.clone(), self.retry);
        let (id, kept, checked) = (job.row.id, log.clone(), self.checked.clone());
        let attempt = Attempt { fence, by, job, done, dir, log, clock, core, store, orders, retry, checked };
        let ended = executor.run(attempt).await;
        if let Ended::Failed(text) | Ended::Vanished(text) = &ended {
            // The log of the failed step ends with the reason.
            let at = self.store.steps(id).await.map_or(step, |done| u32::try_from(done.len()).unwrap_or(step));
            kept.line(at, text);
        }
        ended
    }

    /// Reads the job and its committed steps. Retries without limit, because the attempt belongs to this node until the
    /// core stops it.
    async fn load(&self, job: JobId, steps: u32) -> Option<(JobInfo, Vec<StepInfo>)> {
        loop {
            let loaded = async {
                let (reply, answer) = oneshot::channel();
                // Both ends of the channel exist as long as the node.
                let _ = self.loads.send(Load { job, reply });
                let info = answer.await.unwrap_or(Ok(None))?;
                let done = if steps == 0 { Vec::new() } else { self.store.steps(job).await.map_err(Arc::new)? };
                Ok::<_, Arc<StoreError>>((info, done))
            };
            match loaded.await {
                Ok((info, done)) => return info.map(|info| (info, done)),
                Err(error) => {
                    tracing::warn!(%error, ?job, "cannot load a job yet");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }
}

/// An attempt's request to read its job.
struct Load {
    job: JobId,
    reply: oneshot::Sender<Result<Option<JobInfo>, Arc<StoreError>>>,
}

/// The maximum number of jobs that are read at once.
const LOAD_BATCH: usize = 512;

/// Reads jobs for attempts. Requests that arrive during a query share the next one.
async fn load(store: Store, mut inbox: mpsc::UnboundedReceiver<Load>) {
    let mut wanted = Vec::new();
    while inbox.recv_many(&mut wanted, LOAD_BATCH).await > 0 {
        let ids: Vec<_> = wanted.iter().map(|load| load.job).collect();
        let jobs = store.jobs_by_id(&ids).await.map_err(Arc::new);
        let jobs = jobs.map(|jobs| jobs.into_iter().map(|job| (job.row.id, job)).collect::<BTreeMap<_, _>>());
        for load in wanted.drain(..) {
            let found = jobs.as_ref().map(|jobs| jobs.get(&load.job).cloned()).map_err(Clone::clone);
            // An attempt that was stopped in the meantime no longer waits.
            let _ = load.reply.send(found);
        }
    }
}

fn failure(text: String) -> EndReport {
    EndReport { failure: Some(text), publish: Vec::new() }
}

/// The directory of a job's files.
pub fn job_dir(working_dir: &Path, project: &str, uuid: uuid::Uuid) -> PathBuf {
    working_dir.join(project).join("jobs").join(uuid.to_string())
}

fn attempt_dir(working_dir: &Path, job: &JobInfo, fence: Fence) -> PathBuf {
    let epoch = if Defence::AttemptPaths.is_missing() { 1 } else { fence.epoch.0 };
    job_dir(working_dir, &job.project, job.uuid).join(format!("attempt={epoch}"))
}

/// A step's report with its times.
pub fn report(name: &str, started_ms: i64, result: Value) -> StepReport {
    StepReport { name: name.to_owned(), result, started_ms, ended_ms: wall_ms() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_needs_its_own_capability() {
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
