//! Reading recordings. A torn end, as a killed process or a full disk leaves it, is dropped, and nothing else.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use arrow_ipc::reader::StreamReader;

use crate::entry::{FORMAT, Head, Row, head, rows};

/// Why a recording can't be read or replayed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file can't be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Another version wrote it.
    #[error(
        "{path} was recorded in format '{found}', this program reads format {FORMAT}: replay it with the version that recorded it"
    )]
    Format {
        /// Which.
        path: String,
        /// Its format.
        found: String,
    },
    /// The state or an event can't be decoded.
    #[error("entry {seq} of node {node} can't be decoded: {why}")]
    Undecodable {
        /// Of which node.
        node: String,
        /// Which entry.
        seq: u64,
        /// What is wrong.
        why: String,
    },
    /// The core came to another state than when it was recorded.
    #[error(
        "after entry {seq} of node {node} the state differs from the recorded one: recorded {recorded:016x}, replayed {replayed:016x}; was it recorded by this very version?"
    )]
    Diverged {
        /// Of which node.
        node: String,
        /// After which entry.
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
    /// Where it is.
    pub path: PathBuf,
    /// What it says about itself.
    pub head: Head,
    /// Its entries, in order.
    pub rows: Vec<Row>,
    /// Whether its end is torn or its end mark is missing.
    pub torn: bool,
}

impl Recording {
    /// Reads a part.
    ///
    /// # Errors
    /// If it is no recording.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let shown = path.display().to_string();
        let unreadable = |why: String| Problem::Unreadable { path: shown.clone(), why };
        let file = File::open(path).map_err(|e| unreadable(e.to_string()))?;
        let mut reader = StreamReader::try_new(BufReader::new(file), None)
            .map_err(|e| unreadable(format!("it is no recording: {e}")))?;
        let head = head(&reader.schema()).map_err(|found| Problem::Format { path: shown.clone(), found })?;
        let mut recording = Self { path: path.to_owned(), head, rows: Vec::new(), torn: false };
        for batch in &mut reader {
            match batch {
                Ok(batch) => recording.rows.extend(rows(&batch)),
                Err(_) => {
                    recording.torn = true;
                    break;
                }
            }
        }
        recording.torn |= !reader.is_finished();
        Ok(recording)
    }
}

/// The recordings that these paths name: files, or directories with recordings; each run's parts together and in order.
///
/// # Errors
/// If a path can't be read.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Problem> {
    let mut found = Vec::new();
    for path in paths {
        let unreadable =
            |e: std::io::Error| Problem::Unreadable { path: path.display().to_string(), why: e.to_string() };
        if path.is_dir() {
            for entry in std::fs::read_dir(path).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let is_part = entry.path().extension().is_some_and(|extension| extension == "arrows");
                // A process that was killed as it began a part leaves an empty file.
                if is_part && entry.metadata().map_err(unreadable)?.len() > 0 {
                    found.push(entry.path());
                }
            }
        } else {
            found.push(path.clone());
        }
    }
    // The name is time, run, part.
    found.sort_by_key(|path| path.file_name().map(std::ffi::OsStr::to_owned));
    Ok(found)
}
