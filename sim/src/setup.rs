//! The setup of a run: the cluster, its clocks and its weather. Written as one line, or drawn from a seed.
//!
//! *Weather* is chance on the paths between machines; deliberate faults are [`Act`](crate::act::Act)s. The swarm
//! switches off about half of the kinds of weather in each run (Groce et al., "Swarm Testing", 2012), because a run
//! with every fault hides what a run with one fault shows.

use core::fmt;
use core::str::FromStr;

use kirin_core::{Capabilities, Role, Span, Timing};

use crate::act::{role, span};
use crate::dice::Dice;

/// Chance on the paths between machines. Probabilities are parts per million, times are microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weather {
    /// The usual minimum and maximum latency of one way to the metastore.
    pub store_us: (u64, u64),
    /// How often a way takes up to `tail_us` instead.
    pub tail_ppm: u64,
    /// The maximum latency.
    pub tail_us: u64,
    /// How often a request never reaches the metastore.
    pub lose_request_ppm: u64,
    /// How often the reply is lost after the commit.
    pub lose_reply_ppm: u64,
    /// How often a request lands long after the shell's timeout.
    pub late_ppm: u64,
    /// How much later it lands.
    pub late_us: u64,
    /// How often the metastore rolls a request back and reports that.
    pub rollback_ppm: u64,
    /// The latency of one way between two nodes.
    pub link_us: (u64, u64),
    /// How often a nudge is lost.
    pub lose_nudge_ppm: u64,
    /// How often a nudge arrives twice.
    pub double_nudge_ppm: u64,
    /// How long an executor takes to stop.
    pub stop_us: (u64, u64),
    /// How often a way between two nodes takes up to `link_tail_us` instead.
    pub link_tail_ppm: u64,
    /// The maximum latency between two nodes.
    pub link_tail_us: u64,
    /// How often a process is not told that ZooKeeper's list has changed.
    pub lose_watch_ppm: u64,
    /// How often a request that hangs in the metastore is executed after the outage.
    pub hung_lands_ppm: u64,
    /// How often an external attempt outlives the process that began it.
    pub orphan_ppm: u64,
}

/// A monotonic clock: its initial value, and its rate error in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Its value when the process starts.
    pub offset_us: u64,
    /// Its rate error.
    pub ppm: i64,
}

/// The initial state of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The seed of all random choices.
    pub seed: u64,
    /// The role of each host.
    pub roles: Vec<Role>,
    /// The capabilities of each host.
    pub can: Vec<Capabilities>,
    /// How many attempts a node runs at once.
    pub slots: u32,
    /// The limit of each project.
    pub limits: Vec<u32>,
    /// The heart-beat settings.
    pub timing: Timing,
    /// Whether jobs start in strict order across all nodes.
    pub in_order: bool,
    /// Whether only the leader runs jobs.
    pub leader_only: bool,
    /// How long a ZooKeeper session outlives its last sign of life; zero means that there is no ZooKeeper.
    pub zookeeper: Span,
    /// The version of the program on each host, 1 or 2.
    pub versions: Vec<u8>,
    /// The clock of each host.
    pub clocks: Vec<Clock>,
    /// The weather.
    pub weather: Weather,
}

impl Weather {
    /// No faults, and usual latencies.
    pub const fn calm() -> Self {
        Self {
            store_us: (500, 2_000),
            tail_ppm: 0,
            tail_us: 0,
            lose_request_ppm: 0,
            lose_reply_ppm: 0,
            late_ppm: 0,
            late_us: 0,
            rollback_ppm: 0,
            link_us: (100, 400),
            lose_nudge_ppm: 0,
            double_nudge_ppm: 0,
            stop_us: (1_000, 20_000),
            link_tail_ppm: 0,
            link_tail_us: 0,
            lose_watch_ppm: 0,
            hung_lands_ppm: 0,
            orphan_ppm: 0,
        }
    }

