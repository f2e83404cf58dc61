//! File modes: only the node's own user can read the node's files. The metastore's file contains the cluster secret and
//! the
//! hash of the administrator's password. Recordings and logs contain names and statements.
//!
//! The process's mask sets the modes of new files. At start, the node also restricts files that an older version or a
//! copy left
//! open. Directories of other users (`/tmp`) are unchanged.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::Mode;

/// The permission bits of group and others.
const OTHERS: u32 = 0o077;
/// The sticky bit, set on shared directories.
const STICKY: u32 = 0o1000;

/// Sets the mask of this process and its children: new files are 0600, new directories 0700.
pub fn mask() {
    rustix::process::umask(Mode::from_raw_mode(OTHERS));
}

/// Removes the permissions of group and others from these files and directories, if they exist and belong to this user.
/// Returns those that were open.
///
/// # Errors
/// If a mode cannot be changed.
pub fn close(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut closed = Vec::new();
    for path in paths {
        let open = close_one(path).with_context(|| {
            format!("'{}' is readable by other users, and its mode cannot be changed", path.display())
        })?;
        if open {
            closed.push(path.clone());
        }
    }
    Ok(closed)
}

fn close_one(path: &Path) -> io::Result<bool> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mode = metadata.mode();
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if mode & OTHERS == 0 || !is_ours || mode & STICKY != 0 {
        return Ok(false);
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o7777 & !OTHERS))?;
    Ok(true)
}

/// Writes a file in the data directory, readable by the owner only, and replaces a previous one.
pub(crate) fn write(data_dir: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    let path = data_dir.join(name);
    let fresh = data_dir.join(format!(".{name}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, &path)?;
    Ok(path)
}

/// Reads a file in the data directory, if it exists. Refuses a file that is readable by others or belongs to another user.
pub(crate) fn read(data_dir: &Path, name: &str) -> io::Result<Option<String>> {
    let path = data_dir.join(name);
    let metadata = match std::fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let refused = |why: &str| io::Error::new(io::ErrorKind::PermissionDenied, format!("{}: {why}", path.display()));
    if metadata.mode() & OTHERS != 0 {
        return Err(refused("other users can read it; run `chmod 600` on it"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused("it belongs to another user"));
    }
    std::fs::read_to_string(&path).map(Some)
}

/// The private files of a node.
pub fn files(data_dir: &Path, metastore: Option<&Path>) -> Vec<PathBuf> {
    let mut files = vec![data_dir.to_owned()];
    if let Some(metastore) = metastore {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = metastore.as_os_str().to_owned();
            name.push(suffix);
            files.push(name.into());
        }
    }
    let inside = std::fs::read_dir(data_dir).into_iter().flatten().flatten();
    files.extend(
        inside.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink())).map(|entry| entry.path()),
    );
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_restricted_and_other_files_are_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let database = directory.path().join("elsewhere.db");
        for file in [&database, &data.join("recording")] {
            std::fs::write(file, "x").unwrap();
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
        let shared = directory.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o1777)).unwrap();

        let closed = close(&files(&data, Some(&database))).unwrap();
        assert_eq!(closed, [data.clone(), database.clone(), data.join("recording")]);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&data), mode(&database), mode(&data.join("recording"))), (0o700, 0o600, 0o600));
        assert_eq!(close(&files(&data, Some(&database))).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(close(&[shared.clone(), data.join("none")]).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(mode(&shared), 0o1777);
    }
}
