//! Every act file in this folder once broke a rule. Seeds run, and planted bugs are found.

use std::fs;
use std::path::Path;

use kirin_sim::Plant;
use kirin_sim::search::Script;

#[test]
fn what_was_mended_stays_mended() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/acts");
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "acts"));
    assert!(!paths.is_empty(), "the act files are missing");
    for path in paths {
        let script = Script::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        let verdict = script.run(None);
        assert_eq!(verdict.violation, None, "{}", path.display());
        assert_eq!(script.run(None).digest, verdict.digest, "{}: the same run twice", path.display());
    }
}

#[test]
fn seeds_hold_every_rule() {
    let threads: Vec<_> = (0..2).map(|odd| std::thread::spawn(move || sweep(odd))).collect();
    let mut occurred = std::collections::BTreeMap::new();
    for thread in threads {
        for (what, times) in thread.join().unwrap() {
            *occurred.entry(what).or_insert(0) += times;
        }
    }
    // A rule that was never put to the test has not held.
    for what in [
        "takeover",
        "takeover noted with its evidence",
        "fenced as exited",
        "fenced as silent",
        "trust ended",
        "trust restored",
        "silent but running",
        "stale fence refused",
        "project full",
        "handed over",
        "reply lost",
        "late request",
        "was fenced",
        "taken over from a member that still moves",
        "started in order",
        "takeover in time after an exit",
        "takeover in time after silence",
    ] {
        assert!(occurred.contains_key(what), "{what} never occurred");
    }
}

fn sweep(odd: u64) -> std::collections::BTreeMap<&'static str, u64> {
    let mut occurred = std::collections::BTreeMap::new();
    for seed in (1..=600).filter(|seed| seed % 2 == odd) {
        let verdict = Script::of_seed(seed).run(None);
        assert_eq!(verdict.violation, None, "seed {seed}: cargo run -rp kirin-sim -- --seed {seed}");
        for (what, times) in verdict.occurred {
            *occurred.entry(what).or_insert(0) += times;
        }
    }
    occurred
}

#[test]
fn every_planted_bug_is_found_within_a_thousand_seeds() {
    for (name, plant) in Plant::ALL {
        let found = (1..=1_000).find(|seed| Script::of_seed(*seed).run(Some(plant)).violation.is_some());
        assert!(found.is_some(), "{name} was not found");
    }
}
