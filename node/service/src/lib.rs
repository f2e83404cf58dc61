//! The use cases of a node, for clients and operators, independent of HTTP and the command line.
//!
//! A use case takes a [`Principal`] and facts, and returns facts or a typed [`Error`]. Each interface parses its own
//! requests and formats its own answers.
//!
//! | module | what it does |
//! |---|---|
//! | [`projects`], [`tables`], [`models`], [`segments`] | definitions and built data |
//! | [`jobs`] | running and waiting jobs |
//! | [`queries`] | queries of tables and models |
//! | [`cluster`] | members, claims, history, health |
//! | [`principal`] | the user of a request, and the user's permissions |
//! | [`error`] | errors |
//! | [`catalog`] | the tables, models and published segments that queries see |
//! | [`verification`] | verification of published segments |
//! | [`directory`] | names and addresses of members |
//! | [`history`] | the history of the cluster |
//!
//! HTTP, Kylin's error codes and field names, and passwords are not part of this crate.

use std::sync::Arc;

use kirin_config::Config;
use kirin_discovery::Discovery;
use kirin_executor::{Attempts, WorkingDir};
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
    /// The executors, for checking submits.
    pub attempts: Attempts,
    /// The catalogs, for tables, models, segments and queries.
    pub catalogs: Catalogs,
    /// Discovery of nodes.
    pub discovery: Arc<dyn Discovery>,
    /// The condition of the working directory.
    pub working_dir: WorkingDir,
    /// Requests the process to stop.
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
    /// The use cases of a node with this configuration and these parts.
    pub fn new(config: &Config, parts: Parts) -> Self {
        let Parts { name, store, core, links, directory, attempts, catalogs, discovery, working_dir, stop } = parts;
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
            working_dir,
            role: config.role,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kirin_config::Sources;
    use kirin_core::{Action, JobState};
    use kirin_discovery::StaticDiscovery;
    use kirin_executor::Retry;
    use kirin_executor::probe::Probe;
    use kirin_olap::{Engine, EngineConfig};
    use kirin_shell::clock::Clock;
    use kirin_shell::handshake::Cluster;
    use kirin_store::StoreConfig;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use error::Refusal;
    use jobs::{Status, Submit, Which};
    use principal::Rights;
    use projects::NewProject;

    /// The use cases on an empty metastore, for a node without a core.
    async fn service() -> (Service, TempDir) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = dir.path().to_owned();
        std::fs::create_dir_all(home.join("conf")).expect("made");
        let sources = Sources { home, conf: None, set: vec![], env: BTreeMap::new(), host_name: "n1".to_owned() };
        let config = Config::load(&sources).expect("the defaults are valid");
        let url = format!("sqlite:{}", dir.path().join("metastore.db").display());
        let store = Store::open(&StoreConfig::new(url.parse().expect("a URL"))).await.expect("it opens");
        let (core, _) = CoreHandle::new();
        let directory = Directory::new(store.clone());
        let cluster = Cluster { secret: kirin_shell::Secret::new("secret"), id: "c".to_owned() };
        let links = Links::new(cluster, "n1", Arc::new(directory.clone()), core.clone());
        let executors: Vec<Arc<dyn kirin_executor::Executor>> = vec![Arc::new(Probe)];
        let attempts = Attempts::new(store.clone(), Clock::start(), dir.path(), executors, Retry::default());
        let parts = Parts {
            name: "n1".to_owned(),
            store,
            core,
            links,
            directory,
            attempts,
            catalogs: Catalogs::new(Engine::new(EngineConfig::default()).expect("an engine")),
            discovery: Arc::new(StaticDiscovery::new([])),
            working_dir: WorkingDir::new().0,
            stop: mpsc::unbounded_channel().0,
        };
        (Service::new(&config, parts), dir)
    }

    fn alice() -> Principal {
        Principal::new("ALICE", Rights::Admin)
    }

    fn new_project(name: &str) -> NewProject {
        NewProject { name: name.to_owned(), ..NewProject::default() }
    }

    fn probe(key: &str) -> Submit {
        Submit {
            project: "p".to_owned(),
            kind: "probe".to_owned(),
            subject: None,
            spec: json!({ "steps": 2 }),
            priority: 3,
            key: Some(key.to_owned()),
        }
    }

    fn named(id: impl ToString, force: bool) -> Which {
        Which::Named { ids: vec![id.to_string()], force }
    }

    #[tokio::test]
    async fn projects_and_jobs_record_the_principal_that_created_them() {
        let (service, _dir) = service().await;
        let made = service.projects.create(&alice(), new_project("p")).await.expect("made");
        assert_eq!(made.owner.as_deref(), Some("ALICE"));
        let admin = Principal::admin();
        assert_eq!(service.projects.find(&admin, "P").await.expect("found").owner, made.owner);
        let job = service.jobs.submit(&alice(), probe("k")).await.expect("accepted");
        let (job, steps) = service.jobs.show(&admin, &job.id.to_string()).await.expect("shown");
        assert_eq!((job.info.submitter.as_str(), job.info.subject.as_str(), job.steps), ("ALICE", "probe", 2));
        let steps: Vec<_> = steps.iter().map(|step| (step.number, step.status)).collect();
        assert_eq!(steps, [(0, Status::Pending), (1, Status::Pending)]);
    }

    #[tokio::test]
    async fn an_idempotency_key_identifies_one_job_per_project() {
        let (service, _dir) = service().await;
        let mut ids = Vec::new();
        for (project, key) in [("p", "k"), ("q", "k"), ("p", "k"), ("p", "l")] {
            // The second submit finds the job.
            drop(service.projects.create(&alice(), new_project(project)).await);
            let submit = Submit { project: project.to_owned(), ..probe(key) };
            ids.push(service.jobs.submit(&alice(), submit).await.expect("accepted").id);
        }
        assert_eq!(ids[0], ids[2]);
        assert!(ids[0] != ids[1] && ids[0] != ids[3] && ids[1] != ids[3], "{ids:?}");
    }

    #[tokio::test]
    async fn errors_contain_the_facts() {
        let (service, _dir) = service().await;
        let missing = service.jobs.submit(&alice(), probe("k")).await;
        assert!(matches!(&missing, Err(Error::NoProject(name)) if name == "p"), "{missing:?}");
        service.projects.create(&alice(), new_project("p")).await.expect("made");
        let again = service.projects.create(&alice(), new_project("P")).await;
        assert!(matches!(&again, Err(Error::ProjectExists(name)) if name == "p"), "{again:?}");
        let late = service.jobs.submit(&alice(), Submit { priority: 5, ..probe("k") }).await;
        assert!(matches!(late, Err(Error::Priority(5))), "{late:?}");
        let id = service.jobs.submit(&alice(), probe("k")).await.expect("accepted").id;
        let in_use = service.projects.drop(&alice(), "p").await;
        assert!(matches!(in_use, Err(Error::ProjectInUse(_))), "{in_use:?}");
        let resumed = service.jobs.act(&alice(), Action::Resume, named(id, false)).await;
        let Err(Error::WrongState { action: Action::Resume, job, why: Refusal::State(state), more: 0 }) = resumed
        else {
            panic!("{resumed:?}");
        };
        assert_eq!((job, Status::of(state, false)), (id, Status::Pending));
        let log = service.jobs.log(&alice(), &id.to_string(), "7").await;
        assert!(matches!(&log, Err(Error::NoStep { job, steps: 2, .. }) if *job == id), "{log:?}");
    }

    #[tokio::test]
    async fn force_applies_to_discard_only() {
        let (service, _dir) = service().await;
        service.projects.create(&alice(), new_project("p")).await.expect("made");
        let id = service.jobs.submit(&alice(), probe("k")).await.expect("accepted").id;
        let state = async || service.jobs.show(&alice(), &id.to_string()).await.expect("shown").0.info.row.state;
        let paused = service.jobs.act(&alice(), Action::Pause, named(id, true)).await;
        assert!(matches!(paused, Err(Error::Force)), "{paused:?}");
        assert!(state().await.is_waiting());
        service.jobs.act(&alice(), Action::Discard, named(id, true)).await.expect("discarded");
        assert_eq!(state().await, JobState::Discarded);
    }
}
