//! Times of the demo model: building all its indexes, and queries answered from an index and from raw tables.
//! `cargo bench -p kirin-olap -- [runs]`. `benches/in_duckdb.py` does the same work with DuckDB.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use kirin_olap::*;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const QUERIES: [(&str, &str); 6] = [
    (
        "flights per airline",
        "SELECT a.name, COUNT(*) n, AVG(f.dep_delay) delay FROM flights f JOIN airlines a ON f.carrier = a.carrier GROUP BY a.name ORDER BY n DESC",
    ),
    ("distance per month", "SELECT month, SUM(distance), MAX(dep_delay) FROM flights GROUP BY month ORDER BY month"),
    (
        "one destination",
        "SELECT origin, COUNT(*), AVG(arr_delay) FROM flights WHERE dest = 'ORD' GROUP BY origin ORDER BY origin",
    ),
    (
        "late airlines of a summer",
        "SELECT carrier, AVG(arr_delay) d FROM flights WHERE month IN (6, 7, 8) GROUP BY carrier HAVING COUNT(*) > 100 ORDER BY d DESC LIMIT 5",
    ),
    (
        "planes",
        "SELECT p.manufacturer, COUNT(*) c FROM flights f LEFT JOIN planes p ON f.tailnum = p.tailnum GROUP BY p.manufacturer ORDER BY c DESC LIMIT 10",
    ),
    (
        "routes",
        "SELECT f.origin, a.name, COUNT(*) c FROM flights f JOIN airports a ON f.dest = a.faa GROUP BY f.origin, a.name ORDER BY c DESC LIMIT 20",
    ),
];

async fn build(engine: &Engine, job: &BuildJob, dir: &Path, show: bool) -> Manifest {
    let mut prior = vec![];
    for step in plan(&job.model).expect("the demo's model is valid").steps {
        let result = engine
            .run_step(job, step.index, &prior, dir, Arc::new(|_| {}), &Cancel::default())
            .await
            .expect("the demo builds");
        if show {
            let dimensions = step.layout.map(|l| job.model.layout_dimensions(l).join(", ")).unwrap_or_default();
            println!("  {:>5} ms {:>8} rows  {} {dimensions}", result.millis, result.rows, result.name);
        }
        if let Some(manifest) = result.manifest() {
            return manifest.clone();
        }
        prior.push(serde_json::to_value(&result).expect("plain data"));
    }
    unreachable!("the last step publishes")
}

fn quantile(sorted: &[Duration], q: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q) as usize].as_secs_f64() * 1000.0
}

fn main() {
    let runs: usize = std::env::args().filter_map(|a| a.parse().ok()).next().unwrap_or(300);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        demo::write_files(dir.path()).expect("the demo's files");
        let (tables, model) = (demo::tables(dir.path()), demo::model());
        let full = BuildJob { model: model.clone(), tables: tables.clone(), range: SegmentRange::Full };
        let mut times = vec![];
        let mut manifest = None;
        for run in 0..5 {
            // A fresh engine each time: nothing cached.
            let engine = Engine::new(EngineConfig::anywhere()).expect("an engine");
            let began = Instant::now();
            manifest = Some(build(&engine, &full, &dir.path().join(format!("full-{run}")), run == 0).await);
            times.push(began.elapsed());
        }
        times.sort();
        println!(
            "build of all {} indexes: median {:.0} ms, best {:.0} ms",
            model.layouts().expect("valid").len(),
            quantile(&times, 0.5),
            quantile(&times, 0.0)
        );

        let engine = Engine::new(EngineConfig::anywhere()).expect("an engine");
        let began = Instant::now();
        let mut months = vec![];
        for (i, range) in demo::months().into_iter().enumerate() {
            let job = BuildJob { model: model.clone(), tables: tables.clone(), range };
            let manifest = build(&engine, &job, &dir.path().join(format!("month-{i}")), false).await;
            months.push(Segment { id: i.to_string(), model: model.name.clone(), range, manifest });
        }
        println!("build as {} monthly segments: {:.0} ms", months.len(), began.elapsed().as_secs_f64() * 1000.0);

        let manifest = manifest.expect("built above");
        let full = vec![Segment { id: "full".into(), model: model.name.clone(), range: SegmentRange::Full, manifest }];
        for (name, segments) in [("one segment", full), ("monthly segments", months)] {
            let catalog = Catalog { tables: tables.clone(), models: vec![model.clone()], segments };
            let began = Instant::now();
            let snapshot = engine.open(catalog).expect("a snapshot");
            println!("\n{name}: opened in {:.2} ms", began.elapsed().as_secs_f64() * 1000.0);
            println!("{:28} {:>9} {:>9} {:>9} {:>7}", "query", "index p50", "index p99", "raw p50", "faster");
            for (name, sql) in QUERIES {
                let time = async |options: QueryOptions, runs: usize| {
                    let mut times = vec![];
                    for _ in 0..runs {
                        let began = Instant::now();
                        let mut answer = snapshot.query(sql, options.clone()).await.expect("an answer");
                        while let Some(batch) = answer.next_batch().await.expect("a batch") {
                            text_rows(&batch).expect("text");
                        }
                        times.push(began.elapsed());
                        assert_eq!(answer.push_down, options.push_down, "{sql}");
                    }
                    times.sort();
                    times
                };
                let raw = QueryOptions { push_down: true, use_index: false, ..QueryOptions::default() };
                let index = time(QueryOptions::default(), runs).await;
                let raw = time(raw, (runs / 10).max(3)).await;
                println!(
                    "{name:28} {:9.2} {:9.2} {:9.2} {:6.0}x",
                    quantile(&index, 0.5),
                    quantile(&index, 0.99),
                    quantile(&raw, 0.5),
                    quantile(&raw, 0.5) / quantile(&index, 0.5)
                );
            }
        }
    });
}
