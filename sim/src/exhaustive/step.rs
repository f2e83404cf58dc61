//! One state of the small world, and its possible successors.
//!
//! Messages in flight are unordered: any request, reply, nudge or finished step may arrive next. States share their
//! parts until these change, so that a million states fit into memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kirin_core::ask::{Fence, JobId, Priority, ProjectId};
use kirin_core::effect::Nudge;
use kirin_core::event::{End, Met};
use kirin_core::{
    Answer, Ask, AskId, Effect, Event, Member, Node, NodeId, Outcome, ProjectRow, Role, Settings, Span, Time, digest,
};

use super::{Counts, Faults, SmallWorld, laws};
use crate::describe;
use crate::plant::Plant;
use crate::store::Store;

/// The number of steps of a job.
const STEPS: u32 = 1;
/// The time between two events of one node.
const TICK: Span = Span::from_micros(1);

/// A state.
#[derive(Clone)]
pub struct State {
    procs: Vec<Option<Arc<Proc>>>,
    boots: Vec<u32>,
    store: Arc<Store>,
    store_digest: u64,
    flight: Vec<(u64, Arc<InFlight>)>,
    left: Faults,
    /// How many more events are explored. This is part of the state: a state that is reached again with more events
    /// left is explored again.
    events_left: usize,
    published: BTreeMap<JobId, u32>,
    broken: Option<&'static str>,
}

/// A process with a real core.
#[derive(Clone, Debug)]
pub(crate) struct Proc {
    pub(crate) node: Node,
    pub(crate) role: Role,
    pub(crate) runs: BTreeMap<Fence, Run>,
    boot: u32,
    now: Time,
    watches: Vec<Member>,
    digest: u64,
}

/// An attempt that an executor runs.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Run {
    pub(crate) member: Member,
    cancelled: bool,
}

/// A message in flight to a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "a host, its process, and the message")]
pub enum InFlight {
    /// To the metastore. If `heard` is false, no process waits for the answer.
    Request { host: usize, boot: u32, id: AskId, ask: Ask, heard: bool },
    /// To a core.
    Event { host: usize, boot: u32, event: Event },
    /// An executor has finished a step.
    Step { host: usize, boot: u32, fence: Fence, step: u32 },
    /// An executor has stopped.
    Stopped { host: usize, boot: u32, fence: Fence },
    /// A probe reaches an address.
    Knock { host: usize, boot: u32, at: Member },
}

/// A possible transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A message arrives.
    Arrives(usize, Arc<InFlight>),
    /// A reply arrives and will arrive again.
    ArrivesTwice(usize, Arc<InFlight>),
    /// A request or its reply is lost, so its outcome is unknown.
    IsLost(usize, Arc<InFlight>),
    /// A request times out while it is still in flight.
    IsGivenUp(usize, Arc<InFlight>),
    /// The next timer of a node fires.
    Fires(usize),
    /// A node sleeps for longer than the timeout.
    Sleeps(usize),
    /// A process is killed.
    Dies(usize),
    /// A process starts again.
    Starts(usize),
    /// A user acts on a job.
    Acts(kirin_core::Action, JobId),
}

impl State {
    /// The initial states: the start of the processes; running jobs; a silent holder, about to be declared silent; its heir
    /// asking for the job while the holder knows nothing of it; a killed holder, about to be discovered.
    pub(crate) fn starts(world: &SmallWorld) -> Vec<Self> {
        let fresh = Self::boot(world);
        let mut running = fresh.clone();
        running.settle(world);
        let is_fence = |ask: &Ask| matches!(ask, Ask::Fence { .. });
        // The first try may rest on an outdated row.
        let is_take = |ask: &Ask| matches!(ask, Ask::Take { fence, .. } if fence.epoch.0 > 0);
        let mut starts = vec![fresh, running.clone()];
        if let Some((holder, observer)) = running.holder_and_observer() {
            starts.extend(running.clone().until_asked(world, observer, is_fence));
            starts.extend(running.clone().until_asked(world, observer, is_take));
            let mut killed = running;
            killed.dies(holder);
            starts.extend(killed.until_asked(world, observer, is_fence));
        }
        for state in &mut starts {
            (state.left, state.events_left) = (world.faults, world.depth);
        }
        starts
    }

