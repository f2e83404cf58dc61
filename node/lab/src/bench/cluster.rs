//! Many nodes on one machine: how soon all nodes see joins and deaths, and how many statements and how much memory an idle node
//! needs.
//!
//! A node reports its core's list of members ([`/cluster?own=true`](kirin_api)) and for how long the list has been unchanged. So
//! the measurement polls rarely and does not disturb the nodes. All views agree when each lists exactly the members that the
//! living nodes report to be.
//!
//! | figure | from | to |
//! |---|---|---|
//! | kill | the moment before SIGKILL | the last living node's list became correct |
//! | join | the time in the member's row, taken before its commit | the same, including the new node's list |
//! | start | the start of all nodes except the first, which founds the cluster | the same |
//!
//! An idle node counts its own statements at its connections. Statements for this program's requests (each looks up the
//! password) are counted separately and left out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::{micros, quantile};
use crate::local_cluster::{Cluster, NodeProcess, PATIENCE, Plan};
use kirin_cli::args::Format;
use kirin_client::Request;
use kirin_shell::clock;
use kirin_wire::{ClusterView, CountsView, MemberNumbers, OwnView, TrafficView};

/// The interval between polls of nodes whose list is not correct yet. Nodes report since when it is, so the interval does not
/// affect any figure.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Nodes that are polled at once.
const ASKED_AT_ONCE: usize = 8;
/// The pause before an idle measurement, so that work caused by the last change is over.
const SETTLE: Duration = Duration::from_secs(5);
/// The roles of the nodes, in turn.
const MODES: [&str; 3] = ["all", "job", "query"];

type Member = MemberNumbers;

/// The view of one node when it was polled.
struct Sight {
    me: Option<Member>,
    members: BTreeSet<Member>,
    since: Instant,
}

/// Runs the benchmark.
///
/// # Errors
/// If a node does not start, or the nodes do not agree on the members in time.
pub(super) async fn run(plan: Plan, nodes: usize, runs: u32, idle: Duration, format: Format) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("kirin-bench-").tempdir()?;
    let load_before = load();
    let progress = indicatif::ProgressBar::new_spinner()
        .with_style(indicatif::ProgressStyle::with_template("{spinner} {elapsed} {msg}")?);
    let modes = MODES.iter().cycle().take(nodes).map(|&mode| mode.to_owned()).collect();
    let say = |text: String| {
        progress.set_message(text);
        progress.tick();
    };

    let mut cluster = Cluster::start(dir.path(), 1, Plan { modes, ..plan }).await?;
    say(format!("{} nodes start at once", nodes - 1));
    let from = clock::instant();
    cluster.grow(nodes).await?;
    let up = from.elapsed();
    let started = agreed(&cluster).await?.saturating_duration_since(from);

    // From many to few: the nodes that leave are stopped, and do not affect those that remain.
    let mut idled = vec![idled(&cluster, idle, &say).await?];
    let memory = memory(&cluster)?;
    let (mut kills, mut joins) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    for run in 0..runs {
        say(format!("kill and join {} of {runs}", run + 1));
        let victim = run as usize % nodes;
        let killed = cluster.kill(victim).await?.into_std();
        kills.record(micros(agreed(&cluster).await?.saturating_duration_since(killed)))?;
        cluster.restart(victim).await?;
        let seen = agreed(&cluster).await?;
        joins.record(micros(seen.saturating_duration_since(joined(&cluster, victim).await?)))?;
    }
    for fewer in [nodes / 2, nodes / 4] {
        if fewer > 0 {
            say(format!("{} nodes stop", cluster.living().count() - fewer));
            cluster.shrink(fewer).await?;
            agreed(&cluster).await?;
            idled.push(self::idled(&cluster, idle, &say).await?);
        }
    }
    say("the remaining nodes stop".to_owned());
    cluster.shrink(0).await?;
    progress.finish_and_clear();

    let membership = |histogram: &Histogram<u64>| {
        json!({
            "p50_ms": quantile(histogram, 0.5),
            "p99_ms": quantile(histogram, 0.99),
            "max_ms": quantile(histogram, 1.0),
        })
    };
    let figures = json!({
        "nodes": nodes,
        "runs": runs,
        "start": { "nodes": nodes - 1, "all_up_ms": millis(up), "all_see_all_ms": millis(started) },
        "kill": membership(&kills),
        "join": membership(&joins),
        "idle": idled,
        "memory": memory,
        "load": [load_before, load()],
    });
    report(format, &figures);
    Ok(())
}

