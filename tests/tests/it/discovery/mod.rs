//! Discovery against real ZooKeeper servers, with real faults.

#![expect(clippy::disallowed_methods, reason = "real servers take real time")]

mod curator;
mod faults;
mod model;
mod proxy;
mod registrations;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kirin_config::metastore::Metastore;
use kirin_discovery::{Announcement, Discovery, Health, Layout, Peers, Role, ZooKeeperConfig, ZooKeeperDiscovery};
use kirin_tests::servers::zookeeper::Ensemble;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use uuid::Uuid;
use zookeeper_client::Client;

/// The timeout of every wait, sufficient for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The requested session timeout, which an ensemble with the short tick grants.
const SESSION: Duration = Duration::from_millis(2000);

const CLUSTER: &str = "kylin_metadata_jdbc_postgresql___db_5432_kylin";
const SERVICES: &str = "/kylin/kylin_metadata_jdbc_postgresql___db_5432_kylin/services";

/// The discovery part of a node.
struct Node {
    discovery: ZooKeeperDiscovery,
    said: Announcement,
}

/// The settings of a cluster with Kylin's layout.
fn kylin5(servers: &str) -> ZooKeeperConfig {
    of_layout(servers, Layout::Kylin5 { unique_id: unique_id("jdbc:postgresql://db:5432/kylin?ssl=true") })
}

fn of_layout(servers: &str, layout: Layout) -> ZooKeeperConfig {
    ZooKeeperConfig {
        session_timeout: SESSION,
        connection_timeout: SESSION / 2,
        ..ZooKeeperConfig::new(servers, layout)
    }
}

/// The name of the cluster whose metastore has this JDBC URL.
fn unique_id(url: &str) -> String {
    let text = format!("kylin_metadata@jdbc,url={url},username=k");
    let metastore = Metastore::parse(&text, &|text| Ok(text.to_owned()), Path::new("/")).expect("a metastore");
    metastore.unique_id("unused")
}

impl Node {
    /// Starts a node that only observes.
    fn observer(config: ZooKeeperConfig) -> Self {
        let said = Announcement {
            role: Role::All,
            id: Uuid::new_v4(),
            host: "127.0.0.1".to_owned(),
            port: 7070,
            metadata: BTreeMap::new(),
        };
        Node { discovery: ZooKeeperDiscovery::start(config), said }
    }

    /// Starts a node that announces itself.
    async fn start(config: ZooKeeperConfig, role: Role, port: u16) -> Self {
        let mut node = Self::observer(config);
        (node.said.role, node.said.port) = (role, port);
        node.announce().await;
        node
    }

    async fn announce(&self) {
        self.discovery.announce(self.said.clone()).await.expect("noted");
    }

    /// Returns the znode that it registers at.
    fn path(&self) -> String {
        format!("{SERVICES}/{}/{}", self.said.role, self.said.id)
    }

    async fn until_up(&self) {
        until(self.discovery.health(), "the node is up", Health::is_up).await;
    }

    /// Waits until discovery is degraded for a reason that contains these words.
    async fn until_degraded(&self, words: &str) {
        let degraded = |health: &Health| matches!(health, Health::Degraded { reason, .. } if reason.contains(words));
        until(self.discovery.health(), &format!("it complains: {words}"), degraded).await;
    }

    /// Waits until it sees exactly these peers, as `role:port` in list order.
    async fn until_sees(&self, peers: &[&str]) {
        until(self.discovery.peers(), &format!("it sees {peers:?}"), |seen| shown(seen) == peers).await;
    }

    fn sees(&self) -> Vec<String> {
        shown(&self.discovery.peers().borrow())
    }
}

fn shown(peers: &Peers) -> Vec<String> {
    peers.iter().map(|peer| format!("{}:{}", peer.role, peer.port)).collect()
}

/// Waits until a watched value satisfies a condition.
async fn until<T: fmt::Debug>(mut watched: watch::Receiver<T>, what: &str, holds: impl FnMut(&T) -> bool) {
    if timeout(PATIENCE, watched.wait_for(holds)).await.is_err() {
        panic!("timed out after {} s waiting until {what}; it is {:?}", PATIENCE.as_secs(), watched.borrow());
    }
}

/// Polls until there is an answer.
async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "timed out after {} s waiting until {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Records every list that a node publishes from now on.
struct History(tokio::task::JoinHandle<()>, Arc<std::sync::Mutex<Vec<Vec<String>>>>);

impl History {
    fn of(node: &Node) -> Self {
        let mut peers = node.discovery.peers();
        let lists = Arc::new(std::sync::Mutex::new(vec![shown(&peers.borrow_and_update())]));
        let kept = lists.clone();
        let task = tokio::spawn(async move {
            while peers.changed().await.is_ok() {
                let list = shown(&peers.borrow_and_update());
                kept.lock().expect("not poisoned").push(list);
            }
        });
        History(task, lists)
    }

    fn end(self) -> Vec<Vec<String>> {
        self.0.abort();
        self.1.lock().expect("not poisoned").clone()
    }
}

/// A separate client that reads the tree.
async fn outsider(ensemble: &Ensemble) -> Client {
    Client::connect(&ensemble.connect_string()).await.expect("a session")
}

/// Returns the session of a znode, or `None` if the znode does not exist.
async fn owner(client: &Client, path: &str) -> Option<i64> {
    client.check_stat(path).await.expect("an answer").map(|stat| stat.ephemeral_owner)
}
