//! Failures of commands: an exit code for scripts, and a message that says what to do next.

use std::fmt;

use kirin_client::Kind;

/// The exit codes; scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The request failed: a job ended in ERROR, a query could not be run.
    Failed = 1,
    /// The command line or an argument is wrong.
    Usage = 2,
    /// The named object does not exist.
    NotFound = 3,
    /// The object's state does not allow the request.
    Refused = 4,
    /// No node can be reached.
    Unreachable = 5,
    /// Not authenticated, or not permitted.
    Auth = 6,
}

/// A command's failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong.
    pub what: String,
    /// What to do next; may be empty.
    pub next: String,
}

impl Failure {
    /// A failure with advice.
    pub fn new(exit: Exit, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit, what: what.into(), next: next.into() }
    }

    /// The request failed.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what, "")
    }

    /// An argument is wrong.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, "")
    }

    /// Whether the error is a closed pipe (`kirin job list | head`), which is not a failure.
    pub fn is_closed_pipe(error: &std::io::Error) -> bool {
        error.kind() == std::io::ErrorKind::BrokenPipe
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.next.is_empty() { Ok(()) } else { write!(f, "\n  {}", self.next) }
    }
}

impl std::error::Error for Failure {}

impl From<kirin_client::Error> for Failure {
    fn from(error: kirin_client::Error) -> Self {
        let exit = match error.kind {
            Kind::Failed => Exit::Failed,
            Kind::Usage => Exit::Usage,
            Kind::NotFound => Exit::NotFound,
            Kind::Refused => Exit::Refused,
            Kind::Unreachable => Exit::Unreachable,
            Kind::Auth => Exit::Auth,
        };
        Self::new(exit, error.what, error.next)
    }
}