/// Waits until all living nodes see each other and no other node. Returns the moment when the last one did.
async fn agreed(cluster: &Cluster) -> anyhow::Result<Instant> {
    let living: Vec<&NodeProcess> = cluster.living().collect();
    let mut sights: Vec<Option<Sight>> = living.iter().map(|_| None).collect();
    let until = clock::instant() + PATIENCE;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let there: Option<BTreeSet<Member>> = sights.iter().map(|sight| sight.as_ref().and_then(|s| s.me)).collect();
        let is_right =
            |sight: &Option<Sight>| sight.as_ref().is_some_and(|sight| Some(&sight.members) == there.as_ref());
        let wrong: Vec<usize> = (0..living.len()).filter(|at| !is_right(&sights[*at])).collect();
        if wrong.is_empty() {
            let last = sights.iter().flatten().map(|sight| sight.since).max();
            return last.context("no node lives");
        }
        if clock::instant() > until {
            let names: Vec<&str> = wrong.iter().map(|at| living[*at].name.as_str()).collect();
            bail!("timed out waiting for correct lists of members on {}", names.join(", "));
        }
        let seen: Vec<(usize, Sight)> = stream::iter(wrong)
            .map(async |at| anyhow::Ok((at, sight(living[at]).await?)))
            .buffer_unordered(ASKED_AT_ONCE)
            .try_collect()
            .await?;
        for (at, sight) in seen {
            sights[at] = Some(sight);
        }
    }
}

async fn sight(node: &NodeProcess) -> anyhow::Result<Sight> {
    let own = own(node).await?;
    // The reply was made before it arrived, so the list is at least this old.
    let since = clock::instant() - Duration::from_micros(own.unchanged_us);
    Ok(Sight { me: own.member, members: own.members.into_iter().map(|listed| listed.member).collect(), since })
}

async fn own(node: &NodeProcess) -> anyhow::Result<OwnView> {
    node.client()?
        .call(Request::get(&["cluster"]).with("own", true))
        .await
        .with_context(|| format!("cannot read the members from {}; its log is {}", node.name, node.log().display()))
}

/// The time at which the node joined, from its row in the metastore.
async fn joined(cluster: &Cluster, node: usize) -> anyhow::Result<Instant> {
    let node = &cluster.nodes[node];
    let view: ClusterView = node.client()?.call(Request::get(&["cluster"])).await?;
    let row = view.members.iter().find(|member| member.node == node.name);
    let joined_ms = row.context("the node is not in the list")?.joined_at;
    // Both times are from this machine's clock.
    let ago = clock::wall_us() - joined_ms * 1000;
    Ok(clock::instant() - Duration::from_micros(u64::try_from(ago).unwrap_or(0)))
}

/// Measures the statements of an idle node per minute.
async fn idled(cluster: &Cluster, span: Duration, say: &impl Fn(String)) -> anyhow::Result<Value> {
    let nodes = cluster.living().count();
    say(format!("{nodes} nodes idle"));
    tokio::time::sleep(SETTLE).await;
    let (from, before) = (clock::instant(), asked(cluster).await?);
    tokio::time::sleep(span).await;
    let (elapsed, after) = (from.elapsed(), asked(cluster).await?);
    let minutes = elapsed.as_secs_f64() / 60.0;
    let of = |count: fn(&CountsView) -> u64| {
        let each: Vec<u64> =
            after.iter().zip(&before).map(|(a, b)| count(&a.contract).saturating_sub(count(&b.contract))).collect();
        #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark fit")]
        let rate = |count: u64| count as f64 / minutes;
        #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark fit")]
        let mean = rate(each.iter().sum()) / each.len().max(1) as f64;
        json!({ "mean": tenths(mean), "max": tenths(rate(each.iter().copied().max().unwrap_or(0))) })
    };
    Ok(json!({
        "nodes": nodes,
        "seconds": tenths(elapsed.as_secs_f64()),
        "statements_per_node_and_minute": of(|counts| counts.statements),
        "bytes_sent_per_node_and_minute": of(|counts| counts.bytes_sent),
        "bytes_received_per_node_and_minute": of(|counts| counts.bytes_received),
        "connections_max": after.iter().map(|metastore| metastore.connections).max(),
    }))
}

