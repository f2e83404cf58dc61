//! This node's attempts, from the grant to the end.
//!
//! An attempt is *busy* while one of its requests is in flight, and *in doubt* while the outcome of its last request is
//! unknown. Reading the row resolves the doubt: its epoch, holder, state and number of committed steps tell what
//! happened.

use alloc::vec;
use alloc::vec::Vec;

use super::{Inherited, Node, Phase, What};
use crate::ask::{Answer, Ask, Epoch, Fence, JobId, JobRow};
use crate::capability::Capabilities;
use crate::effect::{Effect, Note, Nudge, Why};
use crate::event::End;
use crate::job::{JobState, Outcome};
use crate::member::Member;
use crate::plant::Plant;
use crate::time::Time;

/// One try at a job by this member.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Attempt {
    pub(crate) fence: Fence,
    pub(crate) external: bool,
    pub(crate) needs: Capabilities,
    /// How many steps are committed.
    pub(crate) steps: u32,
    /// The step whose result is ready but not committed.
    pub(crate) ready: Option<u32>,
    /// Why the attempt was told to stop, if it was.
    pub(crate) stopping: Option<Why>,
    /// How it ended, if it has ended.
    pub(crate) ended: Option<End>,
    /// Whether to hand it over at the next step boundary.
    pub(crate) yields: bool,
    /// Whether one of its requests is in flight.
    pub(crate) busy: bool,
    /// Since when the outcome of its last request is unknown. Only a row read after that moment tells.
    pub(crate) doubt: Option<Time>,
    /// The earliest moment of its next request.
    pub(crate) retry_at: Time,
    pub(crate) granted_at: Time,
    /// The takeover that created this attempt, until it is noted.
    pub(crate) took: Option<Took>,
}

#[derive(Clone, Copy, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Took {
    pub(crate) inherited: Inherited,
    pub(crate) from_step: u32,
}

impl Attempt {
    /// Marks the attempt as told to stop. Returns its fence if it runs and was not told before.
    pub(crate) fn cancel(&mut self, why: Why) -> Option<Fence> {
        // `Fenced` overrides an earlier reason: a fenced member hands nothing back.
        let first = self.stopping.is_none();
        if first || why == Why::Fenced {
            self.stopping = Some(why);
        }
        (first && self.ended.is_none()).then_some(self.fence)
    }
}

impl Node {
    pub(super) fn taken(
        &mut self,
        now: Time,
        asked_at: Time,
        job: JobId,
        seen: Epoch,
        from: Option<Member>,
        answer: &Answer,
    ) {
        self.takes = self.takes.saturating_sub(1);
        self.stirred = true;
        match answer {
            Answer::Granted { epoch, steps } => {
                let inherited = self.inherited.remove(&job);
                let from = from.map(|from| inherited.unwrap_or(Inherited { from, found: None, heard_at: asked_at }));
                let (Some(row), Some(me)) = (self.queue.row(job).copied(), self.me) else { return };
                let placed = Some(me.node);
                let row =
                    JobRow { state: JobState::Running, epoch: *epoch, holder: Some(me), steps: *steps, placed, ..row };
                self.begin(now, &row, from);
                self.put(now, row);
            }
            Answer::Full if self.queue.row(job).is_none_or(|row| row.state != JobState::Running) => {
                self.queue.not_taken(job);
                if let Some(row) = self.queue.row(job) {
                    self.queue.mark_full(row.project);
                }
            }
            // The limit never applies to a running job, so the job is not running any more.
            Answer::Refused | Answer::Full => {
                // The row or the lists changed.
                self.list_at = self.list_at.min(now);
                if self.read_not_taken(now, job, seen) && self.settings.in_order {
                    // A job that this node has not heard of may come first.
                    self.poll_at = self.poll_at.min(now);
                }
            }
            Answer::Failed => {
                // It did not happen, and an immediate retry would fail as well.
                self.queue.remove(job);
                self.read_later(now, job);
            }
            _ => {
                // This member may hold the job. Leave it alone until the row is read.
                self.read_not_taken(now, job, seen);
            }
        }
    }

    /// Reads the row of a job that was not granted; after the second time, only later. Returns whether it reads now.
    fn read_not_taken(&mut self, now: Time, job: JobId, seen: Epoch) -> bool {
        self.queue.remove(job);
        let is_second = self.refused.insert(job, seen) == Some(seen);
        if is_second {
            self.read_later(now, job);
        } else {
            self.read_jobs(now, vec![job]);
        }
        !is_second
    }

