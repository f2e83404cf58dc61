//! Tests with real processes: `kirin` nodes on this machine, one metastore, everything over HTTP.

use std::path::PathBuf;

use anyhow::ensure;
use kirin_client::Request;
use kirin_lab::local_cluster::{Cluster, Plan};
use kirin_tests::servers::postgres::Postgres;
use kirin_wire::{
    BuildRequest, ClusterView, Done, Given, HistoryView, JobAction, JobView, ModelView, NewProject, NewTable,
    PROJECT_LIMIT, Page, ProjectConfig, ProjectView, QueryRequest, QueryView, Submit, Submitted, TableAdded, WhyView,
};
use serde_json::{Value, json};

use crate::s3::S3;

/// The program under test, in the same target directory as this test.
pub(crate) fn program() -> PathBuf {
    let mut path = std::env::current_exe().expect("this test is a program");
    path.pop();
    path.pop();
    path.push("kirin");
    assert!(path.exists(), "{} does not exist; run `cargo build -p kirin` first", path.display());
    path
}

pub(crate) fn plan() -> Plan {
    Plan { program: Some(program()), ..Plan::default() }
}

pub(crate) async fn submit(cluster: &Cluster, node: usize, spec: Value) -> anyhow::Result<String> {
    let body = Submit::new("default", "probe", spec);
    let made: Submitted = cluster.nodes[node].client()?.call(Request::post(&["jobs"]).body(&body)?).await?;
    Ok(made.job_id)
}

async fn job(cluster: &Cluster, id: &str) -> anyhow::Result<JobView> {
    let node = cluster.living().next().expect("a node lives");
    Ok(node.client()?.call(Request::get(&["jobs", id])).await?)
}

pub(crate) async fn act(cluster: &Cluster, id: &str, action: &str) -> anyhow::Result<()> {
    let node = cluster.living().last().expect("a node lives");
    let body = JobAction { job_ids: vec![id.to_owned()], action: action.to_owned(), ..JobAction::default() };
    let _: Done = node.client()?.call(Request::put(&["jobs", "status"]).body(&body)?).await?;
    Ok(())
}

pub(crate) async fn until(cluster: &Cluster, id: &str, status: &str) -> anyhow::Result<JobView> {
    cluster
        .wait(&format!("job {id} to be {status}"), async || {
            let view = job(cluster, id).await?;
            Ok((view.job_status == status).then_some(view))
        })
        .await
}

pub(crate) async fn until_done(cluster: &Cluster, id: &str, steps: usize) -> anyhow::Result<JobView> {
    cluster
        .wait(&format!("{steps} steps of job {id}"), async || {
            let view = job(cluster, id).await?;
            Ok((view.steps_done().0 >= steps && !view.node.is_empty()).then_some(view))
        })
        .await
}

/// Stops the cluster, replays every node's flight recording, and compares the states.
async fn stop_and_replay(cluster: &mut Cluster) -> anyhow::Result<()> {
    cluster.stop_all().await?;
    for node in &cluster.nodes {
        let (mut events, mut checked) = (0, 0);
        for path in kirin_recorder::files(&[node.home().join("data/recorder")])? {
            let recording = kirin_recorder::Recording::open(&path)?;
            let mut replay = kirin_recorder::Replay::new(&recording);
            while replay.step()?.is_some() {
                events += 1;
            }
            checked += replay.checked();
        }
        ensure!(events > 10 && checked > 0, "{}: {events} events, {checked} digests", node.name);
    }
    Ok(())
}

