//! Hunting: runs many seeds on all cores and adds up the results.
//!
//! Each thread takes the next seed, runs it, adds to its sums and forgets the run, so memory stays flat for hunts of
//! any length. The lowest failing seed is reported, whichever thread was faster. One seed in fifty runs twice and must
//! give the same run. A panic is a failure like a violated rule: the core's assertions stay on.
//!
//! Not here: clocks and printing. The caller is regularly asked whether to continue.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use kirin_core::Span;

use crate::draw::Profile;
use crate::judge::Violation;
use crate::plant::Plant;
use crate::search::{Script, Verdict};
use crate::shrink;

/// How often the caller is asked whether to continue.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// One in this many seeds runs twice.
const TWICE_EVERY: u64 = 50;

/// A search through seeds.
#[derive(Clone, Copy, Debug)]
pub struct Hunt {
    /// The first seed.
    pub from: u64,
    /// The number of seeds; unlimited if `None`.
    pub seeds: Option<u64>,
    /// The planted bug, if any.
    pub plant: Option<Plant>,
    /// How many seeds run at once.
    pub threads: usize,
    /// The faults that the runs may have.
    pub profile: Profile,
}

/// The sum of many runs.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many seeds ran.
    pub seeds: u64,
    /// How many events happened in them.
    pub events: u64,
    /// The simulated time.
    pub simulated: Span,
    /// For each situation, in how many runs it occurred, and how often.
    pub occurred: BTreeMap<&'static str, Occurred>,
    /// A digest of all runs, independent of the order of threads.
    pub digest: u64,
    /// The lowest failing seed, and its violation.
    pub failed: Option<(u64, Violation)>,
}

/// How often a situation occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occurred {
    /// The number of runs in which it occurred.
    pub runs: u64,
    /// The number of occurrences.
    pub times: u64,
}

impl Hunt {
    /// Runs the seeds until they are used up, one fails, or `go_on` breaks. `go_on` is called several times a second
    /// with the results so far.
    ///
    /// # Panics
    /// If a thread cannot be started.
    pub fn run(&self, mut go_on: impl FnMut(&Tally) -> ControlFlow<()>) -> Tally {
        let next = AtomicU64::new(self.from);
        let stop = AtomicU64::new(self.seeds.map_or(u64::MAX, |seeds| self.from.saturating_add(seeds)));
        let mut all = Tally::default();
        thread::scope(|scope| {
            let (send, tallies) = mpsc::channel();
            for _ in 0..self.threads.max(1) {
                let (send, next, stop) = (send.clone(), &next, &stop);
                scope.spawn(move || self.work(next, stop, &send));
            }
            drop(send);
            loop {
                match tallies.recv_timeout(ASK_EVERY) {
                    Ok(tally) => all.add(tally),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if go_on(&all).is_break() {
                    stop.fetch_min(0, Ordering::Relaxed);
                }
            }
        });
        all
    }

    fn work(&self, next: &AtomicU64, stop: &AtomicU64, done: &mpsc::Sender<Tally>) {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= stop.load(Ordering::Relaxed) {
                return;
            }
            let script = Script::drawn(seed, self.profile);
            let mut verdict = verdict(&script, self.plant);
            if seed.is_multiple_of(TWICE_EVERY) && verdict.violation.is_none() {
                verdict = twice(&script, self.plant, verdict);
                *verdict.occurred.entry("ran twice").or_insert(0) += 1;
            }
            if verdict.violation.is_some() {
                stop.fetch_min(seed, Ordering::Relaxed);
            }
            if done.send(Tally::of(seed, &verdict)).is_err() {
                return;
            }
        }
    }
}

/// Runs a script. A panic counts as a violation.
pub fn verdict(script: &Script, plant: Option<Plant>) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| script.run(plant))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let what = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("for an unknown reason");
        Verdict {
            violation: Some(Violation { at: 0, rule: "panicked", what: what.to_owned() }),
            simulated: Span::ZERO,
            events: 0,
            digest: 0,
            occurred: BTreeMap::new(),
        }
    })
}

/// Returns the smallest script found that breaks the same rule.
pub fn smallest(script: &Script, plant: Option<Plant>) -> Script {
    let Some(rule) = verdict(script, plant).violation.map(|v| v.rule) else { return script.clone() };
    shrink::smallest(script, |other| verdict(other, plant).violation.is_some_and(|v| v.rule == rule))
}

fn twice(script: &Script, plant: Option<Plant>, first: Verdict) -> Verdict {
    let again = verdict(script, plant);
    if again.digest == first.digest {
        return first;
    }
    let what = format!("{:016x} the first time and {:016x} the second", first.digest, again.digest);
    let violation = Violation { at: first.simulated.micros(), rule: "same-seed-same-run", what };
    Verdict { violation: Some(violation), ..first }
}

impl Tally {
    fn of(seed: u64, verdict: &Verdict) -> Self {
        let once = |times: &u64| Occurred { runs: 1, times: *times };
        Self {
            seeds: 1,
            events: verdict.events,
            simulated: verdict.simulated,
            occurred: verdict.occurred.iter().map(|(what, times)| (*what, once(times))).collect(),
            digest: verdict.digest.rotate_left(seed as u32 & 63),
            failed: verdict.violation.clone().map(|violation| (seed, violation)),
        }
    }

    fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.simulated = self.simulated + other.simulated;
        self.digest = self.digest.wrapping_add(other.digest);
        for (what, more) in other.occurred {
            let known = self.occurred.entry(what).or_default();
            known.runs += more.runs;
            known.times += more.times;
        }
        if let Some((seed, violation)) = other.failed
            && self.failed.as_ref().is_none_or(|(first, _)| seed < *first)
        {
            self.failed = Some((seed, violation));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunt(plant: Option<&str>, threads: usize) -> Tally {
        let plant = plant.map(|name| Plant::from_name(name).unwrap());
        let hunt = Hunt { from: 1, seeds: Some(60), plant, threads, profile: Profile::Swarm };
        hunt.run(|_| ControlFlow::Continue(()))
    }

    #[test]
    fn the_number_of_threads_does_not_affect_the_result() {
        let (one, three) = (hunt(None, 1), hunt(None, 3));
        assert_eq!((one.seeds, one.events, one.digest), (three.seeds, three.events, three.digest));
        assert_eq!(one.occurred, three.occurred);
        assert!(one.failed.is_none(), "{:?}", one.failed);
    }

    #[test]
    fn the_lowest_failing_seed_is_reported() {
        let (one, three) = (hunt(Some("take-not-fenced"), 1), hunt(Some("take-not-fenced"), 3));
        let (seed, violation) = one.failed.unwrap();
        assert_eq!(three.failed.unwrap(), (seed, violation.clone()));
        let plant = Plant::from_name("take-not-fenced");
        let small = smallest(&Script::of_seed(seed), plant);
        assert_eq!(small.run(plant).violation.unwrap().rule, violation.rule);
        assert!(small.acts.len() <= Script::of_seed(seed).acts.len());
        assert_eq!(Script::parse(&small.text()).unwrap(), small, "it reads back");
    }

    #[test]
    fn a_hunt_ends_when_its_caller_breaks() {
        let hunt = Hunt { from: 1, seeds: None, plant: None, threads: 2, profile: Profile::Swarm };
        let tally =
            hunt.run(|so_far| if so_far.seeds >= 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
        assert!(tally.seeds >= 20);
    }
}
