//! Every call that the recorder makes to the file system. `tests/turmoil/recorder` compiles the other modules unchanged
//! over simulated disks that lose power between any two of these calls.

use std::io;
use std::path::{Path, PathBuf};

/// A file that is being written.
pub(crate) type File = std::fs::File;

pub(crate) fn create_dir_all(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)
}

pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    File::create_new(path)
}

/// Before this call, a crash of the host may lose any part of what was written to the file.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_data()
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

/// Before this call, a crash of the host may undo changes of names in the directory.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(crate) fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)
}

/// The files in the directory with their lengths, in no particular order.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    std::fs::read_dir(dir)?
        .map(|entry| {
            let entry = entry?;
            // A file that was deleted meanwhile has no length.
            Ok((entry.path(), entry.metadata().map_or(0, |metadata| metadata.len())))
        })
        .collect()
}

pub(crate) fn is_dir(path: &Path) -> bool {
    path.is_dir()
}

pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}
