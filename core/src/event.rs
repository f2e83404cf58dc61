//! Events: the only input of the core. All are in the past tense; any may arrive late, twice, out of order or never.

use alloc::vec::Vec;

use crate::ask::{Answer, Fence, JobRow, Target};
use crate::capability::Capabilities;
use crate::effect::{AskId, Orphans};
use crate::job::Outcome;
use crate::member::Member;
use crate::time::Span;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Event {
    /// Time passed.
    Woke,
    /// The metastore answered, or the shell gave up on the answer.
    Answered {
        /// The request that was answered.
        id: AskId,
        /// The answer.
        answer: Answer,
    },
    /// This node's own API accepted or changed these jobs. The members concerned must be told.
    Told(Vec<JobRow>),
    /// A peer reported jobs that were accepted or changed. A hint: the claim verifies it.
    Heard(Vec<JobRow>),
    /// A peer reported jobs whose holder it found dead; this node is their heir.
    Inherited(Orphans),
    /// A peer reported that the lists have changed.
    ListsChanged,
    /// A link to the member broke, or its ZooKeeper session ended. A hint.
    Suspected(Member),
    /// A probe of the member's address has ended.
    Probed {
        /// The member that was probed.
        member: Member,
        /// The result.
        met: Met,
    },
    /// A supervisor on the member's host saw its process exit.
    Exited(Member),
    /// An attempt finished its step number `step`; its result is ready to be committed.
    StepEnded {
        /// The fence of the attempt.
        fence: Fence,
        /// The number of the step, from 0.
        step: u32,
    },
    /// An attempt has ended: none of its processes runs any more.
    AttemptEnded {
        /// The fence of the attempt.
        fence: Fence,
        /// How it ended.
        end: End,
    },
    /// An operator wants this node to stop taking jobs and to hand over its running ones.
    DrainWished {
        /// Attempts that reach no step boundary within this span are stopped.
        within: Span,
        /// Whether the member leaves when nothing runs any more.
        leave: bool,
    },
    /// An operator wants this node to take jobs again.
    DrainUndone,
    /// An operator wants this node to hold a claim (`POST /kylin/api/epoch`). A query node ignores it.
    ClaimWished {
        /// The claim.
        target: Target,
        /// Whether to take it even from a living holder.
        force: bool,
    },
    /// An operator wants this node to run this many attempts at once.
    SlotsWished(u32),
    /// The shell determined what this node can run at present.
    CanChanged(Capabilities),
}

/// The result of a probe of a member's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Met {
    /// The host's kernel refused the connection: no process listens there.
    Refused,
    /// This member answered. It need not be the one that was probed.
    Alive(Member),
    /// No answer arrived in time.
    Nothing,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum End {
    /// It ran to its end.
    Ran(Outcome),
    /// It was stopped on request.
    Stopped,
}
