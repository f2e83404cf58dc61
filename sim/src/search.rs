//! Searching: a seed is a run. A run that fails is shrunk to a few acts and written down as text.
//!
//! Two phases: anything goes, then everything is healed and what was accepted must be over within a bound.

use std::collections::BTreeMap;

use kirin_core::Span;

use crate::act::Act;
use crate::draw::{self, Profile};
use crate::judge::Violation;
use crate::plant::{Plant, Planting};
use crate::setup::Setup;
use crate::world::{Line, Watcher, World};

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
        Self::drawn(seed, Profile::Swarm)
    }

    /// The run that a seed stands for in that profile.
    pub fn drawn(seed: u64, profile: Profile) -> Self {
        let setup = draw::setup(seed, profile);
        let acts = draw::acts(&setup, profile);
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

    /// Carries it out twice: the same setup and acts are the same run.
    pub fn run_twice(&self, plant: Option<Plant>) -> Verdict {
        let mut verdict = self.run(plant);
        *verdict.occurred.entry("ran twice").or_insert(0) += 1;
        let again = self.run(plant);
        if again.digest != verdict.digest {
            let what = format!("{:016x} the first time and {:016x} the second", verdict.digest, again.digest);
            verdict.violation = Some(Violation { at: verdict.simulated.micros(), rule: "same-seed-same-run", what });
        }
        verdict
    }

    /// The same, keeping every order, and what the nodes say of themselves in the end.
    pub fn trace(&self, plant: Option<Plant>) -> (Verdict, Vec<Line>, Vec<String>) {
        let mut world = World::new(self.setup.clone(), plant);
        world.record();
        let (verdict, mut world) = self.carry_out(world);
        (verdict, world.recorded(), world.sights())
    }

    /// The same, shown to that watcher.
    pub fn watched(&self, plant: Option<Plant>, watcher: Box<dyn Watcher>) -> Verdict {
        let mut world = World::new(self.setup.clone(), plant);
        world.show_to(watcher);
        self.carry_out(world).0
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

    /// Whether the planted bug trips its rule in this run.
    pub fn trips(&self, planting: &Planting) -> bool {
        let plant = Some(planting.plant);
        let twice = planting.rule == "same-seed-same-run";
        let verdict = if twice { self.run_twice(plant) } else { self.run(plant) };
        verdict.violation.is_some_and(|violation| violation.rule == planting.rule)
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
        let (mut left, mut progress, mut work) = (self.longest_pause(), self.progress(), self.work_left());
        // What it takes at most to do everything one after the other.
        let mut promised = self.now() + left + work;
        let pace = Span::from_secs(5);
        loop {
            // An operator starts again what has left.
            for host in self.hosts() {
                self.act(&Act::Start(host));
            }
            for name in self.names() {
                self.resume(&name);
            }
            self.unstick();
            self.run(pace);
            if self.violation().is_some() || self.all_over() {
                break;
            }
            let before = core::mem::replace(&mut progress, self.progress());
            // A job that was accepted or restarted only now adds to it.
            let more = Span::from_micros(self.work_left().micros().saturating_sub(work.micros()));
            (work, promised) = (self.work_left(), promised + more);
            if before != progress && self.now() <= promised {
                left = self.longest_pause();
            } else if left <= pace || self.now() > promised {
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
