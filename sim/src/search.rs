//! Searching: each seed gives a run. A failing run is shrunk to a few acts and written as text.
//!
//! A run has two phases: first anything may happen; then everything is healed, and all accepted jobs must end within a
//! bound.

use std::collections::BTreeMap;

use kirin_core::Span;

use crate::act::Act;
use crate::draw::{self, Profile};
use crate::judge::Violation;
use crate::plant::{Plant, Planting};
use crate::setup::Setup;
use crate::world::{Line, Watcher, World};

/// A setup and a list of acts, which define a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The setup.
    pub setup: Setup,
    /// The acts, in order.
    pub acts: Vec<Act>,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The violation, if there was one.
    pub violation: Option<Violation>,
    /// The simulated time.
    pub simulated: Span,
    /// The number of events.
    pub events: u64,
    /// The digest; equal runs have equal digests.
    pub digest: u64,
    /// How often each situation occurred.
    pub occurred: BTreeMap<&'static str, u64>,
}

impl Script {
    /// The run of a seed.
    pub fn of_seed(seed: u64) -> Self {
        Self::drawn(seed, Profile::Swarm)
    }

    /// The run of a seed in a profile.
    pub fn drawn(seed: u64, profile: Profile) -> Self {
        let setup = draw::setup(seed, profile);
        let acts = draw::acts(&setup, profile);
        Self { setup, acts }
    }

    /// Parses a script: the first line that is not a comment is the setup, and each further line an act.
    ///
    /// # Errors
    /// The first line that cannot be parsed, with the reason.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let first = lines.next().ok_or("a script starts with its setup")?;
        let setup = first.parse().map_err(|wrong| format!("\"{first}\": {wrong}"))?;
        let acts = lines.map(|line| line.parse::<Act>().map_err(|e| e.to_string())).collect::<Result<_, _>>()?;
        Ok(Self { setup, acts })
    }

    /// Runs the script, heals everything, and waits for the end.
    pub fn run(&self, plant: Option<Plant>) -> Verdict {
        self.carry_out(World::new(self.setup.clone(), plant)).0
    }

    /// Runs the script twice. Both runs must be equal.
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

    /// Runs the script, and also returns every effect and the final view of each node.
    pub fn trace(&self, plant: Option<Plant>) -> (Verdict, Vec<Line>, Vec<String>) {
        let mut world = World::new(self.setup.clone(), plant);
        world.record();
        let (verdict, mut world) = self.carry_out(world);
        (verdict, world.recorded(), world.sights())
    }

    /// Runs the script with a watcher.
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

    /// Runs the script in an existing world, heals everything, and waits for the end.
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
    /// Heals everything and waits until all accepted jobs have ended, or until there was no progress for too long.
    pub fn heal_and_wait(&mut self) {
        self.act(&Act::HealAll);
        let (mut left, mut progress, mut work) = (self.longest_pause(), self.progress(), self.work_left());
        // The maximum time for doing everything sequentially.
        let mut promised = self.now() + left + work;
        let pace = Span::from_secs(5);
        loop {
            // An operator restarts the nodes that have left.
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
            // A job that was accepted or restarted only recently adds to it.
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

    /// The time that a healed cluster may need to detect every death and then to do the longest step.
    fn longest_pause(&self) -> Span {
        let timing = self.setup().timing;
        let round = timing.timeout() + timing.interval();
        round + round + round + self.longest_step().scaled(2, 1) + Span::from_secs(60)
    }
}
