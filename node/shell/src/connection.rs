//! A connection between two nodes: the handshake and the frames, as bytes on the wire.
//!
//! ```text
//! caller:  "kirin\0" version:u16   caller, callee, message 1: each length:u16 bytes
//! callee:  "kirin\0" version:u16   verdict:u8   message 2: length:u16 bytes, if the verdict is "welcome"
//! both:    frames, in one or more transport messages: each length:u16 bytes
//! ```
//! A frame is JSON preceded by its length (u32), encrypted together. Numbers are big-endian.
//!
//! The first eight bytes of each side, and the callee's version and verdict, are the same in all versions. So nodes can
//! detect that their versions differ. The verdict is not authenticated. It only makes the caller pause and tells an
//! operator what to do.
//!
//! Every length is checked before memory is allocated for it. Deadlines are the caller's responsibility.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::handshake::{self, ANSWER_MAX, Caller, Cluster, Denied, Entropy, Hello, PAYLOAD_MAX, Session, VERSION};

const MAGIC: [u8; 6] = *b"kirin\0";
/// The maximum length of a frame.
const FRAME_MAX: usize = 16 << 20;
/// The maximum length of a node's name.
const NAME_MAX: usize = 1024;
/// How much of a call in another version is read, so that a reset does not discard the answer.
const UNREAD_MAX: u64 = 4 << 10;

const WELCOME: u8 = 0;
const WRONG_NODE: u8 = 1;
const WRONG_SECRET: u8 = 2;
const OTHER_VERSION: u8 = 3;

/// Why two processes cannot have a link, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The other end does not start with the preface of this protocol.
    #[error(
        "the other end does not speak Kirin's link protocol; it is another program, or an older version of Kirin: run the same \
         version on all nodes, and check kirin.link.port"
    )]
    NotKirin,
    /// The other end speaks another version of the protocol.
    #[error(
        "the other end speaks version {0} of the link protocol, this node version {VERSION}: run the same version of Kirin on \
         all nodes"
    )]
    OtherVersion(u16),
    /// The other end has another secret or belongs to another cluster.
    #[error(
        "the other end does not have this cluster's secret: check that both nodes use the same metastore, and restart a node \
         that was started before the metastore was restored"
    )]
    WrongSecret,
    /// The address belongs to another node.
    #[error("another node answers at this address: check the advertised addresses and kirin.link.port of both")]
    WrongNode,
    /// The other end closed the connection without an answer. It may be stopping, be overloaded, or not know the protocol.
    #[error(
        "the other end closes the connection without an answer; it has too many callers, or runs an older version of Kirin: \
         read its log, and run the same version on all nodes"
    )]
    HungUp,
}

impl Refused {
    /// The refusal behind an I/O error, if it is one.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, refused)
    }
}

