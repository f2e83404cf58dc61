//! Rules of the core that a simulator can break on purpose, to prove that its judge would notice.
//!
//! Without the feature `plants` none of this can be reached, and every check is a constant `false`.

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
    /// A fenced member joins again while its former attempts still run.
    JoinBeforeEnded,
    /// A job is handed back while its attempt still runs.
    ReleaseBeforeEnded,
    /// A waiting job that was heard of last starts first.
    NewestFirst,
    /// A node of the role query takes jobs.
    QueryTakes,
}
