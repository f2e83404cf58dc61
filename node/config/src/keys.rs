//! The declaration of every key. The parser, the messages and the table in `docs/` use it.
//!
//! [`KEYS`] are the keys that affect Kirin. [`KYLIN_ONLY`] are Kylin's keys and families of keys without effect here,
//! with the reason where it matters. Keys with [`PASSTHROUGH`] prefixes are passed on unchanged. Any other key is
//! unknown.

use std::time::Duration;

use super::kind::{Kind, Unit};
use super::metastore;

/// A key that affects Kirin.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name, as in the file.
    pub name: &'static str,
    /// Older names for the same setting.
    pub aliases: &'static [&'static str],
    /// The allowed values.
    pub kind: Kind,
    /// The default as text; `None` if it is derived or there is none.
    pub default: Option<&'static str>,
    /// The description of a derived default.
    pub default_about: &'static str,
    /// The description, on one line.
    pub about: &'static str,
    /// Whether its value is, or contains, a secret.
    pub secret: bool,
    /// Whether a change needs a restart; otherwise the API changes it at run time.
    pub restart: bool,
    /// For a value that is parsed but not supported yet: the value (empty for any), and what happens instead.
    pub not_yet: Option<(&'static str, &'static str)>,
}

impl Key {
    const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self {
            name,
            aliases: &[],
            kind,
            default: None,
            default_about: "",
            about,
            secret: false,
            restart: true,
            not_yet: None,
        }
    }

    const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn or_derived(mut self, about: &'static str) -> Self {
        self.default_about = about;
        self
    }

    const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn not_yet(mut self, value: &'static str, instead: &'static str) -> Self {
        self.not_yet = Some((value, instead));
        self
    }

    const fn live(mut self) -> Self {
        self.restart = false;
        self
    }
}

const fn span(unit: Unit, min_ms: u64, max_secs: u64) -> Kind {
    Kind::Span { unit, min: Duration::from_millis(min_ms), max: Duration::from_secs(max_secs) }
}

const PORT: Kind = Kind::Count { min: 1, max: 65_535 };
const PORT_OR_ANY: Kind = Kind::Count { min: 0, max: 65_535 };
const CONNECTIONS: Kind = Kind::Count { min: 1, max: 1_000_000 };
const SLOTS: Kind = Kind::Count { min: 0, max: 100_000 };
const HOST: Kind = Kind::Text("a host name or an IP address, without a port");
const SERVERS: Kind = Kind::Text("host:port, comma-separated");
const DAY: u64 = 86_400;
const NO_SSH: &str = "SSH is not used yet";

