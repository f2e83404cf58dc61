//! Connections and their transactions: the pool, the deadline of a request, and what is certain after a failure.
//!
//! A [`Connection`] tracks its phase. Before a deciding statement is sent (COMMIT, or a statement that commits by
//! itself), any failure means that the request certainly did not happen: the connection is closed, so no COMMIT can
//! follow. From the sending of a deciding statement until its reply, only a refusal by the server is certain. No reply,
//! a broken connection and the deadline are [`Fault::Maybe`].
//!
//! A connection with an unknown outcome or a missed deadline is closed and never reused.

use std::future::Future;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use sqlx::ConnectOptions;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::clock;
use crate::config::{Backend, StoreConfig};
use crate::error::{Fault, Nature, StoreError, nature, told};
use crate::sql::{Sql, Statement};
use crate::traffic::Meters;
use crate::wire::{Arg, Dialect, RawConnection, Row, Session};

/// A connection that was idle for longer is pinged before it is reused.
const IDLE_MAX: Duration = Duration::from_millis(500);

/// A connection that was idle for this time is closed, so that a large cluster does not hold hundreds of idle connections.
pub(crate) const KEPT: Duration = Duration::from_secs(60);

/// The limit of PostgreSQL and SQLite for one statement, about a gigabyte.
const PACKET_MAX: usize = 1_000_000_000 - PACKET_MARGIN;

/// The part of a packet that is reserved for protocol overhead.
const PACKET_MARGIN: usize = 4_096;

/// The timeout of an orderly close.
const FAREWELL: Duration = Duration::from_secs(1);

/// The progress of a request on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No transaction.
    Idle,
    /// In a transaction, before a deciding statement.
    Open,
    /// A deciding statement was sent, and its reply is missing.
    Deciding,
}

/// A connection, used by one request at a time.
pub(crate) struct Connection {
    conn: RawConnection,
    pub(crate) sql: Arc<Sql>,
    phase: Phase,
    /// Whether this request has committed something. The outcome of a later failure is then unknown.
    committed: bool,
    /// The number of connection failures when it was opened; see [`Pool::suspect`].
    generation: u64,
    /// The server's timeline; see [`Opener::timeline`].
    timeline: i64,
    since: Instant,
    fresh: bool,
}

/// One transaction. It runs again from the start if a conflict certainly rolled it back.
pub(crate) trait Work: Sync {
    /// The result.
    type Out: Send;
    /// Whether it writes. On SQLite, writers of this process queue for the file instead of polling its lock.
    const WRITES: bool = true;

    /// Runs the transaction.
    fn run(&self, connection: &mut Connection) -> impl Future<Output = Result<Self::Out, Fault>> + Send;
}

/// A pool of connections for one purpose.
pub(crate) struct Pool {
    opener: Arc<Opener>,
    gate: Semaphore,
    /// Connections that are being opened, also for requests that have timed out.
    opening: Arc<Semaphore>,
    idle: Arc<Idle>,
    purpose: Purpose,
}

/// Idle connections, the most recently used on top.
#[derive(Default)]
struct Idle {
    connections: std::sync::Mutex<Vec<Connection>>,
    generation: AtomicU64,
}

/// The timeout of interactive queries. Requests of the contract have a shorter timeout where beats are frequent,
/// because trust must not depend on one slow answer. Trust does not depend on interactive queries.
pub(crate) const INTERACTIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The purpose of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The contract: short statements that use an index.
    Contract,
    /// Interactive queries of any form.
    Interactive,
}

/// How to open a connection.
pub(crate) struct Opener {
    target: Target,
    sql: Arc<Sql>,
    schema: Option<String>,
    named_statements: bool,
    ask_timeout: Duration,
    pub(crate) meters: Arc<Meters>,
    /// Serializes SQLite's writers of this process in order of arrival.
    writer: Mutex<()>,
    /// The index of the host that is tried first as the primary.
    first: AtomicUsize,
    /// The server's limit for one statement in bytes, as far as known.
    packet: AtomicUsize,
    /// The newest timeline of the primaries of several hosts. Each promotion of a standby begins a timeline. A primary
    /// on an older timeline was replaced and is refused, even though it accepts writes.
    timeline: AtomicI64,
}

