//! Mutual proof, at the start of a link between two nodes, that both know the cluster secret.
//!
//! ```text
//! caller                                                    callee
//!   |-- Hello { nonce, caller, callee } ---------------------->|
//!   |<- Challenge { nonce } -----------------------------------|
//!   |-- Proof: HMAC(secret, "caller", everything above) ------>|   the callee goes on only if it is right
//!   |<- Proof: HMAC(secret, "callee", everything above) -------|
//! ```
//! Two round trips. The caller proves itself first, so a stranger who connects learns nothing computed from the secret.
//! Both nonces, both names and the cluster's id are under the proof: it can't be replayed, sent back to its maker (roles
//! differ), passed on to another node, or used in another cluster. Both ends also derive two keys, one for each direction,
//! with which [`Sealer`] and [`Opener`] authenticate and number the frames that follow.
//!
//! Does no I/O, and hides nothing from an eavesdropper: links carry hints and requests, never secrets.

use std::fmt;

use hmac::{Hmac, Mac};
use rand::Rng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::secret::Secret;

type Tag = [u8; 32];

/// What both ends must already agree on.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The secret of the cluster, from its metastore.
    pub secret: Secret,
    /// The cluster's id, so that a secret used twice does not join two clusters.
    pub id: String,
}

/// The first message, from the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    nonce: Tag,
    /// Who calls.
    pub caller: String,
    /// Who is meant to answer.
    pub callee: String,
}

/// The second message, from the callee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    nonce: Tag,
}

/// The third message, from the caller, and the fourth, from the callee.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof(Tag);

/// The other end is not who it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It does not know the cluster secret, or is of another cluster.
    #[error("the other end does not prove that it knows the cluster secret")]
    WrongProof,
    /// The call is meant for another node: this one has taken over its address.
    #[error("the call is meant for another node")]
    WrongNode,
    /// A frame was changed, repeated, left out or reordered on its way.
    #[error("a frame does not carry the right seal")]
    WrongSeal,
}

/// The caller, waiting for the challenge.
#[derive(Debug)]
pub struct Caller {
    cluster: Cluster,
    hello: Hello,
}

/// The caller, waiting for the callee's proof.
#[derive(Debug)]
pub struct CallerProving {
    transcript: Transcript,
}

/// The callee, waiting for the caller's proof.
#[derive(Debug)]
pub struct Callee {
    transcript: Transcript,
    caller: String,
}

/// A link whose two ends have proved themselves.
#[derive(Debug)]
pub struct Session {
    /// The name of the other end, as proved.
    pub peer: String,
    /// Seals what is sent.
    pub sealer: Sealer,
    /// Checks what is received.
    pub opener: Opener,
}

/// Everything both ends said, under the cluster secret.
struct Transcript {
    secret: Secret,
    said: Vec<u8>,
}

impl Caller {
    /// Starts a call from `me` to the node `callee`.
    pub fn start(cluster: Cluster, me: &str, callee: &str) -> (Self, Hello) {
        let hello = Hello { nonce: rand::rng().random(), caller: me.to_owned(), callee: callee.to_owned() };
        (Self { cluster, hello: hello.clone() }, hello)
    }

    /// Answers the challenge.
    pub fn prove(self, challenge: &Challenge) -> (CallerProving, Proof) {
        let transcript = Transcript::of(&self.cluster, &self.hello, challenge);
        let proof = transcript.mac(b"caller");
        (CallerProving { transcript }, Proof(proof))
    }
}

impl CallerProving {
    /// Checks the callee's proof.
    ///
    /// # Errors
    /// [`Denied::WrongProof`]: close the link.
    pub fn finish(self, callee: &str, proof: &Proof) -> Result<Session, Denied> {
        self.transcript.check(b"callee", proof)?;
        let (sealer, opener) = (self.transcript.mac(b"from caller"), self.transcript.mac(b"from callee"));
        Ok(Session { peer: callee.to_owned(), sealer: Sealer::new(sealer), opener: Opener::new(opener) })
    }
}

