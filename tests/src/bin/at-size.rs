//! Builds and queries at a size where caches evict, aggregations spill and plans are wide; `tests/at_size.py` compares
//! everything with DuckDB.
//!
//! ```sh
//! cargo run --release -p kirin-tests --bin at-size -- DIR --rows 3000000 --builds 10
//! ```
//!
//! Writes the generated tables to DIR. Builds a model of eight dimensions repeatedly, with plans of different widths
//! and caches of different sizes. Then runs queries with different widths and memory limits. Prints one JSON object per
//! line: `{"table": …}`, `{"build": …, "layouts": {ID: [FILE…]}}` and `{"query": SQL, "threads": …, "memory": …,
//! "index": …, "rows": …}`, or the error instead of the rows.

use anyhow::{Context as _, Result, ensure};
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use clap::Parser;
use kirin_olap::{
    BuildJob, Cancel, Catalog, Engine, EngineConfig, Manifest, Model, QueryOptions, Segment, SegmentRange, Source,
    StepResult, Table, plan,
};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Distinct values of each dimension; about 0.7 groups for each row at three million rows.
const DISTINCT: [u64; 7] = [10, 4, 25, 5, 100, 3, 8];
const MIB: usize = 1 << 20;

/// The size of the tables, and the number of builds.
#[derive(Debug, Parser)]
struct Args {
    /// The directory for tables and indexes
    dir: PathBuf,
    /// Rows of the fact table
    #[arg(long, default_value_t = 3_000_000)]
    rows: u64,
    /// Builds in a row
    #[arg(long, default_value_t = 10)]
    builds: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args { dir, rows, builds } = Args::parse();
    std::fs::create_dir_all(&dir)?;
    let tables = vec![facts(&dir, rows).await?, places(&dir).await?];
    let model = model()?;
    let mut last = None;
    for build in 0..builds {
        // Caches for all files, for one or two files, and for none.
        let (threads, cache_bytes) = [(2, 256 * MIB), (8, 96 * MIB), (1, 160 * MIB), (2, 8 * MIB)][build % 4];
        let engine = Engine::new(EngineConfig { threads, cache_bytes, ..EngineConfig::anywhere() })?;
        let attempt = dir.join(format!("build-{build}"));
        let one = built(&engine, &model, &tables, attempt.clone()).await?;
        std::fs::remove_dir_all(attempt.join("flat"))?;
        let layouts = one.layouts.iter().map(|l| {
            let files: Vec<_> = l.files.iter().map(|f| f.path.clone()).collect();
            (l.layout.to_string(), json!({ "columns": l.columns, "files": files }))
        });
        print(json!({ "build": build, "threads": threads, "layouts": layouts.collect::<serde_json::Map<_, _>>() }));
        last = Some(one);
    }
    let manifest = last.context("--builds must be at least 1")?;
    queries(&tables, &model, &manifest).await
}

#[expect(clippy::print_stdout, reason = "its output is read by a script")]
fn print(value: Value) {
    println!("{value}");
}

