//! `kirin demo`: builds and queries on real data, with a node killed during a build.
//!
//! The demo uses the cluster as any user does: three node processes, one metastore, everything over HTTP. It succeeds only if
//! every check holds.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use kirin_client::{Client, Request};
use kirin_olap::demo;
use kirin_wire::{
    BuildRequest, Given, HistoryView, JobView, ModelDefinition, ModelView, NewProject, NewTable, Page, ProjectView,
    QueryRequest, QueryView, SegmentView, StepView, Submitted, TableAdded,
};
use tokio::time::Instant;

use crate::local_cluster::{self, Cluster, Plan};
use kirin_cli::args::DemoArgs;
use kirin_shell::clock;

const PROJECT: &str = "demo";
/// The kill comes when at least this many steps are committed, and at least this many are left.
const KILL_WINDOW: (u64, u64) = (1, 5);

/// The queries, which are answered from the indexes and from the raw tables.
const QUERIES: [(&str, &str); 4] = [
    (
        "delay by airline",
        "SELECT airlines.name, COUNT(*) AS flights, AVG(flights.dep_delay) AS delay FROM flights \
         LEFT JOIN airlines ON flights.carrier = airlines.carrier GROUP BY airlines.name ORDER BY flights DESC, airlines.name",
    ),
    (
        "busiest destinations",
        "SELECT airports.name, COUNT(*) AS flights, SUM(flights.distance) AS miles FROM flights \
         LEFT JOIN airports ON flights.dest = airports.faa WHERE flights.origin = 'JFK' \
         GROUP BY airports.name HAVING COUNT(*) > 1000 ORDER BY flights DESC, airports.name LIMIT 10",
    ),
    (
        "by month and origin",
        "SELECT month, origin, COUNT(*) AS flights, MAX(dep_delay) AS worst FROM flights GROUP BY month, origin ORDER BY month, origin",
    ),
    ("all flights", "SELECT COUNT(*) AS flights, SUM(distance) AS miles, AVG(arr_delay) AS late FROM flights"),
];

/// The kill and the takeover, as observed.
struct Takeover {
    job: String,
    victim: String,
    heir: String,
    evidence: String,
    noticed_by: String,
    from_step: u64,
    total_steps: u64,
    first_step_ms: f64,
    phases: Vec<(String, f64)>,
}

/// Runs the demo.
///
/// # Errors
/// If a check fails, or a process cannot be started.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    local_cluster::check(args.metastore.as_ref())?;
    let dir = tempfile::Builder::new().prefix("kirin-demo-").tempdir()?;
    let keep = args.keep;
    let done = play(&dir, args).await;
    if keep || done.is_err() {
        // The logs of the nodes tell what went wrong.
        let dir = dir.keep();
        say(&format!("All files are in {}", dir.display()));
    }
    done
}

async fn play(dir: &tempfile::TempDir, args: DemoArgs) -> anyhow::Result<()> {
    let data = dir.path().join("nycflights13");
    say(&format!("Kirin demo, files in {}", dir.path().display()));
    let metastore = if args.metastore.is_some() { "the given metastore" } else { "SQLite" };
    let discovery = if args.zookeeper.is_some() { "ZooKeeper" } else { "the metastore" };
    title(&format!("Three nodes, one metastore ({metastore}), found through {discovery}"));
    let plan = Plan { metastore: args.metastore, zookeeper: args.zookeeper, outlive: args.keep, ..Plan::default() };
    let from = clock::instant_tokio();
    let mut cluster = Cluster::start(dir.path(), 3, plan).await?;
    say(&format!("up after {}", ms(from.elapsed())));
    show_members(cluster.nodes[0].client()?).await?;

    title("336,776 flights of 2013 with airlines, airports, planes and weather");
    demo::write_files(&data)?;
    define(&cluster, &data).await?;

    title("Four builds, submitted through three nodes");
    let jobs = submit(&cluster).await?;
    let takeover = kill_under_a_build(&mut cluster, &jobs).await?;
    title("The builds finish");
    for job in &jobs {
        finish(&cluster, job).await?;
    }

    title("Queries, from the indexes and from the raw tables");
    let answers = compare(&cluster).await?;

    title("What happened");
    let survivor = cluster.living().next().context("no node is left")?;
    show_history(survivor.client()?).await?;
    closing_table(&cluster, &jobs, &takeover, &answers).await?;
    if args.keep {
        say("");
        say("The cluster keeps running:");
        for node in cluster.living() {
            say(&format!("  {:8} {}", node.name, node.url));
        }
        let home = cluster.nodes[0].home().display().to_string();
        let url = cluster.living().next().map(|node| node.url.clone()).unwrap_or_default();
        say(&format!("Try  KIRIN_HOME={home} kirin --url {url} cluster list"));
        for node in cluster.living() {
            say(&format!("Stop KIRIN_HOME={} kirin stop", node.home().display()));
        }
        cluster.leave();
    } else {
        cluster.stop_all().await?;
    }
    Ok(())
}