impl Callee {
    /// Answers a call to the node `me`.
    ///
    /// # Errors
    /// [`Denied::WrongNode`] if another node is meant: close the link.
    pub fn start(cluster: &Cluster, me: &str, hello: &Hello) -> Result<(Self, Challenge), Denied> {
        if hello.callee != me {
            return Err(Denied::WrongNode);
        }
        let challenge = Challenge { nonce: rand::rng().random() };
        let transcript = Transcript::of(cluster, hello, &challenge);
        Ok((Self { transcript, caller: hello.caller.clone() }, challenge))
    }

    /// Checks the caller's proof and gives the callee's own.
    ///
    /// # Errors
    /// [`Denied::WrongProof`]: close the link.
    pub fn finish(self, proof: &Proof) -> Result<(Session, Proof), Denied> {
        self.transcript.check(b"caller", proof)?;
        let (sealer, opener) = (self.transcript.mac(b"from callee"), self.transcript.mac(b"from caller"));
        let session = Session { peer: self.caller, sealer: Sealer::new(sealer), opener: Opener::new(opener) };
        Ok((session, Proof(self.transcript.mac(b"callee"))))
    }
}

impl Transcript {
    fn of(cluster: &Cluster, hello: &Hello, challenge: &Challenge) -> Self {
        let mut said = Vec::new();
        let parts: [&[u8]; 6] = [
            b"kirin link 1",
            cluster.id.as_bytes(),
            hello.caller.as_bytes(),
            hello.callee.as_bytes(),
            &hello.nonce,
            &challenge.nonce,
        ];
        for part in parts {
            said.extend_from_slice(&(part.len() as u64).to_be_bytes());
            said.extend_from_slice(part);
        }
        Self { secret: cluster.secret.clone(), said }
    }

    fn keyed(&self, purpose: &[u8]) -> Hmac<Sha256> {
        let key = self.secret.reveal().as_bytes();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(&(purpose.len() as u64).to_be_bytes());
        mac.update(purpose);
        mac.update(&self.said);
        mac
    }

    fn mac(&self, purpose: &[u8]) -> Tag {
        self.keyed(purpose).finalize().into_bytes().into()
    }

    fn check(&self, purpose: &[u8], proof: &Proof) -> Result<(), Denied> {
        // Compares in constant time.
        self.keyed(purpose).verify_slice(&proof.0).map_err(|_| Denied::WrongProof)
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transcript(***)")
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(***)")
    }
}

/// Gives each frame of one direction its seal.
pub struct Sealer {
    key: Tag,
    number: u64,
}

/// Checks the seals of one direction.
pub struct Opener(Sealer);

impl Sealer {
    fn new(key: Tag) -> Self {
        Self { key, number: 0 }
    }

    /// The seal of the next frame.
    pub fn seal(&mut self, frame: &[u8]) -> Tag {
        let mac = self.next(frame);
        self.number += 1;
        mac.finalize().into_bytes().into()
    }

    fn next(&self, frame: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(&self.number.to_be_bytes());
        mac.update(frame);
        mac
    }
}

impl Opener {
    fn new(key: Tag) -> Self {
        Self(Sealer::new(key))
    }

