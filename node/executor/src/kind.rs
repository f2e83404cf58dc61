//! Kinds of jobs whose attempts run in worker processes.

use futures::future::BoxFuture;
use kirin_core::Capabilities;
use kirin_metastore::{JobInfo, Store};
use kirin_olap::SegmentRange;
use serde_json::Value;

use crate::protocol::Work;
use crate::work::{Published, Reporter};

/// What a kind of job needs of the working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirNeed {
    /// It writes files there that only its own node reads.
    Writes,
    /// It writes files there that other nodes read.
    Shares,
}

/// A kind of job, declared next to its work.
pub struct Kind {
    /// Its name in the API.
    pub name: &'static str,
    /// Kylin's type name of a job with this specification.
    pub job_type: fn(&Value) -> &'static str,
    /// The endpoint for submits, if the kind has its own.
    pub own_endpoint: Option<OwnEndpoint>,
    /// Whether an attempt has side effects that the metastore cannot refuse.
    pub external: bool,
    /// The capability that a node needs to run such a job, unique to this kind.
    pub needs: Capabilities,
    /// The setting without which a node lacks the capability; none if only the working directory decides.
    pub setting: Option<&'static str>,
    /// What it needs of the working directory. A node without it cannot run such a job.
    pub dir: DirNeed,
    /// Whether its worker has children. Such a worker needs time to kill them, so the kernel does not kill it with its
    /// node.
    pub has_children: bool,
    /// Whether its work reads tables, with the credentials of the node's environment.
    pub reads_tables: bool,
    /// Checks a specification and returns the names of its steps.
    pub steps: fn(&Value) -> Result<Vec<String>, String>,
    /// The segment that a job with this specification builds, if any.
    pub covers: fn(&Value) -> Option<Covers>,
    /// Checks the preconditions at the start of an attempt.
    pub precondition: for<'a> fn(&'a Store, &'a JobInfo) -> BoxFuture<'a, Result<(), String>>,
    /// Runs the steps that are not committed, in the worker process.
    pub work: for<'a> fn(Work, &'a mut Reporter) -> BoxFuture<'a, Published>,
}

/// The endpoint of a kind with its own way of submitting.
#[derive(Clone, Copy, Debug)]
pub struct OwnEndpoint {
    /// Why a submit is refused.
    pub what: &'static str,
    /// What to use instead.
    pub instead: &'static str,
}

/// The segment that a job builds.
#[derive(Clone, Debug, PartialEq)]
pub struct Covers {
    /// Its id.
    pub segment: String,
    /// Its range.
    pub range: SegmentRange,
}