    /// Starts the attempt that the row grants to this member.
    pub(super) fn begin(&mut self, now: Time, row: &JobRow, from: Option<Inherited>) {
        let fence = row.fence();
        let mut attempt = Attempt {
            fence,
            external: row.external,
            needs: row.needs,
            steps: row.steps,
            ready: None,
            stopping: None,
            ended: None,
            yields: false,
            busy: false,
            doubt: None,
            retry_at: now,
            granted_at: now,
            took: from.map(|inherited| Took { inherited, from_step: row.steps }),
        };
        let has_slot = self.attempts.len() < self.settings.slots as usize || self.plants.is(Plant::Hoards);
        let able = self.settings.can.covers(row.needs) || self.plants.is(Plant::IncapableTakes);
        let wanted = row.state == JobState::Running && able;
        let takes = self.phase == Phase::Up || self.plants.is(Plant::BeginsWhileDraining);
        if wanted && takes && has_slot && self.trusts_itself(now) {
            let from_zero = from.is_some() && self.plants.is(Plant::RestartsFromZero);
            self.out.push(Effect::Begin { fence, step: if from_zero { 0 } else { row.steps } });
        } else {
            // Granted too late, or found unexpectedly: hand it back without starting it.
            attempt.stopping = Some(Why::Drained);
            attempt.ended = Some(End::Stopped);
            self.retry_at = now;
        }
        self.attempts.insert(row.id, attempt);
    }

    pub(super) fn step_ended(&mut self, now: Time, fence: Fence, step: u32) {
        let Some(attempt) = self.attempts.get_mut(&fence.job).filter(|a| a.fence == fence) else {
            // No attempt is waiting for this result, so its producer must stop.
            self.out.push(Effect::Cancel { fence, why: Why::Lost });
            return;
        };
        // An attempt that was told to stop commits it, too: if its fence is current, no other attempt has done the step,
        // and otherwise the metastore refuses it.
        if step == attempt.steps {
            attempt.ready = Some(step);
            self.advance(now, fence.job);
        }
    }

    pub(super) fn attempt_ended(&mut self, now: Time, fence: Fence, end: End) {
        if let Some(attempt) = self.attempts.get_mut(&fence.job).filter(|a| a.fence == fence) {
            attempt.ended = Some(end);
            self.advance(now, fence.job);
        }
    }

    /// Sends the next request of the attempt.
    fn advance(&mut self, now: Time, job: JobId) {
        let early = self.plants.is(Plant::ReleaseBeforeEnded);
        let Some(attempt) = self.attempts.get_mut(&job) else { return };
        if early && attempt.stopping.is_some() {
            attempt.ended = Some(End::Stopped);
        }
        if attempt.busy {
            return;
        }
        if attempt.stopping == Some(Why::Fenced) {
            // The metastore considers this member dead, so it has no right to hand its jobs back.
            if attempt.ended.is_some() {
                self.attempts.remove(&job);
            }
            return;
        }
        let (Some(by), fence, needs) = (self.me, attempt.fence, attempt.needs) else { return };
        if attempt.retry_at > now {
            self.retry_at = self.retry_at.min(attempt.retry_at);
            return;
        }
        if attempt.doubt.is_some() {
            attempt.busy = true;
            self.read_jobs(now, vec![job]);
        } else if let Some(step) = attempt.ready {
            attempt.busy = true;
            self.ask(now, What::Commit { fence, step }, Ask::CommitStep { fence, by, step });
        } else if let Some(end) = attempt.ended {
            attempt.busy = true;
            match (end, attempt.stopping) {
                // If the node has lost a capability that the job requires, the failure is not the job's.
                (End::Ran(outcome), None) if outcome != Outcome::Failed || self.settings.can.covers(needs) => {
                    self.ask(now, What::Finish { fence, outcome }, Ask::Finish { fence, by, outcome });
                }
                _ => {
                    let heir = self.heir(job, needs);
                    self.ask(now, What::Release { fence }, Ask::Release { fence, by, placed: heir });
                }
            }
        }
    }

    pub(super) fn tend_attempts(&mut self, now: Time) {
        if self.retry_at > now {
            return;
        }
        self.retry_at = Time::NEVER;
        self.tend_reread(now);
        let jobs: Vec<_> = self.attempts.keys().copied().collect();
        for job in jobs {
            self.advance(now, job);
        }
    }

