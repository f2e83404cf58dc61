//! The configuration: Kylin's `kylin.properties`, typed.
//!
//! [`Config::load`] reads `conf/kylin.properties`, then `conf/kylin.properties.override`, then `--set key=value`. Later
//! sources override earlier ones. A file made for Kylin is accepted unchanged; keys without effect are listed in
//! [`Notices`]. Invalid values are refused, all of them at once ([`ConfigErrors`]), each with its location, its key and
//! what is allowed. Values of secrets are never shown.
//!
//! All parsing happens here. The rest of the node uses typed settings. Each key is declared once, in [`keys`]. This
//! crate opens no connection and creates no file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kirin_core::{Role, Span, Timing};

pub mod address;
pub mod keys;
pub mod kind;
pub mod metastore;
pub mod problem;
pub mod properties;
mod reader;
pub mod substitute;
pub mod url_options;
pub mod zookeeper;

pub use address::{HostPort, StaticServer};
pub use kind::Memory;
pub use kirin_shell::Secret;
pub use metastore::{Backend, Metastore, Server};
pub use problem::{ConfigErrors, Notice, Notices, Problem};
pub use zookeeper::{ZkAcl, ZkAuth, ZkPermissions, ZooKeeper};

use address::host;
use keys::{KEYS, PASSTHROUGH, Standing};
use properties::{Entry, Origin};
use reader::{Layers, Reader};
use substitute::{Substitutes, Unresolved};

/// The sources of a configuration.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The home directory, the base of relative paths.
    pub home: PathBuf,
    /// The directory of the property files, if it is not `conf` in the home directory. It must exist.
    pub conf: Option<PathBuf>,
    /// `key=value` from the command line.
    pub set: Vec<String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// This machine's name.
    pub host_name: String,
}

/// All settings of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's role.
    pub role: Role,
    /// The address to listen on.
    pub bind: String,
    /// The HTTP port; 0 selects a free port.
    pub port: u16,
    /// The advertised address. Port 0 means the bound port.
    pub advertised: (String, u16),
    /// The configured name of the node; see [`Config::node_name`].
    pub given_name: Option<String>,
    /// The port of the links between nodes; 0 selects a free port.
    pub link_port: u16,
    /// The log level, in the format of `tracing_subscriber::EnvFilter`.
    pub log_level: String,
    /// The absolute path of the node's files.
    pub data_dir: PathBuf,
    /// The absolute path of built indexes.
    pub working_dir: PathBuf,
    /// The checks of the working directory.
    pub working_dir_checks: WorkingDirChecks,
    /// How long old data is kept.
    pub retention: Retention,
    /// The regular verification of published segments.
    pub verification: Schedule,
    /// The flight recorder.
    pub recorder: Recorder,
    /// The metastore.
    pub metastore: Metastore,
    /// Heartbeats.
    pub timing: Timing,
    /// Whether several nodes may run jobs. Otherwise only this node runs.
    pub leader_race: bool,
    /// The nodes that may run a job.
    pub scheduler: Scheduler,
    /// Limits and behaviour of jobs.
    pub jobs: Jobs,
    /// Login between nodes.
    pub ssh: Ssh,
    /// ZooKeeper, if configured.
    pub zookeeper: Option<ZooKeeper>,
    /// The static list of nodes, merged from both keys. Every port is set.
    pub cluster_servers: Vec<StaticServer>,
    /// Queries.
    pub query: Query,
    /// The sources that tables may read.
    pub sources: TableSources,
    /// Limits of connections to the HTTP API.
    pub connections: Connections,
    /// Options for Spark by prefix, without the prefix.
    pub spark: Spark,
    /// Notices about keys without effect.
    pub notices: Notices,
    properties: BTreeMap<String, Property>,
}

/// The nodes that may run a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// Every healthy `job` or `all` node: the default.
    MultiActive,
    /// The elected leader only (`kylin.job.scheduler.default=100`).
    LeaderOnly,
    /// Any node, one lock per job (`kylin.job.scheduler.default=2`).
    LockPerJob,
    /// One engine (`kylin.job.scheduler.default=0`).
    OneEngine,
}

