//! A private PostgreSQL.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

use super::process::{Place, Server, directory, free_ports, program, until, user};

/// A PostgreSQL server in a temporary directory, on a port of its own, superuser `postgres` without password.
#[derive(Debug)]
pub struct Postgres {
    place: Place,
    directory: tempfile::TempDir,
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    port: u16,
    server: Option<Server>,
    databases: AtomicU32,
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Transactions are rolled back, clients are told.
    Fast,
    /// As in a crash: recovery follows at the next start.
    Immediate,
}

const START_MAX: Duration = Duration::from_secs(30);

impl Postgres {
    /// Makes and starts one. `durable` keeps fsync on; without it, it starts and commits faster.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub fn start(durable: bool) -> anyhow::Result<Self> {
        Self::start_at(Place::loopback(), durable)
    }

    /// The same, elsewhere.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub fn start_at(place: Place, durable: bool) -> anyhow::Result<Self> {
        let programs = programs()?;
        let owner = user("postgres")?;
        let directory = directory(owner)?;
        let port = free_ports(1)?[0];
        let mut server = Self { place, directory, programs, owner, port, server: None, databases: AtomicU32::new(0) };
        let made = server
            .command("initdb")
            .args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
            .arg(server.data())
            .output()
            .context("running initdb")?;
        if !made.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        }
        let mut settings = format!(
            "port={port}\nlisten_addresses='{}'\nunix_socket_directories='{}'\nmax_connections=1000\n",
            server.place.address(),
            server.directory.path().display()
        );
        let access = server.data().join("pg_hba.conf");
        std::fs::write(&access, std::fs::read_to_string(&access)? + "host all all samenet trust\n")?;
        if !durable {
            settings.push_str("fsync=off\nfull_page_writes=off\nshared_buffers=64MB\n");
        }
        let file = server.data().join("postgresql.conf");
        let before = std::fs::read_to_string(&file)?;
        std::fs::write(&file, before + &settings)?;
        server.resume()?;
        Ok(server)
    }

    /// The server that all tests of this process share.
    ///
    /// # Panics
    /// If it does not start: a test that needs it must not be skipped in silence.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(false).expect("a private PostgreSQL starts"))
    }

    /// Starts it again after a stop.
    ///
    /// # Errors
    /// If it does not start.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.directory.path().join("log"))?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.server = Some(Server::spawn_at(&self.place, command, libc::SIGQUIT).context("starting postgres")?);
        let ready = || -> anyhow::Result<bool> { Ok(self.query("postgres", "SELECT 1").is_ok()) };
        until("PostgreSQL answers", START_MAX, ready).with_context(|| self.log())
    }

    /// Stops it.
    ///
    /// # Errors
    /// If the system does not tell when it is gone.
    pub fn stop(&mut self, how: Stop) -> anyhow::Result<()> {
        if let Some(mut server) = self.server.take() {
            server.signal(match how {
                Stop::Fast => libc::SIGINT,
                Stop::Immediate => libc::SIGQUIT,
            });
            server.wait(START_MAX)?;
        }
        Ok(())
    }

    /// Freezes all its processes.
    ///
    /// # Errors
    /// If it does not run or does not stop.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.server.as_ref().context("it does not run")?.freeze()
    }

    /// Lets all its processes go on.
    pub fn thaw(&self) {
        if let Some(server) = &self.server {
            server.thaw();
        }
    }

    /// An empty database: its URL.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn database(&self) -> anyhow::Result<String> {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.query("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"))?;
        Ok(self.url(&name))
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}:{}/{database}", self.place.address(), self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a statement with `psql`; what it prints.
    ///
    /// # Errors
    /// If the server does not answer or refuses it.
    pub fn query(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let out = Command::new(self.programs.join("psql"))
            .args([
                "-X",
                "-h",
                self.place.address(),
                "-U",
                "postgres",
                "-At",
                "-v",
                "ON_ERROR_STOP=1",
                "-p",
                &self.port.to_string(),
            ])
            .args(["-d", database, "-c", sql])
            .env("PGCONNECT_TIMEOUT", "2")
            .output()?;
        if !out.status.success() {
            bail!("{}", String::from_utf8_lossy(&out.stderr));
        }
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.directory.path()).env("LC_ALL", "C.UTF-8");
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid).env("HOME", "/tmp");
        }
        command
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.thaw();
        let _ = self.stop(Stop::Immediate);
    }
}

/// The newest installed version's programs.
fn programs() -> anyhow::Result<PathBuf> {
    let candidates: Vec<String> =
        (13..=19).rev().map(|version| format!("/usr/lib/postgresql/{version}/bin/postgres")).collect();
    let candidates: Vec<&str> = candidates.iter().map(String::as_str).collect();
    let postgres = program(&candidates, "postgresql")?;
    Ok(postgres.parent().expect("a program is in a directory").to_owned())
}
