//! The faults, drawn from a seed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use kirin_plant::Defence;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::deployment::{Backend, Deployment, ZOOKEEPER};
use super::memory;
use crate::servers::postgres::Stop;
use crate::servers::process::Server;

/// A line in the sink, with the node's name, at which frozen processes resume. Their next effects come before they can be
/// stopped.
pub const THAW: &str = "thaw";
/// A line in the sink at which none of these processes is left.
pub const THAWED: &str = "thawed";
/// The file that fills a node's disk.
const FILL: &str = "data/fill";

/// A kind of fault. The report has a row for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// kill -9 of a node; it is started again.
    Kill,
    /// SIGSTOP of a node with its workers, for longer than the heart-beat timeout.
    Freeze,
    /// SIGSTOP of a node without its workers, for longer than the heart-beat timeout.
    FreezeAlone,
    /// SIGTERM; it is started again.
    Stop,
    /// All nodes are stopped and started, one after the other.
    Rolling,
    /// A node is killed and started again and again.
    Loop,
    /// The host's cable is pulled for longer than the timeout.
    Unplug,
    /// A node is cut off from the database for longer than the timeout.
    CutDb,
    /// Packets from a node do not reach the database; the other direction is open.
    CutDbOneWay,
    /// A node is cut off from ZooKeeper.
    CutZooKeeper,
    /// A node is cut off from the other nodes.
    CutPeers,
    /// Half of the nodes are cut off from the other half.
    Halves,
    /// A node's network is cut and healed several times a second.
    Flap,
    /// A third of a node's packets are lost.
    Loss,
    /// The leader of the ensemble is killed; it is started again.
    ZooKeeperLeader,
    /// Two of the three servers of the ensemble are killed.
    ZooKeeperQuorum,
    /// The database is restarted; it closes its connections.
    DbRestart,
    /// The database crashes and recovers.
    DbCrash,
    /// The database is down for longer than the timeout.
    DbDown,
    /// The database accepts connections and does not answer for longer than the timeout.
    DbHang,
    /// A table of the catalog is locked, and many clients request its contents from one node.
    DbLocked,
    /// The primary of the database is killed, and its standby takes its place.
    DbFailover,
    /// Another client takes all connections of the database for longer than the timeout.
    DbConnections,
    /// The worker process of an attempt is killed.
    KillWorker,
    /// The worker process of an attempt is frozen for a while.
    StickWorker,
    /// The worker of a build is frozen, on a node that is cut off from the database, and resumes after the takeover.
    LateWorker,
    /// The worker process of an attempt gets no more memory.
    WorkerOom,
    /// A node gets 10 % of a core.
    Starve,
    /// A node cannot open further files or connections.
    Descriptors,
    /// The disk of a node's own directory is full.
    DiskFull,
    /// The wall clock of a node is an hour ahead, an hour late, ten years ahead, ten years late.
    ClockSteps,
    /// All clocks of a node run twice as fast.
    ClockFast,
    /// All clocks of a node run half as fast.
    ClockSlow,
    /// Clients with wrong passwords, and connections that never finish their request, flood a node.
    Strangers,
    /// Three faults at once, on different nodes.
    Several,
    /// All nodes, one after the other, go to the previous program and back.
    Upgrade,
}

/// All faults without special requirements.
pub const ALL: [Fault; 35] = [
    Fault::Kill,
    Fault::Freeze,
    Fault::FreezeAlone,
    Fault::Stop,
    Fault::Rolling,
    Fault::Loop,
    Fault::Unplug,
    Fault::CutDb,
    Fault::CutDbOneWay,
    Fault::CutZooKeeper,
    Fault::CutPeers,
    Fault::Halves,
    Fault::Flap,
    Fault::Loss,
    Fault::ZooKeeperLeader,
    Fault::ZooKeeperQuorum,
    Fault::DbRestart,
    Fault::DbCrash,
    Fault::DbDown,
    Fault::DbHang,
    Fault::DbLocked,
    Fault::DbFailover,
    Fault::DbConnections,
    Fault::KillWorker,
    Fault::StickWorker,
    Fault::WorkerOom,
    Fault::LateWorker,
    Fault::Starve,
    Fault::Descriptors,
    Fault::DiskFull,
    Fault::ClockSteps,
    Fault::ClockFast,
    Fault::ClockSlow,
    Fault::Strangers,
    Fault::Several,
];

