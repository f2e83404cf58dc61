//! Discovery through ZooKeeper, with Kylin's paths and payloads.
//!
//! A node creates an ephemeral znode and watches the directories in which all other nodes do the same. Curator and Spring Cloud
//! clients see the same registrations and are seen. The background work is in `worker`, the node's entry in `registration`, the
//! reading in `mirror`.
//!
//! Servers from version 3.5 on are supported; features that they lack are replaced.
//!
//! The client library is hidden behind this module: none of its types is public.

mod backoff;
mod config;
mod instance;
mod layout;
mod link;
mod mirror;
mod registration;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

pub use config::{Acl, Auth, Permissions, ZooKeeperConfig};
pub use layout::Layout;

use crate::clock;
use crate::error::Error;
use crate::health::Health;
use crate::peer::{Announcement, Peer, Peers, Role};
use crate::{BoxFuture, Discovery};
use worker::Worker;

/// Parses a registration of any writer; `role` is the role of its directory.
///
/// # Errors
/// Why it is unusable.
pub fn parse_registration(node_name: &str, role: Option<Role>, data: &[u8]) -> Result<Peer, String> {
    instance::read(node_name, role, data)
}

/// The longest wait of a caller for a withdrawal.
const PATIENCE: Duration = Duration::from_secs(3);

/// The requested registration.
#[derive(Clone, Debug, Default)]
struct Wish {
    wanted: Option<Arc<Wanted>>,
    /// Counts the requests.
    revision: u64,
    /// If set, discovery ends.
    stop: bool,
}

#[derive(Debug)]
struct Wanted {
    announcement: Announcement,
    /// Wall time of the request, for display; the same in all sessions.
    registered_at_ms: i64,
}

/// Discovery through ZooKeeper. Dropping it ends the session in the background.
#[derive(Debug)]
pub struct ZooKeeperDiscovery {
    wish: watch::Sender<Wish>,
    peers: watch::Receiver<Arc<Peers>>,
    health: Arc<watch::Sender<Health>>,
    settled: watch::Receiver<u64>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

impl ZooKeeperDiscovery {
    /// Starts connecting and returns at once.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: ZooKeeperConfig) -> Self {
        let (wish, wishes) = watch::channel(Wish::default());
        let (peers_out, peers) = watch::channel(Arc::new(Peers::default()));
        let starting = Health::Off.after(Some("ZooKeeper has not been reached yet".into()));
        let health = Arc::new(watch::Sender::new(starting));
        let (settled_out, settled) = watch::channel(0);
        let (_, seed) = Uuid::new_v4().as_u64_pair();
        let worker = Worker::new(Arc::new(config), seed, wishes, peers_out, health.clone(), settled_out);
        let worker = Mutex::new(Some(tokio::spawn(worker.run())));
        ZooKeeperDiscovery { wish, peers, health, settled, worker }
    }

    /// Replaces the request and returns its number.
    fn wish_for(&self, announcement: Option<Announcement>, stop: bool) -> Result<u64, Error> {
        let mut revision = Err(Error::Stopped);
        self.wish.send_if_modified(|wish| {
            if wish.stop {
                return false;
            }
            wish.revision += 1;
            wish.stop = stop;
            wish.wanted = announcement.map(|announcement| {
                let registered_at_ms = clock::now_for_people_ms();
                Arc::new(Wanted { announcement, registered_at_ms })
            });
            revision = Ok(wish.revision);
            true
        });
        revision
    }
}

impl Discovery for ZooKeeperDiscovery {
    fn peers(&self) -> watch::Receiver<Arc<Peers>> {
        self.peers.clone()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn announce(&self, announcement: Announcement) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            announcement.validate()?;
            self.wish_for(Some(announcement), false).map(|_| ())
        })
    }

    fn withdraw(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            let revision = self.wish_for(None, false)?;
            let mut settled = self.settled.clone();
            match timeout(PATIENCE, settled.wait_for(|settled| *settled >= revision)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) => Err(Error::Stopped),
                Err(_) => Err(Error::Unconfirmed(PATIENCE)),
            }
        })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            _ = self.wish_for(None, true);
            let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(mut worker) = worker else { return };
            if timeout(PATIENCE, &mut worker).await.is_err() {
                worker.abort();
                _ = worker.await;
                self.health.send_replace(Health::Off);
            }
        })
    }
}
