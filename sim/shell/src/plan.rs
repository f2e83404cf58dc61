//! The faults of a run: drawn from the seed before the run begins, each with its end.
//!
//! A run leaves out some kinds of faults, so that the others occur in purer mixtures. Durations are drawn by order of
//! magnitude: moments, seconds, and longer than any timeout.

use std::time::Duration;

use kirin_sim::dice::Dice;

use crate::hosts::Host;

/// An action on the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Ends a process.
    Kill(Host),
    /// Starts it again.
    Start(Host),
    /// Tells a node to stop: it hands over, leaves and ends.
    Stop(Host),
    /// Pauses a process.
    Pause(Host),
    /// Resumes it.
    Resume(Host),
    /// Ends a process and its machine: not even its kernel answers.
    Lose(Host),
    /// Brings the machine back, and starts its process.
    Find(Host),
    /// Nothing from the first host reaches the second.
    Cut(Host, Host),
    /// Ends the cut.
    Mend(Host, Host),
    /// Ends the ZooKeeper session of a node.
    Expire(Host),
    /// All messages become slow.
    Slow,
    /// Messages become fast again.
    Fast,
}

/// Kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    KillNode,
    StopNode,
    PauseNode,
    LoseNode,
    CutFromZooKeeper,
    CutFromDatabase,
    CutFromPeer,
    Isolate,
    KillZooKeeper,
    PauseZooKeeper,
    KillQuorum,
    Expire,
    KillDatabase,
    PauseDatabase,
    Slow,
}

const KINDS: [Kind; 15] = [
    Kind::KillNode,
    Kind::StopNode,
    Kind::PauseNode,
    Kind::LoseNode,
    Kind::CutFromZooKeeper,
    Kind::CutFromDatabase,
    Kind::CutFromPeer,
    Kind::Isolate,
    Kind::KillZooKeeper,
    Kind::PauseZooKeeper,
    Kind::KillQuorum,
    Kind::Expire,
    Kind::KillDatabase,
    Kind::PauseDatabase,
    Kind::Slow,
];

/// The hosts of a run.
#[derive(Clone, Copy, Debug)]
pub struct Crew {
    /// Kirin nodes.
    pub nodes: usize,
    /// ZooKeeper servers.
    pub zookeepers: usize,
    /// Whether there is a database.
    pub database: bool,
}

impl Crew {
    fn any_node(self, dice: &mut Dice) -> Host {
        Host::Node(below(dice, self.nodes))
    }

    fn zookeepers(self) -> impl Iterator<Item = Host> {
        (0..self.zookeepers).map(Host::ZooKeeper)
    }

    fn all(self) -> impl Iterator<Item = Host> {
        (0..self.nodes).map(Host::Node).chain(self.zookeepers()).chain(self.database.then_some(Host::Database))
    }
}

/// The possible faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// All kinds.
    Any,
    /// Faults of ZooKeeper and of the connections to it.
    OfZooKeeper,
}

impl Faults {
    fn include(self, kind: Kind) -> bool {
        let of_zookeeper = matches!(
            kind,
            Kind::CutFromZooKeeper | Kind::KillZooKeeper | Kind::PauseZooKeeper | Kind::KillQuorum | Kind::Expire
        );
        of_zookeeper || self == Self::Any
    }
}

/// The acts of a run, ordered by time.
pub fn draw(dice: &mut Dice, crew: Crew, faults: Faults, within: Duration) -> Vec<(Duration, Act)> {
    let fits = |kind: &Kind| faults.include(*kind) && fits(*kind, crew);
    let kinds: Vec<Kind> = KINDS.into_iter().filter(fits).filter(|_| dice.chance(500_000)).collect();
    let mut acts = Vec::new();
    for _ in 0..dice.between(3, 14) {
        let from = millis(dice.below(whole_millis(within)));
        let to = from + span(dice);
        let Some(kind) = dice.pick(&kinds) else { break };
        for (begin, end) in fault(dice, *kind, crew) {
            acts.push((from, begin));
            acts.extend(end.map(|end| (to, end)));
        }
    }
    acts.sort_by_key(|(at, _)| *at);
    acts
}

fn fits(kind: Kind, crew: Crew) -> bool {
    match kind {
        Kind::CutFromDatabase | Kind::KillDatabase | Kind::PauseDatabase => crew.database,
        Kind::KillQuorum => crew.zookeepers > 1,
        _ => true,
    }
}

fn fault(dice: &mut Dice, kind: Kind, crew: Crew) -> Vec<(Act, Option<Act>)> {
    let node = crew.any_node(dice);
    let zookeeper = Host::ZooKeeper(below(dice, crew.zookeepers));
    match kind {
        Kind::KillNode => vec![(Act::Kill(node), Some(Act::Start(node)))],
        Kind::StopNode => vec![(Act::Stop(node), Some(Act::Start(node)))],
        Kind::PauseNode => vec![(Act::Pause(node), Some(Act::Resume(node)))],
        Kind::LoseNode => vec![(Act::Lose(node), Some(Act::Find(node)))],
        Kind::CutFromZooKeeper => cut(dice, node, crew.zookeepers()),
        Kind::CutFromDatabase => cut(dice, node, [Host::Database].into_iter()),
        Kind::CutFromPeer => {
            let other = crew.any_node(dice);
            cut(dice, node, [other].into_iter().filter(|other| *other != node))
        }
        Kind::Isolate => cut(dice, node, crew.all().filter(|other| *other != node)),
        Kind::KillZooKeeper => vec![(Act::Kill(zookeeper), Some(Act::Start(zookeeper)))],
        Kind::PauseZooKeeper => vec![(Act::Pause(zookeeper), Some(Act::Resume(zookeeper)))],
        Kind::KillQuorum => crew.zookeepers().map(|server| (Act::Kill(server), Some(Act::Start(server)))).collect(),
        Kind::Expire => vec![(Act::Expire(node), None)],
        Kind::KillDatabase => vec![(Act::Kill(Host::Database), Some(Act::Start(Host::Database)))],
        Kind::PauseDatabase => vec![(Act::Pause(Host::Database), Some(Act::Resume(Host::Database)))],
        Kind::Slow => vec![(Act::Slow, Some(Act::Fast))],
    }
}

/// Cuts a host off from others, in one or both directions.
fn cut(dice: &mut Dice, host: Host, others: impl Iterator<Item = Host>) -> Vec<(Act, Option<Act>)> {
    let (out, back) = match dice.below(4) {
        0 => (true, false),
        1 => (false, true),
        _ => (true, true),
    };
    let mut acts = Vec::new();
    for other in others {
        for (from, to) in
            [(host, other)].into_iter().filter(|_| out).chain([(other, host)].into_iter().filter(|_| back))
        {
            acts.push((Act::Cut(from, to), Some(Act::Mend(from, to))));
        }
    }
    acts
}

fn span(dice: &mut Dice) -> Duration {
    millis(match dice.below(4) {
        0 => dice.between(10, 1_000),
        1 => dice.between(1_000, 8_000),
        2 => dice.between(8_000, 30_000),
        _ => dice.between(30_000, 120_000),
    })
}

/// A number below `n`.
pub fn below(dice: &mut Dice, n: usize) -> usize {
    usize::try_from(dice.below(n as u64)).expect("it is less than a usize")
}

/// A duration of `n` milliseconds.
pub const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn whole_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
