//! The HTTP server: its limits, and how it ends.
//!
//! Connections are cheap until their requests are parsed. Their number is bounded, in total and per address; further
//! ones are closed at once. A connection is closed if the header of its request is not complete in time, if it is idle
//! for long, or if the client does not read the answer. The body of a request has a deadline, too ([`Peer`]).
//!
//! A load balancer keeps connections open. A request that it sends while the node closes the connection is lost. The
//! balancer may retry only requests that it could not send at all. So a stopping node closes each connection with its
//! next answer. Then it closes the port. Requests on the remaining connections are served until none arrives for a
//! short time. Then the process exits.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::serve::Listener;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use kirin_shell::clock::instant_tokio;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::auth::gate::network;

/// The server is idle after this time without requests. By then, all answers are written.
const QUIET: Duration = Duration::from_millis(100);
/// How long the stopping server waits for the answer of a request.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// The minimum time between two warnings about too many connections.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// Limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum number of connections in total.
    pub connections: usize,
    /// The maximum number of connections per address.
    pub per_address: usize,
    /// The time from the first byte of a request, or the start of the connection, to the end of the header.
    pub header: Duration,
    /// The time from the end of the header to the end of the body.
    pub body: Duration,
    /// The time from an answer to the next request, and the time for which a client may read nothing of an answer.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self { connections: 512, per_address: 384, header: secs(10), body: secs(60), idle: secs(75) }
    }
}

/// The origin of a request, in its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The address of the client, or of the load balancer.
    pub address: IpAddr,
    /// The timeout for the body.
    pub body_within: Duration,
}

/// A running server.
#[derive(Clone, Debug)]
pub struct Http {
    traffic: Arc<Traffic>,
    close: Arc<watch::Sender<bool>>,
}

#[derive(Debug, Default)]
struct Traffic {
    /// The number of received requests.
    come: AtomicU64,
    /// The number of requests without an answer.
    open: AtomicU64,
    is_last: AtomicBool,
}

impl Http {
    /// Serves the connections of `listener`.
    pub fn serve(mut listener: impl Listener<Addr = SocketAddr>, router: Router, limits: Limits) -> Self {
        let (close, mut closed) = watch::channel(false);
        let traffic = Arc::new(Traffic::default());
        let router = router.layer(middleware::from_fn_with_state(Arc::clone(&traffic), pass));
        let connections = Connections::new(limits);
        tokio::spawn(async move {
            loop {
                let (io, from) = tokio::select! {
                    biased;
                    // Connections that the kernel accepted before the port is closed are served.
                    came = listener.accept() => came,
                    _ = closed.wait_for(|closed| *closed) => return,
                };
                if let Some(place) = connections.enter(from.ip()) {
                    tokio::spawn(talk(io, from.ip(), router.clone(), limits, place));
                }
            }
        });
        Self { traffic, close: Arc::new(close) }
    }

    /// Closes each connection after its next answer.
    pub fn keep_no_connections(&self) {
        self.traffic.is_last.store(true, Ordering::Relaxed);
    }

    /// Stops listening. Returns when all requests are answered or have timed out.
    pub async fn end(&self) {
        self.end_within(ANSWERED_WITHIN).await;
    }

    async fn end_within(&self, patience: Duration) {
        self.keep_no_connections();
        self.close.send_replace(true);
        let traffic = &self.traffic;
        let quiet = async {
            loop {
                let (come, open) = (traffic.come.load(Ordering::Relaxed), traffic.open.load(Ordering::Relaxed));
                sleep(QUIET).await;
                if open == 0 && come == traffic.come.load(Ordering::Relaxed) {
                    return;
                }
            }
        };
        if tokio::time::timeout(patience, quiet).await.is_err() {
            tracing::warn!("timed out waiting for requests to finish; they are cancelled");
        }
    }
}

