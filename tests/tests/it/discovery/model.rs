//! The simulator's ZooKeeper model ([`kirin_sim::zookeeper`]) agrees with a real ensemble.
//!
//! The test runs random histories of three sessions, each on another server: open, create, delete, list, watch,
//! disconnect, reconnect, close, expire. After every request, it compares the answers and the fired watches.
//! `PROPTEST_CASES` sets the number of histories. Failing histories are shrunk.
//!
//! Servers of an ensemble lag behind each other, which the model does not describe. So each server catches up (`sync`)
//! before a read. This also proves "no event" without waiting: an event arrives before every answer that was given
//! after it. A second connection expires a session by taking it over and closing it. The expiry time of unreachable
//! sessions is compared once, on a clock.
//!
//! Not compared: data, versions, sequences, permissions, watches of nodes other than the directory, a lost quorum.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kirin_sim::zookeeper::{Answer, Ask, ZooKeeper};
use kirin_tests::servers::proxy::{TcpProxy, Weather};
use kirin_tests::servers::zookeeper::Ensemble;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};
use tokio::time::{Instant, timeout};
use zookeeper_client::{Acls, Client, CreateMode, Error, EventType, SessionState, StateWatcher, WatchedEvent};

use super::PATIENCE;

/// Long enough that no session expires by itself on a busy machine.
const LONG: Duration = Duration::from_secs(60);
const SESSIONS: usize = 3;

/// A session and its watches.
struct Session {
    wire: TcpProxy,
    client: Client,
    states: StateWatcher,
    watches: Vec<BoxFuture<'static, WatchedEvent>>,
}

/// A step of a history: the session, the request, and whether an ending session is expired by force.
type Step = (usize, Ask<u8>, bool);

/// A broken rule of the model, which the comparison must detect.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    /// A watch fires for every change.
    WatchStays,
    /// Events during a disconnection are lost.
    MissedIsLost,
    /// The nodes of an ended session remain.
    NodesStay,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0..3_u8;
    let ask = prop_oneof![
        3 => Just(Ask::Open),
        6 => name().prop_map(Ask::Create),
        3 => name().prop_map(Ask::Delete),
        1 => Just(Ask::List { watch: false }),
        6 => Just(Ask::List { watch: true }),
        3 => Just(Ask::Disconnect),
        3 => Just(Ask::Reconnect),
        1 => Just(Ask::End),
    ];
    // Two sessions exist from the start.
    let open = |number| (number, Ask::Open, false);
    proptest::collection::vec((0..SESSIONS, ask, any::<bool>()), 5..40)
        .prop_map(move |drawn| [open(0), open(1)].into_iter().chain(drawn).collect())
}

/// The model's answer, optionally with a broken rule.
fn expected(
    model: &mut ZooKeeper<usize, u8>,
    by: usize,
    ask: &Ask<u8>,
    wrong: Option<Wrong>,
) -> (Answer<u8>, Vec<usize>) {
    match (wrong, ask) {
        (Some(Wrong::NodesStay), Ask::End) => model.ask(by, &Ask::Disconnect),
        (Some(Wrong::MissedIsLost), Ask::Reconnect) => (model.ask(by, ask).0, Vec::new()),
        (Some(Wrong::WatchStays), _) => {
            let (answer, told) = model.ask(by, ask);
            for session in &told {
                model.ask(*session, &Ask::List { watch: true });
            }
            (answer, told)
        }
        _ => model.ask(by, ask),
    }
}

async fn until_state(states: &mut StateWatcher, wanted: SessionState) {
    let reached = async { while states.peek_state() != wanted && states.changed().await != wanted {} };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("the session is {} for long", states.peek_state()));
}

/// Closes a client and its session.
async fn close(client: Client) {
    let mut states = client.state_watcher();
    drop(client);
    until_state(&mut states, SessionState::Closed).await;
}

impl Session {
    fn is_connected(&self) -> bool {
        self.states.peek_state() == SessionState::SyncConnected
    }

