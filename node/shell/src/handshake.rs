//! The handshake at the start of a link: Noise with the cluster secret as pre-shared key.
//!
//! The protocol is `Noise_NNpsk0_25519_ChaChaPoly_SHA256` (Noise Protocol Framework, revision 34), as the crate `snow`
//! implements it:
//! ```text
//! caller                                                              callee
//!   |-- names of both, in the clear; psk, e ----------------------------->|
//!   |<- e, ee; encrypted: as which member the callee answers -------------|
//!   |== transport messages: encrypted, authenticated, numbered ===========|
//! ```
//! The prologue binds the protocol version, the cluster's id and both names. A recorded message therefore fails with
//! another version, in another cluster, between other nodes or in the other direction.
//!
//! - **Why a pre-shared key only.** Nodes have no keys of their own: any node that can read the metastore knows the
//!   secret. Static keys would have to be registered in the same metastore.
//! - **Why `psk0`.** The key is mixed in before anything else. A stranger's first message fails authentication before
//!   the callee generates a key or computes a Diffie-Hellman exchange.
//! - **Replay.** An attacker can replay a recorded first message. The callee answers, but the answer is useless without
//!   the ephemeral key. The callee therefore trusts its caller only after the first transport message.
//! - **Forward secrecy.** Ephemeral keys are new for every link. The secret alone does not decrypt a recorded link.
//!
//! This module does no I/O. See [`crate::connection`] for the bytes on the wire.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::{OsRng, StdRng};
use rand::{RngCore, SeedableRng, TryRngCore};
use sha2::{Digest, Sha256};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState, TransportState};

use crate::secret::Secret;

/// The version of the link protocol. Nodes with different versions refuse each other.
pub const VERSION: u16 = 2;

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
/// The overhead of Noise per message: the authentication tag.
const TAG: usize = 16;
/// The first message: an ephemeral key and the tag of an empty payload.
const FIRST: usize = 32 + TAG;
/// The longest payload of one transport message. Noise limits the message to 65,535 bytes.
pub const PAYLOAD_MAX: usize = 65_535 - TAG;
/// The longest payload of the second message.
const IDENTITY_MAX: usize = 256;

/// What both ends of a link must already agree on.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The secret of the cluster, from its metastore.
    pub secret: Secret,
    /// The cluster's id, so that a secret used twice does not join two clusters.
    pub id: String,
}

/// The source of ephemeral keys.
#[derive(Clone)]
pub struct Entropy(Arc<Mutex<Source>>);

enum Source {
    System,
    Seeded(Box<StdRng>),
}

/// The first message, from the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The name of the calling node.
    pub caller: String,
    /// The name of the called node.
    pub callee: String,
    /// The Noise message.
    pub message: Vec<u8>,
}

/// Why a handshake or a message was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The other end has another secret, cluster or prologue, or the message was changed.
    #[error("the other end does not have this cluster's secret")]
    WrongSecret,
    /// The call is meant for another node, which used this address before.
    #[error("the call is meant for another node")]
    WrongNode,
    /// A message was changed, repeated, dropped or reordered in transit.
    #[error("a message failed authentication")]
    Tampered,
    /// A message is longer than Noise allows.
    #[error("a message is too long")]
    TooLong,
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system")]
    NoEntropy,
}

/// The caller's state while it waits for the second message.
pub struct Caller {
    state: Box<HandshakeState>,
    callee: String,
}

/// An established link, whose ends share a key.
pub struct Session {
    peer: String,
    transport: Box<TransportState>,
}

impl Entropy {
    /// Random bytes from the operating system, the only safe source in production.
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(Source::System)))
    }

    /// Reproducible bytes, for simulations.
    pub fn seeded_for_simulation(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Source::Seeded(Box::new(StdRng::seed_from_u64(seed))))))
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(***)")
    }
}

impl Random for Entropy {
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), snow::Error> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Source::System => OsRng.try_fill_bytes(bytes).map_err(|_| snow::Error::Rng),
            Source::Seeded(rng) => {
                rng.fill_bytes(bytes);
                Ok(())
            }
        }
    }
}

/// snow's own primitives, with ephemeral keys from [`Entropy`].
struct Primitives(Entropy);

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(self.0.clone()))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

impl Caller {
    /// Starts a call from `me` to the node `callee`.
    ///
    /// # Errors
    /// [`Denied::NoEntropy`].
    pub fn start(cluster: &Cluster, entropy: &Entropy, me: &str, callee: &str) -> Result<(Self, Hello), Denied> {
        let mut state = state(cluster, entropy, me, callee, |builder| builder.build_initiator());
        let mut message = vec![0; FIRST];
        let len = state.write_message(&[], &mut message).map_err(|_| Denied::NoEntropy)?;
        message.truncate(len);
        let hello = Hello { caller: me.to_owned(), callee: callee.to_owned(), message };
        Ok((Self { state, callee: callee.to_owned() }, hello))
    }

