//! A digest of a node's entire state in one number.
//!
//! Equal states have equal digests, whatever the origin of the node's clock: times are hashed as distances from the
//! present. (The exception is the origin itself, which means "not yet".) This is how an exhaustive search recognizes
//! that two paths lead to the same state.
//!
//! Digests of different versions of this crate must not be compared.

use core::hash::{Hash, Hasher};

use crate::node::Node;
use crate::time::Time;

/// A fast hash that is the same on every machine and hashes times as distances from the present.
struct Digest {
    state: u64,
    now: Time,
}

impl Digest {
    fn mix(&mut self, word: u64) {
        // One round of a multiplicative hash. The rotation moves the well-mixed high bits down.
        self.state = (self.state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        // The finalizer of SplitMix64: states that differ in one bit yield digests that differ in half of their bits.
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.mix(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.mix(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }

    /// Only [`Time`] is written like this.
    fn write_i128(&mut self, at: i128) {
        // "Not yet" and "never" have the same distance from every moment, beyond the range of any clock.
        let (not_yet, never) = (i128::from(Time::ZERO.micros()), i128::from(Time::NEVER.micros()));
        let distance = match at {
            at if at == not_yet => i128::from(i64::MIN),
            at if at == never => i128::from(i64::MAX),
            at => at - i128::from(self.now.micros()),
        };
        self.mix(distance as u64);
    }
}

/// The digest of any value made of the core's types, at a moment of the clock that its times belong to.
pub fn of(what: &impl Hash, now: Time) -> u64 {
    let mut digest = Digest { state: 0, now };
    what.hash(&mut digest);
    digest.finish()
}

impl Node {
    /// A digest of all that the node knows and does.
    pub fn digest(&self, now: Time) -> u64 {
        of(self, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Role;
    use crate::{Event, Settings, Span};

    #[test]
    fn the_origin_of_the_clock_does_not_affect_the_digest() {
        let digest_after = |offset: u64, wait: u64| {
            let at = |us: u64| Time::from_micros(offset + us);
            let mut node = Node::start(Settings::new(Role::All), 7, at(0));
            let _ = node.step(at(0), Event::Woke);
            let _ = node.step(at(wait), Event::SlotsWished(3));
            node.digest(at(wait))
        };
        assert_eq!(digest_after(1, 5), digest_after(1 << 50, 5));
        assert_ne!(digest_after(1, 5), digest_after(1, 6), "it has waited longer for its answer");
    }

    #[test]
    fn never_and_not_yet_are_equally_far_from_every_moment() {
        let (now, later) = (Time::from_micros(5), Time::from_micros(9));
        for far in [Time::ZERO, Time::NEVER] {
            assert_eq!(of(&far, now), of(&far, later));
            assert_ne!(of(&far, now), of(&now, now), "and is not the present one");
        }
        assert_ne!(of(&Time::ZERO, now), of(&Time::NEVER, now));
        assert_eq!(of(&now, now), of(&later, later));
    }

    #[test]
    fn different_values_have_different_digests() {
        let of = |what: &dyn Fn(u64) -> u64| assert_ne!(what(1), what(2));
        of(&|n| super::of(&(n as u8), Time::ZERO));
        of(&|n| super::of(&(n as u32), Time::ZERO));
        of(&|n| super::of(&n, Time::ZERO));
        of(&|n| super::of(&(n as usize), Time::ZERO));
        of(&|n| super::of(&["", "some", "another"][n as usize], Time::ZERO));
        of(&|n| super::of(&["", "more than 8 of them", "more than 8 bytes"][n as usize], Time::ZERO));
    }

    #[test]
    fn every_bit_of_the_input_affects_the_digest() {
        let mut digests: alloc::vec::Vec<_> = (0..64).map(|bit| of(&(7_u64, 1_u64 << bit), Time::ZERO)).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 64);
    }

    #[test]
    fn digests_use_all_of_their_bits() {
        let digests: alloc::vec::Vec<_> = (0..1_000_u64).map(|n| of(&n, Time::ZERO)).collect();
        for bit in 0..64 {
            let ones = digests.iter().filter(|digest| (**digest >> bit) & 1 == 1).count();
            assert!((400..600).contains(&ones), "bit {bit}: {ones}");
        }
    }

    #[test]
    fn an_event_changes_the_digest() {
        let now = Time::ZERO + Span::from_secs(1);
        let mut node = Node::start(Settings::new(Role::All), 7, now);
        let before = node.digest(now);
        assert_eq!(before, node.clone().digest(now));
        let _ = node.step(now, Event::Woke);
        assert_ne!(before, node.digest(now), "it has asked to join");
    }
}
