//! TCP over links that can be cut, one direction at a time.
//!
//! Over a link that is cut, in whichever direction, nothing arrives and nothing fails:
//!
//! - a new connection hangs; it is retried after 1, 2, 4 … seconds, like on Linux, and times out after two minutes;
//! - data arrives when the link is mended (madsim retries at growing intervals, as TCP does);
//! - the end of the process at the other end is not noticed before the link is mended.
//!
//! A connection to an address where no process listens is refused by the host's kernel. To simulate the loss of a whole
//! host, kill its process *and* cut its links.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use madsim::time::{Sleep, sleep};
use madsim_tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use madsim::net::{ToSocketAddrs, lookup_host};

pub mod links;

/// The first pause before a connection is retried.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The number of attempts: one, plus Linux's `tcp_syn_retries`.
const ASKED: u32 = 7;
/// The interval at which an end behind a cut link is checked again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A connection.
#[derive(Debug)]
pub struct TcpStream {
    inner: madsim::net::TcpStream,
    local: IpAddr,
    peer: IpAddr,
    /// The other end is gone, and the notification is delayed.
    unheard: Option<Pin<Box<Sleep>>>,
}

impl TcpStream {
    /// Connects to the first address that answers.
    ///
    /// # Errors
    /// `ConnectionRefused` if no process listens there, `TimedOut` if there was no answer within two minutes.
    pub async fn connect<A: ToSocketAddrs>(to: A) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address");
        for to in lookup_host(to).await? {
            match Self::connect_to(to).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect_to(to: SocketAddr) -> io::Result<Self> {
        let reaches = || links::here().is_none_or(|here| links::both_ways(here, to.ip()));
        let mut pause = ASK_AGAIN;
        for _ in 0..ASKED {
            if reaches() {
                match madsim::net::TcpStream::connect(to).await {
                    Ok(stream) => {
                        links::make();
                        return Self::over(stream);
                    }
                    Err(error) if reaches() => return Err(error),
                    Err(_) => {}
                }
            }
            sleep(pause).await;
            pause *= 2;
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn over(inner: madsim::net::TcpStream) -> io::Result<Self> {
        let (local, peer) = (inner.local_addr()?.ip(), inner.peer_addr()?.ip());
        Ok(Self { inner, local, peer, unheard: None })
    }

    /// Has no effect: writes are never delayed.
    ///
    /// # Errors
    /// None.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// None.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// None.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(unheard) = &mut self.unheard {
                ready!(unheard.as_mut().poll(cx));
                self.unheard = None;
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            let ended = buf.filled().len() == before && buf.remaining() > 0;
            if !ended || !links::is_cut(self.peer, self.local) {
                return Poll::Ready(Ok(()));
            }
            self.unheard = Some(Box::pin(sleep(LOOK_AGAIN)));
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.inner).poll_flush(cx)) {
            // The kernel keeps data that it cannot send.
            Err(_) if !links::both_ways(self.local, self.peer) => Poll::Ready(Ok(())),
            done => Poll::Ready(done),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// An address at which connections are accepted.
#[derive(Debug)]
pub struct TcpListener(madsim::net::TcpListener);

impl TcpListener {
    /// Listens at an address.
    ///
    /// # Errors
    /// If the address is in use, or does not belong to this host.
    pub async fn bind<A: ToSocketAddrs>(at: A) -> io::Result<Self> {
        madsim::net::TcpListener::bind(at).await.map(Self)
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// If the host's network was reset.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((TcpStream::over(stream)?, peer))
    }

    /// The address of the listener.
    ///
    /// # Errors
    /// None.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
