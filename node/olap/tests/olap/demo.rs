//! The demo model, built month by month, with the queries of the README.

use crate::shop::Ask;
use kirin_olap::{
    BuildJob, Cancel, Catalog, Engine, EngineConfig, Manifest, QueryOptions, Segment, SegmentRange, demo, plan,
};
use std::path::Path;
use std::sync::Arc;

async fn build(engine: &Engine, job: &BuildJob, dir: &Path) -> Manifest {
    let mut prior = vec![];
    for step in plan(&job.model).unwrap().steps {
        let result = engine
            .run_step(job, step.index, &prior, dir, Arc::new(|_| {}), &Cancel::default())
            .await
            .unwrap_or_else(|e| panic!("{}: {e}", step.name));
        if let Some(manifest) = result.manifest() {
            return manifest.clone();
        }
        prior.push(serde_json::to_value(&result).unwrap());
    }
    unreachable!("the last step publishes");
}

#[tokio::test]
async fn indexes_and_raw_tables_answer_the_demo_alike() {
    let dir = tempfile::tempdir().unwrap();
    demo::write_files(dir.path()).unwrap();
    let engine = Engine::new(EngineConfig::anywhere()).unwrap();
    let tables = demo::tables(dir.path());
    for table in &tables {
        engine.check(table).await.unwrap();
    }
    let model = demo::model();
    let mut segments = vec![];
    let mut rows = 0;
    for (i, range) in demo::months().into_iter().enumerate().take(3) {
        let job = BuildJob { model: model.clone(), tables: tables.clone(), range };
        let manifest = build(&engine, &job, &dir.path().join(format!("segment-{i}"))).await;
        rows += manifest.source_rows;
        segments.push(Segment { id: i.to_string(), model: model.name.clone(), range, manifest });
    }
    let snapshot = engine.open(Catalog { tables, models: vec![model], segments: segments.clone() }).unwrap();
    let index = QueryOptions::default();
    let raw = QueryOptions { push_down: true, use_index: false, ..QueryOptions::default() };
    let mixed = QueryOptions { push_down: true, ..QueryOptions::default() };

    let count = snapshot.ask("SELECT COUNT(*) AS N FROM FLIGHTS", index.clone()).await.unwrap();
    assert_eq!(count.rows, [[Some(rows.to_string())]]);
    assert_eq!(count.columns[0].name, "N");
    assert!(!count.push_down);
    let count = snapshot.ask("SELECT COUNT(*) FROM FLIGHTS", mixed.clone()).await.unwrap();
    assert_eq!(count.rows, [[Some("336776".to_string())]]);
    assert!(count.push_down && count.realizations[0].mixed);

    let built = "time_hour < '2013-04-01'";
    for sql in [
        "SELECT a.name, COUNT(*) n, AVG(f.dep_delay) delay FROM flights f JOIN airlines a ON f.carrier = a.carrier WHERE {} GROUP BY a.name ORDER BY n DESC, a.name LIMIT 5",
        "SELECT month, SUM(distance), MIN(arr_delay), MAX(arr_delay) FROM flights WHERE {} GROUP BY month ORDER BY month",
        "SELECT origin, COUNT(arr_delay) FROM flights WHERE {} GROUP BY origin HAVING COUNT(*) > 10 ORDER BY 1",
        "WITH t AS (SELECT dest, COUNT(*) c FROM flights WHERE {} GROUP BY dest) SELECT MAX(c) FROM t",
        "SELECT p.manufacturer, COUNT(*) c FROM flights f LEFT JOIN planes p ON f.tailnum = p.tailnum WHERE {} GROUP BY 1 ORDER BY c DESC, 1 LIMIT 3",
        "SELECT COUNT(DISTINCT dest) FROM flights WHERE {}",
    ] {
        let sql = sql.replace("{}", built);
        let from_raw = snapshot.ask(&sql, raw.clone()).await.unwrap();
        for options in [&index, &mixed] {
            let answer = snapshot.ask(&sql, options.clone()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert!(!answer.realizations.is_empty(), "{sql}");
            assert!(options.push_down || !answer.push_down, "{sql}");
            let near = |a: &Option<String>, b: &Option<String>| match (a, b) {
                (Some(a), Some(b)) if a != b => {
                    let (a, b): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
                    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
                }
                (a, b) => a == b,
            };
            assert_eq!(answer.rows.len(), from_raw.rows.len(), "{sql}");
            for (a, b) in answer.rows.iter().flatten().zip(from_raw.rows.iter().flatten()) {
                assert!(near(a, b), "{sql}: {a:?} {b:?}");
            }
        }
    }
    assert_eq!(segments[0].range.segment_name(), "20130101000000_20130201000000");
    assert!(matches!(segments[0].range, SegmentRange::Time { .. }));
}
