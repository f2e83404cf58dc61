//! The recorder's files on turmoil's disk, whose host crashes and restarts. A crash discards unsynced data in whole
//! blocks, also of the directory.
//!
//! `KIRIN_TURMOIL_SEEDS` sets the number of seeds; `KIRIN_TURMOIL_SEED` runs one.

#![allow(dead_code, unreachable_pub, reason = "a library's sources, of which the test uses a part")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

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

use life::{Found, Life, Truth, read};

const SEEDS: u64 = 20;
const RUNS: u32 = 4;

/// The state that outlives the host's process.
struct Known {
    dice: Dice,
    runs: u32,
    life: Option<Life>,
    truths: BTreeMap<String, Truth>,
    /// The findings of each start.
    found: Vec<Result<Found, String>>,
}

/// The host's software: reads the recordings like `kirin replay`, and continues recording.
async fn software(known: Rc<RefCell<Known>>) -> turmoil::Result {
    let dir = Path::new("/recorder");
    disk::create_dir_all(dir)?;
    disk::sync_dir(Path::new("/"))?;
    {
        let known = &mut *known.borrow_mut();
        known.found.push(read(dir, &known.truths, false));
        known.life = Some(Life::begin(dir, known.runs, &mut known.dice));
        known.runs += 1;
    }
    loop {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let known = &mut *known.borrow_mut();
        if let Some(life) = &mut known.life {
            life.go_on(&mut known.dice);
        }
    }
}

/// Several runs, each ended by a crash. Returns the findings of each start, including one after the last run.
fn run(seed: u64) -> Vec<Result<Found, String>> {
    let mut dice = Dice::new(seed, "crashes");
    let mut builder = turmoil::Builder::new();
    builder.rng_seed(seed).tick_duration(Duration::from_millis(1)).simulation_duration(Duration::from_secs(60));
    // Sometimes the kernel writes back by itself. Sometimes a crash tears a write.
    let written_back = [0.0, 0.1, 0.5][dice.below(3) as usize];
    builder.fs().sync_probability(written_back).block_size(512);
    let mut sim = builder.build();
    let (truths, found) = (BTreeMap::new(), Vec::new());
    let known = Known { dice: Dice::new(seed, "recorder"), runs: 0, life: None, truths, found };
    let known = Rc::new(RefCell::new(known));
    let inside = known.clone();
    sim.host("node", move || software(inside.clone()));
    for _ in 0..RUNS {
        for _ in 0..dice.between(2, 60) {
            sim.step().expect("the host's software does not end");
        }
        sim.crash("node");
        {
            let known = &mut *known.borrow_mut();
            known.truths.extend(known.life.take().map(Life::truth));
        }
        sim.bounce("node");
    }
    sim.step().expect("the host's software does not end");
    drop(sim);
    std::mem::take(&mut known.borrow_mut().found)
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("KIRIN_TURMOIL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("KIRIN_TURMOIL_SEEDS").map_or(SEEDS, |seeds| seeds.max(SEEDS)),
    }
}

#[test]
fn after_each_crash_of_the_host_a_prefix_replays_and_the_next_run_continues() {
    let seeds = seeds();
    let whole = seeds.end - seeds.start > 1;
    let (mut torn, mut ended, mut runs) = (0, 0, 0);
    for seed in seeds {
        let found = run(seed);
        assert_eq!(found.len(), RUNS as usize + 1, "seed {seed}");
        for (start, found) in found.into_iter().enumerate() {
            let found = found.unwrap_or_else(|error| panic!("seed {seed}, start {start}: {error}"));
            torn += found.torn;
            ended += found.parts - found.torn;
            runs = runs.max(found.last.len());
        }
    }
    assert!(
        !whole || (torn > 20 && ended > 20 && runs > 2),
        "{torn} torn parts, {ended} ended ones, {runs} runs at once"
    );
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..3 {
        assert_eq!(format!("{:?}", run(seed)), format!("{:?}", run(seed)), "seed {seed}");
    }
}