fn epochs(view: &JobView) -> Vec<u64> {
    view.steps.iter().flatten().map(|step| step.epoch).filter(|epoch| *epoch > 0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_loses_no_step_and_the_heir_repeats_none() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut cluster = Cluster::start(dir.path(), 3, plan()).await?;
    let id = submit(&cluster, 0, json!({ "steps": 30, "step_ms": 50 })).await?;
    let view = until_done(&cluster, &id, 3).await?;
    let victim = cluster.place(&view.node).expect("one of ours");
    cluster.kill(victim).await?;
    let view = until(&cluster, &id, "FINISHED").await?;
    let epochs = epochs(&view);
    ensure!(epochs.len() == 30, "every step is committed once: {epochs:?}");
    ensure!(epochs.is_sorted() && epochs.contains(&1) && epochs.contains(&2), "both attempts commit steps: {epochs:?}");
    cluster.restart(victim).await?;
    cluster.wait_for_members(3).await?;
    stop_and_replay(&mut cluster).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_hands_its_job_over_at_a_step_boundary() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut cluster = Cluster::start(dir.path(), 2, plan()).await?;
    let id = submit(&cluster, 0, json!({ "steps": 40, "step_ms": 50 })).await?;
    let view = until_done(&cluster, &id, 2).await?;
    let holder = cluster.place(&view.node).expect("one of ours");
    cluster.stop(holder).await?;
    let view = until(&cluster, &id, "FINISHED").await?;
    ensure!(epochs(&view).len() == 40, "no step is lost or repeated");
    let heir = cluster.living().next().expect("a node lives");
    let page: Page<HistoryView> = heir.client()?.call(Request::get(&["cluster", "history"])).await?;
    let lines = page.value;
    ensure!(lines.iter().any(|line| line.event == "leave"), "the history records that the node left: {lines:?}");
    ensure!(!lines.iter().any(|line| line.event == "fence"), "no member is fenced: {lines:?}");
    cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn users_act_on_a_job_from_any_node() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut cluster = Cluster::start(dir.path(), 2, plan()).await?;
    let id = submit(&cluster, 1, json!({ "steps": 200, "step_ms": 50 })).await?;
    until_done(&cluster, &id, 2).await?;
    act(&cluster, &id, "PAUSE").await?;
    let paused = until(&cluster, &id, "STOPPED").await?;
    let done = epochs(&paused).len();
    act(&cluster, &id, "RESUME").await?;
    let running = until_done(&cluster, &id, done + 1).await?;
    ensure!(running.epoch == 2, "resuming is a new attempt: {running:?}");
    act(&cluster, &id, "DISCARD").await?;
    until(&cluster, &id, "DISCARDED").await?;
    let refused = act(&cluster, &id, "RESUME").await.expect_err("a discarded job stays discarded");
    ensure!(refused.to_string().contains("DISCARDED"), "the refusal says why: {refused}");
    let failing = submit(&cluster, 0, json!({ "steps": 3, "fails_at": 1 })).await?;
    let failed = until(&cluster, &failing, "ERROR").await?;
    ensure!(failed.failed_msg.as_ref().is_some_and(|text| text.contains("step 1")), "{failed:?}");
    cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_job_on_every_node() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut cluster = Cluster::start(dir.path(), 2, plan()).await?;
    let body = Submit::new("default", "probe", json!({})).key("once");
    let mut ids = Vec::new();
    for node in [0, 1, 0] {
        let made: Submitted = cluster.nodes[node].client()?.call(Request::post(&["jobs"]).body(&body)?).await?;
        ids.push(made.job_id);
    }
    ensure!(ids[0] == ids[1] && ids[1] == ids[2], "{ids:?}");
    let page: Page<JobView> = cluster.nodes[1].client()?.call(Request::get(&["jobs"]).with("time_filter", 4)).await?;
    ensure!(page.total_size == 1, "{page:?}");
    cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_node_takes_submits_and_runs_none() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let modes = vec!["job".to_owned(), "query".to_owned()];
    let mut cluster = Cluster::start(dir.path(), 2, Plan { modes, ..plan() }).await?;
    for _ in 0..8 {
        let id = submit(&cluster, 1, json!({ "steps": 2 })).await?;
        let view = until(&cluster, &id, "FINISHED").await?;
        let nodes: Vec<_> = view.steps.iter().flatten().map(|step| step.node.as_str()).collect();
        ensure!(nodes == ["node-1", "node-1"], "only the job node runs steps: {nodes:?}");
    }
    cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_a_wrong_password_or_without_login_are_refused() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut cluster = Cluster::start(dir.path(), 1, plan()).await?;
    let url = cluster.nodes[0].url.clone();
    let anonymous = kirin_client::Client::new(std::slice::from_ref(&url), None)?;
    let refused = anonymous.call::<ClusterView>(Request::get(&["cluster"])).await.expect_err("a login is required");
    ensure!(refused.kind == kirin_client::Kind::Auth, "{refused}");
    let login = kirin_client::Login::new("ADMIN", "KYLIN");
    let guess = kirin_client::Client::new(&[url], Some(login))?;
    let refused =
        guess.call::<ClusterView>(Request::get(&["cluster"])).await.expect_err("there is no default password");
    ensure!(refused.kind == kirin_client::Kind::Auth, "{refused}");
    cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_metastore_fences_no_member_and_the_job_continues() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut postgres = tokio::task::spawn_blocking(|| Postgres::start(true)).await??;
    let metastore = Some(kirin_config::Secret::new(postgres.database()?));
    let mut cluster = Cluster::start(dir.path(), 2, Plan { metastore, ..plan() }).await?;
    let id = submit(&cluster, 0, json!({ "steps": 60, "step_ms": 50 })).await?;
    until_done(&cluster, &id, 2).await?;
    let mut postgres = tokio::task::spawn_blocking(move || {
        postgres.stop(kirin_tests::servers::postgres::Stop::Immediate)?;
        postgres.resume()?;
        anyhow::Ok(postgres)
    })
    .await??;
    let view = until(&cluster, &id, "FINISHED").await?;
    ensure!(view.epoch == 1, "the same attempt continues: {view:?}");
    ensure!(epochs(&view).len() == 60, "no step is lost or repeated");
    stop_and_replay(&mut cluster).await?;
    tokio::task::spawn_blocking(move || postgres.stop(kirin_tests::servers::postgres::Stop::Fast)).await??;
    Ok(())
}

fn table_at(name: &str, location: &str) -> NewTable {
    let source = Given::Location(location.to_owned());
    NewTable { project: "default".to_owned(), name: name.to_owned(), source, columns: Vec::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_read_from_an_s3_bucket_and_built_from_it() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let buckets = dir.path().join("buckets");
    kirin_olap::demo::write_files(&buckets.join("flights/of/2013"))?;
    let s3 = S3::serve(&buckets).await?;
    let plan = Plan { environment: s3.environment(), ..plan() };
    let mut cluster = Cluster::start(dir.path(), 1, plan).await?;
    let client = cluster.nodes[0].client()?;
    for table in kirin_olap::demo::tables("s3://flights/of/2013".as_ref()) {
        let _: TableAdded =
            client.call(Request::post(&["tables"]).body(&table_at(&table.name, &table.source.location))?).await?;
    }
    let vague = table_at("vague", "s3://flights/of/2013");
    let vague =
        client.call::<TableAdded>(Request::post(&["tables"]).body(&vague)?).await.expect_err("the format is unknown");
    ensure!(vague.to_string().contains("s3://flights/of/2013/*.parquet"), "the error says how to write it: {vague}");
    let lost = table_at("lost", "s3://flights/nowhere/*.parquet");
    let lost =
        client.call::<TableAdded>(Request::post(&["tables"]).body(&lost)?).await.expect_err("the location is empty");
    ensure!(lost.to_string().contains("there is no .parquet file"), "{lost}");

    let model = kirin_lab::demo::new_model("default")?;
    let _: ModelView = client.call(Request::post(&["models"]).body(&model)?).await?;
    let january = kirin_olap::demo::months()[0];
    let body = BuildRequest::new("default", kirin_service::catalog::ends(&january));
    let made: Submitted = client.call(Request::post(&["models", "flights", "segments"]).body(&body)?).await?;
    until(&cluster, made.first(), "FINISHED").await?;
    let ask = async |sql: &str, raw: bool| -> anyhow::Result<QueryView> {
        let query = QueryRequest::new("default", sql);
        let body = if raw { query.raw() } else { query };
        Ok(client.call(Request::post(&["query"]).body(&body)?).await?)
    };
    let sql = "SELECT carrier, count(*) FROM flights WHERE time_hour >= '2013-01-01' AND time_hour < '2013-02-01' GROUP BY carrier ORDER BY carrier";
    let (built, raw) = (ask(sql, false).await?, ask(sql, true).await?);
    ensure!(built.results == raw.results && built.results.len() > 10);
    ensure!(!built.push_down && raw.push_down, "{built:?} {raw:?}");
    cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_leader_race_one_node_runs_alone() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let alone = ("kylin.server.leader-race.enabled".to_owned(), "false".to_owned());
    let plan = Plan { settings: vec![alone], ..plan() };
    let Err(refused) = Cluster::start(dir.path(), 2, plan).await else { anyhow::bail!("a second node joined") };
    ensure!(refused.to_string().contains("node-2 exited at start"), "{refused}");
    let log = std::fs::read_to_string(dir.path().join("node-2/node.log"))?;
    ensure!(log.contains("node-1 is in the cluster"), "the log says what to do: {log}");
    Ok(())
}

/// Status and body of a request without a login.
pub(crate) async fn ask_plainly(url: &str) -> anyhow::Result<(u16, Value)> {
    let reply = reqwest::Client::builder().no_proxy().build()?.get(url).send().await?;
    Ok((reply.status().as_u16(), reply.json().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn health_distinguishes_readiness_from_liveness() -> anyhow::Result<()> {
    use kirin_tests::servers::postgres::Stop;
    let dir = tempfile::tempdir()?;
    let mut postgres = tokio::task::spawn_blocking(|| Postgres::start(true)).await??;
    let metastore = Some(kirin_config::Secret::new(postgres.database()?));
    let mut cluster = Cluster::start(dir.path(), 1, Plan { metastore, ..plan() }).await?;
    let url = cluster.nodes[0].url.clone();
    let (health, live) = (format!("{url}/health"), format!("{url}/health/live"));
    let until_status = async |cluster: &Cluster, status: u16| {
        cluster
            .wait(&format!("/health to answer {status}"), async || {
                let (found, body) = ask_plainly(&health).await?;
                Ok((found == status).then_some(body))
            })
            .await
    };
    until_status(&cluster, 200).await?;
    postgres = tokio::task::spawn_blocking(move || postgres.stop(Stop::Immediate).map(|()| postgres)).await??;
    let down = until_status(&cluster, 503).await?;
    ensure!(
        down["components"]["metaStore"]["status"] == "DOWN" && down["status"] == "DOWN",
        "the health names the metastore: {down}"
    );
    ensure!(ask_plainly(&live).await?.0 == 200, "the process is alive");
    postgres = tokio::task::spawn_blocking(move || postgres.resume().map(|()| postgres)).await??;
    until_status(&cluster, 200).await?;
    cluster.stop_all().await?;
    tokio::task::spawn_blocking(move || postgres.stop(Stop::Fast)).await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_living_node_is_not_taken_over() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let beats = [("timeout", "4"), ("interval", "1")];
    let settings =
        beats.map(|(key, value)| (format!("kylin.server.leader-race.heart-beat-{key}"), value.to_owned())).to_vec();
    let mut cluster = Cluster::start(dir.path(), 1, Plan { settings, ..plan() }).await?;
    let clone = dir.path().join("clone");
    std::fs::create_dir_all(clone.join("conf"))?;
    std::fs::copy(cluster.nodes[0].home().join("conf/kylin.properties"), clone.join("conf/kylin.properties"))?;
    let start =
        tokio::process::Command::new(program()).args(["start", "--home"]).arg(&clone).kill_on_drop(true).output();
    let ended = tokio::time::timeout(kirin_lab::local_cluster::PATIENCE, start).await??;
    let words = String::from_utf8_lossy(&ended.stderr);
    ensure!(!ended.status.success(), "the clone runs: {words}");
    let address = cluster.nodes[0].url.trim_start_matches("http://").to_owned();
    ensure!(words.contains("the name node-1 belongs to the node at") && words.contains(&address), "{words}");
    let view: ClusterView = cluster.nodes[0].client()?.call(Request::get(&["cluster"])).await?;
    let members: Vec<_> = view.members.iter().map(|it| (it.node.as_str(), it.incarnation)).collect();
    ensure!(members == [("node-1", 1)], "the living node keeps its member: {members:?}");
    // The node is killed and restarts at another address.
    cluster.kill(0).await?;
    cluster.restart(0).await?;
    ensure!(cluster.nodes[0].url.trim_start_matches("http://") != address, "the address is another one");
    cluster.wait_for_members(1).await?;
    cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn permanently_refused_submits_do_not_affect_others() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let url = tokio::task::spawn_blocking(|| Postgres::shared().database()).await??;
    let metastore = Some(kirin_config::Secret::new(url));
    let mut cluster = Cluster::start(dir.path(), 1, Plan { metastore, ..plan() }).await?;
    let client = cluster.nodes[0].client()?;
    let submits = (0..60).map(|number| async move {
        let subject = match number % 10 {
            3 => "a\0b".to_owned(),
            7 => "x".repeat(181),
            _ => format!("good {number}"),
        };
        let body = Submit { subject: Some(subject), ..Submit::new("default", "probe", json!({ "steps": 1 })) };
        anyhow::Ok((number, client.call::<Submitted>(Request::post(&["jobs"]).body(&body)?).await))
    });
    for answered in futures::future::join_all(submits).await {
        let (number, answer) = answered?;
        match (number % 10, answer) {
            (3, Err(error)) => ensure!(error.to_string().contains("NUL"), "{error}"),
            (7, Err(error)) => ensure!(error.to_string().contains("181 characters"), "{error}"),
            (0..=2 | 4..=6 | 8.., Ok(_)) => {}
            (_, answer) => anyhow::bail!("submit {number} was answered by {answer:?}"),
        }
    }
    cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_do_not_see_the_password_of_the_metastore() -> anyhow::Result<()> {
    const PASSWORD: &str = "correct-horse";
    let dir = tempfile::tempdir()?;
    let url = tokio::task::spawn_blocking(|| Postgres::shared().database()).await??;
    let place = url.rsplit('@').next().expect("a host");
    let metastore = Some(kirin_config::Secret::new(format!("postgres://postgres:${{env:META}}@{place}")));
    let settings = vec![("kirin.command.enabled".to_owned(), "true".to_owned())];
    let environment = [("META", PASSWORD), ("SOME_URL", "postgres://u:correct-horse@h/d"), ("HARMLESS", "seen")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut cluster = Cluster::start(dir.path(), 1, Plan { metastore, environment, settings, ..plan() }).await?;
    let client = cluster.nodes[0].client()?;
    let body = Submit::new("default", "command", json!({ "argv": ["/usr/bin/env"] }));
    let made: Submitted = client.call(Request::post(&["jobs"]).body(&body)?).await?;
    until(&cluster, &made.job_id, "FINISHED").await?;
    let output: kirin_wire::StepOutput =
        client.call(Request::get(&["jobs", &made.job_id, "steps", "0", "output"])).await?;
    ensure!(output.cmd_output.contains("HARMLESS=seen"), "the environment is printed: {}", output.cmd_output);
    ensure!(!output.cmd_output.contains(PASSWORD), "the password is in it: {}", output.cmd_output);
    let mode = |path: std::path::PathBuf| {
        use std::os::unix::fs::PermissionsExt as _;
        anyhow::Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
    };
    let data = cluster.nodes[0].home().join("data");
    ensure!(mode(data.clone())? == 0o700, "others can't look into the data directory");
    for entry in std::fs::read_dir(data.join("recorder"))? {
        ensure!(mode(entry?.path())? & 0o077 == 0, "a recording can be read by others");
    }
    cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_job_limit_applies_to_projects_that_exist() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let settings = vec![(PROJECT_LIMIT.to_owned(), "4".to_owned())];
    let mut cluster = Cluster::start(dir.path(), 1, Plan { settings, ..plan() }).await?;
    for (name, own) in [("follows", None), ("own", Some("4")), ("changed", None)] {
        let own = own.map(|limit: &str| (PROJECT_LIMIT.to_owned(), limit.to_owned())).into_iter().collect();
        let body = NewProject { name: name.to_owned(), override_kylin_properties: own, ..NewProject::default() };
        let _: ProjectView = cluster.nodes[0].client()?.call(Request::post(&["projects"]).body(&body)?).await?;
    }
    let body = ProjectConfig { limit: 3 };
    let request = Request::put(&["projects", "changed", "project_config"]).body(&body)?;
    let _: Done = cluster.nodes[0].client()?.call(request).await?;
    cluster.stop(0).await?;
    let conf = cluster.nodes[0].home().join("conf/kylin.properties");
    let before = std::fs::read_to_string(&conf)?;
    let line = format!("{PROJECT_LIMIT}=4\n");
    ensure!(before.contains(&line), "{before}");
    std::fs::write(&conf, before.replace(&line, &format!("{PROJECT_LIMIT}=1\n")))?;
    cluster.restart(0).await?;
    cluster.wait_for_members(1).await?;
    let page: Page<ProjectView> = cluster.nodes[0].client()?.call(Request::get(&["projects"])).await?;
    let limits: Vec<_> =
        page.value.iter().map(|p| (p.name.as_str(), p.override_kylin_properties[PROJECT_LIMIT].as_str())).collect();
    ensure!(limits == [("changed", "3"), ("default", "1"), ("follows", "1"), ("own", "4")], "{limits:?}");
    // The limit holds: of two jobs, one waits.
    let spec = json!({ "steps": 500, "step_ms": 50 });
    let first = submit(&cluster, 0, spec.clone()).await?;
    until_done(&cluster, &first, 1).await?;
    let second = submit(&cluster, 0, spec).await?;
    let why: WhyView = cluster.nodes[0].client()?.call(Request::get(&["jobs", &second, "why"])).await?;
    ensure!(why.detail.contains("1 of at most 1 jobs"), "{why:?}");
    cluster.stop_all().await
}
