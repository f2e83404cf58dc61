//! A whole cluster on a network of hosts: a database, a ZooKeeper ensemble of three, and nodes of mixed roles, each on a host
//! of its own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use kirin_client::{Client, Login, Request};
use kirin_home::credentials;
use kirin_lab::strangers::{Flood, Strangers};
use kirin_plant::{Defence, WITHOUT};
use kirin_store::StoreConfig;
use kirin_wire::Code;
use serde_json::Value;

use super::flights::{self, Quarter};
use super::net::Net;
use crate::servers::crowd::Crowd;
use crate::servers::mariadb::MariaDb;
use crate::servers::pair::Pair;
use crate::servers::postgres::Stop;
use crate::servers::process::{LOOK_AGAIN, Server};
use crate::servers::zookeeper::Ensemble;

/// The timeout of every wait.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The host of the database.
pub const DB: usize = 0;
/// The hosts of the ensemble.
pub const ZOOKEEPER: [usize; 3] = [1, 2, 3];
const FIRST_NODE: usize = 4;
/// The prefix of the metastore's tables.
pub(super) const PREFIX: &str = "chaos";
/// The number of clients in the crowd at a locked table.
const CROWD: usize = 40;
/// The flood of wrong passwords and unfinished requests.
const FLOOD: Flood = Flood { connections: 50, per_second: 200, unfinished: 200 };
/// The name of the file with a node's clock offset.
const CLOCK: &str = "clock";

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MariaDb,
}

/// A database server.
#[derive(Debug)]
pub enum Database {
    /// PostgreSQL with a standby.
    Postgres(Pair),
    /// MariaDB.
    MariaDb(MariaDb),
}

impl Database {
    /// Stops it.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&mut self, how: Stop) -> anyhow::Result<()> {
        match self {
            Self::Postgres(pair) => pair.primary_mut().stop(how),
            Self::MariaDb(server) => server.stop(how),
        }
    }

    /// Starts it again.
    ///
    /// # Errors
    /// If it does not start.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Postgres(pair) => pair.primary_mut().resume(),
            Self::MariaDb(server) => server.resume(),
        }
    }

    /// Runs statements with the server's own client and returns its output.
    ///
    /// # Errors
    /// If the server does not answer or refuses them.
    pub fn query(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        match self {
            Self::Postgres(pair) => pair.primary().query(database, sql),
            Self::MariaDb(server) => server.query(database, sql),
        }
    }

    /// Kills the primary, and makes its standby the primary.
    ///
    /// # Errors
    /// If there is no standby.
    pub fn fail_over(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Postgres(pair) => pair.fail_over(),
            Self::MariaDb(_) => bail!("there is no standby"),
        }
    }

    /// Turns the killed server into the standby.
    ///
    /// # Errors
    /// If it does not follow the primary.
    pub fn rejoin(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Postgres(pair) => pair.rejoin(),
            Self::MariaDb(_) => Ok(()),
        }
    }

    /// Takes all its connections: free ones, and those of other clients.
    ///
    /// # Errors
    /// If other clients keep some.
    async fn crowd(&self) -> anyhow::Result<Crowd> {
        match self {
            Self::Postgres(pair) => Crowd::in_postgres(&pair.primary().url("postgres")).await,
            Self::MariaDb(server) => Crowd::in_mariadb(&server.url("mysql")).await,
        }
    }

    /// Freezes it: it accepts connections and never answers.
    ///
    /// # Errors
    /// If it does not stop.
    pub fn freeze(&self) -> anyhow::Result<()> {
        match self {
            Self::Postgres(pair) => pair.primary().freeze(),
            Self::MariaDb(server) => server.freeze(),
        }
    }

    /// Resumes it.
    pub fn thaw(&self) {
        match self {
            Self::Postgres(pair) => pair.primary().thaw(),
            Self::MariaDb(server) => server.thaw(),
        }
    }
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its host.
    pub host: usize,
    /// Its process, if running.
    pub process: Option<Server>,
    /// Its directory.
    pub home: PathBuf,
    /// The URL of its API.
    pub url: String,
    /// Clients with wrong passwords that flood it at present.
    strangers: Option<Strangers>,
}

