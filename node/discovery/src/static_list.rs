//! The static list: `kylin.server.cluster-servers` and `kylin.server.cluster-servers-with-mode`.
//!
//! The list never changes while a node runs. Announcing has no effect, because the list already contains the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::error::Error;
use crate::health::Health;
use crate::peer::{Announcement, Peer, Peers, Role, Source};
use crate::{BoxFuture, Discovery};

/// One entry of a server list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticServer {
    /// A host name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Its role; [`Role::All`] in the list without modes.
    pub role: Role,
}

/// Discovery from a configured list.
#[derive(Debug)]
pub struct StaticDiscovery {
    peers: watch::Sender<Arc<Peers>>,
    health: watch::Sender<Health>,
}

impl StaticDiscovery {
    /// Publishes a list. A server that is listed twice counts once.
    pub fn new(servers: impl IntoIterator<Item = StaticServer>) -> Self {
        let peers = Peers::from_oldest_first(servers.into_iter().map(|server| {
            let peer = Peer {
                role: server.role,
                id: String::new(),
                host: server.host,
                port: server.port,
                registered_at_ms: None,
                metadata: BTreeMap::new(),
                source: Source::Static,
            };
            Peer { id: peer.address(), ..peer }
        }));
        StaticDiscovery { peers: watch::Sender::new(Arc::new(peers)), health: watch::Sender::new(Health::Up) }
    }
}

impl Discovery for StaticDiscovery {
    fn peers(&self) -> watch::Receiver<Arc<Peers>> {
        self.peers.subscribe()
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
    use super::*;

    #[tokio::test]
    async fn the_list_is_published_sorted_and_once() {
        let discovery = StaticDiscovery::new(["b", "::1", "b"].map(|host| StaticServer {
            host: host.to_owned(),
            port: 1,
            role: Role::All,
        }));
        assert_eq!(discovery.peers().borrow().servers(Role::All), "[::1]:1,b:1");
        discovery.stop().await;
        assert_eq!(*discovery.health().borrow(), Health::Off);
    }
}
