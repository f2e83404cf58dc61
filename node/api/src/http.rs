//! The HTTP server, and how it ends: whoever has asked is answered, and whoever comes later finds nobody and goes elsewhere.
//!
//! A load balancer keeps connections, and what it sends over one at the moment when that is closed is lost; only what it
//! could not send at all, it may try at another node whatever it is. So while the node stops every answer ends its
//! connection. Then the port is closed; what still comes over the connections that are left is answered, until nothing has
//! come for a moment. Only then they go, with the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::serve::Listener;
use tokio::sync::watch;
use tokio::time::sleep;

/// Nothing has come for so long, and nobody waited: nothing will, and what was answered is written.
const QUIET: Duration = Duration::from_millis(100);
/// How long an answer may take that somebody waits for.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// A server that serves.
#[derive(Clone, Debug)]
pub struct Http {
    traffic: Arc<Traffic>,
    close: Arc<watch::Sender<bool>>,
}

#[derive(Debug, Default)]
struct Traffic {
    /// Requests that have come.
    come: AtomicU64,
    /// Those that are not answered yet.
    open: AtomicU64,
    is_last: AtomicBool,
}

impl Http {
    /// Serves what comes to `listener`.
    pub fn serve(listener: impl Listener<Addr: std::fmt::Debug>, router: Router) -> Self {
        let (close, closed) = watch::channel(false);
        let traffic = Arc::new(Traffic::default());
        let router = router.layer(middleware::from_fn_with_state(Arc::clone(&traffic), pass));
        tokio::spawn(async move {
            if let Err(error) = axum::serve(Door { listener: Some(listener), closed }, router).await {
                tracing::error!(%error, "the HTTP API has ended");
            }
        });
        Self { traffic, close: Arc::new(close) }
    }

    /// From here on each answer is the last on its connection.
    pub fn keep_no_connections(&self) {
        self.traffic.is_last.store(true, Ordering::Relaxed);
    }

    /// Listens no more; returns when everybody who asked has an answer, or has waited too long for it.
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
            tracing::warn!("requests are given up that take too long");
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

/// A request that is not answered yet.
struct Open(Arc<Traffic>);

impl Open {
    fn of(traffic: Arc<Traffic>) -> Self {
        traffic.come.fetch_add(1, Ordering::Relaxed);
        traffic.open.fetch_add(1, Ordering::Relaxed);
        Self(traffic)
    }
}

// Whoever asked may have gone without an answer.
impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A listener that can be closed. Who has been let in by the kernel until then is let in.
struct Door<L> {
    listener: Option<L>,
    closed: watch::Receiver<bool>,
}

impl<L: Listener> Listener for Door<L> {
    type Io = L::Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (L::Io, L::Addr) {
        if let Some(listener) = &mut self.listener {
            tokio::select! {
                biased;
                came = listener.accept() => return came,
                // Nobody closes it who has gone: that is the process's end.
                _ = self.closed.wait_for(|closed| *closed) => {}
            }
        }
        self.listener = None;
        std::future::pending().await
    }

    fn local_addr(&self) -> std::io::Result<L::Addr> {
        self.listener.as_ref().map_or_else(|| Err(std::io::ErrorKind::NotConnected.into()), Listener::local_addr)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Semaphore;

    use super::*;

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: n1\r\n\r\n";

    /// Serves a question that is answered once the semaphore lets it.
    async fn serve() -> (Http, Arc<Semaphore>, String) {
        let (listener, gate) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(Semaphore::new(0)));
        let (address, pass) = (listener.local_addr().unwrap().to_string(), Arc::clone(&gate));
        let answer = move || async move { pass.acquire().await.map(|_| "yes").unwrap_or_default() };
        (Http::serve(listener, Router::new().route("/", get(answer))), gate, address)
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

    #[tokio::test]
    async fn who_has_asked_is_answered_and_nobody_else_is_let_in() {
        let (http, gate, address) = serve().await;
        let (mut open, mut idle) =
            (TcpStream::connect(&address).await.unwrap(), TcpStream::connect(&address).await.unwrap());
        ask(&mut open, &http).await;
        let ending = tokio::spawn(async move { http.end().await });
        until_refused(&address).await;
        // Over a connection that was open.
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
    async fn who_never_gets_an_answer_does_not_keep_the_node() {
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
}
