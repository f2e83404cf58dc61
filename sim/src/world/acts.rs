//! Acts on the cluster.

use kirin_core::ask::{ProjectId, Target};
use kirin_core::{Ask, Capabilities, Event, NodeId, Span};

use super::clients::Client;
use super::film::Film;
use super::{Sight, Upcoming, World, host_of};
use crate::act::{Act, Host, Outage};
use crate::host::Stopped;
use crate::judge::Scene;
use crate::plant::Plant;
use crate::setup::Weather;
use crate::world::scene;

impl World {
    /// Performs an act. An act that is impossible at this moment does nothing.
    pub fn act(&mut self, act: &Act) {
        self.shoot(|film, world| film.act(world.now, act));
        self.sight(self.now, None, &Sight::Act(act));
        self.do_it(act);
        self.shoot(Film::look);
    }

    fn do_it(&mut self, act: &Act) {
        if !costs_nothing(act) {
            self.judge.disturbed(self.now, matches!(act, Act::Drain { .. }));
        }
        match act {
            Act::Run(span) => self.run(*span),
            Act::Start(host) => self.start(*host),
            Act::Kill(host) => self.kill(*host),
            Act::Lose(host) => self.lose(*host),
            Act::Freeze(host) => self.stop(*host, false, false),
            Act::FreezeAlone(host) => self.stop(*host, false, true),
            Act::Suspend(host) => self.stop(*host, true, false),
            Act::Thaw(host) => self.thaw(*host),
            Act::CutStore(host) => {
                if let Some(machine) = self.machine_mut(*host) {
                    machine.store_cut = true;
                }
            }
            Act::Mute(host) => {
                if let Some(machine) = self.machine_mut(*host) {
                    machine.mute = true;
                }
            }
            Act::Reset(host) => {
                if let Some(machine) = self.machine_mut(*host) {
                    machine.resets = true;
                }
            }
            Act::Slow(host, span) => {
                if let Some(machine) = self.machine_mut(*host) {
                    machine.slow_us = span.micros();
                }
            }
            Act::HealStore(host) => {
                if let Some(machine) = self.machine_mut(*host) {
                    (machine.store_cut, machine.mute, machine.slow_us) = (false, false, 0);
                    machine.resets = false;
                }
            }
            Act::Cut(a, b) | Act::CutWay(a, b) if a != b => {
                self.cuts.insert((*a, *b));
                if matches!(act, Act::Cut(..)) {
                    self.cuts.insert((*b, *a));
                }
                self.break_links(*a, Some(*b));
                self.break_links(*b, Some(*a));
            }
            Act::Cut(..) | Act::CutWay(..) => {}
            Act::CutZooKeeper(_) | Act::HealZooKeeper(_) | Act::ZooKeeperDown | Act::ZooKeeperUp | Act::Expire(_) => {
                self.act_on_zookeeper(act)
            }
            Act::Jump(host, us) => {
                if let Some(machine) = self.machine_mut(*host) {
                    machine.wall_us += us;
                    self.judge.count("wall clock jumped");
                }
            }
            Act::Leap(host, span) => self.leap(*host, span.micros()),
            Act::Crawl(host, span) => {
                let now = self.now;
                if let Some(machine) = self.machine_mut(*host) {
                    let late = core::mem::replace(&mut machine.crawl_us, span.micros());
                    if let Some(process) = &mut machine.process {
                        // Events in flight are as late as before.
                        process.thawed_at = process.thawed_at.max(now + late);
                    }
                }
            }
            Act::Fill(host) | Act::Free(host) => {
                if let Some(machine) = self.machine_mut(*host) {
                    machine.disk_full = matches!(act, Act::Fill(_));
                }
            }
            Act::Upgrade(host) => {
                if let Some(machine) = self.machine_mut(*host) {
                    machine.version = 3 - machine.version.clamp(1, 2);
                }
            }
            Act::Become(host, role) => {
                if let Some(machine) = self.machine_mut(*host) {
                    machine.role = *role;
                }
            }
            Act::Can(host, can) => {
                if let Some(machine) = self.machine_mut(*host) {
                    machine.can = *can;
                }
                self.judge.ability_changed(self.now, NodeId(host.0));
                self.wish(*host, Event::CanChanged(*can));
            }
            Act::Break(a, b) => {
                self.break_links(*a, Some(*b));
                self.break_links(*b, Some(*a));
            }
            Act::Heal(a, b) => {
                self.cuts.remove(&(*a, *b));
                self.cuts.remove(&(*b, *a));
            }
            Act::Outage(outage) => {
                self.outage = Some(*outage);
                self.judge.outage(self.now, true);
            }
            Act::OutageOver => self.outage_over(),
            Act::HealAll => self.heal_all(),
            Act::Post(work) => {
                let client = self.clients.len();
                self.clients.push(Client::post(work.clone(), client));
                self.schedule(self.now, Upcoming::ClientTries { client });
            }
            Act::Do { action, name, via } => {
                let client = self.clients.len();
                self.clients.push(Client::act(*action, name.clone(), *via));
                self.schedule(self.now, Upcoming::ClientTries { client });
            }
            Act::Drain { host, within, leave } => {
                self.wish(*host, Event::DrainWished { within: *within, leave: *leave });
            }
            Act::Undrain(host) => self.wish(*host, Event::DrainUndone),
            Act::Slots(host, slots) => {
                if let Some(machine) = self.machine_mut(*host) {
                    machine.slots = *slots;
                }
                self.wish(*host, Event::SlotsWished(*slots));
            }
            Act::Forget(target) => {
                self.store.forget(*target);
                self.judge.forgot(*target);
            }
            Act::Limit(project, limit) => {
                self.transact(Host(1), &Ask::SetLimit { project: ProjectId(*project), limit: *limit });
                for host in self.hosts() {
                    self.wish(host, Event::ListsChanged);
                }
            }
            Act::Claim { host, target, force } => {
                let known = match target {
                    Target::Leader => true,
                    Target::Project(project) => self.setup.limits.len() >= project.0 as usize,
                };
                if known {
                    self.wish(*host, Event::ClaimWished { target: *target, force: *force });
                }
            }
        }
    }

