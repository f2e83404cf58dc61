//! How long something took. No answer depends on it: it is shown, and it says when a query lets others run.

use std::time::Instant;

/// Measures from its creation.
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
