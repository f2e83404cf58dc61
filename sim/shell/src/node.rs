//! The process of a Kirin node: the product's shell, links and discovery, composed like in its server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kirin_core::ask::{Epoch, Fence, JobId, Priority, ProjectId, Target};
use kirin_core::effect::{Note, Why};
use kirin_core::job::{Action, JobEvent, JobState};
use kirin_core::{Answer, Ask, Event, JobRow, Member, NodeId, Settings, Span, Time};
use kirin_discovery::{Announcement, Discovery as _, Layout, Role, ZooKeeperConfig, ZooKeeperDiscovery};
use kirin_shell::clock::Clock;
use kirin_shell::discovery_hints::Roster;
use kirin_shell::handshake::{Cluster, Entropy};
use kirin_shell::link::{Address, Addresses};
use kirin_shell::report::Report;
use kirin_shell::{CoreHandle, EffectHandler, Links, Secret, Shell, send_discovery_hints};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use uuid::Uuid;

use crate::attempts::Attempts;
use crate::board::{Board, Post};
use crate::database::{Card, Client, Database};
use crate::hosts::Host;
use crate::wire;

/// The port of a node's API, as discovery shows it.
pub const HTTP: u16 = 7070;
/// The port of a node's links.
const LINK: u16 = 7071;
/// The port of ZooKeeper.
pub const ZOOKEEPER: u16 = 2181;
/// The port of the database.
pub const DATABASE: u16 = 5432;
/// The name of this cluster in ZooKeeper.
pub const CLUSTER: &str = "kylin_sim";

/// How long a stopping node may take to hand over, and then to leave.
const DRAIN: Duration = Duration::from_secs(10);
const FAREWELL: Duration = Duration::from_secs(15);

/// The configuration of a node's process.
#[derive(Clone)]
pub struct Config {
    /// The number of the node.
    pub number: usize,
    /// The number of ZooKeeper servers.
    pub zookeepers: usize,
    /// The requested session timeout.
    pub session_timeout: Duration,
    /// The settings of the core.
    pub settings: Settings,
}

impl Config {
    fn host(&self) -> Host {
        Host::Node(self.number)
    }

    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.host().address(), port)
    }

    fn name(&self) -> String {
        format!("node-{}", self.number)
    }

    /// Its number in the metastore.
    pub fn node(&self) -> NodeId {
        NodeId(u32::try_from(self.number + 1).expect("a few nodes"))
    }

    fn zookeeper(&self) -> ZooKeeperConfig {
        let servers: Vec<String> =
            (0..self.zookeepers).map(|server| format!("{}:{ZOOKEEPER}", Host::ZooKeeper(server).address())).collect();
        ZooKeeperConfig {
            session_timeout: self.session_timeout,
            connection_timeout: self.session_timeout / 4,
            ..ZooKeeperConfig::new(servers.join(","), Layout::Kylin5 { unique_id: CLUSTER.to_owned() })
        }
    }

    fn announcement(&self) -> Announcement {
        Announcement {
            role: match self.settings.role {
                kirin_core::Role::All => Role::All,
                kirin_core::Role::Job => Role::Job,
                kirin_core::Role::Query => Role::Query,
            },
            id: Uuid::new_v4(),
            host: self.host().address().to_string(),
            port: HTTP,
            metadata: BTreeMap::from([("instance_status".to_owned(), "UP".to_owned())]),
        }
    }
}

/// A process that only registers in discovery.
pub async fn discoverable(config: Config, board: Board) {
    let discovery = ZooKeeperDiscovery::start(config.zookeeper());
    let (stop, mut stopped) = mpsc::unbounded_channel();
    board.put(config.number, Post { peers: discovery.peers(), health: discovery.health(), me: None, stop });
    discovery.announce(config.announcement()).await.expect("a good announcement");
    stopped.recv().await;
    if let Err(error) = discovery.withdraw().await {
        tracing::debug!(%error, "cannot withdraw from discovery");
    }
    discovery.stop().await;
}

