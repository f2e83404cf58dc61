//! Random tables, models, segments and queries: an index must answer like the raw tables.
//!
//! A case is drawn from a list of numbers, so that shrinking the list shrinks the case. Floats in the data are multiples of
//! 0.25, so that sums are exact in any order and rows can be compared as text. The seed is fixed. `KIRIN_PROPERTY_CASES`
//! sets the number of cases, `KIRIN_PROPERTY_SEED` another seed.

use crate::shop::Ask;
use kirin_olap::*;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

const QUERIES: usize = 14;

#[test]
fn indexes_answer_like_raw_tables() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let config = Config {
        cases: number("KIRIN_PROPERTY_CASES", 24),
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number("KIRIN_PROPERTY_SEED", 7).to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let engine = Engine::new(EngineConfig { threads: 2, ..EngineConfig::anywhere() }).unwrap();
    let seen: RefCell<BTreeMap<&'static str, usize>> = RefCell::default();
    // Shrinking drops queries; the tables and the model stay.
    let numbers = |n: usize| proptest::collection::vec(proptest::num::u32::ANY, n).no_shrink();
    let strategy = (numbers(1200), proptest::collection::vec(numbers(80), 1..=QUERIES));
    let result = runner.run(&strategy, |(numbers, queries)| {
        let case = Case::draw(&numbers, &queries);
        runtime.block_on(case.check(&engine, &mut seen.borrow_mut())).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, _)) => panic!("{reason}"),
        Err(e) => panic!("{e}"),
    }
    let seen = seen.into_inner();
    println!("{seen:#?}");
    // The generators must reach every kind of query.
    let share = |name: &str, least: f64| {
        let count = seen.get(name).copied().unwrap_or(0) as f64 / seen["queries"] as f64;
        assert!(
            count >= least,
            "only {:.1} % of the queries were \"{name}\", wanted {:.1} %",
            count * 100.0,
            least * 100.0
        );
    };
    share("answered by an index", 0.35);
    share("refused", 0.05);
    share("mixed with raw rows", 0.05);
    share("with rows", 0.3);
    share("joined", 0.1);
    for rare in
        ["cube over rollup", "time range", "empty segment", "inner join on a left model", "having", "limit", "nested"]
    {
        assert!(seen.contains_key(rare), "no query was \"{rare}\"");
    }
}

struct Draws<'a> {
    numbers: &'a [u32],
    next: usize,
}

