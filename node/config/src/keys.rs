//! Every key, declared once: the parser, the messages and the table in `docs/` all read this.
//!
//! [`KEYS`] are the keys that Kirin obeys. [`KYLIN_ONLY`] are keys and families of Kylin's that change nothing here, with
//! the reason where it matters. [`PASSTHROUGH`] prefixes are handed on verbatim. Anything else is unknown.

use std::time::Duration;

use super::kind::{Kind, Unit};
use super::metastore;

/// One key that Kirin obeys.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name, as in the file.
    pub name: &'static str,
    /// Older names for the same setting.
    pub aliases: &'static [&'static str],
    /// What its value may be.
    pub kind: Kind,
    /// The default as it would stand in the file; `None` if it is derived or there is none.
    pub default: Option<&'static str>,
    /// The default in words, where it is derived.
    pub default_about: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Whether its value is, or contains, a secret.
    pub secret: bool,
    /// Whether a change needs a restart; otherwise the API changes it at run time.
    pub restart: bool,
    /// Where Kirin reads the key but does nothing with it yet: for which value (any, if empty), and what happens instead.
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
const SERVERS: Kind = Kind::Text("host:port, comma separated");
const DAY: u64 = 86_400;
const NO_SSH: &str = "nothing is done over ssh";

/// The keys that Kirin obeys, grouped as `docs/src/reference/configuration.md` shows them.
pub const KEYS: &[Key] = &[
    // The node and its addresses.
    Key::new("kylin.server.mode", Kind::Word(&["all", "job", "query"]), "what the node does: jobs, queries or both")
        .or("all"),
    Key::new("kirin.data-dir", Kind::Text("a directory"), "where the node keeps its files")
        .or_derived("`KIRIN_DATA_DIR`, else `data` in the home directory"),
    Key::new("server.port", PORT_OR_ANY, "the HTTP port; 0 takes any free one").or("7070"),
    Key::new("server.address", HOST, "the address the HTTP API and the links listen on")
        .or_derived("`127.0.0.1` with the embedded metastore, `0.0.0.0` with a database server"),
    Key::new(
        "spring.cloud.zookeeper.discovery.instance-host",
        HOST,
        "the host under which other nodes and clients reach this node",
    )
    .or_derived("`KYLIN_REST_ADDRESS`, else `server.address` if it is one address, else the host name"),
    Key::new(
        "spring.cloud.zookeeper.discovery.instance-port",
        PORT,
        "the port under which other nodes and clients reach this node",
    )
    .or_derived("the port in `KYLIN_REST_ADDRESS`, else `server.port`"),
    Key::new(
        "kirin.node.name",
        Kind::Text("letters, digits and . _ : [ ] -, at most 200"),
        "the node's name, unique in the cluster and kept over restarts",
    )
    .or_derived("advertised `host:port`"),
    Key::new(
        "kirin.server.max-connections",
        CONNECTIONS,
        "open connections to the HTTP API; further ones are closed at once",
    )
    .or_derived("half of the files that the process may open, at most 4096"),
    Key::new(
        "kirin.server.max-connections-per-address",
        CONNECTIONS,
        "the same from one address, or from one IPv6 /64",
    )
    .or_derived("three quarters of `kirin.server.max-connections`"),
    Key::new(
        "kirin.server.header-timeout",
        span(Unit::Secs, 100, 3_600),
        "how long the header of a request may take, and a connection before its first request",
    )
    .or("10"),
    Key::new("kirin.server.body-timeout", span(Unit::Secs, 100, 3_600), "how long the body of a request may take")
        .or("60"),
    Key::new(
        "kirin.server.idle-timeout",
        span(Unit::Secs, 100, DAY),
        "how long a connection stays open between requests, or without taking its answer; more than a load balancer's",
    )
    .or("75"),
    Key::new("kirin.link.port", PORT_OR_ANY, "the port of the links between nodes; 0 takes any free one").or("0"),
    Key::new(
        "kirin.log.level",
        Kind::Text("off, error, warn, info, debug or trace, or target=level, comma separated"),
        "what is logged",
    )
    .or("info"),
    Key::new(
        "kirin.recorder.enabled",
        Kind::Flag,
        "whether every event that enters the core is recorded, for `kirin replay`",
    )
    .or("true"),
    Key::new("kirin.recorder.dir", Kind::Text("a directory"), "where recordings are kept")
        .or_derived("`recorder` in the data directory"),
    Key::new("kirin.recorder.limit", Kind::Memory, "how much of them is kept").or("256m"),
    // The metastore and what is built.
    Key::new("kylin.metadata.url", Kind::Text(metastore::ALLOWED), "the metastore that all nodes of a cluster share")
        .or_derived("SQLite, `metastore.db` in the data directory")
        .secret(),
    Key::new(
        "kylin.env.hdfs-working-dir",
        Kind::Text("a directory or a file:// URL"),
        "where built indexes are kept; all nodes must see it",
    )
    .or_derived("`working` in the data directory")
    .also(&["kylin.hdfs.working.dir"]),
    Key::new(
        "kirin.working-dir.check-interval",
        span(Unit::Secs, 100, DAY),
        "how often a node checks that it can use the working directory",
    )
    .or("30s"),
    Key::new(
        "kirin.working-dir.free-mib-min",
        Kind::Count { min: 0, max: 4_294_967_295 },
        "with less free space in the working directory, in MiB, a node takes no jobs that write there",
    )
    .or("64"),
    // Life and death.
    Key::new("kylin.server.leader-race.enabled", Kind::Flag, "whether several nodes may run jobs (Multi-Active)")
        .or("true"),
    Key::new(
        "kylin.server.leader-race.heart-beat-timeout",
        span(Unit::Secs, 1_000, DAY),
        "a node silent for so long is dead",
    )
    .or("60"),
    Key::new(
        "kylin.server.leader-race.heart-beat-interval",
        span(Unit::Secs, 10, DAY / 2),
        "how often a node beats; at most half the timeout",
    )
    .or("30"),
    // Jobs.
    Key::new("kylin.job.max-concurrent-jobs", SLOTS, "running jobs per project; 0 starts none")
        .or("20")
        .also(&["kylin.job.concurrent.max.limit"])
        .live(),
    Key::new("kylin.job.node-max-concurrent-jobs", SLOTS, "running jobs per node; 0 starts none").or("30").live(),
    Key::new(
        "kirin.job.queue",
        Kind::Word(&["node", "global"]),
        "whether order is kept per node or across the cluster",
    )
    .or("node"),
    Key::new("kylin.job.retry", Kind::Count { min: 0, max: 1_000 }, "how often a failed step is tried again").or("0"),
    Key::new(
        "kylin.garbage.storage.executable-survival-time-threshold",
        span(Unit::Secs, 0, 36_500 * DAY),
        "for how long jobs that are over are kept; 0 keeps them for ever",
    )
    .or("30d"),
    Key::new(
        "kirin.history.retention",
        span(Unit::Secs, 0, 36_500 * DAY),
        "for how long the cluster's history is kept; 0 keeps it for ever",
    )
    .or("90d"),
    Key::new(
        "kirin.segment.verify-every",
        span(Unit::Secs, 0, 36_500 * DAY),
        "how often the leader verifies every published segment; 0 switches it off",
    )
    .or("0"),
    Key::new(
        "kirin.segment.verify-deep",
        Kind::Flag,
        "whether this verification also compares each group with the source tables, which costs as much as building",
    )
    .or("false"),
    Key::new(
        "kylin.job.retry-interval",
        span(Unit::Millis, 0, DAY),
        "how long to wait before a failed step is tried again",
    )
    .or("30000"),
    Key::new("kirin.job.drain-timeout", span(Unit::Secs, 0, DAY), "how long a stopping node waits for step boundaries")
        .or("30s"),
    Key::new(
        "kylin.job.scheduler.default",
        Kind::Word(&["0", "2", "100"]),
        "an older scheduler: 0 one engine, 2 one lock per job, 100 leader only",
    )
    .or_derived("Multi-Active")
    .not_yet("2", "no lock per job is taken in ZooKeeper; jobs run as with Multi-Active"),
    Key::new("kirin.command.enabled", Kind::Flag, "whether jobs may run arbitrary commands on this node").or("false"),
    Key::new(
        "kylin.job.ssh-username",
        Kind::Text("a user name"),
        "login between nodes, to stop what a dead node left running; not used yet",
    )
    .not_yet("", NO_SSH),
    Key::new("kylin.job.ssh-password", Kind::Text("any text"), "its password; not used yet")
        .secret()
        .not_yet("", NO_SSH),
    Key::new("kylin.job.remote-ssh-port", PORT, "its port; not used yet").or("22").not_yet("", NO_SSH),
    // Discovery.
    Key::new(
        "kylin.env.zookeeper-connect-string",
        Kind::Text("host:port, comma separated, with an optional /path at the end"),
        "the ZooKeeper ensemble; without it the metastore tells who is there",
    )
    .also(&["spring.cloud.zookeeper.connect-string"]),
    Key::new("kylin.env.zookeeper-base-path", Kind::Text("an absolute path"), "where locks live in ZooKeeper")
        .or("/kylin"),
    Key::new(
        "kylin.env.zookeeper-session-client-timeout-threshold",
        span(Unit::Millis, 100, 3_600),
        "the ZooKeeper session",
    )
    .or("120000ms"),
    Key::new(
        "kylin.env.zookeeper-connection-client-timeout-threshold",
        span(Unit::Millis, 10, 3_600),
        "connecting to ZooKeeper",
    )
    .or("15000ms"),
    Key::new("kylin.env.zookeeper-acl-enabled", Kind::Flag, "whether the two keys below are used").or("false"),
    Key::new(
        "kylin.env.zookeeper.zk-auth",
        Kind::Text("scheme:credentials, as in digest:user:password"),
        "how the node authenticates to ZooKeeper",
    )
    .secret(),
    Key::new(
        "kylin.env.zookeeper.zk-acl",
        Kind::Text("scheme:id:permissions (of rwcda), comma separated"),
        "who may touch the node's entries in ZooKeeper",
    )
    .or("world:anyone:rwcda"),
    Key::new("kylin.server.cluster-servers", SERVERS, "a static list of nodes, this one included")
        .also(&["kylin.rest.servers"]),
    Key::new(
        "kylin.server.cluster-servers-with-mode",
        Kind::Text("host:port:mode, comma separated"),
        "the same with each node's mode",
    ),
    // Queries.
    Key::new("kylin.query.pushdown-enabled", Kind::Flag, "whether a query that no index answers reads the raw tables")
        .or("false"),
    Key::new(
        "kylin.query.timeout-seconds",
        span(Unit::Secs, 1_000, 86_400),
        "after this time a query ends with an error",
    )
    .or("300"),
    Key::new("kirin.query.memory-limit", Kind::Memory, "memory that queries and builds of one process may take")
        .or("50%"),
    // Sources.
    Key::new(
        "kirin.source.roots",
        Kind::Text("absolute paths of directories or files, comma separated"),
        "the local files that tables may read: these, and what lies below them",
    )
    .or_derived("none: only what `kirin table add` on the node's own machine names"),
    Key::new(
        "kirin.source.s3.instance-role",
        Kind::Flag,
        "whether the machine's own identity opens S3 buckets where the environment holds no credentials",
    )
    .or("false"),
];

