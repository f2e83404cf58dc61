//! The world: an agenda of future events, in microseconds of true time, and the machines on which they happen.
//!
//! The world has one thread and one random source, and events at the same time keep their scheduling order. Therefore
//! the same setup and acts give the same run, event for event. Each machine has its own clock, and the core never sees
//! true time. The interpreter follows the rules of the production shell: one effect is one I/O call with at most one
//! answer, and the interpreter makes no decisions.
//!
//! | file | contents |
//! |---|---|
//! | `world.rs` | time, the next event |
//! | `world/effects.rs` | carrying out the core's effects |
//! | `world/acts.rs` | acts on the cluster |
//! | `world/clients.rs` | users who submit jobs and act on them |
//! | `world/zookeeper.rs` | sessions, registrations, watches |
//! | `world/film.rs` | the picture of a run |
//!
//! Not here: whether the behaviour is correct (the judge).

use std::collections::{BTreeMap, BTreeSet};

use kirin_core::ask::{Fence, JobId, ProjectId};
use kirin_core::event::Met;
use kirin_core::{
    Action, Answer, Ask, AskId, Effect, Event, JobState, Member, MemberRow, Node, NodeId, Outcome, ProjectRow,
    Settings, Span, Time,
};

use crate::act::{Act, Host, Outage, Work};
use crate::agenda::Agenda;
use crate::dice::Dice;
use crate::host::{Machine, Process};
use crate::judge::{Before, Judge, Known, Scene, Violation};
use crate::plant::Plant;
use crate::setup::{Setup, Weather};
use crate::store::Store;

mod acts;
mod clients;
mod effects;
mod film;
mod zookeeper;

use clients::{Client, Reply};
use film::Film;
use zookeeper::Ensemble;

/// How often the judge inspects the entire state.
const LOOK_EVERY_US: u64 = 5_000_000;

/// A future event.
#[derive(Debug)]
enum Upcoming {
    Wake {
        host: Host,
        boot: u32,
    },
    Event {
        host: Host,
        boot: u32,
        event: Event,
    },
    /// A request reaches the metastore. The shell times out at `gives_up`, or has already done so.
    ToStore {
        host: Host,
        boot: u32,
        id: AskId,
        ask: Ask,
        gives_up: Option<u64>,
    },
    /// A client's request reaches the metastore through a host.
    ApiToStore {
        host: Host,
        boot: u32,
        client: usize,
        ask: Ask,
    },
    ApiReply {
        host: Host,
        boot: u32,
        client: usize,
        reply: Reply,
    },
    ClientTries {
        client: usize,
    },
    StepDone {
        host: Host,
        boot: u32,
        fence: Fence,
        step: u32,
    },
    RunStopped {
        host: Host,
        boot: u32,
        fence: Fence,
    },
    Link {
        host: Host,
        boot: u32,
        to: Member,
    },
    Knock {
        host: Host,
        boot: u32,
        at: Member,
    },
    /// An event reaches a slow process.
    Late {
        host: Host,
        boot: u32,
        event: Event,
    },
    /// The trust that an executor knows of ends.
    Deadline {
        host: Host,
        boot: u32,
        fence: Fence,
    },
    /// An external attempt that has outlived its process finishes a step.
    OrphanStep {
        host: Host,
        fence: Fence,
        by: Member,
        step: u32,
    },
    /// A request that hung in the metastore is executed.
    Unhung {
        host: Host,
        ask: Ask,
    },
    SessionEnds {
        host: Host,
        boot: u32,
        sign: u64,
    },
    Register {
        host: Host,
        boot: u32,
    },
    LookAround {
        host: Host,
        boot: u32,
    },
    /// The judge checks the promises that are due.
    Inspect,
    /// The judge inspects the entire state.
    Look,
}

/// The truth at this moment, for the judge. A macro, because the judge itself is borrowed at the same time.
macro_rules! scene {
    ($world:expr) => {
        Scene {
            now: $world.now,
            store: &$world.store,
            machines: &$world.machines,
            calm: $world.weather.is_calm() && $world.outage.is_none() && $world.cuts.is_empty(),
        }
    };
}
pub(crate) use scene;

