//! Checks what a node learns: its knowledge of jobs never goes back, and it does not ask for the death of the dead.

use kirin_core::ask::{Epoch, JobId};
use kirin_core::failure::Found;
use kirin_core::queue::Blocked;
use kirin_core::timing::RATE_ERROR_PERCENT;
use kirin_core::{Answer, Event, Evidence, Member, NodeId};

use super::{Judge, Scene};
use crate::act::Host;
use crate::host::Process;
use crate::store::Store;

/// What a node knew of jobs before an event that tells of jobs.
#[derive(Debug)]
pub(crate) struct Known {
    /// The jobs that the event tells of, with the epoch that was known and the one in the event.
    told: Vec<(JobId, Epoch, Epoch)>,
    /// The known jobs that a list of all jobs does not contain.
    unlisted: Vec<JobId>,
}

impl Known {
    /// The knowledge of the process before the event, if the event tells of jobs. `lists_all` says that it is a list of
    /// all jobs.
    pub(crate) fn of(process: &Process, event: &Event, lists_all: bool) -> Option<Self> {
        let rows = match event {
            Event::Heard(rows) | Event::Answered { answer: Answer::Jobs(rows), .. } => rows,
            Event::Inherited(orphans) => &orphans.jobs,
            _ => return None,
        };
        let queue = process.node.queue();
        let told = rows.iter().filter_map(|row| Some((row.id, queue.row(row.id)?.epoch, row.epoch)));
        let told = told.filter(|(_, known, heard)| known > heard).collect();
        // A request to take a job may be given up in the same step.
        let taking = |id: JobId| queue.blocked(id, NodeId(0), 0) == Some(Blocked::Taking);
        let is_unlisted = |id: &JobId| rows.binary_search_by_key(id, |row| row.id).is_err() && !taking(*id);
        let unlisted =
            if lists_all { queue.rows().map(|row| row.id).filter(is_unlisted).collect() } else { Vec::new() };
        Some(Self { told, unlisted })
    }
}

impl Judge {
    /// A node has processed an event that tells of jobs.
    pub(crate) fn learnt(&mut self, scene: &Scene<'_>, host: Host, known: &Known) {
        let Some(process) = scene.machines.get(host.0 as usize - 1).and_then(|m| m.process.as_ref()) else { return };
        let queue = process.node.queue();
        for (id, before, _) in &known.told {
            self.count("an older row arrived");
            if let Some(row) = queue.row(*id).filter(|row| row.epoch < *before) {
                let what = format!("{host} knew {id:?} under {before:?} and believes in {:?}", row.epoch);
                return self.found(scene.now, "knowledge-grows", what);
            }
        }
        for id in &known.unlisted {
            if scene.store.open().all(|row| row.id != *id) {
                continue;
            }
            self.count("a list was older than a row");
            if queue.row(*id).is_none() {
                let what = format!("{host} forgot {id:?}, which has not ended, because a list does not contain it");
                return self.found(scene.now, "knowledge-grows", what);
            }
        }
    }

    /// A node is told that nothing listens at the member's address.
    pub(crate) fn exit_seen(&mut self, scene: &Scene<'_>, host: Host, member: Member) {
        let process = scene.machines.get(host.0 as usize - 1).and_then(|m| m.process.as_ref());
        if process.is_some_and(|process| self.awaits_lists(scene.now, process)) && !scene.store.is_alive(member) {
            self.count("an exit was seen beside the list that tells of it");
        }
    }

    /// A node asks to fence a member whose exit it has seen.
    pub(super) fn fences(&mut self, now: u64, host: Host, member: Member, process: &Process, store: &Store) {
        if !store.is_alive(member) && self.awaits_lists(now, process) {
            let what = format!("{host} asks to fence {member:?}, which is dead, while it waits for the lists");
            self.found(now, "no-needless-fence", what);
        }
    }

    /// Whether the process waits for the lists, and would not have given up yet.
    fn awaits_lists(&self, now: u64, process: &Process) -> bool {
        let patience = self.timing.ask_timeout().scaled(9, 10).micros();
        process.keeps_time() && process.lists.iter().any(|(_, at)| now - at < patience)
    }

    /// A node notes that it had a member fenced. A member is fenced for silence only if its beat is still the one that
    /// was seen, so the evidence must be younger than that beat.
    pub(super) fn fence_noted(&mut self, scene: &Scene<'_>, host: Host, member: Member, found: &Found) {
        let Some(process) = scene.machines.get(host.0 as usize - 1).and_then(|m| m.process.as_ref()) else { return };
        let is_its = process.node.me().is_some_and(|me| self.silenced.get(&member) == Some(&me));
        if found.evidence != Evidence::Silent || !is_its || !process.keeps_time() {
            return;
        }
        let least = found.fenced.scaled(100, 100 + RATE_ERROR_PERCENT).micros();
        let evident_us = scene.now.saturating_sub(least);
        if let Some(beat) = self.beats.get(&member).filter(|beat| **beat > evident_us) {
            let what = format!(
                "{host} had {member:?} fenced for silence that it saw {:?} ago, but it beat {} us ago",
                found.fenced,
                scene.now - beat
            );
            self.found(scene.now, "no-needless-fence", what);
        }
    }
}
