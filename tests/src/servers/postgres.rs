//! A private PostgreSQL.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

use super::process::{Place, Server, directory, free_ports, private_copy, program, until, user};

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
    /// Transactions are rolled back and connections closed.
    Fast,
    /// As in a crash, with recovery at the next start.
    Immediate,
}

const START_MAX: Duration = Duration::from_secs(30);
const CONNECTIONS_MAX: u32 = 1_000;

impl Postgres {
    /// Creates and starts a server. `durable` keeps fsync on; without it, the server starts and commits faster.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub fn start(durable: bool) -> anyhow::Result<Self> {
        Self::start_at(Place::loopback(), durable)
    }

    /// The same in another place.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub fn start_at(place: Place, durable: bool) -> anyhow::Result<Self> {
        Self::start_with(place, durable, CONNECTIONS_MAX)
    }

    /// The same with this many connections.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub fn start_with(place: Place, durable: bool, connections: u32) -> anyhow::Result<Self> {
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
        let access = server.data().join("pg_hba.conf");
        let hosts = "host all all samenet trust\nhost replication all samenet trust\n";
        std::fs::write(&access, std::fs::read_to_string(&access)? + hosts)?;
        server.set(&format!("max_connections={connections}"))?;
        if !durable {
            server.set("fsync=off\nfull_page_writes=off\nshared_buffers=64MB")?;
        }
        server.set_place()?;
        server.resume()?;
        Ok(server)
    }

    /// Creates a standby of `primary`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn follow_at(place: Place, primary: &Self) -> anyhow::Result<Self> {
        let directory = directory(primary.owner)?;
        let (programs, owner) = (primary.programs.clone(), primary.owner);
        let port = free_ports(1)?[0];
        let mut server = Self { place, directory, programs, owner, port, server: None, databases: AtomicU32::new(0) };
        server.follow(primary)?;
        Ok(server)
    }

    /// Deletes its data and makes it a standby of `primary`. The server must not run.
    ///
    /// # Errors
    /// If it does not start.
    pub fn follow(&mut self, primary: &Self) -> anyhow::Result<()> {
        if self.data().exists() {
            std::fs::remove_dir_all(self.data())?;
        }
        let copied = self
            .command("pg_basebackup")
            .args(["-h", primary.place.address(), "-p", &primary.port.to_string(), "-U", "postgres"])
            .args(["--checkpoint=fast", "--wal-method=stream", "--no-sync", "-D"])
            .arg(self.data())
            .output()
            .context("running pg_basebackup")?;
        if !copied.status.success() {
            bail!("pg_basebackup failed: {}", String::from_utf8_lossy(&copied.stderr));
        }
        self.set_place()?;
        let primary = format!("host={} port={} user=postgres", primary.place.address(), primary.port);
        self.set_by_system(&format!("primary_conninfo='{primary}'\nwal_retrieve_retry_interval='100ms'\n"))?;
        std::fs::write(self.data().join("standby.signal"), "")?;
        self.resume()
    }

    /// Promotes it to primary.
    ///
    /// # Errors
    /// If the promotion fails.
    pub fn promote(&self) -> anyhow::Result<()> {
        self.forget_standby()?;
        anyhow::ensure!(
            self.query("postgres", "SELECT pg_reload_conf() AND pg_promote(true, 30)")? == "t",
            "not promoted"
        );
        Ok(())
    }

    /// Turns synchronous replication on, and waits until the standby has everything that was acknowledged before.
    ///
    /// # Errors
    /// If no standby follows.
    pub fn wait_for_standby(&self) -> anyhow::Result<()> {
        self.set_by_system("synchronous_standby_names='*'\n")?;
        self.query("postgres", "SELECT pg_reload_conf()")?;
        self.until_standby_has_all()
    }

    /// Waits until its synchronous standby has caught up.
    ///
    /// # Errors
    /// If no synchronous standby follows.
    pub fn until_standby_has_all(&self) -> anyhow::Result<()> {
        let here = self.query("postgres", "SELECT pg_current_wal_flush_lsn()")?;
        let sql = format!(
            "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND flush_lsn >= '{here}'::pg_lsn"
        );
        until("a synchronous standby has everything", START_MAX, || Ok(self.query("postgres", &sql)? == "1"))
    }

    /// Turns replication off from the next start on.
    pub(super) fn forget_standby(&self) -> anyhow::Result<()> {
        self.set_by_system("")
    }

    /// Adds settings, which apply from the next start on.
    fn set(&self, settings: &str) -> anyhow::Result<()> {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().append(true).open(self.data().join("postgresql.conf"))?;
        Ok(writeln!(file, "{settings}")?)
    }

    fn set_place(&self) -> anyhow::Result<()> {
        let (address, directory) = (self.place.address(), self.directory.path().display());
        self.set(&format!("port={}\nlisten_addresses='{address}'\nunix_socket_directories='{directory}'", self.port))
    }

    /// Replaces the file that ALTER SYSTEM writes.
    fn set_by_system(&self, settings: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.data().join("postgresql.auto.conf"), settings)?)
    }

    /// The server that all tests of this process share.
    ///
    /// # Panics
    /// If it does not start: a test that needs it must not be skipped in silence.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(false).expect("a private PostgreSQL starts"))
    }

    /// Starts the server after a stop.
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

    /// Enables encryption with this certificate and key, for clients that request it.
    ///
    /// # Errors
    /// If it does not start again.
    pub fn encrypt(&mut self, certificate: &std::path::Path, key: &std::path::Path) -> anyhow::Result<()> {
        self.stop(Stop::Fast)?;
        private_copy(certificate, &self.data().join("server.crt"), self.owner)?;
        private_copy(key, &self.data().join("server.key"), self.owner)?;
        self.set("ssl=on")?;
        self.resume()
    }

    /// Stops it.
    ///
    /// # Errors
    /// If its exit cannot be observed.
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

    /// Kills all its processes at once.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        // Frozen processes start no new ones.
        self.freeze()?;
        let mut server = self.server.take().context("the server does not run")?;
        server.signal_children(libc::SIGKILL);
        server.kill();
        Ok(())
    }

    /// Freezes all its processes.
    ///
    /// # Errors
    /// If it does not run or does not stop.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.server.as_ref().context("the server does not run")?.freeze()
    }

    /// Resumes all its processes.
    pub fn thaw(&self) {
        if let Some(server) = &self.server {
            server.thaw();
        }
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn database(&self) -> anyhow::Result<String> {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.query("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"))?;
        Ok(self.url(&name))
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.host())
    }

    /// Its host and port, as in a URL.
    pub fn host(&self) -> String {
        format!("{}:{}", self.place.address(), self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a statement with `psql` and returns its output.
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
