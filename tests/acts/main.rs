//! Replays the act files in this folder, each of which once violated a rule. Runs seeds, and checks that planted bugs
//! are found.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kirin_core::JobState;
use kirin_sim::act::Act;
use kirin_sim::rule::{RULES, Rule};
use kirin_sim::search::Script;
use kirin_sim::{Plant, Profile, World, table};

/// The number of seeds in the test. Every situation of every rule must occur in them.
const SEEDS: u64 = 2_000;

#[test]
fn fixed_bugs_stay_fixed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/acts");
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "acts"));
    assert!(!paths.is_empty(), "the act files are missing");
    for path in paths {
        let script = Script::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(script.run_twice(None).violation, None, "{}", path.display());
    }
}

#[test]
fn seeds_keep_and_test_every_rule() {
    let threads: Vec<_> = (0..2).map(|odd| std::thread::spawn(move || sweep(odd))).collect();
    let mut occurred = BTreeMap::new();
    for thread in threads {
        for (what, times) in thread.join().unwrap() {
            *occurred.entry(what).or_insert(0) += times;
        }
    }
    assert_eq!(Rule::untested(|what| occurred.contains_key(what)), [], "these situations never occurred");
}

fn sweep(odd: u64) -> BTreeMap<&'static str, u64> {
    let mut occurred = BTreeMap::new();
    for seed in (1..=SEEDS).filter(|seed| seed % 2 == odd) {
        let script = Script::of_seed(seed);
        let verdict = if seed % 51 == 0 { script.run_twice(None) } else { script.run(None) };
        assert_eq!(verdict.violation, None, "seed {seed}: cargo run -rp kirin-sim -- --seed {seed}");
        for (what, times) in verdict.occurred {
            *occurred.entry(what).or_insert(0) += times;
        }
    }
    occurred
}

#[test]
fn every_profile_keeps_every_rule() {
    for (name, profile) in Profile::ALL {
        let seeds = if profile == Profile::Crowd { 1..=2 } else { 1..=30 };
        for seed in seeds {
            let verdict = Script::drawn(seed, profile).run(None);
            assert_eq!(verdict.violation, None, "cargo run -rp kirin-sim -- --profile {name} --seed {seed}");
        }
    }
}

#[test]
fn every_rule_has_a_plant_that_trips_it() {
    for rule in &RULES {
        let trips = Plant::ALL.iter().any(|planting| planting.rule == rule.name);
        assert!(trips, "no planted bug trips {}", rule.name);
    }
    for planting in &Plant::ALL {
        assert!(Rule::named(planting.rule).is_some(), "{} names an unknown rule", planting.name);
        assert_eq!(Plant::from_name(planting.name), Some(planting.plant));
    }
}

/// Each planted bug trips its rule at the seed in the table. `kirin-sim plants` performs the search.
#[test]
fn every_planted_bug_is_found_at_the_seed_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("PLANTS.md");
    let document = fs::read_to_string(path).unwrap();
    let seeds = table::read(&document);
    let again = "the table is stale: cargo run -rp kirin-sim -- plants --write";
    for planting in &Plant::ALL {
        let seed = *seeds.get(planting.name).unwrap_or_else(|| panic!("{}: {again}", planting.name));
        assert!((1..=table::SEEDS_MAX).contains(&seed));
        assert!(
            Script::drawn(seed, planting.profile()).trips(planting),
            "{} is not found at seed {seed}: {again}",
            planting.name
        );
    }
    let known = Plant::ALL.iter().map(|planting| (planting.name, seeds.get(planting.name).copied())).collect();
    assert!(table::rewrite(&document, &known).unwrap() == document, "{again}");
}

/// The outcome of jobs does not depend on ZooKeeper: the same with faults of it, without it, and with it permanently
/// down.
#[test]
fn zookeeper_does_not_affect_the_outcome_of_jobs() {
    for seed in 1..=60 {
        let script = Script::drawn(seed, Profile::ZooKeeper);
        let alike = |acts: Vec<Act>| outcomes(&Script { acts, setup: script.setup.clone() });
        let is_trouble = |act: &Act| {
            matches!(
                act,
                Act::ZooKeeperDown | Act::ZooKeeperUp | Act::CutZooKeeper(_) | Act::HealZooKeeper(_) | Act::Expire(_)
            )
        };
        let well: Vec<_> = script.acts.iter().filter(|act| !is_trouble(act)).cloned().collect();
        let down = core::iter::once(Act::ZooKeeperDown).chain(well.clone()).collect();
        let expected = outcomes(&script);
        assert!(!expected.is_empty());
        assert_eq!(alike(well), expected, "seed {seed}: ZooKeeper is healthy");
        assert_eq!(alike(down), expected, "seed {seed}: ZooKeeper is down");
    }
}

fn outcomes(script: &Script) -> BTreeMap<String, Option<JobState>> {
    let mut world = World::new(script.setup.clone(), None);
    for act in &script.acts {
        world.act(act);
    }
    world.heal_and_wait();
    assert_eq!(world.violation(), None);
    let names = script.acts.iter().filter_map(|act| match act {
        Act::Post(work) => Some(work.name.clone()),
        _ => None,
    });
    let state = |name: &str| world.job(name).and_then(|id| world.store().job(id)).map(|row| row.state);
    names.map(|name| (name.clone(), state(&name))).collect()
}
