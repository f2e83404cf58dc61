//! The shell: the loop that tells the core what happened and carries out what it orders. It decides nothing.
//!
//! One task owns the core; one channel is the only way in. Each effect is one I/O call whose result comes back through that
//! channel as the next event. What an event carries for people (texts, results, logs) stays here, beside the core.
//!
//! | order | carried out by |
//! |---|---|
//! | ask | [`Store`] |
//! | begin, proceed, cancel | [`Attempts`] |
//! | watch, probe, nudge | [`Links`] |
//! | lead, resign | [`Chores`] |
//! | note | the log and the cluster's history |

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::metastore::{EndReport, Extra, JoinInfo, StepReport, Store};
use kirin_core::ask::{Fence, JobId};
use kirin_core::effect::{AskId, Note};
use kirin_core::event::End;
use kirin_core::{Answer, Ask, Effect, Effects, Event, Member, Node, Settings, Time};
use kirin_recorder::Recorder;
use tokio::sync::{mpsc, oneshot, watch};

use crate::chores::Chores;
use crate::clock::{Clock, wall_ms};
use crate::directory::Directory;
use crate::executor::Attempts;
use crate::history::History;
use crate::link::{Links, Question};

type Look = Box<dyn FnOnce(&mut Node, Time) + Send>;

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
}

/// The receiving end of a [`Mind`], for the shell.
pub struct Inputs(mpsc::UnboundedReceiver<Input>);

impl Mind {
    /// A way in, and the end at which the shell listens.
    pub fn new() -> (Self, Inputs) {
        let (inputs, inbox) = mpsc::unbounded_channel();
        (Self { inputs }, Inputs(inbox))
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

/// What the shell needs to carry out orders.
pub struct Outside {
    /// The metastore.
    pub store: Store,
    /// Who this node says it is when it joins.
    pub join: JoinInfo,
    /// The links to other nodes.
    pub links: Links,
    /// The attempts that run here.
    pub attempts: Attempts,
    /// Cluster-wide chores, for as long as this member leads.
    pub chores: Chores,
    /// The cluster's history.
    pub history: History,
    /// Names and addresses.
    pub directory: Directory,
    /// What writes down every event, if anything does.
    pub recorder: Option<Recorder>,
}

/// One node's loop.
pub struct Shell {
    core: Node,
    clock: Clock,
    outside: Outside,
    mind: Mind,
    inbox: mpsc::UnboundedReceiver<Input>,
    steps: BTreeMap<Fence, Arc<StepReport>>,
    ends: BTreeMap<Fence, Arc<EndReport>>,
    me: watch::Sender<Option<Member>>,
}

impl Shell {
    /// A shell around a core that is about to join. The receiver tells as which member it runs.
    pub fn new(
        settings: Settings,
        clock: Clock,
        outside: Outside,
        mind: Mind,
        inputs: Inputs,
    ) -> (Self, watch::Receiver<Option<Member>>) {
        let (me, is) = watch::channel(None);
        let core = Node::start(settings, rand::random(), clock.now());
        let inbox = inputs.0;
        (Self { core, clock, outside, mind, inbox, steps: BTreeMap::new(), ends: BTreeMap::new(), me }, is)
    }

    /// Runs until the member has left.
    pub async fn run(mut self) {
        let mut input = Input::Fact(Event::Woke);
        loop {
            let effects = self.take_in(input);
            if self.me.borrow().as_ref() != self.core.me().as_ref() {
                self.outside.links.identify(self.core.me());
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
        if let Some(recorder) = &mut self.outside.recorder {
            recorder.record(&self.core, now, wall_ms(), &event);
        }
        self.core.step(now, event)
    }

    fn carry_out(&mut self, effect: Effect) {
        tracing::trace!(?effect, "order");
        let outside = &self.outside;
        match effect {
            Effect::Ask { id, ask } => self.ask(id, ask),
            Effect::Begin { fence, step } => {
                // Only a member is granted anything.
                let Some(by) = self.core.me() else { return };
                outside.attempts.begin(&self.mind, by, fence, step);
            }
            Effect::Proceed { fence, step } => {
                self.steps.remove(&fence);
                outside.attempts.proceed(fence, step);
            }
            Effect::Cancel { fence, why } => outside.attempts.cancel(&self.mind, fence, why),
            Effect::Watch(members) => outside.links.watch(&members),
            Effect::Probe(member) => outside.links.probe(member),
            Effect::Nudge { to, nudge } => outside.links.nudge(to, nudge),
            Effect::Lead { target, epoch } => outside.chores.lead(target, epoch),
            Effect::Resign(target) => outside.chores.resign(target),
            Effect::Note(note) => self.note(note),
            Effect::Exit => {}
        }
    }

    fn ask(&self, id: AskId, ask: Ask) {
        let extra = match &ask {
            Ask::Join { .. } => Extra::Join(self.outside.join.clone()),
            Ask::CommitStep { fence, .. } => self.steps.get(fence).cloned().map_or(Extra::None, Extra::Step),
            Ask::Finish { fence, .. } => self.ends.get(fence).cloned().map_or(Extra::None, Extra::End),
            _ => Extra::None,
        };
        let (store, mind) = (self.outside.store.clone(), self.mind.clone());
        tokio::spawn(async move {
            let answer = store.ask(&ask, extra).await;
            if matches!(answer, Answer::Failed | Answer::Unknown) {
                tracing::debug!(?ask, ?answer, "the metastore did not answer");
            }
            mind.tell(Event::Answered { id, answer });
        });
    }

    fn note(&mut self, note: Note) {
        // What belongs to attempts that are over is needed no more.
        self.outside.history.write(self.core.me(), &note, &self.outside.directory);
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
