//! Links between nodes: nudges, questions, and detection of dead processes.
//!
//! A node keeps one TCP connection to each member that it watches. When the process at the other end dies, its host's
//! kernel closes the connection at once: a *hint*. The core then orders a *probe*. If the same kernel refuses a new
//! connection, no process listens there any more, and that is evidence of death.
//!
//! A host that loses its power or its network closes nothing, and the local kernel retransmits for a quarter of an
//! hour. Therefore a watcher regularly pings the other end, and opens a new link if there is no answer. An end that is
//! not pinged any more closes the link. A link that was opened for a single nudge ends soon after it.
//!
//! Links are encrypted and authenticated with the cluster's secret ([`crate::handshake`]), and both ends state which
//! member they are. Messages on links are hints: they make the receiver read the metastore.
//!
//! Connections from strangers are cheap: a handshake has a deadline, the number of concurrent handshakes is bounded,
//! and a wrong secret is detected before any expensive computation. A peer that refuses the handshake is called less
//! often, and a log line says what to do.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::future::BoxFuture;
use kirin_core::effect::Nudge;
use kirin_core::event::Met;
use kirin_core::{Event, Member};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::instant_tokio;
use crate::connection::{Connection, Refused, malformed};
use crate::handshake::{Cluster, Entropy};
use crate::shell::CoreHandle;

/// The maximum time for a connection or a reply.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause after a failed attempt to open a link.
const RELINK: Duration = Duration::from_millis(500);
/// The pause after a refused handshake. The refusal repeats until one of the nodes is restarted.
const RELINK_REFUSED: Duration = Duration::from_secs(5);
/// After this many connections in a row that the peer closed without an answer, the handshake counts as refused.
const HANG_UPS_MAX: u32 = 5;
/// The maximum number of concurrent handshakes with callers. Further callers are disconnected.
const HANDSHAKES_MAX: usize = 256;
/// The maximum number of those from one address.
const HANDSHAKES_PER_ADDRESS_MAX: usize = 128;
/// The maximum number of links that callers keep open. Further callers are disconnected.
const CALLERS_MAX: usize = 4096;
/// The minimum time between two warnings about the same problem.
const WARN_EVERY: Duration = Duration::from_secs(30);
/// The pause before a probe tries a dying process again, and the number of tries.
const PROBE_AGAIN: (Duration, u32) = (Duration::from_millis(15), 40);
/// How often the end that opened a link pings the other one, or closes a link that is not needed.
const PING_EVERY: Duration = Duration::from_secs(5);
/// A link without any message for this time is closed.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// A message between two nodes.
#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    /// The caller's first frame: its member.
    Hello(Option<Member>),
    /// A hint from core to core.
    Nudge(Nudge),
    /// An operator's request to the receiver.
    Wish(Event),
    /// A question to the receiver's core.
    Question(Question),
    /// The answer to a question.
    Reply(serde_json::Value),
    /// Checks whether the receiver still listens.
    Ping,
    /// The answer to a ping.
    Pong,
    /// Announces the end of a connection. A connection that ends without it is broken.
    Bye,
}

/// A question to another node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Question {
    /// Its view of itself.
    View,
    /// Why a job does not start, as seen by its own queue.
    Why(u64),
}

/// Looks up the addresses of members.
pub trait Addresses: Send + Sync + 'static {
    /// The member's address; `None` if it is not alive or its address is unknown.
    fn find(&self, member: Member) -> BoxFuture<'_, Option<Address>>;
}

/// The address of a member for its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its node's name, which the handshake authenticates.
    pub name: String,
    /// Host and port.
    pub at: String,
}

/// The links of one node.
#[derive(Clone)]
pub struct Links {
    cluster: Cluster,
    entropy: Entropy,
    name: Arc<str>,
    addresses: Arc<dyn Addresses>,
    handle: CoreHandle,
    me: Arc<RwLock<Option<Member>>>,
    open: Arc<RwLock<BTreeMap<Member, Link>>>,
    /// The permits for handshakes with callers.
    handshakes: Arc<Semaphore>,
    /// The same for each address.
    strangers: Strangers,
    /// The permits for links that callers keep open.
    callers: Arc<Semaphore>,
    refused_by_us: WarningLimit,
    refused_by_peer: WarningLimit,
}

