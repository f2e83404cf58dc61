//! Links between nodes: nudges, questions, and the most certain evidence of death.
//!
//! A node keeps one TCP connection to each member that it watches. When the process at the other end dies, its host's
//! kernel closes the connection at once: a *hint*. The core then orders a *probe*: if the same kernel refuses a new
//! connection, no process listens there any more, and that is evidence.
//!
//! Both ends prove that they know the cluster's secret before a byte of content flows ([`crate::proof`]), and say which
//! member they are. Frames are JSON behind a length of four bytes and a seal. Nothing that is said here is ever *true*: it
//! makes the receiver look.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::BoxFuture;
use kirin_core::effect::Nudge;
use kirin_core::event::Met;
use kirin_core::{Event, Member};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::proof::{Callee, Caller, Challenge, Cluster, Hello, Opener, Proof, Sealer, Session};
use crate::shell::Mind;

/// How long a connection or a reply may take before the other end counts as not answering.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause between attempts at a link that could not be made.
const RELINK: Duration = Duration::from_millis(500);
/// A probe that meets a dying process looks again after this pause, so many times.
const PROBE_AGAIN: (Duration, u32) = (Duration::from_millis(15), 40);
/// Longer frames are refused: nobody sends them.
const FRAME_MAX: usize = 16 << 20;
/// The same for those who have not proved themselves yet.
const GREETING_MAX: usize = 4 << 10;

type From = ReadHalf<TcpStream>;
type To = WriteHalf<TcpStream>;

/// What one node says to another.
#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    /// After the handshake: who speaks.
    Hello(Option<Member>),
    /// A hint from mind to mind.
    Nudge(Nudge),
    /// Something that an operator wants of the receiver.
    Wish(Event),
    /// Something to look up in the receiver's mind.
    Question(Question),
    /// The answer to it.
    Reply(serde_json::Value),
    /// The last word of whoever hangs up. A connection that ends without it has broken.
    Bye,
}

/// What can be asked of another node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Question {
    /// Its view of itself.
    View,
    /// Why a job does not start, as its own queue sees it.
    Why(u64),
}

/// Where members are.
pub trait Addresses: Send + Sync + 'static {
    /// Where the member is; `None` if it isn't alive or nobody knows.
    fn find(&self, member: Member) -> BoxFuture<'_, Option<Address>>;
}

/// A member as its peers reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its name, which it has to prove.
    pub name: String,
    /// Host and port.
    pub at: String,
}

/// The links of one node.
#[derive(Clone)]
pub struct Links {
    cluster: Cluster,
    name: Arc<str>,
    addresses: Arc<dyn Addresses>,
    mind: Mind,
    me: Arc<RwLock<Option<Member>>>,
    open: Arc<RwLock<BTreeMap<Member, Link>>>,
}

#[derive(Clone)]
struct Link {
    frames: mpsc::UnboundedSender<Frame>,
    watched: bool,
}

impl Links {
    /// The links of the node `name`, whose core is `mind`.
    pub fn new(cluster: Cluster, name: &str, addresses: Arc<dyn Addresses>, mind: Mind) -> Self {
        Self { cluster, name: name.into(), addresses, mind, me: Arc::default(), open: Arc::default() }
    }

    /// Says under which identity this node speaks from here on.
    pub fn identify(&self, me: Option<Member>) {
        *self.me.write().unwrap_or_else(PoisonError::into_inner) = me;
    }

    fn me(&self) -> Option<Member> {
        *self.me.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts links for as long as the process lives.
    pub async fn serve(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let links = self.clone();
                    tokio::spawn(async move {
                        if let Err(error) = links.answer(stream).await {
                            tracing::debug!(%error, "a link ended");
                        }
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: give others the time to close theirs.
                    tracing::warn!(%error, "cannot accept links");
                    tokio::time::sleep(RELINK).await;
                }
            }
        }
    }

