//! The life of a node: it starts from a configuration, and is a member of the cluster until it is stopped.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kirin_core::{Event, Incarnation, Member, Role, Settings, Span};
use kirin_discovery::{
    Announcement, Discovery, Feeder, Layout, MetastoreDiscovery, Peer, Source, StaticDiscovery, ZooKeeperConfig,
    ZooKeeperDiscovery,
};
use kirin_recorder::{Limits, Recorder};
use kirin_store::StoreConfig;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::housekeeping::Housekeeping;
use kirin_api as api;
use kirin_api::auth::gate::Gate;
use kirin_api::auth::password;
use kirin_api::auth::verified::Verified;
use kirin_api::http::{self, Http};
use kirin_config::{self as config, Config, QueueOrder, Scheduler, Secret};
use kirin_executor::probe::Probe;
use kirin_executor::worker::Worker;
use kirin_executor::{Attempts, Executor, Retry, WorkingDir, build, command};
use kirin_home::pid_file::PidFile;
use kirin_home::{credentials, private};
use kirin_metastore::{JoinInfo, ProjectLimit, Store, StoreError};
use kirin_plant::Defence;
use kirin_service::Service;
use kirin_service::catalog::Catalogs;
use kirin_service::directory::Directory;
use kirin_service::history::History;
use kirin_shell::Links;
use kirin_shell::clock::Clock;
use kirin_shell::handshake::Cluster;
use kirin_shell::{CoreHandle, Shell, send_discovery_hints};
use kirin_wire::{ADMIN, DEFAULT_PROJECT};

pub mod effects;
pub mod housekeeping;
mod namesake;
mod working_dir;

/// The pause between attempts to reach a metastore that is not available yet.
const REOPEN: Duration = Duration::from_secs(2);
/// The timeout for the lookup of the node's own name.
const RESOLVED_WITHIN: Duration = Duration::from_secs(10);
/// How long the process waits for its member to leave, in addition to the drain's own deadline.
const FAREWELL: Duration = Duration::from_secs(15);
/// The maximum number of connections to the API, unless configured.
const CONNECTIONS_MAX: usize = 4096;
/// The pause before the list of servers is read again if the metastore did not respond.
const FEED_AGAIN: Duration = Duration::from_secs(5);

/// Runs a node until it is stopped. Requests from the network are served on the threads of `api`. Beats, links and the
/// core's loop run on the caller's threads.
///
/// # Errors
/// Why it cannot start, and what to do.
pub async fn run(config: Config, api: Handle) -> anyhow::Result<()> {
    log_to_stderr(&config.log_level)?;
    for line in config.notices.to_string().lines().filter(|line| !line.is_empty()) {
        tracing::warn!("{line}");
    }
    let file = match &config.metastore.backend {
        config::Backend::Sqlite { path } => Some(path.as_path()),
        config::Backend::Postgres(_) | config::Backend::MySql(_) => None,
    };
    for path in private::close(&private::files(&config.data_dir, file))? {
        tracing::warn!("'{}' was readable by other users; its mode was changed", path.display());
    }
    let mut pid_file = PidFile::claim(&config.data_dir)?;
    let mut stop = Stop::listen()?;
    let Running { name, address, core, me, discovery, http, mut shell } = tokio::select! {
        running = start(&config, stop.asked.clone(), api) => running?,
        () = stop.wished() => return Ok(()),
    };
    pid_file.describe(&name, &address).context("cannot write the pid file")?;
    welcome(&config, &name, &address, me);

    tokio::select! {
        () = stop.wished() => {}
        _ = &mut shell => anyhow::bail!("the node's loop has ended unexpectedly"),
    }
    tracing::info!("stopping: handing over running jobs");
    http.keep_no_connections();
    // Withdrawn before the first job moves, so that clients are not sent here.
    if let Err(error) = discovery.withdraw().await {
        tracing::debug!(%error, "cannot withdraw from discovery");
    }
    let within = config.jobs.drain_timeout;
    core.tell(Event::DrainWished { within: span(within), leave: true });
    let ended = async {
        tokio::select! {
            _ = &mut shell => {}
            () = tokio::time::sleep(within + FAREWELL) => tracing::warn!("timed out recording the departure in the metastore"),
        }
        // The API serves requests until the end, because no other node may be left.
        http.end().await;
    };
    tokio::select! {
        () = ended => {}
        () = stop.wished() => tracing::warn!("second stop request: exiting at once"),
    }
    discovery.stop().await;
    Ok(())
}

