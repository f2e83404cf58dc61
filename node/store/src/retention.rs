//! Retention: deletes finished jobs, old history, and members without references. It deletes in small batches, so that no
//! request waits for housekeeping. The caller repeats until nothing was deleted.

use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::finished_counts::FinishedCounts;
use crate::sql::Statement;
use crate::store::Store;
use crate::wire::args;

impl Store {
    /// Deletes some jobs that ended before this time, with their steps and attempts. Returns the number.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn retain_jobs(&self, before_ms: i64) -> Result<u64, StoreError> {
        self.write(&OldJobs(before_ms)).await
    }

    /// Deletes some history from before this time. Returns the number of entries.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn retain_history(&self, before_ms: i64) -> Result<u64, StoreError> {
        self.write(&OldHistory(before_ms)).await
    }

    /// Deletes some members that ended before this time and hold nothing. Returns the number.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn retain_members(&self, before_ms: i64) -> Result<u64, StoreError> {
        self.write(&OldMembers(before_ms)).await
    }
}

struct OldJobs(i64);

impl Work for OldJobs {
    type Out = u64;

    async fn run(&self, connection: &mut Connection) -> Result<u64, Fault> {
        // A finished job without a holder never changes again.
        let ids: Vec<i64> = (connection.rows(|sql| &sql.retain_jobs, args![self.0]).await?.iter())
            .map(|row| row.num(0))
            .collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Ok(0);
        }
        let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        connection.begin().await?;
        // A concurrent deletion of the same jobs waits here and finds them gone, so each job is counted once.
        let found = format!("SELECT project, state FROM {{p}}_job WHERE id IN ({list}) ORDER BY id {{for_update}}");
        let found = Statement::once(&found, connection.dialect(), &connection.sql.prefix);
        let found = connection.rows_of(&found, &[]).await?;
        let mut counts = FinishedCounts::default();
        for job in &found {
            counts.add(job.num(0)?, job.num(1)?, -1);
        }
        counts.write(connection).await?;
        for (table, column) in [("step", "job"), ("attempt", "job"), ("job", "id")] {
            delete(connection, &format!("DELETE FROM {{p}}_{table} WHERE {column} IN ({list})")).await?;
        }
        connection.commit().await?;
        Ok(found.len() as u64)
    }
}

struct OldHistory(i64);

impl Work for OldHistory {
    type Out = u64;

    async fn run(&self, connection: &mut Connection) -> Result<u64, Fault> {
        let oldest = connection.rows(|sql| &sql.retain_history, args![self.0]).await?;
        let ids: Vec<i64> = oldest.iter().map(|row| row.num(0)).collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Ok(0);
        }
        let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        connection.begin().await?;
        delete(connection, &format!("DELETE FROM {{p}}_history WHERE id IN ({list})")).await?;
        connection.commit().await?;
        Ok(ids.len() as u64)
    }
}

struct OldMembers(i64);

impl Work for OldMembers {
    type Out = u64;

    async fn run(&self, connection: &mut Connection) -> Result<u64, Fault> {
        let old = connection.rows(|sql| &sql.retain_members, args![self.0]).await?;
        if old.is_empty() {
            return Ok(0);
        }
        connection.begin().await?;
        for row in &old {
            let (node, incarnation): (i64, i64) = (row.num(0)?, row.num(1)?);
            delete(
                connection,
                &format!("DELETE FROM {{p}}_member WHERE node = {node} AND incarnation = {incarnation}"),
            )
            .await?;
        }
        connection.commit().await?;
        Ok(old.len() as u64)
    }
}

pub(crate) async fn delete(connection: &mut Connection, source: &str) -> Result<(), Fault> {
    let text = Statement::once(source, connection.dialect(), &connection.sql.prefix.clone()).text;
    connection.raw(&text).await
}
