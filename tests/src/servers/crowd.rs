//! A crowd of clients that takes all connections of a database server and does not use them.

use std::any::Any;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::bail;
use sqlx::{Connection as _, MySqlConnection, PgConnection};

/// The timeout for pushing out all other clients.
const PATIENCE: Duration = Duration::from_secs(30);
/// A connection that is being established is in no list, so no other client must be seen this many times in a row.
const QUIET: u32 = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(30);

/// The crowd. Dropping it closes its connections.
#[derive(Debug)]
pub struct Crowd {
    /// Open connections that are not used.
    _sessions: Box<dyn Any + Send>,
}

impl Crowd {
    /// Takes all connections of a PostgreSQL, including those reserved for superusers, and ends those of clients on other hosts
    /// until these have none.
    ///
    /// # Errors
    /// If other clients keep getting connections.
    pub async fn in_postgres(url: &str) -> anyhow::Result<Self> {
        let mut sessions = vec![PgConnection::connect(url).await?];
        let (until, mut quiet) = (Instant::now() + PATIENCE, 0);
        while Instant::now() < until {
            while let Ok(session) = PgConnection::connect(url).await {
                sessions.push(session);
            }
            let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                       WHERE backend_type = 'client backend' AND client_addr <> inet_client_addr()";
            let ended: i64 = sqlx::query_scalar(sql).fetch_one(&mut sessions[0]).await?;
            // Takes the free place before the other client gets it back.
            quiet = if ended == 0 { quiet + 1 } else { 0 };
            if quiet == QUIET {
                return Ok(Self { _sessions: Box::new(sessions) });
            }
            if quiet > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        bail!("other clients keep getting connections")
    }

    /// The same for a MariaDB. It does not always know a client's host, so every client outside the crowd counts as another.
    ///
    /// # Errors
    /// If other clients keep getting connections.
    pub async fn in_mariadb(url: &str) -> anyhow::Result<Self> {
        let (mut sessions, mut own) = (vec![MySqlConnection::connect(url).await?], BTreeSet::new());
        let (until, mut quiet) = (Instant::now() + PATIENCE, 0);
        while Instant::now() < until {
            while let Ok(session) = MySqlConnection::connect(url).await {
                sessions.push(session);
            }
            for session in sessions.iter_mut().skip(own.len()) {
                let id: i64 = sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS SIGNED)").fetch_one(session).await?;
                own.insert(id);
            }
            let sql = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
                       WHERE command <> 'Daemon' AND user <> 'system user'";
            let mut others: Vec<i64> = sqlx::query_scalar(sql).fetch_all(&mut sessions[0]).await?;
            others.retain(|id| !own.contains(id));
            quiet = if others.is_empty() { quiet + 1 } else { 0 };
            if quiet == QUIET {
                return Ok(Self { _sessions: Box::new(sessions) });
            }
            if quiet > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            for other in others {
                // A connection that has already ended cannot be killed.
                let kill = sqlx::AssertSqlSafe(format!("KILL CONNECTION {other}"));
                let _ = sqlx::query(kill).execute(&mut sessions[0]).await;
            }
        }
        bail!("other clients keep getting connections")
    }
}
