//! kirin-store for simulated hosts: requests take time, and requests and replies can be lost.
//!
//! The database is a file with its own threads. It takes no simulated time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use kirin_core::ask::{Epoch, Fence, JobId, ProjectId};
use kirin_core::{Answer, Ask, Member, NodeId};
use kirin_sim::dice::Dice;
pub use kirin_store::*;
use tokio::kernel;
use tokio::time::sleep;
use uuid::Uuid;

/// The host of the database. A node that is cut off from it cannot reach the database.
pub const HOST: &str = "n5";

/// The timeout of interactive queries, as in the real store.
const INTERACTIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The rate at which requests, and replies, are lost without a cut, in parts per million.
const LOST_PPM: u64 = 10_000;

thread_local! {
    static DICE: RefCell<Dice> = RefCell::new(Dice::new(0, "metastore"));
}

/// Draws the fate of requests from this seed. One thread runs one simulation.
pub fn begin(seed: u64) {
    DICE.set(Dice::new(seed, "metastore"));
}

/// The metastore with the requests that nodes use.
#[derive(Clone)]
pub struct Store {
    real: kirin_store::Store,
    patience: Duration,
}

/// A request. Without an answer it may or may not have been executed.
async fn ask<T>(patience: Duration, request: impl Future<Output = T>) -> Option<T> {
    let (here, there) = (kernel::this_host(), turmoil::lookup(HOST));
    let way = || DICE.with_borrow_mut(|dice| (Duration::from_millis(dice.between(1, 20)), dice.chance(LOST_PPM)));
    let ((there_takes, is_request_lost), (back_takes, is_reply_lost)) = (way(), way());
    let given_up = async || {
        sleep(patience - there_takes - back_takes).await;
        None
    };
    sleep(there_takes).await;
    if is_request_lost || kernel::is_cut(here, there) {
        return given_up().await;
    }
    let answer = kernel::outside(request).await;
    sleep(back_takes).await;
    if is_reply_lost || kernel::is_cut(there, here) {
        return given_up().await;
    }
    Some(answer)
}

impl Store {
    /// As in the real store.
    ///
    /// # Errors
    /// As in the real store.
    pub async fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let patience = config.ask_timeout;
        let opened = ask(patience, kirin_store::Store::open(config)).await;
        Ok(Self { real: opened.unwrap_or(Err(StoreError::Late(patience)))?, patience })
    }

    /// As in the real store.
    pub fn traffic(&self) -> Traffic {
        self.real.traffic()
    }

    /// As in the real store.
    pub async fn ask(&self, request: &Ask, extra: Extra) -> Answer {
        ask(self.patience, self.real.ask(request, extra)).await.unwrap_or(Answer::Unknown)
    }

    /// As in the real store.
    ///
    /// # Errors
    /// As in the real store.
    pub async fn ask_or_say_why(&self, request: &Ask, extra: Extra) -> Result<Answer, StoreError> {
        ask(self.patience, self.real.ask_or_say_why(request, extra)).await.unwrap_or(Ok(Answer::Unknown))
    }
}

macro_rules! requests {
    ($($name:ident($($given:ident: $of:ty),*) -> $out:ty;)*) => {
        impl Store {
            $(
                /// As in the real store.
                ///
                /// # Errors
                /// As in the real store.
                pub async fn $name(&self, $($given: $of),*) -> Result<$out, StoreError> {
                    let patience = self.patience.max(INTERACTIVE_TIMEOUT);
                    ask(patience, self.real.$name($($given),*)).await.unwrap_or(Err(StoreError::Late(patience)))
                }
            )*
        }
    };
}

requests! {
    catalog_revision(project: ProjectId) -> Option<u64>;
    directory(all: bool) -> Vec<MemberInfo>;
    discard_by_force(uuid: Uuid) -> bool;
    doc_drop(project: ProjectId, kind: DocKind, name: &str, seen: Seen) -> bool;
    doc_put(project: ProjectId, kind: DocKind, name: &str, body: &str, seen: Seen) -> Option<u64>;
    docs(project: ProjectId, kind: DocKind) -> Vec<Doc>;
    history(filter: &HistoryFilter) -> Vec<HistoryRow>;
    history_add(row: &HistoryRow) -> ();
    job(id: JobId) -> Option<JobInfo>;
    job_by_uuid(uuid: Uuid) -> Option<JobInfo>;
    jobs(filter: &JobFilter) -> JobPage;
    jobs_by_id(ids: &[JobId]) -> Vec<JobInfo>;
    loads() -> BTreeMap<NodeId, Load>;
    member_proof(member: Member, token: Option<&str>, trouble: Option<&str>) -> bool;
    progress(fence: Fence, by: Member, text: &str) -> bool;
    project_add(name: &str, limit: u32, description: &str, settings: &str) -> Option<ProjectId>;
    project_add_by_default(name: &str, limit: u32, description: &str, settings: &str) -> Option<ProjectId>;
    project_default_limit(limit: u32) -> ();
    project_drop(id: ProjectId) -> bool;
    projects() -> Vec<Project>;
    retain_history(before_ms: i64) -> u64;
    retain_jobs(before_ms: i64) -> u64;
    retain_members(before_ms: i64) -> u64;
    segment_annotate(id: Uuid, job: Uuid, epoch: Epoch, manifest: &str) -> bool;
    segment_drop(id: Uuid) -> bool;
    segments(project: ProjectId, model: Option<&str>) -> Vec<Segment>;
    setting(name: &str) -> Option<String>;
    setting_or(name: &str, value: &str) -> (String, bool);
    setting_put(name: &str, value: &str) -> ();
    steps(id: JobId) -> Vec<StepInfo>;
    submit_many(jobs: &[NewJob]) -> Vec<Submitted>;
    sum_up() -> ();
}