async fn define(cluster: &Cluster, data: &std::path::Path) -> anyhow::Result<()> {
    let first = cluster.nodes[0].client()?;
    let project = NewProject { name: PROJECT.to_owned(), ..NewProject::default() };
    let _: ProjectView = first.call(Request::post(&["projects"]).body(&project)?).await?;
    for (at, table) in demo::tables(data).into_iter().enumerate() {
        // Every node accepts requests.
        let node = &cluster.nodes[at % cluster.nodes.len()];
        let made: TableAdded =
            node.client()?.call(Request::post(&["tables"]).body(&new_table(PROJECT, table)?)?).await?;
        let rows = made.rows.map(|rows| rows.to_string()).unwrap_or_default();
        say(&format!("  table {:9} {rows:>8} rows  through {}", made.name, node.name));
    }
    let made: ModelView =
        cluster.nodes[1].client()?.call(Request::post(&["models"]).body(&new_model(PROJECT)?)?).await?;
    let indexes = made.indexes.len();
    say(&format!("  model {:9} {indexes:>8} indexes through {}", "flights", cluster.nodes[1].name));
    Ok(())
}

/// The request that adds a table of the demo's data to a project.
///
/// # Errors
/// If requests cannot express the table's source.
pub fn new_table(project: &str, table: kirin_olap::Table) -> anyhow::Result<NewTable> {
    let source = serde_json::from_value(serde_json::to_value(table.source)?)?;
    Ok(NewTable { project: project.to_owned(), name: table.name, source: Given::Full(source), columns: vec![] })
}

/// The request that adds the demo's model to a project.
///
/// # Errors
/// If requests cannot express a part of the model.
pub fn new_model(project: &str) -> anyhow::Result<ModelDefinition> {
    let model: ModelDefinition = serde_json::from_value(serde_json::to_value(demo::model())?)?;
    Ok(ModelDefinition { project: Some(project.to_owned()), ..model })
}

/// The quarters of the year, one segment each.
fn quarters() -> Vec<(i64, i64)> {
    let months = demo::months();
    let ends = kirin_service::catalog::ends;
    let groups = [&months[0..3], &months[3..6], &months[6..9], &months[9..]];
    groups.iter().map(|months| (ends(&months[0]).0, ends(&months[months.len() - 1]).1)).collect()
}

async fn submit(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let mut jobs = Vec::new();
    for (at, range) in quarters().into_iter().enumerate() {
        let node = &cluster.nodes[at % cluster.nodes.len()];
        let request = Request::post(&["models", "flights", "segments"]).body(&BuildRequest::new(PROJECT, range))?;
        let made: Submitted = node.client()?.call(request).await?;
        let job = made.first().to_owned();
        say(&format!("  quarter {} through {}: job {}", at + 1, node.name, &job));
        jobs.push(job);
    }
    Ok(jobs)
}

