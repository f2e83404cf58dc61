//! Films a run: inspects the world after every event and keeps the changes, as a [`Picture`].
//!
//! Almost everything is found by comparing the machines with their state at the last look, so every change is drawn,
//! whatever act caused it. Only what leaves no trace in a machine is reported explicitly: acts, effects and events.

use std::collections::BTreeMap;

use kirin_core::ask::{Fence, JobId, Target};
use kirin_core::event::End;
use kirin_core::{Answer, Ask, AskId, Effect, Event, Member, Note, Outcome, Span};

use super::World;
use crate::act::{Act, Host, Outage};
use crate::describe;
use crate::host::Machine;
use crate::picture::{Arrow, Bar, Lane, Mark, Picture, Place, Stretch, Tone};

/// A clock gets a new point where it deviates from its line by more than this.
const BEND_US: i64 = 300;

/// Records a run.
#[derive(Debug)]
pub(crate) struct Film {
    picture: Picture,
    hosts: Vec<Seen>,
    outage: Option<(u64, Outage)>,
    /// The place of each attempt in the picture.
    attempts: BTreeMap<Fence, Place>,
    /// The last attempt at each job.
    latest: BTreeMap<JobId, Fence>,
    /// The arrow that leads to each attempt.
    arrows: BTreeMap<Fence, usize>,
}

/// The state of a host at the last look.
#[derive(Debug, Default)]
struct Seen {
    /// Its process, and since when it has run.
    boot: Option<(u32, u64)>,
    /// Its member and phase, and since when.
    life: Option<(String, Option<Member>, Tone, u64)>,
    /// Since when it trusts itself, and until when.
    trust: Option<(u64, u64)>,
    leads: BTreeMap<Target, (u64, String)>,
    /// Its faults, and since when.
    wrong: BTreeMap<String, (Tone, u64)>,
    asks: BTreeMap<AskId, (u64, Ask)>,
    runs: BTreeMap<Fence, Running>,
    clock: Option<Clock>,
    /// The last act on it.
    done: Option<String>,
}

/// A running attempt.
#[derive(Debug)]
struct Running {
    step: Option<(u32, u64)>,
    ended: Option<(Tone, String)>,
}

/// A clock, drawn as a line with few points.
#[derive(Debug)]
struct Clock {
    boot: u32,
    /// The difference between the clock and true time when the process started.
    zero: i64,
    points: Vec<(u64, i64)>,
    tip: (u64, i64),
}

impl Film {
    pub(crate) fn of(world: &World) -> Self {
        let mut film = Self {
            picture: Picture { start: world.now, ..Picture::default() },
            hosts: world.hosts().iter().map(|_| Seen::default()).collect(),
            outage: None,
            attempts: BTreeMap::new(),
            latest: BTreeMap::new(),
            arrows: BTreeMap::new(),
        };
        for (host, machine) in world.hosts().into_iter().zip(&world.machines) {
            let role = format!("{:?}", machine.role).to_lowercase();
            let about = format!("{role}, {} slots", machine.slots);
            film.picture.lanes.push(Lane { about, ..Lane::named(host.to_string()) });
        }
        film.look(world);
        film
    }

    /// Ends the film. The caller adds the rest of the picture.
    pub(crate) fn end(mut self, world: &World) -> Picture {
        self.look(world);
        let now = world.now;
        self.picture.end = now;
        for at in 0..self.hosts.len() {
            let seen = core::mem::take(&mut self.hosts[at]);
            let lane = &mut self.picture.lanes[at];
            end_life(lane, &seen, now, "");
            if let Some((from, until)) = seen.trust {
                lane.trust.push(Stretch::new(from, until.min(now), Tone::Good, "trusts itself"));
            }
            for (target, (from, text)) in seen.leads {
                lane.leads.push(lead(target, from, now, text));
            }
            for (text, (tone, from)) in seen.wrong {
                lane.shades.push(Stretch::new(from, now, tone, text));
            }
            if let Some(clock) = seen.clock {
                lane.clock.push(clock.line());
            }
            for (sent, ask) in seen.asks.into_values() {
                push_ask(lane, sent, &ask, None, now);
            }
            for (fence, running) in seen.runs {
                if let Some(place) = self.attempts.get(&fence) {
                    // It continues after the film.
                    end_bar(&mut lane.bars[place.bar], running, now, None);
                    lane.bars[place.bar].end = None;
                }
            }
        }
        if let Some((from, outage)) = self.outage {
            self.picture.bands.push(band(from, now, outage));
        }
        // A clock without error needs no line.
        let right = |lane: &Lane| lane.clock.iter().flatten().all(|(_, off)| off.abs() < 1_000);
        if self.picture.lanes.iter().all(right) {
            self.picture.lanes.iter_mut().for_each(|lane| lane.clock.clear());
        }
        self.picture
    }

