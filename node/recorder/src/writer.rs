//! The recorder: encodes on the caller's thread and writes on a thread of its own.
//!
//! Rows go to the operating system at once, so they survive the process. A `kill -9` loses only the last few milliseconds,
//! which the writing thread has not processed yet. A part is synced when it begins and when it ends, and not in between. A
//! power failure loses what the kernel had not written back, of the last part only.
//!
//! A part gets its final name when its head is on the disk, so every file with such a name can be read.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use kirin_core::{Event, Node, Span, Time};

use crate::digest::{digest_of, encoded};
use crate::disk::{self, File};
use crate::entry::{Entry, Head, Row, Sum, batch, name, schema};
use crate::reader::is_part;

/// Limits on disk and in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all parts in the directory.
    pub kept: u64,
    /// Bytes that may wait in memory. Beyond this, events are dropped.
    pub waiting: u64,
    /// Minimum time between two digests of the state.
    pub digest_every: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self { kept: 256 << 20, waiting: 32 << 20, digest_every: Span::from_secs(1) }
    }
}

/// How long the writing thread collects rows after the first one: a batch of two costs half as much per row.
const GATHER: Duration = Duration::from_millis(2);
/// A batch is written at the latest when it has this many rows.
const BATCH_MAX: usize = 1024;
/// Pause after an error of the disk.
const TRY_AGAIN: Span = Span::from_secs(30);
/// Microseconds added to the time between two digests for each byte of the state. So digests take less than 1 % of the
/// node's thread, whatever the number of open jobs.
const DIGEST_BYTE_US: u64 = 3;
/// The extension of a part whose head may not be on the disk yet.
const BEGUN: &str = "begun";
/// Approximate bytes of a row beyond its body, to estimate a part's size without asking the file system.
const ROW_BYTES: u64 = 64;

/// Records one run of a node.
#[derive(Debug)]
pub struct Recorder {
    head: Head,
    limits: Limits,
    seq: u64,
    part: u64,
    /// Bytes written to this part.
    part_bytes: u64,
    /// Events dropped since the last row.
    missing: u64,
    trouble_at: Option<Time>,
    digest_due: Time,
    /// `None` only while the recorder is being dropped.
    rows: Option<Sender<Order>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicU64,
    broken: AtomicBool,
}

enum Order {
    Part { head: Head, wall_ms: i64 },
    Row(Row),
}

impl Recorder {
    /// Starts recording into a directory, which is created if it is missing. `run` identifies this run.
    ///
    /// # Errors
    /// If the directory cannot be created.
    pub fn begin(dir: &Path, node: &str, run: &str, version: &str, limits: Limits) -> std::io::Result<Self> {
        disk::create_dir_all(dir)?;
        let (mut recorder, writer) = Self::apart(dir, node, run, version, limits);
        recorder.thread = Some(std::thread::Builder::new().name("recorder".to_owned()).spawn(move || writer.run())?);
        Ok(recorder)
    }

    /// A recorder whose writer does not run on its thread yet.
    pub(crate) fn apart(dir: &Path, node: &str, run: &str, version: &str, limits: Limits) -> (Self, Writer) {
        let head = Head { node: node.to_owned(), run: run.to_owned(), part: 0, version: version.to_owned() };
        let (rows, inbox) = channel();
        let shared = Arc::new(Shared::default());
        let (dir, kept) = (dir.to_owned(), limits.kept);
        let writer = Writer { dir, kept, inbox, rows: Vec::new(), file: None, shared: shared.clone() };
        let recorder = Self {
            head,
            limits,
            seq: 0,
            part: 0,
            part_bytes: u64::MAX,
            missing: 0,
            trouble_at: None,
            digest_due: Time::ZERO,
            rows: Some(rows),
            shared,
            thread: None,
        };
        (recorder, writer)
    }

    /// Records an event before it enters the core.
    pub fn record(&mut self, core: &Node, at: Time, wall_ms: i64, event: &Event) {
        if self.shared.broken.load(Ordering::Relaxed) {
            let since = *self.trouble_at.get_or_insert(at);
            if at.since(since) < TRY_AGAIN {
                self.missing += 1;
                return;
            }
            self.trouble_at = None;
            self.shared.broken.store(false, Ordering::Relaxed);
            self.part_bytes = u64::MAX;
        }
        if self.shared.waiting.load(Ordering::Relaxed) > self.limits.waiting {
            self.missing += 1;
            return;
        }
        // After a gap, replay needs a fresh state.
        if self.part_bytes >= self.limits.kept / 16 || self.missing > 0 {
            self.new_part(core, at, wall_ms);
        } else if at >= self.digest_due {
            let state = encoded(core);
            self.put(at, wall_ms, Entry::Digest(digest_of(&state)));
            self.digest_next(at, &state);
        }
        self.put(at, wall_ms, Entry::Event { what: name(event).to_owned(), body: encoded(event) });
    }

    fn new_part(&mut self, core: &Node, at: Time, wall_ms: i64) {
        let state = encoded(core);
        if self.part_bytes != u64::MAX && self.missing == 0 {
            // Allows the end of one part to be compared with the beginning of the next.
            self.put(at, wall_ms, Entry::Digest(digest_of(&state)));
        }
        self.send(Order::Part { head: Head { part: self.part, ..self.head.clone() }, wall_ms });
        self.part += 1;
        self.part_bytes = 0;
        if self.missing > 0 {
            let missing = std::mem::take(&mut self.missing);
            self.put(at, wall_ms, Entry::Gap(missing));
        }
        self.digest_next(at, &state);
        self.put(at, wall_ms, Entry::State(state));
    }

