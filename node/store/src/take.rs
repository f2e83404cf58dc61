//! Takes: the first claim of a job and a takeover are the same transition.
//!
//! A batch takes many jobs in one transaction. Waiting jobs are admitted in queue order while their project has room. A
//! job that is already RUNNING (its holder is dead) changes its holder without counting again.

use std::collections::BTreeMap;

use kirin_core::ask::{Epoch, Fence};
use kirin_core::{Answer, Capabilities, Member};

use crate::clock::wall_ms;
use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::job::AttemptEnd;
use crate::wire::{Dialect, Row, Table, args};

/// Room for takes that are not visible yet, in addition to the slots of living members, which may change concurrently.
const MARGIN: i64 = 64;

/// The number of retries after a conflict for the rest of a batch of which a part is committed.
const CONFLICTS_MAX: usize = 5;

/// One [`kirin_core::Ask::Take`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Take {
    pub(crate) fence: Fence,
    pub(crate) by: Member,
    pub(crate) in_order: bool,
}

/// A batch of takes of different jobs. A take that is `in_order` is alone.
pub(crate) struct Takes<'a>(pub(crate) &'a [Take]);

impl Work for Takes<'_> {
    type Out = Vec<Answer>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<Answer>, Fault> {
        match connection.dialect() {
            Dialect::Postgres => self.postgres(connection).await,
            Dialect::Sqlite | Dialect::MySql => self.embedded(connection).await,
        }
    }
}

/// A job that may be taken.
struct Candidate {
    job: i64,
    project: i64,
    priority: i64,
    running: bool,
    steps: u32,
    holder: Option<(i64, i64)>,
    from_step: i64,
    taken_ms: Option<i64>,
}

