//! The model of ZooKeeper: one directory, sessions, the ephemeral nodes that live as long as they do, and one-shot watches.
//!
//! It is what Kirin uses of ZooKeeper, and it is compared with a real server (`it::discovery::model`):
//!
//! - A node belongs to the session that made it and goes away with it; anybody may delete it.
//! - A watch of the directory is told of the first change of its list after it was set, once. Whose connection is broken is told
//!   when it is back; so no change between two reads is missed.
//! - A session outlives its connection. When it ends, all its nodes vanish in one change, and it never comes back.
//!
//! Time is not here: when a session that is not heard of ends is up to the simulated world, as is what its process does then.
//! Data, versions, sequences, permissions and other directories are not here either.

use std::collections::BTreeMap;

/// What is asked of ZooKeeper or done to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask<N> {
    /// Begin a session, connected.
    Open,
    /// Make an ephemeral node.
    Create(N),
    /// Delete a node, whoever made it.
    Delete(N),
    /// List the directory, and perhaps watch it.
    List {
        /// Whether the next change is to be told.
        watch: bool,
    },
    /// The connection breaks.
    Disconnect,
    /// The session is connected again.
    Reconnect,
    /// The session ends: closed by its client, or expired.
    End,
}

/// What ZooKeeper says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<N> {
    /// It is so.
    Done,
    /// There is such a node already.
    Exists,
    /// There is no such node.
    Missing,
    /// The names in the directory, sorted.
    Listed(Vec<N>),
    /// There is no such session, or no connection: nobody answers.
    Unheard,
}

/// ZooKeeper, with sessions `S` and nodes named `N`.
#[derive(Clone, Debug)]
pub struct ZooKeeper<S, N> {
    sessions: BTreeMap<S, Session>,
    /// Whose each node is.
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
    /// Something changed, and the session could not be told.
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

    /// Carries out what is asked in the name of a session; the answer, and whose watches are told now.
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

    /// The list changed: whose watches are told now.
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