/// The fault that damages a cluster without this defence.
pub const fn against(missing: Defence) -> Fault {
    match missing {
        Defence::Fences => Fault::Freeze,
        Defence::AttemptPaths => Fault::LateWorker,
        Defence::Trust => Fault::CutDb,
        Defence::WorkersEnd => Fault::Kill,
        Defence::WorkerDeadlines => Fault::FreezeAlone,
        Defence::BeatConnection => Fault::DbLocked,
    }
}

/// Faults with a beginning and an end, which can overlap.
const LASTING: [Fault; 12] = [
    Fault::Freeze,
    Fault::FreezeAlone,
    Fault::Unplug,
    Fault::CutDb,
    Fault::CutDbOneWay,
    Fault::CutZooKeeper,
    Fault::CutPeers,
    Fault::Loss,
    Fault::Kill,
    Fault::Descriptors,
    Fault::DiskFull,
    Fault::Strangers,
];

/// One fault as it was executed.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its kind.
    pub fault: Fault,
    /// The nodes that were hit; empty for faults of other servers.
    pub nodes: Vec<usize>,
    /// When it began, in milliseconds since 1970.
    pub from_ms: i64,
    /// When all was healed.
    pub until_ms: i64,
    /// The time from healing until all nodes were up and saw each other.
    pub normal_after: Duration,
}

