//! Membership: joining, beating, evidence, fencing and claims.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Claim, Next, Node, Phase, What};
use crate::ask::{Answer, Ask, Brief, Census, ClaimRow, Epoch, MemberRow, ProjectRow, Target};
use crate::capability::Capabilities;
use crate::effect::{Effect, Note, Nudge, Why};
use crate::event::Met;
use crate::failure::{Found, Suspicion};
use crate::lease::Lease;
use crate::member::{Evidence, Member, MemberState};
use crate::placement;
use crate::plant::Plant;
use crate::time::{Span, Time};

impl Node {
    pub(super) fn tend_membership(&mut self, now: Time) {
        match self.phase {
            Phase::Outside { join_at } if join_at <= now && self.is_idle() => {
                self.phase = Phase::Joining;
                let (role, slots, can) = (self.settings.role, self.settings.slots, self.settings.can);
                self.ask(now, What::Join, Ask::Join { role, slots, can });
            }
            Phase::Leaving { leave_at, give_up } => {
                if give_up <= now {
                    self.exit();
                } else if let (true, Some(by)) = (leave_at <= now, self.me) {
                    self.phase = Phase::Leaving { leave_at: Time::NEVER, give_up };
                    self.ask(now, What::Leave, Ask::Leave { by });
                }
            }
            Phase::Outside { .. } | Phase::Joining | Phase::Up | Phase::Draining { .. } | Phase::Gone => {}
        }
        let Some(by) = self.me.filter(|_| self.is_member()) else { return };
        if self.lease.beat_at() <= now {
            self.lease.sent();
            // A brief beat does not return the lists. Ask for them if a read is due.
            let is_enough = self.list_at == Time::NEVER;
            let observed = self.roster.observed().filter(|_| is_enough);
            let brief = observed.zip(self.census).map(|(of, census)| Box::new(Brief { census, of }));
            self.list_at = Time::NEVER;
            self.ask(now, What::Beat, Ask::Beat { by, brief });
        }
        if self.claim_at <= now {
            self.tend_claims(now);
        }
    }

    /// Reads the lists if a read is due. Only one such request is in flight; a wish that arrives meanwhile waits for
    /// the next one.
    pub(super) fn tend_lists(&mut self, now: Time) {
        if self.list_at <= now && !self.listing {
            self.list_at = Time::NEVER;
            self.listing = true;
            self.ask(now, What::List, Ask::List);
        }
    }

    pub(super) fn joined(&mut self, now: Time, asked_at: Time, answer: Answer) {
        let Answer::Joined(me) = answer else {
            // A lost reply may have meant "joined". That does not matter: the next join replaces that incarnation.
            self.phase = Phase::Outside { join_at: now + self.pause() };
            return;
        };
        self.me = Some(me);
        self.phase = Phase::Up;
        let trust_for = self.lease.trust_for;
        self.lease = Lease::new(self.settings.timing, asked_at);
        self.lease.trust_for = trust_for;
        self.lease.hurry(now);
        self.trusted = true;
        // The jobs can be staged only when the living members are known, so the first list triggers the first poll.
        self.knows_jobs = false;
        (self.poll_at, self.own_polls) = (Time::NEVER, 0);
        if self.drains {
            self.drain_wished(now, Span::ZERO, false);
        }
    }

    pub(super) fn beaten(&mut self, now: Time, asked_at: Time, answer: Answer) {
        match answer {
            Answer::Listed { members, claims, projects } => {
                self.lease.renewed(if self.plants.is(Plant::LeaseFromAnswer) { now } else { asked_at });
                self.listed(now, asked_at, &members, &claims, &projects);
            }
            Answer::Beats(beats) => {
                self.lease.renewed(if self.plants.is(Plant::LeaseFromAnswer) { now } else { asked_at });
                self.beats_read(now, asked_at, &beats);
            }
            Answer::Refused => self.was_fenced(now),
            _ if self.plants.is(Plant::RenewalGivesUp) => {}
            _ => {
                self.lease.failed(asked_at, now);
                if self.plants.is(Plant::OneFailureStopsWork) {
                    self.stop_all(Why::Lost);
                }
            }
        }
    }