/// The keys that affect Kirin, in the order of `docs/src/reference/configuration.md`.
pub const KEYS: &[Key] = &[
    // The node and its addresses.
    Key::new("kylin.server.mode", Kind::Word(&["all", "job", "query"]), "the node's role: jobs, queries or both")
        .or("all"),
    Key::new("kirin.data-dir", Kind::Text("a directory"), "the directory of the node's files")
        .or_derived("`KIRIN_DATA_DIR`, else `data` in the home directory"),
    Key::new("server.port", PORT_OR_ANY, "the HTTP port; 0 selects a free port").or("7070"),
    Key::new("server.address", HOST, "the address on which the HTTP API and the links listen")
        .or_derived("`127.0.0.1` with the embedded metastore, `0.0.0.0` with a database server"),
    Key::new(
        "spring.cloud.zookeeper.discovery.instance-host",
        HOST,
        "the host name that other nodes and clients use to reach this node",
    )
    .or_derived("`KYLIN_REST_ADDRESS`, else `server.address` if it is one address, else the host name"),
    Key::new(
        "spring.cloud.zookeeper.discovery.instance-port",
        PORT,
        "the port that other nodes and clients use to reach this node",
    )
    .or_derived("the port in `KYLIN_REST_ADDRESS`, else `server.port`"),
    Key::new(
        "kirin.node.name",
        Kind::Text("letters, digits and . _ : [ ] -, at most 200"),
        "the node's name, which must be unique in the cluster and the same after a restart",
    )
    .or_derived("advertised `host:port`"),
    Key::new(
        "kirin.server.max-connections",
        CONNECTIONS,
        "the maximum number of open connections to the HTTP API; further ones are closed at once",
    )
    .or_derived("half of the files that the process may open, at most 4096"),
    Key::new(
        "kirin.server.max-connections-per-address",
        CONNECTIONS,
        "the same limit per address, or per /64 prefix of IPv6",
    )
    .or_derived("three quarters of `kirin.server.max-connections`"),
    Key::new(
        "kirin.server.header-timeout",
        span(Unit::Secs, 100, 3_600),
        "the timeout for the header of a request, and for the first request of a connection",
    )
    .or("10"),
    Key::new("kirin.server.body-timeout", span(Unit::Secs, 100, 3_600), "the timeout for the body of a request")
        .or("60"),
    Key::new(
        "kirin.server.idle-timeout",
        span(Unit::Secs, 100, DAY),
        "the timeout between requests, and for a client that does not read its answer; must exceed the load balancer's",
    )
    .or("75"),
    Key::new("kirin.link.port", PORT_OR_ANY, "the port of the links between nodes; 0 selects a free port").or("0"),
    Key::new(
        "kirin.log.level",
        Kind::Text("off, error, warn, info, debug or trace, or target=level, comma-separated"),
        "the log level",
    )
    .or("info"),
    Key::new("kirin.recorder.enabled", Kind::Flag, "whether every input of the core is recorded, for `kirin replay`")
        .or("true"),
    Key::new("kirin.recorder.dir", Kind::Text("a directory"), "the directory of recordings")
        .or_derived("`recorder` in the data directory"),
    Key::new("kirin.recorder.limit", Kind::Memory, "the maximum size of all recordings").or("256m"),
    Key::new("kylin.server.https.enable", Kind::Flag, "TLS is not supported: `true` is refused; use a proxy")
        .or("false"),
    // The metastore and built indexes.
    Key::new("kylin.metadata.url", Kind::Text(metastore::ALLOWED), "the metastore that all nodes of a cluster share")
        .or_derived("SQLite, `metastore.db` in the data directory")
        .secret(),
    Key::new(
        "kylin.env.hdfs-working-dir",
        Kind::Text("a directory or a file:// URL"),
        "the directory of built indexes; all nodes must see the same one",
    )
    .or_derived("`working` in the data directory")
    .also(&["kylin.hdfs.working.dir"]),
    Key::new(
        "kirin.working-dir.check-interval",
        span(Unit::Secs, 100, DAY),
        "the interval at which a node checks that it can use the working directory",
    )
    .or("30s"),
    Key::new(
        "kirin.working-dir.free-mib-min",
        Kind::Count { min: 0, max: 4_294_967_295 },
        "the minimum free space in the working directory, in MiB; with less, a node takes no jobs that write there",
    )
    .or("64"),
    // Failure detection.
    Key::new("kylin.server.leader-race.enabled", Kind::Flag, "whether several nodes may run jobs (Multi-Active)")
        .or("true"),
    Key::new(
        "kylin.server.leader-race.heart-beat-timeout",
        span(Unit::Secs, 1_000, DAY),
        "a node that is silent for this time is declared dead",
    )
    .or("60"),
    Key::new(
        "kylin.server.leader-race.heart-beat-interval",
        span(Unit::Secs, 10, DAY / 2),
        "the interval between beats of a node; at most half the timeout",
    )
    .or("30"),
    // Jobs.
    Key::new(
        "kylin.job.max-concurrent-jobs",
        SLOTS,
        "the maximum number of running jobs per project, for projects without a limit of their own (`project_config`); \
         the job node that started last decides; 0 starts none",
    )
    .or("20")
    .also(&["kylin.job.concurrent.max.limit"])
    .live(),
    Key::new("kylin.job.node-max-concurrent-jobs", SLOTS, "the maximum number of running jobs per node; 0 starts none")
        .or("30")
        .live(),
    Key::new(
        "kirin.job.queue",
        Kind::Word(&["node", "global"]),
        "whether jobs start in order per node or across the cluster",
    )
    .or("node"),
    Key::new("kylin.job.retry", Kind::Count { min: 0, max: 1_000 }, "the number of retries of a failed step").or("0"),
    Key::new(
        "kylin.garbage.storage.executable-survival-time-threshold",
        span(Unit::Secs, 0, 36_500 * DAY),
        "how long finished jobs are kept; 0 keeps them forever",
    )
    .or("30d"),
    Key::new(
        "kirin.history.retention",
        span(Unit::Secs, 0, 36_500 * DAY),
        "how long the cluster's history is kept; 0 keeps it forever",
    )
    .or("90d"),
    Key::new(
        "kirin.segment.verify-every",
        span(Unit::Secs, 0, 36_500 * DAY),
        "the interval at which the leader verifies all published segments; 0 disables it",
    )
    .or("0"),
    Key::new(
        "kirin.segment.verify-deep",
        Kind::Flag,
        "whether this verification also compares each group with the source tables, which costs as much as a build",
    )
    .or("false"),
    Key::new("kylin.job.retry-interval", span(Unit::Millis, 0, DAY), "the pause before a failed step is retried")
        .or("30000"),
    Key::new(
        "kirin.job.drain-timeout",
        span(Unit::Secs, 0, DAY),
        "how long a stopping node waits for running steps to end",
    )
    .or("30s"),
    Key::new(
        "kylin.job.scheduler.default",
        Kind::Word(&["0", "2", "100"]),
        "a scheduler of older versions: 0 one engine, 2 one lock per job, 100 leader only",
    )
    .or_derived("Multi-Active")
    .not_yet("2", "ZooKeeper locks per job are not supported; jobs run as with Multi-Active"),
    Key::new("kirin.command.enabled", Kind::Flag, "whether jobs may run arbitrary commands on this node").or("false"),
    Key::new(
        "kylin.job.ssh-username",
        Kind::Text("a user name"),
        "the SSH user for stopping processes of a dead node; not used yet",
    )
    .not_yet("", NO_SSH),
    Key::new("kylin.job.ssh-password", Kind::Text("any text"), "the SSH password; not used yet")
        .secret()
        .not_yet("", NO_SSH),
    Key::new("kylin.job.remote-ssh-port", PORT, "the SSH port; not used yet").or("22").not_yet("", NO_SSH),
    // Discovery.
    Key::new(
        "kylin.env.zookeeper-connect-string",
        Kind::Text("host:port, comma-separated, with an optional /path at the end"),
        "the ZooKeeper ensemble; without one, nodes discover each other through the metastore",
    )
    .also(&["spring.cloud.zookeeper.connect-string"]),
    Key::new("kylin.env.zookeeper-base-path", Kind::Text("an absolute path"), "the path of locks in ZooKeeper")
        .or("/kylin"),
    Key::new(
        "kylin.env.zookeeper-session-client-timeout-threshold",
        span(Unit::Millis, 100, 3_600),
        "the timeout of a ZooKeeper session",
    )
    .or("120000ms"),
    Key::new(
        "kylin.env.zookeeper-connection-client-timeout-threshold",
        span(Unit::Millis, 10, 3_600),
        "the timeout for connecting to ZooKeeper",
    )
    .or("15000ms"),
    Key::new("kylin.env.zookeeper-acl-enabled", Kind::Flag, "whether the next two keys apply").or("false"),
    Key::new(
        "kylin.env.zookeeper.zk-auth",
        Kind::Text("scheme:credentials, for example digest:user:password"),
        "how the node authenticates to ZooKeeper",
    )
    .secret(),
    Key::new(
        "kylin.env.zookeeper.zk-acl",
        Kind::Text("scheme:id:permissions (of rwcda), comma-separated"),
        "the access list of the node's entries in ZooKeeper",
    )
    .or("world:anyone:rwcda"),
    Key::new("kylin.server.cluster-servers", SERVERS, "a static list of nodes, including this one")
        .also(&["kylin.rest.servers"]),
    Key::new(
        "kylin.server.cluster-servers-with-mode",
        Kind::Text("host:port:mode, comma-separated"),
        "a static list of nodes with their modes",
    ),
    // Queries.
    Key::new(
        "kylin.query.pushdown-enabled",
        Kind::Flag,
        "whether a query reads the raw tables if no index can answer it",
    )
    .or("false"),
    Key::new("kylin.query.timeout-seconds", span(Unit::Secs, 1_000, 86_400), "the timeout of a query").or("300"),
    Key::new("kirin.query.memory-limit", Kind::Memory, "the memory limit of all queries and builds of one process")
        .or("50%"),
    // Sources.
    Key::new(
        "kirin.source.roots",
        Kind::Text("absolute paths of directories or files, comma-separated"),
        "the local files and directories that tables may read",
    )
    .or_derived("none; `kirin table add` on the node's own machine can read other files"),
    Key::new(
        "kirin.source.s3.instance-role",
        Kind::Flag,
        "whether the machine's own identity gives access to S3 buckets if the environment has no credentials",
    )
    .or("false"),
];

