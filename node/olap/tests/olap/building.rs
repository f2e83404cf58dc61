//! Builds: each step is independent, and every failure is an error that says what happened.

use crate::shop::*;
use kirin_olap::*;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn result(value: &serde_json::Value) -> StepResult {
    serde_json::from_value(value.clone()).unwrap()
}

#[tokio::test]
async fn a_segment_holds_exactly_the_rows_of_its_range() {
    let shop = Shop::open();
    let jan = shop.build(JAN).await.unwrap();
    assert_eq!(jan.manifest.source_rows, 3);
    let feb = shop.build(FEB).await.unwrap();
    assert_eq!(feb.manifest.source_rows, 2);
    let full = shop.build(SegmentRange::Full).await.unwrap();
    assert_eq!(full.manifest.source_rows, 7, "a full build has the row without a day, too");
    assert_eq!(full.manifest.layouts.len(), 4);
    for layout in &full.manifest.layouts {
        assert_eq!(layout.rows, layout.files.iter().map(|f| f.rows).sum::<u64>());
    }
}

#[tokio::test]
async fn an_empty_range_builds_an_empty_segment_that_answers() {
    let shop = Shop::open();
    let range = SegmentRange::Time { start_ms: 0, end_ms: 86_400_000 };
    let empty = shop.build(range).await.unwrap();
    assert_eq!((empty.manifest.source_rows, empty.manifest.bytes), (0, 0));
    let sql = "SELECT COUNT(*), SUM(qty) FROM sales JOIN items ON item = name";
    let answer = shop.snapshot(vec![empty]).ask(sql, index_only()).await.unwrap();
    assert_eq!(shown(&answer), ["0 -"]);
}

#[tokio::test]
async fn cuboids_are_built_from_their_smallest_parent() {
    let shop = Shop::open();
    let prior = shop.steps(&shop.job(SegmentRange::Full), 6).await.unwrap();
    let parents: Vec<_> = prior
        .iter()
        .filter_map(|value| match result(value).outcome {
            StepOutcome::Indexed { data, parent, .. } => Some((data.layout, parent)),
            _ => None,
        })
        .collect();
    // Base from the flat table, the others from the base.
    assert_eq!(parents[0], (0b111111, None));
    assert!(parents[1..].iter().all(|(_, parent)| parent.is_some()), "{parents:?}");
}

#[tokio::test]
async fn a_step_needs_only_the_prior_results() {
    let shop = Shop::open();
    let job = shop.job(SegmentRange::Full);
    let prior = shop.steps(&job, 4).await.unwrap();
    // Another engine, as on another node, another directory, and results in another order.
    let other = Shop { engine: Engine::new(EngineConfig::anywhere()).unwrap(), ..Shop::open() };
    let mut shuffled = prior.clone();
    shuffled.reverse();
    let again = other.step(&job, 4, &shuffled, &shop.attempt("heir")).await.unwrap();
    let first = shop.step(&job, 4, &prior, &shop.attempt("first")).await.unwrap();
    assert_eq!((again.rows, &again.name), (first.rows, &first.name));
    assert!(again.files.iter().all(|f| f.path.contains("heir")));
}

#[tokio::test]
async fn a_duplicate_lookup_key_is_refused_before_anything_is_built() {
    let shop = Shop::open();
    fs::write(shop.dir.path().join("shops.csv"), format!("{SHOPS}2,Aachen,5\n")).unwrap();
    let error = shop.build(SegmentRange::Full).await.unwrap_err().to_string();
    assert!(error.contains("the lookup key (id) must be unique, but (2) occurs 2 times"), "{error}");
    // NULL keys match nothing, so they may repeat.
    fs::write(shop.dir.path().join("shops.csv"), format!("{SHOPS},Aachen,5\n,Düren,5\n")).unwrap();
    shop.build(SegmentRange::Full).await.unwrap();
}

#[tokio::test]
async fn a_source_that_vanishes_or_changes_fails_the_build() {
    let shop = Shop::open();
    let job = shop.job(SegmentRange::Full);
    let prior = shop.steps(&job, 1).await.unwrap();
    let path = shop.dir.path().join("sales.csv");
    fs::write(&path, format!("{SALES}2020-03-09,1,apple,1,1.0,late\n")).unwrap();
    let error = shop.step(&job, 1, &prior, &shop.attempt("a")).await.unwrap_err();
    assert!(matches!(&error, Error::Source { table, .. } if table == "sales"), "{error}");
    assert!(error.to_string().contains("changed since the build began"), "{error}");
    fs::remove_file(&path).unwrap();
    let error = shop.step(&job, 1, &prior, &shop.attempt("b")).await.unwrap_err().to_string();
    assert!(error.contains("vanished"), "{error}");
    let error = shop.step(&job, 0, &[], &shop.attempt("c")).await.unwrap_err().to_string();
    assert!(error.contains("there is no such file") && error.contains("sales.csv"), "{error}");
}