    /// Another member fenced this one. It stops everything, then joins under a new incarnation.
    fn was_fenced(&mut self, now: Time) {
        let Some(me) = self.me else { return };
        self.note(Note::WasFenced(me));
        self.stop_all(Why::Fenced);
        // Ended attempts have nothing left to ask. Running attempts ignore the answers to earlier requests.
        self.attempts.retain(|_, attempt| attempt.ended.is_none());
        self.attempts.values_mut().for_each(|attempt| attempt.busy = false);
        self.forget();
        if self.plants.is(Plant::NeverJoinsAgain) {
            self.phase = Phase::Gone;
            return;
        }
        // A member that was leaving does not join again.
        if matches!(self.phase, Phase::Draining { next: Next::Leave, .. } | Phase::Leaving { .. }) {
            self.exit();
        } else {
            self.phase = Phase::Outside { join_at: now };
        }
    }

    /// Forgets everything that belongs to this incarnation, except attempts that still run.
    fn forget(&mut self) {
        self.resign_all();
        self.me = None;
        self.asks.clear();
        self.listing = false;
        self.list_at = Time::NEVER;
        self.settled.clear();
        self.reread.clear();
        self.refused.clear();
        self.suspects_itself = false;
        self.takes = 0;
        self.claims.clear();
        self.inherited.clear();
        self.queue = crate::queue::Queue::default();
        self.roster = crate::failure::Roster::default();
        (self.queue.plants, self.roster.plants) = (self.plants, self.plants);
        self.watched.clear();
        self.engine = None;
        self.census = None;
        self.trusted = false;
    }

    pub(super) fn listed(
        &mut self,
        now: Time,
        asked_at: Time,
        members: &[MemberRow],
        claims: &[ClaimRow],
        projects: &[ProjectRow],
    ) {
        let Some(me) = self.me else { return };
        if self.roster.is_outdated(asked_at) {
            self.list_at = now;
            return;
        }
        let is_first = self.roster.peers().is_empty();
        let (gone, changed) = self.roster.listed(asked_at, now, members, self.blind_after());
        if self.queue.set_limits(projects) {
            self.stirred = true;
        }
        self.census = Some(Census::of(members, claims, projects));
        self.compare_me(now, me);
        if changed {
            self.roster.observe(me, self.settings.observers);
            self.candidates_changed(now);
        }
        for (member, suspicion) in gone.iter().filter(|(m, _)| *m != me) {
            self.lost(now, *member, *suspicion);
        }
        self.heard_beats(now, me, changed);
        self.claims_listed(now, asked_at, claims, projects);
        if is_first {
            self.poll_at = now;
            // Other nodes learn of this member at once instead of with their next beat.
            self.nudge_all(&Nudge::Lists);
        }
    }

    /// The lists are unchanged; only beats were read.
    fn beats_read(&mut self, now: Time, asked_at: Time, beats: &[(Member, u64)]) {
        let Some(me) = self.me else { return };
        if self.roster.is_outdated(asked_at) {
            self.list_at = now;
            return;
        }
        self.roster.beats(asked_at, now, beats, self.blind_after());
        self.heard_beats(now, me, false);
    }

    /// Processes beats. The watched members depend on which members are silent.
    fn heard_beats(&mut self, now: Time, me: Member, changed: bool) {
        let silent_count = self.roster.silent_count(self.settings.timing.timeout());
        if changed || silent_count != self.silent_count {
            self.silent_count = silent_count;
            self.watch(me);
        }
        self.silence_at = now;
    }

    /// After this time without a successful read, the observer cannot know which members were silent.
    fn blind_after(&self) -> Span {
        let timing = self.settings.timing;
        timing.interval() + timing.retry_every().scaled(2, 1)
    }

    /// Compares this member's row with what this node wants it to contain.
    fn compare_me(&mut self, now: Time, me: Member) {
        let Some(row) = self.roster.get(me).map(|peer| peer.row) else {
            // The metastore seems to consider this member dead. The next beat confirms or refutes that.
            return self.lease.hurry(now);
        };
        if row.state == MemberState::Up && self.phase != Phase::Up && !self.is_asked(|w| matches!(w, What::Drain)) {
            self.ask(now, What::Drain, Ask::Drain { by: me });
        }
        self.tend_slots(now, me, row.slots);
        self.tend_can(now, me, row.can);
    }

    /// This member's row was written, or was not. The list shows which; what is still missing is then written again.
    pub(super) fn row_written(&mut self, now: Time, answer: &Answer) {
        let pause = if *answer == Answer::Done { Span::ZERO } else { self.pause() };
        self.list_at = self.list_at.min(now + pause);
    }

    /// The node decides how many attempts it runs; the metastore shows the number to other nodes.
    fn tend_slots(&mut self, now: Time, member: Member, shown: u32) {
        let slots = self.settings.slots;
        if slots != shown && !self.is_asked(|w| matches!(w, What::Slots)) {
            self.ask(now, What::Slots, Ask::SetSlots { member, slots });
        }
    }

