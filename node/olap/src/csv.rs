//! Delimited text: reading the header of a file, and scanning whole files.
//!
//! One task reads a file from beginning to end: in the middle of a file, a newline between quotes cannot be told from the
//! end of a record. Fields are text until the declared type of their column parses them. A value therefore means the same
//! in a query, a build and a comparison, and an error names file, record and column. An empty field is NULL, and so is the
//! null value that the table declares. A byte order mark is dropped. CR LF ends a record as LF does.

use crate::error::{Error, Result};
use crate::floats;
use crate::listing::{Opened, SourceFile};
use crate::operators::{self, Leaf};
use crate::table::{CsvOptions, fold};
use bytes::{Buf, Bytes};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Result as DfResult, ScalarValue, project_schema};
use datafusion::execution::TaskContext;
use datafusion::object_store::{GetResultPayload, ObjectStoreExt};
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::Arc;

/// Bytes of one read.
const CHUNK: usize = 256 << 10;
/// The longest header, in bytes.
const HEAD: usize = 1 << 20;
const BATCH_ROWS: usize = 8192;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// How one file is written, by the table's options and the file's name.
#[derive(Debug, Clone)]
pub(crate) struct Dialect {
    pub(crate) header: bool,
    pub(crate) delimiter: u8,
    pub(crate) null_value: Option<String>,
    pub(crate) gzip: bool,
}

impl Dialect {
    pub(crate) fn of(options: Option<&CsvOptions>, url: &str) -> Dialect {
        let lower = url.to_ascii_lowercase();
        let gzip = lower.ends_with(".gz");
        let tabs = lower.trim_end_matches(".gz").ends_with(".tsv");
        let CsvOptions { header, delimiter, null_value } = options.cloned().unwrap_or_default();
        let delimiter = delimiter.unwrap_or(if tabs { '\t' } else { ',' });
        Dialect { header, delimiter: delimiter as u8, null_value, gzip }
    }

    fn is_null(&self, field: &str) -> bool {
        field.is_empty() || self.null_value.as_deref() == Some(field)
    }

    pub(crate) fn reader<R: Read>(&self, from: R) -> csv::Reader<R> {
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(self.delimiter).from_reader(from)
    }
}

/// Reads at most `most` bytes of content, starting at `from` (compressed files: at their beginning).
pub(crate) async fn content(opened: &Opened, dialect: &Dialect, from: u64, most: usize) -> Result<Vec<u8>, String> {
    let until = opened.meta.size.min(from.saturating_add(most as u64));
    if from >= until {
        return Ok(vec![]);
    }
    let bytes = opened.store.get_range(&opened.meta.location, from..until).await.map_err(|e| e.to_string())?;
    if !dialect.gzip {
        return Ok(bytes.strip_prefix(BOM).filter(|_| from == 0).unwrap_or(&bytes).to_vec());
    }
    let mut content = vec![];
    let result = flate2::read::MultiGzDecoder::new(bytes.as_ref()).take(most as u64).read_to_end(&mut content);
    match result {
        // The range may end in the middle of the compressed stream.
        Err(e) if content.is_empty() || until == opened.meta.size => Err(format!("cannot be decompressed: {e}")),
        _ => Ok(content.strip_prefix(BOM).map(<[u8]>::to_vec).unwrap_or(content)),
    }
}

/// The names of a file's columns in order; `column_1`, `column_2` and so on if it has no header. No names if it is empty.
pub(crate) async fn names(opened: &Opened, dialect: &Dialect) -> Result<Vec<String>, String> {
    let head = content(opened, dialect, 0, HEAD).await?;
    let mut record = csv::ByteRecord::new();
    let found = dialect.reader(head.as_slice()).read_byte_record(&mut record).map_err(|e| e.to_string())?;
    if !found {
        return match dialect.header {
            true => Err("is empty; it has no header".into()),
            false => Ok(vec![]),
        };
    }
    if head.len() >= HEAD && record.as_slice().len() > HEAD / 2 {
        return Err(format!("its first record is longer than {} bytes", HEAD / 2));
    }
    if !dialect.header {
        return Ok((1..=record.len()).map(|i| format!("column_{i}")).collect());
    }
    let mut names: Vec<String> = vec![];
    for (i, name) in record.iter().enumerate() {
        let name = std::str::from_utf8(name).map_err(|_| format!("the name of column {} is not UTF-8", i + 1))?;
        if name.is_empty() {
            return Err(format!("column {} has no name", i + 1));
        }
        if let Some(twin) = names.iter().find(|n| fold(n) == fold(name)) {
            return Err(twins(twin, name));
        }
        names.push(name.to_string());
    }
    Ok(names)
}