#[derive(Clone)]
struct Link {
    frames: mpsc::UnboundedSender<Frame>,
    watched: bool,
}

impl Links {
    /// The links of the node `name`, whose core is `handle`.
    pub fn new(cluster: Cluster, name: &str, addresses: Arc<dyn Addresses>, handle: CoreHandle) -> Self {
        Self {
            cluster,
            entropy: Entropy::system(),
            name: name.into(),
            addresses,
            handle,
            me: Arc::default(),
            open: Arc::default(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            strangers: Strangers::default(),
            callers: Arc::new(Semaphore::new(CALLERS_MAX)),
            refused_by_us: WarningLimit::default(),
            refused_by_peer: WarningLimit::default(),
        }
    }

    /// The same links with another source of ephemeral keys, for reproducible simulations.
    #[must_use]
    pub fn with_entropy(self, entropy: Entropy) -> Self {
        Self { entropy, ..self }
    }

    /// Sets the member as which this node identifies itself.
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
                Ok((stream, from)) => {
                    let permits = (
                        self.handshakes.clone().try_acquire_owned(),
                        self.strangers.enter(from.ip()),
                        self.callers.clone().try_acquire_owned(),
                    );
                    let (Ok(permit), Some(stranger), Ok(caller)) = permits else {
                        if self.refused_by_us.is_due() {
                            tracing::warn!(%from, "too many concurrent handshakes or links: closed the connection");
                        }
                        continue;
                    };
                    let links = self.clone();
                    tokio::spawn(async move {
                        let admitted = within(PATIENCE, links.admit(stream)).await;
                        drop((permit, stranger));
                        let _caller = caller;
                        let ended = match admitted {
                            Ok((talk, peer)) => links.answer(talk, peer).await,
                            Err(error) => Err(error),
                        };
                        let Err(error) = ended else { return };
                        if Refused::of(&error).is_some() && links.refused_by_us.is_due() {
                            tracing::warn!(%from, %error, "refused a link");
                        } else {
                            tracing::debug!(%from, %error, "a link ended");
                        }
                    });
                }
                Err(error) => {
                    // Most likely there are no free file descriptors. Wait for other connections to close.
                    tracing::warn!(%error, "cannot accept links");
                    tokio::time::sleep(RELINK).await;
                }
            }
        }
    }

    /// Receives the messages of an admitted caller.
    async fn answer(&self, mut talk: Talk, peer: Option<Member>) -> io::Result<()> {
        loop {
            match within(SILENCE_MAX, talk.receive()).await {
                Ok(Frame::Nudge(nudge)) => self.handle.tell(match nudge {
                    Nudge::Jobs(rows) => Event::Heard(rows),
                    Nudge::Orphans(orphans) => Event::Inherited(orphans),
                    Nudge::Lists => Event::ListsChanged,
                }),
                Ok(Frame::Wish(event)) => self.handle.tell(event),
                Ok(Frame::Question(question)) => {
                    let reply = self.handle.reply(question).await;
                    within(PATIENCE, talk.send(&Frame::Reply(reply))).await?;
                }
                Ok(Frame::Ping) => within(PATIENCE, talk.send(&Frame::Pong)).await?,
                Ok(Frame::Bye) => return Ok(()),
                Ok(Frame::Hello(_) | Frame::Reply(_) | Frame::Pong) => return Err(malformed("out of turn")),
                Err(error) => {
                    // The caller, which watched this node, may have died.
                    if let Some(peer) = peer.filter(|peer| self.is_watched(*peer)) {
                        self.handle.tell(Event::Suspected(peer));
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

    /// Sends a nudge. Opens a link if there is none.
    pub fn nudge(&self, to: Member, nudge: Nudge) {
        self.send(to, Frame::Nudge(nudge));
    }

    /// Sends an operator's request to another node.
    pub fn wish(&self, to: Member, event: Event) {
        self.send(to, Frame::Wish(event));
    }

    fn send(&self, to: Member, frame: Frame) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let link = open.entry(to).or_insert_with(|| self.open_link(to, false));
        if let Err(mpsc::error::SendError(frame)) = link.frames.send(frame) {
            *link = self.open_link(to, link.watched);
            // A new link accepts at least one frame.
            let _ = link.frames.send(frame);
        }
    }

    fn open_link(&self, to: Member, watched: bool) -> Link {
        let (frames, inbox) = mpsc::unbounded_channel();
        let links = self.clone();
        tokio::spawn(async move { links.keep(to, inbox).await });
        Link { frames, watched }
    }

    /// Keeps a link until it is not needed any more. A link that is not watched ends when it breaks or becomes silent.
    async fn keep(self, to: Member, mut inbox: mpsc::UnboundedReceiver<Frame>) {
        let mut hang_ups = 0;
        loop {
            let Err(error) = self.run_link(to, &mut inbox).await else { return };
            let refused = Refused::of(&error);
            hang_ups = if refused == Some(Refused::HungUp) { hang_ups + 1 } else { 0 };
            let is_refused = refused.is_some() && (hang_ups == 0 || hang_ups >= HANG_UPS_MAX);
            if is_refused {
                // The waiting messages cannot be delivered. The receiver finds their content in the metastore.
                while inbox.try_recv().is_ok() {}
            }
            if is_refused && self.refused_by_peer.is_due() {
                tracing::warn!(?to, %error, "no link to a member; nodes find its jobs more slowly, by polling the metastore");
            } else {
                tracing::debug!(?to, %error, "a link broke");
            }
            if inbox.is_closed() || !self.is_wanted(to, &mut inbox) {
                return;
            }
            self.handle.tell(Event::Suspected(to));
            tokio::time::sleep(if is_refused { RELINK_REFUSED } else { RELINK }).await;
        }
    }

    /// Whether the link is needed although there is nothing to send. If not, it accepts no more frames.
    fn is_wanted(&self, to: Member, inbox: &mut mpsc::UnboundedReceiver<Frame>) -> bool {
        // The lock prevents `watch` from relying on a link that is ending.
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
            return Err(malformed("another member answers at this address"));
        }
        let mut ping_at = instant_tokio() + PING_EVERY;
        loop {
            tokio::select! {
                biased;
                frame = inbox.recv() => match frame {
                    Some(frame) => within(PATIENCE, talk.send(&frame)).await?,
                    None => {
                        hang_up(talk).await;
                        return Ok(());
                    }
                },
                error = talk.hung_up() => return Err(error),
                () = sleep_until(ping_at), if !inbox.is_closed() => {
                    if self.is_wanted(to, inbox) {
                        within(PATIENCE, ping(&mut talk)).await?;
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

    /// Performs the handshake with the node `callee` and returns the member that it states.
    async fn greet(&self, stream: TcpStream, callee: &str) -> io::Result<(Talk, Option<Member>)> {
        let (mut talk, said) = Connection::call(stream, &self.cluster, &self.entropy, &self.name, callee).await?;
        talk.send(&Frame::Hello(self.me())).await?;
        Ok((talk, serde_json::from_slice(&said)?))
    }

    /// Performs the handshake with a caller and returns the member that it states. Its first frame proves that it is
    /// not a replay.
    async fn admit(&self, stream: TcpStream) -> io::Result<(Talk, Option<Member>)> {
        stream.set_nodelay(true)?;
        let me = serde_json::to_vec(&self.me())?;
        let mut talk = Connection::accept(stream, &self.cluster, &self.entropy, &self.name, &me).await?;
        match talk.receive().await? {
            Frame::Hello(peer) => Ok((talk, peer)),
            _ => Err(malformed("expected a hello")),
        }
    }

    /// Checks whether a process listens at the member's address.
    pub fn probe(&self, member: Member) {
        let links = self.clone();
        tokio::spawn(async move {
            let met = links.look(member).await;
            tracing::debug!(?member, ?met, "probed");
            links.handle.tell(Event::Probed { member, met });
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
                        hang_up(talk).await;
                        // A process without a member listens: it is not a member at this moment.
                        return met.map_or(Met::Nothing, Met::Alive);
                    }
                    Err(_) => return Met::Nothing,
                    // It listens, and would refuse the next handshake as well.
                    Ok(Err(error)) if Refused::of(&error).is_some_and(|refused| refused != Refused::HungUp) => {
                        return Met::Nothing;
                    }
                    // The process is dying: its connections close a moment before its listener does.
                    Ok(Err(_)) => tokio::time::sleep(pause).await,
                },
            }
        }
        Met::Nothing
    }

    /// Sends a question to another node.
    ///
    /// # Errors
    /// If the node is unreachable or does not answer in time.
    pub async fn question(&self, to: Member, question: Question) -> io::Result<serde_json::Value> {
        let (mut talk, _) = self.call(to).await?;
        let reply = async {
            talk.send(&Frame::Question(question)).await?;
            match talk.receive().await? {
                Frame::Reply(value) => Ok(value),
                _ => Err(malformed("expected a reply")),
            }
        };
        let reply = within(PATIENCE, reply).await;
        hang_up(talk).await;
        reply
    }
}

type Talk = Connection<TcpStream>;

/// Returns when the other end has answered.
async fn ping(talk: &mut Talk) -> io::Result<()> {
    talk.send(&Frame::Ping).await?;
    match talk.receive().await? {
        Frame::Pong => Ok(()),
        _ => Err(malformed("expected a pong")),
    }
}

/// Announces the end of the connection, so that the other end does not mistake it for a death.
async fn hang_up(mut talk: Talk) {
    // If the other end is gone, this fails, and that is fine.
    let _ = within(PATIENCE, talk.send(&Frame::Bye)).await;
}

/// The callers of each address whose handshakes are not finished.
#[derive(Clone, Default)]
struct Strangers(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

impl Strangers {
    /// Counts one more; none if there are too many.
    fn enter(&self, from: IpAddr) -> Option<Stranger> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(from).or_insert(0);
        if *count >= HANDSHAKES_PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Stranger { all: self.clone(), from })
    }
}

/// A caller whose handshake is not finished.
struct Stranger {
    all: Strangers,
    from: IpAddr,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.from);
            }
        }
    }
}

