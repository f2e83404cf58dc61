//! A run: drawn from its seed, executed, judged.

use std::time::Duration;

use kirin_core::ask::ProjectId;
use kirin_core::{ProjectRow, Role, Span, Timing};
use kirin_sim::dice::Dice;
use madsim::net::NetSim;
use madsim::runtime::Runtime;
use tokio::net::{TcpListener, links};
use tokio::time::{Instant, sleep, sleep_until};
use zookeeper::{Ensemble, Settings};

use crate::board::Board;
use crate::database::Database;
use crate::hosts::{Host, Hosts};
use crate::judge;
use crate::node::{self, Config, DATABASE, ZOOKEEPER};
use crate::plan::{self, Act, Crew, Faults, millis};
use crate::users::{self, Users};

/// The kind of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Nodes that only discover each other.
    Discovery,
    /// Complete nodes under all faults.
    Shell,
    /// Complete nodes with faults of ZooKeeper only.
    Advice,
}

impl Scenario {
    /// All scenarios.
    pub const EVERY: [Self; 3] = [Self::Discovery, Self::Shell, Self::Advice];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Shell => "shell",
            Self::Advice => "advice",
        }
    }
}

/// The maximum time until data is sent again after its link was cut.
const RESENT_AFTER: Duration = Duration::from_secs(20);
/// How long the final state must last.
const CALM_FOR: Duration = Duration::from_secs(10);
/// The maximum number of new connections meanwhile, which slow answers of the database cause.
const CALLS_IN_CALM: u64 = 40;
/// The interval at which the state is checked.
const LOOK_EVERY: Duration = millis(20);
/// The maximum duration of a run.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Executes a run on its own thread. A process executes at most one run.
///
/// # Errors
/// The condition that did not hold at the end.
pub fn run(scenario: Scenario, seed: u64) -> Result<(), String> {
    let thread = std::thread::spawn(move || {
        fastrand::seed(seed);
        let mut runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
        runtime.set_time_limit(LONGEST);
        runtime.block_on(async move {
            match scenario {
                Scenario::Discovery => discovery(seed).await,
                Scenario::Shell => shell(seed, Faults::Any).await,
                Scenario::Advice => shell(seed, Faults::OfZooKeeper).await,
            }
        })
    });
    thread.join().unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// The state of a run.
struct World {
    hosts: Hosts,
    board: Board,
    ensemble: Ensemble,
}

async fn discovery(seed: u64) -> Result<(), String> {
    let mut dice = Dice::new(seed, "discovery");
    let crew =
        Crew { nodes: plan::below(&mut dice, 4) + 2, zookeepers: [1, 3][plan::below(&mut dice, 2)], database: false };
    let session_timeout = millis(*dice.pick(&[4_000, 8_000, 20_000, 40_000]).expect("there are some"));
    let within = millis(dice.between(30_000, 240_000));
    let acts = plan::draw(&mut dice, crew, Faults::Any, within);
    tracing::info!(seed, ?crew, ?session_timeout, "discovery");
    let mut world = World::new(crew);
    for number in 0..crew.nodes {
        let settings = kirin_core::Settings::new(Role::All);
        let config = Config { number, zookeepers: crew.zookeepers, session_timeout, settings };
        let board = world.board.clone();
        world.hosts.add(Host::Node(number), move || node::discoverable(config.clone(), board.clone()));
    }
    world.act(&acts, within).await;
    world.heal(&mut dice, 0, 200_000);
    // Until the sessions of dead nodes have expired; long before the periodic read of everything.
    world
        .calm(session_timeout + RESENT_AFTER, |world| judge::discovered(&world.hosts, &world.board, &world.ensemble))
        .await
}

/// The number of nodes of a cluster. The first one never has the role `query`.
const NODES: std::ops::RangeInclusive<u64> = 3..=5;
/// More than all jobs together take on one node: steps are short and jobs are few.
const ALL_JOBS: Duration = Duration::from_secs(600);

async fn shell(seed: u64, faults: Faults) -> Result<(), String> {
    let mut dice = Dice::new(seed, "shell");
    let nodes = usize::try_from(dice.between(*NODES.start(), *NODES.end())).expect("a few");
    let crew = Crew { nodes, zookeepers: [1, 3][plan::below(&mut dice, 2)], database: true };
    let session_timeout = millis(*dice.pick(&[4_000, 8_000, 20_000, 40_000]).expect("there are some"));
    let (timeout, interval) = *dice.pick(&[(3, 1), (6, 2), (10, 3), (20, 8), (60, 30)]).expect("there are some");
    let timing = Timing::new(Span::from_secs(timeout), Span::from_secs(interval)).expect("a safe pair");
    let (in_order, leader_only) = (dice.chance(250_000), dice.chance(150_000));
    let projects =
        (1..=2).map(|id| ProjectRow { id: ProjectId(id), limit: u32::try_from(dice.between(1, 8)).expect("a few") });
    let projects: Vec<_> = projects.collect();
    let within = millis(dice.between(30_000, 200_000));
    let acts = plan::draw(&mut dice, crew, faults, within);
    let wishes = users::draw(&mut dice, nodes, 2, within, faults == Faults::Any);
    tracing::info!(seed, ?crew, ?session_timeout, ?timing, in_order, leader_only, ?projects, "shell");

    let mut world = World::new(crew);
    // A node whose join is not answered joins again.
    let database = Database::new(projects, faults == Faults::Any);
    let tables = database.clone();
    world.hosts.add(Host::Database, move || {
        let database = tables.clone();
        async move {
            let listener = TcpListener::bind((Host::Database.address(), DATABASE)).await;
            database.serve(listener.expect("a free port")).await;
        }
    });
    for number in 0..nodes {
        let role = match dice.below(10) {
            _ if number == 0 => Role::All,
            0 => Role::Query,
            1 | 2 => Role::Job,
            _ => Role::All,
        };
        let slots = if role == Role::Query { 0 } else { u32::try_from(dice.between(1, 4)).expect("a few") };
        let settings = kirin_core::Settings { slots, timing, in_order, leader_only, ..kirin_core::Settings::new(role) };
        let config = Config { number, zookeepers: crew.zookeepers, session_timeout, settings };
        let (board, judge) = (world.board.clone(), database.clone());
        world.hosts.add(Host::Node(number), move || node::whole(config.clone(), board.clone(), judge.clone()));
    }
    let users = Users::default();
    let sitting = users.clone();
    world.hosts.add(Host::Users, move || sitting.clone().sit(wishes.clone()));

    world.act(&acts, within).await;
    world.heal(&mut dice, 0, if faults == Faults::Any { 200_000 } else { 0 });
    let silence = Duration::from_secs(2 * timeout + interval);
    world
        .calm(silence + session_timeout + RESENT_AFTER + ALL_JOBS, |world| {
            judge::settled(&world.hosts, &world.board, &database, &users)?;
            judge::discovered(&world.hosts, &world.board, &world.ensemble)
        })
        .await?;
    judge::blameless(&database)?;
    if faults == Faults::OfZooKeeper {
        judge::undisturbed(&world.hosts, &database)?;
    }
    Ok(())
}

impl World {
    /// A world without nodes.
    fn new(crew: Crew) -> Self {
        world_latency(false);
        let ensemble = Ensemble::new(Settings { servers: crew.zookeepers, tick: millis(1_000) });
        let mut hosts = Hosts::default();
        for server in 0..crew.zookeepers {
            let ensemble = ensemble.clone();
            hosts.add(Host::ZooKeeper(server), move || {
                let ensemble = ensemble.clone();
                async move {
                    let at = (Host::ZooKeeper(server).address(), ZOOKEEPER);
                    let listener = TcpListener::bind(at).await.expect("a free port");
                    ensemble.serve(server, listener).await;
                }
            });
        }
        Self { hosts, board: Board::default(), ensemble }
    }

    /// Performs the acts, each at its time.
    async fn act(&mut self, acts: &[(Duration, Act)], within: Duration) {
        let from = now();
        for (at, act) in acts.iter().filter(|(at, _)| *at < within) {
            self.wait(from + *at).await;
            tracing::info!(?act, "act");
            self.carry_out(*act);
        }
        self.wait(from + within).await;
    }

    async fn wait(&mut self, until: Instant) {
        while now() < until {
            sleep_until(until.min(now() + LOOK_EVERY)).await;
            self.bury();
        }
    }

    /// Registers the processes that have ended by themselves.
    fn bury(&mut self) {
        for host in self.hosts.all().collect::<Vec<_>>() {
            if self.hosts.is_alive(host) && madsim::runtime::Handle::current().is_exit(self.hosts.id(host)) {
                self.hosts.ended(host);
            }
        }
    }

    fn carry_out(&mut self, act: Act) {
        match act {
            Act::Kill(host) => self.hosts.kill(host),
            Act::Start(host) => self.hosts.start(host),
            Act::Stop(host) => {
                if let (Host::Node(number), true) = (host, self.hosts.is_alive(host))
                    && let Some(post) = self.board.get(number)
                {
                    // Its process may have ended by itself.
                    let _ = post.stop.send(());
                }
            }
            Act::Pause(host) => self.hosts.pause(host),
            Act::Resume(host) => self.hosts.resume(host),
            Act::Lose(host) => {
                self.with_all(host, links::cut);
                self.hosts.kill(host);
            }
            Act::Find(host) => {
                self.with_all(host, links::mend);
                self.hosts.start(host);
            }
            Act::Cut(from, to) => links::cut(from.address(), to.address()),
            Act::Mend(from, to) => links::mend(from.address(), to.address()),
            Act::Expire(host) => {
                let address = host.address().to_string();
                let registered = self.ensemble.ephemerals("/");
                let owner = registered.iter().find(|(_, _, data)| String::from_utf8_lossy(data).contains(&address));
                if let Some((_, session, _)) = owner {
                    self.ensemble.expire(*session);
                }
            }
            Act::Slow => world_latency(true),
            Act::Fast => world_latency(false),
        }
    }

    fn with_all(&self, host: Host, change: impl Fn(std::net::IpAddr, std::net::IpAddr)) {
        for other in self.hosts.all().filter(|other| *other != host) {
            change(host.address(), other.address());
            change(other.address(), host.address());
        }
    }

    /// Ends all faults. Each node except the survivor stays dead with this probability.
    fn heal(&mut self, dice: &mut Dice, survivor: usize, dead_ppm: u64) {
        tracing::info!("everything is healed");
        self.bury();
        world_latency(false);
        links::mend_all();
        for host in self.hosts.all().collect::<Vec<_>>() {
            self.hosts.resume(host);
            let stays_dead = matches!(host, Host::Node(number) if number != survivor) && dice.chance(dead_ppm);
            if stays_dead {
                self.hosts.kill(host);
            } else {
                self.hosts.start(host);
            }
        }
    }

    /// Waits until a condition holds and stays true, with hardly any new connections.
    async fn calm(&mut self, within: Duration, is_so: impl Fn(&Self) -> Result<(), String>) -> Result<(), String> {
        let until = now() + within;
        let mut since: Option<(Instant, u64)> = None;
        loop {
            self.bury();
            match (is_so(self), since) {
                (Ok(()), Some((since, calls))) if since.elapsed() >= CALM_FOR => {
                    let calls = links::made() - calls;
                    return if calls <= CALLS_IN_CALM {
                        Ok(())
                    } else {
                        Err(format!("{calls} connections without a reason"))
                    };
                }
                (Ok(()), _) => since = since.or_else(|| Some((now(), links::made()))),
                (Err(_), _) if now() < until => since = None,
                (Err(why), _) => return Err(format!("{} s after healing: {why}", within.as_secs())),
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// The latency of a message.
fn world_latency(slow: bool) {
    let latency = if slow { millis(50)..millis(1_500) } else { Duration::from_micros(100)..millis(3) };
    NetSim::current().update_config(|config| config.send_latency = latency);
}

#[expect(clippy::disallowed_methods, reason = "the simulation's own clock")]
fn now() -> Instant {
    Instant::now()
}
