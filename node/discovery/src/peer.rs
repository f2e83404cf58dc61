//! Announcements, peers, and the sorted list that is published.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use uuid::Uuid;

use crate::error::Error;

/// The role of a node: run jobs, answer queries, or both (`kylin.server.mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Runs jobs and answers queries.
    All,
    /// Runs jobs.
    Job,
    /// Answers queries.
    Query,
}

impl Role {
    /// Every role, in the order of lists.
    pub const EVERY: [Role; 3] = [Role::All, Role::Job, Role::Query];

    /// Returns the name in configuration, paths and payloads.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::All => "all",
            Role::Job => "job",
            Role::Query => "query",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Role::EVERY.into_iter().find(|role| role.as_str() == name).ok_or_else(|| Error::Role(name.to_owned()))
    }
}

/// What a node announces about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Its role.
    pub role: Role,
    /// The name of the registration (the znode). Another process that announces the same id replaces this one.
    pub id: Uuid,
    /// The host under which others reach it.
    pub host: String,
    /// The port of its HTTP API.
    pub port: u16,
    /// Free-form entries for other clients. `instance_status` defaults to `UP`.
    pub metadata: BTreeMap<String, String>,
}

impl Announcement {
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.host.is_empty() || self.host.contains([',', '/', ' ']) {
            return Err(Error::Announcement(format!("{:?} is not a host", self.host)));
        }
        if self.port == 0 {
            return Err(Error::Announcement("port 0 is not a reachable port".to_owned()));
        }
        Ok(())
    }
}

/// The source of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A registration in ZooKeeper.
    ZooKeeper,
    /// A member in the metastore.
    Metastore,
    /// The configuration.
    Static,
}

/// A node that discovery has found.
///
/// Peers sort by role, host, port and id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its role.
    pub role: Role,
    /// The host under which it is reached.
    pub host: String,
    /// The port of its HTTP API.
    pub port: u16,
    /// Its name in the source: a UUID for our own nodes, any text for entries of other writers.
    pub id: String,
    /// When it registered, in milliseconds since 1970 on its own clock. For display only; no decision may use it.
    pub registered_at_ms: Option<i64>,
    /// Its metadata besides the address.
    pub metadata: BTreeMap<String, String>,
    /// Where it was found.
    pub source: Source,
}

impl Peer {
    /// Whether its status is `UP`. A peer without a status counts as ready.
    pub fn is_up(&self) -> bool {
        self.metadata.get(INSTANCE_STATUS).is_none_or(|status| status == STATUS_UP)
    }

    /// Returns `host:port`, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// The metadata entry with a node's status.
pub(crate) const INSTANCE_STATUS: &str = "instance_status";
/// The status of a node that is ready.
pub(crate) const STATUS_UP: &str = "UP";

/// Peers, sorted, one per address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers(Vec<Peer>);

impl Peers {
    /// Builds a list from peers in the order of registration. Of two with one address, the later one counts.
    pub fn from_oldest_first(peers: impl IntoIterator<Item = Peer>) -> Self {
        let newest: BTreeMap<(String, u16), Peer> =
            peers.into_iter().map(|peer| ((peer.host.clone(), peer.port), peer)).collect();
        let mut list: Vec<Peer> = newest.into_values().collect();
        list.sort();
        Peers(list)
    }

    /// Returns the peers of a role.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Peer> {
        self.0.iter().filter(move |peer| peer.role == role)
    }

    /// Returns `host:port,host:port` of a role, the form of Kylin's `kylin.server.cluster-mode-{all,job,query}`.
    pub fn servers(&self, role: Role) -> String {
        self.with_role(role).map(Peer::address).collect::<Vec<_>>().join(",")
    }
}

impl Deref for Peers {
    type Target = [Peer];

    fn deref(&self) -> &[Peer] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(role: Role, host: &str, port: u16, id: &str) -> Peer {
        Peer {
            role,
            host: host.to_owned(),
            port,
            id: id.to_owned(),
            registered_at_ms: None,
            metadata: BTreeMap::new(),
            source: Source::Static,
        }
    }

    #[test]
    fn a_list_is_sorted_and_the_later_of_two_peers_with_one_address_wins() {
        let list = Peers::from_oldest_first([
            peer(Role::Query, "b", 1, "1"),
            peer(Role::All, "c", 1, "2"),
            peer(Role::All, "a", 2, "3"),
            peer(Role::Job, "c", 1, "4"),
        ]);
        let ids: Vec<&str> = list.iter().map(|peer| peer.id.as_str()).collect();
        assert_eq!(ids, ["3", "4", "1"]);
        assert_eq!(list.servers(Role::All), "a:2");
        assert_eq!(list.servers(Role::Job), "c:1");
    }

    #[test]
    fn only_the_exact_name_of_a_role_is_parsed() {
        for role in Role::EVERY {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("ALL".parse::<Role>(), Err(Error::Role("ALL".to_owned())));
    }
}