#[tokio::test]
async fn a_missing_shortened_or_damaged_file_is_named() {
    for damage in [remove as fn(&Path), shorten, flip] {
        let shop = Shop::open();
        let job = shop.job(SegmentRange::Full);
        let prior = shop.steps(&job, 6).await.unwrap();
        let flat = result(&prior[1]).files[0].path.clone();
        let base = result(&prior[2]).files[0].path.clone();
        damage(Path::new(&flat));
        damage(Path::new(&base));
        // A new engine has an empty cache.
        let heir = Shop { engine: Engine::new(EngineConfig::anywhere()).unwrap(), ..Shop::open() };
        let error = heir.step(&job, 2, &prior[..2], &shop.attempt("x")).await.unwrap_err();
        assert!(matches!(&error, Error::BuildFile { path, .. } if *path == flat), "{error}");
        let publish = heir.step(&job, 6, &prior, &shop.attempt("x")).await.unwrap_err();
        assert!(matches!(&publish, Error::BuildFile { path, .. } if *path == base), "{publish}");
    }
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn shorten(path: &Path) {
    let content = fs::read(path).unwrap();
    fs::write(path, &content[..content.len() - 7]).unwrap();
}

fn flip(path: &Path) {
    let mut content = fs::read(path).unwrap();
    content[20] ^= 1;
    fs::write(path, content).unwrap();
}

#[tokio::test]
async fn missing_or_foreign_results_are_refused() {
    let shop = Shop::open();
    let job = shop.job(SegmentRange::Full);
    let error = shop.step(&job, 1, &[], &shop.attempt("a")).await.unwrap_err().to_string();
    assert!(error.contains("run that step first"), "{error}");
    let error = shop.step(&job, 1, &[serde_json::json!({"odd": 1})], &shop.attempt("a")).await.unwrap_err().to_string();
    assert!(error.contains("restart the job"), "{error}");
    let prior = shop.steps(&job, 3).await.unwrap();
    let error = shop.step(&job, 6, &prior, &shop.attempt("a")).await.unwrap_err().to_string();
    assert!(error.contains("was not built"), "{error}");
    let mut changed = job.clone();
    changed.model.lookups[0].join = JoinKind::Inner;
    let error = shop.step(&changed, 2, &prior[..2], &shop.attempt("a")).await.unwrap_err().to_string();
    assert!(error.contains("joined by another definition"), "{error}");
    assert!(shop.step(&job, 99, &[], &shop.attempt("a")).await.is_err());
}

#[tokio::test]
async fn a_model_without_partition_allows_only_full_builds() {
    let mut shop = Shop::open();
    shop.model.partition = None;
    let error = shop.build(JAN).await.unwrap_err().to_string();
    assert!(error.contains("can only be built in full"), "{error}");
    assert_eq!(shop.build(SegmentRange::Full).await.unwrap().manifest.source_rows, 7);
}

#[tokio::test]
async fn an_inner_lookup_drops_rows_without_a_match() {
    let shop = Shop::open();
    fs::write(shop.dir.path().join("items.csv"), "name,kind\napple,fruit\n").unwrap();
    assert_eq!(shop.build(SegmentRange::Full).await.unwrap().manifest.source_rows, 3);
}

#[tokio::test]
async fn cancelled_work_stops_and_progress_is_reported() {
    let shop = Shop::open();
    let job = shop.job(SegmentRange::Full);
    let cancel = Cancel::default();
    cancel.cancel();
    let stopped = shop.engine.run_step(&job, 0, &[], &shop.attempt("a"), Arc::new(|_| {}), &cancel).await;
    assert!(matches!(stopped, Err(Error::Cancelled)));
    let prior = shop.steps(&job, 1).await.unwrap();
    let rows = Arc::new(AtomicU64::new(0));
    let told = rows.clone();
    let progress: ProgressFn = Arc::new(move |p| {
        told.fetch_max(p.done, Ordering::Relaxed);
    });
    let flat = shop.engine.run_step(&job, 1, &prior, &shop.attempt("a"), progress, &Cancel::default()).await.unwrap();
    assert_eq!(rows.load(Ordering::Relaxed), flat.rows);
}

#[tokio::test]
async fn every_partition_format_divides_the_same_rows() {
    for (type_name, format, dates) in [
        ("VARCHAR", Some("yyyy-MM-dd"), ["2020-01-31", "2020-02-01", "2020-02-29"]),
        ("VARCHAR", Some("yyyyMMdd"), ["20200131", "20200201", "20200229"]),
        ("VARCHAR", Some("yyyy-MM-dd HH:mm:ss"), ["2020-01-31 23:59:59", "2020-02-01 00:00:00", "2020-02-29 23:00:00"]),
        ("INTEGER", Some("yyyyMMdd"), ["20200131", "20200201", "20200229"]),
        ("INTEGER", Some("epoch_seconds"), ["1580515199", "1580515200", "1583020799"]),
        ("SMALLINT", Some("epoch_days"), ["18292", "18293", "18321"]),
        ("BIGINT", Some("epoch_millis"), ["1580515199999", "1580515200000", "1583020799999"]),
        ("TIMESTAMP", None, ["2020-01-31 23:59:59.999", "2020-02-01 00:00:00", "2020-02-29 23:59:59.999"]),
        ("DATE", None, ["2020-01-31", "2020-02-01", "2020-02-29"]),
    ] {
        let mut shop = Shop::open();
        let content = format!("at,v\n{},1\n{},2\n{},4\n,8\n", dates[0], dates[1], dates[2]);
        shop.tables = vec![table(shop.dir.path(), "t", &content, &[&format!("at {type_name}"), "v BIGINT"])];
        shop.model = serde_json::from_value(serde_json::json!({
            "name": "t", "fact": "t", "dimensions": [{"name": "v", "column": "t.v"}],
            "measures": [{"name": "s", "function": "SUM", "column": "t.v"}],
            "partition": {"column": "at", "format": format}
        }))
        .unwrap();
        let (jan, feb) = (shop.build(JAN).await.unwrap(), shop.build(FEB).await.unwrap());
        assert_eq!((jan.manifest.source_rows, feb.manifest.source_rows), (1, 2), "{type_name} {format:?}");
        let snapshot = shop.snapshot(vec![jan, feb]);
        let answer = snapshot.ask("SELECT SUM(v) FROM t", index_only()).await.unwrap();
        assert_eq!(shown(&answer), ["7"], "{type_name} {format:?}");
        let answer = snapshot.ask("SELECT SUM(v) FROM t", mixed()).await.unwrap();
        assert_eq!(shown(&answer), ["15"], "{type_name} {format:?}: the row without a time is raw only");
    }
}

#[tokio::test]
async fn definitions_are_checked_against_the_files() {
    let shop = Shop::open();
    let described = shop.engine.describe(&shop.tables[0].source).await.unwrap();
    let types: Vec<_> = described.columns.iter().map(|c| (c.name.as_str(), c.type_name.as_str())).collect();
    assert_eq!(types[0], ("day", "DATE"));
    assert_eq!(types[4], ("price", "DOUBLE"));
    shop.engine.check(&shop.tables[0]).await.unwrap();
    // Columns are found by name, in any order.
    let mut other = shop.tables[0].clone();
    other.columns.swap(0, 1);
    shop.engine.check(&other).await.unwrap();
    let mut wrong = shop.tables[0].clone();
    wrong.columns.pop();
    assert!(shop.engine.check(&wrong).await.is_err());
    let mut gone = shop.tables[0].clone();
    gone.source.location = "/nowhere/at/all".into();
    assert!(shop.engine.check(&gone).await.is_err());
    gone.source.location = "gs://bucket/key".into();
    let error = shop.engine.check(&gone).await.unwrap_err().to_string();
    assert!(error.contains("use a path, a file:// URL or an s3:// URL"), "{error}");
}

#[tokio::test]
async fn a_missing_parquet_column_is_an_error_instead_of_nulls() {
    let dir = tempfile::tempdir().unwrap();
    demo::write_files(dir.path()).unwrap();
    let engine = Engine::new(EngineConfig::anywhere()).unwrap();
    let mut airlines = demo::tables(dir.path()).remove(1);
    engine.check(&airlines).await.unwrap();
    airlines.columns[1].name = "NAME".into();
    engine.check(&airlines).await.unwrap();
    airlines.columns[1].name = "title".into();
    let error = engine.check(&airlines).await.unwrap_err().to_string();
    assert!(error.contains("no file has a column \"title\"") && error.contains("\"name\""), "{error}");
    airlines.columns[1] = Column { name: "name".into(), type_name: "DATE".into() };
    // Text can be cast to DATE in principle; a number type for binary data cannot.
    engine.check(&airlines).await.unwrap();
}

#[tokio::test]
async fn a_directory_and_a_glob_are_sources() {
    let shop = Shop::open();
    let dir = shop.dir.path().join("many [1] files");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.csv"), "v\n1\n").unwrap();
    fs::write(dir.join("b.csv"), "v\n2\n").unwrap();
    fs::write(dir.join("readme.txt"), "not data").unwrap();
    let mut t = table(shop.dir.path(), "t", "v\n", &["v BIGINT"]);
    t.source.location =
        format!("file://{}/", dir.display()).replace(' ', "%20").replace('[', "%5B").replace(']', "%5D");
    shop.engine.check(&t).await.unwrap();
    let catalog = |t: &Table| Catalog { tables: vec![t.clone()], ..Catalog::default() };
    let sum = |t: Table| {
        let snapshot = shop.engine.open(catalog(&t)).unwrap();
        async move { shown(&snapshot.ask("SELECT SUM(v) FROM t", raw()).await.unwrap()) }
    };
    assert_eq!(sum(t.clone()).await, ["3"]);
    // A file that is added later is seen by the next query.
    fs::write(dir.join("c.csv"), "v\n4\n").unwrap();
    assert_eq!(sum(t.clone()).await, ["7"]);
    let plain = shop.dir.path().join("plain");
    fs::create_dir(&plain).unwrap();
    fs::write(plain.join("x1.csv"), "v\n1\n").unwrap();
    fs::write(plain.join("y1.csv"), "v\n8\n").unwrap();
    t.source.location = format!("{}/x*.csv", plain.display());
    assert_eq!(sum(t).await, ["1"]);
}

#[tokio::test]
async fn a_planted_fault_breaks_a_conservation_law_and_nothing_is_published() {
    for (plant, quantity) in [
        (Plant::LostBatch, "total of count(*): expected 7, found"),
        (Plant::SwappedGroup, "fingerprint of the groups by"),
    ] {
        let engine = Engine::new(EngineConfig { threads: 2, plant, ..EngineConfig::anywhere() }).unwrap();
        let shop = Shop { engine, ..Shop::open() };
        let error = shop.build(SegmentRange::Full).await.unwrap_err();
        assert!(matches!(&error, Error::NotConserved { what, .. } if what == "index 63"), "{plant:?}: {error}");
        assert!(error.to_string().contains(quantity), "{plant:?}: {error}");
    }
}

#[tokio::test]
async fn results_of_a_version_without_totals_are_checked_before_they_are_published() {
    let without_totals = |value: &serde_json::Value| {
        let mut value = value.clone();
        value.as_object_mut().unwrap().remove("totals");
        if let Some(index) = value["outcome"].get_mut("indexed") {
            index.as_object_mut().unwrap().remove("conserved");
        }
        value
    };
    let shop = Shop::open();
    let job = shop.job(SegmentRange::Full);
    let old: Vec<_> = shop.steps(&job, 6).await.unwrap().iter().map(without_totals).collect();
    let published = shop.step(&job, 6, &old, &shop.attempt("new")).await.unwrap();
    let totals = published.manifest().unwrap().totals.clone().unwrap();
    assert_eq!(totals.partials["count(*)"], Total::Exact("7".into()));
    // The index of an older version that lost a batch.
    let engine = Engine::new(EngineConfig { plant: Plant::LostBatch, ..EngineConfig::anywhere() }).unwrap();
    let bad = Shop { engine, ..Shop::open() };
    let index = bad.step(&job, 2, &old[..2], &shop.attempt("bad")).await.unwrap();
    let mut mixed = old.clone();
    mixed[2] = without_totals(&serde_json::to_value(index).unwrap());
    let error = shop.step(&job, 6, &mixed, &shop.attempt("new")).await.unwrap_err();
    assert!(matches!(&error, Error::NotConserved { what, .. } if what == "index 63"), "{error}");
}

/// A table with so many dimensions, and a model with each set of them as an index.
fn cube(dimensions: usize) -> (tempfile::TempDir, BuildJob) {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..dimensions).map(|d| format!("d{d}")).collect();
    let rows =
        (0..50).map(|row| names.iter().enumerate().map(|(d, _)| (row % (d + 2)).to_string()).collect::<Vec<_>>());
    let rows: String = rows.map(|cells| cells.join(",") + "\n").collect();
    let columns: Vec<String> = names.iter().map(|name| format!("{name} BIGINT")).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let tables = vec![table(dir.path(), "t", &format!("{}\n{rows}", names.join(",")), &columns)];
    let dimensions = names.iter().map(|d| serde_json::json!({"name": d, "column": format!("t.{d}")}));
    let model = serde_json::json!({
        "name": "m", "fact": "t", "dimensions": dimensions.collect::<Vec<_>>(),
        "measures": [{"name": "n", "function": "COUNT"}, {"name": "s", "function": "SUM", "column": "t.d0"}],
        "aggregation_groups": [{"include": names}],
    });
    let model = serde_json::from_value(model).unwrap();
    (dir, BuildJob { model, tables, range: SegmentRange::Full })
}

