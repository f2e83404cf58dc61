//! Stories: what the cluster does for its users, in their order of worry. See `kirin_sim::cluster` for the words.

#![expect(clippy::unwrap_used, reason = "a story that can't go on has failed")]

mod death;
mod jobs;
mod operators;
