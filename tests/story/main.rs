//! Stories: what the cluster does for its users, in their order of worry. See `kirin_sim::cluster` for the words.

mod death;
mod jobs;
mod operators;
