//! Server processes that never outlive their test, and ports for them.
//!
//! A child is killed when its handle is dropped, also by a panic. It is killed by the kernel too when the test process dies, whatever
//! the reason. The kernel counts the death of the *thread* that forked, and test threads come and go; so one thread that lives as
//! long as the process does all the forking.

use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child as Process, Command, ExitStatus};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, sleep};

/// How often a condition is looked at again while a test waits for it.
pub const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A server process, killed when dropped.
#[derive(Debug)]
pub struct Child(Process);

impl Child {
    /// Starts a process that dies with this one.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let parent = std::process::id();
        let die_with_parent = move || {
            // SAFETY: both calls only take numbers, and are safe between fork and exec.
            #[expect(unsafe_code, reason = "there is no safe call for the parent death signal")]
            let (set, parent_is) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::getppid()) };
            if set != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the signal was asked for.
            if u32::try_from(parent_is) != Ok(parent) {
                return Err(io::Error::other("the test died meanwhile"));
            }
            Ok(())
        };
        // SAFETY: the closure neither allocates nor locks.
        #[expect(unsafe_code, reason = "the parent death signal must be set between fork and exec")]
        unsafe {
            command.pre_exec(die_with_parent);
        }
        fork(command).map(Child)
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Has it ended?
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Kills it the hard way and waits until it is gone.
    pub fn kill(&mut self) {
        // An error means that it is gone already.
        _ = self.0.kill();
        _ = self.0.wait();
    }

    /// Asks it to end, and kills it if it takes longer than that.
    pub async fn terminate(&mut self, within: Duration) {
        _ = self.signal(libc::SIGCONT);
        _ = self.signal(libc::SIGTERM);
        let deadline = Instant::now() + within;
        while self.ended().is_none() && Instant::now() < deadline {
            sleep(LOOK_AGAIN).await;
        }
        self.kill();
    }

    /// Freezes it, and waits until every thread of it stands still: the signal alone returns earlier.
    pub async fn freeze(&self) -> Result<()> {
        self.signal(libc::SIGSTOP)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.stands_still()? {
            ensure!(Instant::now() < deadline, "process {} does not stop", self.pid());
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Lets it go on after [`freeze`](Child::freeze).
    pub fn thaw(&self) -> Result<()> {
        self.signal(libc::SIGCONT)
    }

    fn stands_still(&self) -> Result<bool> {
        let tasks = format!("/proc/{}/task", self.pid());
        for task in std::fs::read_dir(&tasks).context(tasks)? {
            // A thread may end between the listing and the look at it.
            let Ok(stat) = std::fs::read_to_string(task?.path().join("stat")) else { continue };
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            if state != Some('T') {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn signal(&self, signal: i32) -> Result<()> {
        let pid = libc::pid_t::try_from(self.pid())?;
        // SAFETY: takes two numbers; the process is our child and was not waited for, so the number is not somebody else's.
        #[expect(unsafe_code, reason = "std can only kill")]
        let sent = unsafe { libc::kill(pid, signal) };
        if sent != 0 {
            bail!("signal {signal} to process {pid}: {}", io::Error::last_os_error());
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

type Order = (Command, mpsc::Sender<io::Result<Process>>);

/// Forks on the thread that lives as long as this process.
fn fork(command: Command) -> io::Result<Process> {
    static FORKER: Mutex<Option<mpsc::Sender<Order>>> = Mutex::new(None);
    let (answer, answered) = mpsc::channel();
    {
        let mut forker = FORKER.lock().unwrap_or_else(PoisonError::into_inner);
        let orders = forker.get_or_insert_with(|| {
            let (orders, ordered) = mpsc::channel::<Order>();
            std::thread::spawn(move || {
                for (mut command, answer) in ordered {
                    _ = answer.send(command.spawn());
                }
            });
            orders
        });
        orders.send((command, answer)).map_err(io::Error::other)?;
    }
    answered.recv().map_err(io::Error::other)?
}

/// Picks free loopback ports.
///
/// They lie below the range from which the kernel takes ports for outgoing connections, so nobody gets one by chance while its server
/// is down.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    const FIRST: u16 = 15_000;
    const SPAN: u32 = 15_000;
    static NEXT: Mutex<u32> = Mutex::new(0);
    let mut held = Vec::with_capacity(count);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    if *next == 0 {
        // Test processes that run side by side begin at different places.
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
