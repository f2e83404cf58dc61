//! A private MariaDB.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

use super::postgres::Stop;
use super::process::{Place, Server, directory, free_ports, private_copy, program, until, user};

/// A MariaDB server in a temporary directory, on a port of its own, user `root` without password.
#[derive(Debug)]
pub struct MariaDb {
    place: Place,
    directory: tempfile::TempDir,
    owner: Option<(u32, u32)>,
    port: u16,
    durable: bool,
    encrypted: bool,
    server: Option<Server>,
    databases: AtomicU32,
}

const START_MAX: Duration = Duration::from_secs(60);

impl MariaDb {
    /// Creates and starts a server. `durable` keeps flushing on; without it, the server starts and commits faster.
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
        let install = program(&["/usr/bin/mariadb-install-db", "/usr/bin/mysql_install_db"], "mariadb-server")?;
        let owner = user("mysql")?;
        let directory = directory(owner)?;
        let port = free_ports(1)?[0];
        let mut server = Self {
            place,
            directory,
            owner,
            port,
            durable,
            encrypted: false,
            server: None,
            databases: AtomicU32::new(0),
        };
        let made = server
            .command(&install)
            .arg("--no-defaults")
            .arg(format!("--datadir={}", server.data().display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .output()
            .context("running mariadb-install-db")?;
        if !made.status.success() {
            bail!("mariadb-install-db failed: {}", String::from_utf8_lossy(&made.stderr));
        }
        server.resume()?;
        Ok(server)
    }

    /// The server that all tests of this process share.
    ///
    /// # Panics
    /// If it does not start: a test that needs it must not be skipped in silence.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(false).expect("a private MariaDB starts"))
    }

    /// Starts the server after a stop.
    ///
    /// # Errors
    /// If it does not start.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        let daemon = program(&["/usr/sbin/mariadbd", "/usr/sbin/mysqld"], "mariadb-server")?;
        let path = self.directory.path();
        let mut command = self.command(&daemon);
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", self.data().display()))
            .arg(format!("--port={}", self.port))
            .arg(format!("--socket={}", path.join("s").display()))
            .arg(format!("--pid-file={}", path.join("pid").display()))
            .arg(format!("--log-error={}", path.join("log").display()))
            .arg(format!("--bind-address={}", self.place.address()))
            .args(["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M"])
            .args(["--skip-log-bin", "--skip-name-resolve", "--max-connections=400"]);
        if self.place.address() != "127.0.0.1" {
            // `root` may log in only from this machine, and hosts of a private network count as others.
            command.arg("--skip-grant-tables");
        }
        if self.encrypted {
            command.arg(format!("--ssl-cert={}", path.join("tls.crt").display()));
            command.arg(format!("--ssl-key={}", path.join("tls.key").display()));
        }
        if !self.durable {
            command.args([
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-flush-method=nosync",
                "--innodb-doublewrite=0",
            ]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Some(Server::spawn_at(&self.place, command, libc::SIGKILL).context("starting mariadbd")?);
        let ready = || -> anyhow::Result<bool> { Ok(self.query("", "SELECT 1").is_ok()) };
        until("MariaDB answers", START_MAX, ready).with_context(|| {
            let log = std::fs::read_to_string(path.join("log")).unwrap_or_default();
            log.lines().rev().take(20).collect::<Vec<_>>().join("\n")
        })
    }

    /// Requires encrypted connections with this certificate and key.
    ///
    /// # Errors
    /// If it does not start again.
    pub fn encrypt(&mut self, certificate: &std::path::Path, key: &std::path::Path) -> anyhow::Result<()> {
        self.stop(Stop::Fast)?;
        private_copy(certificate, &self.directory.path().join("tls.crt"), self.owner)?;
        private_copy(key, &self.directory.path().join("tls.key"), self.owner)?;
        self.encrypted = true;
        self.resume()?;
        self.query("", "SET GLOBAL require_secure_transport = ON").map(drop)
    }

    /// Stops it.
    ///
    /// # Errors
    /// If its exit cannot be observed.
    pub fn stop(&mut self, how: Stop) -> anyhow::Result<()> {
        if let Some(mut server) = self.server.take() {
            server.signal(match how {
                Stop::Fast => libc::SIGTERM,
                Stop::Immediate => libc::SIGKILL,
            });
            server.wait(START_MAX)?;
        }
        Ok(())
    }

    /// Freezes it.
    ///
    /// # Errors
    /// If it does not run or does not stop.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.server.as_ref().context("the server does not run")?.freeze()
    }

    /// Resumes it.
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
        self.query("", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@{}:{}/{database}", self.place.address(), self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a statement with the command line client and returns its output.
    ///
    /// # Errors
    /// If the server does not answer or refuses it.
    pub fn query(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let client = program(&["/usr/bin/mariadb", "/usr/bin/mysql"], "mariadb-client")?;
        let out = Command::new(client)
            .args([
                "--no-defaults",
                "--protocol=tcp",
                "-h",
                self.place.address(),
                "-uroot",
                "-N",
                "-B",
                "--connect-timeout=2",
            ])
            .arg(format!("-P{}", self.port))
            .args(["-e", sql, database])
            .output()?;
        if !out.status.success() {
            bail!("{}", String::from_utf8_lossy(&out.stderr));
        }
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, program: &PathBuf) -> Command {
        let mut command = Command::new(program);
        // A server that starts deletes temporary tables in its temporary directory, also those of another server.
        command.current_dir(self.directory.path()).env("TMPDIR", self.directory.path());
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.thaw();
        let _ = self.stop(Stop::Immediate);
    }
}
