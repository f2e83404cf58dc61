//! Checks every transaction of the metastore.

use kirin_core::ask::{Epoch, Fence};
use kirin_core::job::{JobState, Outcome};
use kirin_core::timing::RATE_ERROR_PERCENT;
use kirin_core::{Answer, Ask, ClaimRow, Evidence, Member, MemberState, NodeId};

use super::{Judge, Scene};
use crate::act::Host;
use crate::host::{Machine, Process, Run};
use crate::store::{JobRow, Store};

/// How long a node may be unaware of a written placement: the longest poll, and a margin.
const NEWS_US_MAX: u64 = 12_000_000;

/// The state before a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    /// The row of the job concerned.
    pub(crate) job: Option<JobRow>,
    /// The row of the claim concerned.
    pub(crate) claim: Option<ClaimRow>,
    /// Whether the member concerned was alive.
    pub(crate) alive: bool,
}

impl Before {
    pub(crate) fn of(ask: &Ask, store: &Store) -> Self {
        let job = match ask {
            Ask::Take { fence, .. }
            | Ask::CommitStep { fence, .. }
            | Ask::Finish { fence, .. }
            | Ask::Release { fence, .. }
            | Ask::Act { fence, .. }
            | Ask::Place { fence, .. } => store.job(fence.job).copied(),
            _ => None,
        };
        let claim = match ask {
            Ask::Claim { target, .. } | Ask::Yield { target, .. } => store.claim(*target).copied(),
            _ => None,
        };
        let alive = match ask {
            Ask::Beat { by, .. } | Ask::Leave { by } | Ask::Drain { by } => store.is_alive(*by),
            Ask::Fence { member, .. } => store.is_alive(*member),
            _ => false,
        };
        Self { job, claim, alive }
    }
}

impl Judge {
    /// Checks a transaction after it was executed.
    pub(crate) fn after(&mut self, scene: &Scene<'_>, host: Host, ask: &Ask, before: &Before, answer: &Answer) {
        let (now, store) = (scene.now, scene.store);
        if let Some(job) = &before.job {
            self.changed(scene, ask, job, answer);
        }
        match (ask, answer) {
            (Ask::Join { .. }, Answer::Joined(me)) => self.joined(scene, *me),
            (Ask::Beat { by, .. }, Answer::Listed { .. } | Answer::Beats(_)) => {
                if !before.alive {
                    self.found(now, "stale-fence-refused", format!("{by:?} is dead but its beat was accepted"));
                }
                self.beats.insert(*by, now);
                if matches!(answer, Answer::Beats(_)) {
                    self.count("brief beat answered");
                }
            }
            (Ask::Beat { .. }, Answer::Refused) => self.count("beat of a dead member refused"),
            (Ask::Leave { by }, Answer::Done) => {
                if let Some((fence, _)) = scene.process(*by).and_then(|p| p.runs.iter().find(|r| r.1.member == *by)) {
                    self.found(now, "one-live-attempt", format!("{by:?} has left while {fence:?} still runs there"));
                }
                self.able(now, by.node, store);
            }
            (Ask::Drain { by }, Answer::Done) => self.able(now, by.node, store),
            (Ask::SetSlots { member, .. }, Answer::Done) => self.able(now, member.node, store),
            (Ask::SetCan { member, can }, Answer::Done) => {
                self.ability_changed(now, member.node);
                if store.open().any(|row| row.holder == Some(*member) && !can.covers(row.needs)) {
                    self.count("lost a capability while a job that requires it ran");
                }
            }
            (Ask::Fence { member, evidence, by, .. }, Answer::Done) if before.alive => {
                self.fenced(scene, *member, *evidence, *by);
                self.able(now, member.node, store);
            }
            (Ask::Fence { .. }, Answer::Refused) => self.count("fence refused"),
            (Ask::Submit { key, .. }, Answer::Accepted { row, fresh }) => {
                let known = *self.accepted.entry(*key).or_insert(row.id);
                if known != row.id {
                    self.found(now, "accepted-once", format!("key {key} is {known:?} and {:?}", row.id));
                }
                let is_query = scene.machines.get(host.0 as usize - 1).is_some_and(|m| !m.role.runs_jobs());
                if *fresh && is_query {
                    self.count("accepted by a query node");
                } else if !fresh {
                    self.count("submitted twice, accepted once");
                }
            }
            (Ask::Claim { target, epoch, by, force }, Answer::Granted { epoch: granted, .. }) => {
                self.count("claim granted");
                let seen = before.claim.map_or(*epoch, |claim| claim.epoch);
                if before.claim.is_none() && self.forgotten.contains(target) {
                    self.count("claim recreated");
                }
                let holder = before.claim.and_then(|claim| claim.holder);
                if holder.is_some() {
                    self.count("claim moved");
                }
                if let Some(holder) = holder.filter(|holder| store.is_alive(*holder) && !force) {
                    let what = format!("{target:?} held by {holder:?} was granted to {by:?}");
                    self.found(now, "one-holder", what);
                }
                if *epoch != seen || granted.0 != seen.0 + 1 {
                    let what = format!("{target:?}: {by:?} saw {epoch:?}, {seen:?} became {granted:?}");
                    self.found(now, "epochs-grow", what);
                }
            }
            (Ask::Yield { target, epoch, by }, Answer::Done)
                if before.claim.is_none_or(|claim| claim.holder != Some(*by) || claim.epoch != *epoch) =>
            {
                self.found(now, "stale-fence-refused", format!("{by:?} gave back {target:?}, which it does not hold"));
            }
            _ => {}
        }
    }

