//! Errors of requests, with a kind for programs and a message for users.

use kirin_wire::Code;

/// The kind of failure. A caller's reaction depends on this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request failed.
    Failed,
    /// The request is malformed.
    Usage,
    /// The named object does not exist.
    NotFound,
    /// The object's state does not allow the request.
    Refused,
    /// No node responds.
    Unreachable,
    /// Not authenticated, or not permitted.
    Auth,
}

/// The error of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}{next}", if next.is_empty() { "" } else { "\n  " })]
pub struct Error {
    /// The kind of failure.
    pub kind: Kind,
    /// The node's error code, if a node responded and this version knows its code.
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
