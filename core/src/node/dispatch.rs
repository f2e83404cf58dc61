//! Dispatch: job rows, homes, heirs, and which job starts next.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::{Inherited, Node, Phase, Source, What};
use crate::ask::{Answer, Ask, Fence, JobId, JobRow};
use crate::capability::Capabilities;
use crate::effect::{Nudge, Orphans};
use crate::failure::Found;
use crate::job::JobState;
use crate::member::{Member, NodeId};
use crate::placement;
use crate::plant::Plant;
use crate::queue::{Blocked, NOWHERE, Stage};
use crate::time::Time;

/// At most this many placements are written at once. The rest follows with the next list.
const PLACE_BATCH: usize = 256;

/// In a cluster of at most this many members, every member is told of every job that is accepted, handed back or ended,
/// and every member reads the list of all jobs with each poll.
const TELL_ALL: usize = 16;

impl Node {
    pub(super) fn read_jobs(&mut self, now: Time, ids: Vec<JobId>) {
        self.ask(now, What::ReadJobs(ids.clone()), Ask::ReadJobs(ids));
    }

    /// Stages the job of this row. A job also counts as held while an attempt of this member is still stopping.
    pub(super) fn put(&mut self, now: Time, row: JobRow) {
        let alive = row.holder.filter(|holder| self.roster.is_alive(*holder));
        let held_by = alive.or_else(|| self.me.filter(|_| self.attempts.contains_key(&row.id)));
        if (held_by.is_some() || row.state != JobState::Running) && !self.inherited.is_empty() {
            self.inherited.remove(&row.id);
        }
        self.queue.put(row, now, held_by);
    }

    /// Stores the row unless it is older than what is known.
    fn absorb(&mut self, now: Time, source: Source, row: &JobRow) {
        if let Some(job) = self.queue.job(row.id) {
            let older = row.epoch < job.row.epoch && !self.plants.is(Plant::OlderEpochBelieved)
                || row.epoch == job.row.epoch && source.is_older_than(job.known_at);
            if older || matches!(job.stage, Stage::Taking { .. }) {
                return;
            }
        }
        self.compare(row);
        let settled = self.settled.get(&row.id).copied();
        if row.holder.is_some() && row.holder == self.me && !self.attempts.contains_key(&row.id) {
            match source {
                // The row was read before this member's own write to it.
                Source::Read { asked_at } if settled.is_some_and(|at| asked_at <= at) => return,
                // The job was granted, but the answer was lost. The row shows it.
                Source::Read { .. } => {
                    let from = self.inherited.remove(&row.id);
                    self.begin(now, row, from);
                }
                Source::Hint => return self.read_jobs(now, vec![row.id]),
            }
        }
        if settled.is_some_and(|at| source.is_older_than(at)) {
            return;
        }
        if !self.queue.knows_project(row.project) {
            self.list_at = self.list_at.min(now);
        }
        self.put(now, *row);
        self.stirred = true;
    }

    /// This node's API accepted or changed jobs. Tell the members concerned.
    pub(super) fn told(&mut self, now: Time, rows: Vec<JobRow>) {
        let was_full: Vec<_> = rows.iter().map(|row| self.queue.is_full(row.project)).collect();
        self.heard(now, &rows);
        if self.tells_all() {
            // The cluster is small: every member can place the next job with knowledge of these.
            self.nudge_all(&Nudge::Jobs(rows));
            return;
        }
        let freed = rows.iter().zip(was_full).filter(|(row, full)| *full && !self.queue.is_full(row.project));
        let freed: Vec<_> = freed.map(|(row, _)| *row).collect();
        if !freed.is_empty() {
            // Jobs on other nodes may have waited for the freed places.
            self.nudge_all(&Nudge::Jobs(freed));
        }
        let mut concerned: BTreeMap<NodeId, Vec<JobRow>> = BTreeMap::new();
        for row in rows {
            let home = self.queue.home(row.id);
            for node in [home, row.holder.map(|h| h.node).filter(|h| Some(*h) != home)].into_iter().flatten() {
                concerned.entry(node).or_default().push(row);
            }
        }
        for (node, rows) in concerned {
            self.nudge(node, Nudge::Jobs(rows));
        }
    }