/// A key, or a family of keys ending in `*`, that Kylin knows and that changes nothing here; and why, if it matters.
pub const KYLIN_ONLY: &[(&str, &str)] = &[
    ("spring.session.*", "sessions are not served yet: each request authenticates itself, so nodes need share none"),
    ("kylin.web.session.*", "sessions are not served yet"),
    ("kylin.job.lock", "a job is always claimed in the metastore"),
    ("kylin.server.self-discovery-enabled", "nodes always discover each other"),
    ("kylin.server.host-address", "use spring.cloud.zookeeper.discovery.instance-host"),
    ("kylin.server.address", "the callback address of Spark drivers; nodes advertise instance-host"),
    ("kylin.server.cluster-name", "the cluster's name follows from the metastore"),
    ("kylin.server.leader-race.heart-beat-timeout-rate", "trust ends at 90 % of the timeout, whatever this says"),
    ("kylin.server.leader-race.update-heart-beat-timeout", "follows from heart-beat-timeout and -interval"),
    ("kylin.server.renew-epoch-pool-size", "one beat renews all that a node holds"),
    ("kylin.server.renew-batch-size", "one beat renews all that a node holds"),
    ("kylin.server.discovery-client-timeout-threshold", "no request waits for ZooKeeper"),
    ("kylin.server.https.*", "TLS is not served yet: put a proxy in front"),
    ("kylin.server.*", ""),
    ("kylin.job.metadata.url", "jobs live in the metastore of kylin.metadata.url"),
    ("kylin.job.master-*", "there is no master: every node claims for itself"),
    ("kylin.job.slave-*", "leases are the heart beats of kylin.server.leader-race"),
    ("kylin.job.lock-client-renewal-threads", "one beat renews all that a node holds"),
    ("kylin.job.scheduler.poll-interval-second", "work is announced, not polled"),
    ("kylin.job.scheduler.provider.*", "schedulers can't be plugged in"),
    ("kylin.job.parallel-job-size", "use kylin.job.node-max-concurrent-jobs"),
    ("kylin.job.use-remote-cli", "nothing runs over a remote shell"),
    ("kylin.job.notification-*", "mail is not sent yet"),
    ("kylin.job.finished-notifier-*", "call-backs are not sent yet"),
    ("kylin.job.*", ""),
    ("kylin.cube.*", ""),
    ("kylin.scheduler.*", "jobs have no overall timeout yet"),
    ("kylin.env.zookeeper-is-local", "an embedded ZooKeeper is never started"),
    ("kylin.env.zookeeper-base-sleep-time", "reconnecting follows the session timeout"),
    ("kylin.env.zookeeper-max-retries", "reconnecting never gives up"),
    ("kylin.env.*", ""),
    ("spring.cloud.zookeeper.*", "reconnecting and registration are automatic"),
    ("kylin.multi-tenant.*", "resource groups are not served yet"),
    ("kylin.metadata.audit-log.*", "nodes read the metastore itself"),
    ("kylin.metadata.*", ""),
    ("kylin.security.*", "users are kept in the metastore"),
    ("kylin.query.*", ""),
    ("kylin.engine.*", ""),
    ("kylin.storage.*", ""),
    ("kylin.source.*", ""),
    ("kylin.streaming.*", "streaming is not served"),
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
    ("spring.*", "there is no Spring here"),
    ("server.*", "there is no Tomcat here"),
    ("logging.*", "use kirin.log.level"),
    ("management.*", ""),
];