impl Takes<'_> {
    /// One statement. It is repeated under the lock of the projects for jobs whose project may be full, and for jobs that
    /// stopped running in the meantime without being taken.
    async fn postgres(&self, connection: &mut Connection) -> Result<Vec<Answer>, Fault> {
        let mut answers = vec![Answer::Refused; self.0.len()];
        let all: Vec<usize> = (0..self.0.len()).collect();
        let rows = connection.alone_rows(|sql| &sql.take, &self.take_args(&all, false)).await?;
        let tight = self.read(&rows, &mut answers)?;
        if tight.is_empty() {
            return Ok(answers);
        }
        if !answers.iter().any(|answer| matches!(answer, Answer::Granted { .. })) {
            connection.nothing_committed();
            self.postgres_locked(connection, &tight, &mut answers).await?;
            return Ok(answers);
        }
        // The other takes are granted. From here on, each take has its own answer.
        for _ in 0..CONFLICTS_MAX {
            match self.postgres_locked(connection, &tight, &mut answers).await {
                Ok(()) => return Ok(answers),
                Err(Fault::Again(_)) => connection.rollback().await?,
                Err(Fault::Certain(_) | Fault::Maybe(_)) => {
                    for at in tight {
                        answers[at] = Answer::Unknown;
                    }
                    return Ok(answers);
                }
            }
        }
        for at in tight {
            answers[at] = Answer::Failed;
        }
        Ok(answers)
    }

    async fn postgres_locked(
        &self,
        connection: &mut Connection,
        tight: &[usize],
        answers: &mut [Answer],
    ) -> Result<(), Fault> {
        connection.begin().await?;
        let jobs = Table::default().ints(tight.iter().map(|at| self.0[*at].fence.job.0.cast_signed()));
        connection.rows(|sql| &sql.take_scope_lock, args![jobs]).await?;
        let mut rest = tight.to_vec();
        while !rest.is_empty() {
            let rows = connection.rows(|sql| &sql.take, &self.take_args(&rest, true)).await?;
            rest = self.read(&rows, answers)?;
        }
        connection.commit().await
    }

    fn take_args(&self, which: &[usize], locked: bool) -> [crate::wire::Arg; 4] {
        let takes = || which.iter().map(|at| self.0[*at]);
        let table = Table::default()
            .ints(takes().map(|take| take.fence.job.0.cast_signed()))
            .ints(takes().map(|take| take.fence.epoch.0.cast_signed()))
            .ints(takes().map(|take| i64::from(take.by.node.0)))
            .ints(takes().map(|take| i64::from(take.by.incarnation.get())));
        let in_order = takes().any(|take| take.in_order);
        [table.into(), i64::from(locked).into(), wall_ms().into(), i64::from(in_order).into()]
    }

    /// Fills in the answers. Returns the takes that must be repeated.
    fn read(&self, rows: &[Row], answers: &mut [Answer]) -> Result<Vec<usize>, Fault> {
        let places: BTreeMap<u64, usize> = self.0.iter().enumerate().map(|(at, take)| (take.fence.job.0, at)).collect();
        let mut tight = Vec::new();
        for row in rows {
            let at = *places
                .get(&row.num(0)?)
                .ok_or_else(|| StoreError::Corrupt("a job was taken without a request".to_owned()))?;
            match (row.num::<u8>(1)?, row.opt::<u64>(2)?) {
                (0, Some(epoch)) => answers[at] = Answer::Granted { epoch: Epoch(epoch), steps: row.num(3)? },
                (0, None) => {}
                (1, _) => answers[at] = Answer::Full,
                _ => tight.push(at),
            }
        }
        Ok(tight)
    }

    /// Locks, decides, writes.
    async fn embedded(&self, connection: &mut Connection) -> Result<Vec<Answer>, Fault> {
        connection.begin().await?;
        let jobs = Table::default().ints(self.0.iter().map(|take| take.fence.job.0.cast_signed()));
        let mut projects: Vec<i64> = Vec::new();
        for row in connection.rows(|sql| &sql.take_scope, args![jobs]).await? {
            projects.push(row.num(0)?);
        }
        projects.sort_unstable();
        let mut room = room(connection, &projects).await?;
        let mut tight: Vec<i64> = Vec::new();
        if connection.dialect() != Dialect::Sqlite {
            let n = i64::try_from(self.0.len()).expect("few takes");
            let is_tight = |room: &Room| room.left < n + MARGIN + 2 * room.slots;
            tight = room.iter().filter(|(_, room)| is_tight(room)).map(|(id, _)| *id).collect();
            if !tight.is_empty() {
                connection.rows(|sql| &sql.project_lock, args![Table::default().ints(tight.iter().copied())]).await?;
            }
        }
        let me = self.members_up(connection).await?;
        let can = |take: &Take| me.get(&take.by).map(|can| i64::from(can.0));
        let asked = Table::default()
            .ints(self.0.iter().map(|take| take.fence.job.0.cast_signed()))
            .ints(self.0.iter().map(|take| take.fence.epoch.0.cast_signed()))
            .ints(self.0.iter().map(can));
        let mut candidates = Vec::new();
        for row in connection.rows(|sql| &sql.take_candidates, args![asked]).await? {
            candidates.push(candidate(&row)?);
        }
        candidates.sort_by_key(|candidate| (candidate.priority, candidate.job));
        if !tight.is_empty() {
            // Counted after the jobs are locked, because a job that ran when the project was locked may wait by now.
            room = self::room(connection, &projects).await?;
        }

        let mut answers = vec![Answer::Refused; self.0.len()];
        let mut granted: Vec<(&Candidate, &Take)> = Vec::new();
        let places: BTreeMap<i64, usize> =
            self.0.iter().enumerate().map(|(at, take)| (take.fence.job.0.cast_signed(), at)).collect();
        for candidate in &candidates {
            let Some(at) = places.get(&candidate.job).copied() else { continue };
            let take = &self.0[at];
            let Some(can) = me.get(&take.by) else { continue };
            if !candidate.running {
                if take.in_order {
                    let earlier = connection
                        .rows(|sql| &sql.take_earlier, args![candidate.job, candidate.priority, can.0])
                        .await?;
                    if !earlier.is_empty() {
                        continue;
                    }
                }
                // A job that was submitted after its project was read is refused.
                let Some(room) = room.get_mut(&candidate.project) else { continue };
                if room.left <= 0 {
                    answers[at] = Answer::Full;
                    continue;
                }
                room.left -= 1;
            }
            answers[at] = Answer::Granted { epoch: Epoch(take.fence.epoch.0 + 1), steps: candidate.steps };
            granted.push((candidate, take));
        }
        if granted.is_empty() {
            return Ok(answers);
        }
        write(connection, &granted).await?;
        connection.commit().await?;
        Ok(answers)
    }

    /// The takers that are up, with their capabilities. Their rows are locked, so that both stay unchanged until the commit.
    async fn members_up(&self, connection: &mut Connection) -> Result<BTreeMap<Member, Capabilities>, Fault> {
        let mut takers: Vec<Member> = self.0.iter().map(|take| take.by).collect();
        takers.sort_unstable();
        takers.dedup();
        let table = Table::default()
            .ints(takers.iter().map(|member| i64::from(member.node.0)))
            .ints(takers.iter().map(|member| i64::from(member.incarnation.get())));
        let mut up = BTreeMap::new();
        for row in connection.rows(|sql| &sql.take_member, args![table]).await? {
            up.insert(crate::beat::member(row.num(0)?, row.num(1)?)?, Capabilities(row.num(2)?));
        }
        Ok(up)
    }
}

