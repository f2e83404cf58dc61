//! Draws recordings as a picture with a lane for each node.

use std::collections::BTreeMap;

use kirin_core::ask::{Fence, JobId, Target};
use kirin_core::{Ask, Effect, Event, Member, Note, describe};
use kirin_picture::{Arrow, Bar, Lane, Mark, Picture, Place, Stretch, Tone};
use kirin_recorder::{Entry, Problem, Recording, Replay, Step};

/// The picture of these recordings.
///
/// # Errors
/// If a recording cannot be replayed.
pub(super) fn picture(recordings: &[Recording]) -> Result<Picture, Problem> {
    let zero = recordings.iter().filter_map(|recording| recording.rows.first()).map(|row| row.wall_ms).min();
    let mut film = Film { zero: zero.unwrap_or(0), ..Film::default() };
    for recording in recordings {
        film.add(recording)?;
    }
    film.link();
    let nodes = film.picture.lanes.len();
    film.picture.title = if nodes == 1 { film.picture.lanes[0].name.clone() } else { format!("{nodes} nodes") };
    film.picture.facts.push(format!("begins at {} UTC", super::clock(film.zero)));
    film.picture.facts.push(format!("{} events", film.events));
    Ok(film.picture)
}

#[derive(Default)]
struct Film {
    picture: Picture,
    /// The beginning of the axis, on the nodes' wall clocks.
    zero: i64,
    lanes: BTreeMap<String, usize>,
    /// All attempts that are drawn, in the order of their epochs.
    attempts: BTreeMap<JobId, BTreeMap<u64, Place>>,
    events: u64,
}

/// The state while one recording is drawn.
struct Running {
    lane: usize,
    me: Option<(Member, u64)>,
    trust: Option<u64>,
    leads: BTreeMap<Target, u64>,
    bars: BTreeMap<Fence, (usize, u64)>,
}

impl Film {
    fn add(&mut self, recording: &Recording) -> Result<(), Problem> {
        let Some(first) = recording.rows.first() else { return Ok(()) };
        let lanes = &mut self.picture.lanes;
        let lane = *self.lanes.entry(recording.head.node.clone()).or_insert_with(|| {
            lanes.push(Lane::named(&recording.head.node));
            lanes.len() - 1
        });
        // Within a recording, times come from the monotonic clock, which does not jump.
        let began = u64::try_from(first.wall_ms - self.zero).unwrap_or(0) * 1000;
        let on_axis = |at: kirin_core::Time| began + at.since(first.at).micros();
        for row in &recording.rows {
            if let Entry::Gap(missing) = row.entry {
                let at = on_axis(row.at);
                let gap = Stretch::new(at, at + 1, Tone::Down, "gap").telling(format!("{missing} events are missing"));
                self.picture.lanes[lane].shades.push(gap);
            }
        }
        let mut now = began;
        let mut running = Running { lane, me: None, trust: None, leads: BTreeMap::new(), bars: BTreeMap::new() };
        let mut replay = Replay::new(recording);
        while let Some(step) = replay.step()? {
            self.events += 1;
            now = on_axis(step.at);
            let me = replay.core().and_then(kirin_core::Node::me);
            self.look(&mut running, now, me, &step);
        }
        self.end(running, now);
        self.picture.end = self.picture.end.max(now);
        Ok(())
    }

