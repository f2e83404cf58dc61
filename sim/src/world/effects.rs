//! Carries out the core's effects, by the rules of the production shell.

use kirin_core::ask::{Fence, JobId};
use kirin_core::effect::Nudge;
use kirin_core::event::{End, Met};
use kirin_core::{Answer, Ask, AskId, Effect, Event, Member, Outcome};

use super::{Upcoming, World, host_of};
use crate::act::{Host, Outage};
use crate::host::{Process, Run};
use crate::judge::Scene;
use crate::plant::Plant;
use crate::world::scene;

/// The timeout of a connection attempt.
const PROBE_US: u64 = 1_000_000;
/// A counter for a planted bug. It outlives the run.
static AMBIENT: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

/// The pause before a broken link is opened again.
const RELINK_US: u64 = 1_000_000;

/// A node that sends the same write more often than this within a second does not pause between its attempts.
const WRITES_MAX: u32 = 20;

/// Whether a connection breaks under this request. Beats have a connection of their own.
const fn is_reset(ask: &Ask) -> bool {
    let reads = matches!(ask, Ask::List | Ask::ListJobs | Ask::ReadJobs(_) | Ask::ListNode(_));
    !reads && !matches!(ask, Ask::Beat { .. } | Ask::Join { .. })
}

/// How often the process has sent this write within a second; 0 for a read.
fn repeats(process: &mut Process, now: u64, ask: &Ask) -> u32 {
    let write = match ask {
        Ask::Take { fence, .. } => ("take", fence.job),
        Ask::CommitStep { fence, .. } => ("commit", fence.job),
        Ask::Finish { fence, .. } => ("finish", fence.job),
        Ask::Release { fence, .. } => ("release", fence.job),
        Ask::Drain { .. } => ("drain", JobId(0)),
        Ask::SetSlots { .. } => ("slots", JobId(0)),
        Ask::SetCan { .. } => ("can", JobId(0)),
        Ask::Fence { member, .. } => ("fence", JobId(u64::from(member.node.0))),
        _ => return 0,
    };
    let count = process.writes.entry(write).or_insert((now, 0));
    if now - count.0 > 1_000_000 {
        *count = (now, 0);
    }
    count.1 += 1;
    count.1
}

impl World {
    pub(super) fn carry_out(&mut self, host: Host, boot: u32, effect: Effect) {
        match effect {
            Effect::Ask { id, ask } => self.send(host, boot, id, ask),
            Effect::Begin { fence, step } => self.begin(host, boot, fence, step),
            Effect::Proceed { fence, step } => self.proceed(host, boot, fence, step),
            Effect::Cancel { fence, .. } => self.cancel(host, boot, fence),
            Effect::Watch(members) => self.watch(host, boot, members),
            Effect::Probe(member) => {
                let at = self.now + self.link_way();
                self.schedule(at, Upcoming::Knock { host, boot, at: member });
            }
            Effect::Nudge { to, nudge } => self.nudge(host, to, nudge),
            Effect::Exit => self.exit(host),
            Effect::Lead { target, epoch } => {
                if let Some(process) = self.process_mut(host, boot) {
                    process.leads.insert(target, epoch);
                }
            }
            Effect::Resign(target) => {
                if let Some(process) = self.process_mut(host, boot) {
                    process.leads.remove(&target);
                }
            }
            Effect::Note(_) => {}
        }
    }

    // --- the metastore ---