/// An effect of a node, for transcripts.
#[derive(Clone, Debug)]
pub struct Line {
    /// True time in microseconds.
    pub at: u64,
    /// The host.
    pub host: Host,
    /// The effect.
    pub effect: Effect,
}

/// Something that happened in a world, for a watcher.
#[derive(Debug)]
pub enum Sight<'a> {
    /// An act on the cluster.
    Act(&'a Act),
    /// An event is about to enter a core.
    Event(&'a Event),
    /// An effect has left a core.
    Effect(&'a Effect),
}

/// The place where something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The host.
    pub host: Host,
    /// The host's member.
    pub me: Option<Member>,
    /// The clock of its process.
    pub clock: Time,
}

/// Sees everything that happens in a world, in order.
pub trait Watcher {
    /// Called with the true time in microseconds and the place; acts have no place.
    fn see(&mut self, at: u64, spot: Option<Spot>, sight: &Sight<'_>);
}

/// A cluster and its environment.
#[derive(Debug)]
pub struct World {
    now: u64,
    agenda: Agenda<Upcoming>,
    setup: Setup,
    weather: Weather,
    dice: Dice,
    plant: Option<Plant>,
    store: Store,
    outage: Option<Outage>,
    /// Pairs of hosts where nothing from the first reaches the second.
    cuts: BTreeSet<(Host, Host)>,
    /// Requests that hang in the metastore.
    hung: Vec<(Host, Ask)>,
    zookeeper: Ensemble,
    machines: Vec<Machine>,
    works: BTreeMap<JobId, Work>,
    /// Attempts whose next result the metastore cannot store.
    denied: BTreeSet<Fence>,
    /// The hosts that serve clients; `None` if a host may have changed.
    serving: Option<Vec<Host>>,
    clients: Vec<Client>,
    judge: Judge,
    /// When the judge's next check of promises is scheduled.
    inspect_at: u64,
    /// The wall clock of each member at its last beat, which a planted bug reads.
    wall_beats: BTreeMap<Member, i64>,
    digest: u64,
    events: u64,
    record: Option<Vec<Line>>,
    film: Option<Box<Film>>,
    watcher: Option<Watching>,
}

struct Watching(Box<dyn Watcher>);

impl core::fmt::Debug for Watching {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a watcher")
    }
}

impl World {
    /// A world in which every host's process starts at once.
    pub fn new(setup: Setup, plant: Option<Plant>) -> Self {
        let limits = setup.limits.iter().zip(1..);
        let mut store = Store::new(limits.map(|(limit, id)| ProjectRow { id: ProjectId(id), limit: *limit }));
        if let Some(plant) = plant {
            store.plant(plant);
        }
        let each = setup.roles.iter().zip(&setup.clocks).zip(&setup.versions).zip(&setup.can);
        let machines = each.map(|(((role, clock), version), can)| Machine {
            role: *role,
            can: *can,
            clock: *clock,
            slots: setup.slots,
            boots: 0,
            process: None,
            lost: false,
            store_cut: false,
            mute: false,
            resets: false,
            slow_us: 0,
            zookeeper_cut: false,
            crawl_us: 0,
            disk_full: false,
            wall_us: clock.offset_us.cast_signed(),
            version: *version,
        });
        let mut world = Self {
            now: 0,
            agenda: Agenda::default(),
            weather: setup.weather.clone(),
            dice: Dice::new(setup.seed, "world"),
            plant,
            store,
            outage: None,
            cuts: BTreeSet::new(),
            hung: Vec::new(),
            zookeeper: Ensemble::default(),
            machines: machines.collect(),
            works: BTreeMap::new(),
            denied: BTreeSet::new(),
            serving: None,
            clients: Vec::new(),
            judge: Judge::new(&setup),
            inspect_at: 0,
            wall_beats: BTreeMap::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            events: 0,
            record: None,
            film: None,
            watcher: None,
            setup,
        };
        for host in world.hosts() {
            world.boot(host);
        }
        world.schedule(LOOK_EVERY_US, Upcoming::Look);
        world
    }

    /// Makes these bytes replace random choices: latencies, losses, the clients' choice of hosts.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.dice.feed(bytes);
    }

    /// Keeps every effect from this moment.
    pub fn record(&mut self) {
        self.record = Some(Vec::new());
    }

    /// The effects that were kept.
    pub fn recorded(&mut self) -> Vec<Line> {
        self.record.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// Shows everything from this moment to a watcher.
    pub fn show_to(&mut self, watcher: Box<dyn Watcher>) {
        self.watcher = Some(Watching(watcher));
    }

    fn sight(&mut self, at: u64, spot: Option<Spot>, sight: &Sight<'_>) {
        if let Some(Watching(watcher)) = &mut self.watcher {
            watcher.see(at, spot, sight);
        }
    }

    /// Films everything from this moment.
    pub(crate) fn film(&mut self) {
        self.film = Some(Box::new(Film::of(self)));
    }

    /// The picture of what was filmed.
    pub(crate) fn filmed(&mut self) -> crate::picture::Picture {
        self.film.take().map(|film| film.end(self)).unwrap_or_default()
    }

    /// Passes the world to the camera, if there is one.
    fn shoot(&mut self, see: impl FnOnce(&mut Film, &Self)) {
        if let Some(mut film) = self.film.take() {
            see(&mut film, self);
            self.film = Some(film);
        }
    }

    /// True time since the start.
    pub fn now(&self) -> Span {
        Span::from_micros(self.now)
    }

    /// How many events have happened.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// A digest of the run: equal runs have equal digests.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The judge's finding, if there is one.
    pub fn violation(&self) -> Option<&Violation> {
        self.judge.violation()
    }

    /// How often each situation occurred.
    pub fn occurred(&self) -> &BTreeMap<&'static str, u64> {
        self.judge.occurred()
    }

    /// The setup of the run.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The metastore.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The core of a host's process, if it runs.
    pub fn node(&self, host: Host) -> Option<&Node> {
        self.machine(host)?.process.as_ref().map(|p| &p.node)
    }

    /// The job that was accepted under this name.
    pub fn job(&self, name: &str) -> Option<JobId> {
        self.works.iter().find(|(_, work)| work.name == name).map(|(id, _)| *id)
    }

    /// One line per host: its condition, and its node's view of itself.
    pub fn sights(&self) -> Vec<String> {
        let sight = |(machine, host): (&Machine, u32)| {
            let Some(process) = &machine.process else {
                return format!("n{host} down{}", if machine.lost { ", lost" } else { "" });
            };
            let view = process.node.view(process.local(self.now));
            let (runs, stopped) = (&process.runs, process.stopped.is_some());
            let (phase, trust, attempts) = (view.phase, view.trust_left, view.attempts);
            let due = process.node.deadline();
            format!(
                "n{host} {:?} {phase}, stopped {stopped}, trust {trust:?}, due {due:?}, attempts {attempts:?}, runs {runs:?}",
                view.me
            )
        };
        self.machines.iter().zip(1..).map(sight).collect()
    }

    /// Whether a process of that attempt runs anywhere.
    pub fn runs(&self, fence: Fence) -> bool {
        self.machines.iter().filter_map(|m| m.process.as_ref()).any(|p| p.runs.contains_key(&fence))
    }

    /// All hosts.
    pub fn hosts(&self) -> Vec<Host> {
        (1..=self.setup.nodes()).map(Host).collect()
    }

    /// Whether every acknowledged job has ended and has no holder.
    pub fn all_over(&self) -> bool {
        self.clients.iter().all(|client| client.is_done()) && self.store.open().next().is_none()
    }

    /// The maximum time that all unfinished jobs need, one after the other and each with failures on its own node.
    pub(crate) fn work_left(&self) -> Span {
        let open = self.store.open().filter_map(|row| self.works.get(&row.id));
        let waiting = self.clients.iter().filter_map(Client::work);
        open.chain(waiting).fold(Span::ZERO, |sum, work| {
            let tries = u64::from(work.fails + work.stuck) + 2;
            let once = work.step.scaled(u64::from(work.steps) * 5 / 4 + 1, 1) + Span::from_secs(15);
            sum + once.scaled(tries, 1)
        })
    }

    /// Pauses attempts that hang, as a user would.
    pub(crate) fn unstick(&mut self) {
        let stuck: Vec<_> = self
            .machines
            .iter()
            .filter_map(|m| m.process.as_ref())
            .flat_map(|p| p.runs.iter().filter(|(_, run)| run.stuck && !run.cancelled).map(|(fence, _)| fence.job))
            .filter_map(|job| self.works.get(&job).map(|work| work.name.clone()))
            .collect();
        for name in stuck {
            self.act(&Act::Do { action: Action::Pause, name, via: None });
        }
    }

    /// The longest step of any job.
    pub(crate) fn longest_step(&self) -> Span {
        self.works.values().map(|work| work.step).max().unwrap_or_default()
    }

    /// Grows with every committed step, every new holder and every accepted job.
    pub(crate) fn progress(&self) -> (u64, usize, usize) {
        let done = self.store.jobs().map(|row| row.epoch.0 + u64::from(row.steps)).sum();
        (done, self.store.jobs().count(), self.store.open().count())
    }

    /// The names of the accepted jobs.
    pub(crate) fn names(&self) -> Vec<String> {
        self.works.values().map(|work| work.name.clone()).collect()
    }

    /// Resumes a stopped job, as a user would.
    pub(crate) fn resume(&mut self, name: &str) {
        let stopped = self
            .job(name)
            .and_then(|id| self.store.job(id))
            .is_some_and(|row| matches!(row.state, JobState::Error | JobState::Paused));
        if stopped {
            self.act(&Act::Do { action: Action::Resume, name: name.to_owned(), via: None });
        }
    }

    /// The bound has passed, and some job has not ended.
    pub(crate) fn never_over(&mut self) {
        let left: Vec<_> = self.store.open().copied().collect();
        let waits = self.clients.iter().filter(|client| !client.is_done()).count();
        let why: Vec<_> = left
            .iter()
            .take(3)
            .flat_map(|row| self.machines.iter().filter_map(move |m| Some((row.id, m.process.as_ref()?))))
            .filter_map(|(id, p)| Some((p.node.me()?, id, p.node.why(p.local(self.now), id))))
            .collect();
        let what = format!(
            "{} jobs have not ended, {waits} clients wait: {:?}; {why:?}",
            left.len(),
            &left[..left.len().min(3)]
        );
        self.judge.found(self.now, "always-goes-on", what);
    }

    /// Ends the run.
    pub(crate) fn end(&mut self) {
        self.judge.ended(self.now, &self.store);
    }

    /// Lets time pass. Stops early if the judge finds a violation.
    pub fn run(&mut self, span: Span) {
        let until = self.now + span.micros();
        while self.judge.violation().is_none() && self.next(until) {}
        if self.judge.violation().is_none() {
            self.now = until;
        }
    }

    /// Performs the next event if it is due before `until`.
    fn next(&mut self, until: u64) -> bool {
        let Some((at, coming)) = self.agenda.next(until) else { return false };
        self.now = at;
        self.events += 1;
        self.happens(coming);
        self.shoot(Film::look);
        true
    }

    fn happens(&mut self, coming: Upcoming) {
        match coming {
            Upcoming::Wake { host, boot } => self.wake(host, boot),
            Upcoming::Event { host, boot, event } => match self.heard_at(host, &event) {
                at if at <= self.now => self.tell(host, boot, event),
                at => self.schedule(at, Upcoming::Late { host, boot, event }),
            },
            Upcoming::Late { host, boot, event } => self.tell(host, boot, event),
            Upcoming::ToStore { host, boot, id, ask, gives_up } => self.asked(host, boot, id, &ask, gives_up),
            Upcoming::ApiToStore { host, boot, client, ask } => self.api_asked(host, boot, client, &ask),
            Upcoming::ApiReply { host, boot, client, reply } => self.api_replied(host, boot, client, reply),
            Upcoming::ClientTries { client } => self.client_tries(client),
            Upcoming::StepDone { host, boot, fence, step } => self.step_done(host, boot, fence, step),
            Upcoming::RunStopped { host, boot, fence } => self.run_stopped(host, boot, fence),
            Upcoming::Link { host, boot, to } => self.link(host, boot, to),
            Upcoming::Knock { host, boot, at } => self.knock(host, boot, at),
            Upcoming::Deadline { host, boot, fence } => self.deadline(host, boot, fence),
            Upcoming::OrphanStep { host, fence, by, step } => self.orphan_step(host, fence, by, step),
            Upcoming::Unhung { host, ask } => {
                self.judge.count("hung request landed");
                self.transact(host, &ask);
            }
            Upcoming::SessionEnds { host, boot, sign } => self.session_expires(host, boot, sign),
            Upcoming::Register { host, boot } => self.register(host, boot),
            Upcoming::LookAround { host, boot } => self.look_around(host, boot),
            Upcoming::Inspect => self.judge.inspect(&scene!(self)),
            Upcoming::Look => {
                self.judge.look(&scene!(self));
                self.schedule(self.now + LOOK_EVERY_US, Upcoming::Look);
            }
        }
    }

    /// When an event reaches a process, which may be slow. An operator's requests arrive in the order in which they
    /// were sent.
    fn heard_at(&mut self, host: Host, event: &Event) -> u64 {
        let now = self.now;
        let Some(machine) = self.machine_mut(host) else { return now };
        let is_wish = matches!(
            event,
            Event::SlotsWished(_)
                | Event::CanChanged(_)
                | Event::DrainWished { .. }
                | Event::DrainUndone
                | Event::ClaimWished { .. }
        );
        let at = now + machine.crawl_us;
        let Some(process) = machine.process.as_mut().filter(|_| is_wish) else { return at };
        process.wishes_until = process.wishes_until.max(at);
        process.wishes_until
    }

    fn schedule(&mut self, at: u64, coming: Upcoming) {
        self.agenda.add(at.max(self.now), coming);
    }

    fn machine(&self, host: Host) -> Option<&Machine> {
        self.machines.get((host.0 as usize).checked_sub(1)?)
    }

    fn machine_mut(&mut self, host: Host) -> Option<&mut Machine> {
        self.machines.get_mut((host.0 as usize).checked_sub(1)?)
    }

    fn process(&self, host: Host, boot: u32) -> Option<&Process> {
        self.machine(host)?.process_of(boot)
    }

    fn process_mut(&mut self, host: Host, boot: u32) -> Option<&mut Process> {
        self.machine_mut(host)?.process_of_mut(boot)
    }

    /// Whether nothing from the first host reaches the second.
    fn is_cut_from(&self, from: Host, to: Host) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// Whether two hosts cannot communicate: a connection needs both directions.
    fn is_cut(&self, a: Host, b: Host) -> bool {
        self.is_cut_from(a, b) || self.is_cut_from(b, a)
    }

    fn boot(&mut self, host: Host) {
        let now = self.now;
        let (setup, plant) = (&self.setup, self.plant);
        let Some(machine) = self.machines.get_mut(host.0 as usize - 1) else { return };
        machine.lost = false;
        if machine.process.is_some() {
            return;
        }
        machine.boots += 1;
        let boot = machine.boots;
        let usual = Settings::new(machine.role);
        let version = machine.version;
        let settings = Settings {
            slots: machine.slots,
            can: machine.can,
            timing: setup.timing,
            in_order: setup.in_order,
            leader_only: setup.leader_only,
            // The other version polls more often, waits longer, watches fewer members, and reads no more beats than it
            // must.
            poll_every: if version == 1 { usual.poll_every } else { usual.poll_every.scaled(1, 2) },
            steal_after: if version == 1 { usual.steal_after } else { usual.steal_after.scaled(2, 1) },
            watchers: if version == 1 { usual.watchers } else { usual.watchers - 1 },
            observers: if version == 1 { usual.observers } else { usual.watchers - 1 },
            ..usual
        };
        let seed = setup.seed ^ u64::from(host.0) << 32 ^ u64::from(boot);
        let process = Process::new(boot, version, machine.clock, now, |at| {
            let mut node = Node::start(settings, seed, at);
            if let Some(Plant::Core(plant)) = plant {
                node.plant(plant);
            }
            node
        });
        machine.process = Some(process);
        self.serving = None;
        self.schedule(now, Upcoming::Wake { host, boot });
        if let Some(process) = self.process_mut(host, boot) {
            process.wake_at = now;
        }
        self.tend_session(host);
    }

    fn wake(&mut self, host: Host, boot: u32) {
        let now = self.now;
        let Some(process) = self.process_mut(host, boot) else { return };
        if process.stopped.is_some() || process.wake_at > now {
            return;
        }
        process.wake_at = u64::MAX;
        self.happens(Upcoming::Event { host, boot, event: Event::Woke });
    }

    /// Passes an event to the core and carries out its effects.
    fn tell(&mut self, host: Host, boot: u32, event: Event) {
        let now = self.now;
        let Some(process) = self.process_mut(host, boot) else { return };
        if process.stopped.is_some() {
            process.inbox.push_back(event);
            return;
        }
        self.shoot(|film, world| film.event(world.now, host, &event));
        let Some(process) = self.process_mut(host, boot) else { return };
        let local = process.local(now);
        if let Event::Answered { id, .. } = &event {
            process.reading.retain(|(asked, ..)| asked != id);
            process.lists.retain(|(asked, _)| asked != id);
        }
        let lists_all =
            matches!(&event, Event::Answered { id, answer: Answer::Jobs(_) } if process.all_jobs.contains(id));
        if let Event::Answered { id, .. } = &event {
            process.all_jobs.retain(|asked| asked != id);
        }
        let known = Known::of(process, &event, lists_all);
        if let Event::Probed { member, met: Met::Refused } = &event {
            self.judge.exit_seen(&scene!(self), host, *member);
        }
        let Some(process) = self.process_mut(host, boot) else { return };
        let was = process.node.me();
        self.sight(now, Some(Spot { host, me: was, clock: local }), &Sight::Event(&event));
        let Some(process) = self.process_mut(host, boot) else { return };
        let effects = process.node.step(local, event);
        let is = process.node.me();
        if is != was {
            // A new member does not hear the answers to the requests of the one before.
            process.lists.clear();
            process.all_jobs.clear();
        } else if lists_all {
            process.informed = is;
        }
        if let Some(known) = known.filter(|_| is == was) {
            self.judge.learnt(&scene!(self), host, &known);
        }
        let Some(process) = self.process_mut(host, boot) else { return };
        let joined = is.filter(|me| Some(*me) != was);
        let left_over = joined.and_then(|me| Some((me, *process.runs.iter().next()?.0)));
        let (due, why) = process.node.deadline();
        if is.is_some() != was.is_some() {
            self.serving = None;
        }
        if due <= local {
            self.judge.found(now, "always-goes-on", format!("{host}: {why:?} is due immediately, again and again"));
            return;
        }
        if let Some((me, fence)) = left_over {
            let what = format!("{me:?} starts working while {fence:?} of an earlier incarnation still runs");
            self.judge.found(now, "one-live-attempt", what);
            return;
        }
        let Some(process) = self.process_mut(host, boot) else { return };
        let at = process.when(due);
        let spot = Some(Spot { host, me: process.node.me(), clock: local });
        if at < process.wake_at {
            process.wake_at = at;
            self.schedule(at, Upcoming::Wake { host, boot });
        }
        self.mix(now ^ u64::from(host.0) << 48 ^ (effects.len() as u64) << 56);
        for effect in effects {
            self.sight(now, spot, &Sight::Effect(&effect));
            self.judge.ordered(&scene!(self), host, &effect);
            if let Some(lines) = &mut self.record {
                lines.push(Line { at: now, host, effect: effect.clone() });
            }
            self.shoot(|film, world| film.effect(now, host, &effect, world));
            self.carry_out(host, boot, effect);
        }
    }

    fn mix(&mut self, n: u64) {
        self.digest = (self.digest ^ n).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
    }

    /// The member that a host's process is at this moment.
    fn member_at(&self, host: Host) -> Option<Member> {
        self.node(host)?.me()
    }

    /// The latency of one way to or from the metastore.
    fn store_way(&mut self) -> u64 {
        let (low, high) = self.weather.store_us;
        if self.dice.chance(self.weather.tail_ppm) {
            return self.dice.between(low, self.weather.tail_us);
        }
        self.dice.between(low, high)
    }

    fn link_way(&mut self) -> u64 {
        let (low, high) = self.weather.link_us;
        if self.dice.chance(self.weather.link_tail_ppm) {
            return self.dice.between(low, self.weather.link_tail_us.max(low));
        }
        self.dice.between(low, high)
    }
}

