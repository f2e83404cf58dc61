//! Faults of hosts and network links in a simulation (cuts, holds, kills, power failures), and their actual state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::kernel;
use turmoil::Sim;

/// The hosts of a simulation, numbered from 1, with the faults applied to them. Faults of one kind may overlap: a wire
/// works again after the last of them is removed.
///
/// A dropped runtime drops its tasks in an order that varies between runs, and so do the last packets of its sockets.
/// So these packets are held back and delivered in the order of their ports, one connection per tick.
pub struct Wires<'a> {
    /// The simulation.
    pub sim: Sim<'a>,
    hosts: Vec<IpAddr>,
    cuts: BTreeMap<(u32, u32), u32>,
    holds: BTreeMap<(u32, u32), u32>,
    running: Vec<bool>,
    /// Connections with held packets to deliver, by pair.
    letting_go: BTreeMap<(u32, u32), VecDeque<(SocketAddr, SocketAddr)>>,
    /// The time of the last change to a pair of hosts, in either direction.
    touched: BTreeMap<(u32, u32), Duration>,
}

/// The name of a host.
pub fn name(host: u32) -> String {
    format!("n{host}")
}

const fn pair(a: u32, b: u32) -> (u32, u32) {
    if a < b { (a, b) } else { (b, a) }
}

impl<'a> Wires<'a> {
    /// Wraps a simulation with the running hosts `n1` to `n<hosts>`.
    pub fn new(sim: Sim<'a>, hosts: u32) -> Self {
        let ips = (1..=hosts).map(|host| sim.lookup(name(host))).collect();
        let running = vec![true; hosts as usize];
        let (cuts, holds, letting_go, touched) = Default::default();
        Self { sim, hosts: ips, cuts, holds, running, letting_go, touched }
    }

