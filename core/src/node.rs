//! The state machine of one node: events in, effects out.
//!
//! [`Node::step`] is the only entry point and cannot fail. It first records the event. Then it *tends* to everything
//! that is due: beats, lists, evidence, claims, attempts, the queue. Tending depends only on the state, never on the
//! event that triggered it, so a lost, late or duplicate event costs only time.
//!
//! Requests are numbered and each has a deadline. An answer that is overdue counts as [`Answer::Unknown`], and is
//! ignored if it arrives later. After "unknown", the rows are read again, and the epoch in them tells what happened.
//!
//! | file | what it tends to |
//! |---|---|
//! | `node.rs` | requests and answers, timers |
//! | `node/membership.rs` | joining, beating, evidence, fencing, claims |
//! | `node/attempts.rs` | this node's attempts, from the grant to the end |
//! | `node/dispatch.rs` | job rows, homes, heirs, which job starts next |

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::ask::{Answer, Ask, Census, ClaimRow, Epoch, Fence, JobId, Target};
use crate::capability::Capabilities;
use crate::effect::{AskId, Effect, Effects, Note, Nudge, Why};
use crate::event::Event;
use crate::failure::{Found, Roster};
use crate::job::Outcome;
use crate::lease::Lease;
use crate::member::{Evidence, Member, NodeId, Role};
use crate::plant::{Plant, Planted};
use crate::queue::Queue;
use crate::time::{Span, Time};
use crate::timing::Timing;

mod attempts;
mod dispatch;
mod membership;

pub(crate) use attempts::Attempt;

/// How a node behaves. Fixed for one run, except for the slots and the capabilities.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Settings {
    /// The node's role.
    pub role: Role,
    /// How many attempts it runs at once (`kylin.job.node-max-concurrent-jobs`).
    pub slots: u32,
    /// What it is able to run.
    pub can: Capabilities,
    /// The heart-beat settings.
    pub timing: Timing,
    /// How often the list of jobs is read again, in case nudges are lost (`kylin.job.scheduler.poll-interval-second`).
    /// The nodes of a large cluster share the work: each reads its own jobs this often, and all jobs less often.
    pub poll_every: Span,
    /// How long a job may wait on another node's queue before a node with free slots takes it.
    pub steal_after: Span,
    /// How many rendezvous neighbours watch a member.
    pub watchers: usize,
    /// How many members read its beat every time; in a cluster of at most this size, all do. Never less than
    /// `watchers`.
    pub observers: usize,
    /// Whether jobs start in strict order across all nodes, instead of per node.
    pub in_order: bool,
    /// Whether only the elected leader runs jobs while the others stand by (Kylin's schedulers 0 and 100).
    pub leader_only: bool,
}

impl Settings {
    /// The defaults for a role.
    pub const fn new(role: Role) -> Self {
        Self {
            role,
            slots: 30,
            can: Capabilities::ALL,
            timing: Timing::kylin(),
            poll_every: Span::from_secs(10),
            steal_after: Span::from_millis(500),
            watchers: 3,
            observers: 16,
            in_order: false,
            leader_only: false,
        }
    }
}

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Phase {
    /// Not a member: joins at `join_at`, if no attempt of its previous incarnation runs.
    Outside { join_at: Time },
    /// The request to join is in flight.
    Joining,
    /// Takes jobs.
    Up,
    /// Takes no jobs. Attempts that still run at `until` are stopped. When all have ended, `next` follows.
    Draining { until: Time, next: Next },
    /// Runs no jobs. Records its departure at `leave_at`, and gives up at `give_up`.
    Leaving { leave_at: Time, give_up: Time },
    /// Has left.
    Gone,
}

/// What follows a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Next {
    /// It stays drained.
    Stay,
    /// It leaves.
    Leave,
    /// It takes jobs again, under a new incarnation.
    Rejoin,
}

/// Why a timer is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The next beat.
    Beat,
    /// Trust ends.
    Trust,
    /// The next list of jobs is due.
    Poll,
    /// An answer is overdue.
    Answer,
    /// A watched member may be silent.
    Silence,
    /// An attempt repeats a request.
    Retry,
    /// The deadline of the drain.
    Drain,
    /// Joining or leaving is retried.
    Membership,
    /// A job on another queue may be taken.
    Steal,
    /// A vacant claim may be taken.
    Claim,
    /// The lists are due.
    Lists,
}