    /// Whether the cluster is small enough to tell every member of every change.
    pub(super) fn tells_all(&self) -> bool {
        self.roster.peers().len() <= TELL_ALL
    }

    pub(super) fn heard(&mut self, now: Time, rows: &[JobRow]) {
        if !self.is_member() {
            return;
        }
        for row in rows {
            self.absorb(now, Source::Hint, row);
        }
    }

    pub(super) fn jobs_read(&mut self, now: Time, asked_at: Time, ids: &[JobId], rows: &[JobRow]) {
        for id in ids {
            let row = rows.binary_search_by_key(id, |row| row.id).ok().map(|at| &rows[at]);
            self.resolve(now, asked_at, *id, row);
            let was_full = row.is_some_and(|row| self.queue.is_full(row.project));
            match row {
                Some(row) => self.absorb(now, Source::Read { asked_at }, row),
                None => self.queue.remove(*id),
            }
            if self.queue.job(*id).is_some_and(|job| matches!(job.stage, Stage::Waiting { .. })) {
                // The job still waits. Check immediately whether this node may take it from another queue.
                self.steal_at = self.steal_at.min(now);
            }
            let Some(row) = row.filter(|row| row.state.is_waiting() && !self.attempts.contains_key(&row.id)) else {
                continue;
            };
            // This node handed the job back, so any free node may take it, not only its new home. If its project was
            // full, other jobs may have waited for the place.
            let freed = was_full && !self.queue.is_full(row.project);
            if self.settled.contains_key(id) && (self.tells_all() || freed) {
                self.nudge_all(&Nudge::Jobs(vec![*row]));
            } else {
                self.tell_home(*row);
            }
        }
    }

    /// Tells the home of a job that this node handed back.
    fn tell_home(&mut self, row: JobRow) {
        if let Some(home) = self.queue.home(row.id).filter(|home| self.me.is_some_and(|me| me.node != *home)) {
            self.nudge(home, Nudge::Jobs(vec![row]));
        }
    }

    pub(super) fn jobs_listed(&mut self, now: Time, asked_at: Time, rows: &[JobRow]) {
        self.knows_jobs = true;
        self.queue.forget_full();
        for row in rows {
            self.absorb(now, Source::Read { asked_at }, row);
        }
        for id in self.queue.ids() {
            let listed = rows.binary_search_by_key(&id, |row| row.id).is_ok();
            let newer = self.plants.is(Plant::ListRemovesNewer);
            let stale = self
                .queue
                .job(id)
                .is_some_and(|j| (j.known_at < asked_at || newer) && !matches!(j.stage, Stage::Taking { .. }));
            if !listed && stale && !self.attempts.contains_key(&id) {
                self.queue.remove(id);
            }
        }
        // Drawn anew for each poll. Otherwise nodes that started together would read the full list together.
        let sharers = self.roster.peers().len().div_ceil(TELL_ALL).max(1) as u64;
        let draw = self.me.map_or(0, |me| placement::score(self.next_ask, me.node));
        self.own_polls = (draw % (2 * sharers - 1)) as u32;
        self.polled(now);
        // A leader that was frozen has an outdated view of the cluster, and may not be a member any more.
        if self.leads(crate::ask::Target::Leader) && self.lease.is_trusted(now) {
            self.write_placements(now);
        }
    }

    /// Processes the list of the jobs that this node holds or has on its queue.
    pub(super) fn own_listed(&mut self, now: Time, asked_at: Time, rows: &[JobRow]) {
        self.queue.forget_full();
        for row in rows {
            self.absorb(now, Source::Read { asked_at }, row);
        }
        self.polled(now);
    }