/// The order in which jobs start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueOrder {
    /// First in, first out on each node.
    Node,
    /// First in, first out across the cluster.
    Global,
}

/// Limits and behaviour of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// The maximum number of running jobs per project, unless the project has its own limit.
    pub per_project: u32,
    /// The maximum number of running jobs on this node.
    pub per_node: u32,
    /// The order in which jobs start.
    pub queue: QueueOrder,
    /// The number of retries of a failed step.
    pub retry: u32,
    /// The pause before a retry.
    pub retry_after: Duration,
    /// How long a stopping node waits for running steps to end.
    pub drain_timeout: Duration,
    /// Whether jobs may run arbitrary commands on this node.
    pub commands: bool,
}

/// The regular verification of published segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The interval between verifications of all segments; zero disables them.
    pub every: Duration,
    /// Whether groups are also compared with the source tables.
    pub deep: bool,
}

/// The checks of the working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkingDirChecks {
    /// The interval between checks.
    pub every: Duration,
    /// The minimum free space in MiB. With less, the directory counts as full.
    pub free_mib_min: u32,
}

/// The flight recorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorder {
    /// The directory of recordings. Without one, nothing is recorded.
    pub dir: Option<PathBuf>,
    /// The maximum size of all recordings.
    pub limit: Memory,
}

/// How long old data is kept; zero means forever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Finished jobs, counted from their end.
    pub jobs: Duration,
    /// The cluster's history and ended members.
    pub history: Duration,
}

/// Login between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// The user. Without one, SSH is not used.
    pub username: Option<String>,
    /// The password. Without one, keys are used.
    pub password: Option<Secret>,
    /// The port.
    pub port: u16,
}

/// Settings of queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Whether a query reads the raw tables if no index can answer it.
    pub push_down: bool,
    /// The timeout of a query.
    pub timeout: Duration,
    /// The memory limit of all queries and builds of one process.
    pub memory: Memory,
}

/// The sources that tables may read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSources {
    /// Directories and files on this machine.
    pub roots: Vec<PathBuf>,
    /// Whether the machine's own identity gives access to S3 buckets.
    pub instance_role: bool,
}

/// Limits of connections to the HTTP API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// The maximum in total. If missing, it is derived from the limit of open files.
    pub all: Option<usize>,
    /// The maximum per address. If missing, it is derived from the total.
    pub per_address: Option<usize>,
    /// The timeout for the header of a request.
    pub header: Duration,
    /// The timeout for the body of a request.
    pub body: Duration,
    /// The timeout of an idle connection.
    pub idle: Duration,
}

/// Options for Spark, without prefixes. `Debug` omits them, because they may contain credentials.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Spark {
    /// For builds: `kylin.engine.spark-conf.*`.
    pub engine: BTreeMap<String, String>,
    /// For the query engine: `kylin.storage.columnar.spark-conf.*`.
    pub storage: BTreeMap<String, String>,
    /// For asynchronous queries: `kylin.query.async-query.spark-conf.*`.
    pub async_query: BTreeMap<String, String>,
}

impl std::fmt::Debug for Spark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spark({} + {} + {} options)", self.engine.len(), self.storage.len(), self.async_query.len())
    }
}

/// The effective value of one key.
#[derive(Clone, PartialEq, Eq)]
pub struct Property {
    /// The value with its secrets in clear text.
    pub revealed: String,
    /// The value with its secrets replaced by `***`.
    pub shown: String,
    /// The location where it was set; `None` for a default.
    pub origin: Option<Origin>,
}