/// The room that a project's limit leaves.
struct Room {
    left: i64,
    slots: i64,
}

async fn room(connection: &mut Connection, projects: &[i64]) -> Result<BTreeMap<i64, Room>, Fault> {
    let mut room = BTreeMap::new();
    for row in connection.rows(|sql| &sql.take_room, args![Table::default().ints(projects.iter().copied())]).await? {
        room.insert(row.num(0)?, Room { left: row.num::<i64>(1)? - row.num::<i64>(2)?, slots: row.num(3)? });
    }
    Ok(room)
}

fn candidate(row: &Row) -> Result<Candidate, StoreError> {
    Ok(Candidate {
        job: row.num(0)?,
        project: row.num(1)?,
        priority: row.num(2)?,
        running: row.num::<u8>(3)? == 2,
        steps: row.num(4)?,
        holder: row.opt(5)?.zip(row.opt(6)?),
        from_step: row.num(7)?,
        taken_ms: row.int(8)?,
    })
}

async fn write(connection: &mut Connection, granted: &[(&Candidate, &Take)]) -> Result<(), Fault> {
    let now = wall_ms();
    let old: Vec<_> =
        granted.iter().filter_map(|(candidate, take)| Some((candidate, take, candidate.holder?))).collect();
    if !old.is_empty() {
        let attempts = Table::default()
            .ints(old.iter().map(|(candidate, ..)| candidate.job))
            .ints(old.iter().map(|(_, take, _)| take.fence.epoch.0.cast_signed()))
            .ints(old.iter().map(|(.., (node, _))| *node))
            .ints(old.iter().map(|(.., (_, incarnation))| *incarnation))
            .ints(old.iter().map(|(candidate, ..)| candidate.from_step))
            .ints(old.iter().map(|(candidate, ..)| candidate.taken_ms))
            .ints(old.iter().map(|_| now))
            .ints(old.iter().map(|_| AttemptEnd::TakenOver.number()));
        connection.run(|sql| &sql.attempt_add, args![attempts]).await?;
    }
    let taken = Table::default()
        .ints(granted.iter().map(|(candidate, _)| candidate.job))
        .ints(granted.iter().map(|(_, take)| i64::from(take.by.node.0)))
        .ints(granted.iter().map(|(_, take)| i64::from(take.by.incarnation.get())))
        .ints(granted.iter().map(|_| now));
    connection.run(|sql| &sql.take_write, args![taken]).await?;
    Ok(())
}
