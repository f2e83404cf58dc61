//! The simulator's metastore model ([`kirin_sim::store`]) agrees with the servers.
//!
//! Three proofs, from the cheapest to the strongest:
//!
//! 1. The model passes the same *conformance suite* as SQLite, PostgreSQL and MariaDB.
//! 2. [`sequential`]: a random history of requests runs on the model and on a server. Every answer is compared, and
//!    after every
//!    request all rows that the contract can see.
//! 3. [`concurrent`]: several clients send requests to a server at once. For some order of the requests that respects
//!    real time,
//!    the model must give the observed answers and end with the server's rows.
//!
//! Histories are drawn from small domains ([`wish`]): three nodes, two projects, a few jobs, six keys, and
//! intentionally stale and future epochs, beats, steps and incarnations. Failing histories are shrunk. `PROPTEST_CASES`
//! sets the number of histories.
//!
//! The contract lets the metastore choose the number of a node (at the first join of its name), the number of a job and
//! the numbers of projects. The model takes them from the server ([`follow`]), and they are checked: one name has one
//! node, no number repeats, and later requests have greater numbers. Nothing else is normalised, because all lists of
//! the contract are sorted.
//!
//! The contract does not show names, addresses, texts, wall time, attempts and step rows, segments, documents, or why a
//! member ended, so these are not compared. Lost replies, deadlines and failovers do not occur with a healthy server.
//! They belong to the connection to the metastore, which the simulated world models itself.

mod concurrent;
mod order;
mod sequential;
mod server;
mod wish;

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures::future::BoxFuture;
use kirin_core::ask::{JobId, ProjectId};
use kirin_core::{Answer, Ask, NodeId, ProjectRow};
use kirin_sim::store::Store as Model;
use kirin_tests::conformance::{self, Contract};
use proptest::test_runner::{Config, RngSeed};

/// The model's answer to a request. Numbers that only the server can choose are taken from the server's answer.
fn follow(model: &mut Model, ask: &Ask, heard: &Answer) -> Answer {
    let name = match heard {
        Answer::Joined(member) => member.node,
        _ => NodeId(0),
    };
    if let Answer::Accepted { row, fresh: true } = heard {
        model.number_next(row.id);
    }
    model.ask(name, ask)
}

/// The requests that show every row: all members, claims, projects, all open jobs, and these jobs.
fn looks(jobs: Vec<JobId>) -> [Ask; 3] {
    [Ask::List, Ask::ListJobs, Ask::ReadJobs(jobs)]
}

/// Runs a test on a stack of 64 MiB. Without optimization, drawing a request takes large frames, and the search for an order
/// goes one call deeper for each request of a history.
fn deep(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(test).expect("a thread starts");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The number of cases: `PROPTEST_CASES`, or the given default.
fn cases(usual: u32) -> Config {
    // By default, the cases are the same in each run. `PROPTEST_CASES` requests new ones.
    let (cases, rng_seed) = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => (Config::default().cases, RngSeed::Random),
        None => (usual, RngSeed::Fixed(1)),
    };
    Config { cases, rng_seed, failure_persistence: None, max_shrink_time: 120_000, ..Config::default() }
}

/// The model behind the interface of the contract.
#[derive(Default)]
struct Modelled(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    model: Model,
    nodes: BTreeMap<String, NodeId>,
    projects: u32,
}

impl Contract for Modelled {
    fn ask(&self, node: &str, ask: Ask) -> BoxFuture<'_, Answer> {
        let mut inner = self.0.lock().expect("no panic while held");
        let next = NodeId(u32::try_from(inner.nodes.len()).expect("few nodes") + 1);
        let name = match &ask {
            Ask::Join { .. } => *inner.nodes.entry(node.to_owned()).or_insert(next),
            _ => NodeId(0),
        };
        Box::pin(std::future::ready(inner.model.ask(name, &ask)))
    }

    fn project(&self, _: &str, limit: u32) -> BoxFuture<'_, ProjectId> {
        let mut inner = self.0.lock().expect("no panic while held");
        inner.projects += 1;
        let id = ProjectId(inner.projects);
        inner.model.add_project(ProjectRow { id, limit });
        Box::pin(std::future::ready(id))
    }
}

macro_rules! suite {
    ($($case:ident)*) => {
        mod suite {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    conformance::$case(std::sync::Arc::new(Modelled::default())).await;
                }
            )*
        }
    };
}

kirin_tests::conformance_cases!(suite);
