//! Facts: the only way into the core. All in the past tense; all may come late, twice, out of order or not at all.

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
        /// To which request.
        id: AskId,
        /// What it said.
        answer: Answer,
    },
    /// This node's own API accepted or changed these jobs: to be told to those whom it concerns.
    Told(Vec<JobRow>),
    /// A peer tells of jobs that were accepted or changed. A hint: the claim verifies it.
    Heard(Vec<JobRow>),
    /// A peer tells of jobs whose holder it found dead, and that this node is their heir.
    Inherited(Orphans),
    /// A peer says that the lists have changed.
    ListsChanged,
    /// A link to the member broke, or its ZooKeeper session ended. A hint.
    Suspected(Member),
    /// A probe of the member's address came back.
    Probed {
        /// Whom the probe was for.
        member: Member,
        /// What it met.
        met: Met,
    },
    /// A supervisor on the member's host saw its process exit.
    Exited(Member),
    /// An attempt finished its step number `step`; its result is ready to be committed.
    StepEnded {
        /// Under which fence.
        fence: Fence,
        /// Which step, from 0.
        step: u32,
    },
    /// An attempt is over: nothing of it runs any more.
    AttemptEnded {
        /// Under which fence.
        fence: Fence,
        /// How.
        end: End,
    },
    /// An operator wants this node to stop taking jobs and to hand over what it runs.
    DrainWished {
        /// Attempts that reach no step boundary within this span are stopped where they are.
        within: Span,
        /// Whether the member leaves when nothing runs any more.
        leave: bool,
    },
    /// An operator wants this node to take jobs again.
    DrainUndone,
    /// An operator wants this node to hold a claim (`POST /kylin/api/epoch`). A node of the role query never does.
    ClaimWished {
        /// Which.
        target: Target,
        /// Also from a living holder.
        force: bool,
    },
    /// An operator wants this node to run so many attempts at once.
    SlotsWished(u32),
    /// The shell found out what this node is able to run at present.
    CanChanged(Capabilities),
}

/// What a probe met at a member's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Met {
    /// The host's kernel refused the connection: no process listens there.
    Refused,
    /// This member answered.
    Alive(Member),
    /// Nothing was heard in time.
    Nothing,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum End {
    /// It ran to an end.
    Ran(Outcome),
    /// It was stopped on order.
    Stopped,
}
