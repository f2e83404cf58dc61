//! Capabilities: what a node can run, and what a job requires.
//!
//! A capability is a bit whose meaning is assigned outside the core (run builds, run commands, …). The core knows one
//! rule: a node may run a job only if it has every capability that the job requires. The metastore's rows carry both
//! sets, so the statement that grants a job checks the rule as well.
//!
//! A job's capabilities never change. A member's may change while it is up: a working directory can become read-only.

use core::fmt;

/// A set of at most 32 capabilities.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// The empty set: the needs of a job that every job node can run.
    pub const NONE: Self = Self(0);
    /// Every possible capability.
    pub const ALL: Self = Self(u32::MAX);

    /// Whether a node with these capabilities may run a job that requires `needs`.
    pub const fn covers(self, needs: Self) -> bool {
        self.0 & needs.0 == needs.0
    }

    /// The capabilities that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The capabilities that are in at least one of the sets.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The capabilities that are not in the other set.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALL => f.write_str("all"),
            Self(bits) => write!(f, "{bits:#b}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn a_set_covers_what_it_contains() {
        let (one, two, both) = (Capabilities(1), Capabilities(2), Capabilities(3));
        assert_eq!(one.or(two), both);
        assert_eq!((both.and(two), both.without(two), one.without(two)), (two, one, one));
        assert!(both.covers(one) && both.covers(both) && Capabilities::ALL.covers(both));
        assert!(!one.covers(two) && !one.covers(both));
        assert!(Capabilities::NONE.covers(Capabilities::NONE) && !Capabilities::NONE.covers(one));
    }

    #[test]
    fn a_set_is_printed_as_its_bits() {
        assert_eq!(format!("{:?} {:?}", Capabilities(5), Capabilities::ALL), "0b101 all");
    }
}
