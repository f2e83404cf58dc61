//! A machine: its clock, its process with the real core, and the executors that the process runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kirin_core::ask::{Epoch, Fence, JobId, Target};
use kirin_core::{AskId, Capabilities, Event, Member, Node, Role, Time};

use crate::setup::Clock;

/// A machine on which one node is installed.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) role: Role,
    pub(crate) clock: Clock,
    /// The capabilities of the next process.
    pub(crate) can: Capabilities,
    /// The slots of the next process.
    pub(crate) slots: u32,
    pub(crate) boots: u32,
    pub(crate) process: Option<Process>,
    /// Whether nothing answers.
    pub(crate) lost: bool,
    /// Whether the metastore is unreachable.
    pub(crate) store_cut: bool,
    /// Whether the metastore's replies are lost.
    pub(crate) mute: bool,
    /// Whether connections to the metastore break under writes.
    pub(crate) resets: bool,
    /// The additional latency of the metastore's replies.
    pub(crate) slow_us: u64,
    /// Whether ZooKeeper is unreachable.
    pub(crate) zookeeper_cut: bool,
    /// The delay of everything that happens here.
    pub(crate) crawl_us: u64,
    /// Whether steps fail because the disk is full.
    pub(crate) disk_full: bool,
    /// The difference between the wall clock and true time. Only planted bugs read it; no node ever does.
    pub(crate) wall_us: i64,
    /// The version of the next process.
    pub(crate) version: u8,
}

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) boot: u32,
    pub(crate) version: u8,
    pub(crate) node: Node,
    clock: Clock,
    pub(crate) begun: u64,
    suspended: u64,
    /// How far its clock has leapt forward.
    leapt: u64,
    pub(crate) stopped: Option<Stopped>,
    pub(crate) thawed_at: u64,
    pub(crate) inbox: VecDeque<Event>,
    /// Events of executors that arrived while the process was stopped.
    pub(crate) late: Vec<(Fence, u32)>,
    pub(crate) links: Vec<Member>,
    pub(crate) runs: BTreeMap<Fence, Run>,
    /// The claims whose duties it performs, with their epochs.
    pub(crate) leads: BTreeMap<Target, Epoch>,
    /// The registrations in ZooKeeper when it last read them.
    pub(crate) registered: BTreeSet<(u32, u32)>,
    pub(crate) wake_at: u64,
    /// When the last of an operator's requests arrives.
    pub(crate) wishes_until: u64,
    /// Reads of jobs that are not answered, and when they were sent.
    pub(crate) reading: Vec<(AskId, u64, Vec<JobId>)>,
    /// How many requests were sent, and since when they are counted.
    pub(crate) asked: (u64, u32),
    /// How often each write was sent, and since when they are counted.
    pub(crate) writes: BTreeMap<(&'static str, JobId), (u64, u32)>,
    /// Reads of the lists that are not answered, and when they were sent.
    pub(crate) lists: Vec<(AskId, u64)>,
    /// Reads of all jobs that are not answered.
    pub(crate) all_jobs: Vec<AskId>,
    /// The last member of this process that has read all jobs.
    pub(crate) informed: Option<Member>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped {
    pub(crate) since: u64,
    pub(crate) suspended: bool,
    /// Its executors go on.
    pub(crate) alone: bool,
}

/// An attempt that an executor runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) member: Member,
    pub(crate) external: bool,
    pub(crate) cancelled: bool,
    /// Whether it hangs until it is told to stop.
    pub(crate) stuck: bool,
}

impl Process {
    pub(crate) fn new(boot: u32, version: u8, clock: Clock, now: u64, node: impl FnOnce(Time) -> Node) -> Self {
        Self {
            boot,
            version,
            node: node(Time::from_micros(clock.offset_us)),
            clock,
            begun: now,
            suspended: 0,
            leapt: 0,
            stopped: None,
            thawed_at: now,
            inbox: VecDeque::new(),
            late: Vec::new(),
            links: Vec::new(),
            runs: BTreeMap::new(),
            leads: BTreeMap::new(),
            registered: BTreeSet::new(),
            wake_at: u64::MAX,
            wishes_until: 0,
            reading: Vec::new(),
            asked: (0, 0),
            writes: BTreeMap::new(),
            lists: Vec::new(),
            all_jobs: Vec::new(),
            informed: None,
        }
    }

    /// The reading of the process's clock.
    pub(crate) fn local(&self, now: u64) -> Time {
        let now = self.stopped.filter(|s| s.suspended).map_or(now, |s| s.since);
        let passed = now - self.begun - self.suspended;
        let shown = match passed.checked_mul(self.rate()) {
            Some(product) => product / 1_000_000,
            None => (u128::from(passed) * u128::from(self.rate()) / 1_000_000) as u64,
        };
        Time::from_micros(self.clock.offset_us + self.leapt + shown)
    }

    /// The first moment of true time at which the clock shows `at`.
    pub(crate) fn when(&self, at: Time) -> u64 {
        if at == Time::NEVER {
            return u64::MAX;
        }
        let local = at.micros().saturating_sub(self.clock.offset_us + self.leapt);
        let passed = match local.checked_mul(1_000_000) {
            Some(product) => product.div_ceil(self.rate()),
            None => (u128::from(local) * 1_000_000).div_ceil(u128::from(self.rate())) as u64,
        };
        self.begun + self.suspended + passed
    }

    /// How many microseconds its clock advances in one second of true time.
    fn rate(&self) -> u64 {
        1_000_000_u64.saturating_add_signed(self.clock.ppm)
    }

    pub(crate) fn thaw(&mut self, now: u64) {
        if let Some(stopped) = self.stopped.take() {
            if stopped.suspended {
                self.suspended += now - stopped.since;
            }
            self.thawed_at = now;
        }
    }

    pub(crate) fn leap(&mut self, us: u64) {
        self.leapt += us;
    }

    /// Whether its clock runs at a tolerated rate, was never suspended and never leapt.
    pub(crate) fn keeps_time(&self) -> bool {
        self.suspended == 0
            && self.leapt == 0
            && self.clock.ppm.unsigned_abs() <= kirin_core::timing::RATE_ERROR_PERCENT * 10_000
    }
}

impl Machine {
    pub(crate) fn process_of(&self, boot: u32) -> Option<&Process> {
        self.process.as_ref().filter(|p| p.boot == boot)
    }

    pub(crate) fn process_of_mut(&mut self, boot: u32) -> Option<&mut Process> {
        self.process.as_mut().filter(|p| p.boot == boot)
    }

    /// Whether its process acts when it is due. A stopped process cannot stop anything, and one with a wrong clock does
    /// not know when.
    pub(crate) fn acts_in_time(&self, now: u64) -> bool {
        let in_time = |p: &Process| p.stopped.is_none() && p.keeps_time() && p.thawed_at + 1_000 <= now;
        self.crawl_us == 0 && self.process.as_ref().is_some_and(in_time)
    }

    /// Whether its executors end themselves in time although the process that started them is frozen.
    pub(crate) fn workers_act_in_time(&self) -> bool {
        let frozen = |p: &Process| p.stopped.is_some_and(|s| s.alone) && p.keeps_time();
        self.crawl_us == 0 && self.process.as_ref().is_some_and(frozen)
    }

    /// Whether it serves clients.
    pub(crate) fn serves(&self) -> bool {
        !self.lost && self.process.as_ref().is_some_and(|p| p.stopped.is_none() && p.node.me().is_some())
    }
}
