//! The process of a Kirin node: the product's shell, links and discovery, put together as its server does it.

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
use kirin_discovery::{
    Announcement, Discovery as _, Layout, Role, ZooKeeperConfig, ZooKeeperDiscovery, ZooKeeperSettings,
};
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
/// The port of its links.
const LINK: u16 = 7071;
/// ZooKeeper's.
pub const ZOOKEEPER: u16 = 2181;
/// The database's.
pub const DATABASE: u16 = 5432;
/// Where this cluster's registrations stand.
pub const CLUSTER: &str = "kylin_sim";

/// How long a node that is told to stop may take to hand over, and then to leave.
const DRAIN: Duration = Duration::from_secs(10);
const FAREWELL: Duration = Duration::from_secs(15);

/// What a node is told when it starts.
#[derive(Clone)]
pub struct Config {
    /// Its number.
    pub number: usize,
    /// How many ZooKeeper servers there are.
    pub zookeepers: usize,
    /// What it asks ZooKeeper for.
    pub session_timeout: Duration,
    /// How its core behaves.
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

    /// Under which number the metastore knows it.
    pub fn node(&self) -> NodeId {
        NodeId(u32::try_from(self.number + 1).expect("a few nodes"))
    }

    fn zookeeper(&self) -> ZooKeeperConfig {
        let servers: Vec<String> =
            (0..self.zookeepers).map(|server| format!("{}:{ZOOKEEPER}", Host::ZooKeeper(server).address())).collect();
        let settings = ZooKeeperSettings {
            connect_string: &servers.join(","),
            session_timeout: self.session_timeout,
            connection_timeout: self.session_timeout / 4,
            ..ZooKeeperSettings::default()
        };
        ZooKeeperConfig::new(&settings, Layout::Kylin5 { unique_id: CLUSTER.to_owned() }).expect("good settings")
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

/// A process that does nothing but be seen.
pub async fn discoverable(config: Config, board: Board) {
    let discovery = ZooKeeperDiscovery::start(config.zookeeper());
    let (stop, mut stopped) = mpsc::unbounded_channel();
    board.put(config.number, Post { peers: discovery.peers(), health: discovery.health(), me: None, stop });
    discovery.announce(config.announcement()).await.expect("a good announcement");
    stopped.recv().await;
    if let Err(error) = discovery.withdraw().await {
        tracing::debug!(%error, "could not be withdrawn from discovery");
    }
    discovery.stop().await;
}

/// A whole node.
pub async fn whole(config: Config, board: Board, judge: Database) {
    let timing = config.settings.timing;
    let patience = Duration::from_micros(timing.ask_timeout().micros());
    let database = Client::new(SocketAddr::new(Host::Database.address(), DATABASE), patience);
    let http = TcpListener::bind(config.at(HTTP)).await.expect("nobody else listens there");
    let links_at = TcpListener::bind(config.at(LINK)).await.expect("nobody else listens there");
    let card = Card { name: config.name(), link: config.at(LINK).to_string(), http: config.at(HTTP).to_string() };

    let clock = Clock::start();
    let (mind, inputs) = CoreHandle::new();
    let directory = Arc::new(Directory { database: database.clone(), cards: Mutex::default() });
    let discovery = ZooKeeperDiscovery::start(config.zookeeper());
    let cluster = Cluster { secret: Secret::new("known to all nodes"), id: CLUSTER.to_owned() };
    let keys = Entropy::seeded_for_simulation(madsim::rand::random());
    let links = Links::new(cluster, &config.name(), directory.clone(), mind.clone()).with_entropy(keys);
    let outside = Parts { node: config.node(), card, database: database.clone(), attempts: Attempts::new(judge) };
    let seed = madsim::rand::random();
    let (shell, me) = Shell::new(config.settings.clone(), seed, clock, outside, links.clone(), mind.clone(), inputs);
    tokio::spawn(links.serve(links_at));
    tokio::spawn(send_discovery_hints(discovery.peers(), directory, mind.clone()));
    tokio::spawn(serve_users(http, config.node(), database, mind.clone()));
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
        tracing::debug!(%error, "could not be withdrawn from discovery");
    }
    mind.tell(Event::DrainWished { within: span(DRAIN), leave: true });
    tokio::select! {
        biased;
        _ = &mut shell => {}
        () = sleep(DRAIN + FAREWELL) => tracing::warn!("the metastore did not hear the farewell"),
    }
    discovery.stop().await;
}

async fn announce(
    discovery: Arc<ZooKeeperDiscovery>,
    announcement: Announcement,
    mut me: watch::Receiver<Option<Member>>,
) {
    // Who is not a member yet can't serve yet.
    if me.wait_for(Option::is_some).await.is_ok()
        && let Err(error) = discovery.announce(announcement).await
    {
        tracing::debug!(%error, "this node can't be announced");
    }
}

fn span(duration: Duration) -> Span {
    Span::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

/// Carries out the orders of one core.
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

    fn begin(&self, mind: &CoreHandle, _by: Member, fence: Fence, step: u32) {
        self.attempts.begin(mind, fence, step);
    }

    fn proceed(&self, fence: Fence, step: u32) {
        self.attempts.proceed(fence, step);
    }

    fn cancel(&self, mind: &CoreHandle, fence: Fence, why: Why) {
        tracing::debug!(?fence, ?why, "cancelled");
        self.attempts.cancel(mind, fence);
    }

    fn lead(&self, target: Target, epoch: Epoch) {
        tracing::debug!(?target, ?epoch, "leads");
    }

    fn resign(&self, target: Target) {
        tracing::debug!(?target, "does not lead any more");
    }

    fn note(&self, by: Option<Member>, note: &Note) {
        tracing::debug!(?by, ?note, "note");
    }

    fn record(&mut self, _core: &kirin_core::Node, _now: Time, _event: &Event) {}
}

/// Who is where; a cache like the production one.
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

/// What a user asks of a node.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Call {
    /// Accept a job.
    Submit(Submission),
    /// Do something to a job.
    Act(JobId, Action),
}

