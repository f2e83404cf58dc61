//! Limits on the verification of passwords: few at a time, and few per address and user.
//!
//! Verifying a password takes 19 MiB and tens of milliseconds, on purpose. Without a limit, unauthenticated clients
//! could exhaust the node's memory and processors. Each address, and each user at an address, has a supply of attempts
//! that refills slowly. A correct password returns its attempt. Without an attempt, a request is refused before any
//! computation or request to the metastore, with the time until the next attempt. The supply is per address, so that an
//! attacker cannot lock a user out elsewhere. Clients with recently verified credentials are not limited
//! ([`super::verified`]), so that an attacker behind the same load balancer does not affect them.
//!
//! Admitted verifications wait for one of few slots, in order of arrival. A long queue is refused, too.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The maximum number of concurrent verifications.
const AT_ONCE: usize = 2;
/// The maximum number of waiting verifications.
const WAITING_MAX: usize = 64;
/// The maximum number of remembered addresses and users.
const KEPT_MAX: usize = 10_000;
/// The length to which user names are truncated.
const USER_MAX: usize = 64;

/// The supply of attempts of a key, and the time to refill one attempt.
const PER_USER: (f64, Duration) = (10.0, Duration::from_secs(2));
const PER_ADDRESS: (f64, Duration) = (30.0, Duration::from_secs(1));

/// An address, or a user at an address.
type Key = (IpAddr, Option<String>);

/// The limiter.
#[derive(Debug)]
pub struct Gate {
    supplies: Mutex<BTreeMap<Key, Supply>>,
    waiting: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

#[derive(Clone, Copy, Debug)]
struct Supply {
    left: f64,
    at: Instant,
}

/// A slot for a verification, released when dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit);

impl Default for Gate {
    fn default() -> Self {
        let waiting = Arc::new(Semaphore::new(WAITING_MAX));
        Self { supplies: Mutex::default(), waiting, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Gate {
    /// Checks for an attempt without taking it.
    ///
    /// # Errors
    /// The time until the next attempt.
    pub fn look(&self, from: IpAddr, user: &str, now: Instant) -> Result<(), Duration> {
        let supplies = self.supplies.lock().unwrap_or_else(PoisonError::into_inner);
        keys(from, user).iter().try_for_each(|(key, rule)| match supplies.get(key) {
            Some(supply) => supply.refilled(*rule, now).wait(*rule),
            None => Ok(()),
        })
    }

    /// Takes an attempt.
    ///
    /// # Errors
    /// The time until the next attempt, if there is none.
    pub fn take(&self, from: IpAddr, user: &str, now: Instant) -> Result<(), Duration> {
        self.look(from, user, now)?;
        let mut supplies = self.supplies.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, rule) in keys(from, user) {
            make_room(&mut supplies, &key, now);
            let supply = supplies.entry(key).or_insert(Supply { left: rule.0, at: now });
            *supply = supply.refilled(rule, now);
            supply.left -= 1.0;
        }
        Ok(())
    }

    /// Returns an attempt after a correct password.
    pub fn give_back(&self, from: IpAddr, user: &str, now: Instant) {
        let mut supplies = self.supplies.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, rule) in keys(from, user) {
            if let Some(supply) = supplies.get_mut(&key) {
                *supply = supply.refilled(rule, now);
                supply.left = (supply.left + 1.0).min(rule.0);
            }
        }
    }

    /// Waits for a slot. `None` if too many requests wait.
    pub async fn place(&self) -> Option<Place> {
        let waiting = self.waiting.clone().try_acquire_owned().ok()?;
        let place = self.places.clone().acquire_owned().await.ok()?;
        drop(waiting);
        Some(Place(place))
    }
}

impl Supply {
    fn refilled(self, (most, every): (f64, Duration), now: Instant) -> Self {
        let more = now.saturating_duration_since(self.at).as_secs_f64() / every.as_secs_f64();
        Self { left: (self.left + more).min(most), at: now.max(self.at) }
    }

