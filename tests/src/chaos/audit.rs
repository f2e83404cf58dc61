//! Follows every acknowledged job until it has ended, and checks it: one final state, each step once, epochs that only grow.
//!
//! Jobs are checked during the attack, because ended jobs are deleted after a while.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kirin_client::{Client, Kind, Request};
use kirin_wire::{JobView, StepView};
use tokio::time::{sleep, timeout};

use super::clients::{IMPATIENCE, Remembered, Submitted};
use super::deployment::PATIENCE;

/// The interval between polls of open jobs.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The results of all jobs.
#[derive(Clone, Debug, Default)]
pub struct Audited {
    /// The epoch under which each step of a job was committed.
    pub committed: BTreeMap<String, Vec<u64>>,
    /// Violations.
    pub wrong: Vec<String>,
}

/// Runs until the users have stopped and all jobs have ended, or until no further job ends.
pub(super) async fn audit(nodes: Vec<Client>, remembered: Arc<Mutex<Remembered>>, stopped: Arc<AtomicBool>) -> Audited {
    let mut audited = Audited::default();
    let mut open: Vec<Submitted> = Vec::new();
    let (mut known, mut turn, mut last_end) = (0, 0, Instant::now());
    loop {
        let is_last = stopped.load(Ordering::Relaxed);
        {
            let all = remembered.lock().unwrap_or_else(PoisonError::into_inner);
            open.extend(all.submitted[known..].iter().filter(|submitted| submitted.job.is_some()).cloned());
            known = all.submitted.len();
        }
        let mut still = Vec::new();
        for submitted in open {
            turn += 1;
            if audited.look(&nodes[turn % nodes.len()], &submitted).await {
                last_end = Instant::now();
            } else {
                still.push(submitted);
            }
        }
        open = still;
        if is_last && open.is_empty() {
            return audited;
        }
        if is_last && last_end.elapsed() > PATIENCE {
            let lost = open.iter().map(|one| format!("job {:?} ({}) is lost or hangs", one.job, one.key));
            audited.wrong.extend(lost);
            return audited;
        }
        if !is_last && open.is_empty() {
            last_end = Instant::now();
        }
        sleep(LOOK_AGAIN).await;
    }
}

impl Audited {
    /// Whether the job has ended and was checked.
    async fn look(&mut self, node: &Client, submitted: &Submitted) -> bool {
        let Some(id) = &submitted.job else { return true };
        let about = format!("job {id} ({})", submitted.key);
        let view = match timeout(IMPATIENCE, node.call::<JobView>(Request::get(&["jobs", id]))).await {
            Ok(Ok(view)) => view,
            Ok(Err(failure)) if failure.kind == Kind::NotFound => {
                self.wrong.push(format!("{about} is gone"));
                return true;
            }
            _ => return false,
        };
        let status = view.job_status.as_str();
        if !view.is_over() {
            return false;
        }
        let detail = node.call::<Vec<StepView>>(Request::get(&["jobs", id, "detail"]));
        let Ok(Ok(steps)) = timeout(IMPATIENCE, detail).await else {
            return false;
        };
        if status != "FINISHED" && !(status == "DISCARDED" && submitted.discarded) {
            self.wrong.push(format!("{about} ended as {status}: {}", view.failed_msg.as_deref().unwrap_or_default()));
        }
        let done: Vec<_> = steps.iter().filter(|step| step.step_status == "FINISHED").collect();
        let epochs: Vec<u64> = done.iter().map(|step| step.epoch).collect();
        let numbers: Vec<_> = done.iter().map(|step| step.sequence_id).collect();
        if !numbers.is_sorted() || numbers.windows(2).any(|pair| pair[0] == pair[1]) {
            self.wrong.push(format!("{about}: its steps are {numbers:?}"));
        }
        if !epochs.is_sorted() {
            self.wrong.push(format!("{about}: steps were committed under epochs {epochs:?}"));
        }
        self.committed.insert(id.clone(), epochs);
        true
    }
}
