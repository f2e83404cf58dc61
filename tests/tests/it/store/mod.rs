//! The metastore on real databases.

mod contract;
mod faults;
mod model;
mod operations;
mod planted;
mod pooler;
mod refusals;
mod tls;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use kirin_core::ask::ProjectId;
use kirin_core::{Answer, Ask};
use kirin_store::{Backend, Extra, Store, StoreConfig};
use kirin_tests::conformance::Contract;
use kirin_tests::servers::mariadb::MariaDb;
use kirin_tests::servers::postgres::Postgres;

/// A database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
    MariaDb,
}

/// A configuration for an empty metastore: a new file, or a new prefix in a shared database.
pub(crate) fn config(on: On) -> StoreConfig {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let backend = match on {
        On::Sqlite => Backend::Sqlite { path: files().join(format!("{number}.db")) },
        On::Postgres => {
            static URL: OnceLock<String> = OnceLock::new();
            let url = URL.get_or_init(|| Postgres::shared().database().expect("a database can be made"));
            url.parse().expect("a URL")
        }
        On::MariaDb => {
            static URL: OnceLock<String> = OnceLock::new();
            let url = URL.get_or_init(|| MariaDb::shared().database().expect("a database can be made"));
            url.parse().expect("a URL")
        }
    };
    let mut config = StoreConfig::new(backend);
    config.identifier = format!("T{number}");
    config
}

/// A directory for this run's SQLite files.
fn files() -> &'static std::path::Path {
    static FILES: OnceLock<tempfile::TempDir> = OnceLock::new();
    FILES.get_or_init(|| tempfile::tempdir().expect("a temporary directory")).path()
}

pub(crate) async fn open(config: &StoreConfig) -> Store {
    Store::open(config).await.expect("the metastore opens")
}

/// Clients like those of several processes: requests use several stores in turn, which share only the database.
pub(crate) struct Clients {
    stores: Vec<Store>,
    next: AtomicU32,
}

impl Clients {
    pub(crate) async fn of(config: &StoreConfig, count: usize) -> Arc<Self> {
        let mut stores = Vec::new();
        for _ in 0..count {
            stores.push(open(config).await);
        }
        Arc::new(Self { stores, next: AtomicU32::new(0) })
    }

    fn one(&self) -> &Store {
        &self.stores[self.next.fetch_add(1, Ordering::Relaxed) as usize % self.stores.len()]
    }
}

impl Contract for Clients {
    fn ask(&self, node: &str, ask: Ask) -> BoxFuture<'_, Answer> {
        let extra = match ask {
            Ask::Join { .. } => Extra::Join {
                node: node.to_owned(),
                link: "127.0.0.1:1".to_owned(),
                http: "127.0.0.1:2".to_owned(),
                version: "0".to_owned(),
            },
            _ => Extra::None,
        };
        Box::pin(async move { self.one().ask(&ask, extra).await })
    }

    fn project(&self, name: &str, limit: u32) -> BoxFuture<'_, ProjectId> {
        let name = name.to_owned();
        Box::pin(async move {
            let made = self.one().project_add(&name, limit, "", "{}").await.expect("a project can be made");
            made.expect("its name is new")
        })
    }
}
