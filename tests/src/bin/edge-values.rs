//! Random queries over a table of edge values, answered from raw tables and from indexes; `tests/edge_values.py` compares
//! the answers with DuckDB.
//!
//! ```sh
//! cargo run -p kirin-tests --bin edge-values -- DIR --seed 1 --queries 500
//! ```
//!
//! The tables hold NULL, NaN, both infinities, both zeros, the least and greatest BIGINT and DECIMAL(38,0), the first and
//! last day, empty text, and text of several scripts. A query is drawn from the seed and its number, so the same two
//! numbers give the same query.
//! Prints one JSON object a line: `{"table": …, "path": …}` and `{"number": …, "query": SQL, "index": …, "rows": …}` or the
//! error instead of the rows.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use clap::Parser;
use kirin_olap::{
    BuildJob, Cancel, Catalog, Engine, EngineConfig, Manifest, Model, QueryOptions, Segment, SegmentRange, Snapshot,
    Source, StepResult, Table, plan,
};
use parquet::arrow::ArrowWriter;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

/// What is asked.
#[derive(Debug, Parser)]
struct Args {
    /// Where tables and indexes are written
    dir: PathBuf,
    /// The seed of the queries
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of queries
    #[arg(long, default_value_t = 600)]
    queries: u64,
    /// Ask the query with this number only
    #[arg(long)]
    only: Option<u64>,
    /// Ask this query instead
    #[arg(long)]
    sql: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args { dir, seed, queries, only, sql: given } = Args::parse();
    std::fs::create_dir_all(&dir)?;
    let engine = Engine::new(EngineConfig { threads: 2, ..EngineConfig::anywhere() })?;
    let tables = vec![edges(&engine, &dir).await?, places(&engine, &dir).await?];
    let model = model()?;
    let manifest = built(&engine, &model, &tables, &dir.join("build")).await?;
    let segment = Segment { id: "s".into(), model: model.name.clone(), range: SegmentRange::Full, manifest };
    let snapshot = engine.open(Catalog { tables, models: vec![model], segments: vec![segment] })?;
    let numbers = match &given {
        Some(_) => 0..1,
        None => only.map_or(0..queries, |number| number..number + 1),
    };
    for number in numbers {
        let drawn = || Draw(StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(number))).query();
        let sql = given.clone().unwrap_or_else(drawn);
        for use_index in [false, true] {
            let options =
                QueryOptions { push_down: true, use_index, timeout_ms: Some(30_000), ..QueryOptions::default() };
            let mut line = json!({ "seed": seed, "number": number, "query": sql, "index": use_index });
            match asked(&snapshot, &sql, options).await {
                Ok((rows, indexes)) => {
                    line["rows"] = json!(rows);
                    line["indexes"] = json!(indexes);
                }
                Err(error) => line["error"] = json!(error.to_string()),
            }
            print(&line);
        }
    }
    Ok(())
}

/// The rows of an answer, and the indexes that it reads.
async fn asked(
    snapshot: &Arc<Snapshot>,
    sql: &str,
    options: QueryOptions,
) -> kirin_olap::Result<(Vec<Vec<Option<String>>>, Vec<u64>)> {
    let mut answer = snapshot.query(sql, options).await?;
    let rows = answer.rest_as_text().await?;
    Ok((rows, answer.realizations.iter().map(|r| r.layout).collect()))
}

#[expect(clippy::print_stdout, reason = "its output is read by a script")]
fn print(value: &Value) {
    println!("{value}");
}

/// The greatest DECIMAL(38,0).
const DECIMAL_MAX: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;
/// 0001-01-01 and 9999-12-31 in days, and the first and last microsecond of these days.
const DAYS: (i32, i32) = (-719_162, 2_932_896);
const MICROS: (i64, i64) = (-62_135_596_800_000_000, 253_402_300_799_999_999);
const ROWS: usize = 60;