/// Keys, or families of keys ending in `*`, that Kylin uses and that have no effect here, with the reason if it matters.
pub const KYLIN_ONLY: &[(&str, &str)] = &[
    ("spring.session.*", "sessions are not supported yet; each request authenticates itself"),
    ("kylin.web.session.*", "sessions are not supported yet"),
    ("kylin.job.lock", "jobs are always claimed in the metastore"),
    ("kylin.server.self-discovery-enabled", "nodes always discover each other"),
    ("kylin.server.host-address", "use spring.cloud.zookeeper.discovery.instance-host"),
    ("kylin.server.address", "the callback address of Spark drivers; nodes advertise instance-host"),
    ("kylin.server.cluster-name", "the cluster's name is derived from the metastore"),
    ("kylin.server.leader-race.heart-beat-timeout-rate", "trust always ends at 90 % of the timeout"),
    ("kylin.server.leader-race.update-heart-beat-timeout", "derived from heart-beat-timeout and -interval"),
    ("kylin.server.renew-epoch-pool-size", "one beat renews everything that a node holds"),
    ("kylin.server.renew-batch-size", "one beat renews everything that a node holds"),
    ("kylin.server.discovery-client-timeout-threshold", "no request waits for ZooKeeper"),
    ("kylin.server.https.*", "TLS is not supported; use a proxy that terminates TLS"),
    ("kylin.server.*", ""),
    ("kylin.job.metadata.url", "jobs are stored in the metastore of kylin.metadata.url"),
    ("kylin.job.master-*", "there is no master; every node claims jobs itself"),
    ("kylin.job.slave-*", "the heartbeats of kylin.server.leader-race replace leases"),
    ("kylin.job.lock-client-renewal-threads", "one beat renews everything that a node holds"),
    ("kylin.job.scheduler.poll-interval-second", "work is announced, not polled"),
    ("kylin.job.scheduler.provider.*", "scheduler plug-ins are not supported"),
    ("kylin.job.parallel-job-size", "use kylin.job.node-max-concurrent-jobs"),
    ("kylin.job.use-remote-cli", "remote shells are not used"),
    ("kylin.job.notification-*", "e-mail is not supported yet"),
    ("kylin.job.finished-notifier-*", "callbacks are not supported yet"),
    ("kylin.job.*", ""),
    ("kylin.cube.*", ""),
    ("kylin.scheduler.*", "jobs have no overall timeout yet"),
    ("kylin.env.zookeeper-is-local", "an embedded ZooKeeper is not supported"),
    ("kylin.env.zookeeper-base-sleep-time", "the session timeout determines reconnects"),
    ("kylin.env.zookeeper-max-retries", "reconnects are retried without limit"),
    ("kylin.env.*", ""),
    ("spring.cloud.zookeeper.*", "reconnecting and registration are automatic"),
    ("kylin.multi-tenant.*", "resource groups are not supported yet"),
    ("kylin.metadata.audit-log.*", "nodes read the metastore directly"),
    ("kylin.metadata.*", ""),
    ("kylin.security.*", "users are stored in the metastore"),
    ("kylin.query.*", ""),
    ("kylin.engine.*", ""),
    ("kylin.storage.*", ""),
    ("kylin.source.*", ""),
    ("kylin.streaming.*", "streaming is not supported"),
    ("kylin.capacity.*", ""),
    ("kylin.cache.*", ""),
    ("kylin.diag.*", ""),
    ("kylin.dictionary.*", ""),
    ("kylin.favorite.*", ""),
    ("kylin.garbage.*", ""),
    ("kylin.guardian.*", ""),
    ("kylin.health.*", ""),
    ("kylin.index.*", ""),
    ("kylin.influxdb.*", ""),
    ("kylin.internal-table.*", ""),
    ("kylin.kerberos.*", ""),
    ("kylin.mass.*", ""),
    ("kylin.metrics.*", ""),
    ("kylin.model.*", ""),
    ("kylin.monitor.*", ""),
    ("kylin.second-storage.*", ""),
    ("kylin.smart.*", ""),
    ("kylin.snapshot.*", ""),
    ("kylin.soft-affinity.*", ""),
    ("kylin.table.*", ""),
    ("kylin.tool.*", ""),
    ("kylin.web.*", ""),
    ("kap.*", "a key of an older edition"),
    ("spring.*", "Kirin does not use Spring"),
    ("server.*", "Kirin does not use Tomcat"),
    ("logging.*", "use kirin.log.level"),
    ("management.*", ""),
];

