//! The `kirin` program, composed of the crates of the node and of the command line.

pub mod program;