async fn edges(engine: &Engine, dir: &Path) -> Result<Table> {
    // Lengths that have no common divisor, so that each value meets each other one.
    fn spread<T: Clone>(values: &[T]) -> Vec<T> {
        (0..ROWS).map(|row| values[(row + row / values.len()) % values.len()].clone()).collect()
    }
    let ids = (0..ROWS as i32).collect::<Int32Array>();
    let groups = [
        None,
        Some(""),
        Some(" "),
        Some("a"),
        Some("A"),
        Some("ä"),
        Some("a\u{308}"),
        Some("日本"),
        Some("😀"),
        Some("a%_\\"),
        Some("0"),
    ];
    let keys = [Some(1), None, Some(2), Some(3), Some(2), Some(7), Some(i32::MAX), Some(i32::MIN)];
    let flags = [Some(true), None, Some(false)];
    let integers = [Some(0), Some(i64::MIN), None, Some(i64::MAX), Some(1), Some(-1), Some(2)];
    let floats = [
        Some(0.0),
        Some(f64::NAN),
        Some(f64::INFINITY),
        None,
        Some(-0.0),
        Some(f64::NEG_INFINITY),
        Some(1.5),
        Some(-2.25),
        Some(-f64::NAN),
        Some(1e6),
        Some(5e-324),
        Some(-1e6),
        Some(0.5),
    ];
    let finite = [Some(0.25), None, Some(-1.5), Some(0.0), Some(1024.75), Some(-0.0)];
    let decimals = [None, Some(DECIMAL_MAX), Some(-DECIMAL_MAX), Some(0), Some(1)];
    let cents =
        [Some(150), Some(-1), None, Some(9_999_999_999), Some(0), Some(-9_999_999_999), Some(5), Some(250), Some(1)];
    let days = [Some(DAYS.0), None, Some(DAYS.1), Some(0), Some(19_782), Some(-1), Some(19_783)];
    let times = [None, Some(MICROS.0), Some(MICROS.1), Some(0), Some(1_709_164_800_500_000), Some(-1)];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(ids)),
        ("g", Arc::new(StringArray::from(spread(&groups)))),
        ("k", Arc::new(Int32Array::from(spread(&keys)))),
        ("b", Arc::new(BooleanArray::from(spread(&flags)))),
        ("i", Arc::new(Int64Array::from(spread(&integers)))),
        ("f", Arc::new(Float64Array::from(spread(&floats)))),
        ("x", Arc::new(Float64Array::from(spread(&finite)))),
        ("m", Arc::new(Decimal128Array::from(spread(&decimals)).with_precision_and_scale(38, 0)?)),
        ("c", Arc::new(Decimal128Array::from(spread(&cents)).with_precision_and_scale(10, 2)?)),
        ("d", Arc::new(Date32Array::from(spread(&days)))),
        ("t", Arc::new(TimestampMicrosecondArray::from(spread(&times)))),
    ];
    table(engine, &dir.join("e.parquet"), "e", columns).await
}

async fn places(engine: &Engine, dir: &Path) -> Result<Table> {
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "p",
            Arc::new(Int32Array::from(vec![
                Some(1),
                Some(2),
                Some(3),
                Some(9),
                None,
                Some(i32::MIN),
                Some(7),
                Some(i32::MAX),
            ])),
        ),
        (
            "name",
            Arc::new(StringArray::from(vec![
                Some("a"),
                Some(""),
                None,
                Some("日本"),
                Some("x"),
                Some("a"),
                Some("ä"),
                Some(" "),
            ])),
        ),
        (
            "w",
            Arc::new(Int64Array::from(vec![
                Some(1),
                None,
                Some(i64::MAX),
                Some(0),
                Some(2),
                Some(i64::MIN),
                Some(5),
                Some(-1),
            ])),
        ),
        (
            "y",
            Arc::new(Float64Array::from(vec![
                Some(f64::NAN),
                Some(0.0),
                None,
                Some(f64::INFINITY),
                Some(1.5),
                Some(-0.0),
                Some(f64::MAX),
                Some(f64::MIN),
            ])),
        ),
    ];
    table(engine, &dir.join("l.parquet"), "l", columns).await
}

async fn table(engine: &Engine, path: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) -> Result<Table> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    let source: Source = serde_json::from_value(json!({ "format": "parquet", "location": path }))?;
    let columns = engine.describe(&source).await?.columns;
    print(&json!({ "table": name, "path": path }));
    Ok(Table { name: name.into(), source, columns })
}

