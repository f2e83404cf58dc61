//! What the engine below, or its parser, gets wrong: the right answer, or a refusal that says so.

use crate::shop::*;
use crate::sources::*;
use arrow_array::*;
use kirin_olap::*;
use std::sync::Arc;

fn decimals(values: &[i128], precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap())
}

fn measures(column: &str, functions: &[&str]) -> serde_json::Value {
    let measures =
        functions.iter().map(|f| serde_json::json!({"name": f, "function": f, "column": format!("t.{column}")}));
    serde_json::json!({
        "name": "m", "fact": "t", "dimensions": [{"name": "g", "column": "t.g"}],
        "measures": measures.collect::<Vec<_>>(),
    })
}

#[tokio::test]
async fn sums_are_exact_or_an_error_and_never_wrap() {
    let g: ArrayRef = Arc::new(StringArray::from(vec!["a", "a", "b"]));
    let big = 5_000_000_000_000_000_000;
    let files = Files::new().parquet("t.parquet", vec![("g", g.clone()), ("v", ints(&[big, big, 1]))]);
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let built = files.built(table, measures("v", &["SUM", "AVG"])).await.unwrap();
    for options in [raw(), index_only()] {
        let ask = async |sql: &str| built.query(sql, options.clone()).await.map(|a| shown(&a));
        let error = ask("SELECT g, SUM(v) FROM t GROUP BY g").await.unwrap_err().to_string();
        assert!(error.contains("10000000000000000000"), "{options:?}: {error}");
        assert!(ask("SELECT SUM(v) FROM t").await.is_err());
        assert_eq!(ask("SELECT SUM(v) FROM t WHERE g = 'b'").await.unwrap(), ["1"]);
        assert_eq!(ask("SELECT AVG(v) FROM t WHERE g = 'a'").await.unwrap(), ["5e18"], "{options:?}");
        assert_eq!(ask("SELECT SUM(CAST(v AS DOUBLE)) FROM t WHERE g = 'a'").await.unwrap(), ["1e19"], "{options:?}");
        assert_eq!(
            ask("SELECT COUNT(*) FROM (SELECT g, SUM(v) FROM t WHERE g = 'b' GROUP BY g)").await.unwrap(),
            ["1"]
        );
    }
    let error = built.query("SELECT SUM(v) OVER () FROM t", raw()).await.unwrap_err().to_string();
    assert!(error.contains("10000000000000000001"), "{error}");

    let large = 90_000_000_000_000_000_000_000_000_000_000_000_000i128;
    let columns = vec![("g", g), ("v", decimals(&[large, large, 1], 38, 0))];
    let files = Files::new().parquet("t.parquet", columns);
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let snapshot = files.snapshot(table.clone());
    for sql in ["SELECT SUM(v) FROM t", "SELECT g, SUM(v) FROM t GROUP BY g"] {
        let error = snapshot.query(sql, raw()).await.unwrap_err().to_string();
        assert!(error.contains("Overflowing on 18000000000000000000000000000000000000"), "{error}");
    }
    assert_eq!(shown(&snapshot.query("SELECT SUM(v) FROM t WHERE g = 'b'", raw()).await.unwrap()), ["1"]);
    assert!(files.built(table, measures("v", &["SUM"])).await.is_err());
}

#[tokio::test]
async fn an_index_with_narrow_sums_of_an_older_version_does_not_answer_them() {
    let files = Files::new().parquet("t.parquet", vec![("g", ints(&[1, 2])), ("v", ints(&[3, 4]))]);
    let tables = vec![files.add(files.source(Format::Parquet)).await.unwrap()];
    let model: Model = serde_json::from_value(model(&["g"], &[("SUM", "v"), ("MAX", "v")])).unwrap();
    let mut segment = files.segment(&tables, &model).await.unwrap();
    let sums: Vec<_> = segment.manifest.layouts.iter_mut().flat_map(|l| &mut l.columns).collect();
    for column in sums.into_iter().filter(|c| c.name == "sum(t.v)") {
        assert_eq!(column.type_name, "DECIMAL(38,0)");
        column.type_name = "BIGINT".into();
    }
    let catalog = Catalog { tables, models: vec![model], segments: vec![segment] };
    let snapshot = files.engine.open(catalog).unwrap();
    let error = snapshot.query("SELECT SUM(v) FROM t", index_only()).await.unwrap_err().to_string();
    let why = "holds sum(t.v) as BIGINT, the model as DECIMAL(38,0); refresh the segment";
    assert!(error.contains(why), "{error}");
    assert_eq!(shown(&snapshot.query("SELECT COUNT(*), MAX(v) FROM t", index_only()).await.unwrap()), ["2 4"]);
}