impl Fault {
    /// Its name.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push(' ');
            }
            name.extend(letter.to_lowercase());
        }
        name.replace("zoo keeper", "zookeeper")
    }

    /// The fault of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter()
            .chain([Self::Upgrade])
            .find(|fault| fault.name() == name || fault.name().replace(' ', "-") == name)
    }

    /// Whether it applies to this database.
    pub fn is_for(self, backend: Backend) -> bool {
        self != Self::DbFailover || backend == Backend::Postgres
    }

    /// Whether a node that is hit may rightly be declared dead.
    pub fn may_kill(self) -> bool {
        match self {
            Self::Kill
            | Self::Freeze
            | Self::FreezeAlone
            | Self::Stop
            | Self::Rolling
            | Self::Loop
            | Self::Unplug
            | Self::CutDb
            | Self::CutDbOneWay
            | Self::Flap
            | Self::Loss
            | Self::LateWorker
            | Self::Starve
            | Self::ClockSteps
            | Self::ClockFast
            | Self::ClockSlow
            | Self::Several
            | Self::Upgrade => true,
            Self::CutZooKeeper
            | Self::CutPeers
            | Self::Halves
            | Self::ZooKeeperLeader
            | Self::ZooKeeperQuorum
            | Self::DbRestart
            | Self::DbCrash
            | Self::DbDown
            | Self::DbHang
            | Self::DbLocked
            | Self::DbFailover
            | Self::DbConnections
            | Self::KillWorker
            | Self::StickWorker
            | Self::WorkerOom
            | Self::Descriptors
            | Self::DiskFull
            | Self::Strangers => false,
        }
    }

    /// Whether it ends the process that it hits.
    pub fn restarts(self) -> bool {
        matches!(self, Self::Kill | Self::Stop | Self::Loop | Self::ClockSteps | Self::ClockFast | Self::ClockSlow)
            || self.hits_all()
    }

    /// Whether the fault chooses its nodes itself.
    pub fn hits_all(self) -> bool {
        matches!(self, Self::Rolling | Self::Several | Self::Upgrade)
    }

    /// The evidence for the death that it causes; `None` if that varies.
    pub fn evidence(self) -> &'static [&'static str] {
        match self {
            Self::Kill | Self::Loop => &["exited", "replaced"],
            Self::Freeze | Self::FreezeAlone | Self::Unplug | Self::CutDb | Self::CutDbOneWay | Self::LateWorker => {
                &["silent"]
            }
            _ => &[],
        }
    }

    /// Executes the fault on the node `victim` (if it concerns one), holds it for its duration, and heals it.
    ///
    /// # Errors
    /// If it cannot be executed.
    pub fn carry_out(
        self,
        cluster: &mut Deployment,
        victim: usize,
        long: Duration,
        dice: &mut StdRng,
    ) -> anyhow::Result<Done> {
        let from_ms = wall_ms();
        let all: Vec<usize> = (0..cluster.nodes.len()).collect();
        let host = cluster.nodes[victim].host;
        let mut nodes = vec![victim];
        match self {
            lasting if LASTING.contains(&lasting) => {
                lasting.begin(cluster, victim)?;
                hold(if lasting == Self::Kill { Duration::from_secs(2) } else { long });
                lasting.end(cluster, victim)?;
            }
            Self::Several => {
                nodes.clone_from(&all);
                nodes.shuffle(dice);
                nodes.truncate(3);
                let faults: Vec<_> =
                    nodes.iter().map(|node| (LASTING[dice.random_range(0..LASTING.len())], *node)).collect();
                if dice.random() {
                    cluster.lead_away()?;
                }
                for (fault, node) in &faults {
                    println!("    {} ({})", fault.name(), cluster.nodes[*node].name);
                    fault.begin(cluster, *node)?;
                }
                hold(long);
                for (fault, node) in &faults {
                    fault.end(cluster, *node)?;
                }
            }
            Self::ClockSteps => {
                cluster.stop_node(victim)?;
                cluster.start_node_at_time(victim, "+0")?;
                for step in ["+1h", "-1h", "+3650d", "-3650d"] {
                    hold(Duration::from_secs(2));
                    cluster.step_clock(victim, step)?;
                }
                hold(Duration::from_secs(2));
                cluster.stop_node(victim)?;
                cluster.start_node(victim)?;
            }
            Self::ClockFast | Self::ClockSlow => {
                cluster.stop_node(victim)?;
                cluster.start_node_at_rate(victim, if self == Self::ClockFast { "2" } else { "0.5" })?;
                hold(long);
                cluster.stop_node(victim)?;
                cluster.start_node(victim)?;
            }
            Self::Upgrade => {
                nodes.clone_from(&all);
                for before in [true, false] {
                    for node in &all {
                        cluster.stop_node(*node)?;
                        cluster.start_version(*node, before)?;
                        cluster.until_all_up()?;
                    }
                }
            }
            Self::Stop => {
                cluster.stop_node(victim)?;
                hold(Duration::from_secs(1));
                cluster.start_node(victim)?;
            }
            Self::Rolling => {
                nodes.clone_from(&all);
                for node in all {
                    cluster.stop_node(node)?;
                    cluster.start_node(node)?;
                    cluster.until_all_up()?;
                }
            }
            Self::Loop => {
                for pause in [300, 50, 700, 150] {
                    cluster.kill_node(victim);
                    cluster.start_node(victim)?;
                    hold(Duration::from_millis(pause));
                }
            }
            Self::Halves => {
                nodes.clone_from(&all);
                let (some, others): (Vec<_>, Vec<_>) = cluster.nodes.iter().map(|n| n.host).partition(|h| h % 2 == 0);
                cluster.net.part(&some, &others)?;
                hold(long);
            }
            Self::Flap => {
                for _ in 0..10 {
                    cluster.net.unplug(host)?;
                    hold(Duration::from_millis(120));
                    cluster.net.heal()?;
                    hold(Duration::from_millis(180));
                }
            }
            Self::ZooKeeperLeader => {
                nodes.clear();
                cluster.lead_away()?;
                hold(Duration::from_secs(2));
            }
            Self::ZooKeeperQuorum => {
                nodes.clear();
                cluster.zookeeper.kill(0);
                cluster.zookeeper.kill(1);
                hold(long);
                cluster.expect_degraded()?;
            }
            Self::DbRestart | Self::DbCrash => {
                nodes.clear();
                cluster.database.stop(if self == Self::DbCrash { Stop::Immediate } else { Stop::Fast })?;
                cluster.database.resume()?;
            }
            Self::DbDown => {
                nodes.clear();
                cluster.database.stop(Stop::Fast)?;
                hold(long);
                cluster.expect_refusals()?;
                cluster.database.resume()?;
            }
            Self::DbHang => {
                nodes.clear();
                cluster.database.freeze()?;
                hold(long);
                cluster.database.thaw();
            }
            Self::DbLocked => {
                nodes.clear();
                cluster.lock_catalog(victim, long)?;
            }
            Self::DbFailover => {
                nodes.clear();
                cluster.database.fail_over()?;
            }
            Self::DbConnections => {
                nodes.clear();
                // A client whose connection is ended would reconnect before the crowd has taken its place.
                let hosts: Vec<_> = cluster.nodes.iter().map(|node| node.host).collect();
                cluster.net.part(&hosts, &cluster.databases())?;
                let crowd = cluster.take_connections()?;
                cluster.net.heal()?;
                hold(long);
                cluster.expect_refusals()?;
                drop(crowd);
            }
            Self::WorkerOom => {
                // At most as many as a job has attempts per step.
                println!("    {} workers", memory::take_from_workers(cluster.process(victim)?, 2)?);
                hold(Duration::from_secs(1));
            }
            Self::KillWorker => {
                cluster.process(victim)?.signal_children(libc::SIGKILL);
            }
            Self::StickWorker => {
                cluster.process(victim)?.signal_children(libc::SIGSTOP);
                hold(Duration::from_secs(2));
                cluster.process(victim)?.signal_children(libc::SIGCONT);
            }
            Self::LateWorker => {
                let (builder, worker) = cluster.stop_a_builder()?;
                nodes = vec![builder];
                let databases = cluster.databases();
                cluster.net.part(&[cluster.nodes[builder].host], &databases)?;
                hold(long);
                Server::go_on(worker);
                // The node learns of its fencing only afterwards.
                hold(Duration::from_secs(1));
            }
            Self::Starve => {
                let until = Instant::now() + long;
                while Instant::now() < until {
                    cluster.process(victim)?.signal(libc::SIGSTOP);
                    hold(Duration::from_millis(90));
                    cluster.process(victim)?.signal(libc::SIGCONT);
                    hold(Duration::from_millis(10));
                }
            }
            _ => bail!("{} is not implemented", self.name()),
        }
        cluster.net.heal()?;
        cluster.zookeeper.start_all()?;
        let until_ms = wall_ms();
        cluster.until_all_up()?;
        // A node that was declared dead has joined again, and it joins only after all its attempts have ended.
        cluster.mark(THAWED)?;
        let normal_after = Duration::from_millis(u64::try_from(wall_ms() - until_ms).unwrap_or(0));
        if self == Self::DbFailover {
            // The cluster must not need the standby; the next failover does.
            cluster.database.rejoin()?;
        }
        Ok(Done { fault: self, nodes, from_ms, until_ms, normal_after })
    }
}

