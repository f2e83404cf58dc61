//! Complete nodes on simulated hosts, with the production wiring and the real HTTP API, and clients that lose replies.
//!
//! Three nodes share an SQLite file, which has its own wires. Clients submit with an idempotency key, read and
//! discard through any node, time out and try the next node. Wires are cut (in both or one direction) and held,
//! processes die, and hosts lose power. Then all faults are removed.
//!
//! | check | when |
//! |---|---|
//! | an acknowledged submit is exactly one job on every node, even if it was repeated | with each reply, and at the end |
//! | a read through any node is not older than earlier acknowledgements and reads | with each reply |
//! | a request without faults is answered in time; a refusal has a message | with each request |
//! | a client without the password reads nothing and changes nothing | all the time |
//! | every node receives operator requests through every other node; every job ends | at the end |
//!
//! The product itself draws ids and the cores' seeds, and the order of SQLite's threads varies. So a seed
//! gives the same faults each time, but not the same run byte for byte.

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
/// The host of the database: [`kirin_store::HOST`].
const METASTORE: u32 = NODES + 2;
const API_PORT: u16 = 7070;
const TICK: Duration = Duration::from_millis(10);
/// The period in which faults begin.
const FAULTS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(40));
/// The maximum time from the removal of faults to the end of all jobs.
const HEALED: Duration = Duration::from_secs(90);
/// The maximum response time of a node without faults between it and the client: a query to another node, and two
/// requests to the metastore.
const ANSWER_MAX: Duration = Duration::from_secs(17);
/// The same for a load balancer's health check, which no other request may delay.
const HEALTH_MAX: Duration = Duration::from_millis(500);
/// The timeout of a client; shorter if it can repeat the request.
const PATIENCE: Duration = Duration::from_secs(20);
const PATIENCE_TO_SUBMIT: Duration = Duration::from_secs(4);
const SUBMIT: (&str, &str) = ("POST", "/kylin/api/jobs");
const HEALTH: &str = "GET /kylin/api/health";

/// ADMIN with the password `turmoil`.
const LOGIN: &str = "Basic QURNSU46dHVybW9pbA==";
/// A hash of this password that is cheap to verify.
const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2l4dGVlbiBieXRlcyBvZg$BRHbAppJT4r4Eq5+jgUw47S0ofFuSCrlnmrbX5lfcBY";
/// The logins of intruders: none, another scheme, a guess.
const GUESSES: [&str; 3] = ["", "Bearer QURNSU46dHVybW9pbA==", "Basic QURNSU46Z3Vlc3NlZA=="];
/// A number of slots that only intruders request.
const STRANGERS_SLOTS: u64 = 77;

/// The knowledge of the clients.
#[derive(Default)]
struct Told {
    wrong: Vec<String>,
    seen: BTreeMap<&'static str, u32>,
    /// The job of each key, once a node has acknowledged it.
    jobs: BTreeMap<String, String>,
    /// The final status of each job, once a node has shown it.
    ends: BTreeMap<String, String>,
    /// Jobs that a client has requested to discard.
    unwanted: BTreeSet<String>,
    asked: Vec<Asked>,
    /// Whether clients start no further requests.
    is_ending: bool,
    /// The number of busy clients.
    busy: u32,
    is_checked: bool,
}

/// An ended request.
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
            // Few slots, so that jobs wait in queues.
            "kylin.job.node-max-concurrent-jobs=2".to_owned(),
        ];
        let home = self.home.join(&name);
        std::fs::create_dir_all(home.join("conf"))?;
        Ok(Config::load(&Sources { home, conf: None, set, env: BTreeMap::new(), host_name: name })?)
    }
}

/// A node as run by `kirin start`, without the process-wide parts.
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
            // Like a supervisor.
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
}

// --- clients ---