    fn holder_and_observer(&self) -> Option<(usize, usize)> {
        let holder = self.procs.iter().position(|p| p.as_ref().is_some_and(|p| !p.runs.is_empty()))?;
        let observer = (0..self.procs.len()).find(|host| *host != holder)?;
        Some((holder, observer))
    }

    /// Moves only the observer, until it sends such a request.
    fn until_asked(mut self, world: &SmallWorld, observer: usize, such: impl Fn(&Ask) -> bool) -> Option<Self> {
        let asks = |coming: &InFlight| matches!(coming, InFlight::Request { ask, .. } if such(ask));
        let mine = |coming: &InFlight| match coming {
            InFlight::Request { host, .. } | InFlight::Event { host, .. } | InFlight::Knock { host, .. } => {
                *host == observer
            }
            InFlight::Step { .. } | InFlight::Stopped { .. } => false,
        };
        for _ in 0..1_000 {
            if self.flight.iter().any(|(_, coming)| asks(coming)) {
                return Some(self);
            }
            match self.flight.iter().position(|(_, coming)| mine(coming)) {
                Some(at) => self.arrives(world, at, false),
                None => self.fires(world, observer),
            }
        }
        None
    }

    fn boot(world: &SmallWorld) -> Self {
        let project = ProjectRow { id: ProjectId(1), limit: 2 };
        let mut store = Store::new([project]);
        if let Some(plant) = world.plant {
            store.plant(plant);
        }
        let mut state = Self {
            procs: vec![None; world.nodes as usize],
            boots: vec![0; world.nodes as usize],
            store_digest: 0,
            store: Arc::new(store),
            flight: Vec::new(),
            left: Faults { lost: 0, late: 0, twice: 0, crashes: 0, restarts: 0, sleeps: 0, acts: 0, all: 0 },
            events_left: 0,
            published: BTreeMap::new(),
            broken: None,
        };
        for key in [1, 2] {
            let priority = Priority(3);
            state.settled_ask(&Ask::Submit {
                project: ProjectId(1),
                priority,
                placed: None,
                external: false,
                needs: kirin_core::Capabilities::NONE,
                key,
            });
        }
        for host in 0..world.nodes as usize {
            state.start(world, host);
        }
        state
    }

    fn settled_ask(&mut self, ask: &Ask) {
        Arc::make_mut(&mut self.store).ask(NodeId(1), ask);
        self.store_digest = digest::of(&*self.store, Time::ZERO);
    }

    /// Delivers all messages except the work of executors, and fires timers until all nodes have joined.
    fn settle(&mut self, world: &SmallWorld) {
        for _ in 0..1_000 {
            let at = self.flight.iter().position(|(_, coming)| !matches!(**coming, InFlight::Step { .. }));
            if let Some(at) = at {
                self.arrives(world, at, false);
            } else if let Some(host) = self.outsider() {
                self.fires(world, host);
            } else {
                return;
            }
        }
    }

    fn outsider(&self) -> Option<usize> {
        self.procs.iter().position(|p| p.as_ref().is_some_and(|p| p.node.me().is_none()))
    }

    // --- queries ---

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn procs(&self) -> impl Iterator<Item = &Proc> {
        self.procs.iter().flatten().map(|proc| &**proc)
    }

    pub(crate) fn is_published(&self, job: JobId) -> u32 {
        self.published.get(&job).copied().unwrap_or(0)
    }

