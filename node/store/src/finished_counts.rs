//! Counts of finished jobs by project and state, without reading every job.
//!
//! Every transaction that finishes or deletes jobs adds a row to the table `over`. The sum over the rows of one
//! snapshot is exact. Writers do not wait for each other, because rows are never updated. From time to time,
//! housekeeping replaces many rows by their sums.
//!
//! Open jobs are few and are counted directly.

use std::collections::BTreeMap;

use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::retention::delete;
use crate::store::Store;
use crate::wire::{Row, Table, args};

/// Fewer rows than this are not worth replacing.
const FEW: usize = 100;

/// Changes of the counts, by project and state.
#[derive(Default)]
pub(crate) struct FinishedCounts(BTreeMap<(i64, i64), i64>);

impl FinishedCounts {
    /// Adds to the number of finished jobs of this project in this state.
    pub(crate) fn add(&mut self, project: i64, state: i64, jobs: i64) {
        *self.0.entry((project, state)).or_default() += jobs;
    }

    /// Writes the changes in the transaction that changes the jobs.
    pub(crate) async fn write(mut self, connection: &mut Connection) -> Result<(), Fault> {
        self.0.retain(|_, jobs| *jobs != 0);
        if self.0.is_empty() {
            return Ok(());
        }
        let table = Table::default()
            .ints(self.0.keys().map(|(project, _)| *project))
            .ints(self.0.keys().map(|(_, state)| *state))
            .ints(self.0.values().copied());
        connection.run(|sql| &sql.over_add, args![table]).await?;
        Ok(())
    }
}

impl Store {
    /// Replaces the rows of the counts by their sums, so that reading them stays fast.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn sum_up(&self) -> Result<(), StoreError> {
        while self.write(&SumUp).await? {}
        Ok(())
    }
}

/// Replaces some rows by their sums; `true` if there may be more.
struct SumUp;

impl Work for SumUp {
    type Out = bool;

    async fn run(&self, connection: &mut Connection) -> Result<bool, Fault> {
        connection.begin().await?;
        let rows = connection.rows(|sql| &sql.over_lock, &[]).await?;
        let mut sums = FinishedCounts::default();
        for row in &rows {
            sums.add(row.num(1)?, row.num(2)?, row.num(3)?);
        }
        // Replacing must at least halve the rows. Otherwise it has no benefit and would never end.
        if rows.len() < FEW.max(2 * sums.0.len()) {
            connection.rollback().await?;
            return Ok(false);
        }
        let ids = rows.iter().map(id).collect::<Result<Vec<_>, _>>()?.join(", ");
        delete(connection, &format!("DELETE FROM {{p}}_over WHERE id IN ({ids})")).await?;
        sums.write(connection).await?;
        connection.commit().await?;
        Ok(true)
    }
}

fn id(row: &Row) -> Result<String, StoreError> {
    Ok(row.num::<i64>(0)?.to_string())
}
