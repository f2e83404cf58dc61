//! Checks at intervals: what should have happened by this time.

use std::collections::{BTreeMap, BTreeSet};

use kirin_core::ask::{Epoch, JobId};
use kirin_core::job::JobState;
use kirin_core::timing::RATE_ERROR_PERCENT;
use kirin_core::{Capabilities, Member, MemberRow, MemberState, Span, Target};

use super::{Judge, Scene, has_free_slot, running};
use crate::act::Host;
use crate::store::JobRow;

/// How long a job may wait although it may start and a slot is free: the longest poll, and a margin.
const WAIT_US_MAX: u64 = 15_000_000;

/// How a member ended, or gave up a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Exited,
    Silent,
    Restarted,
    HandedOver,
}

/// The end of a member, or a hand-over: its jobs must be inherited within a bound.
#[derive(Clone, Debug)]
pub(crate) struct End {
    member: Member,
    ending: Ending,
    at: u64,
    /// When to check.
    pub(crate) due: u64,
    jobs: Vec<(JobId, Epoch)>,
    /// The capabilities needed to inherit all of it.
    needs: Capabilities,
    disturbances: u64,
    /// How many jobs had been started for the first time.
    starts: u64,
}

impl Judge {
    // --- takeover-in-time ---

    /// A member has died, or is about to be declared dead.
    pub(crate) fn died(&mut self, scene: &Scene<'_>, member: Member, exited: bool) {
        let ending = if exited { Ending::Exited } else { Ending::Silent };
        // The death itself is the last disturbance. The cluster must have recovered from the one before.
        self.ends(scene, member, ending, self.disturbed_at[1]);
    }

    /// The process of a dead member was restarted at once.
    pub(crate) fn restarted(&mut self, scene: &Scene<'_>, member: Member) {
        self.ends(scene, member, Ending::Restarted, self.disturbed_at[0]);
    }

    fn ends(&mut self, scene: &Scene<'_>, member: Member, ending: Ending, disturbed_at: u64) {
        let (now, store) = (scene.now, scene.store);
        let held = store.open().filter(|row| row.holder == Some(member) && row.state == JobState::Running);
        let mut needs = Capabilities::NONE;
        let jobs: Vec<_> = held.inspect(|row| needs = needs.or(row.needs)).map(|row| (row.id, row.epoch)).collect();
        let recovered = now - disturbed_at > (self.timing.timeout() + self.timing.timeout()).micros();
        if jobs.is_empty() || !scene.is_quiet() || !recovered || !store.is_alive(member) || self.leader_only {
            return;
        }
        if has_free_slot(store, member.node, needs) {
            self.promise(scene, member, ending, jobs, needs);
        }
    }

    /// A job was handed back.
    pub(super) fn handed_over(&mut self, scene: &Scene<'_>, by: Member, row: &JobRow) {
        let alone = self.leader_only || self.in_order;
        let last = if self.last_is_drain { self.disturbed_at[1] } else { self.disturbed_at[2] };
        let recovered = scene.now - last > 2 * self.round();
        let due = row.state.is_waiting() && scene.is_quiet() && recovered && !alone;
        if due && has_free_slot(scene.store, by.node, row.needs) {
            self.promise(scene, by, Ending::HandedOver, vec![(row.id, row.epoch)], row.needs);
        }
    }

    fn promise(
        &mut self,
        scene: &Scene<'_>,
        member: Member,
        ending: Ending,
        jobs: Vec<(JobId, Epoch)>,
        needs: Capabilities,
    ) {
        let now = scene.now;
        let slow = |span: Span| span.scaled(100, 100 - 2 * RATE_ERROR_PERCENT).micros();
        let bound = match ending {
            Ending::Exited | Ending::HandedOver => 1_000_000,
            // Joining takes time as well.
            Ending::Restarted => 2_000_000,
            Ending::Silent => slow(self.timing.timeout()) + slow(self.timing.interval()) + 1_000_000,
        };
        // The other version waits longer before it takes jobs of other homes, and may not have understood a message.
        let other_version = scene.machines.iter().any(|machine| machine.version != 1);
        let bound = bound + if other_version { 1_000_000 } else { 0 };
        let (disturbances, starts) = (self.disturbances, self.starts);
        self.ends.push(End { member, ending, at: now, due: now + bound, jobs, needs, disturbances, starts });
    }

