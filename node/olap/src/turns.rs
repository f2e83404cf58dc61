//! Long operators yield to other queries.
//!
//! A task that never waits keeps its thread. Other queries starve, and neither a timeout nor a dropped answer can stop it.
//! DataFusion yields between the batches that it reads, but a join can make very many pairs from one batch. Two measures
//! bound that:
//!
//! - The batches that a nested loop join probes are cut into portions. The size of a portion follows the time that the
//!   last one took, and the task yields after each long one.
//! - The output of other joins counts against the task's budget as if it had been read.

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
/// After a portion that took longer, the task yields and the next portion is smaller.
const LONG_MS: u64 = 20;

/// The inserted operator has the properties of its input.
const SAME: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);

/// The plan, with joins that yield.
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

/// Passes the batches of its input on in portions.
#[derive(Debug)]
struct Portions;

impl Pass for Portions {
    const NAME: &'static str = "Portions";
    const LIMITS_PASS: bool = false;
    const ORDER_PASSES: bool = true;

    fn filters_pass(_: &DataType) -> bool {
        false
    }

    fn stream(input: SendableRecordBatchStream) -> SendableRecordBatchStream {
        Box::pin(Portioned { input, rest: None, rows: FIRST, since: None })
    }
}

struct Portioned {
    input: SendableRecordBatchStream,
    /// The rest of a batch.
    rest: Option<RecordBatch>,
    /// Rows of the next portion.
    rows: usize,
    /// When the last portion was passed on.
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
