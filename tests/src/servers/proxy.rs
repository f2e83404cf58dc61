//! A TCP proxy that can cut, hold and restore the connections between a client and its server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The state of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Everything passes.
    Fair,
    /// Connections are accepted and nothing passes in either direction, like a server that never answers.
    BlackHole,
    /// Data from the client passes and replies of the server are lost.
    Mute,
    /// New connections are closed at once.
    Refusing,
}

/// The proxy. It ends when it is dropped.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    cuts: watch::Sender<u64>,
    upward: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl TcpProxy {
    /// Starts a proxy on a free loopback port for the server at `target`.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn to(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (weather, seen) = watch::channel(Weather::Fair);
        let (cuts, cut) = watch::channel(0_u64);
        let upward = Arc::new(AtomicU64::new(0));
        let counted = upward.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *seen.borrow() == Weather::Refusing {
                    continue;
                }
                tokio::spawn(carry(client, target, seen.clone(), cut.clone(), counted.clone()));
            }
        });
        Ok(Self { address, weather, cuts, upward, task })
    }

    /// The address for clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the state, for open and future connections.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Breaks all open connections.
    pub fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// The number of bytes forwarded to the server.
    pub fn carried(&self) -> u64 {
        self.upward.load(Ordering::Relaxed)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn carry(
    client: TcpStream,
    target: SocketAddr,
    weather: watch::Receiver<Weather>,
    mut cut: watch::Receiver<u64>,
    upward: Arc<AtomicU64>,
) {
    cut.mark_unchanged();
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pump(from_client, to_server, weather.clone(), |weather| weather != Weather::BlackHole, Some(upward));
    let down =
        pump(from_server, to_client, weather, |weather| !matches!(weather, Weather::BlackHole | Weather::Mute), None);
    tokio::select! {
        _ = cut.changed() => {}
        () = up => {}
        () = down => {}
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    passes: fn(Weather) -> bool,
    count: Option<Arc<AtomicU64>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read) = from.read(&mut buffer).await else { return };
        if read == 0 {
            return;
        }
        // Held data is not lost: it passes when the state allows it again.
        if weather.wait_for(|weather| passes(*weather)).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        if let Some(count) = &count {
            count.fetch_add(read as u64, Ordering::Relaxed);
        }
    }
}