/// The host on which a node is installed.
pub(crate) const fn host_of(node: NodeId) -> Host {
    Host(node.0)
}

/// Executes a transaction and shows it to the judge.
impl World {
    fn transact(&mut self, host: Host, ask: &Ask) -> Answer {
        if let Ask::CommitStep { fence, by, .. } = ask
            && self.denied.remove(fence)
        {
            // A result that the metastore can't store ends the job instead, under the same fence.
            let end = Ask::Finish { fence: *fence, by: *by, outcome: Outcome::Failed };
            return match self.transact(host, &end) {
                Answer::Done => {
                    self.judge.count("result refused for certain");
                    // Between two steps an executor only waits, and there is no next step.
                    if let Some(process) = self.machine_mut(host).and_then(|machine| machine.process.as_mut()) {
                        process.runs.remove(fence);
                    }
                    Answer::Refused
                }
                answer => answer,
            };
        }
        let before = Before::of(ask, &self.store);
        let answer = self.store.ask(NodeId(host.0), ask);
        self.judge.after(&scene!(self), host, ask, &before, &answer);
        self.inspect_when_due();
        if self.plant == Some(Plant::FastClockSteals) {
            self.compare_wall_clocks(host, ask);
        }
        self.mix(match &answer {
            Answer::Granted { epoch, .. } => epoch.0 << 8 | 1,
            Answer::Done => 2,
            Answer::Refused => 3,
            Answer::Full => 4,
            Answer::Jobs(rows) => (rows.len() as u64) << 8 | 5,
            Answer::Listed { members, .. } => (members.len() as u64) << 8 | 6,
            Answer::Beats(beats) => (beats.len() as u64) << 8 | 8,
            _ => 7,
        });
        answer
    }

