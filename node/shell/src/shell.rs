//! The shell: the loop that tells the core what happened and carries out what it orders. It decides nothing.
//!
//! One task owns the core; one channel is the only way in. Each effect is one I/O call whose result comes back through that
//! channel as the next event. What an event carries for people (texts, results, logs) stays here, beside the core.
//!
//! | order | carried out by |
//! |---|---|
//! | watch, probe, nudge | [`Links`] |
//! | all others | [`Outside`], by the method of the same name |

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

/// Fewer reports than this are not worth looking through.
const REPORTS_MIN: usize = 64;

type Look = Box<dyn FnOnce(&mut Node, Time) + Send>;

/// Who is alive, as one node's core has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The members, sorted.
    pub members: Vec<Member>,
    /// Since when these and no others.
    pub since: Time,
}

/// What comes in through the one channel.
enum Input {
    Fact(Event),
    StepEnded { fence: Fence, step: u32, report: StepReport },
    AttemptEnded { fence: Fence, end: End, report: EndReport },
    Look(Look),
}

/// The way to a node's core: cheap to clone, safe to keep.
#[derive(Clone)]
pub struct Mind {
    inputs: mpsc::UnboundedSender<Input>,
    seen: watch::Receiver<Seen>,
    trusted_until: watch::Receiver<Time>,
}

/// The receiving end of a [`Mind`], for the shell.
pub struct Inputs(mpsc::UnboundedReceiver<Input>, watch::Sender<Seen>, watch::Sender<Time>);

impl Mind {
    /// A way in, and the end at which the shell listens.
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

    /// Who is alive, as the core has it; changes when a member comes or goes, and not with their beats.
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }

    fn put(&self, input: Input) {
        // A closed channel means that the node has ended: nobody needs the fact any more.
        let _ = self.inputs.send(input);
    }

    /// Tells a fact.
    pub fn tell(&self, event: Event) {
        self.put(Input::Fact(event));
    }

    /// An attempt's step is ready to be committed, with this result.
    pub fn step_ended(&self, fence: Fence, step: u32, report: StepReport) {
        self.put(Input::StepEnded { fence, step, report });
    }

    /// An attempt is over.
    pub fn attempt_ended(&self, fence: Fence, end: End, report: EndReport) {
        self.put(Input::AttemptEnded { fence, end, report });
    }

    /// Looks something up in the core. `None` if the node has ended.
    pub async fn look<T: Send + 'static>(&self, at: impl FnOnce(&Node, Time) -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.put(Input::Look(Box::new(move |node, now| {
            // Whoever asked may have gone.
            let _ = reply.send(at(node, now));
        })));
        answer.await.ok()
    }

    /// Answers a question of another node.
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
    /// The facts that came in so far.
    pub(crate) fn facts(&mut self) -> Vec<Event> {
        let mut facts = Vec::new();
        while let Ok(input) = self.0.try_recv() {
            if let Input::Fact(event) = input {
                facts.push(event);
            }
        }
        facts
    }
}

/// What carries out the orders of one node's core. Each method is one I/O call that is only begun: its result comes back
/// through the [`Mind`].
pub trait Outside: Send + 'static {
    /// Asks the metastore. The answer is `Failed` if the request certainly had no effect, `Unknown` if it may have had one.
    fn ask(&self, ask: Ask, report: Option<Report>) -> BoxFuture<'static, Answer>;

    /// Starts the attempt at step `step`, as the member `by`.
    fn begin(&self, mind: &Mind, by: Member, fence: Fence, step: u32);

    /// The attempt's step before this one is committed.
    fn proceed(&self, fence: Fence, step: u32);

    /// Stops the attempt. If none runs, says so.
    fn cancel(&self, mind: &Mind, fence: Fence, why: Why);

    /// This member holds the claim.
    fn lead(&self, target: Target, epoch: Epoch);

    /// This member does not hold the claim any more.
    fn resign(&self, target: Target);

    /// Something that people will want to know.
    fn note(&self, by: Option<Member>, note: &Note);

    /// Sees every event before the core does.
    fn record(&mut self, core: &Node, now: Time, event: &Event);
}

/// One node's loop.
pub struct Shell<O> {
    core: Node,
    clock: Clock,
    outside: O,
    links: Links,
    mind: Mind,
    inbox: mpsc::UnboundedReceiver<Input>,
    steps: BTreeMap<Fence, Arc<StepReport>>,
    ends: BTreeMap<Fence, Arc<EndReport>>,
    /// With so many reports, those of attempts that are over are dropped.
    forget_at: usize,
    me: watch::Sender<Option<Member>>,
    seen: watch::Sender<Seen>,
    trusted_until: watch::Sender<Time>,
}

impl<O: Outside> Shell<O> {
    /// A shell around a core that is about to join, whose chance comes from `seed`. The receiver tells as which member it
    /// runs.
    pub fn new(
        settings: Settings,
        seed: u64,
        clock: Clock,
        outside: O,
        links: Links,
        mind: Mind,
        inputs: Inputs,
    ) -> (Self, watch::Receiver<Option<Member>>) {
        let (me, is) = watch::channel(None);
        let core = Node::start(settings, seed, clock.now());
        let Inputs(inbox, seen, trusted_until) = inputs;
        let (steps, ends) = (BTreeMap::new(), BTreeMap::new());
        let forget_at = REPORTS_MIN;
        (Self { core, clock, outside, links, mind, inbox, steps, ends, forget_at, me, seen, trusted_until }, is)
    }