    async fn answer(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut talk, peer) = timeout(PATIENCE, self.admit(stream)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        loop {
            match talk.receive().await {
                Ok(Frame::Nudge(nudge)) => self.mind.tell(match nudge {
                    Nudge::Jobs(rows) => Event::Heard(rows),
                    Nudge::Orphans(orphans) => Event::Inherited(orphans),
                    Nudge::Lists => Event::ListsChanged,
                }),
                Ok(Frame::Wish(event)) => self.mind.tell(event),
                Ok(Frame::Question(question)) => {
                    let reply = self.mind.reply(question).await;
                    talk.send(&Frame::Reply(reply)).await?;
                }
                Ok(Frame::Bye) => return Ok(()),
                Ok(Frame::Hello(_) | Frame::Reply(_)) => return Err(strange("out of turn")),
                Err(error) => {
                    // Whoever watched this node may have died.
                    if let Some(peer) = peer.filter(|peer| self.is_watched(*peer)) {
                        self.mind.tell(Event::Suspected(peer));
                    }
                    return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) };
                }
            }
        }
    }

    fn is_watched(&self, member: Member) -> bool {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(&member).is_some_and(|link| link.watched)
    }

    /// Keeps a link to each of these members and reports when one breaks.
    pub fn watch(&self, members: &[Member]) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.retain(|member, _| members.contains(member));
        for member in members {
            open.entry(*member).or_insert_with(|| self.open_link(*member, true)).watched = true;
        }
    }

    /// Sends a nudge, over the link that is open or one that is opened for it.
    pub fn nudge(&self, to: Member, nudge: Nudge) {
        self.send(to, Frame::Nudge(nudge));
    }

    /// Tells another node what an operator wants of it.
    pub fn wish(&self, to: Member, event: Event) {
        self.send(to, Frame::Wish(event));
    }

    fn send(&self, to: Member, frame: Frame) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let link = open.entry(to).or_insert_with(|| self.open_link(to, false));
        if let Err(mpsc::error::SendError(frame)) = link.frames.send(frame) {
            *link = self.open_link(to, link.watched);
            // A new link takes at least one frame.
            let _ = link.frames.send(frame);
        }
    }

    fn open_link(&self, to: Member, watched: bool) -> Link {
        let (frames, inbox) = mpsc::unbounded_channel();
        let links = self.clone();
        tokio::spawn(async move { links.keep(to, inbox, watched).await });
        Link { frames, watched }
    }

    /// Keeps one link until nobody wants it any more. A link that is not watched ends when it breaks.
    async fn keep(self, to: Member, mut inbox: mpsc::UnboundedReceiver<Frame>, watched: bool) {
        loop {
            let ended = self.run_link(to, &mut inbox).await;
            match ended {
                Ok(()) => return,
                Err(error) => tracing::debug!(?to, %error, "a link broke"),
            }
            let watched = watched || self.is_watched(to);
            if !watched || inbox.is_closed() {
                return;
            }
            self.mind.tell(Event::Suspected(to));
            tokio::time::sleep(RELINK).await;
        }
    }

    async fn run_link(&self, to: Member, inbox: &mut mpsc::UnboundedReceiver<Frame>) -> io::Result<()> {
        let (mut talk, met) = self.call(to).await?;
        if met != Some(to) {
            return Err(strange("another member answers at that address"));
        }
        loop {
            tokio::select! {
                biased;
                frame = inbox.recv() => match frame {
                    Some(frame) => talk.send(&frame).await?,
                    None => {
                        talk.part().await;
                        return Ok(());
                    }
                },
                heard = talk.from.read_u8() => return Err(heard.err().unwrap_or_else(|| strange("out of turn"))),
            }
        }
    }

    async fn connect(&self, to: Member) -> io::Result<(TcpStream, Address)> {
        let address = self.addresses.find(to).await.ok_or(io::ErrorKind::NotFound)?;
        let connect = TcpStream::connect(address.at.as_str());
        let stream = timeout(PATIENCE, connect).await.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        Ok((stream, address))
    }

    async fn call(&self, to: Member) -> io::Result<(Talk, Option<Member>)> {
        let (stream, address) = self.connect(to).await?;
        timeout(PATIENCE, self.greet(stream, &address.name)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Proves itself to the node `callee` and learns as which member it answers.
    async fn greet(&self, stream: TcpStream, callee: &str) -> io::Result<(Talk, Option<Member>)> {
        let (mut from, mut to) = tokio::io::split(stream);
        let (caller, hello) = Caller::start(self.cluster.clone(), &self.name, callee);
        write_greeting(&mut to, &hello).await?;
        let (caller, proof) = caller.prove(&read_greeting::<Challenge>(&mut from).await?);
        write_greeting(&mut to, &proof).await?;
        let session = caller.finish(callee, &read_greeting(&mut from).await?).map_err(denied)?;
        let mut talk = Talk::new(from, to, session);
        talk.send(&Frame::Hello(self.me())).await?;
        match talk.receive().await? {
            Frame::Hello(member) => Ok((talk, member)),
            _ => Err(strange("expected a hello")),
        }
    }

    /// Lets somebody prove itself and learns which member it is.
    async fn admit(&self, stream: TcpStream) -> io::Result<(Talk, Option<Member>)> {
        let (mut from, mut to) = tokio::io::split(stream);
        let hello: Hello = read_greeting(&mut from).await?;
        let (callee, challenge) = Callee::start(&self.cluster, &self.name, &hello).map_err(denied)?;
        write_greeting(&mut to, &challenge).await?;
        let (session, proof) = callee.finish(&read_greeting::<Proof>(&mut from).await?).map_err(denied)?;
        write_greeting(&mut to, &proof).await?;
        let mut talk = Talk::new(from, to, session);
        let Frame::Hello(peer) = talk.receive().await? else { return Err(strange("expected a hello")) };
        talk.send(&Frame::Hello(self.me())).await?;
        Ok((talk, peer))
    }

    /// Looks whether a process listens at the member's address.
    pub fn probe(&self, member: Member) {
        let links = self.clone();
        tokio::spawn(async move {
            let met = links.look(member).await;
            tracing::debug!(?member, ?met, "probed");
            links.mind.tell(Event::Probed { member, met });
        });
    }

    async fn look(&self, member: Member) -> Met {
        let (pause, times) = PROBE_AGAIN;
        for _ in 0..times {
            match self.connect(member).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Met::Refused,
                Err(_) => return Met::Nothing,
                Ok((stream, address)) => match timeout(PATIENCE, self.greet(stream, &address.name)).await {
                    Ok(Ok((talk, met))) => {
                        talk.part().await;
                        // Without an identity it listens, but is no member at this moment.
                        return met.map_or(Met::Nothing, Met::Alive);
                    }
                    Err(_) => return Met::Nothing,
                    // A dying process: its connections close a moment before its listener does.
                    Ok(Err(_)) => tokio::time::sleep(pause).await,
                },
            }
        }
        Met::Nothing
    }

    /// Asks another node to look something up.
    ///
    /// # Errors
    /// If the node could not be reached or did not answer in time.
    pub async fn question(&self, to: Member, question: Question) -> io::Result<serde_json::Value> {
        let (mut talk, _) = self.call(to).await?;
        let reply = async {
            talk.send(&Frame::Question(question)).await?;
            match talk.receive().await? {
                Frame::Reply(value) => Ok(value),
                _ => Err(strange("expected a reply")),
            }
        };
        let reply = timeout(PATIENCE, reply).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        talk.part().await;
        reply
    }
}

