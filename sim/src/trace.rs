//! Writes a run as a table: one row per event, in a Parquet file for queries in SQL.
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `seq` | BIGINT | the order of the rows |
//! | `at_us` | BIGINT | true time since the start, in microseconds |
//! | `host` | VARCHAR | the host; NULL for acts |
//! | `incarnation` | BIGINT | the incarnation of the host's member; NULL while it was not a member |
//! | `clock_us` | BIGINT | the clock of the host's process, in microseconds since its start |
//! | `kind` | VARCHAR | `act` (on the cluster), `event` (into a core), `effect` (out of a core) |
//! | `name` | VARCHAR | the act, event, effect or request, in one word |
//! | `job`, `epoch` | BIGINT | the job concerned, if there is exactly one |
//! | `text` | VARCHAR | a short description |

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use kirin_core::ask::Fence;
use kirin_core::{Ask, Effect, Event, Note, describe};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::plant::Plant;
use crate::search::{Script, Verdict};
use crate::world::{Sight, Spot, Watcher};

/// The number of rows that are buffered before a write. Memory stays flat for runs of any length.
const ROWS: usize = 16_384;

/// Runs a script and writes everything that happens as Parquet.
///
/// # Errors
/// If the file cannot be written.
pub fn write(
    script: &Script,
    plant: Option<Plant>,
    file: impl Write + Send + 'static,
) -> Result<Verdict, ParquetError> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let schema = Rows::default().batch()?.schema();
    let writer = ArrowWriter::try_new(file, schema, Some(properties))?;
    let table = Rc::new(RefCell::new(Table { rows: Rows::default(), seq: 0, writer, failed: None }));
    let verdict = script.watched(plant, Box::new(Shared(Rc::clone(&table))));
    // The world has been dropped, and its watcher with it.
    let table =
        Rc::into_inner(table).ok_or_else(|| ParquetError::General("the run is still in progress".to_owned()))?;
    table.into_inner().close()?;
    Ok(verdict)
}

/// The handle to a table that a world holds.
struct Shared<W: Write + Send>(Rc<RefCell<Table<W>>>);

impl<W: Write + Send> Watcher for Shared<W> {
    fn see(&mut self, at: u64, spot: Option<Spot>, sight: &Sight<'_>) {
        self.0.borrow_mut().push(at, spot, sight);
    }
}

struct Table<W: Write + Send> {
    rows: Rows,
    seq: i64,
    writer: ArrowWriter<W>,
    /// The first error. Nothing is written after it.
    failed: Option<ParquetError>,
}

impl<W: Write + Send> Table<W> {
    fn push(&mut self, at: u64, spot: Option<Spot>, sight: &Sight<'_>) {
        if self.failed.is_some() {
            return;
        }
        self.rows.push(self.seq, at, spot, sight);
        self.seq += 1;
        if self.rows.len() >= ROWS {
            self.failed = self.flush().err();
        }
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        self.writer.write(&self.rows.batch()?)
    }

    fn close(mut self) -> Result<(), ParquetError> {
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        self.flush()?;
        self.writer.close().map(|_| ())
    }
}

#[derive(Default)]
struct Rows {
    seq: Int64Builder,
    at: Int64Builder,
    host: StringBuilder,
    incarnation: Int64Builder,
    clock: Int64Builder,
    kind: StringBuilder,
    name: StringBuilder,
    job: Int64Builder,
    epoch: Int64Builder,
    text: StringBuilder,
}

impl Rows {
    fn push(&mut self, seq: i64, at: u64, spot: Option<Spot>, sight: &Sight<'_>) {
        let (kind, name, fence, text) = match sight {
            Sight::Act(act) => {
                let text = act.to_string();
                let name = text.split_whitespace().next().unwrap_or_default().to_owned();
                ("act", name, None, text)
            }
            Sight::Event(event) => ("event", variant(event), of_event(event), describe::event(event)),
            Sight::Effect(Effect::Ask { ask, .. }) => ("effect", variant(ask), of_ask(ask), describe::ask(ask)),
            Sight::Effect(effect) => ("effect", variant(effect), of_effect(effect), describe::effect(effect)),
        };
        self.seq.append_value(seq);
        self.at.append_value(at.cast_signed());
        self.host.append_option(spot.map(|spot| spot.host.to_string()));
        self.incarnation.append_option(spot.and_then(|spot| spot.me).map(|me| i64::from(me.incarnation.get())));
        self.clock.append_option(spot.map(|spot| spot.clock.micros().cast_signed()));
        self.kind.append_value(kind);
        self.name.append_value(name);
        self.job.append_option(fence.map(|fence| fence.job.0.cast_signed()));
        self.epoch.append_option(fence.map(|fence| i64::try_from(fence.epoch.0).unwrap_or(i64::MAX)));
        self.text.append_value(text);
    }

    fn len(&self) -> usize {
        arrow_array::builder::ArrayBuilder::len(&self.seq)
    }

    /// Takes the rows collected so far.
    fn batch(&mut self) -> Result<RecordBatch, ParquetError> {
        let columns: [(&str, ArrayRef, bool); 10] = [
            ("seq", Arc::new(self.seq.finish()), false),
            ("at_us", Arc::new(self.at.finish()), false),
            ("host", Arc::new(self.host.finish()), true),
            ("incarnation", Arc::new(self.incarnation.finish()), true),
            ("clock_us", Arc::new(self.clock.finish()), true),
            ("kind", Arc::new(self.kind.finish()), false),
            ("name", Arc::new(self.name.finish()), false),
            ("job", Arc::new(self.job.finish()), true),
            ("epoch", Arc::new(self.epoch.finish()), true),
            ("text", Arc::new(self.text.finish()), false),
        ];
        Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
    }
}

/// The name of a variant, such as `commit_step`.
fn variant(of: &impl core::fmt::Debug) -> String {
    let whole = format!("{of:?}");
    let name: String = whole.chars().take_while(|letter| letter.is_alphanumeric()).collect();
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push('_');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn of_event(event: &Event) -> Option<Fence> {
    match event {
        Event::StepEnded { fence, .. } | Event::AttemptEnded { fence, .. } => Some(*fence),
        _ => None,
    }
}

fn of_ask(ask: &Ask) -> Option<Fence> {
    match ask {
        Ask::Place { fence, .. }
        | Ask::Take { fence, .. }
        | Ask::CommitStep { fence, .. }
        | Ask::Finish { fence, .. }
        | Ask::Release { fence, .. }
        | Ask::Act { fence, .. } => Some(*fence),
        _ => None,
    }
}

fn of_effect(effect: &Effect) -> Option<Fence> {
    match effect {
        Effect::Begin { fence, .. }
        | Effect::Proceed { fence, .. }
        | Effect::Cancel { fence, .. }
        | Effect::Note(Note::TookOver { fence, .. } | Note::HandedOver { fence, .. } | Note::Refused(fence)) => {
            Some(*fence)
        }
        _ => None,
    }
}