/// A connection after a successful handshake.
pub(crate) struct Connection<S> {
    stream: S,
    session: Session,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Calls the node `callee`. Also returns the callee's payload.
    pub(crate) async fn call(
        mut stream: S,
        cluster: &Cluster,
        entropy: &Entropy,
        me: &str,
        callee: &str,
    ) -> io::Result<(Self, Vec<u8>)> {
        let (caller, hello) = Caller::start(cluster, entropy, me, callee).map_err(denied)?;
        let mut call = preface();
        for field in [hello.caller.as_bytes(), hello.callee.as_bytes(), &hello.message] {
            put_field(&mut call, field)?;
        }
        let answered = async {
            stream.write_all(&call).await?;
            stream.flush().await?;
            read_preface(&mut stream).await
        };
        answered.await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Refused::HungUp.into()
            }
            _ => error,
        })?;
        match stream.read_u8().await? {
            WELCOME => {}
            WRONG_NODE => return Err(Refused::WrongNode.into()),
            WRONG_SECRET => return Err(Refused::WrongSecret.into()),
            _ => return Err(malformed("unknown verdict")),
        }
        let message = read_field(&mut stream, ANSWER_MAX).await?;
        let (session, payload) = caller.finish(&message).map_err(denied)?;
        Ok((Self { stream, session }, payload))
    }

    /// Answers a call to the node `me`, and sends `payload`.
    ///
    /// The caller may be a replay until its first frame arrives.
    pub(crate) async fn accept(
        mut stream: S,
        cluster: &Cluster,
        entropy: &Entropy,
        me: &str,
        payload: &[u8],
    ) -> io::Result<Self> {
        if let Err(error) = read_preface(&mut stream).await {
            if let Some(Refused::OtherVersion(_)) = Refused::of(&error) {
                reject(&mut stream, OTHER_VERSION).await?;
            }
            return Err(error);
        }
        let caller = read_name(&mut stream).await?;
        let callee = read_name(&mut stream).await?;
        let message = read_field(&mut stream, ANSWER_MAX).await?;
        let hello = Hello { caller, callee, message };
        match handshake::answer(cluster, entropy, me, &hello, payload) {
            Ok((session, message)) => {
                let mut answer = preface();
                answer.push(WELCOME);
                put_field(&mut answer, &message)?;
                stream.write_all(&answer).await?;
                stream.flush().await?;
                Ok(Self { stream, session })
            }
            Err(why) => {
                match why {
                    Denied::WrongNode => reject(&mut stream, WRONG_NODE).await?,
                    Denied::WrongSecret => reject(&mut stream, WRONG_SECRET).await?,
                    Denied::Tampered | Denied::TooLong | Denied::NoEntropy => {}
                }
                Err(denied(why))
            }
        }
    }

    /// Sends a frame.
    pub(crate) async fn send<T: Serialize>(&mut self, frame: &T) -> io::Result<()> {
        let mut plain = vec![0; 4];
        serde_json::to_writer(&mut plain, frame)?;
        let len = plain.len() - 4;
        if len > FRAME_MAX {
            return Err(malformed("a frame is too long"));
        }
        plain[..4].copy_from_slice(&u32::try_from(len).map_err(io::Error::other)?.to_be_bytes());
        let mut sealed = Vec::with_capacity(plain.len() + 64);
        for part in plain.chunks(PAYLOAD_MAX) {
            put_field(&mut sealed, &self.session.seal(part).map_err(denied)?)?;
        }
        self.stream.write_all(&sealed).await?;
        self.stream.flush().await
    }

    /// Receives a frame. Not cancel safe: after a cancellation, the connection is unusable.
    pub(crate) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let first = self.receive_message().await?;
        let (len, rest) = first.split_first_chunk::<4>().ok_or_else(|| malformed("a frame has no length"))?;
        let len = u32::from_be_bytes(*len) as usize;
        if len > FRAME_MAX {
            return Err(malformed("a frame is too long"));
        }
        let mut frame = rest.to_vec();
        while frame.len() < len {
            let part = self.receive_message().await?;
            if part.is_empty() {
                return Err(malformed("an empty message"));
            }
            frame.extend_from_slice(&part);
        }
        if frame.len() > len {
            return Err(malformed("a frame is longer than it says"));
        }
        Ok(serde_json::from_slice(&frame)?)
    }

    /// Waits until the other end closes the connection or sends something unexpected. Cancel safe.
    pub(crate) async fn hung_up(&mut self) -> io::Error {
        self.stream.read_u8().await.err().unwrap_or_else(|| malformed("out of turn"))
    }

    async fn receive_message(&mut self) -> io::Result<Vec<u8>> {
        let message = read_field(&mut self.stream, usize::from(u16::MAX)).await?;
        self.session.open(&message).map_err(denied)
    }
}

pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn denied(why: Denied) -> io::Error {
    match why {
        Denied::WrongNode => Refused::WrongNode.into(),
        Denied::WrongSecret => Refused::WrongSecret.into(),
        Denied::Tampered | Denied::TooLong => io::Error::new(io::ErrorKind::InvalidData, why),
        Denied::NoEntropy => io::Error::other(why),
    }
}

fn preface() -> Vec<u8> {
    [MAGIC.as_slice(), &VERSION.to_be_bytes()].concat()
}

async fn read_preface(from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic).await?;
    if magic != MAGIC {
        return Err(Refused::NotKirin.into());
    }
    match from.read_u16().await? {
        VERSION => Ok(()),
        other => Err(Refused::OtherVersion(other).into()),
    }
}

/// Tells the caller why there is no link. Its unread bytes are drained first, because closing with unread data would
/// discard the verdict.
async fn reject(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), verdict: u8) -> io::Result<()> {
    let mut answer = preface();
    answer.push(verdict);
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    let mut unread = stream.take(UNREAD_MAX);
    tokio::io::copy(&mut unread, &mut tokio::io::sink()).await?;
    Ok(())
}

fn put_field(to: &mut Vec<u8>, field: &[u8]) -> io::Result<()> {
    let len = u16::try_from(field.len()).map_err(|_| malformed("a field is too long"))?;
    to.extend_from_slice(&len.to_be_bytes());
    to.extend_from_slice(field);
    Ok(())
}

