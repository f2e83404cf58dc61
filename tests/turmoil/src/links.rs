//! Real shells with real links on simulated hosts, with faults from a seed and continuous checks.
//!
//! Three to five nodes run jobs. Wires are cut (in both or one direction) and held, processes die, and hosts lose
//! power. Then all faults are removed: the links must recover, and the jobs must finish.
//!
//! | check | when |
//! |---|---|
//! | no living member is fenced as exited; no member is fenced as silent before the timeout | with each fence |
//! | no step is committed twice, and no job is finished twice | with each commit |
//! | a dead process with an established link is fenced as exited at once, and its jobs are taken over | after each kill |
//! | a query is answered or fails within its deadline; without faults it is answered | with each query |
//! | an intruder without the secret has no effect and receives nothing | all the time |
//! | every node receives messages of every other; every job is finished | at the end |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kirin_core::ask::{JobId, Priority};
use kirin_core::{Answer, Ask, Event, JobState, Member, NodeId, Role, Settings, Span, Timing};
use kirin_shell::clock::Clock;
use kirin_shell::handshake::{Cluster, Entropy};
use kirin_shell::link::Question;
use kirin_shell::{CoreHandle, Links, Secret, Shell};
use kirin_sim::dice::Dice;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::around::{Around, Directory, LINK_PORT, now};
use crate::truth::{PROJECT, Shared, Truth};
use crate::wires::{Wires, name};

/// A number of slots that only the intruder requests.
pub const INTRUDERS_SLOTS: u32 = 77;

const TICK: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(3);
/// The period in which faults begin.
const FAULTS: (Duration, Duration) = (Duration::from_secs(16), Duration::from_secs(60));
/// After this time without faults, a wire has all its links: a link is pinged after five seconds at the latest, closed
/// after two more, and opened again.
const SETTLED: Duration = Duration::from_secs(9);
/// The maximum time from the death of a process to its fencing, and to new holders of its jobs.
const AT_ONCE: Duration = Duration::from_millis(2500);
/// The maximum duration of a query: three times the timeout of a link.
const QUESTION_MAX: Duration = Duration::from_millis(6100);
/// The maximum time from the removal of faults to the end of the last job.
const HEALED: Duration = Duration::from_secs(60);

fn timing() -> Timing {
    let span = |of: Duration| Span::from_millis(u64::try_from(of.as_millis()).unwrap_or(u64::MAX));
    Timing::new(span(TIMEOUT), span(INTERVAL)).expect("a safe pair")
}

/// A command of the test to a node.
enum Order {
    /// Sends a request without effect over the link to this member.
    Wish(Member),
    /// Sends a query to this member. Whether faults affected it is known when it has ended.
    Ask(Member),
}

/// An ended query.
struct Asked {
    from: u32,
    to: Member,
    began: Duration,
    ended: Duration,
    answered: bool,
}

/// The handles of a node's core and of its software.
type Way = (CoreHandle, mpsc::UnboundedSender<Order>);

/// The state that hosts and test share.
#[derive(Clone)]
struct Desk {
    truth: Shared,
    seed: u64,
    cores: Arc<Mutex<BTreeMap<u32, Way>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// The log, one line per event.
    pub log: Vec<String>,
    /// Violations.
    pub wrong: Vec<String>,
    /// The number of occurrences of situations that must occur over many seeds.
    pub seen: BTreeMap<&'static str, u32>,
}

/// The process of a node: [`kirin_shell`] as in production, with this test's effect handler.
async fn process(desk: Desk, host: u32) -> turmoil::Result {
    tokio::kernel::boot(turmoil::lookup(name(host)));
    let node = NodeId(host);
    let life = desk.truth.look().began(now(), node);
    let listener = TcpListener::bind(("0.0.0.0", LINK_PORT)).await?;
    let (clock, (core, inputs)) = (Clock::start(), CoreHandle::new());
    let cluster = Cluster { secret: Secret::new("known to the cluster"), id: "c".to_owned() };
    let keys = Entropy::seeded_for_simulation(Dice::new(desk.seed, &format!("links {host} {life}")).draw());
    let links = Links::new(cluster, &name(host), Arc::new(Directory), core.clone()).with_entropy(keys);
    let ask_timeout = Duration::from_micros(timing().ask_timeout().micros());
    let around = Around::new(desk.truth.clone(), node, life, desk.seed, ask_timeout);
    let settings = Settings { timing: timing(), ..Settings::new(Role::All) };
    let chance = Dice::new(desk.seed, &format!("core {host} {life}")).draw();
    let (shell, _me) = Shell::new(settings, chance, clock, around, links.clone(), core.clone(), inputs);
    tokio::spawn(links.clone().serve(listener));
    let (orders, inbox) = mpsc::unbounded_channel();
    desk.cores.lock().unwrap_or_else(PoisonError::into_inner).insert(host, (core, orders));
    tokio::spawn(obey(desk, host, links, inbox));
    shell.run().await;
    Ok(())
}

