//! A proxy between a client and a ZooKeeper server that a test can cut or stall, or that can drop sessions.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Connections older than the latest cut are closed.
    cuts: u64,
    /// Whether data is held back in both directions while connections stay open.
    stalled: bool,
    /// Whether new connections are closed at once.
    refuses: bool,
    /// Whether the session id of reconnecting clients is removed, so that they get a new session.
    forgets: bool,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(watch::Sender::new(State::default()));
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !shared.borrow().refuses {
                    tokio::spawn(pass(client, port, shared.subscribe()));
                }
            }
        });
        Proxy { address, state }
    }

    pub(crate) fn connect_string(&self) -> String {
        self.address.to_string()
    }

    /// Closes every connection.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    pub(crate) fn stall(&self, stalled: bool) {
        self.state.send_modify(|state| state.stalled = stalled);
    }

    pub(crate) fn refuse(&self, refuses: bool) {
        self.state.send_modify(|state| state.refuses = refuses);
    }

    pub(crate) fn forget_sessions(&self, forgets: bool) {
        self.state.send_modify(|state| state.forgets = forgets);
    }
}

async fn pass(client: TcpStream, port: u16, mut state: watch::Receiver<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let cuts = state.borrow().cuts;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let forgets = state.borrow().forgets;
    tokio::select! {
        () = copy(from_client, to_server, forgets, state.clone()) => {}
        () = copy(from_server, to_client, false, state.clone()) => {}
        _ = state.wait_for(|state| state.cuts > cuts) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, forgets: bool, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 64 * 1024];
    let mut first = true;
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|state| !state.stalled).await.is_err() {
            return;
        }
        if first && forgets {
            // Length, protocol version, last zxid, timeout, session id, then the password after its length.
            buffer[20..28].fill(0);
            buffer[32..48].fill(0);
        }
        first = false;
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
