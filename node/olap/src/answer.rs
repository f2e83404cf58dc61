//! The answer to a query: its columns, a stream of Arrow record batches, and its cost.
//!
//! A task on the engine's own threads runs the plan. It is at most [`AHEAD`] batches ahead of the reader, so an answer
//! takes no more memory than its reader does. Each batch counts against the memory of queries until the answer is
//! dropped, since the reader is expected to keep what it makes of it. Dropping the answer stops the task.
//!
//! The timeout of the query holds for the whole task. A reader that is slower than that finds an error in the stream, and
//! so does one whose query fails after its first batch. An answer is whole only if the stream ends without an error.

use crate::cells::text_rows;
use crate::error::{Error, Result};
use crate::query::Realization;
use crate::sql_type::{SqlType, java_sql_type};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::future::BoxFuture;
use futures::{Stream, ready};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};

/// Batches that are made before the reader asks for them.
pub(crate) const AHEAD: usize = 1;

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnMeta {
    /// Label.
    pub name: String,
    /// SQL type without precision, e.g. `DECIMAL`.
    pub type_name: String,
    /// Whether cells may be NULL.
    pub nullable: bool,
    /// Digits, or a nominal length for text.
    pub precision: u32,
    /// Digits after the point.
    pub scale: u32,
}

impl ColumnMeta {
    /// The `java.sql.Types` code of the type.
    pub fn type_code(&self) -> i32 {
        java_sql_type(&self.type_name)
    }
}

/// The answer to a query: a stream of record batches.
pub struct Answer {
    /// Its columns, under the labels that the query gives them.
    pub columns: Vec<ColumnMeta>,
    /// The schema of its batches. The names in it are the engine's; see `columns` for the labels.
    pub schema: SchemaRef,
    /// The indexes that answer.
    pub realizations: Vec<Realization>,
    /// Whether raw tables are read.
    pub push_down: bool,
    batches: mpsc::Receiver<RecordBatch>,
    /// The task; `None` after its end.
    work: Option<BoxFuture<'static, Result<Done>>>,
    done: Option<Done>,
}

/// What an answer took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Rows read from files, index or raw.
    pub scanned_rows: u64,
    /// Bytes of these files.
    pub scanned_bytes: u64,
    /// Time from the query to the last batch, in milliseconds.
    pub millis: u64,
}

/// What is known of an answer before its first batch.
pub(crate) struct Head {
    pub(crate) columns: Vec<ColumnMeta>,
    pub(crate) schema: SchemaRef,
    pub(crate) realizations: Vec<Realization>,
    pub(crate) push_down: bool,
}

/// What the task leaves behind.
pub(crate) struct Done {
    pub(crate) cost: Cost,
    /// Memory of the batches that were handed out; given back when the answer is dropped.
    pub(crate) _taken: MemoryReservation,
}

impl Answer {
    /// Waits for the head; the task sends it before the first batch.
    pub(crate) async fn open(
        head: oneshot::Receiver<Head>,
        batches: mpsc::Receiver<RecordBatch>,
        work: BoxFuture<'static, Result<Done>>,
    ) -> Result<Answer> {
        match head.await {
            Ok(Head { columns, schema, realizations, push_down }) => {
                Ok(Answer { columns, schema, realizations, push_down, batches, work: Some(work), done: None })
            }
            // The task ended before it had an answer.
            Err(_) => match work.await {
                Err(error) => Err(error),
                Ok(_) => Err(Error::Execution("the query ended without an answer".into())),
            },
        }
    }

    /// The next batch; `None` after the last one.
    ///
    /// # Errors
    /// If the query fails. The stream ends. Earlier batches are only part of the answer.
    pub async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await.transpose()
    }

    /// The rest of the rows, as text ([`text_rows`]).
    ///
    /// # Errors
    /// If the query fails, or a value has no text.
    pub async fn rest_as_text(&mut self) -> Result<Vec<Vec<Option<String>>>> {
        let mut rows = vec![];
        while let Some(batch) = self.next_batch().await? {
            rows.extend(text_rows(&batch)?);
        }
        Ok(rows)
    }

    /// What the answer took; `None` until the stream has ended without an error.
    pub fn cost(&self) -> Option<Cost> {
        self.done.as_ref().map(|done| done.cost)
    }

    /// Whether rows are missing because their range is not built.
    pub fn is_partial(&self) -> bool {
        self.realizations.iter().any(|r| !r.missing.is_empty())
    }
}

impl Stream for Answer {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(batch) = ready!(self.batches.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(batch)));
        }
        // The task has ended, and its result tells how.
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        let result = ready!(work.as_mut().poll(cx));
        self.work = None;
        match result {
            Ok(done) => {
                self.done = Some(done);
                Poll::Ready(None)
            }
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("columns", &self.columns)
            .field("realizations", &self.realizations)
            .field("push_down", &self.push_down)
            .field("cost", &self.cost())
            .finish_non_exhaustive()
    }
}

/// The columns of a plan's answer.
pub(crate) fn columns(schema: &DFSchema, labels: Option<Vec<String>>) -> Vec<ColumnMeta> {
    let columns = schema.fields().iter().map(|field| {
        let (name, precision, scale) = sql_type(field.data_type());
        ColumnMeta { name: field.name().clone(), type_name: name, nullable: field.is_nullable(), precision, scale }
    });
    labelled(columns.collect(), labels)
}

/// The columns of an answer under the labels that the user wrote, if those are known.
fn labelled(columns: Vec<ColumnMeta>, labels: Option<Vec<String>>) -> Vec<ColumnMeta> {
    match labels {
        Some(labels) if labels.len() == columns.len() => {
            columns.into_iter().zip(labels).map(|(c, name)| ColumnMeta { name, ..c }).collect()
        }
        _ => columns,
    }
}

fn sql_type(data_type: &DataType) -> (String, u32, u32) {
    match (SqlType::of_arrow(data_type), data_type) {
        (Some(t), _) => (t.name().into(), t.precision(), t.scale()),
        (None, DataType::Time32(_) | DataType::Time64(_)) => ("TIME".into(), 8, 0),
        // Lists, intervals and the like travel as text.
        (None, _) => ("VARCHAR".into(), 256, 0),
    }
}
