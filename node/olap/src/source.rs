//! Raw tables: listing, describing, checking and scanning the files of a source.
//!
//! The declared types are the truth and names are folded, so a raw table looks the same whatever its files call
//! things. Parquet columns are found by name; the check insists that they are there, because a reader that is merely
//! handed a schema takes a missing column for one full of NULLs.

use crate::engine::Described;
use crate::error::{Error, Result};
use crate::sql_type::SqlType;
use crate::table::{Column, CsvOptions, Format, Source, Table, fold};
use async_trait::async_trait;
use datafusion::arrow::compute::can_cast_types;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column as ExprColumn, Result as DfResult};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::object_store::ObjectMeta;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::projection::ProjectionExec;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A file of a source as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// URL of the file.
    pub url: String,
    /// Its length.
    pub bytes: u64,
    /// Its last change, milliseconds since 1970; for equality only.
    pub modified_ms: i64,
}

/// A source table as DataFusion sees it: folded names, declared types.
#[derive(Debug)]
pub(crate) struct RawTable {
    table: Arc<Table>,
    schema: SchemaRef,
    /// The files to read; without it, whatever is there when a scan begins.
    pinned: Option<Vec<SourceFile>>,
}

impl RawTable {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        RawTable { schema: table.folded_schema(), table, pinned: None }
    }

    pub(crate) fn pinned(table: Arc<Table>, files: Vec<SourceFile>) -> Self {
        RawTable { schema: table.folded_schema(), table, pinned: Some(files) }
    }

    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    fn listing(&self) -> DfResult<ListingTable> {
        let source = &self.table.source;
        let urls = match &self.pinned {
            Some(files) => files.iter().map(|f| ListingTableUrl::parse(&f.url)).collect::<DfResult<Vec<_>>>()?,
            None => vec![location(source).map_err(|problem| Error::source(&self.table.name, problem).through())?],
        };
        let config = ListingTableConfig::new_with_multi_paths(urls)
            .with_listing_options(options(source))
            .with_schema(self.table.file_schema());
        ListingTable::try_new(config)
    }
}

#[async_trait]
impl TableProvider for RawTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let answer = match self.table.source.format {
            Format::Parquet => TableProviderFilterPushDown::Inexact,
            Format::Csv => TableProviderFilterPushDown::Unsupported,
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
        if self.pinned.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::source(&self.table.name, "has no files").through());
        }
        let file_schema = self.table.file_schema();
        let filters =
            filters.iter().map(|filter| self.in_file_names(filter, &file_schema)).collect::<DfResult<Vec<_>>>()?;
        let plan = self.listing()?.scan(state, projection, &filters, limit).await?;
        if plan.schema().fields().iter().all(|f| fold(f.name()) == *f.name()) {
            return Ok(plan);
        }
        let columns: Vec<(Arc<dyn PhysicalExpr>, String)> = plan
            .schema()
            .fields()
            .iter()
            .enumerate()
            .map(|(i, f)| (Arc::new(PhysicalColumn::new(f.name(), i)) as Arc<dyn PhysicalExpr>, fold(f.name())))
            .collect();
        Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
    }
}

impl RawTable {
    fn in_file_names(&self, filter: &Expr, file_schema: &SchemaRef) -> DfResult<Expr> {
        let rename = |expr: Expr| {
            Ok(match expr {
                Expr::Column(c) => match self.schema.index_of(&c.name) {
                    Ok(i) => Transformed::yes(Expr::Column(ExprColumn::new_unqualified(file_schema.field(i).name()))),
                    Err(_) => Transformed::no(Expr::Column(c)),
                },
                other => Transformed::no(other),
            })
        };
        Ok(filter.clone().transform(rename)?.data)
    }
}

