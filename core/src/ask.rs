//! The metastore contract: the closed list of requests, each one transaction, each with one answer.
//!
//! This is the whole vocabulary between a node and the one authority of the cluster. SQLite, PostgreSQL and
//! MySQL/MariaDB implement it in SQL, the simulator as plain data, and one conformance suite holds all of them to the
//! words below. "Alive" means that the member's row says up or draining. Every write is scoped by holder *and* epoch
//! inside its statement; a write that finds its scope changed answers [`Answer::Refused`] and changes nothing.
//!
//! A transaction after which a member is not alive any more (replaced at a join, left, fenced) also clears the holder of
//! every job that it held in another state than RUNNING: nothing of that attempt can still be obedient, and nobody needs
//! to take such a job over. So does an action on a job whose holder is not alive: outside RUNNING, a job's holder is alive.
//!
//! What a request means is all here; what travels along for people (names, addresses, texts, wall time) is not the core's
//! business and is added by the shell.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::capability::Capabilities;
use crate::failure::Evidence;
use crate::job::{Action, JobState, Outcome};
use crate::member::{Member, MemberState, NodeId, Role};

/// The number of a job: its place in the order of acceptance. Issued by the metastore, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct JobId(pub u64);

/// The number of a project, issued by the metastore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ProjectId(pub u32);

/// The number of a holding. It grows by one each time the holder of a job or claim changes and by nothing else; 0 means
/// never held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Epoch(pub u64);

/// 0 is the most urgent, 4 the least; Kylin's default is 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Priority(pub u8);

/// The right to write to a job, as one attempt holds it: every write of the attempt carries it.
///
/// 1. Two attempts at one job never have equal fences.
/// 2. Of two fences for one job, the one with the greater epoch was granted later.
/// 3. The metastore refuses a write under a fence that isn't the job's current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Fence {
    /// The job.
    pub job: JobId,
    /// Under which holding of it.
    pub epoch: Epoch,
}

/// What can be held besides jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Target {
    /// Cluster-wide chores.
    Leader,
    /// The relation between a project and its job engine.
    Project(ProjectId),
}

/// A living member as a list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MemberRow {
    /// Who.
    pub member: Member,
    /// Up or draining.
    pub state: MemberState,
    /// What it does.
    pub role: Role,
    /// How many attempts it runs at once (`kylin.job.node-max-concurrent-jobs`), 0 for none.
    pub slots: u32,
    /// What it is able to run.
    #[cfg_attr(feature = "serde", serde(default = "any"))]
    pub can: Capabilities,
    /// Its heart-beat counter.
    pub beat: u64,
}

/// A claim as a list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClaimRow {
    /// What is claimed.
    pub target: Target,
    /// The last member to whom it was granted, alive or not; `None` if it was given back or never held.
    pub holder: Option<Member>,
    /// Under which epoch.
    pub epoch: Epoch,
}

/// A project as a list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ProjectRow {
    /// Which.
    pub id: ProjectId,
    /// How many of its jobs may run at once in the whole cluster (`kylin.job.max-concurrent-jobs`), 0 for none.
    pub limit: u32,
}

/// A job that isn't over as a list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct JobRow {
    /// Which.
    pub id: JobId,
    /// Its project.
    pub project: ProjectId,
    /// Its urgency.
    pub priority: Priority,
    /// Where it is in its life.
    pub state: JobState,
    /// The number of its current or last holding.
    pub epoch: Epoch,
    /// Who may still work on it.
    pub holder: Option<Member>,
    /// On whose queue it stands.
    pub placed: Option<NodeId>,
    /// How many of its steps are committed.
    pub steps: u32,
    /// Whether an attempt has side effects that the metastore can't refuse (external processes): such an attempt is
    /// killed when trust ends.
    pub external: bool,
    /// What a node must be able to run to take it. Older versions do not send it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub needs: Capabilities,
}

impl JobRow {
    /// The fence under which the job's current holder writes.
    pub const fn fence(&self) -> Fence {
        Fence { job: self.id, epoch: self.epoch }
    }
}

/// With a beat: if the lists still sum up to `census`, only the beats of these members are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Brief {
    /// What the asker's lists sum up to.
    pub census: Census,
    /// Whose beats are wanted, sorted.
    pub of: Vec<Member>,
}