enum Target {
    Sqlite(PathBuf),
    Postgres(Vec<PgConnectOptions>),
    MySql(Vec<MySqlConnectOptions>),
}

impl Connection {
    pub(crate) fn dialect(&self) -> Dialect {
        self.sql.dialect
    }

    /// Begins a write transaction.
    pub(crate) async fn begin(&mut self) -> Result<(), Fault> {
        let pooled = self.conn.begin_when_pooled();
        let text = match self.dialect() {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => pooled.as_deref().unwrap_or("BEGIN"),
            Dialect::MySql => "START TRANSACTION",
        };
        self.raw(text).await?;
        self.phase = Phase::Open;
        Ok(())
    }

    /// Commits the transaction.
    pub(crate) async fn commit(&mut self) -> Result<(), Fault> {
        debug_assert_eq!(self.phase, Phase::Open);
        self.phase = Phase::Deciding;
        self.raw("COMMIT").await?;
        self.phase = Phase::Idle;
        self.committed = true;
        Ok(())
    }

    /// Declares that the last commit changed nothing, so that a later failure is certain.
    pub(crate) fn nothing_committed(&mut self) {
        self.committed = false;
    }

    /// Rolls the transaction back.
    pub(crate) async fn rollback(&mut self) -> Result<(), Fault> {
        if self.phase == Phase::Open {
            self.raw("ROLLBACK").await?;
            self.phase = Phase::Idle;
        }
        Ok(())
    }

    /// Reads, inside or outside a transaction.
    pub(crate) async fn rows(&mut self, statement: fn(&Sql) -> &Statement, args: &[Arg]) -> Result<Vec<Row>, Fault> {
        let sql = self.sql.clone();
        self.rows_of(statement(&sql), args).await
    }

    /// Reads with a statement that was composed at run time.
    pub(crate) async fn rows_of(&mut self, statement: &Statement, args: &[Arg]) -> Result<Vec<Row>, Fault> {
        // Parsing and executing take two round trips. Only a transaction keeps a pooler's session for both.
        let bracketed = self.conn.is_pooled() && self.phase == Phase::Idle;
        if bracketed {
            self.begin().await?;
        }
        let rows = self.conn.rows(statement, args).await.map_err(|error| self.fault(&error))?;
        if bracketed {
            self.raw("COMMIT").await?;
            self.phase = Phase::Idle;
        }
        Ok(rows)
    }

    /// Writes inside a transaction. Returns the number of matched rows.
    pub(crate) async fn run(&mut self, statement: fn(&Sql) -> &Statement, args: &[Arg]) -> Result<u64, Fault> {
        debug_assert_eq!(self.phase, Phase::Open);
        let sql = self.sql.clone();
        let count = self.conn.run(statement(&sql), args).await;
        count.map_err(|error| self.fault(&error))
    }

    /// Writes with a statement that is its own transaction. Returns the number of matched rows.
    pub(crate) async fn alone(&mut self, statement: fn(&Sql) -> &Statement, args: &[Arg]) -> Result<u64, Fault> {
        self.before_alone().await?;
        let sql = self.sql.clone();
        let count = self.conn.run(statement(&sql), args).await.map_err(|error| self.fault(&error))?;
        self.after_alone().await?;
        Ok(count)
    }

    /// Writes with a statement that is its own transaction. Returns rows.
    pub(crate) async fn alone_rows(
        &mut self,
        statement: fn(&Sql) -> &Statement,
        args: &[Arg],
    ) -> Result<Vec<Row>, Fault> {
        self.before_alone().await?;
        let sql = self.sql.clone();
        let rows = self.conn.rows(statement(&sql), args).await.map_err(|error| self.fault(&error))?;
        self.after_alone().await?;
        Ok(rows)
    }

    fn is_bracketed(&self) -> bool {
        self.dialect() == Dialect::Sqlite || self.conn.is_pooled()
    }

