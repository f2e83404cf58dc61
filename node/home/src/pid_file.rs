//! `kirin.pid` in the data directory: one node per directory, and a way to tell whether a pid really is that node.
//!
//! A running node holds an exclusive lock on the file, which the kernel drops when the process ends, however it ends. So
//! *whether* a node runs is a question about the lock, never about a number. *Which* process it is stands in the file with
//! the process's start time, and is checked again through a pid descriptor, so that a number that was given to another
//! process in the meantime is never sent a signal.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

const NAME: &str = "kirin.pid";
const POLL_EVERY: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 5;

/// The lock of a running node; given back when dropped, or when the process ends.
#[derive(Debug)]
pub struct PidFile {
    file: File,
}

/// What stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Running {
    /// The process.
    pub pid: i32,
    /// When it started, in the kernel's ticks since boot.
    pub started: u64,
    /// The node's name.
    pub node: String,
    /// Where its HTTP API listens.
    pub address: String,
}

/// Why the node can't be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum PidError {
    /// Another node lives in the directory.
    #[error("a node runs in {dir} already (process {pid})")]
    Taken {
        /// The data directory.
        dir: PathBuf,
        /// Its process.
        pid: i32,
    },
    /// No node lives there.
    #[error("no node runs in {0}")]
    Nobody(PathBuf),
    /// Somebody holds the lock but the file does not say who.
    #[error("{0} is locked, but the process it names is not the one that holds it")]
    Unclear(PathBuf),
    /// It did not end in time.
    #[error("process {0} has not ended yet; it may still be handing over its jobs")]
    StillRunning(i32),
    /// The file system, or the signal.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