    /// The time until the next digest; it grows with the size of the state.
    fn digest_next(&mut self, at: Time, state: &[u8]) {
        self.digest_due = at + self.limits.digest_every + Span::from_micros(DIGEST_BYTE_US * state.len() as u64);
    }

    fn put(&mut self, at: Time, wall_ms: i64, entry: Entry) {
        let bytes = ROW_BYTES + body_bytes(&entry);
        self.part_bytes = self.part_bytes.saturating_add(bytes);
        self.shared.waiting.fetch_add(bytes, Ordering::Relaxed);
        let row = Row { seq: self.seq, at, wall_ms, entry };
        self.seq += 1;
        self.send(Order::Row(row));
    }

    fn send(&self, order: Order) {
        if let Some(rows) = &self.rows {
            // The thread ends when this end of the channel is dropped.
            let _ = rows.send(order);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.rows = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn body_bytes(entry: &Entry) -> u64 {
    match entry {
        Entry::State(body) | Entry::Event { body, .. } => body.len() as u64,
        Entry::Digest(_) | Entry::Gap(_) => 0,
    }
}

/// The writer, which runs on its own thread.
pub(crate) struct Writer {
    dir: PathBuf,
    kept: u64,
    inbox: Receiver<Order>,
    /// Rows that are collected but not written.
    rows: Vec<Row>,
    file: Option<Part>,
    shared: Arc<Shared>,
}

struct Part {
    schema: SchemaRef,
    sum: Sum,
    stream: StreamWriter<BufWriter<File>>,
}

impl Part {
    fn begin(path: &Path, head: &Head) -> Result<Self, ArrowError> {
        let schema = schema(head);
        let mut stream = StreamWriter::try_new_buffered(disk::create_new(path)?, &schema)?;
        stream.get_mut().flush()?;
        disk::sync(stream.get_ref().get_ref())?;
        Ok(Self { schema, sum: Sum::begin(head), stream })
    }

    fn write(&mut self, rows: &[Row]) -> Result<(), ArrowError> {
        self.stream.write(&batch(&self.schema, rows, &mut self.sum)?)?;
        Ok(self.stream.get_mut().flush()?)
    }

    fn end(mut self) -> Result<(), ArrowError> {
        self.stream.finish()?;
        self.stream.get_mut().flush()?;
        Ok(disk::sync(self.stream.get_ref().get_ref())?)
    }
}

impl Writer {
    fn run(mut self) {
        let mut busy = false;
        while let Ok(order) = self.inbox.recv() {
            self.take(order);
            if !busy {
                #[expect(clippy::disallowed_methods, reason = "a thread of its own; no other thread waits for it")]
                std::thread::sleep(GATHER);
            }
            busy = self.gather(BATCH_MAX);
            self.write();
        }
        self.end();
    }

    /// Takes messages until a full batch waits to be written; whether it does.
    pub(crate) fn gather(&mut self, most: usize) -> bool {
        while self.rows.len() < most {
            let Ok(order) = self.inbox.try_recv() else { return false };
            self.take(order);
        }
        true
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Row(row) => self.rows.push(row),
            Order::Part { head, wall_ms } => {
                self.write();
                self.end();
                self.make_room();
                match self.open(&head, wall_ms) {
                    Ok(part) => self.file = Some(part),
                    Err(error) => self.trouble(&error),
                }
            }
        }
    }

    fn open(&self, head: &Head, wall_ms: i64) -> Result<Part, ArrowError> {
        let path = self.dir.join(format!("{wall_ms:013}-{}-{:05}.arrows", head.run, head.part));
        let begun = path.with_extension(BEGUN);
        let part = Part::begin(&begun, head)?;
        disk::rename(&begun, &path)?;
        disk::sync_dir(&self.dir)?;
        Ok(part)
    }

    /// Writes the collected rows.
    pub(crate) fn write(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        if let Some(part) = &mut self.file
            && !rows.is_empty()
            && let Err(error) = part.write(&rows)
        {
            self.trouble(&error);
        }
        let bytes: u64 = rows.iter().map(|row| ROW_BYTES + body_bytes(&row.entry)).sum();
        self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
        // Reuses the buffer.
        self.rows = rows;
        self.rows.clear();
    }

    /// Writes the end mark.
    pub(crate) fn end(&mut self) {
        if let Some(Err(error)) = self.file.take().map(Part::end) {
            // Only data that cannot be written is lost.
            tracing::debug!(%error, "cannot write the end mark of a recording");
        }
    }

    fn trouble(&mut self, error: &ArrowError) {
        // The incomplete part ends here. The next part begins with a fresh state.
        self.file = None;
        if !self.shared.broken.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, dir = %self.dir.display(), "cannot write the flight recording; pausing");
        }
    }

    /// Deletes the oldest parts until another part fits below the limit.
    fn make_room(&self) {
        let Ok(mut parts) = disk::list(&self.dir) else { return };
        parts.retain(|(path, _)| is_part(path) || path.extension().is_some_and(|extension| extension == BEGUN));
        // Names begin with the time of creation.
        parts.sort();
        let mut total: u64 = parts.iter().map(|(_, bytes)| bytes).sum::<u64>() + self.kept / 16;
        for (path, bytes) in parts {
            if total <= self.kept {
                break;
            }
            if let Err(error) = disk::remove(&path) {
                tracing::warn!(%error, path = %path.display(), "cannot delete an old recording");
            }
            total -= bytes;
        }
    }
}
