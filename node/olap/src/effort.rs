//! Counts what builds do, so that tests can find work that grows with the number of indexes.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the builds of an engine have done so far, in numbers that depend on the work alone and not on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effort {
    /// Results of earlier steps that were parsed.
    pub results_read: u64,
    /// Models whose indexes were enumerated and whose columns were resolved.
    pub models_resolved: u64,
    /// Indexes whose columns were compared to find out whether another index can be made from them.
    pub layouts_compared: u64,
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Efforts {
    results_read: AtomicU64,
    models_resolved: AtomicU64,
    layouts_compared: AtomicU64,
}

impl Efforts {
    /// Counts a model and the results that a build begins with.
    pub(crate) fn began(&self, results: usize) {
        self.models_resolved.fetch_add(1, Ordering::Relaxed);
        self.results_read.fetch_add(results as u64, Ordering::Relaxed);
    }

    /// Counts a comparison of columns.
    pub(crate) fn compared(&self) {
        self.layouts_compared.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts so far.
    pub(crate) fn so_far(&self) -> Effort {
        let Efforts { results_read, models_resolved, layouts_compared } = self;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Effort {
            results_read: read(results_read),
            models_resolved: read(models_resolved),
            layouts_compared: read(layouts_compared),
        }
    }
}
