//! Trust: how long a member believes that nobody has declared it dead, and when it beats.
//!
//! A member beats every `interval`. What it holds is its own as long as its beats succeed, so a job needs no lease of its
//! own. Each success at the metastore lets the member *trust itself* until
//!
//! ```text
//! asked_at + timeout · (1 − 2ρ)
//! ```
//!
//! counted from the moment at which it *sent* the beat, on its own clock: the observer starts to count later than that, and
//! counts up to `timeout`. So even with two clocks whose rates are wrong in opposite directions, the member has stopped
//! trusting itself before anybody may call it silent.
//!
//! Without trust, a member starts nothing and stops the side effects that the metastore can't refuse. It does not stop
//! work whose only effect is a fenced commit: that can do no harm, and if nobody fenced the member meanwhile, the next beat
//! that succeeds restores trust and no work is lost.
//!
//! A failed beat is tried again at once and then often: at least [`crate::timing::BEAT_TRIES`] times before trust ends.
//!
//! Not here: who observes silence ([`crate::failure`]), and what a member holds.

use crate::time::{Span, Time};
use crate::timing::Timing;

/// The heart-beat of one member.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lease {
    timing: Timing,
    /// How long a success is worth.
    pub(crate) trust_for: Span,
    /// When the last beat that succeeded was asked for.
    renewed_at: Option<Time>,
    /// When the next beat is due; `NEVER` while one is under way.
    beat_at: Time,
    failures: u32,
}

impl Lease {
    /// The lease of a member that has joined by a request of `asked_at`; joining counts as a beat.
    pub fn new(timing: Timing, asked_at: Time) -> Self {
        Self { timing, trust_for: timing.trust_for(), renewed_at: Some(asked_at), beat_at: asked_at, failures: 0 }
    }

    /// Until when the member trusts itself.
    pub fn trusted_until(&self) -> Time {
        self.renewed_at.map_or(Time::ZERO, |at| at + self.trust_for)
    }

    /// Whether the member trusts itself.
    pub fn is_trusted(&self, now: Time) -> bool {
        now < self.trusted_until()
    }

    /// When the next beat is due.
    pub fn beat_at(&self) -> Time {
        self.beat_at
    }

    /// Beats that failed in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A beat was sent; the next is due when its answer is known.
    pub fn sent(&mut self) {
        self.beat_at = Time::NEVER;
    }

    /// Beat as soon as possible, because somebody wants a fresh view.
    pub fn hurry(&mut self, now: Time) {
        if self.beat_at != Time::NEVER {
            self.beat_at = self.beat_at.min(now);
        }
    }

    /// The beat of `asked_at` succeeded. Restores trust if it had ended.
    pub fn renewed(&mut self, asked_at: Time) {
        self.failures = 0;
        self.renewed_at = self.renewed_at.max(Some(asked_at));
        self.beat_at = asked_at + self.timing.interval();
    }

    /// The beat of `asked_at` failed, or nobody knows. The first failure is tried again at once; later ones so that tries
    /// follow each other by `retry_every`, whether the metastore refuses them at once or never answers.
    pub fn failed(&mut self, asked_at: Time, now: Time) {
        let next = if self.failures == 0 { now } else { now.max(asked_at + self.timing.retry_every()) };
        self.failures = self.failures.saturating_add(1);
        self.beat_at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(n: u64) -> Time {
        Time::from_micros(n * 1_000_000)
    }

    #[test]
    fn trust_counts_from_the_question_not_from_the_answer() {
        let mut lease = Lease::new(Timing::kylin(), s(0));
        lease.sent();
        lease.renewed(s(30));
        assert_eq!(lease.trusted_until(), s(84));
        assert_eq!(lease.beat_at(), s(60));
    }

    #[test]
    fn a_failed_beat_is_tried_ten_times_before_trust_ends() {
        tries_until_trust_ends(Span::ZERO);
    }

    #[test]
    fn a_metastore_that_never_answers_is_tried_as_often() {
        tries_until_trust_ends(Timing::kylin().ask_timeout());
    }

    fn tries_until_trust_ends(answered_after: Span) {
        let mut lease = Lease::new(Timing::kylin(), s(0));
        lease.renewed(s(0));
        let mut now = lease.beat_at();
        let mut tries = 0;
        while lease.is_trusted(now) {
            lease.sent();
            lease.failed(now, now + answered_after);
            now = lease.beat_at();
            tries += 1;
            assert_eq!(lease.failures(), tries);
        }
        assert!(tries >= 10, "{tries}");
        lease.renewed(now);
        assert!(lease.is_trusted(now), "a success restores trust");
        assert_eq!(lease.failures(), 0);
    }

    #[test]
    fn a_late_answer_never_shortens_trust() {
        let mut lease = Lease::new(Timing::kylin(), s(0));
        lease.renewed(s(40));
        lease.renewed(s(30));
        assert_eq!(lease.trusted_until(), s(94));
    }

    #[test]
    fn hurrying_does_not_double_a_beat_that_is_under_way() {
        let mut lease = Lease::new(Timing::kylin(), s(0));
        lease.sent();
        lease.hurry(s(1));
        assert_eq!(lease.beat_at(), Time::NEVER);
        lease.renewed(s(0));
        lease.hurry(s(2));
        assert_eq!(lease.beat_at(), s(2));
    }

    #[test]
    fn trust_has_ended_at_its_very_end() {
        let lease = Lease::new(Timing::kylin(), s(0));
        assert!(lease.is_trusted(Time::from_micros(s(54).micros() - 1)));
        assert!(!lease.is_trusted(s(54)));
    }

    #[test]
    fn the_first_failure_is_tried_again_at_once_and_later_ones_by_the_span_between_tries() {
        let mut lease = Lease::new(Timing::kylin(), s(0));
        let apart = Timing::kylin().retry_every();
        lease.failed(s(30), s(31));
        assert_eq!(lease.beat_at(), s(31));
        lease.failed(s(31), s(32));
        assert_eq!(lease.beat_at(), s(31) + apart);
        lease.failed(s(33), s(40));
        assert_eq!(lease.beat_at(), s(40), "it is late already");
    }
}
