//! Raw tables: describing, checking and scanning the files of a source.
//!
//! Queries and builds read files in the same way:
//!
//! 1. List the files.
//! 2. Read the header or footer of each.
//! 3. Map every declared column to a column of the file, by name, in any order and any case.
//! 4. Read by that mapping.
//!
//! A file that lacks a column has NULL there. A column that no file has is an error. The declared types are
//! authoritative: values are widened to them, never rounded or truncated. Errors name the file.

use crate::access::within;
use crate::csv::{self, CsvFile, Dialect, Origin};
use crate::error::{Error, Result};
use crate::floats::canonical_floats;
use crate::infer::{self, Guess};
use crate::listing::{Opened, access, list};
use crate::sql_type::SqlType;
use crate::table::{Column, Format, Source, Table, fold};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::common::{Result as DfResult, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::object_store::{ObjectStore, ObjectStoreExt, path::Path};
use datafusion::parquet::arrow::async_reader::MetadataFetch;
use datafusion::parquet::arrow::parquet_to_arrow_schema;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::ParquetMetaDataReader;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use std::ops::Range;
use std::sync::Arc;

pub use crate::listing::SourceFile;

/// What a source holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Columns that a table can have.
    pub columns: Vec<Column>,
    /// Columns of types that tables do not support, with the type.
    pub skipped: Vec<(String, String)>,
    /// Number of files.
    pub files: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Number of rows, if the format records it.
    pub rows: Option<u64>,
    /// Decisions and skipped files, for display; one sentence each.
    pub notes: Vec<String>,
}

/// Files whose headers or footers are read concurrently.
const HEADS_AT_ONCE: usize = 16;

/// A source table as DataFusion sees it: folded names, declared types.
#[derive(Debug)]
pub(crate) struct RawTable {
    table: Arc<Table>,
    schema: SchemaRef,
    /// The files to read; `None` means the files that exist when a scan starts.
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
        // Filters stay above the scan. The physical optimiser pushes them into Parquet scans.
        Ok(vec![TableProviderFilterPushDown::Unsupported; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let session = state
            .as_any()
            .downcast_ref::<SessionState>()
            .ok_or_else(|| Error::Execution("a session of another type".into()).through())?;
        let files = match &self.pinned {
            Some(files) => files.clone(),
            None => list(session, &self.table.name, &self.table.source).await.map_err(Error::through)?.files,
        };
        let mapped = mapped(session, &self.table, files).await.map_err(Error::through)?;
        match self.table.source.format {
            Format::Csv => {
                let files = mapped.into_iter().map(Mapped::csv).collect();
                let wide = session.config().target_partitions();
                let name = &self.table.name;
                csv::scan(name, &self.schema, projection, files, wide, limit)
            }
            Format::Parquet => self.parquet(session, projection, limit, mapped),
        }
    }
}

impl RawTable {
    /// One scan for each spelling of the column names in the files.
    fn parquet(
        &self,
        state: &SessionState,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
        mapped: Vec<Mapped>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let mut groups: Vec<(Vec<Option<String>>, Vec<Mapped>)> = vec![];
        for file in mapped {
            let names = file.names();
            match groups.iter_mut().find(|(n, f)| *n == names && f[0].opened.url == file.opened.url) {
                Some((_, files)) => files.push(file),
                None => groups.push((names, vec![file])),
            }
        }
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        let scans = groups
            .into_iter()
            .map(|(names, files)| self.parquet_group(state, projection, limit, &names, files))
            .collect::<DfResult<Vec<_>>>()?;
        match scans.len() {
            0 => Err(Error::source(&self.table.name, "has no files").through()),
            1 => Ok(scans.into_iter().next().expect("there is one")),
            _ => UnionExec::try_new(scans),
        }
    }

