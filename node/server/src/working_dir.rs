//! The checks of the working directory: whether this node can write there, and whether it is the directory of the cluster.
//!
//! The proof consists of two kinds of token. They are files under `<working-dir>/<cluster id>/.kirin/`:
//!
//! | file | content | also stored in |
//! |---|---|---|
//! | `cluster` | a random value, written once by the first job node | the setting `working_dir` |
//! | `nodes/<name>` | a random value of the node, written at each check | the member's row |
//!
//! - A node that cannot write its token, or has less free space than configured, loses the capabilities for all kinds of
//!   jobs that write there.
//! - A node that does not find the cluster's token has a different directory. It loses the capabilities for the kinds whose
//!   files other nodes read. It never writes the token itself, because then a directory that is not mounted could become the
//!   cluster's.
//! - The cluster's token does not distinguish a directory from a copy of it, such as a cloned disk. The tokens of nodes do.
//!   Of two groups of nodes that do not see each other's tokens, the smaller one is wrong. If they are equal, the group
//!   without the node that joined the cluster first is wrong. Only members that can run builds count, so a wrong node does
//!   not affect the others.
//!
//! A copy also contains the tokens of the other nodes, so a node whose directory is replaced by a copy sees all of them until
//! another node starts. A node that does not see a token therefore replaces its own, once for each such node. The node with
//! the copy then sees fewer tokens than the others.
//!
//! A check that finds the directory usable restores the node's capabilities. Network file systems show new files late, so
//! the token of a node counts as missing only after [`STRIKES`] consecutive checks, except in the check at start.
//!
//! A node that runs no jobs writes nothing. It checks the same tokens, because queries read the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kirin_config::WorkingDirChecks;
use kirin_core::{Capabilities, Event, Member, NodeId};
use kirin_executor::build;
use kirin_executor::working_dir::{Checks, Condition};
use kirin_metastore::{MemberInfo, Store};
use kirin_service::directory::Directory;
use kirin_shell::CoreHandle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// The setting with the cluster's token.
const SETTING: &str = "working_dir";
/// The number of consecutive checks without a node's token after which it counts as missing.
const STRIKES: u32 = 3;
/// The number of checks after which the tokens in the metastore are read again: another node may have replaced its own.
const READ_EVERY: u32 = 10;
/// A file system that does not respond within this time is unusable.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tokens in the working directory.
#[derive(Clone, Debug)]
struct Tokens {
    /// The configured working directory, for messages.
    shown: PathBuf,
    dir: PathBuf,
    /// This node's file.
    file: PathBuf,
    token: String,
    free_min: u64,
    /// Whether this node writes.
    writes: bool,
}

/// The result of a look at the directory.
#[derive(Debug, Default, PartialEq, Eq)]
struct Looked {
    unwritable: Option<String>,
    /// The cluster's token, if there is one.
    mark: Option<String>,
    /// Why the directory cannot be read.
    unreadable: Option<String>,
    /// Nodes whose tokens are missing.
    unseen: Vec<NodeId>,
}

impl Tokens {
    fn new(working_dir: &Path, cluster: &str, node: &str, free_mib_min: u32, writes: bool) -> Self {
        let dir = working_dir.join(cluster).join(".kirin");
        let file = dir.join("nodes").join(file_name(node));
        let free_min = u64::from(free_mib_min) << 20;
        Self { shown: working_dir.to_owned(), dir, file, token: random(), free_min, writes }
    }