/// A running node: it listens, and joins as soon as the metastore allows.
pub struct Running {
    name: String,
    address: String,
    core: CoreHandle,
    me: watch::Receiver<Option<Member>>,
    discovery: Arc<dyn Discovery>,
    http: Http,
    /// The core's loop, which ends when the member has left.
    pub shell: JoinHandle<()>,
}

impl Running {
    /// The address of its API, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Starts a node without process-wide parts: signals, log and pid file. `stop` receives a message when a user of the API
/// stops the node. `api` is the runtime of the API.
///
/// # Errors
/// Why it cannot start, and what to do.
pub async fn start(config: &Config, stop: mpsc::UnboundedSender<()>, api: Handle) -> anyhow::Result<Running> {
    // A node that cannot listen must not create or migrate a metastore. It does not listen yet, so that clients are refused
    // while it waits for the metastore.
    drop(listen(config, &api).await?);
    let store = open_store(config).await?;
    let cluster = found_cluster(config, &store).await?;
    let (http_at, links_at) = listen(config, &api).await?;
    let port = http_at.local_addr()?.port();
    let address = config.advertised_address(port);
    let name = config.node_name(port);
    let join = JoinInfo {
        name: name.clone(),
        http: address.to_string(),
        link: format!("{}:{}", link_host(config), links_at.local_addr()?.port()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    refuse_company(config, &store, &name).await?;
    if let Some(namesake) = namesake::alive(&store, &join, config.timing).await {
        anyhow::bail!("{namesake}");
    }

    let clock = Clock::start();
    let (core, inputs) = CoreHandle::new();
    let directory = Directory::new(store.clone());
    let (discovery, feeder) = discover(config, &cluster.id);
    // Clusters that share a directory must not delete each other's files.
    let working_dir = config.working_dir.join(&cluster.id);
    let settings = settings(config);
    let (dir, checks) = WorkingDir::new();
    let checked = working_dir::What {
        name: &name,
        cluster: &cluster.id,
        dir: &config.working_dir,
        runs_jobs: config.role.runs_jobs(),
        all: settings.can,
        checks: config.working_dir_checks,
    };
    let mut keeper = working_dir::Keeper::new(&checked, store.clone(), directory.clone(), checks);
    let settings = Settings { can: keeper.first().await, ..settings };
    let links = Links::new(cluster, &name, Arc::new(directory.clone()), core.clone());
    let retry = Retry { times: config.jobs.retry, after: config.jobs.retry_after };
    let attempts = Attempts::new(store.clone(), clock, &working_dir, executors(config), retry).checking(dir.clone());
    let engine = engine(config)?;
    let effects = effects::Parts {
        store: store.clone(),
        join,
        timing: config.timing,
        attempts: attempts.clone(),
        housekeeping: Housekeeping::new(store.clone(), &working_dir, config.retention)
            .verifying(engine.clone(), config.verification),
        history: History::new(store.clone()),
        directory: directory.clone(),
        recorder: recorder(config, &name),
    };
    let (shell, me) = Shell::new(settings, rand::random(), clock, effects, links.clone(), core.clone(), inputs);
    tokio::spawn(links.clone().serve(links_at));
    if let Some(feeder) = feeder {
        // The lists come from the metastore, so they contain no news for the core.
        tokio::spawn(feed(feeder, directory.clone(), core.clone()));
    } else {
        tokio::spawn(send_discovery_hints(discovery.peers(), Arc::new(directory.clone()), core.clone()));
    }
    let parts = kirin_service::Parts {
        name: name.clone(),
        store: store.clone(),
        core: core.clone(),
        links,
        directory,
        attempts,
        catalogs: Catalogs::new(engine),
        discovery: discovery.clone(),
        working_dir: dir,
        stop,
    };
    let router = api::router(api::Parts {
        service: Service::new(config, parts),
        local: local_token(config),
        verified: Verified::new(Duration::from_secs(300), 1000),
        gate: Gate::default(),
        store,
    });
    let http = {
        let _threads = api.enter();
        Http::serve(http_at, router, limits(config))
    };
    announce(config, port, &discovery, me.clone()).await;
    tokio::spawn(keeper.run(core.clone(), me.clone()));
    let shell = tokio::spawn(shell.run());
    Ok(Running { name, address: address.to_string(), core, me, discovery, http, shell })
}

/// Binds the ports of the API and of links.
async fn listen(config: &Config, api: &Handle) -> anyhow::Result<(TcpListener, TcpListener)> {
    let at = (config.bind.clone(), config.port);
    let http = api
        .spawn(async move { TcpListener::bind((at.0.as_str(), at.1)).await })
        .await?
        .with_context(|| format!("cannot listen on {}:{} (server.port)", config.bind, config.port))?;
    let links = TcpListener::bind((config.bind.as_str(), config.link_port))
        .await
        .with_context(|| format!("cannot listen on {}:{} (kirin.link.port)", config.bind, config.link_port))?;
    Ok((http, links))
}

/// The limits of connections to the API.
fn limits(config: &Config) -> http::Limits {
    let given = config.connections;
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    let connections = given.all.unwrap_or_else(|| (files / 2).clamp(1, CONNECTIONS_MAX));
    let per_address = given.per_address.unwrap_or(connections - connections / 4);
    http::Limits { connections, per_address, header: given.header, body: given.body, idle: given.idle }
}

/// The token for commands on this machine. Without it, they have no special permissions.
fn local_token(config: &Config) -> Option<Secret> {
    match kirin_home::local::write(&config.data_dir) {
        Ok(token) => Some(Secret::new(token)),
        Err(error) => {
            tracing::warn!(%error, dir = %config.data_dir.display(), "cannot write the token for commands on this machine");
            None
        }
    }
}

/// Signals and requests to stop.
struct Stop {
    asked: mpsc::UnboundedSender<()>,
    asks: mpsc::UnboundedReceiver<()>,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        let (asked, asks) = mpsc::unbounded_channel();
        for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
            let (mut signals, asked) = (signal(kind)?, asked.clone());
            tokio::spawn(async move { while signals.recv().await.is_some() && asked.send(()).is_ok() {} });
        }
        Ok(Self { asked, asks })
    }

    async fn wished(&mut self) {
        // `self.asked` keeps the channel open.
        self.asks.recv().await;
    }
}

fn log_to_stderr(level: &str) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(level)
        .with_context(|| format!("kirin.log.level={level} is not a filter such as `info` or `kirin=debug`"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    Ok(())
}

/// Opens the metastore. Waits if it does not respond yet, and fails at once if it refuses.
async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let store_config = store_config(config);
    let opened = patiently(config, async || Store::open(&store_config).await).await;
    opened.with_context(|| format!("cannot use the metastore {}", config.metastore))
}

/// Repeats a request until the metastore answers. Only for idempotent requests, because a request without an answer may
/// have been executed.
async fn patiently<T>(config: &Config, ask: impl AsyncFn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let mut said = false;
    loop {
        match ask().await {
            Err(error) if error.is_outage() => {
                if !said {
                    tracing::warn!(%error, metastore = %config.metastore, "waiting for the metastore");
                    said = true;
                }
                tokio::time::sleep(REOPEN).await;
            }
            answered => return answered,
        }
    }
}

/// The store's configuration.
pub fn store_config(config: &Config) -> StoreConfig {
    use kirin_store::Backend;
    let url = |scheme: &str, server: &config::Server| format!("{scheme}://{}/{}", server.places(), server.database);
    let (backend, server) = match &config.metastore.backend {
        config::Backend::Sqlite { path } => (Backend::Sqlite { path: path.clone() }, None),
        config::Backend::Postgres(server) => (Backend::Postgres { url: url("postgres", server) }, Some(server)),
        config::Backend::MySql(server) => (Backend::MySql { url: url("mysql", server) }, Some(server)),
    };
    let mut store = StoreConfig::new(backend);
    store.identifier.clone_from(&config.metastore.identifier);
    store.ask_timeout = Duration::from_micros(config.timing.ask_timeout().micros());
    if let Some(server) = server {
        store.user = Some(server.user.clone()).filter(|user| !user.is_empty());
        store.password = Some(server.password.reveal().to_owned()).filter(|password| !password.is_empty());
        store.connections = server.pool_size;
        store.tls = Some(tls(&server.meant.tls));
        store.schema.clone_from(&server.meant.schema);
        store.named_statements = !server.meant.unnamed_statements;
    }
    store.one_pool = Defence::BeatConnection.is_missing();
    if Defence::Fences.is_missing() {
        store.planted = Some(kirin_store::Planted {
            statement: if matches!(store.backend, Backend::Postgres { .. }) { "step" } else { "step_lock" },
            part: "j.epoch = q.held AND j.holder_node = q.node AND j.holder_incarnation = q.incarnation AND",
            instead: "",
        });
    }
    store
}

fn tls(given: &config::url_options::Tls) -> kirin_store::Tls {
    use config::url_options::TlsMode as Given;
    use kirin_store::TlsMode;
    kirin_store::Tls {
        mode: match given.mode {
            Given::Disable => TlsMode::Disable,
            Given::Prefer => TlsMode::Prefer,
            Given::Require => TlsMode::Require,
            Given::VerifyCa => TlsMode::VerifyCa,
            Given::VerifyFull => TlsMode::VerifyFull,
        },
        root: given.root.clone(),
        certificate: given.certificate.clone(),
        key: given.key.clone(),
    }
}

/// Creates the cluster's id, secret, administrator and first project at the first start of the cluster.
async fn found_cluster(config: &Config, store: &Store) -> anyhow::Result<Cluster> {
    let first = async |key: &str, value: String| {
        patiently(config, async || store.put_setting_if_absent(key, &value).await).await
    };
    let id = first("cluster_id", uuid::Uuid::new_v4().to_string()).await?;
    let secret = first("cluster_secret", password::random().reveal().to_owned()).await?;
    if patiently(config, async || store.setting(api::ADMIN_HASH).await).await?.is_none() {
        let admin = password::random();
        let hash = tokio::task::spawn_blocking({
            let admin = admin.clone();
            move || password::hash(&admin)
        })
        .await??;
        if first(api::ADMIN_HASH, hash.clone()).await? == hash {
            greet_admin(config, admin)?;
        }
    }
    let (about, limit) = ("The default project", config.jobs.per_project);
    if config.role.runs_jobs() {
        patiently(config, async || store.set_default_limit(limit).await).await?;
    }
    let limit = ProjectLimit::Default(limit);
    patiently(config, async || store.create_project(DEFAULT_PROJECT, about, ADMIN, limit).await).await?;
    Ok(Cluster { secret: kirin_shell::Secret::new(secret), id })
}

#[expect(clippy::print_stdout, reason = "the password is shown once, to the user that starts the cluster")]
fn greet_admin(config: &Config, password: Secret) -> anyhow::Result<()> {
    println!("The cluster is new. Log in as {ADMIN} with the password {}", password.reveal());
    println!("The password is not shown again; the metastore contains only its hash.");
    let login = kirin_client::Login::new(ADMIN, password.reveal());
    let path = credentials::write(&config.data_dir, &login).context("cannot write the credentials file")?;
    println!("Commands on this machine read it from {}.", path.display());
    Ok(())
}

/// With `kylin.server.leader-race.enabled=false`, refuses to start if the cluster has another node.
async fn refuse_company(config: &Config, store: &Store, name: &str) -> anyhow::Result<()> {
    if config.leader_race {
        return Ok(());
    }
    let others = patiently(config, async || store.directory().await).await?;
    for other in others.into_iter().filter(|other| other.name != name && other.state.is_alive()) {
        // A crashed node is still in the list, but refuses connections.
        let connect = tokio::net::TcpStream::connect(other.link.as_str());
        if !matches!(tokio::time::timeout(REOPEN, connect).await, Ok(Err(e)) if e.kind() == std::io::ErrorKind::ConnectionRefused)
        {
            anyhow::bail!(
                "kylin.server.leader-race.enabled=false allows only one node, but {} is in the cluster: stop it, or \
                 set the key to true on every node",
                other.name
            );
        }
    }
    Ok(())
}

/// The host name that other nodes use to reach this node's links.
fn link_host(config: &Config) -> String {
    let is_wildcard = matches!(config.bind.as_str(), "0.0.0.0" | "::" | "[::]");
    let host = if is_wildcard { config.advertised.0.as_str() } else { config.bind.as_str() };
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

/// The settings of the core for this configuration.
pub fn settings(config: &Config) -> Settings {
    Settings {
        slots: if config.role.runs_jobs() { config.jobs.per_node } else { 0 },
        can: if config.jobs.commands { build::KIND.needs.or(command::KIND.needs) } else { build::KIND.needs },
        timing: config.timing,
        in_order: config.jobs.queue == QueueOrder::Global,
        leader_only: matches!(config.scheduler, Scheduler::LeaderOnly | Scheduler::OneEngine),
        ..Settings::new(config.role)
    }
}

/// The flight recorder. A node also works if it cannot record.
fn recorder(config: &Config, name: &str) -> Option<Recorder> {
    let dir = config.recorder.dir.as_ref()?;
    let kept = config.recorder.limit.of(physical_memory().unwrap_or(1 << 30));
    let limits = Limits { kept, ..Limits::default() };
    let run = uuid::Uuid::now_v7().simple().to_string();
    match Recorder::begin(dir, name, &run, env!("CARGO_PKG_VERSION"), limits) {
        Ok(recorder) => Some(recorder),
        Err(error) => {
            tracing::warn!(%error, dir = %dir.display(), "cannot record (kirin.recorder.dir)");
            None
        }
    }
}

fn memory(config: &Config) -> u64 {
    config.query.memory.of(physical_memory().unwrap_or(1 << 30))
}

/// The memory that this process may use, in bytes: the machine's, or less if a control group limits it.
fn physical_memory() -> Option<u64> {
    use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};
    let (mut system, own) = (System::new().ok()?, get_current_pid().ok()?);
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), true, ProcessRefreshKind::nothing());
    let limit = system.process(own).and_then(|process| process.cgroup_limits()).map(|limits| limits.total_memory);
    let of_machine = Some(system.total_memory()).filter(|bytes| *bytes > 0);
    // A group without a limit reports the machine's memory, or nothing.
    [of_machine, limit.filter(|bytes| *bytes > 0)].into_iter().flatten().min()
}

