//! A copy of the directories of registrations, kept by watches.
//!
//! A watch only marks what must be read again. The published list is always the result of a read. So a lost, late or repeated
//! event costs a read or some time, never a wrong list. In addition, everything is read again periodically.
//!
//! Directories may be missing, disappear when they are empty (Curator creates containers), and come back. A missing directory
//! is watched for its creation. An unreadable registration is reported once and left out; it does not affect the others.
//!
//! A mirror belongs to one session and is dropped with it, because watches end with their session.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use futures::future::{FutureExt as _, join_all};
use futures::stream::{FuturesUnordered, StreamExt as _};
use zookeeper_client::{Error as ZkError, Stat};

use super::instance;
use super::layout::Container;
use super::link::Link;
use crate::peer::{Peer, Peers};

/// Registrations that are requested at once: enough to hide the latency, few enough not to flood the server.
const READS_AT_ONCE: usize = 64;

/// The directories as last read.
pub(super) struct Mirror {
    directories: Vec<Directory>,
    /// One future per watch that is set. It completes with the mark for its event.
    watches: FuturesUnordered<Watch>,
}

/// Waits for the event of one watch. `Sync`, because a mirror is read while other tasks wait.
type Watch = Pin<Box<dyn Future<Output = Mark> + Send + Sync>>;

/// What must be read again.
enum Mark {
    Directory(usize),
    Entry(usize, String),
}

struct Directory {
    container: Container,
    /// Whether it must be listed again.
    stale: bool,
    /// Whether a watch on it is set.
    watched: bool,
    /// Whether it has been listed in this session.
    listed: bool,
    entries: BTreeMap<String, Entry>,
}

#[derive(Default)]
struct Entry {
    /// Whether the last read is current.
    fresh: bool,
    watched: bool,
    read: Option<Read>,
}

/// One registration as last read.
pub(super) struct Read {
    pub(super) stamp: Stamp,
    /// The peer, or why the registration is unusable.
    peer: Result<Peer, String>,
}

/// The creation of a registration, in ZooKeeper's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The transaction that created it; gives the order of registrations.
    pub(super) created: i64,
    /// The session that owns it; 0 for a persistent entry.
    pub(super) owner: i64,
    pub(super) version: i32,
}

impl From<&Stat> for Stamp {
    fn from(stat: &Stat) -> Self {
        Stamp { created: stat.czxid, owner: stat.ephemeral_owner, version: stat.version }
    }
}

impl Mirror {
    pub(super) fn new(containers: Vec<Container>) -> Self {
        let directories = containers
            .into_iter()
            .map(|container| Directory {
                container,
                stale: true,
                watched: false,
                listed: false,
                entries: BTreeMap::new(),
            })
            .collect();
        Mirror { directories, watches: FuturesUnordered::new() }
    }

    /// Waits until something must be read again. Cancel safe. Never completes while no watch is set.
    pub(super) async fn disturbed(&mut self) {
        match self.watches.next().await {
            Some(mark) => self.mark(mark),
            None => std::future::pending().await,
        }
        // Events that arrived meanwhile share the next read.
        while let Some(Some(mark)) = self.watches.next().now_or_never() {
            self.mark(mark);
        }
    }

    fn mark(&mut self, mark: Mark) {
        match mark {
            Mark::Directory(i) => {
                let directory = &mut self.directories[i];
                (directory.stale, directory.watched) = (true, false);
            }
            Mark::Entry(i, name) => {
                if let Some(entry) = self.directories[i].entries.get_mut(&name) {
                    (entry.fresh, entry.watched) = (false, false);
                }
            }
        }
    }

    /// Marks everything to be read again. The watches stay.
    pub(super) fn mark_all(&mut self) {
        for directory in &mut self.directories {
            directory.stale = true;
            directory.entries.values_mut().for_each(|entry| entry.fresh = false);
        }
    }

    /// Marks the directories to be listed again. Their entries stay as read.
    pub(super) fn mark_directories(&mut self) {
        self.directories.iter_mut().for_each(|directory| directory.stale = true);
    }

    /// Marks a registration and its directory to be read again.
    pub(super) fn mark_path(&mut self, path: &str) {
        let Some((parent, name)) = path.rsplit_once('/') else { return };
        for directory in self.directories.iter_mut().filter(|directory| directory.container.path == parent) {
            directory.stale = true;
            if let Some(entry) = directory.entries.get_mut(name) {
                entry.fresh = false;
            }
        }
    }

    /// Reads what is marked. After an error, the rest stays marked.
    pub(super) async fn refresh(&mut self, link: &Link) -> Result<(), ZkError> {
        for i in 0..self.directories.len() {
            self.list(link, i).await?;
            self.read_entries(link, i).await?;
        }
        Ok(())
    }

