//! A disk with a power failure, or a kill of the process, at a call that the test chooses.
//!
//! Written data is in the kernel's memory. At a power failure, it is drawn for each unsynced sector whether it reached
//! the disk. A lost sector has its previous content or zeros. Of the unsynced changes of the directory, a prefix or any
//! subset reached the disk. Killing a process does not affect the kernel's memory. There is one disk per thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use kirin_sim::dice::Dice;

const SECTOR: usize = 512;

/// A kind of crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process is killed.
    Kill,
    /// The host loses power.
    Power,
}

struct Disk {
    dice: Dice,
    files: Vec<Inode>,
    /// The directory in the kernel's memory and on the disk.
    names: BTreeMap<PathBuf, usize>,
    synced: BTreeMap<PathBuf, usize>,
    changes: Vec<Change>,
    calls_left: u64,
    /// The rate of failing calls, in parts per million.
    failing: u64,
    /// Whether the disk ignores syncs.
    lies: bool,
}

#[derive(Default)]
struct Inode {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    dirty: BTreeSet<usize>,
}

enum Change {
    Add(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

thread_local! {
    static DISK: RefCell<Option<Disk>> = const { RefCell::new(None) };
}

fn with<T>(what: impl FnOnce(&mut Disk) -> T) -> T {
    DISK.with(|disk| what(disk.borrow_mut().as_mut().expect("the test has a disk")))
}

/// An empty disk.
pub(crate) fn new(seed: u64, lies: bool) {
    let (files, names, synced) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    let disk = Disk {
        dice: Dice::new(seed, "disk"),
        files,
        names,
        synced,
        changes: Vec::new(),
        calls_left: u64::MAX,
        failing: 0,
        lies,
    };
    DISK.with(|is| *is.borrow_mut() = Some(disk));
}

/// Crashes after this number of calls. Until then, calls fail at this rate in parts per million.
pub(crate) fn fail(calls_left: u64, failing: u64) {
    with(|disk| (disk.calls_left, disk.failing) = (calls_left, failing));
}

/// Whether the crash has happened.
pub(crate) fn is_off() -> bool {
    with(|disk| disk.calls_left == 0)
}

/// Restarts the machine.
pub(crate) fn restart(after: Crash) {
    with(|disk| {
        fail_never(disk);
        if after == Crash::Power {
            disk.lose();
        }
    });
}

fn fail_never(disk: &mut Disk) {
    (disk.calls_left, disk.failing) = (u64::MAX, 0);
}

impl Disk {
    /// Counts a call, and fails it if necessary.
    fn call(&mut self) -> io::Result<()> {
        self.calls_left = self.calls_left.saturating_sub(1);
        if self.calls_left == 0 {
            return Err(io::Error::other("power failure"));
        }
        if self.dice.chance(self.failing) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Discards everything that is not on the disk.
    fn lose(&mut self) {
        let in_order = self.dice.chance(500_000);
        let reached = self.dice.below(self.changes.len() as u64 + 1) as usize;
        for (n, change) in std::mem::take(&mut self.changes).into_iter().enumerate() {
            if if in_order { n < reached } else { self.dice.chance(500_000) } {
                apply(&mut self.synced, change);
            }
        }
        self.names = self.synced.clone();
        let kept = [0, 500_000, 950_000, 1_000_000][self.dice.below(4) as usize];
        for file in &mut self.files {
            let length = self.dice.between(file.synced.len() as u64, file.bytes.len() as u64) as usize;
            let mut left = std::mem::take(&mut file.synced);
            left.resize(length, 0);
            for sector in std::mem::take(&mut file.dirty) {
                let range = sector * SECTOR..((sector + 1) * SECTOR).min(length);
                if !range.is_empty() && self.dice.chance(kept) {
                    left[range.clone()].copy_from_slice(&file.bytes[range]);
                }
            }
            file.bytes.clone_from(&left);
            file.synced = left;
        }
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: Change) {
    match change {
        Change::Add(path, file) => drop(names.insert(path, file)),
        Change::Remove(path) => drop(names.remove(&path)),
        Change::Rename(from, to) => {
            if let Some(file) = names.remove(&from) {
                names.insert(to, file);
            }
        }
    }
}

/// An open file.
pub(crate) struct File(usize);

impl io::Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        with(|disk| {
            let called = disk.call();
            // A failing call may have a partial effect.
            let some = if called.is_ok() { bytes.len() as u64 } else { disk.dice.below(bytes.len() as u64) };
            let file = &mut disk.files[self.0];
            let begin = file.bytes.len();
            file.bytes.extend_from_slice(&bytes[..some as usize]);
            file.dirty.extend(begin / SECTOR..file.bytes.len().div_ceil(SECTOR));
            called.map(|()| bytes.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn create_dir_all(_: &Path) -> io::Result<()> {
    Ok(())
}

pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    with(|disk| {
        disk.call()?;
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.files.push(Inode::default());
        let file = disk.files.len() - 1;
        disk.names.insert(path.to_owned(), file);
        disk.changes.push(Change::Add(path.to_owned(), file));
        Ok(File(file))
    })
}

pub(crate) fn sync(file: &File) -> io::Result<()> {
    with(|disk| {
        disk.call()?;
        if !disk.lies {
            let file = &mut disk.files[file.0];
            file.synced.clone_from(&file.bytes);
            file.dirty.clear();
        }
        Ok(())
    })
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    with(|disk| {
        disk.call()?;
        disk.find(from)?;
        apply(&mut disk.names, Change::Rename(from.to_owned(), to.to_owned()));
        disk.changes.push(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    })
}

pub(crate) fn sync_dir(_: &Path) -> io::Result<()> {
    with(|disk| {
        disk.call()?;
        disk.synced.clone_from(&disk.names);
        disk.changes.clear();
        Ok(())
    })
}

pub(crate) fn remove(path: &Path) -> io::Result<()> {
    with(|disk| {
        disk.call()?;
        disk.find(path)?;
        disk.names.remove(path);
        disk.changes.push(Change::Remove(path.to_owned()));
        Ok(())
    })
}

pub(crate) fn list(_: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    with(|disk| {
        disk.call()?;
        Ok(disk.names.iter().map(|(path, file)| (path.clone(), disk.files[*file].bytes.len() as u64)).collect())
    })
}

pub(crate) fn is_dir(_: &Path) -> bool {
    true
}

pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    with(|disk| {
        disk.call()?;
        Ok(disk.files[disk.find(path)?].bytes.clone())
    })
}
