//! The leaf of an index query's plan: hands out the decoded batches of index files.
//!
//! It holds names, not data: batches come from the cache when the plan *runs*. So a plan can be kept and run again
//! without pinning memory, and a file that was damaged or deleted since is noticed each time.

use crate::index_files::{IndexCache, Owner, conform};
use crate::segment::DataFile;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result as DfResult, project_schema};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties, SendableRecordBatchStream,
};
use std::fmt;
use std::sync::Arc;

/// Reads index files whole, through the cache.
#[derive(Debug)]
pub(crate) struct IndexScan {
    /// The table's columns.
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    files: Arc<Vec<(Owner, DataFile)>>,
    cache: Arc<IndexCache>,
    partitions: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl IndexScan {
    pub(crate) fn new(
        schema: SchemaRef,
        projection: Option<Vec<usize>>,
        files: Arc<Vec<(Owner, DataFile)>>,
        cache: Arc<IndexCache>,
        partitions: usize,
    ) -> DfResult<Self> {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(project_schema(&schema, projection.as_ref())?),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(IndexScan { schema, projection, files, cache, partitions, properties: Arc::new(properties), metrics })
    }
}

impl DisplayAs for IndexScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IndexScan: {} files", self.files.len())
    }
}

impl ExecutionPlan for IndexScan {
    fn name(&self) -> &'static str {
        "IndexScan"
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

    /// There are no children to replace; what comes back is a scan that has read nothing yet.
    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(IndexScan {
            schema: self.schema.clone(),
            projection: self.projection.clone(),
            files: self.files.clone(),
            cache: self.cache.clone(),
            partitions: self.partitions,
            properties: self.properties.clone(),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let mut mine: Vec<RecordBatch> = vec![];
        let mut next = 0;
        for (owner, file) in self.files.iter() {
            let batches = self.cache.load(file).map_err(|problem| owner.error(file, problem).through())?;
            for batch in batches.iter() {
                if next % self.partitions == partition {
                    mine.push(conform(batch, &self.schema)?);
                }
                next += 1;
            }
        }
        let rows = MetricBuilder::new(&self.metrics).output_rows(partition);
        rows.add(mine.iter().map(RecordBatch::num_rows).sum());
        let schema = project_schema(&self.schema, self.projection.as_ref())?;
        Ok(Box::pin(MemoryStream::try_new(mine, schema, self.projection.clone())?))
    }
}
