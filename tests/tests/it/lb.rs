//! A real nginx in front of real nodes, with the configuration that `kirin lb` makes.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kirin::cli::client::{Client, Request};
use kirin::cli::credentials;
use kirin::launch::Cluster;
use kirin_tests::servers::process::{Server, free_ports, program as server_program};
use serde_json::{Value, json};

use crate::cluster::{plan, program};

/// Requests a second.
const RATE: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn killing_a_node_behind_nginx_fails_no_query() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut cluster = Cluster::start(dir.path(), 3, plan()).await?;
    let login = credentials::read(&cluster.nodes[0].home().join("data"))?.context("the first node's credentials")?;
    let port = free_ports(1)?[0];
    let (own, listen) = (dir.path().join("nginx"), format!("127.0.0.1:{port}"));
    std::fs::create_dir(&own)?;
    let path = own.display().to_string();
    // What any nginx has around such a file, with everything below a directory of its own.
    let temp =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|what| format!("{what}_temp_path {path}/{what};"));
    let around = format!(
        "daemon off; user root; pid {path}/pid; error_log {path}/error.log; worker_processes 1;\n\
         events {{ worker_connections 512; }}\nhttp {{ access_log {path}/access.log; {}\ninclude {path}/kirin.conf; }}\n",
        temp.join(" ")
    );
    std::fs::write(own.join("nginx.conf"), around)?;

    let nginx = server_program(&["/usr/sbin/nginx"], "nginx-light")?;
    let urls: Vec<_> = cluster.nodes.iter().map(|node| node.url.clone()).collect();
    let lb = |more: &[&str]| {
        let mut lb = Command::new(program());
        lb.args(["--url", &urls.join(","), "lb", "nginx", "--listen", &listen, "--out"]).arg(own.join("kirin.conf"));
        lb.args(more).env("KIRIN_USER", &login.user).env("KIRIN_PASSWORD", login.password.reveal());
        quiet(lb)
    };
    ensure!(lb(&[]).status()?.success(), "there is no configuration");
    let mut server = Command::new(&nginx);
    server.args(["-p", &path, "-c", &format!("{path}/nginx.conf")]);
    let _nginx = Nginx(Server::spawn(quiet(server), libc::SIGTERM)?);

    let through = Client::new(&[format!("http://{listen}")], Some(login.clone()))?;
    cluster.wait("nginx", async || Ok(through.call::<Value>(Request::get(&["cluster"])).await.ok())).await?;
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load = tokio::spawn(queries(through, Arc::clone(&stop), Arc::clone(&sent)));
    let so_many_more = async |count: u64| {
        let from = sent.load(Ordering::Relaxed);
        until(|| sent.load(Ordering::Relaxed) >= from + count).await
    };
    so_many_more(RATE).await?;
    cluster.kill(1).await?;
    so_many_more(2 * RATE).await?;
    cluster.restart(1).await?;
    cluster.wait_for_members(3).await?;
    so_many_more(RATE).await?;
    stop.store(true, Ordering::Relaxed);
    let failed = load.await?;
    ensure!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), sent.load(Ordering::Relaxed), failed.first());

    // Kept current. Not under load: a reload closes idle connections, and a client may be about to use one.
    ensure!(servers_in(&own)? == 3, "three servers at first");
    let reload = format!("{} -p {path} -c {path}/nginx.conf -s reload", nginx.display());
    let _lb = Server::spawn(lb(&["--watch", "--reload", &reload]), libc::SIGKILL)?;
    cluster.kill(2).await?;
    cluster.wait("the file without the dead node", async || Ok((servers_in(&own)? == 2).then_some(()))).await?;
    cluster.restart(2).await?;
    cluster.wait("the file with it again", async || Ok((servers_in(&own)? == 3).then_some(()))).await?;
    cluster.stop_all().await
}

/// Waits until it is so.
async fn until(so: impl Fn() -> bool) -> anyhow::Result<()> {
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    while !so() {
        ensure!(tokio::time::Instant::now() < until, "the queries have come to a halt");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Queries and reads at an even rate, each sent once; returns what failed.
async fn queries(client: Client, stop: Arc<AtomicBool>, sent: Arc<AtomicU64>) -> Vec<String> {
    let mut tick = tokio::time::interval(Duration::from_millis(1_000 / RATE));
    let mut open = tokio::task::JoinSet::new();
    let client = Arc::new(client);
    let mut failed = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let (client, number) = (Arc::clone(&client), sent.fetch_add(1, Ordering::Relaxed));
        open.spawn(async move {
            let request = if number.is_multiple_of(2) {
                Request::get(&["projects"])
            } else {
                Request::post(&["query"]).body(&json!({ "project": "default", "sql": "SELECT 1 + 1 AS two" }))?
            };
            client.call::<Value>(request).await
        });
        while let Some(Ok(done)) = open.try_join_next() {
            failed.extend(done.err().map(|failure| failure.to_string()));
        }
    }
    for done in open.join_all().await {
        failed.extend(done.err().map(|failure| failure.to_string()));
    }
    failed
}

fn servers_in(own: &std::path::Path) -> anyhow::Result<usize> {
    let text = std::fs::read_to_string(own.join("kirin.conf"))?;
    Ok(text.lines().filter(|line| line.trim().starts_with("server 1")).count())
}

/// Its master takes its workers along only if it is told to end, not if it is killed.
struct Nginx(Server);

impl Drop for Nginx {
    fn drop(&mut self) {
        self.0.signal(libc::SIGTERM);
        // If it does not end, it is killed all the same.
        let _ = self.0.wait(Duration::from_secs(10));
    }
}

/// A server that says nothing here.
fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
