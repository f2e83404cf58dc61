//! Explores every run of a small world: two or three real cores, two jobs, one metastore, and every order in which
//! messages may arrive, up to a given number of events.
//!
//! Each node has its own clock, and its next timer may fire at any moment. So clocks are wrong by any factor, trust
//! means nothing, and "two nodes believe that they hold the job" is reached again and again. The rules of *fencing*
//! must hold nevertheless: one holder according to the metastore, epochs that grow, stale writes refused, results
//! published once, no step done twice. Timing (trust ends early, takeover in time) cannot be checked here; the
//! simulator does that.
//!
//! Possible faults: a reply is lost, a request lands after its timeout, a reply arrives twice, a process is killed and
//! restarted, a member is silent while others continue, or sleeps and wakes up late, a user acts on a job. [`Faults`]
//! limits how often each may happen; it may happen at any moment.
//!
//! Runs begin at interesting points: at the start of the processes, while jobs run, and just before a silent holder is
//! fenced. The search is stateright's iterative deepening: depth first, with one more event each time. So memory holds
//! only the digests of states, and counterexamples are as short as possible. The number of remaining events is part of
//! each state, so nothing within the depth is skipped.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::plant::Plant;

mod laws;
mod step;

pub use step::{Action, InFlight, State};

/// How often each kind of fault may happen in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Faults {
    /// Lost replies, to requests that were executed or not.
    pub lost: u8,
    /// Requests that land after their timeout.
    pub late: u8,
    /// Replies that arrive twice.
    pub twice: u8,
    /// Processes that are killed.
    pub crashes: u8,
    /// Processes that are restarted.
    pub restarts: u8,
    /// Members that sleep for longer than the heart-beat timeout and wake up.
    pub sleeps: u8,
    /// Actions of users on jobs.
    pub acts: u8,
    /// The maximum number of all faults together.
    pub all: u8,
}

/// A small world, and how far it is explored.
#[derive(Clone, Debug)]
pub struct SmallWorld {
    /// The number of nodes. The third one answers queries and runs no jobs.
    pub nodes: u32,
    /// The possible faults.
    pub faults: Faults,
    /// The number of events up to which every order is explored.
    pub depth: usize,
    /// The planted bug, if any.
    pub plant: Option<Plant>,
    counts: Arc<Counts>,
}

/// The result of an exploration.
#[derive(Clone, Debug)]
pub struct Explored {
    /// The number of states.
    pub states: usize,
    /// The number of transitions.
    pub ways: usize,
    /// The depth in events.
    pub depth: usize,
    /// The duration.
    pub took: Duration,
    /// How often each situation occurred.
    pub occurred: Vec<(&'static str, u64)>,
    /// The violated rule, and the shortest path to it.
    pub broken: Option<(String, Vec<String>)>,
}

/// Situations that must occur. Otherwise nothing was proven.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    takeovers: AtomicU64,
    refused: AtomicU64,
    beliefs: AtomicU64,
    fenced: AtomicU64,
    published: AtomicU64,
    unknown: AtomicU64,
}

impl Faults {
    /// One fault of each kind, and at most two in one run.
    pub const fn one_each() -> Self {
        Self { lost: 1, late: 1, twice: 1, crashes: 1, restarts: 1, sleeps: 1, acts: 1, all: 2 }
    }
}

impl SmallWorld {
    /// A world of this many nodes, explored to this depth.
    pub fn of(nodes: u32, depth: usize) -> Self {
        Self { nodes, faults: Faults::one_each(), depth, plant: None, counts: Arc::default() }
    }

    /// Explores all runs of one event, then of two, and so on, so that a counterexample is as short as possible. Stops
    /// at the first violated rule. Calls `progress` after each depth.
    pub fn explore(self, threads: usize, mut progress: impl FnMut(&Explored)) -> Explored {
        #[expect(clippy::disallowed_methods, reason = "the search is timed on the real clock")]
        let started = Instant::now();
        let mut depth = 0;
        loop {
            depth += 1;
            let mut explored = Self { depth, counts: Arc::default(), ..self.clone() }.explore_at(threads);
            explored.took = started.elapsed();
            progress(&explored);
            if depth >= self.depth || explored.broken.is_some() {
                return explored;
            }
        }
    }

