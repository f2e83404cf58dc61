//! What a node does for its clients and its operators, without HTTP and without a command line.
//!
//! A use case takes the [`Principal`] that asks, and facts; it returns facts, or a typed [`Error`]. Each interface reads its
//! own requests and writes its own answers.
//!
//! | module | what it does |
//! |---|---|
//! | [`projects`], [`tables`], [`models`], [`segments`] | what is defined and built |
//! | [`jobs`] | what runs, and what waits |
//! | [`queries`] | what is asked of tables and models |
//! | [`cluster`] | members, claims, history, health |
//! | [`principal`] | who asks, and with what rights |
//! | [`error`] | what can go wrong |
//! | [`catalog`] | what queries see: tables, models, published segments |
//! | [`verification`] | published segments checked |
//! | [`directory`] | names and addresses of members |
//! | [`history`] | what happened to whom |
//!
//! Not here: HTTP, Kylin's error codes and field names, passwords.

use std::sync::Arc;

use kirin_config::Config;
use kirin_discovery::Discovery;
use kirin_executor::Attempts;
use kirin_metastore::Store;
use kirin_shell::{CoreHandle, Links};
use tokio::sync::mpsc;

pub mod catalog;
pub mod cluster;
mod definitions;
pub mod directory;
pub mod error;
pub mod history;
pub mod jobs;
pub mod models;
pub mod principal;
pub mod projects;
pub mod queries;
mod ready;
pub mod segments;
pub mod tables;
pub mod verification;

pub use error::{Error, Result};
pub use principal::Principal;

use catalog::Catalogs;
use definitions::Definitions;
use directory::Directory;

/// The parts of a node that the use cases need.
pub struct Parts {
    /// This node's name.
    pub name: String,
    /// The metastore.
    pub store: Store,
    /// The core.
    pub core: CoreHandle,
    /// Links to the other nodes.
    pub links: Links,
    /// Names and addresses.
    pub directory: Directory,
    /// The executors, to check what is submitted.
    pub attempts: Attempts,
    /// Tables, models, segments, and queries over them.
    pub catalogs: Catalogs,
    /// The nodes that are found, and whether that works.
    pub discovery: Arc<dyn Discovery>,
    /// Asks the process to stop.
    pub stop: mpsc::UnboundedSender<()>,
}

/// All use cases of a node. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    /// Projects.
    pub projects: projects::Projects,
    /// Tables.
    pub tables: tables::Tables,
    /// Models.
    pub models: models::Models,
    /// Segments.
    pub segments: segments::Segments,
    /// Jobs.
    pub jobs: jobs::Jobs,
    /// Queries.
    pub queries: queries::Queries,
    /// The cluster.
    pub cluster: cluster::Cluster,
}

impl Service {
    /// The use cases of a node with this configuration, made of these parts.
    pub fn new(config: &Config, parts: Parts) -> Self {
        let Parts { name, store, core, links, directory, attempts, catalogs, discovery, stop } = parts;
        let projects = projects::Projects { store: store.clone(), core: core.clone(), limit: config.jobs.per_project };
        let definitions = Definitions { projects: projects.clone(), store: store.clone(), catalogs: catalogs.clone() };
        let jobs = jobs::Jobs {
            projects: projects.clone(),
            store: store.clone(),
            core: core.clone(),
            links: links.clone(),
            directory: directory.clone(),
            attempts,
        };
        let queries = queries::Queries {
            store: store.clone(),
            catalogs,
            push_down: config.query.push_down,
            timeout: config.query.timeout,
        };
        let cluster = cluster::Cluster {
            name: name.into(),
            store,
            core,
            links,
            directory,
            discovery,
            ready: Arc::default(),
            drain_timeout: config.jobs.drain_timeout,
            stop,
        };
        Self {
            projects,
            tables: tables::Tables(definitions.clone()),
            models: models::Models(definitions.clone()),
            segments: segments::Segments { definitions, jobs: jobs.clone() },
            jobs,
            queries,
            cluster,
        }
    }
}