    async fn open(zk: &Ensemble, number: usize) -> Self {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, zk.port(number)));
        let wire = TcpProxy::to(server).await.expect("a port");
        let connector = Client::connector().with_session_timeout(LONG).with_connection_timeout(LONG);
        let client = connector.connect(&wire.address().to_string()).await.expect("a session");
        Self { wire, states: client.state_watcher(), client, watches: Vec::new() }
    }

    /// Sends a request on a connected session, except open and end.
    async fn ask(&mut self, directory: &str, ask: &Ask<u8>) -> Answer<u8> {
        let path = |name| format!("{directory}/{name}");
        match ask {
            Ask::Create(name) => {
                let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
                match self.client.create(&path(name), b"", &ephemeral).await {
                    Ok(_) => Answer::Done,
                    Err(Error::NodeExists) => Answer::Exists,
                    Err(error) => panic!("{error}"),
                }
            }
            Ask::Delete(name) => match self.client.delete(&path(name), None).await {
                Ok(()) => Answer::Done,
                Err(Error::NoNode) => Answer::Missing,
                Err(error) => panic!("{error}"),
            },
            Ask::List { watch } => {
                let mut names = if *watch {
                    let (names, watcher) = self.client.list_and_watch_children(directory).await.expect("a list");
                    self.watches.push(watcher.changed().boxed());
                    names
                } else {
                    self.client.list_children(directory).await.expect("a list")
                };
                names.sort_unstable();
                Answer::Listed(names.iter().map(|name| name.parse().expect("a name of ours")).collect())
            }
            Ask::Disconnect => {
                self.wire.set(Weather::BlackHole);
                self.wire.cut();
                until_state(&mut self.states, SessionState::Disconnected).await;
                Answer::Done
            }
            Ask::Reconnect => {
                self.wire.set(Weather::Fair);
                until_state(&mut self.states, SessionState::SyncConnected).await;
                Answer::Done
            }
            Ask::Open | Ask::End => unreachable!("handled elsewhere"),
        }
    }

    /// Ends the session: its client closes it, or another connection does and the client finds out when it reconnects.
    async fn end(mut self, zk: &Ensemble, number: usize, by_force: bool) {
        if self.is_connected() && !by_force {
            return close(self.client).await;
        }
        let info = self.client.session().clone();
        let server = format!("127.0.0.1:{}", zk.port(number));
        // Its own client would reconnect.
        if self.is_connected() {
            self.ask("", &Ask::Disconnect).await;
        }
        let connector = Client::connector().with_session(info).with_session_timeout(LONG);
        close(connector.connect(&server).await.expect("the same session")).await;
        // The session does not return.
        self.wire.set(Weather::Fair);
        until_state(&mut self.states, SessionState::Expired).await;
    }
}

/// Sends the same requests to both, and returns the first difference.
async fn tell(zk: &Ensemble, admin: &Client, steps: &[Step], wrong: Option<Wrong>) -> Result<(), String> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let directory = format!("/model-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    admin.mkdir(&directory, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await.expect("a directory");
    let mut model = ZooKeeper::default();
    let mut sessions: BTreeMap<usize, Session> = BTreeMap::new();
    let mut outcome = Ok(());
    for (at, (number, ask, by_force)) in steps.iter().enumerate() {
        let (answer, told) = expected(&mut model, *number, ask, wrong);
        let heard = match (ask, sessions.get_mut(number)) {
            (Ask::Open, None) => {
                sessions.insert(*number, Session::open(zk, *number).await);
                Answer::Done
            }
            (Ask::End, Some(_)) => {
                let session = sessions.remove(number).expect("it is there");
                session.end(zk, *number, *by_force).await;
                Answer::Done
            }
            (Ask::Open, Some(_)) => Answer::Done,
            (Ask::Disconnect, Some(session)) if !session.is_connected() => Answer::Done,
            (Ask::Disconnect | Ask::Reconnect, Some(session)) => session.ask(&directory, ask).await,
            (_, Some(session)) if session.is_connected() => {
                session.client.sync(&directory).await.expect("it catches up");
                session.ask(&directory, ask).await
            }
            _ => Answer::Unheard,
        };
        if heard != answer {
            outcome = Err(format!("step {at}: the model answers {answer:?}, ZooKeeper answers {heard:?}"));
            break;
        }
        let fired = fired(&mut sessions, &directory).await;
        if fired != told {
            outcome = Err(format!("step {at}: the model fires {told:?}, ZooKeeper fires {fired:?}"));
            break;
        }
    }
    for (number, session) in sessions {
        session.end(zk, number, false).await;
    }
    outcome
}

