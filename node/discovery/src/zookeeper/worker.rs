//! The background work: one session after the other, and the same pass repeated within each session.
//!
//! A pass makes the registration equal to the request, reads what is marked, publishes the list and reports the health. It runs
//! after every event: a watch, a new request, a reconnection, a timer. A pass does not depend on which event it was.
//!
//! The client reconnects on its own while a session lasts, with growing waits. After a short time the worker drops it and starts
//! a new session. A session is needed only for its entry, and the new session takes the entry over without a gap.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use zookeeper_client::{Error as ZkError, SessionState};

use super::Wish;
use super::backoff::Backoff;
use super::config::ZooKeeperConfig;
use super::link::Link;
use super::mirror::Mirror;
use super::registration::{Registration, Trouble};
use crate::clock;
use crate::health::Health;
use crate::peer::Peers;

/// The interval at which everything is read again without an event, at least.
const REREAD_EVERY: Duration = Duration::from_secs(60);
/// How much this interval grows per peer: a node reads at most one entry a second on average.
const REREAD_PER_PEER: Duration = Duration::from_secs(1);
/// The minimum time between reads caused by watches, per peer. When many nodes start at once, each must not list all others once
/// per node.
const SPACE_PER_PEER: Duration = Duration::from_millis(1);
const SPACE_MAX: Duration = Duration::from_secs(1);
/// The longest time without a connection before a new session is started.
const APART_MAX: Duration = Duration::from_secs(5);

/// The worker and its state across sessions.
pub(super) struct Worker {
    config: Arc<ZooKeeperConfig>,
    wish: watch::Receiver<Wish>,
    peers: watch::Sender<Arc<Peers>>,
    health: Arc<watch::Sender<Health>>,
    /// The latest request that was fulfilled.
    settled: watch::Sender<u64>,
    registration: Registration,
    backoff: Backoff,
    /// Unusable registrations that were reported, with the reason.
    reported: BTreeMap<String, String>,
}

/// Why a session ended.
enum End {
    Stopped,
    Lost(String),
}

impl Worker {
    pub(super) fn new(
        config: Arc<ZooKeeperConfig>,
        seed: u64,
        wish: watch::Receiver<Wish>,
        peers: watch::Sender<Arc<Peers>>,
        health: Arc<watch::Sender<Health>>,
        settled: watch::Sender<u64>,
    ) -> Self {
        Worker {
            registration: Registration::new(config.clone()),
            backoff: Backoff::new(seed),
            reported: BTreeMap::new(),
            config,
            wish,
            peers,
            health,
            settled,
        }
    }

    /// Runs until it is told to stop, or until no handle is left.
    pub(super) async fn run(mut self) {
        loop {
            let config = self.config.clone();
            let opened = self.unless_stopped(async move { Link::open(&config).await }).await;
            let reason = match opened {
                None => break,
                Some(Ok(link)) => match self.serve(link).await {
                    End::Stopped => break,
                    End::Lost(reason) => reason,
                },
                Some(Err(error)) => self.describe(&error),
            };
            self.complain(Some(reason));
            let wait = self.backoff.next();
            if self.unless_stopped(sleep(wait)).await.is_none() {
                break;
            }
        }
        self.health.send_replace(Health::Off);
    }

