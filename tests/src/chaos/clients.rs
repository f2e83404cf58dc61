//! Users that submit and read through all nodes during the attack, and record every answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kirin_client::{Client, Kind, Login, Request};
use kirin_wire::{BuildRequest, Done, JobAction, JobView, Page, QueryRequest, QueryView, SegmentView, Submit};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::audit::{Audited, audit};
use super::fault::wall_ms;
use super::flights::{PROJECT, Quarter, SQL, is_whole, numbers};

/// How long a user waits for an answer before trying another node.
pub(super) const IMPATIENCE: Duration = Duration::from_secs(3);
/// How long a submit is repeated before it counts as failed.
const GIVE_UP_MS: i64 = 30 * 60 * 1_000;
/// The duration of long steps: longer than the heart-beat timeout.
const LONG: Duration = Duration::from_secs(9);
/// The number of users that submit.
const USERS: u64 = 4;

/// A submit and its answer.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The idempotency key.
    pub key: String,
    /// The kind of the job.
    pub kind: &'static str,
    /// The job's public id, once it is acknowledged.
    pub job: Option<String>,
    /// The time of the first request.
    pub from_ms: i64,
    /// The time of the acknowledgement.
    pub acknowledged_ms: i64,
    /// The number of requests.
    pub tries: u32,
    /// Whether a user discarded it.
    pub discarded: bool,
}

/// The records of all users.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// The submits.
    pub submitted: Vec<Submitted>,
    /// The number of answered reads of acknowledged jobs.
    pub reads: u64,
    /// Reads that did not show a job that had been acknowledged through another node.
    pub unseen: Vec<String>,
    /// The times of requests with an error or no answer.
    pub errors: Vec<i64>,
    /// Invalid answers: neither a success nor a clear refusal.
    pub strange: Vec<String>,
    /// The number of answered queries.
    pub queries: u64,
    /// The results of the jobs.
    pub audited: Audited,
}

/// The running users.
pub struct Clients {
    stop: Arc<AtomicBool>,
    remembered: Arc<Mutex<Remembered>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    stopped: Arc<AtomicBool>,
    audit: tokio::task::JoinHandle<Audited>,
}

struct User {
    nodes: Vec<Client>,
    names: String,
    dice: StdRng,
    sink: String,
    quarters: Vec<Quarter>,
    stop: Arc<AtomicBool>,
    remembered: Arc<Mutex<Remembered>>,
}

impl Clients {
    /// Starts users on the nodes at these addresses. If there are quarters, one user builds and drops them, and one queries them.
    ///
    /// # Errors
    /// If an address is invalid.
    pub fn start(
        runtime: &tokio::runtime::Handle,
        urls: &[String],
        login: &Login,
        sink: &str,
        quarters: &[Quarter],
        seed: u64,
    ) -> anyhow::Result<Self> {
        let (stop, remembered) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let clients = || {
            let one = |url| Client::new(std::slice::from_ref(url), Some(login.clone()));
            urls.iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        let mut tasks = Vec::new();
        for number in 0..USERS + if quarters.is_empty() { 0 } else { 2 } {
            let user = User {
                nodes: clients()?,
                names: format!("user{number}"),
                dice: StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(number)),
                sink: sink.to_owned(),
                quarters: quarters.to_vec(),
                stop: Arc::clone(&stop),
                remembered: Arc::clone(&remembered),
            };
            tasks.push(match number {
                USERS => runtime.spawn(user.build()),
                number if number > USERS => runtime.spawn(user.query()),
                _ => runtime.spawn(user.work()),
            });
        }
        let stopped = Arc::new(AtomicBool::new(false));
        let audit = runtime.spawn(audit(clients()?, Arc::clone(&remembered), Arc::clone(&stopped)));
        Ok(Self { stop, remembered, tasks, stopped, audit })
    }

    /// Lets users finish their current request, waits until their jobs have ended, and returns the records.
    ///
    /// # Errors
    /// If a user's task panicked.
    pub fn end(self, runtime: &tokio::runtime::Handle) -> anyhow::Result<Remembered> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            runtime.block_on(task)?;
        }
        self.stopped.store(true, Ordering::Relaxed);
        let audited = runtime.block_on(self.audit)?;
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        remembered.audited = audited;
        remembered.errors.sort_unstable();
        Ok(remembered)
    }
}

impl User {
    /// Builds one quarter after the other, and drops built ones.
    async fn build(mut self) {
        let segments = ["models", "flights", "segments"];
        while !self.stop.load(Ordering::Relaxed) {
            let quarter = self.quarters[self.dice.random_range(0..self.quarters.len())];
            let body = BuildRequest::new(PROJECT, (quarter.start_ms, quarter.end_ms));
            let from_ms = wall_ms();
            let made = match Request::post(&segments).body(&body) {
                Ok(request) => self.ask::<kirin_wire::Submitted>(request).await,
                Err(_) => return,
            };
            if let Some(made) = made {
                let job = Some(made.first().to_owned()).filter(|job| !job.is_empty());
                let key = format!("quarter at {}", quarter.start_ms);
                let acknowledged_ms = wall_ms();
                let submitted =
                    Submitted { key, kind: "build", job, from_ms, acknowledged_ms, tries: 1, discarded: false };
                self.remember(|all| all.submitted.push(submitted));
            }
            sleep(Duration::from_millis(self.dice.random_range(500..3_000))).await;
            // A segment that is being built cannot be dropped.
            let list = Request::get(&segments).with("project", PROJECT).with("page_size", 100);
            let all = self.ask::<Page<SegmentView>>(list).await.unwrap_or_default().value;
            let ready: Vec<_> = all.iter().filter(|row| row.status == "READY").map(|row| row.id.as_str()).collect();
            if ready.len() > 2 {
                let id = ready[self.dice.random_range(0..ready.len())];
                self.ask::<Done>(Request::delete(&segments).with("project", PROJECT).with("ids", id)).await;
            }
        }
    }

