//! The metastore contract of Kirin on SQLite, PostgreSQL and MySQL/MariaDB.
//!
//! [`kirin_core::ask`] defines the requests, and this crate implements them in SQL. A request is one transaction with
//! one answer, and its deadline is never later than [`StoreConfig::ask_timeout`]. Interactive queries may take longer.
//! The statements are files under `sql/`, one each, named by purpose. A dialect has its own file only where the
//! dialects differ.
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
//! # Why aliveness is free of races
//!
//! A member is alive while its row in `beat` exists. A join inserts the row, the member's end deletes it, and the row
//! never returns. So any snapshot can show that a holder is not alive: a missing row stays missing. (A snapshot from
//! before the holder joined does no harm. The job's epoch has increased since, and the epoch is checked under the row
//! lock.)
//!
//! The state "up" can change at any time. So a transaction that takes something for a member locks that member's row in
//! share mode and reads it under the lock. Drain, leave, fence and join lock the row exclusively. A take therefore
//! commits before the fence or sees it. The beat counter is in its own table, so that a beat never waits for a take. A
//! beat and a fence that names a beat use the same `beat` row, and the second one sees the effect of the first.
//!
//! # Why limits are exact
//!
//! A transaction that starts jobs counts the RUNNING jobs of the project. If the count plus everything that living
//! members could be adding stays below the limit, no lock is needed, and takes of one project run in parallel.
//! Otherwise the project's row is locked first, and the count is read after the lock is granted.
//!
//! Locks are always taken in the order node, project, member, job, segment, catalog, and by id within each. A deadlock
//! victim is certainly rolled back and is retried within the deadline.
//!
//! This crate makes no decisions. It reads no clock to judge anything. Wall-clock times are stored for users.

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
