//! The `kirin` program: puts the crates of a node and of the command line together.

pub mod program;