/// A hash for generated values. The script reads them from the files.
fn hash(row: u64, salt: u64) -> u64 {
    let mut v = (row * 64 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    v = (v ^ (v >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    v = (v ^ (v >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    v ^ (v >> 31)
}

async fn facts(dir: &Path, rows: u64) -> Result<Table> {
    let column = |k: usize, rows: std::ops::Range<u64>| -> ArrayRef {
        let values = rows.map(|row| hash(row, k as u64) % DISTINCT[k]);
        match k % 2 {
            0 => Arc::new(values.map(|v| Some(format!("city-number-{v}")).filter(|_| v != 3)).collect::<StringArray>()),
            _ => Arc::new(values.map(|v| v as i32).collect::<Int32Array>()),
        }
    };
    let path = dir.join("f.parquet");
    let mut writer = None;
    for first in (0..rows).step_by(100_000) {
        let range = first..rows.min(first + 100_000);
        let mut columns: Vec<(String, ArrayRef)> =
            (0..7).map(|k| (format!("k{k}"), column(k, range.clone()))).collect();
        let values = range.clone().map(|row| Some((hash(row, 9) % 1000) as i64 - 300).filter(|v| *v != 17));
        columns.push(("v".into(), Arc::new(values.collect::<Int64Array>())));
        let batch = RecordBatch::try_from_iter(columns)?;
        if writer.is_none() {
            writer = Some(ArrowWriter::try_new(File::create(&path)?, batch.schema(), None)?);
        }
        writer.as_mut().context("made above")?.write(&batch)?;
    }
    writer.context("--rows must be at least 1")?.close()?;
    table(&path, "f").await
}

async fn places(dir: &Path) -> Result<Table> {
    let ids = 0..DISTINCT[4];
    let names = ids.clone().map(|v| Some(format!("city-number-{v}")));
    let regions = ids.map(|v| Some(format!("region {}", v % 7)));
    let batch = RecordBatch::try_from_iter([
        ("name", Arc::new(names.collect::<StringArray>()) as ArrayRef),
        ("region", Arc::new(regions.collect::<StringArray>())),
    ])?;
    let path = dir.join("places.parquet");
    let mut writer = ArrowWriter::try_new(File::create(&path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    table(&path, "places").await
}

async fn table(path: &Path, name: &str) -> Result<Table> {
    let source: Source = serde_json::from_value(json!({ "format": "parquet", "location": path }))?;
    let columns = Engine::new(EngineConfig::anywhere())?.describe(&source).await?.columns;
    print(json!({ "table": name, "path": path }));
    Ok(Table { name: name.into(), source, columns })
}

fn model() -> Result<Model> {
    let own = (0..7).map(|k| json!({ "name": format!("k{k}"), "column": format!("f.k{k}") }));
    let region = json!({ "name": "region", "column": "places.region" });
    let dimensions: Vec<_> = own.chain([region]).collect();
    Ok(serde_json::from_value(json!({
        "name": "m", "fact": "f",
        "lookups": [{ "table": "places", "join": "left", "fact_key": ["k4"], "lookup_key": ["name"] }],
        "dimensions": dimensions,
        "measures": [
            { "name": "n", "function": "COUNT" }, { "name": "s", "function": "SUM", "column": "f.v" },
            { "name": "low", "function": "MIN", "column": "f.v" }, { "name": "high", "function": "MAX", "column": "f.v" },
            { "name": "mean", "function": "AVG", "column": "f.v" },
        ],
        "indexes": [["k0", "k2", "k4", "k6"], ["k1", "region"], ["k3"]],
    }))?)
}

async fn built(engine: &Engine, model: &Model, tables: &[Table], dir: PathBuf) -> Result<Manifest> {
    let job = BuildJob { model: model.clone(), tables: tables.to_vec(), range: SegmentRange::Full };
    let mut results: Vec<Value> = vec![];
    for step in 0..plan(model)?.steps.len() {
        let done = engine.run_step(&job, step, &results, &dir, Arc::new(|_| {}), &Cancel::default()).await?;
        results.push(serde_json::to_value(done)?);
    }
    let last: StepResult = serde_json::from_value(results.pop().context("a build has steps")?)?;
    Ok(last.manifest().context("the last step publishes")?.clone())
}

/// The inner aggregations have the maximum number of groups. The outer ones reduce them to a few numbers.
const QUERIES: [&str; 9] = [
    "select count(*), sum(n), sum(s), min(low), max(high), sum(n * (k1 + 7 * k3 + 1)) from (select k0, k1, k2, k3, k4, k5, k6, count(*) n, sum(v) s, min(v) low, max(v) high from f group by k0, k1, k2, k3, k4, k5, k6) t",
    "select k3, count(*), sum(n), sum(s) from (select k0, k2, k3, k4, k6, count(*) n, sum(v) s from f group by k0, k2, k3, k4, k6) t group by k3 order by k3",
    "select k1, region, count(*), sum(v), min(v), max(v), count(v) from f left join places on k4 = name group by k1, region order by k1, region",
    "select k0, count(distinct k4), count(distinct v) from f group by k0 order by k0",
    "select count(*) from (select distinct k0, k1, k2, k3, k4, k5, k6, v from f) t",
    "select count(*), sum(a.v) from f a join places p on a.k4 = p.name join places q on a.k4 = q.name where p.region <> 'region 3'",
    "select count(*), sum(x.n * y.n) from (select k0, k2, k4, count(*) n from f group by k0, k2, k4) x join (select k0, k2, k4, k6, count(*) n from f group by k0, k2, k4, k6) y on x.k0 = y.k0 and x.k2 = y.k2 and x.k4 = y.k4",
    "select k5, k1, n from (select k5, k1, count(*) n, row_number() over (partition by k5 order by count(*) desc, k1) r from f group by k5, k1) t where r <= 2 order by k5, k1",
    "select count(*), sum(s) from (select k0, k4, sum(v) s from f where k6 is not null and v > 0 group by k0, k4 having count(*) > 2 order by 3 limit 100000) t",
];

async fn queries(tables: &[Table], model: &Model, manifest: &Manifest) -> Result<()> {
    let segment =
        Segment { id: "s".into(), model: model.name.clone(), range: SegmentRange::Full, manifest: manifest.clone() };
    let catalog = Catalog { tables: tables.to_vec(), models: vec![model.clone()], segments: vec![segment] };
    for (threads, memory_limit, cache_bytes) in
        [(1, 4096 * MIB, 256 * MIB), (2, 4096 * MIB, 256 * MIB), (8, 4096 * MIB, 8 * MIB), (2, 160 * MIB, 8 * MIB)]
    {
        let engine = Engine::new(EngineConfig { threads, memory_limit, cache_bytes, ..EngineConfig::anywhere() })?;
        let snapshot = engine.open(catalog.clone())?;
        for sql in QUERIES {
            for use_index in [true, false] {
                let options = QueryOptions { push_down: true, use_index, ..QueryOptions::default() };
                let mut line = json!({
                    "query": sql, "threads": threads, "memory": memory_limit / MIB, "index": use_index,
                });
                let answer = async {
                    let mut answer = snapshot.query(sql, options).await?;
                    let rows = answer.rest_as_text().await?;
                    Ok::<_, kirin_olap::Error>((answer, rows))
                };
                match answer.await {
                    Ok((answer, rows)) => {
                        line["rows"] = json!(rows);
                        line["indexes"] = json!(answer.realizations.iter().map(|r| r.layout).collect::<Vec<_>>());
                    }
                    Err(error) => line["error"] = json!(error.to_string()),
                }
                ensure!(line.get("error").is_none() || memory_limit < 1024 * MIB, "{line}");
                print(line);
            }
        }
    }
    Ok(())
}