pub(crate) fn twins(one: &str, other: &str) -> String {
    if one == other {
        format!("has two columns \"{one}\"; rename one")
    } else {
        format!("has the columns \"{one}\" and \"{other}\", which differ only in case; rename one")
    }
}

/// Where the value of a declared column comes from in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A field of the file, by its position.
    Field(usize),
    /// The key of a partition directory.
    Key(ScalarValue),
    /// The file lacks the column.
    Missing,
}

/// A file, and which of its fields each declared column reads.
#[derive(Debug, Clone)]
pub(crate) struct CsvFile {
    pub(crate) file: SourceFile,
    pub(crate) dialect: Dialect,
    /// Fields of a record.
    pub(crate) width: usize,
    /// One per declared column.
    pub(crate) origins: Vec<Origin>,
}

/// Reads delimited files.
#[derive(Debug)]
struct CsvFiles {
    table: Arc<str>,
    /// The columns of the output.
    schema: SchemaRef,
    projection: Vec<usize>,
    groups: Vec<Vec<CsvFile>>,
    /// The most rows that are needed.
    limit: Option<usize>,
}

/// A scan of delimited files.
pub(crate) fn scan(
    table: &str,
    declared: &SchemaRef,
    projection: Option<&Vec<usize>>,
    mut files: Vec<CsvFile>,
    partitions: usize,
    limit: Option<usize>,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let partitions = partitions.clamp(1, files.len().max(1));
    let mut groups = vec![vec![]; partitions];
    // The largest file first, each to the group with the fewest bytes.
    files.sort_by_key(|f| std::cmp::Reverse(f.file.bytes));
    let mut bytes = vec![0; partitions];
    for file in files {
        let least = (0..partitions).min_by_key(|i| bytes[*i]).unwrap_or(0);
        bytes[least] += file.file.bytes.max(1);
        groups[least].push(file);
    }
    let projection = projection.cloned().unwrap_or_else(|| (0..declared.fields().len()).collect());
    let schema = project_schema(declared, Some(&projection))?;
    let files = CsvFiles { table: table.into(), schema: schema.clone(), projection, groups, limit };
    Ok(Arc::new(Leaf::new(files, schema, partitions)))
}

impl operators::Read for CsvFiles {
    const NAME: &'static str = "CsvScan";
    const SCHEDULING: SchedulingType = SchedulingType::NonCooperative;

    fn files(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    fn open(
        &self,
        partition: usize,
        metrics: &ExecutionPlanMetricsSet,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let reading = Reading {
            table: self.table.clone(),
            schema: self.schema.clone(),
            projection: self.projection.clone(),
            context,
            waiting: self.groups[partition].iter().cloned().collect(),
            open: None,
            left: self.limit.unwrap_or(usize::MAX),
            rows: MetricBuilder::new(metrics).output_rows(partition),
            bytes: MetricBuilder::new(metrics).counter("bytes_scanned", partition),
        };
        let stream = futures::stream::try_unfold(reading, |mut reading| async move {
            let batch = reading.next().await.map_err(Error::through)?;
            Ok(batch.map(|batch| (batch, reading)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream)))
    }
}

/// One partition of a scan while it runs.
struct Reading {
    table: Arc<str>,
    schema: SchemaRef,
    projection: Vec<usize>,
    context: Arc<TaskContext>,
    waiting: VecDeque<CsvFile>,
    open: Option<OpenFile>,
    left: usize,
    rows: Count,
    bytes: Count,
}

struct OpenFile {
    file: CsvFile,
    chunks: Chunks,
    decoder: arrow_csv::reader::Decoder,
    /// Whether the next record is the header. The decoder's own skipping fails on a header that spans two pieces.
    header: bool,
    pending: Bytes,
    /// Whether a newline was added after the last chunk.
    ended: bool,
    /// For each output column: a column of the decoder's batches, or a constant.
    columns: Vec<Result<usize, ScalarValue>>,
    /// Records read so far, without the header.
    records: usize,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while self.left > 0 {
            let Some(open) = &mut self.open else {
                let Some(file) = self.waiting.pop_front() else {
                    return Ok(None);
                };
                let shown = file.file.shown();
                let open = OpenFile::open(file, &self.projection, &self.schema, &self.context).await;
                self.open = Some(open.map_err(|e| Error::source(&*self.table, format!("{shown}: {e}")))?);
                continue;
            };
            let table = self.table.clone();
            let failed = |e: String, file: &SourceFile| Error::source(&*table, format!("{}: {e}", file.shown()));
            let batch = match open.fill(&self.bytes).await {
                Ok(batch) => batch,
                Err(e) => return Err(failed(e, &open.file.file)),
            };
            let Some(batch) = batch else {
                self.open = None;
                continue;
            };
            let batch = open.convert(&batch, &self.schema).map_err(|e| failed(e, &open.file.file))?;
            open.records += batch.num_rows();
            let batch = batch.slice(0, batch.num_rows().min(self.left));
            self.left -= batch.num_rows();
            self.rows.add(batch.num_rows());
            return Ok(Some(batch));
        }
        Ok(None)
    }
}

impl OpenFile {
    async fn open(
        file: CsvFile,
        projection: &[usize],
        schema: &Schema,
        context: &TaskContext,
    ) -> Result<OpenFile, String> {
        let opened = file.file.open(&context.runtime_env())?;
        let mut fields: Vec<usize> = vec![];
        for column in projection {
            if let Origin::Field(i) = file.origins[*column]
                && !fields.contains(&i)
            {
                fields.push(i);
            }
        }
        fields.sort_unstable();
        let columns = projection.iter().zip(schema.fields()).map(|(column, field)| match &file.origins[*column] {
            Origin::Field(i) => Ok(fields.binary_search(i).unwrap_or_default()),
            Origin::Key(value) => Err(value.clone()),
            Origin::Missing => Err(ScalarValue::try_from(field.data_type()).unwrap_or(ScalarValue::Null)),
        });
        let columns = columns.collect();
        let texts = (0..file.width).map(|i| Field::new(format!("{i}"), DataType::Utf8, true));
        let decoder = arrow_csv::ReaderBuilder::new(Arc::new(Schema::new(texts.collect::<Vec<_>>())))
            .with_delimiter(file.dialect.delimiter)
            .with_batch_size(BATCH_ROWS)
            .with_projection(fields)
            .build_decoder();
        let chunks = Chunks::open(&opened, file.dialect.gzip).await?;
        let header = file.dialect.header;
        Ok(OpenFile { file, chunks, decoder, header, pending: Bytes::new(), ended: false, columns, records: 0 })
    }