impl std::fmt::Debug for Property {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Sources {
    /// The environment and host name of this process. The home directory is the given one, else `KIRIN_HOME`, else
    /// `KYLIN_HOME`, else the current directory.
    pub fn of_process(home: Option<PathBuf>, conf: Option<PathBuf>, set: Vec<String>) -> Self {
        let env: BTreeMap<_, _> =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        let from_env = || ["KIRIN_HOME", "KYLIN_HOME"].iter().find_map(|name| env.get(*name)).map(PathBuf::from);
        let home = home.or_else(from_env).unwrap_or_else(|| PathBuf::from("."));
        let host_name = sysinfo::System::host_name().ok();
        let host_name = host_name.or_else(|| env.get("HOSTNAME").cloned()).unwrap_or_default();
        let host_name = host(host_name.trim()).unwrap_or_else(|_| "localhost".to_owned());
        Self { home, conf, set, env, host_name }
    }
}

impl Config {
    /// Reads and validates the configuration.
    ///
    /// # Errors
    /// All problems at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let (layers, mut problems) = read_layers(sources);
        let substitutes = Substitutes { entries: &layers.entries, env: &sources.env };
        let mut reader = Reader::new(substitutes);
        let built = Self::build(&mut reader, sources, &layers);
        problems.append(&mut reader.problems);
        if !problems.is_empty() {
            return Err(ConfigErrors(problems));
        }
        assert_eq!(reader.unread(), [""; 0], "every declared key has an effect");
        Ok(built.expect("every missing value has caused a problem"))
    }

    /// The node's name: the configured one, else the advertised address, with `bound_port` for port 0.
    pub fn node_name(&self, bound_port: u16) -> String {
        self.given_name.clone().unwrap_or_else(|| self.advertised_address(bound_port).to_string())
    }

    /// The advertised address, with `bound_port` for port 0.
    pub fn advertised_address(&self, bound_port: u16) -> HostPort {
        let (host, port) = self.advertised.clone();
        HostPort { host, port: Some(if port == 0 { bound_port } else { port }) }
    }

    /// The effective value of any `key`; `None` if it has no value.
    pub fn property(&self, key: &str) -> Option<&Property> {
        let name = keys::find(key).map_or(key, |key| key.name);
        self.properties.get(name)
    }

