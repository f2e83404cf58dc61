//! Whole nodes on simulated hosts: the production wiring with the real HTTP API, and clients who lose replies.
//!
//! Three nodes share an SQLite file, which is behind wires of its own. Clients submit with an idempotency key, read and
//! discard through any node, give up after a while and go to the next node. Wires are cut (both ways or one way) and held,
//! processes die, hosts lose their power. After that everything is healed.
//!
//! | what is checked | when |
//! |---|---|
//! | an acknowledged submit is one job, whoever is asked, however often it was sent | with each reply, and in the end |
//! | what is read through any node is not older than what was acknowledged or read before | with each reply |
//! | a request that nothing disturbs is answered in time; what is not done is refused in words | with each request |
//! | without the password nobody is told anything, nobody changes anything | all the time |
//! | every node is told by every other what an operator wants of it; every job comes to its end | in the end |
//!
//! Ids and the cores' chance are drawn by the product itself, and SQLite's threads answer in an order of their own: a seed
//! draws the same faults each time, but its run is not the same to the byte.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kirin_api as api;
use kirin_config::{Config, Sources};
use kirin_metastore::Store;
use kirin_server as server;
use kirin_sim::dice::Dice;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::around::{LINK_PORT, now};
use crate::wires::{Wires, name};

const NODES: u32 = 3;
/// The host of the clients.
const CLIENTS: u32 = NODES + 1;
/// The host that stands for the database: [`kirin_store::HOST`].
const METASTORE: u32 = NODES + 2;
const API_PORT: u16 = 7070;
const TICK: Duration = Duration::from_millis(10);
/// Faults begin in this span.
const FAULTS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(40));
/// From the healing to the end of everything.
const HEALED: Duration = Duration::from_secs(90);
/// What a node may take for an answer when nothing is between it and the client: a question to another node, and two
/// requests to the metastore.
const ANSWER_MAX: Duration = Duration::from_secs(17);
/// The same for a load balancer's question, which nobody else may delay.
const HEALTH_MAX: Duration = Duration::from_millis(500);
/// After so long a client gives up; sooner if it can send the same again.
const PATIENCE: Duration = Duration::from_secs(20);
const PATIENCE_TO_SUBMIT: Duration = Duration::from_secs(4);
const SUBMIT: (&str, &str) = ("POST", "/kylin/api/jobs");
const HEALTH: &str = "GET /kylin/api/health";

/// ADMIN with the password `turmoil`.
const LOGIN: &str = "Basic QURNSU46dHVybW9pbA==";
/// That password, hashed in a way that is cheap to check.
const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2l4dGVlbiBieXRlcyBvZg$BRHbAppJT4r4Eq5+jgUw47S0ofFuSCrlnmrbX5lfcBY";
/// What strangers try: nothing, another scheme, a guess.
const GUESSES: [&str; 3] = ["", "Bearer QURNSU46dHVybW9pbA==", "Basic QURNSU46Z3Vlc3NlZA=="];
/// So many slots only strangers wish.
const STRANGERS_SLOTS: u64 = 77;

/// What clients were told.
#[derive(Default)]
struct Told {
    wrong: Vec<String>,
    seen: BTreeMap<&'static str, u32>,
    /// The job of each key, once somebody said that it is accepted.
    jobs: BTreeMap<String, String>,
    /// How each job ended, once somebody said so.
    ends: BTreeMap<String, String>,
    /// Jobs that somebody wanted to be discarded.
    unwanted: BTreeSet<String>,
    asked: Vec<Asked>,
    /// Whether clients begin nothing any more.
    is_ending: bool,
    /// Clients that still have something to do.
    busy: u32,
    is_checked: bool,
}

/// A request that has ended.
struct Asked {
    node: u32,
    what: String,
    login: &'static str,
    began: Duration,
    took: Duration,
    answer: io::Result<(u16, Value)>,
}

#[derive(Clone)]
struct Desk {
    seed: u64,
    home: Arc<Path>,
    told: Arc<Mutex<Told>>,
}