    /// Runs until the member has left.
    pub async fn run(mut self) {
        let mut input = Input::Fact(Event::Woke);
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
            input = self.inbox.recv() => input.unwrap_or(Input::Fact(Event::Woke)),
            () = sleep_until(due) => Input::Fact(Event::Woke),
        }
    }

    fn take_in(&mut self, input: Input) -> Effects {
        let now = self.clock.now();
        let event = match input {
            Input::Fact(event) => event,
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
        tracing::trace!(?now, ?event, "fact");
        self.outside.record(&self.core, now, &event);
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

    /// Tells who is interested if the members are others than before.
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

    /// Drops now and then what attempts reported that are over: it is sent with no request any more.
    fn forget(&mut self) {
        if self.steps.len() + self.ends.len() < self.forget_at {
            return;
        }
        let core = &self.core;
        self.steps.retain(|fence, _| core.attempts_under(*fence));
        self.ends.retain(|fence, _| core.attempts_under(*fence));
        // Twice as many as are needed: so the sweep costs next to nothing for each of them.
        self.forget_at = REPORTS_MIN.max(2 * (self.steps.len() + self.ends.len()));
    }

    fn carry_out(&mut self, effect: Effect) {
        tracing::trace!(?effect, "order");
        let outside = &self.outside;
        match effect {
            Effect::Ask { id, ask } => self.ask(id, ask),
            Effect::Begin { fence, step } => {
                // Only a member is granted anything.
                let Some(by) = self.core.me() else { return };
                outside.begin(&self.mind, by, fence, step);
            }
            Effect::Proceed { fence, step } => {
                outside.proceed(fence, step);
                self.steps.remove(&fence);
            }
            Effect::Cancel { fence, why } => outside.cancel(&self.mind, fence, why),
            Effect::Watch(members) => self.links.watch(&members),
            Effect::Probe(member) => self.links.probe(member),
            Effect::Nudge { to, nudge } => self.links.nudge(to, nudge),
            Effect::Lead { target, epoch } => outside.lead(target, epoch),
            Effect::Resign(target) => outside.resign(target),
            Effect::Note(note) => outside.note(self.core.me(), &note),
            Effect::Exit => {}
        }
    }

    fn ask(&self, id: AskId, ask: Ask) {
        let report = match &ask {
            Ask::CommitStep { fence, .. } => self.steps.get(fence).cloned().map(Report::Step),
            Ask::Finish { fence, .. } => self.ends.get(fence).cloned().map(Report::End),
            _ => None,
        };
        let (answer, mind) = (self.outside.ask(ask, report), self.mind.clone());
        tokio::spawn(async move {
            let answer = answer.await;
            mind.tell(Event::Answered { id, answer });
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

    impl Outside for Nothing {
        fn ask(&self, _: Ask, _: Option<Report>) -> BoxFuture<'static, Answer> {
            Box::pin(std::future::pending())
        }
        fn begin(&self, _: &Mind, _: Member, _: Fence, _: u32) {}
        fn proceed(&self, _: Fence, _: u32) {}
        fn cancel(&self, _: &Mind, _: Fence, _: Why) {}
        fn lead(&self, _: Target, _: Epoch) {}
        fn resign(&self, _: Target) {}
        fn note(&self, _: Option<Member>, _: &Note) {}
        fn record(&mut self, _: &Node, _: Time, _: &Event) {}
    }

    fn shell() -> (Shell<Nothing>, Mind) {
        let (mind, inputs) = Mind::new();
        let cluster = Cluster { secret: Secret::new("s"), id: "c".to_owned() };
        let links = Links::new(cluster, "a", Arc::new(Nothing), mind.clone());
        let settings = Settings::new(Role::All);
        let (shell, _) = Shell::new(settings, 1, Clock::start(), Nothing, links, mind.clone(), inputs);
        (shell, mind)
    }

    #[test]
    fn who_is_alive_is_told_when_it_changes_and_not_with_every_beat() {
        let (mut shell, mind) = shell();
        let mut seen = mind.seen();
        let [me, other] = [1, 2].map(|node| Member::new(node, 1).expect("an incarnation"));
        // Beats and lists are the only questions to which this is an answer.
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
            shell.take_in(Input::Fact(Event::Answered { id: id.expect("it asks"), answer }))
        };
        let asks = shell.take_in(Input::Fact(Event::Woke));
        let asks = answer(&mut shell, asks, Answer::Joined(me));
        assert!(!seen.has_changed().expect("the shell lives"), "nobody is listed yet");
        answer(&mut shell, asks, listed(1, &[me]));
        assert_eq!(seen.borrow_and_update().members, [me]);
        let asks = shell.take_in(Input::Fact(Event::ListsChanged));
        answer(&mut shell, asks, listed(2, &[me]));
        assert!(!seen.has_changed().expect("the shell lives"), "only a beat is new");
        let asks = shell.take_in(Input::Fact(Event::ListsChanged));
        answer(&mut shell, asks, listed(3, &[me, other]));
        assert_eq!(seen.borrow_and_update().members, [me, other]);
    }

    #[test]
    fn what_attempts_reported_is_forgotten_with_them() {
        let (mut shell, _mind) = shell();
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