    /// Every key that has a value, in alphabetical order.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &Property)> {
        self.properties.iter().map(|(key, property)| (key.as_str(), property))
    }

    /// Returns `None` only if there is a problem.
    fn build(r: &mut Reader<'_>, sources: &Sources, layers: &Layers) -> Option<Self> {
        let home = std::path::absolute(&sources.home).unwrap_or_else(|_| sources.home.clone());
        let role = r.word("kylin.server.mode").and_then(address::role).unwrap_or_default();
        let data_dir = r.text("kirin.data-dir").or_else(|| sources.env.get("KIRIN_DATA_DIR").cloned());
        let data_dir = home.join(data_dir.unwrap_or_else(|| "data".to_owned()));
        let metastore = metastore(r, &home, &data_dir);
        let notices = layers.notices();
        let working_dir = working_dir(r, &home, &data_dir);
        if r.flag(HTTPS) {
            r.refuse(HTTPS, "TLS is not supported; use a proxy that terminates TLS, and remove the key");
        }
        let recorder_dir = r.text("kirin.recorder.dir").map_or_else(|| data_dir.join("recorder"), |dir| home.join(dir));
        let recorder_dir = r.flag("kirin.recorder.enabled").then_some(recorder_dir);
        let port = r.count("server.port");
        let given_bind = r.parsed("server.address", host);
        let embedded = metastore.as_ref().is_none_or(Metastore::is_embedded);
        let bind = given_bind.unwrap_or_else(|| if embedded { "127.0.0.1" } else { "0.0.0.0" }.to_owned());
        let advertised = advertised(r, sources, &bind, port);
        let config = Self {
            role,
            bind,
            port,
            advertised,
            given_name: r.parsed("kirin.node.name", node_name),
            link_port: r.count("kirin.link.port"),
            log_level: r.parsed("kirin.log.level", log_level).unwrap_or_default(),
            data_dir,
            working_dir,
            working_dir_checks: WorkingDirChecks {
                every: r.span("kirin.working-dir.check-interval"),
                free_mib_min: r.count("kirin.working-dir.free-mib-min"),
            },
            retention: Retention {
                jobs: r.span("kylin.garbage.storage.executable-survival-time-threshold"),
                history: r.span("kirin.history.retention"),
            },
            verification: Schedule {
                every: r.span("kirin.segment.verify-every"),
                deep: r.flag("kirin.segment.verify-deep"),
            },
            recorder: Recorder { dir: recorder_dir, limit: r.memory("kirin.recorder.limit") },
            timing: timing(r),
            leader_race: r.flag("kylin.server.leader-race.enabled"),
            scheduler: match r.word("kylin.job.scheduler.default") {
                Some("0") => Scheduler::OneEngine,
                Some("2") => Scheduler::LockPerJob,
                Some("100") => Scheduler::LeaderOnly,
                _ => Scheduler::MultiActive,
            },
            jobs: Jobs {
                per_project: r.count("kylin.job.max-concurrent-jobs"),
                per_node: r.count("kylin.job.node-max-concurrent-jobs"),
                queue: if r.word("kirin.job.queue") == Some("global") { QueueOrder::Global } else { QueueOrder::Node },
                retry: r.count("kylin.job.retry"),
                retry_after: r.span("kylin.job.retry-interval"),
                drain_timeout: r.span("kirin.job.drain-timeout"),
                commands: r.flag("kirin.command.enabled"),
            },
            ssh: Ssh {
                username: r.text("kylin.job.ssh-username"),
                password: r.text("kylin.job.ssh-password").map(Secret::new),
                port: r.count("kylin.job.remote-ssh-port"),
            },
            zookeeper: ZooKeeper::read(r),
            cluster_servers: cluster_servers(r),
            query: Query {
                push_down: r.flag("kylin.query.pushdown-enabled"),
                timeout: r.span("kylin.query.timeout-seconds"),
                memory: r.memory("kirin.query.memory-limit"),
            },
            connections: Connections {
                all: r.count_if_given("kirin.server.max-connections"),
                per_address: r.count_if_given("kirin.server.max-connections-per-address"),
                header: r.span("kirin.server.header-timeout"),
                body: r.span("kirin.server.body-timeout"),
                idle: r.span("kirin.server.idle-timeout"),
            },
            sources: TableSources {
                roots: r.parsed("kirin.source.roots", roots).unwrap_or_default(),
                instance_role: r.flag("kirin.source.s3.instance-role"),
            },
            spark: spark(r.substitutes),
            metastore: metastore?,
            notices,
            properties: BTreeMap::new(),
        };
        Some(config.with_properties(r.substitutes))
    }

    /// Adds the values that `get-properties` shows.
    fn with_properties(mut self, substitutes: Substitutes<'_>) -> Self {
        for entry in substitutes.entries.values() {
            let (name, secret) = match keys::standing(&entry.key) {
                Standing::Obeyed(key) => (key.name, key.secret),
                Standing::HandedOn(_) | Standing::KylinOnly(_) | Standing::Unknown(_) => {
                    (entry.key.as_str(), keys::looks_secret(&entry.key) || entry.value.contains("password="))
                }
            };
            let revealed = substitutes.expand(name, &entry.value).unwrap_or_else(|_| entry.value.clone());
            let shown = if secret { "***".to_owned() } else { revealed.clone() };
            self.properties.insert(name.to_owned(), Property { revealed, shown, origin: Some(entry.origin.clone()) });
        }
        for key in KEYS {
            let empty = self.properties.get(key.name).is_none_or(|p| p.revealed.trim().is_empty());
            if let Some(default) = key.default.filter(|_| empty) {
                self.derive(key.name, default.to_owned());
            }
        }
        self.derive("server.address", self.bind.clone());
        self.derive("kirin.data-dir", self.data_dir.display().to_string());
        self.derive("kylin.env.hdfs-working-dir", self.working_dir.display().to_string());
        self.derive("kirin.node.name", self.node_name(self.port));
        self.derive("spring.cloud.zookeeper.discovery.instance-host", self.advertised.0.clone());
        self.derive("spring.cloud.zookeeper.discovery.instance-port", self.advertised.1.to_string());
        let (shown, revealed) = (self.metastore.to_string(), self.metastore.revealed());
        self.derive("kylin.metadata.url", shown);
        if let Some(property) = self.properties.get_mut("kylin.metadata.url") {
            property.revealed = revealed;
        }
        self
    }

    fn derive(&mut self, name: &str, value: String) {
        let origin = self.properties.get(name).and_then(|property| property.origin.clone());
        self.properties.insert(name.to_owned(), Property { revealed: value.clone(), shown: value, origin });
    }
}

