//! The leaf of an index plan: the decoded rows of index files.
//!
//! The scan holds file names, not data. Batches come from the cache when the plan *runs*. A plan can therefore be kept and
//! run again without pinning memory, and each run notices a file that was damaged or deleted.
//!
//! **Invariant `each-row-once`.** The partitions divide the rows by row number, in ranges that are fixed when the plan is
//! made. They must not divide by batch: each partition reads the cache on its own, and the cache may evict a file between
//! two of them. The batches kept by the writer and those decoded from the file differ in size, so partitions that count
//! batches can disagree on the rows of a batch number.

use crate::index_files::{IndexCache, Owner, conform};
use crate::operators::{Leaf, Read};
use crate::segment::DataFile;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result as DfResult, project_schema};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use std::ops::Range;
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
}

/// The rows of one partition, numbered over all files in order.
fn share(partition: usize, partitions: usize, rows: u64) -> Range<u64> {
    let bound = |p: usize| (u128::from(rows) * p as u128 / partitions as u128) as u64;
    bound(partition)..bound(partition + 1)
}

impl IndexScan {
    /// A scan of index files.
    pub(crate) fn plan(
        schema: SchemaRef,
        projection: Option<Vec<usize>>,
        files: Arc<Vec<(Owner, DataFile)>>,
        cache: Arc<IndexCache>,
        partitions: usize,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let output = project_schema(&schema, projection.as_ref())?;
        Ok(Arc::new(Leaf::new(IndexScan { schema, projection, files, cache, partitions }, output, partitions)))
    }
}

impl Read for IndexScan {
    const NAME: &'static str = "IndexScan";
    const SCHEDULING: SchedulingType = SchedulingType::Cooperative;

    fn files(&self) -> usize {
        self.files.len()
    }

    fn open(
        &self,
        partition: usize,
        metrics: &ExecutionPlanMetricsSet,
        _: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let mine = share(partition, self.partitions, self.files.iter().map(|(_, file)| file.rows).sum());
        let mut batches: Vec<RecordBatch> = vec![];
        let mut first = 0;
        for (owner, file) in self.files.iter() {
            let damaged = |problem| owner.error(file, problem).through();
            let loaded = self.cache.load(file).map_err(damaged)?;
            let found: u64 = loaded.iter().map(|batch| batch.num_rows() as u64).sum();
            if found != file.rows {
                // The shares are computed from the recorded number. With another one, rows would be lost.
                return Err(damaged(format!("{} has {found} rows where {} were written", file.path, file.rows)));
            }
            for batch in loaded.iter() {
                let end = first + batch.num_rows() as u64;
                let (from, to) = (mine.start.max(first), mine.end.min(end));
                if from < to {
                    let part = batch.slice((from - first) as usize, (to - from) as usize);
                    batches.push(conform(&part, &self.schema)?);
                }
                first = end;
            }
        }
        let rows = MetricBuilder::new(metrics).output_rows(partition);
        rows.add(batches.iter().map(RecordBatch::num_rows).sum());
        let schema = project_schema(&self.schema, self.projection.as_ref())?;
        Ok(Box::pin(MemoryStream::try_new(batches, schema, self.projection.clone())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conservation::Tally;
    use crate::index_files;
    use datafusion::arrow::array::{AsArray, Int64Array};
    use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use futures::TryStreamExt;
    use std::path::Path;

    fn batch(schema: &SchemaRef, rows: Range<i64>) -> RecordBatch {
        RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from_iter_values(rows))]).unwrap()
    }

    async fn read(scan: &Arc<dyn ExecutionPlan>, partition: usize) -> Vec<i64> {
        let batches: Vec<_> =
            scan.execute(partition, Arc::default()).unwrap().try_collect::<Vec<RecordBatch>>().await.unwrap();
        batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    /// The writer keeps batches of 5,000 rows. Decoded batches have 16,384.
    async fn written(dir: &Path, cache: &IndexCache) -> (SchemaRef, DataFile) {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true)]));
        let batches = (0..14).map(|i| batch(&schema, i * 5000..(i + 1) * 5000)).collect();
        let stream = Box::pin(MemoryStream::try_new(batches, schema.clone(), None).unwrap());
        let mut tally = Tally::of_index(std::iter::empty(), &[]).unwrap();
        let path = dir.join("part-0.parquet");
        let file = index_files::write(&path, &schema, stream, Some(cache), &mut tally, &|_| {}).await.unwrap();
        (schema, file.unwrap())
    }

    #[tokio::test]
    async fn each_row_is_read_once_when_the_cache_evicts_the_file_between_two_partitions() {
        let dir = tempfile::tempdir().unwrap();
        for partitions in [1, 2, 3, 8] {
            for kept_until in 0..=partitions {
                let kept = Arc::new(IndexCache::new(64 << 20));
                let (schema, file) = written(dir.path(), &kept).await;
                let files = Arc::new(vec![(Owner::Build, file)]);
                let scan = |cache: Arc<IndexCache>| {
                    IndexScan::plan(schema.clone(), None, files.clone(), cache, partitions).unwrap()
                };
                // Partitions from `kept_until` on have an empty cache and decode the file.
                let (before, after) = (scan(kept), scan(Arc::new(IndexCache::new(0))));
                let mut rows = vec![];
                for p in 0..partitions {
                    rows.extend(read(if p < kept_until { &before } else { &after }, p).await);
                }
                assert_eq!(rows, (0..70_000).collect::<Vec<i64>>(), "{partitions} partitions, {kept_until} kept");
            }
        }
    }

    #[tokio::test]
    async fn a_file_whose_row_count_differs_from_the_recorded_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Arc::new(IndexCache::new(64 << 20));
        let (schema, file) = written(dir.path(), &cache).await;
        let files = Arc::new(vec![(Owner::Build, DataFile { rows: 69_999, ..file })]);
        let scan = IndexScan::plan(schema, None, files, cache, 2).unwrap();
        let error = scan.execute(0, Arc::default()).err().unwrap().to_string();
        assert!(error.contains("has 70000 rows where 69999 were written"), "{error}");
    }

    #[test]
    fn shares_are_disjoint_and_complete() {
        for (partitions, rows) in [(1, 0), (3, 1), (8, 7), (2, u64::MAX)] {
            let shares: Vec<_> = (0..partitions).map(|p| share(p, partitions, rows)).collect();
            assert_eq!((shares[0].start, shares[partitions - 1].end), (0, rows));
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start), "{shares:?}");
        }
    }
}