/// A whole cluster.
pub struct Deployment {
    /// The network.
    pub net: Net,
    /// The database.
    pub database: Database,
    /// The ensemble.
    pub zookeeper: Ensemble,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The administrator.
    pub login: Login,
    /// The configuration of the metastore.
    pub metastore: StoreConfig,
    /// The sink: a file to which command jobs append their job, step and epoch.
    pub sink: PathBuf,
    /// The working directory, with segments and logs.
    pub working_dir: PathBuf,
    program: PathBuf,
    previous: Option<PathBuf>,
    missing: Option<Defence>,
    runtime: tokio::runtime::Handle,
    /// The name of the database.
    database_name: String,
}

/// The plan of a cluster.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The database.
    pub backend: Backend,
    /// The role of each node.
    pub roles: Vec<&'static str>,
    /// `kylin.server.leader-race.heart-beat-timeout` and `…interval`, in seconds.
    pub beats: (u64, u64),
    /// The program `kirin`.
    pub program: PathBuf,
    /// The previous program, if given.
    pub previous: Option<PathBuf>,
    /// Further settings of every node.
    pub settings: Vec<(&'static str, String)>,
    /// The defence that the nodes lack, if any.
    pub missing: Option<Defence>,
    /// The directory for all files.
    pub dir: PathBuf,
}

