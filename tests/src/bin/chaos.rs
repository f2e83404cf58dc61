//! Attacks a whole cluster on real servers for some minutes, and reports the results.
//!
//! The program under test is the one in this program's directory: `cargo build --release -p kirin` first. Chaos needs root for
//! its network namespaces. It changes nothing outside them.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for people, on real time")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use kirin_plant::Defence;
use kirin_tests::chaos::check::{self, Findings, Journal};
use kirin_tests::chaos::clients::Clients;
use kirin_tests::chaos::deployment::{Backend, Deployment, Plan};
use kirin_tests::chaos::fault::{self, Done, Fault};
use kirin_tests::chaos::register::{self, Sessions};
use kirin_tests::chaos::segments::Watch;
use kirin_tests::chaos::soak::Samples;
use kirin_tests::chaos::{flights, ledger, net};
use kirin_tests::servers::process::beside;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// The deployment, and the duration of the attack.
#[derive(Debug, Parser)]
struct Options {
    /// The database.
    #[arg(long, value_enum, default_value_t = Profile::Postgres)]
    profile: Profile,
    /// The duration in minutes.
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Every kind of fault happens at least once, even if that takes longer.
    #[arg(long)]
    each: bool,
    /// The seed of the faults, of their targets, and of the users' requests.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these faults, by name, comma separated.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The duration of faults that last, in seconds; default: a little longer than the heart-beat timeout.
    #[arg(long)]
    hold: Option<u64>,
    /// The number of nodes.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..=ROLES.len() as i64))]
    nodes: u8,
    /// `kylin.server.leader-race.heart-beat-timeout`, in seconds.
    #[arg(long, default_value_t = 6)]
    heart_beat_timeout: u64,
    /// `kylin.server.leader-race.heart-beat-interval`, in seconds.
    #[arg(long, default_value_t = 2)]
    heart_beat_interval: u64,
    /// A previous program. Adds the fault "upgrade": nodes go to that program and back.
    #[arg(long)]
    previous: Option<PathBuf>,
    /// A soak test: one node is spared, old jobs are deleted soon, and nothing may grow.
    #[arg(long)]
    soak: bool,
    /// Removes a defence and expects the damage to be noticed; "all": each defence in turn. Needs the program `kirin-without`:
    /// `cargo build --release -p kirin --features plants --bin kirin-without`.
    #[arg(long, value_name = "DEFENCE")]
    without: Option<String>,
    /// The directory for all files; it is kept.
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

impl Options {
    fn backend(&self) -> Backend {
        match self.profile {
            Profile::Postgres => Backend::Postgres,
            Profile::Mariadb => Backend::MariaDb,
        }
    }
}

/// The roles of the nodes.
const ROLES: [&str; 7] = ["all", "all", "job", "query", "job", "all", "query"];
/// The node that a soak spares, and settings that shorten all retention to minutes.
const SURVIVOR: usize = 0;
const FORGETFUL: [(&str, &str); 3] = [
    ("kylin.garbage.storage.executable-survival-time-threshold", "2min"),
    ("kirin.history.retention", "5min"),
    ("kirin.recorder.limit", "2m"),
];

/// The records of a run.
#[derive(Default)]
struct Noted {
    journal: Journal,
    samples: Samples,
    wrong: Vec<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if options.without.as_deref() == Some("all") {
        return without_each(&options);
    }
    let missing = options.without.as_deref().map(defence).transpose()?;
    let faults = chosen(&options, missing)?;
    // Before the first thread starts, because threads inherit the network namespace.
    net::enter()?;
    let dir = match &options.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            dir.clone()
        }
        None => tempfile::Builder::new().prefix("kirin-chaos-").tempdir()?.keep(),
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let plan = plan(&options, missing, &dir)?;
    println!(
        "{:?}, a ZooKeeper ensemble and {} nodes; seed {}; {}",
        plan.backend,
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
    let watch = Watch::begin(runtime.handle(), cluster.metastore.clone());
    let mut noted = Noted::default();
    let done = attack(&mut cluster, &options, &faults, &mut noted)?;
    let histories = sessions.end(runtime.handle())?;
    let said = clients.end(runtime.handle())?;
    let files = watch.end(runtime.handle())?;
    noted.journal.read_on(&cluster)?;
    let acknowledged = said.submitted.iter().filter(|submitted| submitted.job.is_some()).count();
    println!("{acknowledged} jobs acknowledged, {} requests without an answer", said.errors.len());
    let mut found = check::all(&mut cluster, &said, &noted.journal, &done, plan.beats)?;
    found.wrong.extend(noted.wrong);
    found.wrong.extend(files.damaged);
    let registers = register::check(&histories);
    found.wrong.extend(registers.wrong);
    report(&done, &found, &said.errors);
    let courses = noted.samples.courses();
    found
        .wrong
        .extend((options.soak && courses.is_empty()).then(|| "too little was counted to say what grows".to_owned()));
    for course in courses {
        println!("{course}");
        found.wrong.extend(course.grew.then(|| format!("growth: {course}")));
    }
    cluster.unmount()?;
    drop(cluster);
    if let Some(missing) = missing {
        return Ok(noticed(missing, &found.wrong));
    }
    if found.wrong.is_empty() {
        if options.dir.is_none() {
            std::fs::remove_dir_all(&dir)?;
        }
        println!(
            "everything held: {} jobs, {} effects, {} queries, {} files of segments, {} events replayed; {} histories of \
             metadata with {} requests are linearizable ({} requests without an answer)",
            found.jobs,
            found.effects,
            found.queries,
            files.sound,
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
    println!("logs are in {}", dir.display());
    Ok(ExitCode::FAILURE)
}

/// The faults to choose from.
fn chosen(options: &Options, missing: Option<Defence>) -> anyhow::Result<Vec<Fault>> {
    let backend = options.backend();
    let ours = || fault::ALL.into_iter().filter(|fault| fault.is_for(backend));
    let all = || ours().chain(options.previous.as_ref().map(|_| Fault::Upgrade));
    match (options.only.as_slice(), missing) {
        ([], Some(missing)) => Ok(vec![fault::against(missing)]),
        // A soak spares one node, so faults that hit every node are left out.
        ([], None) => Ok(all().filter(|fault| !(options.soak && fault.hits_all())).collect()),
        (names, _) => names
            .iter()
            .map(|name| {
                let known = || fault::ALL.map(Fault::name).join(", ");
                let found = Fault::from_name(name).filter(|fault| fault.is_for(backend));
                found.with_context(|| format!("there is no fault \"{name}\" on {backend:?}; there are {}", known()))
            })
            .collect(),
    }
}

fn plan(options: &Options, missing: Option<Defence>, dir: &Path) -> anyhow::Result<Plan> {
    let program = match missing {
        Some(_) => beside("kirin-without", "cargo build --release -p kirin --features plants --bin kirin-without")?,
        None => beside("kirin", "cargo build --release -p kirin")?,
    };
    Ok(Plan {
        backend: options.backend(),
        roles: ROLES[..usize::from(options.nodes)].to_vec(),
        beats: (options.heart_beat_timeout, options.heart_beat_interval),
        settings: if options.soak { FORGETFUL.map(|(key, value)| (key, value.to_owned())).into() } else { Vec::new() },
        program,
        previous: options.previous.as_ref().map(std::fs::canonicalize).transpose().context("--previous")?,
        missing,
        dir: dir.to_owned(),
    })
}

fn defence(name: &str) -> anyhow::Result<Defence> {
    let names = || Defence::ALL.map(Defence::name).join(", ");
    let found = Defence::ALL.into_iter().find(|defence| defence.name() == name);
    found.with_context(|| format!("there is no defence \"{name}\"; there are {}, and all", names()))
}

/// Whether a missing defence was noticed, and by which check.
fn noticed(missing: Defence, wrong: &[String]) -> ExitCode {
    let Some(first) = wrong.first() else {
        println!("without {}: NOTHING was noticed", missing.name());
        return ExitCode::FAILURE;
    };
    println!("without {}: noticed, {} times: {first}", missing.name(), wrong.len());
    ExitCode::SUCCESS
}

/// Removes each defence in a run of its own: a process with a network of its own.
fn without_each(options: &Options) -> anyhow::Result<ExitCode> {
    let mut all = true;
    for missing in Defence::ALL {
        let profile = options.profile.to_possible_value().context("the profile has a name")?;
        let run = std::process::Command::new(std::env::current_exe()?)
            .args(["--without", missing.name(), "--profile", profile.get_name()])
            .args(["--minutes", &options.minutes.to_string(), "--seed", &options.seed.to_string()])
            .output()?;
        let told = String::from_utf8_lossy(&run.stdout);
        match told.lines().rfind(|line| line.starts_with("without ")) {
            Some(line) => println!("{line}"),
            None => println!("without {}: the run failed: {}", missing.name(), String::from_utf8_lossy(&run.stderr)),
        }
        all &= run.status.success();
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Draws faults until the time is over and, with `--each`, every kind has happened.
fn attack(
    cluster: &mut Deployment,
    options: &Options,
    faults: &[Fault],
    noted: &mut Noted,
) -> anyhow::Result<Vec<Done>> {
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
        let spared = if options.soak && fault.restarts() { SURVIVOR + 1 } else { 0 };
        let victim = dice.random_range(spared..cluster.nodes.len());
        std::thread::sleep(Duration::from_millis(dice.random_range(500..2_500)));
        println!("  {} ({})", fault.name(), cluster.nodes[victim].name);
        let carried = fault.carry_out(cluster, victim, long, &mut dice);
        done.push(carried.with_context(|| format!("during the fault \"{}\"", fault.name()))?);
        noted.journal.read_on(cluster)?;
        noted.wrong.extend(ledger::check(cluster)?);
        // On a busy machine a server may be slow to report; the sample after the next fault is enough.
        if options.soak
            && let Err(error) = noted.samples.take(cluster, SURVIVOR)
        {
            println!("    not counted: {error:#}");
        }
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