fn model() -> Result<Model> {
    let dimensions = ["e.g", "e.k", "e.b", "e.i", "e.f", "e.c", "e.m", "e.d", "e.t", "l.name", "l.y"];
    let measure = |column: &str, functions: &[&str]| -> Vec<Value> {
        let named = |function: &&str| json!({ "name": format!("{function} {column}"), "function": function, "column": format!("e.{column}") });
        functions.iter().map(named).collect()
    };
    let all = ["COUNT", "SUM", "MIN", "MAX", "AVG"];
    let measures = [
        vec![json!({ "name": "n", "function": "COUNT" })],
        measure("x", &all),
        measure("f", &all),
        measure("c", &all),
        measure("k", &all),
        measure("i", &all),
        measure("m", &["COUNT", "MIN", "MAX"]),
        measure("d", &["COUNT", "MIN", "MAX"]),
        measure("t", &["COUNT", "MIN", "MAX"]),
        measure("g", &["COUNT", "MIN", "MAX"]),
    ];
    Ok(serde_json::from_value(json!({
        "name": "edges", "fact": "e",
        "lookups": [{ "table": "l", "join": "left", "fact_key": ["k"], "lookup_key": ["p"] }],
        "dimensions": dimensions.map(|c| json!({ "name": c, "column": c })),
        "measures": measures.concat(),
        "indexes": [["e.g", "e.f", "e.k"], ["e.b", "e.d"], ["e.f"], ["e.i", "l.name"], ["l.y", "e.g"], ["e.c", "e.m"]],
    }))?)
}

async fn built(engine: &Engine, model: &Model, tables: &[Table], dir: &Path) -> Result<Manifest> {
    let job = BuildJob { model: model.clone(), tables: tables.to_vec(), range: SegmentRange::Full };
    let mut results: Vec<Value> = vec![];
    for step in 0..plan(model)?.steps.len() {
        let done = engine.run_step(&job, step, &results, dir, Arc::new(|_| {}), &Cancel::default()).await?;
        results.push(serde_json::to_value(done)?);
    }
    let last: StepResult = serde_json::from_value(results.pop().context("a build has steps")?)?;
    Ok(last.manifest().context("the last step publishes")?.clone())
}

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Text,
    Int,
    Bool,
    Float,
    /// Large enough for overflows.
    Wide,
    Decimal,
    Date,
    Time,
}

const COLUMNS: [(&str, Type); 10] = [
    ("e.g", Type::Text),
    ("e.k", Type::Int),
    ("e.b", Type::Bool),
    ("e.i", Type::Wide),
    ("e.f", Type::Float),
    ("e.x", Type::Float),
    ("e.m", Type::Wide),
    ("e.c", Type::Decimal),
    ("e.d", Type::Date),
    ("e.t", Type::Time),
];
const OF_PLACES: [(&str, Type); 3] = [("l.name", Type::Text), ("l.w", Type::Wide), ("l.y", Type::Float)];

