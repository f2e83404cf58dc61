//! Attacks a whole cluster on real servers for some minutes, and says what came of it.
//!
//! The program under test is the one beside this one: `cargo build --release -p kirin` first. It needs root, for network
//! namespaces of its own; nothing outside them is touched.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for people, on real time")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use kirin_tests::chaos::check::{self, Findings};
use kirin_tests::chaos::clients::Clients;
use kirin_tests::chaos::deployment::{Backend, Deployment, Plan};
use kirin_tests::chaos::fault::{self, Done, Fault};
use kirin_tests::chaos::flights;
use kirin_tests::chaos::net;
use kirin_tests::chaos::register::{self, Sessions};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// What is started, and for how long it is attacked.
#[derive(Debug, Parser)]
struct Options {
    /// The database.
    #[arg(long, value_enum, default_value_t = Profile::Postgres)]
    profile: Profile,
    /// For how long.
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Every kind of fault happens at least once, even if that takes longer.
    #[arg(long)]
    each: bool,
    /// Which faults hit whom, and what users do.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these faults, by name; several with commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// For how long what lasts shall last, in seconds; without it, a little longer than the heart-beat timeout.
    #[arg(long)]
    hold: Option<u64>,
    /// `kylin.server.leader-race.heart-beat-timeout`, in seconds.
    #[arg(long, default_value_t = 6)]
    heart_beat_timeout: u64,
    /// `kylin.server.leader-race.heart-beat-interval`, in seconds.
    #[arg(long, default_value_t = 2)]
    heart_beat_interval: u64,
    /// The program before this one, to which nodes go back and forth: one more fault, "upgrade".
    #[arg(long)]
    previous: Option<PathBuf>,
    /// Where everything is written; kept.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    /// PostgreSQL and a ZooKeeper ensemble.
    Postgres,
    /// MariaDB and a ZooKeeper ensemble.
    Mariadb,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let backend = match options.profile {
        Profile::Postgres => Backend::Postgres,
        Profile::Mariadb => Backend::MariaDb,
    };
    let faults: Vec<Fault> = match options.only.as_slice() {
        [] => {
            let all = fault::ALL.into_iter().filter(|fault| fault.is_for(backend));
            all.chain(options.previous.as_ref().map(|_| Fault::Upgrade)).collect()
        }
        names => names
            .iter()
            .map(|name| {
                let known = || fault::ALL.map(Fault::name).join(", ");
                let found = Fault::from_name(name).filter(|fault| fault.is_for(backend));
                found.with_context(|| format!("there is no fault \"{name}\" on {backend:?}; there are {}", known()))
            })
            .collect::<anyhow::Result<_>>()?,
    };
    // Before the first thread: all of them see the network of this process.
    net::enter()?;
    let program = std::env::current_exe()?.with_file_name("kirin");
    anyhow::ensure!(program.exists(), "{} is not there: cargo build --release -p kirin", program.display());
    let previous = options.previous.as_ref().map(std::fs::canonicalize).transpose().context("--previous")?;
    let kept = options.dir.is_some();
    let dir = match &options.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            dir.clone()
        }
        None => tempfile::Builder::new().prefix("kirin-chaos-").tempdir()?.keep(),
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let beats = (options.heart_beat_timeout, options.heart_beat_interval);
    let plan = Plan { backend, roles: vec!["all", "all", "job", "query"], beats, program, previous, dir: dir.clone() };
    println!(
        "{backend:?}, a ZooKeeper ensemble and {} nodes; seed {}; {}",
        plan.roles.len(),
        options.seed,
        dir.display()
    );
    let mut cluster = Deployment::start(&plan, runtime.handle())?;
    let urls: Vec<_> = cluster.nodes.iter().map(|node| node.url.clone()).collect();
    let sink = cluster.sink.display().to_string();
    let quarters = cluster.define_flights(&dir.join("nycflights13"))?;
    let clients = Clients::start(runtime.handle(), &urls, &cluster.login, &sink, &quarters, options.seed)?;
    let source = flights::smallest(&dir.join("nycflights13"))?;
    let sessions = Sessions::start(runtime.handle(), &urls, &cluster.login, source, options.seed)?;
    let done = attack(&mut cluster, &options, &faults)?;
    let histories = sessions.end(runtime.handle())?;
    let said = clients.end(runtime.handle())?;
    let acknowledged = said.submitted.iter().filter(|submitted| submitted.job.is_some()).count();
    println!("{acknowledged} jobs were acknowledged, {} requests got no answer", said.errors.len());
    let mut found = check::all(&mut cluster, &said, &done, beats)?;
    let registers = register::check(&histories);
    found.wrong.extend(registers.wrong.iter().cloned());
    report(&done, &found, &said.errors);
    if found.wrong.is_empty() {
        cluster.unmount()?;
        drop(cluster);
        if !kept {
            std::fs::remove_dir_all(&dir)?;
        }
        println!(
            "everything held: {} jobs, {} effects, {} queries, {} events replayed; {} histories of metadata with {} requests \
             are linearizable ({} requests without an answer)",
            found.jobs,
            found.effects,
            found.queries,
            found.replayed,
            registers.histories,
            registers.requests,
            registers.open
        );
        return Ok(ExitCode::SUCCESS);
    }
    for wrong in &found.wrong {
        println!("WRONG {wrong}");
    }
    println!("logs and recordings are in {}", dir.display());
    Ok(ExitCode::FAILURE)
}

