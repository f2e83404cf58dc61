//! Stories: what the cluster does for its users, in the order of their concerns. See `kirin_sim::cluster` for the
//! vocabulary.

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

/// Every test named in the table in `tests/SCENARIOS.md` exists.
#[test]
fn every_scenario_names_an_existing_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    let table = fs::read_to_string(tests.join("SCENARIOS.md")).unwrap();
    let mut checked = 0;
    for line in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| no.")) {
        let names: Vec<_> = line.split('`').skip(1).step_by(2).collect();
        for name in &names {
            assert!(is_there(&tests, name), "{name} does not exist: {line}");
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
    // A word such as `match` is not a name.
    let Some((file, test)) = name.rsplit_once("::") else { return true };
    let path = match file.strip_prefix("it::") {
        Some(file) => tests.join("tests/it").join(file.replace("::", "/")),
        None => tests.join("story").join(file),
    };
    let text = fs::read_to_string(path.with_extension("rs")).unwrap_or_default();
    text.contains(&format!("fn {test}("))
}