/// The merged files and `--set` options. An unreadable file is a problem.
fn read_layers(sources: &Sources) -> (Layers, Vec<Problem>) {
    let (mut layers, mut problems) = (Layers::default(), Vec::new());
    let unreadable = |path: &Path, why: String| Problem {
        origin: None,
        key: path.display().to_string(),
        value: None,
        why,
        allowed: String::new(),
    };
    let conf = sources.conf.clone().unwrap_or_else(|| sources.home.join("conf"));
    if sources.conf.is_some() && !conf.is_dir() {
        problems.push(unreadable(&conf, "the directory does not exist".into()));
    }
    for name in ["kylin.properties", "kylin.properties.override"] {
        let path = conf.join(name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => {
                problems.push(unreadable(&path, format!("cannot read the file: {e}")));
                continue;
            }
        };
        let (entries, malformed) = properties::parse(&path.display().to_string(), &properties::decode(&bytes));
        layers.add(entries);
        problems.extend(malformed.into_iter().map(|m| Problem {
            why: m.to_string(),
            origin: Some(m.origin),
            key: m.key,
            value: None,
            allowed: "\\u with four hexadecimal digits, complete surrogate pairs, and \\\\ for a backslash".into(),
        }));
    }
    let mut set = Vec::new();
    for option in &sources.set {
        match option.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                set.push(Entry { key: key.trim().to_owned(), value: value.to_owned(), origin: Origin::named("--set") });
            }
            _ => problems.push(Problem {
                origin: Some(Origin::named("--set")),
                key: option.split('=').next().unwrap_or_default().to_owned(),
                value: None,
                why: "not KEY=VALUE".into(),
                allowed: "key=value".into(),
            }),
        }
    }
    layers.add(set);
    (layers, problems)
}

fn metastore(r: &mut Reader<'_>, home: &Path, data_dir: &Path) -> Option<Metastore> {
    const KEY: &str = "kylin.metadata.url";
    let Some(entry) = r.entry(KEY) else {
        return Some(Metastore::sqlite(metastore::DEFAULT_IDENTIFIER, data_dir.join("metastore.db")));
    };
    let substitutes = r.substitutes;
    let expand = |text: &str| -> Result<String, Unresolved> { substitutes.expand(KEY, text) };
    let read = Metastore::parse(&entry.value, &expand, home).and_then(|metastore| metastore.understood(home));
    read.map_err(|refused| r.refuse(KEY, refused.to_string())).ok()
}

/// Clients would send plain-text passwords to a node that they assume to use TLS.
const HTTPS: &str = "kylin.server.https.enable";

/// A remote file system is an error, because nodes with local directories instead would not find each other's indexes.
fn working_dir(r: &mut Reader<'_>, home: &Path, data_dir: &Path) -> PathBuf {
    const KEY: &str = "kylin.env.hdfs-working-dir";
    let default = data_dir.join("working");
    let Some(text) = r.text(KEY) else { return default };
    match text.split_once("://") {
        None => home.join(&text),
        Some(("file", path)) => home.join(path),
        Some((scheme, _)) => {
            r.refuse(
                KEY,
                format!(
                    "{scheme}:// is not supported; set a directory that all nodes share, for example /shared/kirin"
                ),
            );
            default
        }
    }
}