    // --- reported ---

    /// An act is about to happen.
    pub(crate) fn act(&mut self, now: u64, act: &Act) {
        let tone = match act {
            Act::Run(_) => return,
            Act::Kill(_) | Act::Lose(_) | Act::Outage(_) => Tone::Bad,
            Act::Freeze(_) | Act::FreezeAlone(_) | Act::Suspend(_) => Tone::Frozen,
            Act::CutStore(_)
            | Act::Mute(_)
            | Act::Reset(_)
            | Act::Cut(..)
            | Act::CutWay(..)
            | Act::Break(..)
            | Act::CutZooKeeper(_)
            | Act::ZooKeeperDown
            | Act::Expire(_) => Tone::Cut,
            Act::Slow(..) | Act::Crawl(..) | Act::Fill(_) => Tone::Slow,
            Act::HealAll
            | Act::Start(_)
            | Act::Thaw(_)
            | Act::HealStore(_)
            | Act::HealZooKeeper(_)
            | Act::ZooKeeperUp
            | Act::Free(_)
            | Act::Heal(..)
            | Act::OutageOver => Tone::Good,
            _ => Tone::Quiet,
        };
        if let Act::Kill(host) | Act::Lose(host) = act
            && let Some(seen) = self.hosts.get_mut(host.0 as usize - 1)
        {
            seen.done = Some(if matches!(act, Act::Kill(_)) { "killed" } else { "lost with its host" }.to_owned());
        }
        // Healing does many things at once, most of them without effect.
        let twice = self.picture.acts.last().is_some_and(|last| last.at == now && last.label == "heal all");
        if !twice {
            let label = match act {
                Act::Post(work) => format!("post {}", work.name),
                act => act.to_string(),
            };
            self.picture.acts.push(Mark::new(now, tone, label).telling(act.to_string()));
        }
    }

    /// An event is about to enter a core.
    pub(crate) fn event(&mut self, now: u64, host: Host, event: &Event) {
        let at = host.0 as usize - 1;
        let Some(seen) = self.hosts.get_mut(at) else { return };
        match event {
            Event::Answered { id, answer } => {
                let Some((sent, ask)) = seen.asks.remove(id) else { return };
                push_ask(&mut self.picture.lanes[at], sent, &ask, Some(answer), now);
                self.answered(now, at, &ask, answer);
            }
            Event::AttemptEnded { fence, end } => {
                let ended = match end {
                    End::Ran(Outcome::Succeeded) => (Tone::Doubt, "it ran to its end, its commit is unconfirmed"),
                    End::Ran(_) => (Tone::Bad, "it failed"),
                    End::Stopped => (Tone::Quiet, "it was stopped"),
                };
                if let Some(running) = seen.runs.get_mut(fence) {
                    running.ended = Some((ended.0, ended.1.to_owned()));
                } else if let Some(end) = self.bar(*fence).and_then(|bar| bar.end.as_mut()) {
                    // It stopped running a moment before it reported that.
                    (end.tone, end.label) = (ended.0, ended.1.to_owned());
                }
            }
            _ => {}
        }
    }

    /// An effect has left a core.
    pub(crate) fn effect(&mut self, now: u64, host: Host, effect: &Effect, world: &World) {
        let at = host.0 as usize - 1;
        match effect {
            Effect::Ask { id, ask } => {
                if let Some(seen) = self.hosts.get_mut(at) {
                    seen.asks.insert(*id, (now, ask.clone()));
                }
            }
            Effect::Begin { fence, step } => self.begin(now, at, *fence, *step, world),
            Effect::Proceed { fence, step } => {
                if let Some(running) = self.hosts[at].runs.get_mut(fence) {
                    running.step = Some((*step, now));
                }
            }
            Effect::Cancel { fence, why } => {
                if let Some(bar) = self.bar(*fence) {
                    bar.hover.push_str(&format!("\ntold to stop at {:.3} s: {why:?}", now as f64 / 1e6));
                }
            }
            Effect::Lead { target, epoch } => {
                let text = format!("under epoch {}", epoch.0);
                self.hosts[at].leads.insert(*target, (now, text));
            }
            Effect::Resign(target) => {
                if let Some((from, text)) = self.hosts[at].leads.remove(target) {
                    self.picture.lanes[at].leads.push(lead(*target, from, now, text));
                }
            }
            Effect::Note(note) => self.note(now, at, effect, note),
            _ => {}
        }
    }

