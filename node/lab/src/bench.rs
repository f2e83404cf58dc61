//! `kirin bench`: measures the figures of the documentation on this machine.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use kirin_client::{Client, Request};
use kirin_olap::{SegmentRange, demo};
use kirin_wire::{
    BuildRequest, DEFAULT_PROJECT, Done, JobView, ModelView, Page, SegmentView, StepView, Submit, Submitted, TableAdded,
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::local_cluster::{self, Cluster, Plan};
use crate::strangers::Flood;
use kirin_cli::args::{Bench, Format};
use kirin_config::Secret;
use kirin_shell::clock;

mod cluster;
mod load;
mod strangers;
mod throughput;

/// Runs a benchmark.
///
/// # Errors
/// If a process cannot be started, or a measured operation fails.
pub async fn run(bench: Bench, format: Format) -> anyhow::Result<()> {
    local_cluster::check(bench.metastore())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Dropping the cluster ends its processes and deletes its directory.
    tokio::select! {
        done = Box::pin(measure(bench, format)) => done,
        _ = terminate.recv() => bail!("interrupted"),
        _ = interrupt.recv() => bail!("interrupted"),
    }
}

async fn measure(bench: Bench, format: Format) -> anyhow::Result<()> {
    match bench {
        Bench::Cluster { nodes, runs, idle, metastore, zookeeper } => {
            let plan = Plan { metastore, zookeeper, ..Plan::default() };
            cluster::run(plan, usize::from(nodes), runs, idle, format).await
        }
        Bench::Takeover { runs, metastore } => takeover(runs, metastore, format).await,
        Bench::Latency { runs, metastore } => latency(runs, metastore, format).await,
        Bench::Load { finished, waiting, metastore } => load::run(finished, waiting, metastore, format).await,
        Bench::Strangers { connections, per_second, unfinished, span, metastore } => {
            let flood = Flood { connections, per_second, unfinished };
            strangers::run(flood, span, metastore, format).await
        }
        Bench::Throughput { jobs, metastore, unbatched } => throughput::run(jobs, metastore, unbatched, format).await,
    }
}

/// Measures the time from kill -9 of the node that runs a build to the heir's first committed step, and a graceful stop.
async fn takeover(runs: u32, metastore: Option<Secret>, format: Format) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("kirin-bench-").tempdir()?;
    let mut cluster = Cluster::start(dir.path(), 3, Plan { metastore, ..Plan::default() }).await?;
    let data = dir.path().join("nycflights13");
    demo::write_files(&data)?;
    let client = cluster.nodes[0].client()?;
    for table in demo::tables(&data) {
        let table = crate::demo::new_table(DEFAULT_PROJECT, table)?;
        let _: TableAdded = client.call(Request::post(&["tables"]).body(&table)?).await?;
    }
    let model = crate::demo::new_model(DEFAULT_PROJECT)?;
    let _: ModelView = client.call(Request::post(&["models"]).body(&model)?).await?;
    let mut taken = Histogram::<u64>::new(3)?;
    let (mut lost, mut duplicates) = (0, 0);
    let progress = indicatif::ProgressBar::new(u64::from(runs))
        .with_style(indicatif::ProgressStyle::with_template("{bar:40} {pos}/{len} kills, {elapsed} elapsed, {msg}")?);
    for run in 0..runs {
        let one = one_takeover(&mut cluster, run).await?;
        taken.record(micros(one.first_step))?;
        lost += u64::from(!one.finished);
        duplicates += one.duplicates;
        progress.set_message(format!("last {:.0} ms", one.first_step.as_secs_f64() * 1000.0));
        progress.inc(1);
    }
    progress.finish_and_clear();
    let mut handed = Histogram::<u64>::new(3)?;
    for run in 0..runs.div_ceil(10) {
        handed.record(one_handover(&mut cluster, run as usize).await?)?;
    }
    cluster.stop_all().await?;
    let figures = json!({
        "runs": runs,
        "p50_ms": quantile(&taken, 0.5),
        "p99_ms": quantile(&taken, 0.99),
        "max_ms": quantile(&taken, 1.0),
        "lost": lost,
        "duplicates": duplicates,
        "handover_p50_ms": quantile(&handed, 0.5),
        "handover_max_ms": quantile(&handed, 1.0),
    });
    report(format, "kill -9 to the heir's first committed step", &taken, &figures);
    ensure!(
        lost == 0 && duplicates == 0,
        "{lost} jobs were lost, and {duplicates} steps or publications were repeated"
    );
    Ok(())
}

