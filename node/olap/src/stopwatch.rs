//! Measures durations, for display and to decide when a query yields. No answer depends on it.

use std::time::Instant;

/// Measures the time since its creation.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "a duration that no answer depends on; the node's clock is not in reach of this crate"
    )]
    pub(crate) fn start() -> Self {
        Stopwatch(Instant::now())
    }

    pub(crate) fn millis(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}