/// A link whose two ends have proved themselves.
struct Talk {
    from: From,
    to: To,
    sealer: Sealer,
    opener: Opener,
}

impl Talk {
    fn new(from: From, to: To, session: Session) -> Self {
        Self { from, to, sealer: session.sealer, opener: session.opener }
    }

    async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let block = serde_json::to_vec(frame)?;
        let seal = self.sealer.seal(&block);
        self.to.write_all(&length(&block)?).await?;
        self.to.write_all(&seal).await?;
        self.to.write_all(&block).await?;
        self.to.flush().await
    }

    /// Hangs up, so that the other end does not take the end of this connection for a death.
    async fn part(mut self) {
        // Whoever is not there any more to hear it draws its own conclusions.
        let _ = timeout(PATIENCE, self.send(&Frame::Bye)).await;
    }

    async fn receive(&mut self) -> io::Result<Frame> {
        let len = self.from.read_u32().await?;
        let mut seal = [0; 32];
        self.from.read_exact(&mut seal).await?;
        let block = read_block(&mut self.from, len, FRAME_MAX).await?;
        self.opener.open(&block, &seal).map_err(denied)?;
        Ok(serde_json::from_slice(&block)?)
    }
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn denied(denied: crate::proof::Denied) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, denied)
}

fn length(block: &[u8]) -> io::Result<[u8; 4]> {
    Ok(u32::try_from(block.len()).map_err(|_| strange("a frame is too long"))?.to_be_bytes())
}