/// The purpose of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum What {
    Join,
    Beat,
    List,
    Drain,
    Leave,
    Fence {
        member: Member,
    },
    Claim {
        target: Target,
    },
    Yield {
        target: Target,
    },
    ListJobs,
    /// Lists the jobs that this node holds or has on its queue.
    ListOwn,
    ListNode {
        of: Member,
        found: Option<Found>,
        fenced_at: Time,
    },
    ReadJobs(Vec<JobId>),
    /// Refreshes rows of other queues; nothing depends on the answer.
    Peek(Vec<JobId>),
    Take {
        job: JobId,
        seen: Epoch,
        from: Option<Member>,
    },
    Commit {
        fence: Fence,
        step: u32,
    },
    Finish {
        fence: Fence,
        outcome: Outcome,
    },
    Release {
        fence: Fence,
    },
    Place {
        fence: Fence,
        node: NodeId,
    },
    Slots,
    Can,
}

#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Pending {
    what: What,
    asked_at: Time,
}

/// What is known of a claim.
#[derive(Clone, Copy, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Claim {
    pub(crate) row: ClaimRow,
    /// A list requested before this moment may be older than the row.
    pub(crate) known_at: Time,
    pub(crate) vacant_since: Option<Time>,
    pub(crate) asked: bool,
    /// The epoch under which this member performs the claim's duties, if it does.
    pub(crate) leads: Option<Epoch>,
}

impl Claim {
    pub(crate) const fn new(row: ClaimRow, known_at: Time) -> Self {
        Self { row, known_at, vacant_since: None, asked: false, leads: None }
    }
}

/// An orphan of which a peer said that this node is the heir.
#[derive(Clone, Copy, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Inherited {
    pub(crate) from: Member,
    pub(crate) found: Option<Found>,
    pub(crate) heard_at: Time,
}

/// The state machine of one node.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Node {
    pub(crate) settings: Settings,
    seed: u64,
    pub(crate) phase: Phase,
    pub(crate) me: Option<Member>,
    pub(crate) lease: Lease,
    trusted: bool,
    pub(crate) roster: Roster,
    watched: Vec<Member>,
    /// The only node that runs jobs, if `leader_only` is set.
    engine: Option<NodeId>,
    /// The census of the last lists, if they were read.
    census: Option<Census>,
    silence_at: Time,
    /// How many members were silent when the watched members were chosen.
    silent_count: usize,
    suspects_itself: bool,
    pub(crate) claims: BTreeMap<Target, Claim>,
    pub(crate) queue: Queue,
    pub(crate) attempts: BTreeMap<JobId, Attempt>,
    /// Jobs whose attempt here ended, and when. A list requested earlier may still show them as running here.
    settled: BTreeMap<JobId, Time>,
    inherited: BTreeMap<JobId, Inherited>,
    /// Whether this member has read the list of all jobs. Until then, it may have heard of later jobs on its queue but
    /// not of earlier ones, and takes none.
    #[cfg_attr(feature = "serde", serde(default))]
    knows_jobs: bool,
    poll_at: Time,
    /// How many polls read this node's own jobs before the next one reads all jobs.
    own_polls: u32,
    steal_at: Time,
    claim_at: Time,
    /// When the lists are due.
    list_at: Time,
    /// Whether a request for the lists is in flight.
    listing: bool,
    retry_at: Time,
    /// Jobs to read again, and when.
    reread: BTreeMap<JobId, Time>,
    /// Jobs that were refused to this member, with the epoch seen.
    refused: BTreeMap<JobId, Epoch>,
    /// Whether an operator has drained this node. It applies across incarnations.
    drains: bool,
    asks: BTreeMap<AskId, Pending>,
    next_ask: u64,
    takes: u32,
    /// Whether a change may let a job start.
    stirred: bool,
    #[cfg_attr(feature = "serde", serde(skip))]
    plants: Planted,
    out: Effects,
}

impl Node {
    /// A node that is about to join. The first step sends the request.
    pub fn start(settings: Settings, seed: u64, now: Time) -> Self {
        Self {
            lease: Lease::new(settings.timing, now),
            settings,
            seed,
            phase: Phase::Outside { join_at: now },
            me: None,
            trusted: false,
            roster: Roster::default(),
            watched: Vec::new(),
            engine: None,
            census: None,
            silence_at: Time::NEVER,
            silent_count: 0,
            suspects_itself: false,
            claims: BTreeMap::new(),
            queue: Queue::default(),
            attempts: BTreeMap::new(),
            settled: BTreeMap::new(),
            inherited: BTreeMap::new(),
            knows_jobs: false,
            poll_at: Time::NEVER,
            own_polls: 0,
            steal_at: Time::NEVER,
            claim_at: Time::NEVER,
            list_at: Time::NEVER,
            listing: false,
            retry_at: Time::NEVER,
            reread: BTreeMap::new(),
            refused: BTreeMap::new(),
            drains: false,
            asks: BTreeMap::new(),
            next_ask: 0,
            takes: 0,
            stirred: false,
            plants: Planted::default(),
            out: Effects::new(),
        }
    }

