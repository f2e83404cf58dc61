//! Prints how much memory a node needs for an open job.
//!
//! `cargo run -rp kirin-core --example memory`

#![expect(unsafe_code, reason = "an allocator that counts is the measuring instrument here")]
#![expect(clippy::print_stdout, reason = "the figure is the result")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

#[path = "../benches/cluster/mod.rs"]
#[expect(dead_code, reason = "the stream of events is for the benchmark")]
mod cluster;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    for jobs in [10_000_u64, 100_000] {
        let before = LIVE.load(Ordering::Relaxed);
        let (empty, _) = cluster::node(100, 0);
        let base = LIVE.load(Ordering::Relaxed) - before;
        let (full, _) = cluster::node(100, jobs);
        let used = LIVE.load(Ordering::Relaxed) - before - 2 * base;
        println!("{jobs} open jobs: {} bytes each", used as u64 / jobs);
        drop((empty, full));
    }
}
