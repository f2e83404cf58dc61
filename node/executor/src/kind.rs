//! A kind of job whose attempts run in worker processes: all that distinguishes it from the others.

use futures::future::BoxFuture;
use kirin_core::Capabilities;
use kirin_metastore::{JobInfo, Store};
use kirin_olap::SegmentRange;
use serde_json::Value;

use crate::protocol::Work;
use crate::work::{Published, Reporter};

/// What a kind needs of the working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirNeed {
    /// It writes files there for itself.
    Writes,
    /// What it writes there is read on other nodes.
    Shares,
}

/// A kind of job, declared once beside its work.
pub struct Kind {
    /// Its name in the API.
    pub name: &'static str,
    /// Kylin's name for the type of a job with this specification.
    pub job_type: fn(&Value) -> &'static str,
    /// Where clients submit such jobs, if they have an endpoint of their own.
    pub own_endpoint: Option<OwnEndpoint>,
    /// Whether an attempt has side effects that the metastore can't refuse.
    pub external: bool,
    /// What a node must be able to do to run such a job; a bit that no other kind has.
    pub needs: Capabilities,
    /// What it needs of the working directory. A node without it is not able to run such a job.
    pub dir: DirNeed,
    /// Whether its worker has children. Such a worker must have the time to take them along, so the kernel does not kill it
    /// with its node.
    pub has_children: bool,
    /// Whether its work reads tables, with the credentials of the node's environment.
    pub reads_tables: bool,
    /// Checks a specification and names its steps.
    pub steps: fn(&Value) -> Result<Vec<String>, String>,
    /// The segment that a job with this specification builds, if it builds one.
    pub covers: fn(&Value) -> Option<Covers>,
    /// Checks what must hold when an attempt begins.
    pub precondition: for<'a> fn(&'a Store, &'a JobInfo) -> BoxFuture<'a, Result<(), String>>,
    /// Does the steps that are not done, in the worker process.
    pub work: for<'a> fn(Work, &'a mut Reporter) -> BoxFuture<'a, Published>,
}

/// The endpoint of a kind that is not submitted where all others are.
#[derive(Clone, Copy, Debug)]
pub struct OwnEndpoint {
    /// Why a submit is refused.
    pub what: &'static str,
    /// Where to submit instead.
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