#[tokio::test]
async fn the_work_for_an_index_does_not_grow_with_their_number() {
    for dimensions in [3, 6] {
        let (dir, job) = cube(dimensions);
        let engine = Engine::new(EngineConfig { threads: 2, ..EngineConfig::anywhere() }).unwrap();
        let mut building = engine.building(&job, &[]).unwrap();
        let steps = plan(&job.model).unwrap().steps;
        let mut results = vec![];
        for step in &steps {
            let before = engine.effort();
            let result = building.step(step.index, dir.path(), Arc::new(|_| {}), &Cancel::default()).await.unwrap();
            let after = engine.effort();
            assert_eq!((before.results_read, before.models_resolved), (0, 1));
            let compared = u64::from(step.kind == StepKind::Index && step.layout != Some((1 << dimensions) - 1));
            assert_eq!(after.layouts_compared - before.layouts_compared, compared, "{}", step.name);
            results.push(serde_json::to_value(result).unwrap());
        }
        assert_eq!((engine.effort().results_read, engine.effort().models_resolved), (0, 1));
        // Another node reads each result once, and finds the same.
        let half = steps.len() / 2;
        let mut heir = engine.building(&job, &results[..half]).unwrap();
        for step in &steps[half..] {
            let result = heir.step(step.index, dir.path(), Arc::new(|_| {}), &Cancel::default()).await.unwrap();
            let (found, right) = (serde_json::to_value(&result.outcome).unwrap(), &results[step.index]["outcome"]);
            assert_eq!(&found, right, "{}", step.name);
        }
        assert_eq!((engine.effort().results_read, engine.effort().models_resolved), (half as u64, 2));
    }
}