async fn kill_under_a_build(cluster: &mut Cluster, jobs: &[String]) -> anyhow::Result<Takeover> {
    title("kill -9");
    let (least, left) = KILL_WINDOW;
    let hit = cluster
        .wait("a build in the middle of its steps", async || {
            // On an idle machine a build takes a moment, so the demo polls without a pause while one runs.
            loop {
                let client = cluster.nodes[0].client()?;
                let views = try_join_all(jobs.iter().map(|job| job_of(client, job))).await?;
                let runs = |view: &JobView| view.job_status == "RUNNING";
                let hit = views.iter().zip(jobs).filter(|(view, _)| runs(view)).find_map(|(view, job)| {
                    let (done, total) = steps(view);
                    let in_time = done >= least && done + left <= total && !view.node.is_empty();
                    in_time.then(|| (job.clone(), view.node.clone(), done, total, view.epoch))
                });
                if hit.is_some() || !views.iter().any(runs) {
                    return Ok(hit);
                }
            }
        })
        .await?;
    let (job, victim, done, total, epoch) = hit;
    let at = cluster.place(&victim).with_context(|| format!("{victim} is not a node of this demo"))?;
    let pid = cluster.nodes[at].pid().unwrap_or_default();
    let killed = cluster.kill(at).await?;
    say(&format!("  {victim} (process {pid}) was killed while it ran job {job}, {done} of {total} steps committed"));
    let witness = cluster.living().next().context("no node is left")?.client()?;
    // The heir's first step: one with a greater epoch than the victim's.
    let (first_step, heir, from_step) = cluster
        .wait("the heir's first committed step", async || {
            let detail: Vec<StepView> = witness.call(Request::get(&["jobs", &job, "detail"])).await?;
            let first = detail.into_iter().find(|step| step.epoch > epoch);
            Ok(first.map(|step| (killed.elapsed(), step.node, step.sequence_id)))
        })
        .await?;
    say(&format!("  {heir} took it over and committed its first step after {}", ms(first_step)));
    let line = cluster
        .wait("the takeover in the history", async || {
            let is_it = |line: &HistoryView| {
                line.event == "takeover" && line.job_id.as_deref() == Some(job.as_str()) && line.node == victim
            };
            Ok(history(witness).await?.into_iter().find(|line| is_it(line) && !line.phases.is_empty()))
        })
        .await?;
    let noticed_by = noticed_by(witness, &victim).await?;
    let phases: Vec<_> = line.phases.into_iter().map(|phase| (phase.name, phase.ms)).collect();
    for (name, took) in &phases {
        say(&format!("    {name:12} {took:>9.3} ms"));
    }
    ensure!(from_step >= done, "the heir began at step {from_step}, but {done} steps were committed");
    let evidence = line.evidence.unwrap_or_default();
    Ok(Takeover {
        job,
        victim,
        heir,
        evidence,
        noticed_by,
        from_step,
        total_steps: total,
        first_step_ms: first_step.as_secs_f64() * 1000.0,
        phases,
    })
}

async fn history(client: &Client) -> anyhow::Result<Vec<HistoryView>> {
    let page: Page<HistoryView> = client.call(Request::get(&["cluster", "history"]).with("page_size", 100)).await?;
    Ok(page.value)
}

async fn noticed_by(witness: &Client, victim: &str) -> anyhow::Result<String> {
    let lines = history(witness).await?;
    let fence = lines.into_iter().find(|line| line.event.starts_with("fence") && line.node == victim);
    Ok(fence.map(|line| line.by).unwrap_or_default())
}

async fn job_of(client: &Client, job: &str) -> anyhow::Result<JobView> {
    Ok(client.call(Request::get(&["jobs", job])).await?)
}

fn steps(job: &JobView) -> (u64, u64) {
    let (done, total) = job.steps_done();
    (done as u64, total as u64)
}

async fn finish(cluster: &Cluster, job: &str) -> anyhow::Result<()> {
    let client = cluster.living().next().context("no node is left")?.client()?;
    let view = cluster
        .wait("a build to end", async || {
            let view = job_of(client, job).await?;
            Ok(view.is_over().then_some(view))
        })
        .await?;
    let why = view.failed_msg.as_deref().unwrap_or_default();
    ensure!(view.job_status == "FINISHED", "job {job} ended in {}: {why}", view.job_status);
    let (done, total) = steps(&view);
    ensure!(done == total, "job {job} is finished with {done} of {total} steps");
    say(&format!("  job {job} finished: {total} steps, attempts {}, {} ms", view.epoch, view.duration));
    Ok(())
}

struct Compared {
    title: &'static str,
    rows: usize,
    indexed_ms: f64,
    raw_ms: f64,
    index: String,
}

async fn compare(cluster: &Cluster) -> anyhow::Result<Vec<Compared>> {
    let mut compared = Vec::new();
    let nodes: Vec<_> = cluster.living().collect();
    for (at, (name, sql)) in QUERIES.into_iter().enumerate() {
        let node = nodes[at % nodes.len()];
        let ask = async |body: QueryRequest| -> anyhow::Result<(QueryView, f64)> {
            // The first query fills the caches.
            let mut answer: QueryView = node.client()?.call(Request::post(&["query"]).body(&body)?).await?;
            let mut best = f64::MAX;
            for _ in 0..5 {
                let from: Instant = clock::instant_tokio();
                answer = node.client()?.call(Request::post(&["query"]).body(&body)?).await?;
                best = best.min(from.elapsed().as_secs_f64() * 1000.0);
            }
            Ok((answer, best))
        };
        let query = QueryRequest::new(PROJECT, sql);
        let (indexed, indexed_ms) = ask(query.clone()).await?;
        let (raw, raw_ms) = ask(query.raw()).await?;
        let rows = indexed.results.len();
        let index = indexed.realizations.first().map(|one| one.layout.to_string());
        let index = index.filter(|_| !indexed.push_down);
        let index = index.with_context(|| format!("'{name}' was not answered from an index"))?;
        ensure!(raw.push_down, "'{name}' was not answered from the raw tables");
        ensure!(rows > 0 && is_same(&indexed.results, &raw.results), "'{name}' differs between index and raw tables");
        say(&format!(
            "  {name:22} {rows:>3} rows  equal  index {indexed_ms:>7.2} ms  raw {raw_ms:>8.2} ms  on {}",
            node.name
        ));
        compared.push(Compared { title: name, rows, indexed_ms, raw_ms, index });
    }
    Ok(compared)
}

