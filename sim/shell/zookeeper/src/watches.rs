//! The one-shot watches of one connection.

use std::collections::BTreeSet;

use crate::code::Code;
use crate::tree::{Change, Tree};

/// The notification of a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// 1 to 4: created, deleted, data changed, children changed.
    pub(crate) kind: i32,
    pub(crate) path: String,
}

const CREATED: i32 = 1;
const DELETED: i32 = 2;
const DATA_CHANGED: i32 = 3;
const CHILDREN_CHANGED: i32 = 4;

#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// Watches of the data and the existence of a node.
    data: BTreeSet<String>,
    /// Watches of the list of a node's children.
    children: BTreeSet<String>,
}

impl Watches {
    pub(crate) fn watch_data(&mut self, path: &str) {
        self.data.insert(path.to_owned());
    }

    pub(crate) fn watch_children(&mut self, path: &str) {
        self.children.insert(path.to_owned());
    }

    /// Takes the watches that a change fires.
    pub(crate) fn fire(&mut self, change: &Change) -> Option<Event> {
        let (kind, path, fires) = match change {
            Change::Created(path) => (CREATED, path, self.data.remove(path)),
            Change::Data(path) => (DATA_CHANGED, path, self.data.remove(path)),
            Change::Children(path) => (CHILDREN_CHANGED, path, self.children.remove(path)),
            // A session that watches both is notified once.
            Change::Deleted(path) => (DELETED, path, self.data.remove(path) | self.children.remove(path)),
        };
        fires.then(|| Event { kind, path: path.clone() })
    }

    /// Sets again the watches of another connection, or reports what was missed since `zxid`.
    pub(crate) fn resume(&mut self, tree: &Tree, zxid: i64, lists: &[Vec<String>]) -> Vec<Event> {
        let [data, absent, children, ..] = lists else { return Vec::new() };
        let mut missed = Vec::new();
        for path in data {
            match tree.get(path) {
                Err(_) => missed.push(Event { kind: DELETED, path: path.clone() }),
                Ok(node) if node.mzxid > zxid => missed.push(Event { kind: DATA_CHANGED, path: path.clone() }),
                Ok(_) => self.watch_data(path),
            }
        }
        for path in absent {
            match tree.get(path) {
                Ok(_) => missed.push(Event { kind: CREATED, path: path.clone() }),
                Err(_) => self.watch_data(path),
            }
        }
        for path in children {
            match tree.get(path) {
                Err(_) => missed.push(Event { kind: DELETED, path: path.clone() }),
                Ok(node) if node.pzxid > zxid => missed.push(Event { kind: CHILDREN_CHANGED, path: path.clone() }),
                Ok(_) => self.watch_children(path),
            }
        }
        missed
    }

    /// Removes the watches at a path: of children (1), of data (2) or any (3).
    pub(crate) fn remove(&mut self, path: &str, kind: i32) -> Result<(), Code> {
        let removed = match kind {
            1 => self.children.remove(path),
            2 => self.data.remove(path),
            3 => self.children.remove(path) | self.data.remove(path),
            _ => return Err(Code::BadArguments),
        };
        if removed { Ok(()) } else { Err(Code::NoWatcher) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Kind, Stamp};

    #[test]
    fn a_watch_fires_once_and_missed_changes_are_reported() {
        let (mut tree, mut changes) = (Tree::new(), Vec::new());
        let at = |zxid| Stamp { zxid, wall_ms: 0 };
        tree.create("/a", b"", Kind::Persistent, false, at(1), &mut changes).expect("created");
        let mut watches = Watches::default();
        watches.watch_data("/a");
        watches.watch_children("/");
        let fired: Vec<_> = changes.iter().filter_map(|change| watches.fire(change)).map(|event| event.kind).collect();
        assert_eq!(fired, [CREATED, CHILDREN_CHANGED]);
        assert!(changes.iter().all(|change| watches.fire(change).is_none()));

        tree.set("/a", b"1", -1, at(5), &mut changes).expect("set");
        let lists = [vec!["/a".to_owned(), "/b".to_owned()], vec!["/c".to_owned()], vec!["/".to_owned()]];
        let missed = watches.resume(&tree, 1, &lists);
        let told: Vec<_> = missed.iter().map(|event| (event.kind, event.path.as_str())).collect();
        assert_eq!(told, [(DATA_CHANGED, "/a"), (DELETED, "/b")]);
        assert_eq!(watches.remove("/c", 2), Ok(()));
        assert_eq!(watches.remove("/", 2), Err(Code::NoWatcher));
        assert_eq!(watches.remove("/", 3), Ok(()));
    }
}
