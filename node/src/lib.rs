//! The Kirin node.

pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
