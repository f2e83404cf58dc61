//! Index files as a table of DataFusion.
//!
//! Small files are read whole through the cache ([`crate::index_scan`]). Files too large for that are scanned in place,
//! after their length was compared.

use crate::index_files::{BATCH_ROWS, IndexCache, Owner, check_length};
use crate::index_scan::IndexScan;
use crate::segment::DataFile;
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

/// Index files as one table.
#[derive(Debug)]
pub(crate) struct IndexTable {
    pub(crate) schema: SchemaRef,
    pub(crate) files: Vec<(Owner, DataFile)>,
    pub(crate) cache: Arc<IndexCache>,
}

impl IndexTable {
    fn in_memory(&self) -> bool {
        self.cache.takes(self.files.iter().map(|(_, f)| f.bytes).sum())
    }
}

#[async_trait]
impl TableProvider for IndexTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let answer = match self.in_memory() {
            true => TableProviderFilterPushDown::Unsupported,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(vec![answer; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        if self.in_memory() {
            let rows: u64 = self.files.iter().map(|(_, f)| f.rows).sum();
            let wide = (rows / BATCH_ROWS as u64).clamp(1, state.config().target_partitions().max(1) as u64);
            let files = Arc::new(self.files.clone());
            let (schema, cache) = (self.schema.clone(), self.cache.clone());
            return IndexScan::plan(schema, projection.cloned(), files, cache, wide as usize);
        }
        let mut urls = vec![];
        for (owner, file) in &self.files {
            check_length(file).map_err(|problem| owner.error(file, problem).through())?;
            let absolute = std::path::absolute(&file.path)?;
            let url = url::Url::from_file_path(&absolute)
                .map_err(|()| owner.error(file, "has no absolute path".into()).through())?;
            urls.push(ListingTableUrl::try_new(url, None)?);
        }
        let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
        let config = ListingTableConfig::new_with_multi_paths(urls)
            .with_listing_options(options)
            .with_schema(self.schema.clone());
        ListingTable::try_new(config)?.scan(state, projection, filters, limit).await
    }
}
