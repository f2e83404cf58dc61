//! One server: it accepts connections, and passes frames to and from the ensemble.

use std::io;
use std::time::Duration;

use madsim::rand::Rng as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::ensemble::{Ensemble, Greeting, Reception};
use crate::jute::Reader;
use crate::request;

/// The maximum length of a frame (`jute.maxbuffer`).
const FRAME_MAX: u32 = 1 << 20;
/// The time that the servers take to agree on a write.
const AGREEMENT_US: std::ops::Range<u64> = 500..4_000;

impl Ensemble {
    /// Runs a server until its process is killed.
    pub async fn serve(&self, server: usize, listener: TcpListener) {
        let run = self.rise(server);
        let _up = Up { ensemble: self.clone(), run };
        let accept = async {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let ensemble = self.clone();
                tokio::spawn(async move {
                    if let Err(error) = ensemble.converse(run, stream).await {
                        tracing::trace!(server, %error, "a client of ZooKeeper disconnected");
                    }
                });
            }
        };
        let ticks = async {
            loop {
                sleep(self.settings.tick).await;
                self.tick();
            }
        };
        tokio::select! {
            biased;
            () = accept => {}
            () = ticks => {}
        }
    }

    async fn converse(&self, run: u64, stream: TcpStream) -> io::Result<()> {
        let (mut from, mut to) = tokio::io::split(stream);
        let hello = frame(&mut from).await?;
        let greeting = greeting(&hello).map_err(|_| io::ErrorKind::InvalidData)?;
        let (connection, mut outbox, welcome) = match self.attach(run, &greeting) {
            Reception::In { connection, outbox, welcome } => (connection, outbox, welcome),
            Reception::Out(farewell) => {
                to.write_all(&farewell).await?;
                return to.flush().await;
            }
            Reception::Rejected => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        let _attachment = Attachment { ensemble: self.clone(), connection };
        to.write_all(&welcome).await?;
        to.flush().await?;
        let hear = async {
            loop {
                let asked = frame(&mut from).await?;
                if request::waits(&asked) {
                    sleep(Duration::from_micros(madsim::rand::thread_rng().gen_range(AGREEMENT_US))).await;
                }
                if !self.handle(connection, &asked) {
                    return Ok(());
                }
            }
        };
        let say = async {
            // Messages from before the end are still sent.
            while let Some(frame) = outbox.recv().await {
                to.write_all(&frame).await?;
                to.flush().await?;
            }
            Ok(())
        };
        tokio::pin!(hear, say);
        let heard: io::Result<()> = tokio::select! {
            biased;
            said = &mut say => return said,
            heard = &mut hear => heard,
        };
        self.detach(connection);
        heard.and(say.await)
    }
}

/// A running server. Its process may be killed at any moment.
struct Up {
    ensemble: Ensemble,
    run: u64,
}

impl Drop for Up {
    fn drop(&mut self) {
        self.ensemble.sink(self.run);
    }
}

/// An open connection. Its process may be killed at any moment.
struct Attachment {
    ensemble: Ensemble,
    connection: u64,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.ensemble.detach(self.connection);
    }
}

async fn frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let len = from.read_u32().await?;
    if len > FRAME_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; len as usize];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

fn greeting(frame: &[u8]) -> Result<Greeting, crate::code::Code> {
    let mut body = Reader::new(frame);
    let _protocol = body.i32()?;
    let zxid = body.i64()?;
    let timeout = Duration::from_millis(u64::try_from(body.i32()?).unwrap_or(0));
    let session = body.i64()?;
    let password = body.buffer()?.to_vec();
    Ok(Greeting { zxid, timeout, session, password })
}
