//! How Kirin nodes find each other: ZooKeeper, the metastore, or a static list.
//!
//! Discovery is *advice*. It lists the nodes that a node can contact, and decides nothing. A peer that disappears from the
//! list is a hint to read again. It is not evidence of death: only the metastore says which nodes are members and what they
//! hold. So nothing here blocks a node. Starting returns at once, also when ZooKeeper is unreachable. The work continues in
//! the background, and [`Health`] reports its state.
//!
//! Three sources implement one trait, [`Discovery`]:
//!
//! - [`ZooKeeperDiscovery`]: Kylin's paths and payload, so that Curator and Spring clients see our nodes and we see theirs;
//! - [`MetastoreDiscovery`]: fed with the members that a node reads from the metastore in any case;
//! - [`StaticDiscovery`]: the list in `kylin.server.cluster-servers`.
//!
//! Invariants:
//!
//! - *levels, not edges*: a published list is always the result of a read; events only cause reads. A lost, late or repeated
//!   event costs time, not correctness;
//! - *desired state, not calls*: [`Discovery::announce`] states what should be registered. The background work establishes it,
//!   and restores it after every lost session;
//! - a list is sorted and has one entry per address.
//!
//! This crate knows nothing about jobs, leadership, epochs or the store. No decision in it reads a wall clock.

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

pub use error::Error;
pub use health::Health;
pub use metastore::{Feeder, MetastoreDiscovery};
pub use peer::{Announcement, Peer, Peers, Role, Source};
pub use static_list::{StaticDiscovery, StaticServer};
pub use zookeeper::{Acl, Auth, Layout, Permissions, ZooKeeperConfig, ZooKeeperDiscovery, parse_registration};

/// A boxed future, so that [`Discovery`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A source of peers, in which this node registers itself.
///
/// Every implementation works in the background from its creation on. Only [`withdraw`](Discovery::withdraw) and
/// [`stop`](Discovery::stop) wait for a server, and for a few seconds at most.
pub trait Discovery: Send + Sync {
    /// Watches the list of peers as it was last read. It contains this node once it is registered.
    ///
    /// During an outage of the source the list stays as it was; [`Health::Degraded`] says since when.
    fn peers(&self) -> watch::Receiver<Arc<Peers>>;

    /// Watches the health of discovery.
    fn health(&self) -> watch::Receiver<Health>;

    /// Requests that this node be registered as announced. Replaces an earlier request.
    ///
    /// Completes when the request is accepted, not when it is fulfilled: see [`health`](Discovery::health).
    fn announce(&self, announcement: Announcement) -> BoxFuture<'_, Result<(), Error>>;

    /// Requests that this node not be registered, and waits briefly for that.
    ///
    /// An error means that the entry may remain until its session ends. The request stays in force.
    fn withdraw(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Withdraws, and ends the session and all background work. Idempotent. The health is [`Health::Off`] afterwards.
    fn stop(&self) -> BoxFuture<'_, ()>;
}

/// A node chooses its source at start, so the trait must stay usable as an object.
const _: fn(&dyn Discovery) = |_| {};
