//! The moment at which a worker ends itself, because its node may have been declared dead after it.
//!
//! The node tells it with every beat that succeeds. The moment is one of `CLOCK_BOOTTIME`, which goes on while the machine is
//! suspended and which both processes read, so neither the delay of a message nor a pause of the node makes it later.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kirin_shell::clock::boot_time;

/// In microseconds of the boot time.
static UNTIL: AtomicU64 = AtomicU64::new(0);

/// A sleep does not go on while the machine is suspended, so it is a short one.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Ends this process at that moment, unless it is extended before.
pub(crate) fn keep(until_us: u64) {
    extend(until_us);
    // A thread of its own: however busy the work is, the deadline is kept.
    std::thread::spawn(|| {
        until_passed(&UNTIL);
        crate::children::kill_children();
        eprintln!("the node did not reach the metastore for too long, so its work is stopped here");
        std::process::exit(crate::entry::TRUST_ENDED);
    });
}

/// The node trusts itself until then.
pub(crate) fn extend(until_us: u64) {
    UNTIL.fetch_max(until_us, Ordering::SeqCst);
}

#[expect(clippy::disallowed_methods, reason = "it waits for nothing but the time")]
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
    fn an_extended_deadline_passes_at_its_last_value_and_never_goes_back() {
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