/// Prefixes of keys that are passed on unchanged, without the prefix.
pub const PASSTHROUGH: &[(&str, &str)] = &[
    ("kylin.engine.spark-conf.", "`--conf` options of Spark builds"),
    ("kylin.storage.columnar.spark-conf.", "options of the resident Spark query engine"),
    ("kylin.query.async-query.spark-conf.", "options of asynchronous Spark queries"),
];

/// The meaning of a key for Kirin.
#[derive(Clone, Copy, Debug)]
pub enum Standing {
    /// It affects Kirin. An alias resolves to its key.
    Obeyed(&'static Key),
    /// It has this prefix and is passed on.
    HandedOn(&'static str),
    /// Kylin uses it; it has no effect here.
    KylinOnly(&'static str),
    /// It is unknown. The similar key may have been intended.
    Unknown(Option<&'static str>),
}

/// Looks a key up by name or alias.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name || key.aliases.contains(&name))
}

/// The meaning of `name`. A misspelled key of Kirin is unknown, even in a family that Kylin uses.
pub fn standing(name: &str) -> Standing {
    if let Some(key) = find(name) {
        return Standing::Obeyed(key);
    }
    if let Some((prefix, _)) = PASSTHROUGH.iter().find(|(prefix, _)| name.starts_with(prefix)) {
        return Standing::HandedOn(prefix);
    }
    if let Some((_, why)) = KYLIN_ONLY.iter().find(|(known, _)| *known == name) {
        return Standing::KylinOnly(why);
    }
    if let Some(meant) = near(name) {
        return Standing::Unknown(Some(meant));
    }
    let family = |known: &str| known.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix));
    match KYLIN_ONLY.iter().find(|(known, _)| family(known)) {
        Some((_, why)) => Standing::KylinOnly(why),
        None => Standing::Unknown(None),
    }
}

/// The key that differs from `name` by at most two edits, including transpositions.
fn near(name: &str) -> Option<&'static str> {
    let distance = |key: &&Key| strsim::osa_distance(&name.to_ascii_lowercase(), key.name);
    let nearest = KEYS.iter().min_by_key(distance)?;
    (distance(&nearest) <= 2).then_some(nearest.name)
}

