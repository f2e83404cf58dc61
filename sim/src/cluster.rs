//! The vocabulary of stories: a calm cluster, verbs for acts, waits for conditions, expectations of one line.
//!
//! ```
//! use kirin_sim::act::Work;
//! use kirin_sim::cluster::{Cluster, TIMEOUT};
//!
//! let mut c = Cluster::of(3).seed(7);
//! let job = c.post_with(Work { step: TIMEOUT, ..Work::named("nightly") });
//! let old = c.until_running(job);
//! c.freeze(old);
//! c.run(TIMEOUT + TIMEOUT);
//! let heir = c.until_running(job);
//! assert_ne!(heir, old);
//! c.thaw(old);
//! c.expect(job).ended_once().tried_by([old, heir]);
//! ```
//!
//! The judge watches. A violated rule ends the story with the judge's message.

use kirin_core::ask::{JobId, ProjectId};
use kirin_core::{Action, Effect, JobState, Note, Role, Span, Target, Timing};

use crate::act::{Act, Host, Outage, Work};
use crate::describe;
use crate::setup::Setup;
use crate::store::JobRow;
use crate::world::{Line, World};

/// The heart-beat timeout of a story's cluster.
pub const TIMEOUT: Span = Timing::kylin().timeout();
/// The heart-beat interval of a story's cluster.
pub const INTERVAL: Span = Timing::kylin().interval();
/// How long a story waits for a condition.
const PATIENCE: Span = Span::from_secs(3_600);

/// A job in a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job(usize);

/// The cluster of a story.
#[derive(Debug)]
pub struct Cluster {
    setup: Setup,
    world: Option<World>,
    lines: Vec<Line>,
    names: Vec<String>,
}

/// An expectation about a job.
#[derive(Debug)]
pub struct Expectation<'a> {
    cluster: &'a mut Cluster,
    id: JobId,
}

impl Cluster {
    /// A calm cluster of this many nodes with the role all.
    pub fn of(nodes: u32) -> Self {
        Self { setup: Setup::of(nodes), world: None, lines: Vec::new(), names: Vec::new() }
    }

