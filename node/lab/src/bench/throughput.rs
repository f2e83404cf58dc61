//! Jobs without work per second, each committed durably: the node's loop, core and metastore in one process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use kirin_core::ask::{Priority, ProjectId};
use kirin_core::{Answer, Ask, Role, Settings, Timing};
use kirin_metastore::{Extra, JoinInfo, ProjectLimit, Store, SubmitInfo};
use serde_json::json;

use kirin_api::auth::password;
use kirin_cli::args::Format;
use kirin_config::{Config, Retention, Secret, Sources};
use kirin_executor::probe::Probe;
use kirin_executor::{Attempts, Retry};
use kirin_server::effects;
use kirin_server::housekeeping::Housekeeping;
use kirin_server::store_config;
use kirin_service::directory::Directory;
use kirin_service::history::History;
use kirin_shell::Links;
use kirin_shell::clock::{self, Clock};
use kirin_shell::handshake::Cluster;
use kirin_shell::{CoreHandle, Shell};

/// Concurrent attempts with group commit.
const SLOTS: u32 = 4_000;
/// Concurrent clients with group commit; each waits for its answer.
const CLIENTS: u32 = 512;
/// Concurrent attempts with one transaction per request.
const SLOTS_UNBATCHED: u32 = 10;

/// Runs the benchmark.
///
/// # Errors
/// If the metastore cannot be used.
pub(super) async fn run(jobs: u32, metastore: Option<Secret>, unbatched: bool, format: Format) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("kirin-bench-").tempdir()?;
    let run = uuid::Uuid::new_v4().simple().to_string();
    let url = match metastore {
        Some(url) if url.reveal().contains("@jdbc") => url.reveal().to_owned(),
        Some(url) => format!("kirin_{}@{}", &run[..8], url.reveal()),
        None => format!("kirin@sqlite:{}", dir.path().join("metastore.db").display()),
    };
    let set = vec![format!("kylin.metadata.url={}", url.replace('\\', "\\\\"))];
    let config = Config::load(&Sources::of_process(Some(dir.path().to_owned()), None, set))?;
    let mut store_config = store_config(&config);
    store_config.batch = !unbatched;
    let store = Store::open(&store_config).await?;
    // With a limit that cannot be reached, claims of one project run in parallel.
    store.create_project("bench", "", kirin_wire::ADMIN, ProjectLimit::Own(jobs.max(1_000_000))).await?;
    let project = store.project("bench").await?.context("the project was just created")?.id;

    let from = clock::instant();
    submit(&store, project, jobs, unbatched).await?;
    let submitted = f64::from(jobs) / from.elapsed().as_secs_f64();

    let slots = if unbatched { SLOTS_UNBATCHED } else { SLOTS };
    let from = clock::instant();
    drain(&store, dir.path(), slots).await?;
    let finished = f64::from(jobs) / from.elapsed().as_secs_f64();
    let mode = if unbatched { "unbatched" } else { "batched" };
    report(format, jobs, submitted, finished, mode);
    Ok(())
}

pub(super) async fn submit(store: &Store, project: ProjectId, jobs: u32, unbatched: bool) -> anyhow::Result<()> {
    // Unbatched: one client that waits for the commit of each submit. Batched: many clients at once.
    let clients = if unbatched { 1 } else { CLIENTS };
    let each = jobs.div_ceil(clients);
    let mut tasks = Vec::new();
    for client in 0..clients {
        let store = store.clone();
        let count = each.min(jobs.saturating_sub(client * each));
        tasks.push(tokio::spawn(async move {
            for _ in 0..count {
                let key = uuid::Uuid::now_v7().as_u128();
                let ask = Ask::Submit {
                    project,
                    priority: Priority(3),
                    placed: None,
                    external: false,
                    needs: kirin_core::Capabilities::NONE,
                    key,
                };
                let info = SubmitInfo {
                    kind: "probe".to_owned(),
                    subject: "bench".to_owned(),
                    submitter: "bench".to_owned(),
                    spec: json!({ "steps": 0 }),
                    reserve: Vec::new(),
                };
                let answer = store.ask(&ask, Extra::Submit(info)).await;
                if !matches!(answer, Answer::Accepted { .. }) {
                    bail!("a job was not accepted: {answer:?}");
                }
            }
            Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Starts a node and waits until it has finished everything.
async fn drain(store: &Store, dir: &std::path::Path, slots: u32) -> anyhow::Result<()> {
    let (clock, (core, inputs)) = (Clock::start(), CoreHandle::new());
    let directory = Directory::new(store.clone());
    let cluster = Cluster { secret: password::random(), id: "bench".to_owned() };
    let links = Links::new(cluster, "bench", Arc::new(directory.clone()), core.clone());
    let effects = effects::Parts {
        store: store.clone(),
        join: JoinInfo { name: "bench".to_owned(), link: "127.0.0.1:9".to_owned(), ..JoinInfo::default() },
        timing: Timing::kylin(),
        attempts: Attempts::new(store.clone(), clock, dir, vec![Arc::new(Probe)], Retry::default()),
        housekeeping: Housekeeping::new(store.clone(), dir, Retention::default()),
        history: History::new(store.clone()),
        directory,
        recorder: None,
    };
    let settings = Settings { slots, ..Settings::new(Role::All) };
    let (shell, _) = Shell::new(settings, rand::random(), clock, effects, links, core.clone(), inputs);
    let shell = tokio::spawn(shell.run());
    loop {
        // The view is expensive while many jobs are open, so it is read only when nothing waits.
        let idle =
            core.look(|node, now| node.me().is_some() && node.queue().is_empty() && node.view(now).attempts.is_empty());
        if idle.await.context("the node has ended")? {
            // The node's cache may be stale, so the metastore is asked as well.
            match store.ask(&Ask::ListJobs, Extra::None).await {
                Answer::Jobs(rows) if rows.is_empty() => break,
                Answer::Jobs(_) => {}
                answer => bail!("cannot list the jobs in the metastore: {answer:?}"),
            }
        }
        ensure!(!shell.is_finished(), "the node has ended");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    shell.abort();
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
fn report(format: Format, jobs: u32, submitted: f64, finished: f64, mode: &str) {
    if format == Format::Json {
        let figures = json!({ "jobs": jobs, "mode": mode, "submitted_per_s": submitted.round(), "finished_per_s": finished.round() });
        println!("{figures}");
    } else {
        println!(
            "{jobs} jobs without work, {mode}: {submitted:.0} submitted a second, {finished:.0} finished a second"
        );
    }
}