    fn mark_file(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    /// Writes this node's token and reads the others.
    fn look(&self, peers: &[(NodeId, String, String)]) -> Looked {
        let mut looked = Looked::default();
        if self.writes {
            looked.unwritable = self.write(&self.file, &self.token).and_then(|()| self.has_space()).err();
        }
        match read(&self.mark_file()) {
            Ok(mark) => looked.mark = mark,
            Err(error) => looked.unreadable = Some(self.cannot("read", &self.mark_file(), &error)),
        }
        let nodes = self.dir.join("nodes");
        let is_seen = |name: &str, token: &str| {
            read(&nodes.join(file_name(name))).is_ok_and(|found| found.as_deref() == Some(token))
        };
        looked.unseen = peers.iter().filter(|(_, name, token)| !is_seen(name, token)).map(|(node, ..)| *node).collect();
        looked
    }

    /// Writes the cluster's token unless it exists. Returns the existing token.
    fn found(&self) -> Result<String, String> {
        let (file, proposal) = (self.mark_file(), self.dir.join(format!("cluster-{}", self.token)));
        if let Ok(Some(mark)) = read(&file) {
            return Ok(mark);
        }
        self.write(&proposal, &random())?;
        // Nodes that start at the same time must agree on one token. Only one can create the link; a rename would replace it.
        let linked = std::fs::hard_link(&proposal, &file);
        let done = match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists && !file.exists() => {
                // This file system does not support links.
                std::fs::rename(&proposal, &file)
            }
            _ => Ok(()),
        };
        let _ = std::fs::remove_file(&proposal);
        sync(&self.dir);
        let mark = done.and_then(|()| read(&file)).map_err(|error| self.cannot("write", &file, &error))?;
        mark.ok_or_else(|| format!("'{}' disappeared while it was written", file.display()))
    }

    /// Replaces a file atomically and syncs it.
    fn write(&self, file: &Path, content: &str) -> Result<(), String> {
        let temporary = file.with_extension("new");
        let write = || {
            if let Some(dir) = file.parent() {
                std::fs::create_dir_all(dir)?;
            }
            let mut new = File::create(&temporary)?;
            new.write_all(content.as_bytes())?;
            new.sync_all()?;
            std::fs::rename(&temporary, file)?;
            file.parent().into_iter().for_each(sync);
            Ok(())
        };
        write().map_err(|error| {
            let _ = std::fs::remove_file(&temporary);
            self.cannot("write", file, &error)
        })
    }

    fn has_space(&self) -> Result<(), String> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(|error| self.cannot("read", &self.dir, &error.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        // Some network file systems do not report their size.
        if stat.f_blocks > 0 && free < self.free_min {
            let (shown, free, min) = (self.shown.display(), free >> 20, self.free_min >> 20);
            return Err(format!(
                "the working directory '{shown}' has {free} MiB of free space, less than {min} MiB \
                 (kirin.working-dir.free-mib-min); free space there"
            ));
        }
        Ok(())
    }

    fn cannot(&self, verb: &str, file: &Path, error: &std::io::Error) -> String {
        let advice = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free space there",
            ErrorKind::ReadOnlyFilesystem => "mount it for writing",
            ErrorKind::PermissionDenied => "run all nodes as the user that owns it",
            _ => "check that it is mounted",
        };
        let (shown, file) = (self.shown.display(), file.display());
        format!("the working directory '{shown}' is unusable: cannot {verb} '{file}': {error}; {advice}")
    }
}

/// Syncs the names in a directory, if the file system supports it.
fn sync(dir: &Path) {
    let _ = File::open(dir).and_then(|dir| dir.sync_all());
}

/// The content of a file; none if it does not exist.
fn read(file: &Path) -> std::io::Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn random() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// The file name for a node's name, unique for each name.
fn file_name(node: &str) -> String {
    let mut name = String::new();
    for byte in node.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

/// The reason for a look at the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// The node is about to join. A token that is missing now has been missing for a long time.
    First,
    /// The interval has passed.
    Regular,
    /// An attempt has failed or has completed a step. Many attempts may request a check at once.
    Asked,
}