    fn parquet_group(
        &self,
        state: &SessionState,
        projection: &[usize],
        limit: Option<usize>,
        names: &[Option<String>],
        files: Vec<Mapped>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        // Columns of the files first, then partition keys, as a scan requires.
        let mut in_file: Vec<FieldRef> = vec![];
        let mut keys: Vec<FieldRef> = vec![];
        let mut places = vec![];
        for (name, field) in names.iter().zip(self.schema.fields()) {
            match name {
                Some(name) => {
                    places.push((false, in_file.len()));
                    in_file.push(Arc::new(Field::new(name, field.data_type().clone(), true)));
                }
                None => {
                    places.push((true, keys.len()));
                    keys.push(field.clone());
                }
            }
        }
        let columns: Vec<usize> =
            projection.iter().map(|i| places[*i]).map(|(key, i)| if key { in_file.len() + i } else { i }).collect();
        let url = files[0].opened.url.clone();
        let rows: Option<usize> = files.iter().map(|f| f.rows.and_then(|r| usize::try_from(r).ok())).sum();
        let parts: Vec<PartitionedFile> = files
            .into_iter()
            .map(|file| {
                let values = file.origins.iter().filter_map(|o| match o {
                    Origin::Key(value) => Some(value.clone()),
                    Origin::Field(_) | Origin::Missing => None,
                });
                let values = values.collect();
                PartitionedFile { partition_values: values, ..PartitionedFile::new_from_meta(file.opened.meta) }
            })
            .collect();
        let options =
            TableParquetOptions { global: state.config_options().execution.parquet.clone(), ..Default::default() };
        let schema = TableSchema::builder(Arc::new(Schema::new(in_file))).with_table_partition_cols(keys).build();
        let mut statistics = Statistics::new_unknown(schema.table_schema());
        statistics.num_rows = rows.map_or(Precision::Absent, Precision::Exact);
        // No cache of footers: a file may be replaced by one of the same length and time.
        let source = ParquetSource::new(schema).with_table_parquet_options(options);
        let wide = state.config().target_partitions().max(1);
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(FileGroup::new(parts).split_files(wide))
            .with_statistics(statistics)
            .with_projection_indices(Some(columns))?
            .with_limit(limit)
            .build();
        let scan = canonical_floats(DataSourceExec::from_data_source(config));
        if scan.schema().fields().iter().all(|f| fold(f.name()) == *f.name()) {
            return Ok(scan);
        }
        let schema = scan.schema();
        let wanted = projection.iter().map(|i| self.schema.field(*i).name().clone());
        let columns: Vec<(Arc<dyn PhysicalExpr>, String)> = schema
            .fields()
            .iter()
            .zip(wanted)
            .enumerate()
            .map(|(i, (f, wanted))| (Arc::new(PhysicalColumn::new(f.name(), i)) as Arc<dyn PhysicalExpr>, wanted))
            .collect();
        Ok(Arc::new(ProjectionExec::try_new(columns, scan)?))
    }
}

/// A file whose columns are mapped to the declared ones.
struct Mapped {
    file: SourceFile,
    opened: Opened,
    dialect: Dialect,
    /// Names and, for Parquet, types of its columns.
    columns: Vec<(String, Option<DataType>)>,
    rows: Option<u64>,
    /// One per declared column.
    origins: Vec<Origin>,
    /// The declared names.
    declared: Vec<String>,
}

impl Mapped {
    fn csv(self) -> CsvFile {
        CsvFile { file: self.file, dialect: self.dialect, width: self.columns.len(), origins: self.origins }
    }