    /// The request was not confirmed. If it certainly failed, it is repeated; otherwise the row is read.
    fn open(&mut self, now: Time, job: JobId, answer: &Answer) {
        let retry_at = now + self.pause();
        let looks_up_at_once = self.plants.is(Plant::LooksUpAtOnce);
        let Some(attempt) = self.attempts.get_mut(&job) else { return };
        attempt.busy = false;
        match answer {
            Answer::Failed => attempt.retry_at = retry_at,
            Answer::Refused => attempt.doubt = Some(now),
            _ => {
                attempt.doubt = Some(now);
                // A write that is still in flight should land before the read. While connections break under the
                // writes but not under the reads, the pause keeps the attempt from asking without end.
                if !looks_up_at_once {
                    attempt.retry_at = retry_at;
                }
            }
        }
        if matches!(answer, Answer::Refused) {
            let fence = attempt.fence;
            self.note(Note::Refused(fence));
        }
        self.advance(now, job);
    }

    pub(super) fn committed(&mut self, now: Time, fence: Fence, step: u32, answer: &Answer) {
        let Some(attempt) = self.attempts.get_mut(&fence.job).filter(|a| a.fence == fence) else { return };
        let done =
            matches!(answer, Answer::Done) || matches!(answer, Answer::Unknown) && self.plants.is(Plant::UnknownIsDone);
        if !done {
            return self.open(now, fence.job, answer);
        }
        attempt.busy = false;
        self.step_is_committed(now, fence.job, step);
    }

    fn step_is_committed(&mut self, now: Time, job: JobId, step: u32) {
        self.note_takeover(now, job);
        let Some(attempt) = self.attempts.get_mut(&job) else { return };
        attempt.ready = None;
        attempt.steps = step + 1;
        let fence = attempt.fence;
        if attempt.yields {
            if let Some(fence) = attempt.cancel(Why::Drained) {
                self.out.push(Effect::Cancel { fence, why: Why::Drained });
            }
        } else if attempt.stopping.is_none() && attempt.ended.is_none() {
            self.out.push(Effect::Proceed { fence, step: step + 1 });
        }
        if let Some(row) = self.queue.row(job).filter(|row| row.fence() == fence).copied() {
            self.put(now, JobRow { steps: step + 1, ..row });
        }
        self.advance(now, job);
    }

    fn note_takeover(&mut self, now: Time, job: JobId) {
        let Some(attempt) = self.attempts.get_mut(&job) else { return };
        if let Some(Took { inherited, from_step }) = attempt.took.take() {
            let note = Note::TookOver {
                fence: attempt.fence,
                from: inherited.from,
                found: inherited.found,
                taken: attempt.granted_at.since(inherited.heard_at),
                first_step: now.since(attempt.granted_at),
                from_step,
            };
            self.note(note);
        }
    }

    pub(super) fn finished(&mut self, now: Time, fence: Fence, outcome: Outcome, answer: &Answer) {
        let Some(attempt) = self.attempts.get_mut(&fence.job).filter(|a| a.fence == fence) else { return };
        if !matches!(answer, Answer::Done) {
            return self.open(now, fence.job, answer);
        }
        attempt.busy = false;
        let state = match outcome {
            Outcome::Succeeded => JobState::Succeed,
            Outcome::Failed => JobState::Error,
            Outcome::Vanished => JobState::Suicidal,
        };
        self.settle(now, fence.job, Some(state));
    }

    pub(super) fn released(&mut self, now: Time, fence: Fence, answer: &Answer) {
        let Some(attempt) = self.attempts.get_mut(&fence.job).filter(|a| a.fence == fence) else { return };
        let (drained, steps) = (attempt.stopping == Some(Why::Drained), attempt.steps);
        match answer {
            Answer::Done => {
                if drained {
                    self.note(Note::HandedOver { fence, steps });
                }
                self.settle(now, fence.job, None);
                self.read_jobs(now, vec![fence.job]);
            }
            Answer::Refused => {
                self.settle(now, fence.job, None);
                self.read_jobs(now, vec![fence.job]);
            }
            _ => self.open(now, fence.job, answer),
        }
    }

