//! A cache of verified credentials.
//!
//! A Basic-auth client sends its password with every request, and argon2 for each would cost tens of milliseconds. The
//! cache contains an HMAC of user, password and the *stored hash*, under a key that exists only in this process. A
//! changed password invalidates its entry at once. A memory dump without the key reveals nothing that is cheap to guess
//! from. Only successes are cached, so guessing remains as slow as argon2.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use rand::Rng;
use sha2::Sha256;

use super::password::{self, HashError};
use kirin_config::Secret;

/// Recently verified credentials.
#[derive(Debug)]
pub struct Verified {
    key: [u8; 32],
    keep: Duration,
    capacity: usize,
    until: Mutex<BTreeMap<[u8; 32], Instant>>,
    /// The last seen stored hash.
    latest: Mutex<Option<String>>,
    turns: Mutex<BTreeMap<[u8; 32], Weak<Turn>>>,
}

/// A lock that serializes the verification of the same credentials.
type Turn = tokio::sync::Mutex<()>;

impl Verified {
    /// Caches at most `capacity` credentials, each for `keep`.
    pub fn new(keep: Duration, capacity: usize) -> Self {
        let (until, latest, turns) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { key: rand::rng().random(), keep, capacity: capacity.max(1), until, latest, turns }
    }

    /// Whether the password is correct, from the cache, else by argon2 (which blocks). `phc` is the user's stored hash,
    /// or `None` for an unknown user. `now` is a monotonic time.
    ///
    /// # Errors
    /// If the stored hash is damaged.
    pub fn check(&self, user: &str, password: &Secret, phc: Option<&str>, now: Instant) -> Result<bool, HashError> {
        let Some(phc) = phc else { return Ok(password::verify_unknown_user(password)) };
        if self.remembers(user, password, phc, now) {
            return Ok(true);
        }
        let right = password::verify(password, phc)?;
        if right {
            self.remember(self.digest(user, password, phc), now);
        }
        Ok(right)
    }

    /// Whether these credentials are in the cache and were used recently. Cheap; never blocks for long. Credentials in
    /// use stay cached, so that an attack on verification does not affect the node's clients.
    pub fn remembers(&self, user: &str, password: &Secret, phc: &str, now: Instant) -> bool {
        let digest = self.digest(user, password, phc);
        let mut all = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = all.get_mut(&digest).filter(|until| now < **until) else { return false };
        *until = (*until).max(now + self.keep);
        true
    }

    /// Stores the current hash for [`Self::knows`].
    pub fn note(&self, phc: &str) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.as_deref() != Some(phc) {
            *latest = Some(phc.to_owned());
        }
    }

    /// Whether these credentials are in the cache and in use, assuming that the stored hash is unchanged.
    pub fn knows(&self, user: &str, password: &Secret, now: Instant) -> bool {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        latest.is_some_and(|phc| self.remembers(user, password, &phc, now))
    }

    /// The lock for verifying these credentials. A node that has just started receives many requests with the same
    /// credentials. The first request verifies them, and the others find them in the cache.
    pub fn turn(&self, user: &str, password: &Secret, phc: &str) -> Arc<Turn> {
        let digest = self.digest(user, password, phc);
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = turns.get(&digest).and_then(Weak::upgrade).unwrap_or_default();
        turns.insert(digest, Arc::downgrade(&turn));
        turn
    }

    /// Clears the cache.
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
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC accepts a key of any length");
        for part in [user, password.reveal(), phc] {
            // Lengths are included, so that no two triples have the same bytes.
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
    fn a_verified_password_is_cached_for_a_limited_time() {
        let phc = password::hash(&Secret::new("pw")).unwrap();
        let verified = Verified::new(Duration::from_secs(60), 10);
        let (right, wrong, now) = (Secret::new("pw"), Secret::new("pv"), start());
        assert!(!verified.check("u", &wrong, Some(&phc), now).unwrap());
        assert!(!verified.remembers("u", &wrong, &phc, now), "failures are not cached");
        assert!(verified.check("u", &right, Some(&phc), now).unwrap());
        assert!(!verified.knows("u", &right, now), "the stored hash is unknown");
        verified.note(&phc);
        assert!(verified.knows("u", &right, now) && !verified.knows("u", &wrong, now));
        assert!(verified.remembers("u", &right, &phc, now + Duration::from_secs(59)));
        let later = now + Duration::from_secs(118);
        assert!(verified.remembers("u", &right, &phc, later), "credentials in use stay cached");
        assert!(!verified.remembers("u", &right, &phc, later + Duration::from_secs(60)), "the time has passed");
        assert!(!verified.remembers("v", &right, &phc, now), "another user");
        assert!(!verified.remembers("u", &right, "$another$hash", now), "the password was changed");
        assert!(!verified.check("u", &right, None, now).unwrap(), "the user does not exist");
        verified.forget_all();
        assert!(!verified.remembers("u", &right, &phc, now));
    }

    #[test]
    fn the_oldest_entry_is_evicted() {
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
    fn only_equal_credentials_share_a_lock() {
        let verified = Verified::new(Duration::from_secs(60), 2);
        let turn = |user, password| verified.turn(user, &Secret::new(password), "h");
        let (one, same, other) = (turn("u", "p"), turn("u", "p"), turn("u", "q"));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        drop((one, same, other));
        let _last = turn("v", "p");
        assert_eq!(verified.turns.lock().unwrap().len(), 1, "a released lock is removed");
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        let verified = Verified::new(Duration::from_secs(60), 2);
        let digest = |user, password| verified.digest(user, &Secret::new(password), "h");
        assert_ne!(digest("ab", "c"), digest("a", "bc"));
    }
}