struct Taken {
    first_step: Duration,
    finished: bool,
    duplicates: u64,
}

async fn one_takeover(cluster: &mut Cluster, run: u32) -> anyhow::Result<Taken> {
    let months = demo::months();
    let SegmentRange::Time { start_ms, end_ms } = months[run as usize % 12] else {
        anyhow::bail!("the demo's partition is not a time range");
    };
    let submitter = &cluster.nodes[run as usize % cluster.nodes.len()];
    let body = BuildRequest::new(DEFAULT_PROJECT, (start_ms, end_ms));
    let made: Submitted =
        submitter.client()?.call(Request::post(&["models", "flights", "segments"]).body(&body)?).await?;
    let job = made.first().to_owned();
    let segment = made.segment_id.context("the submit names no segment")?;
    let (victim, epoch) = cluster
        .wait("the build to run", async || {
            let view: JobView = submitter.client()?.call(Request::get(&["jobs", &job])).await?;
            ensure!(view.job_status != "FINISHED", "the build ended before the kill");
            let node = cluster.place(&view.node);
            Ok(node.filter(|_| view.steps_done().0 >= 2 && view.job_status == "RUNNING").map(|node| (node, view.epoch)))
        })
        .await?;
    let killed = cluster.kill(victim).await?;
    let witness = cluster.living().next().context("no node is left")?.client()?;
    let first_step = cluster
        .wait("the heir's first committed step", async || {
            let detail: Vec<StepView> = witness.call(Request::get(&["jobs", &job, "detail"])).await?;
            Ok(detail.iter().any(|step| step.epoch > epoch).then(|| killed.elapsed()))
        })
        .await?;
    let view = cluster
        .wait("the build to end", async || {
            let view: JobView = witness.call(Request::get(&["jobs", &job])).await?;
            Ok(view.is_over().then_some(view))
        })
        .await?;
    let numbers: Vec<_> = view.steps.iter().flatten().map(|step| step.sequence_id).collect();
    let mut once = numbers.clone();
    once.dedup();
    let page: Page<SegmentView> = witness
        .call(Request::get(&["models", "flights", "segments"]).with("project", DEFAULT_PROJECT).with("page_size", 1000))
        .await?;
    let published = page.value.iter().filter(|row| row.id == segment && row.status == "READY").count();
    let finished = view.job_status == "FINISHED" && published == 1;
    let duplicates = (numbers.len() - once.len() + published.saturating_sub(1)) as u64;
    let _: Done = witness
        .call(
            Request::delete(&["models", "flights", "segments"]).with("project", DEFAULT_PROJECT).with("ids", &segment),
        )
        .await?;
    cluster.restart(victim).await?;
    cluster.wait_for_members(cluster.nodes.len()).await?;
    Ok(Taken { first_step, finished, duplicates })
}