    /// Prepares for a statement outside a transaction. A server commits it by itself, in one round trip. On SQLite, it is
    /// wrapped in a transaction, because BEGIN waits for the file's lock and can be cancelled safely. The same applies
    /// behind a pooler: see [`Connection::rows_of`].
    async fn before_alone(&mut self) -> Result<(), Fault> {
        debug_assert_eq!(self.phase, Phase::Idle);
        if self.is_bracketed() {
            return self.begin().await;
        }
        self.phase = Phase::Deciding;
        Ok(())
    }

    async fn after_alone(&mut self) -> Result<(), Fault> {
        if self.is_bracketed() {
            return self.commit().await;
        }
        self.phase = Phase::Idle;
        self.committed = true;
        Ok(())
    }

    /// Runs SQL text without arguments: transaction control, schema.
    pub(crate) async fn raw(&mut self, text: &str) -> Result<(), Fault> {
        let done = self.conn.raw(text).await;
        done.map_err(|error| self.fault(&error))
    }

    /// The meaning of an error in the current phase.
    fn fault(&self, error: &sqlx::Error) -> Fault {
        match (nature(error), self.phase) {
            (Nature::Conflict, _) => Fault::Again(told(error)),
            (_, _) if self.committed => Fault::Maybe(told(error)),
            (Nature::Denied | Nature::Unusable | Nature::Full | Nature::ReadOnly, _) => Fault::Certain(told(error)),
            (Nature::Broken, Phase::Idle | Phase::Open) => Fault::Certain(told(error)),
            (Nature::Broken, Phase::Deciding) => Fault::Maybe(told(error)),
        }
    }
}

impl Pool {
    /// A pool of at most `count` connections, opened on demand.
    pub(crate) fn new(opener: Arc<Opener>, count: u32, purpose: Purpose) -> Self {
        let [gate, opening] = [(); 2].map(|()| Semaphore::new(count as usize));
        Self { purpose, opener, gate, opening: Arc::new(opening), idle: Arc::default() }
    }

    /// A pool of at most `count` additional connections. It shares the idle connections but never waits for the other's limit.
    pub(crate) fn with_extra(&self, count: u32) -> Self {
        let [gate, opening] = [(); 2].map(|()| Semaphore::new(count as usize));
        let (opener, idle) = (self.opener.clone(), self.idle.clone());
        Self { opener, gate, opening: Arc::new(opening), idle, purpose: self.purpose }
    }

    /// The server's limit for one statement in bytes.
    pub(crate) fn packet_max(&self) -> usize {
        self.opener.packet.load(Ordering::Relaxed)
    }