/// The checks of one node.
pub(crate) struct Keeper {
    name: String,
    every: Duration,
    /// The node's capabilities with a usable directory.
    all: Capabilities,
    tokens: Arc<Tokens>,
    store: Store,
    directory: Directory,
    checks: Checks,
    /// The cluster's token, if known.
    mark: Option<String>,
    /// The number of consecutive checks in which a node's token was missing.
    strikes: BTreeMap<NodeId, u32>,
    /// Nodes for whose missing token this node has replaced its own.
    replaced_for: BTreeSet<NodeId>,
    /// Whether the last check did not see a token. It may have been replaced.
    unseen: bool,
    /// Checks since the tokens were read from the metastore.
    unread: u32,
    /// The members at the last read of the directory, and its result.
    known: (Vec<(Member, Capabilities)>, Vec<Arc<MemberInfo>>),
    /// A look that timed out and still waits for the file system.
    stuck: Option<JoinHandle<Looked>>,
    /// The capabilities that the core received last.
    told: Capabilities,
    /// The content of the member's row: the member, its token, its trouble.
    said: Option<(Member, Option<String>, Option<String>)>,
}

/// The parameters of a node's checks.
pub(crate) struct What<'a> {
    /// The node's name.
    pub(crate) name: &'a str,
    /// The cluster's id.
    pub(crate) cluster: &'a str,
    /// The working directory, without this cluster's subdirectory.
    pub(crate) dir: &'a Path,
    /// Whether the node runs jobs.
    pub(crate) runs_jobs: bool,
    /// Its capabilities with a usable directory.
    pub(crate) all: Capabilities,
    /// The interval and the minimum free space.
    pub(crate) checks: WorkingDirChecks,
}

impl Keeper {
    pub(crate) fn new(what: &What<'_>, store: Store, directory: Directory, checks: Checks) -> Self {
        let tokens = Tokens::new(what.dir, what.cluster, what.name, what.checks.free_mib_min, what.runs_jobs);
        Self {
            name: what.name.to_owned(),
            every: what.checks.every,
            all: what.all,
            tokens: Arc::new(tokens),
            store,
            directory,
            checks,
            mark: None,
            strikes: BTreeMap::new(),
            replaced_for: BTreeSet::new(),
            unseen: false,
            unread: 0,
            known: Default::default(),
            stuck: None,
            told: what.all,
            said: None,
        }
    }

    /// Checks before the node joins. Returns its capabilities.
    pub(crate) async fn first(&mut self) -> Capabilities {
        let members = self.directory.refresh().await.unwrap_or_default();
        let me = members.iter().find(|info| info.name == self.name).map(|info| info.member.node);
        self.told = self.check(me, &members, Look::First).await;
        self.told
    }

    /// Checks at intervals and on request of attempts, until the node exits.
    pub(crate) async fn run(mut self, core: CoreHandle, mut me: watch::Receiver<Option<Member>>) {
        let mut due = kirin_shell::clock::instant_tokio() + self.every;
        loop {
            let mut replies: Vec<oneshot::Sender<()>> = Vec::new();
            let look = tokio::select! {
                changed = me.changed() => match changed {
                    Ok(()) => None,
                    Err(_) => return,
                },
                Some(reply) = self.checks.requests.recv() => {
                    replies.push(reply);
                    Some(Look::Asked)
                }
                () = tokio::time::sleep_until(due) => Some(Look::Regular),
            };
            let member = *me.borrow_and_update();
            if let Some(look) = look {
                while let Ok(reply) = self.checks.requests.try_recv() {
                    replies.push(reply);
                }
                let members = self.members(&core).await;
                let can = self.check(member.map(|member| member.node), &members, look).await;
                // Before the replies, so that an attempt reports its end after the core has the result.
                if std::mem::replace(&mut self.told, can) != can {
                    core.tell(Event::CanChanged(can));
                }
                due = kirin_shell::clock::instant_tokio() + self.every;
            }
            for reply in replies {
                // An attempt that was stopped meanwhile does not wait any more.
                let _ = reply.send(());
            }
            if let Some(member) = member {
                self.say(member).await;
            }
        }
    }