impl Deployment {
    /// Starts everything. Must not be called on a thread of the runtime.
    ///
    /// # Errors
    /// If a part does not start.
    pub fn start(plan: &Plan, runtime: &tokio::runtime::Handle) -> anyhow::Result<Self> {
        // The standby's host is the last.
        let net = Net::of(FIRST_NODE + plan.roles.len() + 1)?;
        let places = ZOOKEEPER.iter().map(|host| net.host(*host).clone()).collect();
        let zookeeper = Ensemble::of(3).at(places).property("zookeeper.cnxTimeout", "500");
        let zookeeper = runtime.block_on(zookeeper.start())?;
        let place = net.host(DB).clone();
        let (database, url) = match plan.backend {
            Backend::Postgres => {
                let pair = Pair::start_at(place, net.host(FIRST_NODE + plan.roles.len()).clone())?;
                let url = pair.database()?;
                (Database::Postgres(pair), url)
            }
            Backend::MariaDb => {
                let server = MariaDb::start_at(place, true)?;
                let url = server.database()?;
                (Database::MariaDb(server), url)
            }
        };
        let sink = plan.dir.join("sink");
        std::fs::write(&sink, "")?;
        let working_dir = plan.dir.join("warehouse");
        let mut nodes = Vec::new();
        for (at, role) in plan.roles.iter().enumerate() {
            let host = FIRST_NODE + at;
            let address = net.host(host).address().to_owned();
            let name = format!("n{}", at + 1);
            let home = plan.dir.join(&name);
            std::fs::create_dir_all(home.join("conf"))?;
            mount_disk(&home.join("data"))?;
            let (timeout, interval) = plan.beats;
            let mut conf = std::fs::File::create(home.join("conf/kylin.properties"))?;
            for (key, value) in [
                ("kylin.metadata.url", format!("{PREFIX}@{url}")),
                ("kylin.env.hdfs-working-dir", working_dir.display().to_string()),
                ("kylin.env.zookeeper-connect-string", zookeeper.connect_string()),
                ("kylin.server.mode", (*role).to_owned()),
                ("server.address", address.clone()),
                ("server.port", "7070".to_owned()),
                ("kirin.link.port", "7071".to_owned()),
                ("kirin.node.name", name.clone()),
                ("kirin.command.enabled", "true".to_owned()),
                ("kirin.source.roots", std::path::absolute(&plan.dir)?.display().to_string()),
                // A killed worker costs an attempt at the step.
                ("kylin.job.retry", "3".to_owned()),
                ("kylin.job.retry-interval", "200".to_owned()),
                ("kylin.server.leader-race.heart-beat-timeout", timeout.to_string()),
                ("kylin.server.leader-race.heart-beat-interval", interval.to_string()),
            ]
            .into_iter()
            .chain(plan.settings.iter().cloned())
            {
                writeln!(conf, "{key}={value}")?;
            }
            nodes.push(Node {
                name,
                host,
                process: None,
                home,
                url: format!("http://{address}:7070"),
                strangers: None,
            });
        }
        let plain = url.split_once('?').map_or(url.as_str(), |(plain, _)| plain);
        let mut metastore = StoreConfig::new(plain.parse()?);
        metastore.identifier = PREFIX.to_owned();
        let mut cluster = Self {
            net,
            database,
            zookeeper,
            nodes,
            login: Login::new("", ""),
            metastore,
            sink,
            working_dir,
            program: plan.program.clone(),
            previous: plan.previous.clone(),
            missing: plan.missing,
            runtime: runtime.clone(),
            database_name: plain.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        // The first node founds the cluster and writes the credentials.
        cluster.start_node(0)?;
        let login = cluster.wait("the first node's credentials", |cluster| {
            Ok(credentials::read(&cluster.nodes[0].home.join("data"))?)
        })?;
        cluster.login = login;
        for node in 1..cluster.nodes.len() {
            cluster.start_node(node)?;
        }
        cluster.until_all_up()?;
        Ok(cluster)
    }

    /// Starts a node unless it runs. Returns before the node serves.
    ///
    /// # Errors
    /// If its program cannot be started.
    pub fn start_node(&mut self, node: usize) -> anyhow::Result<()> {
        if self.nodes[node].process.as_mut().is_some_and(|process| matches!(process.has_exited(), Ok(None))) {
            return Ok(());
        }
        self.spawn(node, &self.program.clone(), &[])
    }

    /// Starts a node with the previous program or with this one.
    ///
    /// # Errors
    /// If there is no previous program, or it cannot be started.
    pub fn start_version(&mut self, node: usize, before: bool) -> anyhow::Result<()> {
        let program = if before { self.previous.clone() } else { Some(self.program.clone()) };
        self.spawn(node, &program.context("no previous program is given (--previous)")?, &[])
    }

    /// Starts a node with an offset of its wall clock. Its other clocks are correct.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_node_at_time(&mut self, node: usize, off: &str) -> anyhow::Result<()> {
        self.step_clock(node, off)?;
        let file = self.nodes[node].home.join(CLOCK).display().to_string();
        let env =
            [("FAKETIME_TIMESTAMP_FILE", file.as_str()), ("FAKETIME_NO_CACHE", "1"), ("DONT_FAKE_MONOTONIC", "1")];
        self.spawn(node, &self.program.clone(), &env)
    }

