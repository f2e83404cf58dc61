//! Effects: the only output of the core. All are imperative; each is one I/O call, answered by at most one event.
//!
//! The interpreter makes no decisions. If it cannot carry out an effect, the core must see a known outcome: no answer,
//! or [`Answer::Unknown`](crate::ask::Answer::Unknown).

use alloc::vec::Vec;

use crate::ask::{Ask, Epoch, Fence, JobRow, Target};
use crate::failure::Found;
use crate::member::Member;
use crate::time::Span;

/// The effects of one step, in the order in which to carry them out.
pub type Effects = Vec<Effect>;

/// The number of a request, unique within one run of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AskId(pub u64);

/// An action for the shell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Effect {
    /// Send a request to the metastore. Answered by `Answered`.
    Ask {
        /// The number of the request.
        id: AskId,
        /// The request.
        ask: Ask,
    },
    /// Begin an attempt at step `step`. Answered by `StepEnded` and `AttemptEnded`.
    Begin {
        /// The fence of the attempt.
        fence: Fence,
        /// The first step that is not committed.
        step: u32,
    },
    /// The attempt's step is committed: continue with the next one.
    Proceed {
        /// The fence of the attempt.
        fence: Fence,
        /// The step to continue with.
        step: u32,
    },
    /// Stop the attempt and kill its processes. Answered by `AttemptEnded`, also if nothing runs.
    Cancel {
        /// The fence of the attempt.
        fence: Fence,
        /// The reason.
        why: Why,
    },
    /// Keep a link to each of these members and to no other. Report when one breaks.
    Watch(Vec<Member>),
    /// Try to connect to the member's address. Answered by `Probed`.
    Probe(Member),
    /// Send a hint to a peer. Best effort.
    Nudge {
        /// The peer.
        to: Member,
        /// The hint.
        nudge: Nudge,
    },
    /// This member holds the claim: perform its duties until `Resign`.
    Lead {
        /// The claim.
        target: Target,
        /// The epoch of the claim.
        epoch: Epoch,
    },
    /// This member does not hold the claim any more.
    Resign(Target),
    /// Record the note for people.
    Note(Note),
    /// The member has left: the process may end.
    Exit,
}

/// Why an attempt is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Why {
    /// A user changed the job's state.
    Acted,
    /// Its fence is stale: another member holds the job.
    Lost,
    /// This member was fenced.
    Fenced,
    /// The member cannot trust itself, and the attempt has side effects that the metastore cannot refuse.
    TrustEnded,
    /// The job is handed over to an heir.
    Drained,
}

/// What one node tells another. A hint: it speeds things up, and the metastore decides.
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
    /// The member that held them.
    pub of: Member,
    /// How its death was discovered.
    pub found: Found,
    /// The jobs as they were listed after the fence.
    pub jobs: Vec<JobRow>,
}

/// An event that people may want to know about later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Note {
    /// The heir's first step of a taken-over job is committed, or the job has ended.
    TookOver {
        /// The heir's fence.
        fence: Fence,
        /// The member that held the job before.
        from: Member,
        /// How its death was discovered, if a peer or this member did; `None` if the job was found in a list.
        found: Option<Found>,
        /// From learning of the orphan to the grant.
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
        /// How many steps are committed.
        steps: u32,
    },
    /// This member had another one fenced.
    Fenced {
        /// The fenced member.
        member: Member,
        /// How its death was discovered (`listed` is zero).
        found: Found,
    },
    /// Another member fenced this one, which joins again.
    WasFenced(Member),
    /// Trust ended: the metastore was unreachable for too long.
    TrustEnded,
    /// Trust is back.
    TrustRestored,
    /// An attempt's write was refused: another member holds the job, or its state was changed.
    Refused(Fence),
    /// More than half of the cluster looks dead at once. This member suspects itself and waits for the metastore.
    SuspectsItself {
        /// How many look dead.
        dead: u32,
        /// How many other members there are.
        of: u32,
    },
}