    /// When the next promise is due.
    pub(crate) fn promised_at(&self) -> Option<u64> {
        self.ends.iter().map(|end| end.due).min()
    }

    /// Checks whether the jobs of due promises were inherited.
    pub(crate) fn inspect(&mut self, scene: &Scene<'_>) {
        let due: Vec<_> = self.ends.extract_if(.., |end| end.due <= scene.now).collect();
        for end in due {
            self.inspect_one(scene, end);
        }
    }

    fn inspect_one(&mut self, scene: &Scene<'_>, end: End) {
        let End { member, ending, at, jobs, needs, disturbances, starts, .. } = end;
        let (now, store) = (scene.now, scene.store);
        let stands = |id: JobId, epoch: Epoch| store.job(id).filter(|row| row.epoch == epoch).copied();
        if ending == Ending::HandedOver {
            let took = jobs.iter().all(|(id, epoch)| stands(*id, *epoch).is_none());
            if took {
                return self.count("takeover in time after a hand-over");
            }
        }
        // Whether a slot was free when it ended, and no other job has taken it.
        let same = disturbances == self.disturbances && starts == self.starts;
        if !scene.is_quiet() || !same || !has_free_slot(store, member.node, needs) {
            return;
        }
        self.count(match ending {
            Ending::Exited => "takeover in time after an exit",
            Ending::Silent => "takeover in time after silence",
            Ending::Restarted => "takeover in time after a restart",
            Ending::HandedOver => "hand-over checked",
        });
        let running = running(store);
        for (id, epoch) in jobs {
            let Some(row) = stands(id, epoch) else { continue };
            let (running, limit) = (running.get(&row.project).copied().unwrap_or(0), store.load(row.project).1);
            let waits = match ending {
                Ending::HandedOver => row.state.is_waiting() && row.holder.is_none() && running < limit,
                _ => row.state == JobState::Running,
            };
            if waits {
                let what = format!("{id:?} of {member:?}, {ending:?} {} us ago, has no heir", now - at);
                self.found(now, "takeover-in-time", what);
            }
        }
    }

    // --- inspection of the entire state ---

    /// Inspects the entire state.
    pub(crate) fn look(&mut self, scene: &Scene<'_>) {
        self.look_at_counts(scene);
        if !scene.is_quiet() {
            self.waits.clear();
            return;
        }
        self.look_at_waiting(scene);
        if self.undisturbed_for(scene.now) > 2 * self.round() {
            self.look_at_members(scene);
            self.look_at_claims(scene);
        }
    }

    /// Checks that no more jobs run than the metastore has counted, because it enforces limits by its count.
    fn look_at_counts(&mut self, scene: &Scene<'_>) {
        for (project, running) in running(scene.store) {
            let counted = scene.store.load(project).0;
            if running > counted {
                let what = format!("{running} jobs of {project:?} run, and {counted} are counted");
                return self.found(scene.now, "limits", what);
            }
        }
    }

