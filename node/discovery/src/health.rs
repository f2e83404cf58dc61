//! How discovery stands, for health pages and logs.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::clock;

/// How discovery stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The list is fresh, and what was announced is registered.
    Up,
    /// The list may be old, or this node may not be registered; the node works all the same.
    Degraded {
        /// What is wrong, for people.
        reason: Arc<str>,
        /// Since when, on this node's monotonic clock. A change of the reason alone does not reset it.
        since: Instant,
    },
    /// Nothing is under way: stopped, or never started.
    Off,
}

impl Health {
    /// Is everything as it should be?
    pub fn is_up(&self) -> bool {
        matches!(self, Health::Up)
    }

    /// Returns the health that follows from a reason to complain, or from none; `since` is kept while the trouble lasts.
    pub(crate) fn after(&self, reason: Option<Arc<str>>) -> Health {
        match (reason, self) {
            (None, _) => Health::Up,
            (Some(reason), Health::Degraded { since, .. }) => Health::Degraded { reason, since: *since },
            (Some(reason), Health::Up | Health::Off) => Health::Degraded { reason, since: clock::now() },
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Health::Up => f.write_str("up"),
            Health::Degraded { reason, since } => write!(f, "degraded for {} s: {reason}", since.elapsed().as_secs()),
            Health::Off => f.write_str("off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_keeps_its_beginning_while_its_reason_changes() {
        let first = Health::Up.after(Some("no server".into()));
        let second = first.after(Some("still no server".into()));
        let (Health::Degraded { since: a, .. }, Health::Degraded { since: b, reason }) = (&first, &second) else {
            panic!("expected trouble, got {first:?} and {second:?}");
        };
        assert_eq!(a, b);
        assert_eq!(&**reason, "still no server");
        assert_eq!(second.after(None), Health::Up);
    }
}
