//! Measures how drains, rolling restarts, rolling upgrades and crashes affect users behind a load balancer.
//!
//! Starts private instances of PostgreSQL, of three nodes, and of nginx or the Apache HTTP Server with the configuration of
//! `kirin lb --watch`. Users query and read at a steady rate, and others submit jobs of several steps, all through the load
//! balancer. The run fails if a request fails, a job is lost, or a step is repeated.
//!
//! The program under test is the one in this program's directory: `cargo build --release -p kirin` first.

#![expect(clippy::print_stdout, reason = "this program is for people")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use kirin_client::Request;
use kirin_config::Secret;
use kirin_home::credentials;
use kirin_lab::local_cluster::{Cluster, Plan};
use kirin_tests::chaos::check;
use kirin_tests::chaos::clients::Clients;
use kirin_tests::chaos::flights::{self, PROJECT};
use kirin_tests::chaos::ledger;
use kirin_tests::load::{Load, Question, Tally};
use kirin_tests::servers::balancer::{Asked, Balancer, Kind};
use kirin_tests::servers::postgres::Postgres;
use kirin_tests::servers::process::{beside, free_ports};
use serde_json::{Value, json};

const NODES: usize = 3;
/// The pause between two operations, in which the effect of the first is measured.
const PAUSE: Duration = Duration::from_secs(1);
const BASELINE: Duration = Duration::from_secs(10);

#[derive(Debug, Parser)]
struct Options {
    /// The load balancer.
    #[arg(value_enum)]
    balancer: Kind,
    /// Whether it sends all requests of a client to the same node.
    #[arg(long)]
    sticky: bool,
    /// Requests a second.
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// How often each node is drained, restarted and killed.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// A previous program: nodes are restarted with it, and then with this one again.
    #[arg(long)]
    previous: Option<PathBuf>,
    /// The jobs that users submit.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The operations on each node, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Nothing,
    Drain,
    Restart,
    Downgrade,
    Upgrade,
    Kill,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Drain => "drain and undrain",
            Self::Restart => "rolling restart",
            Self::Downgrade => "to the program before",
            Self::Upgrade => "rolling upgrade",
            Self::Kill => "kill -9 and restart",
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let program = beside("kirin", "cargo build --release -p kirin")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let postgres = Postgres::start(true)?;
    let (database, dir) = (postgres.database()?, tempfile::Builder::new().prefix("kirin-bench-").tempdir()?);
    let plan = plan(&program, &database)?;
    let mut cluster = runtime.block_on(Cluster::start(dir.path(), NODES, plan))?;
    let questions = runtime.block_on(build(&cluster))?;

    let login = credentials::read(&cluster.nodes[0].home().join("data"))?.context("the first node's credentials")?;
    let urls: Vec<_> = cluster.nodes.iter().map(|node| node.url.clone()).collect();
    let asked = Asked { program: program.clone(), urls, login: login.clone() };
    let method = if options.sticky { "ip-hash" } else { "round-robin" };
    let mut balancer = Balancer::start(options.balancer, method, asked)?;
    balancer.keep_current("60s")?;

    let phases = match options.previous {
        None => vec![Phase::Nothing, Phase::Drain, Phase::Restart, Phase::Kill],
        Some(_) => vec![Phase::Nothing, Phase::Drain, Phase::Downgrade, Phase::Upgrade, Phase::Kill],
    };
    let through = [balancer.url()];
    let start = Load::start(&through[0], &login, questions, options.rate, phases.len(), balancer.lost());
    let load = runtime.block_on(start)?;
    let sink = dir.path().join("sink");
    std::fs::write(&sink, "")?;
    let users = Clients::start(runtime.handle(), &through, &login, &sink.display().to_string(), &[], options.seed)?;
    let tallies = runtime.block_on(async {
        for round in 1..=options.rounds {
            println!("round {round}");
            for (number, phase) in phases.iter().enumerate() {
                load.set_phase(number);
                let previous = options.previous.as_deref();
                carry_out(*phase, &mut cluster, &program, previous).await.with_context(|| phase.name())?;
            }
        }
        load.end().await
    })?;
    let said = users.end(runtime.handle())?;
    let mut found = check::jobs(&said, &std::fs::read_to_string(&sink)?);
    let prefix = cluster.metastore().split('@').next().unwrap_or_default().to_owned();
    let name = database.rsplit('/').next().unwrap_or_default();
    found.wrong.extend(ledger::check_in(&prefix, |sql| postgres.query(name, sql))?);
    runtime.block_on(cluster.stop_all())?;