    /// For each declared column its name in the file. A column that the file lacks has a name that the file does not have.
    /// A partition key has none.
    fn names(&self) -> Vec<Option<String>> {
        let names = self.origins.iter().zip(&self.declared).map(|(origin, declared)| match origin {
            Origin::Field(i) => Some(self.columns[*i].0.clone()),
            Origin::Missing => Some(declared.clone()),
            Origin::Key(_) => None,
        });
        names.collect()
    }
}

/// The header or footer of a file.
struct Head {
    file: SourceFile,
    opened: Opened,
    dialect: Dialect,
    columns: Vec<(String, Option<DataType>)>,
    rows: Option<u64>,
}

/// Reads the headers or footers of files, in order.
async fn heads(state: &SessionState, table: &str, source: &Source, files: Vec<SourceFile>) -> Result<Vec<Head>> {
    let access = access(state);
    let heads = files.into_iter().map(|file| {
        let (shown, access, most) = (file.shown(), access.clone(), access.open_within);
        let head = async move {
            file.check_again(access, source.granted.clone()).await?;
            head(state, source, file).await
        };
        within(most, head).map(move |head| head.map_err(|e| Error::source(table, format!("{shown}: {e}"))))
    });
    futures::stream::iter(heads).buffered(HEADS_AT_ONCE).try_collect().await
}

async fn head(state: &SessionState, source: &Source, file: SourceFile) -> Result<Head, String> {
    let opened = file.open(state.runtime_env())?;
    let dialect = Dialect::of(source.csv.as_ref(), &file.url);
    if source.format == Format::Csv {
        let names = csv::names(&opened, &dialect).await?;
        let columns = names.into_iter().map(|name| (name, None)).collect();
        return Ok(Head { file, opened, dialect, columns, rows: None });
    }
    if file.bytes == 0 {
        return Err("is empty (0 bytes), not a Parquet file".into());
    }
    let fetch = Fetch { store: opened.store.clone(), path: opened.meta.location.clone() };
    let footer = ParquetMetaDataReader::new().load_and_finish(fetch, file.bytes).await.map_err(|e| e.to_string())?;
    let meta = footer.file_metadata();
    let schema = parquet_to_arrow_schema(meta.schema_descr(), meta.key_value_metadata()).map_err(|e| e.to_string())?;
    let mut columns: Vec<(String, Option<DataType>)> = vec![];
    for field in schema.fields() {
        if let Some((twin, _)) = columns.iter().find(|(name, _)| fold(name) == fold(field.name())) {
            return Err(csv::twins(twin, field.name()));
        }
        columns.push((field.name().clone(), Some(field.data_type().clone())));
    }
    let rows = u64::try_from(meta.num_rows()).ok();
    Ok(Head { file, opened, dialect, columns, rows })
}

struct Fetch {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

impl MetadataFetch for Fetch {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let bytes = async move { self.store.get_range(&self.path, range).await };
        bytes.map(|result| result.map_err(|e| ParquetError::External(Box::new(e)))).boxed()
    }
}

/// Maps the columns of files to the declared ones.
async fn mapped(state: &SessionState, table: &Table, files: Vec<SourceFile>) -> Result<Vec<Mapped>> {
    let wrong = |problem: String| Error::source(&table.name, problem);
    let schema = table.folded_schema();
    let mut mapped = vec![];
    for head in heads(state, &table.name, &table.source, files).await? {
        let shown = head.file.shown();
        let Head { file, opened, dialect, columns, rows } = head;
        if table.source.format == Format::Csv {
            check_fields(table, &dialect, &columns, &file.keys).map_err(|e| wrong(format!("{shown} {e}")))?;
        }
        let mut origins = vec![];
        for (i, (column, field)) in table.columns.iter().zip(schema.fields()).enumerate() {
            let key = file.keys.iter().find(|(key, _)| fold(key) == *field.name());
            let position = match table.source.format {
                Format::Csv if !dialect.header => (i < columns.len()).then_some(i),
                _ => columns.iter().position(|(name, _)| fold(name) == *field.name()),
            };
            origins.push(match (key, position) {
                (Some((key, value)), _) => {
                    let text = ScalarValue::Utf8(value.clone());
                    let value = text.cast_to(field.data_type()).map_err(|_| {
                        wrong(format!(
                            "{shown}: {key}={} is not a {}",
                            value.clone().unwrap_or_default(),
                            column.type_name
                        ))
                    })?;
                    Origin::Key(value)
                }
                (None, Some(i)) => {
                    if let Some(found) = &columns[i].1 {
                        check_type(found, column).map_err(|e| wrong(format!("{shown}: {e}")))?;
                    }
                    Origin::Field(i)
                }
                (None, None) => Origin::Missing,
            });
        }
        let declared = schema.fields().iter().map(|f| f.name().clone()).collect();
        mapped.push(Mapped { file, opened, dialect, columns, rows, origins, declared });
    }
    for (i, column) in table.columns.iter().enumerate() {
        // A file without header and records has no columns.
        if mapped.iter().all(|m| m.origins[i] == Origin::Missing) && mapped.iter().any(|m| !m.columns.is_empty()) {
            let first = &mapped[0];
            let has: Vec<_> = first.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            return Err(wrong(format!(
                "no file has a column \"{}\"; {} has {}",
                column.name,
                first.file.shown(),
                has.join(", ")
            )));
        }
    }
    Ok(mapped)
}

/// Checks the fields of a delimited file against the definition.
fn check_fields(
    table: &Table,
    dialect: &Dialect,
    columns: &[(String, Option<DataType>)],
    keys: &[(String, Option<String>)],
) -> Result<(), String> {
    if !dialect.header {
        let declared = table.columns.len() - keys.len();
        if !columns.is_empty() && columns.len() != declared {
            return Err(format!("has {} columns, but the definition has {declared}", columns.len()));
        }
        return Ok(());
    }
    match columns.iter().find(|(name, _)| !table.columns.iter().any(|c| fold(&c.name) == fold(name))) {
        None => Ok(()),
        Some((name, _)) => Err(format!(
            "begins with a field \"{}\", which is not a column of the table; either its header is missing, or the table \
             has to be added again with that column",
            name.chars().take(100).collect::<String>()
        )),
    }
}

/// Whether values of a Parquet column convert to the declared type without loss, or else fail.
fn check_type(found: &DataType, column: &Column) -> Result<(), String> {
    let declared = SqlType::parse(&column.type_name);
    let keeps = match (SqlType::of_arrow(found), declared) {
        (Some(found), Some(declared)) => found.widens_to(declared),
        _ => false,
    };
    if keeps {
        return Ok(());
    }
    Err(format!("column \"{}\" is {found}, which cannot be read as {} without loss", column.name, column.type_name))
}

/// Lists what a source holds.
pub(crate) async fn describe(state: &SessionState, source: &Source) -> Result<Described> {
    // The table does not exist yet, so errors name the location.
    let name = source.location.as_str();
    source.validate(&format!("source {name}"))?;
    let listing = list(state, name, source).await?;
    let bytes = listing.files.iter().map(|f| f.bytes).sum();
    let mut described =
        Described { columns: vec![], skipped: vec![], files: listing.files.len(), bytes, rows: None, notes: vec![] };
    if !listing.skipped.is_empty() {
        described.notes.push(format!("skipped {}", listing.skipped.join(", ")));
    }
    let heads = heads(state, name, source, listing.files).await?;
    match source.format {
        Format::Parquet => parquet_columns(name, &heads, &mut described)?,
        Format::Csv => csv_columns(name, source, &heads, &mut described).await?,
    }
    add_keys(name, &heads, &mut described)?;
    if described.columns.is_empty() {
        return Err(Error::source(name, "has no column of a supported type"));
    }
    Ok(described)
}

fn parquet_columns(name: &str, heads: &[Head], described: &mut Described) -> Result<()> {
    let mut types: Vec<(String, SqlType, String)> = vec![];
    for head in heads {
        for (column, found) in &head.columns {
            let Some(found) = found else { continue };
            let Some(sql_type) = SqlType::of_arrow(found) else {
                let skipped = (column.clone(), found.to_string());
                if !described.skipped.contains(&skipped) {
                    described.skipped.push(skipped);
                }
                continue;
            };
            match types.iter_mut().find(|(known, ..)| fold(known) == fold(column)) {
                None => types.push((column.clone(), sql_type, head.file.shown())),
                Some((_, known, first)) => match known.unify(sql_type) {
                    Some(wider) => *known = wider,
                    None => {
                        return Err(Error::source(
                            name,
                            format!(
                                "column \"{column}\" is {} in {first} and {} in {}; no type holds both without loss",
                                known.full_name(),
                                sql_type.full_name(),
                                head.file.shown()
                            ),
                        ));
                    }
                },
            }
        }
    }
    if let Some((column, found)) =
        described.skipped.iter().find(|(s, _)| types.iter().any(|(t, ..)| fold(t) == fold(s)))
    {
        let problem = format!("column \"{column}\" is {found} in some files and another type in others");
        return Err(Error::source(name, problem));
    }
    described.rows = heads.iter().map(|h| h.rows).sum();
    for (column, sql_type, _) in types {
        let lacking = heads.iter().filter(|h| !h.columns.iter().any(|(c, _)| fold(c) == fold(&column))).count();
        if lacking > 0 {
            described.notes.push(format!("column \"{column}\" is NULL in {lacking} of {} files", heads.len()));
        }
        described.columns.push(Column { name: column, type_name: sql_type.full_name() });
    }
    Ok(())
}

async fn csv_columns(name: &str, source: &Source, heads: &[Head], described: &mut Described) -> Result<()> {
    let delimiter = source.csv.as_ref().and_then(|csv| csv.delimiter);
    // Before the records are read: one with a decimal comma would have too many fields.
    if let (Some([(only, _)]), None) = (heads.first().map(|head| head.columns.as_slice()), delimiter)
        && let Some(other) = only.chars().find(|c| matches!(c, ';' | '\t' | '|'))
    {
        let problem = format!(
            "its only column would be \"{only}\"; if {other:?} separates its fields, add --delimiter {other:?} \
             (csv.delimiter in a request)"
        );
        return Err(Error::source(name, problem));
    }
    let mut columns: Vec<(String, Guess)> = vec![];
    let mut is_whole = true;
    for head in heads {
        let failed = |e: String| Error::source(name, format!("{}: {e}", head.file.shown()));
        let places: Vec<usize> = head
            .columns
            .iter()
            .map(|(column, _)| {
                columns.iter().position(|(known, _)| fold(known) == fold(column)).unwrap_or_else(|| {
                    columns.push((column.clone(), Guess::default()));
                    columns.len() - 1
                })
            })
            .collect();
        let mut guesses: Vec<Guess> = places.iter().map(|i| columns[*i].1.clone()).collect();
        is_whole &= infer::look(&head.opened, &head.dialect, described.bytes, &mut guesses).await.map_err(failed)?;
        for (i, guess) in places.into_iter().zip(guesses) {
            columns[i].1 = guess;
        }
    }
    if !is_whole {
        described.notes.push("types come from samples of each file; declare them where that is not enough".into());
    }
    for (column, guess) in columns {
        let (sql_type, why) = guess.decide();
        if let Some(why) = why {
            described.notes.push(format!("column \"{column}\" is {}: {why}", sql_type.full_name()));
        }
        if let Some(exact) = guess.exact() {
            described.notes.push(format!(
                "column \"{column}\" is {}, whose sums are not exact; if it holds amounts, declare --type {column}={}",
                sql_type.full_name(),
                exact.full_name()
            ));
        }
        let lacking = heads.iter().filter(|h| !h.columns.iter().any(|(c, _)| fold(c) == fold(&column))).count();
        if lacking > 0 {
            described.notes.push(format!("column \"{column}\" is NULL in {lacking} of {} files", heads.len()));
        }
        described.columns.push(Column { name: column, type_name: sql_type.full_name() });
    }
    Ok(())
}

/// Adds partition keys as columns. If files have a column of the same name, the directory takes precedence.
fn add_keys(name: &str, heads: &[Head], described: &mut Described) -> Result<()> {
    let Some(first) = heads.first() else { return Ok(()) };
    let keys = |head: &Head| head.file.keys.iter().map(|(key, _)| fold(key)).collect::<Vec<_>>();
    let wanted = keys(first);
    if let Some(other) = heads.iter().find(|h| keys(h) != wanted) {
        let problem =
            format!("{} and {} are in directories with different keys", first.file.shown(), other.file.shown());
        return Err(Error::source(name, problem));
    }
    for (i, (key, _)) in first.file.keys.iter().enumerate() {
        let sql_type = infer::of_keys(heads.iter().filter_map(|h| h.file.keys[i].1.as_deref()));
        described.columns.retain(|c| fold(&c.name) != fold(key));
        described.skipped.retain(|(c, _)| fold(c) != fold(key));
        described.notes.push(format!("column \"{key}\" is {} from the names of directories", sql_type.full_name()));
        described.columns.push(Column { name: key.clone(), type_name: sql_type.full_name() });
    }
    Ok(())
}

/// What [`check`] found.
pub(crate) struct Checked {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) rows: Option<u64>,
}

/// Checks a definition against its files.
pub(crate) async fn check(state: &SessionState, table: &Table) -> Result<Checked> {
    let files = list(state, &table.name, &table.source).await?.files;
    let mapped = mapped(state, table, files).await?;
    let rows = mapped.iter().map(|m| m.rows).sum();
    Ok(Checked { files: mapped.into_iter().map(|m| m.file).collect(), rows })
}

/// Fails if a file that a build relies on was deleted or changed since it was listed.
pub(crate) async fn verify(state: &SessionState, table: &Table, files: &[SourceFile]) -> Result<()> {
    for file in files {
        if let Some(what) = file.changed(state).await {
            return Err(Error::source(
                &table.name,
                format!("{} {what} since the build began; restart the job to read it again", file.shown()),
            ));
        }
    }
    Ok(())
}