    pub(crate) fn broken(&self) -> Option<&'static str> {
        self.broken
    }

    /// A digest of the entire state.
    pub(crate) fn digest(&self) -> u64 {
        let procs: Vec<_> = self.procs.iter().map(|p| p.as_ref().map(|p| p.digest)).collect();
        let flight: Vec<_> = self.flight.iter().map(|(digest, _)| *digest).collect();
        let all =
            (procs, &self.boots, self.store_digest, flight, self.left, self.events_left, &self.published, self.broken);
        digest::of(&all, Time::ZERO)
    }

    // --- possible transitions ---

    pub(crate) fn possible(&self, actions: &mut Vec<Action>) {
        if self.broken.is_some() || self.events_left == 0 {
            return;
        }
        let left = if self.left.all == 0 { Faults { all: 0, ..NOTHING } } else { self.left };
        for (at, (_, coming)) in self.flight.iter().enumerate() {
            actions.push(Action::Arrives(at, Arc::clone(coming)));
            let heard = match **coming {
                InFlight::Request { heard, .. } => heard,
                _ => false,
            };
            let reply = matches!(&**coming, InFlight::Event { event: Event::Answered { answer, .. }, .. } if *answer != Answer::Unknown);
            if left.lost > 0 && (heard || reply) {
                actions.push(Action::IsLost(at, Arc::clone(coming)));
            }
            if left.late > 0 && heard {
                actions.push(Action::IsGivenUp(at, Arc::clone(coming)));
            }
            if left.twice > 0 && reply {
                actions.push(Action::ArrivesTwice(at, Arc::clone(coming)));
            }
        }
        for (host, proc) in self.procs.iter().enumerate() {
            match proc {
                Some(proc) => {
                    if proc.node.deadline().0 != Time::NEVER {
                        actions.push(Action::Fires(host));
                    }
                    if left.sleeps > 0 {
                        actions.push(Action::Sleeps(host));
                    }
                    if left.crashes > 0 {
                        actions.push(Action::Dies(host));
                    }
                }
                None if left.restarts > 0 => actions.push(Action::Starts(host)),
                None => {}
            }
        }
        if left.acts > 0
            && let Some(row) = self.store.jobs().next()
        {
            use kirin_core::Action::{Discard, Pause, Restart, Resume};
            let legal = |action| row.state.after(kirin_core::job::JobEvent::Act(action)).is_ok();
            let possible = [Pause, Resume, Restart, Discard].into_iter().filter(|action| legal(*action));
            actions.extend(possible.map(|action| Action::Acts(action, row.id)));
        }
    }

    pub(crate) fn after(&self, world: &SmallWorld, action: &Action) -> Option<Self> {
        let mut next = self.clone();
        next.events_left -= 1;
        match action {
            Action::Arrives(at, _) => next.arrives(world, *at, false),
            Action::ArrivesTwice(at, _) => {
                next.spend(|left| &mut left.twice);
                next.arrives(world, *at, true);
            }
            Action::IsLost(at, _) => {
                next.spend(|left| &mut left.lost);
                let (_, coming) = next.flight.remove(*at);
                next.nobody_knows(world, &coming);
            }
            Action::IsGivenUp(at, _) => {
                next.spend(|left| &mut left.late);
                let (_, coming) = next.flight.remove(*at);
                if let InFlight::Request { host, boot, id, ask, .. } = (*coming).clone() {
                    next.send(InFlight::Request { host, boot, id, ask, heard: false });
                }
                next.nobody_knows(world, &coming);
            }
            Action::Fires(host) => next.fires(world, *host),
            Action::Sleeps(host) => {
                next.spend(|left| &mut left.sleeps);
                let proc = next.procs.get_mut(*host)?.as_mut()?;
                let proc = Arc::make_mut(proc);
                let timeout = settings(proc.role).timing.timeout();
                proc.now += timeout + timeout;
                next.tell(world, *host, Event::Woke);
            }
            Action::Dies(host) => {
                next.spend(|left| &mut left.crashes);
                next.dies(*host);
            }
            Action::Starts(host) => {
                next.spend(|left| &mut left.restarts);
                next.start(world, *host);
            }
            Action::Acts(action, job) => {
                next.spend(|left| &mut left.acts);
                let row = *next.store.job(*job)?;
                let ask = Ask::Act { fence: row.fence(), state: row.state, action: *action };
                next.transact(world, 0, &ask);
            }
        }
        Some(next)
    }

    fn spend(&mut self, kind: impl FnOnce(&mut Faults) -> &mut u8) {
        *kind(&mut self.left) -= 1;
        self.left.all -= 1;
    }

    // --- performing a transition ---

    fn send(&mut self, coming: InFlight) {
        let entry = (digest::of(&coming, Time::ZERO), Arc::new(coming));
        // Sorted, so that two orders of sending lead to the same state.
        let at = self.flight.partition_point(|(digest, _)| *digest <= entry.0);
        self.flight.insert(at, entry);
    }

    fn nobody_knows(&mut self, world: &SmallWorld, coming: &InFlight) {
        Counts::count(&world.counts.unknown);
        let (host, boot, id) = match coming {
            InFlight::Request { host, boot, id, .. } => (*host, *boot, *id),
            InFlight::Event { host, boot, event: Event::Answered { id, .. } } => (*host, *boot, *id),
            _ => return,
        };
        self.send(InFlight::Event { host, boot, event: Event::Answered { id, answer: Answer::Unknown } });
    }

    fn arrives(&mut self, world: &SmallWorld, at: usize, again: bool) {
        let coming = if again { self.flight[at].clone() } else { self.flight.remove(at) };
        match (*coming.1).clone() {
            InFlight::Request { host, boot, id, ask, heard } => {
                let answer = self.transact(world, host, &ask);
                if heard {
                    self.send(InFlight::Event { host, boot, event: Event::Answered { id, answer } });
                }
            }
            InFlight::Event { host, boot, event } => {
                if self.proc(host, boot).is_some() {
                    self.tell(world, host, event);
                }
            }
            InFlight::Step { host, boot, fence, step } => {
                let Some(proc) = self.proc(host, boot) else { return };
                if !proc.runs.contains_key(&fence) {
                    return;
                }
                if step < STEPS {
                    return self.tell(world, host, Event::StepEnded { fence, step });
                }
                self.change(host, |proc| proc.runs.remove(&fence));
                self.tell(world, host, Event::AttemptEnded { fence, end: End::Ran(Outcome::Succeeded) });
            }
            InFlight::Stopped { host, boot, fence } => {
                if self.proc(host, boot).is_some() {
                    self.change(host, |proc| proc.runs.remove(&fence));
                    self.tell(world, host, Event::AttemptEnded { fence, end: End::Stopped });
                }
            }
            InFlight::Knock { host, boot, at } => {
                let met = match self.procs.get(at.node.0 as usize - 1).and_then(Option::as_ref) {
                    None => Met::Refused,
                    Some(proc) => proc.node.me().map_or(Met::Nothing, Met::Alive),
                };
                self.send(InFlight::Event { host, boot, event: Event::Probed { member: at, met } });
            }
        }
    }

    fn proc(&self, host: usize, boot: u32) -> Option<&Proc> {
        self.procs.get(host)?.as_deref().filter(|proc| proc.boot == boot)
    }

    fn change<T>(&mut self, host: usize, change: impl FnOnce(&mut Proc) -> T) -> Option<T> {
        let proc = Arc::make_mut(self.procs.get_mut(host)?.as_mut()?);
        let done = change(proc);
        let all = (proc.boot, &proc.node, proc.role, &proc.runs, &proc.watches);
        proc.digest = digest::of(&all, proc.now);
        Some(done)
    }

    fn transact(&mut self, world: &SmallWorld, host: usize, ask: &Ask) -> Answer {
        let before = Arc::clone(&self.store);
        let answer = Arc::make_mut(&mut self.store).ask(NodeId(host as u32 + 1), ask);
        self.store_digest = digest::of(&*self.store, Time::ZERO);
        if let Some(job) = laws::publishes(ask, &answer) {
            *self.published.entry(job).or_insert(0) += 1;
        }
        let broken = laws::transaction(world, &before, ask, &answer, self);
        self.broken = self.broken.or(broken);
        answer
    }

    fn start(&mut self, world: &SmallWorld, host: usize) {
        self.boots[host] += 1;
        let boot = self.boots[host];
        let role = if host == 2 { Role::Query } else { Role::All };
        let now = Time::from_micros(1_000_000);
        let mut node = Node::start(settings(role), host as u64, now);
        if let Some(Plant::Core(plant)) = world.plant {
            node.plant(plant);
        }
        let proc = Proc { node, role, runs: BTreeMap::new(), boot, now, watches: Vec::new(), digest: 0 };
        self.procs[host] = Some(Arc::new(proc));
        self.tell(world, host, Event::Woke);
    }

    fn dies(&mut self, host: usize) {
        let Some(proc) = self.procs[host].take() else { return };
        self.flight.retain(|(_, coming)| !coming.is_to_process(host));
        let orphaned: Vec<_> = self
            .flight
            .extract_if(.., |(_, c)| matches!(**c, InFlight::Request { host: of, .. } if of == host))
            .collect();
        for (_, coming) in orphaned {
            if let InFlight::Request { host, boot, id, ask, .. } = (*coming).clone() {
                self.send(InFlight::Request { host, boot, id, ask, heard: false });
            }
        }
        let Some(me) = proc.node.me() else { return };
        let watchers: Vec<_> = self.procs.iter().enumerate().filter_map(|(at, p)| Some((at, p.as_ref()?))).collect();
        let watchers: Vec<_> =
            watchers.iter().filter(|(_, p)| p.watches.contains(&me)).map(|(at, p)| (*at, p.boot)).collect();
        for (at, boot) in watchers {
            self.send(InFlight::Event { host: at, boot, event: Event::Suspected(me) });
        }
    }

    fn fires(&mut self, world: &SmallWorld, host: usize) {
        let due = self.procs[host].as_ref().map_or(Time::NEVER, |p| p.node.deadline().0);
        if due != Time::NEVER {
            self.change(host, |proc| proc.now = proc.now.max(due));
            self.tell(world, host, Event::Woke);
        }
    }

    fn tell(&mut self, world: &SmallWorld, host: usize, event: Event) {
        let effects = self.change(host, |proc| {
            proc.now += TICK;
            proc.node.step(proc.now, event)
        });
        let Some(boot) = self.procs[host].as_ref().map(|p| p.boot) else { return };
        if self.procs[host].as_ref().is_some_and(|p| p.node.deadline().0 <= p.now) {
            self.broken = self.broken.or(Some("always-goes-on"));
        }
        for effect in effects.into_iter().flatten() {
            self.carry_out(world, host, boot, effect);
        }
    }

    fn carry_out(&mut self, world: &SmallWorld, host: usize, boot: u32, effect: Effect) {
        match effect {
            Effect::Ask { id, ask } => self.send(InFlight::Request { host, boot, id, ask, heard: true }),
            Effect::Begin { fence, step } => {
                let Some(proc) = self.procs[host].clone() else { return };
                self.broken = self.broken.or(laws::begins(&self.store, &proc, fence, step));
                if let Some(member) = proc.node.me() {
                    self.change(host, |proc| proc.runs.insert(fence, Run { member, cancelled: false }));
                    self.send(InFlight::Step { host, boot, fence, step });
                }
            }
            Effect::Proceed { fence, step } => {
                let Some(proc) = self.procs[host].clone().filter(|p| p.runs.contains_key(&fence)) else { return };
                self.broken = self.broken.or(laws::at_step(&self.store, &proc, fence, step));
                self.send(InFlight::Step { host, boot, fence, step });
            }
            Effect::Cancel { fence, .. } => self.cancel(world, host, boot, fence),
            Effect::Watch(members) => {
                self.change(host, |proc| proc.watches = members);
            }
            Effect::Probe(at) => self.send(InFlight::Knock { host, boot, at }),
            Effect::Nudge { to, nudge } => {
                let peer = to.node.0 as usize - 1;
                let Some(boot) = self.procs[peer].as_ref().filter(|p| p.node.me() == Some(to)).map(|p| p.boot) else {
                    return;
                };
                let event = match nudge {
                    Nudge::Jobs(rows) => Event::Heard(rows),
                    Nudge::Orphans(orphans) => Event::Inherited(orphans),
                    Nudge::Lists => Event::ListsChanged,
                };
                self.send(InFlight::Event { host: peer, boot, event });
            }
            Effect::Exit => self.dies(host),
            Effect::Lead { .. } | Effect::Resign(_) | Effect::Note(_) => {}
        }
    }

    fn cancel(&mut self, world: &SmallWorld, host: usize, boot: u32, fence: Fence) {
        let runs = self.procs[host].as_ref().is_some_and(|p| p.runs.contains_key(&fence));
        if runs && world.plant != Some(Plant::CancelIgnored) {
            self.change(host, |proc| {
                if let Some(run) = proc.runs.get_mut(&fence) {
                    run.cancelled = true;
                }
            });
            self.send(InFlight::Stopped { host, boot, fence });
        } else {
            self.send(InFlight::Event { host, boot, event: Event::AttemptEnded { fence, end: End::Stopped } });
        }
    }
}