    /// The numbers of all hosts.
    pub fn all(&self) -> std::ops::RangeInclusive<u32> {
        1..=u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)
    }

    fn others(&self, host: u32) -> impl Iterator<Item = u32> + use<> {
        self.all().filter(move |other| *other != host)
    }

    fn ip(&self, host: u32) -> IpAddr {
        self.hosts[host as usize - 1]
    }

    /// Whether the host's process runs.
    pub fn is_running(&self, host: u32) -> bool {
        self.running[host as usize - 1]
    }

    fn touch(&mut self, a: u32, b: u32) {
        self.touched.insert(pair(a, b), self.sim.elapsed());
    }

    fn is_cut(&self, from: u32, to: u32) -> bool {
        self.cuts.get(&(from, to)).is_some_and(|cuts| *cuts > 0)
    }

    /// Whether both hosts can communicate and their wire is unchanged since then.
    pub fn is_quiet(&self, a: u32, b: u32, since: Duration) -> bool {
        !self.is_cut(a, b)
            && !self.is_cut(b, a)
            && self.holds.get(&pair(a, b)).is_none_or(|holds| *holds == 0)
            && self.touched.get(&pair(a, b)).is_none_or(|at| *at < since)
    }

    /// Cuts the wire in one direction.
    pub fn cut(&mut self, from: u32, to: u32) {
        *self.cuts.entry((from, to)).or_insert(0) += 1;
        self.touch(from, to);
        self.apply(from, to);
    }

    /// Removes one cut.
    pub fn mend(&mut self, from: u32, to: u32) {
        let cuts = self.cuts.entry((from, to)).or_insert(0);
        *cuts = cuts.saturating_sub(1);
        self.touch(from, to);
        self.apply(from, to);
    }

    /// Holds packets between two hosts back. Has no effect on a cut wire, because turmoil cannot combine the two.
    pub fn hold(&mut self, a: u32, b: u32) -> bool {
        let is_cut = self.is_cut(a, b) || self.is_cut(b, a);
        if !is_cut {
            *self.holds.entry(pair(a, b)).or_insert(0) += 1;
            self.touch(a, b);
            self.apply(a, b);
        }
        !is_cut
    }

    /// Removes one hold. Held packets arrive at once, unless the wire was cut in the meantime.
    pub fn release(&mut self, a: u32, b: u32) {
        let holds = self.holds.entry(pair(a, b)).or_insert(0);
        *holds = holds.saturating_sub(1);
        if *holds == 0 {
            self.let_go(a, b);
        }
        self.touch(a, b);
        self.apply(a, b);
    }

    /// Starts to deliver the held packets between two hosts.
    fn let_go(&mut self, a: u32, b: u32) {
        let (ip_a, ip_b) = (self.ip(a), self.ip(b));
        let mut held = BTreeSet::new();
        self.sim.links(|links| {
            for link in links.filter(|link| link.pair() == (ip_a.min(ip_b), ip_a.max(ip_b))) {
                held.extend(link.map(|sent| sent.pair()));
            }
        });
        self.letting_go.insert(pair(a, b), held.into_iter().collect());
    }

    fn deliver_held(&mut self) {
        let mut all = Vec::new();
        for (pair, held) in &mut self.letting_go {
            let Some(next) = held.pop_front() else {
                all.push(*pair);
                continue;
            };
            self.sim.links(|links| {
                for sent in links.flatten().filter(|sent| sent.pair() == next) {
                    sent.deliver();
                }
            });
        }
        for (a, b) in all {
            self.letting_go.remove(&(a, b));
            self.apply(a, b);
        }
    }

    /// Applies the state of a pair to turmoil and the kernels.
    fn apply(&self, a: u32, b: u32) {
        let cut = |from: u32, to: u32| self.is_cut(from, to);
        let (ip_a, ip_b) = (self.ip(a), self.ip(b));
        for (from, to, ip_from, ip_to) in [(a, b, ip_a, ip_b), (b, a, ip_b, ip_a)] {
            if cut(from, to) { kernel::cut(ip_from, ip_to) } else { kernel::mend(ip_from, ip_to) }
        }
        if self.letting_go.contains_key(&pair(a, b)) {
            // Applied after the delivery.
        } else if cut(a, b) || cut(b, a) {
            // Held packets are lost with the wire.
            if cut(a, b) && cut(b, a) {
                self.sim.partition(ip_a, ip_b);
            } else {
                self.sim.release(ip_a, ip_b);
                let (from, to) = if cut(a, b) { (ip_a, ip_b) } else { (ip_b, ip_a) };
                self.sim.partition_oneway(from, to);
            }
        } else if self.holds.get(&pair(a, b)).is_some_and(|holds| *holds > 0) {
            self.sim.hold(ip_a, ip_b);
        } else {
            self.sim.release(ip_a, ip_b);
        }
    }

    /// Kills the process (`kill -9`). The host's kernel closes its connections and refuses new ones.
    pub fn kill(&mut self, host: u32) {
        if std::mem::replace(&mut self.running[host as usize - 1], false) {
            let reached: Vec<_> = self.others(host).filter(|other| !self.is_cut(host, *other)).collect();
            for other in &reached {
                self.sim.hold(self.ip(host), self.ip(*other));
            }
            self.sim.crash(self.ip(host));
            for other in reached {
                if self.holds.get(&pair(host, other)).is_none_or(|holds| *holds == 0) {
                    self.let_go(host, other);
                }
            }
            kernel::died(self.ip(host));
        }
    }

    /// Powers the host off. It becomes silent.
    pub fn power_off(&mut self, host: u32) {
        if std::mem::replace(&mut self.running[host as usize - 1], false) {
            for other in self.others(host) {
                // Its packets are lost.
                self.letting_go.remove(&pair(host, other));
                self.sim.partition(self.ip(host), self.ip(other));
            }
            self.sim.crash(self.ip(host));
            for other in self.others(host) {
                self.apply(host, other);
            }
        }
    }

    /// Starts or restarts the process.
    pub fn boot(&mut self, host: u32) {
        if !std::mem::replace(&mut self.running[host as usize - 1], true) {
            self.sim.bounce(self.ip(host));
        }
    }

    /// Restores every wire and starts every process.
    pub fn heal(&mut self) {
        self.cuts.clear();
        for ((a, b), _) in std::mem::take(&mut self.holds).into_iter().filter(|(_, holds)| *holds > 0) {
            self.let_go(a, b);
        }
        for a in self.all() {
            for b in a + 1..=*self.all().end() {
                self.touch(a, b);
                self.apply(a, b);
            }
            self.boot(a);
        }
    }

    /// Advances by one tick.
    ///
    /// # Panics
    /// If the software of a host fails.
    pub fn step(&mut self) {
        self.deliver_held();
        self.sim.step().expect("the software of a host does not fail");
    }
}
