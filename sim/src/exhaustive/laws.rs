//! The fencing rules, which must hold in every order. They are checked after every transaction and every effect.

use kirin_core::ask::{Fence, JobId};
use kirin_core::{Answer, Ask, Evidence, JobRow, JobState, Member, Outcome, Role};

use super::step::{Proc, State};
use super::{Counts, SmallWorld};
use crate::store::Store;

/// The rules.
pub(crate) const RULES: [&str; 12] = [
    "one-holder",
    "epochs-grow",
    "stale-fence-refused",
    "one-live-attempt",
    "published-once",
    "no-step-twice",
    "nothing-lost",
    "limits",
    "query-nodes-run-nothing",
    "no-false-exit",
    "the-dead-stay-dead",
    "always-goes-on",
];

/// Returns the rule that a transaction has broken, if any.
pub(crate) fn transaction(
    world: &SmallWorld,
    before: &Store,
    ask: &Ask,
    answer: &Answer,
    after: &State,
) -> Option<&'static str> {
    let store = after.store();
    let took = match (ask, answer) {
        (Ask::Take { fence, .. }, Answer::Granted { .. }) => Some(fence.job),
        _ => None,
    };
    for old in before.jobs() {
        let Some(new) = store.job(old.id) else { return Some("nothing-lost") };
        if new.epoch.0 != old.epoch.0 + u64::from(took == Some(old.id)) {
            return Some("epochs-grow");
        }
        if let Some(holder) = new.holder
            && new.state != JobState::Running
            && !store.is_alive(holder)
        {
            return Some("always-goes-on");
        }
    }
    let reborn = store.living().any(|row| before.member(row.member).is_some() && !before.is_alive(row.member));
    if reborn {
        return Some("the-dead-stay-dead");
    }
    match (ask, answer) {
        (Ask::Take { fence, .. }, Answer::Granted { .. }) => granted(world, before, before.job(fence.job)?, after),
        (Ask::Claim { target, force, .. }, Answer::Granted { .. }) => {
            let holder = before.claim(*target).and_then(|claim| claim.holder);
            (!force && holder.is_some_and(|holder| before.is_alive(holder))).then_some("one-holder")
        }
        (Ask::CommitStep { fence, by, step }, Answer::Done) => wrote(before, *fence, *by)
            .or_else(|| before.job(fence.job).is_some_and(|row| row.steps != *step).then_some("no-step-twice")),
        (Ask::Finish { fence, by, outcome }, Answer::Done) => {
            if *outcome == Outcome::Succeeded {
                Counts::count(&world.counts.published);
            }
            let again = *outcome == Outcome::Succeeded && after.is_published(fence.job) > 1;
            wrote(before, *fence, *by).or(again.then_some("published-once"))
        }
        (Ask::Release { fence, by, .. }, Answer::Done) => wrote(before, *fence, *by)
            .or(after.procs().any(|p| p.runs.contains_key(fence)).then_some("one-live-attempt")),
        (Ask::CommitStep { .. } | Ask::Finish { .. } | Ask::Release { .. }, Answer::Refused) => {
            Counts::count(&world.counts.refused);
            None
        }
        (Ask::Fence { member, evidence, .. }, Answer::Done) => {
            if before.is_alive(*member) {
                Counts::count(&world.counts.fenced);
            }
            let runs = after.procs().any(|p| p.node.me() == Some(*member));
            (before.is_alive(*member) && *evidence == Evidence::Exited && runs).then_some("no-false-exit")
        }
        _ => None,
    }
}

fn wrote(before: &Store, fence: Fence, by: Member) -> Option<&'static str> {
    let scoped = before.job(fence.job).is_some_and(|row| row.epoch == fence.epoch && row.holder == Some(by));
    (!scoped).then_some("stale-fence-refused")
}

fn granted(world: &SmallWorld, before: &Store, old: &JobRow, after: &State) -> Option<&'static str> {
    if old.holder.is_some_and(|holder| before.is_alive(holder)) {
        return Some("one-holder");
    }
    if old.state == JobState::Running {
        Counts::count(&world.counts.takeovers);
    } else {
        let (running, limit) = after.store().load(old.project);
        if running > limit {
            return Some("limits");
        }
    }
    let older = after.procs().flat_map(|p| &p.runs).filter(|(fence, _)| fence.job == old.id);
    for (_, run) in older {
        Counts::count(&world.counts.beliefs);
        if before.is_alive(run.member) {
            return Some("one-live-attempt");
        }
    }
    None
}

/// Returns the rule that the beginning of an attempt breaks, if any.
pub(crate) fn begins(store: &Store, proc: &Proc, fence: Fence, step: u32) -> Option<&'static str> {
    if proc.role == Role::Query {
        return Some("query-nodes-run-nothing");
    }
    if proc.runs.keys().any(|other| other.job == fence.job) {
        return Some("one-live-attempt");
    }
    if proc.runs.len() >= proc.node.slots() as usize {
        return Some("limits");
    }
    at_step(store, proc, fence, step)
}

/// Returns the rule that work on this step breaks, if any.
pub(crate) fn at_step(store: &Store, proc: &Proc, fence: Fence, step: u32) -> Option<&'static str> {
    let row = store.job(fence.job)?;
    if row.epoch < fence.epoch {
        return Some("epochs-grow");
    }
    let mine = row.epoch == fence.epoch && row.holder.is_some() && row.holder == proc.node.me();
    (mine && row.state == JobState::Running && row.steps != step).then_some("no-step-twice")
}

/// Returns the job that was published, if any.
pub(crate) fn publishes(ask: &Ask, answer: &Answer) -> Option<JobId> {
    match (ask, answer) {
        (Ask::Finish { fence, outcome: Outcome::Succeeded, .. }, Answer::Done) => Some(fence.job),
        _ => None,
    }
}
