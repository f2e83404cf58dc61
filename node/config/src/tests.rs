//! Tests of the whole configuration: from files to settings or problems.

use std::time::Duration;

use super::*;

/// A home directory with the given property files.
struct Home {
    dir: tempfile::TempDir,
    sources: Sources,
}

impl Home {
    fn new(properties: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("conf")).unwrap();
        std::fs::write(dir.path().join("conf/kylin.properties"), properties).unwrap();
        let home = dir.path().to_owned();
        let sources = Sources { home, conf: None, set: Vec::new(), env: BTreeMap::new(), host_name: "me.local".into() };
        Self { dir, sources }
    }

    fn with_override(self, text: &str) -> Self {
        std::fs::write(self.dir.path().join("conf/kylin.properties.override"), text).unwrap();
        self
    }

    fn set(mut self, option: &str) -> Self {
        self.sources.set.push(option.into());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.env.insert(name.into(), value.into());
        self
    }

    fn load(&self) -> Config {
        Config::load(&self.sources).unwrap_or_else(|e| panic!("{e}"))
    }

    fn problems(&self) -> Vec<String> {
        let root = format!("{}/", self.dir.path().display());
        let errors = Config::load(&self.sources).expect_err("the configuration is invalid");
        errors.0.iter().map(|p| p.to_string().replace(&root, "")).collect()
    }

    /// The only problem.
    fn problem(&self) -> String {
        let mut all = self.problems();
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }
}

fn shown(config: &Config, key: &str) -> String {
    config.property(key).map(|p| p.shown.clone()).unwrap_or_default()
}

#[test]
fn a_file_made_for_kylin_is_accepted_unchanged() {
    let home = Home::new(include_str!("fixtures/kylin.properties"))
        .set("kylin.env.hdfs-working-dir=/shared/kirin")
        .env("KYLIN_DB_PASSWORD", "p,w=\"d")
        .env("KYLIN_HOME", "/opt/kylin");
    let config = home.load();
    assert_eq!((config.role, config.port, config.bind.as_str()), (Role::All, 7_071, "0.0.0.0"));
    assert_eq!(config.node_name(0), "10.1.2.3:7071");
    let Backend::Postgres(server) = &config.metastore.backend else { panic!("{:?}", config.metastore) };
    assert_eq!((server.password.reveal(), server.pool_size), ("p,w=\"d", 50));
    assert_eq!(config.metastore.unique_id(""), "kylin_metadata_jdbc_postgresql___10_1_2_9_5432_kylin");
    assert_eq!(config.timing, Timing::kylin());
    assert_eq!(config.zookeeper.as_ref().unwrap().servers(), "zk1:2181,zk2:2181,zk3:2181");
    assert_eq!(config.zookeeper.as_ref().unwrap().session_timeout, Duration::from_secs(120));
    assert_eq!((config.jobs.per_project, config.jobs.per_node, config.jobs.retry), (10, 30, 2));
    assert_eq!(config.jobs.retry_after, Duration::from_secs(30));
    assert_eq!(config.ssh.password.as_ref().unwrap().reveal(), "s3cr3t=");
    assert!(config.query.push_down);
    assert_eq!(config.working_dir, std::path::Path::new("/shared/kirin"));
    let gluten = "spark.gluten.sql.columnar.backend.ch.runtime_config.storage_configuration.disks.hdfs.endpoint";
    assert_eq!(config.spark.engine[gluten], "hdfs://nameservice1/");
    assert_eq!(config.spark.storage["spark.gluten.sql.columnar.libpath"], "/opt/kylin/server/libch.so");
    assert!(config.spark.engine["spark.executor.extraJavaOptions"].ends_with("${spark.kylin.log}"));
    assert_eq!(config.notices.unknown, []);
    assert_eq!(config.notices.repeated, []);
    let ignored = config.notices.to_string();
    for expected in [
        "spring.session.store-type (sessions are not supported yet",
        "kylin.query.force-limit",
        "kylin.job.ssh-password (SSH is not used yet)",
        "kylin.storage.columnar.spark-conf.spark.gluten.sql.columnar.libpath (Spark is not supported yet)",
    ] {
        assert!(ignored.contains(expected), "{expected} in\n{ignored}");
    }
}

