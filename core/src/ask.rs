//! The metastore contract: a closed list of requests, each one transaction with one answer.
//!
//! These are all the requests that a node sends to the metastore, the only authority of the cluster. SQLite, PostgreSQL
//! and MySQL/MariaDB implement them in SQL, and the simulator as plain data. One conformance suite holds all
//! implementations to the definitions below. "Alive" means that the member's row says up or draining. Every write is
//! scoped by holder *and* epoch inside its statement. If the scope has changed, the answer is [`Answer::Refused`] and
//! nothing is written.
//!
//! A transaction that ends a member's life (replaced at a join, left, fenced) also clears the holder of every job that
//! the member held in a state other than RUNNING. An attempt at such a job cannot commit anything any more, and no
//! member needs to take the job over. An action on a job whose holder is not alive clears the holder as well.
//! Therefore, outside RUNNING, a job's holder is always alive.
//!
//! This module defines what a request means. The shell adds the data for people: names, addresses, texts, wall time.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::capability::Capabilities;
use crate::job::{Action, JobState, Outcome};
use crate::member::{Evidence, Member, MemberState, NodeId, Role};

/// The number of a job: its position in the order of acceptance. The metastore issues it and never reuses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct JobId(pub u64);

/// The number of a project, issued by the metastore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ProjectId(pub u32);

/// The number of a holding. It grows by one each time the holder of a job or claim changes, and never otherwise; 0
/// means never held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Epoch(pub u64);

/// 0 is the most urgent, 4 the least urgent; Kylin's default is 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Priority(pub u8);

/// The right to write to a job. Every write of an attempt carries its fence.
///
/// 1. Two attempts at one job never have equal fences.
/// 2. Of two fences for one job, the one with the greater epoch was granted later.
/// 3. The metastore refuses a write under a fence that is not the job's current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Fence {
    /// The job.
    pub job: JobId,
    /// The number of the holding.
    pub epoch: Epoch,
}

/// What a member can hold besides jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Target {
    /// Leadership: cluster-wide housekeeping.
    Leader,
    /// The relation between a project and its job engine.
    Project(ProjectId),
}

/// A living member, as lists show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MemberRow {
    /// The member.
    pub member: Member,
    /// Up or draining.
    pub state: MemberState,
    /// Its role.
    pub role: Role,
    /// How many attempts it runs at once (`kylin.job.node-max-concurrent-jobs`), 0 for none.
    pub slots: u32,
    /// What it can run.
    #[cfg_attr(feature = "serde", serde(default = "any"))]
    pub can: Capabilities,
    /// Its heart-beat counter.
    pub beat: u64,
}

/// A claim, as lists show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClaimRow {
    /// The target.
    pub target: Target,
    /// The member that it was last granted to, alive or not; `None` if it was given back or never held.
    pub holder: Option<Member>,
    /// The number of its current or last holding.
    pub epoch: Epoch,
}

/// A project, as lists show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ProjectRow {
    /// Its number.
    pub id: ProjectId,
    /// How many of its jobs may run at once in the cluster (`kylin.job.max-concurrent-jobs`); 0 for none.
    pub limit: u32,
}

/// A job that has not ended, as lists show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct JobRow {
    /// Its number.
    pub id: JobId,
    /// Its project.
    pub project: ProjectId,
    /// Its priority.
    pub priority: Priority,
    /// Its state.
    pub state: JobState,
    /// The number of its current or last holding.
    pub epoch: Epoch,
    /// The member that may still work on it.
    pub holder: Option<Member>,
    /// The node on whose queue it waits.
    pub placed: Option<NodeId>,
    /// How many of its steps are committed.
    pub steps: u32,
    /// Whether its attempts have side effects that the metastore cannot refuse (external processes). Such an attempt is
    /// killed when trust ends.
    pub external: bool,
    /// The capabilities that a node needs to take it. Older versions do not send them.
    #[cfg_attr(feature = "serde", serde(default))]
    pub needs: Capabilities,
}