async fn asked(cluster: &Cluster) -> anyhow::Result<Vec<TrafficView>> {
    let nodes = stream::iter(cluster.living()).map(async |node| anyhow::Ok(own(node).await?.metastore));
    nodes.buffered(ASKED_AT_ONCE).try_collect().await
}

/// Memory of the nodes' processes. Shared pages of the program count fully in each resident set. In the proportional set, each
/// page is divided equally among the processes that map it.
fn memory(cluster: &Cluster) -> anyhow::Result<Value> {
    let (mut pss, mut rss) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    for node in cluster.living() {
        let path = format!("/proc/{}/smaps_rollup", node.pid().context("the node does not run")?);
        let rollup = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        pss.record(kib(&rollup, "Pss:")?)?;
        rss.record(kib(&rollup, "Rss:")?)?;
    }
    let mib = |histogram: &Histogram<u64>, q: f64| {
        #[expect(clippy::cast_precision_loss, reason = "a process's memory in KiB fits")]
        let mib = histogram.value_at_quantile(q) as f64 / 1024.0;
        tenths(mib)
    };
    Ok(json!({
        "pss_mib": { "p50": mib(&pss, 0.5), "max": mib(&pss, 1.0) },
        "rss_mib": { "p50": mib(&rss, 0.5), "max": mib(&rss, 1.0) },
    }))
}

fn kib(rollup: &str, field: &str) -> anyhow::Result<u64> {
    let line =
        rollup.lines().find_map(|line| line.strip_prefix(field)).context("smaps_rollup has an unknown format")?;
    line.trim().trim_end_matches(" kB").parse().context("smaps_rollup has an unknown format")
}

/// The load average of the last minute, which is reported because load affects the figures.
fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn millis(span: Duration) -> f64 {
    tenths(span.as_secs_f64() * 1000.0)
}

fn tenths(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
fn report(format: Format, figures: &Value) {
    if format == Format::Json {
        println!("{figures}");
        return;
    }
    let start = &figures["start"];
    println!(
        "{} nodes; load of the machine {}, at the end {}",
        figures["nodes"], figures["load"][0], figures["load"][1]
    );
    println!(
        "  {} started at once: all answer after {} ms, all see each other after {} ms",
        start["nodes"], start["all_up_ms"], start["all_see_all_ms"]
    );
    for (name, what) in
        [("kill", "kill -9 to all views equal and right"), ("join", "join to all views equal and right")]
    {
        let figure = &figures[name];
        println!(
            "  {what}, {} times: p50 {} ms, p99 {} ms, max {} ms",
            figures["runs"], figure["p50_ms"], figure["p99_ms"], figure["max_ms"]
        );
    }
    println!("  of an idle node in a minute:");
    for row in figures["idle"].as_array().into_iter().flatten() {
        println!(
            "    of {:>4} nodes: {} statements (max {}), {} bytes sent, {} received; at most {} connections",
            row["nodes"].to_string(),
            row["statements_per_node_and_minute"]["mean"],
            row["statements_per_node_and_minute"]["max"],
            row["bytes_sent_per_node_and_minute"]["mean"],
            row["bytes_received_per_node_and_minute"]["mean"],
            row["connections_max"],
        );
    }
    let memory = &figures["memory"];
    println!(
        "  memory of an idle node: {} MiB (max {}), shared pages divided; resident {} MiB (max {})",
        memory["pss_mib"]["p50"], memory["pss_mib"]["max"], memory["rss_mib"]["p50"], memory["rss_mib"]["max"]
    );
}
