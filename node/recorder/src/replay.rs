//! Driving a core again with what was recorded.

use kirin_core::{Effects, Event, Node, Time};

use crate::digest::digest;
use crate::entry::Entry;
use crate::reader::{Problem, Recording};

/// A core that is driven through a recording, entry by entry.
#[derive(Debug)]
pub struct Replay<'a> {
    recording: &'a Recording,
    at: usize,
    core: Option<Node>,
    checked: u64,
}

/// One event and what the core made of it.
#[derive(Debug)]
pub struct Step {
    /// Number of the entry.
    pub seq: u64,
    /// When, on the node's monotonic clock.
    pub at: Time,
    /// When, in milliseconds since 1970 on the node's wall clock.
    pub wall_ms: i64,
    /// The fact.
    pub event: Event,
    /// The orders.
    pub effects: Effects,
}

impl<'a> Replay<'a> {
    /// At the beginning of the recording.
    pub const fn new(recording: &'a Recording) -> Self {
        Self { recording, at: 0, core: None, checked: 0 }
    }

    /// The core as it is now; `None` before the first state.
    pub const fn core(&self) -> Option<&Node> {
        self.core.as_ref()
    }

    /// How many digests agreed.
    pub const fn checked(&self) -> u64 {
        self.checked
    }

    /// The next event that entered the core, and what follows from it; `None` at the end.
    ///
    /// # Errors
    /// If an entry can't be decoded, or the replay came to another state than the node.
    pub fn step(&mut self) -> Result<Option<Step>, Problem> {
        while let Some(row) = self.recording.rows.get(self.at) {
            self.at += 1;
            let node = || self.recording.head.node.clone();
            let undecodable =
                |e: postcard::Error| Problem::Undecodable { node: node(), seq: row.seq, why: e.to_string() };
            match (&row.entry, &mut self.core) {
                (Entry::State(state), core) => *core = Some(postcard::from_bytes(state).map_err(undecodable)?),
                (Entry::Digest(recorded), Some(core)) => {
                    let replayed = digest(core);
                    if replayed != *recorded {
                        return Err(Problem::Diverged { node: node(), seq: row.seq, recorded: *recorded, replayed });
                    }
                    self.checked += 1;
                }
                (Entry::Event { body, .. }, Some(core)) => {
                    let event: Event = postcard::from_bytes(body).map_err(undecodable)?;
                    let effects = core.step(row.at, event.clone());
                    return Ok(Some(Step { seq: row.seq, at: row.at, wall_ms: row.wall_ms, event, effects }));
                }
                // What is missing was missing before this part's state; without a state nothing can be made of an event.
                (Entry::Gap(_), _) | (Entry::Digest(_) | Entry::Event { .. }, None) => {}
            }
        }
        Ok(None)
    }
}