    /// Likewise for its capabilities.
    fn tend_can(&mut self, now: Time, member: Member, shown: Capabilities) {
        let can = self.settings.can;
        if can != shown && !self.is_asked(|w| matches!(w, What::Can)) {
            self.ask(now, What::Can, Ask::SetCan { member, can });
        }
    }

    /// Updates homes and stages after a change of the living members.
    pub(super) fn candidates_changed(&mut self, now: Time) {
        let (me, is_up) = (self.me, self.phase == Phase::Up);
        let nodes = self.roster.peers().iter().map(|p| &p.row);
        let able = nodes.filter(|r| r.state == MemberState::Up && r.role.runs_jobs() && r.slots > 0);
        let (alone, engine) = (self.settings.leader_only, self.engine);
        let able = able.filter(|r| (!alone || engine == Some(r.member.node)) && (is_up || Some(r.member) != me));
        // For this node itself, the settings are more recent than the list.
        let can = |r: &MemberRow| if Some(r.member) == me { r.can.and(self.settings.can) } else { r.can };
        self.queue.set_candidates(able.map(|r| (r.member.node, r.slots, can(r))));
        self.restage(now);
        self.stirred = true;
    }

    fn watch(&mut self, me: Member) {
        let watchers = if self.plants.is(Plant::NobodyWatches) { 0 } else { self.settings.watchers };
        let watched = self.roster.watched_by(me, watchers, self.settings.timing.timeout());
        if watched != self.watched {
            self.watched.clone_from(&watched);
            self.out.push(Effect::Watch(watched));
        }
    }

    /// The member is not alive any more. Its heirs take what it held.
    fn lost(&mut self, now: Time, member: Member, suspicion: Option<Suspicion>) {
        // The list arrived before the answer to this member's own request to fence.
        let found = suspicion.filter(|s| s.asked).and_then(|s| s.found(now));
        if let Some(found) = found {
            self.fence_known(now, member, found);
        } else if self.watched.contains(&member) {
            self.ask(now, What::ListNode { of: member, found: None, fenced_at: now }, Ask::ListNode(member.node));
        }
    }

    // --- evidence ---

    pub(super) fn suspected(&mut self, now: Time, member: Member) {
        if !self.is_member() || Some(member) == self.me {
            return;
        }
        if self.plants.is(Plant::ExitIgnored) {
            return;
        }
        if self.plants.is(Plant::LinkIsLife) {
            return self.evident(now, member, Evidence::Exited);
        }
        if let Some(suspicion) = self.roster.suspect(now, member) {
            // An overdue probe is sent again with the next hint.
            let patience = self.settings.timing.ask_timeout();
            let is_probing = suspicion.probed_at.is_some_and(|at| now.since(at) < patience);
            if !is_probing && !suspicion.asked {
                suspicion.probed_at = Some(now);
                self.out.push(Effect::Probe(member));
            }
        }
    }

    pub(super) fn probed(&mut self, now: Time, member: Member, met: Met) {
        if self.roster.get(member).is_none() {
            return;
        }
        if let Some(suspicion) = self.roster.suspicion(member) {
            suspicion.probed_at = None;
        }
        match met {
            Met::Refused => self.evident(now, member, Evidence::Exited),
            Met::Alive(other) if other != member && other.node == member.node => self.list_at = now,
            // Without an answer, the host or the network path may be down. The beats decide.
            Met::Alive(_) | Met::Nothing => {
                if self.roster.suspicion(member).is_some_and(|suspicion| suspicion.evidence.is_none()) {
                    self.roster.acquit(member);
                }
            }
        }
    }

    /// Asks the metastore to fence the member, on the given evidence.
    pub(super) fn evident(&mut self, now: Time, member: Member, evidence: Evidence) {
        let Some(me) = self.me.filter(|me| self.is_member() && *me != member) else { return };
        let Some(suspicion) = self.roster.suspect(now, member) else { return };
        if suspicion.asked {
            return;
        }
        if suspicion.evidence.is_none_or(|(known, _)| known != evidence) {
            suspicion.evidence = Some((evidence, now));
        }
        let lists = (self.listing || self.list_at <= now) && !self.plants.is(Plant::FencesBesideList);
        if evidence == Evidence::Exited && lists {
            // The member may just have left: the list in flight tells. Evidence that remains is checked again after it.
            return;
        }
        let (dead, of) = self.roster.looks_dead(me);
        if of >= 3 && dead * 2 > of && evidence == Evidence::Exited {
            if !self.suspects_itself {
                self.suspects_itself = true;
                self.note(Note::SuspectsItself { dead, of });
            }
            return;
        }
        self.suspects_itself = false;
        let beat = self.roster.get(member).filter(|_| evidence == Evidence::Silent).map(|peer| peer.row.beat);
        if let Some(suspicion) = self.roster.suspicion(member) {
            suspicion.asked = true;
            self.ask(now, What::Fence { member }, Ask::Fence { member, evidence, beat, by: me });
        }
    }

