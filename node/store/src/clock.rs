//! The one place of this crate that reads clocks: for deadlines of requests, and for the moments in the rows.
//!
//! The moments in the rows are for people, and for forgetting what is old. Nodes may have wrong clocks: one that is decades
//! ahead must not forget everything, nor may its rows look as if they came from the future. So all nodes tell the time by
//! one clock, the database server's: each new connection asks it, and from there on the monotonic clock counts. Where the
//! database is a file there is one machine and one clock anyway.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// What the database server said last.
static SERVER: ServerClock = ServerClock { said: Mutex::new(None) };

struct ServerClock {
    said: Mutex<Option<(Instant, i64)>>,
}

impl ServerClock {
    fn says(&self, at: Instant, wall_ms: i64) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, wall_ms));
    }

    fn wall_ms(&self, now: Instant) -> Option<i64> {
        let (at, wall_ms) = (*self.said.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(wall_ms + i64::try_from(now.saturating_duration_since(at).as_millis()).ok()?)
    }
}

/// The database server has just said what its wall clock shows, in milliseconds since 1970.
pub(crate) fn server_says(wall_ms: i64) {
    SERVER.says(now(), wall_ms);
}

/// The current moment on the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The metastore's wall clock, in milliseconds since 1970: the database server's, or this machine's where there is none. No
/// node is declared dead by it and no job taken.
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
    fn the_servers_clock_counts_on_from_what_it_said_last() {
        let (clock, start) = (ServerClock { said: Mutex::new(None) }, now());
        assert_eq!(clock.wall_ms(start), None);
        clock.says(start, 1_000);
        assert_eq!(clock.wall_ms(start + Duration::from_millis(250)), Some(1_250));
        clock.says(start + Duration::from_secs(1), 500);
        assert_eq!(clock.wall_ms(start + Duration::from_millis(1_750)), Some(1_250), "it was set back");
    }
}
