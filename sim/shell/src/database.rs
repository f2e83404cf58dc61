//! The database: `kirin_sim`'s model of the metastore on its own machine, reached over connections.
//!
//! A request that has reached the database is executed, even if no client waits for the answer any more. Committed data
//! survives the process.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kirin_core::ask::{Epoch, Fence, JobId};
use kirin_core::{Answer, Ask, Member, NodeId, Outcome, ProjectRow};
use kirin_sim::store::Store;
use madsim::rand::Rng as _;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::wire;

/// The duration of a transaction, half of it before and half after the commit. A few transactions are slower.
const TRANSACTION_US: std::ops::Range<u64> = 100..3_000;
const SLOW_US: std::ops::Range<u64> = 100_000..4_000_000;
const SLOW_ONE_IN: u32 = 150;

/// What a node states about itself when it joins.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Card {
    /// Its name.
    pub name: String,
    /// The address of its links.
    pub link: String,
    /// The address of its API.
    pub http: String,
}

/// A request to the database.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// A request of the contract, with the data that the shell adds.
    Ask {
        /// The node that asks.
        node: NodeId,
        /// The request.
        ask: Ask,
        /// The card, for a join.
        card: Card,
        /// The report of the step or attempt.
        report: Option<String>,
    },
    /// Read the living members.
    Directory,
}

/// An answer of the database.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The answer to a request of the contract.
    Answer(Answer),
    /// The living members.
    Directory(Vec<(Member, Card)>),
}

/// The committed data, and the judge's notes about it.
#[derive(Default)]
pub struct Tables {
    /// The data of the contract.
    pub store: Store,
    /// The epoch under which each step was committed.
    pub steps: BTreeMap<(JobId, u32), Epoch>,
    /// The epochs under which each job was published.
    pub published: BTreeMap<JobId, Vec<Epoch>>,
    /// The violations found.
    pub violations: Vec<String>,
    cards: BTreeMap<Member, Card>,
}

/// The database. Clones share their state.
#[derive(Clone)]
pub struct Database {
    tables: Arc<Mutex<Tables>>,
    /// Whether some transactions are slow.
    slow: bool,
}

impl Database {
    /// An empty metastore with these projects. If `slow`, some transactions are slow.
    pub fn new(projects: Vec<ProjectRow>, slow: bool) -> Self {
        let tables = Tables { store: Store::new(projects), ..Tables::default() };
        Self { tables: Arc::new(Mutex::new(tables)), slow }
    }

    /// The committed data.
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the database's process until it is killed.
    pub async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let database = self.clone();
            tokio::spawn(async move {
                if let Err(error) = database.converse(stream).await {
                    tracing::trace!(%error, "a client of the database disconnected");
                }
            });
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let request: Request = wire::receive(&mut stream).await?;
            self.work().await;
            let reply = self.tables().transact(request);
            self.work().await;
            wire::send(&mut stream, &reply).await?;
        }
    }

    async fn work(&self) {
        let mut chance = madsim::rand::thread_rng();
        let slow = self.slow && chance.gen_ratio(1, SLOW_ONE_IN);
        let span = chance.gen_range(if slow { SLOW_US } else { TRANSACTION_US });
        sleep(Duration::from_micros(span)).await;
    }
}

impl Tables {
    fn transact(&mut self, request: Request) -> Reply {
        match request {
            Request::Directory => {
                let living = self.store.living().map(|row| row.member);
                Reply::Directory(living.filter_map(|member| Some((member, self.cards.get(&member)?.clone()))).collect())
            }
            Request::Ask { node, ask, card, report } => {
                let answer = self.store.ask(node, &ask);
                if !matches!(ask, Ask::List | Ask::ListJobs | Ask::ListNode(_) | Ask::ReadJobs(_) | Ask::Beat { .. }) {
                    tracing::debug!(?node, ?ask, ?answer, "transaction");
                }
                self.witness(&ask, &answer, report.as_deref(), card);
                Reply::Answer(answer)
            }
        }
    }