impl Desk {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, what: &'static str) {
        *self.told().seen.entry(what).or_insert(0) += 1;
    }

    fn complain(&self, text: &str) {
        self.told().wrong.push(format!("{:.3} s: {text}", now().as_secs_f64()));
    }

    fn config(&self, host: u32) -> anyhow::Result<Config> {
        let (shared, name) = (self.home.display(), name(host));
        let set = vec![
            format!("kylin.metadata.url=kirin@sqlite:{shared}/metastore.db"),
            format!("kylin.env.hdfs-working-dir={shared}/warehouse"),
            "server.address=0.0.0.0".to_owned(),
            format!("server.port={API_PORT}"),
            format!("kirin.link.port={LINK_PORT}"),
            format!("spring.cloud.zookeeper.discovery.instance-host={name}"),
            format!("kirin.node.name={name}"),
            "kirin.recorder.enabled=false".to_owned(),
            "kylin.server.leader-race.heart-beat-timeout=20".to_owned(),
            "kylin.server.leader-race.heart-beat-interval=5".to_owned(),
            // Few, so that jobs wait on queues.
            "kylin.job.node-max-concurrent-jobs=2".to_owned(),
        ];
        let home = self.home.join(&name);
        std::fs::create_dir_all(home.join("conf"))?;
        Ok(Config::load(&Sources { home, conf: None, set, env: BTreeMap::new(), host_name: name })?)
    }
}

