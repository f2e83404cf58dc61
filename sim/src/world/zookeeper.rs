//! ZooKeeper over time: when sessions of the [model](crate::zookeeper) begin and end, and how processes react to
//! changes.
//!
//! Every session creates one node, its registration. A process that is stopped, cut off or gone keeps its session until
//! the timeout has passed at ZooKeeper. It registers again when it comes back. Without a quorum, no request is answered
//! and no session expires; afterwards, each session gets its full timeout again. An event may be lost; the list is then
//! read later, without one. A process reacts to changes like the production shell: it reads the list. A member that has
//! vanished from it, although the metastore calls it alive, is only *suspected*.

use std::collections::{BTreeMap, BTreeSet};

use kirin_core::{Event, NodeId};

use super::{Upcoming, World};
use crate::act::{Act, Host};
use crate::plant::Plant;
use crate::zookeeper::{Answer, Ask, ZooKeeper};

/// How long a client takes to connect and to register.
const CONNECT_US: u64 = 50_000;

/// The interval at which the list is read without an event.
const REREAD_US: u64 = 60_000_000;

/// A host and the number of its process's start.
type Start = (u32, u32);

#[derive(Debug, Default)]
pub(super) struct Ensemble {
    down: bool,
    model: ZooKeeper<Start, Start>,
    /// The number of the last sign of life of each session.
    signs: BTreeMap<Start, u64>,
    sign: u64,
}

impl World {
    fn has_zookeeper(&self) -> bool {
        self.setup.zookeeper.micros() > 0
    }

    /// Performs an act on ZooKeeper.
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
                let session = self.zookeeper.model.sessions().find(|(of, _)| *of == host.0);
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

    /// Whether the process of that start can communicate with ZooKeeper.
    fn is_connected(&self, host: Host, boot: u32) -> bool {
        let Some(machine) = self.machine(host) else { return false };
        let moves = machine.process_of(boot).is_some_and(|p| p.stopped.is_none());
        !self.zookeeper.down && !machine.lost && !machine.zookeeper_cut && moves
    }

    /// Updates the session after a change that affects the host's connection.
    pub(super) fn tend_session(&mut self, host: Host) {
        if !self.has_zookeeper() {
            return;
        }
        let boots: Vec<_> =
            self.zookeeper.model.sessions().filter(|(of, _)| *of == host.0).map(|(_, boot)| boot).collect();
        for boot in &boots {
            let sign = self.sign_of_life((host.0, *boot));
            let is_connected = self.is_connected(host, *boot);
            // A process that reconnects reads the list anyway.
            let ask = if is_connected { Ask::Reconnect } else { Ask::Disconnect };
            self.zookeeper.model.ask((host.0, *boot), &ask);
            if !is_connected && !self.zookeeper.down {
                let at = self.now + self.setup.zookeeper.micros();
                self.schedule(at, Upcoming::SessionEnds { host, boot: *boot, sign });
            }
        }
        let Some(boot) = self.machine(host).and_then(|m| m.process.as_ref()).map(|p| p.boot) else { return };
        if self.is_connected(host, boot) {
            let at = self.now + CONNECT_US;
            let coming = if boots.contains(&boot) {
                Upcoming::LookAround { host, boot }
            } else {
                Upcoming::Register { host, boot }
            };
            self.schedule(at, coming);
        }
    }

    /// The process closes its session, or its timeout has passed without a sign of life.
    pub(super) fn session_expires(&mut self, host: Host, boot: u32, sign: u64) {
        if self.zookeeper.signs.get(&(host.0, boot)) != Some(&sign) || self.zookeeper.down {
            return;
        }
        self.judge.count("session expired");
        self.session_ends(host, boot);
    }

    pub(super) fn session_ends(&mut self, host: Host, boot: u32) {
        if self.zookeeper.signs.remove(&(host.0, boot)).is_none() {
            return;
        }
        let (_, told) = self.zookeeper.model.ask((host.0, boot), &Ask::End);
        if self.process(host, boot).is_some() {
            self.judge.count("session of a living member expired");
            if self.plant == Some(Plant::SessionLossStopsNode) {
                self.exit(host);
            }
        }
        self.tell_watchers(&told);
    }

    fn sign_of_life(&mut self, of: Start) -> u64 {
        self.zookeeper.sign += 1;
        self.zookeeper.signs.insert(of, self.zookeeper.sign);
        self.zookeeper.sign
    }

    pub(super) fn register(&mut self, host: Host, boot: u32) {
        if self.is_connected(host, boot) {
            let start = (host.0, boot);
            self.sign_of_life(start);
            self.zookeeper.model.ask(start, &Ask::Open);
            let (_, told) = self.zookeeper.model.ask(start, &Ask::Create(start));
            self.tell_watchers(&told);
            let at = self.now + self.link_way();
            self.schedule(at, Upcoming::LookAround { host, boot });
        }
    }

    /// The list has changed. Each watching process is told, unless the event is lost.
    fn tell_watchers(&mut self, watchers: &[Start]) {
        for (host, boot) in watchers {
            let lost = self.dice.chance(self.weather.lose_watch_ppm);
            if lost {
                self.judge.count("watch lost");
            }
            let at = self.now + if lost { REREAD_US } else { self.link_way() };
            self.schedule(at, Upcoming::LookAround { host: Host(*host), boot: *boot });
        }
    }

    /// A process reads the list of registrations.
    pub(super) fn look_around(&mut self, host: Host, boot: u32) {
        if !self.is_connected(host, boot) {
            return;
        }
        let listed = self.zookeeper.model.ask((host.0, boot), &Ask::List { watch: true });
        let (Answer::Listed(registered), _) = listed else { return };
        let registered: BTreeSet<_> = registered.into_iter().collect();
        let Some(process) = self.process_mut(host, boot) else { return };
        let before = core::mem::replace(&mut process.registered, registered.clone());
        let hears_store = self.outage.is_none() && self.machine(host).is_some_and(|m| !m.store_cut);
        for (vanished, _) in before.difference(&registered).filter(|_| hears_store) {
            let member = self.store.living().map(|row| row.member).find(|m| m.node == NodeId(*vanished));
            if let Some(member) = member {
                let dead = self.plant == Some(Plant::SessionIsLife);
                let event = if dead { Event::Exited(member) } else { Event::Suspected(member) };
                self.schedule(self.now, Upcoming::Event { host, boot, event });
            }
        }
        if registered.difference(&before).next().is_some() {
            self.schedule(self.now, Upcoming::Event { host, boot, event: Event::ListsChanged });
        }
    }
}
