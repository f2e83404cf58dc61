//! Measures queries and trust without and during a flood of wrong passwords.

use std::time::Duration;

use anyhow::ensure;
use hdrhistogram::Histogram;
use kirin_client::Request;
use kirin_config::Secret;
use kirin_olap::demo;
use kirin_shell::clock;
use kirin_wire::{ClusterView, DEFAULT_PROJECT, QueryRequest, QueryView, TableAdded};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{micros, quantile};
use crate::local_cluster::{Cluster, Plan};
use crate::strangers::{Answers, Flood, Strangers};
use kirin_cli::args::Format;

/// The heart-beat timeout: the shortest that the documentation recommends.
const TIMEOUT: &str = "3";
const INTERVAL: &str = "1";
/// Pause of the client between two queries, so that it does not fill a core by itself.
const PAUSE: Duration = Duration::from_millis(20);
const SQL: &str = "SELECT carrier, COUNT(*) FROM flights GROUP BY carrier";

/// Queries, and the least trust that the node had left, during one phase.
struct Phase {
    queries: Histogram<u64>,
    trust_left_ms: u64,
}

/// Measures one node for `seconds` without a flood, then for as long during one.
///
/// # Errors
/// If a process cannot be started, or a query is not answered.
pub(super) async fn run(
    flood: Flood,
    seconds: Duration,
    metastore: Option<Secret>,
    format: Format,
) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("kirin-bench-").tempdir()?;
    let beats = [
        ("kylin.server.leader-race.heart-beat-timeout", TIMEOUT),
        ("kylin.server.leader-race.heart-beat-interval", INTERVAL),
        ("kylin.query.pushdown-enabled", "true"),
    ];
    let settings = beats.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let mut cluster = Cluster::start(dir.path(), 1, Plan { metastore, settings, ..Plan::default() }).await?;
    let data = dir.path().join("nycflights13");
    demo::write_files(&data)?;
    for table in demo::tables(&data) {
        let table = crate::demo::new_table(DEFAULT_PROJECT, table)?;
        let _: TableAdded = cluster.nodes[0].client()?.call(Request::post(&["tables"]).body(&table)?).await?;
    }
    // The first queries open files and fill caches.
    phase(&cluster, seconds / 5).await?;
    let calm = phase(&cluster, seconds).await?;
    let strangers = Strangers::start(&Handle::current(), &cluster.nodes[0].url, flood)?;
    let flooded = phase(&cluster, seconds).await?;
    let answers = strangers.answers();
    drop(strangers);
    cluster.stop_all().await?;
    ensure!(answers.verified + answers.early > 0, "no login of the flood was answered");
    report(format, &calm, &flooded, answers);
    Ok(())
}

async fn phase(cluster: &Cluster, span: Duration) -> anyhow::Result<Phase> {
    let client = cluster.nodes[0].client()?;
    let query = Request::post(&["query"]).body(&QueryRequest::new(DEFAULT_PROJECT, SQL).raw())?;
    let mut phase = Phase { queries: Histogram::<u64>::new(3)?, trust_left_ms: u64::MAX };
    let end = clock::instant() + span;
    while clock::instant() < end {
        let from = clock::instant();
        let answer: QueryView = client.call(query.clone()).await?;
        phase.queries.record(micros(from.elapsed()))?;
        ensure!(answer.results.len() == 16, "the demo has 16 carriers, not {}", answer.results.len());
        let view: ClusterView = client.call(Request::get(&["cluster"])).await?;
        phase.trust_left_ms = phase.trust_left_ms.min(view.trust_left_ms.unwrap_or(0));
        tokio::time::sleep(PAUSE).await;
    }
    Ok(phase)
}

fn figures(phase: &Phase) -> Value {
    let at = |q| quantile(&phase.queries, q);
    json!({
        "queries": phase.queries.len(),
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "max_ms": at(1.0),
        "least_trust_left_ms": phase.trust_left_ms,
    })
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
fn report(format: Format, calm: &Phase, flooded: &Phase, answers: Answers) {
    let Answers { verified, early, other } = answers;
    if format == Format::Json {
        let answers = json!({ "verified": verified, "early": early, "other": other });
        println!("{}", json!({ "calm": figures(calm), "flooded": figures(flooded), "logins": answers }));
        return;
    }
    println!(
        "{:<16} {:>8} {:>8} {:>8} {:>8} {:>20}",
        "", "queries", "p50 ms", "p99 ms", "max ms", "least trust left ms"
    );
    for (name, phase) in [("without a flood", calm), ("beside a flood", flooded)] {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| quantile(&phase.queries, q));
        let (queries, trust) = (phase.queries.len(), phase.trust_left_ms);
        println!("{name:<16} {queries:>8} {p50:>8.2} {p99:>8.2} {max:>8.2} {trust:>20}");
    }
    println!("wrong logins: {verified} verified, {early} refused early (429), {other} other answers");
}
