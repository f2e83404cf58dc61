//! Files of index data: written with a checksum and fsync, read through a cache of decoded batches.
//!
//! A step's files must be on disk before the step is reported, so the file and its directory are fsynced. Small files are
//! read whole. Their checksum is compared before anything is decoded, so damage cannot become a wrong answer. The decoded
//! batches stay in a cache of bounded size. Its key is path *and* checksum, so a path that is written again is another
//! entry. Files too large for the cache are scanned in place ([`crate::index_table`]).

use crate::conservation::Tally;
use crate::error::{Error, Result};
use crate::segment::DataFile;
use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Result as DfResult;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use std::collections::HashMap;
use std::fs::File;
use std::hash::Hasher;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use twox_hash::XxHash64;

/// Rows of a decoded batch.
pub(crate) const BATCH_ROWS: usize = 16_384;

/// A writer that computes the length and checksum of what it writes.
struct Hashed<W> {
    inner: W,
    hash: XxHash64,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hash.write(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

fn checksum(content: &[u8]) -> String {
    let mut hash = XxHash64::with_seed(0);
    hash.write(content);
    format!("{:016x}", hash.finish())
}

/// Writes one stream to one file, fsyncs it, and tallies every row. A stream without rows makes no file.
pub(crate) async fn write(
    path: &Path,
    schema: &SchemaRef,
    mut stream: SendableRecordBatchStream,
    keep: Option<&IndexCache>,
    tally: &mut Tally,
    on_rows: &(dyn Fn(u64) + Send + Sync),
) -> Result<Option<DataFile>> {
    let text = path.display().to_string();
    let failed = |e: &dyn std::fmt::Display| Error::build_file(&text, format!("cannot write it: {e}"));
    let mut writer: Option<ArrowWriter<Hashed<BufWriter<File>>>> = None;
    let mut rows = 0;
    let mut kept = keep.map(|cache| (cache, vec![], 0usize));
    while let Some(batch) = stream.next().await {
        let batch = conform(&batch?, schema).map_err(|e| failed(&e))?;
        if batch.num_rows() == 0 {
            continue;
        }
        let writer = match &mut writer {
            Some(writer) => writer,
            none => {
                let file = File::create(path).map_err(|e| failed(&e))?;
                let sink = Hashed { inner: BufWriter::new(file), hash: XxHash64::with_seed(0), bytes: 0 };
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_statistics_enabled(EnabledStatistics::Chunk)
                    .build();
                none.insert(ArrowWriter::try_new(sink, schema.clone(), Some(properties)).map_err(|e| failed(&e))?)
            }
        };
        writer.write(&batch).map_err(|e| failed(&e))?;
        tally.add(&batch)?;
        rows += batch.num_rows() as u64;
        on_rows(batch.num_rows() as u64);
        if let Some((cache, batches, bytes)) = &mut kept {
            let batch = compact(batch);
            *bytes += batch.get_array_memory_size();
            if *bytes > cache.limit {
                kept = None;
            } else {
                batches.push(batch);
            }
        }
    }
    let Some(writer) = writer else {
        return Ok(None);
    };
    let mut sink = writer.into_inner().map_err(|e| failed(&e))?;
    sink.flush().map_err(|e| failed(&e))?;
    sink.inner.get_ref().sync_all().map_err(|e| failed(&e))?;
    let file = DataFile { path: text, rows, bytes: sink.bytes, checksum: format!("{:016x}", sink.hash.finish()) };
    if let Some((cache, batches, _)) = kept {
        cache.put(&file, Arc::new(batches));
    }
    Ok(Some(file))
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| Error::build_file(dir.display().to_string(), format!("cannot sync the directory: {e}")))
}

/// Checks a file against what was recorded when it was written: length, checksum, rows.
pub(crate) fn verify(file: &DataFile) -> Result<(), String> {
    let content = read_verified(file)?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(content).map_err(|e| format!("damaged: {e}"))?;
    let rows = reader.metadata().file_metadata().num_rows();
    if rows as u64 != file.rows {
        return Err(format!("has {rows} rows where {} were written", file.rows));
    }
    Ok(())
}

/// Checks the length of a file against the recorded one.
pub(crate) fn check_length(file: &DataFile) -> Result<(), String> {
    let meta = std::fs::metadata(&file.path).map_err(|e| format!("{} cannot be read: {e}", file.path))?;
    if meta.len() != file.bytes {
        return Err(format!("{} has {} bytes where {} were written", file.path, meta.len(), file.bytes));
    }
    Ok(())
}

impl DataFile {
    /// Checks that the file is as it was written.
    ///
    /// # Errors
    /// If it differs; the text says how.
    pub fn verify(&self) -> Result<(), String> {
        read_verified(self).map(drop)
    }
}

fn read_verified(file: &DataFile) -> Result<Bytes, String> {
    check_length(file)?;
    let content = std::fs::read(&file.path).map_err(|e| format!("{} cannot be read: {e}", file.path))?;
    if checksum(&content) != file.checksum {
        return Err(format!("{} is damaged: its checksum differs from the one written", file.path));
    }
    Ok(Bytes::from(content))
}

fn decode(file: &DataFile) -> Result<Vec<RecordBatch>, String> {
    batches(file)?.map(|batch| batch.map(compact)).collect()
}

/// The batches of a file. Fails if its checksum differs.
pub(crate) fn batches(file: &DataFile) -> Result<impl Iterator<Item = Result<RecordBatch, String>>, String> {
    let content = read_verified(file)?;
    let path = file.path.clone();
    let damaged = move |e: &dyn std::fmt::Display| format!("{path} is damaged: {e}");
    let reader = ParquetRecordBatchReaderBuilder::try_new(content)
        .and_then(|b| b.with_batch_size(BATCH_ROWS).build())
        .map_err(|e| damaged(&e))?;
    Ok(reader.map(move |batch| batch.map_err(|e| damaged(&e))))
}

/// Gives string views buffers of their own. A filtered or decoded view would otherwise keep whole pages alive.
fn compact(batch: RecordBatch) -> RecordBatch {
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|c| match c.data_type() {
            DataType::Utf8View => Arc::new(c.as_string_view().gc()) as ArrayRef,
            DataType::BinaryView => Arc::new(c.as_binary_view().gc()) as ArrayRef,
            _ => c.clone(),
        })
        .collect();
    RecordBatch::try_new(batch.schema(), columns).unwrap_or(batch)
}