async fn read_field(from: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Vec<u8>> {
    let len = usize::from(from.read_u16().await?);
    if len > max {
        return Err(malformed("a field is too long"));
    }
    let mut field = vec![0; len];
    from.read_exact(&mut field).await?;
    Ok(field)
}

async fn read_name(from: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    String::from_utf8(read_field(from, NAME_MAX).await?).map_err(|_| malformed("a name is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::secret::Secret;

    type Ends = (Connection<DuplexStream>, Connection<DuplexStream>);

    fn cluster(secret: &str) -> Cluster {
        Cluster { secret: Secret::new(secret), id: "c".to_owned() }
    }

    async fn accept(stream: DuplexStream, secret: &str) -> io::Result<Connection<DuplexStream>> {
        Connection::accept(stream, &cluster(secret), &Entropy::system(), "b", b"me").await
    }

    async fn call(stream: DuplexStream, secret: &str) -> io::Result<Connection<DuplexStream>> {
        let (connection, said) = Connection::call(stream, &cluster(secret), &Entropy::system(), "a", "b").await?;
        assert_eq!(said, b"me");
        Ok(connection)
    }

    async fn connected() -> Ends {
        let (one, other) = duplex(32 << 20);
        let (one, other) = tokio::join!(call(one, "s"), accept(other, "s"));
        (one.unwrap(), other.unwrap())
    }

    /// How the other end reacts to these bytes in place of a call.
    async fn accept_bytes(bytes: &[u8]) -> (io::Error, Vec<u8>) {
        let (mut one, other) = duplex(1 << 20);
        one.write_all(bytes).await.unwrap();
        one.shutdown().await.unwrap();
        let error = accept(other, "s").await.err().unwrap();
        let mut answer = Vec::new();
        one.read_to_end(&mut answer).await.unwrap();
        (error, answer)
    }

    fn hello(secret: &str) -> Vec<u8> {
        let (_, hello) = Caller::start(&cluster(secret), &Entropy::system(), "a", "b").unwrap();
        let mut call = preface();
        for field in [hello.caller.as_bytes(), hello.callee.as_bytes(), &hello.message] {
            put_field(&mut call, field).unwrap();
        }
        call
    }

    #[tokio::test]
    async fn frames_of_every_size_arrive() {
        let (mut one, mut other) = connected().await;
        for len in [0, 1, PAYLOAD_MAX - 7, PAYLOAD_MAX - 6, PAYLOAD_MAX - 5, 3 * PAYLOAD_MAX] {
            let text = "x".repeat(len);
            one.send(&text).await.unwrap();
            assert!(other.receive::<String>().await.unwrap() == text, "{len} bytes");
        }
    }

    #[tokio::test]
    async fn a_frame_above_the_limit_is_neither_sent_nor_received() {
        let (mut one, mut other) = connected().await;
        let error = one.send(&"x".repeat(FRAME_MAX - 1)).await.unwrap_err();
        assert_eq!(error.to_string(), "a frame is too long");
        // A peer that announces a longer frame is disconnected.
        let too_long = u32::try_from(FRAME_MAX + 1).unwrap().to_be_bytes();
        let mut sealed = Vec::new();
        put_field(&mut sealed, &one.session.seal(&too_long).unwrap()).unwrap();
        one.stream.write_all(&sealed).await.unwrap();
        assert_eq!(other.receive::<String>().await.unwrap_err().to_string(), "a frame is too long");
    }

    #[tokio::test]
    async fn a_frame_whose_length_is_wrong_is_refused() {
        for (parts, why) in [
            (vec![&b"abc"[..]], "a frame has no length"),
            (vec![b"\0\0\0\x01ab"], "a frame is longer than it says"),
            (vec![b"\0\0\0\x04ab", b""], "an empty message"),
        ] {
            let (mut one, mut other) = connected().await;
            for part in parts {
                let mut sealed = Vec::new();
                put_field(&mut sealed, &one.session.seal(part).unwrap()).unwrap();
                one.stream.write_all(&sealed).await.unwrap();
            }
            assert_eq!(other.receive::<String>().await.unwrap_err().to_string(), why);
        }
    }

    #[tokio::test]
    async fn a_changed_or_truncated_frame_ends_the_connection() {
        let sealed = |one: &mut Connection<DuplexStream>| one.session.seal(b"\0\0\0\x03\"x\"").unwrap();
        let len = 2 + sealed(&mut connected().await.0).len();
        for changed in 0..len {
            let (mut one, mut other) = connected().await;
            let mut bytes = Vec::new();
            put_field(&mut bytes, &sealed(&mut one)).unwrap();
            bytes[changed] ^= 1;
            one.stream.write_all(&bytes).await.unwrap();
            one.stream.shutdown().await.unwrap();
            let error = other.receive::<String>().await.unwrap_err();
            assert!(
                matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof),
                "byte {changed}: {error:?}"
            );
        }
        for cut in 0..len {
            let (mut one, mut other) = connected().await;
            let mut bytes = Vec::new();
            put_field(&mut bytes, &sealed(&mut one)).unwrap();
            one.stream.write_all(&bytes[..cut]).await.unwrap();
            one.stream.shutdown().await.unwrap();
            assert_eq!(
                other.receive::<String>().await.unwrap_err().kind(),
                io::ErrorKind::UnexpectedEof,
                "{cut} bytes"
            );
        }
    }

    #[tokio::test]
    async fn both_ends_detect_different_secrets() {
        let (one, other) = duplex(1 << 16);
        let (one, other) = tokio::join!(call(one, "guess"), accept(other, "s"));
        let [one, other] = [one, other].map(|end| Refused::of(&end.err().unwrap()));
        assert_eq!([one, other], [Some(Refused::WrongSecret); 2]);
    }

    #[tokio::test]
    async fn both_ends_detect_a_call_for_another_node() {
        let (one, other) = duplex(1 << 16);
        let (entropy, shared) = (Entropy::system(), cluster("s"));
        let (one, other) = tokio::join!(
            Connection::call(one, &shared, &entropy, "a", "b"),
            Connection::accept(other, &shared, &entropy, "c", b"me"),
        );
        assert_eq!(Refused::of(&one.err().unwrap()), Some(Refused::WrongNode));
        assert_eq!(Refused::of(&other.err().unwrap()), Some(Refused::WrongNode));
    }

    #[tokio::test]
    async fn both_ends_detect_different_versions() {
        let mut call_of_tomorrow = MAGIC.to_vec();
        call_of_tomorrow.extend_from_slice(&3_u16.to_be_bytes());
        call_of_tomorrow.extend_from_slice(&[7; 2000]);
        let (error, answer) = accept_bytes(&call_of_tomorrow).await;
        assert_eq!(Refused::of(&error), Some(Refused::OtherVersion(3)));
        assert_eq!(answer, [b"kirin\0\0\x02".as_slice(), &[OTHER_VERSION]].concat());

        let (one, mut other) = duplex(1 << 16);
        other.write_all(b"kirin\0\0\x03").await.unwrap();
        let error = call(one, "s").await.err().unwrap();
        assert_eq!(Refused::of(&error), Some(Refused::OtherVersion(3)));
        assert!(error.to_string().contains("version 3 of the link protocol, this node version 2"), "{error}");
    }

    #[tokio::test]
    async fn the_protocol_of_an_older_version_is_recognized() {
        // Its callers begin with the length of a JSON text. Its callees read our call as a text that is too long.
        let (error, answer) = accept_bytes(b"\0\0\0\x2a{\"nonce\":[1,2,3],\"caller\":\"a\",\"callee\":\"b\"}").await;
        assert_eq!(Refused::of(&error), Some(Refused::NotKirin));
        assert_eq!(answer, b"");
        let (one, other) = duplex(1 << 16);
        drop(other);
        assert_eq!(Refused::of(&call(one, "s").await.err().unwrap()), Some(Refused::HungUp));
        let (one, mut other) = duplex(1 << 16);
        other.shutdown().await.unwrap();
        assert_eq!(Refused::of(&call(one, "s").await.err().unwrap()), Some(Refused::HungUp));
    }

    #[tokio::test]
    async fn an_oversized_call_is_refused_before_it_is_read() {
        for (field, max) in [(0, NAME_MAX), (1, NAME_MAX), (2, ANSWER_MAX)] {
            let mut call = preface();
            for _ in 0..field {
                put_field(&mut call, b"b").unwrap();
            }
            call.extend_from_slice(&u16::try_from(max + 1).unwrap().to_be_bytes());
            let (error, answer) = accept_bytes(&call).await;
            assert_eq!((error.to_string().as_str(), answer.as_slice()), ("a field is too long", &b""[..]), "{field}");
        }
    }

    #[tokio::test]
    async fn a_truncated_call_is_not_answered() {
        let call = hello("s");
        for len in 0..call.len() {
            let (error, answer) = accept_bytes(&call[..len]).await;
            assert_eq!((error.kind(), answer.as_slice()), (io::ErrorKind::UnexpectedEof, &b""[..]), "{len} bytes");
        }
    }

    #[tokio::test]
    async fn a_replayed_call_does_not_get_a_frame_through() {
        let (recorded, mut tail) = (hello("s"), Vec::new());
        // The rest of the recording is encrypted with other keys.
        put_field(&mut tail, &[7; 40]).unwrap();
        let (mut one, other) = duplex(1 << 16);
        one.write_all(&[recorded, tail].concat()).await.unwrap();
        let mut accepted = accept(other, "s").await.unwrap();
        assert_eq!(accepted.receive::<String>().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
