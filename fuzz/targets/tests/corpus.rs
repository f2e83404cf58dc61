//! Replays the corpora and tries random bytes.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[test]
fn inputs_that_once_failed_pass() {
    for (target, inputs) in kirin_fuzz::replay() {
        assert!(inputs >= 3, "{target} has a corpus of {inputs}");
    }
}

/// Tries random bytes, the same in each run. `KIRIN_FUZZ_CASES` sets the number per target.
#[test]
fn random_bytes_fail_no_check() {
    let cases = std::env::var("KIRIN_FUZZ_CASES").ok().and_then(|n| n.parse().ok());
    for (target, body) in kirin_fuzz::TARGETS {
        let usual = if matches!(*target, "sql") { 200 } else { 1_000 };
        let config = Config { cases: cases.unwrap_or(usual), failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let text = "[ -~\n]{0,80}".prop_map(String::into_bytes);
        let bytes = prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), text];
        let found = runner.run(&bytes, |bytes| {
            body(&bytes);
            Ok(())
        });
        assert!(found.is_ok(), "{target}: {}", found.err().map(|e| e.to_string()).unwrap_or_default());
    }
}
