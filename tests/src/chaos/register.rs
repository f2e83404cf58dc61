//! Metadata as registers, and a check that the answers of concurrent sessions are linearizable.
//!
//! A project is a register: it exists or not, has a job limit, and may contain a table. Creation and deletion are conditional
//! (no such project exists; the project is empty), so a lost, repeated or late write is noticed. Several sessions use the same
//! project concurrently, each request through a random node, and record the times of requests and answers. A request without a
//! certain answer may have happened at any later time, or never.
//!
//! Afterwards each project's history must be *linearizable* ([`order`]). The search may take exponential time, so histories are
//! short and numerous: a new project for every few requests of each session.
//!
//! Not here: the metastore's own contract, which `tests/tests/it/store/model` checks.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kirin_client::{Client, Kind, Login, Request};
use kirin_olap::Source;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::clients::IMPATIENCE;
use crate::order::{self, Search};

/// How long sessions pause when none gets an answer.
const PAUSE: Duration = Duration::from_millis(500);
/// After this time, a request without an answer has happened or never will.
const LATE: Duration = Duration::from_secs(60);
/// The number of concurrent sessions per project.
const SESSIONS: usize = 4;
/// The number of requests per session.
const REQUESTS: usize = 5;
/// The default job limit of a project (`kylin.job.max-concurrent-jobs`).
const LIMIT: u32 = 20;
/// The name of the table.
const TABLE: &str = "t";
/// The number of violations that are reported.
const WRONG_MAX: usize = 3;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Creates the project with this mark.
    Make(u32),
    /// Sets this job limit.
    Limit(u32),
    /// Reads the project.
    Read,
    /// Adds the table.
    AddTable,
    /// Drops the table.
    DropTable,
    /// Whether there is a table.
    Tables,
    /// Drops the project if it is empty.
    Drop,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Done.
    Done,
    /// The state does not allow it.
    Refused,
    /// The project or the table does not exist.
    Missing,
    /// The project's mark and limit.
    Project(u32, u32),
    /// Whether there is a table.
    HasTable(bool),
}

/// The session, and the node that it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    session: usize,
    node: usize,
}

/// A request of a session.
#[derive(Clone, Debug)]
pub struct Call {
    op: Op,
    asked_at: u64,
    /// The time and content of the answer; `None` if the result is unknown.
    heard: Option<(u64, Heard)>,
}

/// The requests concerning one project.
#[derive(Clone, Debug)]
pub struct History {
    /// The project's name.
    pub project: String,
    /// The requests.
    pub calls: Vec<(Asker, Call)>,
}

/// The number of checked histories, and their violations.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Histories.
    pub histories: usize,
    /// Requests in them.
    pub requests: usize,
    /// Requests with an unknown result.
    pub open: usize,
    /// Descriptions of histories that are not linearizable.
    pub wrong: Vec<String>,
}

/// The model of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Register(Option<Project>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Project {
    mark: u32,
    limit: u32,
    has_table: bool,
}

impl Register {
    /// Applies the next request and returns its answer.
    fn say(&mut self, op: &Op) -> Heard {
        let Some(project) = &mut self.0 else {
            return match op {
                Op::Make(mark) => {
                    self.0 = Some(Project { mark: *mark, limit: LIMIT, has_table: false });
                    Heard::Done
                }
                _ => Heard::Missing,
            };
        };
        match op {
            Op::Make(_) => Heard::Refused,
            Op::Limit(limit) => {
                project.limit = *limit;
                Heard::Done
            }
            Op::Read => Heard::Project(project.mark, project.limit),
            Op::AddTable if project.has_table => Heard::Refused,
            Op::AddTable => {
                project.has_table = true;
                Heard::Done
            }
            Op::DropTable if !project.has_table => Heard::Missing,
            Op::DropTable => {
                project.has_table = false;
                Heard::Done
            }
            Op::Tables => Heard::HasTable(project.has_table),
            Op::Drop if project.has_table => Heard::Refused,
            Op::Drop => {
                self.0 = None;
                Heard::Done
            }
        }
    }
}

impl order::Call for Call {
    type Model = Register;

    fn asked_at(&self) -> u64 {
        self.asked_at
    }

    fn answered_at(&self) -> Option<u64> {
        Some(self.heard.as_ref()?.0)
    }

