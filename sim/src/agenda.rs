//! Future events, sorted by time. Events at the same time keep the order in which they were scheduled.
//!
//! A binary heap of small keys, with the events stored separately: they are large, and a heap moves its elements.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The future events.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    /// The time, the sequence number, and the index of the event.
    due: BinaryHeap<Reverse<(u64, u64, u32)>>,
    things: Vec<Option<T>>,
    free: Vec<u32>,
    scheduled: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { due: BinaryHeap::new(), things: Vec::new(), free: Vec::new(), scheduled: 0 }
    }
}

impl<T> Agenda<T> {
    /// Schedules an event at `at`.
    pub(crate) fn add(&mut self, at: u64, thing: T) {
        self.scheduled += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.things.push(None);
            u32::try_from(self.things.len() - 1).expect("four thousand million things at once don't fit in memory")
        });
        self.things[place as usize] = Some(thing);
        self.due.push(Reverse((at, self.scheduled, place)));
    }

    /// Removes and returns the next event, if it is due by `until`.
    pub(crate) fn next(&mut self, until: u64) -> Option<(u64, T)> {
        let Reverse((at, _, place)) = *self.due.peek().filter(|first| first.0.0 <= until)?;
        self.due.pop();
        self.free.push(place);
        Some((at, self.things[place as usize].take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simultaneous_events_keep_their_scheduling_order() {
        let mut agenda = Agenda::default();
        for (at, thing) in [(7, "c"), (3, "a"), (7, "d"), (3, "b"), (9, "e")] {
            agenda.add(at, thing);
        }
        assert_eq!(agenda.next(2), None);
        assert_eq!(agenda.next(7), Some((3, "a")));
        agenda.add(7, "later");
        let rest: Vec<_> = core::iter::from_fn(|| agenda.next(8)).collect();
        assert_eq!(rest, [(3, "b"), (7, "c"), (7, "d"), (7, "later")]);
        assert_eq!((agenda.next(9), agenda.next(u64::MAX)), (Some((9, "e")), None));
    }
}
