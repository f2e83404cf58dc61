//! The model of the metastore: the contract of [`kirin_core::ask`] on plain data.
//!
//! One call is one transaction. The model follows the contract literally, and the state of a job changes only by
//! [`JobState::after`]. When a member stops being alive (left, fenced, replaced), the same transaction clears it as the
//! holder of every job that is not RUNNING. Such a job needs no heir.
//!
//! Latency, lost replies and outages are not here; they belong to the path to the metastore ([`crate::world`]).

use std::collections::{BTreeMap, BTreeSet};

use kirin_core::ask::{Brief, Census, Epoch, Fence, JobId, Priority, ProjectId};
use kirin_core::job::{Action, JobEvent, JobState};
use kirin_core::{
    Answer, Ask, Capabilities, ClaimRow, Evidence, Member, MemberRow, MemberState, NodeId, Outcome, ProjectRow, Role,
    Target,
};

pub use kirin_core::JobRow;

use crate::plant::Plant;

/// The metastore of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Store {
    members: BTreeMap<Member, MemberRow>,
    /// The living member of each node.
    alive: BTreeSet<Member>,
    incarnations: BTreeMap<NodeId, u32>,
    claims: BTreeMap<Target, ClaimRow>,
    projects: BTreeMap<ProjectId, u32>,
    /// Jobs that have not ended, or have ended but still have a holder.
    open: BTreeMap<JobId, JobRow>,
    /// All other jobs.
    ended: BTreeMap<JobId, JobRow>,
    /// The number of the last accepted job.
    issued: JobId,
    running: BTreeMap<ProjectId, u32>,
    keys: BTreeMap<u128, JobId>,
    plant: Option<Plant>,
    /// The lagging replica to which a planted bug fails over.
    behind: Option<(Box<Self>, u32)>,
}

impl Store {
    /// An empty metastore with these projects.
    pub fn new(projects: impl IntoIterator<Item = ProjectRow>) -> Self {
        Self { projects: projects.into_iter().map(|p| (p.id, p.limit)).collect(), ..Self::default() }
    }

    /// Adds a project.
    pub fn add_project(&mut self, project: ProjectRow) {
        self.projects.insert(project.id, project.limit);
    }

    /// Sets the number of the next job. A metastore may leave gaps in the numbers, and a number that was issued later
    /// may become visible earlier.
    pub fn number_next(&mut self, id: JobId) {
        self.issued = JobId(id.0 - 1);
    }

    /// Deletes the row of a claim, as by hand or by a restore from a backup.
    pub fn forget(&mut self, target: Target) {
        self.claims.remove(&target);
    }

    /// Breaks a rule on purpose.
    pub fn plant(&mut self, plant: Plant) {
        self.plant = Some(plant);
    }