/// One HTTP exchange on a new connection.
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
    /// Sends a request through this node. `None` without an answer or if refused.
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

    /// Submits until a node acknowledges the job.
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

    /// The known final status of each accepted job.
    fn known(&self) -> BTreeMap<String, Option<String>> {
        let told = self.told();
        told.jobs.values().map(|id| (id.clone(), told.ends.get(id).cloned())).collect()
    }

    /// Checks that a node's answer is not older than the knowledge at the time of the request.
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

    /// The members according to a node.
    async fn members(&self, node: u32) -> Option<Vec<Value>> {
        let cluster = self.get(node, "/kylin/api/cluster").await?;
        let members = cluster["members"].as_array().cloned().unwrap_or_default();
        if cluster["answered_by"] != *name(node) || members.is_empty() {
            self.complain(&format!("n{node} shows as cluster {cluster}"));
        }
        if members.iter().any(|member| member["slots"] == STRANGERS_SLOTS) {
            self.complain("a request of an intruder was executed");
        }
        Some(members)
    }

    async fn set_slots(&self, through: u32, node: u32, slots: u64) {
        let path = format!("/kylin/api/cluster/nodes/{}/slots", name(node));
        self.call(through, LOGIN, "PUT", &path, json!({ "slots": slots })).await;
    }

    /// A client without the password.
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

    /// One client, until clients start no further requests.
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
                    // After an unknown outcome, the client repeats the request at another node.
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

    /// Checks the final state after all faults are removed.
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
                self.complain(&format!("n{node} shows jobs as discarded without a request: {lost:?}"));
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
            // The wire to the database is either open or cut. It is never held.
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

/// The result of a run.
#[derive(Debug, Default)]
pub struct Ran {
    /// Violations.
    pub wrong: Vec<String>,
    /// The number of occurrences of situations that must occur over many seeds.
    pub seen: BTreeMap<&'static str, u32>,
}

struct World<'a> {
    wires: Wires<'a>,
    desk: Desk,
    /// The last start or end of each node's process.
    turned: BTreeMap<u32, Duration>,
    /// Nodes that have responded since then.
    open: BTreeSet<u32>,
}

/// Runs a seed with its files in this directory.
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
        told.wrong.push(format!(
            "{HEALED:?} after the removal of all faults, the cluster has not recovered ({busy} clients are busy)"
        ));
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

    /// Runs until this time, or until all clients are done.
    fn run_until(&mut self, at: Duration) {
        while self.wires.sim.elapsed() < at && !self.desk.told().is_checked {
            self.wires.step();
            let ended = std::mem::take(&mut self.desk.told().asked);
            for asked in ended {
                self.judge(&asked);
            }
        }
    }

    /// Checks an ended request.
    fn judge(&mut self, asked: &Asked) {
        let Asked { node, what, login, began, took, answer } = asked;
        let is_same_process = self.turned.get(node).is_none_or(|at| at < began);
        let is_undisturbed =
            is_same_process && self.wires.is_running(*node) && self.wires.is_quiet(*node, CLIENTS, *began);
        let is_guest = *login == LOGIN;
        let seen = match answer {
            Ok((_, body)) if what == HEALTH && body.to_string().contains("reason") => {
                Err("the reason is shown without a login")
            }
            Ok((200 | 503, _)) if what == HEALTH => Ok("health"),
            Ok((401, _)) if !is_guest => Ok("stranger turned away"),
            // A guess cannot be checked without the metastore.
            Ok((503, _)) if login.is_empty() => Err("a request without login was not refused"),
            Ok((200, _)) if is_guest => Ok("answered"),
            Ok((_, body)) if body["msg"].as_str().is_none_or(str::is_empty) => Err("refused without a message"),
            Ok((503, _)) => Ok("metastore not reached"),
            Ok((409, _)) if is_guest && what.starts_with("PUT /kylin/api/jobs/status") => Ok("refused"),
            Ok((404, _)) if is_guest && what.starts_with("PUT /kylin/api/cluster/nodes/") => Ok("refused"),
            Ok(_) => Err("unexpected status"),
            // A process that has just started does not listen yet.
            Err(e) if e.kind() == io::ErrorKind::TimedOut && *took < ANSWER_MAX => Ok("no answer"),
            Err(_) if is_undisturbed && self.open.contains(node) => Err("no answer although no fault affected it"),
            Err(_) => Ok("no answer"),
        };
        if is_same_process && answer.is_ok() {
            self.open.insert(*node);
        }
        let soon = if what == HEALTH { HEALTH_MAX } else { ANSWER_MAX };
        let is_late = is_undisturbed && answer.is_ok() && *took > soon;
        let seen = if is_late { Err("late answer") } else { seen };
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