    fn wish(&mut self, host: Host, event: Event) {
        if let Some(boot) = self.machine(host).and_then(|m| m.process.as_ref()).map(|p| p.boot) {
            self.schedule(self.now, Upcoming::Event { host, boot, event });
        }
    }

    fn start(&mut self, host: Host) {
        let Some(machine) = self.machine(host) else { return };
        if machine.process.is_none() {
            let former = self.store.living().map(|row| row.member).find(|m| host_of(m.node) == host);
            if let Some(member) = former {
                self.judge.restarted(&scene!(self), member);
                self.inspect_when_due();
            }
        }
        self.thaw(host);
        self.boot(host);
    }

    fn outage_over(&mut self) {
        let Some(outage) = self.outage.take() else { return };
        self.judge.outage(self.now, false);
        if outage == Outage::Fails {
            self.judge.count("failed over");
            self.store.fail_over();
        }
        for (host, ask) in core::mem::take(&mut self.hung) {
            let at = self.now + self.dice.between(0, 1_000_000);
            self.schedule(at, Upcoming::Unhung { host, ask });
        }
    }

    fn leap(&mut self, host: Host, us: u64) {
        let now = self.now;
        let Some(process) = self.machine_mut(host).and_then(|m| m.process.as_mut()) else { return };
        process.leap(us);
        process.wake_at = now;
        let boot = process.boot;
        self.judge.count("clock leapt");
        self.schedule(now, Upcoming::Wake { host, boot });
    }

    fn kill(&mut self, host: Host) {
        self.orphan(host);
        let Some(member) = self.take_process(host) else { return };
        self.break_links(host, None);
        if let Some(member) = member {
            self.died(member, true);
        }
    }

    /// External attempts may outlive the process that began them.
    fn orphan(&mut self, host: Host) {
        let Some(process) = self.machine(host).and_then(|m| m.process.as_ref()) else { return };
        let external: Vec<_> = process.runs.iter().filter(|(_, run)| run.external).map(|(f, run)| (*f, *run)).collect();
        for (fence, run) in external {
            if self.dice.chance(self.weather.orphan_ppm) {
                let (by, step) = (run.member, self.row_steps(fence));
                let at = self.now + self.dice.between(0, self.step_us(fence));
                self.schedule(at, Upcoming::OrphanStep { host, fence, by, step });
            }
        }
    }

    fn lose(&mut self, host: Host) {
        let Some(machine) = self.machine_mut(host) else { return };
        machine.lost = true;
        self.serving = None;
        if let Some(Some(member)) = self.take_process(host) {
            self.died(member, false);
        }
    }

    #[expect(clippy::option_option, reason = "no process differs from a process without a member")]
    fn take_process(&mut self, host: Host) -> Option<Option<kirin_core::Member>> {
        let process = self.machine_mut(host)?.process.take()?;
        self.serving = None;
        self.tend_session(host);
        Some(process.node.me())
    }

