//! The effect handler of a node's core: it calls the metastore, the attempts, the housekeeping, the history and the recorder.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kirin_core::ask::{Epoch, Fence, Target};
use kirin_core::effect::{Note, Why};
use kirin_core::{Answer, Ask, Event, Member, Node, Time, Timing};
use kirin_recorder::Recorder;
use kirin_shell::clock::wall_ms;
use kirin_shell::report::Report;
use kirin_shell::{CoreHandle, EffectHandler};

use crate::housekeeping::Housekeeping;
use crate::namesake;
use kirin_executor::Attempts;
use kirin_metastore::{Extra, JoinInfo, Store};
use kirin_plant::Defence;
use kirin_service::directory::Directory;
use kirin_service::history::History;

/// The parts of a node that the effect handler uses.
pub struct Parts {
    /// The metastore.
    pub store: Store,
    /// What this node declares when it joins.
    pub join: JoinInfo,
    /// The cluster's timeout and this node's interval of beats.
    pub timing: Timing,
    /// The attempts that run on this node.
    pub attempts: Attempts,
    /// Cluster-wide housekeeping, which runs while this member leads.
    pub housekeeping: Housekeeping,
    /// The cluster's history.
    pub history: History,
    /// Names and addresses.
    pub directory: Directory,
    /// The flight recorder, if enabled.
    pub recorder: Option<Recorder>,
}

impl EffectHandler for Parts {
    fn ask(&self, ask: Ask, report: Option<Report>) -> BoxFuture<'static, Answer> {
        let extra = match (&ask, report) {
            (Ask::Join { .. }, _) => Extra::Join(self.join.clone()),
            (_, Some(Report::Step(report))) => Extra::Step(report),
            (_, Some(Report::End(report))) => Extra::End(report),
            (_, None) => Extra::None,
        };
        let store = self.store.clone();
        let joins = matches!(ask, Ask::Join { .. }).then(|| (self.join.clone(), self.timing));
        async move {
            if let Some((join, timing)) = joins
                && let Some(namesake) = namesake::alive(&store, &join, timing).await
            {
                tracing::error!("{namesake}");
                return Answer::Refused;
            }
            let answer = store.ask(&ask, extra).await;
            if matches!(answer, Answer::Failed | Answer::Unknown) {
                tracing::debug!(?ask, ?answer, "no answer from the metastore");
            }
            answer
        }
        .boxed()
    }

    fn begin(&self, core: &CoreHandle, by: Member, fence: Fence, step: u32) {
        self.attempts.begin(core, by, fence, step);
    }

    fn proceed(&self, fence: Fence, step: u32) {
        self.attempts.proceed(fence, step);
    }

    fn cancel(&self, core: &CoreHandle, fence: Fence, why: Why) {
        if why == Why::TrustEnded && Defence::Trust.is_missing() {
            return;
        }
        self.attempts.cancel(core, fence, why);
    }

    fn lead(&self, target: Target, epoch: Epoch) {
        self.housekeeping.lead(target, epoch);
    }

    fn resign(&self, target: Target) {
        self.housekeeping.resign(target);
    }

    fn note(&self, by: Option<Member>, note: &Note) {
        if matches!(note, Note::WasFenced(_)) && Defence::Trust.is_missing() {
            self.attempts.stop_all(Why::Fenced);
        }
        self.history.write(by, note, &self.directory);
    }

    fn record(&mut self, core: &Node, now: Time, event: &Event) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(core, now, wall_ms(), event);
        }
    }
}
