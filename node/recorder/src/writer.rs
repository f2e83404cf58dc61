//! The recorder: encodes on the caller's thread, writes on a thread of its own.
//!
//! What is written goes to the operating system at once, so it survives the process; only what the writing thread has not
//! got round to, the last few milliseconds, goes with a `kill -9`. It is not synced: a host that loses power loses the last
//! seconds.

use std::fs::File;
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

use crate::entry::{Entry, Head, Row, batch, name, schema};
use crate::{digest_of, encoded};

/// How much is kept, and how much may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all parts in the directory together.
    pub kept: u64,
    /// Bytes that may wait in memory; beyond it, events are left out.
    pub waiting: u64,
    /// Time between two digests of the state, if there are events.
    pub digest_every: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self { kept: 256 << 20, waiting: 32 << 20, digest_every: Span::from_secs(1) }
    }
}

/// For how long the writing thread gathers rows after the first: two to a batch cost half of what one costs.
const GATHER: Duration = Duration::from_millis(2);
/// A batch is written at the latest when it has so many rows.
const BATCH_MAX: usize = 1024;
/// After trouble with the disk, recording is tried again after so long.
const TRY_AGAIN: Span = Span::from_secs(30);
/// Microseconds that are added to the time between two digests for each byte of the state: so they cost less than a hundredth
/// of the node's thread, however many jobs are open.
const DIGEST_BYTE_US: u64 = 3;
/// What a row costs in a file beyond its body, roughly: for counting a part's bytes without asking the disk.
const ROW_BYTES: u64 = 64;

/// Records one run of a node.
#[derive(Debug)]
pub struct Recorder {
    head: Head,
    limits: Limits,
    seq: u64,
    part: u64,
    /// Bytes that went into this part.
    part_bytes: u64,
    /// Events that were left out since the last row.
    missing: u64,
    trouble_at: Option<Time>,
    digest_due: Time,
    /// `None` only while it is being dropped.
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
    /// Begins to record into that directory, which is made if it is missing. `run` tells this run from all others.
    ///
    /// # Errors
    /// If the directory can't be made.
    pub fn begin(dir: &Path, node: &str, run: &str, version: &str, limits: Limits) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let head = Head { node: node.to_owned(), run: run.to_owned(), part: 0, version: version.to_owned() };
        let (rows, inbox) = channel();
        let shared = Arc::new(Shared::default());
        let writer = Writer { dir: dir.to_owned(), kept: limits.kept, file: None, shared: shared.clone() };
        let thread = std::thread::Builder::new().name("recorder".to_owned()).spawn(move || writer.run(&inbox))?;
        Ok(Self {
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
            thread: Some(thread),
        })
    }

    /// Records the event that is about to enter the core, which is in the state before it.
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
        // After a gap only a fresh state makes sense of what follows.
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
            // So that the end of one part can be compared with the beginning of the next.
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

    /// The larger the state, the rarer its digest.
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
            // The thread ends only after this end of the channel.
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

/// What runs on the writing thread.
struct Writer {
    dir: PathBuf,
    kept: u64,
    file: Option<Part>,
    shared: Arc<Shared>,
}

struct Part {
    schema: SchemaRef,
    stream: StreamWriter<BufWriter<File>>,
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Order>) {
        let (mut rows, mut busy) = (Vec::new(), false);
        while let Ok(order) = inbox.recv() {
            self.take(order, &mut rows);
            if !busy {
                #[expect(clippy::disallowed_methods, reason = "a thread of its own, which nobody waits for")]
                std::thread::sleep(GATHER);
            }
            while rows.len() < BATCH_MAX
                && let Ok(order) = inbox.try_recv()
            {
                self.take(order, &mut rows);
            }
            busy = rows.len() >= BATCH_MAX;
            self.write(&mut rows);
        }
        if let Some(mut part) = self.file.take() {
            // The end mark; a recording without one is read just as well.
            let _ = part.stream.finish();
        }
    }

    fn take(&mut self, order: Order, rows: &mut Vec<Row>) {
        match order {
            Order::Row(row) => rows.push(row),
            Order::Part { head, wall_ms } => {
                self.write(rows);
                if let Some(mut part) = self.file.take() {
                    let _ = part.stream.finish();
                }
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
        let schema = schema(head);
        let mut stream = StreamWriter::try_new_buffered(File::create_new(path)?, &schema)?;
        stream.get_mut().flush()?;
        Ok(Part { schema, stream })
    }

    fn write(&mut self, rows: &mut Vec<Row>) {
        let bytes: u64 = rows.iter().map(|row| ROW_BYTES + body_bytes(&row.entry)).sum();
        if let Some(part) = &mut self.file
            && !rows.is_empty()
        {
            let written = batch(&part.schema, rows).and_then(|batch| {
                part.stream.write(&batch)?;
                Ok(part.stream.get_mut().flush()?)
            });
            if let Err(error) = written {
                self.trouble(&error);
            }
        }
        rows.clear();
        self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn trouble(&mut self, error: &ArrowError) {
        // A part that could not be written to the end ends there; the next one begins with a fresh state.
        self.file = None;
        if !self.shared.broken.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, dir = %self.dir.display(), "the flight recorder can't write and pauses");
        }
    }

    /// Deletes the oldest parts until one more fits below the limit.
    fn make_room(&self) {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return };
        let mut parts: Vec<(PathBuf, u64)> = entries
            .flatten()
            .map(|entry| (entry.path(), entry.metadata().map_or(0, |metadata| metadata.len())))
            .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "arrows"))
            .collect();
        // Their names begin with the time at which they were begun.
        parts.sort();
        let mut total: u64 = parts.iter().map(|(_, bytes)| bytes).sum::<u64>() + self.kept / 16;
        for (path, bytes) in parts {
            if total <= self.kept {
                break;
            }
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "an old recording can't be deleted");
            }
            total -= bytes;
        }
    }
}
