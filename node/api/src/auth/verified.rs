//! Remembers for a while that a password was right.
//!
//! A Basic-auth client sends its password with every request; argon2 on each would cost tens of milliseconds. What is kept
//! is an HMAC under a key that lives in this process only, over user, password and the *stored hash*: a changed password
//! is forgotten at once, and a memory dump gives nothing away that is cheap to guess from without the key. Only successes
//! are remembered: guessing stays as slow as argon2 makes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use rand::Rng;
use sha2::Sha256;

use super::password::{self, HashError};
use kirin_config::Secret;

/// The credentials that were verified not long ago.
#[derive(Debug)]
pub struct Verified {
    key: [u8; 32],
    keep: Duration,
    capacity: usize,
    until: Mutex<BTreeMap<[u8; 32], Instant>>,
    /// The stored hash that was seen last.
    latest: Mutex<Option<String>>,
    turns: Mutex<BTreeMap<[u8; 32], Weak<Turn>>>,
}

/// Who has it locked verifies.
type Turn = tokio::sync::Mutex<()>;

impl Verified {
    /// Remembers at most `capacity` credentials, each for `keep`.
    pub fn new(keep: Duration, capacity: usize) -> Self {
        let (until, latest, turns) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { key: rand::rng().random(), keep, capacity: capacity.max(1), until, latest, turns }
    }

    /// Whether the password is right: from memory, else by argon2 (which blocks). `phc` is the user's stored hash, `None`
    /// if there is no such user; `now` is read from the monotonic clock.
    ///
    /// # Errors
    /// If the stored hash is damaged.
    pub fn check(&self, user: &str, password: &Secret, phc: Option<&str>, now: Instant) -> Result<bool, HashError> {
        let Some(phc) = phc else { return Ok(password::verify_nobody(password)) };
        if self.remembers(user, password, phc, now) {
            return Ok(true);
        }
        let right = password::verify(password, phc)?;
        if right {
            self.remember(self.digest(user, password, phc), now);
        }
        Ok(right)
    }

    /// Whether these credentials were found right, and used since, within the time they are kept; cheap, never blocks for
    /// long. Those in use stay remembered: while strangers keep the node from verifying, its clients are not disturbed.
    pub fn remembers(&self, user: &str, password: &Secret, phc: &str, now: Instant) -> bool {
        let digest = self.digest(user, password, phc);
        let mut all = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = all.get_mut(&digest).filter(|until| now < **until) else { return false };
        *until = (*until).max(now + self.keep);
        true
    }

    /// Remembers for [`Self::knows`] which hash is stored.
    pub fn note(&self, phc: &str) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.as_deref() != Some(phc) {
            *latest = Some(phc.to_owned());
        }
    }

    /// Whether these credentials were found right and are in use, as far as can be told without asking for the stored
    /// hash.
    pub fn knows(&self, user: &str, password: &Secret, now: Instant) -> bool {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        latest.is_some_and(|phc| self.remembers(user, password, &phc, now))
    }

    /// Who shares credentials takes turns in verifying them: a node that has just started is asked by everybody at once, and
    /// all but the first find them remembered.
    pub fn turn(&self, user: &str, password: &Secret, phc: &str) -> Arc<Turn> {
        let digest = self.digest(user, password, phc);
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = turns.get(&digest).and_then(Weak::upgrade).unwrap_or_default();
        turns.insert(digest, Arc::downgrade(&turn));
        turn
    }

    /// Forgets everything.
    pub fn forget_all(&self) {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn remember(&self, digest: [u8; 32], now: Instant) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, &mut until| now < until);
        if until.len() >= self.capacity
            && let Some(oldest) = until.iter().min_by_key(|&(_, until)| until).map(|(digest, _)| *digest)
        {
            until.remove(&oldest);
        }
        until.insert(digest, now + self.keep);
    }

    fn digest(&self, user: &str, password: &Secret, phc: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        for part in [user, password.reveal(), phc] {
            // Lengths first, so that no two triples have the same bytes.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kirin_core::Time;
    use kirin_shell::clock::Clock;

    fn start() -> Instant {
        Clock::start().instant(Time::ZERO).unwrap().into_std()
    }

    #[test]
    fn a_right_password_is_remembered_for_a_while() {
        let phc = password::hash(&Secret::new("pw")).unwrap();
        let verified = Verified::new(Duration::from_secs(60), 10);
        let (right, wrong, now) = (Secret::new("pw"), Secret::new("pv"), start());
        assert!(!verified.check("u", &wrong, Some(&phc), now).unwrap());
        assert!(!verified.remembers("u", &wrong, &phc, now), "failures are not remembered");
        assert!(verified.check("u", &right, Some(&phc), now).unwrap());
        assert!(!verified.knows("u", &right, now), "nothing is known of the stored hash");
        verified.note(&phc);
        assert!(verified.knows("u", &right, now) && !verified.knows("u", &wrong, now));
        assert!(verified.remembers("u", &right, &phc, now + Duration::from_secs(59)));
        let later = now + Duration::from_secs(118);
        assert!(verified.remembers("u", &right, &phc, later), "credentials in use stay");
        assert!(!verified.remembers("u", &right, &phc, later + Duration::from_secs(60)), "the time is over");
        assert!(!verified.remembers("v", &right, &phc, now), "another user");
        assert!(!verified.remembers("u", &right, "$another$hash", now), "the password was changed");
        assert!(!verified.check("u", &right, None, now).unwrap(), "the user is gone");
        verified.forget_all();
        assert!(!verified.remembers("u", &right, &phc, now));
    }

    #[test]
    fn the_oldest_makes_room() {
        let verified = Verified::new(Duration::from_secs(60), 2);
        let start = start();
        let digest = |user: &str| verified.digest(user, &Secret::new("p"), "h");
        for (i, user) in ["a", "b", "c"].into_iter().enumerate() {
            verified.remember(digest(user), start + Duration::from_secs(i as u64));
        }
        let kept = |user| verified.remembers(user, &Secret::new("p"), "h", start + Duration::from_secs(3));
        assert_eq!([kept("a"), kept("b"), kept("c")], [false, true, true]);
    }

    #[test]
    fn only_who_brings_the_same_takes_turns() {
        let verified = Verified::new(Duration::from_secs(60), 2);
        let turn = |user, password| verified.turn(user, &Secret::new(password), "h");
        let (one, same, other) = (turn("u", "p"), turn("u", "p"), turn("u", "q"));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        drop((one, same, other));
        let _last = turn("v", "p");
        assert_eq!(verified.turns.lock().unwrap().len(), 1, "who is done is forgotten");
    }

    #[test]
    fn parts_can_not_be_shifted_into_each_other() {
        let verified = Verified::new(Duration::from_secs(60), 2);
        let digest = |user, password| verified.digest(user, &Secret::new(password), "h");
        assert_ne!(digest("ab", "c"), digest("a", "bc"));
    }
}
