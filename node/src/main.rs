//! The `kirin` program: a node, or a command to one.

use std::process::ExitCode;

/// Many small tasks come and go: a tenth more jobs a second than with the allocator of the C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kirin::program::run()
}