    /// Checks and records a commit.
    fn witness(&mut self, ask: &Ask, answer: &Answer, report: Option<&str>, card: Card) {
        match (ask, answer) {
            (Ask::Join { .. }, Answer::Joined(member)) => drop(self.cards.insert(*member, card)),
            (Ask::CommitStep { fence, step, .. }, Answer::Done) => {
                if report != Some(&step_report(*fence, *step)) {
                    self.violate(format!("{fence:?} step {step} was committed with the report {report:?}"));
                }
                if let Some(before) = self.steps.insert((fence.job, *step), fence.epoch) {
                    self.violate(format!("{fence:?} step {step} was already committed under {before:?}"));
                }
            }
            (Ask::Finish { fence, outcome: Outcome::Succeeded, .. }, Answer::Done) => {
                if report != Some(&end_report(*fence)) {
                    self.violate(format!("{fence:?} was finished with the report {report:?}"));
                }
                self.published.entry(fence.job).or_default().push(fence.epoch);
            }
            _ => {}
        }
    }

    /// Checks that a beginning step is the first uncommitted one, if the fence is the job's current one.
    pub fn begins(&mut self, fence: Fence, step: u32) {
        let Some(row) = self.store.job(fence.job).copied() else {
            return self.violate(format!("{fence:?} belongs to no job"));
        };
        if row.epoch == fence.epoch && row.holder.is_some() && row.steps != step {
            self.violate(format!("{fence:?} begins step {step}, but {} are committed", row.steps));
        }
        if let Some(epoch) = self.steps.get(&(fence.job, step)).filter(|epoch| **epoch < fence.epoch) {
            self.violate(format!("{fence:?} does step {step} again, which was committed under {epoch:?}"));
        }
    }

    fn violate(&mut self, what: String) {
        tracing::error!(what, "violated");
        self.violations.push(what);
    }
}

/// The report of a step.
pub fn step_report(fence: Fence, step: u32) -> String {
    format!("step {step} of {}.{}", fence.job.0, fence.epoch.0)
}

/// The report of an attempt's end.
pub fn end_report(fence: Fence) -> String {
    format!("end of {}.{}", fence.job.0, fence.epoch.0)
}

/// A node's connection to the database. It behaves like the production store: it returns an answer, `Failed` if the
/// request was never sent, or `Unknown` if it was, always within its timeout.
#[derive(Clone)]
pub struct Client {
    at: SocketAddr,
    patience: Duration,
    idle: Arc<Mutex<Vec<TcpStream>>>,
}

/// Why there is no answer.
#[derive(Debug)]
enum Fault {
    Unsent,
    Unanswered,
}

impl Client {
    /// A client that connects on demand.
    pub fn new(at: SocketAddr, patience: Duration) -> Self {
        Self { at, patience, idle: Arc::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request of the contract.
    pub async fn ask(&self, node: NodeId, ask: Ask, card: Card, report: Option<String>) -> Answer {
        match self.call(&Request::Ask { node, ask, card, report }).await {
            Ok(Reply::Answer(answer)) => answer,
            Ok(Reply::Directory(_)) | Err(Fault::Unanswered) => Answer::Unknown,
            Err(Fault::Unsent) => Answer::Failed,
        }
    }

    /// The living members; empty if there is no answer.
    pub async fn directory(&self) -> Vec<(Member, Card)> {
        match self.call(&Request::Directory).await {
            Ok(Reply::Directory(members)) => members,
            _ => Vec::new(),
        }
    }

    async fn call(&self, request: &Request) -> Result<Reply, Fault> {
        let mut sent = false;
        let talk = async {
            let idle = self.idle().pop();
            let mut stream = match idle {
                Some(stream) => stream,
                None => TcpStream::connect(self.at).await?,
            };
            sent = true;
            wire::send(&mut stream, request).await?;
            let reply = wire::receive(&mut stream).await?;
            self.idle().push(stream);
            io::Result::Ok(reply)
        };
        if let Ok(Ok(reply)) = timeout(self.patience, talk).await {
            return Ok(reply);
        }
        // The other idle connections have most likely failed as well.
        self.idle().clear();
        Err(if sent { Fault::Unanswered } else { Fault::Unsent })
    }
}
