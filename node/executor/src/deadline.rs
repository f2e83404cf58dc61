//! The deadline of a worker: after it, its node may have been fenced, so the worker exits.
//!
//! The node sends a new deadline with every successful beat. It is a time of `CLOCK_BOOTTIME`, which both processes
//! read and which includes suspends of the machine. So neither a delayed message nor a pause of the node extends the
//! deadline.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kirin_shell::clock::boot_time;

/// The deadline in microseconds since boot.
static UNTIL: AtomicU64 = AtomicU64::new(0);

/// The interval between checks. It is short because a sleep excludes suspends of the machine.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Exits at the deadline unless it is extended before.
pub(crate) fn keep(until_us: u64) {
    extend(until_us);
    // A separate thread, so that busy work cannot delay the deadline.
    std::thread::spawn(|| {
        until_passed(&UNTIL);
        crate::children::kill_children();
        eprintln!("the node lost contact with the metastore for too long; this worker exits");
        std::process::exit(crate::entry::TRUST_ENDED);
    });
}

/// Extends the deadline to the new end of the node's trust.
pub(crate) fn extend(until_us: u64) {
    UNTIL.fetch_max(until_us, Ordering::SeqCst);
}

#[expect(clippy::disallowed_methods, reason = "it waits for the time only")]
fn until_passed(until_us: &AtomicU64) {
    loop {
        let left = Duration::from_micros(until_us.load(Ordering::SeqCst)).saturating_sub(boot_time());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(LOOK_AGAIN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extended_deadline_uses_its_latest_value_and_never_moves_back() {
        let until = AtomicU64::new(0);
        until_passed(&until);
        let soon = boot_time() + Duration::from_millis(30);
        let later = boot_time() + Duration::from_millis(90);
        until.store(u64::try_from(soon.as_micros()).unwrap(), Ordering::SeqCst);
        std::thread::scope(|threads| {
            let waits = threads.spawn(|| {
                until_passed(&until);
                boot_time()
            });
            until.fetch_max(u64::try_from(later.as_micros()).unwrap(), Ordering::SeqCst);
            assert!(waits.join().unwrap() >= later);
        });
        extend(7);
        extend(5);
        assert_eq!(UNTIL.load(Ordering::SeqCst), 7);
    }
}
