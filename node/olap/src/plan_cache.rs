//! A cache of physical plans.
//!
//! Planning takes ten times as long as reading a small index, and dashboards repeat their queries. A plan is kept only if
//! its answer depends on nothing but index files, which are immutable and checked when they are read: it reads no raw
//! table, calls no volatile function, and consists of operators that can be reset. The cache belongs to a snapshot, so a
//! new revision of the catalog starts with an empty one.

use crate::answer::ColumnMeta;
use crate::error::Result;
use crate::query::{QueryOptions, Realization};
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A plan, and what else the answer needs.
#[derive(Clone)]
pub(crate) struct Ready {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) context: Arc<TaskContext>,
    pub(crate) columns: Vec<ColumnMeta>,
    pub(crate) realizations: Vec<Realization>,
    pub(crate) index_bytes: u64,
    pub(crate) push_down: bool,
}

type Key = (String, QueryOptions);

/// The plans of a snapshot. The least recently used is evicted first.
#[derive(Default)]
pub(crate) struct PlanCache {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_query: HashMap<Key, (Ready, u64)>,
    uses: u64,
}

/// The most plans. A plan holds no data, only a few kilobytes.
const MOST_PLANS: usize = 256;

/// Operators that keep nothing from an earlier run once their state is reset.
const REPEATABLE: [&str; 15] = [
    "IndexScan",
    "AggregateExec",
    "ProjectionExec",
    "FilterExec",
    "SortExec",
    "SortExec(TopK)",
    "SortPreservingMergeExec",
    "CoalescePartitionsExec",
    "CoalesceBatchesExec",
    "RepartitionExec",
    "GlobalLimitExec",
    "LocalLimitExec",
    "CooperativeExec",
    "UnionExec",
    "EmptyExec",
];

impl PlanCache {
    /// A plan that is ready to run, independently of other runs.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Ready>> {
        let found = {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries.uses += 1;
            let now = entries.uses;
            entries.by_query.get_mut(key).map(|(ready, used)| {
                *used = now;
                ready.clone()
            })
        };
        Ok(match found {
            Some(ready) => Some(Ready { plan: reset_plan_states(ready.plan)?, ..ready }),
            None => None,
        })
    }

    /// Keeps a plan if it can be run again.
    pub(crate) fn put(&self, key: Key, ready: &Ready) {
        if !is_repeatable(&ready.plan) {
            return;
        }
        // The caller is about to run its own copy.
        let Ok(plan) = reset_plan_states(ready.plan.clone()) else {
            return;
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.uses += 1;
        let used = entries.uses;
        entries.by_query.insert(key, (Ready { plan, ..ready.clone() }, used));
        if entries.by_query.len() > MOST_PLANS {
            let oldest = entries.by_query.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|key| entries.by_query.remove(&key));
        }
    }
}

fn is_repeatable(plan: &Arc<dyn ExecutionPlan>) -> bool {
    REPEATABLE.contains(&plan.name()) && plan.children().into_iter().all(is_repeatable)
}

/// Whether a plan calls no volatile function such as now() or random().
pub(crate) fn is_timeless(plan: &LogicalPlan) -> DfResult<bool> {
    let mut timeless = true;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::ScalarFunction(f) = e {
                    timeless &= f.func.signature().volatility == Volatility::Immutable;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(timeless)
}
