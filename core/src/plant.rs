//! Rules of the core that a simulator can break on purpose, to prove that its judge would notice.
//!
//! Without the feature `plants` none of this can be reached: `Planted` has no size, and every check is a constant `false`.

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(feature = "plants"), expect(dead_code, unreachable_pub, reason = "only a simulator plants"))]
pub enum Plant {
    /// Trust counts from the answer of a beat instead of from the question.
    LeaseFromAnswer,
    /// Trust lasts for the whole heart-beat timeout.
    NoTrustMargin,
    /// The end of trust stops nothing.
    TrustNeverEnds,
    /// A member that does not trust itself begins attempts.
    StartsWithoutTrust,
    /// A beat that failed is not tried again.
    RenewalGivesUp,
    /// A beat that failed stops all attempts.
    OneFailureStopsWork,
    /// A list of jobs that could not be read stops all attempts.
    ListFailureStopsWork,
    /// A fenced member joins again while its former attempts still run.
    JoinBeforeEnded,
    /// A fenced member never joins again.
    NeverJoinsAgain,
    /// A job is handed back while its attempt still runs.
    ReleaseBeforeEnded,
    /// A draining member leaves while its attempts still run.
    LeavesWhileRunning,
    /// A waiting job that was heard of last starts first.
    NewestFirst,
    /// A full project holds up the others on its queue.
    HeadOfLine,
    /// A node of the role query takes jobs.
    QueryTakes,
    /// A node takes jobs that it is not able to run.
    IncapableTakes,
    /// A node that drains begins what it is granted.
    BeginsWhileDraining,
    /// A node begins more attempts than it has slots.
    Hoards,
    /// Lists of jobs are read once, and what waits elsewhere is never looked at: news alone moves jobs.
    EdgesOnly,
    /// The commit of a step counts as done when nobody knows.
    UnknownIsDone,
    /// Whoever takes a job over does it from its first step.
    RestartsFromZero,
    /// A holder is alive if any member of its node is.
    AliveByNode,
    /// A broken link is looked into by nobody.
    ExitIgnored,
    /// Members are watched by nobody.
    NobodyWatches,
    /// A broken link is evidence of death.
    LinkIsLife,
    /// Silence counts also while the observer could not read.
    BlindCounts,
    /// Jobs are placed by score alone, whatever the loads.
    IgnoresLoad,
    /// Waiting jobs are placed anew whenever they are seen.
    NotSticky,
    /// A member that is granted a claim which another held does not go to work.
    LeaderIdle,
    /// A member goes on to believe in a claim whose row is gone.
    BelievesWithoutRow,
    /// An older list takes a member back to an earlier holder of a claim.
    ClaimGoesBack,
    /// A member goes on with its chores when it does not hold the claim any more.
    LeadsForEver,
}

/// Which rule is broken, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planted {
    #[cfg(feature = "plants")]
    pub(crate) plant: Option<Plant>,
}

/// What is broken on purpose is no part of what a node knows.
impl core::hash::Hash for Planted {
    fn hash<H: core::hash::Hasher>(&self, _: &mut H) {}
}

impl Planted {
    /// Whether that rule is broken on purpose.
    #[cfg(feature = "plants")]
    pub(crate) fn is(self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// Nothing is broken on purpose.
    #[cfg(not(feature = "plants"))]
    pub(crate) const fn is(self, _: Plant) -> bool {
        false
    }
}