/// Compares row by row. Numbers may differ by rounding, because sums of floats depend on their order.
fn is_same(a: &[Vec<Option<String>>], b: &[Vec<Option<String>>]) -> bool {
    let cell = |(a, b): (&Option<String>, &Option<String>)| {
        let number = |cell: &Option<String>| cell.as_ref().and_then(|text| text.parse::<f64>().ok());
        a == b || matches!((number(a), number(b)), (Some(a), Some(b)) if (a - b).abs() <= 1e-9 * a.abs().max(1.0))
    };
    let row = |(a, b): (&Vec<_>, &Vec<_>)| a.len() == b.len() && a.iter().zip(b).all(cell);
    a.len() == b.len() && a.iter().zip(b).all(row)
}

async fn show_members(client: &Client) -> anyhow::Result<()> {
    let view = client.call(Request::get(&["cluster"])).await?;
    say(kirin_cli::render::cluster(&view, false).trim_end());
    Ok(())
}

async fn show_history(client: &Client) -> anyhow::Result<()> {
    say(kirin_cli::render::history(&history(client).await?, false).trim_end());
    Ok(())
}

async fn closing_table(
    cluster: &Cluster,
    jobs: &[String],
    takeover: &Takeover,
    answers: &[Compared],
) -> anyhow::Result<()> {
    let client = cluster.living().next().context("no node is left")?.client()?;
    let segments: Page<SegmentView> = client
        .call(Request::get(&["models", "flights", "segments"]).with("project", PROJECT).with("page_size", 1000))
        .await?;
    let segments = segments.value;
    let published = segments.iter().filter(|segment| segment.status == "READY").count();
    let rows: u64 = segments.iter().map(|segment| segment.source_count).sum();
    ensure!(
        segments.len() == jobs.len() && published == jobs.len(),
        "{published} of {} segments are published",
        jobs.len()
    );
    ensure!(rows == 336_776, "the segments hold {rows} flights instead of 336776");
    let mut attempts = 0;
    for job in jobs {
        attempts += job_of(client, job).await?.epoch;
    }
    let fastest = answers.iter().map(|a| a.raw_ms / a.indexed_ms).fold(f64::MAX, f64::min);
    title("All checks held");
    let mut table = vec![
        ("builds", format!("{} accepted, {} finished, {attempts} attempts", jobs.len(), jobs.len())),
        ("published", format!("{published} segments, each once, {rows} flights")),
        ("killed", format!("{} with kill -9, under job {}", takeover.victim, takeover.job)),
        ("noticed by", format!("{} ({})", takeover.noticed_by, takeover.evidence)),
        ("taken over by", format!("{}, from step {} of {}", takeover.heir, takeover.from_step, takeover.total_steps)),
        ("kill to first step", format!("{:.0} ms, committed by the heir", takeover.first_step_ms)),
    ];
    let phases: Vec<_> = takeover.phases.iter().map(|(name, took)| format!("{name} {took:.1}")).collect();
    table.push(("  of which (ms)", phases.join(", ")));
    for answer in answers {
        let what = format!(
            "index {:.2} ms, raw {:.2} ms, {} equal rows (layout {})",
            answer.indexed_ms, answer.raw_ms, answer.rows, answer.index
        );
        table.push((answer.title, what));
    }
    table.push(("smallest speed-up", format!("{fastest:.0} times")));
    for (what, value) in table {
        say(&format!("  {what:22} {value}"));
    }
    Ok(())
}

fn ms(span: Duration) -> String {
    format!("{:.0} ms", span.as_secs_f64() * 1000.0)
}

fn title(text: &str) {
    say("");
    say(&format!("== {text}"));
}

#[expect(clippy::print_stdout, reason = "the demo is what it prints")]
fn say(text: &str) {
    println!("{text}");
}
