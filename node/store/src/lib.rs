//! The metastore contract of Kirin on SQLite, PostgreSQL and MySQL/MariaDB.
//!
//! [`kirin_core::ask`] says what each request means; this crate says it in SQL. A request is one transaction with one
//! answer, and its deadline is never later than [`StoreConfig::ask_timeout`]; questions of people may take longer. The
//! statements are files under `sql/`, one each, named by purpose; a dialect has a file of its own only where the dialects
//! differ.
//!
//! # How a write is fenced
//!
//! Every write finds its row by id *and* epoch *and* holder *and* state, under the lock of that row:
//!
//! | dialect | how |
//! |---|---|
//! | PostgreSQL | one statement: `UPDATE job … WHERE …` takes the row locks and re-reads what it locked; the dependent inserts hang on its `RETURNING`. READ COMMITTED, no interactive transaction, so a node that freezes holds no lock |
//! | MySQL/MariaDB | READ COMMITTED; first `SELECT … FOR UPDATE` with the fence in its `WHERE` (a locking read sees the latest commit, never a snapshot), then the writes. The session bounds how long a frozen client may hold a transaction |
//! | SQLite | `BEGIN IMMEDIATE`: one writer at a time in all processes |
//!
//! # Why aliveness can't be raced
//!
//! A member is alive while its row in `beat` exists; joining inserts it, dying deletes it, and it never comes back. So
//! "the holder is not alive" can be read from any snapshot: if the row is missing, it stays missing. (A snapshot from
//! before the holder *joined* does no harm: the job's epoch has grown since, and the epoch is checked under the row lock.)
//!
//! "`by` is up" is not monotone in that direction, so whoever takes something locks its own `member` row in share mode and
//! reads it under the lock; drain, leave, fence and join take that row exclusively. A take therefore commits before the
//! fence or sees it. The beat counter lives in a table of its own so that a beat never waits for a take: a beat and a
//! fence that names a beat meet on the `beat` row, and whoever comes second sees what the first did.
//!
//! # Why limits are exact
//!
//! The RUNNING jobs of a project are counted in the transaction that adds to them. Where the count plus everything that
//! living members could be adding just then stays below the limit, no lock is needed and takes of one project run side by
//! side. Otherwise the project's row is locked first and the count is taken after the lock was granted.
//!
//! Locks are always taken in the order node, project, member, job, segment, catalog, and by id within each. A victim of a
//! deadlock is certainly rolled back and is tried again within the deadline.
//!
//! What this crate does not do: decide. It never reads a clock to judge anything; wall time is stored for people.

mod ask;
mod batch;
mod beat;
mod claim;
mod clock;
mod commit;
mod config;
mod connection;
mod doc;
mod error;
mod finished_counts;
mod history;
mod job;
mod migrate;
mod project;
mod retention;
mod segment;
mod setting;
mod sql;
mod store;
mod submit;
mod take;
mod tls;
mod traffic;
mod wire;

pub use ask::{Extra, Publish};
pub use clock::wall_ms;
pub use config::{Backend, StoreConfig};
pub use doc::{Doc, DocKind, Seen};
pub use error::StoreError;
pub use history::{HistoryFilter, HistoryRow};
pub use job::{AttemptEnd, AttemptInfo, JobFilter, JobInfo, JobPage, JobSort, Load, MemberInfo, StepInfo};
pub use project::Project;
pub use segment::{NewSegment, Segment, SegmentState};
#[doc(hidden)]
pub use sql::Planted;
pub use store::Store;
pub use submit::{NewJob, Submitted};
pub use tls::{Tls, TlsMode};
pub use traffic::{Counts, Traffic};