/// One node: what `kirin start` runs, without what belongs to a process of its own.
async fn process(desk: Desk, host: u32) -> turmoil::Result {
    tokio::kernel::boot(turmoil::lookup(name(host)));
    let config = desk.config(host)?;
    loop {
        let started = async {
            let store = Store::open(&server::store_config(&config)).await?;
            store.put_setting_if_absent(api::ADMIN_HASH, HASH).await?;
            server::start(&config, mpsc::unbounded_channel().0, tokio::runtime::Handle::current()).await
        };
        match started.await {
            Ok(running) => return Ok(running.shell.await?),
            // As a supervisor does.
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
}

// --- clients ---

/// One HTTP exchange on a connection of its own.
async fn exchange(node: u32, login: &str, method: &str, path: &str, body: &Value) -> io::Result<(u16, Value)> {
    let mut stream = TcpStream::connect(&format!("{}:{API_PORT}", name(node))).await?;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: {login}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        name(node),
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    let reply = String::from_utf8_lossy(&reply);
    let (head, body) = reply.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: Option<usize> = length.and_then(|length| length.parse().ok());
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    match (status, length) {
        (Some(status), Some(length)) if body.len() == length => {
            Ok((status, serde_json::from_str(body).unwrap_or_else(|_| body.into())))
        }
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl Desk {
    /// One request through that node. `None` if no answer came, or a refusal.
    async fn call(&self, node: u32, login: &'static str, method: &str, path: &str, body: Value) -> Option<Value> {
        let began = now();
        let patience = if (method, path) == SUBMIT { PATIENCE_TO_SUBMIT } else { PATIENCE };
        let answer = timeout(patience, exchange(node, login, method, path, &body)).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let good = answer.as_ref().ok().filter(|(status, _)| *status == 200).map(|(_, body)| body["data"].clone());
        let what = format!("{method} {path}");
        self.told().asked.push(Asked { node, what, login, began, took: now() - began, answer });
        good
    }

    async fn get(&self, node: u32, path: &str) -> Option<Value> {
        self.call(node, LOGIN, "GET", path, Value::Null).await
    }

    /// Submits until somebody says that the job is accepted.
    async fn submit(&self, dice: &mut Dice, key: &str) {
        let spec = json!({ "steps": dice.between(1, 3), "step_ms": dice.between(50, 1500) });
        let body = json!({ "project": "default", "kind": "probe", "spec": spec, "idempotency_key": key });
        for attempt in 0.. {
            let reply = self.call(any_node(dice), LOGIN, SUBMIT.0, SUBMIT.1, body.clone()).await;
            if let Some(id) = reply.and_then(|data| Some(data["job_id"].as_str()?.to_owned())) {
                let before = self.told().jobs.insert(key.to_owned(), id.clone());
                if before.is_some_and(|before| before != id) {
                    self.complain(&format!("{key} is two jobs"));
                }
                self.see(if attempt > 0 { "accepted after retries" } else { "accepted" });
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn discard(&self, node: u32, id: &str) {
        let body = json!({ "job_ids": [id], "action": "DISCARD" });
        self.told().unwanted.insert(id.to_owned());
        if self.call(node, LOGIN, "PUT", "/kylin/api/jobs/status", body).await.is_some() {
            self.see("discarded");
            self.ended(id, "DISCARDED");
        }
    }

    fn ended(&self, id: &str, how: &str) {
        let before = self.told().ends.insert(id.to_owned(), how.to_owned());
        if let Some(before) = before.filter(|before| before != how) {
            self.complain(&format!("{id} was {before} and then {how}"));
        }
    }

    /// What is known of the jobs that were accepted: whether they are over, and how.
    fn known(&self) -> BTreeMap<String, Option<String>> {
        let told = self.told();
        told.jobs.values().map(|id| (id.clone(), told.ends.get(id).cloned())).collect()
    }

    /// What a node shows must not be older than what was known when it was asked.
    fn compare(&self, node: u32, known: &BTreeMap<String, Option<String>>, shown: &[Value]) {
        for (id, end) in known {
            let rows: Vec<_> = shown.iter().filter(|job| job["id"] == **id).collect();
            let [row] = rows[..] else {
                self.complain(&format!("n{node} shows {id}, which was accepted, {} times", rows.len()));
                continue;
            };
            let status = row["job_status"].as_str().unwrap_or_default();
            if let Some(end) = end.as_deref().filter(|end| *end != status) {
                self.complain(&format!("n{node} shows {id} as {status}, which was {end}"));
            }
            if is_over(row) {
                self.ended(id, status);
            }
        }
    }

    async fn list(&self, node: u32) -> Option<Vec<Value>> {
        let known = self.known();
        let list = self.get(node, "/kylin/api/jobs?project=default&page_size=10000").await?;
        let shown = list["value"].as_array().cloned().unwrap_or_default();
        self.compare(node, &known, &shown);
        Some(shown)
    }

    async fn look(&self, node: u32, dice: &mut Dice, id: &str) {
        let known = self.known().remove(id);
        let path = format!("/kylin/api/jobs/{id}");
        match dice.below(5) {
            0 | 1 => {
                if self.get(node, &format!("{path}/why")).await.is_some_and(|why| why["reason"].is_string()) {
                    self.see("why");
                }
            }
            2 => drop(self.get(node, &format!("{path}/detail")).await),
            _ => {
                if let (Some(known), Some(job)) = (known, self.get(node, &path).await) {
                    self.compare(node, &BTreeMap::from([(id.to_owned(), known)]), &[job]);
                    self.see("read");
                }
            }
        }
    }

    /// The members as a node shows them.
    async fn members(&self, node: u32) -> Option<Vec<Value>> {
        let cluster = self.get(node, "/kylin/api/cluster").await?;
        let members = cluster["members"].as_array().cloned().unwrap_or_default();
        if cluster["answered_by"] != *name(node) || members.is_empty() {
            self.complain(&format!("n{node} shows as cluster {cluster}"));
        }
        if members.iter().any(|member| member["slots"] == STRANGERS_SLOTS) {
            self.complain("a stranger's wish was heard");
        }
        Some(members)
    }

    async fn set_slots(&self, through: u32, node: u32, slots: u64) {
        let path = format!("/kylin/api/cluster/nodes/{}/slots", name(node));
        self.call(through, LOGIN, "PUT", &path, json!({ "slots": slots })).await;
    }

    /// Somebody without the password.
    async fn stranger(self) {
        let mut dice = Dice::new(self.seed, "stranger");
        while !self.told().is_ending {
            sleep(Duration::from_millis(dice.between(20, 400))).await;
            let (node, victim) = (any_node(&mut dice), name(any_node(&mut dice)));
            let job = json!({ "project": "default", "kind": "probe" });
            let (method, path, body) = match dice.below(15) {
                0 => ("GET", "cluster".to_owned(), Value::Null),
                1 => ("GET", "cluster/history".to_owned(), Value::Null),
                2 => ("POST", format!("cluster/nodes/{victim}/drain"), json!({ "leave": true })),
                3 => ("DELETE", format!("cluster/nodes/{victim}/drain"), Value::Null),
                4 => ("PUT", format!("cluster/nodes/{victim}/slots"), json!({ "slots": STRANGERS_SLOTS })),
                5 => ("POST", "system/stop".to_owned(), Value::Null),
                6 => ("GET", "system/servers".to_owned(), Value::Null),
                7 => ("POST", "epoch".to_owned(), json!({ "force": true })),
                8 => ("GET", "jobs".to_owned(), Value::Null),
                9 => ("POST", "jobs".to_owned(), job),
                10 => ("PUT", "jobs/status".to_owned(), json!({ "project": "default", "action": "DISCARD" })),
                11 => ("GET", "no/such/place".to_owned(), Value::Null),
                _ => ("GET", "health".to_owned(), Value::Null),
            };
            let guess = dice.pick(&GUESSES).copied().unwrap_or_default();
            self.call(node, guess, method, &format!("/kylin/api/{path}"), body).await;
        }
        self.told().busy -= 1;
    }

    /// One client, until there is nothing to begin any more.
    async fn client(self, number: u32) {
        let mut dice = Dice::new(self.seed, &format!("client {number}"));
        for n in 0.. {
            if self.told().is_ending {
                break;
            }
            sleep(Duration::from_millis(dice.between(20, 400))).await;
            let node = any_node(&mut dice);
            let jobs: Vec<_> = self.told().jobs.values().cloned().collect();
            match (dice.below(12), dice.pick(&jobs)) {
                (0..3, _) | (_, None) => {
                    let key = format!("key {number}.{n}");
                    self.submit(&mut dice, &key).await;
                    // Who is not sure asks again, somewhere else.
                    if dice.chance(300_000) {
                        self.submit(&mut dice, &key).await;
                    }
                }
                (3 | 4, Some(id)) => self.discard(node, id).await,
                (5, _) => drop(self.list(node).await),
                (6, _) => drop(self.members(node).await),
                (7, _) => self.set_slots(node, any_node(&mut dice), dice.between(1, 3)).await,
                (_, Some(id)) => self.look(node, &mut dice, id).await,
            }
        }
        self.told().busy -= 1;
    }

    /// When all is well again.
    async fn check(&self) {
        while self.told().busy > 0 {
            sleep(Duration::from_millis(50)).await;
        }
        for node in 1..=NODES {
            let jobs = loop {
                match self.list(node).await {
                    Some(jobs) if jobs.iter().all(is_over) => break jobs,
                    _ => sleep(Duration::from_millis(200)).await,
                }
            };
            if jobs.iter().any(|job| job["epoch"].as_u64() > Some(1)) {
                self.see("taken over");
            }
            let told = self.told();
            let is_unwanted = |job: &Value| job["id"].as_str().is_some_and(|id| told.unwanted.contains(id));
            let lost: Vec<_> =
                jobs.iter().filter(|job| job["job_status"] == "DISCARDED" && !is_unwanted(job)).cloned().collect();
            let keys = told.jobs.len();
            drop(told);
            if jobs.len() != keys {
                self.complain(&format!("n{node} shows {} jobs of {keys} keys", jobs.len()));
            }
            if !lost.is_empty() {
                self.complain(&format!("n{node} shows as discarded, which nobody wanted: {lost:?}"));
            }
        }
        for (node, slots) in (1..=NODES).zip(10..) {
            let (through, seen_by) = (node % NODES + 1, (node + 1) % NODES + 1);
            let is_told = |member: &Value| member["node"] == *name(node) && member["slots"] == slots;
            loop {
                self.set_slots(through, node, slots).await;
                sleep(Duration::from_millis(200)).await;
                if self.members(seen_by).await.is_some_and(|members| members.iter().any(is_told)) {
                    break;
                }
            }
        }
        self.told().is_checked = true;
    }
}

fn is_over(job: &Value) -> bool {
    matches!(job["job_status"].as_str(), Some("FINISHED" | "DISCARDED"))
}

fn any_node(dice: &mut Dice) -> u32 {
    u32::try_from(dice.between(1, u64::from(NODES))).unwrap_or(1)
}

async fn clients(desk: Desk) -> turmoil::Result {
    tokio::kernel::boot(turmoil::lookup(name(CLIENTS)));
    let many = 8;
    desk.told().busy = many + 1;
    for number in 0..many {
        tokio::spawn(desk.clone().client(number));
    }
    tokio::spawn(desk.clone().stranger());
    desk.check().await;
    std::future::pending().await
}

// --- the run ---

enum Act {
    Cut(u32, u32),
    Mend(u32, u32),
    Hold(u32, u32),
    Release(u32, u32),
    Kill(u32),
    PowerOff(u32),
    Boot(u32),
}

fn plan(seed: u64) -> Vec<(Duration, Act)> {
    let mut dice = Dice::new(seed, "plan");
    let ms = Duration::from_millis;
    let (mut plan, mut at) = (Vec::new(), FAULTS.0);
    while at < FAULTS.1 {
        let until = at + ms(if dice.chance(200_000) { dice.between(8_000, 28_000) } else { dice.between(300, 8_000) });
        let a = any_node(&mut dice);
        let b = match dice.below(4) {
            0 => CLIENTS,
            1 => METASTORE,
            _ => a % NODES + 1,
        };
        let cuts: &[(u32, u32)] = match dice.below(8) {
            0 | 1 => &[(a, b), (b, a)],
            2 => &[(a, b)],
            3 => &[(b, a)],
            // The way to the database is there or not: it holds nothing back.
            4 if b != METASTORE => {
                plan.push((at, Act::Hold(a, b)));
                plan.push((until, Act::Release(a, b)));
                &[]
            }
            5 => {
                plan.push((at, Act::PowerOff(a)));
                plan.push((until, Act::Boot(a)));
                &[]
            }
            _ => {
                plan.push((at, Act::Kill(a)));
                plan.push((until.min(at + ms(3_000)), Act::Boot(a)));
                &[]
            }
        };
        for (from, to) in cuts {
            plan.push((at, Act::Cut(*from, *to)));
            plan.push((until, Act::Mend(*from, *to)));
        }
        at += ms(dice.between(300, 3_000));
    }
    plan.sort_by_key(|(at, _)| *at);
    plan.retain(|(at, _)| *at < FAULTS.1);
    plan
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Ran {
    /// What must not have happened.
    pub wrong: Vec<String>,
    /// How often each thing was seen that has to be seen over many seeds.
    pub seen: BTreeMap<&'static str, u32>,
}

struct World<'a> {
    wires: Wires<'a>,
    desk: Desk,
    /// When each node's process began or ended.
    turned: BTreeMap<u32, Duration>,
    /// Nodes that have answered since then.
    open: BTreeSet<u32>,
}

/// Runs a seed; files are kept in that directory.
pub fn run(seed: u64, home: &Path) -> Ran {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .simulation_duration(Duration::from_secs(3600))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(30))
        .tcp_capacity(1024)
        .build();
    tokio::kernel::reset();
    kirin_store::begin(seed);
    let desk = Desk { seed, home: home.into(), told: Arc::default() };
    for host in 1..=NODES {
        let desk = desk.clone();
        sim.host(name(host), move || process(desk.clone(), host));
    }
    let shared = desk.clone();
    sim.host(name(CLIENTS), move || clients(shared.clone()));
    sim.host(kirin_store::HOST, std::future::pending);
    let wires = Wires::new(sim, METASTORE);
    let mut world = World { wires, desk, turned: BTreeMap::new(), open: BTreeSet::new() };
    for (at, act) in plan(seed) {
        world.run_until(at);
        world.act(&act);
    }
    world.run_until(FAULTS.1);
    world.heal();
    world.run_until(FAULTS.1 + HEALED);
    let mut told = world.desk.told();
    if !told.is_checked {
        let busy = told.busy;
        told.wrong.push(format!("{HEALED:?} after all was healed, not all was well ({busy} clients are busy)"));
    }
    Ran { wrong: std::mem::take(&mut told.wrong), seen: std::mem::take(&mut told.seen) }
}

impl World<'_> {
    fn act(&mut self, act: &Act) {
        let wires = &mut self.wires;
        match *act {
            Act::Cut(from, to) => wires.cut(from, to),
            Act::Mend(from, to) => wires.mend(from, to),
            Act::Hold(a, b) => drop(wires.hold(a, b)),
            Act::Release(a, b) => wires.release(a, b),
            Act::Kill(host) => {
                wires.kill(host);
                self.turn(host);
            }
            Act::PowerOff(host) => {
                wires.power_off(host);
                self.turn(host);
            }
            Act::Boot(host) => {
                wires.boot(host);
                self.turn(host);
            }
        }
    }

    fn turn(&mut self, host: u32) {
        self.turned.insert(host, self.wires.sim.elapsed());
        self.open.remove(&host);
    }

    fn heal(&mut self) {
        for host in 1..=NODES {
            if !self.wires.is_running(host) {
                self.turn(host);
            }
        }
        self.wires.heal();
        self.desk.told().is_ending = true;
    }

    /// Until then, or until all is done.
    fn run_until(&mut self, at: Duration) {
        while self.wires.sim.elapsed() < at && !self.desk.told().is_checked {
            self.wires.step();
            let ended = std::mem::take(&mut self.desk.told().asked);
            for asked in ended {
                self.judge(&asked);
            }
        }
    }

    /// A request has ended.
    fn judge(&mut self, asked: &Asked) {
        let Asked { node, what, login, began, took, answer } = asked;
        let is_same_process = self.turned.get(node).is_none_or(|at| at < began);
        let is_undisturbed =
            is_same_process && self.wires.is_running(*node) && self.wires.is_quiet(*node, CLIENTS, *began);
        let is_guest = *login == LOGIN;
        let seen = match answer {
            Ok((_, body)) if what == HEALTH && body.to_string().contains("reason") => Err("a stranger learns why"),
            Ok((200 | 503, _)) if what == HEALTH => Ok("health"),
            Ok((401, _)) if !is_guest => Ok("stranger turned away"),
            // Whether a guess is right can't be known without the metastore.
            Ok((503, _)) if login.is_empty() => Err("a stranger was let through"),
            Ok((200, _)) if is_guest => Ok("answered"),
            Ok((_, body)) if body["msg"].as_str().is_none_or(str::is_empty) => Err("refused without a word"),
            Ok((503, _)) => Ok("metastore not reached"),
            Ok((409, _)) if is_guest && what.starts_with("PUT /kylin/api/jobs/status") => Ok("refused"),
            Ok((404, _)) if is_guest && what.starts_with("PUT /kylin/api/cluster/nodes/") => Ok("refused"),
            Ok(_) => Err("what is that?"),
            // A process that has just begun does not listen yet.
            Err(e) if e.kind() == io::ErrorKind::TimedOut && *took < ANSWER_MAX => Ok("no answer"),
            Err(_) if is_undisturbed && self.open.contains(node) => Err("nothing was between them"),
            Err(_) => Ok("no answer"),
        };
        if is_same_process && answer.is_ok() {
            self.open.insert(*node);
        }
        let soon = if what == HEALTH { HEALTH_MAX } else { ANSWER_MAX };
        let is_late = is_undisturbed && answer.is_ok() && *took > soon;
        let seen = if is_late { Err("that is late") } else { seen };
        let mut told = self.desk.told();
        match seen {
            Ok(what) => *told.seen.entry(what).or_insert(0) += 1,
            Err(why) => {
                let at = (*began + *took).as_secs_f64();
                told.wrong.push(format!("{at:.3} s: {what} on n{node} after {took:?}: {answer:?}: {why}"));
            }
        }
    }
}