    /// Checks a transaction on a job.
    fn changed(&mut self, scene: &Scene<'_>, ask: &Ask, before: &JobRow, answer: &Answer) {
        let (now, store) = (scene.now, scene.store);
        let Some(row) = store.job(before.id).copied() else { return };
        let took = matches!((ask, answer), (Ask::Take { .. }, Answer::Granted { .. }));
        if row.epoch.0 != before.epoch.0 + u64::from(took) {
            self.found(now, "epochs-grow", format!("{ask:?}: epoch {:?} became {:?}", before.epoch, row.epoch));
        }
        if before.state.is_final() && row.state != before.state {
            let what = format!("{ask:?}: {:?} was {:?} and is {:?}", row.id, before.state, row.state);
            self.found(now, "over-is-over", what);
        }
        if row.priority != before.priority {
            let what = format!("{ask:?}: {:?} had {:?} and has {:?}", row.id, before.priority, row.priority);
            self.found(now, "fifo", what);
        }
        let come = self.come.entry(row.id).or_insert((before.epoch, before.steps));
        if before.epoch < come.0 || before.epoch == come.0 && before.steps < come.1 {
            let what = format!("{:?} had come to {come:?} and is {before:?}", row.id);
            return self.found(now, "nothing-lost", what);
        }
        *come = (row.epoch, row.steps);
        match (ask, answer) {
            (Ask::Take { fence, by, in_order }, Answer::Granted { epoch, .. }) => {
                self.granted(scene, *fence, *by, *epoch, before);
                if *in_order && self.in_order {
                    self.is_first(now, *by, before, store);
                }
            }
            (Ask::Take { .. }, Answer::Full) => self.count("project full"),
            (Ask::Take { .. }, Answer::Refused) => self.count("take refused"),
            (Ask::CommitStep { fence, by, step }, Answer::Done) => {
                self.wrote(now, *fence, *by, before);
                if before.steps != *step {
                    let what = format!("{fence:?} committed step {step} where {} are committed", before.steps);
                    self.found(now, "no-step-done-twice", what);
                }
            }
            (Ask::Finish { fence, by, outcome }, Answer::Done) => {
                if *outcome == Outcome::Succeeded {
                    self.count("published");
                    if !self.published.insert(fence.job) {
                        self.found(now, "published-once", format!("{:?} was published again", fence.job));
                    }
                }
                self.wrote(now, *fence, *by, before);
            }
            (Ask::Release { fence, by, .. }, Answer::Done) => {
                self.wrote(now, *fence, *by, before);
                self.released(scene, *fence, *by, &row);
            }
            (Ask::CommitStep { .. } | Ask::Finish { .. } | Ask::Release { .. }, Answer::Refused) => {
                self.count("stale fence refused");
                if before.state.is_final() {
                    self.count("write to an ended job refused");
                }
            }
            (Ask::Act { .. }, Answer::Done) if row.state == JobState::Discarded => self.count("discarded"),
            (Ask::Place { node, .. }, Answer::Done) => self.moved(scene, *node, before),
            _ => {}
        }
    }

    fn joined(&mut self, scene: &Scene<'_>, me: Member) {
        let now = scene.now;
        let last = self.incarnations.insert(me.node, me.incarnation.get()).unwrap_or(0);
        if me.incarnation.get() <= last {
            self.found(now, "epochs-grow", format!("{me:?} joined after incarnation {last}"));
        }
        if let Some(other) = scene.store.living().find(|row| row.member.node == me.node && row.member != me) {
            self.found(now, "one-life-per-node", format!("{:?} is alive together with {me:?}", other.member));
        }
        if last > 0 {
            self.count("joined again");
        }
        self.beats.insert(me, now);
        self.able(now, me.node, scene.store);
    }