impl JobRow {
    /// The fence under which the job's current holder writes.
    pub const fn fence(&self) -> Fence {
        Fence { job: self.id, epoch: self.epoch }
    }
}

/// Part of a beat: if the lists still match `census`, only the beats of these members are returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Brief {
    /// The census of the sender's lists.
    pub census: Census,
    /// The members whose beats are returned, sorted.
    pub of: Vec<Member>,
}

/// The content of the lists, except the beats, as sums that a database computes while it reads them. Lists that differ
/// in one state, holder or epoch have different sums. Several changes can cancel each other out; this delays news until
/// the next change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Census {
    /// The number of members, Σ node · incarnation, Σ node · (state + 2 · role + 8 · slots), and Σ node · capabilities.
    /// Up is 0 and draining is 1; the roles are numbered from 0: all, job, query.
    pub members: [u64; 4],
    /// The number of claims, Σ epoch, and Σ holder's node · epoch.
    pub claims: [u64; 3],
    /// The number of projects, Σ id, and Σ id · limit.
    pub projects: [u64; 3],
}

impl Census {
    /// The census of these lists.
    pub fn of(members: &[MemberRow], claims: &[ClaimRow], projects: &[ProjectRow]) -> Self {
        let member = |row: &MemberRow| {
            let node = u64::from(row.member.node.0);
            let state = u64::from(row.state == MemberState::Draining);
            let role = match row.role {
                Role::All => 0,
                Role::Job => 1,
                Role::Query => 2,
            };
            let incarnation = u64::from(row.member.incarnation.get());
            let what = state + 2 * role + 8 * u64::from(row.slots);
            [1, node * incarnation, node * what, node * u64::from(row.can.0)]
        };
        let claim = |row: &ClaimRow| {
            let holder = row.holder.map_or(0, |holder| u64::from(holder.node.0));
            [1, row.epoch.0, holder.wrapping_mul(row.epoch.0)]
        };
        let project = |row: &ProjectRow| [1, u64::from(row.id.0), u64::from(row.id.0) * u64::from(row.limit)];
        Self {
            members: sum(members.iter().map(member)),
            claims: sum(claims.iter().map(claim)),
            projects: sum(projects.iter().map(project)),
        }
    }
}

/// The capabilities of a member of an older version, which does not send them.
#[cfg(feature = "serde")]
const fn any() -> Capabilities {
    Capabilities::ALL
}

fn sum<const N: usize>(rows: impl Iterator<Item = [u64; N]>) -> [u64; N] {
    rows.fold([0; N], |all, row| core::array::from_fn(|at| all[at].wrapping_add(row[at])))
}

