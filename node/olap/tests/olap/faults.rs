//! Faults of DataFusion and its parser: each query has the right answer, or is refused with the reason.

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
        let ask = async |sql: &str| built.ask(sql, options.clone()).await.map(|a| shown(&a));
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
    let error = built.ask("SELECT SUM(v) OVER () FROM t", raw()).await.unwrap_err().to_string();
    assert!(error.contains("10000000000000000001"), "{error}");

    let large = 90_000_000_000_000_000_000_000_000_000_000_000_000i128;
    let columns = vec![("g", g), ("v", decimals(&[large, large, 1], 38, 0))];
    let files = Files::new().parquet("t.parquet", columns);
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let snapshot = files.snapshot(table.clone());
    for sql in ["SELECT SUM(v) FROM t", "SELECT g, SUM(v) FROM t GROUP BY g"] {
        let error = snapshot.ask(sql, raw()).await.unwrap_err().to_string();
        assert!(error.contains("Overflowing on 18000000000000000000000000000000000000"), "{error}");
    }
    assert_eq!(shown(&snapshot.ask("SELECT SUM(v) FROM t WHERE g = 'b'", raw()).await.unwrap()), ["1"]);
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
    let error = snapshot.ask("SELECT SUM(v) FROM t", index_only()).await.unwrap_err().to_string();
    let why = "holds sum(t.v) as BIGINT, the model as DECIMAL(38,0); refresh the segment";
    assert!(error.contains(why), "{error}");
    assert_eq!(shown(&snapshot.ask("SELECT COUNT(*), MAX(v) FROM t", index_only()).await.unwrap()), ["2 4"]);
}

#[tokio::test]
async fn faults_of_the_parser_and_the_engine_are_worked_around_or_refused() {
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
        let answer = snapshot.ask(sql, raw()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
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
        let error = snapshot.ask(sql, raw()).await.unwrap_err();
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
            let answer = built.ask(sql, options.clone()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
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
            let [right, found] = [raw(), mixed.clone()].map(|options| built.ask(&sql, options));
            let (right, found) = (shown(&right.await.unwrap()), shown(&found.await.unwrap()));
            assert!(right.iter().any(|row| row.contains('-')), "{sql}: {right:?}");
            // NULL is shown as "-" and comes last.
            let key = |row: &str| row.split(' ').take(2).map(|cell| (cell == "-", cell.to_owned())).collect::<Vec<_>>();
            assert!(right.is_sorted_by_key(|row| key(row)), "{sql}: {right:?}");
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
    let (one, other) = futures::join!(snapshot.ask(hog, short.clone()), snapshot.ask(hog, short));
    for result in [one, other] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Timeout { millis: 500 }), "{error}");
        assert!(error.to_string().contains("kylin.query.timeout-seconds"));
    }
    // A dropped query stops, too.
    drop(snapshot.ask(hog, raw()));
    let most = std::time::Duration::from_secs(60);
    let answer = tokio::time::timeout(most, snapshot.ask("SELECT COUNT(*) FROM t", raw())).await.unwrap().unwrap();
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
async fn helper_process_runs_deep_queries() {
    if std::env::var_os("KIRIN_DEEP_CHILD").is_none() {
        return;
    }
    let engine = Engine::new(EngineConfig { threads: 2, ..EngineConfig::anywhere() }).unwrap();
    let snapshot = engine.open(Catalog::default()).unwrap();
    for sql in deep_texts() {
        match snapshot.ask(&sql, raw()).await {
            Ok(answer) => println!("{} rows", answer.rows.len()),
            Err(error) => println!("{}", error.to_string().chars().take(200).collect::<String>()),
        }
    }
    println!("survived");
}

