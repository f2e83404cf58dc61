//! One node's view of the jobs: where each job waits, which starts next, and why a job waits.
//!
//! There is one global queue of waiting jobs, ordered by (priority, id). Every waiting job has a *home*: the node on
//! whose queue it waits ([`crate::placement`]). The home asks for the jobs that may start in strict order. A full project
//! is skipped, so it never starves another one. Jobs that were started before come first. Another node with free slots
//! may take the first job of a home that is late or full; its own jobs and that one have no order among each other.
//!
//! The rule that keeps a job from starting is a value, [`Blocked`]. The dispatcher and the answer to "why does it
//! wait?" use the same function, so they cannot disagree.
//!
//! The queue is a cache of the metastore's rows and may be stale. The metastore refuses a claim that rests on a stale
//! row.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::ask::{JobId, JobRow, Priority, ProjectId, ProjectRow};
use crate::capability::Capabilities;
use crate::job::JobState;
use crate::member::{Member, NodeId};
use crate::placement::{self, Candidate};
use crate::plant::{Plant, Planted};
use crate::time::Time;

/// Why a job does not run at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "rule", rename_all = "snake_case")
)]
pub enum Blocked {
    /// Its state is not a waiting state.
    State {
        /// The state.
        state: JobState,
    },
    /// An attempt that was told to stop has not stopped yet.
    Stopping {
        /// The member that runs it.
        holder: Member,
    },
    /// A request to take it is in flight.
    Taking,
    /// No node that is up runs jobs.
    NoJobNode,
    /// No node that is up and runs jobs has every capability that the job requires.
    NoNodeCan {
        /// What the job requires.
        needs: Capabilities,
    },
    /// Its project has reached its limit (`kylin.job.max-concurrent-jobs`).
    ProjectFull {
        /// The limit.
        limit: u32,
        /// How many of its jobs run.
        running: u32,
    },
    /// Other jobs on the same queue come first.
    Behind {
        /// The next one to start.
        next: JobId,
    },
    /// Its node has reached its limit (`kylin.job.node-max-concurrent-jobs`).
    NodeFull {
        /// The node.
        node: NodeId,
        /// The limit.
        slots: u32,
    },
    /// It waits on the queue of another node, which is about to take it. A node with free slots may be faster.
    Elsewhere {
        /// The node.
        node: NodeId,
    },
    /// This node takes no jobs until the metastore answers again.
    NoTrust,
}

/// The order of a queue: started jobs first, then by priority, then by age.
type Rank = (bool, Priority, JobId);

/// Jobs on one queue to which the same start conditions apply; they differ only in rank.
type Group = (ProjectId, Capabilities);

/// Whether the job was never started, so that it needs a place in its project.
fn is_fresh(row: &JobRow) -> bool {
    row.state != JobState::Running
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Stage {
    /// Waits on the queue of `home`.
    Waiting { home: NodeId },
    /// This node has asked for it.
    Taking { home: NodeId },
    /// A living member holds it.
    Held { by: Member },
    /// Does not want to run.
    Idle,
}

#[derive(Clone, Copy, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Job {
    pub(crate) row: JobRow,
    pub(crate) stage: Stage,
    /// When this node last confirmed the row, by its own write, a read or a hint.
    pub(crate) known_at: Time,
    /// When it entered this stage.
    pub(crate) waits_since: Time,
}

impl Job {
    /// Whether it occupies a place in its project.
    fn has_place(&self) -> bool {
        !is_fresh(&self.row) || matches!(self.stage, Stage::Taking { .. })
    }
}

/// The home of jobs that no node can run.
pub const NOWHERE: NodeId = NodeId(0);