    fn planted(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// Another server takes over. It has every answered transaction.
    pub fn fail_over(&mut self) {
        if self.planted(Plant::FailoverLosesCommits)
            && let Some((behind, _)) = self.behind.take()
        {
            *self = *behind;
            self.plant = Some(Plant::FailoverLosesCommits);
        }
    }

    /// Keeps a lagging replica for a planted bug.
    fn replicate(&mut self) {
        let lag = self.behind.as_ref().map_or(u32::MAX, |(_, lag)| *lag);
        if lag >= 30 {
            self.behind = None;
            self.behind = Some((Box::new(self.clone()), 0));
        } else if let Some((_, lag)) = &mut self.behind {
            *lag += 1;
        }
    }

    /// The row of a job.
    pub fn job(&self, id: JobId) -> Option<&JobRow> {
        self.open.get(&id).or_else(|| self.ended.get(&id))
    }

    /// The rows of all jobs that were ever accepted, sorted by id.
    pub fn jobs(&self) -> impl Iterator<Item = &JobRow> {
        let (mut open, mut ended) = (self.open.values().peekable(), self.ended.values().peekable());
        core::iter::from_fn(move || match (open.peek(), ended.peek()) {
            (Some(one), Some(other)) if other.id < one.id => ended.next(),
            (Some(_), _) => open.next(),
            (None, _) => ended.next(),
        })
    }

    /// The rows of the jobs that have not ended, or have ended but still have a holder; sorted by id.
    pub fn open(&self) -> impl Iterator<Item = &JobRow> {
        self.open.values()
    }

    /// The row of a member, even of a dead one.
    pub fn member(&self, member: Member) -> Option<&MemberRow> {
        self.members.get(&member)
    }

    /// The rows of the living members, sorted.
    pub fn living(&self) -> impl Iterator<Item = &MemberRow> {
        self.alive.iter().filter_map(|member| self.members.get(member))
    }

    /// The row of a claim.
    pub fn claim(&self, target: Target) -> Option<&ClaimRow> {
        self.claims.get(&target)
    }

    /// How many jobs of the project run, and its limit.
    pub fn load(&self, project: ProjectId) -> (u32, u32) {
        let running = self.running.get(&project).copied().unwrap_or(0);
        (running, self.projects.get(&project).copied().unwrap_or(0))
    }

    /// The projects, sorted by id.
    pub fn projects(&self) -> impl Iterator<Item = ProjectRow> {
        self.projects.iter().map(|(id, limit)| ProjectRow { id: *id, limit: *limit })
    }

    /// Whether the member is alive according to the metastore.
    pub fn is_alive(&self, member: Member) -> bool {
        self.alive.contains(&member)
    }

    fn is_up(&self, member: Member) -> bool {
        self.members.get(&member).is_some_and(|row| row.state == MemberState::Up)
    }

    /// Whether the member has the capabilities that the job requires.
    pub fn can_run(&self, member: Member, row: &JobRow) -> bool {
        self.members.get(&member).is_some_and(|member| member.can.covers(row.needs))
    }

    fn is_held(&self, row: &JobRow) -> bool {
        row.holder.is_some_and(|holder| self.is_alive(holder))
    }

    fn is_full(&self, project: ProjectId) -> bool {
        let (running, limit) = self.load(project);
        running >= limit
    }

    /// Performs one transaction. `name` identifies a joining node; the shell adds it.
    pub fn ask(&mut self, name: NodeId, ask: &Ask) -> Answer {
        if self.planted(Plant::FailoverLosesCommits) {
            self.replicate();
        }
        let any_life = self.planted(Plant::BeatNotScoped);
        match ask {
            Ask::Join { role, slots, can } => self.join(name, *role, *slots, *can),
            Ask::Beat { by, brief } => match self.members.get_mut(by).filter(|row| row.state.is_alive() || any_life) {
                Some(row) => {
                    row.beat += 1;
                    brief.as_deref().and_then(|brief| self.beats(brief)).unwrap_or_else(|| self.lists())
                }
                None => Answer::Refused,
            },
            Ask::List => self.lists(),
            Ask::Drain { by } => match self.members.get_mut(by).filter(|row| row.state.is_alive()) {
                Some(row) => {
                    row.state = MemberState::Draining;
                    Answer::Done
                }
                None => Answer::Refused,
            },
            Ask::Leave { by } => {
                if !self.is_alive(*by) {
                    return Answer::Refused;
                }
                self.die(*by, MemberState::Left);
                Answer::Done
            }
            Ask::Fence { member, evidence, beat, by } => self.fence(*member, *evidence, *beat, *by),
            Ask::Claim { target, epoch, by, force } => self.claim_for(*target, *epoch, *by, *force),
            Ask::Yield { target, epoch, by } => match self.claims.get_mut(target) {
                Some(claim) if claim.holder == Some(*by) && claim.epoch == *epoch => {
                    claim.holder = None;
                    Answer::Done
                }
                _ => Answer::Refused,
            },
            Ask::ListJobs => Answer::Jobs(self.open().copied().collect()),
            Ask::ReadJobs(ids) => {
                let ids: BTreeSet<_> = ids.iter().copied().collect();
                Answer::Jobs(ids.iter().filter_map(|id| self.job(*id)).copied().collect())
            }
            Ask::ListNode(node) => {
                let on_it = |row: &&JobRow| {
                    row.holder.is_some_and(|h| h.node == *node) || row.state.is_waiting() && row.placed == Some(*node)
                };
                Answer::Jobs(self.open().filter(on_it).copied().collect())
            }
            Ask::Submit { project, priority, placed, external, needs, key } => {
                self.submit(*project, *priority, *placed, *external, *needs, *key)
            }
            Ask::Place { fence, node } => {
                let fits = |s: &Self, row: &JobRow| row.epoch == fence.epoch && !s.is_held(row);
                self.change(fence.job, fits, |row| {
                    row.state = row.state.after(JobEvent::Place).ok()?;
                    row.placed = Some(*node);
                    Some(())
                })
            }
            Ask::Take { fence, by, in_order } => self.take(*fence, *by, *in_order),
            Ask::CommitStep { fence, by, step } => {
                let fenced = !self.planted(Plant::CommitNotFenced);
                let counted = !self.planted(Plant::StepNotCounted);
                let fits = |_: &Self, row: &JobRow| {
                    row.state == JobState::Running
                        && (!fenced || row.holder == Some(*by) && row.epoch == fence.epoch)
                        && (!counted || row.steps == *step)
                };
                self.change(fence.job, fits, |row| {
                    row.steps += 1;
                    Some(())
                })
            }
            Ask::Finish { fence, by, outcome } => self.finish(*fence, *by, *outcome),
            Ask::Release { fence, by, placed } => {
                let fits = |_: &Self, row: &JobRow| row.holder == Some(*by) && row.epoch == fence.epoch;
                let revives = self.planted(Plant::LateReleaseRevives);
                let forgets = self.planted(Plant::PriorityForgotten);
                self.change(fence.job, fits, |row| {
                    if revives {
                        row.state = JobState::Running;
                    }
                    if forgets {
                        row.priority = Priority(4);
                    }
                    if row.state == JobState::Running {
                        row.placed = *placed;
                    }
                    row.state = match (row.state, row.state.after(JobEvent::Release).ok()?) {
                        (JobState::Running, JobState::Ready) if placed.is_some() => JobState::Pending,
                        (_, state) => state,
                    };
                    row.holder = None;
                    Some(())
                })
            }
            Ask::Act { fence, state, action } => {
                let fits = |_: &Self, row: &JobRow| row.epoch == fence.epoch && row.state == *state;
                let kept = self.planted(Plant::DiscardedKept);
                let is_held = self.job(fence.job).is_some_and(|row| self.is_held(row));
                self.change(fence.job, fits, |row| {
                    row.holder = row.holder.filter(|_| is_held || kept);
                    row.state = row.state.after(JobEvent::Act(*action)).ok()?;
                    if row.state == JobState::Ready {
                        row.placed = None;
                    }
                    if *action == Action::Restart {
                        row.steps = 0;
                    }
                    Some(())
                })
            }
            Ask::SetSlots { member, slots } => match self.members.get_mut(member).filter(|row| row.state.is_alive()) {
                Some(row) => {
                    row.slots = *slots;
                    Answer::Done
                }
                None => Answer::Refused,
            },
            Ask::SetCan { member, can } => match self.members.get_mut(member).filter(|row| row.state.is_alive()) {
                Some(row) => {
                    row.can = *can;
                    Answer::Done
                }
                None => Answer::Refused,
            },
            Ask::SetLimit { project, limit } => match self.projects.get_mut(project) {
                Some(of) => {
                    *of = *limit;
                    Answer::Done
                }
                None => Answer::Refused,
            },
        }
    }

    fn lists(&self) -> Answer {
        Answer::Listed {
            members: self.living().copied().collect(),
            claims: self.claims.values().copied().collect(),
            projects: self.projects().collect(),
        }
    }

    /// The census of the lists.
    pub fn census(&self) -> Census {
        let (members, claims) = (self.living().copied().collect::<Vec<_>>(), self.claims.values().copied());
        Census::of(&members, &claims.collect::<Vec<_>>(), &self.projects().collect::<Vec<_>>())
    }

    /// The brief answer to a beat, if the lists match the sender's census.
    pub fn beats(&self, brief: &Brief) -> Option<Answer> {
        let is_same = self.census() == brief.census;
        let beats = self.living().filter(|row| brief.of.contains(&row.member)).map(|row| (row.member, row.beat));
        (is_same || self.planted(Plant::CensusNotTaken)).then(|| Answer::Beats(beats.collect()))
    }

    fn join(&mut self, node: NodeId, role: Role, slots: u32, can: Capabilities) -> Answer {
        if !self.planted(Plant::ReplacedStaysAlive) && !self.planted(Plant::IncarnationReused) {
            let replaced: Vec<_> = self.alive.iter().filter(|m| m.node == node).copied().collect();
            for member in replaced {
                self.die(member, MemberState::Fenced);
            }
        }
        let reused = self.planted(Plant::IncarnationReused);
        let count = self.incarnations.entry(node).or_insert(0);
        *count = if reused { 1 } else { *count + 1 };
        let member = Member::new(node.0, *count).expect("the count is at least 1");
        self.members.insert(member, MemberRow { member, state: MemberState::Up, role, slots, can, beat: 0 });
        self.alive.insert(member);
        Answer::Joined(member)
    }

    fn fence(&mut self, member: Member, evidence: Evidence, beat: Option<u64>, by: Member) -> Answer {
        if !self.is_alive(by) && !self.planted(Plant::FenceByTheDead) {
            return Answer::Refused;
        }
        let Some(row) = self.members.get(&member).filter(|row| row.state.is_alive()) else { return Answer::Done };
        if evidence == Evidence::Silent && beat != Some(row.beat) && !self.planted(Plant::FenceIgnoresBeat) {
            return Answer::Refused;
        }
        self.die(member, MemberState::Fenced);
        Answer::Done
    }

    /// Up or draining → left or fenced.
    fn die(&mut self, member: Member, state: MemberState) {
        if let Some(row) = self.members.get_mut(&member) {
            row.state = state;
        }
        self.alive.remove(&member);
        if self.planted(Plant::DiscardedKept) {
            return;
        }
        let left: Vec<_> = self
            .open()
            .filter(|row| row.holder == Some(member) && row.state != JobState::Running)
            .map(|row| row.id)
            .collect();
        for id in left {
            self.change(
                id,
                |_, _| true,
                |row| {
                    row.holder = None;
                    Some(())
                },
            );
        }
    }

    fn claim_for(&mut self, target: Target, epoch: Epoch, by: Member, force: bool) -> Answer {
        let before = self.claims.get(&target).copied().unwrap_or(ClaimRow { target, holder: None, epoch });
        let is_held = before.holder.is_some_and(|holder| self.is_alive(holder));
        if let Target::Project(project) = target
            && !self.projects.contains_key(&project)
        {
            return Answer::Refused;
        }
        let fenced = !self.planted(Plant::ClaimNotFenced);
        if fenced && (before.epoch != epoch || is_held && !force) || !self.is_up(by) {
            return Answer::Refused;
        }
        let epoch = Epoch(before.epoch.0 + 1);
        self.claims.insert(target, ClaimRow { target, holder: Some(by), epoch });
        Answer::Granted { epoch, steps: 0 }
    }

    fn submit(
        &mut self,
        project: ProjectId,
        priority: Priority,
        placed: Option<NodeId>,
        external: bool,
        needs: Capabilities,
        key: u128,
    ) -> Answer {
        let again = self.planted(Plant::SubmitNotIdempotent);
        if let Some(row) = self.keys.get(&key).and_then(|id| self.job(*id)).filter(|_| !again) {
            return Answer::Accepted { row: *row, fresh: false };
        }
        if !self.projects.contains_key(&project) {
            return Answer::Refused;
        }
        self.issued.0 += 1;
        let id = self.issued;
        let state = if placed.is_some() { JobState::Pending } else { JobState::Ready };
        let (epoch, holder) = (Epoch(0), None);
        let row = JobRow { id, project, priority, state, epoch, holder, placed, steps: 0, external, needs };
        self.open.insert(id, row);
        self.keys.insert(key, id);
        Answer::Accepted { row, fresh: true }
    }

    fn take(&mut self, fence: Fence, by: Member, in_order: bool) -> Answer {
        let Some(row) = self.job(fence.job).copied() else { return Answer::Refused };
        let fenced = !self.planted(Plant::TakeNotFenced);
        let Ok(state) = row.state.after(JobEvent::Take) else { return Answer::Refused };
        if fenced && (row.epoch != fence.epoch || self.is_held(&row)) || !self.is_up(by) {
            return Answer::Refused;
        }
        let able = |job: &JobRow| self.planted(Plant::GrantedToIncapable) || self.can_run(by, job);
        if !able(&row) {
            return Answer::Refused;
        }
        let is_before = |other: &JobRow| {
            other.state.is_waiting()
                && able(other)
                && (other.priority, other.id) < (row.priority, row.id)
                && !self.is_held(other)
                && !self.is_full(other.project)
        };
        let in_order = in_order && row.state.is_waiting() && !self.planted(Plant::OrderIgnored);
        if in_order && self.open().any(is_before) {
            return Answer::Refused;
        }
        if row.state != JobState::Running && self.is_full(row.project) && !self.planted(Plant::LimitIgnored) {
            return Answer::Full;
        }
        let kept = self.planted(Plant::EpochKept) && row.state == JobState::Running;
        let epoch = if kept { row.epoch } else { Epoch(row.epoch.0 + 1) };
        self.change(
            fence.job,
            |_, _| true,
            |row| {
                (row.state, row.epoch, row.holder, row.placed) = (state, epoch, Some(by), Some(by.node));
                Some(())
            },
        );
        Answer::Granted { epoch, steps: row.steps }
    }

    fn finish(&mut self, fence: Fence, by: Member, outcome: Outcome) -> Answer {
        let fenced = !self.planted(Plant::FinishNotFenced);
        let revives = self.planted(Plant::LateFinishRevives);
        let fits = |_: &Self, row: &JobRow| !fenced || (row.holder == Some(by) || revives) && row.epoch == fence.epoch;
        let again = self.planted(Plant::PublishedAgain);
        if again && self.job(fence.job).is_some_and(|row| row.state == JobState::Succeed && row.epoch == fence.epoch) {
            return Answer::Done;
        }
        self.change(fence.job, fits, |row| {
            if revives {
                row.state = JobState::Running;
            }
            row.state = row.state.after(JobEvent::Finish(outcome)).ok()?;
            row.holder = None;
            Some(())
        })
    }

    /// Changes the row if `fits` and `to` allow it, and keeps the indexes up to date.
    fn change(
        &mut self,
        id: JobId,
        fits: impl FnOnce(&Self, &JobRow) -> bool,
        to: impl FnOnce(&mut JobRow) -> Option<()>,
    ) -> Answer {
        let Some(before) = self.job(id).copied() else { return Answer::Refused };
        let mut row = before;
        if !fits(self, &before) || to(&mut row).is_none() {
            return Answer::Refused;
        }
        let leaks = self.planted(Plant::PlacesLeak) && row.state.is_waiting();
        if before.state == JobState::Running && !leaks {
            *self.running.entry(row.project).or_insert(0) -= 1;
        }
        if row.state == JobState::Running {
            *self.running.entry(row.project).or_insert(0) += 1;
        }
        if row.state.is_final() && row.holder.is_none() {
            self.open.remove(&id);
        }
        let rows = if self.open.contains_key(&id) { &mut self.open } else { &mut self.ended };
        rows.insert(id, row);
        Answer::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_with(nodes: u32) -> (Store, Vec<Member>) {
        let mut store = Store::new([ProjectRow { id: ProjectId(1), limit: 1 }]);
        let members = (1..=nodes).map(|node| {
            match store.ask(NodeId(node), &Ask::Join { role: Role::All, slots: 1, can: Capabilities(1) }) {
                Answer::Joined(member) => member,
                other => panic!("{other:?}"),
            }
        });
        let members = members.collect();
        (store, members)
    }

    fn submit(store: &mut Store, key: u128) -> JobRow {
        submit_that_needs(store, Capabilities::NONE, key)
    }

    fn submit_that_needs(store: &mut Store, needs: Capabilities, key: u128) -> JobRow {
        let (project, priority, placed) = (ProjectId(1), Priority(3), None);
        match store.ask(NodeId(1), &Ask::Submit { project, priority, placed, external: false, needs, key }) {
            Answer::Accepted { row, .. } => row,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_takeover_is_one_transition_under_the_next_epoch() {
        let (mut store, m) = store_with(2);
        let job = submit(&mut store, 1);
        let granted = store.ask(m[0].node, &Ask::Take { fence: job.fence(), by: m[0], in_order: false });
        assert_eq!(granted, Answer::Granted { epoch: Epoch(1), steps: 0 });
        let stale = Fence { job: job.id, epoch: Epoch(1) };
        let take = Ask::Take { fence: stale, by: m[1], in_order: false };
        assert_eq!(store.ask(m[1].node, &take), Answer::Refused, "its holder is alive");
        let fence = Ask::Fence { member: m[0], evidence: Evidence::Exited, beat: None, by: m[1] };
        assert_eq!(store.ask(m[1].node, &fence), Answer::Done);
        assert_eq!(store.ask(m[1].node, &take), Answer::Granted { epoch: Epoch(2), steps: 0 });
        let commit = Ask::CommitStep { fence: stale, by: m[0], step: 0 };
        assert_eq!(store.ask(m[0].node, &commit), Answer::Refused);
    }

    #[test]
    fn a_full_project_is_distinguished_from_a_refusal() {
        let (mut store, m) = store_with(1);
        let (a, b) = (submit(&mut store, 1), submit(&mut store, 2));
        assert_eq!(submit(&mut store, 1), a, "the same key is the same job");
        store.ask(m[0].node, &Ask::Take { fence: a.fence(), by: m[0], in_order: false });
        let take = Ask::Take { fence: b.fence(), by: m[0], in_order: false };
        assert_eq!(store.ask(m[0].node, &take), Answer::Full);
    }

    #[test]
    fn a_job_is_granted_only_to_a_member_that_can_run_it() {
        let (mut store, m) = store_with(1);
        let (first, second) =
            (submit_that_needs(&mut store, Capabilities(2), 1), submit_that_needs(&mut store, Capabilities(1), 2));
        let take = |job: &JobRow| Ask::Take { fence: job.fence(), by: m[0], in_order: true };
        assert_eq!(store.ask(m[0].node, &take(&first)), Answer::Refused);
        let granted = Answer::Granted { epoch: Epoch(1), steps: 0 };
        assert_eq!(store.ask(m[0].node, &take(&second)), granted, "this member cannot run the first job");
        store.ask(m[0].node, &Ask::SetCan { member: m[0], can: Capabilities(2) });
        assert_eq!(store.ask(m[0].node, &take(&first)), Answer::Full);
    }

    #[test]
    fn a_dead_member_loses_the_jobs_that_are_not_running() {
        let (mut store, m) = store_with(2);
        let job = submit(&mut store, 1);
        store.ask(m[0].node, &Ask::Take { fence: job.fence(), by: m[0], in_order: false });
        let fence = Fence { job: job.id, epoch: Epoch(1) };
        store.ask(m[1].node, &Ask::Act { fence, state: JobState::Running, action: Action::Discard });
        assert_eq!(store.open().count(), 1, "ended, but still held");
        store.ask(m[0].node, &Ask::Leave { by: m[0] });
        assert_eq!(store.open().count(), 0);
        assert_eq!(store.job(job.id).map(|row| (row.state, row.holder)), Some((JobState::Discarded, None)));
    }
}