    /// Records since when the node has had a member that may run jobs.
    fn able(&mut self, now: u64, node: NodeId, store: &Store) {
        let able = store.living().any(|row| {
            row.member.node == node && row.state == MemberState::Up && row.role.runs_jobs() && row.slots > 0
        });
        if able {
            self.able_since.entry(node).or_insert(now);
        } else {
            self.able_since.remove(&node);
        }
    }

    // --- deaths ---

    /// The metastore declared a living member dead.
    fn fenced(&mut self, scene: &Scene<'_>, member: Member, evidence: Evidence, by: Member) {
        let now = scene.now;
        if !scene.store.is_alive(by) {
            self.found(now, "stale-fence-refused", format!("{member:?} was fenced by {by:?}, which is dead"));
        }
        let process = scene.process(member);
        if evidence == Evidence::Silent {
            self.silenced.insert(member, by);
        }
        match evidence {
            Evidence::Exited if process.is_some() => {
                self.found(now, "no-false-takeover", format!("{member:?} was declared exited by {by:?} but runs"));
            }
            // A member whose clock is wrong beyond the bound may call any other silent.
            Evidence::Silent if scene.process(by).is_some_and(Process::keeps_time) => self.called_silent(scene, member),
            _ => {}
        }
        let recently = 2 * self.round();
        if scene.is_quiet() && self.undisturbed_for(now) > recently && self.zookeeper_at + recently > now {
            let what = format!("only ZooKeeper had a fault, but {by:?} declared {member:?} dead");
            self.found(now, "zookeeper-is-advice", what);
        }
    }

    fn called_silent(&mut self, scene: &Scene<'_>, member: Member) {
        let now = scene.now;
        // Silence counts only while beats could be heard: entirely before the blind time or entirely after it.
        let (heard, (began, until)) = (self.beats.get(&member).copied().unwrap_or(0), self.blinded);
        let silent_for = if heard < until { began.saturating_sub(heard).max(now - until) } else { now - heard };
        let least = self.timing.timeout().scaled(100, 100 + RATE_ERROR_PERCENT).micros();
        if silent_for + 1_000 < least {
            let what = format!("{member:?} was declared silent after only {silent_for} us without a beat");
            return self.found(now, "no-false-takeover", what);
        }
        let (Some(process), Some(machine)) = (scene.process(member), scene.machine(member.node)) else { return };
        if !machine.acts_in_time(now) {
            return;
        }
        self.count("silent but running");
        if process.node.trust_left(process.local(now)).is_some() {
            return self.found(
                now,
                "trust-ends-early",
                format!("{member:?} was declared silent but still trusts itself"),
            );
        }
        let external = process.runs.iter().find(|(_, run)| run.external && !run.cancelled);
        if let Some((fence, _)) = external {
            let what = format!("{member:?} was declared silent but its external attempt {fence:?} was not stopped");
            self.found(now, "trust-ends-early", what);
        }
    }

    // --- jobs ---

    /// A write under a fence was accepted.
    fn wrote(&mut self, now: u64, fence: Fence, by: Member, before: &JobRow) {
        if before.epoch != fence.epoch || before.holder != Some(by) {
            self.found(now, "stale-fence-refused", format!("{by:?} wrote under {fence:?} to {before:?}"));
        }
    }

    fn granted(&mut self, scene: &Scene<'_>, fence: Fence, by: Member, epoch: Epoch, before: &JobRow) {
        let (now, store) = (scene.now, scene.store);
        if let Some(holder) = before.holder.filter(|holder| store.is_alive(*holder)) {
            self.found(now, "one-holder", format!("{:?} held by {holder:?} was granted to {by:?}", fence.job));
        }
        if before.epoch != fence.epoch {
            self.found(now, "one-holder", format!("{by:?} took {fence:?} while the epoch was {:?}", before.epoch));
        }
        if before.state == JobState::Running {
            self.count("takeover");
        } else {
            self.starts += 1;
            let (running, limit) = store.load(before.project);
            if running > limit {
                self.found(now, "limits", format!("{:?} runs {running} of {limit} jobs", before.project));
            }
            if store.projects().any(|p| p.id != before.project && p.limit > 0 && store.load(p.id).0 >= p.limit) {
                self.count("started beside a full project");
            }
        }
        if scene.process(by).is_some_and(|process| process.node.phase_name() == "draining") {
            self.count("granted while draining");
        }
        if !store.can_run(by, before) {
            let what = format!("{by:?} was granted {:?}, which requires {:?}", fence.job, before.needs);
            self.found(now, "only-capable-nodes-run", what);
        }
        if store.living().any(|row| row.role.runs_jobs() && !row.can.covers(before.needs)) {
            self.count("took a job that not every node can run");
        }
        self.granted_to.insert((fence.job, by.node));
        let old: Vec<_> = self.attempts(scene, fence).filter(|(_, old, _)| old.epoch < epoch).collect();
        for (machine, old, run) in old {
            if store.is_alive(run.member) {
                let what = format!("{by:?} took {old:?}, whose attempt still runs on {:?}", run.member);
                return self.found(now, "one-live-attempt", what);
            }
            let excused = !machine.acts_in_time(now) && !machine.workers_act_in_time();
            if run.external && !run.cancelled && !excused && self.was_silent(run.member, now) {
                let what = format!("{by:?} took {old:?}, whose external attempt still runs on {:?}", run.member);
                return self.found(now, "one-live-attempt", what);
            }
            self.count("taken over from a member that still runs");
        }
    }

