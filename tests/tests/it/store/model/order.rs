//! Is there an order of concurrent calls that explains what was heard?
//!
//! The calls of a history overlap in real time. It is *linearizable* if each call can be given one moment between its
//! request and its answer such that the model, asked in the order of the moments, answers what was heard and ends where the
//! server ended. The search is Wing and Gong's with Lowe's memory, as Porcupine does it: of the calls that may come next try
//! each, and never look twice at the same state of the model with the same calls left. A call whose answer says that it
//! changed nothing goes first, as soon as that is the right answer: whatever order explains the rest still does. (The tester of stateright
//! has no such memory, so that saying "there is none" would take it for ever, and that is what a test has to say.)
//!
//! What the contract says of moments is taken at its word:
//!
//! - A beat counts, and later it reads the lists.
//! - A take in order looks for an earlier job, and is granted or finds the project full, at two moments.
//! - "Full" counts takes that share the transaction, though they are granted a moment later. (Calls of the same project that
//!   overlap are counted here, since nobody tells which of them share a transaction.)

use std::collections::HashSet;

use kirin_core::ask::ProjectId;
use kirin_core::{Answer, Ask, ProjectRow};
use kirin_sim::store::Store as Model;

use super::follow;

/// A request, what was heard, and when.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) client: usize,
    pub(super) ask: Ask,
    pub(super) heard: Answer,
    /// Moments of one clock that ticks with each request and each answer.
    pub(super) asked_at: u64,
    pub(super) answered_at: u64,
}

impl Call {
    /// How many moments it has.
    fn moments(&self) -> u8 {
        match (&self.ask, &self.heard) {
            (Ask::Beat { .. }, Answer::Listed { .. })
            | (Ask::Take { in_order: true, .. }, Answer::Granted { .. } | Answer::Full) => 2,
            _ => 1,
        }
    }

    /// Whether its next moment leaves everything as it is, whenever it is.
    fn changes_nothing(&self, past: u8) -> bool {
        match &self.heard {
            Answer::Refused | Answer::Full | Answer::Jobs(_) | Answer::Accepted { fresh: false, .. } => true,
            Answer::Listed { .. } => past + 1 == self.moments(),
            Answer::Granted { .. } => past + 1 < self.moments(),
            _ => false,
        }
    }

    /// Whether its next moment can be this one; the model goes on. `granted` says how many takes of a project that overlap
    /// with this call are granted later.
    fn happens(&self, past: u8, model: &mut Model, granted: impl Fn(ProjectId) -> u32) -> bool {
        match (&self.ask, &self.heard) {
            (Ask::Beat { .. }, Answer::Listed { .. }) if past == 0 => {
                matches!(follow(model, &self.ask, &self.heard), Answer::Listed { .. })
            }
            (Ask::Beat { .. }, Answer::Listed { .. }) => follow(model, &Ask::List, &self.heard) == self.heard,
            (Ask::Take { in_order: true, .. }, Answer::Granted { .. } | Answer::Full) if past == 0 => {
                follow(&mut model.clone(), &self.ask, &self.heard) != Answer::Refused
            }
            (Ask::Take { fence, by, .. }, Answer::Granted { .. }) => {
                let take = Ask::Take { fence: *fence, by: *by, in_order: false };
                follow(model, &take, &self.heard) == self.heard
            }
            (Ask::Take { fence, by, .. }, Answer::Full) => {
                let take = Ask::Take { fence: *fence, by: *by, in_order: false };
                let mut counted = model.clone();
                if let Some(row) = model.job(fence.job) {
                    let limit = model.load(row.project).1.saturating_sub(granted(row.project));
                    counted.add_project(ProjectRow { id: row.project, limit });
                }
                follow(&mut counted, &take, &self.heard) == Answer::Full
            }
            // A number that was given to another job is no number.
            (_, Answer::Accepted { row, fresh: true }) if model.job(row.id).is_some() => false,
            _ => follow(model, &self.ask, &self.heard) == self.heard,
        }
    }

    /// Whether both were under way at once.
    fn overlaps(&self, other: &Self) -> bool {
        self.asked_at < other.answered_at && other.asked_at < self.answered_at
    }
}

/// The search; what it explained at best is kept for people.
pub(super) struct Search<'a> {
    calls: &'a [Call],
    is_end: &'a dyn Fn(&Model) -> bool,
    seen: HashSet<(Vec<u8>, Model)>,
    path: Vec<usize>,
    pub(super) best: Vec<usize>,
}

impl<'a> Search<'a> {
    /// A search for an order of these calls after which the model is as `is_end` wants it.
    pub(super) fn new(calls: &'a [Call], is_end: &'a dyn Fn(&Model) -> bool) -> Self {
        Self { calls, is_end, seen: HashSet::new(), path: Vec::new(), best: Vec::new() }
    }

    /// Whether there is one that begins at this model.
    pub(super) fn finds(&mut self, begin: &Model) -> bool {
        self.goes_on(&mut vec![0; self.calls.len()], begin)
    }

    fn goes_on(&mut self, past: &mut Vec<u8>, model: &Model) -> bool {
        let calls = self.calls;
        if self.path.len() > self.best.len() {
            self.best.clone_from(&self.path);
        }
        let open = || calls.iter().enumerate().filter(|(at, call)| past[*at] < call.moments());
        let Some(first_answer) = open().map(|(_, call)| call.answered_at).min() else { return (self.is_end)(model) };
        let mut next = Vec::new();
        for (at, call) in open().filter(|(_, call)| call.asked_at < first_answer) {
            let mut after = model.clone();
            let granted = |project| {
                let is_such = |(_, other): &(usize, &Call)| match (&other.ask, &other.heard) {
                    (Ask::Take { fence, .. }, Answer::Granted { .. }) => {
                        call.overlaps(other) && model.job(fence.job).is_some_and(|row| row.project == project)
                    }
                    _ => false,
                };
                open().filter(is_such).map(|_| 1).sum()
            };
            if call.happens(past[at], &mut after, granted) {
                if call.changes_nothing(past[at]) {
                    next = vec![(at, after)];
                    break;
                }
                next.push((at, after));
            }
        }
        for (at, after) in next {
            past[at] += 1;
            self.path.push(at);
            if self.seen.insert((past.clone(), after.clone())) && self.goes_on(past, &after) {
                return true;
            }
            self.path.pop();
            past[at] -= 1;
        }
        false
    }
}
