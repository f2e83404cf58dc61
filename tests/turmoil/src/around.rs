//! The effect handler of a simulated node: the shared metastore with delays and losses, and attempts that take time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kirin_core::ask::{Epoch, Fence, JobId, Target};
use kirin_core::effect::{Note, Why};
use kirin_core::event::End;
use kirin_core::{Answer, Ask, Event, Member, Node, NodeId, Outcome, Time};
use kirin_shell::link::{Address, Addresses};
use kirin_shell::report::{EndReport, Report, StepReport};
use kirin_shell::{CoreHandle, EffectHandler};
use kirin_sim::dice::Dice;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::truth::Shared;
use crate::wires::name;

/// The port on which links are accepted.
pub const LINK_PORT: u16 = 7071;

/// The time since the simulation began.
pub fn now() -> Duration {
    turmoil::sim_elapsed().expect("called by the software of a host")
}

/// The effect handler of one simulated node.
pub struct Around {
    truth: Shared,
    node: NodeId,
    seed: u64,
    /// The timeout of a request that does not reach the metastore.
    ask_timeout: Duration,
    dice: Mutex<Dice>,
    attempts: Arc<Mutex<BTreeMap<Fence, mpsc::UnboundedSender<Order>>>>,
}

enum Order {
    Proceed(u32),
    Stop,
}

/// The fate of a request on the network.
#[derive(Clone, Copy)]
struct Way {
    there: Duration,
    back: Duration,
    asked_in_vain: bool,
    answered_in_vain: bool,
}

impl Around {
    /// A handler for one run of a node.
    pub fn new(truth: Shared, node: NodeId, life: u32, seed: u64, ask_timeout: Duration) -> Self {
        let dice = Mutex::new(Dice::new(seed, &format!("around {node:?} {life}")));
        Self { truth, node, seed, ask_timeout, dice, attempts: Arc::default() }
    }

    fn way(&self) -> Way {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let mut delay = || Duration::from_millis(dice.between(1, 20));
        let (there, back) = (delay(), delay());
        Way { there, back, asked_in_vain: dice.chance(5_000), answered_in_vain: dice.chance(5_000) }
    }

    fn attempts(&self) -> MutexGuard<'_, BTreeMap<Fence, mpsc::UnboundedSender<Order>>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The duration of each step of a job.
pub fn steps(seed: u64, job: JobId) -> Vec<Duration> {
    let mut dice = Dice::new(seed, &format!("steps {}", job.0));
    (0..dice.between(1, 4)).map(|_| Duration::from_millis(dice.between(100, 2500))).collect()
}

impl EffectHandler for Around {
    fn ask(&self, ask: Ask, _: Option<Report>) -> BoxFuture<'static, Answer> {
        let (truth, node, way, patience) = (self.truth.clone(), self.node, self.way(), self.ask_timeout);
        async move {
            sleep(way.there).await;
            if way.asked_in_vain || truth.look().stranded.contains(&node) {
                sleep(patience).await;
                return Answer::Unknown;
            }
            let answer = truth.look().ask(now(), node, &ask);
            sleep(way.back).await;
            if way.answered_in_vain || truth.look().stranded.contains(&node) {
                sleep(patience).await;
                return Answer::Unknown;
            }
            answer
        }
        .boxed()
    }

    fn begin(&self, core: &CoreHandle, _: Member, fence: Fence, step: u32) {
        let (orders, mut inbox) = mpsc::unbounded_channel();
        self.attempts().insert(fence, orders);
        let (core, attempts, spans) = (core.clone(), self.attempts.clone(), steps(self.seed, fence.job));
        tokio::spawn(async move {
            let mut end = End::Ran(Outcome::Succeeded);
            'steps: for (step, span) in (0..).zip(spans).skip(step as usize) {
                tokio::select! {
                    biased;
                    () = stopped(&mut inbox) => {
                        end = End::Stopped;
                        break;
                    }
                    () = sleep(span) => {}
                }
                core.step_ended(fence, step, StepReport::default());
                loop {
                    match inbox.recv().await {
                        Some(Order::Proceed(next)) if next > step => break,
                        Some(Order::Proceed(_)) => {}
                        Some(Order::Stop) | None => {
                            end = End::Stopped;
                            break 'steps;
                        }
                    }
                }
            }
            attempts.lock().unwrap_or_else(PoisonError::into_inner).remove(&fence);
            core.attempt_ended(fence, end, EndReport::default());
        });
    }

    fn proceed(&self, fence: Fence, step: u32) {
        if let Some(orders) = self.attempts().get(&fence) {
            let _ = orders.send(Order::Proceed(step));
        }
    }

    fn cancel(&self, core: &CoreHandle, fence: Fence, _: Why) {
        match self.attempts().get(&fence) {
            Some(orders) => drop(orders.send(Order::Stop)),
            None => core.attempt_ended(fence, End::Stopped, EndReport::default()),
        }
    }

    fn lead(&self, _: Target, _: Epoch) {}

    fn resign(&self, _: Target) {}

    fn note(&self, _: Option<Member>, note: &Note) {
        self.truth.look().say(now(), &format!("{:?} notes {note:?}", self.node));
    }

    fn record(&mut self, _: &Node, _: Time, event: &Event) {
        self.truth.look().event(now(), self.node, event);
    }
}

async fn stopped(inbox: &mut mpsc::UnboundedReceiver<Order>) {
    while let Some(Order::Proceed(_)) = inbox.recv().await {}
}

/// The addresses of the simulated members.
pub struct Directory;

impl Addresses for Directory {
    fn find(&self, member: Member) -> BoxFuture<'_, Option<Address>> {
        let name = name(member.node.0);
        let at = format!("{name}:{LINK_PORT}");
        std::future::ready(Some(Address { name, at })).boxed()
    }
}