/// A graceful stop during a job: microseconds from the end of the stopped node's last step to the start of the heir's first.
async fn one_handover(cluster: &mut Cluster, run: usize) -> anyhow::Result<u64> {
    let submitter = &cluster.nodes[run % cluster.nodes.len()];
    let body = Submit::new(DEFAULT_PROJECT, "probe", json!({ "steps": 60, "step_ms": 20 }));
    let made: Submitted = submitter.client()?.call(Request::post(&["jobs"]).body(&body)?).await?;
    let job = made.job_id;
    let stopped = cluster
        .wait("the job to run", async || {
            let view: JobView = submitter.client()?.call(Request::get(&["jobs", &job])).await?;
            Ok(cluster.place(&view.node).filter(|_| view.steps_done().0 >= 3))
        })
        .await?;
    cluster.stop(stopped).await?;
    let witness = cluster.living().next().context("no node is left")?.client()?;
    let steps = cluster
        .wait("the job to end", async || {
            let view: JobView = witness.call(Request::get(&["jobs", &job])).await?;
            Ok((view.job_status == "FINISHED").then(|| view.steps.unwrap_or_default()))
        })
        .await?;
    ensure!(steps.len() == 60, "{} of 60 steps are committed", steps.len());
    let first = steps.iter().position(|step| step.epoch > 1).context("the job ended before the stop")?;
    // Both times are from this machine's clock.
    let moment = |step: &StepView| step.result["started_us"].as_i64().unwrap_or(0);
    let last_end = moment(&steps[first - 1]) + 20_000;
    cluster.restart(stopped).await?;
    cluster.wait_for_members(cluster.nodes.len()).await?;
    Ok(u64::try_from(moment(&steps[first]) - last_end).unwrap_or(0))
}

/// From the moment before the submit to the start of the first step, one job at a time, through all nodes in turn.
async fn latency(runs: u32, metastore: Option<Secret>, format: Format) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("kirin-bench-").tempdir()?;
    let mut cluster = Cluster::start(dir.path(), 3, Plan { metastore, ..Plan::default() }).await?;
    let mut started = Histogram::<u64>::new(3)?;
    // The first few jobs open connections and fill caches.
    for run in 0..runs + 10 {
        let took = submit_to_start(&cluster, cluster.nodes[run as usize % cluster.nodes.len()].client()?).await?;
        if run >= 10 {
            started.record(took)?;
        }
    }
    cluster.stop_all().await?;
    let figures = json!({
        "runs": runs,
        "p50_ms": quantile(&started, 0.5),
        "p99_ms": quantile(&started, 0.99),
        "max_ms": quantile(&started, 1.0),
    });
    report(format, "submit to start", &started, &figures);
    Ok(())
}

/// Microseconds from the moment before the submit of a job to the start of its first step.
async fn submit_to_start(cluster: &Cluster, client: &Client) -> anyhow::Result<u64> {
    let body = Submit::new(DEFAULT_PROJECT, "probe", json!({}));
    let before = clock::wall_us();
    let made: Submitted = client.call(Request::post(&["jobs"]).body(&body)?).await?;
    let job = made.job_id;
    let at = cluster
        .wait("the job to end", async || {
            let detail: Vec<StepView> = client.call(Request::get(&["jobs", &job, "detail"])).await?;
            Ok(detail.first().and_then(|step| step.result["started_us"].as_i64()))
        })
        .await?;
    Ok(u64::try_from(at - before).unwrap_or(0))
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a benchmark fit")]
fn quantile(histogram: &Histogram<u64>, q: f64) -> f64 {
    histogram.value_at_quantile(q) as f64 / 1000.0
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
fn report(format: Format, what: &str, histogram: &Histogram<u64>, figures: &Value) {
    if format == Format::Json {
        println!("{figures}");
        return;
    }
    println!("{what}, {} runs", histogram.len());
    for (name, q) in [("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
        println!("  {name:4} {:>10.2} ms", quantile(histogram, q));
    }
    let widest = histogram.iter_quantiles(1).map(|v| v.count_since_last_iteration()).max().unwrap_or(1).max(1);
    for bar in histogram.iter_quantiles(1) {
        let width = usize::try_from(bar.count_since_last_iteration() * 40 / widest).unwrap_or(40);
        let up_to = Duration::from_micros(bar.value_iterated_to()).as_secs_f64() * 1000.0;
        println!("  ≤ {up_to:>9.2} ms {:<40} {}", "#".repeat(width), bar.count_since_last_iteration());
    }
    if let Some(fields) = figures.as_object() {
        for name in ["lost", "duplicates", "handover_p50_ms", "handover_max_ms"]
            .into_iter()
            .filter(|name| fields.contains_key(*name))
        {
            println!("  {name}: {}", figures[name]);
        }
    }
}
