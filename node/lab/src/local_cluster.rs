//! Clusters of node processes on this machine, to show and to measure: one metastore, free ports, a directory for all.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use kirin_client::{Client, Request};
use kirin_wire::ClusterView;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use kirin_config::Secret;
use kirin_home::credentials;
use kirin_home::pid_file::PidFile;
use kirin_shell::clock;

/// How long anything may take that has to happen at all.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a cluster is made of.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The metastore, as a plain URL or in Kylin's form; SQLite in the cluster's directory if it isn't given.
    pub metastore: Option<Secret>,
    /// The ZooKeeper ensemble.
    pub zookeeper: Option<String>,
    /// `kylin.server.mode` of each node; `all` for those beyond the list.
    pub modes: Vec<String>,
    /// `server.port` of each node, which it has after a restart, too; any free one for those beyond the list.
    pub ports: Vec<u16>,
    /// Further settings of every node.
    pub settings: Vec<(String, String)>,
    /// Further environment of every node.
    pub environment: Vec<(String, String)>,
    /// Whether the nodes outlive this process.
    pub outlive: bool,
    /// The `kirin` program; this process's own if it isn't given.
    pub program: Option<PathBuf>,
}

/// A running cluster.
pub struct Cluster {
    /// Everything that it writes is below this directory.
    pub dir: PathBuf,
    /// Its nodes; a dead one keeps its place.
    pub nodes: Vec<NodeProcess>,
    plan: Plan,
    metastore: String,
}

/// One node's process.
pub struct NodeProcess {
    /// A short name.
    pub name: String,
    home: PathBuf,
    child: Option<Child>,
    /// Where its API is.
    pub url: String,
    client: Option<Client>,
}

impl Cluster {
    /// Starts so many nodes below `dir` and waits until all see one another.
    ///
    /// # Errors
    /// If a node does not start; its log is named.
    pub async fn start(dir: &Path, nodes: usize, plan: Plan) -> anyhow::Result<Self> {
        // Several clusters may share a database: each has its own tables.
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

    /// Starts nodes until there are so many, all at once, and waits until each answers.
    ///
    /// # Errors
    /// If a node does not start; its log is named.
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

    /// Waits until a node that was spawned answers, and keeps its address.
    async fn meet(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].until_up().await?;
        let login =
            credentials::read(&self.nodes[0].home.join("data"))?.context("the first node left no credentials")?;
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
        let path = node.home.join("conf/kylin.properties");
        // It may hold a password.
        let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        for (key, value) in lines {
            writeln!(file, "{key}={}", value.replace('\\', "\\\\"))?;
        }
        Ok(())
    }

    /// `kylin.metadata.url` of its nodes.
    pub fn metastore(&self) -> &str {
        &self.metastore
    }

    /// Kills the node with SIGKILL. Returns the moment just before.
    ///
    /// # Errors
    /// If there is no such process.
    pub async fn kill(&mut self, node: usize) -> anyhow::Result<Instant> {
        let process = self.nodes.get_mut(node).and_then(|node| node.child.as_mut()).context("no such node runs")?;
        let at = clock::instant_tokio();
        process.start_kill()?;
        process.wait().await?;
        self.nodes[node].child = None;
        Ok(at)
    }

    /// With what program nodes are started from here on.
    pub fn set_program(&mut self, program: &Path) {
        self.plan.program = Some(program.to_owned());
    }

    /// Starts a node that was killed or stopped.
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

    /// Stops a node gracefully and returns how long that took.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn stop(&mut self, node: usize) -> anyhow::Result<Duration> {
        self.nodes[node].stop().await
    }

    /// Stops those that run beyond the first `nodes`, all at once.
    ///
    /// # Errors
    /// If one does not end in time.
    pub async fn shrink(&mut self, nodes: usize) -> anyhow::Result<()> {
        let beyond = self.nodes.iter_mut().skip(nodes).filter(|node| node.child.is_some());
        futures::future::try_join_all(beyond.map(NodeProcess::stop)).await?;
        Ok(())
    }

    /// Waits until every living node sees so many members.
    ///
    /// # Errors
    /// If they do not within the time that anything may take.
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

    /// Looks again and again until there is something.
    ///
    /// # Errors
    /// If there is nothing within the time that anything may take, or a look fails for good.
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
            Some(error) => Err(error).context(format!("waited in vain for {what}")),
            None => bail!("waited in vain for {what}"),
        }
    }

    /// The nodes whose processes run.
    pub fn living(&self) -> impl Iterator<Item = &NodeProcess> {
        self.nodes.iter().filter(|node| node.child.is_some())
    }

    /// The place of a node by its name.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// Stops all nodes that run, one after the other.
    ///
    /// # Errors
    /// If one does not end in time.
    pub async fn stop_all(&mut self) -> anyhow::Result<()> {
        for node in 0..self.nodes.len() {
            if self.nodes[node].child.is_some() {
                self.stop(node).await?;
            }
        }
        Ok(())
    }

    /// Lets go of the processes: they live on.
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

    /// Waits until it tells where its API is.
    async fn until_up(&mut self) -> anyhow::Result<()> {
        let until = clock::instant_tokio() + PATIENCE;
        let data = self.home.join("data");
        loop {
            let child = self.child.as_mut().context("it was not started")?;
            if let Some(status) = child.try_wait()? {
                bail!("{} ended at once ({status}): {}", self.name, self.last_words());
            }
            let pid = child.id().and_then(|id| i32::try_from(id).ok());
            if let Ok(running) = PidFile::running(&data)
                && Some(running.pid) == pid
                && !running.address.is_empty()
            {
                self.url = format!("http://{}", running.address);
                return Ok(());
            }
            ensure!(clock::instant_tokio() < until, "{} does not come up; see {}", self.name, self.log().display());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn stop(&mut self) -> anyhow::Result<Duration> {
        let from = clock::instant_tokio();
        let data = self.home.join("data");
        let mut child = self.child.take().context("no such node runs")?;
        let (stopped, ended) = tokio::join!(PidFile::stop(&data, PATIENCE), child.wait());
        stopped?;
        ensure!(ended?.success(), "{} ended with an error; see {}", self.name, self.log().display());
        Ok(from.elapsed())
    }

    /// The end of its log. The log itself may be in a directory that goes with the cluster.
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

    /// What it has said.
    pub fn log(&self) -> PathBuf {
        self.home.join("node.log")
    }

    /// Its home directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The client that talks to this node and no other.
    ///
    /// # Errors
    /// If it has never run.
    pub fn client(&self) -> anyhow::Result<&Client> {
        self.client.as_ref().context("the node has not run yet")
    }

    /// The process id, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }
}
