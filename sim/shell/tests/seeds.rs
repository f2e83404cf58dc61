//! A fixed number of seeds, each in two processes. More of them: `cargo run -- --seeds 1000`.

use std::path::Path;

use kirin_shell_sim::scenario::Scenario;
use kirin_shell_sim::twice::{self, Summary};

fn run(scenario: Scenario, seeds: std::ops::Range<u64>) -> Summary {
    let mut said = Vec::new();
    let program = Path::new(env!("CARGO_BIN_EXE_kirin-shell-sim"));
    let summary = twice::run_all(program, scenario, seeds, &mut said).expect("runs");
    assert_eq!(summary.failed, 0, "{}", String::from_utf8_lossy(&said));
    summary
}

#[test]
fn nodes_discover_each_other_again_after_any_faults() {
    run(Scenario::Discovery, 0..100);
}

#[test]
fn every_job_is_done_once_under_all_faults() {
    let summary = run(Scenario::Shell, 0..100);
    assert_eq!(summary.never(), Vec::<&str>::new(), "some situations never occurred");
}

#[test]
fn faults_of_zookeeper_alone_disturb_no_job() {
    run(Scenario::Advice, 0..50);
}

#[test]
fn the_simulated_dependencies_are_those_of_the_product() {
    let (here, product) = (include_str!("../Cargo.lock"), include_str!("../../../Cargo.lock"));
    assert!(
        !here.contains("[[patch.unused]]"),
        "a shim has another version than the crate that it replaces, so Cargo ignores it"
    );
    let client = |lock: &str| {
        let from = lock.find("name = \"zookeeper-client\"").expect("it is used");
        lock[from..].lines().nth(1).map(str::to_owned)
    };
    assert_eq!(client(here), client(product));
}
