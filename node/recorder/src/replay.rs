//! Drives a core through a recording.

use kirin_core::{Effects, Event, Node, Time};

use crate::digest::digest;
use crate::entry::Entry;
use crate::reader::{Problem, Recording};

/// A core that replays a recording, entry by entry.
#[derive(Debug)]
pub struct Replay<'a> {
    recording: &'a Recording,
    at: usize,
    core: Option<Node>,
    checked: u64,
}

/// One event and the effects that the core returned.
#[derive(Debug)]
pub struct Step {
    /// Number of the entry.
    pub seq: u64,
    /// The time on the node's monotonic clock.
    pub at: Time,
    /// The wall time of the node in milliseconds since 1970.
    pub wall_ms: i64,
    /// The event.
    pub event: Event,
    /// The effects.
    pub effects: Effects,
}

impl<'a> Replay<'a> {
    /// A replay at the beginning of the recording.
    pub const fn new(recording: &'a Recording) -> Self {
        Self { recording, at: 0, core: None, checked: 0 }
    }

    /// The core in its current state; `None` before the first recorded state.
    pub const fn core(&self) -> Option<&Node> {
        self.core.as_ref()
    }

    /// The number of digests that agreed.
    pub const fn checked(&self) -> u64 {
        self.checked
    }

    /// Replays the next event and returns it with its effects; `None` at the end.
    ///
    /// # Errors
    /// If an entry cannot be decoded, or the replayed state differs from the recorded one.
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
                // The gap lies before this part's state. Events before the first state cannot be replayed.
                (Entry::Gap(_), _) | (Entry::Digest(_) | Entry::Event { .. }, None) => {}
            }
        }
        Ok(None)
    }
}