    /// Processes the callee's answer. Returns the session and the callee's payload.
    ///
    /// # Errors
    /// [`Denied::WrongSecret`]: close the link.
    pub fn finish(mut self, answer: &[u8]) -> Result<(Session, Vec<u8>), Denied> {
        let mut payload = vec![0; answer.len()];
        let len = self.state.read_message(answer, &mut payload).map_err(|_| Denied::WrongSecret)?;
        payload.truncate(len);
        Ok((Session::start(self.callee, *self.state), payload))
    }
}

/// Answers a call to the node `me`. Returns the session and the second message, which contains `payload`.
///
/// # Errors
/// [`Denied::WrongNode`] if the call is meant for another node, [`Denied::WrongSecret`] if the caller does not belong
/// to this cluster. Close the link.
pub fn answer(
    cluster: &Cluster,
    entropy: &Entropy,
    me: &str,
    hello: &Hello,
    payload: &[u8],
) -> Result<(Session, Vec<u8>), Denied> {
    if hello.callee != me {
        return Err(Denied::WrongNode);
    }
    if payload.len() > IDENTITY_MAX {
        return Err(Denied::TooLong);
    }
    let mut state = state(cluster, entropy, &hello.caller, me, |builder| builder.build_responder());
    // The first message carries no payload.
    state.read_message(&hello.message, &mut []).map_err(|_| Denied::WrongSecret)?;
    let mut message = vec![0; FIRST + payload.len()];
    let len = state.write_message(payload, &mut message).map_err(|_| Denied::NoEntropy)?;
    message.truncate(len);
    Ok((Session::start(hello.caller.clone(), *state), message))
}

/// The longest second message.
pub const ANSWER_MAX: usize = FIRST + IDENTITY_MAX;

fn state(
    cluster: &Cluster,
    entropy: &Entropy,
    caller: &str,
    callee: &str,
    build: impl for<'a> FnOnce(Builder<'a>) -> Result<HandshakeState, snow::Error>,
) -> Box<HandshakeState> {
    let (key, prologue) = (cluster.key(), prologue(&cluster.id, caller, callee));
    let pattern = PATTERN.parse().expect("snow knows the pattern");
    let builder = Builder::with_resolver(pattern, Box::new(Primitives(entropy.clone())));
    let builder = builder.psk(0, &key).and_then(|builder| builder.prologue(&prologue));
    Box::new(builder.and_then(build).expect("the pattern needs nothing else"))
}

fn prologue(cluster: &str, caller: &str, callee: &str) -> Vec<u8> {
    let mut prologue = Vec::new();
    for part in
        [b"kirin link".as_slice(), &VERSION.to_be_bytes(), cluster.as_bytes(), caller.as_bytes(), callee.as_bytes()]
    {
        prologue.extend_from_slice(&(part.len() as u64).to_be_bytes());
        prologue.extend_from_slice(part);
    }
    prologue
}

impl Cluster {
    /// The pre-shared key. The secret is a long random text, so a single hash is enough to derive 32 bytes.
    fn key(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"kirin link pre-shared key\0");
        hash.update(self.secret.reveal().as_bytes());
        hash.finalize().into()
    }
}

impl Session {
    fn start(peer: String, state: HandshakeState) -> Self {
        let transport = state.into_transport_mode().expect("both messages are done");
        Self { peer, transport: Box::new(transport) }
    }

    /// The name of the other end. A callee may rely on it after the first message that it has decrypted.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Encrypts the next message.
    ///
    /// # Errors
    /// [`Denied::TooLong`] above [`PAYLOAD_MAX`].
    pub fn seal(&mut self, payload: &[u8]) -> Result<Vec<u8>, Denied> {
        let mut message = vec![0; payload.len() + TAG];
        let len = self.transport.write_message(payload, &mut message).map_err(|_| Denied::TooLong)?;
        message.truncate(len);
        Ok(message)
    }