#[test]
fn remote_working_directories_and_https_are_refused() {
    let problem = Home::new("kylin.env.hdfs-working-dir=hdfs://nameservice1/kylin\n").problem();
    assert!(problem.contains("hdfs:// is not supported; set a directory that all nodes share"), "{problem}");
    let problem = Home::new("kylin.server.https.enable=true\n").problem();
    assert!(problem.contains("TLS is not supported; use a proxy that terminates TLS"), "{problem}");
    Home::new("kylin.server.https.enable=false\nkylin.env.hdfs-working-dir=file:///shared\n").load();
}

#[test]
fn without_files_a_node_runs_alone_on_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let sources = Sources {
        home: dir.path().into(),
        conf: None,
        set: Vec::new(),
        env: BTreeMap::new(),
        host_name: "me.local".into(),
    };
    let config = Config::load(&sources).unwrap();
    assert_eq!((config.bind.as_str(), config.node_name(0).as_str()), ("127.0.0.1", "127.0.0.1:7070"));
    assert_eq!(config.metastore.backend, Backend::Sqlite { path: dir.path().join("data/metastore.db") });
    assert_eq!((config.leader_race, config.scheduler, config.zookeeper), (true, Scheduler::MultiActive, None));
    assert!(!config.jobs.commands, "commands must be enabled explicitly");
    assert!(config.notices.is_empty());
    assert_eq!(config.query.memory, Memory::Percent(50));
}

#[test]
fn a_setting_that_has_no_effect_yet_is_listed_at_start() {
    let unsupported = |text: &str| Home::new(text).load().notices.unsupported;
    let lock_per_job = unsupported("kylin.job.scheduler.default=2\n");
    assert_eq!(lock_per_job[0].about, "ZooKeeper locks per job are not supported; jobs run as with Multi-Active");
    assert_eq!(unsupported("kylin.job.scheduler.default=100\n"), []);
}

#[test]
fn later_layers_override_earlier_ones_and_a_repeated_key_causes_a_notice() {
    let home = Home::new("server.port=1\nserver.port=2\nkylin.job.retry=1\n")
        .with_override("kylin.job.retry=2\nkylin.server.mode=job")
        .set("kylin.server.mode=query")
        .set("kirin.node.name=a=b");
    assert!(home.problem().starts_with("--set: kirin.node.name=a=b: it contains a forbidden character"));
    let home = Home::new("server.port=1\nserver.port=2\nkylin.job.retry=1\n")
        .with_override("kylin.job.retry=2\nkylin.server.mode=job")
        .set("kylin.server.mode=query");
    let config = home.load();
    assert_eq!((config.port, config.jobs.retry, config.role), (2, 2, Role::Query));
    let repeated: Vec<_> = config.notices.repeated.iter().map(|n| n.key.as_str()).collect();
    assert_eq!(repeated, ["server.port"], "an override in another layer is not a repetition");
}

#[test]
fn all_problems_are_reported_at_once_with_location_key_value_and_what_is_allowed() {
    let home = Home::new(
        "kylin.server.mode=boss\nserver.port=70707\n# fine\nkylin.job.retry-interval=3 weeks\nx=\\u00zz\n\
         kylin.env.zookeeper-connect-string=zk1:x\nkylin.query.pushdown-enabled=maybe\n",
    )
    .set("nonsense");
    let problems = home.problems();
    for expected in [
        "conf/kylin.properties:1: kylin.server.mode=boss: not one of the allowed words\n      allowed: all, job, query",
        "conf/kylin.properties:2: server.port=70707: too large\n      allowed: an integer from 0 to 65535",
        "conf/kylin.properties:4: kylin.job.retry-interval=3 weeks: unknown unit; use us, ms, s, m, min, h or d",
        "conf/kylin.properties:5: x: malformed \\uXXXX escape",
        "conf/kylin.properties:6: kylin.env.zookeeper-connect-string=zk1:x: the port must be an integer",
        "conf/kylin.properties:7: kylin.query.pushdown-enabled=maybe: not a boolean",
        "--set: nonsense: not KEY=VALUE",
    ] {
        assert!(problems.iter().any(|p| p.starts_with(expected)), "{expected}\nin {problems:#?}");
    }
    assert_eq!(problems.len(), 7);
}

