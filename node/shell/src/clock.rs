//! The only module that reads clocks. All others receive a [`Time`], or a wall-clock value for people.

use std::time::{SystemTime, UNIX_EPOCH};

use kirin_core::Time;
use tokio::time::Instant;

/// The monotonic clock of this process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts at zero.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock module")]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The current time of this process.
    pub fn now(&self) -> Time {
        // An `Instant` never runs backwards, and a u64 holds 584,000 years.
        Time::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Converts a time for tokio's timers; `None` if it is never reached.
    pub fn instant(&self, at: Time) -> Option<Instant> {
        if at == Time::NEVER {
            return None;
        }
        self.origin.checked_add(std::time::Duration::from_micros(at.micros()))
    }
}

/// Milliseconds since 1970 on this machine's wall clock. For display only, never for decisions.
#[expect(clippy::disallowed_methods, reason = "this is the one clock module")]
pub fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The current time for code that keeps its own deadlines and makes no decisions.
#[expect(clippy::disallowed_methods, reason = "this is the one clock module")]
pub fn instant() -> std::time::Instant {
    std::time::Instant::now()
}

/// The same for tokio's timers.
#[expect(clippy::disallowed_methods, reason = "this is the one clock module")]
pub fn instant_tokio() -> Instant {
    Instant::now()
}

/// Microseconds since 1970 on this machine's wall clock. For measurements across processes of one machine.
#[expect(clippy::disallowed_methods, reason = "this is the one clock module")]
pub fn wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
