//! turmoil's disk. turmoil identifies open files by the name with which they were opened, even after a rename; a kernel
//! does not. So a file here is a name that follows renames and is opened for each call.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use turmoil::fs::shim::std::fs;

thread_local! {
    static RENAMED: RefCell<BTreeMap<PathBuf, PathBuf>> = const { RefCell::new(BTreeMap::new()) };
}

/// An open file.
pub(crate) struct File(PathBuf);

impl File {
    fn open(&self) -> io::Result<fs::File> {
        let renamed = RENAMED.with_borrow(|renamed| renamed.get(&self.0).cloned());
        fs::OpenOptions::new().append(true).open(renamed.as_ref().unwrap_or(&self.0))
    }
}

impl io::Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn create_dir_all(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    RENAMED.with_borrow_mut(|renamed| renamed.remove(path));
    fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    Ok(File(path.to_owned()))
}

pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.open()?.sync_data()
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    RENAMED.with_borrow_mut(|renamed| renamed.insert(from.to_owned(), to.to_owned()));
    Ok(())
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::sync_dir(dir)
}

pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

pub(crate) fn list(dir: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    fs::read_dir(dir)?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.path(), fs::metadata(entry.path())?.len()))
        })
        .collect()
}

pub(crate) fn is_dir(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}