    /// The living members. Reads the metastore if they have changed, if a token is not known yet or was not seen, and else every
    /// [`READ_EVERY`] checks.
    async fn members(&mut self, core: &CoreHandle) -> Vec<Arc<MemberInfo>> {
        let view = core.look(|node, now| node.view(now).members).await.unwrap_or_default();
        let seen: Vec<_> = view.into_iter().map(|peer| (peer.row.member, peer.row.can)).collect();
        let is_complete = self.known.1.iter().all(|info| info.token.is_some() || !info.role.runs_jobs());
        self.unread += 1;
        if seen != self.known.0 || !is_complete || self.unseen || self.unread >= READ_EVERY {
            match self.directory.refresh().await {
                Ok(members) => {
                    self.known = (seen, members);
                    self.unread = 0;
                }
                Err(error) => tracing::debug!(%error, "cannot read the tokens of the other nodes"),
            }
        }
        self.known.1.clone()
    }

    async fn check(&mut self, me: Option<NodeId>, members: &[Arc<MemberInfo>], look: Look) -> Capabilities {
        let others = members.iter().filter(|info| {
            info.name != self.name
                && info.state.is_alive()
                && info.role.runs_jobs()
                && info.can.covers(build::KIND.needs)
        });
        let peers: Vec<_> =
            others.filter_map(|info| Some((info.member.node, info.name.clone(), info.token.clone()?))).collect();
        let mut looked = self.look(peers.clone()).await;
        if let Ok(first) = &looked
            && self.mark.is_none()
        {
            self.learn_mark(self.tokens.writes && first.unwritable.is_none()).await;
            looked = self.look(peers.clone()).await;
        }
        let condition = match looked {
            Ok(looked) => {
                let unshared = self.unshared(me, &peers, &looked, look);
                self.unseen = !looked.unseen.is_empty();
                if self.must_replace(&peers, look) && looked.unwritable.is_none() && self.tokens.writes {
                    tracing::info!(
                        "the token of another node is missing in the working directory; writing a new token"
                    );
                    self.tokens = Arc::new(Tokens { token: random(), ..Tokens::clone(&self.tokens) });
                    // Before the member's row has the new token. The result of this look is that of the first one.
                    let _ = self.look(peers.clone()).await;
                }
                Condition { unwritable: looked.unwritable, unshared }
            }
            Err(why) => Condition { unwritable: Some(why.clone()), unshared: Some(why) },
        };
        let can = condition.limits(self.all);
        self.checks.condition.send_if_modified(|known| {
            let is_new = *known != condition;
            match condition.trouble() {
                Some(trouble) if is_new => tracing::warn!("{trouble}"),
                None if is_new => tracing::info!("the working directory is usable again"),
                _ => {}
            }
            *known = condition;
            is_new
        });
        can
    }

    /// Looks at the directory in a thread, because a file system that does not respond may block forever.
    async fn look(&mut self, peers: Vec<(NodeId, String, String)>) -> Result<Looked, String> {
        let tokens = self.tokens.clone();
        let mut task = match self.stuck.take() {
            // Its result will be old. A new look follows when it has ended.
            Some(task) if !task.is_finished() => task,
            _ => tokio::task::spawn_blocking(move || tokens.look(&peers)),
        };
        match tokio::time::timeout(PATIENCE, &mut task).await {
            Ok(Ok(looked)) => Ok(looked),
            Ok(Err(error)) => Err(format!("cannot check the working directory: {error}")),
            Err(_) => {
                self.stuck = Some(task);
                let (shown, secs) = (self.tokens.shown.display(), PATIENCE.as_secs());
                Err(format!("the working directory '{shown}' has not responded for {secs} s; check its file server"))
            }
        }
    }

