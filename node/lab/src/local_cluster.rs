//! Clusters of node processes on this machine, with one metastore, free ports and one directory.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use kirin_client::{Client, Request};
use kirin_wire::ClusterView;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use kirin_config::{Config, Secret, Sources};
use kirin_home::credentials;
use kirin_home::pid_file::PidFile;
use kirin_shell::clock;

/// The timeout of every wait.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The interval between polls during a wait.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The configuration of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The metastore, as a plain URL or in Kylin's form. The default is SQLite in the cluster's directory.
    pub metastore: Option<Secret>,
    /// The ZooKeeper ensemble.
    pub zookeeper: Option<String>,
    /// `kylin.server.mode` of each node; nodes beyond the list are `all`.
    pub modes: Vec<String>,
    /// `server.port` of each node, also after a restart. Nodes beyond the list use a free port.
    pub ports: Vec<u16>,
    /// Additional settings of every node.
    pub settings: Vec<(String, String)>,
    /// Additional settings of each node; nodes beyond the list have none.
    pub own_settings: Vec<Vec<(String, String)>>,
    /// Additional environment variables of every node.
    pub environment: Vec<(String, String)>,
    /// Whether the nodes keep running after this process exits.
    pub outlive: bool,
    /// The `kirin` program; the default is this process's program.
    pub program: Option<PathBuf>,
}

/// A running cluster.
pub struct Cluster {
    /// The directory of all files of the cluster.
    pub dir: PathBuf,
    /// The nodes; a dead node keeps its index.
    pub nodes: Vec<NodeProcess>,
    plan: Plan,
    metastore: String,
}

/// The process of a node.
pub struct NodeProcess {
    /// A short name.
    pub name: String,
    home: PathBuf,
    child: Option<Child>,
    /// The URL of its API.
    pub url: String,
    client: Option<Client>,
}

/// Checks the metastore's URL before anything is started.
///
/// # Errors
/// [`kirin_config::ConfigErrors`] if it is invalid.
pub(crate) fn check(metastore: Option<&Secret>) -> anyhow::Result<()> {
    let Some(url) = metastore else { return Ok(()) };
    let home = tempfile::tempdir()?;
    let set = vec![format!("kylin.metadata.url={}", url.reveal().replace('\\', "\\\\"))];
    Config::load(&Sources::of_process(Some(home.path().to_owned()), None, set))?;
    Ok(())
}

impl Cluster {
    /// Starts the given number of nodes with their files in `dir`, and waits until all see each other.
    ///
    /// # Errors
    /// If a node does not start. The error names its log.
    pub async fn start(dir: &Path, nodes: usize, plan: Plan) -> anyhow::Result<Self> {
        // Several clusters may share a database, so each has its own tables.
        let run = uuid::Uuid::new_v4().simple().to_string();
        let metastore = match &plan.metastore {
            Some(url) if url.reveal().contains("@jdbc") || url.reveal().contains("@sqlite:") => url.reveal().to_owned(),
            Some(url) => format!("kirin_{}@{}", &run[..8], url.reveal()),
            None => format!("kirin@sqlite:{}", dir.join("metastore.db").display()),
        };
        let mut cluster = Self { dir: dir.to_owned(), nodes: Vec::new(), plan, metastore };
        for number in 1..=nodes {
            cluster.add(&format!("node-{number}")).await?;
        }
        cluster.wait_for_members(nodes).await?;
        Ok(cluster)
    }

    async fn add(&mut self, name: &str) -> anyhow::Result<()> {
        let node = self.spawn(name)?;
        self.nodes.push(node);
        self.meet(self.nodes.len() - 1).await
    }

    /// Starts nodes, all at once, until the cluster has the given number, and waits until each responds.
    ///
    /// # Errors
    /// If a node does not start. The error names its log.
    pub async fn grow(&mut self, nodes: usize) -> anyhow::Result<()> {
        let before = self.nodes.len();
        for number in before + 1..=nodes {
            let node = self.spawn(&format!("node-{number}"))?;
            self.nodes.push(node);
        }
        for node in before..self.nodes.len() {
            self.meet(node).await?;
        }
        Ok(())
    }