/// The secrets that are removed from the environment of workers.
fn secrets(config: &Config) -> Vec<Secret> {
    match &config.metastore.backend {
        config::Backend::Sqlite { .. } => Vec::new(),
        config::Backend::Postgres(server) | config::Backend::MySql(server) => vec![server.password.clone()],
    }
}

fn executors(config: &Config) -> Vec<Arc<dyn Executor>> {
    let (memory, access, secrets) = (memory(config), access(config), secrets(config));
    let worker = |kind| Arc::new(Worker::new(kind, memory, access.clone(), secrets.clone()));
    vec![worker(&build::KIND), worker(&command::KIND), Arc::new(Probe)]
}

/// The sources that tables may read.
fn access(config: &Config) -> kirin_olap::Access {
    kirin_olap::Access {
        local: kirin_olap::Local::Below(config.sources.roots.clone()),
        s3_instance_role: config.sources.instance_role,
        ..kirin_olap::Access::default()
    }
}

fn engine(config: &Config) -> anyhow::Result<kirin_olap::Engine> {
    let memory_limit = usize::try_from(memory(config)).unwrap_or(usize::MAX);
    let access = access(config);
    let defaults = kirin_olap::EngineConfig::default();
    Ok(kirin_olap::Engine::new(kirin_olap::EngineConfig { memory_limit, access, ..defaults })?)
}

