//! Grouping sets end the equality of columns.
//!
//! Below a join on `a = b`, DataFusion takes the two columns for one, and so it sorts `ORDER BY a, b` by `a` only. It keeps
//! that belief above GROUPING SETS, ROLLUP and CUBE, where one of the two may be NULL and the other not: rows would come in
//! another order than asked for. So an operator without any known equality or order stands below such an aggregate.

use crate::operators::{Pass, Through};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::{ExecutionPlan, PlanProperties, SendableRecordBatchStream};
use std::sync::Arc;

/// The aggregate's own properties follow from its new input.
const OTHER: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);

/// Puts an operator that forgets equalities below each aggregate with several grouping sets. It must be the first rule,
/// because the others rely on equalities.
#[derive(Debug)]
pub(crate) struct ForgetEqualities;

impl PhysicalOptimizerRule for ForgetEqualities {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        let plan = plan.transform_up(|node| {
            let has_sets = node.downcast_ref::<AggregateExec>().is_some_and(|a| a.group_expr().has_grouping_set());
            if !has_sets {
                return Ok(Transformed::no(node));
            }
            let inputs = node.children().into_iter().map(|input| forgetting(input.clone())).collect();
            Ok(Transformed::yes(node.replace_children(inputs, OTHER)?))
        })?;
        Ok(plan.data)
    }

    fn name(&self) -> &'static str {
        "forget_equalities"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn forgetting(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(Through::<Forget>::new(input))
}

/// Hands on its input, without what is known of it.
#[derive(Debug)]
struct Forget;

impl Pass for Forget {
    const NAME: &'static str = "ForgetEqualities";
    const LIMITS_PASS: bool = true;
    const ORDER_PASSES: bool = true;

    fn filters_pass(_: &DataType) -> bool {
        true
    }

    fn properties(input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        let known = input.properties();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            known.output_partitioning().clone(),
            known.emission_type,
            known.boundedness,
        );
        Arc::new(properties.with_scheduling_type(known.scheduling_type))
    }

    fn stream(input: SendableRecordBatchStream) -> SendableRecordBatchStream {
        input
    }
}