/// Lists what a source holds.
pub(crate) async fn describe(state: &SessionState, source: &Source) -> Result<Described> {
    // There is no table yet; the location says what is meant.
    let name = source.location.as_str();
    let files = list(state, name, source).await?;
    let (store, metas) = opened(state, name, source, &files).await?;
    let schema = format(source)
        .infer_schema(state, &store, &metas)
        .await
        .map_err(|e| Error::source(name, format!("cannot read {}: {}", source.location, e.strip_backtrace())))?;
    let mut described = Described {
        columns: vec![],
        skipped: vec![],
        files: files.len(),
        bytes: files.iter().map(|f| f.bytes).sum(),
        rows: rows(state, source, &store, &metas, &schema).await,
    };
    for field in schema.fields() {
        match SqlType::of_arrow(field.data_type()) {
            Some(t) => described.columns.push(Column { name: field.name().clone(), type_name: t.full_name() }),
            None => described.skipped.push((field.name().clone(), field.data_type().to_string())),
        }
    }
    Ok(described)
}

/// What [`check`] found.
pub(crate) struct Checked {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) rows: Option<u64>,
}

/// Checks a definition against its files.
pub(crate) async fn check(state: &SessionState, table: &Table) -> Result<Checked> {
    let source = &table.source;
    let files = list(state, &table.name, source).await?;
    let (store, metas) = opened(state, &table.name, source, &files).await?;
    for (file, meta) in files.iter().zip(&metas) {
        let found = format(source)
            .infer_schema(state, &store, std::slice::from_ref(meta))
            .await
            .map_err(|e| Error::source(&table.name, format!("cannot read {}: {}", file.url, e.strip_backtrace())))?;
        match source.format {
            Format::Parquet => {
                for (column, declared) in table.columns.iter().zip(table.file_schema().fields()) {
                    let Some((_, field)) = found.column_with_name(&column.name) else {
                        let near = found.fields().iter().find(|f| fold(f.name()) == fold(&column.name));
                        let hint =
                            near.map(|f| format!("; it has \"{}\", write it like that", f.name())).unwrap_or_default();
                        return Err(Error::source(
                            &table.name,
                            format!("{} has no column \"{}\"{hint}", file.url, column.name),
                        ));
                    };
                    if !can_cast_types(field.data_type(), declared.data_type()) {
                        return Err(Error::source(
                            &table.name,
                            format!(
                                "column \"{}\" of {} is {}, which is no {}",
                                column.name,
                                file.url,
                                field.data_type(),
                                column.type_name
                            ),
                        ));
                    }
                }
            }
            Format::Csv => {
                if found.fields().len() != table.columns.len() {
                    return Err(Error::source(
                        &table.name,
                        format!(
                            "{} has {} columns, the definition {}; declare all of them, in the file's order",
                            file.url,
                            found.fields().len(),
                            table.columns.len()
                        ),
                    ));
                }
                let header = source.csv.clone().unwrap_or_default().header;
                if header
                    && let Some((field, column)) =
                        found.fields().iter().zip(&table.columns).find(|(f, c)| fold(f.name()) != fold(&c.name))
                {
                    return Err(Error::source(
                        &table.name,
                        format!(
                            "{} has column \"{}\" where the definition has \"{}\"; declare the columns in the file's order",
                            file.url,
                            field.name(),
                            column.name
                        ),
                    ));
                }
            }
        }
    }
    let rows = rows(state, source, &store, &metas, &table.file_schema()).await;
    Ok(Checked { files, rows })
}

/// Fails if a file that a build relies on is gone or was changed since.
pub(crate) async fn verify(state: &SessionState, table: &Table, files: &[SourceFile]) -> Result<()> {
    for file in files {
        let url = ListingTableUrl::parse(&file.url)?;
        let store = state.runtime_env().object_store(&url)?;
        let changed = |what: String| {
            Error::source(
                &table.name,
                format!("{} {what} since the build began; restart the job to read it again", file.url),
            )
        };
        use datafusion::object_store::ObjectStoreExt;
        let meta = store.head(url.prefix()).await.map_err(|e| changed(format!("vanished ({e})")))?;
        if meta.size != file.bytes || meta.last_modified.timestamp_millis() != file.modified_ms {
            return Err(changed("changed".into()));
        }
    }
    Ok(())
}