    /// All numbers by name.
    fn fields(&mut self) -> [(&'static str, &mut u64); 19] {
        [
            ("store_us_min", &mut self.store_us.0),
            ("store_us_max", &mut self.store_us.1),
            ("tail_ppm", &mut self.tail_ppm),
            ("tail_us", &mut self.tail_us),
            ("lose_request_ppm", &mut self.lose_request_ppm),
            ("lose_reply_ppm", &mut self.lose_reply_ppm),
            ("late_ppm", &mut self.late_ppm),
            ("late_us", &mut self.late_us),
            ("rollback_ppm", &mut self.rollback_ppm),
            ("link_us_min", &mut self.link_us.0),
            ("link_us_max", &mut self.link_us.1),
            ("lose_nudge_ppm", &mut self.lose_nudge_ppm),
            ("double_nudge_ppm", &mut self.double_nudge_ppm),
            ("stop_us_max", &mut self.stop_us.1),
            ("link_tail_ppm", &mut self.link_tail_ppm),
            ("link_tail_us", &mut self.link_tail_us),
            ("lose_watch_ppm", &mut self.lose_watch_ppm),
            ("hung_lands_ppm", &mut self.hung_lands_ppm),
            ("orphan_ppm", &mut self.orphan_ppm),
        ]
    }

    /// Whether nothing is ever lost or late.
    pub const fn is_calm(&self) -> bool {
        self.tail_ppm == 0
            && self.lose_request_ppm == 0
            && self.lose_reply_ppm == 0
            && self.late_ppm == 0
            && self.rollback_ppm == 0
            && self.lose_nudge_ppm == 0
            && self.link_tail_ppm == 0
    }

    fn swarm(dice: &mut Dice, timing: Timing) -> Self {
        let timeout = timing.timeout().micros();
        let mut maybe = |high: u64| if dice.chance(500_000) { dice.between(1, high) } else { 0 };
        let mut weather = Self {
            tail_ppm: maybe(100_000),
            lose_request_ppm: maybe(80_000),
            lose_reply_ppm: maybe(80_000),
            late_ppm: maybe(50_000),
            rollback_ppm: maybe(50_000),
            lose_nudge_ppm: maybe(600_000),
            double_nudge_ppm: maybe(200_000),
            link_tail_ppm: maybe(100_000),
            lose_watch_ppm: maybe(600_000),
            hung_lands_ppm: maybe(1_000_000),
            orphan_ppm: maybe(1_000_000),
            ..Self::calm()
        };
        // Delays longer than the timeouts that they attack.
        weather.tail_us = match dice.below(2) {
            0 => dice.between(10_000, timeout * 2),
            // Delays for which the shell waits just long enough.
            _ => timing.ask_timeout().micros(),
        };
        weather.late_us = dice.between(10_000, timeout * 3);
        weather.stop_us.1 = dice.between(2_000, timeout / 30);
        if dice.chance(300_000) {
            weather.store_us.1 = dice.between(2_000, 60_000);
        }
        if dice.chance(300_000) {
            weather.link_us.1 = dice.between(400, 100_000);
        }
        weather.link_tail_us = dice.between(1_000, timeout * 2);
        weather
    }
}

impl Setup {
    /// A calm cluster of this many nodes with the role all, Kylin's defaults and good clocks.
    pub fn of(nodes: u32) -> Self {
        Self {
            seed: 1,
            roles: vec![Role::All; nodes as usize],
            can: vec![Capabilities::ALL; nodes as usize],
            slots: 4,
            limits: vec![20, 20],
            timing: Timing::kylin(),
            in_order: false,
            leader_only: false,
            zookeeper: Span::ZERO,
            versions: vec![1; nodes as usize],
            clocks: (0..nodes).map(|n| Clock { offset_us: u64::from(n) * 1_000_000, ppm: 0 }).collect(),
            weather: Weather::calm(),
        }
    }

