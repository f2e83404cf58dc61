//! Forgetting: finished jobs, old history, members that nothing refers to any more. In small bites, so that nobody waits
//! for housekeeping: the caller repeats until nothing was deleted.

use crate::error::{Fault, StoreError};
use crate::line::{Line, Work};
use crate::over::Over;
use crate::sql::Statement;
use crate::store::Store;
use crate::wire::args;

impl Store {
    /// Deletes some jobs that ended before that moment, with their steps and attempts; tells how many.
    ///
    /// # Errors
    /// If the metastore can't be written.
    pub async fn retain_jobs(&self, before_ms: i64) -> Result<u64, StoreError> {
        self.write(&OldJobs(before_ms)).await
    }

    /// Deletes some history from before that moment; tells how much.
    ///
    /// # Errors
    /// If the metastore can't be written.
    pub async fn retain_history(&self, before_ms: i64) -> Result<u64, StoreError> {
        self.write(&OldHistory(before_ms)).await
    }

    /// Deletes some members that ended before that moment and hold nothing; tells how many.
    ///
    /// # Errors
    /// If the metastore can't be written.
    pub async fn retain_members(&self, before_ms: i64) -> Result<u64, StoreError> {
        self.write(&OldMembers(before_ms)).await
    }
}

struct OldJobs(i64);

impl Work for OldJobs {
    type Out = u64;

    async fn run(&self, line: &mut Line) -> Result<u64, Fault> {
        // A job that is over and not held never changes again.
        let ids: Vec<i64> = (line.rows(|sql| &sql.retain_jobs, args![self.0]).await?.iter())
            .map(|row| row.num(0))
            .collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Ok(0);
        }
        let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        line.begin().await?;
        // Whoever forgets the same ones waits here and finds them gone: each is counted once.
        let found = format!("SELECT project, state FROM {{p}}_job WHERE id IN ({list}) ORDER BY id {{for_update}}");
        let found = Statement::once(&found, line.dialect(), &line.sql.prefix);
        let found = line.rows_of(&found, &[]).await?;
        let mut over = Over::default();
        for job in &found {
            over.add(job.num(0)?, job.num(1)?, -1);
        }
        over.write(line).await?;
        for (table, column) in [("step", "job"), ("attempt", "job"), ("job", "id")] {
            delete(line, &format!("DELETE FROM {{p}}_{table} WHERE {column} IN ({list})")).await?;
        }
        line.commit().await?;
        Ok(found.len() as u64)
    }
}

struct OldHistory(i64);

impl Work for OldHistory {
    type Out = u64;

    async fn run(&self, line: &mut Line) -> Result<u64, Fault> {
        let oldest = line.rows(|sql| &sql.retain_history, args![self.0]).await?;
        let ids: Vec<i64> = oldest.iter().map(|row| row.num(0)).collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Ok(0);
        }
        let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        line.begin().await?;
        delete(line, &format!("DELETE FROM {{p}}_history WHERE id IN ({list})")).await?;
        line.commit().await?;
        Ok(ids.len() as u64)
    }
}

struct OldMembers(i64);

impl Work for OldMembers {
    type Out = u64;

    async fn run(&self, line: &mut Line) -> Result<u64, Fault> {
        let old = line.rows(|sql| &sql.retain_members, args![self.0]).await?;
        if old.is_empty() {
            return Ok(0);
        }
        line.begin().await?;
        for row in &old {
            let (node, incarnation): (i64, i64) = (row.num(0)?, row.num(1)?);
            delete(line, &format!("DELETE FROM {{p}}_member WHERE node = {node} AND incarnation = {incarnation}"))
                .await?;
        }
        line.commit().await?;
        Ok(old.len() as u64)
    }
}

pub(crate) async fn delete(line: &mut Line, source: &str) -> Result<(), Fault> {
    let text = Statement::once(source, line.dialect(), &line.sql.prefix.clone()).text;
    line.raw(&text).await
}