/// Whether the name of a key or option indicates a secret value.
pub fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words =
        ["password", "passwd", "secret", "credential", "token", "access.key", "accesskey", "private", "passphrase"];
    words.iter().any(|word| name.contains(word))
}

/// The table of `docs/src/reference/configuration.md`.
pub fn markdown() -> String {
    let mut out = String::from("| key | default | allowed | meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = match (key.default, key.default_about) {
            (Some(default), _) => format!("`{default}`"),
            (None, "") => "–".to_owned(),
            (None, about) => about.to_owned(),
        };
        let mut about = key.about.to_owned();
        if !key.restart {
            about.push_str("; changeable at run time");
        }
        if !key.aliases.is_empty() {
            about.push_str(&format!(" (also `{}`)", key.aliases.join("`, `")));
        }
        let allowed = key.kind.to_string().replace('|', "\\|");
        out.push_str(&format!("| `{}` | {default} | {allowed} | {about} |\n", key.name));
    }
    for (prefix, about) in PASSTHROUGH {
        out.push_str(&format!("| `{prefix}*` | – | anything | {about}, passed on unchanged |\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_declared_once_and_each_default_is_allowed() {
        let mut names: Vec<_> = KEYS.iter().flat_map(|k| k.aliases.iter().chain([&k.name])).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for key in KEYS {
            if let Some(default) = key.default {
                key.kind.parse(default).unwrap_or_else(|why| panic!("{}={default}: {why}", key.name));
            }
            assert!(!key.about.is_empty() && !key.about.contains('|'), "{}", key.name);
        }
    }

    #[test]
    fn a_misspelled_key_is_unknown_and_the_similar_key_is_suggested() {
        let meant = |name| match standing(name) {
            Standing::Unknown(meant) => meant,
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!(meant("kylin.server.mdoe"), Some("kylin.server.mode"));
        assert_eq!(meant("kylin.job.max-concurent-jobs"), Some("kylin.job.max-concurrent-jobs"));
        assert_eq!(meant("Kylin.Server.Mode"), Some("kylin.server.mode"));
        assert_eq!(meant("kirin.colour"), None);
    }

    #[test]
    fn families_and_prefixes_are_recognized() {
        assert!(matches!(standing("spring.session.store-type"), Standing::KylinOnly(why) if why.contains("sessions")));
        assert!(matches!(standing("kylin.query.cache-enabled"), Standing::KylinOnly("")));
        assert!(matches!(
            standing("kylin.engine.spark-conf.spark.executor.cores"),
            Standing::HandedOn("kylin.engine.spark-conf.")
        ));
        assert!(
            matches!(standing("kylin.rest.servers"), Standing::Obeyed(key) if key.name == "kylin.server.cluster-servers")
        );
        assert!(
            matches!(standing("kylin.job.master-lock-renew-sec"), Standing::KylinOnly(why) if why.contains("master"))
        );
    }

    #[test]
    fn the_table_has_a_row_for_each_key_with_four_cells() {
        let table = markdown();
        assert_eq!(table.lines().count(), 2 + KEYS.len() + PASSTHROUGH.len());
        for line in table.lines() {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 5, "{line}");
        }
    }
}