fn advertised(r: &mut Reader<'_>, sources: &Sources, bind: &str, port: u16) -> (String, u16) {
    const HOST: &str = "spring.cloud.zookeeper.discovery.instance-host";
    let given_host = r.parsed(HOST, host);
    let given_port = r.count_if_given("spring.cloud.zookeeper.discovery.instance-port");
    let from_env = sources.env.get("KYLIN_REST_ADDRESS").filter(|text| !text.trim().is_empty());
    let from_env = from_env.and_then(|text| {
        let parsed = text.parse::<HostPort>();
        parsed
            .map_err(|why| {
                r.problems.push(Problem {
                    origin: Some(Origin::named("environment")),
                    key: "KYLIN_REST_ADDRESS".into(),
                    value: Some(text.clone()),
                    why,
                    allowed: "host:port".into(),
                });
            })
            .ok()
    });
    let env_port = from_env.as_ref().and_then(|address| address.port);
    let one_address = !matches!(bind, "0.0.0.0" | "::");
    let host = given_host
        .or(from_env.map(|address| address.host))
        .unwrap_or_else(|| if one_address { bind.to_owned() } else { sources.host_name.clone() });
    (host, given_port.or(env_port).unwrap_or(port))
}

fn node_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".:_-[]".contains(c);
    if text.len() > 200 || !text.chars().all(fits) {
        return Err("it contains a forbidden character, or has more than 200 characters".into());
    }
    Ok(text.to_owned())
}

fn roots(text: &str) -> Result<Vec<PathBuf>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| match Path::new(part) {
            path if path.is_absolute() => Ok(path.to_owned()),
            _ => Err(format!("'{part}' is not an absolute path")),
        })
        .collect()
}

fn log_level(text: &str) -> Result<String, String> {
    let is_level =
        |text: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&text.to_lowercase().as_str());
    let is_target =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c));
    let fits = |part: &str| match part.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(part),
    };
    if text.split(',').map(str::trim).all(fits) { Ok(text.to_owned()) } else { Err("not a log level".into()) }
}

fn timing(r: &mut Reader<'_>) -> Timing {
    const INTERVAL: &str = "kylin.server.leader-race.heart-beat-interval";
    const TIMEOUT: &str = "kylin.server.leader-race.heart-beat-timeout";
    let (timeout, interval) = (r.span(TIMEOUT), r.span(INTERVAL));
    let span = |d: Duration| Span::from_micros(u64::try_from(d.as_micros()).unwrap_or(u64::MAX));
    Timing::new(span(timeout), span(interval)).unwrap_or_else(|reason| {
        let key = if r.entry(INTERVAL).is_some() { INTERVAL } else { TIMEOUT };
        r.refuse(key, format!("{reason} (timeout {timeout:?}, interval {interval:?})"));
        Timing::kylin()
    })
}

/// Merges the plain list and the list with modes. A node in both lists has the mode.
fn cluster_servers(r: &mut Reader<'_>) -> Vec<StaticServer> {
    const DEFAULT_PORT: u16 = 7_070;
    let mut servers: Vec<StaticServer> = r
        .parsed("kylin.server.cluster-servers-with-mode", |text| {
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(StaticServer::with_mode).collect()
        })
        .unwrap_or_default();
    for mut address in r.list::<HostPort>("kylin.server.cluster-servers") {
        address.port.get_or_insert(DEFAULT_PORT);
        if servers.iter().all(|server| server.address != address) {
            servers.push(StaticServer { address, role: None });
        }
    }
    servers
}

/// Values that refer to variables of Spark (`${spark.…}`) are unchanged.
fn spark(substitutes: Substitutes<'_>) -> Spark {
    let mut spark = Spark::default();
    let [(engine, _), (storage, _), (async_query, _)] = PASSTHROUGH else { return spark };
    for (name, entry) in substitutes.entries {
        let value = || substitutes.expand(name, &entry.value).unwrap_or_else(|_| entry.value.clone());
        let maps = [(engine, &mut spark.engine), (storage, &mut spark.storage), (async_query, &mut spark.async_query)];
        for (prefix, map) in maps {
            if let Some(option) = name.strip_prefix(prefix) {
                map.insert(option.to_owned(), value());
            }
        }
    }
    spark
}

#[cfg(test)]
mod tests;
