//! The entries of a recording: one row per entry.
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `seq` | u64 | number of the entry in its run, from 0, without gaps within a part |
//! | `at_us` | u64 | microseconds on the node's monotonic clock |
//! | `wall_ms` | i64 | milliseconds since 1970 on the node's wall clock, for people |
//! | `kind` | utf8 | `state`, `event`, `digest` or `gap` |
//! | `what` | utf8 | the event's name |
//! | `body` | binary | the event or the state, encoded by postcard; only the version that wrote it can read it |
//! | `digest` | u64? | the digest of the state after the event |
//! | `sum` | u64 | a checksum of the row and of all earlier rows of the part |
//!
//! A host that loses power may keep the end of a file and lose its middle. The checksums show how far the rows are intact.

use std::hash::Hasher as _;
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, Int64Builder, StringBuilder, UInt64Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use kirin_core::{Event, Time};
use twox_hash::XxHash64;

/// Incremented with each change of the columns or of the core's encoding.
pub(crate) const FORMAT: &str = "3";

/// The head of a part, stored as the schema's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The node's name.
    pub node: String,
    /// The run of the node; the same for all parts of the run.
    pub run: String,
    /// Number of the part, from 0.
    pub part: u64,
    /// The version of the program.
    pub version: String,
}

/// One entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub seq: u64,
    /// The time on the node's monotonic clock.
    pub at: Time,
    /// The wall time in milliseconds since 1970, for display only.
    pub wall_ms: i64,
    /// Its content.
    pub entry: Entry,
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The whole state of the core. Each part begins with one.
    State(Vec<u8>),
    /// An event that entered the core.
    Event {
        /// Its name.
        what: String,
        /// The event, encoded.
        body: Vec<u8>,
    },
    /// The digest of the state after the previous event.
    Digest(u64),
    /// The number of events that are missing here.
    Gap(u64),
}

/// The name of an event.
pub const fn name(event: &Event) -> &'static str {
    match event {
        Event::Woke => "woke",
        Event::Answered { .. } => "answered",
        Event::Told(_) => "told",
        Event::Heard(_) => "heard",
        Event::Inherited(_) => "inherited",
        Event::ListsChanged => "lists changed",
        Event::Suspected(_) => "suspected",
        Event::Probed { .. } => "probed",
        Event::Exited(_) => "exited",
        Event::StepEnded { .. } => "step ended",
        Event::AttemptEnded { .. } => "attempt ended",
        Event::DrainWished { .. } => "drain wished",
        Event::DrainUndone => "drain undone",
        Event::ClaimWished { .. } => "claim wished",
        Event::SlotsWished(_) => "slots wished",
        Event::CanChanged(_) => "can changed",
    }
}

