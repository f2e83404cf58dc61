//! Protection of a node against unauthenticated clients and users of the API.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kirin_client::{Client, Request};
use kirin_lab::local_cluster::{Cluster, Plan};
use kirin_wire::{ClusterView, Done, Given, NewTable, QueryRequest, QueryView, TableAdded};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cluster::plan;
use crate::contract::kirin;

fn table(location: &Path) -> NewTable {
    let source = Given::Location(location.display().to_string());
    NewTable { project: "default".to_owned(), name: "sales".to_owned(), source, columns: Vec::new() }
}

async fn count(client: &Client) -> anyhow::Result<Vec<Vec<Option<String>>>> {
    let body = QueryRequest::new("default", "SELECT COUNT(*) FROM sales").raw();
    let answer: QueryView = client.call(Request::post(&["query"]).body(&body)?).await?;
    Ok(answer.results)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_administrator_of_the_machine_opens_other_files_to_tables() -> anyhow::Result<()> {
    let (dir, outside) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let file = outside.path().join("sales.csv");
    std::fs::write(&file, "day,shop\n2013-01-01,a\n2013-01-02,b\n")?;
    let mut cluster = Cluster::start(dir.path(), 2, plan()).await?;
    let [first, second] = [cluster.nodes[0].client()?, cluster.nodes[1].client()?];

    let add = || Request::post(&["tables"]).body(&table(&file));
    let refused = first.call::<TableAdded>(add()?).await.expect_err("the file is outside the roots");
    ensure!(refused.to_string().contains("kirin.source.roots"), "{refused}");
    for token in ["", "00000000000000000000000000000000"] {
        let request = add()?.header(kirin_wire::LOCAL_HEADER, token);
        let refused = first.call::<TableAdded>(request).await.expect_err("the token is wrong");
        ensure!(refused.to_string().contains("kirin.source.roots"), "{refused}");
    }
    let path = file.display().to_string();
    let (exit, text) = kirin(&cluster.nodes[0], &["--url", &cluster.nodes[1].url, "table", "add", "sales", &path])?;
    ensure!(
        exit == Some(2) && text.contains("kirin.source.roots"),
        "the proof is not sent to another node: {exit:?} {text}"
    );

    let (exit, text) = kirin(&cluster.nodes[0], &["table", "add", "sales", &path])?;
    ensure!(exit == Some(0), "{text}");
    for client in [first, second] {
        ensure!(count(client).await? == [[Some("2".to_owned())]], "every node reads what was granted to the table");
    }
    let tables = second.raw(Request::get(&["tables"]).with("project", "default")).await?;
    ensure!(tables.get().contains("\"sales\"") && !tables.get().contains("granted"), "{tables}");
    let _: Done = first.call(Request::delete(&["tables", "sales"]).with("project", "default")).await?;
    let refused = second.call::<TableAdded>(add()?).await.expect_err("the grant ended with the table");
    ensure!(refused.to_string().contains("kirin.source.roots"), "{refused}");
    cluster.stop_all().await
}

/// Peak of the resident memory, in MiB.
fn peak_mib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? / 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_neither_exhaust_memory_nor_delay_beats_and_queries() -> anyhow::Result<()> {
    const STRANGERS: usize = 200;
    const ANSWERS: usize = 4_000;
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("sales.csv"), "day,shop\n2013-01-01,a\n")?;
    // Long enough for a machine that other tests keep busy. `kirin bench strangers` measures the delay of beats.
    let settings =
        [("kylin.server.leader-race.heart-beat-timeout", "12"), ("kylin.server.leader-race.heart-beat-interval", "2")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let mut cluster = Cluster::start(dir.path(), 1, Plan { settings, ..plan() }).await?;
    let node = &cluster.nodes[0];
    let client = node.client()?;
    let _: TableAdded = client.call(Request::post(&["tables"]).body(&table(&dir.path().join("sales.csv")))?).await?;
    ensure!(count(client).await?.len() == 1);

    let (stop, answers, early) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let strangers: Vec<_> = (0..STRANGERS)
        .map(|stranger| {
            let (stop, answers, early) = (stop.clone(), answers.clone(), early.clone());
            let url = format!("{}/kylin/api/projects", node.url);
            tokio::spawn(async move {
                let http = reqwest::Client::builder().no_proxy().build()?;
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let password = format!("wrong-{stranger}-{n}");
                    let answer = http.get(&url).basic_auth("ADMIN", Some(password)).send().await?;
                    match answer.status().as_u16() {
                        401 => {}
                        429 => {
                            ensure!(answer.headers().contains_key("retry-after"), "{answer:?}");
                            early.fetch_add(1, Ordering::Relaxed);
                        }
                        other => anyhow::bail!("{other}"),
                    }
                    answers.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, anyhow::Error>(())
            })
        })
        .collect();
    let mut queries = 0;
    while answers.load(Ordering::Relaxed) < ANSWERS {
        ensure!(count(client).await?.len() == 1, "a request with the correct password is answered");
        queries += 1;
        ensure!(strangers.iter().all(|stranger| !stranger.is_finished()), "every request is answered with 401 or 429");
    }
    let view: ClusterView = client.call(Request::get(&["cluster"])).await?;
    ensure!(view.members.iter().any(|member| member.state == "up"), "{view:?}");
    stop.store(true, Ordering::Relaxed);
    for stranger in strangers {
        stranger.await??;
    }
    let verified = answers.load(Ordering::Relaxed) - early.load(Ordering::Relaxed);
    ensure!(verified < ANSWERS / 10, "{verified} of {ANSWERS} were verified");
    let peak = peak_mib(node.pid().context("it runs")?)?;
    ensure!(peak < 512, "the node took {peak} MiB");
    let log = std::fs::read_to_string(node.log())?;
    ensure!(!log.contains("trust ended"), "the node's trust ended: {log}");
    ensure!(queries > 0);
    cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_never_finish_their_request_are_closed() -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let dir = tempfile::tempdir()?;
    let settings = [("kirin.server.header-timeout", "500ms"), ("kirin.server.max-connections-per-address", "300")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let mut cluster = Cluster::start(dir.path(), 1, Plan { settings, ..plan() }).await?;
    let address = cluster.nodes[0].url.trim_start_matches("http://").to_owned();
    let mut open = Vec::new();
    for _ in 0..600 {
        let mut stream = TcpStream::connect(&address).await?;
        // A connection that was closed at once may refuse the data.
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: n").await;
        open.push(stream);
    }
    for mut stream in open {
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context("it is still open")?;
        ensure!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    let view: ClusterView = cluster.nodes[0].client()?.call(Request::get(&["cluster"])).await?;
    ensure!(view.members.len() == 1, "{view:?}");
    cluster.stop_all().await
}
