//! Runs `kirin bench cluster` on private instances of PostgreSQL and a ZooKeeper ensemble of three. The arguments are those of
//! the benchmark: `--nodes 100 --runs 20`.
//!
//! The program under test is the one in this program's directory: `cargo build --release -p kirin` first.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kirin_tests::servers::postgres::Postgres;
use kirin_tests::servers::process::{Server, beside};
use kirin_tests::servers::zookeeper::Ensemble;

/// The timeout of the benchmark.
const LONGEST: Duration = Duration::from_secs(3600);

fn main() -> anyhow::Result<()> {
    let kirin = beside("kirin", "cargo build --release -p kirin")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut zookeeper = runtime.block_on(Ensemble::of(3).start())?;
    let postgres = Postgres::start(true)?;
    let mut command = Command::new(&kirin);
    command.args(["bench", "cluster", "--metastore", &postgres.database()?]);
    command.args(["--zookeeper", &zookeeper.connect_string()]).args(std::env::args_os().skip(1));
    // SIGTERM when this process dies, so that the benchmark stops its nodes.
    let mut bench = Server::spawn(command, libc::SIGTERM).with_context(|| format!("cannot run {}", kirin.display()))?;
    let status = bench.wait(LONGEST)?;
    zookeeper.stop()?;
    ensure!(status.success(), "the benchmark failed: {status}");
    Ok(())
}