    fn send(&mut self, host: Host, boot: u32, id: AskId, ask: Ask) {
        let now = self.now;
        let ask_timeout = self.setup.timing.ask_timeout();
        let Some(process) = self.process_mut(host, boot) else { return };
        let gives_up = process.when(process.local(now) + ask_timeout);
        if now - process.asked.0 > 1_000_000 {
            process.asked = (now, 0);
        }
        process.asked.1 += 1;
        if let Ask::ReadJobs(ids) = &ask {
            process.reading.retain(|(_, at, _)| now - at < ask_timeout.micros());
            process.reading.push((id, now, ids.clone()));
        }
        match &ask {
            Ask::List => {
                process.lists.retain(|(_, at)| now - at < ask_timeout.micros());
                process.lists.push((id, now));
            }
            Ask::ListJobs => process.all_jobs.push(id),
            _ => {}
        }
        let asked = process.asked.1;
        let repeated = repeats(process, now, &ask);
        if repeated > WRITES_MAX {
            let what = format!("{host} sent {ask:?} {repeated} times within a second");
            self.judge.found(now, "always-goes-on", what);
        }
        self.judge.asks(&scene!(self), host, &ask, asked);
        if self.outage == Some(Outage::Fails)
            || self.machine(host).is_some_and(|m| m.store_cut && id.0.is_multiple_of(2))
        {
            let at = now + 1_000;
            return self.answer(host, boot, id, Answer::Failed, at);
        }
        if self.machine(host).is_some_and(|m| m.resets) && is_reset(&ask) {
            self.judge.count("connection broke under a write");
            let at = now + self.weather.store_us.0;
            return self.answer(host, boot, id, Answer::Unknown, at);
        }
        let weather = &self.weather;
        if self.dice.chance(weather.lose_request_ppm) || self.machine(host).is_some_and(|m| m.store_cut) {
            return self.answer(host, boot, id, Answer::Unknown, gives_up);
        }
        if self.dice.chance(self.weather.late_ppm) {
            let at = now + self.dice.between(1, self.weather.late_us);
            self.judge.count("late request");
            // Usually the shell times out first. If the shell itself is late, the core's own timeout applies.
            let mut gives_up = Some(gives_up);
            if let Some(early) = gives_up.filter(|gives_up| at > *gives_up)
                && self.dice.chance(500_000)
            {
                self.answer(host, boot, id, Answer::Unknown, early);
                gives_up = None;
            }
            return self.schedule(at, Upcoming::ToStore { host, boot, id, ask, gives_up });
        }
        let at = now + self.store_way();
        self.schedule(at, Upcoming::ToStore { host, boot, id, ask, gives_up: Some(gives_up) });
    }

    /// A request reaches the metastore. Without `gives_up`, the shell has already timed out and ignores the answer.
    pub(super) fn asked(&mut self, host: Host, boot: u32, id: AskId, ask: &Ask, gives_up: Option<u64>) {
        let Some(gives_up) = gives_up else {
            if self.outage.is_none() {
                self.transact(host, ask);
            }
            return;
        };
        match self.outage {
            Some(Outage::Fails) => return self.answer(host, boot, id, Answer::Failed, gives_up.min(self.now + 1_000)),
            Some(Outage::Hangs) => {
                // It may still be executed when the outage ends.
                if self.dice.chance(self.weather.hung_lands_ppm) {
                    self.hung.push((host, ask.clone()));
                }
                return self.answer(host, boot, id, Answer::Unknown, gives_up);
            }
            None => {}
        }
        if self.dice.chance(self.weather.rollback_ppm) {
            let at = self.now + self.store_way();
            return self.answer(host, boot, id, Answer::Failed, at.min(gives_up));
        }
        let answer = self.transact(host, ask);
        let lost = self.dice.chance(self.weather.lose_reply_ppm) || self.machine(host).is_none_or(|m| m.mute);
        let at = self.now + self.store_way() + self.machine(host).map_or(0, |m| m.slow_us);
        if lost || at > gives_up {
            self.judge.count("reply lost");
            return self.answer(host, boot, id, Answer::Unknown, gives_up);
        }
        self.answer(host, boot, id, answer, at);
    }

    fn answer(&mut self, host: Host, boot: u32, id: AskId, answer: Answer, at: u64) {
        self.schedule(at, Upcoming::Event { host, boot, event: Event::Answered { id, answer } });
    }

