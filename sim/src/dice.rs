//! Random numbers from a seed. Each purpose has its own stream, so an additional draw for one purpose does not affect
//! the others.
//!
//! SplitMix64 (Steele, Lea and Flood, 2014): small, fast, the same on every machine.

/// A stream of pseudo-random numbers, determined by seed and purpose.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
    /// Bytes that are used before the random numbers.
    fed: std::vec::IntoIter<u8>,
}

impl Dice {
    /// The stream of `seed` for one purpose.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut state = seed ^ 0x6b69_7269_6e00_0000;
        for byte in purpose.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let mut dice = Self { state, fed: Vec::new().into_iter() };
        dice.draw();
        dice
    }

    /// Makes the next draws return these bytes, two per draw. So a fuzzer controls a run.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.fed = Vec::from(bytes).into_iter();
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        if let Some(high) = self.fed.next() {
            return u64::from(high) << 56 | u64::from(self.fed.next().unwrap_or(0)) << 48;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // The high half of a wide product: no division, and no bias that matters.
        ((u128::from(self.draw()) * u128::from(n)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Returns `true` with this probability, in parts per million.
    pub fn chance(&mut self, ppm: u64) -> bool {
        ppm > 0 && self.below(1_000_000) < ppm
    }

    /// One of these elements; `None` if there is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len() as u64) as usize)
    }
}
