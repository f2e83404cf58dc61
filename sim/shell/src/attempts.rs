//! The attempts that run on a node: their steps only take time.
//!
//! The registry works like the production one: orders reach an attempt through a channel, its commits go through the
//! core, and a cancelled attempt reports that it has stopped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kirin_core::Outcome;
use kirin_core::ask::Fence;
use kirin_core::event::End;
use kirin_shell::CoreHandle;
use kirin_shell::report::{EndReport, StepReport};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::database::{Database, end_report, step_report};

enum Order {
    Proceed(u32),
    Stop,
}

/// The attempts of one process.
#[derive(Clone)]
pub struct Attempts {
    /// For the judge only: an attempt knows nothing but its fence.
    judge: Database,
    running: Arc<Mutex<BTreeMap<Fence, mpsc::UnboundedSender<Order>>>>,
}

/// The steps of a job, by its number: how many, and how long each one takes.
fn steps(fence: Fence) -> (u32, Duration) {
    let number = fence.job.0;
    let steps = u32::try_from(number % 4 + 1).expect("a few");
    (steps, Duration::from_millis([200, 600, 2_000, 4_000, 9_000][usize::try_from(number % 5).expect("a few")]))
}

impl Attempts {
    /// An empty registry.
    pub fn new(judge: Database) -> Self {
        Self { judge, running: Arc::default() }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Fence, mpsc::UnboundedSender<Order>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts an attempt.
    pub fn begin(&self, core: &CoreHandle, fence: Fence, step: u32) {
        let (orders, mut inbox) = mpsc::unbounded_channel();
        if self.running().insert(fence, orders).is_some() {
            self.judge.tables().violations.push(format!("{fence:?} was begun twice"));
        }
        let (attempts, core) = (self.clone(), core.clone());
        tokio::spawn(async move {
            let end = attempts.run(&core, fence, step, &mut inbox).await;
            attempts.running().remove(&fence);
            core.attempt_ended(fence, end, EndReport { failure: Some(end_report(fence)), publish: Vec::new() });
        });
    }

    async fn run(
        &self,
        core: &CoreHandle,
        fence: Fence,
        first: u32,
        orders: &mut mpsc::UnboundedReceiver<Order>,
    ) -> End {
        let (steps, each) = steps(fence);
        for step in first..steps {
            self.judge.tables().begins(fence, step);
            tracing::debug!(?fence, step, "step begins");
            tokio::select! {
                biased;
                () = stopped(orders) => return End::Stopped,
                () = sleep(each) => {}
            }
            core.step_ended(fence, step, StepReport { name: step_report(fence, step), ..StepReport::default() });
            loop {
                match orders.recv().await {
                    Some(Order::Proceed(next)) if next > step => break,
                    Some(Order::Proceed(_)) => {}
                    Some(Order::Stop) | None => return End::Stopped,
                }
            }
        }
        End::Ran(Outcome::Succeeded)
    }

    /// The last step is committed.
    pub fn proceed(&self, fence: Fence, step: u32) {
        if let Some(orders) = self.running().get(&fence) {
            // It may just have ended.
            let _ = orders.send(Order::Proceed(step));
        }
    }

    /// Stops an attempt. Reports its end even if none runs.
    pub fn cancel(&self, core: &CoreHandle, fence: Fence) {
        match self.running().get(&fence) {
            Some(orders) => {
                let _ = orders.send(Order::Stop);
            }
            None => core.attempt_ended(fence, End::Stopped, EndReport::default()),
        }
    }
}

async fn stopped(orders: &mut mpsc::UnboundedReceiver<Order>) {
    loop {
        if let Some(Order::Stop) | None = orders.recv().await {
            return;
        }
    }
}