async fn rows(
    state: &SessionState,
    source: &Source,
    store: &Arc<dyn datafusion::object_store::ObjectStore>,
    metas: &[ObjectMeta],
    schema: &SchemaRef,
) -> Option<u64> {
    if source.format == Format::Csv {
        return None;
    }
    let mut rows = 0;
    for meta in metas {
        let statistics = format(source).infer_stats(state, store, schema.clone(), meta).await.ok()?;
        rows += *statistics.num_rows.get_value()? as u64;
    }
    Some(rows)
}

/// The files of a source, in the order of their names.
async fn list(state: &SessionState, table: &str, source: &Source) -> Result<Vec<SourceFile>> {
    let url = location(source).map_err(|problem| Error::source(table, problem))?;
    let unreadable = |e: String| {
        let hint = crate::stores::hint(&url);
        Error::source(table, format!("cannot list {}: {e}{hint}", source.location))
    };
    let store = state
        .runtime_env()
        .object_store(&url)
        .map_err(|e| Error::source(table, format!("cannot open {}: {}", source.location, e.strip_backtrace())))?;
    // A file that is named in full may have any name; in a directory, only the format's files count.
    let extension = if url.is_collection() || url.get_glob().is_some() { source.format.extension() } else { "" };
    let metas: Vec<ObjectMeta> = url
        .list_all_files(state, store.as_ref(), extension)
        .await
        .map_err(|e| unreadable(e.strip_backtrace()))?
        .try_collect()
        .await
        .map_err(|e| unreadable(e.strip_backtrace()))?;
    let base = url.object_store();
    let mut files = metas
        .into_iter()
        .map(|meta| {
            let mut at = url::Url::parse(base.as_str()).map_err(|e| unreadable(e.to_string()))?;
            at.set_path(meta.location.as_ref());
            Ok(SourceFile { url: at.to_string(), bytes: meta.size, modified_ms: meta.last_modified.timestamp_millis() })
        })
        .collect::<Result<Vec<_>>>()?;
    files.sort_by(|a, b| a.url.cmp(&b.url));
    if files.is_empty() {
        return Err(Error::source(
            table,
            format!("there is no {} file at {}", source.format.extension(), source.location),
        ));
    }
    Ok(files)
}

async fn opened(
    state: &SessionState,
    table: &str,
    source: &Source,
    files: &[SourceFile],
) -> Result<(Arc<dyn datafusion::object_store::ObjectStore>, Vec<ObjectMeta>)> {
    use datafusion::object_store::ObjectStoreExt;
    let store = state.runtime_env().object_store(location(source).map_err(|p| Error::source(table, p))?)?;
    let mut metas = vec![];
    for file in files {
        let url = ListingTableUrl::parse(&file.url)?;
        let meta = store.head(url.prefix()).await;
        metas.push(meta.map_err(|e| Error::source(table, format!("cannot read {}: {e}", file.url)))?);
    }
    Ok((store, metas))
}

fn location(source: &Source) -> Result<ListingTableUrl, String> {
    ListingTableUrl::parse(&source.location).map_err(|e| format!("\"{}\" is no location: {e}", source.location))
}

fn format(source: &Source) -> Arc<dyn FileFormat> {
    match source.format {
        Format::Parquet => Arc::new(ParquetFormat::default()),
        Format::Csv => {
            let CsvOptions { header, delimiter, null_value } = source.csv.clone().unwrap_or_default();
            let mut format = CsvFormat::default().with_has_header(header).with_delimiter(delimiter as u8);
            if let Some(word) = null_value {
                format = format.with_null_regex(Some(format!("^({})?$", escaped(&word))));
            }
            Arc::new(format)
        }
    }
}

/// The word as a regular expression that matches only itself.
fn escaped(word: &str) -> String {
    word.chars().flat_map(|c| if c.is_alphanumeric() || c == '_' { vec![c] } else { vec!['\\', c] }).collect()
}

fn options(source: &Source) -> ListingOptions {
    // Listing has filtered by name already, or the file was named in full.
    let extension = match location(source) {
        Ok(url) if url.is_collection() || url.get_glob().is_some() => source.format.extension(),
        _ => "",
    };
    ListingOptions::new(format(source)).with_file_extension(extension)
}