#[tokio::test]
async fn the_parser_and_the_engine_are_mended_or_refused() {
    let files = Files::new().parquet(
        "t.parquet",
        vec![
            ("a", array(Int64Array::from(vec![Some(1), Some(2), None, Some(4)]))),
            ("b", array(Int64Array::from(vec![Some(1), Some(3), None, None]))),
            ("s", array(StringArray::from(vec![Some("10%"), Some("100"), Some("x_y"), None]))),
            ("d", array(Date32Array::from(vec![19_782, 19_783, 0, 1]))),
        ],
    );
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let snapshot = files.snapshot(table);
    for (sql, right) in [
        ("SELECT COUNT(*) FROM t WHERE a IS DISTINCT FROM b AND a = 4", vec!["1"]),
        ("SELECT COUNT(*) FROM t WHERE a IS NOT DISTINCT FROM b AND a IS NULL", vec!["1"]),
        ("SELECT COUNT(*) FROM t WHERE a = 1 AND a IS DISTINCT FROM b OR a = 2", vec!["1"]),
        ("SELECT s FROM t WHERE s LIKE '10!%' ESCAPE '!'", vec!["10%"]),
        ("SELECT s FROM t WHERE s LIKE 'x$_y' ESCAPE '$' AND s NOT LIKE 'x!_!_' ESCAPE '!'", vec!["x_y"]),
        ("SELECT DATE_FORMAT(d, 'yyyy-MM') FROM t WHERE a = 1", vec!["2024-02"]),
        ("SELECT TO_CHAR(d, 'dd.MM.yyyy') FROM t WHERE a = 2", vec!["01.03.2024"]),
        ("SELECT a, a, A, COUNT(*), COUNT(*) FROM t WHERE a = 1 GROUP BY a", vec!["1 1 1 1 1"]),
        ("SELECT SUM(a), CAST(SUM(a) AS DOUBLE) FROM t", vec!["7 7.0"]),
        ("SELECT a, a FROM t WHERE a < 3 ORDER BY a DESC", vec!["2 2", "1 1"]),
        ("SELECT COUNT(DISTINCT a), COUNT(DISTINCT b), COUNT(DISTINCT s) FROM t", vec!["3 2 3"]),
        ("SELECT COUNT(DISTINCT a), COUNT(DISTINCT b), SUM(a) FROM t", vec!["3 2 7"]),
        ("SELECT COUNT(*) FROM t WHERE a NOT IN (SELECT b FROM t)", vec!["0"]),
        ("SELECT COUNT(*) FROM t WHERE a NOT IN (SELECT b FROM t WHERE b IS NOT NULL)", vec!["2"]),
        ("SELECT COUNT(*) FROM t WHERE a IN (SELECT b FROM t)", vec!["1"]),
        ("SELECT COUNT(*) FROM t WHERE a + 1 NOT IN (SELECT b FROM t)", vec!["0"]),
        ("SELECT COUNT(*) FROM t WHERE a NOT IN (SELECT b FROM t WHERE b > 9)", vec!["4"]),
        ("SELECT COUNT(*) FROM t WHERE (NOT (a IN (SELECT b FROM t)) AND a > 0)", vec!["0"]),
        ("SELECT COUNT(*) FROM t WHERE a IN (SELECT b FROM t) OR a = 4", vec!["2"]),
    ] {
        let answer = snapshot.query(sql, raw()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(shown(&answer), right, "{sql}");
    }
    for (sql, why) in [
        ("SELECT COUNT(*) FROM t WHERE s SIMILAR TO 'b'", "SIMILAR TO is not supported"),
        ("SELECT COUNT(*) FROM t TABLESAMPLE BERNOULLI (10)", "TABLESAMPLE is not supported"),
        ("SELECT COUNT(*) FROM (SELECT * FROM t TABLESAMPLE (1 PERCENT)) x", "TABLESAMPLE is not supported"),
        ("SELECT COUNT(*) FROM t WHERE a NOT IN (SELECT b FROM t) OR a = 4", "use NOT EXISTS"),
        ("SELECT COUNT(*) FROM t WHERE a > 9 OR NOT (a IN (SELECT b FROM t))", "use EXISTS"),
        ("SELECT COUNT(*) FROM t WHERE (a IN (SELECT b FROM t)) IS NULL", "use EXISTS"),
        ("SELECT a IN (SELECT b FROM t) FROM t", "use EXISTS"),
        ("SELECT COUNT(*) FROM t WHERE NULL NOT IN (SELECT a FROM t)", "a constant IN"),
        ("SELECT COUNT(*) FROM t WHERE CAST(NULL AS BIGINT) + 1 NOT IN (SELECT a FROM t)", "a constant IN"),
        ("SELECT DATE_FORMAT(d, 'QQQ') FROM t", "'QQQ' is not known"),
        ("SELECT DATE_FORMAT(d, s) FROM t", "the pattern is not a text"),
    ] {
        let error = snapshot.query(sql, raw()).await.unwrap_err();
        assert!(matches!(error, Error::Sql(_)) && error.to_string().contains(why), "{sql}: {error}");
    }
}

#[tokio::test]
async fn several_distinct_counts_are_the_same_from_an_index() {
    let files = Files::new().parquet(
        "t.parquet",
        vec![
            ("a", array(Int64Array::from(vec![Some(1), Some(2), None, Some(4), Some(4)]))),
            ("b", array(Int64Array::from(vec![Some(1), Some(3), None, None, Some(3)]))),
            ("v", ints(&[1, 2, 3, 4, 5])),
        ],
    );
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let built = files.built(table, model(&["a", "b"], &[("AVG", "v"), ("MIN", "v")])).await.unwrap();
    for (sql, right) in [
        ("SELECT COUNT(DISTINCT a), COUNT(DISTINCT b) FROM t", vec!["3 2"]),
        (
            "SELECT COUNT(DISTINCT a), COUNT(DISTINCT b), SUM(v), COUNT(*), AVG(v), MIN(v) FROM t",
            vec!["3 2 15 5 3.0 1"],
        ),
        (
            "SELECT a, COUNT(DISTINCT b), SUM(DISTINCT b), SUM(v) FROM t GROUP BY a ORDER BY a",
            vec!["1 1 1 1", "2 1 3 2", "4 1 3 9", "- 0 - 3"],
        ),
    ] {
        for options in [raw(), index_only()] {
            let answer = built.query(sql, options.clone()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(shown(&answer), right, "{sql} {options:?}");
        }
    }
}

#[tokio::test]
async fn grouping_sets_over_equated_keys_are_answered_as_from_the_raw_tables() {
    let os = |names: &[&str]| array(StringArray::from(names.to_vec()));
    let files = Files::new()
        .parquet("ev/1.parquet", vec![("os", os(&["a", "a", "b", "c"])), ("v", ints(&[1, 2, 4, 8]))])
        .parquet("dev/1.parquet", vec![("os", os(&["a", "b"])), ("name", os(&["A", "B"]))]);
    let mut tables = vec![];
    for name in ["ev", "dev"] {
        let location = format!("{}/{name}", files.source(Format::Parquet).location);
        let table = files.add(Source { format: Format::Parquet, location, csv: None, granted: None }).await.unwrap();
        tables.push(Table { name: name.into(), ..table });
    }
    let model = serde_json::json!({
        "name": "m", "fact": "ev",
        "lookups": [{"table": "dev", "join": "inner", "fact_key": ["os"], "lookup_key": ["os"]}],
        "dimensions": [{"name": "os", "column": "ev.os"}],
        "measures": [{"name": "v", "function": "SUM", "column": "ev.v"}],
    });
    let built = files.built_star(tables, model).await.unwrap();
    let mixed = QueryOptions { push_down: true, ..QueryOptions::default() };
    for groups in [
        "GROUPING SETS ((ev.os, dev.os), (ev.os))",
        "GROUPING SETS ((dev.os), (ev.os), ())",
        "ROLLUP (ev.os, dev.os)",
        "CUBE (ev.os, dev.os)",
    ] {
        for columns in ["ev.os a, dev.os b", "ev.os a, dev.os b, SUM(v) s, COUNT(*) n"] {
            let sql = format!("SELECT {columns} FROM ev JOIN dev ON ev.os = dev.os GROUP BY {groups} ORDER BY 1, 2");
            let [right, found] = [raw(), mixed.clone()].map(|options| built.query(&sql, options));
            let (right, found) = (shown(&right.await.unwrap()), shown(&found.await.unwrap()));
            assert!(right.iter().any(|row| row.contains('-')), "{sql}: {right:?}");
            assert_eq!(found, right, "{sql}");
        }
    }
}

#[tokio::test]
async fn timestamps_reach_from_the_year_1_to_9999_and_are_written_with_a_space() {
    let micros = [253_402_300_799_000_000, -62_135_596_800_000_000, 1_709_164_800_500_000];
    let files = Files::new().parquet(
        "t.parquet",
        vec![("ts", array(TimestampMicrosecondArray::from(micros.to_vec()))), ("v", ints(&[1, 2, 3]))],
    );
    for (sql, right) in [
        ("SELECT MAX(ts), MIN(ts) FROM t", vec!["9999-12-31 23:59:59 0001-01-01 00:00:00"]),
        ("SELECT COUNT(*) FROM t WHERE ts < '9999-12-31'", vec!["2"]),
        ("SELECT COUNT(*) FROM t WHERE ts <= TIMESTAMP '9999-12-31 23:59:59'", vec!["3"]),
        ("SELECT COUNT(*) FROM t WHERE ts BETWEEN '0001-01-01' AND '2024-02-29 00:00:00.5'", vec!["2"]),
        ("SELECT COUNT(*) FROM t WHERE ts IN ('9999-12-31 23:59:59', '2024-02-29 00:00:00.5')", vec!["2"]),
        ("SELECT v FROM t WHERE ts > NOW()", vec!["1"]),
        (
            "SELECT CAST(ts AS VARCHAR) FROM t ORDER BY v",
            vec!["9999-12-31 23:59:59", "0001-01-01 00:00:00", "2024-02-29 00:00:00.500"],
        ),
        ("SELECT ts || '!' FROM t WHERE v = 1", vec!["9999-12-31 23:59:59!"]),
        ("SELECT CAST(TIMESTAMP '2024-02-29 01:02:03' AS VARCHAR)", vec!["2024-02-29 01:02:03"]),
        (
            "SELECT CAST(ts AS VARCHAR) k, COUNT(*) FROM t WHERE v = 1 GROUP BY CAST(ts AS VARCHAR)",
            vec!["9999-12-31 23:59:59 1"],
        ),
        ("SELECT DATE_TRUNC('day', ts) FROM t WHERE v = 3", vec!["2024-02-29 00:00:00"]),
        ("SELECT EXTRACT(YEAR FROM ts) FROM t ORDER BY v", vec!["9999", "1", "2024"]),
        ("SELECT DATE_FORMAT(ts, 'yyyy-MM-dd HH') FROM t WHERE v = 3", vec!["2024-02-29 00"]),
    ] {
        assert_eq!(files.raw(files.source(Format::Parquet), sql).await, right, "{sql}");
    }
}

#[tokio::test]
async fn names_match_in_any_case_of_any_script() {
    let files = Files::new().parquet(
        "t.parquet",
        vec![
            ("ГОРОД", array(StringArray::from(vec!["x"]))),
            ("Größe", ints(&[1])),
            ("select", ints(&[2])),
            ("a\"b", ints(&[3])),
            ("İL", ints(&[4])),
        ],
    );
    let sql = "SELECT ГОРОД, größe, GRÖSSE2, \"select\", \"A\"\"b\", İL FROM (SELECT *, größe AS GRÖSSE2 FROM t) x";
    assert_eq!(files.raw(files.source(Format::Parquet), sql).await, ["x 1 1 2 3 4"]);
}

#[tokio::test]
async fn a_query_ends_with_its_timeout_and_leaves_the_engine_to_others() {
    let values: Vec<i64> = (0..60_000).collect();
    let files = Files::new().parquet("t.parquet", vec![("v", ints(&values))]);
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let snapshot = files.snapshot(table);
    let hog = "SELECT COUNT(*) FROM t a, t b, t c WHERE a.v * b.v + c.v = 7 OR a.v + b.v * c.v = 9";
    let short = QueryOptions { timeout_ms: Some(500), ..raw() };
    let (one, other) = futures::join!(snapshot.query(hog, short.clone()), snapshot.query(hog, short));
    for result in [one, other] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Timeout { millis: 500 }), "{error}");
        assert!(error.to_string().contains("kylin.query.timeout-seconds"));
    }
    // Abandoned ones are over, too.
    drop(snapshot.query(hog, raw()));
    let most = std::time::Duration::from_secs(60);
    let answer = tokio::time::timeout(most, snapshot.query("SELECT COUNT(*) FROM t", raw())).await.unwrap().unwrap();
    assert_eq!(shown(&answer), ["60000"]);
}