    fn polled(&mut self, now: Time) {
        // An answer still in flight may be older than the end of an attempt.
        let oldest = self.asks.values().map(|pending| pending.asked_at).min();
        self.settled.retain(|_, at| oldest.is_some_and(|oldest| oldest <= *at));
        self.refused.retain(|id, _| self.queue.row(*id).is_some());
        self.poll_at = now + self.settings.poll_every;
        if self.plants.is(Plant::EdgesOnly) {
            self.poll_at = Time::NEVER;
        }
        self.stirred = true;
    }

    /// Reads the list of jobs. The nodes of a large cluster share the full list: together they read it as often as one
    /// node of a small cluster does, and a node with free slots takes the waiting jobs that it finds. The leader reads
    /// the full list with each poll, because it restores placements. So does every node when jobs start in strict
    /// order.
    fn poll(&mut self, now: Time) {
        self.poll_at = Time::NEVER;
        let all = self.own_polls == 0 || self.settings.in_order || self.leads(crate::ask::Target::Leader);
        match self.me.filter(|_| !all) {
            Some(me) => {
                self.own_polls -= 1;
                self.ask(now, What::ListOwn, Ask::ListNode(me.node));
            }
            None => self.ask(now, What::ListJobs, Ask::ListJobs),
        }
    }

    /// As the leader, writes the placement of waiting jobs that have lost theirs.
    fn write_placements(&mut self, now: Time) {
        let misplaced: Vec<_> = self
            .queue
            .jobs()
            .filter_map(|job| match job.stage {
                Stage::Waiting { home } if home != NOWHERE && job.row.placed != Some(home) => {
                    job.row.state.is_waiting().then_some((job.row.fence(), home))
                }
                _ => None,
            })
            .take(PLACE_BATCH)
            .collect();
        for (fence, node) in misplaced {
            self.ask(now, What::Place { fence, node }, Ask::Place { fence, node });
        }
    }

    pub(super) fn placed(&mut self, now: Time, fence: Fence, node: NodeId, answer: &Answer) {
        // A job that was started meanwhile, perhaps by this node, does not wait any more.
        let waits = |row: &JobRow| row.fence() == fence && row.state.is_waiting();
        match (answer, self.queue.row(fence.job).copied().filter(waits)) {
            (Answer::Done, Some(row)) => {
                let row = JobRow { placed: Some(node), state: JobState::Pending, ..row };
                self.heard(now, &[row]);
                self.nudge(node, Nudge::Jobs(vec![row]));
            }
            (Answer::Refused, _) => self.read_jobs(now, vec![fence.job]),
            // The next list shows the job again.
            _ => {}
        }
    }

    // --- orphans and heirs ---

    /// Restages the jobs after a change of members. A job whose holder is dead waits for an heir. A job on the queue of
    /// a node that takes no jobs gets another home.
    pub(super) fn restage(&mut self, now: Time) {
        let astray = |job: &&crate::queue::Job| match job.stage {
            Stage::Held { by } => !self.roster.is_alive(by),
            Stage::Waiting { home } => {
                job.row.holder.is_some_and(|holder| self.roster.is_alive(holder))
                    || !self.queue.may_be_home(home, job.row.needs)
            }
            Stage::Taking { .. } | Stage::Idle => false,
        };
        let rows: Vec<_> = self.queue.jobs().filter(astray).map(|job| (job.row, job.stage)).collect();
        for (row, stage) in rows {
            if let (Stage::Held { by }, JobState::Running) = (stage, row.state) {
                self.inherited.entry(row.id).or_insert(Inherited { from: by, found: None, heard_at: now });
            }
            self.put(now, row);
        }
    }

