//! Trust: how long a member may assume that it has not been declared dead, and when it beats.
//!
//! A member beats every `interval`. It keeps what it holds while its beats succeed, so jobs need no leases of their
//! own. Each successful beat lets the member *trust itself* until
//!
//! ```text
//! asked_at + timeout · (1 − 2ρ)
//! ```
//!
//! counted on its own clock from the moment at which it *sent* the beat. The observer starts to count later than that,
//! and counts up to `timeout`. Even if the rates of the two clocks are wrong in opposite directions, the member stops
//! trusting itself before an observer may call it silent.
//!
//! Without trust, a member starts no attempts and stops the side effects that the metastore cannot refuse. Work whose
//! only effect is a fenced commit goes on, because it can do no harm. If the member was not fenced meanwhile, the next
//! successful beat restores trust, and no work is lost.
//!
//! A failed beat is retried at once and then often: at least [`crate::timing::BEAT_TRIES`] times before trust ends.
//!
//! Not here: the observation of silence ([`crate::failure`]), and what a member holds.

use crate::time::{Span, Time};
use crate::timing::Timing;

/// The heart-beat of one member.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lease {
    timing: Timing,
    /// How long trust lasts after a successful beat.
    pub(crate) trust_for: Span,
    /// When the last successful beat was sent.
    renewed_at: Option<Time>,
    /// When the next beat is due; `NEVER` while one is in flight.
    beat_at: Time,
    failures: u32,
}

impl Lease {
    /// The lease of a member whose join was requested at `asked_at`. Joining counts as a beat.
    pub fn new(timing: Timing, asked_at: Time) -> Self {
        Self { timing, trust_for: timing.trust_for(), renewed_at: Some(asked_at), beat_at: asked_at, failures: 0 }
    }

    /// When the member's trust ends.
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

    /// How many beats in a row have failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A beat was sent. The next one is scheduled when its answer is known.
    pub fn sent(&mut self) {
        self.beat_at = Time::NEVER;
    }

    /// Schedules a beat as soon as possible, to get a fresh view.
    pub fn hurry(&mut self, now: Time) {
        if self.beat_at != Time::NEVER {
            self.beat_at = self.beat_at.min(now);
        }
    }

    /// The beat sent at `asked_at` succeeded. Restores trust if it had ended.
    pub fn renewed(&mut self, asked_at: Time) {
        self.failures = 0;
        self.renewed_at = self.renewed_at.max(Some(asked_at));
        self.beat_at = asked_at + self.timing.interval();
    }

    /// The beat sent at `asked_at` failed, or its outcome is unknown. The first failure is retried at once. Later
    /// retries are `retry_every` apart, whether the metastore refuses them at once or never answers.
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
    fn trust_counts_from_the_request_not_from_the_answer() {
        let mut lease = Lease::new(Timing::kylin(), s(0));
        lease.sent();
        lease.renewed(s(30));
        assert_eq!(lease.trusted_until(), s(84));
        assert_eq!(lease.beat_at(), s(60));
    }

    #[test]
    fn a_failed_beat_is_retried_ten_times_before_trust_ends() {
        tries_until_trust_ends(Span::ZERO);
    }

    #[test]
    fn a_metastore_that_never_answers_is_tried_equally_often() {
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
    fn hurrying_does_not_duplicate_a_beat_in_flight() {
        let mut lease = Lease::new(Timing::kylin(), s(0));
        lease.sent();
        lease.hurry(s(1));
        assert_eq!(lease.beat_at(), Time::NEVER);
        lease.renewed(s(0));
        lease.hurry(s(2));
        assert_eq!(lease.beat_at(), s(2));
    }

    #[test]
    fn trust_excludes_its_end() {
        let lease = Lease::new(Timing::kylin(), s(0));
        assert!(lease.is_trusted(Time::from_micros(s(54).micros() - 1)));
        assert!(!lease.is_trusted(s(54)));
    }

    #[test]
    fn the_first_failure_is_retried_at_once_and_later_ones_at_intervals() {
        let mut lease = Lease::new(Timing::kylin(), s(0));
        let apart = Timing::kylin().retry_every();
        lease.failed(s(30), s(31));
        assert_eq!(lease.beat_at(), s(31));
        lease.failed(s(31), s(32));
        assert_eq!(lease.beat_at(), s(31) + apart);
        lease.failed(s(33), s(40));
        assert_eq!(lease.beat_at(), s(40), "it is already late");
    }
}
