//! The cluster benchmark with few nodes: its output is complete and consistent. Speed is not checked.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::cluster::program;

#[test]
fn the_cluster_benchmark_reports_views_statements_and_memory() -> anyhow::Result<()> {
    let out = Command::new(program())
        .args(["bench", "cluster", "--nodes", "3", "--runs", "2", "--idle", "1s", "--output", "json"])
        .output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let figures: Value = serde_json::from_slice(&out.stdout)?;
    let number =
        |path: &str| figures.pointer(path).and_then(Value::as_f64).with_context(|| format!("{path}: {figures}"));
    for path in ["/start/all_up_ms", "/start/all_see_all_ms", "/kill/p50_ms", "/join/p50_ms"] {
        ensure!(number(path)? > 0.0, "{path}: {figures}");
    }
    for event in ["kill", "join"] {
        let at = |what| number(&format!("/{event}/{what}_ms"));
        ensure!(at("p50")? <= at("p99")? && at("p99")? <= at("max")?, "{figures}");
    }
    let sizes: Vec<_> = figures["idle"].as_array().into_iter().flatten().map(|row| row["nodes"].as_u64()).collect();
    ensure!(sizes == [Some(3), Some(1)], "{figures}");
    // One connection for beats, and at most one for each other purpose.
    ensure!(number("/idle/0/connections_max")? >= 1.0, "{figures}");
    ensure!(number("/memory/rss_mib/p50")? >= number("/memory/pss_mib/p50")?, "{figures}");
    ensure!(number("/memory/pss_mib/p50")? > 1.0, "{figures}");
    Ok(())
}

#[test]
fn the_benchmark_of_strangers_reports_both_phases_and_the_answers_to_wrong_logins() -> anyhow::Result<()> {
    let out = Command::new(program())
        .args(["bench", "strangers", "--connections", "50", "--per-second", "200", "--unfinished", "10"])
        .args(["--span", "10s", "--output", "json"])
        .output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let figures: Value = serde_json::from_slice(&out.stdout)?;
    let number =
        |path: &str| figures.pointer(path).and_then(Value::as_f64).with_context(|| format!("{path}: {figures}"));
    for phase in ["calm", "flooded"] {
        let at = |what| number(&format!("/{phase}/{what}"));
        ensure!(at("queries")? > 0.0 && at("least_trust_left_ms")? > 0.0, "{figures}");
        ensure!(at("p50_ms")? <= at("p99_ms")? && at("p99_ms")? <= at("max_ms")?, "{figures}");
    }
    ensure!(number("/logins/early")? > 0.0 && number("/logins/verified")? > 0.0, "{figures}");
    ensure!(number("/logins/other")? == 0.0, "{figures}");
    Ok(())
}