/// What the lists say, but for the beats, in sums that a database computes as it reads them. Lists that differ in a state,
/// a holder or an epoch have different sums; that two of many changes make up for each other is possible, and delays news
/// until the next change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Census {
    /// How many members, Σ of node · incarnation, Σ of node · (state + 2 · role + 8 · slots), and Σ of node · capabilities;
    /// up is 0, draining 1, the roles count from 0: all, job, query.
    pub members: [u64; 4],
    /// How many claims, Σ of the epochs, and Σ of holder's node · epoch.
    pub claims: [u64; 3],
    /// How many projects, Σ of their ids, and Σ of id · limit.
    pub projects: [u64; 3],
}

impl Census {
    /// What these lists sum up to.
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

/// What a member of an older version, which does not say, is able to run.
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
    /// Start a new incarnation of this node. Any living member with the same node becomes fenced (replaced) in the same
    /// transaction. Answer: [`Answer::Joined`].
    Join {
        /// What the node does.
        role: Role,
        /// How many attempts it runs at once.
        slots: u32,
        /// What it is able to run.
        #[cfg_attr(feature = "serde", serde(default = "any"))]
        can: Capabilities,
    },
    /// `beat = beat + 1` where the member is alive, and then, perhaps a moment later, read the lists: they may lack the
    /// member already. Answer: [`Answer::Listed`], or [`Answer::Beats`] if that is enough, or [`Answer::Refused`] if the
    /// member isn't alive.
    Beat {
        /// Who beats.
        by: Member,
        /// When a few beats are enough; the lists of a large cluster are long.
        brief: Option<Box<Brief>>,
    },
    /// Read the lists without beating. Answer: [`Answer::Listed`].
    List,
    /// Up → draining. Answer: [`Answer::Done`] (also if it drains already) or refused.
    Drain {
        /// Who drains.
        by: Member,
    },
    /// Alive → left. Answer: done or refused.
    Leave {
        /// Who leaves.
        by: Member,
    },
    /// Alive → fenced, because somebody holds evidence of death. For [`Evidence::Silent`] only where the beat still is
    /// the one that was seen. Answer: done (also if the member isn't alive already), or refused if it beat meanwhile.
    Fence {
        /// Who is dead.
        member: Member,
        /// How that is known.
        evidence: Evidence,
        /// The beat that did not change, for silence.
        beat: Option<u64>,
        /// Who says so. It must be alive itself, else refused.
        by: Member,
    },
    /// Take a claim where its epoch is the one seen, its holder is not alive (or `by` itself gave it back), `by` is up, and
    /// the project exists. A claim without a row (never held, or its row was deleted) is put back under the epoch seen. `force` takes it from a living holder too. Answer: [`Answer::Granted`] with epoch + 1, or refused.
    Claim {
        /// What.
        target: Target,
        /// The epoch that was seen; 0 if there is no row yet.
        epoch: Epoch,
        /// For whom.
        by: Member,
        /// Whether a living holder is no obstacle.
        force: bool,
    },
    /// Give a claim back where holder and epoch match. Answer: done or refused.
    Yield {
        /// What.
        target: Target,
        /// Under which epoch it is held.
        epoch: Epoch,
        /// By whom.
        by: Member,
    },
    /// Read all jobs that are not over, and those that are over but still have a holder. Answer: [`Answer::Jobs`],
    /// sorted by id.
    ListJobs,
    /// Read these jobs, whatever their state. Answer: [`Answer::Jobs`], sorted by id, unknown ids left out.
    ReadJobs(Vec<JobId>),
    /// Read the jobs that any incarnation of this node holds, and those that wait on its queue. Answer: [`Answer::Jobs`],
    /// sorted by id.
    ListNode(NodeId),
    /// Accept a job. The same key again answers with the job of the first time. Answer: [`Answer::Accepted`], or refused
    /// if the project does not exist.
    Submit {
        /// For which project.
        project: ProjectId,
        /// How urgent.
        priority: Priority,
        /// On whose queue it goes: then it starts PENDING, else READY.
        placed: Option<NodeId>,
        /// See [`JobRow::external`].
        external: bool,
        /// See [`JobRow::needs`].
        #[cfg_attr(feature = "serde", serde(default))]
        needs: Capabilities,
        /// The idempotency key.
        key: u128,
    },
    /// Put a waiting job on a node's queue where the epoch is the one seen and it isn't held. Answer: done or refused.
    Place {
        /// Which, and the epoch that was seen.
        fence: Fence,
        /// On whose queue.
        node: NodeId,
    },
    /// Take a job: READY, PENDING or RUNNING → RUNNING, holder = `by`, placed = its node, epoch + 1, where the epoch is the one seen,
    /// nobody alive holds it, `by` is up and is able to run it; and where the project's limit allows one more RUNNING job if the job isn't
    /// RUNNING already. Takeover is this same transition. Answer: [`Answer::Granted`], [`Answer::Full`] if only the
    /// limit stands against it, or refused. The limit is never exceeded; but a place that gets free while takes of one
    /// project are under way may be missed, and an earlier job that comes meanwhile may be passed over.
    Take {
        /// Which, and the epoch that was seen.
        fence: Fence,
        /// For whom.
        by: Member,
        /// Whether, if the job waits, an earlier one (by priority, then id) of the same cluster that could be taken as
        /// well stands against it: one that waits, that nobody holds, that `by` is able to run and whose project isn't
        /// full. Strict FIFO over all nodes.
        in_order: bool,
    },
    /// Commit the result of the step numbered `step` (from 0), where state is RUNNING, holder and epoch match, and
    /// exactly `step` steps are committed. Answer: done or refused.
    CommitStep {
        /// Under which fence.
        fence: Fence,
        /// By whom.
        by: Member,
        /// Which step.
        step: u32,
    },
    /// End the attempt, where state is RUNNING and holder and epoch match; with [`Outcome::Succeeded`] the result is
    /// published in the same transaction. Clears the holder. Answer: done or refused.
    Finish {
        /// Under which fence.
        fence: Fence,
        /// By whom.
        by: Member,
        /// How it ended.
        outcome: Outcome,
    },
    /// Hand a job back, where holder and epoch match: clears the holder; RUNNING becomes READY (or PENDING if `placed`),
    /// other states stay. Answer: done or refused.
    Release {
        /// Under which fence.
        fence: Fence,
        /// By whom.
        by: Member,
        /// On whose queue it goes.
        placed: Option<NodeId>,
    },
    /// A user's action, where state and epoch are the ones seen and the action is legal in that state. A living holder
    /// stays (see [`crate::job`]), a dead one is cleared; what becomes READY is on no queue; RESTART forgets the committed
    /// steps. Answer: done or refused.
    Act {
        /// Which, and the epoch that was seen.
        fence: Fence,
        /// The state that was seen.
        state: JobState,
        /// What is wanted.
        action: Action,
    },
    /// Change how many attempts a member runs at once. Answer: done or refused if it isn't alive.
    SetSlots {
        /// Whose.
        member: Member,
        /// How many.
        slots: u32,
    },
    /// Change what a member is able to run. Answer: done or refused if it isn't alive.
    SetCan {
        /// Whose.
        member: Member,
        /// All that it is able to run.
        can: Capabilities,
    },
    /// Change how many jobs of a project run at once. Answer: done or refused if there is no such project.
    SetLimit {
        /// Whose.
        project: ProjectId,
        /// How many.
        limit: u32,
    },
}

