//! Members: join, beat, list, drain, leave, fence.
//!
//! Every end of a member does the same in one transaction: it deletes the `beat` row, records the reason in the `member` row,
//! and clears the holder of jobs that the member held in a state other than RUNNING.

use kirin_core::ask::{Brief, Census, Epoch, ProjectId};
use kirin_core::member::Evidence;
use kirin_core::{Answer, Capabilities, ClaimRow, Member, MemberRow, MemberState, NodeId, ProjectRow, Role, Target};

use crate::clock::wall_ms;
use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::job::AttemptEnd;
use crate::wire::{Row, Table, args};

/// [`kirin_core::Ask::Join`].
pub(crate) struct Join<'a> {
    pub(crate) role: Role,
    pub(crate) slots: u32,
    pub(crate) can: Capabilities,
    pub(crate) name: &'a str,
    pub(crate) link: &'a str,
    pub(crate) http: &'a str,
    pub(crate) version: &'a str,
}

impl Work for Join<'_> {
    type Out = Answer;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        connection.begin().await?;
        if connection.run(|sql| &sql.node_next, args![self.name]).await? == 0 {
            connection.run(|sql| &sql.node_add, args![self.name]).await?;
            connection.run(|sql| &sql.node_next, args![self.name]).await?;
        }
        let rows = connection.rows(|sql| &sql.node_find, args![self.name]).await?;
        let row =
            rows.first().ok_or_else(|| StoreError::Corrupt("a node's row vanished during its join".to_owned()))?;
        let (node, incarnation) = (row.num::<u32>(0)?, row.num::<u32>(1)?);
        let me =
            Member::new(node, incarnation).ok_or_else(|| StoreError::Corrupt("incarnation 0 was issued".to_owned()))?;
        for row in connection.rows(|sql| &sql.member_alive_of_node, args![node]).await? {
            let old = member(node, row.num(0)?)?;
            end(connection, old, MemberState::Fenced, Evidence::Replaced, me).await?;
        }
        let now = wall_ms();
        connection
            .run(
                |sql| &sql.member_add,
                args![
                    node,
                    incarnation,
                    role_number(self.role),
                    self.slots,
                    self.link,
                    self.http,
                    self.version,
                    now,
                    self.can.0
                ],
            )
            .await?;
        connection.run(|sql| &sql.beat_add, args![node, incarnation]).await?;
        connection.commit().await?;
        Ok(Answer::Joined(me))
    }
}

/// [`kirin_core::Ask::Beat`].
pub(crate) struct Beat<'a> {
    pub(crate) by: Member,
    pub(crate) brief: Option<&'a Brief>,
}

impl Work for Beat<'_> {
    type Out = Answer;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        let beaten = connection.alone(|sql| &sql.beat, args![self.by.node.0, self.by.incarnation.get()]).await?;
        if beaten == 0 {
            return Ok(Answer::Refused);
        }
        if let Some(brief) = self.brief {
            let of = Table::default()
                .ints(brief.of.iter().map(|member| i64::from(member.node.0)))
                .ints(brief.of.iter().map(|member| i64::from(member.incarnation.get())));
            let rows = connection.rows(|sql| &sql.beat_brief, args![of]).await?;
            if let Some(beats) = beats(&rows, &brief.census)? {
                return Ok(beats);
            }
        }
        Ok(listed(&connection.rows(|sql| &sql.list, &[]).await?)?)
    }
}

/// [`kirin_core::Ask::List`].
pub(crate) struct List;

impl Work for List {
    type Out = Answer;
    const WRITES: bool = false;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        Ok(listed(&connection.rows(|sql| &sql.list, &[]).await?)?)
    }
}

/// The beats, if the checksums of the lists still match.
fn beats(rows: &[Row], census: &Census) -> Result<Option<Answer>, StoreError> {
    let (mut now, mut beats) = (Census::default(), Vec::new());
    for row in rows {
        let sums = || Ok([row.num(1)?, row.num(2)?, row.num(3)?]);
        match row.num::<u8>(0)? {
            0 => {
                let [count, lives, what] = sums()?;
                now.members = [count, lives, what, row.num(4)?];
            }
            1 => now.claims = sums()?,
            2 => now.projects = sums()?,
            _ => beats.push((member(row.num(1)?, row.num(2)?)?, row.num(3)?)),
        }
    }
    beats.sort_unstable();
    Ok((now == *census).then_some(Answer::Beats(beats)))
}