    // --- executors ---

    fn begin(&mut self, host: Host, boot: u32, fence: Fence, step: u32) {
        self.judge.begins(&scene!(self), host, fence, step);
        let work = self.works.get(&fence.job);
        let external = work.is_some_and(|work| work.external);
        let Some(process) = self.process_mut(host, boot) else { return };
        let Some(member) = process.node.me() else { return };
        process.runs.insert(fence, Run { member, external, cancelled: false, stuck: false });
        self.work(host, boot, fence, step);
    }

    fn proceed(&mut self, host: Host, boot: u32, fence: Fence, step: u32) {
        if self.process(host, boot).is_some_and(|p| p.runs.contains_key(&fence)) {
            self.judge.at_step(self.now, host, fence, step, &self.store);
            self.work(host, boot, fence, step);
        }
    }

    /// Works on the step, or reports the end if there is none left.
    fn work(&mut self, host: Host, boot: u32, fence: Fence, step: u32) {
        let Some(work) = self.works.get_mut(&fence.job) else { return };
        if work.stuck > 0 {
            work.stuck -= 1;
            self.judge.count("stuck");
            if let Some(run) = self.process_mut(host, boot).and_then(|p| p.runs.get_mut(&fence)) {
                run.stuck = true;
            }
            return;
        }
        let typical = if step >= work.steps { 1_000 } else { work.step.micros() };
        let at = self.now + self.dice.between(typical - typical / 4, typical + typical / 4);
        self.schedule(at, Upcoming::StepDone { host, boot, fence, step });
    }

    pub(super) fn step_done(&mut self, host: Host, boot: u32, fence: Fence, step: u32) {
        let Some(process) = self.process_mut(host, boot).filter(|p| p.runs.contains_key(&fence)) else { return };
        if process.stopped.is_some() {
            process.late.push((fence, step));
            return;
        }
        let full = self.machine(host).is_some_and(|m| m.disk_full);
        let Some(work) = self.works.get_mut(&fence.job) else { return };
        let end = if step >= work.steps {
            Some(Outcome::Succeeded)
        } else if full {
            Some(Outcome::Failed)
        } else if work.fails > 0 {
            work.fails -= 1;
            if work.fails > 0 {
                // It succeeds, but the metastore can't store what it brought.
                self.denied.insert(fence);
                None
            } else {
                Some(Outcome::Failed)
            }
        } else {
            None
        };
        match end {
            None => self.tell(host, boot, Event::StepEnded { fence, step }),
            Some(outcome) => {
                let needs = work.needs;
                let able = self.process(host, boot).is_none_or(|p| p.node.settings().can.covers(needs));
                if outcome == Outcome::Failed && !able {
                    self.judge.count("failed without the capability and was handed back");
                }
                if let Some(process) = self.process_mut(host, boot) {
                    process.runs.remove(&fence);
                }
                self.tell(host, boot, Event::AttemptEnded { fence, end: End::Ran(outcome) });
            }
        }
    }

    fn cancel(&mut self, host: Host, boot: u32, fence: Fence) {
        let (low, high) = self.weather.stop_us;
        let at = self.now + self.dice.between(low, high);
        let ignored = self.plant == Some(Plant::CancelIgnored);
        let Some(process) = self.process_mut(host, boot) else { return };
        match process.runs.get_mut(&fence) {
            Some(run) if ignored => {
                run.cancelled = false;
                self.schedule(
                    at,
                    Upcoming::Event { host, boot, event: Event::AttemptEnded { fence, end: End::Stopped } },
                );
            }
            Some(run) => {
                run.cancelled = true;
                self.schedule(at, Upcoming::RunStopped { host, boot, fence });
            }
            None => {
                let event = Event::AttemptEnded { fence, end: End::Stopped };
                self.schedule(self.now, Upcoming::Event { host, boot, event });
            }
        }
    }

