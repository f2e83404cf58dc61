//! ZooKeeper: sessions, the registrations that live as long as they do, and watches that may be lost.
//!
//! A registration is an ephemeral node; here it and its session are one. A process that does not move, is cut off or gone keeps
//! its session until the timeout has passed at ZooKeeper, and is registered anew when it comes back. Without a quorum nobody is
//! heard, and no session expires; afterwards each has its whole timeout once more. What a process does with a change is the
//! rule of the production shell: it reads the list, and who vanished from it though the metastore calls it alive is
//! *suspected*, nothing more.

use std::collections::{BTreeMap, BTreeSet};

use kirin_core::{Event, NodeId};

use super::{Coming, World};
use crate::act::{Act, Host};
use crate::plant::Plant;

/// How long a client takes to connect and to register.
const CONNECT_US: u64 = 50_000;

#[derive(Debug, Default)]
pub(super) struct ZooKeeper {
    down: bool,
    /// The sessions, and which sign of life was the last.
    sessions: BTreeMap<(u32, u32), u64>,
    signs: u64,
}

impl World {
    fn has_zookeeper(&self) -> bool {
        self.setup.zookeeper.micros() > 0
    }

    /// Does what is done to ZooKeeper.
    pub(super) fn act_on_zookeeper(&mut self, act: &Act) {
        if !self.has_zookeeper() {
            return;
        }
        match act {
            Act::ZooKeeperDown if !self.zookeeper.down => {
                self.judge.zookeeper(self.now, "zookeeper down");
                self.zookeeper.down = true;
            }
            Act::ZooKeeperUp if self.zookeeper.down => {
                self.judge.zookeeper(self.now, "zookeeper up");
                self.zookeeper.down = false;
            }
            Act::CutZooKeeper(host) | Act::HealZooKeeper(host) => {
                let cut = matches!(act, Act::CutZooKeeper(_));
                let Some(machine) = self.machine_mut(*host).filter(|m| m.zookeeper_cut != cut) else { return };
                machine.zookeeper_cut = cut;
                self.judge.zookeeper(self.now, if cut { "zookeeper cut" } else { "zookeeper healed" });
            }
            Act::Expire(host) if !self.zookeeper.down => {
                let session = self.zookeeper.sessions.keys().find(|(of, _)| *of == host.0).copied();
                if let Some((_, boot)) = session {
                    self.judge.zookeeper(self.now, "session ended by force");
                    self.session_ends(*host, boot);
                }
            }
            _ => return,
        }
        for host in self.hosts() {
            self.tend_session(host);
        }
    }

    /// Whether the process of that start speaks with ZooKeeper.
    fn is_connected(&self, host: Host, boot: u32) -> bool {
        let Some(machine) = self.machine(host) else { return false };
        let moves = machine.process_of(boot).is_some_and(|p| p.stopped.is_none());
        !self.zookeeper.down && !machine.lost && !machine.zookeeper_cut && moves
    }

    /// Something changed that decides whether the host is heard.
    pub(super) fn tend_session(&mut self, host: Host) {
        if !self.has_zookeeper() {
            return;
        }
        let boots: Vec<_> =
            self.zookeeper.sessions.keys().filter(|(of, _)| *of == host.0).map(|(_, boot)| *boot).collect();
        for boot in &boots {
            self.zookeeper.signs += 1;
            let sign = self.zookeeper.signs;
            self.zookeeper.sessions.insert((host.0, *boot), sign);
            if !self.is_connected(host, *boot) && !self.zookeeper.down {
                let at = self.now + self.setup.zookeeper.micros();
                self.schedule(at, Coming::SessionEnds { host, boot: *boot, sign });
            }
        }
        let Some(boot) = self.machine(host).and_then(|m| m.process.as_ref()).map(|p| p.boot) else { return };
        if self.is_connected(host, boot) {
            let at = self.now + CONNECT_US;
            let coming =
                if boots.contains(&boot) { Coming::LookAround { host, boot } } else { Coming::Register { host, boot } };
            self.schedule(at, coming);
        }
    }

    /// The process says good-bye to ZooKeeper, or nobody has heard of it for the whole timeout.
    pub(super) fn session_expires(&mut self, host: Host, boot: u32, sign: u64) {
        if self.zookeeper.sessions.get(&(host.0, boot)) != Some(&sign) || self.zookeeper.down {
            return;
        }
        self.judge.count("session expired");
        self.session_ends(host, boot);
    }

    pub(super) fn session_ends(&mut self, host: Host, boot: u32) {
        if self.zookeeper.sessions.remove(&(host.0, boot)).is_none() {
            return;
        }
        if self.process(host, boot).is_some() {
            self.judge.count("session of the living expired");
            if self.plant == Some(Plant::SessionLossStopsNode) {
                self.exit(host);
            }
        }
        self.list_changed();
    }

    pub(super) fn register(&mut self, host: Host, boot: u32) {
        if self.is_connected(host, boot) {
            self.zookeeper.signs += 1;
            self.zookeeper.sessions.insert((host.0, boot), self.zookeeper.signs);
            self.list_changed();
        }
    }

    /// Everybody who watches is told, unless the watch is lost.
    fn list_changed(&mut self) {
        for host in self.hosts() {
            let Some(boot) = self.machine(host).and_then(|m| m.process.as_ref()).map(|p| p.boot) else { continue };
            if !self.is_connected(host, boot) {
                continue;
            }
            if self.dice.chance(self.weather.lose_watch_ppm) {
                self.judge.count("watch lost");
                continue;
            }
            let at = self.now + self.link_way();
            self.schedule(at, Coming::LookAround { host, boot });
        }
    }

    /// A process reads the list of who is registered.
    pub(super) fn look_around(&mut self, host: Host, boot: u32) {
        if !self.is_connected(host, boot) {
            return;
        }
        let registered: BTreeSet<_> = self.zookeeper.sessions.keys().copied().collect();
        let Some(process) = self.process_mut(host, boot) else { return };
        let before = core::mem::replace(&mut process.registered, registered.clone());
        let hears_store = self.outage.is_none() && self.machine(host).is_some_and(|m| !m.store_cut);
        for (vanished, _) in before.difference(&registered).filter(|_| hears_store) {
            let member = self.store.living().map(|row| row.member).find(|m| m.node == NodeId(*vanished));
            if let Some(member) = member {
                let dead = self.plant == Some(Plant::SessionIsLife);
                let event = if dead { Event::Exited(member) } else { Event::Suspected(member) };
                self.schedule(self.now, Coming::Fact { host, boot, event });
            }
        }
        if registered.difference(&before).next().is_some() {
            self.schedule(self.now, Coming::Fact { host, boot, event: Event::ListsChanged });
        }
    }
}
