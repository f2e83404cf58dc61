//! What can go wrong, in words for the person who configures a node. No text here ever carries a secret.

use std::time::Duration;

/// An error of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An entry of a server list can't be read.
    #[error("entry {position} of {key}, {entry:?}: {reason}")]
    ServerList {
        /// The configuration key.
        key: &'static str,
        /// Which entry, counted from 1.
        position: usize,
        /// The entry as it was written.
        entry: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// A setting has a value that can't be used.
    #[error("{setting}: {reason}")]
    Setting {
        /// The configuration key or environment variable.
        setting: &'static str,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// A role has another name than `all`, `job` or `query`.
    #[error("{0:?} is no role; allowed are all, job and query")]
    Role(String),
    /// An announcement that nobody could use.
    #[error("can't announce this node: {0}")]
    Announcement(String),
    /// The source did not confirm within the time that a caller is made to wait.
    #[error("discovery did not confirm within {} ms; the entry goes away with its session", .0.as_millis())]
    Unconfirmed(Duration),
    /// Discovery was stopped.
    #[error("discovery is stopped")]
    Stopped,
}