    /// Sets the seed of all random choices.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.setup.seed = seed;
        self
    }

    /// Sets how many attempts each node runs at once.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.setup.slots = slots;
        self
    }

    /// Sets the limits of the projects.
    #[must_use]
    pub fn limits(mut self, limits: impl IntoIterator<Item = u32>) -> Self {
        self.setup.limits = limits.into_iter().collect();
        self
    }

    /// Sets the roles of the nodes.
    #[must_use]
    pub fn roles(mut self, roles: impl IntoIterator<Item = Role>) -> Self {
        self.setup.roles = roles.into_iter().collect();
        self
    }

    /// Makes jobs start in strict order across all nodes.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.setup.in_order = true;
        self
    }

    /// Changes the weather or the clocks.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        change(&mut self.setup);
        self
    }

    /// The world of the story. It is created on first use, and runs for some seconds to settle.
    pub fn world(&mut self) -> &mut World {
        let setup = &self.setup;
        self.world.get_or_insert_with(|| {
            let mut world = World::new(setup.clone(), None);
            world.record();
            world.run(Span::from_secs(5));
            world
        })
    }

    /// Performs an act.
    pub fn act(&mut self, act: &Act) {
        self.world().act(act);
        self.check();
    }

    /// Performs acts from the text form, one per line.
    ///
    /// # Panics
    /// If a line is not an act.
    pub fn acts(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let act: Act = line.parse().unwrap_or_else(|wrong| panic!("{wrong}"));
            self.act(&act);
        }
    }

    /// How often a situation has occurred, as counted by the judge.
    pub fn times(&mut self, what: &str) -> u64 {
        self.world().occurred().get(what).copied().unwrap_or(0)
    }

    /// Adds ZooKeeper, whose sessions outlive their processes by `session`.
    #[must_use]
    pub fn zookeeper(mut self, session: Span) -> Self {
        self.setup.zookeeper = session;
        self
    }

    fn check(&mut self) {
        let world = self.world();
        let (found, mut lines) = (world.violation().cloned(), world.recorded());
        self.lines.append(&mut lines);
        if let Some(violation) = found {
            panic!("{violation}\n{}", self.story());
        }
    }

    /// The last effects of the story, as text.
    fn story(&self) -> String {
        let last = self.lines.iter().skip(self.lines.len().saturating_sub(60));
        let lines = last.map(|l| format!("{:>8} ms {} {}\n", l.at / 1_000, l.host, describe::effect(&l.effect)));
        lines.collect()
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Span) {
        self.act(&Act::Run(span));
    }

    /// Submits a job with three steps of one second.
    pub fn post(&mut self, name: &str) -> Job {
        self.post_with(Work::named(name))
    }

    /// Submits a job.
    pub fn post_with(&mut self, work: Work) -> Job {
        self.names.push(work.name.clone());
        self.act(&Act::Post(work));
        Job(self.names.len() - 1)
    }

    /// Starts the process of a host.
    pub fn start(&mut self, host: Host) {
        self.act(&Act::Start(host));
    }

    /// Kills the process of a host (kill -9).
    pub fn kill(&mut self, host: Host) {
        self.act(&Act::Kill(host));
    }

    /// Removes the entire host.
    pub fn lose(&mut self, host: Host) {
        self.act(&Act::Lose(host));
    }

    /// Freezes the process of a host.
    pub fn freeze(&mut self, host: Host) {
        self.act(&Act::Freeze(host));
    }

    /// Freezes the process of a host, but not its executors.
    pub fn freeze_alone(&mut self, host: Host) {
        self.act(&Act::FreezeAlone(host));
    }

    /// Thaws the process of a host.
    pub fn thaw(&mut self, host: Host) {
        self.act(&Act::Thaw(host));
    }

    /// Performs a client's action on a job.
    pub fn does(&mut self, action: Action, job: Job) {
        let name = self.names[job.0].clone();
        self.act(&Act::Do { action, name, via: None });
    }

    /// An operator drains a node.
    pub fn drain(&mut self, host: Host, within: Span, leave: bool) {
        self.act(&Act::Drain { host, within, leave });
    }

    /// Starts an outage of the metastore for a span of time.
    pub fn outage(&mut self, kind: Outage, span: Span) {
        self.act(&Act::Outage(kind));
        self.run(span);
        self.act(&Act::OutageOver);
    }

    /// Waits until the condition holds.
    ///
    /// # Panics
    /// If it does not hold for an hour.
    pub fn until(&mut self, what: &str, holds: impl Fn(&mut Self) -> bool) {
        let step = Span::from_millis(5);
        let mut waited = Span::ZERO;
        while !holds(self) {
            self.run(step);
            waited = waited + step;
            assert!(waited < PATIENCE, "{what}: the condition was never met\n{}", self.story());
        }
    }

    /// Waits until a living node has begun an attempt at the job. Returns its host.
    pub fn until_running(&mut self, job: Job) -> Host {
        self.until("the job runs", |c| {
            let begun = c.row(job).is_some_and(|row| c.world().runs(row.fence()));
            begun && c.holder(job).is_some()
        });
        self.holder(job).expect("it was just found")
    }

    /// Waits until this many steps of the job are committed.
    pub fn until_steps(&mut self, job: Job, steps: u32) {
        self.until("the steps are committed", |c| c.row(job).is_some_and(|row| row.steps >= steps));
    }

    /// Waits until the job is in this state and has no holder.
    pub fn until_state(&mut self, job: Job, state: JobState) {
        self.until("the state", |c| c.row(job).is_some_and(|row| row.state == state && row.holder.is_none()));
    }

    /// The metastore's row of a job, if the job has been accepted.
    pub fn row(&mut self, job: Job) -> Option<JobRow> {
        let name = self.names[job.0].clone();
        let id = self.world().job(&name)?;
        self.world().store().job(id).copied()
    }

    /// The host whose living member runs the job.
    pub fn holder(&mut self, job: Job) -> Option<Host> {
        let row = self.row(job).filter(|row| row.state == JobState::Running)?;
        row.holder.filter(|holder| self.world().store().is_alive(*holder)).map(|holder| Host(holder.node.0))
    }

    /// The host that holds a claim.
    pub fn holds(&mut self, target: Target) -> Option<Host> {
        let row = self.world().store().claim(target).copied()?;
        row.holder.filter(|holder| self.world().store().is_alive(*holder)).map(|holder| Host(holder.node.0))
    }

    /// Waits for a leader and returns its host.
    pub fn leader(&mut self) -> Host {
        self.until("there is a leader", |c| c.holds(Target::Leader).is_some());
        self.holds(Target::Leader).expect("it was just found")
    }

    /// A host other than these.
    pub fn another(&self, than: &[Host]) -> Host {
        (1..=self.setup.nodes()).map(Host).find(|h| !than.contains(h)).expect("there are enough hosts")
    }

    /// How many effects of a host so far match.
    pub fn ordered(&mut self, at: Host, fits: impl Fn(&Effect) -> bool) -> usize {
        self.check();
        self.lines.iter().filter(|line| line.host == at && fits(&line.effect)).count()
    }

    /// The jobs whose attempts began, in order.
    pub fn began(&mut self) -> Vec<Job> {
        self.check();
        let ids: Vec<_> = (0..self.names.len()).map(|n| (self.row(Job(n)).map(|row| row.id), Job(n))).collect();
        let began = self.lines.iter().filter_map(|line| match line.effect {
            Effect::Begin { fence, .. } => ids.iter().find(|(id, _)| *id == Some(fence.job)).map(|(_, job)| *job),
            _ => None,
        });
        began.collect()
    }

    /// The notes so far, with their hosts.
    pub fn notes(&mut self) -> Vec<(Host, Note)> {
        self.check();
        let notes = self.lines.iter().filter_map(|line| match &line.effect {
            Effect::Note(note) => Some((line.host, note.clone())),
            _ => None,
        });
        notes.collect()
    }

    /// Expects that a write of this host was refused because its fence was stale.
    ///
    /// # Panics
    /// If no write was refused.
    pub fn expect_refused(&mut self, host: Host) {
        let refused =
            self.notes().iter().any(|(at, note)| *at == host && matches!(note, Note::Refused(_) | Note::WasFenced(_)));
        assert!(refused, "no write of {host} was refused\n{}", self.story());
    }

    /// Waits until the job has ended, and returns an expectation about it.
    pub fn expect(&mut self, job: Job) -> Expectation<'_> {
        self.until("the job ends", |c| c.row(job).is_some_and(|row| row.state.is_final() && row.holder.is_none()));
        let id = self.row(job).expect("it has ended").id;
        Expectation { cluster: self, id }
    }

    /// How many jobs of a project run.
    pub fn running(&mut self, project: u32) -> u32 {
        self.world().store().load(ProjectId(project)).0
    }
}