/// A job that is to be done.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Submission {
    /// For which project.
    pub project: ProjectId,
    /// How urgent.
    pub priority: Priority,
    /// Whether it has side effects that the metastore can't refuse.
    pub external: bool,
    /// The idempotency key.
    pub key: u64,
}

/// A node's API, in place of HTTP. Its answer is which job it is and in which state; none if that can't be told.
async fn serve_users(listener: TcpListener, node: NodeId, database: Client, mind: CoreHandle) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (database, mind) = (database.clone(), mind.clone());
        tokio::spawn(async move {
            let answer = match wire::receive(&mut stream).await {
                Ok(Call::Submit(submission)) => accept(submission, node, &database, &mind).await,
                Ok(Call::Act(job, action)) => act_on(job, action, node, &database, &mind).await,
                Err(_) => return,
            };
            // The user may not wait any more.
            let _ = wire::send(&mut stream, &answer).await;
        });
    }
}

type State = Option<(JobId, JobState)>;

/// As the production API does it.
async fn accept(submission: Submission, node: NodeId, database: &Client, mind: &CoreHandle) -> State {
    let Submission { project, priority, external, key } = submission;
    let placed = mind.look(move |node, _| node.place(key, kirin_core::Capabilities::NONE)).await.flatten();
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
        mind.tell(Event::Told(vec![row]));
    }
    Some((row.id, row.state))
}

/// As the production API does it: an action that the job's state does not allow changes nothing.
async fn act_on(job: JobId, action: Action, node: NodeId, database: &Client, mind: &CoreHandle) -> State {
    loop {
        let read = database.ask(node, Ask::ReadJobs(vec![job]), Card::default(), None).await;
        let Answer::Jobs(rows) = read else { return None };
        let row = *rows.first()?;
        let Ok(state) = row.state.after(JobEvent::Act(action)) else { return Some((job, row.state)) };
        let ask = Ask::Act { fence: row.fence(), state: row.state, action };
        match database.ask(node, ask, Card::default(), None).await {
            Answer::Done => {
                mind.tell(Event::Told(vec![JobRow { state, ..row }]));
                return Some((job, state));
            }
            // It has changed meanwhile.
            Answer::Refused => {}
            _ => return None,
        }
    }
}

/// Asks something of one node.
///
/// # Errors
/// If there is no answer.
pub async fn call(to: usize, call: &Call) -> std::io::Result<State> {
    let mut stream = TcpStream::connect(SocketAddr::new(Host::Node(to).address(), HTTP)).await?;
    wire::send(&mut stream, call).await?;
    wire::receive(&mut stream).await
}
