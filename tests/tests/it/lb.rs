//! Real load balancers in front of real nodes, with the configuration that `kirin lb` generates.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kirin_home::credentials;
use kirin_lab::local_cluster::{Cluster, Plan};
use kirin_tests::load::{Load, Question, Tally};
use kirin_tests::servers::balancer::{Asked, Balancer, Kind};
use kirin_tests::servers::process::free_ports;
use serde_json::json;
use tokio::sync::Mutex;

use crate::cluster::{plan, program};

const NODES: usize = 3;
/// Requests per second.
const RATE: u64 = 200;

/// Runs the tests one at a time, because each loads a small machine fully.
static TURN: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn killing_a_node_behind_nginx_fails_no_query() -> anyhow::Result<()> {
    let tally = kill_each(Kind::Nginx, "round-robin").await?;
    ensure!(tally.repeated == 0, "clients had to repeat {} requests", tally.repeated);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_node_to_which_nginx_sends_a_client_fails_none_of_its_queries() -> anyhow::Result<()> {
    let tally = kill_each(Kind::Nginx, "ip-hash").await?;
    ensure!(tally.repeated == 0, "clients had to repeat {} requests", tally.repeated);
    Ok(())
}

/// httpd tries another node only if it has sent nothing, or waits for `100 Continue` without a reply. If a node dies
/// before its answer, the client must repeat the request: its connection is closed, or it receives 502 for the first
/// request of a connection.
#[tokio::test(flavor = "multi_thread")]
async fn killing_a_node_behind_httpd_fails_no_repeated_query() -> anyhow::Result<()> {
    let tally = kill_each(Kind::Httpd, "round-robin").await?;
    // At most the requests that were in flight at one of the kills.
    ensure!(tally.repeated < tally.times.len() / 20, "{} of {} were repeated", tally.repeated, tally.times.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_members_that_are_down_for_long_are_removed_from_the_file() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let dir = tempfile::tempdir()?;
    let (mut cluster, mut balancer) = behind(Kind::Nginx, "round-robin", dir.path()).await?;
    balancer.keep_current("1h")?;
    let load = load(&cluster, &balancer).await?;
    ask(&load, RATE).await?;
    for node in 0..NODES {
        cluster.stop(node).await?;
        cluster.restart(node).await?;
        cluster.wait_for_members(NODES).await?;
        ask(&load, RATE / 2).await?;
    }
    let tally = load.end().await?.remove(0);
    ensure!(tally.failed.is_empty() && tally.repeated == 0, "{:?}, {} repeated", tally.failed.first(), tally.repeated);
    ensure!(balancer.changes() == 0, "a rolling restart changed the file {} times", balancer.changes());

    balancer.keep_current("100ms")?;
    let away = cluster.nodes[1].url.trim_start_matches("http://").to_owned();
    cluster.kill(1).await?;
    let is_listed = || anyhow::Ok(balancer.members()?.contains(&away));
    cluster.wait("the file without the dead node", async || Ok((!is_listed()?).then_some(()))).await?;
    cluster.restart(1).await?;
    cluster.wait("the file with it again", async || Ok(is_listed()?.then_some(()))).await?;
    cluster.stop_all().await
}

/// While no node can respond, clients receive an error with a retry time.
#[tokio::test(flavor = "multi_thread")]
async fn while_no_node_responds_the_balancer_sends_a_retry_time() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    for kind in [Kind::Nginx, Kind::Httpd] {
        let dir = tempfile::tempdir()?;
        let (mut cluster, balancer) = behind(kind, "round-robin", dir.path()).await?;
        let login = cluster.nodes[0].client()?.login().context("a login")?.clone();
        cluster.stop_all().await?;
        let client = reqwest::Client::new();
        // The first requests are sent to nodes, and their outcome is unknown.
        let refused = cluster.wait("a refusal", async || {
            let asked = client.post(format!("{}/kylin/api/projects", balancer.url())).json(&json!({ "name": "p" }));
            let answer = asked.basic_auth(login.user(), Some(login.password())).send().await?;
            ensure!(answer.status().is_server_error(), "{kind:?} answered {}", answer.status());
            Ok((answer.status() == reqwest::StatusCode::SERVICE_UNAVAILABLE).then_some(answer))
        });
        let refused = refused.await?;
        let wait = refused.headers().get(reqwest::header::RETRY_AFTER).context("no Retry-After")?.clone();
        ensure!(wait == "1", "{kind:?}: unexpected Retry-After {wait:?}");
        if kind == Kind::Nginx {
            let body: serde_json::Value = refused.json().await?;
            ensure!(body["error_code"] == kirin_wire::Code::Unavailable.as_str(), "{body}");
        }
    }
    Ok(())
}

/// Kills each node under load, and restarts it.
async fn kill_each(kind: Kind, method: &'static str) -> anyhow::Result<Tally> {
    let _turn = TURN.lock().await;
    let dir = tempfile::tempdir()?;
    let (mut cluster, balancer) = behind(kind, method, dir.path()).await?;
    let load = load(&cluster, &balancer).await?;
    ask(&load, RATE).await?;
    for node in 0..NODES {
        cluster.kill(node).await?;
        ask(&load, RATE / 2).await?;
        cluster.restart(node).await?;
        cluster.wait_for_members(NODES).await?;
        ask(&load, RATE / 2).await?;
    }
    let tally = load.end().await?.remove(0);
    let (failed, all) = (&tally.failed, tally.times.len());
    ensure!(failed.is_empty(), "{} of {all} failed: {:?}", failed.len(), failed.first());
    cluster.stop_all().await?;
    Ok(tally)
}

async fn behind(kind: Kind, method: &'static str, dir: &Path) -> anyhow::Result<(Cluster, Balancer)> {
    let plan = Plan { ports: free_ports(NODES)?, ..plan() };
    let cluster = Cluster::start(dir, NODES, plan).await?;
    let login = credentials::read(&cluster.nodes[0].home().join("data"))?.context("the first node's credentials")?;
    let urls = cluster.nodes.iter().map(|node| node.url.clone()).collect();
    let balancer = Balancer::start(kind, method, Asked { program: program(), urls, login })?;
    Ok((cluster, balancer))
}

async fn load(cluster: &Cluster, balancer: &Balancer) -> anyhow::Result<Load> {
    let login = cluster.nodes[0].client()?.login().context("a login")?;
    let read = Question::read("/kylin/api/projects", "/data/total_size", json!(1));
    let query = Question::query("default", "SELECT 1 + 1 AS two", json!([["2"]]));
    let questions = vec![read.clone(), read.clone(), read, query];
    Load::start(&balancer.url(), login, questions, RATE, 1, balancer.lost()).await
}

/// Waits until this number of further requests were sent.
async fn ask(load: &Load, more: u64) -> anyhow::Result<()> {
    let (until, from) = (tokio::time::Instant::now() + Duration::from_secs(60), load.sent());
    while load.sent() < from + more {
        ensure!(tokio::time::Instant::now() < until, "the queries are stuck");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