    /// Schedules the judge's check for when the next promise is due.
    fn inspect_when_due(&mut self) {
        if let Some(at) = self.judge.promised_at().filter(|at| *at != self.inspect_at) {
            self.inspect_at = at;
            self.schedule(at, Upcoming::Inspect);
        }
    }

    /// A planted bug: a member that beats declares others dead if their last beat is old by its own wall clock.
    fn compare_wall_clocks(&mut self, host: Host, ask: &Ask) {
        let (Ask::Beat { by, .. }, now) = (ask, self.now.cast_signed()) else { return };
        let wall = |world: &Self, node: NodeId| world.machine(host_of(node)).map_or(0, |m| m.wall_us) + now;
        self.wall_beats.insert(*by, wall(self, by.node));
        let timeout = self.setup.timing.timeout().micros().cast_signed();
        let mine = wall(self, by.node);
        let is_old = |row: &&MemberRow| {
            row.member != *by && self.wall_beats.get(&row.member).is_some_and(|beat| mine - beat > timeout)
        };
        let old = self.store.living().find(is_old).copied();
        if let Some(row) = old {
            let (member, beat, by) = (row.member, Some(row.beat), *by);
            self.transact(host, &Ask::Fence { member, evidence: kirin_core::Evidence::Silent, beat, by });
        }
    }
}