/// The sessions whose watches have fired, with checks of the events.
async fn fired(sessions: &mut BTreeMap<usize, Session>, directory: &str) -> Vec<usize> {
    let mut fired = Vec::new();
    for (number, session) in sessions {
        if session.is_connected() {
            session.client.sync(directory).await.expect("it catches up");
        }
        let before = session.watches.len();
        session.watches.retain_mut(|watch| match watch.now_or_never() {
            None => true,
            Some(event) => {
                assert_eq!(event.event_type, EventType::NodeChildrenChanged, "{event:?}");
                false
            }
        });
        if session.watches.len() < before {
            assert!(session.watches.is_empty(), "one of two watches of one session fired");
            fired.push(*number);
        }
    }
    fired
}

fn cases(usual: u32) -> Config {
    // By default, the cases are the same in each run. `PROPTEST_CASES` requests new ones.
    let (cases, rng_seed) = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => (Config::default().cases, RngSeed::Random),
        None => (usual, RngSeed::Fixed(1)),
    };
    Config { cases, rng_seed, failure_persistence: None, max_shrink_time: 60_000, ..Config::default() }
}

#[test]
fn the_model_agrees_with_zookeeper() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let zk = runtime.block_on(Ensemble::of(3).start()).expect("an ensemble");
    let admin = runtime.block_on(Client::connect(&zk.connect_string())).expect("a session");
    let differ = |config, wrong| {
        TestRunner::new(config)
            .run(&steps(), |steps| runtime.block_on(tell(&zk, &admin, &steps, wrong)).map_err(TestCaseError::fail))
    };
    match differ(cases(24), None) {
        Ok(()) => {}
        Err(TestError::Fail(difference, steps)) => panic!("{difference}\ndrawn was {steps:?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    // The comparison detects each broken rule.
    for wrong in [Wrong::WatchStays, Wrong::MissedIsLost, Wrong::NodesStay] {
        let once = Config { cases: 1000, max_shrink_iters: 0, ..cases(1000) };
        assert!(differ(once, Some(wrong)).is_err(), "{wrong:?} is not detected");
    }
}

#[tokio::test]
async fn an_unreachable_session_expires_after_its_timeout() {
    const SHORT: Duration = Duration::from_secs(2);
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let observer =
        Client::connector().with_session_timeout(LONG).connect(&zk.connect_string()).await.expect("a session");
    let wire = TcpProxy::to(SocketAddr::from((Ipv4Addr::LOCALHOST, zk.port(0)))).await.expect("a port");
    let connector = Client::connector().with_session_timeout(SHORT);
    let client = connector.connect(&wire.address().to_string()).await.expect("a session");
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    client.create("/short", b"", &ephemeral).await.expect("a node");
    let (_, watch) = observer.check_and_watch_stat("/short").await.expect("an answer");
    let cut_at = Instant::now();
    wire.set(Weather::BlackHole);
    wire.cut();
    let event = timeout(PATIENCE, watch.changed()).await.expect("it ends");
    assert_eq!(event.event_type, EventType::NodeDeleted);
    // Its last message was at most a ping interval before the cut, which is less than a fifth of the timeout.
    assert!(cut_at.elapsed() > SHORT.mul_f64(0.8), "it ended after {:?}", cut_at.elapsed());
}
