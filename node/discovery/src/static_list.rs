//! The static list: `kylin.server.cluster-servers` and `kylin.server.cluster-servers-with-mode`.
//!
//! The list never changes while a node runs. Announcing has no effect, because the list already contains the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::address::{self, Address};
use crate::error::Error;
use crate::health::Health;
use crate::peer::{Announcement, Peer, Peers, Role, Source};
use crate::{BoxFuture, Discovery};

const SERVERS: &str = "kylin.server.cluster-servers";
const SERVERS_WITH_MODE: &str = "kylin.server.cluster-servers-with-mode";

/// One entry of a server list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticServer {
    /// Its address.
    pub address: Address,
    /// Its role; [`Role::All`] in the list without modes.
    pub role: Role,
}

/// Parses `host:port,host:port`. Blank entries are skipped; an empty list is allowed.
pub fn parse_cluster_servers(list: &str) -> Result<Vec<StaticServer>, Error> {
    parse(SERVERS, list, |entry| Ok(StaticServer { address: address::parse_host_and_port(entry)?, role: Role::All }))
}

/// Parses `host:port:mode,host:port:mode`. Blank entries are skipped; an empty list is allowed.
pub fn parse_cluster_servers_with_mode(list: &str) -> Result<Vec<StaticServer>, Error> {
    parse(SERVERS_WITH_MODE, list, |entry| {
        let (address, mode) = entry.rsplit_once(':').ok_or("write host:port:mode")?;
        let role = mode.parse().map_err(|error: Error| error.to_string())?;
        Ok(StaticServer { address: address::parse_host_and_port(address)?, role })
    })
}

fn parse(
    key: &'static str,
    list: &str,
    parse_entry: impl Fn(&str) -> Result<StaticServer, String>,
) -> Result<Vec<StaticServer>, Error> {
    list.split(',')
        .map(str::trim)
        .enumerate()
        .filter(|(_, entry)| !entry.is_empty())
        .map(|(i, entry)| {
            parse_entry(entry).map_err(|reason| Error::ServerList {
                key,
                position: i + 1,
                entry: entry.to_owned(),
                reason,
            })
        })
        .collect()
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
        let peers = Peers::from_oldest_first(servers.into_iter().map(|server| Peer {
            role: server.role,
            id: server.address.to_string(),
            host: server.address.host,
            port: server.address.port,
            registered_at_ms: None,
            metadata: BTreeMap::new(),
            source: Source::Static,
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

    #[test]
    fn a_list_is_read_with_and_without_modes() {
        let plain = parse_cluster_servers(" a:7070, b:7071,,[::1]:7072 ").expect("a list");
        let shown: Vec<String> = plain.iter().map(|server| server.address.to_string()).collect();
        assert_eq!(shown, ["a:7070", "b:7071", "[::1]:7072"]);
        let with_modes = parse_cluster_servers_with_mode("a:7070:query,b:7071:job").expect("a list");
        assert_eq!(with_modes[0].role, Role::Query);
        assert_eq!(with_modes[1].role, Role::Job);
        assert_eq!(parse_cluster_servers(""), Ok(Vec::new()));
    }

    #[test]
    fn an_error_names_the_entry() {
        let refused = parse_cluster_servers("a:7070,b").expect_err("refused").to_string();
        assert_eq!(refused, "entry 2 of kylin.server.cluster-servers, \"b\": the port is missing; write host:port");
        let refused = parse_cluster_servers_with_mode("a:7070:boss").expect_err("refused").to_string();
        assert_eq!(
            refused,
            "entry 1 of kylin.server.cluster-servers-with-mode, \"a:7070:boss\": \
             \"boss\" is not a role; allowed are all, job and query"
        );
    }

    #[tokio::test]
    async fn the_list_is_published_sorted_and_once() {
        let discovery = StaticDiscovery::new(parse_cluster_servers("b:1,a:1,b:1").expect("a list"));
        assert_eq!(discovery.peers().borrow().servers(Role::All), "a:1,b:1");
        discovery.stop().await;
        assert_eq!(*discovery.health().borrow(), Health::Off);
    }
}