    pub(super) fn fenced(&mut self, now: Time, member: Member, answer: &Answer) {
        let Some(suspicion) = self.roster.suspicion(member) else { return };
        suspicion.asked = false;
        match answer {
            Answer::Done => {
                let found = suspicion.found(now);
                self.bury(now, member);
                if let Some(found) = found {
                    self.fence_known(now, member, found);
                }
            }
            // The evidence remains, and is presented again with the next list. Evidence of silence ends with the beat
            // because of which it was refused. Evidence of an exit is refused only to a member that is not alive.
            _ => self.list_at = self.list_at.min(now + self.pause()),
        }
    }

    /// The metastore confirmed a fence that this member asked for. Find out what the fenced member held.
    fn fence_known(&mut self, now: Time, member: Member, found: Found) {
        self.note(Note::Fenced { member, found });
        self.ask(now, What::ListNode { of: member, found: Some(found), fenced_at: now }, Ask::ListNode(member.node));
        self.nudge_all(&Nudge::Lists);
    }

    /// The metastore says that the member is dead. What it held waits for heirs.
    pub(super) fn bury(&mut self, now: Time, member: Member) {
        self.roster.remove(now, member);
        self.candidates_changed(now);
        if let Some(me) = self.me {
            // Watch the members that the dead member watched.
            self.watch(me);
        }
        self.list_at = now;
    }

    pub(super) fn tend_silence(&mut self, now: Time) {
        if self.silence_at > now {
            return;
        }
        let timeout = self.settings.timing.timeout();
        let (silent, next) = self.roster.silent(&self.watched, timeout);
        for member in silent {
            self.evident(now, member, Evidence::Silent);
        }
        // Evidence that could not be used earlier is checked again with each list.
        let standing: Vec<_> = self.roster.standing().filter(|(_, evidence)| *evidence != Evidence::Silent).collect();
        for (member, evidence) in standing {
            self.evident(now, member, evidence);
        }
        self.silence_at = next;
        if next <= now {
            // The timeout has passed, but the last list was requested before. Read it again.
            self.list_at = self.list_at.min(now);
            self.silence_at = now + self.pause();
        }
    }

    // --- claims ---

    pub(super) fn claims_listed(&mut self, now: Time, asked_at: Time, rows: &[ClaimRow], projects: &[ProjectRow]) {
        let exists = |target: Target| match target {
            Target::Leader => true,
            Target::Project(id) => projects.binary_search_by_key(&id, |project| project.id).is_ok(),
        };
        // The claim of a dropped project is dropped with it.
        for (target, _) in
            self.claims.extract_if(.., |target, _| !exists(*target)).filter(|(_, claim)| claim.leads.is_some())
        {
            self.out.push(Effect::Resign(target));
        }
        for row in rows.iter().filter(|row| exists(row.target)) {
            let claim = self.claims.entry(row.target).or_insert(Claim::new(*row, asked_at));
            let is_newer = row.epoch > claim.row.epoch || asked_at >= claim.known_at;
            if is_newer || self.plants.is(Plant::ClaimGoesBack) {
                (claim.row, claim.known_at) = (*row, claim.known_at.max(asked_at));
            }
        }
        // A missing row counts as vacant. The epoch is kept, and the claim is recreated with the epoch that follows it.
        let gone = |claim: &&mut Claim| {
            asked_at >= claim.known_at && rows.binary_search_by_key(&claim.row.target, |row| row.target).is_err()
        };
        if !self.plants.is(Plant::BelievesWithoutRow) {
            self.claims.values_mut().filter(gone).for_each(|claim| claim.row.holder = None);
        }
        let all = core::iter::once(Target::Leader).chain(projects.iter().map(|p| Target::Project(p.id)));
        for target in all {
            let row = ClaimRow { target, holder: None, epoch: Epoch::default() };
            self.claims.entry(target).or_insert(Claim::new(row, asked_at));
        }
        self.tend_claims(now);
    }