/// Texts near the limit of depth, for the child process below.
fn deep_texts() -> Vec<String> {
    let n = 900;
    vec![
        format!("SELECT 1{}", "+1".repeat(n)),
        format!("SELECT COUNT(*) FROM (SELECT 1 AS a) t WHERE a = 1{}", " OR a = 2".repeat(n / 2)),
        format!("SELECT 'a'{}", " || 'a'".repeat(n)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(n / 4)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(20_000)),
        format!("SELECT 1{}", "+1".repeat(20_000)),
        format!("SELECT {}1{}", "CASE WHEN TRUE THEN ".repeat(20_000), " END".repeat(20_000)),
        format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("SELECT {}", "1,".repeat(5_000) + "1"),
    ]
}

#[tokio::test]
async fn the_child_asks_deep_queries() {
    if std::env::var_os("KIRIN_DEEP_CHILD").is_none() {
        return;
    }
    let engine = Engine::new(EngineConfig { threads: 2, ..EngineConfig::anywhere() }).unwrap();
    let snapshot = engine.open(Catalog::default()).unwrap();
    for sql in deep_texts() {
        match snapshot.query(&sql, raw()).await {
            Ok(answer) => println!("{} rows", answer.rows.len()),
            Err(error) => println!("{}", error.to_string().chars().take(200).collect::<String>()),
        }
    }
    println!("survived");
}

