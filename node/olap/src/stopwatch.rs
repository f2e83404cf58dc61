//! How long something took, for people to read. Nothing here decides anything by it.

use std::time::Instant;

/// Measures from its creation.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "a duration that is only shown; the node's clock is not in reach of this crate"
    )]
    pub(crate) fn start() -> Self {
        Stopwatch(Instant::now())
    }

    pub(crate) fn millis(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}
