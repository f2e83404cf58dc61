//! The table of planted bugs in `sim/PLANTS.md`: what each one breaks, where it occurred, the rule that it trips, and
//! the first seed.
//!
//! `cargo run -rp kirin-sim -- plants --write` writes it. A test fails if a row is missing, differs from the code, or
//! names a seed that does not find its bug any more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::draw::Profile;
use crate::plant::{Plant, Planting};
use crate::rule::RULES;
use crate::search::Script;

/// A planted bug must be found within this many seeds.
pub const SEEDS_MAX: u64 = 2_000;

const BEGIN: &str = "<!-- plants -->";
const END: &str = "<!-- /plants -->";

/// The first seed that finds each planted bug, searched on this many threads.
pub fn seeds(threads: usize) -> BTreeMap<&'static str, Option<u64>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        while let Some(planting) = Plant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            let seed = (1..=SEEDS_MAX).find(|seed| Script::drawn(*seed, planting.profile()).trips(planting));
            found.push((planting.name, seed));
        }
        found
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a run panicked")).collect()
    })
}

/// Returns the document with a new table.
///
/// # Errors
/// If a marker or a seed is missing.
pub fn rewrite(document: &str, seeds: &BTreeMap<&str, Option<u64>>) -> Result<String, String> {
    let (before, rest) = document.split_once(BEGIN).ok_or("the marker of the table is missing")?;
    let (_, after) = rest.split_once(END).ok_or("the end of the table is missing")?;
    let mut text = format!(
        "{before}{BEGIN}\n\n| plant | what is broken | where it comes from | rule | seed |\n|---|---|---|---|---|\n"
    );
    for planting in &Plant::ALL {
        let seed = seeds.get(planting.name).copied().flatten();
        let seed = seed.ok_or_else(|| format!("{} is not found within {SEEDS_MAX} seeds", planting.name))?;
        text.push_str(&row(planting, seed));
    }
    text.push_str("\n| rule | says | must have occurred |\n|---|---|---|\n");
    for rule in &RULES {
        text.push_str(&format!("| `{}` | {} | {} |\n", rule.name, rule.says, rule.sometimes.join(", ")));
    }
    Ok(format!("{text}\n{END}{after}"))
}

fn row(planting: &Planting, seed: u64) -> String {
    let Planting { name, breaks, rule, history, .. } = planting;
    let profile = match Profile::ALL.iter().find(|(_, profile)| *profile == planting.profile()) {
        Some((name, profile)) if *profile != Profile::Swarm => format!(" --profile {name}"),
        _ => String::new(),
    };
    format!("| `{name}` | {breaks} | {history} | `{rule}` | {seed}{profile} |\n")
}

/// The seeds in the document.
pub fn read(document: &str) -> BTreeMap<String, u64> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let seed = |rest: &str| rest.rsplit_once(" |")?.0.rsplit_once("| ")?.1.split(' ').next()?.parse().ok();
    rows.filter_map(|(name, rest)| Some((name.to_owned(), seed(rest)?))).collect()
}