#[test]
fn no_text_of_a_query_ends_the_process() {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "faults::the_child_asks_deep_queries", "--nocapture"]).env("KIRIN_DEEP_CHILD", "1");
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("survived"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("too deep") && text.contains("rows"), "{text}");
}

#[test]
fn a_model_with_fields_that_mean_nothing_is_refused() {
    let good = serde_json::json!({
        "name": "m", "fact": "t",
        "lookups": [{"table": "l", "join": "left", "fact_key": ["a"], "lookup_key": ["b"]}],
        "dimensions": [{"name": "a", "column": "t.a"}],
        "measures": [{"name": "n", "function": "SUM", "column": "t.v"}],
        "partition": {"column": "d"},
        "aggregation_groups": [{"include": ["a"], "mandatory": []}]
    });
    serde_json::from_value::<Model>(good.clone()).unwrap();
    for (place, field) in [
        ("", "computed_columns"),
        ("", "filter_condition"),
        ("", "dimension"),
        ("/lookups/0", "non_equi_join_condition"),
        ("/lookups/0", "op"),
        ("/dimensions/0", "derived"),
        ("/measures/0", "precision"),
        ("/partition", "columns"),
        ("/aggregation_groups/0", "hierarchies"),
        ("/aggregation_groups/0", "joint_dims"),
    ] {
        let mut wrong = good.clone();
        wrong.pointer_mut(place).unwrap()[field] = serde_json::json!([]);
        let error = serde_json::from_value::<Model>(wrong).unwrap_err().to_string();
        assert!(error.contains(&format!("unknown field `{field}`")), "{error}");
    }
    for wrong in [serde_json::json!({"column": ["d", "e"]}), serde_json::json!([{"column": "d"}, {"column": "e"}])] {
        let mut several = good.clone();
        several["partition"] = wrong;
        assert!(serde_json::from_value::<Model>(several).is_err());
    }
}