async fn pass(State(traffic): State<Arc<Traffic>>, request: Request, next: Next) -> Response {
    let open = Open::of(traffic);
    let mut response = next.run(request).await;
    if open.0.is_last.load(Ordering::Relaxed) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A request without an answer yet.
struct Open(Arc<Traffic>);

impl Open {
    fn of(traffic: Arc<Traffic>) -> Self {
        traffic.come.fetch_add(1, Ordering::Relaxed);
        traffic.open.fetch_add(1, Ordering::Relaxed);
        Self(traffic)
    }
}

// The client may have disconnected before the answer.
impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open connections.
#[derive(Clone, Debug)]
struct Connections(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    limits: Limits,
    open: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
    warned: Option<Instant>,
}

impl Connections {
    fn new(limits: Limits) -> Self {
        Self(Arc::new(Counted { limits, open: Mutex::default() }))
    }

    /// Admits a connection, unless there are too many.
    fn enter(&self, from: IpAddr) -> Option<PlaceOf> {
        let (address, limits) = (network(from), &self.0.limits);
        let mut counts = self.0.counts();
        let its = counts.by_address.get(&address).copied().unwrap_or_default();
        if counts.all >= limits.connections || its >= limits.per_address {
            let now = instant_tokio();
            if counts.warned.is_none_or(|warned| now.duration_since(warned) >= WARN_EVERY) {
                counts.warned = Some(now);
                let all = counts.all;
                tracing::warn!(%from, its, all, "too many connections to the API (kirin.server.max-connections); closed one");
            }
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, its + 1);
        drop(counts);
        Some(PlaceOf { counted: Arc::clone(&self.0), address })
    }
}

impl Counted {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of an open connection.
#[derive(Debug)]
struct PlaceOf {
    counted: Arc<Counted>,
    address: IpAddr,
}

impl Drop for PlaceOf {
    fn drop(&mut self) {
        let mut counts = self.counted.counts();
        counts.all -= 1;
        let its = counts.by_address.get(&self.address).copied().unwrap_or_default();
        if its <= 1 {
            counts.by_address.remove(&self.address);
        } else {
            counts.by_address.insert(self.address, its - 1);
        }
    }
}

/// Serves one connection to its end.
async fn talk<I>(io: I, from: IpAddr, router: Router, limits: Limits, _place: PlaceOf)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let state = Arc::new(Mutex::new(Talk { phase: Phase::Header, since: instant_tokio(), stalled: None }));
    let io = TokioIo::new(Watched { io, state: Arc::clone(&state) });
    let (router, seen) = (TowerToHyperService::new(router), Arc::clone(&state));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        enter(&seen, Phase::Answer);
        request.extensions_mut().insert(Peer { address: from, body_within: limits.body });
        let (answer, state) = (router.call(request), Arc::clone(&seen));
        async move { Ok::<_, Infallible>(answer.await?.map(|body| Answer { body, state })) }
    });
    // The library's timeout for headers would also close idle connections.
    let mut connection = pin!(http1::Builder::new().header_read_timeout(None).serve_connection(io, service));
    let mut alarm = pin!(sleep_until(instant_tokio() + limits.header));
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(%from, %error, "a connection to the API ended");
            }
            return Poll::Ready(());
        }
        let Some(until) = lock(&state).deadline(&limits) else { return Poll::Pending };
        if alarm.deadline() != until {
            alarm.as_mut().reset(until);
        }
        alarm.as_mut().poll(cx)
    })
    .await;
}

/// The state of a connection for deadlines.
#[derive(Debug)]
struct Talk {
    phase: Phase,
    since: Instant,
    /// Since when the client reads nothing.
    stalled: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A request is expected or has started.
    Header,
    /// The request is processed. Bodies and queries have their own deadlines.
    Answer,
    /// The request was answered.
    Idle,
}

impl Talk {
    fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Header => Some(self.since + limits.header),
            Phase::Answer => None,
            Phase::Idle => Some(self.since + limits.idle),
        };
        let stalled = self.stalled.map(|since| since + limits.idle);
        [phase, stalled].into_iter().flatten().min()
    }
}

fn lock(state: &Mutex<Talk>) -> MutexGuard<'_, Talk> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn enter(state: &Mutex<Talk>, phase: Phase) {
    let mut talk = lock(state);
    (talk.phase, talk.since) = (phase, instant_tokio());
}