#[test]
fn no_query_text_crashes_the_process() {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "faults::helper_process_runs_deep_queries", "--nocapture"]).env("KIRIN_DEEP_CHILD", "1");
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
fn a_model_with_unknown_fields_is_refused() {
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
pub(crate) async fn small_engine() -> (Files, Arc<Snapshot>) {
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
        // Each doubles the previous text.
        "SELECT max(length(e || e)) FROM (SELECT d || d AS e FROM (SELECT c || c AS d FROM (SELECT b || b AS c FROM \
         (SELECT repeat(name, 100) || repeat(name, 100) AS b FROM t))))",
        // No single call is too large, but the answer is.
        "SELECT repeat(a.name, 100) FROM t a, t b",
    ] {
        let error = snapshot.ask(sql, raw()).await.expect_err(sql).to_string();
        assert!(error.contains("kirin.query.memory-limit"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn texts_below_the_limit_are_made() {
    let (_files, snapshot) = small_engine().await;
    for (sql, expected) in [
        ("SELECT length(repeat('x', 1000000))", "1000000"),
        ("SELECT repeat(name, 2) FROM t WHERE k = 7", "name 7name 7"),
        ("SELECT lpad(name, 8, '*') FROM t WHERE k = 7", "**name 7"),
        ("SELECT rpad(name, 8, '*') FROM t WHERE k = 7", "name 7**"),
        ("SELECT replace(name, 'name', 'row') FROM t WHERE k = 7", "row 7"),
        ("SELECT concat(name, '-', k) FROM t WHERE k = 7", "name 7-7"),
        ("SELECT 'a' || name || '-' || k || '-' || name FROM t WHERE k = 7", "aname 7-7-name 7"),
        ("SELECT name || ('-' || (name || '.')) FROM t WHERE k = 7", "name 7-name 7."),
        ("SELECT ('a' || name || CAST(NULL AS VARCHAR) || 'b') IS NULL FROM t WHERE k = 7", "true"),
        ("SELECT concat_ws('-', name, 'x', k) FROM t WHERE k = 7", "name 7-x-7"),
        ("SELECT name || '-' || name FROM t WHERE k = 7", "name 7-name 7"),
        ("SELECT 'a' || 'b'", "ab"),
        ("SELECT coalesce(name || NULL, 'nothing') FROM t WHERE k = 7", "nothing"),
        ("SELECT coalesce(repeat(CAST(NULL AS VARCHAR), 3), 'nothing')", "nothing"),
        ("SELECT repeat('x', -1) || 'y'", "y"),
        // A large constant that is only compared.
        ("SELECT count(*) FROM t WHERE name <> repeat('x', 1000000)", "2000"),
        // A long replacement with few occurrences.
        ("SELECT max(length(replace(name, '1999', repeat('b', 1000)))) FROM t", "1005"),
        ("SELECT count(*) FROM (SELECT name || '!' AS n, count(*) FROM t GROUP BY name || '!')", "2000"),
    ] {
        let answer = snapshot.ask(sql, raw()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(shown(&answer), [expected], "{sql}");
    }
}

#[tokio::test]
async fn arithmetic_is_right_or_an_error_and_never_wraps() {
    let files = Files::new().parquet(
        "t.parquet",
        vec![
            ("id", ints(&[1, 2, 3])),
            ("v", ints(&[i64::MAX, i64::MIN, 7])),
            ("w", array(Int16Array::from(vec![i16::MAX, 300, 2]))),
            ("d", decimals(&[10i128.pow(38) - 1, 10i128.pow(37), 5], 38, 0)),
            ("e", decimals(&[110, 200, 330], 10, 2)),
        ],
    );
    let snapshot = files.snapshot(files.add(files.source(Format::Parquet)).await.unwrap());
    for (sql, right) in [
        ("SELECT v + 1, v - 1, v * 3, -v, w + w, w * 2, 1 - w FROM t WHERE id = 3", "8 6 21 -7 4 4 -1"),
        (
            "SELECT d + 1, d * 2, d - 6, -d, e * e, e + 1, e - d, e / 2 FROM t WHERE id = 3",
            "6 10 -1 -5 10.8900 4.30 -1.70 1.650000",
        ),
        ("SELECT w + 1, w * 1000000000000 FROM t WHERE id = 1", "32768 32767000000000000"),
        (
            "SELECT -9223372036854775808, 9223372036854775807 + 0, 3 * -4, 7 / 2, 7 % 4",
            "-9223372036854775808 9223372036854775807 -12 3 3",
        ),
        ("SELECT id + 1 AS k, SUM(id * 2) FROM t GROUP BY id + 1 HAVING SUM(id * 2) > 4 ORDER BY id + 1", "4 6"),
        ("SELECT COUNT(*) FROM t a JOIN t b ON a.id = b.id + 1 WHERE a.id - b.id = 1 LIMIT 1 + 1", "2"),
        ("SELECT (SELECT SUM(b.id) + 1 FROM t b WHERE b.id = a.id - 2) FROM t a WHERE a.id + 0 = 3", "2"),
        ("SELECT DATE '2024-03-01' - DATE '2024-02-01', DATE '2024-02-01' + INTERVAL '1' DAY", "29 2024-02-02"),
    ] {
        let answer = snapshot.ask(sql, raw()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(shown(&answer), [right], "{sql}");
    }
    for sql in [
        "SELECT v + 1 FROM t",
        "SELECT 1 + v FROM t WHERE id = 1",
        "SELECT v - 10 FROM t WHERE id = 2",
        "SELECT v * 2 FROM t WHERE id = 1",
        "SELECT -v FROM t WHERE id = 2",
        "SELECT id FROM t WHERE v + 1 < 0",
        "SELECT SUM(v * 2) FROM t WHERE id = 1",
        "SELECT v + 1, COUNT(*) FROM t GROUP BY v + 1",
        "SELECT id FROM t ORDER BY v + 1",
        "SELECT SUM(-v) OVER () FROM t",
        "SELECT w + w FROM t WHERE id = 1",
        "SELECT w * w FROM t WHERE id = 2",
        "SELECT 9223372036854775807 + 1",
        "SELECT -9223372036854775807 - 2",
        "SELECT CAST(32767 AS SMALLINT) + CAST(2 AS SMALLINT)",
        "SELECT d + 1 FROM t WHERE id = 1",
        "SELECT d * 10 FROM t WHERE id = 2",
        "SELECT CAST('99999999999999999999999999999999999999' AS DECIMAL(38,0)) + 1",
    ] {
        let error = snapshot.ask(sql, raw()).await.map(|a| shown(&a)).expect_err(sql).to_string();
        assert!(error.to_lowercase().contains("overflow") || error.contains("too large to store"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn an_ungrouped_aggregate_returns_one_row_for_no_input() {
    let files = Files::new().parquet("t.parquet", vec![("i", ints(&[1, 2, 3])), ("v", ints(&[2, 2, 2]))]);
    let snapshot = files.snapshot(files.add(files.source(Format::Parquet)).await.unwrap());
    for sql in [
        "SELECT i FROM t WHERE EXISTS (SELECT COUNT(*) FROM t b WHERE b.v = t.i)",
        "SELECT i FROM t WHERE NOT EXISTS (SELECT MAX(b.v) FROM t b WHERE b.v = t.i)",
        "SELECT i FROM t WHERE EXISTS (SELECT 1 FROM t b WHERE b.v = t.i HAVING COUNT(*) = 0)",
        "SELECT i FROM t WHERE 0 IN (SELECT COUNT(*) FROM t b WHERE b.v = t.i)",
        "SELECT i FROM t WHERE i NOT IN (SELECT COUNT(*) FROM t b WHERE b.v = t.i)",
        "SELECT i FROM t WHERE EXISTS (SELECT 1 FROM (SELECT COUNT(*) n FROM t b WHERE b.v = t.i) x WHERE n = 0)",
    ] {
        let error = snapshot.ask(sql, raw()).await.map(|a| shown(&a)).expect_err(sql);
        let is_told = error.to_string().contains("over an aggregate without GROUP BY is not supported")
            || error.to_string().contains("supported only in WHERE");
        assert!(matches!(error, Error::Sql(_)) && is_told, "{sql}: {error}");
    }
    for (sql, right) in [
        ("SELECT i FROM t WHERE (SELECT COUNT(*) FROM t b WHERE b.v = t.i) = 0 ORDER BY i", vec!["1", "3"]),
        ("SELECT i FROM t WHERE EXISTS (SELECT COUNT(*) FROM t b WHERE b.v = 9) ORDER BY i", vec!["1", "2", "3"]),
        ("SELECT i FROM t WHERE i IN (SELECT COUNT(*) FROM t b)", vec!["3"]),
        ("SELECT i FROM t WHERE EXISTS (SELECT b.v, COUNT(*) FROM t b WHERE b.v = t.i GROUP BY b.v)", vec!["2"]),
        (
            "SELECT i, (SELECT CASE WHEN MAX(b.i) > 9 THEN 'a' ELSE 'b' END FROM t b WHERE b.v = t.i) FROM t ORDER BY i",
            vec!["1 b", "2 b", "3 b"],
        ),
        (
            "SELECT i, (SELECT APPROX_DISTINCT(b.i) FROM t b WHERE b.v = t.i) FROM t ORDER BY i",
            vec!["1 0", "2 3", "3 0"],
        ),
        ("SELECT 1 FROM t HAVING COUNT(*) > 2", vec!["1"]),
        ("SELECT COUNT(*) FROM t HAVING COUNT(*) > 20", vec![]),
    ] {
        let answer = snapshot.ask(sql, raw()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(shown(&answer), right, "{sql}");
    }
}

#[tokio::test]
async fn differences_and_intersections_of_multisets_are_refused() {
    let files = Files::new().parquet("t.parquet", vec![("i", ints(&[1, 1, 2, 2])), ("v", ints(&[1, 3, 3, 3]))]);
    let snapshot = files.snapshot(files.add(files.source(Format::Parquet)).await.unwrap());
    for sql in [
        "SELECT i FROM t EXCEPT ALL SELECT v FROM t",
        "SELECT i FROM t INTERSECT ALL SELECT v FROM t",
        "SELECT COUNT(*) FROM (SELECT i FROM t UNION ALL (SELECT i FROM t EXCEPT ALL SELECT v FROM t)) x",
        "SELECT i FROM t WHERE i IN (SELECT i FROM t INTERSECT ALL SELECT v FROM t)",
    ] {
        let error = snapshot.ask(sql, raw()).await.map(|a| shown(&a)).expect_err(sql);
        assert!(matches!(error, Error::Sql(_)) && error.to_string().contains("ALL is not supported"), "{sql}: {error}");
    }
    for (sql, right) in [
        ("SELECT i FROM t EXCEPT SELECT v FROM t", vec!["2"]),
        ("SELECT i FROM t INTERSECT SELECT v FROM t", vec!["1"]),
        ("SELECT COUNT(*) FROM (SELECT i FROM t UNION ALL SELECT v FROM t) x", vec!["8"]),
    ] {
        assert_eq!(shown(&snapshot.ask(sql, raw()).await.unwrap()), right, "{sql}");
    }
}

#[tokio::test]
async fn limits_keep_the_rows_that_the_order_puts_first() {
    let keys: Vec<i64> = (0..30_000).map(|i| i % 50).collect();
    let sparse: Vec<Option<i64>> = (0..30_000).map(|i| (i % 50 > 2).then_some(i % 50)).collect();
    let mut files = Files::new();
    for part in 0..4 {
        files = files.parquet(
            &format!("{part}.parquet"),
            vec![("k", ints(&keys)), ("v", array(Int64Array::from(sparse.clone())))],
        );
    }
    let snapshot = files.snapshot(files.add(files.source(Format::Parquet)).await.unwrap());
    let forty: Vec<String> = (0..40).map(|k| k.to_string()).collect();
    let forty: Vec<&str> = forty.iter().map(String::as_str).collect();
    for (sql, right) in [
        ("SELECT DISTINCT k FROM t ORDER BY k LIMIT 40", forty),
        ("SELECT DISTINCT v FROM t ORDER BY v ASC NULLS FIRST LIMIT 2", vec!["-", "3"]),
        ("SELECT k, MIN(v) m FROM t GROUP BY k ORDER BY m NULLS LAST, k LIMIT 2", vec!["3 3", "4 4"]),
        (
            "SELECT k, MAX(v) m FROM t GROUP BY k ORDER BY m DESC NULLS FIRST, k LIMIT 4",
            vec!["0 -", "1 -", "2 -", "49 49"],
        ),
        (
            "SELECT m FROM (SELECT k, MAX(v) m FROM t WHERE k < 3 GROUP BY k) x ORDER BY m DESC NULLS FIRST LIMIT 3",
            vec!["-", "-", "-"],
        ),
        (
            "SELECT k FROM (SELECT k, COUNT(v) n FROM t GROUP BY k ORDER BY k LIMIT 3) x ORDER BY k DESC OFFSET 1",
            vec!["1", "0"],
        ),
        ("SELECT k, SUM(v) FROM t GROUP BY k ORDER BY k DESC LIMIT 2 OFFSET 1", vec!["48 115200", "47 112800"]),
        (
            "SELECT a.k FROM (SELECT DISTINCT k FROM t ORDER BY k LIMIT 2 OFFSET 1) a JOIN (SELECT DISTINCT k FROM t WHERE k > 1) b ON a.k = b.k",
            vec!["2"],
        ),
        ("SELECT DISTINCT ON (k) k, v FROM t WHERE k > 47 ORDER BY k, v DESC", vec!["48 48", "49 49"]),
        ("SELECT k FROM t LIMIT 0", vec![]),
    ] {
        let answer = snapshot.ask(sql, raw()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(shown(&answer), right, "{sql}");
    }
}

#[tokio::test]
async fn empty_and_duplicate_grouping_sets_are_answered() {
    let files = Files::new().parquet("t.parquet", vec![("g", ints(&[1, 1, 2])), ("v", ints(&[1, 2, 4]))]);
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let built = files.built(table, model(&["g"], &[("SUM", "v")])).await.unwrap();
    for (sql, right) in [
        ("SELECT g, COUNT(*), SUM(v) FROM t WHERE g < 0 GROUP BY ROLLUP(g)", vec!["- 0 -"]),
        ("SELECT COUNT(*) FROM t WHERE g < 0 GROUP BY GROUPING SETS (())", vec!["0"]),
        ("SELECT COUNT(*) FROM t WHERE g < 0 GROUP BY g", vec![]),
        (
            "SELECT g, SUM(v) FROM t GROUP BY GROUPING SETS ((g), (g), (), ()) ORDER BY g NULLS LAST",
            vec!["1 3", "1 3", "2 4", "2 4", "- 7", "- 7"],
        ),
    ] {
        for options in [raw(), index_only()] {
            let answer = built.ask(sql, options.clone()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(shown(&answer), right, "{sql} {options:?}");
        }
    }
}

#[tokio::test]
async fn values_of_different_types_are_compared_by_value() {
    let texts = |values: &[Option<&str>]| array(StringArray::from(values.to_vec()));
    let files = Files::new().parquet(
        "t.parquet",
        vec![
            ("id", ints(&[1, 2, 3, 10])),
            ("d", decimals(&[110, 200, 330, 400], 10, 2)),
            ("e", decimals(&[11_000, 20_001, 33_000, 40_000], 12, 4)),
            ("s", texts(&[Some("1.1"), Some("2"), Some("3.30"), None])),
            ("x", array(Int64Array::from(vec![None, Some(1), Some(2), None]))),
        ],
    );
    let snapshot = files.snapshot(files.add(files.source(Format::Parquet)).await.unwrap());
    for (sql, right) in [
        ("SELECT a.id FROM t a JOIN t b ON a.d = b.e ORDER BY 1", vec!["1", "3", "10"]),
        ("SELECT a.id, b.s FROM t a JOIN t b ON a.d = b.s ORDER BY 1", vec!["1 1.1", "2 2", "3 3.30"]),
        ("SELECT id FROM t WHERE id < '2' OR id > '9' ORDER BY 1", vec!["1", "10"]),
        ("SELECT id FROM t WHERE id IN ('10', '2') ORDER BY 1", vec!["2", "10"]),
        ("SELECT x * 0, x - x, x = x, COALESCE(x, 0) FROM t WHERE id < 3 ORDER BY id", vec!["- - - 0", "0 0 true 1"]),
        (
            "SELECT NOT (x = 1 AND x = 2), x > 3 AND x < 3, x = 1 OR x <> 1 FROM t WHERE id < 3 ORDER BY id",
            vec!["- - -", "true false true"],
        ),
        ("SELECT CASE x WHEN NULL THEN 'n' WHEN x THEN 'x' ELSE 'e' END FROM t ORDER BY id", vec!["e", "x", "x", "e"]),
        ("SELECT 1 IN (NULL, 1), 2 NOT IN (NULL, 1), NULL BETWEEN 1 AND 2", vec!["true - -"]),
        ("SELECT COUNT(DISTINCT x) FILTER (WHERE id > 2), COUNT(DISTINCT id) FILTER (WHERE x = 1) FROM t", vec!["1 1"]),
        ("SELECT a.id, b.id FROM t a LEFT JOIN t b ON a.id = b.x AND a.id > 5 WHERE ABS(b.id) > 0", vec![]),
        (
            "SELECT COUNT(*) FROM (SELECT COALESCE(x, 0.5) c FROM t UNION ALL SELECT NULL WHERE FALSE) u WHERE c = 0.5",
            vec!["2"],
        ),
    ] {
        let answer = snapshot.ask(sql, raw()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(shown(&answer), right, "{sql}");
    }
    for sql in
        ["SELECT id FROM t WHERE id = 'x'", "SELECT id FROM t WHERE id IN ('1', 'x')", "SELECT id FROM t WHERE s = 1"]
    {
        let error = snapshot.ask(sql, raw()).await.map(|a| shown(&a)).expect_err(sql).to_string();
        assert!(error.contains("Cannot cast string"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn lists_of_one_value_are_not_merged_as_if_null_were_false() {
    let files = Files::new().parquet(
        "t.parquet",
        vec![
            ("id", ints(&[1, 2, 3, 4])),
            ("x", array(Int64Array::from(vec![None, Some(1), Some(2), None]))),
            ("s", array(StringArray::from(vec![Some("a"), Some("b"), None, Some("")]))),
        ],
    );
    let snapshot = files.snapshot(files.add(files.source(Format::Parquet)).await.unwrap());
    for (sql, right) in [
        ("SELECT id FROM t WHERE NOT (x IN (1) AND x IN (2)) ORDER BY 1", vec!["2", "3"]),
        ("SELECT id FROM t WHERE NOT (x IN (1, 5, 6, 7) AND x IN (2, 8, 9, 10)) ORDER BY 1", vec!["2", "3"]),
        ("SELECT id FROM t WHERE x NOT IN (1) OR x NOT IN (2) ORDER BY 1", vec!["2", "3"]),
        ("SELECT id FROM t WHERE NOT ((x = 1 OR x = 2) AND (x = 3 OR x = 4)) ORDER BY 1", vec!["2", "3"]),
        ("SELECT id FROM t WHERE NOT (x = 1 OR x = 7) OR NOT (x = 3 OR x = 8) ORDER BY 1", vec!["2", "3"]),
        ("SELECT (x = 1 OR x = 2) AND (x = 3 OR x = 4) FROM t ORDER BY id", vec!["-", "false", "false", "-"]),
        ("SELECT id FROM t WHERE (x IN (1, 2) AND x IN (3, 4)) IS NULL ORDER BY 1", vec!["1", "4"]),
        ("SELECT id FROM t WHERE id IN (1, 2) AND id NOT IN (3, NULL)", vec![]),
        ("SELECT id FROM t WHERE id IN (1, 2) AND id NOT IN (2, 3)", vec!["1"]),
        ("SELECT id FROM t WHERE id IN (id) AND id IN (1, id + 0) ORDER BY 1", vec!["1", "2", "3", "4"]),
        ("SELECT id FROM t WHERE x IN (id - 1) AND x IN (x) ORDER BY 1", vec!["2", "3"]),
        ("SELECT id FROM (SELECT id, x IN (1) p, x FROM t) u WHERE NOT (p AND x IN (2)) ORDER BY 1", vec!["2", "3"]),
        (
            "SELECT a.id FROM t a LEFT JOIN t b ON a.id = b.id AND NOT (b.x IN (1) AND b.x IN (2)) WHERE b.id > 0 ORDER BY 1",
            vec!["2", "3"],
        ),
        ("SELECT s ~ '.*', s !~ '.*' FROM t ORDER BY id", vec!["true false", "true false", "- -", "true false"]),
        ("SELECT id FROM t WHERE NOT (s ~ '.*')", vec![]),
        ("SELECT x ^ x, (x ^ 5) ^ 5 FROM t WHERE id < 3 ORDER BY id", vec!["- -", "0 1"]),
        ("SELECT id FROM t WHERE x IN (1, 2) AND s IN ('b') AND (id = 2 OR id = 3)", vec!["2"]),
    ] {
        let answer = snapshot.ask(sql, raw()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(shown(&answer), right, "{sql}");
    }
}

#[tokio::test]
async fn an_unclosed_quote_is_an_error() {
    let error = async |content: &str| {
        let files = Files::new().text("a.csv", content);
        let snapshot = files.snapshot(files.add(files.source(Format::Csv)).await.unwrap());
        let answer = snapshot.ask("SELECT COUNT(*) FROM t", raw()).await;
        answer.map(|a| shown(&a)).expect_err(content).to_string()
    };
    let told = "record 3 has a quote that is not closed before the end of the file";
    for content in ["id,v\n1,x\n2,\"y\n3,z\n4,w\n", "id,v\n1,x\n2,\"y", "id,v\r\n1,x\r\n2,\"y\"\"\r\n"] {
        let error = error(content).await;
        assert!(error.contains(told), "{error}");
    }
    let mut long = "id,v\n".to_string();
    (0..20_000).for_each(|i| long.push_str(&format!("{i},v\n")));
    let error = error(&(long + "1,\"x\n2,y\n")).await;
    assert!(error.contains("record 20002 has a quote that is not closed"), "{error}");
    for (content, right) in [
        ("id,v\n1,\"x\"\n2,\"y\n\"", ["2"]),
        ("id,v\n1,x\"\n2,y\"\"", ["2"]),
        ("id,v\n1,2\n\n\n", ["1"]),
        ("v\n\"\"\n1", ["2"]),
    ] {
        let files = Files::new().text("a.csv", content);
        assert_eq!(files.raw(files.source(Format::Csv), "SELECT COUNT(*) FROM t").await, right, "{content}");
    }
}

#[tokio::test]
async fn a_refusal_lists_each_reason_once() {
    let columns = vec![("a", ints(&[1])), ("b", ints(&[1])), ("c", ints(&[1])), ("v", ints(&[1])), ("w", ints(&[1]))];
    let files = Files::new().parquet("t.parquet", columns);
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let mut model = model(&["a", "b", "c"], &[("SUM", "v")]);
    model["aggregation_groups"] = serde_json::json!([{"include": ["a", "b", "c"]}]);
    let built = files.built(table, model).await.unwrap();
    let error = built.ask("SELECT w, SUM(v) FROM t GROUP BY w", index_only()).await.unwrap_err().to_string();
    assert_eq!(error.matches("t.w is not a dimension of the model").count(), 1, "{error}");
    assert!(error.contains("model \"m\", 7 indexes (7, "), "{error}");
}

#[tokio::test]
async fn parquet_columns_of_other_systems_keep_their_values() {
    let file = |e: ArrayRef, f: ArrayRef| {
        vec![
            ("a", array(UInt8Array::from(vec![200]))),
            ("b", array(UInt16Array::from(vec![40_000]))),
            ("c", array(UInt32Array::from(vec![3_000_000_000]))),
            ("d", array(UInt64Array::from(vec![u64::MAX]))),
            ("x", ints(&[(1 << 53) + 1])),
            ("left", array(Time64MicrosecondArray::from(vec![1]))),
            ("e", e),
            ("f", f),
        ]
    };
    let files = Files::new()
        .parquet("1.parquet", file(array(Int8Array::from(vec![5])), decimals(&[110], 10, 2)))
        .parquet("2.parquet", file(decimals(&[525], 10, 2), decimals(&[11_234], 10, 4)));
    let unsigned = "200 40000 3000000000 18446744073709551615 9007199254740993";
    let answer = files.raw(files.source(Format::Parquet), "SELECT a, b, c, d, x, e, f FROM t ORDER BY e").await;
    assert_eq!(answer, [format!("{unsigned} 5.00 1.1000"), format!("{unsigned} 5.25 1.1234")]);
    let described = files.engine.describe(&files.source(Format::Parquet)).await.unwrap();
    assert!(described.skipped.iter().any(|(name, _)| name == "left"), "{described:?}");
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
            let error = match snapshot.ask(sql, options).await {
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
            let answer = snapshot.ask(sql, options).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
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
            let answer = snapshot.ask(sql, options.clone()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
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
            let answer = built.ask(sql, options).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(shown(&answer), [right], "{sql}");
        }
    }
}

#[tokio::test]
async fn conditions_and_casts_may_be_members_of_grouping_sets() {
    let times = [0, 1_709_164_800_500_000, 0, 0].map(Some).to_vec();
    let files = Files::new().parquet(
        "t.parquet",
        vec![
            ("a", array(Int64Array::from(vec![Some(1), Some(2), Some(3), None]))),
            ("b", ints(&[1, 1, 2, 2])),
            ("s", array(StringArray::from(vec!["x", "y", "x", "y"]))),
            ("ts", array(TimestampMicrosecondArray::from(times))),
        ],
    );
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let built = files.built(table, model(&["a", "b", "s"], &[("SUM", "b")])).await.unwrap();
    for (sql, right) in [
        (
            "SELECT a IN (1, 2) p, b IN (2, 3) q, COUNT(*) FROM t GROUP BY ROLLUP (a IN (1, 2), b IN (2, 3)) ORDER BY 1, 2, 3",
            vec!["false true 1", "false - 1", "true false 2", "true - 2", "- true 1", "- - 1", "- - 4"],
        ),
        (
            "SELECT a NOT IN (1, NULL) p, b = 1 OR b = 3 q, COUNT(*) FROM t \
             GROUP BY GROUPING SETS ((a NOT IN (1, NULL)), (b = 1 OR b = 3)) ORDER BY 1, 2, 3",
            vec!["false - 1", "- false 2", "- true 2", "- - 3"],
        ),
        (
            "SELECT s IN ('x') p, a IN (3) q, SUM(b) FROM t GROUP BY CUBE (s IN ('x'), a IN (3)) ORDER BY 1, 2, 3",
            vec![
                "false false 1",
                "false - 2",
                "false - 3",
                "true false 1",
                "true true 2",
                "true - 3",
                "- false 2",
                "- true 2",
                "- - 2",
                "- - 6",
            ],
        ),
        (
            "SELECT CAST(ts AS VARCHAR) x, s, COUNT(*) FROM t GROUP BY ROLLUP (CAST(ts AS VARCHAR), s) ORDER BY 1, 2",
            vec![
                "1970-01-01 00:00:00 x 2",
                "1970-01-01 00:00:00 y 1",
                "1970-01-01 00:00:00 - 3",
                "2024-02-29 00:00:00.500 y 1",
                "2024-02-29 00:00:00.500 - 1",
                "- - 4",
            ],
        ),
    ] {
        for options in [raw(), mixed()] {
            let answer = built.ask(sql, options.clone()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(shown(&answer), right, "{sql} {options:?}");
        }
    }
}

#[tokio::test]
async fn floats_of_a_union_are_sorted_by_their_value() {
    let floats = vec![-f64::NAN, 1.5, -0.0, f64::INFINITY, 0.0, f64::NAN];
    let files = Files::new().parquet("t.parquet", vec![("f", array(Float64Array::from(floats)))]);
    let snapshot = files.snapshot(files.add(files.source(Format::Parquet)).await.unwrap());
    for (sql, right) in [
        ("SELECT f FROM t UNION ALL SELECT f FROM t WHERE f > 1 ORDER BY 1", "0.0 0.0 1.5 1.5 inf inf NaN NaN NaN NaN"),
        (
            "SELECT f FROM t UNION ALL SELECT -f FROM t WHERE f > 2 ORDER BY 1 DESC",
            "NaN NaN NaN NaN inf 1.5 0.0 0.0 -inf",
        ),
        ("SELECT f FROM t UNION ALL SELECT f FROM t ORDER BY 1 DESC LIMIT 5", "NaN NaN NaN NaN inf"),
        ("SELECT DISTINCT f FROM t ORDER BY 1 LIMIT 2", "0.0 1.5"),
        ("SELECT DISTINCT f - f FROM t ORDER BY 1 DESC NULLS LAST LIMIT 1", "NaN"),
        ("SELECT f FROM t GROUP BY f ORDER BY MAX(f) DESC LIMIT 2", "NaN inf"),
    ] {
        let answer = snapshot.ask(sql, raw()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(shown(&answer).join(" "), right, "{sql}");
    }
}

#[tokio::test]
async fn the_average_of_bigints_is_exact() {
    let (_files, snapshot) = edges().await;
    for (sql, right) in [
        ("SELECT AVG(i) FROM t", vec!["0.5714285714285714"]),
        (
            "SELECT AVG(i), SUM(k), COUNT(*), AVG(k) FROM t WHERE id <> 7",
            vec!["0.16666666666666666 1 6 0.16666666666666666"],
        ),
        (
            "SELECT id, AVG(i) OVER (PARTITION BY id < 3) FROM t WHERE id < 4 ORDER BY 1",
            vec!["1 -0.5", "2 -0.5", "3 0.0"],
        ),
        ("SELECT AVG(DISTINCT i) FILTER (WHERE id < 3), AVG(i) FILTER (WHERE id > 9) FROM t", vec!["-0.5 -"]),
        (
            "SELECT g, AVG(i) FROM t WHERE id IN (3, 4, 7) GROUP BY ROLLUP (g) ORDER BY 1, 2",
            vec![" 2.0", "- 0.0", "- 1.3333333333333333"],
        ),
    ] {
        for options in [raw(), mixed()] {
            let answer = snapshot.ask(sql, options.clone()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(shown(&answer), right, "{sql} {options:?}");
        }
    }
}

#[tokio::test]
async fn timestamps_are_truncated_from_the_year_1_to_9999() {
    let times = [-62_135_596_800_000_000, 253_402_300_799_999_999, 1_709_164_800_500_000, -1].map(Some);
    let files = Files::new().parquet(
        "t.parquet",
        vec![("id", ints(&[1, 2, 3, 4])), ("ts", array(TimestampMicrosecondArray::from(times.to_vec())))],
    );
    let snapshot = files.snapshot(files.add(files.source(Format::Parquet)).await.unwrap());
    for (unit, right) in [
        ("year", "0001-01-01 00:00:00, 9999-01-01 00:00:00, 2024-01-01 00:00:00, 1969-01-01 00:00:00"),
        ("quarter", "0001-01-01 00:00:00, 9999-10-01 00:00:00, 2024-01-01 00:00:00, 1969-10-01 00:00:00"),
        ("month", "0001-01-01 00:00:00, 9999-12-01 00:00:00, 2024-02-01 00:00:00, 1969-12-01 00:00:00"),
        ("week", "0001-01-01 00:00:00, 9999-12-27 00:00:00, 2024-02-26 00:00:00, 1969-12-29 00:00:00"),
        ("DAY", "0001-01-01 00:00:00, 9999-12-31 00:00:00, 2024-02-29 00:00:00, 1969-12-31 00:00:00"),
        ("hour", "0001-01-01 00:00:00, 9999-12-31 23:00:00, 2024-02-29 00:00:00, 1969-12-31 23:00:00"),
        ("second", "0001-01-01 00:00:00, 9999-12-31 23:59:59, 2024-02-29 00:00:00, 1969-12-31 23:59:59"),
    ] {
        let sql = format!("SELECT DATE_TRUNC('{unit}', ts) FROM t ORDER BY id");
        let answer = snapshot.ask(&sql, raw()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(shown(&answer).join(", "), right, "{sql}");
    }
    for (sql, right) in [
        ("SELECT COUNT(*) FROM t WHERE DATE_TRUNC('month', ts) = '9999-12-01'", "1"),
        (
            "SELECT DATE_TRUNC('quarter', ts) q, COUNT(*) FROM t WHERE id = 3 GROUP BY ROLLUP (DATE_TRUNC('quarter', ts)) ORDER BY 1 LIMIT 1",
            "2024-01-01 00:00:00 1",
        ),
        (
            "SELECT DATE_TRUNC('year', DATE '9999-05-05'), DATE_TRUNC('day', CAST(NULL AS TIMESTAMP))",
            "9999-01-01 00:00:00 -",
        ),
    ] {
        let answer = snapshot.ask(sql, raw()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(shown(&answer), [right], "{sql}");
    }
}

#[tokio::test]
async fn decimals_are_compared_with_constants_by_value() {
    let files = Files::new().parquet(
        "t.parquet",
        vec![
            ("id", ints(&[1, 2, 3, 4])),
            ("c", decimals(&[9_999_999_999, -1, 10, 150], 10, 2)),
            ("f", array(Float64Array::from(vec![99_999_999.99, f64::NAN, f64::INFINITY, 1.5]))),
        ],
    );
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let built = files.built(table, model(&["c", "id"], &[("SUM", "c")])).await.unwrap();
    for (sql, right) in [
        ("SELECT id FROM t WHERE c = 99999999.99", "1"),
        ("SELECT id FROM t WHERE c = -0.01", "2"),
        ("SELECT id FROM t WHERE c >= 99999999.99", "1"),
        ("SELECT id FROM t WHERE c <> 99999999.99 ORDER BY 1", "2,3,4"),
        ("SELECT id FROM t WHERE c IN (99999999.99, 1.50, 7) ORDER BY 1", "1,4"),
        ("SELECT id FROM t WHERE c NOT IN (99999999.99, 0.1) ORDER BY 1", "2,4"),
        ("SELECT id FROM t WHERE c IS NOT DISTINCT FROM 99999999.99", "1"),
        ("SELECT id FROM t WHERE c BETWEEN 0.1 AND 99999999.99 ORDER BY 1", "1,3,4"),
        ("SELECT id FROM t WHERE c > 1e5", "1"),
        ("SELECT id FROM t WHERE c > 0.005 AND c < 0.105", "3"),
        ("SELECT id FROM t WHERE c = f ORDER BY 1", "1,4"),
        ("SELECT id FROM t WHERE c < f ORDER BY 1", "2,3"),
        ("SELECT MAX(c) = 99999999.99 FROM t", "true"),
        ("SELECT id, SUM(c) FROM t GROUP BY id HAVING SUM(c) = 99999999.99", "1 99999999.99"),
    ] {
        for options in [raw(), mixed()] {
            let answer = built.ask(sql, options.clone()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(shown(&answer).join(","), right, "{sql} {options:?}");
        }
    }
}