/// An engine with little memory, and a table of 2,000 rows in it.
async fn small_engine() -> (Files, Arc<Snapshot>) {
    let rows: String = (0..2_000).map(|i| format!("{i},name {i}\n")).collect();
    let files = Files::new().text("a.csv", format!("k,name\n{rows}"));
    let engine = Engine::new(EngineConfig { threads: 2, memory_limit: 64 << 20, ..EngineConfig::anywhere() }).unwrap();
    let files = Files { engine, ..files };
    let table = files.add(files.source(Format::Csv)).await.unwrap();
    let snapshot = files.snapshot(table);
    (files, snapshot)
}

#[tokio::test]
async fn results_above_the_limit_of_memory_are_refused_before_they_are_made() {
    let (_files, snapshot) = small_engine().await;
    for sql in [
        "SELECT repeat('x', 1000000000)",
        "SELECT length(repeat('x', 1000000000))",
        "SELECT length(repeat(name, 1000000)) FROM t",
        "SELECT count(*) FROM t WHERE repeat(name, k * 1000) = 'x'",
        "SELECT max(lpad(name, 1000000, 'ab')) FROM t",
        "SELECT max(rpad(name, 1000000)) FROM t",
        "SELECT max(replace(name, 'a', repeat('b', 1000000))) FROM t",
        "SELECT max(concat(name, repeat('b', 1000000))) FROM t",
        "SELECT max(concat_ws(repeat('b', 1000000), name, name)) FROM t",
        "SELECT max(name || repeat('b', 1000000)) FROM t",
        // A constant that would be copied to each row.
        "SELECT repeat('x', 1000000), k FROM t",
        "SELECT max(CASE WHEN k > 5 THEN repeat('x', 1000000) ELSE name END) FROM t",
        // The same, hidden in a subquery.
        "SELECT k FROM t WHERE name IN (SELECT repeat(name, 1000000) FROM t)",
        // Each doubles the one before.
        "SELECT max(length(e || e)) FROM (SELECT d || d AS e FROM (SELECT c || c AS d FROM (SELECT b || b AS c FROM \
         (SELECT repeat(name, 100) || repeat(name, 100) AS b FROM t))))",
        // No single call is too large, but what the answer collects is.
        "SELECT repeat(a.name, 100) FROM t a, t b",
    ] {
        let error = snapshot.query(sql, raw()).await.expect_err(sql).to_string();
        let is_told = error.contains("kirin.query.memory-limit") || error.contains("Resources exhausted");
        assert!(is_told, "{sql}: {error}");
    }
}