/// A request to the metastore: one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Ask {
    /// Starts a new incarnation of this node. A living member of the same node becomes fenced (replaced) in the same
    /// transaction. Answer: [`Answer::Joined`].
    Join {
        /// The node's role.
        role: Role,
        /// How many attempts it runs at once.
        slots: u32,
        /// What it can run.
        #[cfg_attr(feature = "serde", serde(default = "any"))]
        can: Capabilities,
    },
    /// `beat = beat + 1` where the member is alive. Then, perhaps a moment later, reads the lists, which may lack the
    /// member already. Answer: [`Answer::Listed`], or [`Answer::Beats`] if that is enough, or [`Answer::Refused`] if
    /// the member is not alive.
    Beat {
        /// The member that beats.
        by: Member,
        /// Set if a few beats are enough. The lists of a large cluster are long.
        brief: Option<Box<Brief>>,
    },
    /// Reads the lists without beating. Answer: [`Answer::Listed`].
    List,
    /// Up → draining. Answer: [`Answer::Done`] (also if it already drains) or refused.
    Drain {
        /// The member that drains.
        by: Member,
    },
    /// Alive → left. Answer: done or refused.
    Leave {
        /// The member that leaves.
        by: Member,
    },
    /// Alive → fenced, on evidence of death. With [`Evidence::Silent`], only where the beat is still the one seen.
    /// Answer: done (also if the member is already dead), or refused if it beat meanwhile.
    Fence {
        /// The member to fence.
        member: Member,
        /// The evidence.
        evidence: Evidence,
        /// For silence: the beat that did not change.
        beat: Option<u64>,
        /// The member that asks. It must be alive itself, otherwise the request is refused.
        by: Member,
    },
    /// Takes a claim where its epoch is the one seen, its holder is not alive (or `by` itself gave it back), `by` is
    /// up, and the project exists. A claim without a row (never held, or its row was deleted) is created under the
    /// epoch seen. `force` takes it from a living holder too. Answer: [`Answer::Granted`] with epoch + 1, or refused.
    Claim {
        /// The claim.
        target: Target,
        /// The epoch that was seen; 0 if there is no row yet.
        epoch: Epoch,
        /// The new holder.
        by: Member,
        /// Whether to take it even from a living holder.
        force: bool,
    },
    /// Gives a claim back where holder and epoch match. Answer: done or refused.
    Yield {
        /// The claim.
        target: Target,
        /// The epoch of the holding.
        epoch: Epoch,
        /// The holder.
        by: Member,
    },
    /// Reads all jobs that have not ended, and those that have ended but still have a holder. Answer: [`Answer::Jobs`],
    /// sorted by id.
    ListJobs,
    /// Reads these jobs, whatever their state. Answer: [`Answer::Jobs`], sorted by id, without unknown ids.
    ReadJobs(Vec<JobId>),
    /// Reads the jobs that any incarnation of this node holds, and those that wait on its queue. Answer:
    /// [`Answer::Jobs`], sorted by id.
    ListNode(NodeId),
    /// Accepts a job. A repeated key returns the job that it first created. Answer: [`Answer::Accepted`], or refused if
    /// the project does not exist.
    Submit {
        /// The project.
        project: ProjectId,
        /// The priority.
        priority: Priority,
        /// The node on whose queue it goes. If set, the job starts as PENDING, otherwise as READY.
        placed: Option<NodeId>,
        /// See [`JobRow::external`].
        external: bool,
        /// See [`JobRow::needs`].
        #[cfg_attr(feature = "serde", serde(default))]
        needs: Capabilities,
        /// The idempotency key.
        key: u128,
    },
    /// Puts a waiting job on a node's queue where the epoch is the one seen and the job is not held. Answer: done or
    /// refused.
    Place {
        /// The job and the epoch that was seen.
        fence: Fence,
        /// The node.
        node: NodeId,
    },
    /// Takes a job: READY, PENDING or RUNNING → RUNNING, holder = `by`, placed = its node, epoch + 1. Conditions: the
    /// epoch is the one seen, no living member holds the job, and `by` is up and can run it. Unless the job is already
    /// RUNNING, the project's limit must allow one more RUNNING job. A takeover is this same transition. Answer:
    /// [`Answer::Granted`], [`Answer::Full`] if only the limit prevents it, or refused. The limit is never exceeded.
    /// While several takes of one project run concurrently, a freed place may be missed, and an earlier job that
    /// arrives meanwhile may be skipped.
    Take {
        /// The job and the epoch that was seen.
        fence: Fence,
        /// The new holder.
        by: Member,
        /// Strict FIFO across all nodes: refuse a waiting job if an earlier one (by priority, then id) could be taken
        /// as well. That is a waiting job without holder, which `by` can run and whose project is not full.
        in_order: bool,
    },
    /// Commits the result of step `step` (from 0), where state is RUNNING, holder and epoch match, and exactly `step`
    /// steps are committed. Answer: done or refused.
    CommitStep {
        /// The fence of the attempt.
        fence: Fence,
        /// The holder.
        by: Member,
        /// The number of the step.
        step: u32,
    },
    /// Ends the attempt, where state is RUNNING and holder and epoch match. With [`Outcome::Succeeded`], the same
    /// transaction publishes the result. Clears the holder. Answer: done or refused.
    Finish {
        /// The fence of the attempt.
        fence: Fence,
        /// The holder.
        by: Member,
        /// How it ended.
        outcome: Outcome,
    },
    /// Hands a job back, where holder and epoch match. Clears the holder. RUNNING becomes READY (or PENDING if
    /// `placed`); other states stay. Answer: done or refused.
    Release {
        /// The fence of the attempt.
        fence: Fence,
        /// The holder.
        by: Member,
        /// The node on whose queue it goes.
        placed: Option<NodeId>,
    },
    /// Performs a user's action, where state and epoch are the ones seen and the action is legal in that state. A
    /// living holder stays (see [`crate::job`]); a dead one is cleared. A job that becomes READY is on no queue.
    /// RESTART forgets the committed steps. Answer: done or refused.
    Act {
        /// The job and the epoch that was seen.
        fence: Fence,
        /// The state that was seen.
        state: JobState,
        /// The action.
        action: Action,
    },
    /// Changes how many attempts a member runs at once. Answer: done, or refused if it is not alive.
    SetSlots {
        /// The member.
        member: Member,
        /// The number of attempts.
        slots: u32,
    },
    /// Changes what a member can run. Answer: done, or refused if it is not alive.
    SetCan {
        /// The member.
        member: Member,
        /// All that it can run.
        can: Capabilities,
    },
    /// Changes how many jobs of a project run at once. Answer: done, or refused if there is no such project.
    SetLimit {
        /// The project.
        project: ProjectId,
        /// The number of jobs.
        limit: u32,
    },
}