    fn died(&mut self, member: kirin_core::Member, exited: bool) {
        self.judge.died(&scene!(self), member, exited);
        self.inspect_when_due();
    }

    fn stop(&mut self, host: Host, suspended: bool, alone: bool) {
        let now = self.now;
        let Some(process) = self.machine_mut(host).and_then(|m| m.process.as_mut()) else { return };
        if process.stopped.is_some() {
            return;
        }
        process.stopped = Some(Stopped { since: now, suspended, alone });
        let (boot, due) = (process.boot, now.max(process.when(process.node.trusted_until())));
        let external: Vec<_> = process.runs.iter().filter(|(_, run)| run.external).map(|(fence, _)| *fence).collect();
        self.serving = None;
        self.judge.count(match (suspended, alone) {
            (true, _) => "suspended",
            (false, true) => "frozen without its executors",
            (false, false) => "frozen",
        });
        self.tend_session(host);
        if alone && self.plant != Some(Plant::WorkersHaveNoDeadline) {
            for fence in external {
                self.schedule(due, Upcoming::Deadline { host, boot, fence });
            }
        }
    }

    fn thaw(&mut self, host: Host) {
        let now = self.now;
        let Some(process) = self.machine_mut(host).and_then(|m| m.process.as_mut()) else { return };
        if process.stopped.is_none() {
            return;
        }
        process.thaw(now);
        process.wake_at = now;
        let boot = process.boot;
        let facts: Vec<_> = process.inbox.drain(..).collect();
        let late: Vec<_> = process.late.drain(..).collect();
        self.serving = None;
        self.tend_session(host);
        // By chance, the events that arrived meanwhile are processed before the timers or after them.
        let timers_first = self.dice.chance(500_000);
        if timers_first {
            self.schedule(now, Upcoming::Wake { host, boot });
        }
        for event in facts {
            self.schedule(now, Upcoming::Event { host, boot, event });
        }
        if !timers_first {
            self.schedule(now, Upcoming::Wake { host, boot });
        }
        for (fence, step) in late {
            let at = now + self.dice.between(0, 5_000);
            self.schedule(at, Upcoming::StepDone { host, boot, fence, step });
        }
    }

    fn heal_all(&mut self) {
        self.outage_over();
        self.cuts.clear();
        self.weather = Weather::calm();
        self.act(&Act::ZooKeeperUp);
        for host in self.hosts() {
            self.act(&Act::HealStore(host));
            self.act(&Act::HealZooKeeper(host));
            self.act(&Act::Crawl(host, Span::ZERO));
            self.act(&Act::Free(host));
            // A node whose role was changed must be restarted to get its own role back.
            let role = self.setup.roles.get(host.0 as usize - 1).copied().unwrap_or_default();
            if let Some(machine) = self.machine_mut(host).filter(|m| m.role != role) {
                machine.role = role;
                self.kill(host);
            }
            // A draining node would never take jobs again. A suspended or leapt clock stays wrong.
            let drains = self.node(host).is_some_and(|node| matches!(node.phase_name(), "draining" | "leaving"));
            if drains {
                self.kill(host);
            }
            let can = self.setup.can.get(host.0 as usize - 1).copied().unwrap_or(Capabilities::ALL);
            self.act(&Act::Can(host, can));
            if let Some(machine) = self.machine_mut(host) {
                machine.slots = machine.slots.max(1);
            }
            self.start(host);
            self.act(&Act::Undrain(host));
            let slots = self.machine(host).map_or(1, |m| m.slots);
            self.act(&Act::Slots(host, slots));
        }
        let limits: Vec<_> = self.store.projects().map(|p| (p.id.0, p.limit.max(1))).collect();
        for (project, limit) in limits {
            self.act(&Act::Limit(project, limit));
        }
        self.judge.count("healed");
    }
}

/// Whether a healthy cluster continues through it without any disturbance.
const fn costs_nothing(act: &Act) -> bool {
    matches!(
        act,
        Act::Run(_)
            | Act::Post(_)
            | Act::Do { .. }
            | Act::ZooKeeperDown
            | Act::ZooKeeperUp
            | Act::CutZooKeeper(_)
            | Act::HealZooKeeper(_)
            | Act::Expire(_)
            | Act::Jump(..)
            | Act::Upgrade(_)
            | Act::Become(..)
    )
}