    /// Runs `work` as one transaction within `patience`. Repeats it if a conflict rolled it back.
    pub(crate) async fn carry<W: Work>(&self, work: &W, patience: Duration) -> Result<W::Out, Fault> {
        let deadline = clock::now() + patience;
        let late = || StoreError::Late(patience);
        let Ok(permit) = timeout_at(deadline, self.gate.acquire()).await else {
            return Err(Fault::Certain(late()));
        };
        let _permit = permit.expect("the gate is never closed");
        let mut tries = 0_u32;
        loop {
            // SQLite's writers of this process queue here. Between processes, the file's lock decides.
            let _turn = if W::WRITES && self.opener.sql.dialect == Dialect::Sqlite {
                match timeout_at(deadline, self.opener.writer.lock()).await {
                    Ok(turn) => Some(turn),
                    Err(_) => return Err(Fault::Certain(late())),
                }
            } else {
                None
            };
            let mut connection = match timeout_at(deadline, self.connection()).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(Fault::Again(_))) => {
                    tries += 1;
                    tokio::time::sleep(pause(tries)).await;
                    continue;
                }
                Ok(Err(fault)) => return Err(fault),
                Err(_) => return Err(Fault::Certain(late())),
            };
            let fault = match timeout_at(deadline, work.run(&mut connection)).await {
                Ok(Ok(out)) => {
                    if connection.phase == Phase::Deciding {
                        // The answers are correct, but the state of the connection is unknown.
                        self.suspect();
                        return Ok(out);
                    }
                    if connection.phase == Phase::Open {
                        // Only reads and a refusal. If the rollback fails, closing the connection rolls back as well.
                        if !matches!(timeout_at(deadline, connection.rollback()).await, Ok(Ok(()))) {
                            return Ok(out);
                        }
                    }
                    self.keep(connection);
                    return Ok(out);
                }
                // A part is committed, so the transaction must not run again.
                Ok(Err(Fault::Again(error))) if connection.committed => Fault::Maybe(error),
                Ok(Err(fault)) => fault,
                Err(_) if connection.phase == Phase::Deciding || connection.committed => Fault::Maybe(late()),
                Err(_) => Fault::Certain(late()),
            };
            let stale = !connection.fresh && matches!(fault, Fault::Certain(StoreError::Unreachable(_)));
            match &fault {
                Fault::Again(_) => {
                    // The server replied, so the connection is usable after a rollback. After a refused COMMIT or single
                    // statement no transaction is open, and ROLLBACK has no effect.
                    connection.phase = Phase::Open;
                    if matches!(timeout_at(deadline, connection.rollback()).await, Ok(Ok(())))
                        || connection.dialect() == Dialect::Sqlite
                    {
                        connection.phase = Phase::Idle;
                        self.keep(connection);
                    }
                }
                Fault::Certain(StoreError::Refused(_) | StoreError::TooLarge { .. } | StoreError::Unusable(_)) => {
                    connection.phase = Phase::Open;
                    if matches!(timeout_at(deadline, connection.rollback()).await, Ok(Ok(()))) {
                        self.keep(connection);
                    }
                }
                Fault::Certain(_) | Fault::Maybe(_) => {
                    self.suspect();
                    drop(connection);
                }
            }
            // A conflict, or a pooled connection that broke before the first statement.
            if (matches!(fault, Fault::Again(_)) || stale) && clock::now() < deadline {
                tries += 1;
                tracing::debug!(tries, ?fault, "repeating a metastore transaction");
                if !stale {
                    tokio::time::sleep(pause(tries)).await;
                }
                continue;
            }
            return Err(fault);
        }
    }

    /// A usable idle connection, or a new one.
    async fn connection(&self) -> Result<Connection, Fault> {
        if let Some(connection) = self.idle_connection().await {
            return Ok(connection);
        }
        let opening = self.opening.clone().acquire_owned().await.expect("it is never closed");
        // Another request's connection may be idle by now.
        if let Some(connection) = self.idle_connection().await {
            return Ok(connection);
        }
        let (tell, told) = oneshot::channel();
        let (opener, idle, purpose) = (self.opener.clone(), self.idle.clone(), self.purpose);
        // Opening continues after this request's timeout. Otherwise requests with short timeouts would reconnect to a
        // slow server forever without success.
        tokio::spawn(async move {
            let _opening = opening;
            let patience = opener.ask_timeout.max(INTERACTIVE_TIMEOUT);
            let opened = match timeout_at(clock::now() + patience, opener.open(purpose)).await {
                Ok(opened) => opened.map(|(conn, timeline)| Connection {
                    conn,
                    timeline,
                    sql: opener.sql.clone(),
                    phase: Phase::Idle,
                    committed: false,
                    generation: idle.generation.load(Ordering::Relaxed),
                    since: clock::now(),
                    fresh: true,
                }),
                Err(_) => Err(Fault::Certain(StoreError::Late(patience))),
            };
            if let Err(Ok(unwanted)) = tell.send(opened) {
                idle.connections.lock().expect("no panic while held").push(unwanted);
            }
        });
        told.await.unwrap_or_else(|_| Err(Fault::Certain(StoreError::Unreachable("the runtime is ending".to_owned()))))
    }

    async fn idle_connection(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle.connections.lock().expect("no panic while held").pop()?;
            let is_sound = connection.generation == self.idle.generation.load(Ordering::Relaxed);
            if !is_sound || !self.opener.is_newest(connection.timeline) {
                continue;
            }
            if connection.since.elapsed() > IDLE_MAX
                && connection.dialect() != Dialect::Sqlite
                && connection.conn.ping().await.is_err()
            {
                self.suspect();
                continue;
            }
            connection.fresh = false;
            connection.committed = false;
            return Some(connection);
        }
    }

    fn keep(&self, mut connection: Connection) {
        connection.since = clock::now();
        self.idle.connections.lock().expect("no panic while held").push(connection);
    }

    /// Refuses a pooler that moves sessions between transactions, unless statements are unnamed. Such a pooler is
    /// detected when two connections have the same session at the same time.
    pub(crate) async fn refuse_pooler(&self, other: &Self) -> Result<(), Fault> {
        if self.opener.sql.dialect != Dialect::Postgres || !self.opener.named_statements {
            return Ok(());
        }
        let (mut first, mut second) = (self.connection().await?, other.connection().await?);
        let session = Statement::once("SELECT CAST(pg_backend_pid() AS BIGINT)", Dialect::Postgres, "");
        let mut sessions = Vec::new();
        for connection in [&mut first, &mut second] {
            connection.begin().await?;
            let rows = connection.rows_of(&session, &[]).await?;
            connection.rollback().await?;
            sessions.push(rows.first().map(|row| row.num::<i64>(0)).transpose()?);
        }
        if sessions[0] == sessions[1] {
            return Err(Fault::Certain(StoreError::Config(
                "a connection pooler in front of PostgreSQL moves sessions between transactions, which loses prepared \
                 statements: add prepareThreshold=0 to the URL, or set its pool_mode to session"
                    .to_owned(),
            )));
        }
        self.keep(first);
        other.keep(second);
        Ok(())
    }

    /// Marks idle connections as suspect after a connection broke, because they probably broke too.
    fn suspect(&self) {
        if self.opener.sql.dialect != Dialect::Sqlite {
            self.idle.generation.fetch_add(1, Ordering::Relaxed);
            // Another host may be the primary by now, and this one may not know.
            self.opener.first.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Closes connections that were idle for at least this time.
    pub(crate) async fn close(&self, idle_for: Duration) {
        let old: Vec<Connection> = {
            let mut connections = self.idle.connections.lock().expect("no panic while held");
            // Sorted by the time of return to the pool.
            let old = connections.partition_point(|connection| connection.since.elapsed() >= idle_for);
            connections.drain(..old).collect()
        };
        for connection in old {
            // A connection that does not close in time is dropped.
            let _ = tokio::time::timeout(FAREWELL, connection.conn.close()).await;
        }
    }
}

impl Opener {
    /// Parses the configuration.
    pub(crate) fn new(config: &StoreConfig, sql: Arc<Sql>) -> Result<Self, StoreError> {
        let target = match &config.backend {
            Backend::Sqlite { path } => Target::Sqlite(path.clone()),
            Backend::Postgres { url } => Target::Postgres(
                hosts(url)
                    .map(|url| {
                        let mut options = PgConnectOptions::from_str(&url).map_err(unreadable)?;
                        if let (Some(user), false) = (&config.user, has_user(&url)) {
                            options = options.username(user);
                        }
                        if let Some(password) = &config.password {
                            options = options.password(password);
                        }
                        if let Some(tls) = &config.tls {
                            options = tls.postgres(options);
                        }
                        if let Some(address) = bare_v6(&url) {
                            options = options.host(address);
                        }
                        let kept = if config.named_statements { 256 } else { 0 };
                        Ok(options.application_name("kirin").statement_cache_capacity(kept).disable_statement_logging())
                    })
                    .collect::<Result<_, StoreError>>()?,
            ),
            Backend::MySql { url } => Target::MySql(
                hosts(url)
                    .map(|url| {
                        let mut options = MySqlConnectOptions::from_str(&url).map_err(unreadable)?;
                        if let (Some(user), false) = (&config.user, has_user(&url)) {
                            options = options.username(user);
                        }
                        if let Some(password) = &config.password {
                            options = options.password(password);
                        }
                        if let Some(tls) = &config.tls {
                            options = tls.mysql(options);
                        }
                        if let Some(address) = bare_v6(&url) {
                            options = options.host(address);
                        }
                        Ok(options.charset("utf8mb4").statement_cache_capacity(256).disable_statement_logging())
                    })
                    .collect::<Result<_, StoreError>>()?,
            ),
        };
        Ok(Self {
            target,
            sql,
            schema: config.schema.clone(),
            named_statements: config.named_statements,
            ask_timeout: config.ask_timeout,
            meters: Arc::default(),
            writer: Mutex::new(()),
            first: AtomicUsize::new(0),
            packet: AtomicUsize::new(PACKET_MAX),
            timeline: AtomicI64::new(0),
        })
    }

    fn timeout(&self, purpose: Purpose) -> Duration {
        match purpose {
            Purpose::Contract => self.ask_timeout,
            Purpose::Interactive => self.ask_timeout.max(INTERACTIVE_TIMEOUT),
        }
    }

    /// Opens a connection to the primary and prepares the session. Returns the server's timeline, if relevant.
    async fn open(&self, purpose: Purpose) -> Result<(RawConnection, i64), Fault> {
        match &self.target {
            Target::Sqlite(path) => Ok((self.open_sqlite(path, purpose).await?, 0)),
            Target::Postgres(hosts) => {
                let many = hosts.len() > 1;
                self.open_primary(hosts, |host| self.open_postgres(host, purpose, many)).await
            }
            Target::MySql(hosts) => self.open_primary(hosts, |host| self.open_mysql(host, purpose)).await,
        }
    }

    /// Searches the hosts for the primary, one after the other, without waiting for unresponsive ones.
    async fn open_primary<'a, O, F>(
        &'a self,
        hosts: &'a [O],
        open: impl Fn(&'a O) -> F,
    ) -> Result<(RawConnection, i64), Fault>
    where
        F: Future<Output = Result<(RawConnection, i64), StoreError>>,
    {
        let first = self.first.load(Ordering::Relaxed);
        let mut hosts = (0..hosts.len()).map(|at| (first + at) % hosts.len()).map(|at| (at, &hosts[at]));
        let mut asked = FuturesUnordered::new();
        let mut last = None;
        loop {
            let next = hosts.next();
            let is_last = next.is_none();
            if let Some((at, host)) = next {
                let answer = open(host);
                asked.push(async move { (at, answer.await) });
            }
            let silence = clock::now() + self.ask_timeout / 4;
            let answer = match is_last {
                true => asked.next().await,
                false => timeout_at(silence, asked.next()).await.unwrap_or(None),
            };
            match answer {
                Some((at, Ok(opened))) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(opened);
                }
                Some((_, Err(error))) => last = prefer(last, error),
                None if is_last => return Err(Fault::Certain(last.unwrap_or_else(no_host))),
                None => {}
            }
        }
    }

    /// Whether no newer timeline is known.
    fn is_newest(&self, timeline: i64) -> bool {
        timeline >= self.timeline.load(Ordering::Relaxed)
    }

    async fn open_sqlite(&self, path: &PathBuf, purpose: Purpose) -> Result<RawConnection, Fault> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(false)
            // Short, because refused requests retry after a small random pause until their deadline. SQLite's own
            // waiting backs off to 100 ms and is not fair.
            .busy_timeout(Duration::from_millis(10))
            .statement_cache_capacity(256)
            .disable_statement_logging();
        match options.connect().await {
            Ok(conn) => Ok(RawConnection::new(Session::Sqlite(conn), self.meters.meter(purpose), PACKET_MAX)),
            // Another process switches the file to WAL or recovers it.
            Err(error) if matches!(nature(&error), Nature::Conflict) => Err(Fault::Again(told(&error))),
            Err(error) => Err(Fault::Certain(StoreError::Unreachable(format!("{}: {error}", path.display())))),
        }
    }

    async fn open_postgres(
        &self,
        options: &PgConnectOptions,
        purpose: Purpose,
        is_one_of_many: bool,
    ) -> Result<(RawConnection, i64), StoreError> {
        let session = Session::Postgres(options.connect().await.map_err(|error| told(&error))?);
        let mut conn = RawConnection::new(session, self.meters.meter(purpose), PACKET_MAX);
        if self.named_statements {
            conn.raw(&self.postgres_settings(purpose, "")).await.map_err(|error| told(&error))?;
            conn.raw("SET default_transaction_isolation = 'read committed'").await.map_err(|error| told(&error))?;
        } else {
            // Each transaction may use another session of the server, and other clients may use this one later.
            let settings = self.postgres_settings(purpose, "LOCAL ");
            conn.is_pooled_with(&format!("BEGIN ISOLATION LEVEL READ COMMITTED; {settings}"));
        }
        if !self.named_statements {
            conn.raw("BEGIN").await.map_err(|error| told(&error))?;
        }
        if let Some(schema) = &self.schema {
            go_to_schema(&mut conn, schema).await?;
        }
        let about = "SELECT CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END, \
                     CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
        let rows =
            conn.rows(&Statement::once(about, Dialect::Postgres, ""), &[]).await.map_err(|error| told(&error))?;
        match rows.first().map(|row| Ok::<_, StoreError>((row.num::<i64>(0)?, row.num::<i64>(1)?))).transpose()? {
            Some((0, wall_ms)) => clock::server_says(wall_ms),
            _ => return Err(StoreError::Standby),
        }
        if !self.named_statements {
            conn.raw("COMMIT").await.map_err(|error| told(&error))?;
        }
        if !is_one_of_many {
            return Ok((conn, 0));
        }
        // The first eight digits of the name of the current WAL file. A server without such files is accepted.
        let about =
            "SELECT CAST(CAST('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) AS BIT(32)) AS BIGINT)";
        let found = match conn.rows(&Statement::once(about, Dialect::Postgres, ""), &[]).await {
            Ok(rows) => rows.first().map(|row| row.num::<i64>(0)).transpose()?,
            Err(error) if matches!(nature(&error), Nature::Denied | Nature::Unusable) => None,
            Err(error) => return Err(told(&error)),
        };
        let Some(found) = found else { return Ok((conn, i64::MAX)) };
        let seen = self.timeline.fetch_max(found, Ordering::Relaxed);
        if found < seen {
            return Err(StoreError::Outdated { found, seen });
        }
        Ok((conn, found))
    }

    /// The settings of a session, or of one transaction.
    fn postgres_settings(&self, purpose: Purpose, scope: &str) -> String {
        let ms = self.timeout(purpose).as_millis().max(1);
        let mut settings = vec![
            // The server stops at the same time as the client, so that a timed-out request is not executed later.
            format!("statement_timeout = {ms}"),
            format!("idle_in_transaction_session_timeout = {ms}"),
            "synchronous_commit = on".to_owned(),
            "jit = off".to_owned(),
            // Every statement uses the index that was made for it, regardless of statistics. A bitmap scan would not
            // mark the dead entries that a busy queue leaves in its indexes. Parallel workers take longer to start than
            // they save.
            "enable_seqscan = off".to_owned(),
            "enable_bitmapscan = off".to_owned(),
            "enable_mergejoin = off".to_owned(),
            "max_parallel_workers_per_gather = 0".to_owned(),
        ];
        if purpose == Purpose::Contract {
            // Statements of the contract are planned once.
            settings.push("plan_cache_mode = force_generic_plan".to_owned());
        }
        settings.into_iter().map(|setting| format!("SET {scope}{setting}")).collect::<Vec<_>>().join("; ")
    }

    async fn open_mysql(
        &self,
        options: &MySqlConnectOptions,
        purpose: Purpose,
    ) -> Result<(RawConnection, i64), StoreError> {
        let session = Session::MySql(options.connect().await.map_err(|error| told(&error))?);
        let mut conn = RawConnection::new(session, self.meters.meter(purpose), PACKET_MAX);
        let secs = self.timeout(purpose).as_secs().max(1);
        conn.raw("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.map_err(|error| told(&error))?;
        conn.raw(&format!("SET SESSION innodb_lock_wait_timeout = {secs}")).await.map_err(|error| told(&error))?;
        let about = "SELECT VERSION(), CAST(@@global.read_only AS SIGNED), CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED), \
             CAST(@@max_allowed_packet AS SIGNED)";
        let rows = conn.rows(&Statement::once(about, Dialect::MySql, ""), &[]).await.map_err(|error| told(&error))?;
        let Some(row) = rows.first() else { return Err(StoreError::Corrupt("no server version".to_owned())) };
        if row.num::<i64>(1)? != 0 {
            return Err(StoreError::Standby);
        }
        clock::server_says(row.num(2)?);
        // A server closes the connection on a packet that is too large, so such a packet must not be sent.
        let packet = row.num::<usize>(3)?.saturating_sub(PACKET_MARGIN).min(PACKET_MAX);
        conn.limit(packet);
        self.packet.store(packet, Ordering::Relaxed);
        // A text that does not fit its column is refused, not truncated.
        conn.raw("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")
            .await
            .map_err(|error| told(&error))?;
        // A frozen client must not keep its locks. MariaDB ends idle transactions, MySQL only idle sessions.
        let limit = if row.string(0)?.contains("MariaDB") {
            format!("SET SESSION idle_transaction_timeout = {secs}, SESSION max_statement_time = {secs}")
        } else {
            format!("SET SESSION wait_timeout = {}", secs.max(30))
        };
        conn.raw(&limit).await.map_err(|error| told(&error))?;
        Ok((conn, 0))
    }
}

