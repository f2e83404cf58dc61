//! Queries take turns.
//!
//! A task that never waits keeps its thread: other queries starve, and neither a timeout nor a client that hung up can
//! end it. The engine below lets others run between batches that it reads, but a join makes very many pairs from one
//! batch. So the pairs are bounded: the batches that a nested loop join probes are cut into portions, whose size
//! follows the time that the last one took, and a task gives its thread back after each long one. What other joins
//! hand out counts as if it had been read.

use crate::operators::{Pass, Through};
use crate::stopwatch::Stopwatch;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::{ExecutionPlan, RecordBatchStream, SendableRecordBatchStream};
use futures::{Stream, StreamExt, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Rows of the first portion.
const FIRST: usize = 64;
/// Rows of the largest portion.
const MOST: usize = 8192;
/// A portion that took longer is followed by a smaller one, after others had their turn.
const LONG_MS: u64 = 20;

/// Portions have the properties of what they portion.
const SAME: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);

/// The plan, with joins that let others run.
pub(crate) fn in_turns(plan: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_up(|node| {
        if node.is::<NestedLoopJoinExec>() {
            let mut children: Vec<_> = node.children().into_iter().cloned().collect();
            if let Some(probed) = children.pop() {
                children.push(Arc::new(Through::<Portions>::new(probed)));
            }
            return Ok(Transformed::yes(cooperative(node.replace_children(children, SAME)?)));
        }
        let is_join = node.is::<CrossJoinExec>() || node.is::<HashJoinExec>() || node.is::<SortMergeJoinExec>();
        Ok(if is_join { Transformed::yes(cooperative(node)) } else { Transformed::no(node) })
    })?;
    Ok(plan.data)
}

fn cooperative(node: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(CooperativeExec::new(node))
}

/// Hands on the batches of its input in portions.
#[derive(Debug)]
struct Portions;

impl Pass for Portions {
    const NAME: &'static str = "Portions";
    const LIMITS_PASS: bool = false;

    fn filters_pass(_: &DataType) -> bool {
        false
    }

    fn stream(input: SendableRecordBatchStream) -> SendableRecordBatchStream {
        Box::pin(Portioned { input, rest: None, rows: FIRST, since: None })
    }
}

struct Portioned {
    input: SendableRecordBatchStream,
    /// What is left of a batch.
    rest: Option<RecordBatch>,
    /// Rows of the next portion.
    rows: usize,
    /// When the last portion was handed out.
    since: Option<Stopwatch>,
}

impl Stream for Portioned {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(since) = self.since.take() {
            let took = since.millis();
            if took > LONG_MS {
                self.rows = (self.rows / 2).max(1);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if took < LONG_MS / 4 {
                self.rows = (self.rows * 2).min(MOST);
            }
        }
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match ready!(self.input.poll_next_unpin(cx)) {
                Some(Ok(batch)) => batch,
                other => return Poll::Ready(other),
            },
        };
        let rows = self.rows.min(batch.num_rows());
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        self.since = Some(Stopwatch::start());
        Poll::Ready(Some(Ok(batch.slice(0, rows))))
    }
}

impl RecordBatchStream for Portioned {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
