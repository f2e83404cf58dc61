//! Traces of simulated runs as tables, queried with SQL.

use std::collections::BTreeMap;

use kirin_olap::{Catalog, Engine, EngineConfig, Format, QueryOptions, Source, Table};
use kirin_sim::Plant;
use kirin_sim::search::Script;

type Rows = Vec<Vec<Option<String>>>;

/// Runs the acts, writes the trace, and runs each query on it.
async fn asked<const N: usize>(acts: &str, plant: Option<Plant>, questions: [&str; N]) -> [Rows; N] {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.parquet");
    let verdict =
        kirin_sim::trace::write(&Script::parse(acts).unwrap(), plant, std::fs::File::create(&path).unwrap()).unwrap();
    assert_eq!(verdict.violation, None);
    let engine = Engine::new(EngineConfig::anywhere()).unwrap();
    let source = Source { format: Format::Parquet, location: path.display().to_string(), csv: None, granted: None };
    let columns = engine.describe(&source).await.unwrap().columns;
    let table = Table { name: "run".to_owned(), source, columns };
    let snapshot = engine.open(Catalog { tables: vec![table], ..Catalog::default() }).unwrap();
    let options = QueryOptions { push_down: true, ..QueryOptions::default() };
    let mut answers = [const { Vec::new() }; N];
    for (answer, question) in answers.iter_mut().zip(questions) {
        *answer = snapshot.query(question, options.clone()).await.unwrap().rest_as_text().await.unwrap();
    }
    answers
}

#[tokio::test]
async fn a_takeover_is_found_in_the_trace_of_its_run() {
    let acts = "cluster seed=7 nodes=3\npost a steps=3 step=20s\nrun 30s\nkill n1\nkill n2\nrun 90s\n";
    let [kinds, begun, commits, order, acts] = asked(
        acts,
        None,
        [
            "SELECT kind, COUNT(*) FROM run GROUP BY kind",
            "SELECT epoch, host FROM run WHERE name = 'begin' AND job = 1 ORDER BY seq",
            "SELECT COUNT(DISTINCT text) FROM run WHERE name = 'commit_step' AND job = 1",
            "SELECT COUNT(*) FROM run a JOIN run b ON b.seq = a.seq + 1 WHERE b.at_us < a.at_us",
            "SELECT text FROM run WHERE kind = 'act' AND name = 'kill' AND host IS NULL ORDER BY seq",
        ],
    )
    .await;
    let kinds: BTreeMap<_, u64> =
        kinds.into_iter().map(|row| (row[0].clone().unwrap(), row[1].clone().unwrap().parse().unwrap())).collect();
    assert!(kinds["act"] >= 6 && kinds["event"] > 50 && kinds["effect"] > 50, "{kinds:?}");
    assert!(begun.len() >= 2, "the heir begins a second attempt: {begun:?}");
    assert_eq!(begun[0][0].as_deref(), Some("1"));
    assert_eq!(begun.last().unwrap()[1].as_deref(), Some("n3"), "the remaining node runs the last attempt: {begun:?}");
    assert!(commits[0][0].as_deref().unwrap().parse::<u64>().unwrap() >= 3, "{commits:?}");
    assert_eq!(order[0][0].as_deref(), Some("0"), "true time never runs backwards");
    let acts: Vec<_> = acts.into_iter().flatten().flatten().collect();
    assert_eq!(acts, ["kill n1", "kill n2"]);
}
