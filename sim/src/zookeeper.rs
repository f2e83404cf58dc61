//! The model of ZooKeeper: one directory, sessions with their ephemeral nodes, and one-shot watches.
//!
//! It covers the part of ZooKeeper that Kirin uses, and is compared with a real server (`it::discovery::model`):
//!
//! - A node belongs to the session that created it and disappears with it. Any session may delete it.
//! - A watch of the directory reports the first change after it was set, once. A disconnected session receives the
//!   report when it reconnects, so no change between two reads is missed.
//! - A session outlives its connection. When it ends, all its nodes disappear in one change, and it never comes back.
//!
//! Not here: time. The simulated world decides when a silent session ends and how its process reacts. Data, versions,
//! sequences, permissions and other directories are also left out.

use std::collections::BTreeMap;

/// A request to ZooKeeper, or a change of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask<N> {
    /// Begin a session, connected.
    Open,
    /// Create an ephemeral node.
    Create(N),
    /// Delete a node, whichever session created it.
    Delete(N),
    /// List the directory, and optionally watch it.
    List {
        /// Whether to report the next change.
        watch: bool,
    },
    /// The connection breaks.
    Disconnect,
    /// The session is connected again.
    Reconnect,
    /// The session ends: closed by its client, or expired.
    End,
}

/// ZooKeeper's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<N> {
    /// The request is done.
    Done,
    /// The node already exists.
    Exists,
    /// The node does not exist.
    Missing,
    /// The names in the directory, sorted.
    Listed(Vec<N>),
    /// The session does not exist or is disconnected: no answer.
    Unheard,
}

/// ZooKeeper, with sessions `S` and nodes named `N`.
#[derive(Clone, Debug)]
pub struct ZooKeeper<S, N> {
    sessions: BTreeMap<S, Session>,
    /// The session that owns each node.
    nodes: BTreeMap<N, S>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    connected: bool,
    watch: Watch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    Unset,
    Set,
    /// The list has changed, and the session could not be told.
    Due,
}

impl<S, N> Default for ZooKeeper<S, N> {
    fn default() -> Self {
        Self { sessions: BTreeMap::new(), nodes: BTreeMap::new() }
    }
}

impl<S: Copy + Ord, N: Copy + Ord> ZooKeeper<S, N> {
    /// The sessions that have not ended, sorted.
    pub fn sessions(&self) -> impl Iterator<Item = S> {
        self.sessions.keys().copied()
    }

    /// Performs a request of a session. Returns the answer, and the sessions whose watches fire.
    pub fn ask(&mut self, by: S, ask: &Ask<N>) -> (Answer<N>, Vec<S>) {
        if *ask == Ask::Open {
            self.sessions.entry(by).or_insert(Session { connected: true, watch: Watch::Unset });
            return (Answer::Done, Vec::new());
        }
        let Some(session) = self.sessions.get_mut(&by) else { return (Answer::Unheard, Vec::new()) };
        match ask {
            Ask::Disconnect => session.connected = false,
            Ask::Reconnect => {
                session.connected = true;
                if session.watch == Watch::Due {
                    session.watch = Watch::Unset;
                    return (Answer::Done, vec![by]);
                }
            }
            Ask::End => {
                self.sessions.remove(&by);
                let before = self.nodes.len();
                self.nodes.retain(|_, owner| *owner != by);
                if self.nodes.len() < before {
                    return (Answer::Done, self.changed());
                }
            }
            _ if !session.connected => return (Answer::Unheard, Vec::new()),
            Ask::Create(name) => {
                if self.nodes.contains_key(name) {
                    return (Answer::Exists, Vec::new());
                }
                self.nodes.insert(*name, by);
                return (Answer::Done, self.changed());
            }
            Ask::Delete(name) => {
                if self.nodes.remove(name).is_none() {
                    return (Answer::Missing, Vec::new());
                }
                return (Answer::Done, self.changed());
            }
            Ask::List { watch } => {
                if *watch {
                    session.watch = Watch::Set;
                }
                return (Answer::Listed(self.nodes.keys().copied().collect()), Vec::new());
            }
            Ask::Open => {}
        }
        (Answer::Done, Vec::new())
    }

    /// The list has changed. Returns the sessions whose watches fire.
    fn changed(&mut self) -> Vec<S> {
        let mut told = Vec::new();
        for (name, session) in &mut self.sessions {
            match (session.watch, session.connected) {
                (Watch::Set, true) => {
                    session.watch = Watch::Unset;
                    told.push(*name);
                }
                (Watch::Set, false) => session.watch = Watch::Due,
                (Watch::Unset | Watch::Due, _) => {}
            }
        }
        told
    }
}