async fn obey(desk: Desk, from: u32, links: Links, mut inbox: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Wish(to) => links.wish(to, Event::DrainUndone),
            Order::Ask(to) => {
                let (links, asked, began) = (links.clone(), desk.asked.clone(), now());
                tokio::spawn(async move {
                    let answered = links.question(to, Question::View).await.is_ok_and(|view| !view.is_null());
                    let asked_now = Asked { from, to, began, ended: now(), answered };
                    asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked_now);
                });
            }
        }
    }
}

/// An intruder that speaks the protocol but does not know the secret.
async fn stranger(desk: Desk, host: u32) -> turmoil::Result {
    tokio::kernel::boot(turmoil::lookup(name(host)));
    let (core, _inputs) = CoreHandle::new();
    let cluster = Cluster { secret: Secret::new("guessed"), id: "c".to_owned() };
    let keys = Entropy::seeded_for_simulation(Dice::new(desk.seed, "stranger's links").draw());
    let links = Links::new(cluster, &name(host), Arc::new(Directory), core).with_entropy(keys);
    tokio::spawn(links.clone().serve(TcpListener::bind(("0.0.0.0", LINK_PORT)).await?));
    let mut dice = Dice::new(desk.seed, "stranger");
    loop {
        sleep(Duration::from_millis(dice.between(200, 2000))).await;
        let node = u32::try_from(dice.between(1, u64::from(host) - 1)).unwrap_or(1);
        let Some(member) = Member::new(node, 1) else { continue };
        links.wish(member, Event::SlotsWished(INTRUDERS_SLOTS));
        if links.question(member, Question::View).await.is_ok() {
            desk.truth.look().complain(now(), "the intruder received an answer");
        }
        *desk.truth.look().heard.entry(NodeId(host)).or_insert(0) += 1;
    }
}

/// An action on the simulated world.
#[derive(Clone, Debug)]
enum Act {
    Submit,
    Cut { from: u32, to: u32 },
    Mend { from: u32, to: u32 },
    Hold { a: u32, b: u32 },
    Release { a: u32, b: u32 },
    Kill(u32),
    PowerOff(u32),
    Boot(u32),
    Strand(u32),
    Unstrand(u32),
    Ask { from: u32, to: u32 },
}