    /// The next records as text.
    async fn fill(&mut self, bytes: &Count) -> Result<Option<RecordBatch>, String> {
        if self.file.width == 0 {
            // Without a header, an empty file has no records.
            return Ok(None);
        }
        loop {
            if self.pending.is_empty() {
                if let Some(chunk) = self.chunks.next(bytes).await? {
                    self.pending = chunk;
                    continue;
                }
                if !std::mem::replace(&mut self.ended, true) {
                    // Ends the last record, unless a quote is open.
                    self.pending = Bytes::from_static(b"\n");
                    continue;
                }
            }
            let is_end = self.pending.is_empty();
            let room = self.decoder.capacity();
            let read = self.decoder.decode(&self.pending).map_err(|e| plain(&e))?;
            if is_end && self.decoder.capacity() < room {
                let before = usize::from(self.file.dialect.header && !self.header) + self.records;
                let record = before + BATCH_ROWS - self.decoder.capacity();
                return Err(format!("record {record} has a quote that is not closed before the end of the file"));
            }
            self.pending.advance(read);
            if read == 0 || self.decoder.capacity() == 0 {
                let batch = self.decoder.flush().map_err(|e| plain(&e))?;
                return Ok(batch.map(|batch| match std::mem::take(&mut self.header) {
                    true => batch.slice(1, batch.num_rows() - 1),
                    false => batch,
                }));
            }
        }
    }