    /// Takes the vacant claims for which this member ranks first. Members with lower ranks follow, each after one more
    /// pause, so a first candidate that does not act causes only a delay.
    fn tend_claims(&mut self, now: Time) {
        let Some(me) = self.me else { return };
        self.claim_at = Time::NEVER;
        let is_up = self.phase == Phase::Up;
        // A member that is missing from the list is dead to the metastore, and its claim would be refused.
        let able = self.settings.role.runs_jobs() && is_up && self.roster.is_alive(me);
        let pause = self.pause();
        let (mut effects, mut asks) = (Vec::new(), Vec::new());
        for (target, claim) in &mut self.claims {
            let mine = claim.row.holder == Some(me);
            let leads = (mine && is_up).then_some(claim.row.epoch);
            if leads != claim.leads {
                if claim.leads.is_some() && !self.plants.is(Plant::LeadsForEver) {
                    effects.push(Effect::Resign(*target));
                }
                if let Some(epoch) = leads {
                    if !self.plants.is(Plant::LeaderIdle) || epoch.0 == 1 {
                        effects.push(Effect::Lead { target: *target, epoch });
                    }
                    self.stirred = true;
                }
                claim.leads = leads;
            }
            if mine && !is_up && !claim.asked {
                // A draining member gives up claims that another member could take.
                claim.asked = true;
                let ask = Ask::Yield { target: *target, epoch: claim.row.epoch, by: me };
                asks.push((What::Yield { target: *target }, ask));
            }
            if claim.row.holder.is_some_and(|holder| self.roster.is_alive(holder)) {
                claim.vacant_since = None;
                continue;
            }
            let since = *claim.vacant_since.get_or_insert(now);
            if !able || claim.asked {
                continue;
            }
            let key = match target {
                Target::Leader => u64::MAX,
                Target::Project(project) => u64::from(project.0) | 1 << 41,
            };
            let mine = placement::score(key, me.node);
            let before = self.roster.peers().iter().map(|p| &p.row).filter(|r| {
                r.state == MemberState::Up && r.role.runs_jobs() && placement::score(key, r.member.node) > mine
            });
            let turn = since + pause.scaled(before.count() as u64, 1);
            if turn > now {
                self.claim_at = self.claim_at.min(turn);
                continue;
            }
            claim.asked = true;
            let ask = Ask::Claim { target: *target, epoch: claim.row.epoch, by: me, force: false };
            asks.push((What::Claim { target: *target }, ask));
        }
        self.out.append(&mut effects);
        for (what, ask) in asks {
            self.ask(now, what, ask);
        }
        let leader = self.claims.get(&Target::Leader).and_then(|claim| claim.row.holder).map(|holder| holder.node);
        if self.settings.leader_only && self.engine != leader {
            self.engine = leader;
            self.candidates_changed(now);
        }
    }

    pub(super) fn claim_wished(&mut self, now: Time, target: Target, force: bool) {
        // A node that runs no jobs can be neither a job engine nor the leader of those that do.
        let able = self.phase == Phase::Up && self.settings.role.runs_jobs();
        let Some(by) = self.me.filter(|_| able) else { return };
        let epoch = self.claims.get(&target).map_or(Epoch::default(), |claim| claim.row.epoch);
        self.ask(now, What::Claim { target }, Ask::Claim { target, epoch, by, force });
    }

    pub(super) fn claimed(&mut self, now: Time, target: Target, answer: &Answer) {
        let Some(me) = self.me else { return };
        let Some(claim) = self.claims.get_mut(&target) else { return };
        claim.asked = false;
        match answer {
            Answer::Granted { epoch, .. } => {
                // A list that arrived earlier may already name a later holder.
                if *epoch > claim.row.epoch {
                    claim.row = ClaimRow { target, holder: Some(me), epoch: *epoch };
                    claim.known_at = now;
                }
                self.tend_claims(now);
            }
            _ => {
                // Another member was faster, or the outcome is unknown. The list tells.
                let again_at = now + self.settings.timing.retry_every().min(Span::from_secs(1));
                claim.vacant_since = Some(again_at);
                self.claim_at = self.claim_at.min(again_at);
                self.list_at = now;
            }
        }
    }

    pub(super) fn yielded(&mut self, now: Time, target: Target, answer: &Answer) {
        let Some(claim) = self.claims.get_mut(&target) else { return };
        claim.asked = false;
        if *answer == Answer::Done && claim.row.holder == self.me {
            (claim.row.holder, claim.known_at) = (None, now);
            self.nudge_all(&Nudge::Lists);
        }
        self.list_at = self.list_at.min(now + self.pause());
    }