/// All actions by time.
fn plan(seed: u64, nodes: u32) -> Vec<(Duration, Act)> {
    let mut dice = Dice::new(seed, "plan");
    let ms = Duration::from_millis;
    let mut plan = Vec::new();
    let host = |dice: &mut Dice| u32::try_from(dice.between(1, u64::from(nodes))).unwrap_or(1);
    let two = |dice: &mut Dice| {
        let a = host(dice);
        let b = (a + u32::try_from(dice.below(u64::from(nodes) - 1)).unwrap_or(0)) % nodes + 1;
        (a, b)
    };
    for _ in 0..40 {
        plan.push((ms(dice.between(3_000, 55_000)), Act::Submit));
    }
    for _ in 0..60 {
        let (from, to) = two(&mut dice);
        plan.push((ms(dice.between(8_000, 60_000)), Act::Ask { from, to }));
    }
    // One process dies without other faults.
    let victim = host(&mut dice);
    plan.push((ms(11_000), Act::Kill(victim)));
    plan.push((ms(15_000), Act::Boot(victim)));
    // Some seeds have few faults, and others have overlapping ones.
    let pause = dice.between(1_000, 12_000);
    let mut at = FAULTS.0;
    while at < FAULTS.1 {
        let (a, b) = two(&mut dice);
        let until = at + ms(dice.between(500, 20_000));
        let cut = |from, to, plan: &mut Vec<_>| {
            plan.push((at, Act::Cut { from, to }));
            plan.push((until, Act::Mend { from, to }));
        };
        match dice.below(10) {
            0 => {
                cut(a, b, &mut plan);
                cut(b, a, &mut plan);
            }
            1 | 2 => cut(a, b, &mut plan),
            3 => {
                let one_way = dice.chance(300_000);
                for other in (1..=nodes).filter(|other| *other != a) {
                    cut(a, other, &mut plan);
                    if !one_way {
                        cut(other, a, &mut plan);
                    }
                }
            }
            4 => {
                plan.push((at, Act::Hold { a, b }));
                plan.push((until.min(at + ms(8_000)), Act::Release { a, b }));
            }
            5 => {
                for other in (1..=nodes).filter(|other| *other != a) {
                    cut(a, other, &mut plan);
                    cut(other, a, &mut plan);
                }
                plan.push((at, Act::Strand(a)));
                plan.push((until, Act::Unstrand(a)));
            }
            6 => {
                plan.push((at, Act::PowerOff(a)));
                plan.push((until, Act::Boot(a)));
            }
            7 => {
                plan.push((at, Act::Kill(a)));
                plan.push((at, Act::Boot(a)));
            }
            _ => {
                plan.push((at, Act::Kill(a)));
                plan.push((at + ms(4_000 + dice.below(8_000)), Act::Boot(a)));
            }
        }
        at += ms(dice.between(pause / 2, pause * 2));
    }
    // A stable sort, so that actions with equal times keep their order.
    plan.sort_by_key(|(at, _)| *at);
    plan
}

/// A dead process with established links.
struct Death {
    at: Duration,
    member: Member,
    /// The nodes that must detect the death, unless faults affect them or their wires.
    witnesses: Vec<u32>,
    jobs: Vec<JobId>,
}

struct World<'a> {
    wires: Wires<'a>,
    desk: Desk,
    nodes: u32,
    deaths: Vec<Death>,
    /// Since when the metastore responds to a node again.
    unstranded: BTreeMap<u32, Duration>,
    submitted: u32,
    seen: BTreeMap<&'static str, u32>,
}

/// Runs a seed.
pub fn run(seed: u64) -> Ran {
    let mut dice = Dice::new(seed, "world");
    let nodes = u32::try_from(dice.between(3, 5)).unwrap_or(3);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .simulation_duration(Duration::from_secs(3600))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(dice.between(2, 60)))
        .tcp_capacity(1024)
        .build();
    tokio::kernel::reset();
    let desk = Desk { truth: Shared::new(TIMEOUT), seed, cores: Arc::default(), asked: Arc::default() };
    for host in 1..=nodes {
        let desk = desk.clone();
        sim.host(name(host), move || process(desk.clone(), host));
    }
    let intruder = desk.clone();
    sim.host(name(nodes + 1), move || stranger(intruder.clone(), nodes + 1));
    let wires = Wires::new(sim, nodes + 1);
    let mut world = World {
        wires,
        desk,
        nodes,
        deaths: Vec::new(),
        unstranded: BTreeMap::new(),
        submitted: 0,
        seen: BTreeMap::new(),
    };
    for (at, act) in plan(seed, nodes) {
        world.run_until(at);
        world.act(&act);
    }
    world.run_until(FAULTS.1 + Duration::from_secs(1));
    world.heal();
    let truth = world.desk.truth.look();
    let (log, wrong) = (truth.log.clone(), truth.wrong.clone());
    drop(truth);
    Ran { log, wrong, seen: world.seen }
}