fn listed(rows: &[Row]) -> Result<Answer, StoreError> {
    let (mut members, mut claims, mut projects) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match row.num::<u8>(0)? {
            0 => members.push(MemberRow {
                member: member(row.num(1)?, row.num(2)?)?,
                state: member_state(row.num(3)?)?,
                role: role(row.num(4)?)?,
                slots: row.num(5)?,
                can: Capabilities(row.num(8)?),
                beat: row.num(6)?,
            }),
            1 => claims.push(ClaimRow {
                target: target(&row.string(7)?)?,
                holder: holder(row, 1)?,
                epoch: Epoch(row.num(6)?),
            }),
            _ => projects.push(ProjectRow { id: ProjectId(row.num(1)?), limit: row.num(2)? }),
        }
    }
    members.sort_by_key(|row| row.member);
    claims.sort_by_key(|row| row.target);
    projects.sort_by_key(|row| row.id);
    Ok(Answer::Listed { members, claims, projects })
}

/// [`kirin_core::Ask::Drain`].
pub(crate) struct Drain(pub(crate) Member);

impl Work for Drain {
    type Out = Answer;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        let hit = connection.alone(|sql| &sql.member_drain, args![self.0.node.0, self.0.incarnation.get()]).await?;
        Ok(done_if(hit > 0))
    }
}

/// [`kirin_core::Ask::Leave`].
pub(crate) struct Leave(pub(crate) Member);

impl Work for Leave {
    type Out = Answer;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        connection.begin().await?;
        if !end(connection, self.0, MemberState::Left, Evidence::Left, self.0).await? {
            return Ok(Answer::Refused);
        }
        connection.commit().await?;
        Ok(Answer::Done)
    }
}

/// [`kirin_core::Ask::Fence`].
pub(crate) struct FenceMember {
    pub(crate) member: Member,
    pub(crate) evidence: Evidence,
    pub(crate) beat: Option<u64>,
    pub(crate) by: Member,
}

impl Work for FenceMember {
    type Out = Answer;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        let Self { member, by, .. } = *self;
        connection.begin().await?;
        let rows = connection
            .rows(
                |sql| &sql.member_lock,
                args![member.node.0, member.incarnation.get(), by.node.0, by.incarnation.get()],
            )
            .await?;
        let mut alive = (false, false);
        for row in &rows {
            let who = self::member(row.num(0)?, row.num(1)?)?;
            let lives = member_state(row.num(2)?)?.is_alive();
            alive.0 |= who == member && lives;
            alive.1 |= who == by && lives;
        }
        if !alive.1 {
            return Ok(Answer::Refused);
        }
        if !alive.0 {
            return Ok(Answer::Done);
        }
        if self.evidence == Evidence::Silent {
            let Some(seen) = self.beat else { return Ok(Answer::Refused) };
            // A concurrent beat uses this row too. If it comes first, the count has changed. If it comes second, it
            // finds no row.
            let stopped = connection
                .run(|sql| &sql.beat_end_if, args![member.node.0, member.incarnation.get(), seen.cast_signed()])
                .await?;
            if stopped == 0 {
                return Ok(Answer::Refused);
            }
        }
        end(connection, member, MemberState::Fenced, self.evidence, by).await?;
        connection.commit().await?;
        Ok(Answer::Done)
    }
}

/// [`kirin_core::Ask::SetSlots`].
pub(crate) struct SetSlots {
    pub(crate) member: Member,
    pub(crate) slots: u32,
}

impl Work for SetSlots {
    type Out = Answer;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        let (node, incarnation) = (self.member.node.0, self.member.incarnation.get());
        let hit = connection.alone(|sql| &sql.member_slots, args![node, incarnation, self.slots]).await?;
        Ok(done_if(hit > 0))
    }
}

/// [`kirin_core::Ask::SetCan`].
pub(crate) struct SetCan {
    pub(crate) member: Member,
    pub(crate) can: Capabilities,
}