impl Expectation<'_> {
    /// Expects that it succeeded. The judge ensures that its result was published only once.
    #[expect(clippy::return_self_not_must_use, reason = "an expectation may be the last")]
    pub fn ended_once(self) -> Self {
        let state = self.cluster.world().store().job(self.id).map(|row| row.state);
        assert_eq!(state, Some(JobState::Succeed), "{}", self.cluster.story());
        self
    }

    /// Expects that exactly these hosts began it, in this order.
    #[expect(clippy::return_self_not_must_use, reason = "an expectation may be the last")]
    pub fn tried_by(self, hosts: impl IntoIterator<Item = Host>) -> Self {
        let began: Vec<_> = self
            .cluster
            .lines
            .iter()
            .filter(|line| matches!(line.effect, Effect::Begin { fence, .. } if fence.job == self.id))
            .map(|line| line.host)
            .collect();
        assert_eq!(began, hosts.into_iter().collect::<Vec<_>>(), "{}", self.cluster.story());
        self
    }

    /// Expects that its attempt with this number, from 0, began at this step.
    #[expect(clippy::return_self_not_must_use, reason = "an expectation may be the last")]
    pub fn from_step(self, attempt: usize, step: u32) -> Self {
        let mut began = self.cluster.lines.iter().filter_map(|line| match line.effect {
            Effect::Begin { fence, step } if fence.job == self.id => Some(step),
            _ => None,
        });
        assert_eq!(began.nth(attempt), Some(step), "{}", self.cluster.story());
        self
    }
}
