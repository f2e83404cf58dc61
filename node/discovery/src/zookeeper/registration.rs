//! This node's own registration: one ephemeral znode, which every pass makes equal to the requested one.
//!
//! The entry is named by the id of the announcement. A later attempt may find an existing entry, and decides by its owner:
//!
//! - this session: the reply to the creation was lost, and the entry is ours;
//! - an earlier session of this process, which the server has not ended yet: the entry is replaced in one transaction, so no
//!   client sees a gap;
//! - another owner, before this process has registered: an earlier run of this node. It is replaced in the same way;
//! - another owner afterwards: a newer process runs under our id. This process gives up the entry and reports it.
//!
//! An entry of an earlier run with another id at the same address is removed once, at the first registration, if it is older than
//! ours. Only once: two nodes with one address by mistake must not remove each other's entries forever.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;
use zookeeper_client::{Acls, CreateMode, Error as ZkError};

use super::config::ZooKeeperConfig;
use super::link::Link;
use super::mirror::{Mirror, Stamp};
use super::{Wish, instance};

/// The number of own sessions that are remembered. The server has long ended older ones.
const SESSIONS_REMEMBERED: usize = 16;
/// How often a step is repeated when the tree changes meanwhile, before it is left to the next pass.
const TRIES: usize = 4;

/// Why the registration is not as requested.
#[derive(Debug)]
pub(super) enum Trouble {
    ZooKeeper(ZkError),
    /// Another process registered under our id after us.
    Replaced,
    /// The session is not the one that created our registration.
    AnotherSession,
    /// The tree kept changing.
    Unsteady,
}

impl From<ZkError> for Trouble {
    fn from(error: ZkError) -> Self {
        Trouble::ZooKeeper(error)
    }
}

/// What is known about this node's registration, across sessions.
pub(super) struct Registration {
    config: Arc<ZooKeeperConfig>,
    /// Own sessions, the latest last.
    sessions: Vec<i64>,
    /// Paths that may contain an entry of ours, because its creation was requested.
    traces: BTreeSet<String>,
    /// The registered entry, as far as is known.
    current: Option<Current>,
    /// The path at which this process registered before.
    established: Option<String>,
    /// The id and address for which older entries have been removed.
    cleared_for: Option<(Uuid, String, u16)>,
    lacks: Lacks,
}

/// Features that the servers turned out to lack. Trying one costs the connection, so each is tried once.
#[derive(Default)]
struct Lacks {
    /// Container nodes (before 3.5.1).
    containers: bool,
    /// Listing the ephemeral nodes of a session (before 3.6).
    ephemerals: bool,
}

struct Current {
    revision: u64,
    session: i64,
    path: String,
    created: i64,
}

impl Registration {
    pub(super) fn new(config: Arc<ZooKeeperConfig>) -> Self {
        Registration {
            config,
            sessions: Vec::new(),
            traces: BTreeSet::new(),
            current: None,
            established: None,
            cleared_for: None,
            lacks: Lacks::default(),
        }
    }

    /// Whether no entry of ours can exist.
    pub(super) fn is_traceless(&self) -> bool {
        self.traces.is_empty()
    }

    /// Makes the registration equal to the request and marks what that changed. Does nothing if they are equal as far as known.
    pub(super) async fn align(&mut self, link: &Link, wish: &Wish, mirror: &mut Mirror) -> Result<(), Trouble> {
        self.remember(link.session());
        let mut wanted_at = None;
        if let Some(wanted) = &wish.wanted {
            let announcement = &wanted.announcement;
            let path = self.config.layout.entry(&self.config.base(), announcement.role, announcement.id);
            if !self.is_current(link.session(), wish.revision) {
                let data = instance::write(&self.config.layout, announcement, wanted.registered_at_ms);
                self.current = None;
                self.traces.insert(path.clone());
                mirror.mark_path(&path);
                let stamp = self.register(link, &path, &data).await?;
                tracing::info!(%path, "registered in ZooKeeper");
                self.established = Some(path.clone());
                self.current = Some(Current {
                    revision: wish.revision,
                    session: link.session(),
                    path: path.clone(),
                    created: stamp.created,
                });
            }
            wanted_at = Some(path);
        } else {
            (self.current, self.established) = (None, None);
        }
        let unwanted: Vec<String> =
            self.traces.iter().filter(|path| Some(*path) != wanted_at.as_ref()).cloned().collect();
        for path in unwanted {
            self.erase(link, &path).await?;
            mirror.mark_path(&path);
            self.traces.remove(&path);
        }
        Ok(())
    }

    /// Compares the registration with what was read. Forgets it if it is gone, and reports that.
    pub(super) fn is_confirmed_by(&mut self, mirror: &Mirror) -> bool {
        let stands = self
            .current
            .as_ref()
            .is_none_or(|current| mirror.get(&current.path).is_some_and(|read| read.stamp.created == current.created));
        if !stands {
            self.current = None;
        }
        stands
    }

