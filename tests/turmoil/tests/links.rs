//! Links between nodes on an unreliable network. Each seed runs twice with equal logs.

use std::collections::BTreeMap;

use kirin_turmoil::{links, seeds};

/// Situations that must occur over the fixed seeds.
const SEEN: [&str; 9] = [
    "death noticed at once",
    "jobs taken over at once",
    "held",
    "killed",
    "without power",
    "question answered",
    "question failed",
    "silent member fenced",
    "stranger turned away",
];

#[test]
fn links_survive_network_faults() {
    let mut seen = BTreeMap::new();
    let seeds = seeds(6);
    let many = seeds.end - seeds.start;
    for seed in seeds {
        let (first, second) = (links::run(seed), links::run(seed));
        if std::env::var_os("KIRIN_TURMOIL_LOG").is_some() {
            println!("{}", first.log.join("\n"));
        }
        let differs = first.log.iter().zip(&second.log).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed} differs in the second run");
        assert_eq!(first, second, "the runs of seed {seed} differ in length");
        assert!(first.wrong.is_empty(), "seed {seed} (KIRIN_TURMOIL_SEED={seed}):\n{}", first.wrong.join("\n"));
        for (what, often) in first.seen {
            *seen.entry(what).or_insert(0) += often;
        }
    }
    println!("{seen:?}");
    for what in SEEN {
        assert!(seen.contains_key(what) || many < 6, "'{what}' never occurred: {seen:?}");
    }
}
