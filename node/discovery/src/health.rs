//! The health of discovery, for health endpoints and logs.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::clock;

/// The health of discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The list is current, and this node is registered as announced.
    Up,
    /// The list may be stale, or this node may not be registered. The node works all the same.
    Degraded {
        /// The reason, for display.
        reason: Arc<str>,
        /// Since when, on this node's monotonic clock. A change of the reason alone does not reset it.
        since: Instant,
    },
    /// Stopped, or never started.
    Off,
}

impl Health {
    /// Whether discovery is up.
    pub fn is_up(&self) -> bool {
        matches!(self, Health::Up)
    }

    /// Returns the next health: degraded for a reason, or up without one. `since` is kept while discovery stays degraded.
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
    fn a_changed_reason_keeps_the_beginning_of_the_degradation() {
        let first = Health::Up.after(Some("no server".into()));
        let second = first.after(Some("still no server".into()));
        let (Health::Degraded { since: a, .. }, Health::Degraded { since: b, reason }) = (&first, &second) else {
            panic!("expected degraded, got {first:?} and {second:?}");
        };
        assert_eq!(a, b);
        assert_eq!(&**reason, "still no server");
        assert_eq!(second.after(None), Health::Up);
    }
}
