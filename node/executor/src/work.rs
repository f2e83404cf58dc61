//! What the work of a kind sees of the worker process that it runs in.

use std::io::Write as _;

use kirin_shell::clock::wall_ms;
use serde_json::Value;

use crate::children::ORPHANED;
use crate::protocol::{FromWorker, Work};

/// What a worker writes to standard error at the end of each step. A record separator does not stand at the end of what
/// programs print.
pub(crate) const STEP_ENDS: &[u8] = b"\x1estep ends\n";

/// Why a worker stops before its work is done.
pub enum Stop {
    /// A step failed.
    Failed(String),
    /// What the job was for does not exist any more.
    Vanished(String),
}

/// What the work returns: the manifests to publish.
pub type Published = Result<Vec<(String, Value)>, Stop>;

/// Takes the work's specification apart.
///
/// # Errors
/// The job's specification is damaged.
pub fn spec<T: serde::de::DeserializeOwned>(work: &Work) -> Result<T, Stop> {
    T::deserialize(&work.spec).map_err(|e| Stop::Failed(format!("the job's specification can't be read: {e}")))
}

/// The way from the work back to the node.
pub struct Reporter {
    pub(crate) proceed: tokio::sync::mpsc::UnboundedReceiver<()>,
}

impl Reporter {
    /// Reports a step's result and waits until it is committed.
    pub async fn step(&mut self, step: u32, name: &str, result: Value, started_ms: i64) {
        // What was written before belongs to this step, what comes after it to the next.
        let _ = std::io::stderr().write_all(STEP_ENDS);
        say(&FromWorker::Step { step, name: name.to_owned(), result, started_ms, ended_ms: wall_ms() });
        // A closed channel means that the process is about to end.
        let _ = self.proceed.recv().await;
    }

    /// Reports how far the whole job is, in per mille.
    pub fn progress(per_mille: u32) {
        say(&FromWorker::Progress(per_mille));
    }
}

pub(crate) fn say(what: &FromWorker) {
    let mut out = std::io::stdout().lock();
    // Nobody listens: the node is gone, and so will this process be.
    let said = serde_json::to_writer(&mut out, what).is_ok() && out.write_all(b"\n").is_ok() && out.flush().is_ok();
    if !said {
        std::process::exit(ORPHANED);
    }
}
