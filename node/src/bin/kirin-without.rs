//! `kirin` without one of its defences (see [`kirin_plant`]), for `chaos --without` only.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kirin::program::run()
}
