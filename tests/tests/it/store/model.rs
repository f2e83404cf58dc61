//! The simulator's metastore is true: the model ([`kirin_sim::store`]) answers what the servers answer.
//!
//! Three proofs, from the cheapest to the strongest:
//!
//! 1. The *conformance suite* that SQLite, PostgreSQL and MariaDB pass is passed by the model.
//! 2. [`sequential`]: a random history of requests is told to the model and to a server; every answer is compared, and
//!    after every request all rows that the contract can see.
//! 3. [`concurrent`]: several clients ask a server at once. Some order of the requests that respects real time must make
//!    the model give the answers that were heard and end in the rows that the server has.
//!
//! A history is drawn from small domains ([`wish`]): three nodes, two projects, a few jobs, six keys, stale and future
//! epochs, beats, steps and incarnations on purpose. It shrinks. `PROPTEST_CASES` sets how many are drawn.
//!
//! What is taken over from the server, because the contract lets the metastore choose it: the number of a node (the first
//! time its name joins), the number of a job and the numbers of projects. The model is told them ([`follow`]), and they are
//! checked for what the contract says of them: one name is one node, no number comes twice, and who asked later has the
//! greater number. Nothing else is normalised: all lists of the contract are sorted.
//!
//! What is not compared, because the contract does not show it: names, addresses, texts, wall time, attempts and step rows,
//! segments, documents, why a member ended. Nor what no request of a healthy server meets: lost replies, deadlines,
//! failovers. Those belong to the way to the metastore, which the simulated world makes up by itself.

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

/// The model's answer to a request that a server answered. What only the server can choose is taken from its answer.
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

/// The requests that show every row: all members, claims, projects, all jobs that are open, and these.
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

/// As many cases as `PROPTEST_CASES` says, or these.
fn cases(usual: u32) -> Config {
    // The usual ones are the same each time: a search for new ones is asked for.
    let (cases, rng_seed) = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => (Config::default().cases, RngSeed::Random),
        None => (usual, RngSeed::Fixed(1)),
    };
    Config { cases, rng_seed, failure_persistence: None, max_shrink_time: 120_000, ..Config::default() }
}

/// The model behind the contract's front door.
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