/// Prefixes whose keys are handed on verbatim, the prefix stripped.
pub const PASSTHROUGH: &[(&str, &str)] = &[
    ("kylin.engine.spark-conf.", "`--conf` options of Spark builds"),
    ("kylin.storage.columnar.spark-conf.", "options of the resident Spark query engine"),
    ("kylin.query.async-query.spark-conf.", "options of asynchronous Spark queries"),
];

/// What a key is to Kirin.
#[derive(Clone, Copy, Debug)]
pub enum Standing {
    /// It is obeyed; an alias leads to its key.
    Obeyed(&'static Key),
    /// It is handed on; the prefix is the one given.
    HandedOn(&'static str),
    /// Kylin knows it; it changes nothing here.
    KylinOnly(&'static str),
    /// Nobody knows it; perhaps the key given was meant.
    Unknown(Option<&'static str>),
}

/// Looks a key up by name or alias.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name || key.aliases.contains(&name))
}

/// What `name` is to Kirin. A near miss of an obeyed key is unknown, even inside a family that Kylin knows.
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

/// The obeyed key that differs from `name` by a slip of the finger: up to two edits, transpositions included.
fn near(name: &str) -> Option<&'static str> {
    let distance = |key: &&Key| strsim::osa_distance(&name.to_ascii_lowercase(), key.name);
    let nearest = KEYS.iter().min_by_key(distance)?;
    (distance(&nearest) <= 2).then_some(nearest.name)
}

/// Whether the name of a key or option says that its value is secret.
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
        out.push_str(&format!("| `{prefix}*` | – | anything | {about}, handed on verbatim |\n"));
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
    fn a_slip_of_the_finger_is_unknown_with_the_key_that_was_meant() {
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
    fn families_and_prefixes() {
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