/// Limits how often a warning is logged.
#[derive(Clone, Default)]
struct WarningLimit(Arc<Mutex<Option<Instant>>>);

impl WarningLimit {
    /// Whether a warning is due. If so, it counts as logged.
    fn is_due(&self) -> bool {
        let (now, mut last) = (instant_tokio(), self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let is_due = last.is_none_or(|last| now.duration_since(last) >= WARN_EVERY);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

/// Gives up after `span`.
async fn within<T>(span: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(span, what).await.map_err(|_| io::ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::secret::Secret;
    use crate::shell::Inputs;

    struct Fixed(BTreeMap<Member, Address>);

    impl Addresses for Fixed {
        fn find(&self, member: Member) -> BoxFuture<'_, Option<Address>> {
            Box::pin(std::future::ready(self.0.get(&member).cloned()))
        }
    }

    /// Two nodes that watch each other. The first accepts links; the listener of the second is returned with it.
    async fn pair() -> (Links, (Links, Inputs, TcpListener)) {
        let [one, other] = [1, 2].map(|node| Member::new(node, 1).expect("an incarnation"));
        let listeners = [listen().await, listen().await];
        let addresses = [(one, &listeners[0]), (other, &listeners[1])].map(|(member, listener)| {
            let at = listener.local_addr().expect("bound").to_string();
            (member, Address { name: member.node.0.to_string(), at })
        });
        let addresses = Arc::new(Fixed(addresses.into()));
        let links = [one, other].map(|member| {
            let (handle, inputs) = CoreHandle::new();
            let cluster = Cluster { secret: Secret::new("s"), id: "c".to_owned() };
            let links = Links::new(cluster, &member.node.0.to_string(), addresses.clone(), handle);
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

    /// Answers the next caller until it has disconnected.
    async fn take(links: &Links, listener: &TcpListener) -> io::Result<()> {
        let (talk, peer) = links.admit(listener.accept().await?.0).await?;
        links.answer(talk, peer).await
    }

    #[tokio::test]
    async fn watching_a_member_opens_a_link_after_an_earlier_one_ended() {
        let (first, (second, _inputs, listener)) = pair().await;
        let (other, at) = (second.me().expect("identified"), listener.local_addr().expect("bound"));
        drop(listener);
        first.nudge(other, Nudge::Lists);
        let frames = first.open.read().expect("no panic")[&other].frames.clone();
        timeout(PATIENCE, frames.closed()).await.expect("an unwatched link to a closed port ends");

        let listener = TcpListener::bind(at).await.expect("the same port");
        first.watch(&[other]);
        timeout(PATIENCE, listener.accept()).await.expect("a link").expect("a caller");
    }

    #[tokio::test]
    async fn a_broken_connection_raises_suspicion_and_a_clean_close_does_not() {
        let (first, (second, mut inputs, listener)) = pair().await;
        let me = first.me().expect("identified");
        let other = second.me().expect("identified");

        let (met, answered) = tokio::join!(first.look(other), async { take(&second, &listener).await });
        assert_eq!(met, Met::Alive(other));
        answered.expect("a clean close");
        assert_eq!(inputs.events(), [], "a probe is no reason to probe the prober");

        let ((), answered) = tokio::join!(async { drop(first.call(other).await.expect("an answer")) }, async {
            take(&second, &listener).await
        });
        // The kernel may also reset a connection with unread data.
        drop(answered);
        assert_eq!(inputs.events(), [Event::Suspected(me)]);
    }

    #[tokio::test]
    async fn a_question_is_answered_over_the_encrypted_link() {
        let (first, (second, inputs, listener)) = pair().await;
        let other = second.me().expect("identified");
        // The second node's loop has ended, so its answer is null.
        drop(inputs);
        let (reply, answered) = tokio::join!(first.question(other, Question::View), take(&second, &listener));
        assert_eq!(reply.expect("an answer"), serde_json::Value::Null);
        answered.expect("a clean close");
    }

    #[tokio::test]
    async fn a_peer_with_another_secret_is_called_rarely_and_its_queue_is_dropped() {
        let (first, (second, mut inputs, listener)) = pair().await;
        let other = second.me().expect("identified");
        let stranger = Links { cluster: Cluster { secret: Secret::new("t"), id: "c".to_owned() }, ..second.clone() };
        first.watch(&[other]);
        first.nudge(other, Nudge::Lists);
        let denied = take(&stranger, &listener).await.expect_err("it does not know the secret");
        assert_eq!(Refused::of(&denied), Some(Refused::WrongSecret));
        let again = timeout(RELINK * 3, listener.accept()).await;
        assert!(again.is_err(), "it is called less often than after a broken link");
        let (met, _denied) = tokio::join!(first.look(other), take(&stranger, &listener));
        assert_eq!(met, Met::Nothing, "a probe does not retry either");
        assert_eq!(inputs.events(), [], "no event came from it");
    }

    #[test]
    fn strangers_are_counted_per_address() {
        let (strangers, [a, b]) = (Strangers::default(), [1, 2].map(|n| IpAddr::from([192, 0, 2, n])));
        let mut all: Vec<_> = (0..HANDSHAKES_PER_ADDRESS_MAX).map(|_| strangers.enter(a).expect("few")).collect();
        assert!(strangers.enter(a).is_none());
        let other = strangers.enter(b).expect("another address");
        all.pop();
        assert!(strangers.enter(a).is_some());
        drop((all, other));
        assert!(strangers.0.lock().expect("no panic").is_empty());
    }

    #[tokio::test]
    async fn concurrent_handshakes_are_bounded_and_time_out() {
        let (first, (second, _inputs, _listener)) = pair().await;
        let me = first.me().expect("identified");
        let address = second.addresses.find(me).await.expect("known").at;
        // The link of `pair` may still be in its handshake.
        assert_eq!(second.look(me).await, Met::Alive(me));
        let callers = HANDSHAKES_MAX + 64;
        let mut half_open = Vec::new();
        for _ in 0..callers {
            half_open.push(TcpStream::connect(&address).await.expect("accepted by the kernel"));
        }
        let mut ended = 0;
        for mut stream in half_open {
            // Those above the limit at once, the others at their deadline.
            let read = timeout(2 * PATIENCE, stream.read_u8()).await.expect("disconnected");
            assert!(read.is_err());
            ended += 1;
        }
        assert_eq!(ended, callers);
        assert_eq!(first.handshakes.available_permits(), HANDSHAKES_MAX);
        assert_eq!(second.look(me).await, Met::Alive(me), "a member is admitted again");
    }
}
