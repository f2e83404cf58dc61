//! A server that is reused for many histories.

use std::sync::Arc;
use std::time::Duration;

use kirin_store::{Backend, StoreConfig};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, MySqlConnection, PgConnection, SqliteConnection, raw_sql};
use tokio::runtime::Runtime;

use crate::store::{Clients, On, config};

/// The clients of an open metastore, and a connection that empties it.
pub(super) struct Server {
    runtime: Runtime,
    pub(super) clients: Arc<Clients>,
    broom: tokio::sync::Mutex<Broom>,
    sweep: String,
    // Declared last: dropped after the connections.
    _memory: Option<tempfile::TempDir>,
}

/// A connection that empties tables. Creating them again would take longer than most histories.
enum Broom {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

impl Server {
    pub(super) fn open(on: On, prepare: impl FnOnce(&mut StoreConfig)) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let mut config = config(on);
        config.connections = 6;
        // Long timeouts for a busy machine.
        config.ask_timeout = Duration::from_secs(30);
        prepare(&mut config);
        // Commits are cheap on a file system in memory.
        let memory = tempfile::tempdir_in("/dev/shm").ok().filter(|_| on == On::Sqlite);
        if let (Backend::Sqlite { path }, Some(memory)) = (&mut config.backend, &memory) {
            *path = memory.path().join("model.db");
        }
        let clients = runtime.block_on(Clients::of(&config, 3));
        let broom = tokio::sync::Mutex::new(runtime.block_on(Broom::to(&config.backend)));
        let tables = ["attempt", "beat", "claim", "job", "member", "node", "project", "step"];
        let quote = if on == On::MariaDb { '`' } else { '"' };
        let delete = |table| format!("DELETE FROM {quote}{}_{table}{quote};", config.identifier);
        Self { runtime, clients, broom, sweep: tables.map(delete).concat(), _memory: memory }
    }

    /// Empties the server and runs a history.
    pub(super) fn run<T>(&self, history: impl Future<Output = T>) -> T {
        self.runtime.block_on(async {
            self.broom.lock().await.sweep(&self.sweep).await.expect("the tables are emptied");
            history.await
        })
    }
}

impl Broom {
    async fn to(backend: &Backend) -> Self {
        match backend {
            Backend::Sqlite { path } => {
                Self::Sqlite(SqliteConnectOptions::new().filename(path).connect().await.expect("the file opens"))
            }
            Backend::Postgres { url } => {
                let options: PgConnectOptions = url.parse().expect("a URL");
                Self::Postgres(options.connect().await.expect("it connects"))
            }
            Backend::MySql { url } => {
                let options: MySqlConnectOptions = url.parse().expect("a URL");
                Self::MySql(options.connect().await.expect("it connects"))
            }
        }
    }

    async fn sweep(&mut self, sql: &str) -> sqlx::Result<()> {
        let sql = raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Sqlite(conn) => sql.execute(conn).await.map(drop),
            Self::Postgres(conn) => sql.execute(conn).await.map(drop),
            Self::MySql(conn) => sql.execute(conn).await.map(drop),
        }
    }
}
