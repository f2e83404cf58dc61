//! Writes of an attempt under its fence: a step, the end, the release of the job. Writes by others: a place in a queue, a
//! user's action.

use std::collections::{BTreeMap, BTreeSet};

use kirin_core::ask::Fence;
use kirin_core::job::JobEvent;
use kirin_core::{Action, Answer, JobState, Member, NodeId, Outcome};
use uuid::Uuid;

use crate::ask::Publish;
use crate::beat::{done_if, holder};
use crate::clock::wall_ms;
use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::finished_counts::FinishedCounts;
use crate::job::{AttemptEnd, state_number};
use crate::wire::{Dialect, Row, Table, args};

/// One [`kirin_core::Ask::CommitStep`].
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) fence: Fence,
    pub(crate) by: Member,
    pub(crate) step: u32,
    pub(crate) name: String,
    pub(crate) result: Option<String>,
    pub(crate) started_ms: Option<i64>,
    pub(crate) ended_ms: Option<i64>,
}

/// One [`kirin_core::Ask::Finish`].
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    pub(crate) fence: Fence,
    pub(crate) by: Member,
    pub(crate) outcome: Outcome,
    pub(crate) failure: Option<String>,
    pub(crate) result: Option<String>,
    pub(crate) publish: Vec<Publish>,
}

/// One [`kirin_core::Ask::Release`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release {
    pub(crate) fence: Fence,
    pub(crate) by: Member,
    pub(crate) placed: Option<NodeId>,
}

/// A batch of these, for different jobs.
pub(crate) struct Steps<'a>(pub(crate) &'a [Step]);
/// A batch of these, for different jobs.
pub(crate) struct Finishes<'a>(pub(crate) &'a [Finish]);
/// A batch of these, for different jobs.
pub(crate) struct Releases<'a>(pub(crate) &'a [Release]);

/// The four columns of a fence: job, epoch, holder.
fn fenced<'a>(fences: impl Iterator<Item = (Fence, Member)> + Clone + 'a) -> Table {
    Table::default()
        .ints(fences.clone().map(|(fence, _)| fence.job.0.cast_signed()))
        .ints(fences.clone().map(|(fence, _)| fence.epoch.0.cast_signed()))
        .ints(fences.clone().map(|(_, by)| i64::from(by.node.0)))
        .ints(fences.map(|(_, by)| i64::from(by.incarnation.get())))
}

/// The jobs in the first column.
fn jobs(rows: &[Row]) -> Result<BTreeSet<i64>, StoreError> {
    rows.iter().map(|row| row.num(0)).collect()
}

fn answers(asked: impl Iterator<Item = Fence>, hit: &BTreeSet<i64>) -> Vec<Answer> {
    asked.map(|fence| done_if(hit.contains(&fence.job.0.cast_signed()))).collect()
}

impl Work for Steps<'_> {
    type Out = Vec<Answer>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<Answer>, Fault> {
        let now = wall_ms();
        let fences = fenced(self.0.iter().map(|step| (step.fence, step.by)))
            .ints(self.0.iter().map(|step| i64::from(step.step)));
        let hit = if connection.dialect() == Dialect::Postgres {
            let table = fences
                .ints(self.0.iter().map(|step| step.started_ms))
                .ints(self.0.iter().map(|step| step.ended_ms))
                .ints(self.0.iter().map(|_| now))
                .texts(self.0.iter().map(|step| step.name.clone()))
                .texts(self.0.iter().map(|step| step.result.clone()));
            jobs(&connection.alone_rows(|sql| &sql.step, args![table]).await?)?
        } else {
            connection.begin().await?;
            let hit = jobs(&connection.rows(|sql| &sql.step_lock, args![fences]).await?)?;
            if !hit.is_empty() {
                let write = Table::default().ints(hit.iter().copied()).ints(hit.iter().map(|_| now));
                connection.run(|sql| &sql.step_write, args![write]).await?;
                let done: Vec<&Step> =
                    self.0.iter().filter(|step| hit.contains(&step.fence.job.0.cast_signed())).collect();
                let add = Table::default()
                    .ints(done.iter().map(|step| step.fence.job.0.cast_signed()))
                    .ints(done.iter().map(|step| i64::from(step.step)))
                    .ints(done.iter().map(|step| step.fence.epoch.0.cast_signed()))
                    .ints(done.iter().map(|step| i64::from(step.by.node.0)))
                    .ints(done.iter().map(|step| step.started_ms))
                    .ints(done.iter().map(|step| step.ended_ms))
                    .texts(done.iter().map(|step| step.name.clone()))
                    .texts(done.iter().map(|step| step.result.clone()));
                connection.run(|sql| &sql.step_add, args![add]).await?;
                connection.commit().await?;
            }
            hit
        };
        Ok(answers(self.0.iter().map(|step| step.fence), &hit))
    }
}