pub(crate) fn schema(head: &Head) -> SchemaRef {
    let fields = vec![
        Field::new("seq", DataType::UInt64, false),
        Field::new("at_us", DataType::UInt64, false),
        Field::new("wall_ms", DataType::Int64, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("what", DataType::Utf8, false),
        Field::new("body", DataType::Binary, false),
        Field::new("digest", DataType::UInt64, true),
        Field::new("sum", DataType::UInt64, false),
    ];
    let metadata = [
        ("kirin.format", FORMAT.to_owned()),
        ("kirin.node", head.node.clone()),
        ("kirin.run", head.run.clone()),
        ("kirin.part", head.part.to_string()),
        ("kirin.version", head.version.clone()),
    ];
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

/// Reads the head. `Err` names the format if this program does not read it.
pub(crate) fn head(schema: &Schema) -> Result<Head, String> {
    let text = |key: &str| schema.metadata().get(key).cloned().unwrap_or_default();
    let format = text("kirin.format");
    if format != FORMAT {
        return Err(format);
    }
    Ok(Head {
        node: text("kirin.node"),
        run: text("kirin.run"),
        part: text("kirin.part").parse().unwrap_or(0),
        version: text("kirin.version"),
    })
}

/// The running checksum of a part's rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum(u64);

impl Sum {
    /// The checksum before the part's first row.
    pub(crate) fn begin(head: &Head) -> Self {
        Self(XxHash64::oneshot(head.part, head.run.as_bytes()))
    }

    /// The checksum after one more row.
    fn add(self, row: &Row) -> Self {
        let mut hasher = XxHash64::with_seed(self.0);
        let (kind, what, body, digest) = row.entry.columns();
        hasher.write_u64(row.seq);
        hasher.write_u64(row.at.micros());
        hasher.write_i64(row.wall_ms);
        for text in [kind.as_bytes(), what.as_bytes(), body] {
            hasher.write_u64(text.len() as u64);
            hasher.write(text);
        }
        hasher.write_u64(digest.unwrap_or(0));
        Self(hasher.finish())
    }
}

impl Entry {
    fn columns(&self) -> (&str, &str, &[u8], Option<u64>) {
        match self {
            Self::State(state) => ("state", "", state, None),
            Self::Event { what, body } => ("event", what, body, None),
            Self::Digest(digest) => ("digest", "", &[], Some(*digest)),
            Self::Gap(missing) => ("gap", "", &[], Some(*missing)),
        }
    }
}

pub(crate) fn batch(schema: &SchemaRef, rows: &[Row], sum: &mut Sum) -> Result<RecordBatch, ArrowError> {
    let (mut seq, mut at, mut wall) = (UInt64Builder::new(), UInt64Builder::new(), Int64Builder::new());
    let (mut kind, mut what) = (StringBuilder::new(), StringBuilder::new());
    let (mut body, mut digest, mut sums) = (BinaryBuilder::new(), UInt64Builder::new(), UInt64Builder::new());
    for row in rows {
        *sum = sum.add(row);
        seq.append_value(row.seq);
        at.append_value(row.at.micros());
        wall.append_value(row.wall_ms);
        let (k, w, b, d) = row.entry.columns();
        kind.append_value(k);
        what.append_value(w);
        body.append_value(b);
        digest.append_option(d);
        sums.append_value(sum.0);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(seq.finish()),
        Arc::new(at.finish()),
        Arc::new(wall.finish()),
        Arc::new(kind.finish()),
        Arc::new(what.finish()),
        Arc::new(body.finish()),
        Arc::new(digest.finish()),
        Arc::new(sums.finish()),
    ];
    RecordBatch::try_new(schema.clone(), columns)
}

/// The rows of a batch up to the first one with a wrong checksum.
pub(crate) fn rows(batch: &RecordBatch, sum: &mut Sum) -> Vec<Row> {
    let column = |name: &str| batch.column_by_name(name);
    let mut read = || {
        let seq = column("seq")?.as_primitive_opt::<UInt64Type>()?;
        let at = column("at_us")?.as_primitive_opt::<UInt64Type>()?;
        let wall = column("wall_ms")?.as_primitive_opt::<Int64Type>()?;
        let kind = column("kind")?.as_string_opt::<i32>()?;
        let what = column("what")?.as_string_opt::<i32>()?;
        let body = column("body")?.as_binary_opt::<i32>()?;
        let digest = column("digest")?.as_primitive_opt::<UInt64Type>()?;
        let sums = column("sum")?.as_primitive_opt::<UInt64Type>()?;
        let entry = |i: usize| match kind.value(i) {
            "state" => Some(Entry::State(body.value(i).to_vec())),
            "event" => Some(Entry::Event { what: what.value(i).to_owned(), body: body.value(i).to_vec() }),
            "digest" => Some(Entry::Digest(digest.value(i))),
            "gap" => Some(Entry::Gap(digest.value(i))),
            _ => None,
        };
        let mut row = |i: usize| {
            let (seq, at, wall_ms) = (seq.value(i), Time::from_micros(at.value(i)), wall.value(i));
            let row = Row { seq, at, wall_ms, entry: entry(i)? };
            *sum = sum.add(&row);
            (sum.0 == sums.value(i)).then_some(row)
        };
        Some((0..batch.num_rows()).map_while(&mut row).collect::<Vec<_>>())
    };
    read().unwrap_or_default()
}