    /// Waits for something that needs no session; `None` if the worker was told to stop.
    ///
    /// A request to withdraw is fulfilled at once if there cannot be an entry to remove.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut wish = self.wish.clone();
        tokio::pin!(work);
        loop {
            {
                let wish = wish.borrow_and_update();
                if wish.stop {
                    return None;
                }
                if wish.wanted.is_none() && self.registration.is_traceless() {
                    self.settled.send_replace(wish.revision);
                }
            }
            tokio::select! {
                done = &mut work => return Some(done),
                changed = wish.changed() => changed.ok()?,
            }
        }
    }

    /// Serves one session until it is lost.
    async fn serve(&mut self, link: Link) -> End {
        let mut states = link.client().state_watcher();
        let mut wish = self.wish.clone();
        let mut mirror = Mirror::new(self.config.layout.containers(&self.config.base()));
        let mut reconnected = false;
        let mut apart_until: Option<Instant> = None;
        let mut reread_at = clock::now() + self.backoff.stretch(REREAD_EVERY);
        let apart_max = APART_MAX.min(link.client().session_timeout() / 2);
        loop {
            let wished = wish.borrow_and_update().clone();
            let mut retry_at = None;
            if apart_until.is_none() {
                match self.pass(&link, &wished, &mut mirror, &mut reconnected).await {
                    Ok(()) => {
                        self.backoff.reset();
                        self.complain(None);
                        self.settled.send_replace(wished.revision);
                    }
                    Err(trouble) => {
                        let reason = self.explain(&trouble);
                        if is_end_of_session(&trouble) {
                            return End::Lost(reason);
                        }
                        self.complain(Some(reason));
                        retry_at = Some(clock::now() + self.backoff.next());
                    }
                }
            }
            if wished.stop {
                // Without a connection, the session cannot be closed.
                if apart_until.is_none() {
                    link.close().await;
                }
                return End::Stopped;
            }
            let quiet_until = clock::now() + SPACE_MAX.min(self.for_each_peer(SPACE_PER_PEER));
            tokio::select! {
                state = states.changed() => match state {
                    SessionState::Expired => return End::Lost("the session expired".to_owned()),
                    SessionState::AuthFailed => return End::Lost(self.describe(&ZkError::AuthFailed)),
                    SessionState::Closed => return End::Lost("the session was closed".to_owned()),
                    SessionState::Disconnected => {
                        self.complain(Some(self.describe(&ZkError::ConnectionLoss)));
                        apart_until = apart_until.or(Some(clock::now() + apart_max));
                    }
                    SessionState::SyncConnected | SessionState::ConnectedReadOnly => {
                        (reconnected, apart_until) = (true, None);
                    }
                },
                changed = wish.changed() => if changed.is_err() {
                    link.close().await;
                    return End::Stopped;
                },
                () = async {
                    sleep_until(quiet_until).await;
                    mirror.disturbed().await;
                } => {}
                () = at(retry_at) => {}
                () = at(apart_until) => return End::Lost(self.describe(&ZkError::ConnectionLoss)),
                () = sleep_until(reread_at) => {
                    mirror.mark_all();
                    let every = REREAD_EVERY.max(self.for_each_peer(REREAD_PER_PEER));
                    reread_at = clock::now() + self.backoff.stretch(every);
                }
            }
        }
    }

    /// Runs one pass. A problem with the registration does not prevent reading the peers.
    async fn pass(
        &mut self,
        link: &Link,
        wish: &Wish,
        mirror: &mut Mirror,
        reconnected: &mut bool,
    ) -> Result<(), Trouble> {
        if *reconnected {
            mirror.mark_directories();
            self.registration.recognise(link).await?;
            *reconnected = false;
        }
        let mut aligned = self.registration.align(link, wish, mirror).await;
        mirror.refresh(link).await?;
        if !self.registration.is_confirmed_by(mirror) {
            aligned = self.registration.align(link, wish, mirror).await;
            mirror.refresh(link).await?;
            if aligned.is_ok() && !self.registration.is_confirmed_by(mirror) {
                aligned = Err(Trouble::Unsteady);
            }
        }
        self.publish(mirror);
        aligned?;
        self.registration.remove_duplicates(link, wish, mirror).await
    }

    fn for_each_peer(&self, span: Duration) -> Duration {
        span.saturating_mul(u32::try_from(self.peers.borrow().len()).unwrap_or(u32::MAX))
    }

    fn publish(&mut self, mirror: &Mirror) {
        if !mirror.is_whole() {
            return;
        }
        let unreadable = mirror.unreadable();
        for (path, reason) in &unreadable {
            if self.reported.get(path) != Some(reason) {
                tracing::warn!(%path, %reason, "ignoring an unusable registration");
            }
        }
        self.reported = unreadable;
        let read = mirror.peers();
        self.peers.send_if_modified(|published| {
            let changed = **published != read;
            if changed {
                *published = Arc::new(read);
            }
            changed
        });
    }

    /// Publishes the health and logs its changes.
    fn complain(&self, reason: Option<String>) {
        let reason: Option<Arc<str>> = reason.map(Arc::from);
        self.health.send_if_modified(|health| {
            let next = health.after(reason.clone());
            let changed = *health != next;
            if changed {
                match &reason {
                    Some(reason) => tracing::warn!(%reason, "discovery is degraded"),
                    None => tracing::info!("discovery is up"),
                }
                *health = next;
            }
            changed
        });
    }

    fn explain(&self, trouble: &Trouble) -> String {
        match trouble {
            Trouble::ZooKeeper(error) => self.describe(error),
            Trouble::Replaced => "another process has registered under this node's id".to_owned(),
            Trouble::AnotherSession => "the server changed the session".to_owned(),
            Trouble::Unsteady => "the registration kept changing while it was created".to_owned(),
        }
    }

    fn describe(&self, error: &ZkError) -> String {
        let servers = &self.config.servers;
        match error {
            ZkError::NoHosts | ZkError::ConnectionLoss => format!("cannot reach any ZooKeeper server ({servers})"),
            ZkError::Timeout => format!("ZooKeeper does not answer ({servers})"),
            ZkError::AuthFailed => "ZooKeeper rejected kylin.env.zookeeper.zk-auth".to_owned(),
            ZkError::NoAuth => format!("ZooKeeper denied access to {}", self.config.base()),
            other => format!("ZooKeeper: {other}"),
        }
    }
}

fn is_end_of_session(trouble: &Trouble) -> bool {
    matches!(
        trouble,
        Trouble::AnotherSession
            | Trouble::ZooKeeper(
                ZkError::SessionExpired | ZkError::SessionMoved | ZkError::AuthFailed | ZkError::ClientClosed
            )
    )
}

/// Waits until a moment; forever if there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