    fn happens(&self, _: u8, register: &mut Register, _: &[&Self]) -> bool {
        let said = register.say(&self.op);
        let Some((_, heard)) = &self.heard else { return true };
        // A node that found the project and then finds it gone answers that it changed meanwhile.
        let changed = said == Heard::Missing && !matches!(self.op, Op::Read | Op::Tables) && *heard == Heard::Refused;
        said == *heard || changed
    }
}

impl History {
    /// Whether there is an order that explains the history.
    pub fn is_linearizable(&self) -> bool {
        let calls: Vec<_> = self.calls.iter().map(|(_, call)| call.clone()).collect();
        Search::new(&calls, &|_| true).finds(&Register::default())
    }

    fn told(&self) -> String {
        let mut text = String::new();
        for (Asker { session, node }, Call { op, asked_at, heard }) in &self.calls {
            let (until, heard) = heard
                .as_ref()
                .map_or(("…".to_owned(), "?".to_owned()), |(at, heard)| (at.to_string(), format!("{heard:?}")));
            // Writing to a string cannot fail.
            let _ =
                write!(text, "\n    {asked_at}..{until} session {session} through n{}: {op:?} -> {heard}", node + 1);
        }
        text
    }
}

/// Searches for an order of each history.
pub fn check(histories: &[History]) -> Checked {
    let mut checked = Checked::default();
    for history in histories.iter().filter(|history| !history.calls.is_empty()) {
        checked.histories += 1;
        checked.requests += history.calls.len();
        checked.open += history.calls.iter().filter(|(_, call)| call.heard.is_none()).count();
        if checked.wrong.len() < WRONG_MAX && !history.is_linearizable() {
            checked.wrong.push(format!("no order explains the history of {}:{}", history.project, history.told()));
        }
    }
    if checked.histories == 0 {
        checked.wrong.push("no register was put to the test".to_owned());
    }
    checked
}

/// The running sessions.
pub struct Sessions {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<History>>,
}

impl Sessions {
    /// Starts sessions on the nodes at these addresses; `source` is the source of the table.
    ///
    /// # Errors
    /// If an address is invalid.
    pub fn start(
        runtime: &tokio::runtime::Handle,
        urls: &[String],
        login: &Login,
        source: Source,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let nodes = urls.iter().map(|url| Client::new(std::slice::from_ref(url), Some(login.clone())));
        let nodes: Arc<[Client]> = nodes.collect::<Result<_, _>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = runtime.spawn(async move {
            let (mut histories, mut rounds, mut left) = (Vec::new(), 0, VecDeque::new());
            let mut dice = StdRng::seed_from_u64(seed.wrapping_mul(37));
            while !stopped.load(Ordering::Relaxed) {
                let round = Round {
                    nodes: Arc::clone(&nodes),
                    project: format!("register-{rounds}"),
                    source: source.clone(),
                    ticks: AtomicU64::new(0),
                    calls: Mutex::default(),
                };
                let history = round.play(&mut dice).await;
                let is_certain = history.calls.iter().all(|(_, call)| call.heard.is_some());
                if history.calls.iter().any(|(_, call)| call.heard.is_some()) {
                    histories.push(history);
                } else {
                    // No session gets answers, so the history shows nothing; this will last for a while.
                    sleep(PAUSE).await;
                }
                rounds += 1;
                // Keeps lists short. No session uses this name again, but unanswered requests may still happen.
                let is_over = is_certain && round.clear(&mut dice).await;
                left.extend((!is_over).then(|| (Instant::now() + LATE, round)));
                if let Some((_, late)) = left.pop_front_if(|(due, _)| *due <= Instant::now())
                    && !late.clear(&mut dice).await
                {
                    left.push_back((Instant::now() + LATE, late));
                }
            }
            histories
        });
        Ok(Self { stop, task })
    }

    /// Lets sessions finish their project, and returns the histories.
    ///
    /// # Errors
    /// If a session's task panicked.
    pub fn end(self, runtime: &tokio::runtime::Handle) -> anyhow::Result<Vec<History>> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(runtime.block_on(self.task)?)
    }
}

struct Round {
    nodes: Arc<[Client]>,
    project: String,
    source: Source,
    ticks: AtomicU64,
    calls: Mutex<Vec<(Asker, Call)>>,
}