    /// Checks, after a reconnection, that the session is still the one that created our registration.
    ///
    /// Some servers that speak ZooKeeper's protocol silently assign another session, and the client accepts it. The registration
    /// then disappears with the old session, so the change is treated like an expiry.
    pub(super) async fn recognise(&mut self, link: &Link) -> Result<(), Trouble> {
        let ours = self.current.as_ref().filter(|current| current.session == link.session());
        let Some(current) = ours.filter(|_| !self.lacks.ephemerals) else { return Ok(()) };
        match link.ask(link.client().list_ephemerals(&current.path)).await {
            Ok(paths) if paths.contains(&current.path) => Ok(()),
            Ok(_) => Err(Trouble::AnotherSession),
            // The watch on the registration fires when the old session ends.
            Err(ZkError::Unimplemented) => {
                self.lacks.ephemerals = true;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes, once per id and address, what an earlier run of this node left at our address under another id.
    pub(super) async fn remove_duplicates(&mut self, link: &Link, wish: &Wish, mirror: &Mirror) -> Result<(), Trouble> {
        let (Some(wanted), Some(current)) = (&wish.wanted, &self.current) else { return Ok(()) };
        let ours = &wanted.announcement;
        let us = (ours.id, ours.host.clone(), ours.port);
        if self.cleared_for.as_ref() == Some(&us) {
            return Ok(());
        }
        let stale = mirror.readable().filter(|(path, stamp, peer)| {
            (peer.host.as_str(), peer.port) == (ours.host.as_str(), ours.port)
                && *path != current.path
                && stamp.owner != 0
                && !self.sessions.contains(&stamp.owner)
                && stamp.created < current.created
        });
        for (path, stamp, _) in stale {
            match link.ask(link.client().delete(&path, Some(stamp.version))).await {
                Ok(()) => tracing::info!(%path, "removed an older registration of this address"),
                // It is gone, changed, or protected by an access list.
                Err(ZkError::NoNode | ZkError::BadVersion | ZkError::NoAuth) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.cleared_for = Some(us);
        Ok(())
    }

    fn is_current(&self, session: i64, revision: u64) -> bool {
        self.current.as_ref().is_some_and(|current| (current.session, current.revision) == (session, revision))
    }

    fn remember(&mut self, session: i64) {
        if !self.sessions.contains(&session) {
            if self.sessions.len() == SESSIONS_REMEMBERED {
                self.sessions.remove(0);
            }
            self.sessions.push(session);
        }
    }

    /// Creates the entry, or takes over an existing one.
    async fn register(&mut self, link: &Link, path: &str, data: &[u8]) -> Result<Stamp, Trouble> {
        let client = link.client();
        let acl = self.config.acls();
        let options = CreateMode::Ephemeral.with_acls(Acls::new(&acl));
        for _ in 0..TRIES {
            match link.ask(client.create(path, data, &options)).await {
                Ok(_) => {}
                Err(ZkError::NoNode) => {
                    self.make_parents(link, path).await?;
                    continue;
                }
                Err(ZkError::NodeExists) => {
                    let Some(there) = self.stamp(link, path).await? else { continue };
                    let may_replace = self.sessions.contains(&there.owner) || self.established.as_deref() != Some(path);
                    let done = if there.owner == link.session() {
                        link.ask(client.set_data(path, data, Some(there.version))).await.map(|_| ())
                    } else if may_replace {
                        let mut swap = client.new_multi_writer();
                        swap.add_delete(path, Some(there.version))?;
                        swap.add_create(path, data, &options)?;
                        link.ask(async { swap.commit().await.map(|_| ()).map_err(ZkError::from) }).await
                    } else {
                        return Err(Trouble::Replaced);
                    };
                    match done {
                        Ok(()) => {}
                        Err(ZkError::NoNode | ZkError::BadVersion | ZkError::NodeExists) => continue,
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
            match self.stamp(link, path).await? {
                Some(stamp) if stamp.owner == link.session() => return Ok(stamp),
                _ => {}
            }
        }
        Err(Trouble::Unsteady)
    }

    /// Removes an entry that one of our sessions created.
    async fn erase(&self, link: &Link, path: &str) -> Result<(), Trouble> {
        for _ in 0..TRIES {
            match self.stamp(link, path).await? {
                Some(there) if self.sessions.contains(&there.owner) => {
                    match link.ask(link.client().delete(path, Some(there.version))).await {
                        Ok(()) | Err(ZkError::NoNode) => return Ok(()),
                        Err(ZkError::BadVersion) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                _ => return Ok(()),
            }
        }
        Err(Trouble::Unsteady)
    }

    async fn stamp(&self, link: &Link, path: &str) -> Result<Option<Stamp>, Trouble> {
        Ok(link.ask(link.client().check_stat(path)).await?.as_ref().map(Stamp::from))
    }

    /// Creates the directories above an entry: the chroot as persistent znodes, everything below as containers, like Curator.
    async fn make_parents(&mut self, link: &Link, path: &str) -> Result<(), Trouble> {
        let client = link.client();
        let config = self.config.clone();
        let acl = config.acls();
        let acls = Acls::new(&acl);
        let chroot = config.chroot.as_str();
        if !chroot.is_empty() && self.stamp(link, chroot).await?.is_none() {
            link.ask(client.mkdir(chroot, &CreateMode::Persistent.with_acls(acls))).await?;
        }
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let mode = if self.lacks.containers { CreateMode::Persistent } else { CreateMode::Container };
        let made = link.ask(client.mkdir(parent, &mode.with_acls(acls))).await;
        // The next pass creates persistent directories.
        self.lacks.containers |= made == Err(ZkError::Unimplemented);
        Ok(made?)
    }
}
