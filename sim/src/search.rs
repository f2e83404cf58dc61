//! Searching: a seed is a run. A run that fails is shrunk to a few acts and written down as text.
//!
//! Two phases: anything goes, then everything is healed and what was accepted must be over within a bound.

use std::collections::BTreeMap;

use kirin_core::{Action, Span};

use crate::act::{Act, Host, Outage, Work};
use crate::dice::Dice;
use crate::judge::Violation;
use crate::plant::Plant;
use crate::setup::Setup;
use crate::world::{Line, World};

/// A setup and what is done to it: all that a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What it starts with.
    pub setup: Setup,
    /// What is done, in order.
    pub acts: Vec<Act>,
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What was wrong, if anything.
    pub violation: Option<Violation>,
    /// How much time passed in it.
    pub simulated: Span,
    /// How many things happened.
    pub events: u64,
    /// Equal runs have equal digests.
    pub digest: u64,
    /// How often each situation occurred.
    pub occurred: BTreeMap<&'static str, u64>,
}

impl Script {
    /// The run that a seed stands for.
    pub fn of_seed(seed: u64) -> Self {
        let setup = Setup::swarm(seed);
        let acts = draw_acts(&setup);
        Self { setup, acts }
    }

    /// Reads a script: the setup in the first line that is no comment, then one act a line.
    ///
    /// # Errors
    /// The first line that can't be read, with the reason.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let first = lines.next().ok_or("a script starts with its setup")?;
        let setup = first.parse().map_err(|wrong| format!("\"{first}\": {wrong}"))?;
        let acts = lines.map(|line| line.parse::<Act>().map_err(|e| e.to_string())).collect::<Result<_, _>>()?;
        Ok(Self { setup, acts })
    }

    /// Carries it out, heals everything, and waits for the end.
    pub fn run(&self, plant: Option<Plant>) -> Verdict {
        self.carry_out(World::new(self.setup.clone(), plant)).0
    }

    /// The same, keeping every order, and what the nodes say of themselves in the end.
    pub fn trace(&self, plant: Option<Plant>) -> (Verdict, Vec<Line>, Vec<String>) {
        let mut world = World::new(self.setup.clone(), plant);
        world.record();
        let (verdict, mut world) = self.carry_out(world);
        (verdict, world.recorded(), world.sights())
    }

    fn carry_out(&self, mut world: World) -> (Verdict, World) {
        self.carry_out_in(&mut world);
        let verdict = Verdict {
            violation: world.violation().cloned(),
            simulated: world.now(),
            events: world.events(),
            digest: world.digest(),
            occurred: world.occurred().clone(),
        };
        (verdict, world)
    }

    /// Carries it out in a world that was made for it, heals everything, and waits for the end.
    pub(crate) fn carry_out_in(&self, world: &mut World) {
        for act in &self.acts {
            world.act(act);
            if world.violation().is_some() {
                return;
            }
        }
        world.heal_and_wait();
    }

    /// The script as text.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.setup);
        for act in &self.acts {
            text.push_str(&format!("{act}\n"));
        }
        text
    }
}

impl World {
    /// Heals everything and waits until all that was accepted is over, or nothing has moved for too long.
    pub fn heal_and_wait(&mut self) {
        self.act(&Act::HealAll);
        let (mut left, mut progress) = (self.longest_pause(), self.progress());
        let pace = Span::from_secs(5);
        loop {
            // An operator starts again what has left.
            for host in self.hosts() {
                self.act(&Act::Start(host));
            }
            for name in self.names() {
                self.resume(&name);
            }
            self.run(pace);
            if self.violation().is_some() || self.all_over() {
                break;
            }
            let before = core::mem::replace(&mut progress, self.progress());
            if before != progress {
                // A job that was accepted only now may have longer steps.
                left = self.longest_pause();
            } else if left <= pace {
                self.never_over();
                break;
            } else {
                left = left - pace;
            }
        }
        self.end();
    }

    /// What a healed cluster may need to find every death, and then to do the longest step.
    fn longest_pause(&self) -> Span {
        let timing = self.setup().timing;
        let round = timing.timeout() + timing.interval();
        round + round + round + self.longest_step().scaled(2, 1) + Span::from_secs(60)
    }
}

