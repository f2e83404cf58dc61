//! Discovery without a server of its own: from the members that a node reads from the metastore with every beat.
//!
//! This crate does not know the metastore. The reader of the members passes them to the [`Feeder`]. A member's row is its
//! announcement, so announcing and withdrawing do nothing here.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::Error;
use crate::health::Health;
use crate::peer::{Announcement, Peer, Peers};
use crate::{BoxFuture, Discovery};

/// Discovery fed with the members in the metastore.
#[derive(Debug)]
pub struct MetastoreDiscovery {
    peers: watch::Receiver<Arc<Peers>>,
    health: Arc<watch::Sender<Health>>,
}

/// The input for members. Cheap to call with every beat: an unchanged list wakes no reader.
#[derive(Debug)]
pub struct Feeder {
    peers: watch::Sender<Arc<Peers>>,
    health: Arc<watch::Sender<Health>>,
}

impl MetastoreDiscovery {
    /// Creates a source that is degraded until the first members are passed in.
    pub fn new() -> (Self, Feeder) {
        let (peers, received) = watch::channel(Arc::new(Peers::default()));
        let health = Arc::new(watch::Sender::new(Health::Off.after(Some("no members have been read yet".into()))));
        (MetastoreDiscovery { peers: received, health: health.clone() }, Feeder { peers, health })
    }
}

impl Feeder {
    /// Publishes the members that were read, oldest incarnation first.
    pub fn feed(&self, members: impl IntoIterator<Item = Peer>) {
        let members = Peers::from_oldest_first(members);
        self.peers.send_if_modified(|current| {
            let changed = **current != members;
            if changed {
                *current = Arc::new(members);
            }
            changed
        });
        self.settle(None);
    }

    /// Records that the members could not be read. The last list stays.
    pub fn failed(&self, reason: &str) {
        self.settle(Some(reason.into()));
    }

    fn settle(&self, reason: Option<Arc<str>>) {
        self.health.send_if_modified(|health| {
            // `Off` is final. The reader may outlive discovery by a beat.
            let next = if *health == Health::Off { Health::Off } else { health.after(reason) };
            let changed = *health != next;
            *health = next;
            changed
        });
    }
}

impl Discovery for MetastoreDiscovery {
    fn peers(&self) -> watch::Receiver<Arc<Peers>> {
        self.peers.clone()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn announce(&self, announcement: Announcement) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { announcement.validate() })
    }

    fn withdraw(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { _ = self.health.send_replace(Health::Off) })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::peer::{Role, Source};

    fn member(host: &str) -> Peer {
        Peer {
            role: Role::All,
            host: host.to_owned(),
            port: 7070,
            id: host.to_owned(),
            registered_at_ms: None,
            metadata: BTreeMap::new(),
            source: Source::Metastore,
        }
    }

    #[tokio::test]
    async fn members_are_published_when_they_change_and_only_then() {
        let (discovery, feeder) = MetastoreDiscovery::new();
        let mut peers = discovery.peers();
        assert!(!discovery.health().borrow().is_up());
        feeder.feed([member("b"), member("a")]);
        assert!(discovery.health().borrow().is_up());
        assert_eq!(peers.borrow_and_update().servers(Role::All), "a:7070,b:7070");
        feeder.feed([member("a"), member("b")]);
        assert!(!peers.has_changed().expect("the feeder lives"));
        feeder.failed("the metastore does not answer");
        assert!(!discovery.health().borrow().is_up());
        assert_eq!(peers.borrow().len(), 2);
        discovery.stop().await;
        feeder.feed([]);
        assert_eq!(*discovery.health().borrow(), Health::Off);
    }
}
