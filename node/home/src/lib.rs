//! Files in a node's data directory that let commands on the same machine find the node and log in to it.
//!
//! | module | what it does |
//! |---|---|
//! | [`pid_file`] | the process of the node, and its address |
//! | [`credentials`] | the login of commands |
//! | [`local`] | the token by which the node recognises commands of its own user |
//! | [`private`] | file modes: only the node's user can read its files |
//!
//! The node writes the files. The command line and local clusters read them. This crate reads no settings and sends no
//! requests.

pub mod credentials;
pub mod local;
pub mod pid_file;
pub mod private;
