//! The tree of nodes: a pure model. One call is one write or read. Writes report their effects as [`Change`]s.
//!
//! There are no access lists: every client may do everything.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::Code;
use crate::jute::Writer;

/// The owner of a container, as shown in its stat.
const CONTAINER: i64 = i64::MIN;

/// A change that fires watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Created(String),
    Deleted(String),
    Data(String),
    Children(String),
}

/// How a node is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Persistent,
    /// Deleted with this session.
    Ephemeral(i64),
    /// Deleted with its last child.
    Container,
}

/// The context of a write: its transaction, and the wall clock of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) zxid: i64,
    pub(crate) wall_ms: i64,
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Znode {
    pub(crate) data: Vec<u8>,
    pub(crate) children: BTreeSet<String>,
    pub(crate) owner: i64,
    pub(crate) mzxid: i64,
    pub(crate) pzxid: i64,
    pub(crate) version: i32,
    czxid: i64,
    ctime: i64,
    mtime: i64,
    /// How many children were ever created, which gives the number of the next sequential one.
    creations: i32,
}

impl Znode {
    fn new(data: &[u8], owner: i64, at: Stamp) -> Self {
        Self {
            data: data.to_vec(),
            children: BTreeSet::new(),
            owner,
            mzxid: at.zxid,
            pzxid: at.zxid,
            version: 0,
            czxid: at.zxid,
            ctime: at.wall_ms,
            mtime: at.wall_ms,
            creations: 0,
        }
    }

    pub(crate) fn write_stat(&self, to: &mut Writer) {
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let children = count(self.children.len());
        // It counts creations and deletions.
        let cversion = self.creations.wrapping_mul(2).wrapping_sub(children);
        to.i64(self.czxid).i64(self.mzxid).i64(self.ctime).i64(self.mtime);
        to.i32(self.version).i32(cversion).i32(0).i64(self.owner);
        to.i32(count(self.data.len())).i32(children).i64(self.pzxid);
    }
}

/// All nodes, by path.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Znode>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let root = Znode::new(&[], 0, Stamp { zxid: 0, wall_ms: 0 });
        Self { nodes: BTreeMap::from([("/".to_owned(), root)]) }
    }

    pub(crate) fn get(&self, path: &str) -> Result<&Znode, Code> {
        self.nodes.get(path).ok_or(Code::NoNode)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&String, &Znode)> {
        self.nodes.iter()
    }

    /// Creates a node and returns its path, which contains the number of a sequential one.
    pub(crate) fn create(
        &mut self,
        path: &str,
        data: &[u8],
        kind: Kind,
        sequential: bool,
        at: Stamp,
        changes: &mut Vec<Change>,
    ) -> Result<String, Code> {
        let whole = if sequential { format!("{path}0") } else { path.to_owned() };
        let parent_path = parent_of(&whole)?;
        let parent = self.nodes.get_mut(parent_path).ok_or(Code::NoNode)?;
        let path = if sequential { format!("{path}{:010}", parent.creations) } else { whole.clone() };
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        if parent.children.contains(&name) {
            return Err(Code::NodeExists);
        }
        if parent.owner != 0 && parent.owner != CONTAINER {
            return Err(Code::NoChildrenForEphemerals);
        }
        parent.children.insert(name);
        parent.creations = parent.creations.wrapping_add(1);
        parent.pzxid = at.zxid;
        changes.extend([Change::Created(path.clone()), Change::Children(parent_path.to_owned())]);
        let owner = match kind {
            Kind::Persistent => 0,
            Kind::Ephemeral(session) => session,
            Kind::Container => CONTAINER,
        };
        self.nodes.insert(path.clone(), Znode::new(data, owner, at));
        Ok(path)
    }

    pub(crate) fn delete(
        &mut self,
        path: &str,
        version: i32,
        at: Stamp,
        changes: &mut Vec<Change>,
    ) -> Result<(), Code> {
        let parent_path = parent_of(path)?;
        self.check(path, version)?;
        if !self.get(path)?.children.is_empty() {
            return Err(Code::NotEmpty);
        }
        self.nodes.remove(path);
        if let Some(parent) = self.nodes.get_mut(parent_path) {
            parent.children.remove(path.rsplit('/').next().unwrap_or_default());
            parent.pzxid = at.zxid;
        }
        changes.extend([Change::Deleted(path.to_owned()), Change::Children(parent_path.to_owned())]);
        Ok(())
    }

    pub(crate) fn set(
        &mut self,
        path: &str,
        data: &[u8],
        version: i32,
        at: Stamp,
        changes: &mut Vec<Change>,
    ) -> Result<(), Code> {
        self.check(path, version)?;
        let node = self.nodes.get_mut(path).ok_or(Code::NoNode)?;
        node.data = data.to_vec();
        node.version = node.version.wrapping_add(1);
        (node.mzxid, node.mtime) = (at.zxid, at.wall_ms);
        changes.push(Change::Data(path.to_owned()));
        Ok(())
    }

    /// Checks that the node has this version; -1 matches any.
    pub(crate) fn check(&self, path: &str, version: i32) -> Result<(), Code> {
        match self.get(path)?.version {
            there if version == -1 || there == version => Ok(()),
            _ => Err(Code::BadVersion),
        }
    }

    /// The ephemeral nodes of the session.
    pub(crate) fn ephemerals(&self, session: i64) -> Vec<String> {
        self.nodes.iter().filter(|(_, node)| node.owner == session).map(|(path, _)| path.clone()).collect()
    }

    /// The containers whose last child was deleted.
    pub(crate) fn empty_containers(&self) -> Vec<String> {
        let is_empty = |node: &Znode| node.owner == CONTAINER && node.creations > 0 && node.children.is_empty();
        self.nodes.iter().filter(|(_, node)| is_empty(node)).map(|(path, _)| path.clone()).collect()
    }
}

