//! Checks every effect of a core and every request of a node.

use kirin_core::ask::Fence;
use kirin_core::effect::Why;
use kirin_core::job::JobState;
use kirin_core::queue::Blocked;
use kirin_core::{Ask, Capabilities, Effect, Evidence, Node, NodeId, Note, Outcome};

use super::{Judge, Scene};
use crate::act::Host;
use crate::store::Store;
use crate::world::host_of;

/// More requests than this of one node within a second are too many for the small clusters of a run.
const ASKS_MAX: u32 = 600;

/// The maximum number of equal reads in flight: one for each reason to read.
const READS_MAX: usize = 4;

impl Judge {
    /// Checks an effect of a core.
    pub(crate) fn ordered(&mut self, scene: &Scene<'_>, host: Host, effect: &Effect) {
        if let Effect::Note(Note::TrustEnded) = effect {
            self.trust_ended = Some((host, scene.now));
        }
        if let Effect::Note(Note::Fenced { member, found }) = effect {
            self.fence_noted(scene, host, *member, found);
        }
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
            Effect::Lead { target, epoch } => {
                self.count(if epoch.0 > 1 { "led after another member" } else { "led" });
                let Some(machine) = scene.machines.get(host.0 as usize - 1) else { return };
                let last = self.led.insert((host, *target), (machine.boots, *epoch));
                // A process must not lead again under an epoch that it has given up, unless the epochs began again.
                if last.is_some_and(|(boot, last)| boot == machine.boots && last >= *epoch)
                    && !self.forgotten.contains(target)
                {
                    let what = format!("{host} leads {target:?} under {epoch:?} after {last:?}");
                    self.found(scene.now, "holder-leads", what);
                }
            }
            Effect::Resign(_) => self.count("resigned"),
            Effect::Cancel { fence, why } => {
                self.count("cancelled");
                self.cancels(scene, host, *fence, *why);
            }
            Effect::Begin { step, .. } if *step > 0 => self.count("began after a committed step"),
            _ => {}
        }
    }

    /// Checks whether an attempt is cancelled for a valid reason.
    fn cancels(&mut self, scene: &Scene<'_>, host: Host, fence: Fence, why: Why) {
        let Some(process) = scene.machines.get(host.0 as usize - 1).and_then(|m| m.process.as_ref()) else { return };
        let Some(run) = process.runs.get(&fence) else { return };
        let row = scene.store.job(fence.job);
        let is_its = row.is_some_and(|row| row.epoch == fence.epoch && row.holder == Some(run.member));
        let trust_left = process.node.trust_left(process.local(scene.now));
        let good = match why {
            Why::Acted => row.is_none_or(|row| row.epoch != fence.epoch || row.state != JobState::Running),
            Why::Lost => !is_its || !scene.store.is_alive(run.member),
            Why::Fenced => !scene.store.is_alive(run.member),
            // A beat that is answered in the same step restores trust, but does not revoke the cancel.
            Why::TrustEnded => run.external && (trust_left.is_none() || self.trust_ended == Some((host, scene.now))),
            Why::Drained => process.node.phase_name() != "up",
        };
        if !good {
            let what = format!("{host} stops {fence:?} because {why:?}, but the metastore has {row:?}");
            self.found(scene.now, "stops-for-a-reason", what);
        }
    }

    /// Checks a request of a node.
    pub(crate) fn asks(&mut self, scene: &Scene<'_>, host: Host, ask: &Ask, in_a_second: u32) {
        let (now, store) = (scene.now, scene.store);
        let process = scene.machines.get(host.0 as usize - 1).and_then(|machine| machine.process.as_ref());
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
        if let (Ask::Finish { fence, outcome: Outcome::Failed, .. }, Some(process)) = (ask, process)
            && let Some(row) = process.node.queue().row(fence.job)
            && !process.node.settings().can.covers(row.needs)
        {
            let what = format!("{host} reports a failure of {fence:?}, which it cannot run any more");
            self.found(now, "only-capable-nodes-run", what);
        }
        if let (Ask::Fence { member, evidence: Evidence::Exited, .. }, Some(process)) = (ask, process) {
            self.fences(now, host, *member, process, store);
        }
        let (Ask::Take { fence, by, .. }, Some(process)) = (ask, process) else { return };
        let node = &process.node;
        if process.informed != Some(*by) {
            let what = format!("{by:?} asks for {fence:?} before it has read the list of jobs");
            self.found(now, "fifo", what);
        }
        if let Some(row) = node.queue().row(fence.job)
            && !node.settings().can.covers(row.needs)
        {
            let what = format!("{by:?} asks for {fence:?}, which requires {:?}", row.needs);
            self.found(now, "only-capable-nodes-run", what);
        }
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

    /// Checks the node's choice of the queue for a new job.
    pub(crate) fn placed(&mut self, now: u64, node: &Node, needs: Capabilities, on: Option<NodeId>) {
        let able = node.queue().candidates().iter().filter(|candidate| candidate.can.covers(needs));
        let nodes: Vec<_> = able.copied().collect();
        let Some(chosen) = nodes.iter().find(|candidate| Some(candidate.node) == on) else {
            if !nodes.is_empty() {
                self.found(
                    now,
                    "balanced",
                    format!("a job was placed on {on:?} although the possible homes are {nodes:?}"),
                );
            }
            return;
        };
        let all: u64 = nodes.iter().map(|candidate| u64::from(candidate.load)).sum();
        let slots: u64 = nodes.iter().map(|candidate| u64::from(candidate.slots)).sum();
        // The ceiling of its share of all jobs, including this one.
        let share = ((all + 1) * u64::from(chosen.slots)).div_ceil(slots);
        if u64::from(chosen.load) >= share {
            let what = format!("{on:?} has {} of {all} jobs with a share of {share}, but gets another", chosen.load);
            self.found(now, "balanced", what);
        }
        if nodes.iter().any(|m| m.load != nodes[0].load) {
            self.count("placed among unequal loads");
        }
    }

    // --- attempts ---

    /// An attempt begins.
    pub(crate) fn begins(&mut self, scene: &Scene<'_>, host: Host, fence: Fence, step: u32) {
        let now = scene.now;
        let Some(machine) = scene.machines.get(host.0 as usize - 1) else { return };
        let Some(process) = &machine.process else { return };
        let runs_jobs = process.node.me().and_then(|me| scene.store.member(me)).is_none_or(|row| row.role.runs_jobs());
        if !runs_jobs {
            return self.found(now, "query-nodes-run-nothing", format!("{host} began {fence:?}"));
        }
        let granted = process.node.me().is_some_and(|me| self.granted_to.contains(&(fence.job, me.node)));
        if !granted {
            return self.found(now, "one-holder", format!("{host} began {fence:?}, which it was never granted"));
        }
        if let Some((old, _)) = process.runs.iter().find(|(old, _)| old.job == fence.job) {
            return self.found(now, "one-live-attempt", format!("{host} began {fence:?} while {old:?} still runs"));
        }
        if process.node.phase_name() != "up" {
            let what = format!("{host} began {fence:?} while {}", process.node.phase_name());
            return self.found(now, "draining-begins-nothing", what);
        }
        let needs = scene.store.job(fence.job).map_or(Capabilities::NONE, |row| row.needs);
        if !process.node.settings().can.covers(needs) {
            let what = format!("{host} began {fence:?}, which requires {needs:?}");
            return self.found(now, "only-capable-nodes-run", what);
        }
        let slots = process.node.slots() as usize;
        if process.runs.len() >= slots {
            let what = format!("{host} began {fence:?} with {} running and {slots} slots", process.runs.len());
            return self.found(now, "limits", what);
        }
        if process.runs.len() + 1 == slots {
            self.count("node full");
        }
        if process.node.trust_left(process.local(now)).is_none() {
            return self.found(now, "starts-with-trust", format!("{host} began {fence:?} without trust"));
        }
        self.at_step(now, host, fence, step, scene.store);
    }

    pub(crate) fn at_step(&mut self, now: u64, host: Host, fence: Fence, step: u32, store: &Store) {
        let Some(row) = store.job(fence.job) else { return };
        if row.epoch < fence.epoch {
            self.found(now, "epochs-grow", format!("{host} runs {fence:?}, which was never granted"));
        }
        let current = row.epoch == fence.epoch
            && row.holder.is_some_and(|holder| host_of(holder.node) == host)
            && row.state == JobState::Running;
        if current && row.steps != step {
            let what = format!("{host} begins step {step} of {fence:?} where {} are committed", row.steps);
            self.found(now, "no-step-done-twice", what);
        }
    }
}