    pub(super) fn run_stopped(&mut self, host: Host, boot: u32, fence: Fence) {
        let now = self.now;
        let Some(process) = self.process_mut(host, boot) else { return };
        if process.stopped.is_some() {
            // Retried until the process moves.
            self.schedule(now + 100_000, Upcoming::RunStopped { host, boot, fence });
            return;
        }
        process.runs.remove(&fence);
        self.tell(host, boot, Event::AttemptEnded { fence, end: End::Stopped });
    }

    /// An executor of a frozen process ends by itself when the trust that it knows of ends. A process that is not frozen
    /// stops it, or has renewed its trust.
    pub(super) fn deadline(&mut self, host: Host, boot: u32, fence: Fence) {
        let now = self.now;
        let Some(process) = self.process_mut(host, boot) else { return };
        if !process.stopped.is_some_and(|s| s.alone) || now < process.when(process.node.trusted_until()) {
            return;
        }
        if let Some(run) = process.runs.get_mut(&fence).filter(|run| !run.cancelled) {
            run.cancelled = true;
            self.judge.count("executor ended itself");
            self.schedule(now, Upcoming::RunStopped { host, boot, fence });
        }
    }

    /// The duration of a step of the job.
    pub(super) fn step_us(&self, fence: Fence) -> u64 {
        self.works.get(&fence.job).map_or(0, |work| work.step.micros())
    }

    /// How many steps of the job are committed.
    pub(super) fn row_steps(&self, fence: Fence) -> u32 {
        self.store.job(fence.job).map_or(0, |row| row.steps)
    }

    /// An external attempt whose process is gone presents its fence, as instructed. It knows nothing of what happened,
    /// and continues whatever the answer is.
    pub(super) fn orphan_step(&mut self, host: Host, fence: Fence, by: Member, step: u32) {
        let steps = self.works.get(&fence.job).map_or(0, |work| work.steps);
        let is_last = step >= steps;
        let ask = if is_last {
            Ask::Finish { fence, by, outcome: Outcome::Succeeded }
        } else {
            Ask::CommitStep { fence, by, step }
        };
        if self.outage.is_some() {
            return self.schedule(self.now + 1_000_000, Upcoming::OrphanStep { host, fence, by, step });
        }
        match self.transact(host, &ask) {
            Answer::Done if is_last => self.judge.count("orphan finished"),
            Answer::Done => self.judge.count("orphan committed"),
            _ => self.judge.count("orphan refused"),
        }
        if !is_last {
            let at = self.now + self.step_us(fence);
            self.schedule(at, Upcoming::OrphanStep { host, fence, by, step: step + 1 });
        }
    }

    // --- links ---

    fn watch(&mut self, host: Host, boot: u32, members: Vec<Member>) {
        let Some(process) = self.process_mut(host, boot) else { return };
        let before = core::mem::replace(&mut process.links, members.clone());
        for to in members.into_iter().filter(|m| !before.contains(m)) {
            let at = self.now + self.link_way();
            self.schedule(at, Upcoming::Link { host, boot, to });
        }
    }

    /// Opens a link, or fails to.
    pub(super) fn link(&mut self, host: Host, boot: u32, to: Member) {
        if !self.process(host, boot).is_some_and(|p| p.links.contains(&to)) {
            return;
        }
        if self.reaches(host, to) && self.member_at(host_of(to.node)) == Some(to) {
            return;
        }
        let (now, way) = (self.now, self.link_way());
        self.schedule(now + way, Upcoming::Event { host, boot, event: Event::Suspected(to) });
        self.schedule(now + RELINK_US, Upcoming::Link { host, boot, to });
    }

    /// Whether any process accepts a connection to the member's address.
    fn reaches(&self, host: Host, to: Member) -> bool {
        let peer = host_of(to.node);
        !self.is_cut(host, peer)
            && self.machine(peer).is_some_and(|m| !m.lost && m.process.is_some())
            && self.machine(host).is_some_and(|m| !m.lost)
    }

