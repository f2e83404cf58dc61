//! The heart-beat settings, and the spans derived from them.
//!
//! `timeout` is `kylin.server.leader-race.heart-beat-timeout`, `interval` is `…heart-beat-interval`. Parsing refuses an
//! unsafe pair with the reason, so every [`Timing`] in the program is safe.
//!
//! ```text
//! asked_at                    interval                          trust_for       timeout
//!    |---------------------------|---- ≥ 10 tries, retry_every ----|----- margin -----|
//! ```
//! `trust_for` = timeout · (1 − 2ρ). Even if the holder's clock is slow by ρ and the observer's is fast by ρ, the
//! holder stops before the observer may act. See Gray and Cheriton, "Leases", 1989.

use core::fmt;

use crate::time::Span;

/// The tolerated error of a clock's *rate*, ρ, in per cent. Offsets and jumps are tolerated without bound.
pub const RATE_ERROR_PERCENT: u64 = 5;

/// The minimum number of beats between a failed beat and the end of trust.
pub const BEAT_TRIES: u64 = 10;

/// Heart-beat settings that are known to be safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Timing {
    timeout: Span,
    interval: Span,
}

/// Why a pair of heart-beat settings is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsafeTiming {
    /// The interval is zero.
    NoInterval,
    /// The timeout is under a second: an ordinary pause would look like death.
    TimeoutTooShort,
    /// Fewer than two beats fit into a timeout, so that a single lost beat would look like death.
    IntervalTooLong,
}

impl Timing {
    /// Accepts a safe pair.
    /// Creates a safe pair.
    /// # Errors
    /// [`UnsafeTiming`] says what is wrong with the pair.
    pub const fn new(timeout: Span, interval: Span) -> Result<Self, UnsafeTiming> {
        if interval.micros() == 0 {
            return Err(UnsafeTiming::NoInterval);
        }
        if timeout.micros() < 1_000_000 {
            return Err(UnsafeTiming::TimeoutTooShort);
        }
        if interval.micros() > timeout.micros() / 2 {
            return Err(UnsafeTiming::IntervalTooLong);
        }
        Ok(Self { timeout, interval })
    }

    /// Kylin's documented defaults: timeout 60 s, interval 30 s.
    pub const fn kylin() -> Self {
        Self { timeout: Span::from_secs(60), interval: Span::from_secs(30) }
    }

    /// How long a member may be silent before it counts as dead.
    pub const fn timeout(self) -> Span {
        self.timeout
    }

    /// How often a member beats.
    pub const fn interval(self) -> Span {
        self.interval
    }

    /// How long a holder trusts itself after it *sent* the last successful beat.
    pub const fn trust_for(self) -> Span {
        self.timeout.scaled(100 - 2 * RATE_ERROR_PERCENT, 100)
    }

    /// The interval between retries of a failed beat.
    pub fn retry_every(self) -> Span {
        (self.trust_for() - self.interval).scaled(1, BEAT_TRIES + 1)
    }

    /// The deadline of a request to the metastore; after it, the answer is "unknown". It is short enough that a server
    /// which accepts requests and never answers costs no trust, and at most five seconds.
    pub fn ask_timeout(self) -> Span {
        let fits = self.retry_every().scaled(9, 10);
        fits.min(Span::from_secs(5))
    }
}

impl fmt::Display for UnsafeTiming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoInterval => "the heart-beat interval must be greater than 0",
            Self::TimeoutTooShort => {
                "the heart-beat timeout must be at least 1 s, or an ordinary pause would look like death"
            }
            Self::IntervalTooLong => {
                "the heart-beat interval must be at most half the timeout, or one lost beat would look like death"
            }
        })
    }
}

impl core::error::Error for UnsafeTiming {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_defaults_leave_ten_tries_before_trust_ends() {
        let t = Timing::kylin();
        assert_eq!(t.trust_for(), Span::from_secs(54));
        assert!(t.interval() + t.retry_every().scaled(BEAT_TRIES, 1) <= t.trust_for());
        assert!(t.ask_timeout() < t.retry_every());
    }

    #[test]
    fn unsafe_pairs_are_refused_with_the_reason() {
        let s = Span::from_secs;
        assert_eq!(Timing::new(s(60), s(31)), Err(UnsafeTiming::IntervalTooLong));
        assert_eq!(Timing::new(Span::from_millis(999), Span::from_millis(100)), Err(UnsafeTiming::TimeoutTooShort));
        assert_eq!(Timing::new(s(60), Span::ZERO), Err(UnsafeTiming::NoInterval));
        assert!(Timing::new(s(3), s(1)).is_ok());
        assert!(Timing::new(s(60), s(30)).is_ok(), "half is not too long");
        assert!(Timing::new(s(1), Span::from_millis(100)).is_ok(), "a second is not too short");
        let reasons = [
            (UnsafeTiming::NoInterval, "greater than 0"),
            (UnsafeTiming::TimeoutTooShort, "at least 1 s"),
            (UnsafeTiming::IntervalTooLong, "at most half the timeout"),
        ];
        for (refused, reason) in reasons {
            assert!(refused.to_string().contains(reason), "{refused}");
        }
    }

    #[test]
    fn requests_time_out_before_the_next_retry_and_within_five_seconds() {
        let t = Timing::kylin();
        assert_eq!((t.timeout(), t.interval()), (Span::from_secs(60), Span::from_secs(30)));
        assert_eq!(t.retry_every(), Span::from_micros(24_000_000 / 11), "24 s of trust divided into eleven spans");
        assert_eq!(t.ask_timeout(), Span::from_micros(24_000_000 / 11 * 9 / 10));
        let patient = Timing::new(Span::from_secs(600), Span::from_secs(60)).expect("a safe pair");
        assert_eq!(patient.ask_timeout(), Span::from_secs(5));
    }
}
