//! The files in a node's data directory by which commands find the node of their own machine.
//!
//! | module | what it does |
//! |---|---|
//! | [`pid_file`] | which process is the node, and where it listens |
//! | [`credentials`] | how commands log in to it |
//! | [`local`] | how commands prove that the node's own user runs them |
//! | [`private`] | what the node writes is for its own user alone |
//!
//! The node writes them. The command line and local clusters read them. Knows no setting and sends no request.

pub mod credentials;
pub mod local;
pub mod pid_file;
pub mod private;