    /// The running attempts at a job, with their machines. Only nodes that were granted the job can have begun one.
    fn attempts<'a>(&self, scene: &Scene<'a>, of: Fence) -> impl Iterator<Item = (&'a Machine, Fence, Run)> {
        let nodes = self.granted_to.range((of.job, NodeId(0))..=(of.job, NodeId(u32::MAX)));
        let machines = nodes.filter_map(|(_, node)| scene.machine(*node));
        let runs = machines.flat_map(|machine| machine.process.iter().map(move |process| (machine, &process.runs)));
        runs.flat_map(move |(machine, runs)| {
            let of_job = runs.iter().filter(move |(fence, _)| fence.job == of.job);
            of_job.map(move |(fence, run)| (machine, *fence, *run))
        })
    }

    /// Whether the member was silent for the timeout, as opposed to replaced by its successor.
    fn was_silent(&self, member: Member, now: u64) -> bool {
        let successor = self.incarnations.get(&member.node).is_some_and(|last| *last > member.incarnation.get());
        !successor
            && now - self.beats.get(&member).copied().unwrap_or(0) >= self.timing.timeout().scaled(95, 100).micros()
    }

    /// A job was started in the order of the entire cluster: no job that the member can run may precede it.
    fn is_first(&mut self, now: u64, by: Member, row: &JobRow, store: &Store) {
        if row.state == JobState::Running {
            return;
        }
        self.count("started in the order of the cluster");
        let passed = store.open().find(|other| {
            let (running, limit) = store.load(other.project);
            let mine = u32::from(other.project == row.project);
            other.state.is_waiting()
                && store.can_run(by, other)
                && other.holder.is_none()
                && (other.priority, other.id) < (row.priority, row.id)
                && running.saturating_sub(mine) < limit
        });
        if let Some(other) = passed {
            self.found(now, "fifo", format!("{:?} was started before {:?}", row.id, other.id));
        }
    }

    /// A job was handed back: its attempt must have stopped.
    fn released(&mut self, scene: &Scene<'_>, fence: Fence, by: Member, row: &JobRow) {
        if self.attempts(scene, fence).any(|(_, other, _)| other == fence) {
            self.found(scene.now, "one-live-attempt", format!("{fence:?} was handed back but still runs"));
        }
        self.count("handed back");
        self.handed_over(scene, by, row);
    }

    /// The placement of a waiting job was changed.
    fn moved(&mut self, scene: &Scene<'_>, to: NodeId, before: &JobRow) {
        let Some(from) = before.placed.filter(|from| *from != to) else { return };
        self.count("placed again");
        let now = scene.now;
        // The next member that moves it, the leader or a draining node, may not know of the last move until its next
        // poll.
        let settled = self.placed_at.insert(before.id, now).is_none_or(|at| now - at > NEWS_US_MAX);
        let since = self.able_since.get(&from).max(self.changed_at.get(&from));
        let can = scene.store.living().any(|row| row.member.node == from && row.can.covers(before.needs));
        let is_able = can && since.is_some_and(|since| now - since > 2 * self.round());
        // A node that is about to drain moves its queue itself.
        let process = scene.machine(from).and_then(|m| m.process.as_ref());
        let is_up = process.is_some_and(|p| p.node.phase_name() == "up" && now - p.begun > self.round());
        if settled && is_able && is_up && !self.leader_only && scene.is_quiet() {
            let what = format!("{:?} was moved from {from:?}, which is healthy, to {to:?}", before.id);
            self.found(now, "least-movement", what);
        }
    }
}