/// The batch with exactly the columns and types of the schema, matched by name.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> DfResult<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let column = batch.column(batch.schema_ref().index_of(field.name())?);
            Ok(if column.data_type() == field.data_type() { column.clone() } else { cast(column, field.data_type())? })
        })
        .collect::<DfResult<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

type Batches = Arc<Vec<RecordBatch>>;

/// Path and checksum.
type Key = (String, String);

/// Decoded files, bounded by bytes. The least recently used is evicted first.
#[derive(Debug)]
pub(crate) struct IndexCache {
    limit: usize,
    entries: Mutex<Entries>,
    /// Held while a file is decoded, so that the partitions of a plan decode it once.
    decoding: Mutex<HashMap<Key, Arc<Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct Entries {
    by_file: HashMap<Key, Entry>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    batches: Batches,
    bytes: usize,
    used: u64,
}

impl IndexCache {
    pub(crate) fn new(limit: usize) -> Self {
        IndexCache { limit, entries: Mutex::default(), decoding: Mutex::default() }
    }

    /// Whether files of this total size are read whole. Decoded data is several times larger.
    pub(crate) fn takes(&self, bytes: u64) -> bool {
        bytes <= (self.limit / 8) as u64
    }

    fn get(&self, file: &DataFile) -> Option<Batches> {
        let mut entries = lock(&self.entries);
        entries.uses += 1;
        let now = entries.uses;
        let entry = entries.by_file.get_mut(&(file.path.clone(), file.checksum.clone()))?;
        entry.used = now;
        Some(entry.batches.clone())
    }

    fn put(&self, file: &DataFile, batches: Batches) {
        let bytes = batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>() + 256;
        if bytes > self.limit {
            return;
        }
        let mut entries = lock(&self.entries);
        entries.uses += 1;
        let used = entries.uses;
        entries.bytes += bytes;
        let key = (file.path.clone(), file.checksum.clone());
        if let Some(old) = entries.by_file.insert(key, Entry { batches, bytes, used }) {
            entries.bytes -= old.bytes;
        }
        while entries.bytes > self.limit {
            let oldest = entries.by_file.iter().min_by_key(|(_, e)| e.used).map(|(k, _)| k.clone());
            match oldest.and_then(|key| entries.by_file.remove(&key)) {
                Some(old) => entries.bytes -= old.bytes,
                None => break,
            }
        }
    }

    pub(crate) fn load(&self, file: &DataFile) -> Result<Batches, String> {
        if let Some(batches) = self.get(file) {
            // A deleted file is an error even if it is cached: the answer must not depend on the cache.
            check_length(file)?;
            return Ok(batches);
        }
        let key = (file.path.clone(), file.checksum.clone());
        let turn = lock(&self.decoding).entry(key.clone()).or_default().clone();
        let _turn = lock(&turn);
        let result = match self.get(file) {
            Some(batches) => Ok(batches),
            None => decode(file).map(Arc::new).inspect(|batches| self.put(file, batches.clone())),
        };
        lock(&self.decoding).remove(&key);
        result
    }
}

/// A poisoned lock is safe to use here: no guarded change can be left half done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The owner of the files of a scan, which decides the error for a damaged file.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    Build,
    Segment { model: String, segment: String, layout: u64 },
}

impl Owner {
    pub(crate) fn error(&self, file: &DataFile, problem: String) -> Error {
        match self {
            Owner::Build => Error::build_file(&file.path, problem),
            Owner::Segment { model, segment, layout } => {
                Error::SegmentData { model: model.clone(), segment: segment.clone(), layout: *layout, problem }
            }
        }
    }
}
