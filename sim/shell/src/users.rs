//! Users: each wants one job to run, and asks one node after another until the job is accepted. Some change their
//! minds: they pause their job for a while, or discard it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kirin_core::ask::{JobId, Priority, ProjectId};
use kirin_core::{Action, JobState};
use kirin_sim::dice::Dice;
use tokio::time::{sleep, timeout};

use crate::node::{Call, Submission, call};
use crate::plan::{self, millis};

/// How long a user waits for a node's answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// The users' requests and the answers. Clones share their state.
#[derive(Clone, Default)]
pub struct Users(Arc<Mutex<Ledger>>);

#[derive(Default)]
struct Ledger {
    wanted: usize,
    served: Vec<Served>,
}

/// The result for a user.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    /// The job that was accepted.
    pub job: JobId,
    /// Whether the user discarded it before it ended.
    pub discarded: bool,
}

/// A user's request.
#[derive(Clone, Debug)]
pub struct Wish {
    at: Duration,
    submission: Submission,
    whim: Whim,
    /// The nodes to ask, in turn.
    order: Vec<usize>,
}

/// What a user does to its job.
#[derive(Clone, Copy, Debug)]
enum Whim {
    None,
    Pause { after: Duration, until: Duration },
    Discard { after: Duration },
}

/// Draws the requests of a run. With `whims`, users may change their minds.
pub fn draw(dice: &mut Dice, nodes: usize, projects: u32, within: Duration, whims: bool) -> Vec<Wish> {
    let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let count = dice.between(4, 40);
    let mut wishes = Vec::new();
    for key in 1..=count {
        let project = ProjectId(u32::try_from(dice.below(u64::from(projects))).expect("a few") + 1);
        let priority = Priority(u8::try_from(dice.below(5)).expect("a few"));
        let submission = Submission { project, priority, external: dice.chance(300_000), key };
        let order = (0..8).map(|_| plan::below(dice, nodes)).chain(0..nodes).collect();
        let (after, until) = (millis(dice.below(10_000)), millis(dice.below(20_000)));
        let whim = match dice.below(8) {
            0 | 1 if whims => Whim::Pause { after, until },
            2 if whims => Whim::Discard { after },
            _ => Whim::None,
        };
        wishes.push(Wish { at: millis(dice.below(within)), submission, whim, order });
    }
    wishes
}

impl Users {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The results, once all users are served.
    ///
    /// # Errors
    /// The number of users that are not.
    pub fn served(&self) -> Result<Vec<Served>, String> {
        let ledger = self.ledger();
        match ledger.wanted - ledger.served.len() {
            0 => Ok(ledger.served.clone()),
            left => Err(format!("{left} of {} users are not served yet", ledger.wanted)),
        }
    }

    /// The process of the users' machine.
    pub async fn sit(self, wishes: Vec<Wish>) {
        self.ledger().wanted = wishes.len();
        for wish in wishes {
            let users = self.clone();
            tokio::spawn(async move {
                sleep(wish.at).await;
                let served = wish.serve().await;
                tracing::info!(?served, key = wish.submission.key, "served");
                users.ledger().served.push(served);
            });
        }
        std::future::pending().await
    }
}

impl Wish {
    async fn serve(&self) -> Served {
        let (job, _) = self.insist(Call::Submit(self.submission), |_| true).await;
        let mut discarded = false;
        match self.whim {
            Whim::None => {}
            Whim::Pause { after, until } => {
                sleep(after).await;
                self.insist(Call::Act(job, Action::Pause), |state| state == JobState::Paused || state.is_final()).await;
                sleep(until).await;
                // A node that was frozen during an abandoned request may pause the job once more.
                self.insist(Call::Act(job, Action::Resume), JobState::is_final).await;
            }
            Whim::Discard { after } => {
                sleep(after).await;
                let (_, state) = self.insist(Call::Act(job, Action::Discard), JobState::is_final).await;
                discarded = state == JobState::Discarded;
            }
        }
        Served { job, discarded }
    }

    /// Asks one node after another until the job is in the wanted state.
    async fn insist(&self, what: Call, is_so: impl Fn(JobState) -> bool) -> (JobId, JobState) {
        loop {
            for node in self.order.iter().copied() {
                match timeout(PATIENCE, call(node, &what)).await {
                    Ok(Ok(Some((job, state)))) if is_so(state) => return (job, state),
                    Ok(Ok(answer)) => tracing::debug!(node, ?answer, "a user asks again"),
                    Ok(Err(error)) => tracing::debug!(node, %error, "a node does not answer"),
                    Err(_) => continue,
                }
                sleep(millis(1_000)).await;
            }
        }
    }
}