    /// The node's settings.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The seed that the node started with, for a replay.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Processes an event and returns the effects to carry out.
    #[must_use = "the effects must be carried out"]
    pub fn step(&mut self, now: Time, event: Event) -> Effects {
        // A late event must not use rights that the node had only while it trusted itself.
        self.tend_trust(now);
        match event {
            Event::Woke => {}
            Event::Answered { id, answer } => {
                if let Some(pending) = self.asks.remove(&id) {
                    self.answered(now, pending, answer);
                }
            }
            Event::Told(rows) => self.told(now, rows),
            Event::Heard(rows) => self.heard(now, &rows),
            Event::Inherited(orphans) => self.inherit(now, orphans.of, Some(orphans.found), &orphans.jobs),
            Event::ListsChanged => self.list_at = now,
            Event::Suspected(member) => self.suspected(now, member),
            Event::Probed { member, met } => self.probed(now, member, met),
            Event::Exited(member) => self.evident(now, member, Evidence::Exited),
            Event::StepEnded { fence, step } => self.step_ended(now, fence, step),
            Event::AttemptEnded { fence, end } => self.attempt_ended(now, fence, end),
            Event::DrainWished { within, leave } => self.drain_wished(now, within, leave),
            Event::DrainUndone => self.drain_undone(),
            Event::ClaimWished { target, force } => self.claim_wished(now, target, force),
            Event::SlotsWished(slots) => self.slots_wished(now, slots),
            Event::CanChanged(can) => self.can_changed(now, can),
        }
        self.tend(now);
        core::mem::take(&mut self.out)
    }

    /// When `step` must be called again if no event arrives, and why.
    pub fn deadline(&self) -> (Time, Timer) {
        let patience = self.patience();
        let answer = self.asks.first_key_value().map_or(Time::NEVER, |(_, p)| p.asked_at + patience);
        let mut due = (answer, Timer::Answer);
        let mut consider = |at: Time, why: Timer| due = due.min((at, why));
        match self.phase {
            Phase::Outside { join_at } if self.is_idle() => consider(join_at, Timer::Membership),
            Phase::Outside { .. } | Phase::Joining | Phase::Gone => {}
            Phase::Leaving { leave_at, give_up } => consider(leave_at.min(give_up), Timer::Membership),
            Phase::Draining { until, .. } => consider(until, Timer::Drain),
            Phase::Up => {}
        }
        if self.is_member() {
            consider(self.lease.beat_at(), Timer::Beat);
            consider(self.poll_at, Timer::Poll);
            consider(self.silence_at, Timer::Silence);
            consider(self.retry_at, Timer::Retry);
            consider(self.steal_at, Timer::Steal);
            consider(self.claim_at, Timer::Claim);
            if !self.listing {
                consider(self.list_at, Timer::Lists);
            }
            if self.trusted {
                consider(self.lease.trusted_until(), Timer::Trust);
            }
        }
        due
    }

    /// The node on whose queue a newly accepted job with these needs goes. `key` is any number that differs between
    /// jobs.
    pub fn place(&self, key: u64, needs: Capabilities) -> Option<NodeId> {
        self.queue.place(key ^ self.seed, needs)
    }

    /// How many attempts it runs at once.
    pub const fn slots(&self) -> u32 {
        self.settings.slots
    }

    /// Breaks a rule on purpose.
    #[cfg(feature = "plants")]
    pub fn plant(&mut self, plant: Plant) {
        self.plants = Planted { plant: Some(plant) };
        self.queue.plants = self.plants;
        self.roster.plants = self.plants;
        if plant == Plant::NoTrustMargin {
            self.lease.trust_for = self.settings.timing.timeout();
        }
    }

    /// The identity of this node, once it has joined.
    pub const fn me(&self) -> Option<Member> {
        self.me
    }

