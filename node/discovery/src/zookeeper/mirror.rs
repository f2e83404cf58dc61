//! A copy of the directories of registrations, kept by watches.
//!
//! A watch only marks what has to be read again; what is published is always the result of a read. So a lost, late or doubled event
//! costs a read or some time, never a wrong list. Underneath, everything is read again now and then without any event.
//!
//! Directories may be missing, vanish when they are empty (Curator makes containers) and come back: a missing one is watched for
//! its creation. A registration that can't be read is reported once and left out; the others are not touched by it.
//!
//! One mirror belongs to one session and is thrown away with it: watches don't outlive a session.

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

/// How many registrations are asked for at once: enough to hide the way to the server, few enough not to flood it.
const READS_AT_ONCE: usize = 64;

/// The directories as they were read last.
pub(super) struct Mirror {
    directories: Vec<Directory>,
    /// One for each watch that is set; it ends with the mark that its event stands for.
    watches: FuturesUnordered<Watch>,
}

/// Waits for the event of one watch. A mirror is looked at while others wait, so it is `Sync` and so is this.
type Watch = Pin<Box<dyn Future<Output = Mark> + Send + Sync>>;

/// What has to be read again.
enum Mark {
    Directory(usize),
    Entry(usize, String),
}

struct Directory {
    container: Container,
    /// Has to be listed again.
    stale: bool,
    /// A watch on it is set.
    watched: bool,
    /// Was it ever listed in this session?
    listed: bool,
    entries: BTreeMap<String, Entry>,
}

#[derive(Default)]
struct Entry {
    /// Is it as it was read last, or has it to be read again?
    fresh: bool,
    watched: bool,
    read: Option<Read>,
}

/// One registration as it was read.
pub(super) struct Read {
    pub(super) stamp: Stamp,
    /// The peer, or what makes the registration useless.
    peer: Result<Peer, String>,
}

/// When and by whom a registration was made, in ZooKeeper's own terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The transaction that created it: the order in which registrations were made.
    pub(super) created: i64,
    /// The session that it goes away with; 0 if somebody made it to stay.
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

    /// Waits until something has to be read again. Cancel safe; never ends while no watch is set.
    pub(super) async fn disturbed(&mut self) {
        match self.watches.next().await {
            Some(mark) => self.mark(mark),
            None => std::future::pending().await,
        }
        // What came in meanwhile shares the read that follows.
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

    /// Marks everything to be read again; the watches stay.
    pub(super) fn mark_all(&mut self) {
        for directory in &mut self.directories {
            directory.stale = true;
            directory.entries.values_mut().for_each(|entry| entry.fresh = false);
        }
    }

    /// Marks the directories to be listed again; what is in them stays as it is read.
    pub(super) fn mark_directories(&mut self) {
        self.directories.iter_mut().for_each(|directory| directory.stale = true);
    }

    /// Marks a registration to be read again, and the list that it stands in.
    pub(super) fn mark_path(&mut self, path: &str) {
        let Some((parent, name)) = path.rsplit_once('/') else { return };
        for directory in self.directories.iter_mut().filter(|directory| directory.container.path == parent) {
            directory.stale = true;
            if let Some(entry) = directory.entries.get_mut(name) {
                entry.fresh = false;
            }
        }
    }

    /// Reads what is marked. After an error the rest stays marked.
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
                            // It appeared in between. The watch just set fires once more than needed, which does no harm.
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
                    // It went between the two reads; the directory's watch tells of it too.
                    Err(ZkError::NoNode) => _ = entries.remove(name),
                    // Somebody else's secret, perhaps: not ours to read, and no reason to lose sight of the others.
                    Err(ZkError::NoAuth) => {
                        let entry = entries.entry(name.clone()).or_default();
                        let stamp = Stamp { created: 0, owner: 0, version: -1 };
                        let peer = Err("reading it is not allowed".to_owned());
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

    /// Lists every registration that makes a peer, with its path.
    pub(super) fn readable(&self) -> impl Iterator<Item = (String, Stamp, &Peer)> {
        self.reads().filter_map(|(path, read)| Some((path, read.stamp, read.peer.as_ref().ok()?)))
    }

    /// Returns every registration that makes none, by path, with the reason.
    pub(super) fn unreadable(&self) -> BTreeMap<String, String> {
        self.reads().filter_map(|(path, read)| Some((path, read.peer.as_ref().err()?.clone()))).collect()
    }

    fn reads(&self) -> impl Iterator<Item = (String, &Read)> {
        self.directories.iter().flat_map(|directory| {
            let path = move |name| format!("{}/{name}", directory.container.path);
            directory.entries.iter().filter_map(move |(name, entry)| Some((path(name), entry.read.as_ref()?)))
        })
    }

    /// Is everything read that has to be read?
    pub(super) fn is_whole(&self) -> bool {
        let whole = |directory: &Directory| {
            directory.listed && !directory.stale && directory.entries.values().all(|entry| entry.fresh)
        };
        self.directories.iter().all(whole)
    }

    /// Returns the peers; of two at one address the one that registered later counts.
    pub(super) fn peers(&self) -> Peers {
        let mut oldest_first: Vec<(i64, &Peer)> =
            self.readable().map(|(_, stamp, peer)| (stamp.created, peer)).collect();
        oldest_first.sort_by_key(|(created, _)| *created);
        Peers::from_oldest_first(oldest_first.into_iter().map(|(_, peer)| peer.clone()))
    }
}
