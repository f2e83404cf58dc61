//! The only place in this crate that reads clocks: for deadlines of requests, and for the times in rows.
//!
//! Times in rows are for users, and for deleting old rows. A node's clock may be wrong. A node whose clock is decades
//! ahead
//! must not delete everything, and its rows must not appear to come from the future. So all nodes use the database
//! server's
//! clock: each new connection reads it, and the monotonic clock counts from there. With a file as database there is
//! only one
//! machine and one clock.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The last reading of the database server's clock.
static SERVER: ServerClock = ServerClock { reading: Mutex::new(None) };

struct ServerClock {
    reading: Mutex<Option<(Instant, i64)>>,
}

impl ServerClock {
    fn says(&self, at: Instant, wall_ms: i64) {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, wall_ms));
    }

    fn wall_ms(&self, now: Instant) -> Option<i64> {
        let (at, wall_ms) = (*self.reading.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(wall_ms + i64::try_from(now.saturating_duration_since(at).as_millis()).ok()?)
    }
}

/// Stores a reading of the database server's wall clock, in milliseconds since 1970, taken just now.
pub(crate) fn server_says(wall_ms: i64) {
    SERVER.says(now(), wall_ms);
}

/// The current time of the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The metastore's wall clock, in milliseconds since 1970: the database server's, or this machine's without a server. No
/// failure detection or takeover depends on it.
pub fn wall_ms() -> i64 {
    SERVER.wall_ms(now()).unwrap_or_else(own_wall_ms)
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn own_wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_servers_clock_continues_from_its_last_reading() {
        let (clock, start) = (ServerClock { reading: Mutex::new(None) }, now());
        assert_eq!(clock.wall_ms(start), None);
        clock.says(start, 1_000);
        assert_eq!(clock.wall_ms(start + Duration::from_millis(250)), Some(1_250));
        clock.says(start + Duration::from_secs(1), 500);
        assert_eq!(clock.wall_ms(start + Duration::from_millis(1_750)), Some(1_250), "it was set back");
    }
}