impl Finish {
    fn state(&self) -> i64 {
        match self.outcome {
            Outcome::Succeeded => state_number(JobState::Succeed),
            Outcome::Failed => state_number(JobState::Error),
            Outcome::Vanished => state_number(JobState::Suicidal),
        }
    }

    fn end(&self) -> AttemptEnd {
        match self.outcome {
            Outcome::Succeeded => AttemptEnd::Succeeded,
            Outcome::Failed => AttemptEnd::Failed,
            Outcome::Vanished => AttemptEnd::Vanished,
        }
    }

    /// Whether it changes segments.
    pub(crate) fn touches_segments(&self) -> bool {
        self.outcome == Outcome::Vanished || self.outcome == Outcome::Succeeded && !self.publish.is_empty()
    }
}

impl Work for Finishes<'_> {
    type Out = Vec<Answer>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<Answer>, Fault> {
        let now = wall_ms();
        let fences = fenced(self.0.iter().map(|finish| (finish.fence, finish.by)));
        let touching = self.0.iter().any(Finish::touches_segments);
        let hit = if connection.dialect() == Dialect::Postgres {
            let table = fences
                .ints(self.0.iter().map(Finish::state))
                .ints(self.0.iter().map(|finish| finish.end().number()))
                .ints(self.0.iter().map(|_| now))
                .texts(self.0.iter().map(|finish| finish.failure.clone()))
                .texts(self.0.iter().map(|finish| finish.result.clone()));
            let rows = if touching {
                connection.begin().await?;
                connection.rows(|sql| &sql.finish, args![table]).await?
            } else {
                connection.alone_rows(|sql| &sql.finish, args![table]).await?
            };
            jobs(&rows)?
        } else {
            connection.begin().await?;
            let rows = connection.rows(|sql| &sql.finish_lock, args![fences]).await?;
            let hit = jobs(&rows)?;
            if hit.is_empty() {
                return Ok(answers(self.0.iter().map(|finish| finish.fence), &hit));
            }
            let done: Vec<&Finish> =
                self.0.iter().filter(|finish| hit.contains(&finish.fence.job.0.cast_signed())).collect();
            let write = Table::default()
                .ints(done.iter().map(|finish| finish.fence.job.0.cast_signed()))
                .ints(done.iter().map(|finish| finish.state()))
                .ints(done.iter().map(|_| now))
                .texts(done.iter().map(|finish| finish.failure.clone()))
                .texts(done.iter().map(|finish| finish.result.clone()));
            connection.run(|sql| &sql.finish_write, args![write]).await?;
            let ended = done.iter().map(|finish| (finish.fence, finish.by, finish.end()));
            add_attempts(connection, &rows, ended, now).await?;
            let projects: BTreeMap<u64, i64> =
                rows.iter().map(|row| Ok((row.num(0)?, row.num(3)?))).collect::<Result<_, StoreError>>()?;
            let mut counts = FinishedCounts::default();
            for finish in done.iter().filter(|finish| finish.outcome != Outcome::Failed) {
                counts.add(projects[&finish.fence.job.0], finish.state(), 1);
            }
            counts.write(connection).await?;
            hit
        };
        if touching {
            for finish in self.0 {
                if finish.touches_segments() && hit.contains(&finish.fence.job.0.cast_signed()) {
                    segments_follow(connection, finish, now).await?;
                }
            }
        }
        if touching || connection.dialect() != Dialect::Postgres {
            connection.commit().await?;
        }
        Ok(answers(self.0.iter().map(|finish| finish.fence), &hit))
    }
}

/// The failure of a job whose segment was dropped while it was built.
const DROPPED: &str = "the segment was dropped while this job ran, so nothing was published; build the range again if it is \
                       needed";