/// The jobs that have not ended, as this node knows them.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Queue {
    jobs: BTreeMap<JobId, Job>,
    waiting: BTreeMap<NodeId, BTreeMap<Group, BTreeSet<Rank>>>,
    waiting_len: usize,
    /// The nodes that may be a home, sorted, with their loads.
    candidates: Vec<Candidate>,
    /// Nodes that are not candidates but still have jobs. Their slots do not count.
    others: BTreeMap<NodeId, Candidate>,
    running: BTreeMap<ProjectId, u32>,
    limits: BTreeMap<ProjectId, u32>,
    /// Projects that are full according to the metastore.
    full: BTreeSet<ProjectId>,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) plants: Planted,
}

impl Queue {
    /// How many jobs are known.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether no job is known.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.waiting_len
    }

    /// The row of a job.
    pub fn row(&self, id: JobId) -> Option<&JobRow> {
        self.jobs.get(&id).map(|job| &job.row)
    }

    /// All rows, sorted by id.
    pub fn rows(&self) -> impl Iterator<Item = &JobRow> {
        self.jobs.values().map(|job| &job.row)
    }

    /// The home of a waiting job.
    pub fn home(&self, id: JobId) -> Option<NodeId> {
        match self.jobs.get(&id)?.stage {
            Stage::Waiting { home } | Stage::Taking { home } => Some(home),
            Stage::Held { .. } | Stage::Idle => None,
        }
    }

    /// How many jobs of the project run.
    pub fn running(&self, project: ProjectId) -> u32 {
        self.running.get(&project).copied().unwrap_or(0)
    }

    /// How many attempts the node runs.
    pub fn running_on(&self, node: NodeId) -> u32 {
        self.counts(node).running
    }

    /// How many jobs the node runs or has on its queue.
    pub fn load(&self, node: NodeId) -> u32 {
        self.counts(node).load
    }

    fn counts(&self, node: NodeId) -> Candidate {
        let other = || self.others.get(&node).copied().unwrap_or(nothing(node));
        self.candidate(node).map_or_else(other, |at| self.candidates[at])
    }

    /// The node on which a job with this key and these needs would be placed at this moment.
    pub fn place(&self, key: u64, needs: Capabilities) -> Option<NodeId> {
        if self.plants.is(Plant::IgnoresLoad) {
            return self.homes_possible(needs).max_by_key(|node| placement::score(key, *node));
        }
        self.choose(key, |candidate| candidate.can.covers(needs))
    }

    /// Chooses among the considered candidates; the fair share is computed over them.
    fn choose(&self, key: u64, considered: impl Fn(&Candidate) -> bool) -> Option<NodeId> {
        if self.candidates.iter().all(&considered) {
            return placement::choose(key, &self.candidates);
        }
        let some: Vec<_> = self.candidates.iter().filter(|candidate| considered(candidate)).copied().collect();
        placement::choose(key, &some)
    }

    /// The same for a job that should start at once: nodes with a free slot are preferred.
    pub(crate) fn place_to_start(&self, key: u64, needs: Capabilities) -> Option<NodeId> {
        let free = self.choose(key, |candidate| candidate.running < candidate.slots && candidate.can.covers(needs));
        free.or_else(|| self.place(key, needs))
    }

    /// The nodes on whose queues a job that requires `needs` may be placed.
    pub fn homes_possible(&self, needs: Capabilities) -> impl Iterator<Item = NodeId> {
        self.candidates.iter().filter(move |candidate| candidate.can.covers(needs)).map(|candidate| candidate.node)
    }

    /// The possible homes with their slots and loads, sorted by node.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Why the job does not start, as seen from node `me` with `free` slots; `None` if it starts here next.
    pub fn blocked(&self, id: JobId, me: NodeId, free: u32) -> Option<Blocked> {
        let job = self.jobs.get(&id)?;
        let home = match job.stage {
            Stage::Waiting { home } => home,
            Stage::Taking { .. } => return Some(Blocked::Taking),
            Stage::Held { by } if job.row.state != JobState::Running => return Some(Blocked::Stopping { holder: by }),
            Stage::Held { .. } | Stage::Idle => return Some(Blocked::State { state: job.row.state }),
        };
        if self.candidates.is_empty() {
            return Some(Blocked::NoJobNode);
        }
        if self.homes_possible(job.row.needs).next().is_none() {
            return Some(Blocked::NoNodeCan { needs: job.row.needs });
        }
        if !self.may_start(job.row.project, is_fresh(&job.row)) {
            let limit = self.limits.get(&job.row.project).copied().unwrap_or(0);
            return Some(Blocked::ProjectFull { limit, running: self.running(job.row.project) });
        }
        if home != me {
            if let Some(at) = self.candidate(home) {
                let Candidate { slots, running, .. } = self.candidates[at];
                if running >= slots {
                    return Some(Blocked::NodeFull { node: home, slots });
                }
            }
            return Some(Blocked::Elsewhere { node: home });
        }
        match self.head(home, Capabilities::ALL) {
            Some(next) if next != id => Some(Blocked::Behind { next }),
            _ if free == 0 => {
                let slots = self.candidate(me).map_or(0, |at| self.candidates[at].slots);
                Some(Blocked::NodeFull { node: me, slots })
            }
            _ => None,
        }
    }

    /// The next job to start on the queue of `home` at a node with the capabilities `can`. Full projects are skipped.
    pub fn head(&self, home: NodeId, can: Capabilities) -> Option<JobId> {
        self.head_rank(home, can).map(|rank| rank.2)
    }

    /// The next job of the whole cluster to start at a node with the capabilities `can`.
    pub fn head_of_all(&self, can: Capabilities) -> Option<JobId> {
        self.waiting.keys().filter_map(|home| self.head_rank(*home, can)).min().map(|rank| rank.2)
    }

    /// The most recently accepted job that may start on the queue of `home`.
    pub(crate) fn newest(&self, home: NodeId) -> Option<JobId> {
        let at_home =
            |job: &&Job| job.stage == Stage::Waiting { home } && self.may_start(job.row.project, is_fresh(&job.row));
        self.jobs.values().rev().find(at_home).map(|job| job.row.id)
    }

    fn head_rank(&self, home: NodeId, can: Capabilities) -> Option<Rank> {
        let groups = self.waiting.get(&home)?.iter().filter(|((_, needs), _)| can.covers(*needs));
        if self.plants.is(Plant::HeadOfLine) {
            let (project, rank) =
                groups.filter_map(|((p, _), ranks)| Some((*p, *ranks.first()?))).min_by_key(|f| f.1)?;
            return self.may_start(project, rank.0).then_some(rank);
        }
        groups
            .filter_map(|((project, _), ranks)| {
                let rank = *ranks.first()?;
                self.may_start(*project, rank.0).then_some(rank)
            })
            .min()
    }

    /// Whether the project's limit lets the job start. A job that was running (its holder is dead) already has its
    /// place.
    fn may_start(&self, project: ProjectId, is_fresh: bool) -> bool {
        !is_fresh || !self.is_full(project)
    }

    /// The homes with waiting jobs.
    pub(crate) fn homes(&self) -> impl Iterator<Item = NodeId> {
        self.waiting.keys().copied()
    }

    pub(crate) fn knows_project(&self, project: ProjectId) -> bool {
        self.limits.contains_key(&project)
    }

    pub(crate) fn is_full(&self, project: ProjectId) -> bool {
        self.full.contains(&project) || self.limits.get(&project).is_none_or(|limit| self.running(project) >= *limit)
    }

    pub(crate) fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    pub(crate) fn ids(&self) -> Vec<JobId> {
        self.jobs.keys().copied().collect()
    }

    /// Records that the metastore called the project full. Cleared when one of its jobs stops running, or by a list.
    pub(crate) fn mark_full(&mut self, project: ProjectId) {
        self.full.insert(project);
    }

    pub(crate) fn forget_full(&mut self) {
        self.full.clear();
    }

    pub(crate) fn set_limits(&mut self, projects: &[ProjectRow]) -> bool {
        let same = self.limits.len() == projects.len()
            && self.limits.iter().zip(projects).all(|((id, limit), row)| *id == row.id && *limit == row.limit);
        if !same {
            self.limits = projects.iter().map(|row| (row.id, row.limit)).collect();
        }
        !same
    }

    /// Sets the nodes that may be a home; loads are kept.
    pub(crate) fn set_candidates(&mut self, nodes: impl Iterator<Item = (NodeId, u32, Capabilities)>) {
        let before = core::mem::take(&mut self.candidates);
        let mut others: BTreeMap<NodeId, Candidate> = before.into_iter().map(|c| (c.node, c)).collect();
        others.extend(core::mem::take(&mut self.others));
        for (node, slots, can) in nodes {
            let known = others.remove(&node).unwrap_or(nothing(node));
            self.candidates.push(Candidate { slots, can, ..known });
        }
        self.candidates.sort_unstable_by_key(|c| c.node);
        others.retain(|_, other| other.load > 0);
        self.others = others;
    }

    /// Whether a waiting job that requires `needs` may have this home.
    pub(crate) fn may_be_home(&self, node: NodeId, needs: Capabilities) -> bool {
        self.is_home(node, needs) || node == NOWHERE && self.homes_possible(needs).next().is_none()
    }

    fn is_home(&self, node: NodeId, needs: Capabilities) -> bool {
        self.candidate(node).is_some_and(|at| self.candidates[at].can.covers(needs))
    }

    pub(crate) fn candidate(&self, node: NodeId) -> Option<usize> {
        placement::find(&self.candidates, node, &node, |candidate| candidate.node)
    }

    /// Stages a job. `held_by` is the member that may still work on it. The home of a waiting job is the node that it
    /// was placed on, or its previous home, or a new choice.
    pub(crate) fn put(&mut self, row: JobRow, now: Time, held_by: Option<Member>) {
        let before = self.jobs.get(&row.id).copied();
        if is_fresh(&row) && before.is_none_or(|job| job.row.epoch < row.epoch) {
            // The job has run since this node last heard of it, and has given up its place.
            self.full.remove(&row.project);
        }
        if row.state.is_final() && row.holder.is_none() {
            return self.remove(row.id);
        }
        let wants_home = held_by.is_none() && (row.state.is_waiting() || row.state == JobState::Running);
        let (stays, stage) = match (&before, held_by) {
            (Some(job), Some(by)) => (job.stage == Stage::Held { by }, Stage::Held { by }),
            (None, Some(by)) => (false, Stage::Held { by }),
            (_, None) if !wants_home => (before.is_some_and(|job| job.stage == Stage::Idle), Stage::Idle),
            (before, None) => {
                let old_home = before.and_then(|job| match job.stage {
                    Stage::Waiting { home } | Stage::Taking { home } => Some(home),
                    Stage::Held { .. } | Stage::Idle => None,
                });
                let mut home = [row.placed, old_home].into_iter().flatten().find(|node| self.is_home(*node, row.needs));
                if self.plants.is(Plant::NotSticky) {
                    home = None;
                }
                match (home, before) {
                    (Some(home), Some(job)) => (job.stage == Stage::Waiting { home }, Stage::Waiting { home }),
                    (Some(home), None) => (false, Stage::Waiting { home }),
                    (None, _) => {
                        // The job must not count towards the load that decides its own home.
                        self.remove(row.id);
                        let home = self.place(placement::key(row.id), row.needs).unwrap_or(NOWHERE);
                        return self.enter(Job {
                            row,
                            stage: Stage::Waiting { home },
                            known_at: now,
                            waits_since: now,
                        });
                    }
                }
            }
        };
        let Some(before) = before else {
            return self.enter(Job { row, stage, known_at: now, waits_since: now });
        };
        let waits_since = if stays { before.waits_since } else { now };
        let job = Job { row, stage, known_at: now, waits_since };
        let counts_alike = stays
            && (before.row.project, before.row.priority, before.row.needs) == (row.project, row.priority, row.needs)
            && is_fresh(&before.row) == is_fresh(&row);
        if !counts_alike {
            self.recount(&before, &job);
        }
        if let Some(known) = self.jobs.get_mut(&row.id) {
            *known = job;
        }
    }

    fn enter(&mut self, job: Job) {
        self.count(&job, true);
        self.jobs.insert(job.row.id, job);
    }

    /// Marks a waiting job as requested by this node.
    pub(crate) fn taking(&mut self, id: JobId) {
        self.restage(id, |stage| match stage {
            Stage::Waiting { home } => Stage::Taking { home },
            other => other,
        });
    }

    /// The request for the job failed, so it waits again.
    pub(crate) fn not_taken(&mut self, id: JobId) {
        self.restage(id, |stage| match stage {
            Stage::Taking { home } => Stage::Waiting { home },
            other => other,
        });
    }

    pub(crate) fn remove(&mut self, id: JobId) {
        if let Some(job) = self.jobs.remove(&id) {
            self.count(&job, false);
            if job.has_place() {
                self.full.remove(&job.row.project);
            }
        }
    }

    fn restage(&mut self, id: JobId, to: impl FnOnce(Stage) -> Stage) {
        let Some(before) = self.jobs.get(&id).copied() else { return };
        let job = Job { stage: to(before.stage), ..before };
        self.recount(&before, &job);
        self.jobs.insert(id, job);
    }

    fn recount(&mut self, before: &Job, after: &Job) {
        self.count(before, false);
        self.count(after, true);
        if before.has_place() && !after.has_place() {
            self.full.remove(&before.row.project);
        }
    }

    /// Adds or removes a job's contribution to the indexes.
    fn count(&mut self, job: &Job, add: bool) {
        let row = &job.row;
        match job.stage {
            Stage::Waiting { home } => {
                let rank = (is_fresh(row), row.priority, row.id);
                if add {
                    self.waiting.entry(home).or_default().entry((row.project, row.needs)).or_default().insert(rank);
                    self.waiting_len += 1;
                } else {
                    self.drop_rank(home, (row.project, row.needs), rank);
                }
                self.weigh(home, false, add);
            }
            Stage::Taking { home } => self.weigh(home, false, add),
            Stage::Held { by } => {
                if row.state == JobState::Running {
                    self.weigh(by.node, true, add);
                }
            }
            Stage::Idle => {}
        }
        if job.has_place() {
            tally(&mut self.running, row.project, add);
        }
    }

    fn drop_rank(&mut self, home: NodeId, group: Group, rank: Rank) {
        let Some(groups) = self.waiting.get_mut(&home) else { return };
        if let Some(ranks) = groups.get_mut(&group) {
            if ranks.remove(&rank) {
                self.waiting_len -= 1;
            }
            if ranks.is_empty() {
                groups.remove(&group);
            }
        }
        if groups.is_empty() {
            self.waiting.remove(&home);
        }
    }

    /// Counts one job more or less on the node.
    fn weigh(&mut self, node: NodeId, runs: bool, add: bool) {
        let change = |counts: &mut Candidate| {
            for count in [&mut counts.load].into_iter().chain(runs.then_some(&mut counts.running)) {
                *count = if add { *count + 1 } else { count.saturating_sub(1) };
            }
        };
        if let Some(at) = self.candidate(node) {
            return change(&mut self.candidates[at]);
        }
        let other = self.others.entry(node).or_insert(nothing(node));
        change(other);
        if other.load == 0 {
            self.others.remove(&node);
        }
    }
}

/// A candidate without jobs or slots.
const fn nothing(node: NodeId) -> Candidate {
    Candidate { node, slots: 0, can: Capabilities::NONE, load: 0, running: 0 }
}

fn tally<K: Ord + Copy>(counts: &mut BTreeMap<K, u32>, key: K, add: bool) {
    if add {
        *counts.entry(key).or_insert(0) += 1;
    } else if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
