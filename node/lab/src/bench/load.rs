//! How quickly users and jobs are served while the metastore contains very many jobs, and while these are deleted.

use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use hdrhistogram::Histogram;
use kirin_core::ask::ProjectId;
use serde_json::{Value, json};

use super::{micros, quantile, throughput};
use crate::local_cluster::{Cluster, Plan};
use kirin_cli::args::Format;
use kirin_client::Request;
use kirin_config::{Config, Retention, Secret, Sources};
use kirin_metastore::{HistoryLine, ProjectLimit, Store, kinds, wall_ms};
use kirin_server::housekeeping::Housekeeping;
use kirin_server::store_config;
use kirin_shell::clock;
use kirin_wire::{ClusterView, Done, JobView, Page, ProjectConfig};

const PROJECT: &str = "crowded";
/// Lines of history besides those of the cluster itself.
const HISTORY: u32 = 10_000;
/// How often each request is sent.
const RUNS: usize = 300;

/// Fills the metastore, sends requests and submits as users do, and deletes the jobs again.
///
/// # Errors
/// If a process cannot be started, or a request is not answered.
pub(super) async fn run(finished: u32, waiting: u32, metastore: Option<Secret>, format: Format) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("kirin-bench-").tempdir()?;
    let settings =
        [("kylin.job.node-max-concurrent-jobs", "1000"), ("kylin.server.leader-race.heart-beat-timeout", "6")];
    let settings = settings.into_iter().chain([("kylin.server.leader-race.heart-beat-interval", "1")]);
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let mut cluster = Cluster::start(dir.path(), 3, Plan { metastore, settings, ..Plan::default() }).await?;
    let set = vec![format!("kylin.metadata.url={}", cluster.metastore().replace('\\', "\\\\"))];
    let config = Config::load(&Sources::of_process(Some(dir.path().to_owned()), None, set))?;
    let store = Store::open(&store_config(&config)).await?;
    let project = fill(&cluster, &store, finished, waiting).await?;

    let mut figures = Vec::new();
    for (name, request) in questions(&store, project).await? {
        figures.push((name, asked(&cluster, request).await.context(name)?));
    }
    figures.push(("submit to start of another project's job", started(&cluster).await?));
    let forgetting = forget(&cluster, &store, dir.path()).await?;
    cluster.stop_all().await?;
    report(format, finished, waiting, &figures, &forgetting);
    Ok(())
}

/// Creates ended jobs, jobs that wait in a project with limit 0, and lines of history.
async fn fill(cluster: &Cluster, store: &Store, finished: u32, waiting: u32) -> anyhow::Result<ProjectId> {
    store.create_project(PROJECT, "", kirin_wire::ADMIN, ProjectLimit::Own(finished.max(1))).await?;
    let project = store.project(PROJECT).await?.context("the project was just created")?.id;
    throughput::submit(store, project, finished, false).await?;
    let client = cluster.nodes[0].client()?;
    let open =
        Request::get(&["jobs"]).with("project", PROJECT).with("statuses", "PENDING,RUNNING").with("page_size", 1);
    let mut left = u64::from(finished);
    while left > 0 {
        let fewer = cluster.wait("jobs to end", async || {
            let page: Page<JobView> = client.call(open.clone()).await?;
            Ok(Some(page.total_size).filter(|open| *open < left))
        });
        left = fewer.await?;
    }
    let full = ProjectConfig { limit: 0 };
    let _: Done = client.call(Request::put(&["projects", PROJECT, "project_config"]).body(&full)?).await?;
    throughput::submit(store, project, waiting, false).await?;
    let lines = futures::stream::iter(0..HISTORY).map(|_| {
        let detail = json!({ "phases": [] });
        let line =
            HistoryLine { at_ms: wall_ms(), kind: kinds::HANDED_OVER.to_owned(), detail, ..HistoryLine::default() };
        store.append_history(line)
    });
    let written: Vec<_> = lines.buffer_unordered(16).collect().await;
    written.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(project)
}

/// The requests that users send.
async fn questions(store: &Store, project: ProjectId) -> anyhow::Result<Vec<(&'static str, Request)>> {
    let list = || Request::get(&["jobs"]).with("project", PROJECT);
    let filter = kirin_metastore::JobFilter { project: Some(project), limit: 1, ..Default::default() };
    let (jobs, _) = store.jobs(&filter).await?;
    let uuid = jobs.first().context("there are jobs")?.uuid.to_string();
    Ok(vec![
        ("list, the latest first", list()),
        ("list of waiting jobs", list().with("statuses", "PENDING")),
        ("list in the order of submission", list().with("sort_by", "create_time").with("reverse", "false")),
        ("list of all projects", Request::get(&["jobs"])),
        ("one job", Request::get(&["jobs", &uuid])),
        ("its steps", Request::get(&["jobs", &uuid, "detail"])),
        ("history", Request::get(&["cluster", "history"])),
    ])
}

