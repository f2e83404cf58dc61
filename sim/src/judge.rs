//! The judge: checks after every event the rules that must always hold. It survives restarts, and knows the truth that
//! no node knows: what the metastore committed, which processes run, which clocks are wrong.
//!
//! [`crate::rule`] lists the rules by name. The judge counts each situation in which a rule matters, because a rule
//! that was never tested has not held.
//!
//! | file | what is checked |
//! |---|---|
//! | `judge.rs` | the judge's memory and counters |
//! | `judge/writes.rs` | every transaction of the metastore |
//! | `judge/effects.rs` | every effect of a core and every request of a node |
//! | `judge/knowledge.rs` | what a node learns of jobs and of deaths |
//! | `judge/levels.rs` | at intervals, the entire state: what should have happened by this time |

use std::collections::{BTreeMap, BTreeSet};

use core::fmt;

use kirin_core::ask::{Epoch, JobId, ProjectId};
use kirin_core::{Capabilities, JobState, Member, NodeId, Target, Timing};

use crate::act::Host;
use crate::host::{Machine, Process};
use crate::rule::Rule;
use crate::setup::Setup;
use crate::store::Store;
use crate::world::host_of;

mod effects;
mod knowledge;
mod levels;
mod writes;

pub(crate) use knowledge::Known;
use levels::End;
pub(crate) use writes::Before;

/// A violated rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The true time in microseconds.
    pub at: u64,
    /// The rule.
    pub rule: &'static str,
    /// What happened.
    pub what: String,
}

/// The truth at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) now: u64,
    pub(crate) store: &'a Store,
    pub(crate) machines: &'a [Machine],
    /// Whether nothing is lost or late on any path, and there is no outage of the metastore.
    pub(crate) calm: bool,
}

impl<'a> Scene<'a> {
    /// Whether there is no fault at this moment, and nothing is ever lost. ZooKeeper does not count.
    pub(crate) fn is_quiet(&self) -> bool {
        self.calm
            && self.machines.iter().all(|m| {
                !m.store_cut
                    && !m.mute
                    && !m.resets
                    && !m.disk_full
                    && (m.slow_us, m.crawl_us) == (0, 0)
                    && m.process.as_ref().is_none_or(|p| p.stopped.is_none() && p.keeps_time())
            })
    }

    fn machine(&self, node: NodeId) -> Option<&'a Machine> {
        self.machines.get((host_of(node).0 as usize).checked_sub(1)?)
    }

    /// The process of the member.
    fn process(&self, member: Member) -> Option<&'a Process> {
        let process = self.machine(member.node)?.process.as_ref();
        process.filter(|p| p.node.me() == Some(member))
    }
}

/// Watches one run.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    timing: Timing,
    /// Whether a takeover may have to wait for a new leader.
    leader_only: bool,
    in_order: bool,
    violation: Option<Violation>,
    occurred: BTreeMap<&'static str, u64>,
    acknowledged: BTreeMap<u128, Option<JobId>>,
    accepted: BTreeMap<u128, JobId>,
    published: BTreeSet<JobId>,
    /// The progress of each job, according to the metastore's answers.
    come: BTreeMap<JobId, (Epoch, u32)>,
    /// The nodes that were ever granted each job.
    granted_to: BTreeSet<(JobId, NodeId)>,
    incarnations: BTreeMap<NodeId, u32>,
    /// When each member's last beat was committed.
    beats: BTreeMap<Member, u64>,
    /// The members that were fenced for silence, and by which member.
    silenced: BTreeMap<Member, Member>,
    /// Since when each node has had a member that may run jobs.
    able_since: BTreeMap<NodeId, u64>,
    /// When the capabilities of each node last changed.
    changed_at: BTreeMap<NodeId, u64>,
    /// When the placement of each job was last written.
    placed_at: BTreeMap<JobId, u64>,
    /// The last outage of the metastore that was long enough to blind all members: its beginning and end.
    outage_began: Option<u64>,
    blinded: (u64, u64),
    ends: Vec<End>,
    disturbances: u64,
    /// When the last three disturbances happened.
    disturbed_at: [u64; 3],
    /// Whether the last disturbance was a requested drain.
    last_is_drain: bool,
    /// The host whose trust ended last, and when.
    trust_ended: Option<(Host, u64)>,
    /// The claims whose row was deleted.
    forgotten: BTreeSet<Target>,
    /// The last epoch under which each process performed the duties of a claim.
    led: BTreeMap<(Host, Target), (u32, Epoch)>,
    /// When ZooKeeper last had a fault.
    zookeeper_at: u64,
    starts: u64,
    /// Since when jobs have been waiting although a slot was free.
    waits: BTreeMap<JobId, u64>,
}

