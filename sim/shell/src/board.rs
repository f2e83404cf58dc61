//! What the judge sees of the nodes, and how an operator reaches them. No node sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kirin_core::Member;
use kirin_discovery::{Health, Peers};
use tokio::sync::{mpsc, watch};

/// A board; clones are the same one.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<usize, Post>>>);

/// What the present process of a node put up.
#[derive(Clone)]
pub struct Post {
    /// Whom it sees.
    pub peers: watch::Receiver<Arc<Peers>>,
    /// How it says that discovery stands.
    pub health: watch::Receiver<Health>,
    /// As which member it runs, if it is a whole node.
    pub me: Option<watch::Receiver<Option<Member>>>,
    /// Asks it to stop.
    pub stop: mpsc::UnboundedSender<()>,
}

impl Board {
    fn posts(&self) -> MutexGuard<'_, BTreeMap<usize, Post>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process of a node has begun.
    pub fn put(&self, node: usize, post: Post) {
        self.posts().insert(node, post);
    }

    /// What the node put up last.
    pub fn get(&self, node: usize) -> Option<Post> {
        self.posts().get(&node).cloned()
    }
}
