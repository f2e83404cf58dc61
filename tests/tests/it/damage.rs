//! Damaged data fails alone with the reason, and everything else works.

use std::path::Path;

use anyhow::ensure;
use kirin_client::{Client, Request};
use kirin_lab::local_cluster::{Cluster, Plan};
use kirin_tests::chaos::flights::{PROJECT, Quarter, SQL, define, numbers};
use kirin_wire::{BuildRequest, Code, Page, QueryRequest, QueryView, RefreshRequest, SegmentView, Submit, Submitted};
use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::cluster::{act, plan, submit, until, until_done};

/// Changes the metastore without a node.
async fn spoil(dir: &Path, sql: &'static str) -> anyhow::Result<()> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join("metastore.db"));
    let mut conn = options.busy_timeout(std::time::Duration::from_secs(20)).connect().await?;
    let done = sqlx::raw_sql(sql).execute(&mut conn).await?;
    ensure!(done.rows_affected() == 1, "{sql}: {} rows", done.rows_affected());
    Ok(conn.close().await?)
}

/// A worker ends with any amount of memory, successfully or not. A stuck worker would hold its job forever.
#[test]
fn a_worker_without_memory_ends() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let work = json!({ "work": {
        "kind": "command", "spec": { "argv": ["/bin/true"] }, "done": [], "dir": std::env::temp_dir(), "job": "j",
        "epoch": 1, "memory": 1_000_000_000,
    } });
    for mebibytes in (64..512).step_by(2) {
        let mut worker = Command::new("prlimit")
            .arg(format!("--as={}", mebibytes << 20))
            .arg(crate::cluster::program())
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prlimit can be started");
        let mut input = worker.stdin.take().expect("it has an input");
        // Tells the worker that its step is committed. A worker that has already ended does not read it.
        let _ = write!(input, "{work}\n\"proceed\"\n");
        let until = Instant::now() + Duration::from_secs(60);
        while worker.try_wait().expect("it can be waited for").is_none() {
            assert!(Instant::now() < until, "with {mebibytes} MiB the worker is stuck");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

async fn build(client: &Client, quarter: Quarter) -> anyhow::Result<String> {
    let body = BuildRequest::new(PROJECT, (quarter.start_ms, quarter.end_ms));
    let made: Submitted = client.call(Request::post(&["models", "flights", "segments"]).body(&body)?).await?;
    Ok(made.first().to_owned())
}

async fn ask(client: &Client, sql: &str, raw: bool) -> Result<QueryView, kirin_client::Error> {
    let query = QueryRequest::new(PROJECT, sql);
    let body = if raw { query.raw() } else { query };
    client.call(Request::post(&["query"]).body(&body)?).await
}

/// The Parquet files in a directory tree.
fn files(dir: &Path, found: &mut Vec<std::path::PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_definition_fails_alone_with_the_reason() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let one_at_a_time = ("kylin.job.max-concurrent-jobs".to_owned(), "1".to_owned());
    let mut cluster = Cluster::start(dir.path(), 1, Plan { settings: vec![one_at_a_time], ..plan() }).await?;
    let client = cluster.nodes[0].client()?;
    let quarters = define(client, &dir.path().join("files")).await?;
    let whole = build(client, quarters[0]).await?;
    until(&cluster, &whole, "FINISHED").await?;

    // The row of a job that has started.
    let torn = submit(&cluster, 0, json!({ "steps": 200, "step_ms": 50 })).await?;
    until_done(&cluster, &torn, 1).await?;
    act(&cluster, &torn, "PAUSE").await?;
    until(&cluster, &torn, "STOPPED").await?;
    spoil(dir.path(), "UPDATE kirin_job SET spec = '{\"steps\": \"ma' WHERE id = (SELECT MAX(id) FROM kirin_job)")
        .await?;
    act(&cluster, &torn, "RESUME").await?;
    let view = until(&cluster, &torn, "ERROR").await?;
    ensure!(view.failed_msg.as_ref().is_some_and(|text| !text.is_empty()), "the reason is shown: {view:?}");
    let beside = submit(&cluster, 0, json!({ "steps": 2, "step_ms": 10 })).await?;
    until(&cluster, &beside, "FINISHED").await?;

    // The model of a build that waits for another job of its project.
    let body = Submit::new(PROJECT, "probe", json!({ "steps": 2_000, "step_ms": 50 }));
    let made: Submitted = client.call(Request::post(&["jobs"]).body(&body)?).await?;
    let before = made.job_id;
    until_done(&cluster, &before, 1).await?;
    let orphan = build(client, quarters[1]).await?;
    spoil(dir.path(), "UPDATE kirin_doc SET name = 'gone' WHERE kind = 'model' AND name = 'flights'").await?;
    act(&cluster, &before, "DISCARD").await?;
    let view = until(&cluster, &orphan, "ERROR").await?;
    ensure!(
        view.failed_msg.as_ref().is_some_and(|text| text.contains("flights")),
        "the reason names the model: {view:?}"
    );
    spoil(dir.path(), "UPDATE kirin_doc SET name = 'flights' WHERE kind = 'model' AND name = 'gone'").await?;

    // The files of a segment.
    let answer = ask(client, SQL, false).await?;
    ensure!(numbers(&answer) == Some((quarters[0].flights, quarters[0].miles)), "{:?}", answer.results);
    let mut built = Vec::new();
    files(&dir.path().join("warehouse"), &mut built)?;
    ensure!(!built.is_empty(), "nothing was built");
    for file in &built {
        std::fs::write(file, b"PAR1 and nothing that makes sense PAR1")?;
    }
    let failed = ask(client, SQL, false).await.expect_err("its files are damaged");
    ensure!(failed.code == Some(Code::QueryFailed), "{failed}");
    let raw = ask(client, "SELECT COUNT(*) FROM flights", true).await?;
    ensure!(
        raw.results[0][0].as_ref().is_some_and(|count| count.len() > 5),
        "the raw tables answer: {:?}",
        raw.results
    );
    let beside = submit(&cluster, 0, json!({ "steps": 2, "step_ms": 10 })).await?;
    until(&cluster, &beside, "FINISHED").await?;
    let again = build(client, quarters[2]).await?;
    until(&cluster, &again, "FINISHED").await?;
    cluster.stop_all().await
}

/// The segments of the model, as the API lists them.
async fn segments(client: &Client) -> anyhow::Result<Vec<SegmentView>> {
    let list = Request::get(&["models", "flights", "segments"]).with("project", PROJECT);
    Ok(client.call::<Page<SegmentView>>(list).await?.value)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_finds_a_wrong_segment_and_queries_do_not_use_it() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let often = ("kirin.segment.verify-every".to_owned(), "1s".to_owned());
    let mut cluster = Cluster::start(dir.path(), 1, Plan { settings: vec![often], ..plan() }).await?;
    let client = cluster.nodes[0].client()?;
    let quarters = define(client, &dir.path().join("files")).await?;
    let built = build(client, quarters[0]).await?;
    until(&cluster, &built, "FINISHED").await?;
    let answer = ask(client, SQL, false).await?;
    ensure!(numbers(&answer) == Some((quarters[0].flights, quarters[0].miles)), "{:?}", answer.results);

    // Now files and totals differ, as after a build that lost rows.
    spoil(
        dir.path(),
        r#"UPDATE kirin_segment SET manifest = REPLACE(manifest, '"count(*)":{"exact":"', '"count(*)":{"exact":"1')"#,
    )
    .await?;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    let marked = loop {
        let segment = segments(client).await?.remove(0);
        if segment.status == "WARNING" {
            break segment;
        }
        ensure!(tokio::time::Instant::now() < deadline, "the leader has not found it: {segment:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let why = marked.wrong.as_deref().unwrap_or_default();
    ensure!(why.contains("total of count(*): expected 1"), "{marked:?}");
    let refused = ask(client, SQL, false).await.expect_err("the segment is wrong").to_string();
    ensure!(refused.contains("was found wrong") && refused.contains("refresh it"), "{refused}");

    let body = RefreshRequest::new(PROJECT, vec![marked.id]);
    let again: Submitted = client.call(Request::put(&["models", "flights", "segments"]).body(&body)?).await?;
    until(&cluster, again.first(), "FINISHED").await?;
    let answer = ask(client, SQL, false).await?;
    ensure!(numbers(&answer) == Some((quarters[0].flights, quarters[0].miles)), "{:?}", answer.results);
    ensure!(segments(client).await?[0].status == "READY");
    cluster.stop_all().await
}