/// The body of an answer, whose end is detected.
struct Answer {
    body: Body,
    state: Arc<Mutex<Talk>>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        enter(&self.state, Phase::Idle);
    }
}

/// A stream that records when data arrives, and when writing stalls.
struct Watched<I> {
    io: I,
    state: Arc<Mutex<Talk>>,
}

impl<I> Watched<I> {
    fn went<T>(&self, went: Poll<T>) -> Poll<T> {
        let mut talk = lock(&self.state);
        talk.stalled = match went {
            Poll::Ready(_) => None,
            Poll::Pending => talk.stalled.or_else(|| Some(instant_tokio())),
        };
        went
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let came = Pin::new(&mut self.io).poll_read(cx, into);
        if into.filled().len() > before && lock(&self.state).phase == Phase::Idle {
            enter(&self.state, Phase::Header);
        }
        came
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let went = Pin::new(&mut self.io).poll_write(cx, from);
        self.went(went)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let went = Pin::new(&mut self.io).poll_write_vectored(cx, from);
        self.went(went)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Semaphore;

    use super::*;

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: n1\r\n\r\n";
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Serves requests whose answers wait for the semaphore.
    async fn serve() -> (Http, Arc<Semaphore>, String) {
        serve_with(Limits::default()).await
    }

    async fn serve_with(limits: Limits) -> (Http, Arc<Semaphore>, String) {
        let (listener, gate) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(Semaphore::new(0)));
        let (address, pass) = (listener.local_addr().unwrap().to_string(), Arc::clone(&gate));
        let answer = move || async move { pass.acquire().await.map(|_| "yes").unwrap_or_default() };
        let read = async |request: Request| crate::body::bytes(request, &()).await.map(|body| body.len().to_string());
        let large = async || vec![0_u8; 64 << 20];
        let router = Router::new().route("/", get(answer)).route("/", post(read)).route("/large", get(large));
        (Http::serve(listener, router, limits), gate, address)
    }

    async fn ask(stream: &mut TcpStream, http: &Http) {
        let come = http.traffic.come.load(Ordering::Relaxed);
        stream.write_all(ASK).await.unwrap();
        while http.traffic.come.load(Ordering::Relaxed) == come {
            tokio::task::yield_now().await;
        }
    }

