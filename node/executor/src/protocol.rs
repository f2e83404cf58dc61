//! What a node and its worker processes say to each other: JSON, one message a line.

use kirin_olap::Access;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a node tells a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToWorker {
    /// What to do; the first line.
    Work(Box<Work>),
    /// The step's result is committed: go on.
    Proceed,
    /// The node trusts itself until then, in microseconds of this machine's boot time.
    TrustedUntil(u64),
}

/// What a worker has to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Work {
    /// The name of its kind.
    pub kind: String,
    /// The job's specification.
    pub spec: Value,
    /// The results of the steps that are committed, in order.
    pub done: Vec<Value>,
    /// Where to write.
    pub dir: std::path::PathBuf,
    /// The job, for the environment of commands.
    pub job: String,
    /// The attempt's epoch, for the environment of commands.
    pub epoch: u64,
    /// Memory that it may take, in bytes.
    pub memory: u64,
    /// What it may read as a source of a table.
    pub access: Access,
    /// When it has to end itself unless it is told of more, in microseconds of this machine's boot time; never, if all that it
    /// writes is fenced.
    pub trusted_until: Option<u64>,
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromWorker {
    /// How far the whole job is, in per mille.
    Progress(u32),
    /// A step is done; the worker waits for [`ToWorker::Proceed`].
    Step {
        /// Its number.
        step: u32,
        /// Its name.
        name: String,
        /// Its result.
        result: Value,
        /// When it began, for people.
        started_ms: i64,
        /// When it ended, for people.
        ended_ms: i64,
    },
    /// All steps are done.
    Done {
        /// What is to be published: the manifests of segments.
        publish: Vec<(String, Value)>,
    },
    /// A step failed.
    Failed(String),
    /// What the job was for does not exist any more.
    Vanished(String),
}
