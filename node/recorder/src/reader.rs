//! Reads recordings. Drops a torn end, as left by a killed process, a full disk or a power failure, and nothing else.

use std::path::{Path, PathBuf};

use arrow_ipc::reader::StreamReader;

use crate::disk;
use crate::entry::{FORMAT, Head, Row, Sum, head, rows};

/// Why a recording cannot be read or replayed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A version with another format wrote it.
    #[error(
        "{path} has format '{found}'; this program reads format {FORMAT}; replay it with the version that recorded it"
    )]
    Format {
        /// The file.
        path: String,
        /// Its format.
        found: String,
    },
    /// The state or an event cannot be decoded.
    #[error(
        "cannot decode entry {seq} of node {node}: {why}; if another build of kirin wrote it, replay it with that build"
    )]
    Undecodable {
        /// The node.
        node: String,
        /// The number of the entry.
        seq: u64,
        /// What is wrong.
        why: String,
    },
    /// The replayed core reached a state that differs from the recorded one.
    #[error(
        "after entry {seq} of node {node} the state differs from the recorded one: recorded {recorded:016x}, replayed {replayed:016x}; replay it with the version that recorded it"
    )]
    Diverged {
        /// The node.
        node: String,
        /// The number of the last replayed entry.
        seq: u64,
        /// The digest that was recorded.
        recorded: u64,
        /// The digest of the replay.
        replayed: u64,
    },
}

/// One part of a run.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The file.
    pub path: PathBuf,
    /// Its head.
    pub head: Head,
    /// Its entries, in order.
    pub rows: Vec<Row>,
    /// Whether its end is torn, or its end mark is missing.
    pub torn: bool,
}

impl Recording {
    /// Reads a part.
    ///
    /// # Errors
    /// If the file is not a recording.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let shown = path.display().to_string();
        let unreadable = |why: String| Problem::Unreadable { path: shown.clone(), why };
        let bytes = disk::read(path).map_err(|e| unreadable(e.to_string()))?;
        let (whole, end) = bytes.split_at(whole(&bytes));
        let reader = StreamReader::try_new(whole, None).map_err(|e| unreadable(format!("not a recording: {e}")))?;
        let head = head(&reader.schema()).map_err(|found| Problem::Format { path: shown.clone(), found })?;
        let mut sum = Sum::begin(&head);
        let mut recording = Self { path: path.to_owned(), head, rows: Vec::new(), torn: end != END };
        for batch in reader {
            let (expected, found) = match batch {
                Ok(batch) => (batch.num_rows(), rows(&batch, &mut sum)),
                Err(_) => (1, Vec::new()),
            };
            let is_whole = found.len() == expected;
            recording.rows.extend(found);
            if !is_whole {
                recording.torn = true;
                break;
            }
        }
        Ok(recording)
    }
}

/// The bytes that begin each message of an Arrow stream.
const MESSAGE: [u8; 4] = [0xff; 4];
/// The end mark of a stream: a message of length 0. Zeros alone are not an end mark, because a lost block reads as zeros.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// The number of leading bytes that are complete messages and refer to nothing beyond their end. Arrow's reader trusts every
/// length that it reads, so the lengths are checked here.
fn whole(bytes: &[u8]) -> usize {
    let message = |at: usize| {
        let (marks, rest) = bytes.get(at..)?.split_first_chunk::<8>()?;
        let (mark, length) = marks.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        if *mark != MESSAGE || length == 0 {
            return None;
        }
        let message = arrow_ipc::root_as_message(rest.get(..length)?).ok()?;
        let body = usize::try_from(message.bodyLength()).ok()?;
        let length = length.checked_add(body)?;
        let is_whole = length <= rest.len()
            && match message.header_as_record_batch() {
                Some(batch) => is_within(batch, message.bodyLength()),
                None => message.header_as_schema().is_some(),
            };
        is_whole.then_some(at + marks.len() + length)
    };
    let mut end = 0;
    while let Some(next) = message(end) {
        end = next;
    }
    end
}

/// Whether the buffers that a batch declares fit into a body of that length.
fn is_within(batch: arrow_ipc::RecordBatch<'_>, body: i64) -> bool {
    let rows = batch.length();
    // Each row has fixed-width numbers in the body.
    (0..=body).contains(&rows)
        && batch.compression().is_none()
        && batch.nodes().is_some_and(|nodes| {
            nodes.iter().all(|node| node.length() == rows && (0..=rows).contains(&node.null_count()))
        })
        && batch.buffers().is_some_and(|buffers| {
            buffers.iter().all(|buffer| {
                let end = buffer.offset().checked_add(buffer.length());
                buffer.offset() >= 0 && buffer.length() >= 0 && end.is_some_and(|end| end <= body)
            })
        })
}

/// The recordings below these paths, which are files or directories. The parts of a run are together and in order.
///
/// # Errors
/// If a path cannot be read.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Problem> {
    let mut found = Vec::new();
    for path in paths {
        let unreadable =
            |e: std::io::Error| Problem::Unreadable { path: path.display().to_string(), why: e.to_string() };
        if disk::is_dir(path) {
            let entries = disk::list(path).map_err(unreadable)?.into_iter().map(|(path, _)| path);
            found.extend(entries.filter(|path| is_part(path)));
        } else {
            found.push(path.clone());
        }
    }
    // A name consists of time, run and part.
    found.sort_by_key(|path| path.file_name().map(std::ffi::OsStr::to_owned));
    Ok(found)
}

/// Whether this is the name of a part. A part that is still being created has another extension.
pub(crate) fn is_part(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "arrows")
}
