//! The state that the servers of an ensemble agree on, and the connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::jute::Writer;
use crate::request;
use crate::tree::{Change, Stamp, Tree};
use crate::watches::{Event, Watches};

/// The configuration of an ensemble.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The number of servers.
    pub servers: usize,
    /// `tickTime`: sessions are granted between 2 and 20 of them, and expire at multiples of it.
    pub tick: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { servers: 1, tick: Duration::from_secs(2) }
    }
}

/// An ensemble. Clones share their state.
#[derive(Clone)]
pub struct Ensemble {
    pub(crate) settings: Settings,
    state: Arc<Mutex<State>>,
}

/// The xid of an event.
const EVENT: i32 = -1;
/// The interval at which empty containers are deleted (`znode.container.checkIntervalMs`).
const CONTAINERS_EVERY: Duration = Duration::from_secs(60);

pub(crate) struct State {
    pub(crate) tree: Tree,
    pub(crate) zxid: i64,
    sessions: BTreeMap<i64, Session>,
    connections: BTreeMap<u64, Connection>,
    /// The running servers, each with the number of its run.
    up: BTreeMap<usize, u64>,
    runs_ever: u64,
    started: Instant,
    sessions_ever: i64,
    connections_ever: u64,
    containers_at: Instant,
}

struct Session {
    timeout: Duration,
    password: [u8; 16],
    expires: Instant,
    /// Its connection, if it is connected.
    connection: Option<u64>,
}

pub(crate) struct Connection {
    /// The run of the server that serves it.
    run: u64,
    session: i64,
    pub(crate) watches: Watches,
    /// The messages to the client. The connection ends when this is dropped.
    out: UnboundedSender<Vec<u8>>,
}

/// The first message of a client.
pub(crate) struct Greeting {
    pub(crate) zxid: i64,
    pub(crate) timeout: Duration,
    pub(crate) session: i64,
    pub(crate) password: Vec<u8>,
}

/// The reaction to a new client.
pub(crate) enum Reception {
    /// It is accepted, and receives `welcome`.
    In { connection: u64, outbox: UnboundedReceiver<Vec<u8>>, welcome: Vec<u8> },
    /// Its session has expired, and it is told so.
    Out(Vec<u8>),
    /// It is disconnected without an answer.
    Rejected,
}

