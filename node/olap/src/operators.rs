//! The two shapes of this crate's own plan operators.
//!
//! - [`Through`] hands on the rows of its only input in their sequence, maybe with other values or in other batches.
//! - [`Leaf`] reads rows from files.
//!
//! An operator implements only its own part ([`Pass`], [`Read`]). The rest of DataFusion's interface is implemented here.

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result as DfResult, Statistics};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, CardinalityEffect, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::filter_pushdown::{ChildFilterDescription, FilterDescription, FilterPushdownPhase};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
    StatisticsArgs,
};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// What an operator does with the rows of its input.
pub(crate) trait Pass: fmt::Debug + Send + Sync + 'static {
    /// Its name in plans.
    const NAME: &'static str;
    /// Whether its input may end after as many rows as the operators above need.
    const LIMITS_PASS: bool;
    /// Whether rows that are sorted before it are sorted after it. It is wrong if the operator changes values.
    const ORDER_PASSES: bool;

    /// Whether a filter on columns of this type may be applied to its input.
    fn filters_pass(data_type: &DataType) -> bool;

    /// Its properties; by default those of its input.
    fn properties(input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        input.properties().clone()
    }

    /// Its output.
    fn stream(input: SendableRecordBatchStream) -> SendableRecordBatchStream;
}

/// An operator that hands on the rows of its input.
#[derive(Debug)]
pub(crate) struct Through<P: Pass> {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    pass: PhantomData<P>,
}

impl<P: Pass> Through<P> {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Through { properties: P::properties(&input), input, pass: PhantomData }
    }

    fn over_child(&self, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self::new(children.pop().unwrap_or_else(|| self.input.clone())))
    }
}

impl<P: Pass> DisplayAs for Through<P> {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(P::NAME)
    }
}

impl<P: Pass> ExecutionPlan for Through<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![P::ORDER_PASSES]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self.over_child(children))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self.over_child(children))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> DfResult<Arc<Statistics>> {
        Ok(inputs.first().map_or_else(|| Arc::new(Statistics::new_unknown(&self.schema())), Arc::clone))
    }

    fn supports_limit_pushdown(&self) -> bool {
        P::LIMITS_PASS
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> DfResult<FilterDescription> {
        let schema = self.input.schema();
        let passing = schema.fields().iter().enumerate().filter(|(_, f)| P::filters_pass(f.data_type()));
        let allowed = passing.map(|(i, _)| i).collect();
        let child = ChildFilterDescription::from_child_with_allowed_indices(&parent_filters, allowed, &self.input)?;
        Ok(FilterDescription::new().with_child(child))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        Ok(P::stream(self.input.execute(partition, context)?))
    }
}

/// What a leaf reads.
pub(crate) trait Read: fmt::Debug + Send + Sync + 'static {
    /// Its name in plans.
    const NAME: &'static str;
    /// Whether its streams let other tasks run by themselves.
    const SCHEDULING: SchedulingType;

    /// Number of files.
    fn files(&self) -> usize;

    /// The rows of a partition.
    fn open(
        &self,
        partition: usize,
        metrics: &ExecutionPlanMetricsSet,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream>;
}

/// An operator that reads files.
#[derive(Debug)]
pub(crate) struct Leaf<R: Read> {
    read: Arc<R>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl<R: Read> Leaf<R> {
    /// `schema` is that of its output.
    pub(crate) fn new(read: R, schema: SchemaRef, partitions: usize) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let properties = Arc::new(properties.with_scheduling_type(R::SCHEDULING));
        Leaf { read: Arc::new(read), properties, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl<R: Read> DisplayAs for Leaf<R> {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} files", R::NAME, self.read.files())
    }
}

impl<R: Read> ExecutionPlan for Leaf<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    /// There are no children to replace. What comes back is a leaf that has read nothing yet.
    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let (read, properties) = (self.read.clone(), self.properties.clone());
        Ok(Arc::new(Leaf { read, properties, metrics: ExecutionPlanMetricsSet::new() }))
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        self.read.open(partition, &self.metrics, context)
    }
}
