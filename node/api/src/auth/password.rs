//! Passwords: argon2id hashes as PHC strings, and random passwords that are easy to copy by hand.
//!
//! Hashing and verifying take tens of milliseconds and 19 MiB each, on purpose. Call them where blocking is allowed,
//! and with limited concurrency.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use rand::Rng;
use rand::seq::IndexedRandom;

use kirin_config::Secret;

/// Digits and lower-case letters, without similar ones (0 o, 1 l i).
const ALPHABET: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";
const GROUPS: usize = 6;
const GROUP: usize = 4;

/// Hashing failed, or the stored hash is not a PHC string of argon2.
#[derive(Debug, thiserror::Error)]
#[error("password hash: {0}")]
pub struct HashError(argon2::password_hash::Error);

fn argon2() -> Argon2<'static> {
    // OWASP's first recommendation for argon2id, which is the crate's default: 19 MiB, two passes, one lane.
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

/// Hashes a password with a new salt. The PHC string contains everything for verification.
///
/// # Errors
/// Only for passwords longer than 4 GiB.
pub fn hash(password: &Secret) -> Result<String, HashError> {
    let salt: [u8; 16] = rand::rng().random();
    let salt = SaltString::encode_b64(&salt).map_err(HashError)?;
    let hash = argon2().hash_password(password.reveal().as_bytes(), &salt).map_err(HashError)?;
    Ok(hash.to_string())
}

/// Whether `password` matches the hash `phc`.
///
/// # Errors
/// If `phc` is not a PHC string of argon2, because the stored hash is damaged.
pub fn verify(password: &Secret, phc: &str) -> Result<bool, HashError> {
    let parsed = PasswordHash::new(phc).map_err(HashError)?;
    match argon2().verify_password(password.reveal().as_bytes(), &parsed) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::Password) => Ok(false),
        Err(other) => Err(HashError(other)),
    }
}

/// Performs the work of a verification without a hash, so that the answer for an unknown user takes as long as for a
/// known one.
pub fn verify_unknown_user(password: &Secret) -> bool {
    let mut sink = [0_u8; 32];
    let _ = argon2().hash_password_into(password.reveal().as_bytes(), b"nobody has salt.", &mut sink);
    false
}

/// A random password of 118 bits, for example `k7mf-2xqd-…`.
pub fn random() -> Secret {
    let mut rng = rand::rng();
    let mut text = String::with_capacity(GROUPS * (GROUP + 1));
    for i in 0..GROUPS * GROUP {
        if i > 0 && i % GROUP == 0 {
            text.push('-');
        }
        text.push(char::from(*ALPHABET.choose(&mut rng).expect("the alphabet is not empty")));
    }
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_verifies_its_password_and_no_other() {
        let phc = hash(&Secret::new("correct horse")).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(verify(&Secret::new("correct horse"), &phc).unwrap());
        assert!(!verify(&Secret::new("correct horsf"), &phc).unwrap());
        assert_ne!(hash(&Secret::new("correct horse")).unwrap(), phc, "each hash has its own salt");
    }

    #[test]
    fn a_damaged_hash_is_an_error_and_an_unknown_user_never_passes() {
        assert!(verify(&Secret::new("x"), "plain text").is_err());
        assert!(!verify_unknown_user(&Secret::new("x")));
    }

    #[test]
    fn a_random_password_has_more_than_a_hundred_bits_and_is_easy_to_copy() {
        let bits = f64::from(31_u8).log2() * (GROUPS * GROUP) as f64;
        assert!(bits > 100.0, "{bits}");
        let (one, two) = (random(), random());
        assert_ne!(one, two);
        assert_eq!(one.reveal().len(), GROUPS * GROUP + GROUPS - 1);
        assert!(one.reveal().bytes().all(|b| b == b'-' || ALPHABET.contains(&b)));
    }
}