fn span(duration: Duration) -> Span {
    Span::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

// --- discovery ---

type Discovered = (Arc<dyn Discovery>, Option<Feeder>);

fn discover(config: &Config, cluster_id: &str) -> Discovered {
    if let Some(zookeeper) = &config.zookeeper {
        let layout = Layout::Kylin5 { unique_id: config.metastore.unique_id(cluster_id) };
        return (Arc::new(ZooKeeperDiscovery::start(zookeeper_config(zookeeper, layout))), None);
    }
    if !config.cluster_servers.is_empty() {
        let servers = config.cluster_servers.iter().map(|server| kirin_discovery::StaticServer {
            host: server.address.host.clone(),
            port: server.address.port.unwrap_or(config.port),
            role: server.role.map_or(kirin_discovery::Role::All, discovery_role),
        });
        return (Arc::new(StaticDiscovery::new(servers)), None);
    }
    let (discovery, feeder) = MetastoreDiscovery::new();
    (Arc::new(discovery), Some(feeder))
}

fn zookeeper_config(given: &config::ZooKeeper, layout: Layout) -> ZooKeeperConfig {
    let acl = |acl: &config::ZkAcl| {
        let config::ZkPermissions { read, write, create, delete, admin } = acl.permissions;
        kirin_discovery::Acl {
            scheme: acl.scheme.clone(),
            id: acl.id.clone(),
            permissions: kirin_discovery::Permissions { read, write, create, delete, admin },
        }
    };
    ZooKeeperConfig {
        servers: given.servers(),
        chroot: given.chroot.clone(),
        base_path: given.base_path.clone(),
        layout,
        session_timeout: given.session_timeout,
        connection_timeout: given.connection_timeout,
        auth: given.auth.as_ref().map(|auth| kirin_discovery::Auth {
            scheme: auth.scheme.clone(),
            secret: auth.credentials.reveal().as_bytes().to_vec(),
        }),
        acl: given.acl.iter().map(acl).collect(),
    }
}

async fn announce(config: &Config, port: u16, discovery: &Arc<dyn Discovery>, mut me: watch::Receiver<Option<Member>>) {
    let address = config.advertised_address(port);
    tokio::spawn(warn_if_unknown(address.host.clone(), address.port.unwrap_or(port)));
    let announcement = Announcement {
        role: discovery_role(config.role),
        id: uuid::Uuid::new_v4(),
        host: address.host,
        port: address.port.unwrap_or(port),
        metadata: std::collections::BTreeMap::from([("instance_status".to_owned(), "UP".to_owned())]),
    };
    let discovery = discovery.clone();
    tokio::spawn(async move {
        // A node that is not a member yet cannot serve.
        if me.wait_for(Option::is_some).await.is_ok()
            && let Err(error) = discovery.announce(announcement).await
        {
            tracing::error!(%error, "cannot announce this node");
        }
    });
}

/// Logs a warning if this machine cannot resolve the advertised name, which other nodes and clients use.
async fn warn_if_unknown(host: String, port: u16) {
    let problem = match tokio::time::timeout(RESOLVED_WITHIN, tokio::net::lookup_host((host.as_str(), port))).await {
        Ok(Ok(mut found)) => match found.next() {
            Some(_) => return,
            None => "it has no address".to_owned(),
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", RESOLVED_WITHIN.as_secs()),
    };
    tracing::warn!(
        "the advertised name '{host}' cannot be resolved on this machine: {problem}; other nodes and clients may not reach \
         this node; set spring.cloud.zookeeper.discovery.instance-host to its address"
    );
}

fn discovery_role(role: Role) -> kirin_discovery::Role {
    match role {
        Role::All => kirin_discovery::Role::All,
        Role::Job => kirin_discovery::Role::Job,
        Role::Query => kirin_discovery::Role::Query,
    }
}

/// Passes the members in the metastore to clients that list servers. Names are read only when the members change. The
/// core's beats tell which members are alive.
async fn feed(feeder: Feeder, directory: Directory, core: CoreHandle) {
    let mut seen = core.seen();
    loop {
        match directory.refresh().await {
            Ok(members) => feeder.feed(members.iter().filter(|info| info.state.is_alive()).filter_map(|info| {
                let (host, port) = info.http.rsplit_once(':')?;
                Some(Peer {
                    role: discovery_role(info.role),
                    host: host.to_owned(),
                    port: port.parse().ok()?,
                    id: format!("{}.{}", info.member.node.0, Incarnation::get(info.member.incarnation)),
                    registered_at_ms: Some(info.joined_ms),
                    metadata: std::collections::BTreeMap::new(),
                    source: Source::Metastore,
                })
            })),
            Err(error) => {
                feeder.failed(&error.to_string());
                tokio::time::sleep(FEED_AGAIN).await;
                continue;
            }
        }
        if seen.changed().await.is_err() {
            return;
        }
    }
}

/// Prints a message when the node is ready.
fn welcome(config: &Config, name: &str, address: &str, mut me: watch::Receiver<Option<Member>>) {
    let line = format!("node {name} ({}) is up at http://{address}", config.role.name());
    tokio::spawn(async move {
        if let Ok(joined) = me.wait_for(Option::is_some).await.map(|me| *me) {
            #[expect(clippy::print_stdout, reason = "the user who starts a node waits for this message")]
            {
                println!("{line}");
            }
            tracing::info!(member = ?joined, "joined");
        }
    });
}
