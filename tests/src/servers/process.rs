//! Server processes that cannot outlive the tests, and free ports.
//!
//! A process is killed when its handle is dropped, and by the kernel when the test process dies in any other way.

use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// The polling interval of waits.
pub const LOOK_AGAIN: Duration = Duration::from_millis(10);

const STANDSTILL_MAX: Duration = Duration::from_secs(10);

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts it on this machine's network. `on_death` is the signal that it gets when this process dies.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn spawn(command: Command, on_death: libc::c_int) -> io::Result<Self> {
        Self::spawn_at(&Place::loopback(), command, on_death)
    }

    /// The same in another place.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn spawn_at(place: &Place, mut command: Command, on_death: libc::c_int) -> io::Result<Self> {
        let parent = std::process::id();
        #[expect(unsafe_code, reason = "prctl(2) between fork and exec; it is async-signal-safe and touches no memory")]
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, on_death) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // The parent may have died before the call of prctl.
                if u32::try_from(libc::getppid()) != Ok(parent) {
                    return Err(io::Error::from(io::ErrorKind::BrokenPipe));
                }
                Ok(())
            });
        }
        Ok(Self { child: place.within(move || command.spawn())? })
    }

    /// Its process id.
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

    /// Sends a signal to this process only.
    pub fn signal(&self, signal: libc::c_int) {
        send(self.id(), signal);
    }

    /// Sends a signal to its children, but not to itself.
    pub fn signal_children(&self, signal: libc::c_int) {
        for child in children(self.id()) {
            send(child, signal);
        }
    }

    /// Freezes one of its children that has no children itself, and returns its process id.
    pub fn stop_a_child(&self) -> Option<i32> {
        let child = children(self.id()).into_iter().find(|child| children(*child).is_empty())?;
        send(child, libc::SIGSTOP);
        Some(child)
    }

    /// Resumes a process.
    pub fn go_on(child: i32) {
        send(child, libc::SIGCONT);
    }

    /// The process ids of its children.
    pub fn children(&self) -> Vec<i32> {
        children(self.id())
    }

    /// Freezes it and all its descendants, and waits until every thread has stopped; sending the signal returns earlier.
    ///
    /// # Errors
    /// If a process does not stop.
    pub fn freeze(&self) -> anyhow::Result<()> {
        // The parent first, so that it starts no further children.
        self.signal_all(libc::SIGSTOP);
        let all = || std::iter::once(self.id()).chain(descendants(self.id()));
        until("the server stands still", STANDSTILL_MAX, || Ok(all().all(stands_still)))
    }

    /// Resumes it and all its descendants.
    pub fn thaw(&self) {
        self.signal_all(libc::SIGCONT);
    }

    fn signal_all(&self, signal: libc::c_int) {
        send(self.id(), signal);
        for process in descendants(self.id()) {
            send(process, signal);
        }
    }

    /// Kills it with SIGKILL and waits until it has ended.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it has ended; kills it after `patience`.
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
        self.thaw();
        self.kill();
    }
}

type Order = Box<dyn FnOnce() + Send>;

/// A place for programs: a permanent thread that starts them.
///
/// The kernel ties the signal at a parent's death to the *thread* that started the child, and test threads are short-lived. A
/// child also inherits the network namespace of its thread.
#[derive(Clone, Debug)]
pub struct Place {
    address: String,
    orders: mpsc::Sender<Order>,
}

impl Place {
    /// This machine's network.
    pub fn loopback() -> Self {
        static LOOPBACK: std::sync::OnceLock<Place> = std::sync::OnceLock::new();
        LOOPBACK.get_or_init(|| Self::new("127.0.0.1", || Ok(())).expect("a thread can be started")).clone()
    }

    /// Creates a place whose thread runs `enter` first, and whose programs listen on `address`.
    ///
    /// # Errors
    /// The error of `enter`.
    pub fn new(address: &str, enter: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let (orders, taken) = mpsc::channel::<Order>();
        std::thread::Builder::new().spawn(move || taken.into_iter().for_each(|order| order()))?;
        let place = Self { address: address.to_owned(), orders };
        place.within(enter)?;
        Ok(place)
    }

    /// The address on which its programs listen.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs a closure on this place's thread.
    ///
    /// # Panics
    /// If the thread has ended.
    pub fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (reply, done) = mpsc::channel();
        let order: Order = Box::new(move || drop(reply.send(work())));
        self.orders.send(order).expect("the thread stays");
        done.recv().expect("the thread answers")
    }
}

#[expect(unsafe_code, reason = "kill(2) takes two numbers")]
fn send(process: i32, signal: libc::c_int) {
    unsafe {
        libc::kill(process, signal);
    }
}

/// Whether all threads of a process are stopped. Also true for a process that has ended.
fn stands_still(process: i32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok()).all(|stat| {
        // `pid (name) state …`; the name may contain anything.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 'Z']))
    })
}

/// All descendants of a process, parents before their children.
fn descendants(parent: i32) -> Vec<i32> {
    let mut all = children(parent);
    let mut at = 0;
    while let Some(process) = all.get(at).copied() {
        all.extend(children(process));
        at += 1;
    }
    all
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

/// Returns the first of these programs that exists. The error names the Debian package.
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

/// Returns the path of a program in this program's directory.
///
/// # Errors
/// If it does not exist; the error tells how to build it.
pub fn beside(name: &str, build: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(program.exists(), "{} does not exist; run `{build}`", program.display());
    Ok(program)
}

/// Picks free loopback ports.
///
/// They are below the kernel's range for outgoing connections, so no connection takes one by chance while its server is down.
///
/// # Errors
/// If there are not enough free ports.
pub fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    const FIRST: u16 = 15_000;
    const SPAN: u32 = 15_000;
    static NEXT: Mutex<u32> = Mutex::new(0);
    let mut held = Vec::with_capacity(count);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    if *next == 0 {
        // Concurrent test processes start at different ports.
        *next = std::process::id().wrapping_mul(7919) % SPAN + 1;
    }
    for _ in 0..SPAN {
        if held.len() == count {
            break;
        }
        *next = *next % SPAN + 1;
        let port = FIRST + u16::try_from(*next - 1)?;
        held.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    ensure!(held.len() == count, "no {count} free ports");
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// User and group id of a system user, if this process may become it. Servers that refuse to run as root need one.
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

/// Creates a temporary directory that is owned by the user of a server.
///
/// # Errors
/// If it cannot be created.
pub fn directory(owner: Option<(u32, u32)>) -> anyhow::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::Builder::new().prefix("kirin-").tempdir()?;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700))?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid))?;
    }
    Ok(directory)
}

/// Copies a file for `owner` alone to read.
///
/// # Errors
/// If it cannot be written.
pub fn private_copy(from: &std::path::Path, to: &std::path::Path, owner: Option<(u32, u32)>) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::copy(from, to)?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o600))?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::chown(to, Some(uid), Some(gid))?;
    }
    Ok(())
}

/// Polls a condition until it is true or `patience` is over.
///
/// # Errors
/// If it does not become true in time.
pub fn until(what: &str, patience: Duration, mut so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let end = Instant::now() + patience;
    loop {
        if so()? {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("timed out after {patience:?} waiting until {what}");
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