    fn note(&mut self, now: u64, at: usize, effect: &Effect, note: &Note) {
        let text = describe::effect(effect);
        let text = text.strip_prefix("note ").unwrap_or(&text).to_owned();
        let tone = match note {
            Note::TookOver { fence, .. } => {
                if let Some(arrow) = self.arrows.get(fence) {
                    self.picture.arrows[*arrow].hover = text;
                }
                return;
            }
            Note::TrustEnded | Note::TrustRestored => return,
            Note::Refused(_) | Note::WasFenced(_) => Tone::Bad,
            Note::SuspectsItself { .. } => Tone::Doubt,
            _ => Tone::Quiet,
        };
        self.picture.lanes[at].notes.push(Mark::new(now, tone, text));
    }

    fn begin(&mut self, now: u64, at: usize, fence: Fence, step: u32, world: &World) {
        let work = world.works.get(&fence.job);
        let name = work.map_or_else(|| format!("job {}", fence.job.0), |work| work.name.clone());
        let mut bar = Bar::new(now, now, fence.job.0, format!("{name} @{}", fence.epoch.0));
        if let Some(work) = work {
            let (external, by) = (if work.external { ", external" } else { "" }, world.machines[at].process.as_ref());
            let by = by.and_then(|p| p.node.me()).map(|me| format!(" by {me:?}")).unwrap_or_default();
            let from = if step > 0 { format!(", begun at step {step}") } else { String::new() };
            let (job, project, steps) = (fence.job.0, work.project, work.steps);
            bar.hover = format!("attempt{by} at job {job} of project {project}: {steps} steps{from}{external}");
        }
        let lane = &mut self.picture.lanes[at];
        let place = Place { lane: at, bar: lane.bars.len(), at: now };
        lane.bars.push(bar);
        if let Some(before) =
            self.latest.insert(fence.job, fence).and_then(|before| self.attempts.get(&before)).copied()
        {
            let from = Place { at: now, ..before };
            self.arrows.insert(fence, self.picture.arrows.len());
            self.picture.arrows.push(Arrow { from, to: place, key: fence.job.0, hover: format!("{name} continues") });
        }
        self.attempts.insert(fence, place);
        self.hosts[at].runs.insert(fence, Running { step: Some((step, now)), ended: None });
    }

    fn answered(&mut self, now: u64, at: usize, ask: &Ask, answer: &Answer) {
        match (ask, answer) {
            (Ask::CommitStep { fence, step, .. }, Answer::Done | Answer::Refused) => {
                let done = *answer == Answer::Done;
                let Some(running) = self.hosts[at].runs.get_mut(fence) else { return };
                let Some((_, from)) = running.step.filter(|(running, _)| running == step) else { return };
                running.step = None;
                let tone = if done { Tone::Good } else { Tone::Bad };
                let told = if done { "committed" } else { "its commit was refused" };
                let step = Stretch::new(from, now, tone, format!("step {step}")).telling(told);
                if let Some(bar) = self.bar(*fence) {
                    bar.steps.push(step);
                }
            }
            (Ask::Finish { fence, outcome, .. }, Answer::Done | Answer::Refused) => {
                let (tone, text) = match (answer, outcome) {
                    (Answer::Refused, _) => (Tone::Bad, "its end was refused".to_owned()),
                    (_, Outcome::Succeeded) => (Tone::Good, "succeeded, published".to_owned()),
                    (_, outcome) => (Tone::Bad, format!("{outcome:?}").to_lowercase()),
                };
                self.ended(*fence, tone, text);
            }
            (Ask::Release { fence, .. }, Answer::Done) => self.ended(*fence, Tone::Quiet, "handed back".to_owned()),
            _ => {}
        }
    }

    fn ended(&mut self, fence: Fence, tone: Tone, text: String) {
        if let Some(end) = self.bar(fence).and_then(|bar| bar.end.as_mut()) {
            (end.tone, end.label) = (tone, text);
        }
    }

    fn bar(&mut self, fence: Fence) -> Option<&mut Bar> {
        let place = self.attempts.get(&fence)?;
        self.picture.lanes.get_mut(place.lane)?.bars.get_mut(place.bar)
    }

    // --- observed ---

    /// Compares the world with its last state.
    pub(crate) fn look(&mut self, world: &World) {
        let now = world.now;
        if world.outage != self.outage.map(|(_, outage)| outage) {
            if let Some((from, outage)) = self.outage.take() {
                self.picture.bands.push(band(from, now, outage));
            }
            self.outage = world.outage.map(|outage| (now, outage));
        }
        for (at, machine) in world.machines.iter().enumerate() {
            self.look_at(world, at, machine);
        }
        for arrow in &mut self.picture.arrows {
            // It starts where the previous attempt ended, once that is known.
            let bar = &self.picture.lanes[arrow.from.lane].bars[arrow.from.bar];
            if bar.end.is_some() {
                arrow.from.at = bar.until.min(arrow.to.at);
            }
        }
    }

