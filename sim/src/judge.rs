//! The judge: what must hold after every event, whatever happens. It outlives restarts, and knows the truth that no node
//! knows: what the metastore committed, which processes run, which clocks are wrong.
//!
//! | rule | it says |
//! |---|---|
//! | one-holder | a job or claim changes hands only when its holder is not alive (or by force, for claims) |
//! | epochs-grow | an epoch grows by one with each holder, and by nothing else |
//! | stale-fence-refused | no write is accepted from anybody but the current holder under the current epoch |
//! | one-live-attempt | an attempt is over, or told to stop by a fenced member, before the next one is granted |
//! | published-once | a result is published once, and never after the job was over |
//! | no-step-twice | no attempt under a current fence begins at a step that is committed |
//! | nothing-lost | what was acknowledged exists; in the end it is over |
//! | limits | no project and no node runs more than it may |
//! | query-nodes-run-nothing | a node of the role query begins nothing |
//! | trust-ends-early | a member that is called silent has stopped to trust itself, if its clock is within the bound |
//! | starts-with-trust | without trust, nothing begins |
//! | no-false-death | a member that is called exited has exited; one that is called silent was silent for long enough |
//! | fifo | a node starts what stands on its queue in order, within a project and priority |
//! | takeover-in-time | on a quiet cluster, an heir takes what a dead member ran within the promised time |
//! | always-goes-on | no node spins, and nothing waits for ever |
//!
//! Each situation in which a rule matters is counted: a rule that was never put to the test has not held.

use std::collections::{BTreeMap, BTreeSet};

use core::fmt;

use kirin_core::ask::{Epoch, Fence, JobId};
use kirin_core::job::{JobState, Outcome};
use kirin_core::queue::Blocked;
use kirin_core::timing::RATE_ERROR_PERCENT;
use kirin_core::{Answer, Ask, Effect, Evidence, Member, Note, Timing};

use crate::act::Host;
use crate::host::{Machine, Process};
use crate::setup::Setup;
use crate::store::{JobRow, Store};
use crate::world::host_of;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in microseconds of true time.
    pub at: u64,
    /// Which rule.
    pub rule: &'static str,
    /// What happened.
    pub what: String,
}

#[derive(Clone, Debug)]
struct Death {
    member: Member,
    exited: bool,
    at: u64,
    jobs: Vec<(JobId, Epoch)>,
    disturbances: u64,
    /// How many jobs had been started for the first time.
    starts: u64,
}

/// So many requests of one node within a second are too many for the small clusters of a run.
const ASKS_MAX: u32 = 600;

/// Equal reads that may be under way at once: one for each reason to read.
const READS_MAX: usize = 4;

/// Watches one run.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    timing: Timing,
    /// Whether a takeover may have to wait for a new leader.
    leader_only: bool,
    violation: Option<Violation>,
    occurred: BTreeMap<&'static str, u64>,
    acknowledged: BTreeSet<u128>,
    accepted: BTreeSet<u128>,
    published: BTreeSet<JobId>,
    /// When a member's last beat was committed.
    beats: BTreeMap<Member, u64>,
    deaths: Vec<Death>,
    disturbances: u64,
    /// When the last two of them came.
    disturbed_at: (u64, u64),
    starts: u64,
}