/// Draws one fault after the other until the time is over and each has happened.
fn attack(cluster: &mut Deployment, options: &Options, faults: &[Fault]) -> anyhow::Result<Vec<Done>> {
    let mut dice = StdRng::seed_from_u64(options.seed);
    let until = Instant::now() + Duration::from_secs(60 * options.minutes);
    let long = options.hold.unwrap_or(options.heart_beat_timeout + options.heart_beat_interval + 2);
    let long = Duration::from_secs(long);
    let mut deck: Vec<Fault> = Vec::new();
    let mut done: Vec<Done> = Vec::new();
    while Instant::now() < until || options.each && done.len() < faults.len() {
        if deck.is_empty() {
            deck.extend(faults);
            deck.shuffle(&mut dice);
        }
        let Some(fault) = deck.pop() else { break };
        let victim = dice.random_range(0..cluster.nodes.len());
        std::thread::sleep(Duration::from_millis(dice.random_range(500..2_500)));
        println!("  {} ({})", fault.name(), cluster.nodes[victim].name);
        let carried = fault.carry_out(cluster, victim, long, &mut dice);
        done.push(carried.with_context(|| format!("while \"{}\" was carried out", fault.name()))?);
    }
    Ok(done)
}

fn report(done: &[Done], found: &Findings, errors: &[i64]) {
    let mut classes: BTreeMap<String, Vec<&Done>> = BTreeMap::new();
    for one in done {
        classes.entry(one.fault.name()).or_default().push(one);
    }
    println!(
        "{:<18} {:>5} {:>15} {:>10} {:>8} {:>8} {:>8} {:>8} {:>12}",
        "fault", "runs", "normal after", "takeovers", "p50 ms", "p99 ms", "max ms", "errors", "for at most"
    );
    for (name, runs) in classes {
        let normal = runs.iter().map(|one| one.normal_after).max().unwrap_or_default();
        let mut took = found.takeovers.get(&name).cloned().unwrap_or_default();
        took.sort_unstable();
        let at = |q: f64| match took.len() {
            0 => "-".to_owned(),
            len => took[((len as f64 * q) as usize).min(len - 1)].to_string(),
        };
        let errors: Vec<_> = runs.iter().map(|one| one.errors(errors)).collect();
        let spans = errors.iter().filter_map(|some| Some(some.last()? - some.first()?));
        println!(
            "{name:<18} {:>5} {:>13.1} s {:>10} {:>8} {:>8} {:>8} {:>8} {:>10.1} s",
            runs.len(),
            normal.as_secs_f64(),
            took.len(),
            at(0.5),
            at(0.99),
            at(1.0),
            errors.iter().map(|some| some.len()).sum::<usize>(),
            spans.max().unwrap_or(0) as f64 / 1_000.0
        );
    }
    println!("false fences: {}", found.false_fences);
}
