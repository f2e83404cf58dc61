//! Recorded runs of a core, drawn from a seed, and the checks of what a reader finds afterwards.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;

use kirin_core::ask::{Epoch, Fence, JobId, JobRow, Priority, ProjectId};
use kirin_core::{Event, Incarnation, JobState, Member, Node, NodeId, Role, Settings, Span, Time};
use kirin_sim::dice::Dice;

use crate::digest::digest;
use crate::entry::Entry;
use crate::reader::{Recording, files};
use crate::replay::Replay;
use crate::writer::{Limits, Recorder, Writer};

/// A run of a node: its core, its recorder, and the true events of both.
pub struct Life {
    pub run: String,
    core: Node,
    now: Time,
    wall_ms: i64,
    recorder: Recorder,
    pub writer: Writer,
    truth: Truth,
    /// The last event that was recorded before the writer's last write returned.
    pub written: Option<Time>,
}

/// The events of a run by time, with the digests of the states before and after.
#[derive(Default)]
pub struct Truth(pub BTreeMap<Time, (u64, u64)>);

impl Life {
    /// Starts recording into an existing directory.
    pub fn begin(dir: &Path, run: u32, dice: &mut Dice) -> Self {
        let limits = Limits {
            kept: 1 << dice.between(13, 17),
            waiting: u64::MAX,
            digest_every: Span::from_millis(dice.between(1, 5_000)),
        };
        // Each run has its own hour.
        let wall_ms = 1_700_000_000_000 + i64::from(run) * 3_600_000;
        let run = format!("run{run}");
        let (recorder, writer) = Recorder::apart(dir, "a", &run, "1.0", limits);
        let core = Node::start(Settings::new(Role::All), dice.draw(), Time::ZERO);
        Self { run, core, now: Time::ZERO, wall_ms, recorder, writer, truth: Truth::default(), written: None }
    }

    /// Passes a few events to the core, and writes some of the recorded data.
    pub fn go_on(&mut self, dice: &mut Dice) {
        for _ in 0..dice.below(12) {
            // Sometimes longer than the recorder's pause after an error.
            let pause = if dice.chance(20_000) { 40_000_000 } else { dice.between(1, 200_000) };
            self.now += Span::from_micros(pause);
            self.wall_ms += i64::try_from(pause / 1000).unwrap_or(0);
            let (event, before) = (event(dice), digest(&self.core));
            self.recorder.record(&self.core, self.now, self.wall_ms, &event);
            drop(self.core.step(self.now, event));
            self.truth.0.insert(self.now, (before, digest(&self.core)));
        }
        let most = usize::try_from(dice.between(1, 40)).unwrap_or(1);
        let all = !self.writer.gather(most);
        self.writer.write();
        if all {
            self.written = self.truth.0.keys().next_back().copied();
        }
    }

    /// Ends the process normally.
    pub fn end(&mut self) {
        self.writer.gather(usize::MAX);
        self.writer.write();
        self.writer.end();
        self.written = self.truth.0.keys().next_back().copied();
    }

    /// Returns the true events of the run.
    pub fn truth(self) -> (String, Truth) {
        (self.run, self.truth)
    }
}

fn event(dice: &mut Dice) -> Event {
    let fence = Fence { job: JobId(dice.below(20)), epoch: Epoch(dice.below(4)) };
    let node = NodeId(u32::try_from(dice.below(3)).unwrap_or(0));
    let member = Member { node, incarnation: Incarnation(NonZeroU32::MIN) };
    match dice.below(8) {
        0 => Event::ListsChanged,
        1 => Event::Suspected(member),
        2 => Event::StepEnded { fence, step: 0 },
        3 => Event::SlotsWished(u32::try_from(dice.below(9)).unwrap_or(1)),
        4 => Event::Woke,
        _ => Event::Told((0..dice.below(6)).map(|n| row(20 * n + dice.below(20))).collect()),
    }
}

fn row(n: u64) -> JobRow {
    JobRow {
        id: JobId(n),
        project: ProjectId(1),
        priority: Priority(3),
        state: JobState::Ready,
        epoch: Epoch(0),
        holder: None,
        placed: None,
        steps: 0,
        external: false,
        needs: kirin_core::Capabilities::NONE,
    }
}

/// The findings of a reader.
#[derive(Debug, Default)]
pub struct Found {
    pub parts: usize,
    pub torn: usize,
    pub gaps: usize,
    pub events: usize,
    /// The last event, by run.
    pub last: BTreeMap<String, Time>,
}

/// Reads the directory as `kirin replay` does.
///
/// Each part must replay to equal digests, start with the node's state at that time, and contain consecutive events of
/// the node. A part must follow the previous one without a gap, if the disk never failed while the node ran.
pub fn read(dir: &Path, truths: &BTreeMap<String, Truth>, disk_failed: bool) -> Result<Found, String> {
    let mut found = Found::default();
    let mut before: Option<(Recording, Option<Time>)> = None;
    for path in files(&[dir.to_owned()]).map_err(|e| e.to_string())? {
        let recording = Recording::open(&path).map_err(|e| e.to_string())?;
        let at = |what: &str| format!("{}: {what}", path.display());
        let truth = &truths.get(&recording.head.run).ok_or_else(|| at("an unknown run"))?.0;
        let mut replay = Replay::new(&recording);
        let mut last: Option<Time> = None;
        loop {
            let state = replay.core().map(digest);
            let Some(step) = replay.step().map_err(|e| at(&e.to_string()))? else { break };
            let (was, is) = truth.get(&step.at).ok_or_else(|| at("an event that did not happen"))?;
            let next = last.and_then(|last| truth.range(last..).nth(1)).map(|(at, _)| *at);
            if last.is_some() && next != Some(step.at) {
                return Err(at("events are missing within a part"));
            }
            if state.is_some_and(|state| state != *was) || replay.core().map(digest) != Some(*is) {
                return Err(at("the state differs from the node's"));
            }
            last = Some(step.at);
            found.events += 1;
        }
        let first = recording.rows.iter().find(|row| matches!(row.entry, Entry::Event { .. })).map(|row| row.at);
        let has_gap = recording.rows.iter().any(|row| matches!(row.entry, Entry::Gap(_)));
        if let Some((before, Some(end))) = &before
            && before.head.run == recording.head.run
            && !disk_failed
        {
            let follows = truth.range(*end..).nth(1).map(|(at, _)| *at);
            if before.torn
                || before.head.part + 1 != recording.head.part
                || first.is_some_and(|first| follows != Some(first))
            {
                return Err(at("events are missing before the part"));
            }
        }
        found.parts += 1;
        found.torn += usize::from(recording.torn);
        found.gaps += usize::from(has_gap);
        if let Some(last) = last {
            found.last.insert(recording.head.run.clone(), last);
        }
        before = Some((recording, last));
    }
    Ok(found)
}