    fn look_at(&mut self, world: &World, at: usize, machine: &Machine) {
        let now = world.now;
        let (seen, lane) = (&mut self.hosts[at], &mut self.picture.lanes[at]);
        let process = machine.process.as_ref();
        if seen.boot.map(|(boot, _)| boot) != process.map(|p| p.boot) {
            let how = seen.done.take().unwrap_or_else(|| "exited".to_owned());
            end_life(lane, seen, now, &how);
            seen.life = None;
            if let Some((from, until)) = seen.trust.take() {
                lane.trust.push(Stretch::new(from, until.min(now), Tone::Good, "trusts itself"));
            }
            for (target, (from, text)) in core::mem::take(&mut seen.leads) {
                lane.leads.push(lead(target, from, now, text));
            }
            for (sent, ask) in core::mem::take(&mut seen.asks).into_values() {
                push_ask(lane, sent, &ask, None, now);
            }
            if let Some(clock) = seen.clock.take() {
                lane.clock.push(clock.line());
            }
            for (fence, running) in core::mem::take(&mut seen.runs) {
                if let Some(place) = self.attempts.get(&fence) {
                    let how = format!("its process {how}");
                    end_bar(&mut lane.bars[place.bar], running, now, Some((Tone::Bad, how)));
                }
            }
            seen.boot = process.map(|p| (p.boot, now));
        }
        let wrong = wrong(world, at, machine);
        let over: Vec<_> = seen.wrong.keys().filter(|text| !wrong.contains_key(*text)).cloned().collect();
        for text in over {
            if let Some((tone, from)) = seen.wrong.remove(&text) {
                lane.shades.push(Stretch::new(from, now, tone, text));
            }
        }
        for (text, tone) in wrong {
            seen.wrong.entry(text).or_insert((tone, now));
        }
        let Some(process) = process else { return };
        let local = process.local(now);
        let view = process.node.view(local);
        let (text, tone) = match (view.me, view.phase) {
            (Some(me), "up") => (format!("{me:?}"), Tone::Good),
            (Some(me), phase) => (format!("{me:?} {phase}"), Tone::Doubt),
            (None, phase) => (phase.to_owned(), Tone::Quiet),
        };
        if seen.life.as_ref().is_none_or(|(known, ..)| *known != text) {
            let told = if view.me.is_none() && seen.life.as_ref().is_some_and(|life| life.1.is_some()) {
                "was fenced"
            } else {
                ""
            };
            end_life(lane, seen, now, told);
            seen.life = Some((text, view.me, tone, now));
        }
        let until = view.trust_left.map(|left| process.when(local + left));
        match (seen.trust, until) {
            (Some((from, known)), Some(until)) if known >= now => seen.trust = Some((from, until)),
            (known, until) => {
                if let Some((from, known)) = known {
                    lane.trust.push(Stretch::new(from, known.min(now), Tone::Good, "trusts itself"));
                }
                seen.trust = until.map(|until| (now, until));
            }
        }
        let gone: Vec<_> = seen.runs.keys().filter(|fence| !process.runs.contains_key(fence)).copied().collect();
        for fence in gone {
            if let (Some(running), Some(place)) = (seen.runs.remove(&fence), self.attempts.get(&fence)) {
                end_bar(&mut lane.bars[place.bar], running, now, None);
            }
        }
        let off = i64::try_from(i128::from(local.micros()) - i128::from(now)).unwrap_or(i64::MAX);
        match &mut seen.clock {
            Some(clock) if clock.boot == process.boot => clock.shows(now, off),
            clock => *clock = Some(Clock { boot: process.boot, zero: off, points: vec![(now, 0)], tip: (now, 0) }),
        }
    }
}

impl Clock {
    fn shows(&mut self, now: u64, off: i64) {
        let point = (now, off - self.zero);
        let (from, tip) = (self.points.last().copied().unwrap_or(self.tip), self.tip);
        // The value at this moment of the line through the last bend and the tip.
        let (run, more) = (tip.0 - from.0, now - from.0);
        let straight =
            if run == 0 { None } else { Some((tip.1 - from.1) as i128 * i128::from(more) / i128::from(run)) };
        let bends = straight.is_some_and(|straight| {
            (straight + i128::from(from.1) - i128::from(point.1)).abs() > i128::from(BEND_US) + straight.abs() / 200
        });
        if bends {
            self.points.push(tip);
        }
        self.tip = point;
    }