    /// Processes the list of what a dead member held and had on its queue: finds the heirs and tells them.
    pub(super) fn node_listed(&mut self, now: Time, asked_at: Time, of: Member, found: Option<Found>, rows: &[JobRow]) {
        for row in rows {
            self.absorb(now, Source::Read { asked_at }, row);
        }
        let mut heirs: BTreeMap<NodeId, (Vec<JobRow>, Vec<JobRow>)> = BTreeMap::new();
        for row in rows {
            let Some(home) = self.queue.home(row.id) else { continue };
            let row = JobRow { placed: Some(home), ..*row };
            let (orphans, waiting) = heirs.entry(home).or_default();
            if row.state == JobState::Running { orphans.push(row) } else { waiting.push(row) }
        }
        for (heir, (orphans, waiting)) in heirs {
            if self.me.is_some_and(|me| me.node == heir) {
                self.inherit(now, of, found, &orphans);
                continue;
            }
            match found {
                Some(found) if !orphans.is_empty() => {
                    self.nudge(heir, Nudge::Orphans(Orphans { of, found, jobs: orphans }));
                }
                _ if !orphans.is_empty() => {
                    // The heir may not know yet that the holder is dead.
                    self.nudge(heir, Nudge::Lists);
                    self.nudge(heir, Nudge::Jobs(orphans));
                }
                _ => {}
            }
            if !waiting.is_empty() {
                self.nudge(heir, Nudge::Jobs(waiting));
            }
        }
    }

    /// This node is the heir of these jobs.
    pub(super) fn inherit(&mut self, now: Time, of: Member, found: Option<Found>, rows: &[JobRow]) {
        if !self.is_member() {
            return;
        }
        if self.roster.is_alive(of) {
            // The peer has read a newer list than this node.
            self.bury(now, of);
        }
        for row in rows {
            if row.state == JobState::Running {
                self.inherited.insert(row.id, Inherited { from: of, found, heard_at: now });
            }
        }
        self.heard(now, rows);
    }

    /// The queue for a job that this node hands back: preferably that of a node that can continue it at once.
    pub(super) fn heir(&self, job: JobId, needs: Capabilities) -> Option<NodeId> {
        match (self.phase, self.me) {
            (Phase::Up, Some(me)) if self.can().covers(needs) => Some(me.node),
            _ => self.queue.place_to_start(placement::key(job), needs),
        }
    }

    /// The jobs that wait on this node's queue.
    pub(super) fn queued_here(&self) -> Vec<JobId> {
        let Some(me) = self.me else { return Vec::new() };
        let here = |job: &&crate::queue::Job| job.stage == Stage::Waiting { home: me.node };
        self.queue.jobs().filter(here).map(|job| job.row.id).collect()
    }

    /// Writes the new placement of jobs that have just left this node's queue. A node without trust may have an
    /// outdated view of the queues, and leaves that to the leader.
    pub(super) fn place_elsewhere(&mut self, now: Time, jobs: &[JobId]) {
        if !self.lease.is_trusted(now) {
            return;
        }
        for id in jobs {
            let Some(row) = self.queue.row(*id).copied().filter(|row| row.state.is_waiting()) else { continue };
            if let Some(node) = self.queue.home(*id).filter(|home| *home != NOWHERE) {
                let fence = row.fence();
                self.ask(now, What::Place { fence, node }, Ask::Place { fence, node });
            }
        }
    }

    // --- the next job ---

    pub(super) fn tend_queue(&mut self, now: Time) {
        if self.poll_at <= now {
            self.poll(now);
        }
        let steal = self.steal_at <= now;
        if !self.stirred && !steal {
            return;
        }
        self.stirred = false;
        if steal {
            self.steal_at = Time::NEVER;
        }
        let Some(me) = self.me.filter(|_| self.takes_jobs(now)) else { return };
        if self.settings.in_order {
            self.take_in_order(now);
            return;
        }
        let can = self.can();
        while self.free() > 0 {
            let Some(mut next) = self.queue.head(me.node, can) else { break };
            if self.plants.is(Plant::NewestFirst) {
                next = self.queue.newest(me.node).unwrap_or(next);
            }
            self.take(now, next, false);
        }
        if self.free() > 0 {
            if steal {
                self.take_elsewhere(now, me);
            }
            // Set once and not again with each event. Otherwise a busy node would never check.
            if self.steal_at == Time::NEVER
                && !self.plants.is(Plant::EdgesOnly)
                && self.queue.homes().any(|home| home != me.node)
            {
                self.steal_at = now + self.settings.steal_after;
            }
        }
    }

