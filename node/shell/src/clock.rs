//! The one place that reads clocks. Everything else is given a [`Time`] or a wall-clock number for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kirin_core::Time;
use tokio::time::Instant;

/// This run's monotonic clock.
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

    /// The current moment of this run.
    pub fn now(&self) -> Time {
        // An `Instant` never runs backwards; 584,000 years fit.
        Time::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The moment in [`boot_time`], for another process of this machine. One that has passed is now.
    pub fn boot_time_of(&self, at: Time) -> Duration {
        // In this order: a pause of this process between the two makes the result earlier, never later.
        let boot = boot_time();
        boot + Duration::from_micros(at.since(self.now()).micros())
    }

    /// The moment as tokio's timers want it; `None` for one that is never reached.
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
    // SAFETY: the call writes to this structure only. It can't fail: the clock exists since Linux 2.6.39.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Milliseconds since 1970 on this machine's wall clock: for people to read, never to decide.
#[expect(clippy::disallowed_methods, reason = "this is the one clock module")]
pub fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The current moment, for what keeps its own deadlines and never decides.
#[expect(clippy::disallowed_methods, reason = "this is the one clock module")]
pub fn instant() -> std::time::Instant {
    std::time::Instant::now()
}

/// The same, as tokio's timers see it.
#[expect(clippy::disallowed_methods, reason = "this is the one clock module")]
pub fn instant_tokio() -> Instant {
    Instant::now()
}

/// Microseconds since 1970 on this machine's wall clock: to compare moments in processes of one machine when measuring.
#[expect(clippy::disallowed_methods, reason = "this is the one clock module")]
pub fn wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
