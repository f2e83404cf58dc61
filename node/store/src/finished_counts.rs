//! How many jobs are over, by project and state, without reading as many rows.
//!
//! Whatever ends or deletes jobs adds a row to the table `over` in the same transaction, and what the rows of one snapshot
//! add up to is exact. Nobody waits for another to count, because nobody changes a row; from time to time housekeeping
//! replaces many rows by their sums.
//!
//! What is not over is counted where it is: there is little of it.

use std::collections::BTreeMap;

use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::retention::delete;
use crate::store::Store;
use crate::wire::{Row, Table, args};

/// Fewer rows than this are added up quickly enough as they are.
const FEW: usize = 100;

/// By how much the counts change, by project and state.
#[derive(Default)]
pub(crate) struct FinishedCounts(BTreeMap<(i64, i64), i64>);

impl FinishedCounts {
    /// So many more jobs of this project are over in this state.
    pub(crate) fn add(&mut self, project: i64, state: i64, jobs: i64) {
        *self.0.entry((project, state)).or_default() += jobs;
    }

    /// Writes it down, in the transaction that changes the jobs.
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
    /// Puts the counts of what is over together, so that adding them up stays quick.
    ///
    /// # Errors
    /// If the metastore can't be written.
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
        // It is worth it, and it comes to an end, only if far fewer remain.
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
