//! Clients without a valid password that flood a node: wrong passwords at a constant rate, and connections that never
//! finish their request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kirin_wire::ADMIN;
use reqwest::StatusCode;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// The size of a flood.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Connections that log in with wrong passwords.
    pub connections: u32,
    /// Logins per second, over all connections.
    pub per_second: u32,
    /// Connections that send half of a request's header and wait.
    pub unfinished: u32,
}

/// The answers to a flood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// 401: the password was verified, and it was wrong.
    pub verified: u64,
    /// 429: refused before the password was verified.
    pub early: u64,
    /// Other answers.
    pub other: u64,
}

#[derive(Debug, Default)]
struct Counts {
    verified: AtomicU64,
    early: AtomicU64,
    other: AtomicU64,
}

/// A flood in progress. It ends when this is dropped.
#[derive(Debug)]
pub struct Strangers {
    counts: Arc<Counts>,
    tasks: Vec<JoinHandle<()>>,
}

impl Strangers {
    /// Starts a flood of the node at this URL (`http://host:port`).
    ///
    /// # Errors
    /// If the URL is not one, or the flood has no connection or no rate.
    pub fn start(runtime: &Handle, url: &str, flood: Flood) -> anyhow::Result<Self> {
        ensure!(flood.connections > 0 && flood.per_second > 0, "a flood needs connections and a rate");
        let address = url.strip_prefix("http://").context("the URL begins with http://")?.to_owned();
        let counts = Arc::<Counts>::default();
        let pause = Duration::from_secs(1) * flood.connections / flood.per_second;
        let mut tasks = Vec::new();
        for stranger in 0..flood.connections {
            let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
            let (url, counts) = (format!("{url}/kylin/api/projects"), Arc::clone(&counts));
            tasks.push(runtime.spawn(guess(http, url, stranger, pause, counts)));
        }
        tasks.extend((0..flood.unfinished).map(|_| runtime.spawn(stall(address.clone()))));
        Ok(Self { counts, tasks })
    }

    /// The answers until now.
    pub fn answers(&self) -> Answers {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { verified, early, other } = &*self.counts;
        Answers { verified: read(verified), early: read(early), other: read(other) }
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Sends a new wrong password at each tick. A node that does not answer is tried again at the next tick.
async fn guess(http: reqwest::Client, url: String, stranger: u32, pause: Duration, counts: Arc<Counts>) {
    let mut tick = interval(pause);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for guess in 0_u64.. {
        tick.tick().await;
        let password = format!("wrong-{stranger}-{guess}");
        let Ok(answer) = http.get(&url).basic_auth(ADMIN, Some(password)).send().await else { continue };
        let count = match answer.status() {
            StatusCode::UNAUTHORIZED => &counts.verified,
            StatusCode::TOO_MANY_REQUESTS => &counts.early,
            _ => &counts.other,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Keeps one connection with an unfinished request open, and opens another when the node closes it.
async fn stall(address: String) {
    let mut tick = interval(Duration::from_millis(500));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Ok(mut stream) = TcpStream::connect(&address).await else { continue };
        if stream.write_all(b"GET /kylin/api/projects HTTP/1.1\r\nhost: n").await.is_ok() {
            // Until the node closes the connection.
            let _ = stream.readable().await;
        }
    }
}
