//! Tests of the recorder's files on crashing disks. Each test compiles the unchanged sources of `kirin-recorder`, except
//! `disk.rs`, its calls to the file system.
//!
//! | test | disk | purpose |
//! |---|---|---|
//! | `power` | our own model: sectors, and a directory with ordered changes | a power failure or a kill at *any* call, also during a write; gaps |
//! | `simulated` | turmoil's `unstable-fs` | an independent model of crashes |
//!
//! The recorder writes on its own thread, in real time. A simulator sees that thread's calls only between two ticks,
//! and in varying order. So the test calls the writer directly on its own thread.
