//! Links between nodes: nudges, questions, and the most certain evidence of death.
//!
//! A node keeps one TCP connection to each member that it watches. When the process at the other end dies, its host's
//! kernel closes the connection at once: a *hint*. The core then orders a *probe*: if the same kernel refuses a new
//! connection, no process listens there any more, and that is evidence.
//!
//! A host that loses its power or its wires closes nothing, and a kernel goes on sending into the void for a quarter of an
//! hour. So whoever watches asks now and then whether the other end still hears it, and opens another link if it does not;
//! whoever is not asked any more lets go. A link that was opened for one nudge ends soon after it.
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
use tokio::time::{sleep_until, timeout};

use crate::clock::instant_tokio;
use crate::proof::{Callee, Caller, Challenge, Cluster, Hello, Opener, Proof, Sealer, Session};
use crate::shell::Mind;

/// How long a connection or a reply may take before the other end counts as not answering.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause between attempts at a link that could not be made.
const RELINK: Duration = Duration::from_millis(500);
/// A probe that meets a dying process looks again after this pause, so many times.
const PROBE_AGAIN: (Duration, u32) = (Duration::from_millis(15), 40);
/// How often the one who opened a link asks whether the other end still hears it, or hangs up if nobody wants to know.
const PING_EVERY: Duration = Duration::from_secs(5);
/// A link on which so long nothing was said is nobody's any more.
const SILENCE_MAX: Duration = Duration::from_secs(15);
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
    /// Whether the receiver still hears.
    Ping,
    /// It does.
    Pong,
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
        let (mut talk, peer) = within(PATIENCE, self.admit(stream)).await?;
        loop {
            match within(SILENCE_MAX, talk.receive()).await {
                Ok(Frame::Nudge(nudge)) => self.mind.tell(match nudge {
                    Nudge::Jobs(rows) => Event::Heard(rows),
                    Nudge::Orphans(orphans) => Event::Inherited(orphans),
                    Nudge::Lists => Event::ListsChanged,
                }),
                Ok(Frame::Wish(event)) => self.mind.tell(event),
                Ok(Frame::Question(question)) => {
                    let reply = self.mind.reply(question).await;
                    within(PATIENCE, talk.send(&Frame::Reply(reply))).await?;
                }
                Ok(Frame::Ping) => within(PATIENCE, talk.send(&Frame::Pong)).await?,
                Ok(Frame::Bye) => return Ok(()),
                Ok(Frame::Hello(_) | Frame::Reply(_) | Frame::Pong) => return Err(strange("out of turn")),
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
        // A link that was not watched may have ended.
        open.retain(|member, link| members.contains(member) && !link.frames.is_closed());
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
        tokio::spawn(async move { links.keep(to, inbox).await });
        Link { frames, watched }
    }

    /// Keeps one link until nobody wants it any more. A link that is not watched ends when it breaks or falls silent.
    async fn keep(self, to: Member, mut inbox: mpsc::UnboundedReceiver<Frame>) {
        loop {
            let ended = self.run_link(to, &mut inbox).await;
            match ended {
                Ok(()) => return,
                Err(error) => tracing::debug!(?to, %error, "a link broke"),
            }
            if inbox.is_closed() || !self.is_wanted(to, &mut inbox) {
                return;
            }
            self.mind.tell(Event::Suspected(to));
            tokio::time::sleep(RELINK).await;
        }
    }

    /// Whether the link is kept though there is nothing to send. If not, it takes no more frames.
    fn is_wanted(&self, to: Member, inbox: &mut mpsc::UnboundedReceiver<Frame>) -> bool {
        // Held meanwhile: nobody begins to watch over a link that ends.
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let is_watched = open.get(&to).is_some_and(|link| link.watched);
        if !is_watched {
            inbox.close();
        }
        is_watched
    }

    async fn run_link(&self, to: Member, inbox: &mut mpsc::UnboundedReceiver<Frame>) -> io::Result<()> {
        let (mut talk, met) = self.call(to).await?;
        if met != Some(to) {
            return Err(strange("another member answers at that address"));
        }
        let mut ping_at = instant_tokio() + PING_EVERY;
        loop {
            tokio::select! {
                biased;
                frame = inbox.recv() => match frame {
                    Some(frame) => within(PATIENCE, talk.send(&frame)).await?,
                    None => {
                        talk.part().await;
                        return Ok(());
                    }
                },
                heard = talk.from.read_u8() => return Err(heard.err().unwrap_or_else(|| strange("out of turn"))),
                () = sleep_until(ping_at), if !inbox.is_closed() => {
                    if self.is_wanted(to, inbox) {
                        within(PATIENCE, talk.ping()).await?;
                    }
                    ping_at = instant_tokio() + PING_EVERY;
                }
            }
        }
    }

    async fn connect(&self, to: Member) -> io::Result<(TcpStream, Address)> {
        let address = self.addresses.find(to).await.ok_or(io::ErrorKind::NotFound)?;
        let stream = within(PATIENCE, TcpStream::connect(address.at.as_str())).await?;
        stream.set_nodelay(true)?;
        Ok((stream, address))
    }

    async fn call(&self, to: Member) -> io::Result<(Talk, Option<Member>)> {
        let (stream, address) = self.connect(to).await?;
        within(PATIENCE, self.greet(stream, &address.name)).await
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
        let reply = within(PATIENCE, reply).await;
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

    /// Returns when the other end has answered.
    async fn ping(&mut self) -> io::Result<()> {
        self.send(&Frame::Ping).await?;
        match self.receive().await? {
            Frame::Pong => Ok(()),
            _ => Err(strange("expected a pong")),
        }
    }

    /// Hangs up, so that the other end does not take the end of this connection for a death.
    async fn part(mut self) {
        // Whoever is not there any more to hear it draws its own conclusions.
        let _ = within(PATIENCE, self.send(&Frame::Bye)).await;
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

/// What takes longer is given up.
async fn within<T>(span: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(span, what).await.map_err(|_| io::ErrorKind::TimedOut)?
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
    async fn who_is_watched_has_a_link_though_an_earlier_one_has_ended() {
        let (first, (second, _inputs, listener)) = pair().await;
        let (other, at) = (second.me().expect("identified"), listener.local_addr().expect("bound"));
        drop(listener);
        first.nudge(other, Nudge::Lists);
        let frames = first.open.read().expect("nobody panicked")[&other].frames.clone();
        timeout(PATIENCE, frames.closed()).await.expect("nobody listens, nobody watches: the link ends");

        let listener = TcpListener::bind(at).await.expect("the same port");
        first.watch(&[other]);
        timeout(PATIENCE, listener.accept()).await.expect("a link").expect("a caller");
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