    /// Accepts the next frame if its seal is right.
    ///
    /// # Errors
    /// [`Denied::WrongSeal`]: close the link.
    pub fn open(&mut self, frame: &[u8], seal: &[u8]) -> Result<(), Denied> {
        self.0.next(frame).verify_slice(seal).map_err(|_| Denied::WrongSeal)?;
        self.0.number += 1;
        Ok(())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer(***, {} frames)", self.number)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener(***, {} frames)", self.0.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(secret: &str, id: &str) -> Cluster {
        Cluster { secret: Secret::new(secret), id: id.into() }
    }

    /// A whole handshake; the two ends may believe different things.
    fn shake(caller: Cluster, callee: &Cluster) -> Result<(Session, Session), (&'static str, Denied)> {
        let (calling, hello) = Caller::start(caller, "a", "b");
        let (called, challenge) = Callee::start(callee, "b", &hello).map_err(|d| ("hello", d))?;
        let (calling, proof) = calling.prove(&challenge);
        let (there, proof) = called.finish(&proof).map_err(|d| ("callee", d))?;
        let here = calling.finish("b", &proof).map_err(|d| ("caller", d))?;
        Ok((here, there))
    }

    #[test]
    fn two_nodes_of_a_cluster_find_each_other_and_their_frames_are_sealed() {
        let (mut here, mut there) = shake(cluster("s", "c"), &cluster("s", "c")).unwrap();
        assert_eq!((here.peer.as_str(), there.peer.as_str()), ("b", "a"));
        let seals = [here.sealer.seal(b"one"), here.sealer.seal(b"two")];
        assert_eq!(there.opener.open(b"two", &seals[1]), Err(Denied::WrongSeal), "reordered");
        assert_eq!(there.opener.open(b"one", &seals[0]), Ok(()));
        assert_eq!(there.opener.open(b"one", &seals[0]), Err(Denied::WrongSeal), "repeated");
        assert_eq!(there.opener.open(b"two!", &seals[1]), Err(Denied::WrongSeal), "changed");
        assert_eq!(there.opener.open(b"two", &seals[1]), Ok(()));
        let answer = there.sealer.seal(b"one");
        assert_ne!(answer, seals[0], "each direction has its own key");
        assert_eq!(here.opener.open(b"one", &answer), Ok(()));
    }

    #[test]
    fn another_secret_or_another_cluster_is_denied_by_the_callee_first() {
        for other in [cluster("t", "c"), cluster("s", "d")] {
            let (at, denied) = shake(other, &cluster("s", "c")).unwrap_err();
            assert_eq!((at, denied), ("callee", Denied::WrongProof));
        }
    }

    #[test]
    fn a_callee_that_can_not_prove_itself_is_denied() {
        let (calling, hello) = Caller::start(cluster("s", "c"), "a", "b");
        let (_, challenge) = Callee::start(&cluster("guess", "c"), "b", &hello).unwrap();
        let (calling, proof) = calling.prove(&challenge);
        let reflected = calling.finish("b", &proof);
        assert_eq!(reflected.unwrap_err(), Denied::WrongProof, "its own proof sent back proves nothing");
    }

    #[test]
    fn a_proof_can_not_be_replayed_and_a_call_for_another_node_is_turned_away() {
        let shared = cluster("s", "c");
        let (calling, hello) = Caller::start(shared.clone(), "a", "b");
        let (first, challenge) = Callee::start(&shared, "b", &hello).unwrap();
        let (_, proof) = calling.prove(&challenge);
        assert!(first.finish(&proof).is_ok());
        let (second, _) = Callee::start(&shared, "b", &hello).unwrap();
        assert_eq!(second.finish(&proof).unwrap_err(), Denied::WrongProof, "the challenge is another");
        assert_eq!(Callee::start(&shared, "c", &hello).unwrap_err(), Denied::WrongNode);
    }

    #[test]
    fn messages_travel_as_json_and_nothing_secret_is_printed() {
        let shared = cluster("hunter2", "c");
        let (calling, hello) = Caller::start(shared.clone(), "a", "b");
        let hello: Hello = serde_json::from_str(&serde_json::to_string(&hello).unwrap()).unwrap();
        let (called, challenge) = Callee::start(&shared, "b", &hello).unwrap();
        let (calling, proof) = calling.prove(&challenge);
        let printed = format!("{calling:?} {called:?} {proof:?} {shared:?}");
        assert!(!printed.contains("hunter2") && printed.contains("***"), "{printed}");
        let (session, _) = called.finish(&proof).unwrap();
        assert!(format!("{session:?}").contains("0 frames"));
    }
}
