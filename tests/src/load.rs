//! Requests at a steady rate over kept connections. Each request is timed from the moment at which it was due, so slow answers
//! do not lower the rate (no coordinated omission).
//!
//! The requests change nothing, so a client may repeat them (RFC 9110, section 9.2.2). A client repeats a request once: when its
//! connection is closed before an answer, and when the load balancer reports a lost answer.

#![expect(clippy::disallowed_methods, reason = "real requests take real time")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use kirin_client::Login;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// The number of clients, which take turns. Each has an address of its own. All but the last keep their connections.
const CLIENTS: usize = 5;
/// The timeout of a request.
const IMPATIENCE: Duration = Duration::from_secs(30);

/// A request and its expected answer.
#[derive(Clone, Debug)]
pub struct Question {
    method: Method,
    path: &'static str,
    body: Option<Value>,
    /// The part of the answer that is compared, as a JSON pointer.
    part: &'static str,
    expected: Value,
}

impl Question {
    /// A read.
    pub fn read(path: &'static str, part: &'static str, expected: Value) -> Self {
        Self { method: Method::GET, path, body: None, part, expected }
    }

    /// A query.
    pub fn query(project: &str, sql: &str, results: Value) -> Self {
        let body = serde_json::json!({ "project": project, "sql": sql });
        let path = "/kylin/api/query";
        Self { method: Method::POST, path, body: Some(body), part: "/data/results", expected: results }
    }
}

/// The results of one phase.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Durations in microseconds, from the moment at which each request was due.
    pub times: Histogram<u64>,
    /// The number of repeated requests.
    pub repeated: u64,
    /// Descriptions of the failed requests.
    pub failed: Vec<String>,
}

/// A running load.
pub struct Load {
    phase: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<Vec<Tally>>>,
}

struct Clients {
    http: Vec<reqwest::Client>,
    url: String,
    login: Login,
    questions: Vec<Question>,
    lost: Option<StatusCode>,
}

impl Load {
    /// Sends `rate` requests a second, tallied separately for each of `phases` phases. `lost` is the answer of the load balancer
    /// to a request that it forwarded without getting an answer.
    ///
    /// # Errors
    /// If a request is not answered at the beginning.
    pub async fn start(
        url: &str,
        login: &Login,
        questions: Vec<Question>,
        rate: u64,
        phases: usize,
        lost: Option<StatusCode>,
    ) -> anyhow::Result<Self> {
        let http = (0..CLIENTS).map(|number| {
            let address = IpAddr::V4(Ipv4Addr::new(127, 0, u8::try_from(number).unwrap_or(0), 1));
            let client = reqwest::Client::builder().local_address(address).timeout(IMPATIENCE).no_proxy();
            if keeps(number) { client } else { client.pool_max_idle_per_host(0) }.build()
        });
        let http = http.collect::<Result<_, _>>()?;
        let clients = Clients { http, url: url.to_owned(), login: login.clone(), questions, lost };
        for number in 0..clients.questions.len() {
            clients.ask(number).await.1.map_err(anyhow::Error::msg)?;
        }
        let (phase, sent, stop) = (Arc::default(), Arc::default(), Arc::default());
        let task = ask_on(
            Arc::new(clients),
            Duration::from_secs(1) / u32::try_from(rate)?,
            phases,
            (Arc::clone(&phase), Arc::clone(&sent), Arc::clone(&stop)),
        );
        Ok(Self { phase, sent, stop, task: tokio::spawn(task) })
    }

    /// Counts further requests in this phase.
    pub fn set_phase(&self, phase: usize) {
        self.phase.store(phase, Ordering::Relaxed);
    }

    /// The number of requests sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops and returns the results of each phase.
    ///
    /// # Errors
    /// If a task of the load panicked.
    pub async fn end(self) -> anyhow::Result<Vec<Tally>> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

type Controls = (Arc<AtomicUsize>, Arc<AtomicU64>, Arc<AtomicBool>);

async fn ask_on(
    clients: Arc<Clients>,
    every: Duration,
    phases: usize,
    (phase, sent, stop): Controls,
) -> anyhow::Result<Vec<Tally>> {
    let none = Tally { times: Histogram::new(3)?, repeated: 0, failed: Vec::new() };
    let mut tallies = vec![none; phases];
    let mut open = JoinSet::new();
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        sleep_until(due).await;
        let (clients, phase) = (Arc::clone(&clients), phase.load(Ordering::Relaxed));
        let number = usize::try_from(sent.fetch_add(1, Ordering::Relaxed))?;
        open.spawn(async move {
            let (repeated, outcome) = clients.ask(number).await;
            (phase, due.elapsed(), repeated, outcome)
        });
        due += every;
        while let Some(done) = open.try_join_next() {
            note(&mut tallies, done?)?;
        }
    }
    while let Some(done) = open.join_next().await {
        note(&mut tallies, done?)?;
    }
    Ok(tallies)
}

type Done = (usize, Duration, bool, Result<(), String>);

fn note(tallies: &mut [Tally], (phase, took, repeated, outcome): Done) -> anyhow::Result<()> {
    let tally = &mut tallies[phase];
    tally.times.record(u64::try_from(took.as_micros())?)?;
    tally.repeated += u64::from(repeated);
    tally.failed.extend(outcome.err());
    Ok(())
}

fn keeps(client: usize) -> bool {
    client + 1 < CLIENTS
}

enum Heard {
    Answer(StatusCode, Value),
    /// The connection was closed without an answer.
    Nothing(reqwest::Error),
}

impl Clients {
    /// Whether the request was repeated, and its result.
    async fn ask(&self, number: usize) -> (bool, Result<(), String>) {
        let question = &self.questions[number % self.questions.len()];
        // Every client sends every kind of request.
        let client = number / self.questions.len() % CLIENTS;
        let first = self.send(client, question).await;
        let again = match &first {
            Heard::Answer(status, _) => Some(*status) == self.lost,
            Heard::Nothing(error) => !error.is_timeout() && !error.is_connect(),
        };
        if !again {
            return (false, question.check(first));
        }
        // Over a new connection: all kept ones may be closed.
        (true, question.check(self.send(CLIENTS - 1, question).await))
    }

    async fn send(&self, client: usize, question: &Question) -> Heard {
        let mut request = self.http[client].request(question.method.clone(), format!("{}{}", self.url, question.path));
        request = request.basic_auth(self.login.user(), Some(self.login.password()));
        if let Some(body) = &question.body {
            request = request.json(body);
        }
        if !keeps(client) {
            request = request.header(reqwest::header::CONNECTION, "close");
        }
        match request.send().await {
            Ok(response) => {
                let status = response.status();
                match response.bytes().await {
                    Ok(body) => Heard::Answer(status, serde_json::from_slice(&body).unwrap_or_default()),
                    Err(error) => Heard::Nothing(error),
                }
            }
            Err(error) => Heard::Nothing(error),
        }
    }
}

impl Question {
    fn check(&self, heard: Heard) -> Result<(), String> {
        match heard {
            Heard::Answer(StatusCode::OK, body) if body.pointer(self.part) == Some(&self.expected) => Ok(()),
            Heard::Answer(status, body) => Err(format!("{} {}: {status} {body}", self.method, self.path)),
            Heard::Nothing(error) => Err(format!("{} {}: {error:?}", self.method, self.path)),
        }
    }
}
