//! Errors of discovery, worded for the person who configures a node. No error contains a secret.

use std::time::Duration;

/// An error of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An entry of a server list cannot be parsed.
    #[error("entry {position} of {key}, {entry:?}: {reason}")]
    ServerList {
        /// The configuration key.
        key: &'static str,
        /// The position of the entry, from 1.
        position: usize,
        /// The text of the entry.
        entry: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// A setting has an invalid value.
    #[error("{setting}: {reason}")]
    Setting {
        /// The configuration key or environment variable.
        setting: &'static str,
        /// What is wrong, and what is allowed.
        reason: String,
    },
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