    fn takes_jobs(&self, now: Time) -> bool {
        let stands_by = self.settings.leader_only && !self.leads(crate::ask::Target::Leader);
        let able = self.settings.role.runs_jobs() || self.plants.is(Plant::QueryTakes);
        let is_listed = self.me.is_some_and(|me| self.roster.is_alive(me));
        let informed = self.knows_jobs || self.plants.is(Plant::StartsUninformed);
        self.phase == Phase::Up && is_listed && able && informed && self.trusts_itself(now) && !stands_by
    }

    /// The capabilities that this node may use: those it has and the metastore already lists.
    fn can(&self) -> Capabilities {
        if self.plants.is(Plant::IncapableTakes) {
            return Capabilities::ALL;
        }
        let listed = self.me.and_then(|me| self.roster.get(me)).map_or(Capabilities::NONE, |peer| peer.row.can);
        self.settings.can.and(listed)
    }

    /// Whether this node may start attempts.
    pub(super) fn trusts_itself(&self, now: Time) -> bool {
        self.lease.is_trusted(now) || self.plants.is(Plant::StartsWithoutTrust)
    }

    pub(crate) fn free(&self) -> u32 {
        if self.plants.is(Plant::Hoards) {
            return u32::from(self.takes == 0);
        }
        let used = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX).saturating_add(self.takes);
        self.settings.slots.saturating_sub(used)
    }

    fn take(&mut self, now: Time, job: JobId, in_order: bool) {
        let (Some(by), Some(row)) = (self.me, self.queue.row(job).copied()) else { return };
        let is_running = row.state == JobState::Running;
        let from = row.holder.filter(|_| is_running);
        // A job that was started before has already had its turn.
        let in_order = in_order && !is_running;
        self.queue.taking(job);
        self.takes += 1;
        self.ask(now, What::Take { job, seen: row.epoch, from }, Ask::Take { fence: row.fence(), by, in_order });
    }

    fn take_in_order(&mut self, now: Time) {
        // One at a time: the next job is known only after the answer.
        if self.takes == 0
            && self.free() > 0
            && let Some(next) = self.queue.head_of_all(self.can())
        {
            self.take(now, next, true);
        }
    }

    /// Takes jobs that have waited too long on another queue, or whose home is full.
    ///
    /// A job that was not heard of for a while has most likely been started, so its row is read first.
    fn take_elsewhere(&mut self, now: Time, me: Member) {
        let homes: Vec<_> = self.queue.homes().filter(|home| *home != me.node).collect();
        let mut unheard = Vec::new();
        let can = self.can();
        for home in homes {
            while self.free() as usize > unheard.len() {
                let Some(next) = self.queue.head(home, can) else { break };
                let Some(job) = self.queue.job(next) else { break };
                let waited = now.since(job.waits_since) >= self.settings.steal_after;
                let full = matches!(self.queue.blocked(next, me.node, 1), Some(Blocked::NodeFull { .. }));
                if !waited && !full {
                    break;
                }
                if now.since(job.known_at) >= self.settings.steal_after.scaled(1, 2) {
                    unheard.push(next);
                    break;
                }
                self.take(now, next, false);
            }
        }
        if !unheard.is_empty() && !self.is_asked(|what| matches!(what, What::Peek(_))) {
            unheard.sort_unstable();
            self.ask(now, What::Peek(unheard.clone()), Ask::ReadJobs(unheard));
        }
    }

    /// Why the job does not start, as seen from this node; `None` if it is about to start.
    pub fn why(&self, now: Time, job: JobId) -> Option<Blocked> {
        let me = self.me?;
        let blocked = self.queue.blocked(job, me.node, self.free());
        match blocked {
            Some(Blocked::State { .. } | Blocked::Stopping { .. } | Blocked::Taking) => blocked,
            _ if !self.lease.is_trusted(now) => Some(Blocked::NoTrust),
            _ => blocked,
        }
    }
}
