//! Regression tests of the API and the command line on a real node.

use std::path::Path;

use anyhow::ensure;
use kirin_client::{Client, Kind, Request};
use kirin_lab::local_cluster::{Cluster, NodeProcess, Plan};
use kirin_wire::{
    BuildRequest, Code, CommandSpec, Done, Given, JobView, JobsQuery, ModelDefinition, ModelView, NewProject, NewTable,
    Page, ProjectView, RefreshRequest, SegmentView, Submit, Submitted, TableAdded, TableView,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::cluster::{plan, program, until};

const DAY_MS: i64 = 86_400_000;
const SEGMENTS: [&str; 3] = ["models", "sales", "segments"];

/// A table of two days and a model over it.
async fn define(client: &Client, dir: &Path) -> anyhow::Result<()> {
    let file = dir.join("sales.csv");
    std::fs::write(&file, "day,shop\n2013-01-01,a\n2013-01-02,b\n2013-01-02,c\n")?;
    for name in ["sales", "spare"] {
        let source = Given::Location(file.display().to_string());
        let table = NewTable { project: "default".to_owned(), name: name.to_owned(), source, columns: Vec::new() };
        let _: TableAdded = client.call(Request::post(&["tables"]).body(&table)?).await?;
    }
    for name in ["sales", "spare"] {
        let model: ModelDefinition = serde_json::from_value(json!({
            "name": name, "fact": name, "partition": { "column": "day" },
            "dimensions": [{ "name": "shop", "column": format!("{name}.shop") }],
        }))?;
        let _: ModelView = client.call(Request::post(&["models"]).body(&model)?).await?;
    }
    Ok(())
}

async fn build(cluster: &Cluster, day: i64) -> anyhow::Result<()> {
    let start = 1_356_998_400_000 + day * DAY_MS;
    let body = BuildRequest::new("default", (start, start + DAY_MS));
    let made: Submitted = cluster.nodes[0].client()?.call(Request::post(&SEGMENTS).body(&body)?).await?;
    until(cluster, made.first(), "FINISHED").await?;
    Ok(())
}

/// Runs a command of the program in the home directory of a node, without a terminal.
pub(crate) fn kirin(node: &NodeProcess, line: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let mut command = std::process::Command::new(program());
    command.env("KIRIN_HOME", node.home()).env_remove("KIRIN_URL").env_remove("KIRIN_PASSWORD");
    let out = command.args(line).stdin(std::process::Stdio::null()).output()?;
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    Ok((out.status.code(), text))
}

async fn a_list_has_pages<T: DeserializeOwned>(client: &Client, path: &[&str], total: u64) -> anyhow::Result<()> {
    for page in 0..total {
        let request = Request::get(path).with("project", "default").with("page_size", 1).with("page_offset", page);
        let one: Page<T> = client.call(request).await?;
        let seen = (one.value.len(), one.offset, one.limit, one.total_size);
        ensure!(seen == (1, page, 1, total), "{path:?}: {seen:?}");
    }
    let none = client.call::<Page<T>>(Request::get(path).with("project", "default").with("page_size", 0)).await;
    ensure!(none.is_err_and(|error| error.code == Some(Code::BadRequest)), "{path:?}: a page without rows is refused");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_refreshes_drops_and_refusals_behave_as_documented() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut cluster = Cluster::start(dir.path(), 1, plan()).await?;
    let client = cluster.nodes[0].client()?;
    define(client, dir.path()).await?;
    let second = NewProject { name: "second".to_owned(), ..NewProject::default() };
    let _: ProjectView = client.call(Request::post(&["projects"]).body(&second)?).await?;
    build(&cluster, 0).await?;
    build(&cluster, 1).await?;

    // Pages have the requested size.
    a_list_has_pages::<ProjectView>(client, &["projects"], 2).await?;
    a_list_has_pages::<TableView>(client, &["tables"], 2).await?;
    a_list_has_pages::<ModelView>(client, &["models"], 2).await?;
    a_list_has_pages::<SegmentView>(client, &SEGMENTS, 2).await?;

    // Statuses are repeated or separated by commas. Other parameters are ignored. Booleans ignore case.
    let statuses = vec!["FINISHED".to_owned(), "ERROR".to_owned()];
    let repeated = JobsQuery { statuses, ..JobsQuery::default() };
    for request in [
        Request::get(&["jobs"]).query(&repeated)?,
        Request::get(&["jobs"]).with("statuses", "FINISHED,ERROR").with("reverse", "False").with("unknown", 1),
    ] {
        let page: Page<JobView> = client.call(request).await?;
        ensure!(page.total_size == 2, "{page:?}");
    }

    // A refresh of two segments is all or nothing, is not repeated under its key, and has its own job type.
    let segments: Page<SegmentView> = client.call(Request::get(&SEGMENTS)).await?;
    let ids: Vec<_> = segments.value.iter().map(|segment| segment.id.clone()).collect();
    let mut refresh = RefreshRequest::new("default", vec![ids[0].clone(), uuid::Uuid::new_v4().to_string()]);
    let refused = client.call::<Submitted>(Request::put(&SEGMENTS).body(&refresh)?).await;
    ensure!(refused.is_err_and(|error| error.code == Some(Code::NoSegment)), "one of the segments does not exist");
    refresh.ids.clone_from(&ids);
    refresh.idempotency_key = Some("once".to_owned());
    let made: Submitted = client.call(Request::put(&SEGMENTS).body(&refresh)?).await?;
    ensure!(made.jobs.len() == 2 && made.jobs.iter().all(|job| job.job_name == "INDEX_REFRESH"), "{made:?}");
    for job in &made.jobs {
        until(&cluster, &job.job_id, "FINISHED").await?;
    }
    let again: Submitted = client.call(Request::put(&SEGMENTS).body(&refresh)?).await?;
    ensure!(again == made, "{again:?} is not {made:?}");
    let page: Page<JobView> = client.call(Request::get(&["jobs"])).await?;
    let refreshes = page.value.iter().filter(|job| job.job_name == "INDEX_REFRESH").count();
    ensure!((refreshes, page.total_size) == (2, 4), "{page:?}");

    // An unknown field is refused with a suggestion.
    let wrong = Request::post(&["query"]).body(&json!({ "sql": "SELECT 1", "pushdown": true }))?;
    let refused = client.call::<Done>(wrong).await.expect_err("the field is unknown");
    ensure!(refused.kind == Kind::Usage && refused.what.contains("did you mean 'push_down'?"), "{refused}");

    // The command line finds the node of its home directory on any port.
    let node = &cluster.nodes[0];
    let (code, text) = kirin(node, &["model", "show", "SALES"])?;
    ensure!(code == Some(0) && text.contains("fact_table: DEFAULT.sales"), "{code:?} {text}");
    let (code, text) = kirin(node, &["job", "list", "--status", "finished,error"])?;
    ensure!(code == Some(0) && text.lines().count() == 5, "{code:?} {text}");
    let (code, text) = kirin(node, &["table", "show", "sales"])?;
    ensure!(code == Some(0) && !text.contains("NULL"), "{code:?} {text}");

    // Without a terminal, drops require --yes. A model is dropped with its segments.
    let (code, text) = kirin(node, &["model", "drop", "sales"])?;
    ensure!(code == Some(2) && text.contains("--yes"), "{code:?} {text}");
    let (code, text) = kirin(node, &["segment", "drop", "sales", &ids[0], &ids[1], "--yes"])?;
    ensure!(code == Some(0), "{code:?} {text}");
    build(&cluster, 0).await?;
    let (code, text) = kirin(node, &["model", "drop", "sales", "--yes"])?;
    ensure!(code == Some(0), "{code:?} {text}");
    let gone = client.call::<Page<SegmentView>>(Request::get(&SEGMENTS)).await;
    ensure!(gone.is_err_and(|error| error.code == Some(Code::NoModel)), "the model no longer exists");
    cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_commands_shows_the_progress_of_a_command() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let enabled = vec![("kirin.command.enabled".to_owned(), "true".to_owned())];
    let mut cluster = Cluster::start(dir.path(), 2, Plan { own_settings: vec![enabled], ..plan() }).await?;
    let without = cluster.nodes[1].client()?;
    let go = dir.path().join("go");
    let wait = format!("while [ ! -e {} ]; do sleep 0.05; done", go.display());
    let step = |text: &str| json!({ "argv": ["/bin/sh", "-c", text] });
    let body = Submit::new("default", CommandSpec::KIND, json!({ "steps": [step("true"), step(&wait)] }));
    let made: Submitted = without.call(Request::post(&["jobs"]).body(&body)?).await?;
    ensure!(made.warning.is_none(), "a node can run it: {made:?}");
    let listed = async || {
        let page: Page<JobView> = without.call(Request::get(&["jobs"])).await?;
        anyhow::Ok(page.value.into_iter().find(|job| job.id == made.job_id))
    };
    let half = cluster
        .wait("one of two steps in the list of the other node", async || {
            Ok(listed().await?.filter(|job| job.step_ratio > 0.0))
        })
        .await?;
    let seen = (half.step_ratio, half.job_name.as_str(), half.node.as_str());
    ensure!(seen == (0.5, "COMMAND", "node-1"), "{half:?}");
    let shown: JobView = without.call(Request::get(&["jobs", &made.job_id])).await?;
    ensure!(shown.steps_done() == (1, 2), "{shown:?}");
    std::fs::write(&go, "")?;
    until(&cluster, &made.job_id, "FINISHED").await?;
    let done = listed().await?;
    ensure!(done.as_ref().is_some_and(|job| (job.step_ratio, job.progress) == (1.0, 100.0)), "{done:?}");
    cluster.stop_all().await
}
