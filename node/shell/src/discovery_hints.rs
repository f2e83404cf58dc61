//! Turns changes in discovery into hints for a node's core.
//!
//! If a peer disappears from discovery while the metastore calls it alive, it is *suspected* and the core probes it. If
//! a peer appears, the core reads the lists again.

use std::sync::Arc;

use futures::future::BoxFuture;
use kirin_core::{Event, Member};
use kirin_discovery::{Peer, Peers};
use tokio::sync::watch;

use crate::shell::CoreHandle;

/// The living members according to the metastore.
pub trait Roster: Send + Sync + 'static {
    /// The living members, each with the `host:port` of its API as discovery shows it. Empty if the metastore does not
    /// answer.
    fn living(&self) -> BoxFuture<'_, Vec<(Member, String)>>;
}

/// Sends hints to a node's core for as long as discovery works.
pub async fn send_discovery_hints(mut peers: watch::Receiver<Arc<Peers>>, roster: Arc<dyn Roster>, handle: CoreHandle) {
    let mut before: Vec<String> = Vec::new();
    while peers.changed().await.is_ok() {
        let now: Vec<String> = peers.borrow_and_update().iter().map(Peer::address).collect();
        let vanished: Vec<&String> = before.iter().filter(|address| !now.contains(address)).collect();
        // The roster costs a query to the metastore, and is needed only if a peer has vanished.
        let living = if vanished.is_empty() { Vec::new() } else { roster.living().await };
        for vanished in vanished {
            if let Some((member, _)) = living.iter().find(|(_, address)| address == vanished) {
                handle.tell(Event::Suspected(*member));
            }
        }
        if now.iter().any(|address| !before.contains(address)) {
            handle.tell(Event::ListsChanged);
        }
        before = now;
    }
}