    fn spawn(&self, name: &str) -> anyhow::Result<NodeProcess> {
        let home = self.dir.join(name);
        std::fs::create_dir_all(home.join("conf"))?;
        let mut node = NodeProcess { name: name.to_owned(), home, child: None, url: String::new(), client: None };
        self.write_conf(&node)?;
        node.spawn(&self.plan)?;
        Ok(node)
    }

    /// Waits until a spawned node responds, and stores its address.
    async fn meet(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].until_up().await?;
        // Of nodes that start together, any may found the cluster and write the credentials.
        let mut logins = self.nodes.iter().map(|node| credentials::read(&node.home.join("data")));
        let login = logins.find_map(Result::transpose).context("no node wrote credentials")??;
        let node = &mut self.nodes[node];
        node.client = Some(Client::new(std::slice::from_ref(&node.url), Some(login))?);
        Ok(())
    }

    fn write_conf(&self, node: &NodeProcess) -> anyhow::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut lines = vec![
            ("kylin.metadata.url".to_owned(), self.metastore.clone()),
            ("kylin.env.hdfs-working-dir".to_owned(), self.dir.join("warehouse").display().to_string()),
            ("server.port".to_owned(), self.plan.ports.get(self.nodes.len()).copied().unwrap_or(0).to_string()),
            ("server.address".to_owned(), "127.0.0.1".to_owned()),
            ("spring.cloud.zookeeper.discovery.instance-host".to_owned(), "127.0.0.1".to_owned()),
            ("kirin.node.name".to_owned(), node.name.clone()),
            ("kirin.source.roots".to_owned(), std::path::absolute(&self.dir)?.display().to_string()),
        ];
        lines.retain(|(key, _)| self.plan.settings.iter().all(|(other, _)| other != key));
        if let Some(mode) = self.plan.modes.get(self.nodes.len()) {
            lines.push(("kylin.server.mode".to_owned(), mode.clone()));
        }
        if let Some(zookeeper) = &self.plan.zookeeper {
            lines.push(("kylin.env.zookeeper-connect-string".to_owned(), zookeeper.clone()));
        }
        lines.extend(self.plan.settings.iter().cloned());
        lines.extend(self.plan.own_settings.get(self.nodes.len()).into_iter().flatten().cloned());
        let path = node.home.join("conf/kylin.properties");
        // The URL may contain a password.
        let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        for (key, value) in lines {
            writeln!(file, "{key}={}", value.replace('\\', "\\\\"))?;
        }
        Ok(())
    }

    /// `kylin.metadata.url` of the nodes.
    pub fn metastore(&self) -> &str {
        &self.metastore
    }

    /// Kills the node with SIGKILL. Returns the time just before.
    ///
    /// # Errors
    /// If there is no such process.
    pub async fn kill(&mut self, node: usize) -> anyhow::Result<Instant> {
        let process = self.nodes.get_mut(node).and_then(|node| node.child.as_mut()).context("the node does not run")?;
        let at = clock::instant_tokio();
        process.start_kill()?;
        process.wait().await?;
        self.nodes[node].child = None;
        Ok(at)
    }

    /// Sets the program of nodes that are started from now on.
    pub fn set_program(&mut self, program: &Path) {
        self.plan.program = Some(program.to_owned());
    }

    /// Restarts a node that was killed or stopped.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart(&mut self, node: usize) -> anyhow::Result<()> {
        let process = &mut self.nodes[node];
        let client = process.client.take();
        process.spawn(&self.plan)?;
        process.until_up().await?;
        let login = client.and_then(|client| client.login().cloned());
        process.client = Some(Client::new(std::slice::from_ref(&process.url), login)?);
        Ok(())
    }

    /// Stops a node gracefully. Returns how long this took.
    ///
    /// # Errors
    /// If it does not exit in time.
    pub async fn stop(&mut self, node: usize) -> anyhow::Result<Duration> {
        self.nodes[node].stop().await
    }

    /// Stops all running nodes except the first `nodes`, all at once.
    ///
    /// # Errors
    /// If a node does not exit in time.
    pub async fn shrink(&mut self, nodes: usize) -> anyhow::Result<()> {
        let beyond = self.nodes.iter_mut().skip(nodes).filter(|node| node.child.is_some());
        futures::future::try_join_all(beyond.map(NodeProcess::stop)).await?;
        Ok(())
    }

    /// Waits until every running node sees this number of members.
    ///
    /// # Errors
    /// If they do not within [`PATIENCE`].
    pub async fn wait_for_members(&self, count: usize) -> anyhow::Result<()> {
        for node in self.living() {
            self.wait(&format!("{} to see {count} members", node.name), async || {
                let view: ClusterView = node.client()?.call(Request::get(&["cluster"])).await?;
                let up = view.members.iter().filter(|member| member.state == "up" && member.beat.is_some());
                Ok((up.count() == count && !view.leader.is_empty()).then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Polls until `look` returns a value.
    ///
    /// # Errors
    /// If polling returns no value within [`PATIENCE`], or fails permanently.
    pub async fn wait<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let until = clock::instant_tokio() + PATIENCE;
        let mut last = None;
        while clock::instant_tokio() < until {
            match look().await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        match last {
            Some(error) => Err(error).context(format!("timed out waiting for {what}")),
            None => bail!("timed out waiting for {what}"),
        }
    }

    /// The nodes that run.
    pub fn living(&self) -> impl Iterator<Item = &NodeProcess> {
        self.nodes.iter().filter(|node| node.child.is_some())
    }

    /// The index of the node with this name.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// Stops all running nodes, one at a time.
    ///
    /// # Errors
    /// If a node does not exit in time.
    pub async fn stop_all(&mut self) -> anyhow::Result<()> {
        for node in 0..self.nodes.len() {
            if self.nodes[node].child.is_some() {
                self.stop(node).await?;
            }
        }
        Ok(())
    }

    /// Leaves the processes running.
    pub fn leave(mut self) {
        for node in &mut self.nodes {
            drop(node.child.take());
        }
    }
}

impl NodeProcess {
    fn spawn(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new(plan.program.clone().map_or_else(std::env::current_exe, Ok)?);
        command.arg("start").arg("--home").arg(&self.home).envs(plan.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(!plan.outlive);
        if !plan.outlive {
            kirin_executor::children::die_with_parent(&mut command);
        }
        self.child = Some(command.spawn().context("cannot start a node")?);
        Ok(())
    }

    /// Waits until the node publishes the address of its API.
    async fn until_up(&mut self) -> anyhow::Result<()> {
        let until = clock::instant_tokio() + PATIENCE;
        let data = self.home.join("data");
        loop {
            let child = self.child.as_mut().context("the node was not started")?;
            if let Some(status) = child.try_wait()? {
                bail!("{} exited at start ({status}): {}", self.name, self.last_words());
            }
            let pid = child.id().and_then(|id| i32::try_from(id).ok());
            if let Ok(running) = PidFile::running(&data)
                && Some(running.pid) == pid
                && !running.address.is_empty()
            {
                self.url = format!("http://{}", running.address);
                return Ok(());
            }
            ensure!(
                clock::instant_tokio() < until,
                "timed out waiting for {} to start; see {}",
                self.name,
                self.log().display()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn stop(&mut self) -> anyhow::Result<Duration> {
        let from = clock::instant_tokio();
        let data = self.home.join("data");
        let mut child = self.child.take().context("the node does not run")?;
        let (stopped, ended) = tokio::join!(PidFile::stop(&data, PATIENCE), child.wait());
        stopped?;
        ensure!(ended?.success(), "{} exited with an error; see {}", self.name, self.log().display());
        Ok(from.elapsed())
    }

    /// The end of its log. The log itself may be in a directory that is deleted with the cluster.
    fn last_words(&self) -> String {
        const LINES: usize = 10;
        match std::fs::read_to_string(self.log()) {
            Ok(log) => {
                let lines: Vec<_> = log.lines().collect();
                lines[lines.len().saturating_sub(LINES)..].join("\n")
            }
            Err(error) => format!("cannot read {}: {error}", self.log().display()),
        }
    }

    /// The path of its log.
    pub fn log(&self) -> PathBuf {
        self.home.join("node.log")
    }

    /// Its home directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The client of this node only.
    ///
    /// # Errors
    /// If the node never ran.
    pub fn client(&self) -> anyhow::Result<&Client> {
        self.client.as_ref().context("the node never ran")
    }

    /// The process id, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }
}