impl Judge {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            timing: setup.timing,
            leader_only: setup.leader_only,
            in_order: setup.in_order,
            violation: None,
            occurred: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            accepted: BTreeMap::new(),
            published: BTreeSet::new(),
            come: BTreeMap::new(),
            granted_to: BTreeSet::new(),
            incarnations: BTreeMap::new(),
            beats: BTreeMap::new(),
            silenced: BTreeMap::new(),
            able_since: BTreeMap::new(),
            changed_at: BTreeMap::new(),
            placed_at: BTreeMap::new(),
            outage_began: None,
            blinded: (0, 0),
            ends: Vec::new(),
            disturbances: 0,
            disturbed_at: [0; 3],
            last_is_drain: false,
            trust_ended: None,
            forgotten: BTreeSet::new(),
            led: BTreeMap::new(),
            zookeeper_at: 0,
            starts: 0,
            waits: BTreeMap::new(),
        }
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(crate) fn occurred(&self) -> &BTreeMap<&'static str, u64> {
        &self.occurred
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.occurred.entry(what).or_insert(0) += 1;
    }

    /// Records a violation.
    pub(crate) fn found(&mut self, at: u64, rule: &'static str, what: String) {
        debug_assert!(Rule::named(rule).is_some(), "{rule} is not listed");
        self.violation.get_or_insert(Violation { at, rule, what });
    }

    /// Records an act that may cost the cluster time.
    pub(crate) fn disturbed(&mut self, now: u64, is_drain: bool) {
        self.disturbances += 1;
        self.last_is_drain = is_drain;
        self.disturbed_at = [self.disturbed_at[1], self.disturbed_at[2], now];
    }

    /// Records an act on ZooKeeper, which must cost nothing.
    pub(crate) fn zookeeper(&mut self, now: u64, what: &'static str) {
        self.zookeeper_at = now;
        self.count(what);
    }

    /// Records that the capabilities of a node have changed or were written.
    pub(crate) fn ability_changed(&mut self, now: u64, node: NodeId) {
        self.changed_at.insert(node, now);
    }

    /// Records that the row of a claim was deleted. A node that does not know its epoch begins again from 0.
    pub(crate) fn forgot(&mut self, target: Target) {
        self.forgotten.insert(target);
    }

    /// Records that an outage of the metastore begins or ends.
    pub(crate) fn outage(&mut self, now: u64, is_out: bool) {
        if is_out {
            self.outage_began.get_or_insert(now);
        } else if let Some(began) = self.outage_began.take() {
            let timing = self.timing;
            let blind = timing.interval() + timing.retry_every().scaled(2, 1) + timing.ask_timeout().scaled(3, 1);
            if now - began > blind.scaled(11, 10).micros() {
                self.blinded = (began, now);
                self.count("long outage");
            }
        }
    }

    /// Records that a client's submit was acknowledged, and as which job.
    pub(crate) fn acknowledged(&mut self, key: u128, job: Option<JobId>) {
        self.acknowledged.insert(key, job);
    }

    /// At the end of a run: checks that everything acknowledged exists.
    pub(crate) fn ended(&mut self, now: u64, store: &Store) {
        for (key, job) in &self.acknowledged {
            let accepted = self.accepted.get(key).copied();
            if accepted.is_none() || job.is_some_and(|job| accepted != Some(job) || store.job(job).is_none()) {
                let what = format!("the submit with key {key} was acknowledged as {job:?} and is {accepted:?}");
                return self.found(now, "nothing-lost", what);
            }
        }
    }

    /// For how long nothing has disturbed the cluster.
    fn undisturbed_for(&self, now: u64) -> u64 {
        now - self.disturbed_at[2]
    }

    /// The time that a healthy cluster may need to learn of every change.
    fn round(&self) -> u64 {
        let timing = self.timing;
        (timing.timeout() + timing.interval()).scaled(100, 90).micros() + 5_000_000
    }
}

/// The number of running jobs of each project, by their rows.
fn running(store: &Store) -> BTreeMap<ProjectId, u32> {
    let mut running = BTreeMap::new();
    for row in store.open().filter(|row| row.state == JobState::Running) {
        *running.entry(row.project).or_insert(0) += 1;
    }
    running
}

/// Whether a node other than `but` could take a job that requires `needs`.
fn has_free_slot(store: &Store, but: NodeId, needs: Capabilities) -> bool {
    let mut held: BTreeMap<Member, u32> = BTreeMap::new();
    for holder in store.open().filter_map(|row| row.holder) {
        *held.entry(holder).or_insert(0) += 1;
    }
    store.living().any(|row| {
        let able = row.state == kirin_core::MemberState::Up && row.role.runs_jobs() && row.member.node != but;
        able && row.can.covers(needs) && held.get(&row.member).copied().unwrap_or(0) < row.slots
    })
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}.{:06} s: {}", self.rule, self.at / 1_000_000, self.at % 1_000_000, self.what)
    }
}
