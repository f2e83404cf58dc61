//! The open metastore: its connection pools and their uses.
//!
//! Beats have their own connection, and changes of members always can get one. Neither housekeeping nor interactive
//! queries nor a full pool can delay them. Idle connections close after a while, except that of beats. An idle node
//! holds two connections.

use std::sync::{Arc, Weak};
use std::time::Duration;

use kirin_core::Answer;

use crate::batch::Batches;
use crate::commit::{Finish, Release, Step};
use crate::config::StoreConfig;
use crate::connection::{INTERACTIVE_TIMEOUT, KEPT, Opener, Pool, Purpose, Work};
use crate::error::{Fault, StoreError};
use crate::migrate::Migrate;
use crate::sql::{Sql, Statement};
use crate::submit::{NewJob, Submits, Submitted};
use crate::take::Take;
use crate::traffic::{Meters, Traffic};
use crate::wire::{Arg, Dialect, Row};

/// The metastore. Clones are cheap and share the connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    sql: Arc<Sql>,
    meters: Arc<Meters>,
    ask_timeout: Duration,
    /// Only for [`kirin_core::Ask::Beat`].
    beat: Arc<Pool>,
    /// For changes of members.
    members: Arc<Pool>,
    /// For the contract's other requests.
    pub(crate) work: Arc<Pool>,
    /// For interactive queries.
    people: Arc<Pool>,
    batches: Option<Batches>,
}

