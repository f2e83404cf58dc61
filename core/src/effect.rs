//! Orders: the only way out of the core. All imperative; each is one I/O call, with at most one event as its answer.
//!
//! The interpreter decides nothing. It may drop an order only by failing to carry it out, and that must be an outcome that
//! the core knows: no answer, or [`Answer::Unknown`](crate::ask::Answer::Unknown).

use alloc::vec::Vec;

use crate::ask::{Ask, Epoch, Fence, JobRow, Target};
use crate::failure::Evidence;
use crate::member::Member;
use crate::time::Span;

/// The orders of one step, in the order in which to carry them out.
pub type Effects = Vec<Effect>;

/// The number of a request, unique within one run of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AskId(pub u64);

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Effect {
    /// Ask the metastore. Answered by `Answered`.
    Ask {
        /// The number of the request.
        id: AskId,
        /// The request.
        ask: Ask,
    },
    /// Begin an attempt at the step number `step`. Answered by `StepEnded` and `AttemptEnded`.
    Begin {
        /// Under which fence.
        fence: Fence,
        /// The first step that isn't committed.
        step: u32,
    },
    /// The attempt's step is committed: go on with the next one.
    Proceed {
        /// Under which fence.
        fence: Fence,
        /// The step to go on with.
        step: u32,
    },
    /// Stop the attempt: kill what runs. Answered by `AttemptEnded`, also if nothing runs.
    Cancel {
        /// Under which fence.
        fence: Fence,
        /// Why.
        why: Why,
    },
    /// Keep a link to each of these members and to no other, and report when one breaks.
    Watch(Vec<Member>),
    /// Try to connect to the member's address. Answered by `Probed`.
    Probe(Member),
    /// Tell a peer. Best effort.
    Nudge {
        /// Whom.
        to: Member,
        /// What.
        nudge: Nudge,
    },
    /// This member holds the claim: do its chores until `Resign`.
    Lead {
        /// Which.
        target: Target,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// This member does not hold the claim any more.
    Resign(Target),
    /// Write it down for people.
    Note(Note),
    /// The member has left: the process may end.
    Exit,
}

/// Why an attempt is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Why {
    /// The job's state was changed by a user.
    Acted,
    /// Its fence is stale: somebody else holds the job.
    Lost,
    /// This member was fenced.
    Fenced,
    /// The member can't trust itself and the attempt has side effects that the metastore can't refuse.
    TrustEnded,
    /// It is handed over to an heir.
    Drained,
}

/// What one node tells another. A hint: it makes things fast, and nothing true.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Nudge {
    /// Arrives as `Heard`.
    Jobs(Vec<JobRow>),
    /// Arrives as `Inherited`.
    Orphans(Orphans),
    /// Arrives as `ListsChanged`.
    Lists,
}

/// Jobs whose holder is dead, for their heir.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Orphans {
    /// Who held them.
    pub of: Member,
    /// How it took to find out.
    pub found: Found,
    /// The jobs as they were listed after the fence.
    pub jobs: Vec<JobRow>,
}

/// How a death was found out, and how long each phase took on the clock of the member that found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Found {
    /// The evidence.
    pub evidence: Evidence,
    /// From the first suspicion to the evidence.
    pub confirmed: Span,
    /// From the evidence to the metastore's word.
    pub fenced: Span,
    /// From there to the list of what the dead member held.
    pub listed: Span,
}

/// Something that people may want to know later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Note {
    /// The heir's first step of a taken-over job is committed (or the job is over).
    TookOver {
        /// The heir's fence.
        fence: Fence,
        /// Who held the job before.
        from: Member,
        /// How its death was found, if a peer or this member saw it; else the job was found in a list.
        found: Option<Found>,
        /// From hearing of the orphan to the grant.
        taken: Span,
        /// From the grant to the first committed step.
        first_step: Span,
        /// The first step that the heir had to do.
        from_step: u32,
    },
    /// A job was handed back at a step boundary.
    HandedOver {
        /// The fence under which it was held.
        fence: Fence,
        /// Steps committed so far.
        steps: u32,
    },
    /// This member had a member fenced.
    Fenced {
        /// Whom.
        member: Member,
        /// How it took to find out (`listed` is zero).
        found: Found,
    },
    /// This member was fenced by somebody and joins again.
    WasFenced(Member),
    /// Trust ended: the metastore was not reached for too long.
    TrustEnded,
    /// Trust is back.
    TrustRestored,
    /// An attempt's write was refused: somebody else holds the job, or its state was changed.
    Refused(Fence),
    /// More than half of the cluster looks dead at once: this member suspects itself and waits for the metastore's word.
    SuspectsItself {
        /// How many look dead.
        dead: u32,
        /// Of how many others.
        of: u32,
    },
}