impl World<'_> {
    fn now(&self) -> Duration {
        self.wires.sim.elapsed()
    }

    fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_insert(0) += 1;
    }

    fn run_until(&mut self, at: Duration) {
        while self.now() < at {
            self.step();
        }
    }

    fn step(&mut self) {
        self.wires.step();
        self.judge_questions();
        while self.deaths.first().is_some_and(|death| self.now() >= death.at + AT_ONCE) {
            let death = self.deaths.remove(0);
            self.judge(&death);
        }
    }

    fn complain(&self, text: &str) {
        self.desk.truth.look().complain(self.now(), text);
    }

    // --- what is done ---

    fn act(&mut self, act: &Act) {
        self.desk.truth.look().say(self.now(), &format!("{act:?}"));
        match *act {
            Act::Submit => self.submit(),
            Act::Cut { from, to } => self.wires.cut(from, to),
            Act::Mend { from, to } => self.wires.mend(from, to),
            Act::Hold { a, b } => {
                if self.wires.hold(a, b) {
                    self.see("held");
                }
            }
            Act::Release { a, b } => self.wires.release(a, b),
            Act::Kill(host) => self.kill(host),
            Act::PowerOff(host) => {
                self.wires.power_off(host);
                self.ended(host);
                self.see("without power");
            }
            Act::Boot(host) => {
                self.wires.boot(host);
                // It joins again, so its death no longer needs to be detected.
                self.deaths.retain(|death| death.member.node.0 != host);
            }
            Act::Strand(host) => drop(self.desk.truth.look().stranded.insert(NodeId(host))),
            Act::Unstrand(host) => {
                self.desk.truth.look().stranded.remove(&NodeId(host));
                self.unstranded.insert(host, self.now());
            }
            Act::Ask { from, to } => {
                let to = self.desk.truth.look().member_since(NodeId(to));
                if let Some((to, _)) = to {
                    self.tell(from, Order::Ask(to));
                }
            }
        }
    }

    fn tell(&self, host: u32, order: Order) {
        let cores = self.desk.cores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, orders)) = cores.get(&host).filter(|_| self.wires.is_running(host)) {
            // A dead node ignores commands.
            let _ = orders.send(order);
        }
    }

    /// Submits a job through a node, as its API does: first the commit, then an event to the core.
    fn submit(&mut self) {
        self.submitted += 1;
        let host = self.submitted % self.nodes + 1;
        let ask = Ask::Submit {
            project: PROJECT,
            priority: Priority(3),
            placed: None,
            external: false,
            needs: kirin_core::Capabilities::NONE,
            key: u128::from(self.submitted),
        };
        let answer = self.desk.truth.look().ask(self.now(), NodeId(host), &ask);
        let cores = self.desk.cores.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Answer::Accepted { row, .. }, Some((core, _))) = (answer, cores.get(&host)) {
            core.tell(Event::Told(vec![row]));
        }
    }

    fn ended(&mut self, host: u32) {
        self.desk.truth.look().ended(NodeId(host));
    }

    fn kill(&mut self, host: u32) {
        if !self.wires.is_running(host) {
            return;
        }
        let now = self.now();
        let settled = now.saturating_sub(SETTLED);
        let death = {
            let truth = self.desk.truth.look();
            let victim = truth.member_since(NodeId(host)).filter(|(_, since)| *since < settled);
            victim.and_then(|(member, _)| {
                let others: Vec<_> = truth.store.living().map(|row| row.member).filter(|m| *m != member).collect();
                let witnesses: Vec<u32> = others
                    .iter()
                    .filter(|m| truth.member_since(m.node).is_some_and(|(is, since)| is == **m && since < settled))
                    .map(|m| m.node.0)
                    .filter(|other| self.is_well(&truth, *other, settled) && self.wires.is_quiet(host, *other, settled))
                    .collect();
                // At least one of its three observers is a witness.
                let is_seen = others.len() - witnesses.len() < others.len().min(3);
                let jobs =
                    truth.store.jobs().filter(|job| job.state == JobState::Running && job.holder == Some(member));
                let jobs = jobs.map(|job| job.id).collect();
                (is_seen && self.is_well(&truth, host, settled)).then_some(Death { at: now, member, witnesses, jobs })
            })
        };
        self.deaths.extend(death);
        self.wires.kill(host);
        self.ended(host);
        self.see("killed");
    }

    /// Whether the metastore has responded to the node all the time since then.
    fn is_well(&self, truth: &Truth, host: u32, since: Duration) -> bool {
        !truth.stranded.contains(&NodeId(host)) && self.unstranded.get(&host).is_none_or(|at| *at < since)
    }

    // --- what is checked ---

    /// Checks the consequences of a death after some time.
    fn judge(&mut self, death: &Death) {
        let host = death.member.node.0;
        let truth = self.desk.truth.look();
        let is_undisturbed = |other: &u32| {
            self.wires.is_running(*other)
                && self.wires.is_quiet(host, *other, death.at)
                && self.is_well(&truth, *other, death.at)
                && truth.member_since(NodeId(*other)).is_some_and(|(_, since)| since < death.at)
        };
        if self.wires.is_running(host) || !death.witnesses.iter().all(is_undisturbed) {
            return;
        }
        let fenced = truth.fences.iter().find(|fenced| fenced.member == death.member).copied();
        let is_orphan = |job: &&JobId| truth.store.job(**job).is_some_and(|row| row.holder == Some(death.member));
        let orphans: Vec<_> = death.jobs.iter().filter(is_orphan).collect();
        let complaint = match fenced {
            None => Some(format!("the death of {:?} was not detected since {:?}", death.member, death.at)),
            Some(fenced) if fenced.evidence != kirin_core::Evidence::Exited => {
                Some(format!("{:?} died with established links and was {fenced:?}", death.member))
            }
            Some(_) if !orphans.is_empty() => Some(format!("no member took over {orphans:?} of {:?}", death.member)),
            Some(_) => None,
        };
        let had_jobs = !death.jobs.is_empty();
        drop(truth);
        match complaint {
            Some(complaint) => self.complain(&complaint),
            None => self.see("death noticed at once"),
        }
        if had_jobs {
            self.see("jobs taken over at once");
        }
    }

    fn judge_questions(&mut self) {
        let ended = std::mem::take(&mut *self.desk.asked.lock().unwrap_or_else(PoisonError::into_inner));
        for asked in ended {
            let took = asked.ended.saturating_sub(asked.began);
            if took > QUESTION_MAX {
                self.complain(&format!("a query to {:?} took {took:?}", asked.to));
            }
            let host = asked.to.node.0;
            let is_quiet = self.wires.is_quiet(asked.from, host, asked.began)
                && self
                    .desk
                    .truth
                    .look()
                    .member_since(asked.to.node)
                    .is_some_and(|(is, at)| is == asked.to && at < asked.began);
            if is_quiet && !asked.answered {
                self.complain(&format!(
                    "no answer from n{} to {:?} although no fault affected it",
                    asked.from, asked.to
                ));
            }
            self.see(if asked.answered { "question answered" } else { "question failed" });
        }
    }

    /// Removes all faults. Then everything must finish.
    fn heal(&mut self) {
        self.desk.truth.look().say(self.now(), "healed");
        self.wires.heal();
        self.desk.truth.look().stranded.clear();
        for host in 1..=self.nodes {
            self.unstranded.insert(host, self.now());
        }
        self.run_until(self.now() + SETTLED);
        self.all_members_are_linked();
        let until = self.now() + HEALED;
        while self.now() < until && self.desk.truth.look().store.open().next().is_some() {
            self.step();
        }
        let truth = self.desk.truth.look();
        let unfinished: Vec<_> =
            truth.store.jobs().filter(|job| job.state != JobState::Succeed).map(|job| (job.id, job.state)).collect();
        let (accepted, strange) = (truth.store.jobs().count(), truth.heard.get(&NodeId(self.nodes + 1)).copied());
        drop(truth);
        if !unfinished.is_empty() {
            self.complain(&format!("these jobs are not finished: {unfinished:?}"));
        }
        if accepted != self.submitted as usize {
            self.complain(&format!("{} jobs were submitted, but {accepted} exist", self.submitted));
        }
        for _ in 0..strange.unwrap_or(0) {
            self.see("stranger turned away");
        }
        let silent =
            self.desk.truth.look().fences.iter().filter(|f| f.evidence == kirin_core::Evidence::Silent).count();
        for _ in 0..silent {
            self.see("silent member fenced");
        }
    }

    /// Checks that a request arrives over each link.
    fn all_members_are_linked(&mut self) {
        for from in 1..=self.nodes {
            for to in (1..=self.nodes).filter(|to| *to != from) {
                let Some((member, _)) = self.desk.truth.look().member_since(NodeId(to)) else {
                    self.complain(&format!("n{to} is not a member after all faults were removed"));
                    continue;
                };
                let heard = |world: &Self| world.desk.truth.look().heard.get(&NodeId(to)).copied().unwrap_or(0);
                let before = heard(self);
                self.tell(from, Order::Wish(member));
                self.tell(from, Order::Ask(member));
                self.run_until(self.now() + Duration::from_millis(1500));
                if heard(self) == before {
                    self.complain(&format!("n{to} receives nothing from n{from}"));
                } else {
                    self.see("link back after healing");
                }
            }
        }
    }
}