    /// Draws everything from the seed.
    pub fn swarm(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "setup");
        let nodes = dice.between(2, 6);
        let mut roles: Vec<_> = (0..nodes)
            .map(|_| match dice.below(5) {
                0 => Role::Query,
                1 => Role::Job,
                _ => Role::All,
            })
            .collect();
        if roles.iter().filter(|r| r.runs_jobs()).count() < 2 {
            roles[0] = Role::All;
            roles[1] = Role::Job;
        }
        let can = abilities(seed, &roles);
        let (timeout, interval) = [(60, 30), (60, 10), (10, 3), (3, 1)][dice.below(4) as usize];
        let timing = Timing::new(Span::from_secs(timeout), Span::from_secs(interval)).expect("a safe pair");
        // Rate errors within the bound in most runs, beyond it in some.
        let worst: u64 = *dice.pick(&[0, 200, 49_000, 49_000, 300_000]).expect("not empty");
        let clocks = roles
            .iter()
            .map(|_| Clock {
                offset_us: dice.below(1 << 50),
                // The extremes are where margins are thin.
                ppm: match dice.below(3) {
                    0 => worst.cast_signed(),
                    1 => -worst.cast_signed(),
                    _ => dice.between(0, worst * 2).cast_signed() - worst.cast_signed(),
                },
            })
            .collect();
        let mixed = dice.chance(200_000);
        let weather = if dice.chance(250_000) { Weather::calm() } else { Weather::swarm(&mut dice, timing) };
        let mut setup = Self {
            seed,
            roles,
            can,
            slots: dice.between(1, 4) as u32,
            limits: (0..dice.between(1, 3)).map(|_| dice.between(1, 6) as u32).collect(),
            timing,
            in_order: dice.chance(150_000),
            leader_only: dice.chance(100_000),
            zookeeper: Span::from_millis(if dice.chance(600_000) { dice.between(500, 30_000) } else { 0 }),
            versions: (0..nodes).map(|_| if mixed { dice.between(1, 2) as u8 } else { 1 }).collect(),
            clocks,
            weather,
        };
        if setup.leader_only {
            // If the leader cannot run a job, no node can.
            setup.can.fill(Capabilities::ALL);
        }
        setup
    }