impl Work for SetCan {
    type Out = Answer;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        let (node, incarnation) = (self.member.node.0, self.member.incarnation.get());
        let hit = connection.alone(|sql| &sql.member_can, args![node, incarnation, self.can.0]).await?;
        Ok(done_if(hit > 0))
    }
}

/// Ends a member inside the caller's transaction; `false` if it is not alive.
async fn end(
    connection: &mut Connection,
    who: Member,
    state: MemberState,
    evidence: Evidence,
    by: Member,
) -> Result<bool, Fault> {
    let (node, incarnation, now) = (who.node.0, who.incarnation.get(), wall_ms());
    let number = if state == MemberState::Left { 2_i64 } else { 3 };
    let died = connection
        .run(
            |sql| &sql.member_die,
            args![node, incarnation, number, now, by.node.0, by.incarnation.get(), evidence.name()],
        )
        .await?;
    if died == 0 {
        return Ok(false);
    }
    connection.run(|sql| &sql.beat_end, args![node, incarnation]).await?;
    let held = connection.rows(|sql| &sql.orphan_lock, args![node, incarnation]).await?;
    if !held.is_empty() {
        let jobs: Vec<i64> = held.iter().map(|row| row.num(0)).collect::<Result<_, _>>()?;
        let attempts = Table::default()
            .ints(jobs.iter().copied())
            .ints(held.iter().map(|row| row.num::<i64>(1)).collect::<Result<Vec<_>, _>>()?)
            .ints(jobs.iter().map(|_| i64::from(node)))
            .ints(jobs.iter().map(|_| i64::from(incarnation)))
            .ints(held.iter().map(|row| row.num::<i64>(2)).collect::<Result<Vec<_>, _>>()?)
            .ints(held.iter().map(|row| row.int(3)).collect::<Result<Vec<_>, _>>()?)
            .ints(jobs.iter().map(|_| now))
            .ints(jobs.iter().map(|_| AttemptEnd::Lost.number()));
        connection.run(|sql| &sql.attempt_add, args![attempts]).await?;
        let clear = Table::default().ints(jobs.iter().copied()).ints(jobs.iter().map(|_| now));
        connection.run(|sql| &sql.orphan_clear, args![clear]).await?;
    }
    Ok(true)
}

/// The member in two columns, unless they are null.
pub(crate) fn holder(row: &Row, at: usize) -> Result<Option<Member>, StoreError> {
    match (row.opt(at)?, row.opt(at + 1)?) {
        (Some(node), Some(incarnation)) => Ok(Some(member(node, incarnation)?)),
        _ => Ok(None),
    }
}

pub(crate) fn member(node: u32, incarnation: u32) -> Result<Member, StoreError> {
    Member::new(node, incarnation).ok_or_else(|| StoreError::Corrupt(format!("incarnation 0 of {:?}", NodeId(node))))
}

pub(crate) fn member_state(number: u8) -> Result<MemberState, StoreError> {
    match number {
        0 => Ok(MemberState::Up),
        1 => Ok(MemberState::Draining),
        2 => Ok(MemberState::Left),
        3 => Ok(MemberState::Fenced),
        _ => Err(StoreError::Corrupt(format!("member state {number}"))),
    }
}

pub(crate) fn role(number: u8) -> Result<Role, StoreError> {
    match number {
        0 => Ok(Role::All),
        1 => Ok(Role::Job),
        2 => Ok(Role::Query),
        _ => Err(StoreError::Corrupt(format!("role {number}"))),
    }
}

const fn role_number(role: Role) -> i64 {
    match role {
        Role::All => 0,
        Role::Job => 1,
        Role::Query => 2,
    }
}

/// The name of a claim's target in its row.
pub(crate) fn target_name(target: Target) -> String {
    match target {
        Target::Leader => "leader".to_owned(),
        Target::Project(id) => format!("project/{}", id.0),
    }
}

fn target(name: &str) -> Result<Target, StoreError> {
    match name.strip_prefix("project/").map(str::parse) {
        None if name == "leader" => Ok(Target::Leader),
        Some(Ok(id)) => Ok(Target::Project(ProjectId(id))),
        _ => Err(StoreError::Corrupt(format!("claim of {name:?}"))),
    }
}

pub(crate) const fn done_if(hit: bool) -> Answer {
    if hit { Answer::Done } else { Answer::Refused }
}
