//! A crowd of clients that takes all connections of a database server, and does nothing with them.

use std::any::Any;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::bail;
use sqlx::{Connection as _, MySqlConnection, PgConnection};

/// How long it may take to push everybody else out.
const PATIENCE: Duration = Duration::from_secs(30);
/// One that is only just being let in is in no list: nobody must be seen so many times.
const QUIET: u32 = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(30);

/// The crowd; it goes home when it is dropped.
#[derive(Debug)]
pub struct Crowd {
    /// Held, and not used.
    _sessions: Box<dyn Any + Send>,
}

impl Crowd {
    /// Takes all connections of a PostgreSQL, those that are kept for superusers included, and ends those of clients on other
    /// hosts, until they have none.
    ///
    /// # Errors
    /// If they always get one again.
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
            // Whose place is free now must not get it back.
            quiet = if ended == 0 { quiet + 1 } else { 0 };
            if quiet == QUIET {
                return Ok(Self { _sessions: Box::new(sessions) });
            }
            if quiet > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        bail!("others always get a connection again")
    }

    /// The same of a MariaDB. It does not always know from where a client is: whoever is not of the crowd is another.
    ///
    /// # Errors
    /// If they always get one again.
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
                // One that is gone by itself can't be ended.
                let kill = sqlx::AssertSqlSafe(format!("KILL CONNECTION {other}"));
                let _ = sqlx::query(kill).execute(&mut sessions[0]).await;
            }
        }
        bail!("others always get a connection again")
    }
}