/// A query is drawn from a stream of numbers.
struct Draw(StdRng);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn column(&mut self, joined: bool) -> (&'static str, Type) {
        if joined && self.chance(25) { self.of(&OF_PLACES) } else { self.of(&COLUMNS) }
    }

    fn column_of(&mut self, wanted: Type, joined: bool) -> &'static str {
        loop {
            let (name, found) = self.column(joined);
            if found == wanted {
                return name;
            }
        }
    }

    fn literal(&mut self, of: Type, like: &str) -> String {
        let integer = ["0", "1", "2", "-1", "7", "NULL"];
        match of {
            Type::Text => self.of(&["''", "' '", "'a'", "'A'", "'ä'", "'日本'", "'😀'", "'0'", "NULL"]),
            Type::Int => self.of(&integer),
            Type::Wide if like.ends_with(".m") => self.of(&[
                "0",
                "1",
                "NULL",
                "99999999999999999999999999999999999999",
                "-99999999999999999999999999999999999999",
            ]),
            Type::Wide => self.of(&["0", "1", "-1", "NULL", "9223372036854775807", "-9223372036854775808"]),
            Type::Bool => self.of(&["TRUE", "FALSE", "NULL"]),
            Type::Float => self.of(&[
                "0.0",
                "-0.0",
                "1.5",
                "CAST('NaN' AS DOUBLE)",
                "CAST('Infinity' AS DOUBLE)",
                "CAST('-Infinity' AS DOUBLE)",
                "0",
                "CAST('-0' AS DOUBLE)",
                "CAST(NULL AS DOUBLE)",
                "1e308",
                "0.25",
            ]),
            Type::Decimal => self.of(&["0", "1.50", "-0.01", "99999999.99", "2.5", "NULL"]),
            Type::Date => self.of(&[
                "DATE '0001-01-01'",
                "DATE '9999-12-31'",
                "DATE '1970-01-01'",
                "DATE '2024-02-29'",
                "CAST(NULL AS DATE)",
            ]),
            Type::Time => self.of(&[
                "TIMESTAMP '0001-01-01 00:00:00'",
                "TIMESTAMP '9999-12-31 23:59:59.999999'",
                "TIMESTAMP '1970-01-01 00:00:00'",
                "CAST(NULL AS TIMESTAMP)",
            ]),
        }
        .to_owned()
    }

    /// An expression and its type.
    fn expr(&mut self, joined: bool, depth: usize) -> (String, Type) {
        let (name, of) = self.column(joined);
        if depth == 0 || self.chance(35) {
            return (name.to_owned(), of);
        }
        if self.chance(15) {
            let (condition, other) = (self.condition(joined, depth - 1), self.literal(of, name));
            return (format!("CASE WHEN {condition} THEN {name} ELSE {other} END"), of);
        }
        if self.chance(10) {
            let other = self.literal(of, name);
            let function = self.of(&["COALESCE", "NULLIF"]);
            return (format!("{function}({name}, {other})"), of);
        }
        let text = match of {
            Type::Text => match self.below(5) {
                0 => format!("{name} || 'x'"),
                1 => return (format!("LENGTH({name})"), Type::Int),
                2 => format!("SUBSTRING({name}, 1, 1)"),
                3 => format!("TRIM({name})"),
                _ => format!("REPLACE({name}, 'a', '')"),
            },
            Type::Int => match self.below(6) {
                0 => format!("{name} + 1"),
                1 => format!("{name} * 3"),
                2 => format!("ABS({name})"),
                3 => format!("{name} % 2"),
                4 => return (format!("{name} / 4"), Type::Int),
                _ => format!("- {name}"),
            },
            Type::Wide => match self.below(6) {
                0 => format!("{name} + 1"),
                1 => format!("{name} - 1"),
                2 => format!("{name} * 2"),
                3 => format!("- {name}"),
                4 => return (format!("CAST({name} AS DOUBLE)"), Type::Float),
                _ => format!("ABS({name})"),
            },
            Type::Float => match self.below(9) {
                0 => format!("{name} + {}", self.column_of(Type::Float, joined)),
                1 => format!("{name} - {}", self.column_of(Type::Float, joined)),
                2 => format!("{name} * {}", self.column_of(Type::Float, joined)),
                3 => format!("- {name}"),
                4 => format!("{name} * -1"),
                5 => format!("ABS({name})"),
                6 => format!("{name} / 4"),
                7 => format!("FLOOR({name})"),
                _ => format!("{name} * 0"),
            },
            Type::Decimal => match self.below(4) {
                0 => format!("{name} + 1"),
                1 => format!("{name} * 3"),
                2 => format!("- {name}"),
                _ => format!("{name} - {name}"),
            },
            Type::Date => {
                let part = self.of(&["YEAR", "MONTH", "DAY", "QUARTER"]);
                return (format!("EXTRACT({part} FROM {name})"), Type::Int);
            }
            Type::Time => match self.below(3) {
                0 => return (format!("EXTRACT(YEAR FROM {name})"), Type::Int),
                1 => return (format!("CAST({name} AS DATE)"), Type::Date),
                _ => format!("DATE_TRUNC('month', {name})"),
            },
            Type::Bool => format!("NOT {name}"),
        };
        (format!("({text})"), of)
    }

    fn condition(&mut self, joined: bool, depth: usize) -> String {
        if depth > 0 && self.chance(45) {
            let (a, b) = (self.condition(joined, depth - 1), self.condition(joined, depth - 1));
            return match self.below(4) {
                0 => format!("({a} AND {b})"),
                1 => format!("({a} OR {b})"),
                2 => format!("NOT ({a})"),
                _ => format!("({a} AND NOT ({b}))"),
            };
        }
        let (value, of) = if self.chance(30) { self.expr(joined, 1) } else { self.expr(joined, 0) };
        let like = value.clone();
        let mut literal = || self.literal(of, &like);
        let (one, other) = (literal(), literal());
        match self.below(10) {
            0 => format!("{value} IS NULL"),
            1 => format!("{value} IS NOT NULL"),
            2 => format!("{value} IN ({one}, {other})"),
            3 => format!("{value} NOT IN ({one}, {other})"),
            4 => format!("{value} IS DISTINCT FROM {one}"),
            5 => format!("{value} IS NOT DISTINCT FROM {one}"),
            6 if of != Type::Bool => format!("{value} BETWEEN {one} AND {other}"),
            7 if of == Type::Text => format!("{value} LIKE {}", self.of(&["'%a%'", "'_'", "''", "'%'", "'a%'"])),
            8 if of == Type::Float => {
                format!("{value} {} {}", self.of(&["=", "<", ">="]), self.column_of(Type::Float, joined))
            }
            _ => format!("{value} {} {one}", self.of(&["=", "<>", "<", ">", "<=", ">="])),
        }
    }

    fn aggregate(&mut self, joined: bool) -> String {
        if self.chance(15) {
            return "COUNT(*)".to_owned();
        }
        let (value, of) = if self.chance(25) { self.expr(joined, 1) } else { self.expr(joined, 0) };
        // The sum of very large and small floats depends on the order of the rows.
        let is_sum_certain = !["l.y", "1e308", "AS DOUBLE"].iter().any(|text| value.contains(text));
        let number = matches!(of, Type::Int | Type::Wide | Type::Float | Type::Decimal) && is_sum_certain;
        match self.below(if number { 7 } else { 4 }) {
            0 => format!("COUNT({value})"),
            1 => format!("COUNT(DISTINCT {value})"),
            2 if of != Type::Bool => format!("MIN({value})"),
            3 if of != Type::Bool => format!("MAX({value})"),
            4 => format!("SUM({value})"),
            5 => format!("AVG({value})"),
            6 => format!("SUM(CASE WHEN {} THEN 1 ELSE 0 END)", self.condition(joined, 0)),
            _ => format!("COUNT({value})"),
        }
    }

    fn from(&mut self) -> (&'static str, bool) {
        match self.below(10) {
            0..5 => ("e", false),
            5..8 => ("e LEFT JOIN l ON e.k = l.p", true),
            8 => ("e JOIN l ON e.f = l.y", true),
            _ => ("e JOIN l ON e.k = l.p", true),
        }
    }

    fn filter(&mut self, joined: bool) -> String {
        match self.below(10) {
            0..4 => String::new(),
            4 => {
                let text = self.of(&[
                    "e.i NOT IN (SELECT w FROM l WHERE w IS NOT NULL)",
                    "e.i NOT IN (SELECT w FROM l)",
                    "e.f IN (SELECT y FROM l)",
                    "e.g IN (SELECT name FROM l)",
                    "e.f NOT IN (SELECT y FROM l WHERE y > 0)",
                    "EXISTS (SELECT 1 FROM l z WHERE z.y = e.f)",
                    "NOT EXISTS (SELECT 1 FROM l z WHERE z.name = e.g)",
                    "e.i > (SELECT MIN(w) FROM l)",
                    "e.f = (SELECT MAX(y) FROM l)",
                ]);
                format!(" WHERE {text}")
            }
            _ => format!(" WHERE {}", self.condition(joined, 2)),
        }
    }

    fn sorted(&mut self, column: usize) -> String {
        let (direction, nulls) = (self.of(&["", " DESC", " ASC"]), self.of(&["", "", " NULLS FIRST", " NULLS LAST"]));
        format!("{column}{direction}{nulls}")
    }

    /// By every column, so that the order of the rows is certain.
    fn order(&mut self, columns: usize) -> String {
        let items: Vec<_> = (1..=columns).map(|column| self.sorted(column)).collect();
        let limit = if self.chance(20) { format!(" LIMIT {}", 1 + self.below(9)) } else { String::new() };
        format!(" ORDER BY {}{limit}", items.join(", "))
    }

    fn query(&mut self) -> String {
        match self.below(10) {
            0..6 => self.aggregation(),
            6..8 => self.rows(),
            8 => self.window(),
            _ => self.united(),
        }
    }

    fn aggregation(&mut self) -> String {
        let (from, joined) = self.from();
        let mut groups: Vec<String> = vec![];
        for _ in 0..self.below(4) {
            let group = if self.chance(20) { self.expr(joined, 1).0 } else { self.column(joined).0.to_owned() };
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        let aggregates: Vec<_> = (0..1 + self.below(3)).map(|_| self.aggregate(joined)).collect();
        let columns: Vec<_> =
            groups.iter().chain(&aggregates).enumerate().map(|(n, c)| format!("{c} AS c{n}")).collect();
        let list = groups.join(", ");
        let by = match groups.len() {
            0 => String::new(),
            2.. if self.chance(30) => match self.below(4) {
                0 => format!(" GROUP BY ROLLUP ({list})"),
                1 => format!(" GROUP BY CUBE ({list})"),
                2 => format!(" GROUP BY GROUPING SETS (({list}), ({}), ())", groups[0]),
                _ => format!(" GROUP BY GROUPING SETS (({}), ({}))", groups[0], groups[1]),
            },
            _ => format!(" GROUP BY {list}"),
        };
        let having =
            if self.chance(15) { format!(" HAVING {} IS NOT NULL", self.aggregate(joined)) } else { String::new() };
        let filter = self.filter(joined);
        let order = self.order(columns.len());
        format!("SELECT {} FROM {from}{filter}{by}{having}{order}", columns.join(", "))
    }

    fn rows(&mut self) -> String {
        let (from, joined) = self.from();
        let columns: Vec<_> = (1..2 + self.below(3)).map(|n| format!("{} AS c{n}", self.expr(joined, 2).0)).collect();
        let distinct = if self.chance(25) { "DISTINCT " } else { "e.id, " };
        let filter = self.filter(joined);
        let order = self.order(columns.len() + usize::from(distinct == "e.id, "));
        format!("SELECT {distinct}{} FROM {from}{filter}{order}", columns.join(", "))
    }

    fn window(&mut self) -> String {
        let (part, by) = (self.column(false).0, self.column(false).0);
        let (direction, nulls) = (self.of(&["", " DESC"]), self.of(&["", " NULLS FIRST", " NULLS LAST"]));
        let over = format!("(PARTITION BY {part} ORDER BY {by}{direction}{nulls}, e.id)");
        let call = match self.below(7) {
            0 => format!("ROW_NUMBER() OVER {over}"),
            1 => format!("RANK() OVER (ORDER BY {by}{direction}{nulls})"),
            2 => format!("DENSE_RANK() OVER (PARTITION BY {part} ORDER BY {by}{direction}{nulls})"),
            3 => format!("LAG({by}) OVER {over}"),
            4 => format!("FIRST_VALUE({by}) OVER {over}"),
            5 => format!("COUNT({by}) OVER (PARTITION BY {part})"),
            _ => format!(
                "{} OVER (PARTITION BY {part})",
                self.of(&["SUM(e.x)", "MIN(e.f)", "MAX(e.f)", "SUM(e.f)", "SUM(e.i)", "AVG(e.x)", "MAX(e.m)"])
            ),
        };
        let filter = self.filter(false);
        format!("SELECT e.id, {call} AS c1 FROM e{filter} ORDER BY 1, 2")
    }

    fn united(&mut self) -> String {
        let of = self.of(&[Type::Text, Type::Float, Type::Wide]);
        let (one, other) = match of {
            Type::Text => (self.column_of(of, false), "name"),
            Type::Float => (self.column_of(of, false), "y"),
            _ => ("e.i", "w"),
        };
        let sign = if of == Type::Float && self.chance(40) { "- " } else { "" };
        let operation = self.of(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
        let filter = self.filter(false);
        let order = self.sorted(1);
        format!("SELECT {one} AS c1 FROM e{filter} {operation} SELECT {sign}{other} FROM l ORDER BY {order}")
    }
}
