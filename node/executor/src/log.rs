//! Logs of steps with bounded size: the current file and the previous one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A log file is closed at this size and renamed to `….log.1`, which replaces the previous one. So the end of the
/// output is always kept, with at most twice this size.
pub const LOG_BYTES: u64 = 1 << 20;

/// The logs of a job, one per step.
#[derive(Clone)]
pub struct BoundedLog {
    dir: Option<Arc<Path>>,
    open: Arc<Mutex<Option<Open>>>,
}

struct Open {
    step: u32,
    file: File,
    bytes: u64,
}

impl BoundedLog {
    /// A log that discards everything.
    pub fn nowhere() -> Self {
        Self { dir: None, open: Arc::default() }
    }

    /// Logs in this directory.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir: Some(dir.into()), open: Arc::default() }
    }

    /// Appends a line to the log of a step. A write error causes a warning, not a failure of the job.
    pub fn line(&self, step: u32, line: &str) {
        let Some(dir) = &self.dir else { return };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = append(dir, &mut open, step, line) {
            tracing::warn!(%error, dir = %dir.display(), "cannot write a step's log");
            *open = None;
        }
    }
}

fn append(dir: &Path, open: &mut Option<Open>, step: u32, line: &str) -> io::Result<()> {
    if open.as_ref().is_none_or(|open| open.step != step) {
        fs::create_dir_all(dir)?;
        let file = OpenOptions::new().create(true).append(true).open(path(dir, step))?;
        let bytes = file.metadata()?.len();
        *open = Some(Open { step, file, bytes });
    }
    if let Some(at) = open.as_mut().filter(|open| open.bytes + line.len() as u64 >= LOG_BYTES) {
        fs::rename(path(dir, step), path(dir, step).with_extension("log.1"))?;
        at.file = OpenOptions::new().create(true).append(true).open(path(dir, step))?;
        at.bytes = 0;
    }
    if let Some(at) = open {
        let mut block = line.as_bytes().to_vec();
        block.truncate(usize::try_from(LOG_BYTES).unwrap_or(usize::MAX));
        block.push(b'\n');
        at.file.write_all(&block)?;
        at.bytes += block.len() as u64;
    }
    Ok(())
}

fn path(dir: &Path, step: u32) -> PathBuf {
    dir.join(format!("step_{step:03}.log"))
}

/// The kept part of a step's log; empty without a log.
///
/// # Errors
/// If a file exists but cannot be read.
pub fn read(dir: &Path, step: u32) -> io::Result<String> {
    let mut text = String::new();
    for file in [path(dir, step).with_extension("log.1"), path(dir, step)] {
        match fs::read(&file) {
            Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_the_end_of_excessive_output_and_a_bounded_size() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = BoundedLog::at(dir.path().to_owned());
        let line = "x".repeat(1000);
        for n in 0..5000 {
            log.line(2, &format!("{n} {line}"));
        }
        let kept = read(dir.path(), 2).expect("the log exists");
        assert!(kept.len() as u64 <= 2 * LOG_BYTES, "{}", kept.len());
        assert!(kept.lines().last().is_some_and(|last| last.starts_with("4999 ")));
        assert_eq!(read(dir.path(), 3).expect("a missing log is not an error"), "");
    }
}
