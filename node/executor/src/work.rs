//! The interface between the work of a kind and its worker process.

use std::io::Write as _;

use kirin_shell::clock::wall_ms;
use serde_json::Value;

use crate::children::ORPHANED;
use crate::protocol::{FromWorker, Work};

/// What a worker writes to standard error at the end of each step. The output of programs does not end with a record
/// separator.
pub(crate) const STEP_ENDS: &[u8] = b"\x1estep ends\n";

/// Why a worker stops before the end of its work.
pub enum Stop {
    /// A step failed.
    Failed(String),
    /// The job's target no longer exists.
    Vanished(String),
}

/// The result of the work: the manifests to publish.
pub type Published = Result<Vec<(String, Value)>, Stop>;

/// Parses the specification of the work.
///
/// # Errors
/// If the job's specification is damaged.
pub fn spec<T: serde::de::DeserializeOwned>(work: &Work) -> Result<T, Stop> {
    T::deserialize(&work.spec).map_err(|e| Stop::Failed(format!("cannot parse the job's specification: {e}")))
}

/// Sends reports to the node.
pub struct Reporter {
    pub(crate) proceed: tokio::sync::mpsc::UnboundedReceiver<()>,
}

impl Reporter {
    /// Reports a step's result and waits until it is committed.
    pub async fn step(&mut self, step: u32, name: &str, result: Value, started_ms: i64) {
        // Output before this marker belongs to this step, output after it to the next.
        let _ = std::io::stderr().write_all(STEP_ENDS);
        send(&FromWorker::Step { step, name: name.to_owned(), result, started_ms, ended_ms: wall_ms() });
        // A closed channel means that the process is exiting.
        let _ = self.proceed.recv().await;
    }

    /// Reports the progress of the whole job in per mille.
    pub fn progress(per_mille: u32) {
        send(&FromWorker::Progress(per_mille));
    }
}

pub(crate) fn send(what: &FromWorker) {
    let mut out = std::io::stdout().lock();
    // The node has exited, and this process will exit too.
    let sent = serde_json::to_writer(&mut out, what).is_ok() && out.write_all(b"\n").is_ok() && out.flush().is_ok();
    if !sent {
        std::process::exit(ORPHANED);
    }
}