/// The metastore's answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Answer {
    /// The node runs under this incarnation.
    Joined(Member),
    /// The lists: living members sorted by member, claims sorted by target, projects sorted by id.
    Listed {
        /// The living members.
        members: Vec<MemberRow>,
        /// The claims.
        claims: Vec<ClaimRow>,
        /// The projects and their limits.
        projects: Vec<ProjectRow>,
    },
    /// The lists match the beat's census. These are the beats of the requested members that are alive, sorted by
    /// member.
    Beats(Vec<(Member, u64)>),
    /// Jobs, sorted by id.
    Jobs(Vec<JobRow>),
    /// The job was accepted.
    Accepted {
        /// The job.
        row: JobRow,
        /// Whether this request created it; `false` if the key was known.
        fresh: bool,
    },
    /// The holding is granted under this epoch.
    Granted {
        /// The new epoch.
        epoch: Epoch,
        /// How many steps of the job are committed; 0 for claims.
        steps: u32,
    },
    /// The change is committed.
    Done,
    /// A condition did not hold; nothing was changed.
    Refused,
    /// Only the project's limit prevents it; nothing was changed.
    Full,
    /// It certainly did not happen: the metastore was unreachable, or rolled it back.
    Failed,
    /// It may or may not have happened: the reply was lost or late. The next read tells.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_census_equals_the_sums_that_the_databases_compute() {
        let member = |node, incarnation, state, role, slots, can| MemberRow {
            member: Member::new(node, incarnation).expect("an incarnation"),
            state,
            role,
            slots,
            can: Capabilities(can),
            beat: 77,
        };
        let claim = |target, holder, epoch| ClaimRow { target, holder, epoch: Epoch(epoch) };
        let members =
            [member(3, 2, MemberState::Draining, Role::Query, 5, 6), member(7, 4, MemberState::Up, Role::Job, 2, 1)];
        let claims = [
            claim(Target::Leader, Member::new(3, 2), 9),
            claim(Target::Project(ProjectId(1)), None, 2),
            claim(Target::Project(ProjectId(2)), Member::new(7, 4), 5),
        ];
        let projects = [ProjectRow { id: ProjectId(4), limit: 6 }, ProjectRow { id: ProjectId(5), limit: 0 }];
        let census = Census::of(&members, &claims, &projects);
        assert_eq!(census.members, [2, 6 + 28, 3 * (1 + 4 + 40) + 7 * (2 + 16), 3 * 6 + 7]);
        assert_eq!(census.claims, [3, 16, 27 + 35]);
        assert_eq!(census.projects, [2, 9, 24]);
        assert_eq!(Census::of(&[], &[], &[]), Census::default());
    }
}
