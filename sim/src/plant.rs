//! Planted bugs: rules broken on purpose, each of which must trip the judge. They test the tester.

use core::fmt;

pub use kirin_core::plant::Plant as CorePlant;

/// A rule that is broken, somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plant {
    /// The metastore grants a job whatever its epoch and holder.
    TakeNotFenced,
    /// The metastore accepts the result of a step from anybody.
    CommitNotFenced,
    /// The metastore accepts the end of an attempt from anybody.
    FinishNotFenced,
    /// Executors report that they stopped, and go on.
    CancelIgnored,
    /// A probe calls a host that does not answer a refusal.
    SilenceIsRefusal,
    /// A submit is acknowledged before its commit.
    AcknowledgedEarly,
    /// A rule of the core.
    Core(CorePlant),
}

impl Plant {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 13] = [
        ("take-not-fenced", Self::TakeNotFenced),
        ("commit-not-fenced", Self::CommitNotFenced),
        ("finish-not-fenced", Self::FinishNotFenced),
        ("cancel-ignored", Self::CancelIgnored),
        ("silence-is-refusal", Self::SilenceIsRefusal),
        ("acknowledged-early", Self::AcknowledgedEarly),
        ("lease-from-answer", Self::Core(CorePlant::LeaseFromAnswer)),
        ("no-trust-margin", Self::Core(CorePlant::NoTrustMargin)),
        ("trust-never-ends", Self::Core(CorePlant::TrustNeverEnds)),
        ("join-before-ended", Self::Core(CorePlant::JoinBeforeEnded)),
        ("release-before-ended", Self::Core(CorePlant::ReleaseBeforeEnded)),
        ("newest-first", Self::Core(CorePlant::NewestFirst)),
        ("query-takes", Self::Core(CorePlant::QueryTakes)),
    ];

    /// The plant of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, plant)| *plant)
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, plant)| plant == self).map_or("?", |(name, _)| name);
        f.write_str(name)
    }
}

/// The names of all plants.
pub fn names() -> impl Iterator<Item = &'static str> {
    Plant::ALL.iter().map(|(name, _)| *name)
}
