//! The time for each index of a build with many small indexes: `cargo bench -p kirin-olap --bench indexes -- [dimensions]…`.
//!
//! A table of 50 rows has one column for each dimension, and one aggregation group makes 2^dimensions − 1 indexes. The
//! rows cost nothing, so the time for each index is what a build does for every step; it must not grow with their number.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use kirin_olap::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROWS: u32 = 50;

fn main() {
    let chosen: Vec<u32> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let chosen = if chosen.is_empty() { vec![7, 8, 9, 10] } else { chosen };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        for dimensions in chosen {
            let times = built(dimensions).await;
            let all: Duration = times.iter().sum();
            let mean = |part: &[Duration]| part.iter().sum::<Duration>().as_secs_f64() * 1000.0 / part.len() as f64;
            let tenth = times.len().div_ceil(10);
            println!(
                "{:>5} indexes: {:>7.2} s, first tenth {:>6.2} ms each, last tenth {:>6.2} ms each",
                times.len(),
                all.as_secs_f64(),
                mean(&times[..tenth]),
                mean(&times[times.len() - tenth..]),
            );
        }
    });
}

/// The time of each index.
async fn built(dimensions: u32) -> Vec<Duration> {
    let dir = tempfile::tempdir().expect("a directory");
    let names: Vec<String> = (0..dimensions).map(|d| format!("d{d}")).collect();
    let rows = (0..ROWS).map(|row| {
        let cells = (0..dimensions).map(|d| (row * 31 % (d + 3)).to_string());
        cells.chain([row.to_string()]).collect::<Vec<_>>().join(",") + "\n"
    });
    let path = dir.path().join("t.csv");
    std::fs::write(&path, format!("{},v\n{}", names.join(","), rows.collect::<String>())).expect("written");
    let source = Source { format: Format::Csv, location: path.display().to_string(), csv: None, granted: None };
    let column = |name: &str| Column { name: name.into(), type_name: "BIGINT".into() };
    let columns = names.iter().map(String::as_str).chain(["v"]).map(column).collect();
    let table = Table { name: "t".into(), source, columns };
    let measures = [("n", "COUNT", None), ("s", "SUM", Some("t.v")), ("low", "MIN", Some("t.v"))];
    let model: Model = serde_json::from_value(serde_json::json!({
        "name": "m", "fact": "t",
        "dimensions": names.iter().map(|d| serde_json::json!({ "name": d, "column": format!("t.{d}") })).collect::<Vec<_>>(),
        "measures": measures.map(|(name, function, column)| match column {
            None => serde_json::json!({ "name": name, "function": function }),
            Some(column) => serde_json::json!({ "name": name, "function": function, "column": column }),
        }),
        "aggregation_groups": [{ "include": names }],
    }))
    .expect("a model");
    let engine = Engine::new(EngineConfig { threads: 2, ..EngineConfig::anywhere() }).expect("an engine");
    let job = BuildJob { model, tables: vec![table], range: SegmentRange::Full };
    let mut building = engine.building(&job, &[]).expect("a build");
    let mut times = vec![];
    for step in plan(&job.model).expect("a plan").steps {
        let began = Instant::now();
        let done = building.step(step.index, dir.path(), Arc::new(|_| {}), &Cancel::default()).await;
        // A worker reports each result as JSON.
        serde_json::to_value(done.expect("it builds")).expect("plain data");
        if step.kind == StepKind::Index {
            times.push(began.elapsed());
        }
    }
    times
}
