//! Why a request failed, for a person and for a program.

use kirin_wire::Code;

/// What kind of failure it is: what a caller does about it depends on this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request failed.
    Failed,
    /// The request is malformed.
    Usage,
    /// The thing named does not exist.
    NotFound,
    /// The thing named is in a state that forbids this.
    Refused,
    /// No node answers.
    Unreachable,
    /// Not authenticated, or not allowed.
    Auth,
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}{next}", if next.is_empty() { "" } else { "\n  " })]
pub struct Error {
    /// The kind of failure.
    pub kind: Kind,
    /// The node's error code; none if no node answered, or with a code that this version does not know.
    pub code: Option<Code>,
    /// What went wrong.
    pub what: String,
    /// What to do next; may be empty.
    pub next: String,
}

impl Error {
    /// An error with advice.
    pub fn new(kind: Kind, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { kind, code: None, what: what.into(), next: next.into() }
    }

    /// The request failed.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Kind::Failed, what, "")
    }

    /// The request is malformed.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Kind::Usage, what, "")
    }
}
