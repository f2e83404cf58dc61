//! The one place of this crate that reads clocks: for deadlines of requests, and for people.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The current moment on the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Wall time, for people to read; nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