    /// Reads the cluster's token from the metastore. The first job node creates it.
    async fn learn_mark(&mut self, may_found: bool) {
        let known = match self.store.setting(SETTING).await {
            Ok(Some(mark)) => Ok(mark),
            Ok(None) if may_found => {
                let tokens = self.tokens.clone();
                match tokio::task::spawn_blocking(move || tokens.found()).await {
                    Ok(Ok(mark)) => self.store.put_setting_if_absent(SETTING, &mark).await,
                    Ok(Err(error)) => return tracing::warn!("{error}"),
                    Err(error) => return tracing::warn!(%error, "cannot write the cluster's token"),
                }
            }
            Ok(None) => return,
            Err(error) => Err(error),
        };
        match known {
            Ok(mark) => self.mark = Some(mark),
            Err(error) => tracing::debug!(%error, "cannot read the cluster's token"),
        }
    }

    fn unshared(
        &mut self,
        me: Option<NodeId>,
        peers: &[(NodeId, String, String)],
        looked: &Looked,
        look: Look,
    ) -> Option<String> {
        for (node, ..) in peers {
            let strikes = self.strikes.entry(*node).or_default();
            *strikes = match (looked.unseen.contains(node), look) {
                (false, _) => 0,
                (true, Look::First) => STRIKES,
                (true, Look::Regular) => strikes.saturating_add(1),
                (true, Look::Asked) => *strikes,
            };
        }
        if let Some(unreadable) = &looked.unreadable {
            return Some(unreadable.clone());
        }
        let (shown, file) = (self.tokens.shown.display(), self.tokens.mark_file());
        if let Some(mark) = &self.mark
            && looked.mark.as_ref() != Some(mark)
        {
            return Some(format!(
                "'{shown}' is not the working directory of this cluster: '{}' does not contain {mark}; set \
                 kylin.env.hdfs-working-dir to the directory that all nodes share, or write that value into the file if \
                 the former directory is lost",
                file.display()
            ));
        }
        let is_missing = |node: &NodeId| self.strikes.get(node).is_some_and(|times| *times >= STRIKES);
        let missing: Vec<_> = peers.iter().filter(|(node, ..)| is_missing(node)).collect();
        let nodes: Vec<_> = peers.iter().map(|(node, ..)| *node).collect();
        if is_right(me, &nodes, &missing.iter().map(|(node, ..)| *node).collect::<Vec<_>>()) {
            return None;
        }
        let names: Vec<_> = missing.iter().map(|(_, name, _)| name.as_str()).collect();
        Some(format!(
            "'{shown}' is not the directory that {} uses: the token of that node is not there; mount the same directory on all \
             nodes",
            names.join(", ")
        ))
    }

    /// Whether a token is missing for the first time since it was last seen.
    fn must_replace(&mut self, peers: &[(NodeId, String, String)], look: Look) -> bool {
        let mut is_new = false;
        for (node, ..) in peers {
            let is_missing = self.strikes.get(node).is_some_and(|times| *times >= STRIKES);
            if !is_missing {
                self.replaced_for.remove(node);
            } else if self.replaced_for.insert(*node) {
                is_new = true;
            }
        }
        // The token of a node that is about to join is new.
        is_new && look != Look::First
    }

    /// Stores the result of the check in the member's row.
    async fn say(&mut self, member: Member) {
        let trouble = self.checks.condition.borrow().trouble().map(str::to_owned);
        let token = self.tokens.writes.then(|| self.tokens.token.clone());
        let row = (member, token, trouble);
        if self.said.as_ref() == Some(&row) {
            return;
        }
        match self.store.member_proof(member, row.1.as_deref(), row.2.as_deref()).await {
            Ok(true) => self.said = Some(row),
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "cannot store the condition of the working directory"),
        }
    }
}

