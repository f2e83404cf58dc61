//! Child processes, which end with their parent.

use std::sync::atomic::{AtomicI32, Ordering};

use kirin_plant::Defence;
use tokio::process::Command;

/// The exit code of a process whose parent has exited.
pub(crate) const ORPHANED: i32 = 75;

/// Makes the kernel kill the child when this process exits for any reason. Allows huge pages for the child, which the
/// node itself does not use.
#[expect(unsafe_code, reason = "pre_exec is the only place from which a child can ask for its parent's death signal")]
pub fn die_with_parent(command: &mut Command) {
    if Defence::WorkersEnd.is_missing() {
        return;
    }
    let parent = std::process::id();
    // SAFETY: between fork and exec, only async-signal-safe calls are made: prctl, getppid and _exit.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            // This program's allocator disables them, and children inherit that. Not every kernel supports the call.
            libc::prctl(libc::PR_SET_THP_DISABLE, 0, 0, 0, 0);
            // The parent may have died before the request was made.
            if u32::try_from(libc::getppid()).ok() != Some(parent) {
                libc::_exit(ORPHANED);
            }
            Ok(())
        });
    }
}

/// The process group of the running program.
static GROUP: AtomicI32 = AtomicI32::new(0);

/// Kills the running program and all processes in its group.
#[expect(unsafe_code, reason = "killpg has no safe wrapper in std")]
pub(crate) fn kill_children() {
    let group = GROUP.swap(0, Ordering::SeqCst);
    if group > 0 {
        // SAFETY: kills a process group that this process created; no memory is involved.
        unsafe { libc::killpg(group, libc::SIGKILL) };
    }
}

/// Makes this process group the one that [`kill_children`] kills.
pub(crate) fn runs_in(group: Option<u32>) {
    GROUP.store(group.and_then(|id| i32::try_from(id).ok()).unwrap_or(0), Ordering::SeqCst);
}