    /// The attempt has ended and has no more requests.
    fn settle(&mut self, now: Time, job: JobId, state: Option<JobState>) {
        self.note_takeover(now, job);
        let fence = self.attempts.remove(&job).map(|attempt| attempt.fence);
        self.settled.insert(job, now);
        self.stirred = true;
        // The answer may be late. A row of the job's next holding that was heard meanwhile takes precedence.
        let ended = |row: &&JobRow| state.is_none() || Some(row.fence()) == fence && row.holder.is_some();
        let Some(row) = self.queue.row(job).filter(ended).copied() else { return };
        let was_full = self.queue.is_full(row.project);
        let row = state.map_or(row, |state| JobRow { state, holder: None, ..row });
        self.put(now, row);
        let is_over = state.is_some() && self.tells_all();
        if is_over || was_full && !self.queue.is_full(row.project) {
            // Other jobs may wait for this place, and this node knows best how full the project is.
            self.nudge_all(&Nudge::Jobs(vec![row]));
        }
    }

    /// Resolves a request in doubt from a row that was read.
    pub(super) fn resolve(&mut self, now: Time, asked_at: Time, job: JobId, row: Option<&JobRow>) {
        let me = self.me;
        let Some(attempt) = self.attempts.get_mut(&job) else { return };
        if attempt.doubt.is_none_or(|since| asked_at < since) {
            return;
        }
        attempt.doubt = None;
        attempt.busy = false;
        let fence = attempt.fence;
        let is_current = row.is_some_and(|row| row.epoch == fence.epoch && row.holder == me);
        let runs = is_current && row.is_some_and(|row| row.state == JobState::Running);
        match (attempt.ready, row) {
            (Some(step), Some(row)) if is_current && row.steps > step => self.step_is_committed(now, job, step),
            _ if runs => self.advance(now, job),
            _ if attempt.ended.is_some() && !is_current => {
                let state = row.filter(|row| row.epoch == fence.epoch).map(|row| row.state);
                self.settle(now, job, state);
            }
            _ => {
                attempt.ready = None;
                let why = if is_current { Why::Acted } else { Why::Lost };
                if let Some(fence) = attempt.cancel(why) {
                    self.out.push(Effect::Cancel { fence, why });
                }
                self.advance(now, job);
            }
        }
    }

    /// The rows could not be read. Retries after a pause.
    pub(super) fn not_read(&mut self, now: Time, jobs: &[JobId]) {
        let retry_at = now + self.pause();
        for job in jobs {
            match self.attempts.get_mut(job).filter(|attempt| attempt.doubt.is_some()) {
                Some(attempt) => (attempt.busy, attempt.retry_at) = (false, retry_at),
                None => self.read_later(now, *job),
            }
        }
        self.retry_at = self.retry_at.min(retry_at);
    }

    fn read_later(&mut self, now: Time, job: JobId) {
        let at = now + self.pause();
        self.reread.entry(job).or_insert(at);
        self.retry_at = self.retry_at.min(at);
    }

    fn tend_reread(&mut self, now: Time) {
        let due: Vec<_> = self.reread.iter().filter(|(_, at)| **at <= now).map(|(job, _)| *job).collect();
        self.reread.retain(|_, at| *at > now);
        self.retry_at = self.reread.values().copied().fold(self.retry_at, core::cmp::min);
        if !due.is_empty() {
            self.read_jobs(now, due);
        }
    }

    /// Stops the attempt if the row shows that it is not wanted any more.
    pub(super) fn compare(&mut self, row: &JobRow) {
        let me = self.me;
        let Some(attempt) = self.attempts.get_mut(&row.id) else { return };
        let why = if row.epoch > attempt.fence.epoch || (row.epoch == attempt.fence.epoch && row.holder != me) {
            Why::Lost
        } else if row.epoch == attempt.fence.epoch && row.state != JobState::Running {
            Why::Acted
        } else {
            return;
        };
        // If its end is being committed, the metastore's answer decides.
        if attempt.busy && attempt.ended.is_some() {
            return;
        }
        if let Some(fence) = attempt.cancel(why) {
            self.out.push(Effect::Cancel { fence, why });
        }
    }

    /// Stops every attempt that was not told to stop before.
    pub(super) fn stop_all(&mut self, why: Why) {
        for fence in self.attempts.values_mut().filter_map(|a| a.cancel(why)) {
            self.out.push(Effect::Cancel { fence, why });
        }
    }

    pub(super) fn stop_external(&mut self) {
        if self.plants.is(Plant::TrustNeverEnds) {
            return;
        }
        for attempt in self.attempts.values_mut().filter(|a| a.external) {
            if let Some(fence) = attempt.cancel(Why::TrustEnded) {
                self.out.push(Effect::Cancel { fence, why: Why::TrustEnded });
            }
        }
    }
}