/// Sets the search path, and checks that its first schema exists. PostgreSQL would skip a missing schema, and the next
/// one may contain another cluster.
async fn go_to_schema(conn: &mut RawConnection, path: &str) -> Result<(), StoreError> {
    let set = Statement::once(
        "SELECT set_config('search_path', $1, false), COALESCE(CAST(to_regnamespace($2) AS text), '')",
        Dialect::Postgres,
        "",
    );
    let first = path.split(',').next().unwrap_or(path).trim();
    let rows = conn.rows(&set, &[Arg::from(path), Arg::from(first)]).await.map_err(|error| told(&error))?;
    let found = rows.first().map(|row| row.string(1)).transpose()?.unwrap_or_default();
    if found.is_empty() {
        return Err(StoreError::Config(format!("currentSchema: the database has no schema {first}; create it")));
    }
    Ok(())
}

/// One URL per host: `scheme://user@a,b:1/db` has two.
fn hosts(url: &str) -> impl Iterator<Item = String> + '_ {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let (user, places) = authority.rsplit_once('@').map_or(("", authority), |(user, places)| (user, places));
    let at = if user.is_empty() { "" } else { "@" };
    places.split(',').map(move |place| format!("{scheme}://{user}{at}{place}{path}"))
}

/// The IPv6 address of a URL's only host, without its brackets, which the driver would treat as part of the name.
fn bare_v6(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    place.strip_prefix('[')?.split(']').next()
}

fn has_user(url: &str) -> bool {
    url.split_once("://")
        .is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|authority| authority.contains('@')))
}

/// Omits the URL, which may contain a password.
fn unreadable(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Configuration(why) => StoreError::Config(format!("cannot parse the metastore URL: {why}")),
        _ => StoreError::Config("cannot parse the metastore URL".to_owned()),
    }
}

fn no_host() -> StoreError {
    StoreError::Config("the metastore URL has no host".to_owned())
}

/// Selects the most informative error of several hosts.
fn prefer(last: Option<StoreError>, error: StoreError) -> Option<StoreError> {
    match (&last, &error) {
        (Some(StoreError::Outdated { .. }), _) => last,
        // A standby is expected. The error of the primary matters more.
        (Some(_), StoreError::Standby) => last,
        _ => Some(error),
    }
}

/// A short random pause that grows with each try, so that two victims do not collide again.
fn pause(tries: u32) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let chance = RandomState::new().hash_one(tries);
    let micros_max = 500_u64 << tries.min(5);
    Duration::from_micros(100 + chance % micros_max)
}
