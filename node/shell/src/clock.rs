//! The only module that reads clocks. All others receive a [`Time`], or a wall-clock value for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

    /// Converts a time to [`boot_time`], for another process of this machine. A past time becomes the present.
    pub fn boot_time_of(&self, at: Time) -> Duration {
        // In this order: a pause of this process between the two makes the result earlier, never later.
        let boot = boot_time();
        boot + Duration::from_micros(at.since(self.now()).micros())
    }

    /// Converts a time for tokio's timers; `None` if it is never reached.
    pub fn instant(&self, at: Time) -> Option<Instant> {
        if at == Time::NEVER {
            return None;
        }
        self.origin.checked_add(std::time::Duration::from_micros(at.micros()))
    }
}

/// The time since this machine was started, suspended time included. All processes of a machine read the same clock.
#[expect(unsafe_code, reason = "std reads no clock that goes on while the machine is suspended")]
pub fn boot_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call only writes to this structure. It cannot fail: Linux has had this clock since 2.6.39.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
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