/// Draws what is done to a cluster from its seed.
fn draw_acts(setup: &Setup) -> Vec<Act> {
    let mut dice = Dice::new(setup.seed, "acts");
    let timeout = setup.timing.timeout();
    let hosts: Vec<Host> = (1..=setup.nodes()).map(Host).collect();
    // About half of the kinds of acts are left out of each run.
    let mut kinds: Vec<u64> = (0..17).filter(|_| dice.chance(500_000)).collect();
    // Some runs see one death at a time and time to get over it: there the promised takeover times are due.
    let gentle = setup.weather.is_calm() && dice.chance(500_000);
    if gentle {
        kinds = vec![1, 2];
    }
    let posts = dice.between(3, 25);
    let mut names: Vec<String> = Vec::new();
    let mut acts = Vec::new();
    let long = dice.chance(100_000);
    let rounds = posts * if long { 8 } else { 3 };
    for _ in 0..rounds {
        if (names.len() as u64) < posts && dice.chance(500_000) {
            let name = format!("j{}", names.len() + 1);
            acts.push(Act::Post(draw_work(&mut dice, setup, &name, timeout)));
            names.push(name);
        }
        let mut host = || *dice.pick(&hosts).expect("there are hosts");
        let (a, b) = (host(), host());
        let act = match dice.pick(&kinds).copied() {
            Some(0) => vec![Act::Kill(a)],
            Some(1) => vec![Act::Kill(a), pause(&mut dice, timeout, 1), Act::Start(a)],
            Some(2) => vec![Act::Lose(a)],
            Some(3) => vec![Act::Freeze(a), pause(&mut dice, timeout, 3), Act::Thaw(a)],
            Some(4) => vec![Act::Suspend(a), pause(&mut dice, timeout, 3), Act::Thaw(a)],
            Some(5) => vec![Act::CutStore(a), pause(&mut dice, timeout, 3), Act::HealStore(a)],
            Some(6) => vec![Act::Mute(a), pause(&mut dice, timeout, 1), Act::HealStore(a)],
            Some(7) => vec![Act::Cut(a, b), pause(&mut dice, timeout, 2), Act::Heal(a, b)],
            Some(8) => vec![Act::Break(a, b)],
            Some(9) => {
                let kind = if dice.chance(500_000) { Outage::Fails } else { Outage::Hangs };
                vec![Act::Outage(kind), pause(&mut dice, timeout, 3), Act::OutageOver]
            }
            Some(10) => {
                let within = Span::from_micros(dice.below(timeout.micros() / 2));
                let drain = Act::Drain { host: a, within, leave: dice.chance(500_000) };
                if dice.chance(500_000) {
                    vec![drain, pause(&mut dice, timeout, 1), Act::Undrain(a)]
                } else {
                    vec![drain]
                }
            }
            Some(11) => vec![Act::Slots(a, dice.below(4) as u32)],
            Some(12) => {
                vec![Act::Limit(1 + dice.below(setup.limits.len() as u64) as u32, dice.below(5) as u32)]
            }
            Some(16) => {
                // Replies that come just in time, and then none at all.
                let slow = setup.timing.ask_timeout().scaled(dice.between(50, 95), 100);
                let beats = setup.timing.interval() + setup.timing.interval();
                vec![
                    Act::Slow(a, slow),
                    Act::Run(beats),
                    Act::CutStore(a),
                    Act::Run(timeout + timeout),
                    Act::HealStore(a),
                ]
            }
            Some(13 | 14) => match dice.pick(&names) {
                Some(name) => {
                    let actions = [Action::Pause, Action::Resume, Action::Restart, Action::Discard];
                    let action = *dice.pick(&actions).expect("not empty");
                    vec![Act::Do { action, name: name.clone(), via: Some(a) }]
                }
                None => vec![],
            },
            Some(_) => {
                let target = match dice.below(2) {
                    0 => kirin_core::Target::Leader,
                    _ => kirin_core::Target::Project(kirin_core::ask::ProjectId(1)),
                };
                vec![Act::Claim { host: a, target, force: dice.chance(500_000) }]
            }
            None => vec![],
        };
        acts.extend(act);
        if gentle {
            // Something runs when the next one dies.
            let breath = timeout + timeout + timeout;
            let name = format!("j{}", names.len() + 1);
            let work = Work { steps: 3, step: breath, ..draw_work(&mut dice, setup, &name, timeout) };
            acts.extend([Act::Run(breath), Act::Start(a), Act::Post(work), Act::Run(breath)]);
            names.push(name);
        }
        if dice.chance(700_000) {
            acts.push(pause(&mut dice, timeout, 1));
        }
        // Whatever is down comes back now and then, so that a run sees old age.
        if dice.chance(200_000) {
            acts.push(Act::Start(*dice.pick(&hosts).expect("there are hosts")));
        }
    }
    acts
}

fn draw_work(dice: &mut Dice, setup: &Setup, name: &str, timeout: Span) -> Work {
    let longest =
        *dice.pick(&[timeout.micros() / 200, timeout.micros() / 10, timeout.micros() * 2]).expect("not empty");
    Work {
        project: 1 + dice.below(setup.limits.len() as u64) as u32,
        prio: if dice.chance(700_000) { 3 } else { dice.below(5) as u8 },
        steps: dice.between(0, 5) as u32,
        step: Span::from_micros(dice.between(2_000, longest.max(4_000))),
        external: dice.chance(300_000),
        fails: if dice.chance(150_000) { dice.between(1, 2) as u32 } else { 0 },
        ..Work::named(name)
    }
}

/// Some time: often a moment, sometimes up to that many timeouts.
fn pause(dice: &mut Dice, timeout: Span, timeouts: u64) -> Act {
    let most = match dice.below(4) {
        0 => timeout.micros() / 1_000,
        1 => timeout.micros() / 20,
        _ => timeout.micros() * timeouts,
    };
    Act::Run(Span::from_micros(dice.between(1, most)))
}
