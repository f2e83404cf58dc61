//! Concurrent clients: their answers and the final rows follow from some order of the requests in the model.
//!
//! A history starts with a few sequential requests. Then all clients send their requests at once, each client
//! sequentially, through the connections of three stores. A client's request depends on all answers so far, as far as
//! their order is known. So requests are plausible, and often stale. A request that certainly did not happen (a victim
//! of conflicts until its deadline) is not part of the history.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::join_all;
use kirin_core::Answer;
use kirin_sim::store::Store as Model;
use kirin_store::Planted;
use kirin_tests::conformance::Contract as _;
use kirin_tests::order::Search;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use super::order::Call;
use super::sequential::{agreed, tell};
use super::server::Server;
use super::wish::{Known, Wish, limits, name, posts, takes, two_join, wishes};
use super::{cases, deep, follow, looks};
use crate::store::{Clients, On};

/// The drawn values: limits, the sequential requests, and the requests of each client.
type Drawn = ([u32; 2], Vec<Wish>, Vec<Vec<Wish>>);

fn drawn() -> impl Strategy<Value = Drawn> {
    (limits(), wishes(4..12), proptest::collection::vec(wishes(1..5), 4..8))
}

/// Runs all clients at once. Returns the calls.
async fn race(clients: &Arc<Clients>, known: &Known, wanted: &[Vec<Wish>]) -> Vec<Call> {
    let known = Arc::new(Mutex::new(known.clone()));
    let clock = Arc::new(AtomicU64::new(0));
    let tasks = wanted.iter().cloned().enumerate().map(|(client, wishes)| {
        let (clients, known, clock) = (clients.clone(), known.clone(), clock.clone());
        tokio::spawn(async move {
            let mut calls = Vec::new();
            for wish in wishes {
                let ask = known.lock().expect("no panic while held").ask(&wish);
                let asked_at = clock.fetch_add(1, Ordering::SeqCst);
                let heard = clients.ask(&name(wish.node), ask.clone()).await;
                let answered_at = clock.fetch_add(1, Ordering::SeqCst);
                // Only a guess, because answers may arrive in another order than the commits.
                known
                    .lock()
                    .expect("no panic while held")
                    .learn(wish.node, &ask, &heard)
                    .expect("one name is one node");
                if heard != Answer::Failed {
                    calls.push(Call { client, ask, heard, asked_at, answered_at });
                }
            }
            calls
        })
    });
    let mut calls: Vec<Call> =
        join_all(tasks).await.into_iter().flat_map(|calls| calls.expect("no client panics")).collect();
    calls.sort_by_key(|call| call.asked_at);
    calls
}

/// Runs a history. Returns an error if no order explains it.
async fn run(clients: &Arc<Clients>, (limits, before, wanted): &Drawn) -> Result<(), String> {
    let mut known = Known::begin(clients, *limits).await;
    tell(clients, &mut known, two_join().chain(before.iter().cloned())).await?;
    let calls = race(clients, &known, wanted).await;
    let fresh = calls.iter().filter_map(|call| match &call.heard {
        Answer::Accepted { row, fresh: true } => Some((row.id, call)),
        _ => None,
    });
    let fresh: Vec<_> = fresh.collect();
    for ((id, call), (later_id, later)) in fresh.iter().flat_map(|one| fresh.iter().map(move |other| (one, other))) {
        if call.answered_at < later.asked_at && id >= later_id {
            return Err(format!("{id:?} was given before {later_id:?}:\n{}", shown(&calls)));
        }
    }
    let jobs = known.model.jobs().map(|row| row.id).chain(fresh.iter().map(|(id, _)| *id)).collect();
    let mut end = Vec::new();
    for look in looks(jobs) {
        let heard = clients.ask("", look.clone()).await;
        end.push((look, heard));
    }
    let is_end = |model: &Model| {
        let mut model = model.clone();
        end.iter().all(|(look, heard)| follow(&mut model, look, heard) == *heard)
    };
    let mut search = Search::new(&calls, &is_end);
    if search.finds(&known.model) {
        return Ok(());
    }
    let mut why =
        format!("no order explains\n{}the best order was {:?}; the final rows are\n", shown(&calls), search.best);
    for (look, heard) in &end {
        let _ = writeln!(why, "  {look:?}: {heard:?}");
    }
    Err(why)
}

fn shown(calls: &[Call]) -> String {
    let mut text = String::new();
    for (at, Call { client, ask, heard, asked_at, answered_at }) in calls.iter().enumerate() {
        let _ = writeln!(text, "  {at:2} client {client} {asked_at:2}..{answered_at:2} {ask:?}: {heard:?}");
    }
    text
}

/// The number of tries of a history, because a race has a different outcome each time.
const TRIES: usize = 6;

fn differ(server: &Server, config: Config, drawn: &impl Strategy<Value = Drawn>) -> Result<(), TestError<Drawn>> {
    let failed = std::cell::Cell::new(false);
    TestRunner::new(config).run(drawn, |drawn| {
        for _ in 0..if failed.get() { TRIES } else { 1 } {
            if let Err(why) = server.run(run(&server.clients, &drawn)) {
                failed.set(true);
                return Err(TestCaseError::fail(format!("\n{why}\n")));
            }
        }
        Ok(())
    })
}

fn an_order_explains(on: On) {
    deep(move || {
        for batch in [true, false] {
            let server = Server::open(on, |config| config.batch = batch);
            agreed(differ(&server, cases(24), &drawn()));
        }
    });
}

#[test]
fn an_order_explains_sqlite() {
    an_order_explains(On::Sqlite);
}

#[test]
fn an_order_explains_postgres() {
    an_order_explains(On::Postgres);
}

#[test]
fn an_order_explains_mariadb() {
    an_order_explains(On::MariaDb);
}

/// Concurrent requests for the places of one project.
fn crowd(places: u32) -> impl Strategy<Value = Drawn> {
    (Just([places, 1]), Just(posts(6).collect()), proptest::collection::vec(takes(1..3), 12..16))
}

/// Locks whose absence does not affect sequential requests. Only a race reveals it.
const RACES: [(On, u32, Planted); 2] = [
    (On::Postgres, 1, Planted { statement: "take_scope_lock", part: "FOR NO KEY UPDATE", instead: "" }),
    // So many places that no take locks the project.
    (On::MariaDb, 1_000, Planted { statement: "take_candidates", part: "{for_update}", instead: "" }),
];

#[test]
fn no_order_explains_a_server_without_its_locks() {
    deep(|| {
        for (on, places, planted) in RACES {
            let server = Server::open(on, |config| (config.planted, config.batch) = (Some(planted), false));
            let once = Config { cases: 300, max_shrink_iters: 0, ..cases(300) };
            assert!(differ(&server, once, &crowd(places)).is_err(), "{planted:?} was not found");
        }
    });
}