impl Judge {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            timing: setup.timing,
            leader_only: setup.leader_only,
            violation: None,
            occurred: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            accepted: BTreeSet::new(),
            published: BTreeSet::new(),
            beats: BTreeMap::new(),
            deaths: Vec::new(),
            disturbances: 0,
            disturbed_at: (0, 0),
            starts: 0,
        }
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(crate) fn occurred(&self) -> &BTreeMap<&'static str, u64> {
        &self.occurred
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.occurred.entry(what).or_insert(0) += 1;
    }

    /// Something is wrong.
    pub(crate) fn found(&mut self, at: u64, rule: &'static str, what: String) {
        self.violation.get_or_insert(Violation { at, rule, what });
    }

    pub(crate) fn disturbed(&mut self, now: u64) {
        self.disturbances += 1;
        self.disturbed_at = (self.disturbed_at.1, now);
    }

    pub(crate) fn acknowledged(&mut self, key: u128) {
        self.acknowledged.insert(key);
    }

    /// At the end of a run: everything acknowledged is there.
    pub(crate) fn ended(&mut self, now: u64) {
        if let Some(key) = self.acknowledged.difference(&self.accepted).next() {
            self.found(now, "nothing-lost", format!("the submit with key {key} was acknowledged and is nowhere"));
        }
    }

    // --- transactions ---

    /// What must hold before a transaction is carried out.
    pub(crate) fn before(&mut self, now: u64, ask: &Ask, store: &Store, machines: &[Machine]) {
        let Ask::Fence { member, evidence, by, beat } = ask else { return };
        if !store.is_alive(*member) || !store.is_alive(*by) {
            return;
        }
        let process = machines.get(member.node.0 as usize - 1).and_then(|m| m.process.as_ref());
        let process = process.filter(|p| p.node.me() == Some(*member));
        match evidence {
            Evidence::Exited if process.is_some() => {
                self.found(now, "no-false-death", format!("{member:?} is called exited by {by:?} and runs"));
            }
            Evidence::Silent if store.member(*member).map(|row| row.beat) == *beat => {
                let observer = machines.get(by.node.0 as usize - 1).and_then(|m| m.process.as_ref());
                if !observer.is_some_and(|p| p.keeps_time()) {
                    return;
                }
                self.called_silent(now, *member, process);
            }
            _ => {}
        }
    }

    /// The metastore is about to call the member silent.
    fn called_silent(&mut self, now: u64, member: Member, process: Option<&Process>) {
        let silent_for = now - self.beats.get(&member).copied().unwrap_or(0);
        let least = self.timing.timeout().scaled(100, 100 + RATE_ERROR_PERCENT).micros();
        if silent_for + 1_000 < least {
            let what = format!("{member:?} is called silent {silent_for} us after its last beat");
            return self.found(now, "no-false-death", what);
        }
        let Some(process) = process else { return };
        if process.stopped.is_some() || process.thawed_at + 1_000 > now || !process.keeps_time() {
            return;
        }
        self.count("silent but running");
        let local = process.local(now);
        if process.node.view(local).trust_left.is_some() {
            return self.found(now, "trust-ends-early", format!("{member:?} is called silent and trusts itself"));
        }
        let external = process.runs.iter().find(|(_, run)| run.external && !run.cancelled);
        if let Some((fence, _)) = external {
            let what = format!("{member:?} is called silent and its external attempt {fence:?} was not stopped");
            self.found(now, "trust-ends-early", what);
        }
    }

    /// What must hold after a transaction was carried out.
    pub(crate) fn after(
        &mut self,
        now: u64,
        ask: &Ask,
        before: Option<&JobRow>,
        answer: &Answer,
        store: &Store,
        machines: &[Machine],
    ) {
        let row = before.and_then(|row| store.job(row.id));
        if let (Some(before), Some(row)) = (before, row) {
            let grew = row.epoch.0 - before.epoch.0.min(row.epoch.0);
            let took = matches!((ask, answer), (Ask::Take { .. }, Answer::Granted { .. }));
            if row.epoch < before.epoch || grew != u64::from(took) {
                let what = format!("{ask:?}: epoch {:?} became {:?}", before.epoch, row.epoch);
                self.found(now, "epochs-grow", what);
            }
        }
        match (ask, answer) {
            (Ask::Join { .. }, Answer::Joined(me)) => {
                self.beats.insert(*me, now);
            }
            (Ask::Beat { by }, Answer::Listed { .. }) => {
                self.beats.insert(*by, now);
            }
            (Ask::Submit { key, .. }, Answer::Accepted { fresh, .. }) => {
                self.accepted.insert(*key);
                if !fresh {
                    self.count("submitted twice, accepted once");
                }
            }
            (Ask::Take { fence, by, .. }, Answer::Granted { epoch, .. }) => {
                if let Some(before) = before {
                    self.granted(now, *fence, *by, *epoch, before, store, machines);
                }
            }
            (Ask::Take { .. }, Answer::Full) => self.count("project full"),
            (Ask::Take { .. }, Answer::Refused) => self.count("take refused"),
            (Ask::CommitStep { fence, by, step }, Answer::Done) => {
                self.wrote(now, *fence, *by, before);
                if before.is_some_and(|row| row.steps != *step) {
                    self.found(now, "no-step-twice", format!("{fence:?} committed step {step} again"));
                }
            }
            (Ask::Finish { fence, by, outcome }, Answer::Done) => {
                self.wrote(now, *fence, *by, before);
                if *outcome == Outcome::Succeeded && !self.published.insert(fence.job) {
                    self.found(now, "published-once", format!("{:?} was published again", fence.job));
                }
                self.count("finished");
            }
            (Ask::Release { fence, by, .. }, Answer::Done) => {
                self.wrote(now, *fence, *by, before);
                self.released(now, *fence, machines);
            }
            (Ask::CommitStep { .. } | Ask::Finish { .. } | Ask::Release { .. }, Answer::Refused) => {
                self.count("stale fence refused");
            }
            (Ask::Fence { .. }, Answer::Refused) => self.count("fence refused"),
            (Ask::Claim { .. }, Answer::Granted { .. }) => self.count("claim granted"),
            _ => {}
        }
    }

    /// A write under a fence was accepted.
    fn wrote(&mut self, now: u64, fence: Fence, by: Member, before: Option<&JobRow>) {
        let scoped = before.is_some_and(|row| row.epoch == fence.epoch && row.holder == Some(by));
        if !scoped {
            let what = format!("{by:?} wrote under {fence:?} to {before:?}");
            self.found(now, "stale-fence-refused", what);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the grant and everything around it")]
    fn granted(
        &mut self,
        now: u64,
        fence: Fence,
        by: Member,
        epoch: Epoch,
        before: &JobRow,
        store: &Store,
        machines: &[Machine],
    ) {
        if let Some(holder) = before.holder.filter(|holder| store.is_alive(*holder)) {
            self.found(now, "one-holder", format!("{:?} held by {holder:?} was granted to {by:?}", fence.job));
        }
        if before.epoch != fence.epoch {
            self.found(now, "one-holder", format!("{by:?} took {fence:?} where {:?} stands", before.epoch));
        }
        if before.state == JobState::Running {
            self.count("takeover");
        } else {
            self.starts += 1;
            let (running, limit) = store.load(before.project);
            if running > limit {
                self.found(now, "limits", format!("{:?} runs {running} of {limit} jobs", before.project));
            }
        }
        let live = machines.iter().filter_map(|m| m.process.as_ref());
        for (old, run) in live
            .flat_map(|p| p.runs.iter().map(move |run| (p, run)))
            .filter_map(|(p, (old, run))| (old.job == fence.job && old.epoch < epoch).then_some((old, (p, run))))
        {
            let (process, run) = run;
            if store.is_alive(run.member) {
                let what = format!("{by:?} took {old:?}, whose attempt still runs at {:?}", run.member);
                self.found(now, "one-live-attempt", what);
                return;
            }
            // A process that doesn't move can't stop anything, and one whose clock is wrong can't know when.
            let excused = process.stopped.is_some() || !process.keeps_time() || process.thawed_at + 1_000 > now;
            if run.external && !run.cancelled && !excused && self.was_silent(run.member, now) {
                let what = format!("{by:?} took {old:?}, whose external attempt still runs at {:?}", run.member);
                self.found(now, "one-live-attempt", what);
                return;
            }
            self.count("taken over from a member that still moves");
        }
    }

    /// Whether the member was silent for the timeout, as opposed to replaced by its own successor.
    fn was_silent(&self, member: Member, now: u64) -> bool {
        let successor = self.beats.keys().any(|m| m.node == member.node && m.incarnation > member.incarnation);
        !successor
            && now - self.beats.get(&member).copied().unwrap_or(0) >= self.timing.timeout().scaled(95, 100).micros()
    }

    /// A job was handed back: nothing of the attempt may run any more.
    fn released(&mut self, now: u64, fence: Fence, machines: &[Machine]) {
        let runs = machines.iter().filter_map(|m| m.process.as_ref()).any(|p| p.runs.contains_key(&fence));
        if runs {
            self.found(now, "one-live-attempt", format!("{fence:?} was handed back and still runs"));
        }
        self.count("handed back");
    }

    // --- orders ---

    /// An order left a core.
    pub(crate) fn ordered(&mut self, now: u64, effect: &Effect) {
        match effect {
            Effect::Note(note) => self.count(match note {
                Note::TookOver { found: Some(_), .. } => "takeover noted with its evidence",
                Note::TookOver { .. } => "takeover noted",
                Note::HandedOver { .. } => "handed over",
                Note::Fenced { found, .. } => match found.evidence {
                    Evidence::Exited => "fenced as exited",
                    Evidence::Silent => "fenced as silent",
                    _ => "fenced otherwise",
                },
                Note::WasFenced(_) => "was fenced",
                Note::TrustEnded => "trust ended",
                Note::TrustRestored => "trust restored",
                Note::Refused(_) => "write refused",
                Note::SuspectsItself { .. } => "suspects itself",
            }),
            Effect::Lead { .. } => self.count("led"),
            Effect::Cancel { .. } => self.count("cancelled"),
            Effect::Begin { step, .. } if *step > 0 => self.count("began after a committed step"),
            _ => {}
        }
        let _ = now;
    }

    /// A request leaves a node.
    pub(crate) fn asks(&mut self, now: u64, host: Host, ask: &Ask, in_a_second: u32, process: Option<&Process>) {
        if in_a_second > ASKS_MAX {
            let what = format!("{host} asked {in_a_second} times within a second, last {ask:?}");
            self.found(now, "always-goes-on", what);
        }
        if let (Ask::ReadJobs(ids), Some(process)) = (ask, process) {
            let alike = process.reading.iter().filter(|(_, _, other)| other == ids).count();
            if alike > READS_MAX {
                self.found(now, "always-goes-on", format!("{host} reads {ids:?} {alike} times at once"));
            }
        }
        let (Ask::Take { fence, by, .. }, Some(process)) = (ask, process) else { return };
        let node = &process.node;
        let Some(row) = node.queue().row(fence.job).filter(|row| row.state.is_waiting()) else { return };
        if node.queue().home(row.id) != Some(by.node) {
            return;
        }
        let local = process.local(now);
        let passed_over = node.queue().rows().find(|other| {
            other.state.is_waiting()
                && other.project == row.project
                && (other.priority, other.id) < (row.priority, row.id)
                && node.queue().home(other.id) == Some(by.node)
                && !matches!(node.why(local, other.id), Some(Blocked::Taking | Blocked::Stopping { .. }))
        });
        if let Some(other) = passed_over {
            let what = format!("{by:?} starts {:?} before {:?} on its own queue", row.id, other.id);
            self.found(now, "fifo", what);
        }
        self.count("started in order");
    }

    /// An attempt begins.
    pub(crate) fn begins(
        &mut self,
        now: u64,
        host: Host,
        fence: Fence,
        step: u32,
        store: &Store,
        machines: &[Machine],
    ) {
        let Some(machine) = machines.get(host.0 as usize - 1) else { return };
        if !machine.role.runs_jobs() {
            return self.found(now, "query-nodes-run-nothing", format!("{host} began {fence:?}"));
        }
        let Some(process) = &machine.process else { return };
        if let Some((old, _)) = process.runs.iter().find(|(old, _)| old.job == fence.job) {
            return self.found(now, "one-live-attempt", format!("{host} began {fence:?} beside {old:?}"));
        }
        let slots = process.node.slots();
        if process.runs.len() >= slots as usize {
            let what = format!("{host} began {fence:?} with {} running and {slots} slots", process.runs.len());
            return self.found(now, "limits", what);
        }
        if process.node.view(process.local(now)).trust_left.is_none() {
            return self.found(now, "starts-with-trust", format!("{host} began {fence:?} without trust"));
        }
        self.at_step(now, host, fence, step, store);
    }

    pub(crate) fn proceeds(&mut self, now: u64, host: Host, fence: Fence, step: u32, store: &Store) {
        self.at_step(now, host, fence, step, store);
    }

    fn at_step(&mut self, now: u64, host: Host, fence: Fence, step: u32, store: &Store) {
        let Some(row) = store.job(fence.job) else { return };
        if row.epoch < fence.epoch {
            self.found(now, "epochs-grow", format!("{host} runs {fence:?}, which nobody granted"));
        }
        let current = row.epoch == fence.epoch
            && row.holder.is_some_and(|holder| host_of(holder.node) == host)
            && row.state == JobState::Running;
        if current && row.steps != step {
            let what = format!("{host} goes to step {step} of {fence:?} where {} are committed", row.steps);
            self.found(now, "no-step-twice", what);
        }
    }

    // --- takeover-in-time ---

    /// A member is dead. Returns when to look whether it was inherited.
    pub(crate) fn died(
        &mut self,
        now: u64,
        member: Member,
        exited: bool,
        store: &Store,
        quiet: bool,
    ) -> Option<(usize, u64)> {
        let held = store.open().filter(|row| row.holder == Some(member) && row.state == JobState::Running);
        let jobs: Vec<_> = held.map(|row| (row.id, row.epoch)).collect();
        // The death itself is the last disturbance; the one before must have been got over.
        let calm_for = now - self.disturbed_at.0;
        let recovered = calm_for > (self.timing.timeout() + self.timing.timeout()).micros();
        if jobs.is_empty() || !quiet || !recovered || !store.is_alive(member) || !has_free_slot(store, member) {
            return None;
        }
        if self.leader_only {
            return None;
        }
        let slow = |span: kirin_core::Span| span.scaled(100, 100 - 2 * RATE_ERROR_PERCENT).micros();
        let bound =
            if exited { 1_000_000 } else { slow(self.timing.timeout()) + slow(self.timing.interval()) + 1_000_000 };
        self.deaths.push(Death { member, exited, at: now, jobs, disturbances: self.disturbances, starts: self.starts });
        Some((self.deaths.len() - 1, now + bound))
    }

    pub(crate) fn inspect(&mut self, now: u64, death: usize, store: &Store, quiet: bool) {
        let Some(death) = self.deaths.get(death).cloned() else { return };
        let Death { member, exited, at, jobs, disturbances, starts } = death;
        // A slot was free when the member died, and no other job has taken it.
        if !quiet || disturbances != self.disturbances || starts != self.starts || !has_free_slot(store, member) {
            return;
        }
        self.count(if exited { "takeover in time after an exit" } else { "takeover in time after silence" });
        for (id, epoch) in jobs {
            if store.job(id).is_some_and(|row| row.epoch == epoch && row.state == JobState::Running) {
                let what = format!("{id:?} of {member:?}, dead for {} us, has no heir", now - at);
                self.found(now, "takeover-in-time", what);
            }
        }
    }
}

/// Whether a node other than that of the dead member could take a job.
fn has_free_slot(store: &Store, dead: Member) -> bool {
    let held = |m: Member| store.open().filter(|row| row.holder == Some(m)).count();
    store.living().any(|row| {
        let able = row.state == kirin_core::MemberState::Up && row.role.runs_jobs() && row.member.node != dead.node;
        able && held(row.member) < row.slots as usize
    })
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}.{:06} s: {}", self.rule, self.at / 1_000_000, self.at % 1_000_000, self.what)
    }
}