    /// The living members, as the metastore last listed them.
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The jobs as this node knows them.
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Whether no attempt of an earlier incarnation still runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.attempts.is_empty() || self.plants.is(Plant::JoinBeforeEnded)
    }

    pub(crate) fn is_member(&self) -> bool {
        matches!(self.phase, Phase::Up | Phase::Draining { .. } | Phase::Leaving { .. })
    }

    pub(crate) fn is_asked(&self, of: impl Fn(&What) -> bool) -> bool {
        self.asks.values().any(|pending| of(&pending.what))
    }

    /// How long the node waits for an answer: longer than the shell's own deadline, as a second safety net.
    fn patience(&self) -> Span {
        self.settings.timing.ask_timeout().scaled(3, 2)
    }

    /// How soon a request that certainly failed is repeated.
    fn pause(&self) -> Span {
        self.settings.timing.retry_every().min(Span::from_secs(1))
    }

    fn ask(&mut self, now: Time, what: What, ask: Ask) {
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        self.asks.insert(id, Pending { what, asked_at: now });
        self.out.push(Effect::Ask { id, ask });
    }

    fn note(&mut self, note: Note) {
        self.out.push(Effect::Note(note));
    }

    fn nudge(&mut self, node: NodeId, nudge: Nudge) {
        if let Some(to) = self.roster.member_of(node).filter(|to| Some(*to) != self.me) {
            self.out.push(Effect::Nudge { to, nudge });
        }
    }

    fn nudge_all(&mut self, nudge: &Nudge) {
        for peer in self.roster.peers() {
            if Some(peer.row.member) != self.me {
                self.out.push(Effect::Nudge { to: peer.row.member, nudge: nudge.clone() });
            }
        }
    }

    fn answered(&mut self, now: Time, pending: Pending, answer: Answer) {
        let asked_at = pending.asked_at;
        match pending.what {
            What::Join => self.joined(now, asked_at, answer),
            What::Beat => self.beaten(now, asked_at, answer),
            What::List => {
                self.listing = false;
                if let Answer::Listed { members, claims, projects } = answer {
                    self.listed(now, asked_at, &members, &claims, &projects);
                } else {
                    self.list_at = self.list_at.min(now + self.pause());
                }
            }
            What::Drain | What::Slots | What::Can => self.row_written(now, &answer),
            What::Leave => self.left(now, &answer),
            What::Fence { member } => self.fenced(now, member, &answer),
            What::Claim { target } => self.claimed(now, target, &answer),
            What::Yield { target } => self.yielded(now, target, &answer),
            What::ListJobs => {
                if let Answer::Jobs(rows) = answer {
                    self.jobs_listed(now, asked_at, &rows);
                } else {
                    self.poll_at = now + self.pause();
                    if self.plants.is(Plant::ListFailureStopsWork) {
                        self.stop_all(Why::Lost);
                    }
                }
            }
            What::ListOwn => match answer {
                Answer::Jobs(rows) => self.own_listed(now, asked_at, &rows),
                _ => self.poll_at = now + self.pause(),
            },
            What::ListNode { of, found, fenced_at } => {
                if let Answer::Jobs(rows) = answer {
                    let found = found.map(|f| Found { listed: now.since(fenced_at), ..f });
                    self.node_listed(now, asked_at, of, found, &rows);
                } else {
                    (self.poll_at, self.own_polls) = (now, 0);
                }
            }
            What::Peek(ids) => {
                if let Answer::Jobs(rows) = answer {
                    self.jobs_read(now, asked_at, &ids, &rows);
                }
            }
            What::ReadJobs(ids) => match answer {
                Answer::Jobs(rows) => self.jobs_read(now, asked_at, &ids, &rows),
                _ => self.not_read(now, &ids),
            },
            What::Take { job, seen, from } => self.taken(now, asked_at, job, seen, from, &answer),
            What::Commit { fence, step } => self.committed(now, fence, step, &answer),
            What::Finish { fence, outcome } => self.finished(now, fence, outcome, &answer),
            What::Release { fence } => self.released(now, fence, &answer),
            What::Place { fence, node } => self.placed(now, fence, node, &answer),
        }
    }

    /// Does everything that is due.
    fn tend(&mut self, now: Time) {
        self.give_up_waiting(now);
        self.tend_membership(now);
        if self.is_member() {
            self.tend_trust(now);
            self.tend_silence(now);
            self.tend_attempts(now);
            self.tend_drain(now);
            self.tend_queue(now);
            self.tend_lists(now);
        }
    }

    /// Treats overdue answers as unknown.
    fn give_up_waiting(&mut self, now: Time) {
        let patience = self.patience();
        while let Some(first) = self.asks.first_entry() {
            if first.get().asked_at + patience > now {
                break;
            }
            let pending = first.remove();
            self.answered(now, pending, Answer::Unknown);
        }
    }

    fn tend_trust(&mut self, now: Time) {
        let trusted = self.lease.is_trusted(now);
        if trusted == self.trusted || !self.is_member() {
            return;
        }
        self.trusted = trusted;
        if trusted {
            self.stirred = true;
            self.note(Note::TrustRestored);
        } else {
            self.note(Note::TrustEnded);
            self.stop_external();
        }
    }
}

/// When a job's row was requested, and whether it came from the metastore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Read { asked_at: Time },
    Hint,
}

impl Source {
    fn is_older_than(self, known_at: Time) -> bool {
        matches!(self, Self::Read { asked_at } if asked_at < known_at)
    }
}

#[cfg(test)]
mod tests;