    fn line(mut self) -> Vec<(u64, i64)> {
        self.points.push(self.tip);
        self.points
    }
}

/// The faults of a machine at this moment.
fn wrong(world: &World, at: usize, machine: &Machine) -> BTreeMap<String, Tone> {
    let mut wrong = BTreeMap::new();
    let mut is = |text: String, tone: Tone| wrong.insert(text, tone);
    if machine.lost {
        is("host lost".to_owned(), Tone::Down);
    } else if machine.process.is_none() {
        is("down".to_owned(), Tone::Down);
    }
    if let Some(stopped) = machine.process.as_ref().and_then(|p| p.stopped) {
        is(if stopped.suspended { "suspended" } else { "frozen" }.to_owned(), Tone::Frozen);
    }
    if machine.store_cut {
        is("cut from the metastore".to_owned(), Tone::Cut);
    }
    if machine.mute {
        is("replies are lost".to_owned(), Tone::Cut);
    }
    if machine.slow_us > 0 {
        is(format!("replies take {:?} longer", Span::from_micros(machine.slow_us)), Tone::Slow);
    }
    let me = Host(at as u32 + 1);
    if machine.zookeeper_cut {
        is("cut from ZooKeeper".to_owned(), Tone::Cut);
    }
    if machine.crawl_us > 0 {
        is(format!("{:?} delay of all events", Span::from_micros(machine.crawl_us)), Tone::Slow);
    }
    if machine.disk_full {
        is("its disk is full".to_owned(), Tone::Slow);
    }
    for (a, b) in &world.cuts {
        let both = world.cuts.contains(&(*b, *a));
        if *a == me {
            is(format!("{} {b}", if both { "cut from" } else { "not heard by" }), Tone::Cut);
        } else if *b == me && !both {
            is(format!("does not hear {a}"), Tone::Cut);
        }
    }
    wrong
}

fn end_life(lane: &mut Lane, seen: &Seen, now: u64, how: &str) {
    if let Some((text, _, tone, from)) = &seen.life {
        lane.lives.push(Stretch::new(*from, now, *tone, text.as_str()).telling(how));
    }
}

fn end_bar(bar: &mut Bar, running: Running, now: u64, how: Option<(Tone, String)>) {
    bar.until = now;
    if let Some((step, from)) = running.step {
        bar.steps.push(Stretch::new(from, now, Tone::Doubt, format!("step {step}")).telling("not committed"));
    }
    bar.end = how.or(running.ended).map(|(tone, text)| Mark::new(now, tone, text)).or_else(|| {
        // Unknown. A later report replaces this.
        Some(Mark::new(now, Tone::Quiet, "stopped"))
    });
}

fn lead(target: Target, from: u64, until: u64, text: String) -> Stretch {
    match target {
        Target::Leader => Stretch::new(from, until, Tone::Lead, "leader").telling(text),
        Target::Project(project) => Stretch::new(from, until, Tone::Claim, format!("p{}", project.0)).telling(text),
    }
}

fn band(from: u64, until: u64, outage: Outage) -> Stretch {
    let how = match outage {
        Outage::Fails => "the metastore refuses connections",
        Outage::Hangs => "the metastore does not answer",
    };
    Stretch::new(from, until, Tone::Bad, how)
}

/// A beat or another write, answered or not. Reads are not drawn.
fn push_ask(lane: &mut Lane, sent: u64, ask: &Ask, answer: Option<&Answer>, now: u64) {
    let tone = match answer {
        None | Some(Answer::Unknown | Answer::Failed) => Tone::Doubt,
        Some(Answer::Refused | Answer::Full) => Tone::Bad,
        Some(_) => Tone::Good,
    };
    let said = match answer {
        None => "never answered".to_owned(),
        Some(Answer::Listed { members, .. }) => format!("listed {} members", members.len()),
        Some(Answer::Beats(beats)) => format!("beats of {} members", beats.len()),
        Some(answer) => format!("{answer:?}").split([' ', '{', '(']).next().unwrap_or_default().to_lowercase(),
    };
    let took = if answer.is_some() { format!(" after {:.1} ms", (now - sent) as f64 / 1e3) } else { String::new() };
    let text = describe::ask(ask);
    let mark = Mark::new(sent, tone, text.strip_prefix("ask ").unwrap_or(&text)).telling(format!("{said}{took}"));
    match ask {
        Ask::Beat { .. } => lane.beats.push(mark),
        Ask::List | Ask::ListJobs | Ask::ListNode(_) | Ask::ReadJobs(_) => {}
        _ => lane.asks.push(mark),
    }
}