    fn wait(self, (_, every): (f64, Duration)) -> Result<(), Duration> {
        if self.left >= 1.0 { Ok(()) } else { Err(every.mul_f64(1.0 - self.left)) }
    }
}

/// The keys under which an attempt is counted.
fn keys(from: IpAddr, user: &str) -> [(Key, (f64, Duration)); 2] {
    let from = network(from);
    let user = user.chars().take(USER_MAX).collect::<String>().to_lowercase();
    [((from, None), PER_ADDRESS), ((from, Some(user)), PER_USER)]
}

/// The network of an address, because a host may have a whole network of IPv6 addresses.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Removes the entries with a full supply. If there are none, removes the entry with the largest supply.
fn make_room(supplies: &mut BTreeMap<Key, Supply>, key: &Key, now: Instant) {
    if supplies.len() < KEPT_MAX || supplies.contains_key(key) {
        return;
    }
    let rule = |key: &Key| if key.1.is_some() { PER_USER } else { PER_ADDRESS };
    supplies.retain(|key, supply| supply.refilled(rule(key), now).left < rule(key).0);
    if supplies.len() < KEPT_MAX {
        return;
    }
    let most = supplies.iter().max_by(|(_, a), (_, b)| a.left.total_cmp(&b.left)).map(|(key, _)| key.clone());
    most.and_then(|key| supplies.remove(&key));
}

#[cfg(test)]
mod tests {
    use super::*;
    use kirin_core::Time;
    use kirin_shell::clock::Clock;

    fn start() -> Instant {
        Clock::start().instant(Time::ZERO).unwrap().into_std()
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn attempts_are_limited_per_user_and_address_and_refill_with_time() {
        let (gate, now) = (Gate::default(), start());
        for _ in 0..10 {
            gate.take(HERE, "admin", now).unwrap();
        }
        let wait = gate.take(HERE, "ADMIN", now).unwrap_err();
        assert_eq!(wait, Duration::from_secs(2));
        assert_eq!(gate.look(HERE, "admin", now).unwrap_err(), wait, "a check reports the same and takes no attempt");
        gate.take(THERE, "admin", now).unwrap();
        gate.take(HERE, "another", now).unwrap();
        gate.take(HERE, "admin", now + wait).unwrap();
        gate.take(HERE, "admin", now + wait).unwrap_err();
    }

    #[test]
    fn many_names_from_one_address_share_its_attempts() {
        let (gate, now) = (Gate::default(), start());
        let names = (0..100).filter(|n| gate.take(HERE, &format!("user{n}"), now).is_ok());
        assert_eq!(names.count(), 30);
        gate.take(THERE, "user1", now).unwrap();
        let host = |n: u128| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | n));
        let same = (0..100).filter(|n| gate.take(host(*n), "u", now).is_ok());
        assert_eq!(same.count(), 10, "an IPv6 network counts as one address");
    }

    #[test]
    fn a_correct_password_returns_its_attempt() {
        let (gate, now) = (Gate::default(), start());
        for _ in 0..100 {
            gate.take(HERE, "admin", now).unwrap();
            gate.give_back(HERE, "admin", now);
        }
    }

    #[test]
    fn the_number_of_remembered_keys_is_bounded() {
        let (gate, now) = (Gate::default(), start());
        for n in 0..u32::try_from(KEPT_MAX).unwrap() / 2 + 100 {
            gate.take(IpAddr::V4(n.into()), "u", now).unwrap();
        }
        assert!(gate.supplies.lock().unwrap().len() <= KEPT_MAX + 2);
    }

    #[tokio::test]
    async fn few_are_verified_at_once_and_a_long_queue_is_refused() {
        let gate = Arc::new(Gate::default());
        let places = [gate.place().await.unwrap(), gate.place().await.unwrap()];
        let wait = || {
            let gate = gate.clone();
            tokio::spawn(async move { gate.place().await.is_some() })
        };
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| wait()).collect();
        while gate.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(gate.place().await.is_none());
        drop(places);
        for one in waiting {
            assert!(one.await.unwrap());
        }
    }
}