    async fn until_refused(address: &str) {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until a new connection is accepted and its request is answered.
    async fn until_served(address: &str) {
        let served = async {
            loop {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let mut answer = [0; 1];
                if stream.write_all(ASK).await.is_ok() && stream.read(&mut answer).await.is_ok_and(|n| n > 0) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, served).await.expect("a slot is free");
    }

    /// Reads until the server closes the connection.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        // The connection may also be reset.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("the connection is closed");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Limits with a short timeout for one phase and timeouts beyond the test's patience for the others.
    fn quick(set: impl Fn(&mut Limits)) -> Limits {
        let long = 10 * PATIENCE;
        let mut limits = Limits { header: long, body: long, idle: long, ..Limits::default() };
        set(&mut limits);
        limits
    }

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_stopping_server_answers_open_requests_and_refuses_connections() {
        let (http, gate, address) = serve().await;
        let (mut open, mut idle) =
            (TcpStream::connect(&address).await.unwrap(), TcpStream::connect(&address).await.unwrap());
        ask(&mut open, &http).await;
        let ending = tokio::spawn(async move { http.end().await });
        until_refused(&address).await;
        // On an existing connection.
        idle.write_all(ASK).await.unwrap();
        assert!(!ending.is_finished());
        gate.add_permits(1);
        for stream in [&mut open, &mut idle] {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("yes"), "{answer}");
            assert!(answer.contains("connection: close"), "{answer}");
        }
        ending.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_without_an_answer_does_not_delay_the_stop_forever() {
        let (http, _gate, address) = serve().await;
        let mut open = TcpStream::connect(&address).await.unwrap();
        ask(&mut open, &http).await;
        http.end_within(2 * QUIET).await;
        assert_eq!(http.traffic.open.load(Ordering::Relaxed), 1);
        drop(open);
        while http.traffic.open.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_request_that_never_finishes_its_header_is_disconnected() {
        let (_http, gate, address) = serve_with(quick(|limits| limits.header = SHORT)).await;
        gate.add_permits(10);
        for begun in [&b""[..], &ASK[..1], &ASK[..ASK.len() - 1]] {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.write_all(begun).await.unwrap();
            assert_eq!(rest(&mut stream).await, "");
        }
        // Also the second request on a connection, and a request that arrives byte by byte.
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(ASK).await.unwrap();
        let mut answer = [0; 4096];
        assert!(stream.read(&mut answer).await.unwrap() > 0);
        let drops = async {
            for byte in std::iter::once(&b'G').chain(std::iter::repeat(&b'E')) {
                if stream.write_all(std::slice::from_ref(byte)).await.is_err() {
                    return;
                }
                sleep(SHORT / 10).await;
            }
        };
        tokio::time::timeout(PATIENCE, drops).await.expect("single bytes do not extend the deadline");
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_and_a_slow_answer_is_not() {
        let (http, gate, address) = serve_with(quick(|limits| limits.idle = SHORT)).await;
        let mut stream = TcpStream::connect(&address).await.unwrap();
        ask(&mut stream, &http).await;
        let closed = tokio::time::timeout(3 * SHORT, stream.read_u8()).await;
        assert!(closed.is_err(), "a slow answer keeps the connection: {closed:?}");
        gate.add_permits(1);
        assert!(rest(&mut stream).await.ends_with("yes"), "the request is answered, then the connection is closed");
    }

    #[tokio::test]
    async fn a_missing_body_is_answered_with_408() {
        let (_http, _gate, address) = serve_with(quick(|limits| limits.body = SHORT)).await;
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nhost: n1\r\ncontent-length: 10\r\n\r\nab").await.unwrap();
        let mut answer = vec![0; 4096];
        let n = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("kirin.server.body-timeout"), "{answer}");
        rest(&mut stream).await;
    }

    #[tokio::test]
    async fn an_unread_answer_closes_its_connection() {
        // The second connection is served after the first is closed.
        let limits = quick(|limits| (limits.idle, limits.connections) = (SHORT, 1));
        let (http, gate, address) = serve_with(limits).await;
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"GET /large HTTP/1.1\r\nhost: n1\r\n\r\n").await.unwrap();
        while http.traffic.come.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        until_served(&address).await;
        let taken = rest(&mut stream).await.len();
        assert!(taken < 64 << 20, "{taken} bytes were read");
    }

    #[tokio::test]
    async fn connections_are_limited_in_total_and_per_address() {
        for (connections, per_address) in [(8, 100), (100, 8)] {
            let limits = quick(|limits| (limits.connections, limits.per_address) = (connections, per_address));
            let (http, gate, address) = serve_with(limits).await;
            gate.add_permits(100);
            let mut open = Vec::new();
            for _ in 0..8 {
                let mut stream = TcpStream::connect(&address).await.unwrap();
                ask(&mut stream, &http).await;
                open.push(stream);
            }
            let mut more = TcpStream::connect(&address).await.unwrap();
            let _ = more.write_all(ASK).await;
            assert_eq!(rest(&mut more).await, "", "a connection above the limit is closed");
            open.pop();
            // The slot is free as soon as the server detects the close.
            until_served(&address).await;
        }
    }

    #[test]
    fn slots_are_counted_per_address() {
        let connections = Connections::new(Limits { connections: 3, per_address: 2, ..Limits::default() });
        let [a, b] = [1, 2].map(|n| IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, n)));
        let first = connections.enter(a).unwrap();
        let _second = connections.enter(a).unwrap();
        assert!(connections.enter(a).is_none());
        let other = connections.enter(b).unwrap();
        assert!(connections.enter(b).is_none(), "the total is three");
        drop((first, other));
        let _third = connections.enter(a).unwrap();
        assert_eq!(connections.0.counts().by_address.len(), 1);
    }
}