#[tokio::test]
async fn texts_below_the_limit_are_made_as_before() {
    let (_files, snapshot) = small_engine().await;
    for (sql, expected) in [
        ("SELECT length(repeat('x', 1000000))", "1000000"),
        ("SELECT repeat(name, 2) FROM t WHERE k = 7", "name 7name 7"),
        ("SELECT lpad(name, 8, '*') FROM t WHERE k = 7", "**name 7"),
        ("SELECT rpad(name, 8, '*') FROM t WHERE k = 7", "name 7**"),
        ("SELECT replace(name, 'name', 'row') FROM t WHERE k = 7", "row 7"),
        ("SELECT concat(name, '-', k) FROM t WHERE k = 7", "name 7-7"),
        ("SELECT concat_ws('-', name, 'x', k) FROM t WHERE k = 7", "name 7-x-7"),
        ("SELECT name || '-' || name FROM t WHERE k = 7", "name 7-name 7"),
        ("SELECT 'a' || 'b'", "ab"),
        ("SELECT coalesce(name || NULL, 'nothing') FROM t WHERE k = 7", "nothing"),
        ("SELECT coalesce(repeat(CAST(NULL AS VARCHAR), 3), 'nothing')", "nothing"),
        ("SELECT repeat('x', -1) || 'y'", "y"),
        // A large constant that is compared only.
        ("SELECT count(*) FROM t WHERE name <> repeat('x', 1000000)", "2000"),
        // Few places where a long text is put.
        ("SELECT max(length(replace(name, '1999', repeat('b', 1000)))) FROM t", "1005"),
        ("SELECT count(*) FROM (SELECT name || '!' AS n, count(*) FROM t GROUP BY name || '!')", "2000"),
    ] {
        let answer = snapshot.query(sql, raw()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(shown(&answer), [expected], "{sql}");
    }
}

/// A table with the ends of BIGINT and INTEGER, and every kind of float.
async fn edges() -> (Files, Arc<Snapshot>) {
    let floats = [Some(0.0), Some(-0.0), Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(f64::NAN), None, Some(1.5)];
    let files = Files::new().parquet(
        "t.parquet",
        vec![
            ("id", ints(&[1, 2, 3, 4, 5, 6, 7])),
            ("i", ints(&[i64::MAX, i64::MIN, 0, 1, -1, 2, 3])),
            ("k", array(Int32Array::from(vec![i32::MAX, i32::MIN, 0, 1, -1, 2, 3]))),
            ("f", array(Float64Array::from(floats.to_vec()))),
            ("g", array(StringArray::from(vec![Some("a"), Some("b"), None, Some(""), Some("a"), Some("b"), Some("")]))),
        ],
    );
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let snapshot = files.built(table, model(&["g", "f", "i"], &[("SUM", "f"), ("AVG", "f")])).await.unwrap();
    (files, snapshot)
}

#[tokio::test]
async fn arithmetic_of_integers_fails_instead_of_wrapping() {
    let (_files, snapshot) = edges().await;
    for sql in [
        "SELECT i + 1 FROM t",
        "SELECT i - 1 FROM t",
        "SELECT i * 2 FROM t",
        "SELECT -i FROM t",
        "SELECT ABS(i) FROM t",
        "SELECT COUNT(*) FROM t WHERE i + 1 > 0",
        "SELECT g, MAX(i + 1) FROM t GROUP BY g",
        "SELECT g FROM t ORDER BY i * 2",
        "SELECT COUNT(*) FROM t a JOIN t b ON a.i = b.i + 1",
        "SELECT 9223372036854775807 + 1",
        "SELECT k * k FROM t WHERE id < 3 AND k * k IS NOT NULL",
    ] {
        for options in [raw(), mixed()] {
            let error = match snapshot.query(sql, options).await {
                Ok(answer) => panic!("{sql}: {:?}", shown(&answer)),
                Err(error) => error.to_string(),
            };
            assert!(error.to_lowercase().contains("overflow"), "{sql}: {error}");
        }
    }
    for (sql, right) in [
        ("SELECT i + 1, i - 1, i * 2, -i FROM t WHERE id = 7", vec!["4 2 6 -3"]),
        ("SELECT k + 1 FROM t WHERE id = 1", vec!["2147483648"]),
        ("SELECT g, i * 2 FROM t WHERE id > 3 GROUP BY g, i * 2 ORDER BY 1, 2", vec![" 2", " 6", "a -2", "b 4"]),
        (
            "SELECT g || 'x' h, i + 1 j, COUNT(*) FROM t WHERE id = 7 GROUP BY ROLLUP (g || 'x', i + 1) ORDER BY 1, 2",
            vec!["x 4 1", "x - 1", "- - 1"],
        ),
    ] {
        for options in [raw(), mixed()] {
            let answer = snapshot.query(sql, options).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(shown(&answer), right, "{sql}");
        }
    }
}

#[tokio::test]
async fn computed_floats_have_one_zero_and_one_nan() {
    let (_files, snapshot) = edges().await;
    for (sql, right) in [
        ("SELECT COUNT(*) FROM t WHERE f = -0.0", vec!["2"]),
        ("SELECT COUNT(*) FROM t WHERE f * -1 = 0", vec!["2"]),
        ("SELECT COUNT(*) FROM t WHERE -f = 0.0", vec!["2"]),
        ("SELECT COUNT(*) FROM t WHERE f = CAST('-0' AS DOUBLE)", vec!["2"]),
        ("SELECT COUNT(*) FROM t WHERE f IN (-0.0, 7)", vec!["2"]),
        ("SELECT COUNT(*) FROM t WHERE CEIL(f - 0.5) = 0 AND id < 3", vec!["2"]),
        // ∞ − ∞ is NaN, which equals NaN and is the largest value.
        ("SELECT COUNT(*) FROM t WHERE f - f = CAST('NaN' AS DOUBLE)", vec!["3"]),
        ("SELECT COUNT(*) FROM t WHERE f - f > 1", vec!["3"]),
        ("SELECT f - f d, COUNT(*) FROM t GROUP BY f - f ORDER BY 1", vec!["0.0 3", "NaN 3", "- 1"]),
        ("SELECT DISTINCT f * 0 d FROM t ORDER BY 1", vec!["0.0", "NaN", "-"]),
        ("SELECT COUNT(DISTINCT -f) FROM t WHERE id < 3", vec!["1"]),
        ("SELECT -f d FROM t WHERE id < 3 UNION SELECT 0.0 ORDER BY 1", vec!["0.0"]),
        ("SELECT SUM(f) FROM t WHERE id IN (3, 4)", vec!["NaN"]),
        ("SELECT g FROM t GROUP BY g HAVING SUM(f) - SUM(f) > 0 ORDER BY 1", vec!["", "a", "-"]),
        ("SELECT MAX(f - f), MIN(f - f) FROM t", vec!["NaN 0.0"]),
        ("SELECT COUNT(*) FROM t WHERE (SELECT SUM(f) FROM t WHERE id IN (3, 4)) > 1", vec!["7"]),
        ("SELECT a.id FROM t a JOIN t b ON -a.f = b.f AND b.id = 1 ORDER BY 1", vec!["1", "2"]),
        ("SELECT id, RANK() OVER (ORDER BY -f) FROM t WHERE id < 3 ORDER BY 1", vec!["1 1", "2 1"]),
    ] {
        for options in [raw(), mixed()] {
            let answer = snapshot.query(sql, options.clone()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(shown(&answer), right, "{sql} {options:?}");
        }
    }
}

#[tokio::test]
async fn integers_beyond_bigint_are_exact() {
    let most = 99_999_999_999_999_999_999_999_999_999_999_999_999i128;
    let files = Files::new().parquet("t.parquet", vec![("m", decimals(&[most, most - 1, -most, 7], 38, 0))]);
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let built = files.built(table, model(&["m"], &[("MAX", "m")])).await.unwrap();
    for (sql, right) in [
        ("SELECT COUNT(*) FROM t WHERE m = 99999999999999999999999999999999999999", "1"),
        ("SELECT COUNT(*) FROM t WHERE m < 99999999999999999999999999999999999999", "3"),
        ("SELECT COUNT(*) FROM t WHERE m IN (-99999999999999999999999999999999999999, 7)", "2"),
        ("SELECT COUNT(*) FROM t WHERE m > 18446744073709551616", "2"),
        (
            "SELECT MAX(m) FROM t WHERE m <> 99999999999999999999999999999999999999",
            "99999999999999999999999999999999999998",
        ),
        ("SELECT 99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
    ] {
        for options in [raw(), mixed()] {
            let answer = built.query(sql, options).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(shown(&answer), [right], "{sql}");
        }
    }
}