    /// Decrypts the next message.
    ///
    /// # Errors
    /// [`Denied::Tampered`]: close the link.
    pub fn open(&mut self, message: &[u8]) -> Result<Vec<u8>, Denied> {
        let mut payload = vec![0; message.len()];
        let len = self.transport.read_message(message, &mut payload).map_err(|_| Denied::Tampered)?;
        payload.truncate(len);
        Ok(payload)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caller(***, calls {})", self.callee)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session(***, with {})", self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(secret: &str, id: &str) -> Cluster {
        Cluster { secret: Secret::new(secret), id: id.into() }
    }

    /// Performs a complete handshake; the two ends may have different settings.
    fn shake(caller: &Cluster, callee: &Cluster) -> Result<(Session, Session), (&'static str, Denied)> {
        let entropy = Entropy::system();
        let (calling, hello) = Caller::start(caller, &entropy, "a", "b").map_err(|d| ("start", d))?;
        let (there, message) = answer(callee, &entropy, "b", &hello, b"me").map_err(|d| ("callee", d))?;
        let (here, payload) = calling.finish(&message).map_err(|d| ("caller", d))?;
        assert_eq!(payload, b"me");
        Ok((here, there))
    }

    fn sessions() -> (Session, Session) {
        shake(&cluster("s", "c"), &cluster("s", "c")).unwrap()
    }

    #[test]
    fn nodes_of_one_cluster_exchange_messages_in_both_directions() {
        let (mut here, mut there) = sessions();
        assert_eq!((here.peer(), there.peer()), ("b", "a"));
        for text in [b"one".as_slice(), b"", b"three"] {
            let message = here.seal(text).unwrap();
            assert_eq!(there.open(&message).unwrap(), text);
            let message = there.seal(text).unwrap();
            assert_eq!(here.open(&message).unwrap(), text);
        }
    }

    #[test]
    fn a_message_is_encrypted() {
        let (mut here, _) = sessions();
        let message = here.seal(b"the same text again and again").unwrap();
        assert!(!message.windows(4).any(|part| b"the same text again and again".windows(4).any(|plain| plain == part)));
        assert_ne!(here.seal(b"the same text again and again").unwrap(), message, "each message has another nonce");
    }

    #[test]
    fn a_repeated_skipped_or_reflected_message_fails_authentication() {
        let (mut here, mut there) = sessions();
        let (one, two) = (here.seal(b"one").unwrap(), here.seal(b"two").unwrap());
        assert_eq!(there.open(&two), Err(Denied::Tampered), "skipped");
        assert_eq!(there.open(&one).unwrap(), b"one");
        assert_eq!(there.open(&one), Err(Denied::Tampered), "repeated");
        assert_eq!(here.open(&two), Err(Denied::Tampered), "reflected");
        assert_eq!(there.open(&two).unwrap(), b"two");
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_of_a_message_fails_authentication() {
        let (mut here, mut there) = sessions();
        let message = here.seal(b"nudge").unwrap();
        for bit in 0..message.len() * 8 {
            let mut changed = message.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(there.open(&changed), Err(Denied::Tampered), "bit {bit}");
        }
        for len in 0..message.len() {
            assert_eq!(there.open(&message[..len]), Err(Denied::Tampered), "{len} bytes");
        }
        assert_eq!(there.open(&message).unwrap(), b"nudge");
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_of_a_handshake_is_denied() {
        let (shared, entropy) = (cluster("s", "c"), Entropy::system());
        let (_, hello) = Caller::start(&shared, &entropy, "a", "b").unwrap();
        let denied = |hello: &Hello| answer(&shared, &entropy, "b", hello, b"me").unwrap_err();
        for bit in 0..hello.message.len() * 8 {
            let mut changed = hello.clone();
            changed.message[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(denied(&changed), Denied::WrongSecret, "bit {bit} of the first message");
        }
        for len in 0..hello.message.len() {
            let cut = Hello { message: hello.message[..len].to_vec(), ..hello.clone() };
            assert_eq!(denied(&cut), Denied::WrongSecret, "{len} bytes of the first message");
        }
        let longer = Hello { message: [hello.message.as_slice(), b"more"].concat(), ..hello.clone() };
        assert_eq!(denied(&longer), Denied::WrongSecret);
        let renamed = Hello { caller: "x".to_owned(), ..hello.clone() };
        assert_eq!(denied(&renamed), Denied::WrongSecret, "the names are sent in the clear, but authenticated");

        // Each attempt consumes the caller. A source with the same seed creates an identical one.
        let again = |change: &dyn Fn(&mut Vec<u8>)| {
            let entropy = Entropy::seeded_for_simulation(7);
            let (calling, hello) = Caller::start(&shared, &entropy, "a", "b").unwrap();
            let (_, mut message) = answer(&shared, &entropy, "b", &hello, b"me").unwrap();
            change(&mut message);
            calling.finish(&message).map(|_| message.len())
        };
        let len = again(&|_| {}).unwrap();
        for bit in 0..len * 8 {
            let flipped = again(&|message| message[bit / 8] ^= 1 << (bit % 8));
            assert_eq!(flipped, Err(Denied::WrongSecret), "bit {bit} of the second message");
        }
        for cut in 0..len {
            assert_eq!(again(&|message| message.truncate(cut)), Err(Denied::WrongSecret), "{cut} bytes of the second");
        }
    }

    #[test]
    fn a_callee_denies_another_secret_and_another_cluster() {
        for other in [cluster("t", "c"), cluster("s", "d"), cluster("", "c")] {
            let denied = shake(&other, &cluster("s", "c")).unwrap_err();
            assert_eq!(denied, ("callee", Denied::WrongSecret));
        }
    }

    #[test]
    fn a_caller_denies_a_callee_without_the_secret() {
        let (shared, entropy) = (cluster("s", "c"), Entropy::system());
        let (calling, hello) = Caller::start(&shared, &entropy, "a", "b").unwrap();
        assert_eq!(calling.finish(&hello.message).unwrap_err(), Denied::WrongSecret, "its own message sent back");
        // A callee that could not read the first message answers with another secret.
        let (calling, _) = Caller::start(&shared, &entropy, "a", "b").unwrap();
        let guessed = cluster("guess", "c");
        let (_, hello) = Caller::start(&guessed, &entropy, "a", "b").unwrap();
        let (_, message) = answer(&guessed, &entropy, "b", &hello, b"me").unwrap();
        assert_eq!(calling.finish(&message).unwrap_err(), Denied::WrongSecret);
    }

    #[test]
    fn the_answer_to_a_replayed_call_is_useless_to_its_sender() {
        let (shared, entropy) = (cluster("s", "c"), Entropy::system());
        let (calling, hello) = Caller::start(&shared, &entropy, "a", "b").unwrap();
        let (mut first, message) = answer(&shared, &entropy, "b", &hello, b"me").unwrap();
        let (mut here, _) = calling.finish(&message).unwrap();
        let recorded = here.seal(b"nudge").unwrap();
        assert_eq!(first.open(&recorded).unwrap(), b"nudge");
        let (mut second, _) = answer(&shared, &entropy, "b", &hello, b"me").unwrap();
        assert_eq!(second.open(&recorded), Err(Denied::Tampered), "the callee's ephemeral key differs");
    }

    #[test]
    fn a_call_for_another_node_is_denied() {
        let (shared, entropy) = (cluster("s", "c"), Entropy::system());
        let (_, hello) = Caller::start(&shared, &entropy, "a", "b").unwrap();
        assert_eq!(answer(&shared, &entropy, "c", &hello, b"me").unwrap_err(), Denied::WrongNode);
        let redirected = Hello { callee: "c".to_owned(), ..hello };
        assert_eq!(answer(&shared, &entropy, "c", &redirected, b"me").unwrap_err(), Denied::WrongSecret);
    }

    #[test]
    fn a_payload_above_the_limit_is_refused() {
        let (mut here, mut there) = sessions();
        let message = here.seal(&vec![7; PAYLOAD_MAX]).unwrap();
        assert_eq!(message.len(), 65_535);
        assert_eq!(there.open(&message).unwrap().len(), PAYLOAD_MAX);
        assert_eq!(here.seal(&vec![7; PAYLOAD_MAX + 1]), Err(Denied::TooLong));
        assert_eq!(there.open(&vec![7; 65_536]), Err(Denied::Tampered));
    }

    #[test]
    fn a_seeded_source_is_reproducible_and_the_system_source_is_not() {
        let first = |entropy: &Entropy| Caller::start(&cluster("s", "c"), entropy, "a", "b").unwrap().1.message;
        let seeded = Entropy::seeded_for_simulation(7);
        let messages = [first(&seeded), first(&seeded)];
        assert_ne!(messages[0], messages[1]);
        let again = Entropy::seeded_for_simulation(7);
        assert_eq!([first(&again), first(&again)], messages);
        assert_ne!(first(&Entropy::seeded_for_simulation(8)), messages[0]);
        assert_ne!(first(&Entropy::system()), first(&Entropy::system()));
    }

    #[test]
    fn debug_output_contains_no_secret() {
        let (shared, entropy) = (cluster("hunter2", "c"), Entropy::system());
        let (calling, hello) = Caller::start(&shared, &entropy, "a", "b").unwrap();
        let (session, _) = answer(&shared, &entropy, "b", &hello, b"me").unwrap();
        let printed = format!("{calling:?} {session:?} {shared:?} {entropy:?}");
        assert!(!printed.contains("hunter2") && printed.contains("***"), "{printed}");
    }
}