    /// Queries count and sum, which must consist of whole segments.
    async fn query(mut self) {
        let body = QueryRequest::new(PROJECT, SQL);
        while !self.stop.load(Ordering::Relaxed) {
            let node = self.dice.random_range(0..self.nodes.len());
            let Ok(request) = Request::post(&["query"]).body(&body) else { return };
            // Without a segment, no index answers; the error is correct.
            if let Ok(Ok(answer)) = timeout(IMPATIENCE, self.nodes[node].call::<QueryView>(request)).await {
                let whole = numbers(&answer).is_some_and(|numbers| is_whole(&self.quarters, numbers));
                self.remember(|all| {
                    all.queries += 1;
                    if !whole {
                        all.strange.push(format!("node {} answered {:?}", node + 1, answer.results));
                    }
                });
            }
            sleep(Duration::from_millis(self.dice.random_range(20..120))).await;
        }
    }

    async fn work(mut self) {
        let mut count = 0;
        while !self.stop.load(Ordering::Relaxed) {
            count += 1;
            let key = format!("{}-{count}", self.names);
            let mut submitted = self.submit(key).await;
            if let Some(job) = submitted.job.clone() {
                self.read(&job).await;
                if self.dice.random_ratio(1, 12) {
                    submitted.discarded = self.discard(&job).await;
                }
            }
            self.remember(|all| all.submitted.push(submitted));
            let pause = self.dice.random_range(100..900);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    fn remember(&self, what: impl FnOnce(&mut Remembered)) {
        what(&mut self.remembered.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn job(&mut self) -> (&'static str, Value) {
        let steps = self.dice.random_range(2..6);
        let is_long = self.dice.random_ratio(1, 10);
        if self.dice.random_ratio(1, 3) {
            // Each program records its step, job and epoch before and after its work.
            let script = "echo \"$KIRIN_JOB $KIRIN_EPOCH $0 begin $CHAOS_NODE\" >> \"$1\"; sleep $2; echo \"$KIRIN_JOB $KIRIN_EPOCH $0 end $CHAOS_NODE\" >> \"$1\"";
            let steps: Vec<_> = (0..steps)
                .map(|step: u32| {
                    let pause = f64::from(self.dice.random_range(1..8_u32)) / 10.0;
                    let pause = if is_long && step == 0 { LONG.as_secs_f64() } else { pause };
                    json!({ "argv": ["/bin/sh", "-c", script, step.to_string(), self.sink, pause.to_string()] })
                })
                .collect();
            ("command", json!({ "steps": steps }))
        } else {
            let (steps, ms) = if is_long { (1, LONG.as_millis()) } else { (steps, self.dice.random_range(50..900)) };
            ("probe", json!({ "steps": steps, "step_ms": ms }))
        }
    }

    /// Submits through any node until the job is acknowledged.
    async fn submit(&mut self, key: String) -> Submitted {
        let (kind, spec) = self.job();
        let body = Submit::new("default", kind, spec).key(key.clone());
        let from_ms = wall_ms();
        let mut submitted = Submitted { key, kind, job: None, from_ms, acknowledged_ms: 0, tries: 0, discarded: false };
        loop {
            submitted.tries += 1;
            let Ok(request) = Request::post(&["jobs"]).body(&body) else { return submitted };
            match self.ask::<kirin_wire::Submitted>(request).await {
                Some(made) => {
                    submitted.job = Some(made.job_id.clone()).filter(|job| !job.is_empty());
                    submitted.acknowledged_ms = wall_ms();
                    if submitted.job.is_none() {
                        self.remember(|all| all.strange.push(format!("a submit was answered with {made:?}")));
                    }
                    return submitted;
                }
                None if wall_ms() - from_ms > GIVE_UP_MS => {
                    self.remember(|all| all.strange.push(format!("{} was never acknowledged", submitted.key)));
                    return submitted;
                }
                None => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Checks that an acknowledged job is visible through every node that answers.
    async fn read(&mut self, job: &str) {
        for _ in 0..3 {
            let node = self.dice.random_range(0..self.nodes.len());
            let call = self.nodes[node].call::<JobView>(Request::get(&["jobs", job]));
            match timeout(IMPATIENCE, call).await {
                Ok(Ok(_)) => {
                    self.remember(|all| all.reads += 1);
                    return;
                }
                Ok(Err(failure)) if failure.kind == Kind::NotFound => {
                    self.remember(|all| all.unseen.push(format!("job {job} through node {}: {failure}", node + 1)));
                    return;
                }
                _ => self.remember(|all| all.errors.push(wall_ms())),
            }
        }
    }

    async fn discard(&mut self, job: &str) -> bool {
        let body = JobAction { job_ids: vec![job.to_owned()], action: "DISCARD".to_owned(), ..JobAction::default() };
        let Ok(request) = Request::put(&["jobs", "status"]).body(&body) else { return false };
        // Without an answer, the action may have happened.
        self.ask::<Done>(request).await;
        true
    }

    /// Sends a request to a random node.
    async fn ask<T: DeserializeOwned>(&mut self, request: Request) -> Option<T> {
        let node = self.dice.random_range(0..self.nodes.len());
        match timeout(IMPATIENCE, self.nodes[node].call(request)).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(_)) | Err(_) => {
                self.remember(|all| all.errors.push(wall_ms()));
                None
            }
        }
    }
}