    report(&phases, &tallies);
    let submits: u32 = said.submitted.iter().map(|submitted| submitted.tries - 1).sum();
    println!(
        "{} jobs, {} steps seen from outside; {submits} submits were sent again; the balancer's file changed {} times",
        found.jobs,
        found.effects,
        balancer.changes()
    );
    for failed in tallies.iter().flat_map(|tally| &tally.failed).take(20) {
        println!("FAILED {failed}");
    }
    for wrong in &found.wrong {
        println!("WRONG {wrong}");
    }
    let is_sound = found.wrong.is_empty() && tallies.iter().all(|tally| tally.failed.is_empty());
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan(program: &Path, database: &str) -> anyhow::Result<Plan> {
    let settings = [("kirin.command.enabled", "true"), ("kylin.job.retry", "3"), ("kylin.job.retry-interval", "200")];
    Ok(Plan {
        metastore: Some(Secret::new(database)),
        // A restarted node has the same address, as behind any load balancer.
        ports: free_ports(NODES)?,
        settings: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        // These jobs need no record of their attempts.
        environment: vec![("CHAOS_NODE".to_owned(), "node".to_owned())],
        program: Some(program.to_owned()),
        ..Plan::default()
    })
}

/// Builds a year of flights, and returns queries with their answers.
async fn build(cluster: &Cluster) -> anyhow::Result<Vec<Question>> {
    let client = cluster.nodes[0].client()?;
    let quarters = flights::define(client, &cluster.dir.join("nycflights13")).await?;
    for quarter in &quarters {
        let (start, end) = (quarter.start_ms.to_string(), quarter.end_ms.to_string());
        let body = json!({ "project": PROJECT, "start": start, "end": end });
        let _: Value = client.call(Request::post(&["models", "flights", "segments"]).body(&body)?).await?;
    }
    let segments = Request::get(&["models", "flights", "segments"]).with("project", PROJECT);
    let are_ready = async || {
        let page: Value = client.call(segments.clone()).await?;
        let ready = page["value"].as_array().into_iter().flatten().filter(|segment| segment["status"] == "READY");
        Ok((ready.count() == quarters.len()).then_some(()))
    };
    cluster.wait("the segments", are_ready).await?;
    let sqls = [
        flights::SQL,
        "SELECT carrier, COUNT(*) AS flights FROM flights GROUP BY carrier ORDER BY carrier",
        "SELECT origin, COUNT(*) AS flights, SUM(distance) AS miles FROM flights GROUP BY origin ORDER BY origin",
    ];
    let mut questions = vec![Question::read("/kylin/api/projects", "/data/total_size", json!(2))];
    for sql in sqls {
        let body = json!({ "project": PROJECT, "sql": sql });
        let answer: Value = client.call(Request::post(&["query"]).body(&body)?).await?;
        ensure!(answer["pushDown"] == false, "no index answers {sql}");
        questions.push(Question::query(PROJECT, sql, answer["results"].clone()));
    }
    Ok(questions)
}

async fn carry_out(phase: Phase, cluster: &mut Cluster, program: &Path, previous: Option<&Path>) -> anyhow::Result<()> {
    match phase {
        Phase::Downgrade => cluster.set_program(previous.context("--previous")?),
        Phase::Nothing | Phase::Drain | Phase::Restart | Phase::Upgrade | Phase::Kill => cluster.set_program(program),
    }
    if phase == Phase::Nothing {
        tokio::time::sleep(BASELINE).await;
        return Ok(());
    }
    for node in 0..NODES {
        match phase {
            Phase::Nothing => {}
            Phase::Drain => drain(cluster, node).await?,
            Phase::Restart | Phase::Downgrade | Phase::Upgrade => {
                cluster.stop(node).await?;
                cluster.restart(node).await?;
            }
            Phase::Kill => {
                cluster.kill(node).await?;
                tokio::time::sleep(PAUSE).await;
                cluster.restart(node).await?;
            }
        }
        cluster.wait_for_members(NODES).await?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Drains a node until nothing runs on it, and ends the drain a while later.
async fn drain(cluster: &Cluster, node: usize) -> anyhow::Result<()> {
    let (name, client) = (cluster.nodes[node].name.as_str(), cluster.nodes[node].client()?);
    let _: Value = client.call(Request::post(&["cluster", "nodes", name, "drain"]).body(&json!({}))?).await?;
    let is_idle = async || {
        let view: Value = client.call(Request::get(&["cluster"])).await?;
        let row = view["members"].as_array().into_iter().flatten().find(|member| member["node"] == name);
        Ok(row.filter(|row| row["state"] == "draining" && row["running"] == 0).map(|_| ()))
    };
    cluster.wait("the node to be idle", is_idle).await?;
    tokio::time::sleep(PAUSE).await;
    let _: Value = client.call(Request::delete(&["cluster", "nodes", name, "drain"])).await?;
    Ok(())
}

fn report(phases: &[Phase], tallies: &[Tally]) {
    let head = ["requests", "repeated", "failed", "p50 ms", "p99 ms", "max ms", "added p99"];
    println!("{:<22} {}", "", head.map(|title| format!("{title:>10}")).concat());
    let ms = |tally: &Tally, q| tally.times.value_at_quantile(q) as f64 / 1_000.0;
    for (phase, tally) in phases.iter().zip(tallies) {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| ms(tally, q));
        let added = p99 - ms(&tallies[0], 0.99);
        let (requests, failed) = (tally.times.len(), tally.failed.len());
        let repeated = tally.repeated;
        println!(
            "{:<22} {requests:>10}{repeated:>10}{failed:>10}{p50:>10.1}{p99:>10.1}{max:>10.1}{added:>10.1}",
            phase.name()
        );
    }
}
