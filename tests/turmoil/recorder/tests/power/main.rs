//! The recorder's files after a crash at any call to the file system, drawn from a seed.
//!
//! `KIRIN_TURMOIL_SEEDS` sets the number of seeds; `KIRIN_TURMOIL_SEED` runs one.

#![allow(dead_code, unreachable_pub, reason = "a library's sources, of which the test uses a part")]

use std::collections::BTreeMap;
use std::path::Path;

use kirin_sim::dice::Dice;

#[path = "../../../../../node/recorder/src/digest.rs"]
mod digest;
mod disk;
#[path = "../../../../../node/recorder/src/entry.rs"]
mod entry;
#[path = "../life.rs"]
mod life;
#[path = "../../../../../node/recorder/src/reader.rs"]
mod reader;
#[path = "../../../../../node/recorder/src/replay.rs"]
mod replay;
#[path = "../../../../../node/recorder/src/writer.rs"]
mod writer;

use disk::Crash;
use life::{Found, Life, read};

const SEEDS: u64 = 300;

/// The results of a seed.
#[derive(Debug)]
struct Outcome {
    crash: Crash,
    disk_failed: bool,
    after_crash: Found,
    at_end: Found,
}

/// A run that ends with a crash, and a run that continues recording.
fn run(seed: u64, lies: bool) -> Result<Outcome, String> {
    let (mut dice, dir) = (Dice::new(seed, "recorder"), Path::new("/recorder"));
    let crash = if dice.chance(300_000) { Crash::Kill } else { Crash::Power };
    let failing = if dice.chance(250_000) { dice.below(100_000) } else { 0 };
    disk::new(seed, lies);
    disk::fail(dice.between(1, 120), failing);
    let mut life = Life::begin(dir, 0, &mut dice);
    let mut written = None;
    while !disk::is_off() {
        life.go_on(&mut dice);
        if !disk::is_off() {
            written = life.written;
        }
    }
    disk::restart(crash);
    let mut truths = BTreeMap::from([life.truth()]);
    let after_crash = read(dir, &truths, failing > 0)?;
    if crash == Crash::Kill && failing == 0 && after_crash.last.get("run0").copied() < written {
        return Err(format!("data written before the kill is missing: {written:?}, {after_crash:?}"));
    }

    let mut life = Life::begin(dir, 1, &mut dice);
    for _ in 0..dice.below(30) {
        life.go_on(&mut dice);
    }
    life.end();
    let (written, (run, truth)) = (life.written, life.truth());
    let told = truth.0.len();
    truths.insert(run, truth);
    let at_end = read(dir, &truths, failing > 0)?;
    if told > 0 && at_end.last.get("run1").copied() != written {
        return Err(format!("the next run did not continue recording: {written:?}, {at_end:?}"));
    }
    Ok(Outcome { crash, disk_failed: failing > 0, after_crash, at_end })
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("KIRIN_TURMOIL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("KIRIN_TURMOIL_SEEDS").map_or(SEEDS, |seeds| seeds.max(SEEDS)),
    }
}

#[test]
fn after_a_crash_at_any_call_a_prefix_replays_and_the_next_run_continues() {
    let seeds = seeds();
    let whole = seeds.end - seeds.start > 1;
    let mut outcomes = Vec::new();
    for seed in seeds {
        match run(seed, false) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    // Each kind of damage must have occurred.
    let met = |what: &str, is: &dyn Fn(&Outcome) -> bool| {
        let times = outcomes.iter().filter(|outcome| is(outcome)).count();
        assert!(!whole || times >= 5, "{what}: occurred {times} times");
    };
    met("a killed process", &|o| o.crash == Crash::Kill);
    met("a torn part after a kill", &|o| o.crash == Crash::Kill && o.after_crash.torn > 0);
    met("a torn part after a loss of power", &|o| o.crash == Crash::Power && o.after_crash.torn > 0);
    met("nothing left after a loss of power", &|o| o.crash == Crash::Power && o.after_crash.parts == 0);
    met("many parts left", &|o| o.crash == Crash::Power && o.after_crash.parts > 3);
    met("a gap after a disk that failed", &|o| o.disk_failed && o.after_crash.gaps > 0);
    met("a next run in whose directory torn parts are", &|o| o.at_end.torn > 0);
}

#[test]
fn a_disk_that_ignores_syncs_is_detected() {
    // Such a disk may also damage the head of a part, which readers cannot handle.
    let trips = |seed| std::panic::catch_unwind(|| run(seed, true).is_err()).unwrap_or(true);
    let tripped = (0..50).filter(|seed| trips(*seed)).count();
    assert!(tripped > 0, "the checks do not detect a recorder that never syncs");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        assert_eq!(format!("{:?}", run(seed, false)), format!("{:?}", run(seed, false)), "seed {seed}");
    }
}
