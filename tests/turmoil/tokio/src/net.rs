//! TCP over turmoil that behaves like a kernel towards connecting clients ([`crate::kernel`]).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::ToSocketAddrs;
use turmoil::net as simulated;

use crate::kernel;

/// The interval at which a connecting client checks whether the other end has died.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A stream, as `tokio::net` has it.
#[derive(Debug)]
pub struct TcpStream(simulated::TcpStream);

/// A listener, as `tokio::net` has it. axum listens on it, too.
pub struct TcpListener(simulated::TcpListener);

/// The addresses of a host: the one that turmoil gives to its name.
///
/// # Errors
/// None.
pub async fn lookup_host((host, port): (&str, u16)) -> io::Result<impl Iterator<Item = SocketAddr>> {
    Ok(std::iter::once(SocketAddr::new(turmoil::lookup(host), port)))
}

impl TcpStream {
    /// Opens a connection to `host:port`. Waits without limit where a kernel would resend its SYN.
    ///
    /// # Errors
    /// If the other end's kernel refuses, or the name does not exist.
    pub async fn connect(to: &str) -> io::Result<Self> {
        let (host, _) = to.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
        let (here, there) = (kernel::this_host(), turmoil::lookup(host));
        let mut connect = std::pin::pin!(simulated::TcpStream::connect(to));
        loop {
            let made = ::tokio::select! {
                biased;
                made = &mut connect => Some(made),
                () = ::tokio::time::sleep(LOOK_EVERY) => None,
            };
            let is_open = kernel::is_open(here, there);
            match made {
                Some(made) if is_open => return made.map(Self),
                // The SYN is lost, or the answer to it.
                Some(_) => return std::future::pending().await,
                None if is_open && kernel::is_dead(there) => return Err(io::ErrorKind::ConnectionRefused.into()),
                None => {}
            }
        }
    }

    /// Has no effect here.
    ///
    /// # Errors
    /// None.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.0.set_nodelay(nodelay)
    }

    /// This end.
    ///
    /// # Errors
    /// None.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The other end.
    ///
    /// # Errors
    /// None.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}

impl TcpListener {
    /// Listens on all addresses or the loopback only.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn bind<A: ToSocketAddrs>(at: A) -> io::Result<Self> {
        simulated::TcpListener::bind(at).await.map(Self)
    }

    /// The next connection.
    ///
    /// # Errors
    /// None.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await.map(|(stream, from)| (TcpStream(stream), from))
    }

    /// The local address.
    ///
    /// # Errors
    /// None.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl axum::serve::Listener for TcpListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        match Self::accept(self).await {
            Ok(accepted) => accepted,
            // turmoil's listener does not fail.
            Err(_) => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
