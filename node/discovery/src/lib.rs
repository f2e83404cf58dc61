//! How Kirin nodes find each other: ZooKeeper, the metastore, or a static list.
//!
//! Discovery is *advice*. It tells a node whom it could talk to; it decides nothing. A peer that vanishes from the list is
//! a hint to look again, never evidence that it died: only the metastore says who is a member and who holds what. So nothing
//! here blocks a node. Starting returns at once, also when ZooKeeper is out of reach; the work goes on in the background for
//! ever, and [`Health`] tells how it stands.
//!
//! Three sources answer one trait, [`Discovery`]:
//!
//! - [`ZooKeeperDiscovery`]: Kylin's own paths and payload, so that a Curator or Spring client sees our nodes and we see theirs;
//! - [`MetastoreDiscovery`]: fed with the members that a node reads from the metastore anyway;
//! - [`StaticDiscovery`]: the list in `kylin.server.cluster-servers`.
//!
//! Invariants:
//!
//! - *levels, not edges*: a published list is always the result of a read; events only cause reads. A lost, late or repeated
//!   event costs time, not truth;
//! - *wishes, not calls*: [`Discovery::announce`] states what should be registered; the background work makes it so, again and
//!   again, after every lost session;
//! - a list is sorted and holds one entry per address.
//!
//! It knows nothing about jobs, leadership, epochs or the store, and no decision in it reads a wall clock.

mod address;
mod clock;
mod error;
mod health;
mod metastore;
mod peer;
mod static_list;
mod zookeeper;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

pub use address::{Address, advertised};
pub use error::Error;
pub use health::Health;
pub use metastore::{Feeder, MetastoreDiscovery};
pub use peer::{Announcement, Peer, Peers, Role, Source};
pub use static_list::{StaticDiscovery, StaticServer, parse_cluster_servers, parse_cluster_servers_with_mode};
pub use zookeeper::{Layout, ZooKeeperConfig, ZooKeeperDiscovery, ZooKeeperSettings, parse_registration, unique_id};

/// Answers with a value later; boxed, so that [`Discovery`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A source of peers, and the place where this node makes itself known.
///
/// Every implementation works in the background from the moment it exists. None of the methods waits for a server for longer
/// than a few seconds, and only [`withdraw`](Discovery::withdraw) and [`stop`](Discovery::stop) wait at all.
pub trait Discovery: Send + Sync {
    /// Watches the peers as they were read last; this node is among them once it is registered.
    ///
    /// The list survives an outage of its source: it is then as old as [`Health::Degraded`] says.
    fn peers(&self) -> watch::Receiver<Arc<Peers>>;

    /// Watches how discovery itself stands.
    fn health(&self) -> watch::Receiver<Health>;

    /// States that this node should be registered as said, from here on, replacing an earlier wish.
    ///
    /// Answers when the wish is noted, not when it came true: see [`health`](Discovery::health).
    fn announce(&self, announcement: Announcement) -> BoxFuture<'_, Result<(), Error>>;

    /// States that this node should not be registered, and waits a moment for that to become true.
    ///
    /// An error means that the entry may outlive this call, until the session that holds it ends. The wish stands.
    fn withdraw(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Withdraws, ends the session and all background work. Idempotent; the health is [`Health::Off`] afterwards.
    fn stop(&self) -> BoxFuture<'_, ()>;
}

/// A node picks its source when it starts, so the trait must stay usable as an object.
const _: fn(&dyn Discovery) = |_| {};