async fn read_block(from: &mut From, len: u32, max: usize) -> io::Result<Vec<u8>> {
    if len as usize > max {
        return Err(strange("a frame is too long"));
    }
    let mut block = vec![0; len as usize];
    from.read_exact(&mut block).await?;
    Ok(block)
}

async fn write_greeting<T: Serialize>(to: &mut To, greeting: &T) -> io::Result<()> {
    let block = serde_json::to_vec(greeting)?;
    to.write_all(&length(&block)?).await?;
    to.write_all(&block).await?;
    to.flush().await
}

async fn read_greeting<T: DeserializeOwned>(from: &mut From) -> io::Result<T> {
    let len = from.read_u32().await?;
    Ok(serde_json::from_slice(&read_block(from, len, GREETING_MAX).await?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::shell::Inputs;

    struct Fixed(BTreeMap<Member, Address>);

    impl Addresses for Fixed {
        fn find(&self, member: Member) -> BoxFuture<'_, Option<Address>> {
            Box::pin(std::future::ready(self.0.get(&member).cloned()))
        }
    }

    /// Two nodes that watch each other: the first accepts links, those to the second are handed over with it.
    async fn pair() -> (Links, (Links, Inputs, TcpListener)) {
        let [one, other] = [1, 2].map(|node| Member::new(node, 1).expect("an incarnation"));
        let listeners = [listen().await, listen().await];
        let addresses = [(one, &listeners[0]), (other, &listeners[1])].map(|(member, listener)| {
            let at = listener.local_addr().expect("bound").to_string();
            (member, Address { name: member.node.0.to_string(), at })
        });
        let addresses = Arc::new(Fixed(addresses.into()));
        let links = [one, other].map(|member| {
            let (mind, inputs) = Mind::new();
            let cluster = Cluster { secret: Secret::new("s"), id: "c".to_owned() };
            let links = Links::new(cluster, &member.node.0.to_string(), addresses.clone(), mind);
            links.identify(Some(member));
            (links, inputs)
        });
        let [(first, _), (second, inputs)] = links;
        let [first_at, second_at] = listeners;
        tokio::spawn(first.clone().serve(first_at));
        second.watch(&[one]);
        (first, (second, inputs, second_at))
    }

    async fn listen() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.expect("a free port")
    }

    #[tokio::test]
    async fn who_hangs_up_is_not_suspected_and_whose_connection_breaks_is() {
        let (first, (second, mut inputs, listener)) = pair().await;
        let me = first.me().expect("identified");
        let other = second.me().expect("identified");

        let (met, answered) = tokio::join!(first.look(other), async {
            second.answer(listener.accept().await.expect("a caller").0).await
        });
        assert_eq!(met, Met::Alive(other));
        answered.expect("it said good-bye");
        assert_eq!(inputs.facts(), [], "a probe is no reason to probe the prober");

        let ((), answered) = tokio::join!(async { drop(first.call(other).await.expect("an answer")) }, async {
            second.answer(listener.accept().await.expect("a caller").0).await
        });
        // The kernel may also reset a connection on which something was left unread.
        drop(answered);
        assert_eq!(inputs.facts(), [Event::Suspected(me)]);
    }
}