/// Whether a node's directory is the right one if it does not see the tokens of `missing`.
fn is_right(me: Option<NodeId>, others: &[NodeId], missing: &[NodeId]) -> bool {
    let seen = others.len() + 1 - missing.len();
    match seen.cmp(&missing.len()) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => {
            // Node numbers follow the order of first joins. A node without a number joins last.
            let mine = others.iter().filter(|node| !missing.contains(node)).chain(me.as_ref()).min();
            mine.is_some_and(|mine| missing.iter().all(|missing| mine < missing))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(dir: &Path, node: &str) -> Tokens {
        Tokens::new(dir, "c", node, 0, true)
    }

    fn peer(number: u32, name: &str, of: &Tokens) -> (NodeId, String, String) {
        (NodeId(number), name.to_owned(), of.token.clone())
    }

    #[test]
    fn nodes_with_a_shared_directory_see_each_other_and_a_copy_is_detected() {
        let (shared, copy) = (tempfile::tempdir().expect("made"), tempfile::tempdir().expect("made"));
        let (a, b) = (tokens(shared.path(), "a"), tokens(shared.path(), "host:7070"));
        let names = [peer(1, "a", &a), peer(2, "host:7070", &b)];
        assert_eq!(a.look(&names).unseen, [NodeId(2)], "it has not written its token yet");
        assert_eq!(b.look(&names), Looked::default());
        assert_eq!(a.look(&names), Looked::default());
        let mark = a.found().expect("made");
        assert_eq!(b.found(), Ok(mark.clone()), "the same for all");
        assert_eq!(a.look(&names).mark, Some(mark));
        // The node restarts after the copy.
        let again = tokens(shared.path(), "a");
        let c = tokens(copy.path(), "c");
        std::fs::create_dir_all(c.file.parent().expect("it has one")).expect("made");
        std::fs::copy(&a.file, c.dir.join("nodes/a")).expect("copied");
        again.look(&[]);
        assert_eq!(c.look(&[peer(1, "a", &again)]).unseen, [NodeId(1)]);
        assert!(b.look(&[peer(1, "a", &again)]).unseen.is_empty());
    }

    #[test]
    fn an_unwritable_directory_is_reported_with_the_reason() {
        let dir = tempfile::tempdir().expect("made");
        let file = dir.path().join("file");
        std::fs::write(&file, "x").expect("written");
        let below = tokens(&file, "a");
        let looked = below.look(&[]);
        let why = looked.unwritable.expect("it is no directory");
        assert!(why.contains("'") && why.contains("Not a directory"), "{why}");
        let full = Tokens { free_min: u64::MAX, ..tokens(dir.path(), "a") };
        let why = full.look(&[]).unwritable.expect("no disk is so large");
        assert!(why.contains("free-mib-min"), "{why}");
        let reader = Tokens { writes: false, ..tokens(&dir.path().join("nowhere"), "q") };
        assert_eq!(reader.look(&[]), Looked::default(), "it writes nothing");
        assert!(!dir.path().join("nowhere").exists());
    }

    #[test]
    fn the_smaller_group_is_wrong_and_of_equal_groups_the_younger_one() {
        let n = |numbers: &[u32]| numbers.iter().map(|number| NodeId(*number)).collect::<Vec<_>>();
        let right = |me: u32, others: &[u32], missing: &[u32]| is_right(Some(NodeId(me)), &n(others), &n(missing));
        assert!(right(1, &[], &[]) && right(2, &[1, 3], &[]));
        assert!(right(1, &[2, 3, 4], &[4]), "three share");
        assert!(!right(4, &[1, 2, 3], &[1, 2, 3]), "one does not");
        assert!(!right(1, &[2, 3, 4], &[2, 3, 4]), "nor does the oldest one");
        assert!(right(1, &[2], &[2]) && !right(2, &[1], &[1]));
        assert!(right(3, &[1, 2, 4], &[2, 4]) && !right(4, &[1, 2, 3], &[1, 3]));
        assert!(!is_right(None, &n(&[7]), &n(&[7])), "it has not joined yet");
    }

    #[test]
    fn different_nodes_have_different_file_names() {
        let names = ["a", "A", "a.b", "a:b", "a%b", "../a", "ä"];
        let files: std::collections::BTreeSet<_> = names.iter().map(|name| file_name(name)).collect();
        assert_eq!(files.len(), names.len(), "{files:?}");
        assert!(files.iter().all(|file| !file.contains(['/', '.'])), "{files:?}");
    }
}