    async fn list(&mut self, link: &Link, i: usize) -> Result<(), ZkError> {
        let Mirror { directories, watches } = self;
        let directory = &mut directories[i];
        let path = directory.container.path.as_str();
        while directory.stale {
            let listed = if directory.watched {
                link.ask(link.client().list_children(path)).await
            } else {
                link.ask(link.client().list_and_watch_children(path)).await.map(|(names, watcher)| {
                    watches.push(Box::pin(async move {
                        watcher.changed().await;
                        Mark::Directory(i)
                    }));
                    directory.watched = true;
                    names
                })
            };
            match listed {
                Ok(names) => {
                    let mut before = std::mem::take(&mut directory.entries);
                    directory.entries = names
                        .into_iter()
                        .map(|name| before.remove_entry(&name).unwrap_or_else(|| (name, Entry::default())))
                        .collect();
                    (directory.stale, directory.listed) = (false, true);
                }
                Err(ZkError::NoNode) => {
                    directory.entries.clear();
                    if !directory.watched {
                        let (stat, watcher) = link.ask(link.client().check_and_watch_stat(path)).await?;
                        watches.push(Box::pin(async move {
                            watcher.changed().await;
                            Mark::Directory(i)
                        }));
                        if stat.is_some() {
                            // It appeared in between. The watch fires once more than needed, which is harmless.
                            continue;
                        }
                        directory.watched = true;
                    }
                    (directory.stale, directory.listed) = (false, true);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn read_entries(&mut self, link: &Link, i: usize) -> Result<(), ZkError> {
        let Mirror { directories, watches } = self;
        let Directory { container, entries, .. } = &mut directories[i];
        let marked: Vec<(String, bool)> = entries
            .iter()
            .filter(|(_, entry)| !entry.fresh)
            .map(|(name, entry)| (name.clone(), entry.watched))
            .collect();
        for batch in marked.chunks(READS_AT_ONCE) {
            let reads = join_all(batch.iter().map(|(name, watched)| {
                let path = format!("{}/{name}", container.path);
                async move {
                    if *watched {
                        link.ask(link.client().get_data(&path)).await.map(|(data, stat)| (data, stat, None))
                    } else {
                        let read = link.ask(link.client().get_and_watch_data(&path)).await;
                        read.map(|(data, stat, watcher)| (data, stat, Some(watcher)))
                    }
                }
            }))
            .await;
            for ((name, _), read) in batch.iter().zip(reads) {
                match read {
                    Ok((data, stat, watcher)) => {
                        let entry = entries.entry(name.clone()).or_default();
                        if let Some(watcher) = watcher {
                            let name = name.clone();
                            watches.push(Box::pin(async move {
                                watcher.changed().await;
                                Mark::Entry(i, name)
                            }));
                            entry.watched = true;
                        }
                        let peer = instance::read(name, container.role, &data);
                        (entry.fresh, entry.read) = (true, Some(Read { stamp: Stamp::from(&stat), peer }));
                    }
                    // It was deleted between the two reads. The directory's watch reports that, too.
                    Err(ZkError::NoNode) => _ = entries.remove(name),
                    // Another writer's access list forbids reading it. The other registrations are not affected.
                    Err(ZkError::NoAuth) => {
                        let entry = entries.entry(name.clone()).or_default();
                        let stamp = Stamp { created: 0, owner: 0, version: -1 };
                        let peer = Err("permission denied".to_owned());
                        (entry.fresh, entry.read) = (true, Some(Read { stamp, peer }));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Returns the registration at a path.
    pub(super) fn get(&self, path: &str) -> Option<&Read> {
        let (parent, name) = path.rsplit_once('/')?;
        let directory = self.directories.iter().find(|directory| directory.container.path == parent)?;
        directory.entries.get(name)?.read.as_ref()
    }

    /// Lists every usable registration with its path.
    pub(super) fn readable(&self) -> impl Iterator<Item = (String, Stamp, &Peer)> {
        self.reads().filter_map(|(path, read)| Some((path, read.stamp, read.peer.as_ref().ok()?)))
    }

    /// Returns every unusable registration by path, with the reason.
    pub(super) fn unreadable(&self) -> BTreeMap<String, String> {
        self.reads().filter_map(|(path, read)| Some((path, read.peer.as_ref().err()?.clone()))).collect()
    }

    fn reads(&self) -> impl Iterator<Item = (String, &Read)> {
        self.directories.iter().flat_map(|directory| {
            let path = move |name| format!("{}/{name}", directory.container.path);
            directory.entries.iter().filter_map(move |(name, entry)| Some((path(name), entry.read.as_ref()?)))
        })
    }

    /// Whether nothing is marked to be read.
    pub(super) fn is_whole(&self) -> bool {
        let whole = |directory: &Directory| {
            directory.listed && !directory.stale && directory.entries.values().all(|entry| entry.fresh)
        };
        self.directories.iter().all(whole)
    }

    /// Returns the peers. Of two with one address, the one that registered later counts.
    pub(super) fn peers(&self) -> Peers {
        let mut oldest_first: Vec<(i64, &Peer)> =
            self.readable().map(|(_, stamp, peer)| (stamp.created, peer)).collect();
        oldest_first.sort_by_key(|(created, _)| *created);
        Peers::from_oldest_first(oldest_first.into_iter().map(|(_, peer)| peer.clone()))
    }
}