/// A complete node.
pub async fn whole(config: Config, board: Board, judge: Database) {
    let timing = config.settings.timing;
    let patience = Duration::from_micros(timing.ask_timeout().micros());
    let database = Client::new(SocketAddr::new(Host::Database.address(), DATABASE), patience);
    let http = TcpListener::bind(config.at(HTTP)).await.expect("a free port");
    let links_at = TcpListener::bind(config.at(LINK)).await.expect("a free port");
    let card = Card { name: config.name(), link: config.at(LINK).to_string(), http: config.at(HTTP).to_string() };

    let clock = Clock::start();
    let (core, inputs) = CoreHandle::new();
    let directory = Arc::new(Directory { database: database.clone(), cards: Mutex::default() });
    let discovery = ZooKeeperDiscovery::start(config.zookeeper());
    let cluster = Cluster { secret: Secret::new("known to all nodes"), id: CLUSTER.to_owned() };
    let keys = Entropy::seeded_for_simulation(madsim::rand::random());
    let links = Links::new(cluster, &config.name(), directory.clone(), core.clone()).with_entropy(keys);
    let handler = Parts { node: config.node(), card, database: database.clone(), attempts: Attempts::new(judge) };
    let seed = madsim::rand::random();
    let (shell, me) = Shell::new(config.settings.clone(), seed, clock, handler, links.clone(), core.clone(), inputs);
    tokio::spawn(links.serve(links_at));
    tokio::spawn(send_discovery_hints(discovery.peers(), directory, core.clone()));
    tokio::spawn(serve_users(http, config.node(), database, core.clone()));
    let (stop, mut stopped) = mpsc::unbounded_channel();
    let post = Post { peers: discovery.peers(), health: discovery.health(), me: Some(me.clone()), stop };
    board.put(config.number, post);
    let mut shell = tokio::spawn(shell.run());
    let discovery = Arc::new(discovery);
    tokio::spawn(announce(discovery.clone(), config.announcement(), me));

    tokio::select! {
        biased;
        _ = stopped.recv() => {}
        _ = &mut shell => panic!("the node's loop has ended unexpectedly"),
    }
    if let Err(error) = discovery.withdraw().await {
        tracing::debug!(%error, "cannot withdraw from discovery");
    }
    core.tell(Event::DrainWished { within: span(DRAIN), leave: true });
    tokio::select! {
        biased;
        _ = &mut shell => {}
        () = sleep(DRAIN + FAREWELL) => tracing::warn!("timed out recording the departure in the metastore"),
    }
    discovery.stop().await;
}

async fn announce(
    discovery: Arc<ZooKeeperDiscovery>,
    announcement: Announcement,
    mut me: watch::Receiver<Option<Member>>,
) {
    // A node can serve only as a member.
    if me.wait_for(Option::is_some).await.is_ok()
        && let Err(error) = discovery.announce(announcement).await
    {
        tracing::debug!(%error, "cannot announce this node");
    }
}

fn span(duration: Duration) -> Span {
    Span::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

/// Carries out the effects of one core.
struct Parts {
    node: NodeId,
    card: Card,
    database: Client,
    attempts: Attempts,
}

impl EffectHandler for Parts {
    fn ask(&self, ask: Ask, report: Option<Report>) -> BoxFuture<'static, Answer> {
        let report = match report {
            Some(Report::Step(report)) => Some(report.name.clone()),
            Some(Report::End(report)) => report.failure.clone(),
            None => None,
        };
        let (node, card, database) = (self.node, self.card.clone(), self.database.clone());
        async move { database.ask(node, ask, card, report).await }.boxed()
    }

    fn begin(&self, core: &CoreHandle, _by: Member, fence: Fence, step: u32) {
        self.attempts.begin(core, fence, step);
    }

    fn proceed(&self, fence: Fence, step: u32) {
        self.attempts.proceed(fence, step);
    }

    fn cancel(&self, core: &CoreHandle, fence: Fence, why: Why) {
        tracing::debug!(?fence, ?why, "cancelled");
        self.attempts.cancel(core, fence);
    }

    fn lead(&self, target: Target, epoch: Epoch) {
        tracing::debug!(?target, ?epoch, "leads");
    }

    fn resign(&self, target: Target) {
        tracing::debug!(?target, "no longer leads");
    }

    fn note(&self, by: Option<Member>, note: &Note) {
        tracing::debug!(?by, ?note, "note");
    }

    fn record(&mut self, _core: &kirin_core::Node, _now: Time, _event: &Event) {}
}

