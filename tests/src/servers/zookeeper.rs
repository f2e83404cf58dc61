//! A private ZooKeeper ensemble of one or three servers.
//!
//! The servers are Debian's, started as Java processes with a short tick, so that sessions of one or two seconds work. Writes are
//! not synced to disk: tests may kill a server, but cannot test power failures.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::process::{self, LOOK_AGAIN, Place, free_ports};

const JAR: &str = "/usr/share/java/zookeeper.jar";
const LOGGER_JAR: &str = "/usr/share/java/slf4j-simple.jar";
/// The timeout for three Java virtual machines that start at once on a busy machine.
const START_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The plan of an ensemble.
#[derive(Clone, Debug)]
pub struct Plan {
    servers: usize,
    tick_ms: u32,
    properties: Vec<(String, String)>,
    places: Vec<Place>,
}

/// An ensemble. Dropping it kills the servers and removes their directory.
#[derive(Debug)]
pub struct Ensemble {
    servers: Vec<Server>,
    properties: Vec<(String, String)>,
    // Declared last: dropped after the servers.
    _directory: TempDir,
}

#[derive(Debug)]
struct Server {
    directory: std::path::PathBuf,
    place: Place,
    port: u16,
    process: Option<process::Server>,
}

impl Plan {
    /// Sets the tick. Timeouts of the ensemble are multiples of it; the shortest session is two ticks.
    pub fn tick_ms(mut self, tick_ms: u32) -> Self {
        self.tick_ms = tick_ms;
        self
    }

    /// Sets a Java system property of every server.
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Runs each server in a place of its own.
    pub fn at(mut self, places: Vec<Place>) -> Self {
        self.places = places;
        self
    }

    /// Starts the servers and waits until they serve.
    pub async fn start(self) -> Result<Ensemble> {
        let mut ensemble = self.prepare()?;
        ensemble.start_all()?;
        ensemble.until_serving().await?;
        Ok(ensemble)
    }

    /// Chooses ports and writes the configuration, and starts nothing.
    pub fn prepare(self) -> Result<Ensemble> {
        ensure!(matches!(self.servers, 1 | 3), "an ensemble has 1 or 3 servers, not {}", self.servers);
        for (needed, package) in [(JAR, "zookeeper"), (LOGGER_JAR, "libslf4j-java")] {
            ensure!(
                Path::new(needed).exists(),
                "{needed} is missing, which ZooKeeper needs: apt-get install {package}"
            );
        }
        let directory = tempfile::Builder::new().prefix("kirin-zookeeper-").tempdir()?;
        let ports = free_ports(3 * self.servers)?;
        let place = |i: usize| self.places.get(i).cloned().unwrap_or_else(Place::loopback);
        let mut members = String::new();
        if self.servers > 1 {
            for i in 0..self.servers {
                let (peer, election) = (ports[self.servers + i], ports[2 * self.servers + i]);
                writeln!(members, "server.{}={}:{peer}:{election}", i + 1, place(i).address())?;
            }
        }
        let mut servers = Vec::with_capacity(self.servers);
        for (i, port) in ports.iter().copied().take(self.servers).enumerate() {
            let home = directory.path().join(format!("server-{}", i + 1));
            let data = home.join("data");
            fs::create_dir_all(&data)?;
            fs::write(data.join("myid"), format!("{}", i + 1))?;
            // The longest session is 20 ticks by default.
            let configuration = format!(
                "tickTime={}\ninitLimit=100\nsyncLimit=10\ndataDir={}\nclientPort={port}\nclientPortAddress={}\n\
                 maxSessionTimeout=60000\nmaxClientCnxns=0\nautopurge.purgeInterval=0\nstandaloneEnabled=true\n{members}",
                self.tick_ms,
                data.display(),
                place(i).address()
            );
            fs::write(home.join("zoo.cfg"), configuration)?;
            servers.push(Server { directory: home, place: place(i), port, process: None });
        }
        Ok(Ensemble { servers, properties: self.properties, _directory: directory })
    }
}

impl Ensemble {
    /// Plans an ensemble of 1 or 3 servers.
    pub fn of(servers: usize) -> Plan {
        Plan { servers, tick_ms: 100, properties: Vec::new(), places: Vec::new() }
    }

    /// Returns `host:port,host:port`.
    pub fn connect_string(&self) -> String {
        let servers: Vec<String> =
            self.servers.iter().map(|server| format!("{}:{}", server.place.address(), server.port)).collect();
        servers.join(",")
    }

    /// Returns the port for clients of a server.
    pub fn port(&self, server: usize) -> u16 {
        self.servers[server].port
    }

