//! The metastore that all simulated nodes share, and the true state of the cluster: running processes, fences,
//! executions. It is called in the process and outlives every host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kirin_core::ask::{JobId, ProjectId};
use kirin_core::{Answer, Ask, Event, Evidence, Member, NodeId, ProjectRow};
use kirin_sim::store::Store;

/// A fence that took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// The time.
    pub at: Duration,
    /// The member.
    pub member: Member,
    /// The evidence.
    pub evidence: Evidence,
}

/// The shared metastore and the true state.
pub struct Truth {
    /// The model of the metastore.
    pub store: Store,
    /// The log, one line per event.
    pub log: Vec<String>,
    /// Violations.
    pub wrong: Vec<String>,
    /// The fences.
    pub fences: Vec<Fenced>,
    /// The running processes, with the number of the run.
    pub running: BTreeMap<NodeId, u32>,
    /// The nodes without a connection to the metastore.
    pub stranded: BTreeSet<NodeId>,
    /// The number of undrain requests that a node's core received. They have no effect and test the links.
    pub heard: BTreeMap<NodeId, u32>,
    timeout: Duration,
    lives: BTreeMap<NodeId, u32>,
    run_of: BTreeMap<Member, u32>,
    joined_at: BTreeMap<Member, Duration>,
    beat_at: BTreeMap<Member, Duration>,
    committed: BTreeSet<(JobId, u32)>,
    finished: BTreeSet<JobId>,
}

/// The only project.
pub const PROJECT: ProjectId = ProjectId(1);

/// The state, shared by all hosts of a simulation.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Truth>>);

impl Shared {
    /// The initial state. A member without a beat for `timeout` is silent.
    pub fn new(timeout: Duration) -> Self {
        Self(Arc::new(Mutex::new(Truth {
            store: Store::new([ProjectRow { id: PROJECT, limit: 1000 }]),
            log: Vec::new(),
            wrong: Vec::new(),
            fences: Vec::new(),
            running: BTreeMap::new(),
            stranded: BTreeSet::new(),
            heard: BTreeMap::new(),
            timeout,
            lives: BTreeMap::new(),
            run_of: BTreeMap::new(),
            joined_at: BTreeMap::new(),
            beat_at: BTreeMap::new(),
            committed: BTreeSet::new(),
            finished: BTreeSet::new(),
        })))
    }

    /// Locks the state.
    pub fn look(&self) -> MutexGuard<'_, Truth> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A short text that is equal for equal values.
fn short(value: &impl std::fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let word = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    text.truncate(word);
    // Writing to a string cannot fail.
    let _ = write!(text, " {:08x}", hasher.finish() as u32);
    text
}

impl Truth {
    /// Adds a line to the log.
    pub fn say(&mut self, at: Duration, text: &str) {
        self.log.push(format!("{:9.3} {text}", at.as_secs_f64()));
    }

    /// Records a violation.
    pub fn complain(&mut self, at: Duration, text: &str) {
        self.say(at, &format!("WRONG {text}"));
        self.wrong.push(format!("{:.3} s: {text}", at.as_secs_f64()));
    }

    fn expect(&mut self, holds: bool, at: Duration, or: &str) {
        if !holds {
            self.complain(at, or);
        }
    }

    /// Records the start of a process.
    pub fn began(&mut self, at: Duration, node: NodeId) -> u32 {
        let life = self.lives.entry(node).or_insert(0);
        *life += 1;
        let life = *life;
        self.running.insert(node, life);
        self.say(at, &format!("{node:?} begins life {life}"));
        life
    }

    /// Records the death of a process.
    pub fn ended(&mut self, node: NodeId) {
        self.running.remove(&node);
    }

    /// Whether this member's process runs.
    pub fn runs(&self, member: Member) -> bool {
        self.run_of.get(&member).is_some_and(|run| self.running.get(&member.node) == Some(run))
    }

    /// The node's current member, and since when; `None` if it is not a member.
    pub fn member_since(&self, node: NodeId) -> Option<(Member, Duration)> {
        let member = self.store.living().map(|row| row.member).find(|member| member.node == node)?;
        self.runs(member).then(|| (member, self.joined_at[&member]))
    }

    /// Records an event before it enters a core.
    pub fn event(&mut self, at: Duration, node: NodeId, event: &Event) {
        self.say(at, &format!("{node:?} {}", short(event)));
        match event {
            Event::DrainUndone => *self.heard.entry(node).or_insert(0) += 1,
            // No node of the cluster requests this number.
            Event::SlotsWished(crate::links::INTRUDERS_SLOTS) => {
                self.complain(at, "a request of the intruder was executed")
            }
            _ => {}
        }
    }

    /// Executes one transaction.
    pub fn ask(&mut self, at: Duration, node: NodeId, ask: &Ask) -> Answer {
        let was_alive = |truth: &Self, member: &Member| truth.store.is_alive(*member);
        let before = match ask {
            Ask::Fence { member, .. } => was_alive(self, member),
            _ => false,
        };
        let answer = self.store.ask(node, ask);
        self.say(at, &format!("{node:?} asks {} -> {}", short(ask), short(&answer)));
        match (ask, &answer) {
            (Ask::Join { .. }, Answer::Joined(member)) => {
                self.run_of.insert(*member, self.lives[&node]);
                self.joined_at.insert(*member, at);
                self.beat_at.insert(*member, at);
            }
            (Ask::Beat { by, .. }, Answer::Listed { .. } | Answer::Beats(_)) => drop(self.beat_at.insert(*by, at)),
            (Ask::Fence { member, evidence, .. }, Answer::Done) if before => self.fenced(at, *member, *evidence),
            (Ask::CommitStep { fence, step, .. }, Answer::Done) => {
                let is_first = self.committed.insert((fence.job, *step));
                self.expect(is_first, at, &format!("step {step} of {:?} was committed twice", fence.job));
            }
            (Ask::Finish { fence, .. }, Answer::Done) => {
                let is_first = self.finished.insert(fence.job);
                self.expect(is_first, at, &format!("{:?} was finished twice", fence.job));
            }
            _ => {}
        }
        answer
    }

    fn fenced(&mut self, at: Duration, member: Member, evidence: Evidence) {
        self.fences.push(Fenced { at, member, evidence });
        let silent_for = at.saturating_sub(self.beat_at.get(&member).copied().unwrap_or_default());
        match evidence {
            Evidence::Exited if self.runs(member) => {
                self.complain(at, &format!("{member:?} lives and was fenced as exited"));
            }
            Evidence::Silent if silent_for < self.timeout => {
                self.complain(at, &format!("{member:?} was fenced as silent {silent_for:?} after its last beat"));
            }
            _ => {}
        }
    }
}
