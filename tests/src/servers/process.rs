//! A server process that cannot outlive the tests: killed when its handle is dropped, and by the kernel when the test
//! process dies in any other way.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts it. `on_death` is the signal that it gets when this process dies.
    ///
    /// # Errors
    /// If the program can't be started.
    pub fn spawn(mut command: Command, on_death: libc::c_int) -> io::Result<Self> {
        // The kernel ties the death signal to the *thread* that spawned the child, and test threads come and go: a thread
        // that stays does it.
        #[expect(unsafe_code, reason = "prctl(2) between fork and exec; it is async-signal-safe and touches no memory")]
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, on_death) != 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let (reply, child) = mpsc::channel();
        spawner().send((command, reply)).expect("the spawner stays");
        Ok(Self { child: child.recv().expect("the spawner answers")? })
    }

    /// Its process number.
    pub fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process numbers fit")
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn has_exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends a signal to it alone.
    pub fn signal(&self, signal: libc::c_int) {
        send(self.id(), signal);
    }

    /// Freezes it with all its children, or lets all of them go on.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { libc::SIGSTOP } else { libc::SIGCONT };
        // The parent first, so that it makes no more children meanwhile.
        send(self.id(), signal);
        for child in children(self.id()) {
            send(child, signal);
        }
    }

    /// Waits until it is gone; kills it if that takes longer than `patience`.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn wait(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.freeze(false);
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

fn spawner() -> mpsc::Sender<Order> {
    static SPAWNER: std::sync::OnceLock<mpsc::Sender<Order>> = std::sync::OnceLock::new();
    SPAWNER
        .get_or_init(|| {
            let (orders, taken) = mpsc::channel::<Order>();
            std::thread::spawn(move || {
                for (mut command, reply) in taken {
                    let _ = reply.send(command.spawn());
                }
            });
            orders
        })
        .clone()
}

#[expect(unsafe_code, reason = "kill(2) takes two numbers")]
fn send(process: i32, signal: libc::c_int) {
    unsafe {
        libc::kill(process, signal);
    }
}

fn children(parent: i32) -> Vec<i32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let is_child = |process: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // `pid (name) state ppid …`; the name may contain anything.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        after.split_whitespace().nth(1).and_then(|ppid| ppid.parse().ok()) == Some(parent)
    };
    processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_child).collect()
}

/// The first of these programs that exists, or an error that names the Debian package.
///
/// # Errors
/// If none exists.
pub fn program(candidates: &[&str], package: &str) -> anyhow::Result<PathBuf> {
    for candidate in candidates {
        let path = PathBuf::from(candidate);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("{} not found: apt-get install --no-install-recommends {package}", candidates.join(" or "))
}

/// A loopback port that nobody uses at the moment.
///
/// # Errors
/// If there is none.
pub fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The numbers of a system user, if this process may become it (a server that refuses to run as root needs one).
///
/// # Errors
/// If this process is root and there is no such user.
pub fn user(name: &str) -> anyhow::Result<Option<(u32, u32)>> {
    if !is_root()? {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    for line in users.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if fields.first() == Some(&name) && fields.len() > 3 {
            return Ok(Some((fields[2].parse()?, fields[3].parse()?)));
        }
    }
    bail!("there is no user {name}")
}

fn is_root() -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}

/// A directory that the user of a server can reach and own.
///
/// # Errors
/// If it can't be made.
pub fn directory(owner: Option<(u32, u32)>) -> anyhow::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::Builder::new().prefix("kirin-").tempdir()?;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700))?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid))?;
    }
    Ok(directory)
}

/// Asks until it is so, or fails after `patience`.
///
/// # Errors
/// If it never is.
pub fn until(what: &str, patience: Duration, mut so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let end = Instant::now() + patience;
    loop {
        if so()? {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("{what}: not within {patience:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
