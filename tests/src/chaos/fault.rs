//! What is done to the cluster, drawn from a seed.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::deployment::{DB, Deployment, ZOOKEEPER};
use crate::servers::postgres::Stop;

/// A kind of fault. Each is a class of its own in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// kill -9 of a node; it is started again.
    Kill,
    /// SIGSTOP of a node with its workers, for longer than the heart-beat timeout.
    Freeze,
    /// SIGTERM; it is started again.
    Stop,
    /// All nodes are stopped and started, one after the other.
    Rolling,
    /// A node is killed and started again and again.
    Loop,
    /// The host's cable is pulled for longer than the timeout.
    Unplug,
    /// A node does not reach the database for longer than the timeout.
    CutDb,
    /// What a node sends does not reach the database, but the other way is open.
    CutDbOneWay,
    /// A node does not reach ZooKeeper.
    CutZooKeeper,
    /// A node does not reach the other nodes.
    CutPeers,
    /// Half of the nodes do not reach the other half.
    Halves,
    /// A node's way to everything is cut and healed several times a second.
    Flap,
    /// A third of a node's packets are lost.
    Loss,
    /// The leader of the ensemble is killed; it is started again.
    ZooKeeperLeader,
    /// Two of the three servers of the ensemble are killed.
    ZooKeeperQuorum,
    /// The database is restarted, clients are told.
    DbRestart,
    /// The database crashes and recovers.
    DbCrash,
    /// The database is down for longer than the timeout.
    DbDown,
    /// The database accepts and never answers for longer than the timeout.
    DbHang,
    /// The worker process of an attempt is killed.
    KillWorker,
    /// The worker process of an attempt stands still for a while.
    StickWorker,
}

/// All of them.
pub const ALL: [Fault; 21] = [
    Fault::Kill,
    Fault::Freeze,
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
    Fault::KillWorker,
    Fault::StickWorker,
];

/// One fault as it was carried out.
#[derive(Clone, Debug)]
pub struct Done {
    /// What.
    pub fault: Fault,
    /// To which nodes; empty for what hits no node alone.
    pub nodes: Vec<usize>,
    /// When it began, in milliseconds since 1970.
    pub from_ms: i64,
    /// When all was healed.
    pub until_ms: i64,
    /// How long it took from there until all nodes were up and saw one another.
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

    /// The fault of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|fault| fault.name() == name || fault.name().replace(' ', "-") == name)
    }

    /// Whether a node that is hit may rightly be declared dead.
    pub fn may_kill(self) -> bool {
        match self {
            Self::Kill
            | Self::Freeze
            | Self::Stop
            | Self::Rolling
            | Self::Loop
            | Self::Unplug
            | Self::CutDb
            | Self::CutDbOneWay
            | Self::Flap
            | Self::Loss => true,
            Self::CutZooKeeper
            | Self::CutPeers
            | Self::Halves
            | Self::ZooKeeperLeader
            | Self::ZooKeeperQuorum
            | Self::DbRestart
            | Self::DbCrash
            | Self::DbDown
            | Self::DbHang
            | Self::KillWorker
            | Self::StickWorker => false,
        }
    }

    /// Does it to the node `victim` (where it is about one), holds it for as long as it has to be held, and heals it.
    ///
    /// # Errors
    /// If it can't be done.
    pub fn carry_out(self, cluster: &mut Deployment, victim: usize, long: Duration) -> anyhow::Result<Done> {
        let from_ms = wall_ms();
        let all: Vec<usize> = (0..cluster.nodes.len()).collect();
        let host = cluster.nodes[victim].host;
        let other_hosts: Vec<_> = cluster.nodes.iter().map(|node| node.host).filter(|other| *other != host).collect();
        let mut nodes = vec![victim];
        match self {
            Self::Kill => {
                cluster.kill_node(victim);
                hold(Duration::from_secs(2));
                cluster.start_node(victim)?;
            }
            Self::Freeze => {
                cluster.process(victim)?.freeze()?;
                hold(long);
                cluster.process(victim)?.thaw();
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
            Self::Unplug => {
                cluster.net.unplug(host)?;
                hold(long);
            }
            Self::CutDb => {
                cluster.net.part(&[host], &[DB])?;
                hold(long);
            }
            Self::CutDbOneWay => {
                cluster.net.cut(host, DB)?;
                hold(long);
            }
            Self::CutZooKeeper => {
                cluster.net.part(&[host], &ZOOKEEPER)?;
                hold(long);
            }
            Self::CutPeers => {
                cluster.net.part(&[host], &other_hosts)?;
                hold(long);
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
            Self::Loss => {
                cluster.net.lose(host, 33)?;
                hold(long);
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
                cluster.database.resume()?;
            }
            Self::DbHang => {
                nodes.clear();
                cluster.database.freeze()?;
                hold(long);
                cluster.database.thaw();
            }
            Self::KillWorker => {
                cluster.process(victim)?.signal_children(libc::SIGKILL);
            }
            Self::StickWorker => {
                cluster.process(victim)?.signal_children(libc::SIGSTOP);
                hold(Duration::from_secs(2));
                cluster.process(victim)?.signal_children(libc::SIGCONT);
            }
        }
        cluster.net.heal()?;
        cluster.zookeeper.start_all()?;
        let until_ms = wall_ms();
        cluster.until_all_up()?;
        let normal_after = Duration::from_millis(u64::try_from(wall_ms() - until_ms).unwrap_or(0));
        Ok(Done { fault: self, nodes, from_ms, until_ms, normal_after })
    }
}

impl Done {
    /// The nodes that might rightly be declared dead because of it.
    pub fn suspects(&self) -> BTreeSet<usize> {
        if self.fault.may_kill() { self.nodes.iter().copied().collect() } else { BTreeSet::new() }
    }
}

fn hold(span: Duration) {
    std::thread::sleep(span);
}

/// Milliseconds since 1970. Everything runs on one machine, so that moments of different processes can be compared.
pub fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