const NOTHING: Faults = Faults { lost: 0, late: 0, twice: 0, crashes: 0, restarts: 0, sleeps: 0, acts: 0, all: 0 };

/// Few timers: periodic reads would only create more states.
fn settings(role: Role) -> Settings {
    let seldom = Span::from_secs(100_000);
    Settings { slots: 2, poll_every: seldom, steal_after: seldom, ..Settings::new(role) }
}

impl InFlight {
    /// Whether the message is lost with the process.
    fn is_to_process(&self, of: usize) -> bool {
        match self {
            Self::Request { .. } => false,
            Self::Event { host, .. }
            | Self::Step { host, .. }
            | Self::Stopped { host, .. }
            | Self::Knock { host, .. } => *host == of,
        }
    }
}

impl fmt::Display for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fence = |fence: &Fence| format!("job{}@{}", fence.job.0, fence.epoch.0);
        match self {
            Self::Request { host, ask, .. } => write!(f, "n{}: {}", host + 1, describe::ask(ask)),
            Self::Event { host, event, .. } => write!(f, "to n{}: {event:?}", host + 1),
            Self::Step { host, fence: at, step, .. } => {
                write!(f, "n{}: step {step} of {} is finished", host + 1, fence(at))
            }
            Self::Stopped { host, fence: at, .. } => write!(f, "n{}: {} has stopped", host + 1, fence(at)),
            Self::Knock { host, at, .. } => write!(f, "n{}: probe of {at:?}", host + 1),
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let under_way: Vec<_> = self.flight.iter().map(|(_, coming)| coming.to_string()).collect();
        write!(f, "{} processes, in flight: {under_way:?}, broken: {:?}", self.procs().count(), self.broken)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arrives(_, what) => write!(f, "{what}"),
            Self::ArrivesTwice(_, what) => write!(f, "{what} (and will arrive again)"),
            Self::IsLost(_, what) => write!(f, "{what} (lost: outcome unknown)"),
            Self::IsGivenUp(_, what) => write!(f, "{what} (timed out, still in flight)"),
            Self::Fires(host) => write!(f, "n{}: next timer fires", host + 1),
            Self::Sleeps(host) => write!(f, "n{}: sleeps for two timeouts and wakes up", host + 1),
            Self::Dies(host) => write!(f, "kill n{}", host + 1),
            Self::Starts(host) => write!(f, "start n{}", host + 1),
            Self::Acts(action, job) => write!(f, "a user: {} job {}", action.name(), job.0),
        }
    }
}
