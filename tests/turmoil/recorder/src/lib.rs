//! The recorder's files on disks that crash. There is nothing but tests here: each compiles the sources of
//! `kirin-recorder` as they stand, but for `disk.rs`, its calls to the file system.
//!
//! | test | disk | what it is good for |
//! |---|---|---|
//! | `power` | a model of ours: sectors, a directory whose changes have an order | power that fails, or a process that is killed, at *any* call, also in the middle of a write; holes |
//! | `simulated` | turmoil's `unstable-fs` | somebody else's idea of what a crash leaves |
//!
//! The recorder writes on a thread of its own, in real time. A simulator sees that thread's calls between two of its ticks,
//! never one by one, and never twice in the same order; so here the writing end is driven by the test, on the test's thread.