    /// Fairness: a job that may start must start.
    fn look_at_waiting(&mut self, scene: &Scene<'_>) {
        let (now, store) = (scene.now, scene.store);
        let mut held: BTreeMap<Member, u32> = BTreeMap::new();
        for holder in store.open().filter_map(|row| row.holder) {
            *held.entry(holder).or_insert(0) += 1;
        }
        let leader = store.claim(Target::Leader).and_then(|claim| claim.holder);
        let is_free = |row: &&MemberRow| {
            row.state == MemberState::Up
                && row.role.runs_jobs()
                && held.get(&row.member).copied().unwrap_or(0) < row.slots
                && (!self.leader_only || leader == Some(row.member))
                && scene.process(row.member).is_some_and(|p| p.node.phase_name() == "up")
        };
        let free: Vec<_> = store.living().filter(is_free).map(|row| row.can).collect();
        let runs_jobs = |row: &&MemberRow| row.state == MemberState::Up && row.role.runs_jobs();
        let able: Vec<_> = store.living().filter(runs_jobs).map(|row| row.can).collect();
        let (running, mut full) = (running(store), false);
        let mut may_start: Vec<_> = Vec::new();
        for row in store.open().filter(|row| row.state.is_waiting() && row.holder.is_none()) {
            if !able.is_empty() && !able.iter().any(|can| can.covers(row.needs)) {
                self.count("waits because no node can run it");
            } else if able.iter().any(|can| !can.covers(row.needs)) {
                self.count("a node that can't run it saw a job wait");
            }
            if running.get(&row.project).copied().unwrap_or(0) < store.load(row.project).1 {
                may_start.push((row.priority, row.id, row.needs));
            } else {
                full = true;
            }
        }
        if full {
            self.count("waits because its project is full");
        }
        if !may_start.is_empty() && scene.machines.iter().any(|m| !m.role.runs_jobs() && m.process.is_some()) {
            self.count("a query node saw a job wait");
        }
        if self.in_order {
            // Only jobs that some node can run. The others block nothing.
            may_start.retain(|(.., needs)| able.iter().any(|can| can.covers(*needs)));
            may_start = may_start.into_iter().min().into_iter().collect();
        }
        may_start.retain(|(.., needs)| free.iter().any(|can| can.covers(*needs)));
        let still: BTreeSet<_> = may_start.iter().map(|(_, id, _)| *id).collect();
        self.waits.retain(|id, _| still.contains(id));
        let not_before = self.disturbed_at[2] + self.round();
        for (_, id, _) in may_start {
            let since = *self.waits.entry(id).or_insert(now.max(not_before));
            if now > since + WAIT_US_MAX {
                let what = format!("{id:?} has been waiting for {} us beside a free slot", now - since);
                return self.found(now, "fairness", what);
            }
        }
    }

    /// Every running process must be a living member.
    fn look_at_members(&mut self, scene: &Scene<'_>) {
        let round = 2 * self.round();
        for (machine, host) in scene.machines.iter().zip(1..) {
            let Some(process) = machine.process.as_ref().filter(|p| scene.now - p.begun > round) else { continue };
            let me = process.node.me().filter(|me| scene.store.is_alive(*me));
            if me.is_none() {
                let what = format!("{} runs but is not a member: {:?}", Host(host), process.node.me());
                self.found(scene.now, "always-goes-on", what);
            }
        }
    }

    /// The holder of a claim must lead, and no other member.
    fn look_at_claims(&mut self, scene: &Scene<'_>) {
        let (now, store) = (scene.now, scene.store);
        let up = |m: Member| store.member(m).is_some_and(|row| row.state == MemberState::Up) && store.is_alive(m);
        // A holder whose process has ended cannot lead, and there may be no member left to declare it dead.
        let able = store
            .living()
            .any(|row| row.state == MemberState::Up && row.role.runs_jobs() && scene.process(row.member).is_some());
        let leader = store.claim(Target::Leader).and_then(|claim| claim.holder).filter(|m| up(*m));
        if able && leader.is_none() {
            self.found(now, "holder-leads", "there is no leader".to_owned());
        }
        let targets = core::iter::once(Target::Leader).chain(store.projects().map(|p| Target::Project(p.id)));
        for target in targets {
            let held = store.claim(target).and_then(|claim| Some((claim.holder.filter(|m| up(*m))?, claim.epoch)));
            for process in scene.machines.iter().filter_map(|m| m.process.as_ref()) {
                let leads = process.leads.get(&target).copied();
                let should = held.filter(|(m, _)| process.node.me() == Some(*m)).map(|(_, epoch)| epoch);
                if leads != should {
                    let me = process.node.me();
                    let what = format!("{me:?} leads {target:?} under {leads:?}, and holds it under {should:?}");
                    return self.found(now, "holder-leads", what);
                }
            }
        }
    }
}