/// Publishes the segments of a successful job, or releases the ranges of a job whose target vanished. The job's row is locked.
/// A successful job whose segment was dropped meanwhile becomes one whose target vanished.
async fn segments_follow(connection: &mut Connection, finish: &Finish, now: i64) -> Result<(), Fault> {
    let rows = connection.rows(|sql| &sql.project_of_job, args![finish.fence.job.0.cast_signed()]).await?;
    let row =
        rows.first().ok_or_else(|| StoreError::Corrupt("a job's row vanished while the job was held".to_owned()))?;
    let (project, owner) = (row.num::<i64>(0)?, row.string(1)?);
    if finish.outcome == Outcome::Vanished {
        connection.run(|sql| &sql.segment_unreserve, args![&owner]).await?;
        return Ok(());
    }
    let table = Table::default()
        .texts(finish.publish.iter().map(|publish| publish.segment.to_string()))
        .texts(finish.publish.iter().map(|publish| publish.manifest.clone()))
        .ints(finish.publish.iter().map(|_| finish.fence.epoch.0.cast_signed()))
        .texts(finish.publish.iter().map(|_| owner.clone()))
        .ints(finish.publish.iter().map(|_| now));
    let published = connection.run(|sql| &sql.segment_publish, args![table]).await?;
    connection.run(|sql| &sql.catalog_bump, args![project]).await?;
    if published < finish.publish.len() as u64 {
        let (job, epoch) = (finish.fence.job.0.cast_signed(), finish.fence.epoch.0.cast_signed());
        let vanished = state_number(JobState::Suicidal);
        connection.run(|sql| &sql.segment_unreserve, args![&owner]).await?;
        connection.run(|sql| &sql.vanish, args![job, vanished, DROPPED]).await?;
        connection.run(|sql| &sql.vanish_attempt, args![job, epoch, AttemptEnd::Vanished.number()]).await?;
        let mut counts = FinishedCounts::default();
        counts.add(project, state_number(JobState::Succeed), -1);
        counts.add(project, vanished, 1);
        counts.write(connection).await?;
    }
    Ok(())
}

impl Work for Releases<'_> {
    type Out = Vec<Answer>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<Answer>, Fault> {
        let now = wall_ms();
        let fences = fenced(self.0.iter().map(|release| (release.fence, release.by)));
        let place = |release: &Release| release.placed.map(|node| i64::from(node.0));
        let hit = if connection.dialect() == Dialect::Postgres {
            let table = fences.ints(self.0.iter().map(place)).ints(self.0.iter().map(|_| now));
            jobs(&connection.alone_rows(|sql| &sql.release, args![table]).await?)?
        } else {
            connection.begin().await?;
            let rows = connection.rows(|sql| &sql.release_lock, args![fences]).await?;
            let hit = jobs(&rows)?;
            if !hit.is_empty() {
                let done: Vec<&Release> =
                    self.0.iter().filter(|release| hit.contains(&release.fence.job.0.cast_signed())).collect();
                let write = Table::default()
                    .ints(done.iter().map(|release| release.fence.job.0.cast_signed()))
                    .ints(done.iter().map(|release| place(release)))
                    .ints(done.iter().map(|_| now));
                connection.run(|sql| &sql.release_write, args![write]).await?;
                let ended = done.iter().map(|release| (release.fence, release.by, AttemptEnd::Released));
                add_attempts(connection, &rows, ended, now).await?;
                connection.commit().await?;
            }
            hit
        };
        Ok(answers(self.0.iter().map(|release| release.fence), &hit))
    }
}

/// Records ended attempts; `locked` contains each job's id, first step and start time.
async fn add_attempts(
    connection: &mut Connection,
    locked: &[Row],
    ended: impl Iterator<Item = (Fence, Member, AttemptEnd)>,
    now: i64,
) -> Result<(), Fault> {
    let mut rows = Vec::new();
    for (fence, by, end) in ended {
        for row in locked {
            if row.num::<u64>(0)? == fence.job.0 {
                rows.push((fence, by, end, row.num::<i64>(1)?, row.int(2)?));
            }
        }
    }
    let table = fenced(rows.iter().map(|(fence, by, ..)| (*fence, *by)))
        .ints(rows.iter().map(|(.., from_step, _)| *from_step))
        .ints(rows.iter().map(|(.., taken_ms)| *taken_ms))
        .ints(rows.iter().map(|_| now))
        .ints(rows.iter().map(|(_, _, end, ..)| end.number()));
    connection.run(|sql| &sql.attempt_add, args![table]).await?;
    Ok(())
}