    /// Starts every server that does not run. Returns before they serve.
    pub fn start_all(&mut self) -> Result<()> {
        (0..self.servers.len()).try_for_each(|server| self.start_server(server))
    }

    /// Starts a server, unless it runs.
    pub fn start_server(&mut self, server: usize) -> Result<()> {
        let server = &mut self.servers[server];
        if server.process.as_mut().is_some_and(|process| matches!(process.has_exited(), Ok(None))) {
            return Ok(());
        }
        let log = fs::File::options().create(true).append(true).open(server.log())?;
        let mut command = Command::new("java");
        command
            .args(["-Xms16m", "-Xmx64m", "-Xss256k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"])
            .args(["-Dzookeeper.admin.enableServer=false", "-Dzookeeper.4lw.commands.whitelist=*"])
            .args(["-Dzookeeper.jmx.log4j.disable=true", "-Dzookeeper.preAllocSize=64", "-Dzookeeper.forceSync=no"])
            .args(["-Djava.net.preferIPv4Stack=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"])
            .args(self.properties.iter().map(|(key, value)| format!("-D{key}={value}")))
            .args(["-cp", &format!("{JAR}:{LOGGER_JAR}"), "org.apache.zookeeper.server.quorum.QuorumPeerMain"])
            .arg(server.directory.join("zoo.cfg"))
            .current_dir(&server.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = process::Server::spawn_at(&server.place, command, libc::SIGKILL)
            .context("cannot start java, which ZooKeeper needs: apt-get install default-jre-headless")?;
        server.process = Some(process);
        Ok(())
    }

    /// Waits until every running server serves clients.
    pub async fn until_serving(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            let mut all = true;
            for i in 0..self.servers.len() {
                let server = &mut self.servers[i];
                let Some(process) = &mut server.process else { continue };
                if let Some(status) = process.has_exited()? {
                    let log = fs::read_to_string(server.log()).unwrap_or_default();
                    bail!("ZooKeeper server {} ended with {status}:\n{log}", i + 1);
                }
                all &= self.mode(i).await.is_some();
            }
            if all {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "timed out after {} s waiting for ZooKeeper", START_WITHIN.as_secs());
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Returns the current leader (a standalone server counts as the leader).
    pub async fn leader(&self) -> Option<usize> {
        for i in 0..self.servers.len() {
            if matches!(self.mode(i).await.as_deref(), Some("leader" | "standalone")) {
                return Some(i);
            }
        }
        None
    }

    /// Kills a server with SIGKILL.
    pub fn kill(&mut self, server: usize) {
        self.servers[server].process = None;
    }

    /// Kills all servers at once.
    pub fn kill_all(&mut self) {
        (0..self.servers.len()).for_each(|server| self.kill(server));
    }

    /// Kills the leader and returns its index.
    pub async fn kill_leader(&mut self) -> Result<usize> {
        let leader = self.leader().await.context("the ensemble has no leader")?;
        self.kill(leader);
        Ok(leader)
    }

    /// Freezes a server. Its connections stay open without answers.
    pub fn freeze(&self, server: usize) -> Result<()> {
        self.servers[server].process.as_ref().context("the server does not run")?.freeze()
    }

    /// Resumes a frozen server.
    pub fn thaw(&self, server: usize) -> Result<()> {
        self.servers[server].process.as_ref().context("the server does not run")?.thaw();
        Ok(())
    }

    /// Stops all servers in order.
    ///
    /// # Errors
    /// If the system does not tell when one is gone.
    pub fn stop(&mut self) -> Result<()> {
        for server in &mut self.servers {
            if let Some(mut process) = server.process.take() {
                process.thaw();
                process.signal(libc::SIGTERM);
                process.wait(STOP_WITHIN)?;
            }
        }
        Ok(())
    }

    /// Returns `leader`, `follower` or `standalone` for a server that serves.
    async fn mode(&self, server: usize) -> Option<String> {
        let answer = self.command(server, "srvr").await.ok()?;
        answer.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
    }

    /// Sends a four-letter command.
    pub async fn command(&self, server: usize, command: &str) -> Result<String> {
        let (address, port) = (self.servers[server].place.address().to_owned(), self.servers[server].port);
        let talk = async {
            let mut stream = TcpStream::connect((address, port)).await?;
            stream.write_all(command.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            anyhow::Ok(answer)
        };
        timeout(Duration::from_secs(1), talk).await?
    }
}

impl Server {
    fn log(&self) -> std::path::PathBuf {
        self.directory.join("log.txt")
    }
}
