//! The meaning of concurrent calls of the contract for the model, for the search for an order that explains them
//! ([`kirin_tests::order`]).
//!
//! The model follows the contract's atomicity exactly:
//!
//! - A beat counts, and reads the lists at a later point.
//! - A take in order looks for an earlier job, and is granted or finds the project full, at two points.
//! - "Full" also counts takes in the same transaction that are granted a moment later. (Overlapping calls of the same
//!   project
//!   are counted, because it is unknown which of them share a transaction.)

use kirin_core::ask::ProjectId;
use kirin_core::{Answer, Ask, ProjectRow};
use kirin_sim::store::Store as Model;
use kirin_tests::order;

use super::follow;

/// A request with its answer and times.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) client: usize,
    pub(super) ask: Ask,
    pub(super) heard: Answer,
    /// Times of a logical clock that ticks with each request and each answer.
    pub(super) asked_at: u64,
    pub(super) answered_at: u64,
}

impl order::Call for Call {
    type Model = Model;

    fn asked_at(&self) -> u64 {
        self.asked_at
    }

    fn answered_at(&self) -> Option<u64> {
        Some(self.answered_at)
    }

    fn moments(&self) -> u8 {
        match (&self.ask, &self.heard) {
            (Ask::Beat { .. }, Answer::Listed { .. } | Answer::Beats(_))
            | (Ask::Take { in_order: true, .. }, Answer::Granted { .. } | Answer::Full) => 2,
            _ => 1,
        }
    }

    fn changes_nothing(&self, past: u8) -> bool {
        match &self.heard {
            Answer::Refused | Answer::Full | Answer::Jobs(_) | Answer::Accepted { fresh: false, .. } => true,
            Answer::Listed { .. } | Answer::Beats(_) => past + 1 == self.moments(),
            Answer::Granted { .. } => past + 1 < self.moments(),
            _ => false,
        }
    }

    fn happens(&self, past: u8, model: &mut Model, open: &[&Self]) -> bool {
        match (&self.ask, &self.heard) {
            (Ask::Beat { .. }, Answer::Listed { .. } | Answer::Beats(_)) if past == 0 => {
                matches!(follow(model, &self.ask, &self.heard), Answer::Listed { .. } | Answer::Beats(_))
            }
            (Ask::Beat { .. }, Answer::Listed { .. }) => follow(model, &Ask::List, &self.heard) == self.heard,
            (Ask::Beat { brief: Some(brief), .. }, Answer::Beats(_)) => {
                model.beats(brief).as_ref() == Some(&self.heard)
            }
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
                    let limit = model.load(row.project).1.saturating_sub(self.granted(row.project, model, open));
                    counted.add_project(ProjectRow { id: row.project, limit });
                }
                follow(&mut counted, &take, &self.heard) == Answer::Full
            }
            // A number that was given to another job is invalid.
            (_, Answer::Accepted { row, fresh: true }) if model.job(row.id).is_some() => false,
            _ => follow(model, &self.ask, &self.heard) == self.heard,
        }
    }
}

impl Call {
    /// The number of overlapping takes of the project that are granted later.
    fn granted(&self, project: ProjectId, model: &Model, open: &[&Self]) -> u32 {
        let is_such = |other: &&&Self| match (&other.ask, &other.heard) {
            (Ask::Take { fence, .. }, Answer::Granted { .. }) => {
                self.overlaps(other) && model.job(fence.job).is_some_and(|row| row.project == project)
            }
            _ => false,
        };
        open.iter().filter(is_such).map(|_| 1).sum()
    }

    /// Whether both calls overlap in time.
    fn overlaps(&self, other: &Self) -> bool {
        self.asked_at < other.answered_at && other.asked_at < self.answered_at
    }
}