/// A fault that is in progress.
impl Fault {
    fn begin(self, cluster: &mut Deployment, victim: usize) -> anyhow::Result<()> {
        let host = cluster.nodes[victim].host;
        match self {
            Self::Kill => cluster.kill_node(victim),
            Self::Freeze => cluster.process(victim)?.freeze()?,
            Self::FreezeAlone => cluster.process(victim)?.signal(libc::SIGSTOP),
            Self::Unplug => cluster.net.unplug(host)?,
            Self::CutDb => cluster.net.part(&[host], &cluster.databases())?,
            Self::CutDbOneWay => {
                for database in cluster.databases() {
                    cluster.net.cut(host, database)?;
                }
            }
            Self::CutZooKeeper => cluster.net.part(&[host], &ZOOKEEPER)?,
            Self::CutPeers => {
                let others = cluster.nodes.iter().map(|node| node.host).filter(|other| *other != host);
                let others: Vec<_> = others.collect();
                cluster.net.part(&[host], &others)?;
            }
            Self::Loss => cluster.net.lose(host, 33)?,
            Self::Descriptors => cluster.limit_descriptors(victim, Some(4))?,
            Self::DiskFull => {
                let mut fill = std::fs::File::create(cluster.nodes[victim].home.join(FILL))?;
                // It ends with an error when the disk is full, which is the purpose.
                let _ = std::io::copy(&mut std::io::repeat(0), &mut fill);
            }
            Self::Strangers => cluster.flood(victim)?,
            _ => bail!("{} has no duration", self.name()),
        }
        Ok(())
    }

    /// The caller heals the network.
    fn end(self, cluster: &mut Deployment, victim: usize) -> anyhow::Result<()> {
        match self {
            Self::Kill => cluster.start_node(victim)?,
            Self::Freeze => {
                cluster.mark(&format!("{THAW} {}", cluster.nodes[victim].name))?;
                cluster.process(victim)?.thaw();
            }
            // Its workers have ended by themselves: no effect of theirs is excused.
            Self::FreezeAlone => cluster.process(victim)?.signal(libc::SIGCONT),
            Self::Descriptors => cluster.limit_descriptors(victim, None)?,
            Self::DiskFull => std::fs::remove_file(cluster.nodes[victim].home.join(FILL))?,
            Self::Strangers => cluster.end_flood(victim)?,
            _ => {}
        }
        Ok(())
    }
}

impl Done {
    /// The times at which clients got no answer, from the beginning of the fault until everything was normal.
    pub fn errors<'a>(&self, all: &'a [i64]) -> &'a [i64] {
        let over_ms = self.until_ms + i64::try_from(self.normal_after.as_millis()).unwrap_or(0);
        &all[all.partition_point(|at| *at < self.from_ms)..all.partition_point(|at| *at <= over_ms)]
    }

    /// The nodes that may be declared dead because of the fault.
    pub fn suspects(&self) -> BTreeSet<usize> {
        if self.fault.may_kill() { self.nodes.iter().copied().collect() } else { BTreeSet::new() }
    }
}

fn hold(span: Duration) {
    std::thread::sleep(span);
}

/// Milliseconds since 1970. Everything runs on one machine, so times of different processes can be compared.
pub fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