impl Store {
    /// Opens the metastore and brings its schema up to date.
    ///
    /// # Errors
    /// If the configuration is invalid, the server cannot be reached in time or is not a primary, or the schema is
    /// newer than this program.
    pub async fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        config.checked()?;
        let dialect = match config.backend {
            crate::Backend::Sqlite { .. } => Dialect::Sqlite,
            crate::Backend::Postgres { .. } => Dialect::Postgres,
            crate::Backend::MySql { .. } => Dialect::MySql,
        };
        let sql = Arc::new(Sql::new(dialect, &config.identifier, config.planted.as_ref()));
        let opener = Arc::new(Opener::new(config, sql.clone())?);
        let pool = |count, purpose| Arc::new(Pool::new(opener.clone(), count, purpose));
        let people = pool(config.connections.div_ceil(2), Purpose::Interactive);
        let (beat, members, work) = if config.one_pool {
            (people.clone(), people.clone(), people.clone())
        } else {
            let work = pool(config.connections, Purpose::Contract);
            (pool(1, Purpose::Contract), Arc::new(work.with_extra(1)), work)
        };
        let inner = Arc::new(Inner {
            sql,
            meters: opener.meters.clone(),
            ask_timeout: config.ask_timeout,
            beat,
            members,
            work,
            people,
            batches: config.batch.then(Batches::default),
        });
        tokio::time::timeout(config.open_timeout, inner.members.refuse_pooler(&inner.beat))
            .await
            .map_err(|_| StoreError::Late(config.open_timeout))?
            .map_err(Fault::into_error)?;
        inner.members.carry(&Migrate, config.open_timeout).await.map_err(Fault::into_error)?;
        if let Some(batches) = &inner.batches {
            batches.start(&inner);
        }
        tokio::spawn(close_idle(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// The traffic since the metastore was opened.
    pub fn traffic(&self) -> Traffic {
        self.inner.meters.read()
    }

    /// Closes idle connections. Those in use close after their request.
    pub async fn close(&self) {
        for pool in [&self.inner.beat, &self.inner.work, &self.inner.people] {
            pool.close(Duration::ZERO).await;
        }
    }

    /// Accepts many jobs with one statement. None of them may reserve ranges.
    ///
    /// # Errors
    /// If the metastore cannot be written. After a lost reply, the jobs may have been accepted: submit them again with
    /// the same keys.
    pub async fn submit_many(&self, jobs: &[NewJob]) -> Result<Vec<Submitted>, StoreError> {
        if jobs.iter().any(|job| !job.segments.is_empty()) {
            return Err(StoreError::Config("a job that reserves ranges must be submitted alone".to_owned()));
        }
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        jobs.iter().try_for_each(NewJob::checked)?;
        self.inner.work.carry(&Submits(jobs), self.inner.ask_timeout).await.map_err(Fault::into_error)
    }

    /// Accepts a job and reserves its ranges, both or neither. Unlike [`Store::ask`], it returns the reason for a refusal.
    ///
    /// # Errors
    /// If the job was certainly not accepted.
    pub async fn submit(&self, job: NewJob) -> Result<Submitted, StoreError> {
        match self.submits(job).await {
            Err(Fault::Maybe(error)) => {
                tracing::debug!(%error, "the reply to a submit was lost");
                Ok(Submitted::Unknown)
            }
            Err(Fault::Again(error) | Fault::Certain(error)) => Err(error),
            Ok(submitted) => Ok(submitted),
        }
    }

    pub(crate) async fn beats<W: Work>(&self, work: &W) -> Result<W::Out, Fault> {
        Box::pin(self.inner.beat.carry(work, self.inner.ask_timeout)).await
    }

    pub(crate) async fn members<W: Work>(&self, work: &W) -> Result<W::Out, Fault> {
        Box::pin(self.inner.members.carry(work, self.inner.ask_timeout)).await
    }

    pub(crate) async fn works<W: Work>(&self, work: &W) -> Result<W::Out, Fault> {
        Box::pin(self.inner.work.carry(work, self.inner.ask_timeout)).await
    }

    pub(crate) async fn looks<W: Work>(&self, work: &W) -> Result<W::Out, Fault> {
        Box::pin(self.inner.work.carry(work, self.inner.ask_timeout)).await
    }

    pub(crate) async fn takes(&self, take: Take) -> Result<Answer, Fault> {
        Batches::take(&self.inner, take).await
    }

    pub(crate) async fn commits(&self, step: Step) -> Result<Answer, Fault> {
        Batches::step(&self.inner, step).await
    }

    pub(crate) async fn finishes(&self, finish: Finish) -> Result<Answer, Fault> {
        Batches::finish(&self.inner, finish).await
    }

    pub(crate) async fn releases(&self, release: Release) -> Result<Answer, Fault> {
        Batches::release(&self.inner, release).await
    }

    pub(crate) async fn submits(&self, job: NewJob) -> Result<Submitted, Fault> {
        job.checked()?;
        Batches::submit(&self.inner, job).await
    }

    pub(crate) fn ask_timeout(&self) -> Duration {
        self.inner.ask_timeout
    }

    /// Runs a transaction outside the contract.
    pub(crate) async fn write<W: Work>(&self, work: &W) -> Result<W::Out, StoreError> {
        self.inner.people.carry(work, self.inner.ask_timeout.max(INTERACTIVE_TIMEOUT)).await.map_err(Fault::into_error)
    }

    /// Runs a query outside the contract.
    pub(crate) async fn read(&self, statement: fn(&Sql) -> &Statement, args: &[Arg]) -> Result<Vec<Row>, StoreError> {
        self.read_of(statement(&self.inner.sql), args).await
    }

    /// The same, planned for the current data: not kept as a prepared statement.
    pub(crate) async fn read_afresh(
        &self,
        statement: fn(&Sql) -> &Statement,
        args: &[Arg],
    ) -> Result<Vec<Row>, StoreError> {
        self.read_of(&statement(&self.inner.sql).unkept(), args).await
    }

    /// Runs a query that was composed at run time.
    pub(crate) async fn read_of(&self, statement: &Statement, args: &[Arg]) -> Result<Vec<Row>, StoreError> {
        self.inner
            .people
            .carry(&Question { statement, args }, self.inner.ask_timeout.max(INTERACTIVE_TIMEOUT))
            .await
            .map_err(Fault::into_error)
    }

    pub(crate) fn once(&self, source: &str) -> Statement {
        Statement::once(source, self.dialect(), &self.inner.sql.prefix)
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.inner.sql.dialect
    }
}

impl Inner {
    pub(crate) fn batches(&self) -> Option<&Batches> {
        self.batches.as_ref()
    }

    pub(crate) fn ask_timeout(&self) -> Duration {
        self.ask_timeout
    }
}

/// Closes connections after long idleness while the metastore is open, except those of beats.
async fn close_idle(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(KEPT / 4).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.work.close(KEPT).await;
        inner.people.close(KEPT).await;
    }
}

struct Question<'a> {
    statement: &'a Statement,
    args: &'a [Arg],
}

impl Work for Question<'_> {
    type Out = Vec<Row>;
    const WRITES: bool = false;

    async fn run(&self, connection: &mut crate::connection::Connection) -> Result<Vec<Row>, Fault> {
        connection.rows_of(self.statement, self.args).await
    }
}