    pub(super) fn resign_all(&mut self) {
        for (target, claim) in &mut self.claims {
            if claim.leads.take().is_some() && !self.plants.is(Plant::LeadsForEver) {
                self.out.push(Effect::Resign(*target));
            }
        }
    }

    /// Whether this member holds the claim, as far as it knows.
    pub fn leads(&self, target: Target) -> bool {
        self.claims.get(&target).is_some_and(|claim| claim.leads.is_some())
    }

    // --- drain and leave ---

    pub(super) fn drain_wished(&mut self, now: Time, within: Span, leave: bool) {
        self.drains = true;
        match self.phase {
            Phase::Up | Phase::Draining { .. } => {}
            Phase::Outside { .. } | Phase::Joining if leave => return self.exit(),
            // The drain starts as soon as the node has joined.
            Phase::Outside { .. } | Phase::Joining | Phase::Leaving { .. } | Phase::Gone => return,
        }
        let leaves_already = matches!(self.phase, Phase::Draining { next: Next::Leave, .. });
        let next = if leave || leaves_already { Next::Leave } else { Next::Stay };
        self.phase = Phase::Draining { until: now + within, next };
        if let Some(by) = self.me {
            self.ask(now, What::Drain, Ask::Drain { by });
        }
        for attempt in self.attempts.values_mut() {
            attempt.yields = true;
        }
        let mine = self.queued_here();
        self.candidates_changed(now);
        self.place_elsewhere(now, &mine);
        self.tend_claims(now);
    }

    /// A member's state never moves back, so a node that takes jobs again joins again.
    pub(super) fn drain_undone(&mut self) {
        self.drains = false;
        if let Phase::Draining { until, next: Next::Stay } = self.phase {
            self.phase = Phase::Draining { until, next: Next::Rejoin };
        }
    }

    pub(super) fn tend_drain(&mut self, now: Time) {
        let Phase::Draining { until, next } = self.phase else { return };
        if until <= now {
            self.stop_all(Why::Drained);
            self.phase = Phase::Draining { until: Time::NEVER, next };
        }
        // Jobs that were handed back are read again, and their heirs are told, before this member leaves.
        let busy = self
            .asks
            .values()
            .any(|p| matches!(p.what, What::Take { .. } | What::Place { .. } | What::Drain | What::ReadJobs(_)));
        let runs = !self.attempts.is_empty() && !self.plants.is(Plant::LeavesWhileRunning);
        if runs || busy {
            return;
        }
        match next {
            Next::Stay => {}
            Next::Leave => {
                let give_up = now + self.settings.timing.ask_timeout().scaled(2, 1);
                self.phase = Phase::Leaving { leave_at: now, give_up };
                self.tend_membership(now);
            }
            Next::Rejoin => {
                self.forget();
                self.phase = Phase::Outside { join_at: now };
                self.tend_membership(now);
            }
        }
    }

    pub(super) fn left(&mut self, now: Time, answer: &Answer) {
        let Phase::Leaving { give_up, .. } = self.phase else { return };
        match answer {
            Answer::Done | Answer::Refused => {
                self.nudge_all(&Nudge::Lists);
                self.exit();
            }
            _ => self.phase = Phase::Leaving { leave_at: now + self.pause(), give_up },
        }
    }

    fn exit(&mut self) {
        self.resign_all();
        self.phase = Phase::Gone;
        self.out.push(Effect::Exit);
    }

    pub(super) fn can_changed(&mut self, now: Time, can: Capabilities) {
        if can == self.settings.can {
            return;
        }
        self.settings.can = can;
        if let Some(me) = self.me.filter(|_| self.is_member()) {
            let mine = self.queued_here();
            self.candidates_changed(now);
            let moved: Vec<_> = mine.into_iter().filter(|id| self.queue.home(*id) != Some(me.node)).collect();
            self.place_elsewhere(now, &moved);
            if let Some(shown) = self.roster.get(me).map(|peer| peer.row.can) {
                self.tend_can(now, me, shown);
            }
        }
    }

    pub(super) fn slots_wished(&mut self, now: Time, slots: u32) {
        self.settings.slots = slots;
        self.stirred = true;
        if let Some(me) = self.me.filter(|_| self.is_member())
            && let Some(shown) = self.roster.get(me).map(|peer| peer.row.slots)
        {
            self.tend_slots(now, me, shown);
        }
    }
}