    /// Changes the offset of a node that was started with one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn step_clock(&self, node: usize, off: &str) -> anyhow::Result<()> {
        let file = self.nodes[node].home.join(CLOCK);
        // Renamed into place, so that readers never see a partial file.
        std::fs::write(file.with_extension("new"), off)?;
        Ok(std::fs::rename(file.with_extension("new"), file)?)
    }

    /// Starts a node whose clocks all run at another rate.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_node_at_rate(&mut self, node: usize, rate: &str) -> anyhow::Result<()> {
        self.spawn(node, &self.program.clone(), &[("FAKETIME", format!("+0 x{rate}").as_str())])
    }

    fn spawn(&mut self, node: usize, program: &Path, clocks: &[(&str, &str)]) -> anyhow::Result<()> {
        let node = &mut self.nodes[node];
        let log = std::fs::OpenOptions::new().create(true).append(true).open(node.home.join("node.log"))?;
        let mut command = Command::new(program);
        command.arg("start").arg("--home").arg(&node.home).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Children inherit the variable, so lines in the sink name their node.
        command.env("CHAOS_NODE", &node.name);
        if let Some(missing) = self.missing {
            command.env(WITHOUT, missing.name());
        }
        if !clocks.is_empty() {
            command.env("LD_PRELOAD", faketime()?).envs(clocks.iter().copied());
        }
        node.process = Some(Server::spawn_at(self.net.host(node.host), command, libc::SIGKILL)?);
        Ok(())
    }

    /// Kills a node.
    pub fn kill_node(&mut self, node: usize) {
        // Its handle kills it.
        self.nodes[node].process = None;
    }

    /// Stops a node gracefully.
    ///
    /// # Errors
    /// If it ends with an error.
    pub fn stop_node(&mut self, node: usize) -> anyhow::Result<()> {
        let node = &mut self.nodes[node];
        let Some(mut process) = node.process.take() else { return Ok(()) };
        process.signal(libc::SIGTERM);
        let status = process.wait(PATIENCE)?;
        ensure!(status.success(), "{} ended with {status} after SIGTERM", node.name);
        Ok(())
    }

    /// Freezes the worker of a build on any node. Returns the node and the worker.
    ///
    /// # Errors
    /// If no node runs a build.
    pub fn stop_a_builder(&self) -> anyhow::Result<(usize, i32)> {
        self.wait("a build", |cluster| {
            let builders = cluster.nodes.iter().enumerate().filter_map(|(at, node)| Some((at, node.process.as_ref()?)));
            // The worker of a build has no child; the worker of a command has one.
            Ok(builders.filter_map(|(at, process)| Some((at, process.stop_a_child()?))).next())
        })
    }

    /// Floods a node with wrong passwords and unfinished requests.
    ///
    /// # Errors
    /// If its URL is not one.
    pub fn flood(&mut self, node: usize) -> anyhow::Result<()> {
        let node = &mut self.nodes[node];
        node.strangers = Some(Strangers::start(&self.runtime, &node.url, FLOOD)?);
        Ok(())
    }

    /// Ends the flood.
    ///
    /// # Errors
    /// If the node did not refuse the logins, or refused none of them.
    pub fn end_flood(&mut self, node: usize) -> anyhow::Result<()> {
        let node = &mut self.nodes[node];
        let Some(strangers) = node.strangers.take() else { return Ok(()) };
        let answers = strangers.answers();
        ensure!(answers.verified + answers.early > 0, "{} answered no login of the flood", node.name);
        ensure!(answers.other == 0, "{} answered wrong passwords otherwise: {answers:?}", node.name);
        Ok(())
    }

    /// Limits a node's file descriptors, or resets the limit to the maximum. Open descriptors stay open.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn limit_descriptors(&self, node: usize, most: Option<u64>) -> anyhow::Result<()> {
        let process = self.process(node)?.id();
        let limits = std::fs::read_to_string(format!("/proc/{process}/limits"))?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let hard = line.and_then(|line| line.split_whitespace().nth(1)).context("no limit of open files")?;
        let most = most.map_or_else(|| hard.to_owned(), |most| most.to_string());
        let done = Command::new("prlimit")
            .args(["--pid", &process.to_string(), &format!("--nofile={most}:")])
            .status()
            .context("cannot start prlimit")?;
        ensure!(done.success(), "prlimit ended with {done}");
        Ok(())
    }

    /// The process of a node.
    ///
    /// # Errors
    /// If it does not run.
    pub fn process(&self, node: usize) -> anyhow::Result<&Server> {
        self.nodes[node].process.as_ref().with_context(|| format!("{} does not run", self.nodes[node].name))
    }

    /// The hosts of the database and of its standby.
    pub fn databases(&self) -> [usize; 2] {
        [DB, FIRST_NODE + self.nodes.len()]
    }

    /// Takes all connections of the database from the nodes, until the crowd is dropped.
    ///
    /// # Errors
    /// If nodes keep some.
    pub fn take_connections(&self) -> anyhow::Result<Crowd> {
        self.runtime.block_on(self.database.crowd())
    }

    /// Kills the server that leads the ensemble.
    ///
    /// # Errors
    /// If there is no leader.
    pub fn lead_away(&mut self) -> anyhow::Result<()> {
        let runtime = self.runtime.clone();
        runtime.block_on(self.zookeeper.kill_leader())?;
        Ok(())
    }

    /// Runs SQL on the database.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub fn sql(&self, sql: &str) -> anyhow::Result<String> {
        self.database.query(&self.database_name, sql)
    }

    /// Writes a line to the sink.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn mark(&self, line: &str) -> anyhow::Result<()> {
        let mut sink = std::fs::OpenOptions::new().append(true).open(&self.sink)?;
        Ok(sink.write_all(format!("{line}\n").as_bytes())?)
    }

    /// Locks a table of the catalog for a time, while many clients request its contents from one node.
    ///
    /// # Errors
    /// If the database refuses the lock.
    pub fn lock_catalog(&self, node: usize, span: Duration) -> anyhow::Result<()> {
        let seconds = span.as_secs();
        let lock = match self.database {
            Database::Postgres(_) => {
                format!("BEGIN; LOCK TABLE {PREFIX}_doc IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT")
            }
            Database::MariaDb(_) => format!("LOCK TABLES {PREFIX}_doc WRITE; DO SLEEP({seconds}); UNLOCK TABLES"),
        };
        let client = self.client(node)?;
        // The node opens and caches the catalog first, so that the later requests reach the locked table.
        let models = Request::get(&["models"]).with("project", "default");
        let _: Result<Value, _> = self.runtime.block_on(client.call(models));
        std::thread::scope(|scope| {
            let locked = scope.spawn(|| self.sql(&lock));
            self.runtime.block_on(async {
                let ask = async || {
                    let until = tokio::time::Instant::now() + span;
                    while tokio::time::Instant::now() < until {
                        let request = Request::delete(&["tables", "nowhere"]).with("project", "default");
                        // Only the request matters, not the answer.
                        let _ = tokio::time::timeout_at(until, client.call::<Value>(request)).await;
                    }
                };
                futures::future::join_all((0..CROWD).map(|_| ask())).await;
            });
            locked.join().expect("it does not panic").map(drop)
        })
    }

    /// The number of connections to the database, without the one of this query.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn database_connections(&self) -> anyhow::Result<f64> {
        let all = match self.database {
            Database::Postgres(_) => {
                "SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            }
            Database::MariaDb(_) => {
                "SELECT COUNT(*) FROM information_schema.processlist WHERE command <> 'Daemon' AND id <> CONNECTION_ID()"
            }
        };
        Ok(self.sql(all)?.parse()?)
    }

    /// The number of connections and znodes of the ensemble.
    ///
    /// # Errors
    /// If a server does not answer.
    pub fn zookeeper_counts(&mut self) -> anyhow::Result<(f64, f64)> {
        // Two serving servers are enough for the nodes; here all three must answer.
        self.runtime.block_on(self.zookeeper.until_serving())?;
        let (mut connections, mut entries) = (0.0, 0.0);
        for server in 0..ZOOKEEPER.len() {
            let told = self.runtime.block_on(self.zookeeper.command(server, "mntr"))?;
            let number = |name: &str| {
                let line = told.lines().find_map(|line| line.strip_prefix(name)).context(name.to_owned())?;
                anyhow::Ok(line.trim().parse::<f64>()?)
            };
            connections += number("zk_num_alive_connections")?;
            entries = number("zk_znode_count")?.max(entries);
        }
        Ok((connections, entries))
    }

    /// A client of one node.
    ///
    /// # Errors
    /// If the URL is invalid.
    pub fn client(&self, node: usize) -> anyhow::Result<Client> {
        Ok(Client::new(std::slice::from_ref(&self.nodes[node].url), Some(self.login.clone()))?)
    }

    /// Sends a request to a node.
    ///
    /// # Errors
    /// If the node does not answer within seconds, or refuses.
    pub fn ask(&self, node: usize, path: &[&str], query: &[(&'static str, String)]) -> anyhow::Result<Value> {
        let mut request = Request::get(path);
        for (name, value) in query {
            request = request.with(name, value);
        }
        let client = self.client(node)?;
        let call = async { tokio::time::timeout(Duration::from_secs(5), client.call(request)).await };
        Ok(self.runtime.block_on(call).context("no answer within 5 s")??)
    }

    /// Defines the flights and returns the quarters, computed from the raw tables.
    ///
    /// # Errors
    /// If a node refuses something.
    pub fn define_flights(&self, dir: &Path) -> anyhow::Result<Vec<Quarter>> {
        self.runtime.block_on(flights::define(&self.client(0)?, dir))
    }

    /// Waits until every node runs, is a member, and sees all others.
    ///
    /// # Errors
    /// If that does not happen in time.
    pub fn until_all_up(&self) -> anyhow::Result<()> {
        let all = self.nodes.len();
        self.wait("all nodes to be up and to see one another", |cluster| {
            for node in 0..all {
                let view = cluster.ask(node, &["cluster"], &[])?;
                let members = view["members"].as_array().map_or(&[][..], Vec::as_slice);
                let up = members.iter().filter(|m| m["state"] == "up" && !m["beat"].is_null()).count();
                if up != all || view["leader"] == "" || view["discovery"]["status"] != "UP" {
                    bail!(
                        "{} sees {up} of {all}, leader {}, discovery {}",
                        cluster.nodes[node].name,
                        view["leader"],
                        view["discovery"]
                    );
                }
            }
            Ok(Some(()))
        })
    }

    /// Waits until every node reports degraded discovery and continues.
    ///
    /// # Errors
    /// If a node does not.
    pub fn expect_degraded(&self) -> anyhow::Result<()> {
        self.wait("all nodes to say that discovery is degraded", |cluster| {
            for node in 0..cluster.nodes.len() {
                let view = cluster.ask(node, &["cluster"], &[])?;
                let status = &view["discovery"]["status"];
                ensure!(status == "DEGRADED", "{} says {status}", cluster.nodes[node].name);
            }
            Ok(Some(()))
        })
    }

    /// Checks that every node refuses requests clearly and soon while the database is down.
    ///
    /// # Errors
    /// If a node does not.
    pub fn expect_refusals(&self) -> anyhow::Result<()> {
        for node in 0..self.nodes.len() {
            match self.ask(node, &["projects"], &[]) {
                Err(error) if format!("{error:#}").contains(Code::Unavailable.as_str()) => {}
                other => bail!("{} is cut off from its database and answers {other:?}", self.nodes[node].name),
            }
        }
        Ok(())
    }

    /// Polls until there is a result.
    ///
    /// # Errors
    /// If there is none within [`PATIENCE`].
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut(&Self) -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
        let until = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < until {
            match look(self) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(error) => last = Some(error),
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        match last {
            Some(error) => Err(error).context(format!("timed out waiting for {what}")),
            None => bail!("timed out waiting for {what}"),
        }
    }

    /// Unmounts the nodes' small disks, so that their directories can be removed.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn unmount(&self) -> anyhow::Result<()> {
        for node in &self.nodes {
            let done = Command::new("umount").arg("-l").arg(node.home.join("data")).status()?;
            ensure!(done.success(), "umount ended with {done}");
        }
        Ok(())
    }

    /// The directory of the recordings of a node.
    pub fn recordings(&self, node: usize) -> PathBuf {
        recordings(&self.nodes[node].home)
    }
}

/// The library that changes the time that a process sees (libfaketime).
fn faketime() -> anyhow::Result<PathBuf> {
    let libraries = std::fs::read_dir("/usr/lib")?.flatten();
    let mut found = libraries.map(|dir| dir.path().join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists());
    found.next().context("libfaketime is not there: apt-get install --no-install-recommends libfaketime")
}

/// Mounts a small disk for a node's own files, visible to this process and its children only.
fn mount_disk(at: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(at)?;
    let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=384m", "tmpfs"]).arg(at).status()?;
    ensure!(done.success(), "mount ended with {done}");
    Ok(())
}

fn recordings(home: &Path) -> PathBuf {
    home.join("data/recorder")
}