    fn look(&mut self, running: &mut Running, now: u64, me: Option<Member>, step: &Step) {
        let lane = &mut self.picture.lanes[running.lane];
        if running.me.map(|(member, _)| member) != me {
            if let Some((member, since)) = running.me.take() {
                lane.lives.push(Stretch::new(since, now, Tone::Good, format!("{member:?}")));
            }
            running.me = me.map(|member| (member, now));
            running.trust = running.trust.or(me.map(|_| now));
        }
        match &step.event {
            Event::StepEnded { fence, step } => {
                if let Some((bar, since)) = running.bars.get_mut(fence) {
                    lane.bars[*bar].steps.push(Stretch::new(*since, now, Tone::Good, step.to_string()));
                    *since = now;
                }
            }
            Event::AttemptEnded { fence, end } => {
                if let Some((bar, _)) = running.bars.remove(fence) {
                    let done = matches!(end, kirin_core::event::End::Ran(kirin_core::Outcome::Succeeded));
                    let tone = if done { Tone::Good } else { Tone::Bad };
                    lane.bars[bar].until = now;
                    lane.bars[bar].end = Some(Mark::new(now, tone, format!("{end:?}").to_lowercase()));
                }
            }
            _ => {}
        }
        for effect in &step.effects {
            let cause = || format!("after: {}", describe::event(&step.event));
            match effect {
                Effect::Ask { ask: Ask::Beat { .. }, .. } => lane.beats.push(Mark::new(now, Tone::Good, "")),
                Effect::Ask { ask: Ask::List | Ask::ListJobs | Ask::ReadJobs(_) | Ask::ListNode(_), .. } => {}
                Effect::Ask { .. } => {
                    lane.asks.push(Mark::new(now, Tone::Good, "").telling(format!(
                        "{}, {}",
                        describe::effect(effect),
                        cause()
                    )));
                }
                Effect::Begin { fence, step } => {
                    let mut bar = Bar::new(now, now, fence.job.0, format!("job{} @{}", fence.job.0, fence.epoch.0));
                    bar.hover = format!("begins at step {step}, {}", cause());
                    let place = Place { lane: running.lane, bar: lane.bars.len(), at: now };
                    running.bars.insert(*fence, (place.bar, now));
                    self.attempts.entry(fence.job).or_default().insert(fence.epoch.0, place);
                    lane.bars.push(bar);
                }
                Effect::Lead { target, .. } => {
                    running.leads.insert(*target, now);
                }
                Effect::Resign(target) => {
                    if let Some(since) = running.leads.remove(target) {
                        lane.leads.push(lead(*target, since, now));
                    }
                }
                Effect::Note(note) => {
                    match note {
                        Note::TrustEnded => {
                            if let Some(since) = running.trust.take() {
                                lane.trust.push(Stretch::new(since, now, Tone::Good, "trusts itself"));
                            }
                        }
                        Note::TrustRestored => running.trust = Some(now),
                        _ => {}
                    }
                    lane.notes.push(Mark::new(now, Tone::Quiet, "").telling(format!(
                        "{}, {}",
                        describe::effect(effect),
                        cause()
                    )));
                }
                _ => {}
            }
        }
    }

    fn end(&mut self, running: Running, now: u64) {
        let lane = &mut self.picture.lanes[running.lane];
        if let Some((member, since)) = running.me {
            lane.lives.push(Stretch::new(since, now, Tone::Good, format!("{member:?}")));
        }
        if let Some(since) = running.trust {
            lane.trust.push(Stretch::new(since, now, Tone::Good, "trusts itself"));
        }
        for (target, since) in running.leads {
            lane.leads.push(lead(target, since, now));
        }
        for (bar, _) in running.bars.into_values() {
            lane.bars[bar].until = now;
        }
    }

    /// Draws an arrow from each attempt at a job to the next.
    fn link(&mut self) {
        for (job, attempts) in &self.attempts {
            for (before, after) in attempts.values().zip(attempts.values().skip(1)) {
                let from = Place { at: self.picture.lanes[before.lane].bars[before.bar].until, ..*before };
                let hover = format!("the next attempt at job{}", job.0);
                self.picture.arrows.push(Arrow { from, to: *after, key: job.0, hover });
            }
        }
    }
}

fn lead(target: Target, from: u64, until: u64) -> Stretch {
    match target {
        Target::Leader => Stretch::new(from, until, Tone::Lead, "leader"),
        Target::Project(project) => Stretch::new(from, until, Tone::Claim, format!("p{}", project.0)),
    }
}
