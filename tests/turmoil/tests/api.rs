//! The HTTP API of complete nodes on an unreliable network: every acknowledged job exists once and is visible through every node.

use std::collections::BTreeMap;

use kirin_turmoil::{api, seeds};

/// Situations that must occur over the fixed seeds.
const SEEN: [&str; 11] = [
    "accepted",
    "accepted after retries",
    "answered",
    "discarded",
    "health",
    "metastore not reached",
    "no answer",
    "read",
    "stranger turned away",
    "taken over",
    "why",
];

#[test]
fn every_acknowledged_job_exists_once() {
    let mut seen = BTreeMap::new();
    let seeds = seeds(8);
    let many = seeds.end - seeds.start;
    for seed in seeds {
        let home = tempfile::tempdir().unwrap();
        let ran = api::run(seed, home.path());
        assert!(ran.wrong.is_empty(), "seed {seed} (KIRIN_TURMOIL_SEED={seed}):\n{}", ran.wrong.join("\n"));
        for (what, often) in ran.seen {
            *seen.entry(what).or_insert(0) += often;
        }
    }
    println!("{seen:?}");
    for what in SEEN {
        assert!(seen.contains_key(what) || many < 8, "'{what}' never occurred: {seen:?}");
    }
}