/// What the metastore says to a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Answer {
    /// The node runs under this incarnation.
    Joined(Member),
    /// The lists: living members sorted by member, claims sorted by target, projects sorted by id.
    Listed {
        /// Who is alive.
        members: Vec<MemberRow>,
        /// Who holds what.
        claims: Vec<ClaimRow>,
        /// The projects and their limits.
        projects: Vec<ProjectRow>,
    },
    /// The lists are as the beat's census says, and these are the beats: of those that were asked for and are alive, sorted
    /// by member.
    Beats(Vec<(Member, u64)>),
    /// Jobs, sorted by id.
    Jobs(Vec<JobRow>),
    /// The job was accepted; `fresh` is false if the key was known.
    Accepted {
        /// The job.
        row: JobRow,
        /// Whether this request made it.
        fresh: bool,
    },
    /// The holding is granted under this epoch.
    Granted {
        /// The new epoch.
        epoch: Epoch,
        /// How many steps of the job are committed; 0 for claims.
        steps: u32,
    },
    /// It is so.
    Done,
    /// Its condition did not hold; nothing was changed.
    Refused,
    /// Only the project's limit stands against it; nothing was changed.
    Full,
    /// It certainly did not happen: the metastore was not reached, or rolled it back.
    Failed,
    /// It may or may not have happened: the reply was lost or late. The next read tells.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_census_is_the_sums_that_the_databases_compute() {
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