    /// Whether a message from the host reaches its peer.
    fn is_told(&self, host: Host, peer: Host) -> bool {
        !self.is_cut_from(host, peer)
            && self.machine(peer).is_some_and(|m| !m.lost && m.process.is_some())
            && self.machine(host).is_some_and(|m| !m.lost)
    }

    /// Breaks the links to a host, where the other end can notice.
    pub(super) fn break_links(&mut self, peer: Host, only: Option<Host>) {
        for host in self.hosts() {
            if host == peer || only.is_some_and(|only| only != host) {
                continue;
            }
            let Some(process) = self.machine(host).and_then(|m| m.process.as_ref()) else { continue };
            let boot = process.boot;
            let broken: Vec<_> = process.links.iter().copied().filter(|m| host_of(m.node) == peer).collect();
            for to in broken {
                let (at, cut) = (self.now + self.link_way(), self.is_cut(host, peer));
                if !cut {
                    self.schedule(at, Upcoming::Event { host, boot, event: Event::Suspected(to) });
                }
                self.schedule(at + RELINK_US, Upcoming::Link { host, boot, to });
            }
        }
    }

    /// A probe arrives at an address.
    pub(super) fn knock(&mut self, host: Host, boot: u32, at: Member) {
        let peer = host_of(at.node);
        let Some(machine) = self.machine(peer) else { return };
        let nothing = if self.plant == Some(Plant::SilenceIsRefusal) { Met::Refused } else { Met::Nothing };
        let (met, after) = match &machine.process {
            _ if machine.lost || self.is_cut(host, peer) => (nothing, PROBE_US),
            None => (Met::Refused, 0),
            Some(process) if process.stopped.is_some() => (nothing, PROBE_US),
            Some(process) => process.node.me().map_or((Met::Nothing, PROBE_US), |member| (Met::Alive(member), 0)),
        };
        let at_time = self.now + after + self.link_way();
        self.schedule(at_time, Upcoming::Event { host, boot, event: Event::Probed { member: at, met } });
    }

    fn nudge(&mut self, host: Host, to: Member, nudge: Nudge) {
        let peer = host_of(to.node);
        let version = self.machine(host).and_then(|m| m.process.as_ref()).map_or(1, |p| p.version);
        let Some((boot, other)) = self.machine(peer).and_then(|m| m.process.as_ref()).map(|p| (p.boot, p.version))
        else {
            return;
        };
        if !self.is_told(host, peer) || self.dice.chance(self.weather.lose_nudge_ppm) {
            return;
        }
        if version != other && matches!(nudge, Nudge::Orphans(_)) {
            // The two versions do not understand each other's messages about orphans.
            return self.judge.count("not understood by another version");
        }
        if self.plant == Some(Plant::AmbientChance)
            && AMBIENT.fetch_add(1, core::sync::atomic::Ordering::Relaxed).is_multiple_of(7)
        {
            return;
        }
        let event = match nudge {
            Nudge::Jobs(rows) => Event::Heard(rows),
            Nudge::Orphans(orphans) => Event::Inherited(orphans),
            Nudge::Lists => Event::ListsChanged,
        };
        if self.dice.chance(self.weather.double_nudge_ppm) {
            let at = self.now + self.link_way() * 20;
            self.schedule(at, Upcoming::Event { host: peer, boot, event: event.clone() });
        }
        let at = self.now + self.link_way();
        self.schedule(at, Upcoming::Event { host: peer, boot, event });
    }

    /// The process ends by itself. To all others this looks like a kill.
    pub(super) fn exit(&mut self, host: Host) {
        let Some(process) = self.machine_mut(host).and_then(|m| m.process.take()) else { return };
        self.serving = None;
        self.session_ends(host, process.boot);
        self.break_links(host, None);
    }
}