impl Draws<'_> {
    fn pick(&mut self, n: usize) -> usize {
        self.next += 1;
        self.numbers.get(self.next - 1).map_or(0, |v| *v as usize % n)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.pick(100) >= 100 - percent
    }

    fn of<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        &list[self.pick(list.len())]
    }

    fn some<T: Clone>(&mut self, list: &[T], percent: usize) -> Vec<T> {
        list.iter().filter(|_| self.chance(percent)).cloned().collect()
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Type {
    Text,
    Int,
    Double,
    Decimal,
    Date,
    Bool,
}

/// Alias, column, type.
type Col = (&'static str, &'static str, Type);

const FACT: [Col; 10] = [
    ("f", "k1", Type::Text),
    ("f", "k2", Type::Int),
    ("f", "d1", Type::Text),
    ("f", "d2", Type::Int),
    ("f", "day", Type::Date),
    ("f", "flag", Type::Bool),
    ("f", "x", Type::Int),
    ("f", "y", Type::Double),
    ("f", "Mixed Case", Type::Text),
    ("f", "money", Type::Decimal),
];
const A: [Col; 3] = [("a", "id", Type::Text), ("a", "name", Type::Text), ("a", "n", Type::Int)];
const B: [Col; 2] = [("b", "id", Type::Int), ("b", "grp", Type::Text)];

fn sql_name((alias, column, _): Col) -> String {
    if column.contains(' ') { format!("{alias}.\"{column}\"") } else { format!("{alias}.{column}") }
}

struct Case {
    files: Vec<(&'static str, String)>,
    tables: Vec<(&'static str, Vec<(&'static str, &'static str)>)>,
    model: Model,
    ranges: Vec<SegmentRange>,
    queries: Vec<Query>,
}

#[derive(Debug)]
struct Query {
    /// `{F}` stands for the fact table.
    sql: String,
    ordered: bool,
    tags: Vec<&'static str>,
}

impl Case {
    fn draw(numbers: &[u32], queries: &[Vec<u32>]) -> Case {
        let d = &mut Draws { numbers, next: 0 };
        let rows = [0, 1, 30, 80][d.pick(4)];
        let text = |d: &mut Draws<'_>| ["", "u", "v", "w", "uu"][d.pick(5)].to_string();
        let int = |d: &mut Draws<'_>| ["", "0", "1", "2", "-3", "7"][d.pick(6)].to_string();
        let mut f = "k1,k2,d1,d2,day,flag,x,y,Mixed Case,money\n".to_string();
        for _ in 0..rows {
            let day = match d.pick(16) {
                0 => String::new(),
                n => format!("2020-0{}-{:02}", 1 + n % 4, 1 + d.pick(28)),
            };
            let quarter = if d.chance(20) { String::new() } else { format!("{}", (d.pick(41) as f64 - 20.0) / 4.0) };
            let flag = ["", "true", "false"][d.pick(3)];
            let money = ["", "0.01", "-12.50", "99999.99", "3.00"][d.pick(5)];
            let texts = [text(d), int(d), text(d), int(d)].join(",");
            writeln!(f, "{texts},{day},{flag},{},{quarter},{},{money}", int(d), text(d)).unwrap();
        }
        let mut a = "id,name,n\n".to_string();
        for id in d.some(&["u", "v", "w"], 70) {
            writeln!(a, "{id},{},{}", text(d), int(d)).unwrap();
        }
        let mut b = "id,grp\n".to_string();
        for id in d.some(&["0", "1", "2", "-3"], 70) {
            writeln!(b, "{id},{}", text(d)).unwrap();
        }
        let tables = vec![
            (
                "f",
                vec![
                    ("k1", "VARCHAR"),
                    ("k2", "INTEGER"),
                    ("d1", "VARCHAR"),
                    ("d2", "BIGINT"),
                    ("day", "DATE"),
                    ("flag", "BOOLEAN"),
                    ("x", "BIGINT"),
                    ("y", "DOUBLE"),
                    ("Mixed Case", "VARCHAR"),
                    ("money", "DECIMAL(9,2)"),
                ],
            ),
            ("a", vec![("id", "VARCHAR"), ("name", "VARCHAR"), ("n", "BIGINT")]),
            ("b", vec![("id", "BIGINT"), ("grp", "VARCHAR")]),
        ];
        let model = draw_model(d);
        let ranges = draw_ranges(d, model.partition.is_some());
        let queries = queries.iter().map(|numbers| draw_query(&mut Draws { numbers, next: 0 }, &model)).collect();
        Case { files: vec![("f", f), ("a", a), ("b", b)], tables, model, ranges, queries }
    }

    async fn check(&self, engine: &Engine, seen: &mut BTreeMap<&'static str, usize>) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in &self.files {
            std::fs::write(dir.path().join(format!("{name}.csv")), content).unwrap();
        }
        let tables: Vec<Table> = self
            .tables
            .iter()
            .map(|(name, columns)| Table {
                name: name.to_string(),
                source: Source {
                    format: Format::Csv,
                    location: dir.path().join(format!("{name}.csv")).display().to_string(),
                    csv: None,
                    granted: None,
                },
                columns: columns
                    .iter()
                    .map(|(n, t)| Column { name: n.to_string(), type_name: t.to_string() })
                    .collect(),
            })
            .collect();
        let told = |what: &str| {
            let model = serde_json::to_string(&self.model).unwrap();
            format!("{what}\nmodel: {model}\nranges: {:?}\nfiles: {:#?}", self.ranges, self.files)
        };
        let mut segments = vec![];
        for (i, range) in self.ranges.iter().enumerate() {
            let job = BuildJob { model: self.model.clone(), tables: tables.clone(), range: *range };
            let manifest = build(engine, &job, &dir.path().join(i.to_string())).await.map_err(|e| told(&e))?;
            if manifest.source_rows == 0 {
                *seen.entry("empty segment").or_default() += 1;
            }
            segments.push(Segment { id: i.to_string(), model: self.model.name.clone(), range: *range, manifest });
        }
        let catalog = Catalog { tables, models: vec![self.model.clone()], segments };
        let snapshot = engine.open(catalog).map_err(|e| told(&e.to_string()))?;
        let built = self.built();
        for query in &self.queries {
            let mut saw = |what| *seen.entry(what).or_default() += 1;
            saw("queries");
            for push_down in [false, true] {
                let sql = query.sql.replace("{F}", "f");
                let base = if push_down { "f".into() } else { format!("(SELECT * FROM f WHERE {built}) f") };
                let raw_sql = query.sql.replace("{F}", &base);
                let raw = QueryOptions { push_down: true, use_index: false, ..QueryOptions::default() };
                let expected = snapshot.ask(&raw_sql, raw).await;
                let options = QueryOptions { push_down, ..QueryOptions::default() };
                let answer = snapshot.ask(&sql, options.clone()).await;
                let (expected, answer) = match (expected, answer) {
                    (_, Err(Error::NoRealization { .. })) if !push_down => {
                        saw("refused");
                        continue;
                    }
                    (Ok(expected), Ok(answer)) => (expected, answer),
                    // The planner does not support some forms (a subquery under OR), with or without indexes.
                    (Err(Error::Sql(_)), Err(Error::Sql(_))) => {
                        saw("beyond the planner");
                        continue;
                    }
                    (expected, answer) => {
                        return Err(told(&format!("{sql}\nraw: {expected:?}\nindex: {answer:?}")));
                    }
                };
                // Again, since the plan may have been cached.
                let again = snapshot.ask(&sql, options.clone()).await.map_err(|e| told(&e.to_string()))?;
                let (mut first, mut second) = (answer.rows.clone(), again.rows);
                first.sort();
                second.sort();
                if first != second || again.scanned_rows != answer.scanned_rows {
                    return Err(told(&format!("{sql}\nfirst:  {first:?}\nsecond: {second:?}")));
                }
                if !push_down {
                    if answer.realizations.is_empty() || answer.push_down {
                        return Err(told(&format!("{sql}\nread raw tables without push-down")));
                    }
                    saw("answered by an index");
                    if !answer.rows.is_empty() {
                        saw("with rows");
                    }
                    for tag in &query.tags {
                        saw(tag);
                    }
                } else if answer.realizations.iter().any(|r| r.mixed) {
                    saw("mixed with raw rows");
                }
                let (mut left, mut right) = (answer.rows.clone(), expected.rows.clone());
                if !query.ordered {
                    left.sort();
                    right.sort();
                }
                if left != right || answer.columns != expected.columns {
                    let explain = snapshot.explain(&sql, options).await.map(|e| e.plan);
                    return Err(told(&format!(
                        "{sql}\nraw query: {raw_sql}\nraw:   {right:?}\nindex: {left:?}\nby {:?}\n{}\ncolumns {:?}\n{:?}",
                        answer.realizations,
                        explain.unwrap_or_default(),
                        answer.columns,
                        expected.columns,
                    )));
                }
            }
        }
        Ok(())
    }

    /// The condition of fact rows that segments hold.
    fn built(&self) -> String {
        let day = |ms: &i64| {
            let range = SegmentRange::Time { start_ms: *ms, end_ms: *ms + 1 };
            let name = range.segment_name();
            format!("DATE '{}-{}-{}'", &name[..4], &name[4..6], &name[6..8])
        };
        let parts = self.ranges.iter().map(|range| match range {
            SegmentRange::Full => "TRUE".to_string(),
            SegmentRange::Time { start_ms, end_ms } => {
                format!("(day >= {} AND day < {})", day(start_ms), day(end_ms))
            }
        });
        parts.collect::<Vec<_>>().join(" OR ")
    }
}

async fn build(engine: &Engine, job: &BuildJob, dir: &Path) -> Result<Manifest, String> {
    let mut prior = vec![];
    for step in plan(&job.model).map_err(|e| e.to_string())?.steps {
        // Each step runs as if in another attempt, on another node.
        let dir = dir.join(format!("attempt={}", step.index));
        let ran = engine.run_step(job, step.index, &prior, &dir, Arc::new(|_| {}), &Cancel::default()).await;
        let result = ran.map_err(|e| format!("{}: {e}", step.name))?;
        if let Some(manifest) = result.manifest() {
            return Ok(manifest.clone());
        }
        prior.push(serde_json::to_value(&result).unwrap());
    }
    Err("no step published".into())
}

fn draw_model(d: &mut Draws<'_>) -> Model {
    let kind = |d: &mut Draws<'_>| if d.chance(35) { JoinKind::Inner } else { JoinKind::Left };
    let lookup = |table: &str, join, fact: &str| Lookup {
        table: table.into(),
        alias: String::new(),
        join,
        fact_key: vec![fact.into()],
        lookup_key: vec!["id".into()],
    };
    let mut lookups = vec![];
    let mut columns: Vec<Col> = FACT.to_vec();
    if d.chance(70) {
        lookups.push(lookup("a", kind(d), "k1"));
        columns.extend(A);
    }
    if d.chance(60) {
        lookups.push(lookup("b", kind(d), "k2"));
        columns.extend(B);
    }
    let mut chosen = d.some(&columns, 65);
    chosen.retain(|c| c.2 != Type::Double);
    if chosen.is_empty() {
        chosen.push(FACT[0]);
    }
    let dimensions: Vec<Dimension> = chosen
        .iter()
        .map(|(alias, column, _)| Dimension { name: format!("{alias}_{column}"), column: format!("{alias}.{column}") })
        .collect();
    let mut measures = vec![];
    for (alias, column, kind) in columns {
        for function in [
            MeasureFunction::Count,
            MeasureFunction::Sum,
            MeasureFunction::Min,
            MeasureFunction::Max,
            MeasureFunction::Avg,
        ] {
            let numeric = matches!(kind, Type::Int | Type::Double | Type::Decimal);
            let sums = matches!(function, MeasureFunction::Sum | MeasureFunction::Avg);
            if (!sums || numeric) && d.chance(if numeric { 55 } else { 15 }) {
                let column = Some(format!("{alias}.{column}"));
                measures.push(Measure { name: format!("m{}", measures.len()), function, column });
            }
        }
    }
    let names: Vec<String> = dimensions.iter().map(|d| d.name.clone()).collect();
    let mut indexes = vec![];
    for _ in 0..d.pick(4) {
        let index = d.some(&names, 40);
        if !index.is_empty() {
            indexes.push(index);
        }
    }
    let mut aggregation_groups = vec![];
    if d.chance(40) {
        let include: Vec<String> = d.some(&names, 40).into_iter().take(3).collect();
        let mandatory = d.some(&include, 30);
        aggregation_groups.push(AggregationGroup { include, mandatory });
    }
    let partition = d.chance(60).then(|| Partition { column: "day".into(), format: None });
    Model { name: "M".into(), fact: "F".into(), lookups, dimensions, measures, partition, aggregation_groups, indexes }
}

/// First days of the months of 2020.
const MONTHS: [i64; 7] = [
    1_577_836_800_000,
    1_580_515_200_000,
    1_583_020_800_000,
    1_585_699_200_000,
    1_588_291_200_000,
    1_590_969_600_000,
    1_593_561_600_000,
];

fn draw_ranges(d: &mut Draws<'_>, partitioned: bool) -> Vec<SegmentRange> {
    if !partitioned || d.chance(15) {
        return vec![SegmentRange::Full];
    }
    let all: Vec<_> = MONTHS.windows(2).map(|w| SegmentRange::Time { start_ms: w[0], end_ms: w[1] }).collect();
    let some = d.some(&all, 60);
    if some.is_empty() { vec![all[0]] } else { some }
}

fn draw_query(d: &mut Draws<'_>, model: &Model) -> Query {
    let mut tags = vec![];
    // Mostly columns of the model, sometimes any column.
    let known = d.chance(85);
    let mut joins = vec![];
    for (alias, fact_key) in [("a", "k1"), ("b", "k2")] {
        let lookup = model.lookups.iter().find(|l| l.table == alias);
        let must = lookup.is_some_and(|l| l.join == JoinKind::Inner);
        if (known && must) || ((!known || lookup.is_some()) && d.chance(45)) {
            let inner =
                if known { lookup.map(|l| l.join) == Some(JoinKind::Inner) || d.chance(20) } else { d.chance(50) };
            if inner && lookup.is_some_and(|l| l.join == JoinKind::Left) {
                tags.push("inner join on a left model");
            }
            joins.push((alias, fact_key, inner));
        }
    }
    if !joins.is_empty() {
        tags.push("joined");
    }
    let mut columns: Vec<Col> = FACT.to_vec();
    for (alias, _, _) in &joins {
        columns.extend(if *alias == "a" { A.to_vec() } else { B.to_vec() });
    }
    let dimensions: Vec<Col> = columns
        .iter()
        .copied()
        .filter(|c| !known || model.dimensions.iter().any(|m| m.column == format!("{}.{}", c.0, c.1)))
        .collect();
    let dimensions = if dimensions.is_empty() { columns.clone() } else { dimensions };
    let (from, conditions) = draw_from(d, &joins);
    let mut filters = conditions;
    for _ in 0..d.pick(3) {
        filters.push(draw_predicate(d, &dimensions));
    }
    if d.chance(35) {
        tags.push("time range");
        filters.push(draw_time(d));
    }
    let filter = if filters.is_empty() { String::new() } else { format!(" WHERE {}", filters.join(" AND ")) };
    let groups: Vec<String> = (0..d.pick(4))
        .map(|_| {
            let c = *d.of(&dimensions);
            draw_group(d, c)
        })
        .collect();
    let mut groups_unique = groups.clone();
    groups_unique.sort();
    groups_unique.dedup();
    let groups = groups_unique;
    let aggregates: Vec<String> =
        (0..1 + d.pick(3)).map(|_| draw_aggregate(d, &columns, &dimensions, model, known)).collect();
    if groups.is_empty() && d.chance(5) {
        let c = sql_name(*d.of(&dimensions));
        let sql = format!("SELECT DISTINCT {c} FROM {from}{filter}");
        return Query { sql, ordered: false, tags };
    }
    let mut select: Vec<String> = groups.iter().enumerate().map(|(i, g)| format!("{g} AS g{i}")).collect();
    select.extend(aggregates.iter().enumerate().map(|(i, a)| format!("{a} AS v{i}")));
    let mut sql = format!("SELECT {} FROM {from}{filter}", select.join(", "));
    let width = select.len();
    if !groups.is_empty() {
        if d.chance(10) {
            tags.push("cube over rollup");
            let kind = *d.of(&["ROLLUP", "CUBE"]);
            write!(sql, " GROUP BY {kind}({})", groups.join(", ")).unwrap();
        } else {
            write!(sql, " GROUP BY {}", groups.join(", ")).unwrap();
        }
    }
    if d.chance(20) {
        tags.push("having");
        write!(sql, " HAVING COUNT(*) > {}", d.pick(4)).unwrap();
    }
    let nested = d.chance(15);
    let everything = (1..=width).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    if nested {
        tags.push("nested");
        let outer = *d.of(&["COUNT(*)", "MAX(v0)", "COUNT(v0)", "MIN(v0)"]);
        return Query { sql: format!("WITH t AS ({sql}) SELECT {outer} AS r FROM t"), ordered: false, tags };
    }
    if d.chance(10) {
        let sql = format!("{sql} UNION ALL {sql}");
        return Query { sql, ordered: false, tags };
    }
    let ordered = d.chance(40);
    if ordered {
        write!(sql, " ORDER BY {everything}").unwrap();
        if d.chance(50) {
            tags.push("limit");
            write!(sql, " LIMIT {} OFFSET {}", 1 + d.pick(5), d.pick(2)).unwrap();
        }
    }
    Query { sql, ordered, tags }
}

/// The FROM clause in one of many forms, and the conditions that it leaves to WHERE.
fn draw_from(d: &mut Draws<'_>, joins: &[(&str, &str, bool)]) -> (String, Vec<String>) {
    let fact = match d.pick(4) {
        0 => "(SELECT * FROM {F} WHERE TRUE) f".to_string(),
        _ => "{F}".to_string(),
    };
    let mut from = fact;
    let mut conditions = vec![];
    for (alias, key, inner) in joins {
        let on = if d.chance(50) { format!("f.{key} = {alias}.id") } else { format!("{alias}.id = f.{key}") };
        from = match (inner, d.pick(4)) {
            (true, 0) => {
                conditions.push(on);
                format!("{from} CROSS JOIN {alias}")
            }
            (true, 1) => format!("{alias} JOIN ({from}) ON {on}"),
            (true, _) => format!("{from} JOIN {alias} ON {on}"),
            (false, 0) => format!("{alias} RIGHT JOIN ({from}) ON {on}"),
            (false, _) => format!("{from} LEFT JOIN {alias} ON {on}"),
        };
    }
    (from, conditions)
}

fn draw_literal(d: &mut Draws<'_>, t: Type) -> String {
    match t {
        Type::Text => format!("'{}'", d.of(&["u", "v", "w", "uu", "zz"])),
        Type::Int => d.of(&["0", "1", "2", "-3", "7", "100"]).to_string(),
        Type::Double => d.of(&["0.25", "-1.5", "3.0"]).to_string(),
        Type::Decimal => d.of(&["0.01", "3", "100.5"]).to_string(),
        Type::Date => format!("DATE '2020-0{}-{:02}'", 1 + d.pick(5), 1 + d.pick(28)),
        Type::Bool => d.of(&["TRUE", "FALSE"]).to_string(),
    }
}

fn draw_predicate(d: &mut Draws<'_>, dimensions: &[Col]) -> String {
    let c = *d.of(dimensions);
    let name = sql_name(c);
    match d.pick(10) {
        0 => format!("{name} IS NULL"),
        1 => format!("{name} IS NOT NULL"),
        2 => format!("{name} <> {}", draw_literal(d, c.2)),
        3 => format!("({name} = {} OR {})", draw_literal(d, c.2), draw_predicate(d, dimensions)),
        4 => format!("NOT ({})", draw_predicate(d, dimensions)),
        5 => format!("{name} IN ({}, {})", draw_literal(d, c.2), draw_literal(d, c.2)),
        6 if c.2 == Type::Text => format!("{name} LIKE 'u%'"),
        7 if c.2 == Type::Int => format!("{name} BETWEEN {} AND {}", draw_literal(d, c.2), draw_literal(d, c.2)),
        8 if c.2 == Type::Int => format!("{name} IN (SELECT MAX(f.d2) FROM {{F}} GROUP BY f.d1)"),
        9 => format!("COALESCE({name}, {}) >= {}", draw_literal(d, c.2), draw_literal(d, c.2)),
        _ => format!("{name} >= {}", draw_literal(d, c.2)),
    }
}

/// A condition on the partition column, often at the bounds of segments.
fn draw_time(d: &mut Draws<'_>) -> String {
    let day = |d: &mut Draws<'_>| match d.chance(75) {
        true => format!("'2020-0{}-01'", 1 + d.pick(6)),
        false => format!("'2020-0{}-{:02}'", 1 + d.pick(6), 1 + d.pick(28)),
    };
    match d.pick(5) {
        0 => format!("f.day >= {}", day(d)),
        1 => format!("f.day < CAST({} AS DATE)", day(d)),
        2 => format!("f.day BETWEEN DATE {} AND DATE {}", day(d), day(d)),
        3 => format!("f.day > TIMESTAMP {}", day(d)),
        _ => format!("f.day >= DATE {} AND DATE {} > f.day", day(d), day(d)),
    }
}

fn draw_group(d: &mut Draws<'_>, c: Col) -> String {
    let name = sql_name(c);
    match (c.2, d.pick(4)) {
        (Type::Text, 1) => format!("UPPER({name})"),
        (Type::Text, 2) => format!("CASE WHEN {name} = 'u' THEN 'yes' WHEN {name} IS NULL THEN 'none' END"),
        (Type::Text, 3) => format!("COALESCE({name}, '?')"),
        (Type::Int, 1) => format!("{name} % 3"),
        (Type::Int, 2) => format!("{name} + 1"),
        (Type::Date, 1) => format!("DATE_TRUNC('month', {name})"),
        (Type::Date, 2) => format!("EXTRACT(MONTH FROM {name})"),
        (Type::Bool, 1) => format!("NOT {name}"),
        _ => name,
    }
}

fn draw_aggregate(d: &mut Draws<'_>, columns: &[Col], dimensions: &[Col], model: &Model, known: bool) -> String {
    let filter = match d.pick(8) {
        0 => format!(" FILTER (WHERE {})", draw_predicate(d, dimensions)),
        _ => String::new(),
    };
    if known && !model.measures.is_empty() && d.chance(60) {
        let measure = d.of(&model.measures);
        let text = measure.column.clone().unwrap();
        let column = columns.iter().find(|c| format!("{}.{}", c.0, c.1) == text);
        if let Some(column) = column {
            let function = format!("{:?}", measure.function).to_uppercase();
            return format!("{function}({}){filter}", sql_name(*column));
        }
    }
    let c = if d.chance(75) { *d.of(dimensions) } else { *d.of(columns) };
    let name = sql_name(c);
    let numeric = matches!(c.2, Type::Int | Type::Double | Type::Decimal);
    match d.pick(10) {
        0 | 1 => format!("COUNT(*){filter}"),
        2 => format!("COUNT({name}){filter}"),
        3 => format!("COUNT(DISTINCT {name}){filter}"),
        4 if c.2 != Type::Bool => format!("MIN({name}){filter}"),
        5 if c.2 != Type::Bool => format!("MAX({name}){filter}"),
        6 if numeric => format!("SUM({name}){filter}"),
        7 if numeric => format!("AVG({name}){filter}"),
        8 if numeric => format!("SUM({name} * 2 + 1){filter}"),
        9 => format!("SUM(CASE WHEN {} THEN 1 ELSE 0 END){filter}", draw_predicate(d, dimensions)),
        _ => format!("COUNT(1){filter}"),
    }
}
