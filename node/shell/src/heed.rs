//! What a change in discovery means to a node: a hint, nothing more.
//!
//! Who vanished from the list of peers though the metastore calls it alive is *suspected*: the core probes it. Who appeared is
//! a reason to read the lists again.

use std::sync::Arc;

use futures::future::BoxFuture;
use kirin_core::{Event, Member};
use kirin_discovery::{Peer, Peers};
use tokio::sync::watch;

use crate::shell::Mind;

/// Who is alive, by the metastore.
pub trait Roster: Send + Sync + 'static {
    /// The living members, each with `host:port` of its API as discovery shows it; nobody if the metastore doesn't answer.
    fn living(&self) -> BoxFuture<'_, Vec<(Member, String)>>;
}

/// Tells a node's core of the changes, for as long as discovery works.
pub async fn heed(mut peers: watch::Receiver<Arc<Peers>>, roster: Arc<dyn Roster>, mind: Mind) {
    let mut before: Vec<String> = Vec::new();
    while peers.changed().await.is_ok() {
        let now: Vec<String> = peers.borrow_and_update().iter().map(Peer::address).collect();
        let vanished: Vec<&String> = before.iter().filter(|address| !now.contains(address)).collect();
        // Who only appears is in the lists, which the core reads; the roster is a question of its own to the metastore.
        let living = if vanished.is_empty() { Vec::new() } else { roster.living().await };
        for vanished in vanished {
            if let Some((member, _)) = living.iter().find(|(_, address)| address == vanished) {
                mind.tell(Event::Suspected(*member));
            }
        }
        if now.iter().any(|address| !before.contains(address)) {
            mind.tell(Event::ListsChanged);
        }
        before = now;
    }
}