/// The parent of a path that can be created or deleted.
fn parent_of(path: &str) -> Result<&str, Code> {
    let (parent, name) = path.rsplit_once('/').ok_or(Code::BadArguments)?;
    if name.is_empty() || path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Err(Code::BadArguments);
    }
    Ok(if parent.is_empty() { "/" } else { parent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(zxid: i64) -> Stamp {
        Stamp { zxid, wall_ms: 0 }
    }

    #[test]
    fn sequential_nodes_are_numbered_by_the_creations_below_their_parent() {
        let (mut tree, mut changes) = (Tree::new(), Vec::new());
        let mut make = |tree: &mut Tree, path, sequential| {
            tree.create(path, b"", Kind::Persistent, sequential, at(1), &mut changes)
        };
        assert_eq!(make(&mut tree, "/a", false).as_deref(), Ok("/a"));
        assert_eq!(make(&mut tree, "/a", false), Err(Code::NodeExists));
        assert_eq!(make(&mut tree, "/a/x", false).as_deref(), Ok("/a/x"));
        assert_eq!(make(&mut tree, "/a/n-", true).as_deref(), Ok("/a/n-0000000001"));
        tree.delete("/a/x", -1, at(2), &mut Vec::new()).expect("deleted");
        assert_eq!(make(&mut tree, "/a/", true).as_deref(), Ok("/a/0000000002"));
    }

    #[test]
    fn errors_have_the_codes_of_the_real_server() {
        let (mut tree, mut changes) = (Tree::new(), Vec::new());
        tree.create("/e", b"", Kind::Ephemeral(7), false, at(1), &mut changes).expect("created");
        tree.create("/c", b"", Kind::Container, false, at(2), &mut changes).expect("created");
        assert!(tree.empty_containers().is_empty(), "it never had a child");
        tree.create("/c/d", b"", Kind::Persistent, false, at(3), &mut changes).expect("created");
        let refused = tree.create("/e/x", b"", Kind::Persistent, false, at(4), &mut changes);
        assert_eq!(refused, Err(Code::NoChildrenForEphemerals));
        assert_eq!(tree.create("/no/x", b"", Kind::Persistent, false, at(4), &mut changes), Err(Code::NoNode));
        assert_eq!(tree.create("/a//b", b"", Kind::Persistent, false, at(4), &mut changes), Err(Code::BadArguments));
        assert_eq!(tree.delete("/c", -1, at(4), &mut changes), Err(Code::NotEmpty));
        assert_eq!(tree.delete("/", -1, at(4), &mut changes), Err(Code::BadArguments));
        assert_eq!(tree.set("/c/d", b"1", 1, at(4), &mut changes), Err(Code::BadVersion));
        assert_eq!(tree.set("/c/d", b"1", 0, at(4), &mut changes), Ok(()));
        assert_eq!(tree.delete("/c/d", 0, at(5), &mut changes), Err(Code::BadVersion));
        assert_eq!(tree.delete("/c/d", 1, at(5), &mut changes), Ok(()));
        assert_eq!((tree.empty_containers(), tree.ephemerals(7)), (vec!["/c".to_owned()], vec!["/e".to_owned()]));
    }
}
