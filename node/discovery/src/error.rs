//! Errors of discovery, worded for the person who configures a node. No error contains a secret.

use std::time::Duration;

/// An error of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A role is none of `all`, `job` and `query`.
    #[error("{0:?} is not a role; allowed are all, job and query")]
    Role(String),
    /// An announcement with an invalid address.
    #[error("cannot announce this node: {0}")]
    Announcement(String),
    /// The source did not confirm in time.
    #[error("timed out after {} ms waiting for discovery to confirm; the entry ends with its session", .0.as_millis())]
    Unconfirmed(Duration),
    /// Discovery has been stopped.
    #[error("discovery is stopped")]
    Stopped,
}
