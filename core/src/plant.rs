//! Rules of the core that a simulator can break on purpose, to prove that its judge notices.
//!
//! Without the feature `plants` this code is unreachable: `Planted` has no size, and every check is a constant `false`.

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(feature = "plants"), expect(dead_code, unreachable_pub, reason = "only a simulator plants"))]
pub enum Plant {
    /// Trust counts from the answer of a beat instead of from the request.
    LeaseFromAnswer,
    /// Trust lasts for the whole heart-beat timeout.
    NoTrustMargin,
    /// The end of trust stops nothing.
    TrustNeverEnds,
    /// A member that does not trust itself begins attempts.
    StartsWithoutTrust,
    /// A failed beat is not retried.
    RenewalGivesUp,
    /// A failed beat stops all attempts.
    OneFailureStopsWork,
    /// A failed read of the list of jobs stops all attempts.
    ListFailureStopsWork,
    /// A fenced member joins again while its former attempts still run.
    JoinBeforeEnded,
    /// A fenced member never joins again.
    NeverJoinsAgain,
    /// A job is handed back while its attempt still runs.
    ReleaseBeforeEnded,
    /// A draining member leaves while its attempts still run.
    LeavesWhileRunning,
    /// The waiting job that was heard of last starts first.
    NewestFirst,
    /// A full project blocks the others on its queue.
    HeadOfLine,
    /// A node with the role query takes jobs.
    QueryTakes,
    /// A node takes jobs that it cannot run.
    IncapableTakes,
    /// A draining node begins the attempts that it is granted.
    BeginsWhileDraining,
    /// A node begins more attempts than it has slots.
    Hoards,
    /// The list of jobs is read only once, and other queues are never checked: only nudges move jobs.
    EdgesOnly,
    /// A commit with an unknown outcome counts as done.
    UnknownIsDone,
    /// A takeover starts from the job's first step.
    RestartsFromZero,
    /// A holder counts as alive if any incarnation of its node is.
    AliveByNode,
    /// A broken link does not cause a probe.
    ExitIgnored,
    /// No member is watched.
    NobodyWatches,
    /// A broken link is evidence of death.
    LinkIsLife,
    /// Silence counts even while the observer could not read.
    BlindCounts,
    /// Jobs are placed by score alone, regardless of the loads.
    IgnoresLoad,
    /// Waiting jobs are placed again whenever they are seen.
    NotSticky,
    /// A member that is granted another member's claim does not start its duties.
    LeaderIdle,
    /// A member keeps believing in a claim whose row is gone.
    BelievesWithoutRow,
    /// An older list makes a member believe in an earlier holder of a claim.
    ClaimGoesBack,
    /// A member continues its duties after it has lost the claim.
    LeadsForEver,
    /// A node that has just joined starts the jobs that it hears of before it has read the list.
    StartsUninformed,
    /// A list makes a member forget the jobs that it heard of after it asked for the list.
    ListRemovesNewer,
    /// A row of an older epoch is believed.
    OlderEpochBelieved,
    /// A node requests a fence while a list that may show the death is in flight.
    FencesBesideList,
    /// Evidence of silence outlives the next beat.
    SilenceOutlivesBeat,
    /// A write of unknown outcome is looked up, and repeated, without a pause.
    LooksUpAtOnce,
    /// Suspicions outlive the member.
    SuspicionsStay,
}

/// The broken rule, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planted {
    #[cfg(feature = "plants")]
    pub(crate) plant: Option<Plant>,
}

/// A broken rule is not part of a node's state.
impl core::hash::Hash for Planted {
    fn hash<H: core::hash::Hasher>(&self, _: &mut H) {}
}

impl Planted {
    /// Whether that rule is broken on purpose.
    #[cfg(feature = "plants")]
    pub(crate) fn is(self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// Always `false`: no rule is broken.
    #[cfg(not(feature = "plants"))]
    pub(crate) const fn is(self, _: Plant) -> bool {
        false
    }
}
