//! The protocol between a node and its worker processes: JSON, one message per line.

use kirin_olap::Access;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A message from a node to a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToWorker {
    /// The work, always the first message.
    Work(Box<Work>),
    /// The step's result is committed, so the worker proceeds.
    Proceed,
    /// The new end of the node's trust, in microseconds since the machine's boot.
    TrustedUntil(u64),
}

/// The work of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct Work {
    /// The name of its kind.
    pub kind: String,
    /// The job's specification.
    pub spec: Value,
    /// The results of the committed steps, in order.
    pub done: Vec<Value>,
    /// The directory for its files.
    pub dir: std::path::PathBuf,
    /// The job's id, for the environment of commands.
    pub job: String,
    /// The attempt's epoch, for the environment of commands.
    pub epoch: u64,
    /// The memory limit in bytes.
    pub memory: u64,
    /// The sources of tables that it may read.
    pub access: Access,
    /// The worker's deadline, unless extended, in microseconds since the machine's boot; none if all its writes are
    /// fenced.
    pub trusted_until: Option<u64>,
}

/// A message from a worker to its node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromWorker {
    /// The progress of the whole job in per mille.
    Progress(u32),
    /// A step has succeeded. The worker waits for [`ToWorker::Proceed`].
    Step {
        /// Its number.
        step: u32,
        /// Its name.
        name: String,
        /// Its result.
        result: Value,
        /// When it started, for users.
        started_ms: i64,
        /// When it ended, for users.
        ended_ms: i64,
    },
    /// All steps have succeeded.
    Done {
        /// The manifests of segments to publish.
        publish: Vec<(String, Value)>,
    },
    /// A step failed.
    Failed(String),
    /// The job's target no longer exists.
    Vanished(String),
}
