//! A query against a small model with indexes.
//!
//! Bytes above ASCII stand for words of SQL and of the model, so that random bytes are often queries.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use kirin_olap::{
    BuildJob, Cancel, Catalog, Engine, EngineConfig, Manifest, QueryOptions, Segment, Snapshot, Table, plan,
};
use serde_json::json;

/// The words for bytes from 128 on.
const WORDS: [&str; 62] = [
    "SELECT ",
    "FROM sales",
    "GROUP BY ",
    "ORDER BY ",
    "WHERE ",
    "HAVING ",
    "LIMIT 3",
    "COUNT(*)",
    "SUM(amount)",
    "MIN(amount)",
    "MAX(amount)",
    "COUNT(DISTINCT city)",
    "AVG(amount)",
    "city",
    "day",
    "amount",
    "kind",
    "sales.city",
    ", ",
    " AND ",
    " OR ",
    "NOT ",
    " = ",
    " < ",
    " >= ",
    " IN (",
    ") ",
    "(",
    "'Rome'",
    "'Oslo'",
    "DATE '2024-01-02'",
    "1",
    "0",
    "NULL",
    " IS NULL",
    " BETWEEN ",
    " LIKE '%o%'",
    "CASE WHEN ",
    " THEN ",
    " ELSE ",
    " END",
    " AS a",
    "a",
    "WITH t AS (",
    "FROM t",
    " JOIN sales b ON ",
    "b.city",
    " UNION ALL ",
    "DISTINCT ",
    "*",
    "+",
    "-",
    "/",
    "CAST(day AS VARCHAR)",
    "UPPER(city)",
    "EXTRACT(MONTH FROM day)",
    "ROLLUP (",
    "OVER (PARTITION BY ",
    "SUM(1)",
    "\"city\"",
    "COUNT(kind)",
    " DESC",
];

struct World {
    runtime: tokio::runtime::Runtime,
    snapshot: Arc<Snapshot>,
    _engine: Engine,
    _dir: tempfile::TempDir,
}

/// Runs the query on indexes and on raw tables.
///
/// # Panics
/// If both answer, and the answers differ.
pub fn run(data: &[u8]) {
    let sql = decode(data);
    let world = world();
    let ask = |options: QueryOptions| world.runtime.block_on(rows(world, &sql, options));
    let limit = Some(100);
    let raw = ask(QueryOptions { limit, push_down: true, use_index: false, ..QueryOptions::default() });
    let index = ask(QueryOptions { limit, ..QueryOptions::default() });
    let _ = world.runtime.block_on(world.snapshot.explain(&sql, QueryOptions { limit, ..QueryOptions::default() }));
    // With a limit, each may return other rows.
    if let (Ok(raw), Ok(index)) = (raw, index)
        && raw.len() < 100
        && !sql.to_ascii_uppercase().contains("LIMIT")
    {
        let sorted = |rows: &[Vec<Option<String>>]| {
            let mut rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(rounded).collect()).collect();
            rows.sort();
            rows
        };
        assert_eq!(sorted(&index), sorted(&raw), "{sql}");
    }
}

/// All rows of an answer, as text.
async fn rows(world: &World, sql: &str, options: QueryOptions) -> Result<Vec<Vec<Option<String>>>, kirin_olap::Error> {
    world.snapshot.query(sql, options).await?.rest_as_text().await
}

/// Compares with a tolerance, because floats may be added in another order.
fn rounded(cell: &Option<String>) -> Option<String> {
    let cell = cell.as_ref()?;
    Some(match cell.parse::<f64>() {
        Ok(number) if cell.contains(['.', 'e', 'E']) => format!("{number:.6e}"),
        _ => cell.clone(),
    })
}

/// Decodes the query.
pub fn decode(data: &[u8]) -> String {
    let mut sql = String::new();
    for byte in data.iter().take(400) {
        match byte.checked_sub(128) {
            None => sql.push(char::from(*byte)),
            Some(word) => sql.push_str(WORDS[usize::from(word) % WORDS.len()]),
        }
    }
    sql
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let engine = Engine::new(EngineConfig { threads: 1, ..EngineConfig::anywhere() }).expect("an engine");
        let snapshot = runtime.block_on(built(&engine, dir.path()));
        World { runtime, snapshot, _engine: engine, _dir: dir }
    })
}

/// A table of thirty sales, a model over it, and its indexes.
async fn built(engine: &Engine, dir: &Path) -> Arc<Snapshot> {
    let mut csv = "day,city,kind,amount\n".to_owned();
    for n in 0..30 {
        let (city, kind) = (["Rome", "Oslo", "Lima"][n % 3], ["x", "y", "", "z"][n % 4]);
        csv.push_str(&format!("2024-01-{:02},{city},{kind},{}\n", n % 9 + 1, n * 7 % 11));
    }
    let file = dir.join("sales.csv");
    std::fs::write(&file, csv).expect("the folder is ours");
    let table: Table = serde_json::from_value(json!({
        "name": "sales",
        "source": { "format": "csv", "location": file, "csv": { "header": true } },
        "columns": [
            { "name": "day", "type_name": "DATE" }, { "name": "city", "type_name": "VARCHAR" },
            { "name": "kind", "type_name": "VARCHAR" }, { "name": "amount", "type_name": "BIGINT" }
        ]
    }))
    .expect("a table");
    let model: kirin_olap::Model = serde_json::from_value(json!({
        "name": "m", "fact": "SALES",
        "dimensions": [{ "name": "CITY", "column": "SALES.CITY" }, { "name": "DAY", "column": "SALES.DAY" }],
        "measures": [
            { "name": "n", "function": "COUNT" }, { "name": "s", "function": "SUM", "column": "SALES.AMOUNT" },
            { "name": "lo", "function": "MIN", "column": "SALES.AMOUNT" },
            { "name": "hi", "function": "MAX", "column": "SALES.AMOUNT" }
        ],
        "indexes": [["CITY", "DAY"], ["CITY"]]
    }))
    .expect("a model");
    let job: BuildJob =
        serde_json::from_value(json!({ "model": model, "tables": [table], "range": "full" })).expect("a job");
    let manifest = build(engine, &job, &dir.join("segment")).await;
    let segment = Segment { id: "1".to_owned(), model: job.model.name.clone(), range: job.range, manifest };
    engine.open(Catalog { tables: job.tables, models: vec![job.model], segments: vec![segment] }).expect("a catalog")
}

async fn build(engine: &Engine, job: &BuildJob, dir: &Path) -> Manifest {
    let mut prior = Vec::new();
    for step in plan(&job.model).expect("a plan").steps {
        let result = engine.run_step(job, step.index, &prior, dir, Arc::new(|_| {}), &Cancel::default()).await;
        let result = result.expect("the model can be built");
        if let Some(manifest) = result.manifest() {
            return manifest.clone();
        }
        prior.push(serde_json::to_value(&result).expect("a result is JSON"));
    }
    unreachable!("the last step publishes")
}
