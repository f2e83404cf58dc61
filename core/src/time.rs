//! Monotonic time of one incarnation, in microseconds.
//!
//! [`Time`] is a reading of one process's monotonic clock. It is meaningless in another process or after a restart, so
//! it is never sent to other members or compared across them. Only a recording of the same process contains it. Wall
//! time is for people and never enters the core.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Add, AddAssign, Sub};

/// A moment on this incarnation's monotonic clock. No message and no row carries one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Time(u64);

/// A duration in microseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Span(u64);

impl Time {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);
    /// Later than every reachable moment.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the origin.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The span from `earlier` to this moment; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// The empty span.
    pub const ZERO: Self = Self(0);

    /// A span of `n` microseconds.
    pub const fn from_micros(n: u64) -> Self {
        Self(n)
    }

    /// A span of `n` milliseconds.
    pub const fn from_millis(n: u64) -> Self {
        Self(n.saturating_mul(1_000))
    }

    /// A span of `n` seconds.
    pub const fn from_secs(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000))
    }

    /// The span in whole microseconds.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The span in whole milliseconds, rounded down.
    pub const fn millis(self) -> u64 {
        self.0 / 1_000
    }

    /// The span scaled by `num / den`, rounded down.
    pub const fn scaled(self, num: u64, den: u64) -> Self {
        match self.0.checked_mul(num) {
            Some(product) => Self(product / den),
            // Reached only by spans of centuries.
            None => Self((self.0 as u128 * num as u128 / den as u128) as u64),
        }
    }
}

impl Hash for Time {
    /// Hashes the moment in a form that a digest recognizes as a moment.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_i128(i128::from(self.0));
    }
}

impl Add<Span> for Time {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Span> for Time {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER { f.write_str("never") } else { write!(f, "@{:?}", Span(self.0)) }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n % 1_000_000 == 0 => write!(f, "{}s", n / 1_000_000),
            n if n % 1_000 == 0 => write!(f, "{}ms", n / 1_000),
            n => write!(f, "{n}us"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn units_convert_correctly() {
        assert_eq!(Span::from_secs(2), Span::from_millis(2_000));
        assert_eq!(Span::from_millis(2), Span::from_micros(2_000));
        assert_eq!(Span::from_micros(7).micros(), 7);
        assert_eq!(Time::from_micros(7).micros(), 7);
        assert_eq!(Span::from_micros(2_999).millis(), 2, "rounded down");
        assert_eq!(Span::from_secs(7).scaled(3, 2), Span::from_millis(10_500));
        assert_eq!(Span::from_micros(7).scaled(1, 2), Span::from_micros(3), "rounded down");
        assert_eq!(Span::from_micros(u64::MAX).scaled(90, 100).micros(), (u64::MAX as u128 * 9 / 10) as u64);
    }

    #[test]
    fn arithmetic_saturates_at_the_origin_and_at_never() {
        let (early, late) = (Time::from_micros(3), Time::from_micros(10));
        assert_eq!(late.since(early), Span::from_micros(7));
        assert_eq!(early.since(late), Span::ZERO);
        assert_eq!(early + Span::from_micros(7), late);
        assert_eq!(Time::NEVER + Span::from_micros(7), Time::NEVER);
        assert_eq!(Span::from_micros(3) + Span::from_micros(4), Span::from_micros(7));
        assert_eq!(Span::from_micros(7) - Span::from_micros(4), Span::from_micros(3));
        assert_eq!(Span::from_micros(4) - Span::from_micros(7), Span::ZERO);
        let mut at = early;
        at += Span::from_micros(7);
        assert_eq!(at, late);
    }

    #[test]
    fn spans_are_printed_in_the_largest_exact_unit() {
        let text = |micros: u64| format!("{:?}", Span::from_micros(micros));
        assert_eq!([60_000_000, 1_500_000, 1_500].map(text), ["60s", "1500ms", "1500us"]);
        assert_eq!(format!("{:?} {:?}", Time::from_micros(2_000), Time::NEVER), "@2ms never");
    }
}