impl PidFile {
    /// Claims the data directory for this process.
    ///
    /// # Errors
    /// [`PidError::Taken`] if a node lives there.
    pub fn claim(data_dir: &Path) -> Result<Self, PidError> {
        let path = data_dir.join(NAME);
        let io = |e| PidError::Io(path.clone(), e);
        std::fs::create_dir_all(data_dir).map_err(io)?;
        let mut file = open(&path).map_err(io)?;
        let mut looks = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // Who merely looks whether a node runs holds the lock for an instant.
                Err(TryLockError::WouldBlock) if looks < LOOKS_MAX => {
                    looks += 1;
                    pause();
                }
                Err(TryLockError::WouldBlock) => {
                    let pid = read(&mut file).map_or(0, |running| running.pid);
                    return Err(PidError::Taken { dir: data_dir.to_owned(), pid });
                }
                Err(TryLockError::Error(e)) => return Err(io(e)),
            }
        }
        let mut claimed = Self { file };
        claimed.describe("", "").map_err(io)?;
        Ok(claimed)
    }

    /// Writes down the node's name and address, once they are known.
    ///
    /// # Errors
    /// What the file system says.
    pub fn describe(&mut self, node: &str, address: &str) -> io::Result<()> {
        let pid = rustix::process::getpid().as_raw_pid();
        let started = start_time(pid).unwrap_or_default();
        let running = Running { pid, started, node: node.to_owned(), address: address.to_owned() };
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(serde_json::to_string(&running)?.as_bytes())?;
        self.file.write_all(b"\n")
    }

    /// The node that lives in the data directory, if one does.
    ///
    /// # Errors
    /// [`PidError::Nobody`], or [`PidError::Unclear`] if the file is damaged.
    pub fn running(data_dir: &Path) -> Result<Running, PidError> {
        let path = data_dir.join(NAME);
        let io = |e| PidError::Io(path.clone(), e);
        let mut file = match OpenOptions::new().read(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(PidError::Nobody(data_dir.to_owned())),
            Err(e) => return Err(io(e)),
        };
        if !is_locked(&file).map_err(io)? {
            return Err(PidError::Nobody(data_dir.to_owned()));
        }
        let running = read(&mut file).ok_or_else(|| PidError::Unclear(path.clone()))?;
        let same = running.pid > 0 && start_time(running.pid) == Some(running.started);
        if same { Ok(running) } else { Err(PidError::Unclear(path)) }
    }

    /// Asks the node in the data directory to end (SIGTERM) and waits until it has, at most `timeout`.
    ///
    /// # Errors
    /// As [`PidFile::running`], and [`PidError::StillRunning`].
    pub async fn stop(data_dir: &Path, timeout: Duration) -> Result<Running, PidError> {
        let running = Self::running(data_dir)?;
        let path = data_dir.join(NAME);
        let io = |e: rustix::io::Errno| PidError::Io(path.clone(), e.into());
        let pid = Pid::from_raw(running.pid).ok_or_else(|| PidError::Unclear(path.clone()))?;
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(rustix::io::Errno::SRCH) => return Ok(running),
            Err(e) => return Err(io(e)),
        };
        // The descriptor holds on to one process; if that one started when the node did, it is the node.
        if start_time(running.pid) != Some(running.started) {
            return Self::ended(data_dir, running);
        }
        match pidfd_send_signal(&process, Signal::TERM) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(e) => return Err(io(e)),
        }
        let gone = Self::gone(data_dir, &running);
        match tokio::time::timeout(timeout, gone).await {
            Ok(gone) => gone.map(|()| running),
            Err(_) => Err(PidError::StillRunning(running.pid)),
        }
    }

    /// Waits until this run of the node has ended.
    async fn gone(data_dir: &Path, run: &Running) -> Result<(), PidError> {
        loop {
            match Self::running(data_dir) {
                Err(PidError::Nobody(_)) => return Ok(()),
                Ok(other) if (other.pid, other.started) != (run.pid, run.started) => return Ok(()),
                // Between the end of the process and of its lock the file is unclear.
                Ok(_) | Err(PidError::Unclear(_)) => tokio::time::sleep(POLL_EVERY).await,
                Err(other) => return Err(other),
            }
        }
    }

    fn ended(data_dir: &Path, running: Running) -> Result<Running, PidError> {
        match Self::running(data_dir) {
            Err(PidError::Nobody(_)) => Ok(running),
            Err(other) => Err(other),
            Ok(_) => Err(PidError::Unclear(data_dir.join(NAME))),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Best effort: the lock, not the text, says that nobody is there.
        let _ = self.file.set_len(0);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "between tries, of which there are few; a node claims before it has a runtime"
)]
fn pause() {
    std::thread::sleep(POLL_EVERY);
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn is_locked(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

fn read(file: &mut File) -> Option<Running> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Field 22 of `/proc/PID/stat`; the second field may hold blanks and brackets, so counting starts behind it.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_per_directory_and_the_lock_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(PidFile::running(dir.path()), Err(PidError::Nobody(_))));
        let mut claimed = PidFile::claim(dir.path()).unwrap();
        claimed.describe("blue", "127.0.0.1:7070").unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(PidFile::claim(dir.path()), Err(PidError::Taken { pid, .. }) if pid == me));
        let running = PidFile::running(dir.path()).unwrap();
        assert_eq!((running.pid, running.node.as_str()), (me, "blue"));
        drop(claimed);
        assert!(matches!(PidFile::running(dir.path()), Err(PidError::Nobody(_))));
        PidFile::claim(dir.path()).unwrap();
    }

    #[tokio::test]
    async fn a_pid_that_was_given_to_another_process_is_sent_no_signal() {
        let dir = tempfile::tempdir().unwrap();
        let mut claimed = PidFile::claim(dir.path()).unwrap();
        let mut sleeper = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = i32::try_from(sleeper.id()).unwrap();
        let impostor = Running { pid, started: start_time(pid).unwrap() + 1, ..Running::default() };
        claimed.file.set_len(0).unwrap();
        claimed.file.seek(SeekFrom::Start(0)).unwrap();
        claimed.file.write_all(serde_json::to_string(&impostor).unwrap().as_bytes()).unwrap();
        let stopped = PidFile::stop(dir.path(), Duration::from_secs(1)).await;
        assert!(matches!(stopped, Err(PidError::Unclear(_))), "{stopped:?}");
        assert!(sleeper.try_wait().unwrap().is_none(), "it was left alone");
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }

    #[tokio::test]
    async fn a_node_that_runs_is_stopped_and_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        // `flock` hands its lock on to `sleep`, which then stands for a node that ends on SIGTERM.
        let mut node = std::process::Command::new("sh")
            .args(["-c", "exec 9>>\"$1\"; flock 9; exec sleep 600", "sh"])
            .arg(&path)
            .spawn()
            .unwrap();
        let pid = i32::try_from(node.id()).unwrap();
        let comm = || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let locked = async {
            while comm().trim() != "sleep" {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), locked).await.expect("the lock is taken");
        let running = Running { pid, started: start_time(pid).unwrap(), ..Running::default() };
        std::fs::write(&path, serde_json::to_string(&running).unwrap()).unwrap();
        // Reaps the child as soon as it ends, as init would.
        let reaper = std::thread::spawn(move || node.wait());
        let stopped = PidFile::stop(dir.path(), Duration::from_secs(20)).await.unwrap();
        assert_eq!(stopped, running);
        reaper.join().unwrap().unwrap();
        assert!(matches!(PidFile::stop(dir.path(), Duration::ZERO).await, Err(PidError::Nobody(_))));
    }
}
