//! What is done to the cluster from outside.

use kirin_core::ask::{ProjectId, Target};
use kirin_core::{Ask, Event};

use super::clients::Client;
use super::film::Film;
use super::{Coming, World};
use crate::act::{Act, Host, Outage};
use crate::host::Stopped;
use crate::setup::Weather;

impl World {
    /// Does it. An act that makes no sense at this moment does nothing.
    pub fn act(&mut self, act: &Act) {
        self.shoot(|film, world| film.act(world.now, act));
        self.do_it(act);
        self.shoot(Film::look);
    }

    fn do_it(&mut self, act: &Act) {
        if !matches!(act, Act::Run(_) | Act::Post(_) | Act::Do { .. }) {
            self.judge.disturbed(self.now);
        }
        match act {
            Act::Run(span) => self.run(*span),
            Act::Start(host) => self.start(*host),
            Act::Kill(host) => self.kill(*host),
            Act::Lose(host) => self.lose(*host),
            Act::Freeze(host) => self.stop(*host, false),
            Act::Suspend(host) => self.stop(*host, true),
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
            Act::Slow(host, span) => {
                if let Some(machine) = self.machine_mut(*host) {
                    machine.slow_us = span.micros();
                }
            }
            Act::HealStore(host) => {
                if let Some(machine) = self.machine_mut(*host) {
                    (machine.store_cut, machine.mute, machine.slow_us) = (false, false, 0);
                }
            }
            Act::Cut(a, b) if a != b => {
                self.cuts.insert((*a.min(b), *a.max(b)));
                self.break_links(*a, Some(*b));
                self.break_links(*b, Some(*a));
            }
            Act::Cut(..) => {}
            Act::Break(a, b) => {
                self.break_links(*a, Some(*b));
                self.break_links(*b, Some(*a));
            }
            Act::Heal(a, b) => {
                self.cuts.remove(&(*a.min(b), *a.max(b)));
            }
            Act::Outage(outage) => self.outage = Some(*outage),
            Act::OutageOver => self.outage = None,
            Act::HealAll => self.heal_all(),
            Act::Post(work) => {
                let client = self.clients.len();
                self.clients.push(Client::post(work.clone(), client));
                self.schedule(self.now, Coming::ClientTries { client });
            }
            Act::Do { action, name, via } => {
                let client = self.clients.len();
                self.clients.push(Client::act(*action, name.clone(), *via));
                self.schedule(self.now, Coming::ClientTries { client });
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
            self.schedule(self.now, Coming::Fact { host, boot, event });
        }
    }

    fn start(&mut self, host: Host) {
        if self.machine(host).is_some() {
            self.thaw(host);
            self.boot(host);
        }
    }

    fn kill(&mut self, host: Host) {
        let Some(member) = self.take_process(host) else { return };
        self.break_links(host, None);
        if let Some(member) = member {
            self.died(member, true);
        }
    }

    fn lose(&mut self, host: Host) {
        let Some(machine) = self.machine_mut(host) else { return };
        machine.lost = true;
        if let Some(Some(member)) = self.take_process(host) {
            self.died(member, false);
        }
    }

    #[expect(clippy::option_option, reason = "no process is something else than a process that is no member")]
    fn take_process(&mut self, host: Host) -> Option<Option<kirin_core::Member>> {
        self.machine_mut(host)?.process.take().map(|p| p.node.me())
    }

    fn died(&mut self, member: kirin_core::Member, exited: bool) {
        let quiet = self.is_quiet();
        if let Some((death, at)) = self.judge.died(self.now, member, exited, &self.store, quiet) {
            self.schedule(at, Coming::Inspect { death });
        }
    }

    fn stop(&mut self, host: Host, suspended: bool) {
        let now = self.now;
        if let Some(process) = self.machine_mut(host).and_then(|m| m.process.as_mut())
            && process.stopped.is_none()
        {
            process.stopped = Some(Stopped { since: now, suspended });
            self.judge.count(if suspended { "suspended" } else { "frozen" });
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
        // What came meanwhile is read before the timers are looked at, or after, by chance.
        let timers_first = self.dice.chance(500_000);
        if timers_first {
            self.schedule(now, Coming::Wake { host, boot });
        }
        for event in facts {
            self.schedule(now, Coming::Fact { host, boot, event });
        }
        if !timers_first {
            self.schedule(now, Coming::Wake { host, boot });
        }
        for (fence, step) in late {
            let at = now + self.dice.between(0, 5_000);
            self.schedule(at, Coming::StepDone { host, boot, fence, step });
        }
    }

    fn heal_all(&mut self) {
        self.outage = None;
        self.cuts.clear();
        self.weather = Weather::calm();
        for host in self.hosts() {
            self.act(&Act::HealStore(host));
            // A node that drains would take nothing for ever; a suspended clock or one that is beyond the bound stays so.
            let drains = self.node(host).is_some_and(|node| {
                let view = node.view(kirin_core::Time::ZERO);
                matches!(view.phase, "draining" | "leaving" | "gone")
            });
            if drains {
                self.kill(host);
            }
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
        self.outage = None::<Outage>;
    }
}
