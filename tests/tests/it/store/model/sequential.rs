//! Sequential requests: the model and the server give the same answer to each request and have the same rows after it.
//!
//! Broken rules of the model prove that the comparison detects differences. Each broken rule must be found on SQLite.

use std::fmt::Write as _;

use kirin_core::Answer;
use kirin_sim::Plant;
use kirin_tests::conformance::Contract as _;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use super::server::Server;
use super::wish::{Known, Wish, limits, name, two_join, wishes};
use super::{cases, deep, looks};
use crate::store::{Clients, On};

/// Sends the wishes to both. Returns the final knowledge and the log.
pub(super) async fn tell(
    clients: &Clients,
    known: &mut Known,
    wishes: impl Iterator<Item = Wish>,
) -> Result<(), String> {
    let mut said = String::new();
    for wish in wishes {
        let ask = known.ask(&wish);
        let last = known.model.jobs().last().map(|row| row.id);
        let heard = clients.ask(&name(wish.node), ask.clone()).await;
        let expected = known.learn(wish.node, &ask, &heard)?;
        let _ = writeln!(said, "  {ask:?}: {heard:?}");
        if heard != expected {
            return Err(format!("{said}  the model answers {expected:?}"));
        }
        if let Answer::Accepted { row, fresh: true } = heard
            && last.is_some_and(|last| row.id <= last)
        {
            return Err(format!("{said}  the number was given before"));
        }
        for look in looks(known.model.jobs().map(|row| row.id).collect()) {
            let (heard, expected) = (clients.ask("", look.clone()).await, known.learn(0, &look, &Answer::Unknown)?);
            if heard != expected {
                return Err(format!("{said}  then {look:?}\n  server: {heard:?}\n   model: {expected:?}"));
            }
        }
    }
    Ok(())
}

/// The limits of the projects, and the requests.
type History = ([u32; 2], Vec<Wish>);

/// Draws histories until the server and the model with this broken rule differ.
fn differ(server: &Server, config: Config, plant: Option<Plant>) -> Result<(), TestError<History>> {
    TestRunner::new(config).run(&(limits(), wishes(1..60)), |(limits, wishes)| {
        let told = server.run(async {
            let mut known = Known::begin(&server.clients, limits).await;
            if let Some(plant) = plant {
                known.model.plant(plant);
            }
            tell(&server.clients, &mut known, two_join().chain(wishes)).await
        });
        told.map_err(|difference| TestCaseError::fail(format!("\n{difference}\n")))
    })
}

/// Panics with the difference.
pub(super) fn agreed<T: std::fmt::Debug>(outcome: Result<(), TestError<T>>) {
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(difference, drawn)) => panic!("{difference}\ndrawn was {drawn:?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

fn model_and_server_agree(on: On) {
    for batch in [true, false] {
        let server = Server::open(on, |config| config.batch = batch);
        agreed(differ(&server, cases(16), None));
    }
}

#[test]
fn the_model_agrees_with_sqlite() {
    deep(|| model_and_server_agree(On::Sqlite));
}

#[test]
fn the_model_agrees_with_postgres() {
    deep(|| model_and_server_agree(On::Postgres));
}

#[test]
fn the_model_agrees_with_mariadb() {
    deep(|| model_and_server_agree(On::MariaDb));
}

/// Whether the plant breaks a rule of the metastore's model that a request can reach.
fn is_in_the_contract(plant: Plant) -> bool {
    match plant {
        Plant::TakeNotFenced
        | Plant::CommitNotFenced
        | Plant::FinishNotFenced
        | Plant::ClaimNotFenced
        | Plant::BeatNotScoped
        | Plant::FenceIgnoresBeat
        | Plant::FenceByTheDead
        | Plant::EpochKept
        | Plant::IncarnationReused
        | Plant::ReplacedStaysAlive
        | Plant::SubmitNotIdempotent
        | Plant::StepNotCounted
        | Plant::LateFinishRevives
        | Plant::PublishedAgain
        | Plant::LateReleaseRevives
        | Plant::PriorityForgotten
        | Plant::LimitIgnored
        | Plant::PlacesLeak
        | Plant::DiscardedKept
        | Plant::CensusNotTaken
        | Plant::GrantedToIncapable
        | Plant::OrderIgnored => true,
        // It breaks the failover to another server, which is not a request.
        Plant::FailoverLosesCommits
        // These break the world around the metastore.
        | Plant::CancelIgnored
        | Plant::WorkersHaveNoDeadline
        | Plant::SilenceIsRefusal
        | Plant::AcknowledgedEarly
        | Plant::FastClockSteals
        | Plant::SessionIsLife
        | Plant::SessionLossStopsNode
        | Plant::AmbientChance
        | Plant::Core(_) => false,
    }
}

/// The maximum number of histories until a broken rule must be found.
const TRIES_MAX: u32 = 2000;

#[test]
fn a_model_with_a_broken_rule_differs_from_sqlite() {
    deep(|| {
        let server = Server::open(On::Sqlite, |_| {});
        let planted = Plant::ALL.iter().filter(|planting| is_in_the_contract(planting.plant));
        let missed: Vec<_> = planted
            .filter(|planting| {
                let once = Config { cases: TRIES_MAX, max_shrink_iters: 0, ..cases(TRIES_MAX) };
                differ(&server, once, Some(planting.plant)).is_ok()
            })
            .map(|planting| planting.name)
            .collect();
        assert_eq!(missed, [""; 0]);
    });
}
