//! `kirin.pid` in the data directory: one node per directory, and a reliable way to find its process.
//!
//! A running node holds an exclusive lock on the file. The kernel releases the lock when the process exits for any
//! reason. The
//! lock alone decides whether a node runs. The file contains the process id and the process's start time. Commands
//! check both
//! through a pid descriptor, so that a reused process id never receives a signal.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

const NAME: &str = "kirin.pid";
const POLL_EVERY: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 5;

/// The lock of a running node. It is released when dropped, or when the process exits.
#[derive(Debug)]
pub struct PidFile {
    file: File,
}

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Running {
    /// The process id.
    pub pid: i32,
    /// The start time of the process, in the kernel's ticks since boot.
    pub started: u64,
    /// The node's name.
    pub node: String,
    /// The address of its HTTP API.
    pub address: String,
}

/// Why the node cannot be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum PidError {
    /// Another node uses the directory.
    #[error("a node already runs in {dir} (process {pid})")]
    Taken {
        /// The data directory.
        dir: PathBuf,
        /// Its process id.
        pid: i32,
    },
    /// No node uses the directory.
    #[error("no node runs in {0}")]
    NotRunning(PathBuf),
    /// A process holds the lock, but the file does not identify it.
    #[error("{0} is locked by a process other than the one it names")]
    Unclear(PathBuf),
    /// The node did not exit in time.
    #[error("timed out waiting for process {0} to exit; it may still be handing over its jobs")]
    StillRunning(i32),
    /// A file operation or a signal failed.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

impl PidFile {
    /// Claims the data directory for this process.
    ///
    /// # Errors
    /// [`PidError::Taken`] if another node uses it.
    pub fn claim(data_dir: &Path) -> Result<Self, PidError> {
        let path = data_dir.join(NAME);
        let io = |e| PidError::Io(path.clone(), e);
        std::fs::create_dir_all(data_dir).map_err(io)?;
        let mut file = open(&path).map_err(io)?;
        let mut looks = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // A command that checks whether a node runs holds the lock briefly.
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

    /// Writes the node's name and address to the file, once they are known.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn describe(&mut self, node: &str, address: &str) -> io::Result<()> {
        let pid = rustix::process::getpid().as_raw_pid();
        let started = start_time(pid).unwrap_or_default();
        let running = Running { pid, started, node: node.to_owned(), address: address.to_owned() };
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(serde_json::to_string(&running)?.as_bytes())?;
        self.file.write_all(b"\n")
    }

    /// The node that uses the data directory.
    ///
    /// # Errors
    /// [`PidError::NotRunning`], or [`PidError::Unclear`] if the file is damaged.
    pub fn running(data_dir: &Path) -> Result<Running, PidError> {
        let path = data_dir.join(NAME);
        let io = |e| PidError::Io(path.clone(), e);
        let mut file = match OpenOptions::new().read(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(PidError::NotRunning(data_dir.to_owned())),
            Err(e) => return Err(io(e)),
        };
        if !is_locked(&file).map_err(io)? {
            return Err(PidError::NotRunning(data_dir.to_owned()));
        }
        let running = read(&mut file).ok_or_else(|| PidError::Unclear(path.clone()))?;
        let same = running.pid > 0 && start_time(running.pid) == Some(running.started);
        if same { Ok(running) } else { Err(PidError::Unclear(path)) }
    }

    /// Sends SIGTERM to the node in the data directory and waits at most `timeout` until it exits.
    ///
    /// # Errors
    /// Those of [`PidFile::running`], and [`PidError::StillRunning`].
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
        // The descriptor refers to one process. If its start time matches the file, it is the node.
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

    /// Waits until this run of the node has exited.
    async fn gone(data_dir: &Path, run: &Running) -> Result<(), PidError> {
        loop {
            match Self::running(data_dir) {
                Err(PidError::NotRunning(_)) => return Ok(()),
                Ok(other) if (other.pid, other.started) != (run.pid, run.started) => return Ok(()),
                // Between the exit of the process and the release of its lock, the file does not identify the holder.
                Ok(_) | Err(PidError::Unclear(_)) => tokio::time::sleep(POLL_EVERY).await,
                Err(other) => return Err(other),
            }
        }
    }

    fn ended(data_dir: &Path, running: Running) -> Result<Running, PidError> {
        match Self::running(data_dir) {
            Err(PidError::NotRunning(_)) => Ok(running),
            Err(other) => Err(other),
            Ok(_) => Err(PidError::Unclear(data_dir.join(NAME))),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Best effort: the lock, not the content, shows that no node runs.
        let _ = self.file.set_len(0);
    }
}

#[expect(clippy::disallowed_methods, reason = "a few retries; a node claims the directory before it has a runtime")]
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

/// Field 22 of `/proc/PID/stat`. The second field may contain blanks and parentheses, so counting starts after it.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_uses_a_directory_until_its_lock_is_released() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(PidFile::running(dir.path()), Err(PidError::NotRunning(_))));
        let mut claimed = PidFile::claim(dir.path()).unwrap();
        claimed.describe("blue", "127.0.0.1:7070").unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(PidFile::claim(dir.path()), Err(PidError::Taken { pid, .. }) if pid == me));
        let running = PidFile::running(dir.path()).unwrap();
        assert_eq!((running.pid, running.node.as_str()), (me, "blue"));
        drop(claimed);
        assert!(matches!(PidFile::running(dir.path()), Err(PidError::NotRunning(_))));
        PidFile::claim(dir.path()).unwrap();
    }

    #[tokio::test]
    async fn a_reused_process_id_receives_no_signal() {
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
        assert!(sleeper.try_wait().unwrap().is_none(), "the process received no signal");
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }

    #[tokio::test]
    async fn stop_waits_until_the_node_has_exited() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        // `sleep` inherits the lock of `flock` and represents a node that exits on SIGTERM.
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
        tokio::time::timeout(Duration::from_secs(20), locked).await.expect("`flock` takes the lock");
        let running = Running { pid, started: start_time(pid).unwrap(), ..Running::default() };
        std::fs::write(&path, serde_json::to_string(&running).unwrap()).unwrap();
        // Reaps the child as soon as it exits, as init would.
        let reaper = std::thread::spawn(move || node.wait());
        let stopped = PidFile::stop(dir.path(), Duration::from_secs(20)).await.unwrap();
        assert_eq!(stopped, running);
        reaper.join().unwrap().unwrap();
        assert!(matches!(PidFile::stop(dir.path(), Duration::ZERO).await, Err(PidError::NotRunning(_))));
    }
}