#[test]
fn a_secret_never_reaches_an_error_a_debug_output_or_a_property() {
    let url = "kylin.metadata.url=k@jdbc,url=jdbc:postgresql://h/d,username=u,password=hun,ter2";
    let problem = Home::new(url).problem();
    assert!(problem.contains("conf/kylin.properties:1: kylin.metadata.url: parameter 4"), "{problem}");
    assert!(!problem.contains("ter2") && !problem.contains("hun,"), "{problem}");
    let zk = Home::new("kylin.env.zookeeper-acl-enabled=true\nkylin.env.zookeeper.zk-auth=hunter2").problem();
    assert!(!zk.contains("hunter2"), "{zk}");

    let config = Home::new(
        "kylin.metadata.url=k@jdbc,url=jdbc:mysql://h/d,username=u,password=hunter2\nkylin.job.ssh-password=hunter3\n\
         kylin.env.zookeeper-connect-string=zk\nkylin.env.zookeeper-acl-enabled=true\n\
         kylin.env.zookeeper.zk-auth=digest:u:hunter4\nkylin.engine.spark-conf.spark.ssl.keyPassword=hunter5\n\
         kylin.security.ldap.connection-password=hunter6\nkylin.job.metadata.url=x@jdbc,password=hunter7",
    )
    .load();
    let printed = format!("{config:?} {:?}", config.properties().collect::<Vec<_>>());
    assert!(!printed.contains("hunter"), "{printed}");
    assert!(!config.notices.to_string().contains("hunter"));
    assert_eq!(config.property("kylin.job.ssh-password").unwrap().revealed, "hunter3");
    assert!(config.property("kylin.metadata.url").unwrap().revealed.contains("password=hunter2"));
    assert!(shown(&config, "kylin.metadata.url").contains("password=***"));
}

#[test]
fn unsafe_heartbeat_settings_are_refused_with_the_reason() {
    let pair = |timeout: &str, interval: &str| {
        Home::new("")
            .set(&format!("kylin.server.leader-race.heart-beat-timeout={timeout}"))
            .set(&format!("kylin.server.leader-race.heart-beat-interval={interval}"))
    };
    assert!(pair("60", "31").problem().contains("at most half the timeout"));
    assert!(pair("999ms", "100ms").problems()[0].contains("too short"));
    assert!(pair("60", "0").problems()[0].contains("too short"));
    let alone = Home::new("kylin.server.leader-race.heart-beat-timeout=10").problem();
    assert!(alone.starts_with("conf/kylin.properties:1:") && alone.contains("interval 30s"), "{alone}");
    let config = pair("2s", "250ms").load();
    assert_eq!(config.timing.interval(), Span::from_millis(250));
}

#[test]
fn the_advertised_address_is_the_first_known_one() {
    let shared = "kylin.metadata.url=postgres://u@h/d\n";
    let name = |home: Home| home.load().node_name(0);
    assert_eq!(name(Home::new(shared)), "me.local:7070");
    assert_eq!(name(Home::new(shared).set("server.address=10.0.0.7")), "10.0.0.7:7070");
    assert_eq!(name(Home::new(shared).env("KYLIN_REST_ADDRESS", "10.0.0.8:80")), "10.0.0.8:80");
    let both = Home::new(shared).env("KYLIN_REST_ADDRESS", "10.0.0.8:80");
    assert_eq!(name(both.set("spring.cloud.zookeeper.discovery.instance-host=fe80::9")), "[fe80::9]:80");
    assert_eq!(name(Home::new(shared).set("kirin.node.name=blue")), "blue");
    assert!(
        Home::new("").env("KYLIN_REST_ADDRESS", "http://x").problem().starts_with("environment: KYLIN_REST_ADDRESS=")
    );
    let any = Home::new("server.port=0").load();
    assert_eq!(any.node_name(4_321), "127.0.0.1:4321");
}

