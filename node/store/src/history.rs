//! The cluster's history, for users: joins, ends, takeovers, changes of leader.

use kirin_core::Member;
use kirin_core::ask::JobId;
use uuid::Uuid;

use crate::beat::holder;
use crate::clock::wall_ms;
use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::store::Store;
use crate::submit::uuid;
use crate::wire::{Arg, Row, args};

/// An entry of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryRow {
    /// Its number, in the order of writing. Ignored on write.
    pub id: u64,
    /// The time; 0 means the time of writing.
    pub at_ms: i64,
    /// The kind: join, leave, fence, takeover, handover, leader …
    pub kind: String,
    /// The member concerned.
    pub member: Option<Member>,
    /// The job concerned.
    pub job: Option<JobId>,
    /// The job's public name, unless the job was deleted. Ignored on write.
    pub uuid: Option<Uuid>,
    /// The member that did or reported it.
    pub by: Option<Member>,
    /// The evidence.
    pub evidence: Option<String>,
    /// Details as JSON, such as the duration of each phase.
    pub detail: Option<String>,
}

/// A filter for a page of history, latest first.
#[derive(Clone, Debug)]
pub struct HistoryFilter {
    /// Only these kinds; empty for all.
    pub kinds: Vec<String>,
    /// Only of this job.
    pub job: Option<JobId>,
    /// Only entries before this number, for paging.
    pub before: Option<u64>,
    /// The maximum number of entries.
    pub limit: u32,
}

impl Default for HistoryFilter {
    fn default() -> Self {
        Self { kinds: Vec::new(), job: None, before: None, limit: 100 }
    }
}

impl Store {
    /// Adds an entry.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn history_add(&self, row: &HistoryRow) -> Result<(), StoreError> {
        self.write(&Add(row)).await
    }

    /// A page of entries, latest first.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn history(&self, filter: &HistoryFilter) -> Result<Vec<HistoryRow>, StoreError> {
        let mut wheres = "1 = 1".to_owned();
        let mut args: Vec<Arg> = Vec::new();
        if !filter.kinds.is_empty() {
            let mut places = Vec::new();
            for kind in &filter.kinds {
                args.push(kind.into());
                places.push(format!("${}", args.len()));
            }
            wheres.push_str(&format!(" AND h.kind IN ({})", places.join(", ")));
        }
        if let Some(job) = filter.job {
            args.push(job.0.cast_signed().into());
            wheres.push_str(&format!(" AND h.job = ${}", args.len()));
        }
        if let Some(before) = filter.before {
            args.push(before.cast_signed().into());
            wheres.push_str(&format!(" AND h.id < ${}", args.len()));
        }
        args.push(filter.limit.min(10_000).into());
        let page = self.once(&format!(
            "SELECT h.id, h.at_ms, h.kind, h.node, h.incarnation, h.job, h.by_node, h.by_incarnation, h.evidence, h.detail, \
             {{text j.uuid}} FROM (SELECT * FROM {{p}}_history AS h WHERE {wheres} ORDER BY h.id DESC LIMIT ${}) AS h \
             LEFT JOIN {{p}}_job AS j ON j.id = h.job ORDER BY h.id DESC",
            args.len()
        ));
        self.read_of(&page, &args).await?.iter().map(history).collect()
    }
}

struct Add<'a>(&'a HistoryRow);

impl Work for Add<'_> {
    type Out = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), Fault> {
        let row = self.0;
        let node = |member: Option<Member>| member.map(|member| member.node.0);
        let incarnation = |member: Option<Member>| member.map(|member| member.incarnation.get());
        let at_ms = if row.at_ms == 0 { wall_ms() } else { row.at_ms };
        connection
            .alone(
                |sql| &sql.history_add,
                args![
                    at_ms,
                    &row.kind,
                    node(row.member),
                    incarnation(row.member),
                    row.job.map(|job| job.0.cast_signed()),
                    node(row.by),
                    incarnation(row.by),
                    row.evidence.as_deref(),
                    row.detail.as_deref(),
                ],
            )
            .await?;
        Ok(())
    }
}

fn history(row: &Row) -> Result<HistoryRow, StoreError> {
    Ok(HistoryRow {
        id: row.num(0)?,
        at_ms: row.num(1)?,
        kind: row.string(2)?,
        member: holder(row, 3)?,
        job: row.opt(5)?.map(JobId),
        uuid: row.text(10)?.as_deref().map(uuid).transpose()?,
        by: holder(row, 6)?,
        evidence: row.text(8)?,
        detail: row.text(9)?,
    })
}