/// [`kirin_core::Ask::Place`].
pub(crate) struct Place {
    pub(crate) fence: Fence,
    pub(crate) node: NodeId,
}

impl Work for Place {
    type Out = Answer;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        let (job, epoch) = (self.fence.job.0.cast_signed(), self.fence.epoch.0.cast_signed());
        Ok(done_if(connection.alone(|sql| &sql.place, args![job, epoch, self.node.0, wall_ms()]).await? > 0))
    }
}

/// [`kirin_core::Ask::Act`].
pub(crate) struct Act {
    pub(crate) fence: Fence,
    pub(crate) state: JobState,
    pub(crate) action: Action,
}

impl Work for Act {
    type Out = Answer;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        let Ok(next) = self.state.after(JobEvent::Act(self.action)) else {
            return Ok(Answer::Refused);
        };
        let (job, epoch, now) = (self.fence.job.0.cast_signed(), self.fence.epoch.0.cast_signed(), wall_ms());
        connection.begin().await?;
        let rows = connection.rows(|sql| &sql.act_read, args![job]).await?;
        let Some(row) = rows.first() else { return Ok(Answer::Refused) };
        // The holder is kept unless it is dead, because a dead holder cannot clear it later. The lock on its member row
        // orders this transaction and the holder's end: one of them sees the other's effect.
        let mut dead = None;
        if let Some(held) = holder(row, 0)? {
            let rows = connection.rows(|sql| &sql.member_shared, args![held.node.0, held.incarnation.get()]).await?;
            if rows.first().map(|row| row.num::<u8>(0)).transpose()?.is_none_or(|state| state > 1) {
                dead = Some(held);
            }
        }
        let (owner, project) = (row.string(4)?, row.num(5)?);
        let restart = i64::from(self.action == Action::Restart);
        let cleared = i64::from(dead.is_some());
        let hit = connection
            .run(|sql| &sql.act, args![job, epoch, state_number(self.state), state_number(next), restart, now, cleared])
            .await?;
        if hit == 0 {
            return Ok(Answer::Refused);
        }
        if let Some(held) = dead {
            let table = fenced(std::iter::once((self.fence, held)))
                .ints([row.int(2)?])
                .ints([row.int(3)?])
                .ints([now])
                .ints([AttemptEnd::Lost.number()]);
            connection.run(|sql| &sql.attempt_add, args![table]).await?;
        }
        match self.action {
            Action::Restart => {
                connection.run(|sql| &sql.act_steps, args![job]).await?;
            }
            Action::Discard => {
                connection.run(|sql| &sql.segment_unreserve, args![&owner]).await?;
            }
            Action::Resume | Action::Pause => {}
        }
        if next.is_final() {
            let mut counts = FinishedCounts::default();
            counts.add(project, state_number(next), 1);
            counts.write(connection).await?;
        }
        connection.commit().await?;
        Ok(Answer::Done)
    }
}

/// [`crate::Store::discard_by_force`].
pub(crate) struct DiscardByForce(pub(crate) Uuid);

impl Work for DiscardByForce {
    type Out = bool;

    async fn run(&self, connection: &mut Connection) -> Result<bool, Fault> {
        let (owner, now) = (self.0.to_string(), wall_ms());
        connection.begin().await?;
        let rows = connection.rows(|sql| &sql.force_read, args![&owner]).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        let (job, state, project) = (row.num::<i64>(0)?, row.num::<i64>(1)?, row.num::<i64>(2)?);
        let was_over = (5..=7).contains(&state) && row.int(3)?.is_some();
        connection.run(|sql| &sql.discard_by_force, args![job, now]).await?;
        connection.run(|sql| &sql.segment_unreserve, args![&owner]).await?;
        let mut counts = FinishedCounts::default();
        let known = if (0..=i64::from(u32::MAX)).contains(&project) { project } else { 0 };
        if was_over {
            counts.add(project, state, -1);
        }
        counts.add(known, state_number(JobState::Discarded), 1);
        counts.write(connection).await?;
        connection.commit().await?;
        Ok(true)
    }
}

/// A job's public name in the database's format.
pub(crate) fn spelled(uuid: u128) -> String {
    Uuid::from_u128(uuid).to_string()
}
