//! The shell: the loop that passes events to the core and carries out its effects. It makes no decisions.
//!
//! One task owns the core, and one channel is its only input. Each effect is one I/O call; its result returns through
//! that channel as the next event. Data that events carry for people (texts, results, logs) stays here, outside the
//! core.
//!
//! | effect | carried out by |
//! |---|---|
//! | watch, probe, nudge | [`Links`] |
//! | all others | the method of [`EffectHandler`] with the same name |

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use kirin_core::ask::{Epoch, Fence, JobId, Target};
use kirin_core::effect::{AskId, Note, Why};
use kirin_core::event::End;
use kirin_core::{Answer, Ask, Effect, Effects, Event, Member, Node, Settings, Time};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::link::{Links, Question};
use crate::report::{EndReport, Report, StepReport};

/// With fewer reports than this, old ones are not searched for.
const REPORTS_MIN: usize = 64;

type Look = Box<dyn FnOnce(&mut Node, Time) + Send>;

/// The living members, as one node's core sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The members, sorted.
    pub members: Vec<Member>,
    /// Since when the list has been the same.
    pub since: Time,
}

/// An input of the shell's channel.
enum Input {
    Event(Event),
    StepEnded { fence: Fence, step: u32, report: StepReport },
    AttemptEnded { fence: Fence, end: End, report: EndReport },
    Look(Look),
}

/// A handle to a node's core. Cheap to clone. It does not keep the core alive.
#[derive(Clone)]
pub struct CoreHandle {
    inputs: mpsc::UnboundedSender<Input>,
    seen: watch::Receiver<Seen>,
    trusted_until: watch::Receiver<Time>,
}

/// The receiving end of a [`CoreHandle`], for the shell.
pub struct Inputs(mpsc::UnboundedReceiver<Input>, watch::Sender<Seen>, watch::Sender<Time>);

impl CoreHandle {
    /// A handle, and the receiving end for the shell.
    pub fn new() -> (Self, Inputs) {
        let (inputs, inbox) = mpsc::unbounded_channel();
        let (sees, seen) = watch::channel(Seen { members: Vec::new(), since: Time::ZERO });
        let (trusts, trusted_until) = watch::channel(Time::ZERO);
        (Self { inputs, seen, trusted_until }, Inputs(inbox, sees, trusts))
    }

    /// Until when the member trusts itself; each successful beat changes it.
    pub fn trusted_until(&self) -> watch::Receiver<Time> {
        self.trusted_until.clone()
    }

    /// The living members, as the core sees them. Changes when a member joins or dies, not with every beat.
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }

    fn put(&self, input: Input) {
        // A closed channel means that the node has ended, so the input is obsolete.
        let _ = self.inputs.send(input);
    }

    /// Sends an event to the core.
    pub fn tell(&self, event: Event) {
        self.put(Input::Event(event));
    }

    /// Reports that a step of an attempt is ready to be committed, with its result.
    pub fn step_ended(&self, fence: Fence, step: u32, report: StepReport) {
        self.put(Input::StepEnded { fence, step, report });
    }

    /// Reports that an attempt has ended.
    pub fn attempt_ended(&self, fence: Fence, end: End, report: EndReport) {
        self.put(Input::AttemptEnded { fence, end, report });
    }

    /// Evaluates `at` on the core. `None` if the node has ended.
    pub async fn look<T: Send + 'static>(&self, at: impl FnOnce(&Node, Time) -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.put(Input::Look(Box::new(move |node, now| {
            // The caller may have stopped waiting.
            let _ = reply.send(at(node, now));
        })));
        answer.await.ok()
    }

    /// Answers a question from another node.
    pub async fn reply(&self, question: Question) -> serde_json::Value {
        let reply = match question {
            Question::View => self.look(|node, now| serde_json::to_value(node.view(now))).await,
            Question::Why(job) => self.look(move |node, now| serde_json::to_value(node.why(now, JobId(job)))).await,
        };
        reply.and_then(Result::ok).unwrap_or_default()
    }
}

#[cfg(test)]
impl Inputs {
    /// The events received so far.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Ok(input) = self.0.try_recv() {
            if let Input::Event(event) = input {
                events.push(event);
            }
        }
        events
    }
}

/// Carries out the effects of one node's core. Each method only starts one I/O call; its result returns through the
/// [`CoreHandle`].
pub trait EffectHandler: Send + 'static {
    /// Sends a request to the metastore. The answer is `Failed` if the request certainly had no effect, and `Unknown`
    /// if it may have had one.
    fn ask(&self, ask: Ask, report: Option<Report>) -> BoxFuture<'static, Answer>;

    /// Starts the attempt at step `step`, as the member `by`.
    fn begin(&self, handle: &CoreHandle, by: Member, fence: Fence, step: u32);

    /// The attempt's previous step is committed.
    fn proceed(&self, fence: Fence, step: u32);

    /// Stops the attempt. Reports its end even if it does not run.
    fn cancel(&self, handle: &CoreHandle, fence: Fence, why: Why);

    /// This member holds the claim.
    fn lead(&self, target: Target, epoch: Epoch);

    /// This member no longer holds the claim.
    fn resign(&self, target: Target);

    /// Records a note for people.
    fn note(&self, by: Option<Member>, note: &Note);

    /// Receives every event before the core does.
    fn record(&mut self, core: &Node, now: Time, event: &Event);
}

