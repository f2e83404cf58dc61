//! Runs `kirin demo` on private instances of PostgreSQL and MariaDB, both with a ZooKeeper ensemble of three.
//!
//! The program under test is the one in this program's directory: `cargo build --release -p kirin` first.

use std::process::Command;

use anyhow::{Context as _, ensure};
use kirin_tests::servers::mariadb::MariaDb;
use kirin_tests::servers::postgres::Postgres;
use kirin_tests::servers::process::beside;
use kirin_tests::servers::zookeeper::Ensemble;

fn main() -> anyhow::Result<()> {
    let kirin = beside("kirin", "cargo build --release -p kirin")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut zookeeper = runtime.block_on(Ensemble::of(3).start())?;
    let postgres = Postgres::start(true)?;
    let mariadb = MariaDb::start(true)?;
    let databases = [("PostgreSQL", postgres.database()?), ("MariaDB", mariadb.database()?)];
    for (name, url) in databases {
        say(&format!("\n#### {name} and a ZooKeeper ensemble"));
        let status = Command::new(&kirin)
            .args(["demo", "--metastore", &url, "--zookeeper", &zookeeper.connect_string()])
            .status()
            .with_context(|| format!("cannot run {}", kirin.display()))?;
        ensure!(status.success(), "the demo on {name} failed");
    }
    zookeeper.stop()?;
    say("\nThe demo succeeds on PostgreSQL and MariaDB, with ZooKeeper.");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this program is for people")]
fn say(text: &str) {
    println!("{text}");
}