#[tokio::test]
async fn the_parts_of_a_small_index_are_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let rows: String = (0..200_000).map(|row| format!("{},{},{row}\n", row % 40, row / 2)).collect();
    let tables =
        vec![table(dir.path(), "t", &format!("few,many,v\n{rows}"), &["few BIGINT", "many BIGINT", "v BIGINT"])];
    let model = serde_json::json!({
        "name": "m", "fact": "t",
        "dimensions": [{"name": "few", "column": "t.few"}, {"name": "many", "column": "t.many"}],
        "measures": [{"name": "s", "function": "SUM", "column": "t.v"}],
        "indexes": [["few"], ["many"]],
    });
    let model: Model = serde_json::from_value(model).unwrap();
    let engine = Engine::new(EngineConfig { threads: 4, ..EngineConfig::anywhere() }).unwrap();
    let job = BuildJob { model, tables, range: SegmentRange::Full };
    let mut building = engine.building(&job, &[]).unwrap();
    let mut last = None;
    for step in plan(&job.model).unwrap().steps {
        last = Some(building.step(step.index, dir.path(), Arc::new(|_| {}), &Cancel::default()).await.unwrap());
    }
    let manifest = last.unwrap().manifest().unwrap().clone();
    let files = |layout: u64| {
        let layout = manifest.layouts.iter().find(|l| l.layout == layout).unwrap();
        layout.files.iter().map(|f| f.rows).collect::<Vec<_>>()
    };
    assert_eq!(files(0b01), [40], "four partitions of ten groups each");
    assert!(files(0b10).len() > 1, "large parts have files of their own: {:?}", files(0b10));
    assert_eq!(files(0b10).iter().sum::<u64>(), 100_000);
    let catalog = Catalog {
        tables: job.tables.clone(),
        models: vec![job.model.clone()],
        segments: vec![Segment { id: "1".into(), model: "m".into(), range: job.range, manifest }],
    };
    let sql = "SELECT few, SUM(v) FROM t GROUP BY few ORDER BY few LIMIT 2";
    let answer = engine.open(catalog).unwrap().ask(sql, index_only()).await.unwrap();
    assert_eq!(shown(&answer), ["0 499900000", "1 499905000"]);
}