impl Ensemble {
    /// An ensemble with an empty tree and no running server.
    pub fn new(settings: Settings) -> Self {
        let now = now();
        let state = State {
            tree: Tree::new(),
            zxid: 0,
            sessions: BTreeMap::new(),
            connections: BTreeMap::new(),
            up: BTreeMap::new(),
            runs_ever: 0,
            started: now,
            sessions_ever: 0,
            connections_ever: 0,
            containers_at: now + CONTAINERS_EVERY,
        };
        Self { settings, state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_quorum(&self, state: &State) -> bool {
        state.up.len() * 2 > self.settings.servers
    }

    /// The ephemeral nodes below a path, sorted, each with its session and its data.
    pub fn ephemerals(&self, below: &str) -> Vec<(String, i64, Vec<u8>)> {
        let state = self.state();
        let nodes = state.tree.nodes().filter(|(path, node)| node.owner > 0 && path.starts_with(below));
        nodes.map(|(path, node)| (path.clone(), node.owner, node.data.clone())).collect()
    }

    /// The living sessions.
    pub fn sessions(&self) -> Vec<i64> {
        self.state().sessions.keys().copied().collect()
    }

    /// Ends a session by force.
    pub fn expire(&self, session: i64) {
        self.state().end(session, "ended by force");
    }

    /// Starts a server. Returns the number of its run.
    pub(crate) fn rise(&self, server: usize) -> u64 {
        let mut state = self.state();
        let before = self.has_quorum(&state);
        state.runs_ever += 1;
        let run = state.runs_ever;
        state.up.insert(server, run);
        if !before && self.has_quorum(&state) {
            // A new leader gives every session its full timeout.
            let all: Vec<_> = state.sessions.keys().copied().collect();
            for session in all {
                self.touch(&mut state, session);
            }
            tracing::debug!(server, "ZooKeeper has a quorum");
        }
        run
    }

    /// Ends a run of a server with its connections. Without a quorum, the other servers disconnect their clients.
    pub(crate) fn sink(&self, run: u64) {
        let mut state = self.state();
        // The next run of the same server may have begun.
        state.up.retain(|_, current| *current != run);
        let whole = !self.has_quorum(&state);
        if whole {
            tracing::debug!("ZooKeeper has no quorum");
        }
        let lost: Vec<_> = state.connections.iter().filter(|(_, c)| whole || c.run == run).map(|(id, _)| *id).collect();
        for connection in lost {
            state.detach(connection);
        }
    }

    /// Accepts or rejects a client.
    pub(crate) fn attach(&self, run: u64, greeting: &Greeting) -> Reception {
        let mut state = self.state();
        // A server rejects a client that has seen later transactions than it has.
        if !self.has_quorum(&state) || greeting.zxid > state.zxid {
            return Reception::Rejected;
        }
        let id = match greeting.session {
            0 => {
                state.sessions_ever += 1;
                state.zxid += 1;
                let id = (1 << 56) + state.sessions_ever;
                let tick = self.settings.tick;
                let timeout = greeting.timeout.clamp(tick * 2, tick * 20);
                let password = password(id);
                let expires = now();
                state.sessions.insert(id, Session { timeout, password, expires, connection: None });
                tracing::debug!(session = id, ?timeout, "ZooKeeper session begins");
                id
            }
            id => id,
        };
        let Some(session) = state.sessions.get(&id) else {
            return Reception::Out(welcome(Duration::ZERO, 0, &[0; 16]));
        };
        if greeting.session != 0 && session.password[..] != greeting.password {
            return Reception::Out(welcome(Duration::ZERO, 0, &[0; 16]));
        }
        let (timeout, password, before) = (session.timeout, session.password, session.connection);
        if let Some(before) = before {
            state.detach(before);
        }
        state.connections_ever += 1;
        let connection = state.connections_ever;
        let (out, outbox) = unbounded_channel();
        state.connections.insert(connection, Connection { run, session: id, watches: Watches::default(), out });
        if let Some(session) = state.sessions.get_mut(&id) {
            session.connection = Some(connection);
        }
        self.touch(&mut state, id);
        Reception::In { connection, outbox, welcome: welcome(timeout, id, &password) }
    }

    /// Answers a request of a connection. Returns false if the connection ends.
    pub(crate) fn handle(&self, connection: u64, frame: &[u8]) -> bool {
        let mut state = self.state();
        let Some(session) = state.connections.get(&connection).map(|c| c.session) else { return false };
        self.touch(&mut state, session);
        request::handle(&mut state, connection, session, frame)
    }

    /// Ends a connection.
    pub(crate) fn detach(&self, connection: u64) {
        self.state().detach(connection);
    }

    /// Ends the sessions whose timeout has passed, and occasionally deletes empty containers.
    pub(crate) fn tick(&self) {
        let now = now();
        let mut state = self.state();
        if !self.has_quorum(&state) {
            return;
        }
        let over: Vec<_> =
            state.sessions.iter().filter(|(_, session)| session.expires <= now).map(|(id, _)| *id).collect();
        for session in over {
            state.end(session, "expired");
        }
        if state.containers_at <= now {
            state.containers_at = now + CONTAINERS_EVERY;
            for path in state.tree.empty_containers() {
                let at = state.stamp();
                let mut changes = Vec::new();
                // It had no child a moment ago, under the same lock.
                let _ = state.tree.delete(&path, -1, at, &mut changes);
                state.tell(&changes);
            }
        }
    }

    /// Records a sign of life: the session lasts for its timeout, rounded up to a tick.
    fn touch(&self, state: &mut State, session: i64) {
        let started = state.started;
        if let Some(session) = state.sessions.get_mut(&session) {
            let ticks = (now() + session.timeout - started).as_nanos() / self.settings.tick.as_nanos() + 1;
            session.expires = started + self.settings.tick * u32::try_from(ticks).unwrap_or(u32::MAX);
        }
    }
}

impl State {
    /// The next transaction.
    pub(crate) fn stamp(&mut self) -> Stamp {
        self.zxid += 1;
        Stamp { zxid: self.zxid, wall_ms: wall_ms() }
    }

    /// Notifies all watchers. A connection receives the notification before any later reply.
    pub(crate) fn tell(&mut self, changes: &[Change]) {
        for change in changes {
            for connection in self.connections.values_mut() {
                if let Some(event) = connection.watches.fire(change) {
                    connection.send(event_frame(&event));
                }
            }
        }
    }

    pub(crate) fn connection(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections.get_mut(&id)
    }

    /// The tree, and the connection with this number.
    pub(crate) fn view(&mut self, connection: u64) -> (&Tree, Option<&mut Connection>) {
        (&self.tree, self.connections.get_mut(&connection))
    }

    fn detach(&mut self, connection: u64) {
        if let Some(gone) = self.connections.remove(&connection)
            && let Some(session) = self.sessions.get_mut(&gone.session)
        {
            session.connection = session.connection.filter(|current| *current != connection);
        }
    }

    /// Ends a session: its ephemeral nodes disappear, and its connection is closed.
    pub(crate) fn end(&mut self, session: i64, why: &'static str) {
        let Some(ended) = self.sessions.remove(&session) else { return };
        tracing::debug!(session, why, "ZooKeeper session ends");
        let at = self.stamp();
        let mut changes = Vec::new();
        for path in self.tree.ephemerals(session) {
            // They have no children.
            let _ = self.tree.delete(&path, -1, at, &mut changes);
        }
        self.tell(&changes);
        if let Some(connection) = ended.connection {
            self.connections.remove(&connection);
        }
    }
}

impl Connection {
    pub(crate) fn send(&self, frame: Vec<u8>) {
        // A connection that has just ended is detached soon.
        let _ = self.out.send(frame);
    }

    pub(crate) fn tell(&self, events: &[Event]) {
        for event in events {
            self.send(event_frame(event));
        }
    }
}

fn event_frame(event: &Event) -> Vec<u8> {
    const CONNECTED: i32 = 3;
    let mut frame = Writer::default();
    frame.i32(EVENT).i64(-1).i32(0);
    frame.i32(event.kind).i32(CONNECTED).buffer(event.path.as_bytes());
    frame.into_frame()
}

fn welcome(timeout: Duration, session: i64, password: &[u8; 16]) -> Vec<u8> {
    let mut frame = Writer::default();
    frame.i32(0).i32(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)).i64(session);
    frame.buffer(password).bool(false);
    frame.into_frame()
}

/// The session's password. It is predictable, because no client here guesses.
fn password(session: i64) -> [u8; 16] {
    let mixed = u128::from(session.unsigned_abs()).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    mixed.to_be_bytes()
}

#[expect(clippy::disallowed_methods, reason = "the clock of the servers")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the clock of the servers")]
fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