    /// How many hosts there are.
    pub fn nodes(&self) -> u32 {
        self.roles.len() as u32
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calm = Self::of(self.nodes());
        write!(f, "cluster seed={} nodes={}", self.seed, self.nodes())?;
        if self.slots != calm.slots {
            write!(f, " slots={}", self.slots)?;
        }
        if self.roles != calm.roles {
            let roles: Vec<_> = self.roles.iter().map(|r| r.name()).collect();
            write!(f, " roles={}", roles.join(","))?;
        }
        if self.can != calm.can {
            let can: Vec<_> = self.can.iter().map(|can| can.0.to_string()).collect();
            write!(f, " can={}", can.join(","))?;
        }
        if self.limits != calm.limits {
            let limits: Vec<_> = self.limits.iter().map(u32::to_string).collect();
            write!(f, " limits={}", limits.join(","))?;
        }
        if self.timing != calm.timing {
            write!(f, " timing={:?}/{:?}", self.timing.timeout(), self.timing.interval())?;
        }
        if self.in_order {
            f.write_str(" in_order")?;
        }
        if self.leader_only {
            f.write_str(" leader_only")?;
        }
        if self.zookeeper != calm.zookeeper {
            write!(f, " zookeeper={:?}", self.zookeeper)?;
        }
        if self.versions != calm.versions {
            let versions: Vec<_> = self.versions.iter().map(u8::to_string).collect();
            write!(f, " versions={}", versions.join(","))?;
        }
        if self.clocks != calm.clocks {
            let clocks: Vec<_> = self.clocks.iter().map(|c| format!("{}us{:+}ppm", c.offset_us, c.ppm)).collect();
            write!(f, " clocks={}", clocks.join(","))?;
        }
        for (name, value) in self.weather.clone().fields() {
            if calm.weather.clone().fields().iter().all(|(other, usual)| *other != name || **usual != *value) {
                write!(f, " {name}={value}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Setup {
    type Err = &'static str;

    fn from_str(line: &str) -> Result<Self, &'static str> {
        let mut words = line.split_whitespace();
        let kind = words.next();
        let pairs: Vec<_> = words.map(|w| w.split_once('=').unwrap_or((w, ""))).collect();
        let find = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let number = |word: &str| word.parse::<u64>().map_err(|_| "expected a number");
        let seed = number(find("seed").unwrap_or("1"))?;
        match kind {
            Some("swarm") => return Ok(Self::swarm(seed)),
            Some("cluster") => {}
            _ => return Err("expected `cluster …` or `swarm seed=…`"),
        }
        let mut setup = Self { seed, ..Self::of(number(find("nodes").unwrap_or("3"))? as u32) };
        for (key, value) in &pairs {
            match *key {
                "seed" | "nodes" => {}
                "slots" => setup.slots = number(value)? as u32,
                "in_order" => setup.in_order = true,
                "leader_only" => setup.leader_only = true,
                "limits" => {
                    setup.limits = value.split(',').map(|n| number(n).map(|n| n as u32)).collect::<Result<_, _>>()?;
                }
                "roles" => {
                    let roles: Vec<_> = value.split(',').map(role).collect::<Result<_, _>>()?;
                    if roles.len() != setup.roles.len() {
                        return Err("expected one role per node");
                    }
                    setup.roles = roles;
                }
                "can" => {
                    let can: Vec<_> = value
                        .split(',')
                        .map(|n| number(n).map(|n| Capabilities(n as u32)))
                        .collect::<Result<_, _>>()?;
                    if can.len() != setup.roles.len() {
                        return Err("expected one set of capabilities per node");
                    }
                    setup.can = can;
                }
                "timing" => {
                    let (timeout, interval) = value.split_once('/').ok_or("timing=60s/30s")?;
                    setup.timing = Timing::new(span(timeout)?, span(interval)?).map_err(|_| "the timing is unsafe")?;
                }
                "zookeeper" => setup.zookeeper = span(value)?,
                "versions" => {
                    let versions: Vec<_> =
                        value.split(',').map(|n| number(n).map(|n| n as u8)).collect::<Result<_, _>>()?;
                    if versions.len() != setup.versions.len() {
                        return Err("expected one version per node");
                    }
                    setup.versions = versions;
                }
                "clocks" => {
                    setup.clocks = value.split(',').map(clock).collect::<Option<_>>().ok_or("clocks=0us+0ppm,…")?;
                }
                name if setup.weather.fields().iter().any(|(known, _)| *known == name) => {
                    for (_, field) in setup.weather.fields().iter_mut().filter(|(known, _)| *known == name) {
                        **field = number(value)?;
                    }
                }
                _ => {
                    return Err(
                        "the known options are seed, nodes, slots, roles, can, limits, timing, in_order, leader_only, zookeeper, versions, clocks and the weather",
                    );
                }
            }
        }
        Ok(setup)
    }
}

/// The capabilities that jobs of a drawn run may require.
pub(crate) const DRAWN: [Capabilities; 2] = [Capabilities(1), Capabilities(2)];

/// The capabilities of each host. In most runs every host has all; in the others some hosts lack one occasionally,
/// which another job node has.
pub(crate) fn abilities(seed: u64, roles: &[Role]) -> Vec<Capabilities> {
    let mut dice = Dice::new(seed, "abilities");
    let mut can = vec![Capabilities::ALL; roles.len()];
    if dice.chance(600_000) {
        return can;
    }
    let able: Vec<_> = (0..roles.len()).filter(|at| roles[*at].runs_jobs()).collect();
    for one in DRAWN {
        let keeps = dice.pick(&able).copied();
        for at in (0..roles.len()).filter(|at| Some(*at) != keeps) {
            if dice.chance(400_000) {
                can[at] = can[at].without(one);
            }
        }
    }
    can
}

fn clock(word: &str) -> Option<Clock> {
    let (offset, ppm) = word.split_once("us")?;
    Some(Clock { offset_us: offset.parse().ok()?, ppm: ppm.strip_suffix("ppm")?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_parses_to_itself_after_printing() {
        for seed in 1..100 {
            let setup = Setup::swarm(seed);
            let again: Setup = setup.to_string().parse().expect("it parses");
            assert_eq!(again, setup);
        }
        let line = "cluster seed=7 nodes=3 slots=2 roles=all,job,query can=3,1,0 limits=1 timing=10s/3s in_order lose_nudge_ppm=9";
        assert_eq!(line.parse::<Setup>().expect(line).to_string(), line);
    }
}
