//! The wait before the next attempt: doubling, bounded and jittered, so that nodes do not reconnect in lockstep.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// A sequence of waits. Its randomness comes from the seed, so the same seed gives the same waits.
#[derive(Debug)]
pub(super) struct Backoff {
    state: u64,
    tries: u32,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Backoff { state: seed, tries: 0 }
    }

    /// Resets the sequence after a success.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }

    /// Returns the next wait, between half of the full one and the full one.
    pub(super) fn next(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.tries.min(10)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        full / 2 + full.mul_f64(self.chance() / 2.0)
    }

    /// Returns a span lengthened by up to 50 %, for periodic work.
    pub(super) fn stretch(&mut self, span: Duration) -> Duration {
        span + span.mul_f64(self.chance() / 2.0)
    }

    /// Returns a number in 0..1 (SplitMix64).
    fn chance(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_restart_after_a_success() {
        let mut backoff = Backoff::new(7);
        let waits: Vec<Duration> = (0..60).map(|_| backoff.next()).collect();
        assert!(waits.iter().all(|wait| *wait >= FIRST / 2 && *wait <= LONGEST), "{waits:?}");
        assert!(waits[0] <= FIRST && waits[59] >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn two_seeds_give_different_waits() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..8).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        assert_ne!(waits(1), waits(2));
        assert_eq!(waits(1), waits(1));
    }
}
