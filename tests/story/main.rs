//! Stories: what the cluster does for its users, in their order of worry. See `kirin_sim::cluster` for the words.

mod abilities;
mod claims;
mod clocks;
mod death;
mod executors;
mod jobs;
mod network;
mod operators;
mod store;
mod upgrades;
mod zookeeper;

use std::fs;
use std::path::Path;

/// The table in `tests/SCENARIOS.md` names nothing that isn't there.
#[test]
fn every_scenario_names_what_covers_it() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    let table = fs::read_to_string(tests.join("SCENARIOS.md")).unwrap();
    let mut checked = 0;
    for line in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| no.")) {
        let names: Vec<_> = line.split('`').skip(1).step_by(2).collect();
        for name in &names {
            assert!(is_there(&tests, name), "{name} is not there: {line}");
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

fn is_there(tests: &Path, name: &str) -> bool {
    if let Some((kind, name)) = name.split_once(": ") {
        return match kind {
            "plant" => kirin_sim::Plant::from_name(name).is_some(),
            "rule" => kirin_sim::rule::Rule::named(name).is_some(),
            "acts" => tests.join("acts").join(name).with_extension("acts").exists(),
            "transcript" => tests.join("transcripts").join(name).with_extension("txt").exists(),
            _ => false,
        };
    }
    // A word like `match` is no name.
    let Some((file, test)) = name.rsplit_once("::") else { return true };
    let path = match file.strip_prefix("it::") {
        Some(file) => tests.join("tests/it").join(file.replace("::", "/")),
        None => tests.join("story").join(file),
    };
    let text = fs::read_to_string(path.with_extension("rs")).unwrap_or_default();
    text.contains(&format!("fn {test}("))
}