async fn asked(cluster: &Cluster, request: Request) -> anyhow::Result<Histogram<u64>> {
    let mut times = Histogram::<u64>::new(3)?;
    for run in 0..RUNS + 10 {
        let client = cluster.nodes[run % cluster.nodes.len()].client()?;
        let from = clock::instant();
        let _: Value = client.call(request.clone()).await?;
        if run >= 10 {
            times.record(micros(from.elapsed()))?;
        }
    }
    Ok(times)
}

async fn started(cluster: &Cluster) -> anyhow::Result<Histogram<u64>> {
    let mut times = Histogram::<u64>::new(3)?;
    for run in 0..RUNS + 10 {
        let client = cluster.nodes[run % cluster.nodes.len()].client()?;
        let took = super::submit_to_start(cluster, client).await?;
        if run >= 10 {
            times.record(took)?;
        }
    }
    Ok(times)
}

/// The result of deleting old jobs.
struct Forgetting {
    rows: u64,
    took: Duration,
    /// The longest time without a new beat of a node, in milliseconds, before and during the deletion.
    silent_before: u64,
    silent: u64,
    /// Durations of requests and starts during the deletion.
    list: Histogram<u64>,
    start: Histogram<u64>,
}

/// Deletes every ended job, and measures the effect on requests and beats.
async fn forget(cluster: &Cluster, store: &Store, dir: &std::path::Path) -> anyhow::Result<Forgetting> {
    let now = Retention { jobs: Duration::from_millis(1), history: Duration::from_millis(1) };
    let housekeeping = Housekeeping::new(store.clone(), dir, now);
    let silence = async || {
        let view: ClusterView = cluster.nodes[0].client()?.call(Request::get(&["cluster"])).await?;
        anyhow::Ok(view.members.iter().filter_map(|member| member.silent_ms).max().unwrap_or(0))
    };
    let mut silent_before = 0;
    for _ in 0..100 {
        silent_before = silence().await?.max(silent_before);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (mut silent, mut list, mut start) = (0, Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    let from = clock::instant();
    let mut forgetting = std::pin::pin!(housekeeping.forget());
    let rows = loop {
        let look = async {
            silent = silence().await?.max(silent);
            let client = cluster.nodes[1].client()?;
            let from = clock::instant();
            let _: Page<JobView> = client.call(Request::get(&["jobs"]).with("project", PROJECT)).await?;
            list.record(micros(from.elapsed()))?;
            start.record(super::submit_to_start(cluster, client).await?)?;
            anyhow::Ok(())
        };
        tokio::select! {
            rows = &mut forgetting => break rows?,
            looked = look => looked?,
        }
    };
    Ok(Forgetting { rows, took: from.elapsed(), silent_before, silent, list, start })
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
fn report(format: Format, finished: u32, waiting: u32, figures: &[(&str, Histogram<u64>)], forgetting: &Forgetting) {
    let while_forgetting =
        [("list while deleting", &forgetting.list), ("submit to start while deleting", &forgetting.start)];
    let all = figures.iter().map(|(name, times)| (*name, times)).chain(while_forgetting);
    if format == Format::Json {
        let figures: serde_json::Map<_, _> = all
            .map(|(name, times)| {
                let at = |q| quantile(times, q);
                (name.to_owned(), json!({ "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0) }))
            })
            .collect();
        let forgotten = json!({
            "rows": forgetting.rows,
            "seconds": forgetting.took.as_secs_f64(),
            "silent_before_ms": forgetting.silent_before,
            "silent_ms": forgetting.silent,
        });
        println!("{}", json!({ "finished": finished, "waiting": waiting, "asked": figures, "forgotten": forgotten }));
        return;
    }
    println!("{finished} ended jobs, {waiting} waiting jobs, {HISTORY} lines of history");
    println!("{:<42} {:>8} {:>8} {:>8}", "ms", "p50", "p99", "max");
    for (name, times) in all {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| quantile(times, q));
        println!("{name:<42} {p50:>8.2} {p99:>8.2} {max:>8.2}");
    }
    println!(
        "{} rows were deleted in {:.1} s; the oldest beat was {} ms old, {} ms before",
        forgetting.rows,
        forgetting.took.as_secs_f64(),
        forgetting.silent,
        forgetting.silent_before
    );
}
