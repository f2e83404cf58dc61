//! Things to come, sorted by when; of those that come at the same moment, the one that was scheduled first comes first.
//!
//! A binary heap of small keys, and the things themselves beside it: they are large, and a heap moves what it holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What is to come.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    /// When, the how-manieth, and where the thing lies.
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
    /// It is to come at that moment.
    pub(crate) fn add(&mut self, at: u64, thing: T) {
        self.scheduled += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.things.push(None);
            u32::try_from(self.things.len() - 1).expect("four thousand million things at once don't fit in memory")
        });
        self.things[place as usize] = Some(thing);
        self.due.push(Reverse((at, self.scheduled, place)));
    }

    /// The next thing, if it comes at `until` at the latest.
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
    fn what_comes_at_the_same_moment_comes_in_the_order_of_scheduling() {
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