/// The event loop of one node.
pub struct Shell<O> {
    core: Node,
    clock: Clock,
    handler: O,
    links: Links,
    handle: CoreHandle,
    inbox: mpsc::UnboundedReceiver<Input>,
    steps: BTreeMap<Fence, Arc<StepReport>>,
    ends: BTreeMap<Fence, Arc<EndReport>>,
    /// At this number of reports, those of ended attempts are dropped.
    forget_at: usize,
    me: watch::Sender<Option<Member>>,
    seen: watch::Sender<Seen>,
    trusted_until: watch::Sender<Time>,
}

impl<O: EffectHandler> Shell<O> {
    /// Creates a shell around a core that is about to join. `seed` seeds the core's random choices. The receiver
    /// contains the member under which the node runs.
    pub fn new(
        settings: Settings,
        seed: u64,
        clock: Clock,
        handler: O,
        links: Links,
        handle: CoreHandle,
        inputs: Inputs,
    ) -> (Self, watch::Receiver<Option<Member>>) {
        let (me, is) = watch::channel(None);
        let core = Node::start(settings, seed, clock.now());
        let Inputs(inbox, seen, trusted_until) = inputs;
        let (steps, ends) = (BTreeMap::new(), BTreeMap::new());
        let forget_at = REPORTS_MIN;
        (Self { core, clock, handler, links, handle, inbox, steps, ends, forget_at, me, seen, trusted_until }, is)
    }

    /// Runs until the member has left.
    pub async fn run(mut self) {
        let mut input = Input::Event(Event::Woke);
        loop {
            let effects = self.take_in(input);
            if self.me.borrow().as_ref() != self.core.me().as_ref() {
                self.links.identify(self.core.me());
                self.me.send_replace(self.core.me());
            }
            for effect in effects {
                if matches!(effect, Effect::Exit) {
                    return;
                }
                self.carry_out(effect);
            }
            input = self.next().await;
        }
    }

    async fn next(&mut self) -> Input {
        let due = self.clock.instant(self.core.deadline().0);
        tokio::select! {
            biased;
            input = self.inbox.recv() => input.unwrap_or(Input::Event(Event::Woke)),
            () = sleep_until(due) => Input::Event(Event::Woke),
        }
    }

    fn take_in(&mut self, input: Input) -> Effects {
        let now = self.clock.now();
        let event = match input {
            Input::Event(event) => event,
            Input::StepEnded { fence, step, report } => {
                self.steps.insert(fence, Arc::new(report));
                Event::StepEnded { fence, step }
            }
            Input::AttemptEnded { fence, end, report } => {
                self.ends.insert(fence, Arc::new(report));
                Event::AttemptEnded { fence, end }
            }
            Input::Look(look) => {
                look(&mut self.core, now);
                return Effects::new();
            }
        };
        tracing::trace!(?now, ?event, "event");
        self.handler.record(&self.core, now, &event);
        let is_list = matches!(event, Event::Answered { answer: Answer::Listed { .. }, .. });
        let effects = self.core.step(now, event);
        let until = self.core.trusted_until();
        // Before the effects: an attempt that begins reads it.
        self.trusted_until.send_if_modified(|known| std::mem::replace(known, until) != until);
        if is_list || effects.iter().any(|effect| matches!(effect, Effect::Note(Note::Fenced { .. }))) {
            self.see(now);
        }
        self.forget();
        effects
    }

    /// Notifies subscribers if the list of living members has changed.
    fn see(&self, now: Time) {
        let members: Vec<Member> = self.core.view(now).members.iter().map(|peer| peer.row.member).collect();
        self.seen.send_if_modified(|seen| {
            let changed = seen.members != members;
            if changed {
                *seen = Seen { members, since: now };
            }
            changed
        });
    }

    /// Occasionally drops the reports of ended attempts, which no request needs any more.
    fn forget(&mut self) {
        if self.steps.len() + self.ends.len() < self.forget_at {
            return;
        }
        let core = &self.core;
        self.steps.retain(|fence, _| core.attempts_under(*fence));
        self.ends.retain(|fence, _| core.attempts_under(*fence));
        // Twice the number in use, so the cost of the sweep per report is small.
        self.forget_at = REPORTS_MIN.max(2 * (self.steps.len() + self.ends.len()));
    }

    fn carry_out(&mut self, effect: Effect) {
        tracing::trace!(?effect, "effect");
        let handler = &self.handler;
        match effect {
            Effect::Ask { id, ask } => self.ask(id, ask),
            Effect::Begin { fence, step } => {
                // Only a member is granted attempts.
                let Some(by) = self.core.me() else { return };
                handler.begin(&self.handle, by, fence, step);
            }
            Effect::Proceed { fence, step } => {
                handler.proceed(fence, step);
                self.steps.remove(&fence);
            }
            Effect::Cancel { fence, why } => handler.cancel(&self.handle, fence, why),
            Effect::Watch(members) => self.links.watch(&members),
            Effect::Probe(member) => self.links.probe(member),
            Effect::Nudge { to, nudge } => self.links.nudge(to, nudge),
            Effect::Lead { target, epoch } => handler.lead(target, epoch),
            Effect::Resign(target) => handler.resign(target),
            Effect::Note(note) => handler.note(self.core.me(), &note),
            Effect::Exit => {}
        }
    }