    /// Converts text to the declared types.
    fn convert(&self, texts: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, String> {
        let rows = texts.num_rows();
        let mut columns = vec![];
        for (column, field) in self.columns.iter().zip(schema.fields()) {
            columns.push(match column {
                Err(value) => value.to_array_of_size(rows).map_err(|e| e.strip_backtrace())?,
                Ok(i) => self.parse(texts.column(*i), field)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|e| plain(&e))
    }

    fn parse(&self, texts: &ArrayRef, field: &Field) -> Result<ArrayRef, String> {
        let dialect = &self.file.dialect;
        let texts: ArrayRef = match &dialect.null_value {
            None => texts.clone(),
            Some(_) => {
                let known = texts.as_string::<i32>().iter().map(|v| v.filter(|v| !dialect.is_null(v)));
                Arc::new(known.collect::<StringArray>())
            }
        };
        let wrong = |row: usize| {
            let value = texts.as_string::<i32>().value(row);
            let sql_type = crate::sql_type::SqlType::of_arrow(field.data_type()).map(|t| t.full_name());
            format!(
                "record {}, column \"{}\": '{}' is not a {}; declare another type (--type), or the word that means NULL (--null)",
                self.records + row + 1,
                field.name(),
                value.chars().take(100).collect::<String>(),
                sql_type.unwrap_or_default()
            )
        };
        if let DataType::Decimal128(_, scale) = field.data_type()
            && let Some(row) = texts.as_string::<i32>().iter().position(|v| v.is_some_and(|v| digits(v) > *scale))
        {
            // The cast would round.
            return Err(wrong(row));
        }
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        match cast_with_options(&texts, field.data_type(), &strict) {
            Ok(values) => Ok(floats::canonical(&values)),
            Err(e) => {
                let fails = |row: &usize| cast_with_options(&texts.slice(*row, 1), field.data_type(), &strict).is_err();
                Err((0..texts.len()).find(fails).map_or_else(|| plain(&e), wrong))
            }
        }
    }
}

/// Digits after the point, without trailing zeros; 0 for a number with an exponent.
fn digits(number: &str) -> i8 {
    let fraction = number.split_once('.').map_or("", |(_, fraction)| fraction);
    i8::try_from(fraction.trim_end_matches('0').len()).unwrap_or(i8::MAX)
}

fn plain(e: &datafusion::arrow::error::ArrowError) -> String {
    let text = e.to_string();
    text.strip_prefix("Csv error: ").map(str::to_owned).unwrap_or(text)
}

/// The content of a file, piece by piece.
struct Chunks {
    input: Input,
    gzip: Option<flate2::write::MultiGzDecoder<Vec<u8>>>,
    /// The first bytes, kept until it is known whether they are a byte order mark.
    start: Option<Vec<u8>>,
    ended: bool,
}

enum Input {
    File(std::fs::File),
    Stream(BoxStream<'static, Result<Bytes, datafusion::object_store::Error>>),
}

impl Chunks {
    async fn open(opened: &Opened, gzip: bool) -> Result<Chunks, String> {
        let result = opened.store.get(&opened.meta.location).await.map_err(|e| e.to_string())?;
        let input = match result.payload {
            GetResultPayload::File(file, _) => Input::File(file),
            GetResultPayload::Stream(stream) => Input::Stream(stream),
        };
        let gzip = gzip.then(|| flate2::write::MultiGzDecoder::new(vec![]));
        Ok(Chunks { input, gzip, start: Some(vec![]), ended: false })
    }

    /// Never empty; `None` at the end.
    async fn next(&mut self, bytes: &Count) -> Result<Option<Bytes>, String> {
        loop {
            if self.ended {
                return Ok(self.start.take().map(without_bom).filter(|b| !b.is_empty()));
            }
            let content = match self.read(bytes).await? {
                Some(read) => match &mut self.gzip {
                    None => read,
                    Some(gzip) => {
                        gzip.write_all(&read).map_err(|e| format!("cannot be decompressed: {e}"))?;
                        Bytes::from(std::mem::take(gzip.get_mut()))
                    }
                },
                None => {
                    self.ended = true;
                    match &mut self.gzip {
                        None => continue,
                        Some(gzip) => {
                            gzip.try_finish().map_err(|e| format!("cannot be decompressed: {e}"))?;
                            Bytes::from(std::mem::take(gzip.get_mut()))
                        }
                    }
                }
            };
            let ready = match self.start.take() {
                None => content,
                Some(mut start) => {
                    start.extend_from_slice(&content);
                    if start.len() < BOM.len() {
                        self.start = Some(start);
                        continue;
                    }
                    without_bom(start)
                }
            };
            if !ready.is_empty() {
                return Ok(Some(ready));
            }
        }
    }

    async fn read(&mut self, bytes: &Count) -> Result<Option<Bytes>, String> {
        let read = match &mut self.input {
            Input::Stream(stream) => stream.next().await.transpose().map_err(|e| e.to_string())?,
            Input::File(file) => {
                // Decompression may make a piece a thousand times as long.
                let mut piece = vec![0; if self.gzip.is_some() { CHUNK / 16 } else { CHUNK }];
                let n = file.read(&mut piece).map_err(|e| e.to_string())?;
                piece.truncate(n);
                (n > 0).then(|| Bytes::from(piece))
            }
        };
        bytes.add(read.as_ref().map_or(0, Bytes::len));
        Ok(read)
    }
}

fn without_bom(start: Vec<u8>) -> Bytes {
    let bytes = Bytes::from(start);
    if bytes.starts_with(BOM) { bytes.slice(BOM.len()..) } else { bytes }
}