    fn explore_at(self, threads: usize) -> Explored {
        let (counts, depth) = (Arc::clone(&self.counts), self.depth);
        let checker =
            self.checker().threads(threads.max(1)).finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
        let broken = checker.discoveries().into_iter().next();
        let broken =
            broken.map(|(rule, path)| (rule.to_owned(), path.into_actions().iter().map(ToString::to_string).collect()));
        Explored {
            states: checker.unique_state_count(),
            ways: checker.state_count(),
            depth,
            took: Duration::ZERO,
            occurred: counts.read(),
            broken,
        }
    }
}

impl Model for SmallWorld {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        State::starts(self)
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.possible(actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        last.after(self, &action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        // A condition is a plain function, so each rule needs its own.
        macro_rules! always {
            ($($at:literal)*) => {
                vec![$(Property::always(laws::RULES[$at], |_, state: &State| state.broken() != Some(laws::RULES[$at]))),*]
            };
        }
        always!(0 1 2 3 4 5 6 7 8 9 10 11)
    }
}

impl Counts {
    fn read(&self) -> Vec<(&'static str, u64)> {
        [
            ("jobs taken over", &self.takeovers),
            ("stale writes refused", &self.refused),
            ("two nodes believed that they held the same job", &self.beliefs),
            ("members fenced", &self.fenced),
            ("results published", &self.published),
            ("answers unknown", &self.unknown),
        ]
        .map(|(what, count)| (what, count.load(Ordering::Relaxed)))
        .into()
    }

    fn count(which: &AtomicU64) {
        which.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let rate = self.ways as f64 / seconds.max(1e-3);
        let (states, ways, depth) = (self.states, self.ways, self.depth);
        writeln!(
            f,
            "{states} states, {ways} transitions, every order of {depth} events; {seconds:.1} s, {rate:.0} transitions/s"
        )?;
        for (what, times) in &self.occurred {
            writeln!(f, "{times:>12}  {what}")?;
        }
        match &self.broken {
            None => write!(f, "every rule held"),
            Some((rule, path)) => {
                writeln!(f, "FAILED {rule}, after {} events:", path.len())?;
                for (n, action) in path.iter().enumerate() {
                    writeln!(f, "{:>4}. {action}", n + 1)?;
                }
                Ok(())
            }
        }
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for State {}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(world: SmallWorld) {
        let explored = world.explore(2, |_| {});
        println!("{explored}");
        assert_eq!(explored.broken, None);
        for (what, times) in &explored.occurred {
            assert!(*times > 0, "{what}: never occurred, so nothing was proven");
        }
    }

    #[test]
    fn two_nodes_keep_every_rule_in_every_order() {
        holds(SmallWorld::of(2, 6));
    }

    #[test]
    fn three_nodes_keep_every_rule_in_every_order() {
        holds(SmallWorld::of(3, 5));
    }

    #[test]
    fn a_long_silence_breaks_no_rule() {
        let faults = Faults { all: 0, ..Faults::one_each() };
        let explored = SmallWorld { faults, ..SmallWorld::of(2, 9) }.explore(2, |_| {});
        println!("{explored}");
        assert_eq!(explored.broken, None);
    }

    #[test]
    fn a_planted_bug_is_found_on_the_shortest_path() {
        for (plant, rule) in [
            (Plant::CommitNotFenced, "stale-fence-refused"),
            (Plant::FinishNotFenced, "stale-fence-refused"),
            (Plant::TakeNotFenced, "one-holder"),
        ] {
            let explored = SmallWorld { plant: Some(plant), ..SmallWorld::of(2, 8) }.explore(2, |_| {});
            let (broken, path) = explored.broken.clone().expect("it is planted");
            assert_eq!((broken.as_str(), path.len()), (rule, explored.depth), "{plant}: {explored}");
        }
    }
}