    fn ask(&self, id: AskId, ask: Ask) {
        let report = match &ask {
            Ask::CommitStep { fence, .. } => self.steps.get(fence).cloned().map(Report::Step),
            Ask::Finish { fence, .. } => self.ends.get(fence).cloned().map(Report::End),
            _ => None,
        };
        let (answer, handle) = (self.handler.ask(ask, report), self.handle.clone());
        tokio::spawn(async move {
            let answer = answer.await;
            handle.tell(Event::Answered { id, answer });
        });
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use kirin_core::{MemberRow, MemberState, Outcome, Role};

    use super::*;
    use crate::handshake::Cluster;
    use crate::link::{Address, Addresses};
    use crate::secret::Secret;

    struct Nothing;

    impl Addresses for Nothing {
        fn find(&self, _: Member) -> BoxFuture<'_, Option<Address>> {
            Box::pin(std::future::ready(None))
        }
    }

    impl EffectHandler for Nothing {
        fn ask(&self, _: Ask, _: Option<Report>) -> BoxFuture<'static, Answer> {
            Box::pin(std::future::pending())
        }
        fn begin(&self, _: &CoreHandle, _: Member, _: Fence, _: u32) {}
        fn proceed(&self, _: Fence, _: u32) {}
        fn cancel(&self, _: &CoreHandle, _: Fence, _: Why) {}
        fn lead(&self, _: Target, _: Epoch) {}
        fn resign(&self, _: Target) {}
        fn note(&self, _: Option<Member>, _: &Note) {}
        fn record(&mut self, _: &Node, _: Time, _: &Event) {}
    }

    fn shell() -> (Shell<Nothing>, CoreHandle) {
        let (handle, inputs) = CoreHandle::new();
        let cluster = Cluster { secret: Secret::new("s"), id: "c".to_owned() };
        let links = Links::new(cluster, "a", Arc::new(Nothing), handle.clone());
        let settings = Settings::new(Role::All);
        let (shell, _) = Shell::new(settings, 1, Clock::start(), Nothing, links, handle.clone(), inputs);
        (shell, handle)
    }

    #[test]
    fn the_list_of_living_members_is_published_only_when_it_changes() {
        let (mut shell, handle) = shell();
        let mut seen = handle.seen();
        let [me, other] = [1, 2].map(|node| Member::new(node, 1).expect("an incarnation"));
        // This answer fits only beats and lists.
        let listed = |beat: u64, members: &[Member]| {
            let row = |member: &Member| MemberRow {
                member: *member,
                state: MemberState::Up,
                role: Role::All,
                slots: 30,
                can: kirin_core::Capabilities::ALL,
                beat,
            };
            let members = members.iter().map(row).collect();
            Answer::Listed { members, claims: Vec::new(), projects: Vec::new() }
        };
        let answer = |shell: &mut Shell<Nothing>, effects: Effects, answer: Answer| {
            let id = effects.iter().find_map(|effect| match effect {
                Effect::Ask { id, ask: Ask::Join { .. } | Ask::Beat { .. } | Ask::List } => Some(*id),
                _ => None,
            });
            shell.take_in(Input::Event(Event::Answered { id: id.expect("it asks"), answer }))
        };
        let asks = shell.take_in(Input::Event(Event::Woke));
        let asks = answer(&mut shell, asks, Answer::Joined(me));
        assert!(!seen.has_changed().expect("the shell lives"), "no member is listed yet");
        answer(&mut shell, asks, listed(1, &[me]));
        assert_eq!(seen.borrow_and_update().members, [me]);
        let asks = shell.take_in(Input::Event(Event::ListsChanged));
        answer(&mut shell, asks, listed(2, &[me]));
        assert!(!seen.has_changed().expect("the shell lives"), "only a beat is new");
        let asks = shell.take_in(Input::Event(Event::ListsChanged));
        answer(&mut shell, asks, listed(3, &[me, other]));
        assert_eq!(seen.borrow_and_update().members, [me, other]);
    }

    #[test]
    fn reports_of_ended_attempts_are_dropped() {
        let (mut shell, _handle) = shell();
        for job in 1..=1_000 {
            let fence = Fence { job: JobId(job), epoch: Epoch(1) };
            drop(shell.take_in(Input::StepEnded { fence, step: 0, report: StepReport::default() }));
            let end = End::Ran(Outcome::Succeeded);
            drop(shell.take_in(Input::AttemptEnded { fence, end, report: EndReport::default() }));
        }
        let kept = shell.steps.len() + shell.ends.len();
        assert!(kept <= REPORTS_MIN, "{kept} reports are kept");
    }
}
