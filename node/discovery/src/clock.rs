//! The only module of this crate that reads clocks: the monotonic clock for waits, the wall clock for display.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock module of this crate")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970 on this machine's wall clock. For display only; no decision uses it.
#[expect(clippy::disallowed_methods, reason = "this is the clock module of this crate")]
pub(crate) fn now_for_people_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