#[test]
fn older_names_and_schedulers_are_supported() {
    let config = Home::new(
        "kylin.rest.servers=a:7070,b\nkylin.server.cluster-servers-with-mode=a:7070:job\nkylin.job.scheduler.default=100\n\
         kylin.server.leader-race.enabled=false\nkylin.job.lock=org.apache.kylin.job.lock.zookeeper.ZookeeperJobLock",
    )
    .load();
    let servers: Vec<_> = config.cluster_servers.iter().map(|s| (s.address.to_string(), s.role)).collect();
    assert_eq!(servers, [("a:7070".to_owned(), Some(Role::Job)), ("b:7070".to_owned(), None)]);
    assert_eq!((config.scheduler, config.leader_race), (Scheduler::LeaderOnly, false));
    assert!(Home::new("kylin.job.scheduler.default=77").problem().contains("allowed: 0, 2, 100"));
}

#[test]
fn unknown_keys_are_listed_with_similar_keys() {
    let config = Home::new("kylin.server.mdoe=job\nfoo.bar=1").load();
    let unknown: Vec<_> = config.notices.unknown.iter().map(|n| (n.key.as_str(), n.about.as_str())).collect();
    assert_eq!(unknown, [("foo.bar", ""), ("kylin.server.mdoe", "did you mean kylin.server.mode?")]);
}

#[test]
fn substitution_errors_name_the_key_and_blank_values_count_as_missing() {
    let circle = Home::new("kirin.node.name=${a}\na=${kirin.node.name}").problem();
    assert!(circle.contains("refers to itself: kirin.node.name -> a -> kirin.node.name"), "{circle}");
    assert!(Home::new("server.port=${PORT}").problem().contains("${PORT} is neither a key nor"));
    let config = Home::new("server.port=\nkylin.env.zookeeper-connect-string= \nkirin.node.name=${N:-}").load();
    assert_eq!((config.port, config.zookeeper, config.given_name), (7_070, None, None));
}

#[test]
fn get_properties_shows_effective_values() {
    let config = Home::new("kylin.job.retry=${N}").env("N", "3").load();
    assert_eq!(shown(&config, "kylin.job.retry"), "3");
    assert_eq!(shown(&config, "server.port"), "7070");
    assert_eq!(shown(&config, "kylin.rest.servers"), "");
    assert_eq!(
        shown(&config, "kylin.metadata.url"),
        format!("kylin_metadata@sqlite:{}/metastore.db", config.data_dir.display())
    );
    assert!(config.property("nobody.knows").is_none());
}

#[test]
fn a_given_conf_directory_must_exist() {
    let mut home = Home::new("");
    home.sources.conf = Some(home.dir.path().join("nowhere"));
    assert_eq!(home.problem(), "nowhere: the directory does not exist");
}

/// The table of `docs/src/reference/configuration.md` is generated from the keys: `UPDATE_DOCS=1 cargo test -p kirin
/// configuration_page` writes it.
#[test]
fn the_configuration_page_lists_every_key() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/reference/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once("<!-- configuration").expect("the page has the marker of the table");
    let (marker, rest) = rest.split_once("-->\n").unwrap();
    let (_, tail) = rest.split_once("<!-- end of configuration -->").unwrap();
    let fresh =
        format!("{head}<!-- configuration{marker}-->\n{}<!-- end of configuration -->{tail}", super::keys::markdown());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fresh).unwrap();
        return;
    }
    assert!(page == fresh, "the table is out of date: UPDATE_DOCS=1 cargo test -p kirin-config configuration_page");
}
