//! What the judge sees of the nodes, and how an operator reaches them. Nodes do not see it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kirin_core::Member;
use kirin_discovery::{Health, Peers};
use tokio::sync::{mpsc, watch};

/// A board. Clones share their state.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<usize, Post>>>);

/// The state that a node's current process published.
#[derive(Clone)]
pub struct Post {
    /// The peers that it sees.
    pub peers: watch::Receiver<Arc<Peers>>,
    /// The health of its discovery.
    pub health: watch::Receiver<Health>,
    /// Its member, if it is a complete node.
    pub me: Option<watch::Receiver<Option<Member>>>,
    /// Tells it to stop.
    pub stop: mpsc::UnboundedSender<()>,
}

impl Board {
    fn posts(&self) -> MutexGuard<'_, BTreeMap<usize, Post>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the state of a new process.
    pub fn put(&self, node: usize, post: Post) {
        self.posts().insert(node, post);
    }

    /// The state of the node's latest process.
    pub fn get(&self, node: usize) -> Option<Post> {
        self.posts().get(&node).cloned()
    }
}
