//! A Kirin node: the shell around [`kirin_core`], links, executors, HTTP API, command line.
//!
//! | module | what it does |
//! |---|---|
//! | [`server`] | a node from its start to its end |
//! | [`outside`] | carries out the orders of the core; the loop itself is [`kirin_shell`] |
//! | [`directory`] | names and addresses |
//! | [`executor`], [`worker`] | what runs attempts; the worker process |
//! | [`catalog`] | what queries see |
//! | [`metastore`] | the metastore as the node sees it |
//! | [`http`], [`api`] | HTTP: how it begins and ends; what it answers |
//! | [`chores`], [`history`], [`verification`] | the leader's sweep; what happened to whom; published segments checked |
//! | [`config`], [`auth`], [`cli`], [`program`] | configuration, proofs, command line |
//! | [`plant`] | defences that `chaos` can take away |
//! | [`launch`], [`demo`], [`mod@bench`] | clusters of processes on this machine, to show and to measure |
//!
//! The decisions are all in [`kirin_core`]: nothing here asks who should run a job.

pub mod api;
pub mod auth;
pub mod bench;
pub mod catalog;
pub mod chores;
pub mod cli;
pub mod config;
pub mod demo;
pub mod directory;
pub mod executor;
pub mod history;
pub mod http;
pub mod launch;
pub mod metastore;
pub mod outside;
pub mod plant;
pub mod program;
pub mod replay;
pub mod server;
pub mod verification;
pub mod worker;