impl Round {
    async fn play(&self, dice: &mut StdRng) -> History {
        let sessions = (0..SESSIONS).map(|session| self.work(session, StdRng::seed_from_u64(dice.random())));
        futures::future::join_all(sessions).await;
        // Reads the final state through any node.
        for op in [Op::Read, Op::Tables] {
            self.call(SESSIONS, dice.random_range(0..self.nodes.len()), op).await;
        }
        let mut calls = std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner));
        calls.sort_by_key(|(_, call)| call.asked_at);
        History { project: self.project.clone(), calls }
    }

    /// Drops the project. Returns whether it is certainly gone.
    async fn clear(&self, dice: &mut StdRng) -> bool {
        for op in [Op::DropTable, Op::Drop] {
            self.call(SESSIONS, dice.random_range(0..self.nodes.len()), op).await;
        }
        // This request is not part of the history.
        let calls = std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner));
        calls.last().is_some_and(|(_, Call { op, heard, .. })| {
            *op == Op::Drop && matches!(heard, Some((_, Heard::Done | Heard::Missing)))
        })
    }

    async fn work(&self, session: usize, mut dice: StdRng) {
        for number in 0..REQUESTS {
            let value = (100 + 10 * session + number) as u32;
            let op = match dice.random_range(0..100) {
                // All sessions start with the same request, so one of them is the first.
                _ if number == 0 => Op::Make(value),
                0..10 => Op::Make(value),
                10..32 => Op::Limit(value),
                32..55 => Op::Read,
                55..68 => Op::AddTable,
                68..77 => Op::DropTable,
                77..90 => Op::Tables,
                _ => Op::Drop,
            };
            // After a request that may still happen later, the session's requests are no longer sequential.
            if !self.call(session, dice.random_range(0..self.nodes.len()), op).await {
                return;
            }
            sleep(Duration::from_millis(dice.random_range(0..60))).await;
        }
    }

    /// Sends a request to a node and records the result; false if the result is unknown.
    async fn call(&self, session: usize, node: usize, op: Op) -> bool {
        let Ok(request) = self.request(&op) else { return false };
        let asked_at = self.ticks.fetch_add(1, Ordering::SeqCst);
        let answer = timeout(IMPATIENCE, self.nodes[node].call::<Value>(request)).await;
        let heard = match answer {
            Ok(Ok(answer)) => self.heard(&op, &answer),
            Ok(Err(failure)) => match failure.kind {
                Kind::NotFound => Some(Heard::Missing),
                Kind::Refused => Some(Heard::Refused),
                // Nothing was sent.
                Kind::Unreachable if failure.what.starts_with("cannot reach any node") => return true,
                _ => None,
            },
            Err(_) => None,
        };
        // A read without an answer shows nothing and changes nothing.
        if heard.is_none() && matches!(op, Op::Read | Op::Tables) {
            return true;
        }
        let is_known = heard.is_some();
        let heard = heard.map(|heard| (self.ticks.fetch_add(1, Ordering::SeqCst), heard));
        let call = (Asker { session, node }, Call { op, asked_at, heard });
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        is_known
    }

    fn request(&self, op: &Op) -> Result<Request, kirin_client::Error> {
        let project = self.project.as_str();
        match op {
            Op::Make(mark) => {
                Request::post(&["projects"]).body(&json!({ "name": project, "description": mark.to_string() }))
            }
            Op::Limit(limit) => Request::put(&["projects", project, "project_config"])
                .body(&json!({ "kylin.job.max-concurrent-jobs": limit })),
            Op::Read => Ok(Request::get(&["projects"]).with("page_size", 100_000)),
            Op::AddTable => {
                Request::post(&["tables"]).body(&json!({ "project": project, "name": TABLE, "source": self.source }))
            }
            Op::DropTable => Ok(Request::delete(&["tables", TABLE]).with("project", project)),
            Op::Tables => Ok(Request::get(&["tables"]).with("project", project)),
            Op::Drop => Ok(Request::delete(&["projects", project])),
        }
    }

    fn heard(&self, op: &Op, answer: &Value) -> Option<Heard> {
        let rows = || answer["value"].as_array();
        Some(match op {
            Op::Read => match rows()?.iter().find(|row| row["name"] == self.project) {
                None => Heard::Missing,
                Some(row) => Heard::Project(
                    row["description"].as_str()?.parse().ok()?,
                    row["override_kylin_properties"]["kylin.job.max-concurrent-jobs"].as_str()?.parse().ok()?,
                ),
            },
            Op::Tables => Heard::HasTable(rows()?.iter().any(|row| row["name"] == TABLE)),
            _ => Heard::Done,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times of request and answer, the request, and the answer; time 0 means no answer.
    type Told = (u64, u64, Op, Heard);

    fn is_linearizable(calls: &[Told]) -> bool {
        let call = |(asked_at, answered, op, heard): &Told| {
            let heard = (*answered > 0).then(|| (*answered, heard.clone()));
            (Asker { session: 0, node: 0 }, Call { op: op.clone(), asked_at: *asked_at, heard })
        };
        History { project: "p".to_owned(), calls: calls.iter().map(call).collect() }.is_linearizable()
    }

    #[test]
    fn overlapping_requests_may_have_happened_in_either_order() {
        use {Heard::*, Op::*};
        let begin = (0, 1, Make(1), Done);
        for (seen, order) in [(7, "before"), (8, "after")] {
            let calls = [begin.clone(), (2, 4, Limit(7), Done), (3, 5, Limit(8), Done), (6, 7, Read, Project(1, seen))];
            assert!(is_linearizable(&calls), "{order}");
        }
        // One of two creates the project, and the other is refused.
        assert!(is_linearizable(&[(0, 3, Make(1), Refused), (1, 2, Make(2), Done)]));
        // The project was found and then gone.
        assert!(is_linearizable(&[begin, (2, 5, Limit(7), Refused), (3, 4, Drop, Done)]));
    }

    #[test]
    fn a_request_without_an_answer_may_happen_later_or_never() {
        use {Heard::*, Op::*};
        let begin = [(0, 1, Make(1), Done), (2, 0, Limit(7), Done)];
        let read = |at: u64, limit| (at, at + 1, Read, Project(1, limit));
        assert!(is_linearizable(&[&begin[..], &[read(3, LIMIT), read(5, LIMIT)]].concat()));
        assert!(is_linearizable(&[&begin[..], &[read(3, LIMIT), read(5, 7)]].concat()));
        assert!(
            !is_linearizable(&[&begin[..], &[read(3, 7), read(5, LIMIT)]].concat()),
            "a limit that was read cannot be undone"
        );
    }

    #[test]
    fn broken_histories_are_found() {
        use {Heard::*, Op::*};
        let begin = (0, 1, Make(1), Done);
        let broken: [(&str, &[Told]); 7] = [
            ("a stale read after an acknowledged write", &[(2, 3, Limit(7), Done), (4, 5, Read, Project(1, LIMIT))]),
            ("a lost update", &[(2, 4, Limit(7), Done), (3, 5, Limit(8), Done), (6, 7, Read, Project(1, LIMIT))]),
            ("a project made twice", &[(2, 4, Drop, Done), (5, 7, Make(2), Done), (6, 8, Make(3), Done)]),
            ("an acknowledged table that is not seen", &[(2, 3, AddTable, Done), (4, 5, Tables, HasTable(false))]),
            ("a table that went with its project", &[(2, 4, AddTable, Done), (3, 5, Drop, Done)]),
            ("a project that came back", &[(2, 3, Drop, Done), (4, 5, Read, Project(1, LIMIT))]),
            (
                "two readers who disagree on the order",
                &[(2, 9, Limit(7), Done), (3, 4, Read, Project(1, 7)), (5, 6, Read, Project(1, LIMIT))],
            ),
        ];
        for (what, calls) in broken {
            assert!(!is_linearizable(&[std::slice::from_ref(&begin), calls].concat()), "{what}");
        }
    }

    #[test]
    fn the_worst_history_of_a_round_is_searched_in_time() {
        use {Heard::*, Op::*};
        // All sessions write concurrently, and then a read returns a value that no session wrote.
        let mut calls = vec![(0, 1, Make(1), Done)];
        for number in 0..REQUESTS as u64 - 1 {
            for session in 0..SESSIONS {
                let at = 2 + number * 2 * SESSIONS as u64 + session as u64;
                calls.push((at, at + SESSIONS as u64, Limit(at as u32), Done));
            }
        }
        calls.push((1_000, 1_001, Read, Project(1, 99_999)));
        let begun = std::time::Instant::now();
        assert!(!is_linearizable(&calls));
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }
}