/// The addresses of members, cached like in production.
struct Directory {
    database: Client,
    cards: Mutex<BTreeMap<Member, Card>>,
}

impl Directory {
    fn known(&self, member: Member) -> Option<Address> {
        let cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        cards.get(&member).map(|card| Address { name: card.name.clone(), at: card.link.clone() })
    }

    async fn refresh(&self) -> Vec<(Member, Card)> {
        let living = self.database.directory().await;
        self.cards.lock().unwrap_or_else(PoisonError::into_inner).extend(living.iter().cloned());
        living
    }
}

impl Addresses for Directory {
    fn find(&self, member: Member) -> BoxFuture<'_, Option<Address>> {
        async move {
            if let Some(known) = self.known(member) {
                return Some(known);
            }
            self.refresh().await;
            self.known(member)
        }
        .boxed()
    }
}

impl Roster for Directory {
    fn living(&self) -> BoxFuture<'_, Vec<(Member, String)>> {
        async { self.refresh().await.into_iter().map(|(member, card)| (member, card.http)).collect() }.boxed()
    }
}

// --- users ---

/// A user's request to a node.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Call {
    /// Accept a job.
    Submit(Submission),
    /// Act on a job.
    Act(JobId, Action),
}

/// A job to run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Submission {
    /// The project.
    pub project: ProjectId,
    /// The priority.
    pub priority: Priority,
    /// Whether it has side effects that the metastore cannot refuse.
    pub external: bool,
    /// The idempotency key.
    pub key: u64,
}

/// A node's API, without HTTP. It answers with the job and its state, or with nothing if these are unknown.
async fn serve_users(listener: TcpListener, node: NodeId, database: Client, core: CoreHandle) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (database, core) = (database.clone(), core.clone());
        tokio::spawn(async move {
            let answer = match wire::receive(&mut stream).await {
                Ok(Call::Submit(submission)) => accept(submission, node, &database, &core).await,
                Ok(Call::Act(job, action)) => act_on(job, action, node, &database, &core).await,
                Err(_) => return,
            };
            // The user may have stopped waiting.
            let _ = wire::send(&mut stream, &answer).await;
        });
    }
}

type State = Option<(JobId, JobState)>;

/// Accepts a job like the production API.
async fn accept(submission: Submission, node: NodeId, database: &Client, core: &CoreHandle) -> State {
    let Submission { project, priority, external, key } = submission;
    let placed = core.look(move |node, _| node.place(key, kirin_core::Capabilities::NONE)).await.flatten();
    let ask = Ask::Submit {
        project,
        priority,
        placed,
        external,
        needs: kirin_core::Capabilities::NONE,
        key: u128::from(key),
    };
    let Answer::Accepted { row, fresh } = database.ask(node, ask, Card::default(), None).await else { return None };
    if fresh {
        core.tell(Event::Told(vec![row]));
    }
    Some((row.id, row.state))
}

/// Acts on a job like the production API. An action that the job's state does not allow has no effect.
async fn act_on(job: JobId, action: Action, node: NodeId, database: &Client, core: &CoreHandle) -> State {
    loop {
        let read = database.ask(node, Ask::ReadJobs(vec![job]), Card::default(), None).await;
        let Answer::Jobs(rows) = read else { return None };
        let row = *rows.first()?;
        let Ok(state) = row.state.after(JobEvent::Act(action)) else { return Some((job, row.state)) };
        let ask = Ask::Act { fence: row.fence(), state: row.state, action };
        match database.ask(node, ask, Card::default(), None).await {
            Answer::Done => {
                core.tell(Event::Told(vec![JobRow { state, ..row }]));
                return Some((job, state));
            }
            // The job has changed meanwhile.
            Answer::Refused => {}
            _ => return None,
        }
    }
}

/// Sends a request to one node.
///
/// # Errors
/// If there is no answer.
pub async fn call(to: usize, call: &Call) -> std::io::Result<State> {
    let mut stream = TcpStream::connect(SocketAddr::new(Host::Node(to).address(), HTTP)).await?;
    wire::send(&mut stream, call).await?;
    wire::receive(&mut stream).await
}
