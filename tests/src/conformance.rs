//! The conformance suite of the metastore contract: every sentence of [`kirin_core::ask`] as a test for any
//! implementation of [`Contract`].
//!
//! Each case gets an empty metastore. Sequential cases check each sentence and each refusal. Races check the outcome
//! that all interleavings must have, with sixteen concurrent clients.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::{BoxFuture, join_all};
use kirin_core::ask::{Brief, Census, Epoch, Fence, JobId, Priority, ProjectId};
use kirin_core::job::JobEvent;
use kirin_core::{
    Action, Answer, Ask, Capabilities, ClaimRow, Evidence, JobRow, JobState, Member, MemberRow, MemberState, NodeId,
    Outcome, ProjectRow, Role, Target,
};

/// An implementation of the contract.
pub trait Contract: Send + Sync + 'static {
    /// Sends a request. Only a join uses the node's name, which is the node's identity.
    fn ask(&self, node: &str, ask: Ask) -> BoxFuture<'_, Answer>;

    /// Creates a project with this limit.
    fn project(&self, name: &str, limit: u32) -> BoxFuture<'_, ProjectId>;
}

/// Calls the given macro with the names of all cases.
#[macro_export]
macro_rules! conformance_cases {
    ($callback:ident) => {
        $callback! {
            a_join_starts_a_new_incarnation_of_its_node
            a_join_replaces_the_living_member_of_its_node
            a_beat_counts_and_lists
            a_member_that_is_not_alive_cannot_beat
            a_list_does_not_beat
            draining_is_idempotent
            leaving_ends_a_member
            a_fence_ends_a_member
            a_fence_for_silence_needs_the_beat_that_was_seen
            a_fence_needs_a_living_witness
            the_end_of_a_member_releases_jobs_that_do_not_run
            a_claim_is_granted_once_per_epoch
            a_claim_without_a_row_is_restored_under_the_known_epoch
            a_claim_needs_a_member_that_is_up
            a_claim_is_free_when_its_holder_is_not_alive
            a_released_claim_is_free
            a_claim_of_an_earlier_incarnation_is_free
            a_claim_can_be_forced
            a_yield_is_scoped_by_epoch_and_holder
            a_submit_is_accepted_once_per_key
            a_submit_needs_its_project
            the_list_of_jobs_contains_open_and_held_jobs
            jobs_are_read_in_every_state
            the_list_of_a_node_contains_its_held_and_waiting_jobs
            a_place_requires_a_waiting_job_without_a_holder
            a_take_is_granted_once_per_epoch
            a_take_needs_a_member_that_is_up
            a_take_requires_a_member_with_the_capability_for_the_job
            a_take_needs_a_job_that_waits_or_runs
            a_job_of_a_dead_member_is_taken_over
            a_job_of_an_earlier_incarnation_is_taken_over
            a_take_in_a_full_project_is_refused
            strict_order_holds_over_all_nodes
            a_step_is_scoped_by_job_epoch_holder_state_and_number
            a_finish_is_scoped_by_job_epoch_holder_and_state
            a_release_is_scoped_by_epoch_and_holder
            a_release_keeps_the_users_action
            an_action_is_scoped_by_epoch_and_state
            an_action_is_legal_in_the_states_that_the_job_allows
            a_restart_deletes_the_steps
            an_action_clears_a_holder_that_is_not_alive
            slots_and_limits_can_be_changed
            the_capabilities_of_a_living_member_can_be_changed
            requests_about_missing_objects_are_refused
            of_sixteen_claims_one_wins
            of_sixteen_takes_one_wins
            of_sixteen_takeovers_one_wins
            of_sixteen_equal_submits_one_creates_the_job
            a_limit_is_exact_for_sixteen_takers
            a_step_is_committed_once_by_sixteen_zombies
            a_release_is_done_once_by_sixteen_zombies
            a_beat_and_a_fence_for_silence_exclude_each_other
            a_finish_and_a_takeover_exclude_each_other
            a_takeover_is_granted_before_and_after_the_dead_members_release
            a_take_comes_before_the_fence_of_its_taker_or_not_at_all
            a_take_comes_before_the_loss_of_a_capability_or_not_at_all
            a_claim_comes_before_the_fence_of_its_taker_or_not_at_all
            two_members_cannot_fence_each_other
            an_action_and_the_end_of_the_holder_leave_no_orphan
            a_release_and_an_action_agree_on_the_state
            sixteen_joins_of_one_node_leave_one_alive
        }
    };
}

/// Helpers on a contract, which keep the cases readable.
#[derive(Clone)]
struct Cluster {
    contract: Arc<dyn Contract>,
}

static KEYS: AtomicU64 = AtomicU64::new(1);
const SIXTEEN: usize = 16;

/// The capabilities of the suite's members when they join.
const BOTH: Capabilities = Capabilities(3);
const FIRST: Capabilities = Capabilities(1);
const SECOND: Capabilities = Capabilities(2);

impl Cluster {
    async fn ask(&self, ask: Ask) -> Answer {
        self.contract.ask("", ask).await
    }

    async fn join_as(&self, node: &str, role: Role, slots: u32) -> Member {
        match self.contract.ask(node, Ask::Join { role, slots, can: BOTH }).await {
            Answer::Joined(member) => member,
            other => panic!("a join was answered by {other:?}"),
        }
    }

    async fn join(&self, node: &str) -> Member {
        self.join_as(node, Role::All, 100).await
    }

    async fn project(&self, limit: u32) -> ProjectId {
        let name = format!("project {}", KEYS.fetch_add(1, Ordering::Relaxed));
        self.contract.project(&name, limit).await
    }

    async fn submit_at(&self, project: ProjectId, priority: u8, placed: Option<NodeId>) -> JobRow {
        self.submit_that_needs(project, priority, placed, Capabilities::NONE).await
    }

    async fn submit_that_needs(
        &self,
        project: ProjectId,
        priority: u8,
        placed: Option<NodeId>,
        needs: Capabilities,
    ) -> JobRow {
        let key = u128::from(KEYS.fetch_add(1, Ordering::Relaxed)) << 64 | 1;
        let priority = Priority(priority);
        match self.ask(Ask::Submit { project, priority, placed, external: false, needs, key }).await {
            Answer::Accepted { row, fresh: true } => row,
            other => panic!("a submit was answered by {other:?}"),
        }
    }

    async fn submit(&self, project: ProjectId) -> JobRow {
        self.submit_at(project, 3, None).await
    }

    async fn take(&self, fence: Fence, by: Member) -> Answer {
        self.ask(Ask::Take { fence, by, in_order: false }).await
    }

    /// Takes a job that can be taken. Returns the fence.
    async fn hold(&self, job: JobId, by: Member) -> Fence {
        let seen = self.read(job).await.fence();
        match self.take(seen, by).await {
            Answer::Granted { epoch, .. } => {
                assert_eq!(epoch.0, seen.epoch.0 + 1, "an epoch grows by one");
                Fence { job, epoch }
            }
            other => panic!("a take was answered by {other:?}"),
        }
    }

    /// A running job in a new project, held by this member.
    async fn running(&self, by: Member) -> Fence {
        let project = self.project(10).await;
        let job = self.submit(project).await;
        self.hold(job.id, by).await
    }

    /// A job in a new project in this state, without a holder.
    async fn job_in(&self, state: JobState, by: Member) -> JobRow {
        let project = self.project(10).await;
        let placed = (state == JobState::Pending).then_some(by.node);
        let job = self.submit_at(project, 3, placed).await;
        let end = |outcome| async move {
            let fence = self.hold(job.id, by).await;
            assert_eq!(self.finish(fence, by, outcome).await, Answer::Done);
        };
        match state {
            JobState::Ready | JobState::Pending => {}
            JobState::Running => {
                self.hold(job.id, by).await;
            }
            JobState::Error => end(Outcome::Failed).await,
            JobState::Succeed => end(Outcome::Succeeded).await,
            JobState::Suicidal => end(Outcome::Vanished).await,
            JobState::Paused => assert_eq!(self.act(job, Action::Pause).await, Answer::Done),
            JobState::Discarded => assert_eq!(self.act(job, Action::Discard).await, Answer::Done),
        }
        let job = self.read(job.id).await;
        assert_eq!(job.state, state);
        job
    }

    async fn read(&self, id: JobId) -> JobRow {
        match self.ask(Ask::ReadJobs(vec![id])).await {
            Answer::Jobs(jobs) => *jobs.first().expect("the job exists"),
            other => panic!("a read was answered by {other:?}"),
        }
    }

    async fn jobs(&self, ask: Ask) -> Vec<JobRow> {
        match self.ask(ask).await {
            Answer::Jobs(jobs) => {
                assert!(jobs.is_sorted_by_key(|job| job.id), "jobs are sorted by id");
                jobs
            }
            other => panic!("a list was answered by {other:?}"),
        }
    }

    async fn lists(&self) -> (Vec<MemberRow>, Vec<ClaimRow>, Vec<ProjectRow>) {
        listed(self.ask(Ask::List).await)
    }

    async fn member(&self, member: Member) -> Option<MemberRow> {
        self.lists().await.0.into_iter().find(|row| row.member == member)
    }

    async fn claim_row(&self, target: Target) -> Option<ClaimRow> {
        self.lists().await.1.into_iter().find(|row| row.target == target)
    }

    async fn step(&self, fence: Fence, by: Member, step: u32) -> Answer {
        self.ask(Ask::CommitStep { fence, by, step }).await
    }

    async fn finish(&self, fence: Fence, by: Member, outcome: Outcome) -> Answer {
        self.ask(Ask::Finish { fence, by, outcome }).await
    }

    async fn release(&self, fence: Fence, by: Member, placed: Option<NodeId>) -> Answer {
        self.ask(Ask::Release { fence, by, placed }).await
    }

    async fn act(&self, seen: JobRow, action: Action) -> Answer {
        self.ask(Ask::Act { fence: seen.fence(), state: seen.state, action }).await
    }

    async fn claim(&self, target: Target, epoch: u64, by: Member) -> Answer {
        self.ask(Ask::Claim { target, epoch: Epoch(epoch), by, force: false }).await
    }

    async fn exited(&self, member: Member, by: Member) {
        let fence = Ask::Fence { member, evidence: Evidence::Exited, beat: None, by };
        assert_eq!(self.ask(fence).await, Answer::Done);
    }
}

fn listed(answer: Answer) -> (Vec<MemberRow>, Vec<ClaimRow>, Vec<ProjectRow>) {
    match answer {
        Answer::Listed { members, claims, projects } => {
            assert!(members.is_sorted_by_key(|row| row.member));
            assert!(claims.is_sorted_by_key(|row| row.target));
            assert!(projects.is_sorted_by_key(|row| row.id));
            (members, claims, projects)
        }
        other => panic!("lists were answered by {other:?}"),
    }
}

/// Runs these concurrently, each in its own task.
async fn at_once<F>(futures: impl IntoIterator<Item = F>) -> Vec<Answer>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    join_all(tasks).await.into_iter().map(|answer| answer.expect("no client panics")).collect()
}

fn count(answers: &[Answer], wanted: impl Fn(&Answer) -> bool) -> usize {
    answers.iter().filter(|answer| wanted(answer)).count()
}

fn is_granted(answer: &Answer) -> bool {
    matches!(answer, Answer::Granted { .. })
}

macro_rules! case {
    ($(#[$doc:meta])* $name:ident($c:ident) $body:block) => {
        $(#[$doc])*
        pub async fn $name(contract: Arc<dyn Contract>) {
            let $c = Cluster { contract };
            $body
        }
    };
}

case! {
    /// Incarnations of a node increase and are never reused. Other nodes have other numbers.
    a_join_starts_a_new_incarnation_of_its_node(c) {
        let first = c.join("a").await;
        let second = c.join("a").await;
        let other = c.join("b").await;
        assert_eq!(first.node, second.node);
        assert!(second.incarnation > first.incarnation);
        assert_ne!(other.node, first.node);
        assert_eq!(c.ask(Ask::Leave { by: second }).await, Answer::Done);
        let third = c.join_as("a", Role::Query, 7).await;
        assert!(third.incarnation > second.incarnation);
        let row = c.member(third).await.expect("it is alive");
        assert_eq!((row.state, row.role, row.slots, row.beat), (MemberState::Up, Role::Query, 7, 0));
    }
}

case! {
    /// A second join fences the first incarnation in the same transaction, draining or not.
    a_join_replaces_the_living_member_of_its_node(c) {
        let first = c.join("a").await;
        let other = c.join("b").await;
        let fence = c.running(first).await;
        let second = c.join("a").await;
        assert_eq!(c.ask(Ask::Beat { by: first, brief: None }).await, Answer::Refused);
        assert_eq!(c.member(first).await, None);
        assert!(c.member(other).await.is_some(), "other nodes stay");
        assert_eq!(c.read(fence.job).await.holder, Some(first), "running jobs wait for an heir");
        assert_eq!(c.ask(Ask::Drain { by: second }).await, Answer::Done);
        let third = c.join("a").await;
        assert_eq!(c.member(second).await, None);
        assert_eq!(c.member(third).await.map(|row| row.state), Some(MemberState::Up));
    }
}

case! {
    /// Each beat increments the counter and returns the sorted lists.
    a_beat_counts_and_lists(c) {
        let (a, b) = (c.join("a").await, c.join_as("b", Role::Job, 5).await);
        let (p, q) = (c.project(3).await, c.project(0).await);
        assert!(is_granted(&c.claim(Target::Project(q), 0, b).await));
        assert!(is_granted(&c.claim(Target::Leader, 0, a).await));
        for beat in 1..4 {
            let (members, claims, projects) = listed(c.ask(Ask::Beat { by: a, brief: None }).await);
            let state = MemberState::Up;
            assert_eq!(members, [
                MemberRow { member: a, state, role: Role::All, slots: 100, can: BOTH, beat },
                MemberRow { member: b, state, role: Role::Job, slots: 5, can: BOTH, beat: 0 },
            ]);
            assert_eq!(claims, [
                ClaimRow { target: Target::Leader, holder: Some(a), epoch: Epoch(1) },
                ClaimRow { target: Target::Project(q), holder: Some(b), epoch: Epoch(1) },
            ]);
            assert_eq!(projects, [ProjectRow { id: p, limit: 3 }, ProjectRow { id: q, limit: 0 }]);
        }
    }
}

case! {
    /// If the lists are unchanged, the answer contains the beats of the named members. Each change of the lists returns
    /// the lists.
    a_beat_has_a_brief_answer_while_the_lists_are_unchanged(c) {
        let (a, b, w) = (c.join("a").await, c.join_as("b", Role::Job, 5).await, c.join("w").await);
        let (p, _) = (c.project(3).await, c.project(0).await);
        assert!(is_granted(&c.claim(Target::Leader, 0, a).await));
        assert!(is_granted(&c.claim(Target::Project(p), 0, b).await));
        listed(c.ask(Ask::Beat { by: b, brief: None }).await);
        let stranger = Member::new(9_999, 1).expect("an incarnation");
        let of = vec![a, b, stranger];
        let brief = async |of: &[Member]| {
            let (members, claims, projects) = c.lists().await;
            Some(Box::new(Brief { census: Census::of(&members, &claims, &projects), of: of.to_vec() }))
        };
        let beat = async |brief: &Option<Box<Brief>>| c.ask(Ask::Beat { by: a, brief: brief.clone() }).await;
        let seen = brief(&of).await;
        assert_eq!(beat(&seen).await, Answer::Beats(vec![(a, 1), (b, 1)]));
        assert_eq!(c.ask(Ask::Beat { by: a, brief: brief(&[]).await }).await, Answer::Beats(Vec::new()));
        listed(c.ask(Ask::Beat { by: b, brief: None }).await);
        assert_eq!(beat(&seen).await, Answer::Beats(vec![(a, 3), (b, 2)]), "beats do not change the lists");

        let changes = [
            Ask::SetSlots { member: b, slots: 6 },
            Ask::SetCan { member: b, can: FIRST },
            Ask::SetLimit { project: p, limit: 4 },
            Ask::Claim { target: Target::Leader, epoch: Epoch(1), by: w, force: true },
            Ask::Yield { target: Target::Leader, epoch: Epoch(2), by: w },
            Ask::Drain { by: b },
            Ask::Fence { member: w, evidence: Evidence::Exited, beat: None, by: a },
            Ask::Join { role: Role::Query, slots: 0, can: BOTH },
        ];
        for change in changes {
            let seen = brief(&of).await;
            assert!(matches!(beat(&seen).await, Answer::Beats(_)));
            match &change {
                Ask::Join { .. } => drop(c.join("w").await),
                change => assert!(matches!(c.ask(change.clone()).await, Answer::Done | Answer::Granted { .. })),
            }
            let (members, claims, projects) = listed(beat(&seen).await);
            let seen = Census::of(&members, &claims, &projects);
            let again = Ask::Beat { by: a, brief: Some(Box::new(Brief { census: seen, of: Vec::new() })) };
            assert_eq!(c.ask(again).await, Answer::Beats(Vec::new()), "after {change:?}");
        }
        assert_eq!(c.ask(Ask::Leave { by: b }).await, Answer::Done);
        let seen = brief(&of).await;
        let Answer::Beats(beats) = beat(&seen).await else { panic!("the lists are the same") };
        assert!(matches!(beats.as_slice(), [(one, _)] if *one == a), "a dead member has no beat: {beats:?}");
        assert_eq!(c.ask(Ask::Leave { by: a }).await, Answer::Done);
        assert_eq!(beat(&seen).await, Answer::Refused);
    }
}

case! {
    /// A member that left, was fenced or never joined is refused, and nothing is counted.
    a_member_that_is_not_alive_cannot_beat(c) {
        let (a, b, w) = (c.join("a").await, c.join("b").await, c.join("w").await);
        assert_eq!(c.ask(Ask::Drain { by: a }).await, Answer::Done);
        listed(c.ask(Ask::Beat { by: a, brief: None }).await);
        assert_eq!(c.ask(Ask::Leave { by: a }).await, Answer::Done);
        assert_eq!(c.ask(Ask::Beat { by: a, brief: None }).await, Answer::Refused);
        c.exited(b, w).await;
        assert_eq!(c.ask(Ask::Beat { by: b, brief: None }).await, Answer::Refused);
        let stranger = Member::new(w.node.0, w.incarnation.get() + 1).expect("not zero");
        assert_eq!(c.ask(Ask::Beat { by: stranger, brief: None }).await, Answer::Refused);
        let (members, ..) = c.lists().await;
        assert_eq!(members.iter().map(|row| (row.member, row.beat)).collect::<Vec<_>>(), [(w, 0)]);
    }
}

case! {
    /// Reading the lists does not change any beat.
    a_list_does_not_beat(c) {
        let a = c.join("a").await;
        listed(c.ask(Ask::Beat { by: a, brief: None }).await);
        c.lists().await;
        assert_eq!(c.member(a).await.map(|row| row.beat), Some(1));
    }
}

case! {
    /// Up becomes draining, and draining stays draining. A dead member is refused and stays dead.
    draining_is_idempotent(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        for _ in 0..2 {
            assert_eq!(c.ask(Ask::Drain { by: a }).await, Answer::Done);
            assert_eq!(c.member(a).await.map(|row| row.state), Some(MemberState::Draining));
        }
        assert_eq!(c.member(b).await.map(|row| row.state), Some(MemberState::Up));
        assert_eq!(c.ask(Ask::Leave { by: a }).await, Answer::Done);
        assert_eq!(c.ask(Ask::Drain { by: a }).await, Answer::Refused);
        assert_eq!(c.member(a).await, None);
    }
}

case! {
    /// Up or draining becomes left, once.
    leaving_ends_a_member(c) {
        let (a, b, w) = (c.join("a").await, c.join("b").await, c.join("w").await);
        assert_eq!(c.ask(Ask::Drain { by: b }).await, Answer::Done);
        for by in [a, b] {
            assert_eq!(c.ask(Ask::Leave { by }).await, Answer::Done);
            assert_eq!(c.ask(Ask::Leave { by }).await, Answer::Refused);
            assert_eq!(c.member(by).await, None);
        }
        assert!(c.member(w).await.is_some());
    }
}

case! {
    /// Evidence other than silence needs no beat. Fencing a dead member succeeds without effect.
    a_fence_ends_a_member(c) {
        let w = c.join("w").await;
        for (node, evidence) in [("a", Evidence::Exited), ("b", Evidence::Replaced), ("c", Evidence::Left)] {
            let member = c.join(node).await;
            listed(c.ask(Ask::Beat { by: member, brief: None }).await);
            let fence = Ask::Fence { member, evidence, beat: Some(0), by: w };
            assert_eq!(c.ask(fence.clone()).await, Answer::Done);
            assert_eq!(c.member(member).await, None);
            assert_eq!(c.ask(fence).await, Answer::Done, "it is already dead");
        }
        assert!(c.member(w).await.is_some());
    }
}

case! {
    /// A member with a new beat is not silent, and silence without a beat is not evidence.
    a_fence_for_silence_needs_the_beat_that_was_seen(c) {
        let (a, w) = (c.join("a").await, c.join("w").await);
        listed(c.ask(Ask::Beat { by: a, brief: None }).await);
        let fence = |beat| Ask::Fence { member: a, evidence: Evidence::Silent, beat, by: w };
        for beat in [Some(0), Some(2), None] {
            assert_eq!(c.ask(fence(beat)).await, Answer::Refused);
            assert!(c.member(a).await.is_some());
        }
        listed(c.ask(Ask::Beat { by: a, brief: None }).await);
        assert_eq!(c.ask(fence(Some(1))).await, Answer::Refused);
        assert_eq!(c.ask(fence(Some(2))).await, Answer::Done);
        assert_eq!(c.ask(Ask::Beat { by: a, brief: None }).await, Answer::Refused);
        assert_eq!(c.ask(fence(Some(2))).await, Answer::Done, "it is already dead");
    }
}

case! {
    /// The fencing member must be alive. A draining member is alive.
    a_fence_needs_a_living_witness(c) {
        let (a, b, w) = (c.join("a").await, c.join("b").await, c.join("w").await);
        assert_eq!(c.ask(Ask::Leave { by: b }).await, Answer::Done);
        let fence = |by| Ask::Fence { member: a, evidence: Evidence::Exited, beat: None, by };
        assert_eq!(c.ask(fence(b)).await, Answer::Refused);
        assert!(c.member(a).await.is_some());
        assert_eq!(c.ask(Ask::Drain { by: w }).await, Answer::Done);
        assert_eq!(c.ask(fence(w)).await, Answer::Done);
    }
}

case! {
    /// When a member left, was replaced or fenced, its jobs that do not run are released. Its running jobs wait for an heir.
    the_end_of_a_member_releases_jobs_that_do_not_run(c) {
        let w = c.join("w").await;
        for end in ["leave", "replace", "fence"] {
            let a = c.join("a").await;
            let (running, paused, discarded, ready) =
                (c.running(a).await, c.running(a).await, c.running(a).await, c.running(a).await);
            let others = c.running(w).await;
            assert_eq!(c.act(c.read(paused.job).await, Action::Pause).await, Answer::Done);
            assert_eq!(c.act(c.read(discarded.job).await, Action::Discard).await, Answer::Done);
            assert_eq!(c.act(c.read(ready.job).await, Action::Restart).await, Answer::Done);
            assert_eq!(c.act(c.read(others.job).await, Action::Pause).await, Answer::Done);
            for fence in [running, paused, discarded, ready] {
                assert_eq!(c.read(fence.job).await.holder, Some(a), "an action keeps the holder");
            }
            match end {
                "leave" => assert_eq!(c.ask(Ask::Leave { by: a }).await, Answer::Done),
                "replace" => drop(c.join("a").await),
                _ => c.exited(a, w).await,
            }
            for (fence, holder, state) in [
                (running, Some(a), JobState::Running),
                (paused, None, JobState::Paused),
                (discarded, None, JobState::Discarded),
                (ready, None, JobState::Ready),
                (others, Some(w), JobState::Paused),
            ] {
                let job = c.read(fence.job).await;
                assert_eq!((job.holder, job.state, job.epoch), (holder, state, fence.epoch), "after {end}");
            }
            assert_eq!(c.release(running, a, None).await, Answer::Done);
        }
    }
}

case! {
    /// Epoch 0 is a claim that was never held. The epoch must be the seen one, and it increases by one.
    a_claim_is_granted_once_per_epoch(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        for target in [Target::Leader, Target::Project(c.project(1).await)] {
            assert_eq!(c.claim(target, 0, a).await, Answer::Granted { epoch: Epoch(1), steps: 0 });
            assert_eq!(c.claim_row(target).await, Some(ClaimRow { target, holder: Some(a), epoch: Epoch(1) }));
            assert_eq!(c.claim(target, 1, b).await, Answer::Refused, "its holder is alive");
            assert_eq!(c.claim(target, 1, a).await, Answer::Refused, "its holder is alive");
            assert_eq!(c.ask(Ask::Yield { target, epoch: Epoch(1), by: a }).await, Answer::Done);
            assert_eq!(c.claim(target, 0, b).await, Answer::Refused);
            assert_eq!(c.claim(target, 2, b).await, Answer::Refused);
            assert_eq!(c.claim(target, 1, b).await, Answer::Granted { epoch: Epoch(2), steps: 0 });
            assert_eq!(c.claim_row(target).await, Some(ClaimRow { target, holder: Some(b), epoch: Epoch(2) }));
        }
    }
}

case! {
    /// A draining, left, fenced or unknown member is refused, also with force, and nothing is changed.
    a_claim_needs_a_member_that_is_up(c) {
        let (a, b, w) = (c.join("a").await, c.join("b").await, c.join("w").await);
        assert_eq!(c.ask(Ask::Drain { by: a }).await, Answer::Done);
        assert_eq!(c.ask(Ask::Leave { by: b }).await, Answer::Done);
        let stranger = Member::new(w.node.0 + 77, 1).expect("not zero");
        for by in [a, b, stranger] {
            for force in [false, true] {
                let claim = Ask::Claim { target: Target::Leader, epoch: Epoch(0), by, force };
                assert_eq!(c.ask(claim).await, Answer::Refused);
            }
        }
        assert_eq!(c.claim_row(Target::Leader).await, None);
        assert!(is_granted(&c.claim(Target::Leader, 0, w).await));
    }
}

case! {
    /// A dead holder remains recorded until the next holder. A draining holder is alive.
    a_claim_is_free_when_its_holder_is_not_alive(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let target = Target::Leader;
        assert!(is_granted(&c.claim(target, 0, a).await));
        assert_eq!(c.ask(Ask::Drain { by: a }).await, Answer::Done);
        assert_eq!(c.claim(target, 1, b).await, Answer::Refused);
        c.exited(a, b).await;
        assert_eq!(c.claim_row(target).await, Some(ClaimRow { target, holder: Some(a), epoch: Epoch(1) }));
        assert_eq!(c.claim(target, 0, b).await, Answer::Refused);
        assert_eq!(c.claim(target, 1, b).await, Answer::Granted { epoch: Epoch(2), steps: 0 });
    }
}

case! {
    /// It can be claimed by its former holder and by any other member.
    a_released_claim_is_free(c) {
        let a = c.join("a").await;
        let target = Target::Leader;
        assert!(is_granted(&c.claim(target, 0, a).await));
        assert_eq!(c.ask(Ask::Yield { target, epoch: Epoch(1), by: a }).await, Answer::Done);
        assert_eq!(c.claim_row(target).await, Some(ClaimRow { target, holder: None, epoch: Epoch(1) }));
        assert_eq!(c.claim(target, 1, a).await, Answer::Granted { epoch: Epoch(2), steps: 0 });
    }
}

case! {
    /// A new incarnation is not the member that held the claim.
    a_claim_of_an_earlier_incarnation_is_free(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        assert!(is_granted(&c.claim(Target::Leader, 0, a).await));
        let next = c.join("a").await;
        assert_eq!(c.claim_row(Target::Leader).await.and_then(|row| row.holder), Some(a));
        assert_eq!(c.claim(Target::Leader, 1, b).await, Answer::Granted { epoch: Epoch(2), steps: 0 });
        assert_eq!(c.claim(Target::Leader, 2, next).await, Answer::Refused);
    }
}

case! {
    /// Also from a living holder, but never under a stale epoch.
    a_claim_can_be_forced(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        assert!(is_granted(&c.claim(Target::Leader, 0, a).await));
        let force = |epoch| Ask::Claim { target: Target::Leader, epoch: Epoch(epoch), by: b, force: true };
        assert_eq!(c.ask(force(0)).await, Answer::Refused);
        assert_eq!(c.ask(force(2)).await, Answer::Refused);
        assert_eq!(c.ask(force(1)).await, Answer::Granted { epoch: Epoch(2), steps: 0 });
        let yielded = c.ask(Ask::Yield { target: Target::Leader, epoch: Epoch(1), by: a }).await;
        assert_eq!(yielded, Answer::Refused, "the former holder");
        assert_eq!(c.claim_row(Target::Leader).await.and_then(|row| row.holder), Some(b));
    }
}

case! {
    /// Another epoch, member or target is refused.
    a_yield_is_scoped_by_epoch_and_holder(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let target = Target::Leader;
        let project = Target::Project(c.project(1).await);
        assert!(is_granted(&c.claim(target, 0, a).await));
        assert!(is_granted(&c.claim(project, 0, b).await));
        assert_eq!(c.ask(Ask::Yield { target, epoch: Epoch(0), by: a }).await, Answer::Refused);
        assert_eq!(c.ask(Ask::Yield { target, epoch: Epoch(2), by: a }).await, Answer::Refused);
        assert_eq!(c.ask(Ask::Yield { target, epoch: Epoch(1), by: b }).await, Answer::Refused);
        let next = c.join("a").await;
        assert_eq!(c.ask(Ask::Yield { target, epoch: Epoch(1), by: next }).await, Answer::Refused, "another incarnation");
        assert_eq!(c.claim_row(target).await.and_then(|row| row.holder), Some(a));
        assert_eq!(c.ask(Ask::Yield { target, epoch: Epoch(1), by: a }).await, Answer::Done);
        assert_eq!(c.ask(Ask::Yield { target, epoch: Epoch(1), by: a }).await, Answer::Refused, "once");
        assert_eq!(c.claim_row(project).await.and_then(|row| row.holder), Some(b));
    }
}

case! {
    /// A claim without a row was never held, or its row was deleted. A member that knows its epoch continues from there.
    a_claim_without_a_row_is_restored_under_the_known_epoch(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        for target in [Target::Leader, Target::Project(c.project(1).await)] {
            assert_eq!(c.ask(Ask::Yield { target, epoch: Epoch(7), by: a }).await, Answer::Refused);
            assert_eq!(c.claim_row(target).await, None);
            assert_eq!(c.claim(target, 7, a).await, Answer::Granted { epoch: Epoch(8), steps: 0 });
            assert_eq!(c.claim_row(target).await, Some(ClaimRow { target, holder: Some(a), epoch: Epoch(8) }));
            for known in [0, 7, 8, 9] {
                assert_eq!(c.claim(target, known, b).await, Answer::Refused, "it has a row with a living holder");
            }
        }
    }
}

case! {
    /// A job is READY, or PENDING in a node's queue. A repeated key returns the first job.
    a_submit_is_accepted_once_per_key(c) {
        let a = c.join("a").await;
        let project = c.project(1).await;
        let needs = SECOND;
        let ask = |key, placed, external| Ask::Submit { project, priority: Priority(1), placed, external, needs, key };
        let Answer::Accepted { row: first, fresh: true } = c.ask(ask(1 << 100, None, true)).await else {
            panic!("not accepted")
        };
        let row = JobRow {
            id: first.id,
            project,
            priority: Priority(1),
            state: JobState::Ready,
            epoch: Epoch(0),
            holder: None,
            placed: None,
            steps: 0,
            external: true,
            needs,
        };
        assert_eq!(first, row);
        assert_eq!(c.read(first.id).await, row);
        let Answer::Accepted { row: second, fresh: true } = c.ask(ask(2 << 100, Some(a.node), false)).await else {
            panic!("not accepted")
        };
        assert!(second.id > first.id);
        assert_eq!((second.state, second.placed, second.external), (JobState::Pending, Some(a.node), false));
        assert_eq!(c.read(second.id).await, second);
        let fence = c.hold(first.id, a).await;
        assert_eq!(c.step(fence, a, 0).await, Answer::Done);
        let again = c.ask(ask(1 << 100, Some(a.node), false)).await;
        assert_eq!(again, Answer::Accepted { row: c.read(first.id).await, fresh: false });
        assert_eq!(c.jobs(Ask::ListJobs).await.len(), 2);
    }
}

case! {
    /// A submit without its project is refused.
    a_submit_needs_its_project(c) {
        let project = c.project(1).await;
        let ask = Ask::Submit {
            project: ProjectId(project.0 + 1000),
            priority: Priority(3),
            placed: None,
            external: false,
            needs: Capabilities::NONE,
            key: 5,
        };
        assert_eq!(c.ask(ask).await, Answer::Refused);
        assert_eq!(c.jobs(Ask::ListJobs).await, []);
    }
}

case! {
    /// Open jobs, and finished jobs that are still held.
    the_list_of_jobs_contains_open_and_held_jobs(c) {
        let a = c.join("a").await;
        let mut open = Vec::new();
        for state in JobState::ALL {
            let job = c.job_in(state, a).await;
            if !state.is_final() {
                open.push(job);
            }
        }
        let held = c.running(a).await;
        assert_eq!(c.act(c.read(held.job).await, Action::Discard).await, Answer::Done);
        open.push(c.read(held.job).await);
        assert_eq!(c.jobs(Ask::ListJobs).await, open);
        assert_eq!(c.release(held, a, None).await, Answer::Done);
        open.pop();
        assert_eq!(c.jobs(Ask::ListJobs).await, open);
    }
}

case! {
    /// Jobs in any state, sorted, each once, without unknown ones.
    jobs_are_read_in_every_state(c) {
        let a = c.join("a").await;
        let mut jobs = Vec::new();
        for state in JobState::ALL {
            jobs.push(c.job_in(state, a).await);
        }
        let mut ids: Vec<JobId> = jobs.iter().map(|job| job.id).rev().collect();
        ids.push(JobId(1_000_000));
        ids.push(ids[0]);
        assert_eq!(c.jobs(Ask::ReadJobs(ids)).await, jobs);
        assert_eq!(c.jobs(Ask::ReadJobs(Vec::new())).await, []);
    }
}

case! {
    /// Jobs in any state that any incarnation of the node holds, and jobs that wait in its queue. No others.
    the_list_of_a_node_contains_its_held_and_waiting_jobs(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let held = c.running(a).await;
        let paused = c.running(a).await;
        assert_eq!(c.act(c.read(paused.job).await, Action::Pause).await, Answer::Done);
        let waiting = c.job_in(JobState::Pending, a).await;
        let failed = c.job_in(JobState::Error, a).await;
        c.job_in(JobState::Pending, b).await;
        c.job_in(JobState::Ready, a).await;
        c.running(b).await;
        let ids = |jobs: Vec<JobRow>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
        assert_eq!(ids(c.jobs(Ask::ListNode(a.node)).await), [held.job, paused.job, waiting.id]);
        assert!(failed.placed.is_some(), "it ran there, but does not wait");
        let next = c.join("a").await;
        let own = c.running(next).await;
        assert_eq!(ids(c.jobs(Ask::ListNode(a.node)).await), [held.job, waiting.id, own.job], "of any incarnation");
        assert_eq!(c.jobs(Ask::ListNode(NodeId(a.node.0 + 1000))).await, []);
    }
}

case! {
    /// READY or PENDING becomes PENDING in this queue, under the seen epoch.
    a_place_requires_a_waiting_job_without_a_holder(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let place = |fence, node| Ask::Place { fence, node };
        let job = c.submit(c.project(1).await).await;
        for node in [a.node, b.node] {
            assert_eq!(c.ask(place(job.fence(), node)).await, Answer::Done);
            let row = c.read(job.id).await;
            assert_eq!((row.state, row.placed, row.epoch), (JobState::Pending, Some(node), job.epoch));
        }
        let stale = Fence { epoch: Epoch(1), ..job.fence() };
        assert_eq!(c.ask(place(stale, a.node)).await, Answer::Refused);
        assert_eq!(c.read(job.id).await.placed, Some(b.node));
        for state in JobState::ALL.into_iter().filter(|state| !state.is_waiting()) {
            let job = c.job_in(state, a).await;
            assert_eq!(c.ask(place(job.fence(), b.node)).await, Answer::Refused, "{state:?}");
            assert_eq!(c.read(job.id).await, job);
        }
        let fence = c.running(a).await;
        assert_eq!(c.act(c.read(fence.job).await, Action::Restart).await, Answer::Done);
        let held = c.read(fence.job).await;
        assert_eq!((held.state, held.holder), (JobState::Ready, Some(a)));
        assert_eq!(c.ask(place(fence, b.node)).await, Answer::Refused, "it waits, but it is held");
        assert_eq!(c.read(fence.job).await, held);
    }
}

case! {
    /// READY or PENDING becomes RUNNING. Holder, place and epoch change together. A stale epoch is refused.
    a_take_is_granted_once_per_epoch(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        for state in [JobState::Ready, JobState::Pending] {
            let job = c.job_in(state, b).await;
            let early = Fence { epoch: Epoch(1), ..job.fence() };
            assert_eq!(c.take(early, a).await, Answer::Refused);
            assert_eq!(c.read(job.id).await, job);
            assert_eq!(c.take(job.fence(), a).await, Answer::Granted { epoch: Epoch(1), steps: 0 });
            let row = c.read(job.id).await;
            let (holder, placed) = (Some(a), Some(a.node));
            assert_eq!(row, JobRow { state: JobState::Running, holder, placed, epoch: Epoch(1), ..job });
            assert_eq!(c.take(job.fence(), b).await, Answer::Refused, "the old epoch");
            assert_eq!(c.take(row.fence(), b).await, Answer::Refused, "its holder is alive");
            assert_eq!(c.take(row.fence(), a).await, Answer::Refused, "its holder is alive");
            assert_eq!(c.read(job.id).await, row);
            // A release after a step keeps the epoch until the next take, which returns the progress.
            assert_eq!(c.step(row.fence(), a, 0).await, Answer::Done);
            assert_eq!(c.release(row.fence(), a, None).await, Answer::Done);
            assert_eq!(c.read(job.id).await.epoch, Epoch(1));
            assert_eq!(c.take(job.fence(), b).await, Answer::Refused);
            assert_eq!(c.take(row.fence(), b).await, Answer::Granted { epoch: Epoch(2), steps: 1 });
        }
    }
}

case! {
    /// A draining, left, fenced or unknown member is refused.
    a_take_needs_a_member_that_is_up(c) {
        let (a, b, d, w) = (c.join("a").await, c.join("b").await, c.join("d").await, c.join("w").await);
        assert_eq!(c.ask(Ask::Drain { by: a }).await, Answer::Done);
        assert_eq!(c.ask(Ask::Leave { by: b }).await, Answer::Done);
        c.exited(d, w).await;
        let stranger = Member::new(w.node.0, w.incarnation.get() + 1).expect("not zero");
        let job = c.submit(c.project(1).await).await;
        for by in [a, b, d, stranger] {
            assert_eq!(c.take(job.fence(), by).await, Answer::Refused);
            assert_eq!(c.read(job.id).await, job);
        }
        assert!(is_granted(&c.take(job.fence(), w).await));
    }
}

case! {
    /// A member needs all capabilities that the job requires, according to its current row, also for a takeover. In
    /// strict order, only jobs that it can run are ahead of a job.
    a_take_requires_a_member_with_the_capability_for_the_job(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let project = c.project(10).await;
        let can = |can| Ask::SetCan { member: a, can };
        let job = c.submit_that_needs(project, 3, None, BOTH).await;
        let plain = c.submit(project).await;
        let ordered = Ask::Take { fence: plain.fence(), by: a, in_order: true };
        assert_eq!(c.ask(ordered.clone()).await, Answer::Refused, "the other comes first");
        for lacks in [Capabilities::NONE, FIRST, SECOND] {
            assert_eq!(c.ask(can(lacks)).await, Answer::Done);
            assert_eq!(c.take(job.fence(), a).await, Answer::Refused, "{lacks:?}");
            assert_eq!(c.read(job.id).await, job);
        }
        assert!(is_granted(&c.ask(ordered).await), "the other cannot run there");
        assert!(is_granted(&c.take(job.fence(), b).await));
        assert_eq!(c.ask(Ask::Leave { by: b }).await, Answer::Done);
        let orphan = c.read(job.id).await;
        assert_eq!(c.take(orphan.fence(), a).await, Answer::Refused, "a takeover is refused, too");
        assert_eq!(c.ask(can(Capabilities::ALL)).await, Answer::Done);
        assert!(is_granted(&c.take(orphan.fence(), a).await));
    }
}

case! {
    /// ERROR, PAUSED and finished jobs cannot be taken, nor can a waiting job with a living holder.
    a_take_needs_a_job_that_waits_or_runs(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        for state in [JobState::Error, JobState::Paused, JobState::Discarded, JobState::Succeed, JobState::Suicidal] {
            let job = c.job_in(state, a).await;
            assert_eq!(c.take(job.fence(), a).await, Answer::Refused, "{state:?}");
            assert_eq!(c.read(job.id).await, job);
        }
        let fence = c.running(a).await;
        assert_eq!(c.act(c.read(fence.job).await, Action::Restart).await, Answer::Done);
        assert_eq!(c.take(fence, b).await, Answer::Refused, "READY, but its holder is alive");
        assert_eq!(c.release(fence, a, None).await, Answer::Done);
        assert!(is_granted(&c.take(fence, b).await));
    }
}

case! {
    /// The job changes from the dead holder to the heir in one transition and stays RUNNING. The dead member is refused
    /// afterwards.
    a_job_of_a_dead_member_is_taken_over(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let old = c.running(a).await;
        assert_eq!(c.step(old, a, 0).await, Answer::Done);
        assert_eq!(c.take(old, b).await, Answer::Refused);
        assert_eq!(c.ask(Ask::Drain { by: a }).await, Answer::Done);
        assert_eq!(c.take(old, b).await, Answer::Refused, "draining is alive");
        c.exited(a, b).await;
        assert_eq!(c.take(old, b).await, Answer::Granted { epoch: Epoch(2), steps: 1 });
        let job = c.read(old.job).await;
        assert_eq!((job.state, job.holder, job.placed), (JobState::Running, Some(b), Some(b.node)));
        assert_eq!(c.step(old, a, 1).await, Answer::Refused);
        assert_eq!(c.finish(old, a, Outcome::Succeeded).await, Answer::Refused);
        assert_eq!(c.release(old, a, None).await, Answer::Refused);
        assert_eq!(c.read(old.job).await, job);
        assert_eq!(c.step(job.fence(), b, 1).await, Answer::Done);
        assert_eq!(c.finish(job.fence(), b, Outcome::Succeeded).await, Answer::Done);
    }
}

case! {
    /// A new incarnation does not continue the jobs of the earlier one. It takes them over like any other member.
    a_job_of_an_earlier_incarnation_is_taken_over(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let (x, y) = (c.running(a).await, c.running(a).await);
        let next = c.join("a").await;
        assert_eq!(c.step(x, next, 0).await, Answer::Refused);
        assert_eq!(c.take(x, next).await, Answer::Granted { epoch: Epoch(2), steps: 0 });
        assert_eq!(c.take(y, b).await, Answer::Granted { epoch: Epoch(2), steps: 0 });
        assert_eq!(c.step(x, a, 0).await, Answer::Refused);
        assert_eq!(c.step(Fence { epoch: Epoch(2), ..x }, next, 0).await, Answer::Done);
    }
}

case! {
    /// The limit counts RUNNING jobs of the project with any holder. A takeover needs no room. The answer is `Full`
    /// only if nothing else prevents the take.
    a_take_in_a_full_project_is_refused(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let (project, other) = (c.project(2).await, c.project(1).await);
        let (x, y, z) = (c.submit(project).await, c.submit(project).await, c.submit(project).await);
        let free = c.submit(other).await;
        let held = c.hold(x.id, a).await;
        c.hold(y.id, b).await;
        assert_eq!(c.take(z.fence(), a).await, Answer::Full);
        assert_eq!(c.read(z.id).await, z);
        assert!(is_granted(&c.take(free.fence(), a).await), "another project");
        let stale = Fence { epoch: Epoch(1), ..z.fence() };
        assert_eq!(c.take(stale, a).await, Answer::Refused);
        let gone = Member::new(b.node.0 + 55, 1).expect("not zero");
        assert_eq!(c.take(z.fence(), gone).await, Answer::Refused);
        // With a lower limit, running jobs continue and can be taken over.
        assert_eq!(c.ask(Ask::SetLimit { project, limit: 0 }).await, Answer::Done);
        assert_eq!(c.take(z.fence(), a).await, Answer::Full);
        c.exited(b, a).await;
        assert_eq!(c.take(z.fence(), a).await, Answer::Full, "jobs of the dead member still count");
        assert!(is_granted(&c.take(Fence { job: y.id, epoch: Epoch(1) }, a).await), "a takeover");
        assert_eq!(c.ask(Ask::SetLimit { project, limit: 2 }).await, Answer::Done);
        assert_eq!(c.take(z.fence(), a).await, Answer::Full);
        assert_eq!(c.finish(held, a, Outcome::Failed).await, Answer::Done);
        assert!(is_granted(&c.take(z.fence(), a).await), "one ended");
        // A paused job does not run, although it is held.
        assert_eq!(c.act(c.read(z.id).await, Action::Pause).await, Answer::Done);
        let last = c.submit(project).await;
        assert!(is_granted(&c.take(last.fence(), a).await));
    }
}

case! {
    /// A job is refused while an earlier job waits whose project has room.
    strict_order_holds_over_all_nodes(c) {
        let a = c.join("a").await;
        let (p, q) = (c.project(1).await, c.project(10).await);
        let late = c.submit_at(q, 3, None).await;
        let later = c.submit_at(q, 3, Some(a.node)).await;
        let urgent = c.submit_at(p, 0, None).await;
        let blocked = c.submit_at(p, 1, None).await;
        let ordered = |job: JobRow| Ask::Take { fence: job.fence(), by: a, in_order: true };
        for job in [late, later, blocked] {
            assert_eq!(c.ask(ordered(job)).await, Answer::Refused, "a more urgent one waits");
            assert_eq!(c.read(job.id).await, job);
        }
        assert!(is_granted(&c.ask(ordered(urgent)).await));
        assert_eq!(c.ask(ordered(later)).await, Answer::Refused, "an older one waits");
        assert_eq!(c.ask(ordered(blocked)).await, Answer::Full);
        assert!(is_granted(&c.ask(ordered(late)).await), "the one before it cannot start");
        assert!(is_granted(&c.ask(ordered(later)).await));
        let open = c.submit_at(q, 3, None).await;
        assert_eq!(c.finish(c.read(urgent.id).await.fence(), a, Outcome::Succeeded).await, Answer::Done);
        assert_eq!(c.ask(ordered(open)).await, Answer::Refused, "its project has room again");
        assert!(is_granted(&c.take(open.fence(), a).await), "without strict order it is free");
        assert!(is_granted(&c.ask(ordered(blocked)).await));
        // A restarted job cannot start before its attempt has stopped, so it does not block others.
        assert_eq!(c.act(c.read(open.id).await, Action::Restart).await, Answer::Done);
        let (behind, last) = (c.submit_at(q, 3, None).await, c.submit_at(q, 3, None).await);
        assert!(is_granted(&c.ask(ordered(behind)).await), "the one before it is held");
        assert_eq!(c.release(c.read(open.id).await.fence(), a, None).await, Answer::Done);
        assert_eq!(c.ask(ordered(last)).await, Answer::Refused, "it is unheld and waits again");
        // A running job had its turn, so its heir does not wait.
        let b = c.join("b").await;
        let orphan = c.hold(last.id, b).await;
        c.exited(b, a).await;
        assert!(is_granted(&c.ask(Ask::Take { fence: orphan, by: a, in_order: true }).await), "a takeover");
    }
}

case! {
    /// Another epoch, holder, state or number is refused, and nothing is counted.
    a_step_is_scoped_by_job_epoch_holder_state_and_number(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let fence = c.running(a).await;
        let other = c.running(b).await;
        for step in 0..3 {
            assert_eq!(c.step(fence, a, step + 1).await, Answer::Refused, "one is missing before it");
            assert_eq!(c.step(fence, b, step).await, Answer::Refused, "another node");
            let twin = Member::new(a.node.0, a.incarnation.get() + 1).expect("not zero");
            assert_eq!(c.step(fence, twin, step).await, Answer::Refused, "another incarnation");
            for epoch in [fence.epoch.0 - 1, fence.epoch.0 + 1] {
                assert_eq!(c.step(Fence { epoch: Epoch(epoch), ..fence }, a, step).await, Answer::Refused);
            }
            assert_eq!(c.read(fence.job).await.steps, step);
            assert_eq!(c.step(fence, a, step).await, Answer::Done);
            assert_eq!(c.step(fence, a, step).await, Answer::Refused, "twice");
            assert_eq!(c.read(fence.job).await.steps, step + 1);
        }
        assert_eq!(c.read(other.job).await.steps, 0);
        for action in [Action::Pause, Action::Discard] {
            let fence = c.running(a).await;
            assert_eq!(c.act(c.read(fence.job).await, action).await, Answer::Done);
            assert_eq!(c.step(fence, a, 0).await, Answer::Refused, "after {action:?}");
            assert_eq!(c.read(fence.job).await.steps, 0);
        }
        assert_eq!(c.release(fence, a, None).await, Answer::Done);
        assert_eq!(c.step(fence, a, 3).await, Answer::Refused, "handed back");
    }
}

case! {
    /// Another epoch, holder or state is refused. Each outcome has its state. The holder is cleared.
    a_finish_is_scoped_by_job_epoch_holder_and_state(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let other = c.running(b).await;
        for (outcome, state) in [
            (Outcome::Succeeded, JobState::Succeed),
            (Outcome::Failed, JobState::Error),
            (Outcome::Vanished, JobState::Suicidal),
        ] {
            let fence = c.running(a).await;
            let before = c.read(fence.job).await;
            let twin = Member::new(a.node.0, a.incarnation.get() + 1).expect("not zero");
            assert_eq!(c.finish(fence, b, outcome).await, Answer::Refused, "another node");
            assert_eq!(c.finish(fence, twin, outcome).await, Answer::Refused, "another incarnation");
            for epoch in [fence.epoch.0 - 1, fence.epoch.0 + 1] {
                assert_eq!(c.finish(Fence { epoch: Epoch(epoch), ..fence }, a, outcome).await, Answer::Refused);
            }
            assert_eq!(c.read(fence.job).await, before);
            assert_eq!(c.finish(fence, a, outcome).await, Answer::Done);
            let job = c.read(fence.job).await;
            assert_eq!(job, JobRow { state, holder: None, ..before });
            assert_eq!(c.finish(fence, a, outcome).await, Answer::Refused, "twice");
            for action in [Action::Pause, Action::Discard, Action::Restart] {
                let fence = c.running(a).await;
                assert_eq!(c.act(c.read(fence.job).await, action).await, Answer::Done);
                let before = c.read(fence.job).await;
                assert_eq!(c.finish(fence, a, outcome).await, Answer::Refused, "after {action:?}");
                assert_eq!(c.read(fence.job).await, before);
            }
        }
        assert_eq!(c.read(other.job).await.state, JobState::Running);
    }
}

case! {
    /// RUNNING becomes READY, or PENDING in a queue. Another epoch or holder is refused.
    a_release_is_scoped_by_epoch_and_holder(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        for (placed, state) in [(None, JobState::Ready), (Some(b.node), JobState::Pending)] {
            let fence = c.running(a).await;
            let before = c.read(fence.job).await;
            let twin = Member::new(a.node.0, a.incarnation.get() + 1).expect("not zero");
            assert_eq!(c.release(fence, b, placed).await, Answer::Refused, "another node");
            assert_eq!(c.release(fence, twin, placed).await, Answer::Refused, "another incarnation");
            for epoch in [fence.epoch.0 - 1, fence.epoch.0 + 1] {
                assert_eq!(c.release(Fence { epoch: Epoch(epoch), ..fence }, a, placed).await, Answer::Refused);
            }
            assert_eq!(c.read(fence.job).await, before);
            assert_eq!(c.release(fence, a, placed).await, Answer::Done);
            assert_eq!(c.read(fence.job).await, JobRow { state, placed, holder: None, ..before });
            assert_eq!(c.release(fence, a, placed).await, Answer::Refused, "twice");
        }
    }
}

case! {
    /// A job whose state changed during the attempt keeps that state. Only the holder is cleared.
    a_release_keeps_the_users_action(c) {
        let a = c.join("a").await;
        for (action, state) in [
            (Action::Pause, JobState::Paused),
            (Action::Discard, JobState::Discarded),
            (Action::Restart, JobState::Ready),
        ] {
            let fence = c.running(a).await;
            assert_eq!(c.act(c.read(fence.job).await, action).await, Answer::Done);
            let before = c.read(fence.job).await;
            assert_eq!((before.state, before.holder), (state, Some(a)));
            assert_eq!(c.release(fence, a, Some(a.node)).await, Answer::Done);
            assert_eq!(c.read(fence.job).await, JobRow { holder: None, ..before });
        }
    }
}

case! {
    /// The state and the epoch must be the seen ones.
    an_action_is_scoped_by_epoch_and_state(c) {
        let a = c.join("a").await;
        for state in JobState::ALL {
            let job = c.job_in(state, a).await;
            for action in [Action::Resume, Action::Pause, Action::Restart, Action::Discard] {
                let mut stale = job;
                for epoch in [job.epoch.0 + 1, job.epoch.0.wrapping_sub(1)] {
                    stale.epoch = Epoch(epoch);
                    assert_eq!(c.act(stale, action).await, Answer::Refused);
                }
                for seen in JobState::ALL.into_iter().filter(|seen| *seen != state) {
                    assert_eq!(c.act(JobRow { state: seen, ..job }, action).await, Answer::Refused);
                }
                assert_eq!(c.read(job.id).await, job);
            }
        }
    }
}

case! {
    /// Only in the states that the job's `match` allows. The holder and the epoch are unchanged.
    an_action_is_legal_in_the_states_that_the_job_allows(c) {
        let a = c.join("a").await;
        for action in [Action::Resume, Action::Pause, Action::Restart, Action::Discard] {
            for state in JobState::ALL {
                let job = c.job_in(state, a).await;
                let answer = c.act(job, action).await;
                let row = c.read(job.id).await;
                match state.after(JobEvent::Act(action)) {
                    Ok(next) => {
                        assert_eq!(answer, Answer::Done, "{action:?} in {state:?}");
                        assert_eq!((row.state, row.holder, row.epoch), (next, job.holder, job.epoch));
                        if next == JobState::Ready {
                            assert_eq!(row.placed, None, "READY is in no queue");
                        }
                    }
                    Err(_) => {
                        assert_eq!(answer, Answer::Refused, "{action:?} in {state:?}");
                        assert_eq!(row, job);
                    }
                }
            }
        }
    }
}

case! {
    /// RESTART begins again at the first step. RESUME and PAUSE keep the committed steps.
    a_restart_deletes_the_steps(c) {
        let a = c.join("a").await;
        for outcome in [Outcome::Failed, Outcome::Succeeded] {
            let fence = c.running(a).await;
            assert_eq!(c.step(fence, a, 0).await, Answer::Done);
            assert_eq!(c.step(fence, a, 1).await, Answer::Done);
            if outcome == Outcome::Failed {
                assert_eq!(c.finish(fence, a, outcome).await, Answer::Done);
            } else {
                assert_eq!(c.act(c.read(fence.job).await, Action::Pause).await, Answer::Done);
                assert_eq!(c.release(fence, a, None).await, Answer::Done);
            }
            assert_eq!(c.act(c.read(fence.job).await, Action::Resume).await, Answer::Done);
            let row = c.read(fence.job).await;
            assert_eq!(row.steps, 2);
            assert_eq!(c.take(row.fence(), a).await, Answer::Granted { epoch: Epoch(2), steps: 2 });
            let fence = Fence { epoch: Epoch(2), ..fence };
            assert_eq!(c.step(fence, a, 2).await, Answer::Done);
            assert_eq!(c.act(c.read(fence.job).await, Action::Restart).await, Answer::Done);
            assert_eq!(c.read(fence.job).await.steps, 0);
            assert_eq!(c.step(fence, a, 3).await, Answer::Refused);
            assert_eq!(c.release(fence, a, None).await, Answer::Done);
            assert_eq!(c.take(fence, a).await, Answer::Granted { epoch: Epoch(3), steps: 0 });
            assert_eq!(c.step(Fence { epoch: Epoch(3), ..fence }, a, 0).await, Answer::Done);
        }
    }
}

case! {
    /// A dead holder cannot clear it later.
    an_action_clears_a_holder_that_is_not_alive(c) {
        let (a, w) = (c.join("a").await, c.join("w").await);
        let (paused, discarded) = (c.running(a).await, c.running(a).await);
        c.exited(a, w).await;
        for (fence, action) in [(paused, Action::Pause), (discarded, Action::Discard)] {
            let before = c.read(fence.job).await;
            assert_eq!(before.holder, Some(a));
            assert_eq!(c.act(before, action).await, Answer::Done);
            let row = c.read(fence.job).await;
            assert_eq!((row.holder, row.epoch), (None, fence.epoch));
        }
        assert_eq!(c.jobs(Ask::ListJobs).await.len(), 1, "the discarded job is finished");
    }
}

case! {
    /// While the member is alive, and while the project exists.
    slots_and_limits_can_be_changed(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let (project, other) = (c.project(4).await, c.project(5).await);
        assert_eq!(c.ask(Ask::SetSlots { member: a, slots: 9 }).await, Answer::Done);
        assert_eq!(c.ask(Ask::SetSlots { member: a, slots: 9 }).await, Answer::Done, "repeated");
        assert_eq!(c.ask(Ask::SetLimit { project, limit: 7 }).await, Answer::Done);
        assert_eq!(c.ask(Ask::SetLimit { project, limit: 7 }).await, Answer::Done, "repeated");
        let (members, _, projects) = c.lists().await;
        assert_eq!(members.iter().map(|row| row.slots).collect::<Vec<_>>(), [9, 100]);
        assert_eq!(projects, [ProjectRow { id: project, limit: 7 }, ProjectRow { id: other, limit: 5 }]);
        assert_eq!(c.ask(Ask::Drain { by: b }).await, Answer::Done);
        assert_eq!(c.ask(Ask::SetSlots { member: b, slots: 0 }).await, Answer::Done, "draining is alive");
        assert_eq!(c.ask(Ask::Leave { by: b }).await, Answer::Done);
        assert_eq!(c.ask(Ask::SetSlots { member: b, slots: 1 }).await, Answer::Refused);
        let nowhere = ProjectId(other.0 + 1000);
        assert_eq!(c.ask(Ask::SetLimit { project: nowhere, limit: 1 }).await, Answer::Refused);
    }
}

case! {
    /// While the member is alive. The lists show the change, and a new incarnation declares its capabilities again.
    the_capabilities_of_a_living_member_can_be_changed(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let shown = async || c.lists().await.0.iter().map(|row| row.can).collect::<Vec<_>>();
        assert_eq!(c.ask(Ask::SetCan { member: a, can: FIRST }).await, Answer::Done);
        assert_eq!(c.ask(Ask::SetCan { member: a, can: FIRST }).await, Answer::Done, "repeated");
        assert_eq!(shown().await, [FIRST, BOTH]);
        assert_eq!(c.ask(Ask::Drain { by: b }).await, Answer::Done);
        assert_eq!(c.ask(Ask::SetCan { member: b, can: Capabilities::ALL }).await, Answer::Done, "draining is alive");
        assert_eq!(shown().await, [FIRST, Capabilities::ALL]);
        assert_eq!(c.ask(Ask::Leave { by: b }).await, Answer::Done);
        assert_eq!(c.ask(Ask::SetCan { member: b, can: FIRST }).await, Answer::Refused);
        c.join("a").await;
        assert_eq!(c.ask(Ask::SetCan { member: a, can: FIRST }).await, Answer::Refused, "of an earlier incarnation");
        assert_eq!(shown().await, [BOTH]);
    }
}

case! {
    /// A job that does not exist can neither be taken nor written.
    requests_about_missing_objects_are_refused(c) {
        let a = c.join("a").await;
        let stranger = Member::new(a.node.0 + 9, 9).expect("not zero");
        let fence = Fence { job: JobId(77_777), epoch: Epoch(0) };
        for ask in [
            Ask::Take { fence, by: a, in_order: false },
            Ask::Take { fence, by: a, in_order: true },
            Ask::CommitStep { fence, by: a, step: 0 },
            Ask::Finish { fence, by: a, outcome: Outcome::Succeeded },
            Ask::Release { fence, by: a, placed: None },
            Ask::Place { fence, node: a.node },
            Ask::Act { fence, state: JobState::Ready, action: Action::Pause },
            Ask::Drain { by: stranger },
            Ask::Leave { by: stranger },
            Ask::Yield { target: Target::Leader, epoch: Epoch(0), by: a },
            Ask::Claim { target: Target::Project(ProjectId(77_777)), epoch: Epoch(0), by: a, force: true },
            Ask::SetSlots { member: stranger, slots: 1 },
            Ask::SetCan { member: stranger, can: BOTH },
        ] {
            assert_eq!(c.ask(ask).await, Answer::Refused);
        }
        let fence = Ask::Fence { member: stranger, evidence: Evidence::Exited, beat: None, by: a };
        assert_eq!(c.ask(fence).await, Answer::Done, "it is certainly not alive");
    }
}

case! {
    /// Sixteen members claim the same epoch at once, repeatedly.
    of_sixteen_claims_one_wins(c) {
        let mut members = Vec::new();
        for at in 0..SIXTEEN {
            members.push(c.join(&format!("n{at}")).await);
        }
        let target = Target::Leader;
        for epoch in 0..6 {
            let answers = at_once(members.iter().map(|by| {
                let (c, by) = (c.clone(), *by);
                async move { c.claim(target, epoch, by).await }
            }))
            .await;
            assert_eq!(count(&answers, is_granted), 1, "{answers:?}");
            assert_eq!(count(&answers, |answer| *answer == Answer::Refused), SIXTEEN - 1);
            let winner = members[answers.iter().position(is_granted).expect("one won")];
            let row = ClaimRow { target, holder: Some(winner), epoch: Epoch(epoch + 1) };
            assert_eq!(c.claim_row(target).await, Some(row));
            assert_eq!(c.ask(Ask::Yield { target, epoch: Epoch(epoch + 1), by: winner }).await, Answer::Done);
        }
    }
}

case! {
    /// Sixteen members take the same job at once.
    of_sixteen_takes_one_wins(c) {
        let mut members = Vec::new();
        for at in 0..SIXTEEN {
            members.push(c.join(&format!("n{at}")).await);
        }
        for limit in [1, 1_000_000, 1, 1_000_000] {
            let job = c.submit(c.project(limit).await).await;
            let answers = at_once(members.iter().map(|by| {
                let (c, by) = (c.clone(), *by);
                async move { c.take(job.fence(), by).await }
            }))
            .await;
            assert_eq!(count(&answers, is_granted), 1, "{answers:?}");
            // While the winner's grant is not visible, the limit does not prevent the other takes. Once it is visible,
            // the epoch does. `Full` is only allowed for a take that the epoch did not stop yet.
            assert_eq!(count(&answers, |answer| matches!(answer, Answer::Refused | Answer::Full)), SIXTEEN - 1);
            let winner = members[answers.iter().position(is_granted).expect("one won")];
            let row = c.read(job.id).await;
            assert_eq!((row.holder, row.epoch, row.state), (Some(winner), Epoch(1), JobState::Running));
        }
    }
}

case! {
    /// All members try to take over a dead member's job at once.
    of_sixteen_takeovers_one_wins(c) {
        let mut members = Vec::new();
        for at in 0..SIXTEEN {
            members.push(c.join(&format!("n{at}")).await);
        }
        let dead = c.join("dead").await;
        let project = c.project(4).await;
        let mut fences = Vec::new();
        for _ in 0..4 {
            let job = c.submit(project).await;
            fences.push(c.hold(job.id, dead).await);
        }
        c.exited(dead, members[0]).await;
        let wanted = fences.iter().flat_map(|fence| members.iter().map(move |by| (*fence, *by)));
        let answers = at_once(wanted.map(|(fence, by)| {
            let c = c.clone();
            async move { c.take(fence, by).await }
        }))
        .await;
        for (fence, answers) in fences.iter().zip(answers.chunks(SIXTEEN)) {
            assert_eq!(count(answers, is_granted), 1, "{answers:?}");
            assert_eq!(count(answers, |answer| *answer == Answer::Refused), SIXTEEN - 1, "{answers:?}");
            let winner = members[answers.iter().position(is_granted).expect("one won")];
            let row = c.read(fence.job).await;
            assert_eq!((row.holder, row.epoch.0, row.state), (Some(winner), fence.epoch.0 + 1, JobState::Running));
        }
    }
}

case! {
    /// Sixteen submits with one key create one job.
    of_sixteen_equal_submits_one_creates_the_job(c) {
        let project = c.project(1).await;
        for round in 1..5_u128 {
            let answers = at_once((0..SIXTEEN).map(|_| {
                let c = c.clone();
                let (key, priority) = (round << 90, Priority(3));
                async move { c.ask(Ask::Submit { project, priority, placed: None, external: false, needs: Capabilities::NONE, key }).await }
            }))
            .await;
            assert_eq!(count(&answers, |answer| matches!(answer, Answer::Accepted { fresh: true, .. })), 1, "{answers:?}");
            let mut ids: Vec<JobId> = answers
                .iter()
                .map(|answer| match answer {
                    Answer::Accepted { row, .. } => row.id,
                    other => panic!("a submit was answered by {other:?}"),
                })
                .collect();
            ids.dedup();
            assert_eq!(ids.len(), 1);
        }
        assert_eq!(c.jobs(Ask::ListJobs).await.len(), 4);
    }
}

case! {
    /// Sixteen jobs, room for five.
    a_limit_is_exact_for_sixteen_takers(c) {
        let mut members = Vec::new();
        for at in 0..SIXTEEN {
            members.push(c.join_as(&format!("n{at}"), Role::All, 2).await);
        }
        for limit in [5, 1, 0, 15] {
            let project = c.project(limit).await;
            let mut jobs = Vec::new();
            for _ in 0..SIXTEEN {
                jobs.push(c.submit(project).await);
            }
            let answers = at_once(members.iter().zip(&jobs).map(|(by, job)| {
                let (c, by, fence) = (c.clone(), *by, job.fence());
                async move { c.take(fence, by).await }
            }))
            .await;
            assert_eq!(count(&answers, is_granted), limit as usize, "{answers:?}");
            assert_eq!(count(&answers, |answer| *answer == Answer::Full), SIXTEEN - limit as usize, "{answers:?}");
        }
    }
}

case! {
    /// The same commit, sent sixteen times, counts once.
    a_step_is_committed_once_by_sixteen_zombies(c) {
        let a = c.join("a").await;
        let fence = c.running(a).await;
        for step in 0..4 {
            let answers = at_once((0..SIXTEEN).map(|_| {
                let c = c.clone();
                async move { c.step(fence, a, step).await }
            }))
            .await;
            assert_eq!(count(&answers, |answer| *answer == Answer::Done), 1, "{answers:?}");
            assert_eq!(count(&answers, |answer| *answer == Answer::Refused), SIXTEEN - 1, "{answers:?}");
            assert_eq!(c.read(fence.job).await.steps, step + 1);
        }
    }
}

case! {
    /// Sixteen concurrent releases of a job release it once, and it can be taken once.
    a_release_is_done_once_by_sixteen_zombies(c) {
        let a = c.join("a").await;
        for _ in 0..4 {
            let fence = c.running(a).await;
            let answers = at_once((0..SIXTEEN).map(|_| {
                let c = c.clone();
                async move { c.release(fence, a, None).await }
            }))
            .await;
            assert_eq!(count(&answers, |answer| *answer == Answer::Done), 1, "{answers:?}");
            assert_eq!(count(&answers, |answer| *answer == Answer::Refused), SIXTEEN - 1, "{answers:?}");
            assert_eq!(c.read(fence.job).await.state, JobState::Ready);
        }
    }
}

case! {
    /// Either the beat counts and the fence is refused, or the member is fenced and the beat is refused.
    a_beat_and_a_fence_for_silence_exclude_each_other(c) {
        let w = c.join("w").await;
        let mut fenced = 0;
        for round in 0..24 {
            let a = c.join(&format!("n{round}")).await;
            let beat = {
                let c = c.clone();
                async move { c.ask(Ask::Beat { by: a, brief: None }).await }
            };
            let fence = {
                let c = c.clone();
                let silent = Ask::Fence { member: a, evidence: Evidence::Silent, beat: Some(0), by: w };
                async move { c.ask(silent).await }
            };
            let (beat, fence) = tokio::join!(tokio::spawn(beat), tokio::spawn(fence));
            let (beat, fence) = (beat.expect("no panic"), fence.expect("no panic"));
            match (&beat, &fence) {
                (Answer::Listed { .. }, Answer::Refused) => {
                    assert_eq!(c.member(a).await.map(|row| row.beat), Some(1));
                    assert_eq!(c.ask(Ask::Leave { by: a }).await, Answer::Done);
                }
                (Answer::Refused, Answer::Done) => {
                    assert_eq!(c.member(a).await, None);
                    fenced += 1;
                }
                other => panic!("both or none: {other:?}"),
            }
        }
        // Both orders are legal. Their frequency depends on the scheduler.
        assert!(fenced <= 24);
    }
}

case! {
    /// Exactly one of a finish by the fenced holder and a takeover by an heir succeeds.
    a_finish_and_a_takeover_exclude_each_other(c) {
        let b = c.join("b").await;
        for round in 0..12 {
            let a = c.join("a").await;
            let fence = c.running(a).await;
            c.exited(a, b).await;
            let mut asks: Vec<BoxFuture<'static, Answer>> = Vec::new();
            for at in 0..SIXTEEN {
                let c = c.clone();
                if (at + round) % 2 == 0 {
                    asks.push(Box::pin(async move { c.take(fence, b).await }));
                } else {
                    asks.push(Box::pin(async move { c.finish(fence, a, Outcome::Succeeded).await }));
                }
            }
            let answers = at_once(asks).await;
            let (granted, done) = (count(&answers, is_granted), count(&answers, |answer| *answer == Answer::Done));
            assert_eq!(granted + done, 1, "{answers:?}");
            assert_eq!(count(&answers, |answer| *answer == Answer::Refused), SIXTEEN - 1, "{answers:?}");
            let row = c.read(fence.job).await;
            if granted == 1 {
                assert_eq!((row.state, row.holder, row.epoch.0), (JobState::Running, Some(b), fence.epoch.0 + 1));
                assert_eq!(c.finish(row.fence(), b, Outcome::Succeeded).await, Answer::Done);
            } else {
                assert_eq!((row.state, row.holder, row.epoch), (JobState::Succeed, None, fence.epoch));
            }
        }
    }
}

case! {
    /// A dead member's last release, or a user's RESTART, comes before the takeover or after it. In either case the
    /// heir gets the job with its place in the full project.
    a_takeover_is_granted_before_and_after_the_dead_members_release(c) {
        let b = c.join("b").await;
        for round in 0..8 {
            let a = c.join("a").await;
            let mut held = Vec::new();
            for _ in 0..SIXTEEN / 2 {
                let job = c.submit(c.project(1).await).await;
                held.push(c.hold(job.id, a).await);
            }
            c.exited(a, b).await;
            let mut asks: Vec<BoxFuture<'static, Answer>> = Vec::new();
            for fence in held {
                let (heir, dead) = (c.clone(), c.clone());
                let (state, action) = (JobState::Running, Action::Restart);
                asks.push(Box::pin(async move { heir.take(fence, b).await }));
                asks.push(Box::pin(async move {
                    match round % 2 {
                        0 => dead.release(fence, a, None).await,
                        _ => dead.ask(Ask::Act { fence, state, action }).await,
                    }
                }));
            }
            let answers = at_once(asks).await;
            assert_eq!(count(&answers, is_granted), SIXTEEN / 2, "{answers:?}");
        }
    }
}

case! {
    /// No grant to a fenced member becomes visible after the fence.
    a_take_comes_before_the_fence_of_its_taker_or_not_at_all(c) {
        let w = c.join("w").await;
        let project = c.project(1_000_000).await;
        for round in 0..12 {
            let a = c.join(&format!("n{round}")).await;
            let mut jobs = Vec::new();
            for _ in 0..SIXTEEN - 1 {
                jobs.push(c.submit(project).await);
            }
            let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
            let takes = jobs.iter().map(|job| {
                let (c, fence) = (c.clone(), job.fence());
                async move { c.take(fence, a).await }
            });
            let takes = tokio::spawn(at_once(takes.collect::<Vec<_>>()));
            c.exited(a, w).await;
            let seen = c.jobs(Ask::ReadJobs(ids.clone())).await;
            let answers = takes.await.expect("no panic");
            assert_eq!(c.jobs(Ask::ReadJobs(ids)).await, seen, "{answers:?}");
            let held = seen.iter().filter(|job| job.holder == Some(a)).count();
            assert_eq!(count(&answers, is_granted), held);
            assert_eq!(count(&answers, |answer| *answer == Answer::Refused), SIXTEEN - 1 - held, "{answers:?}");
        }
    }
}

case! {
    /// A take concurrent with the loss of a required capability is granted before the loss or refused.
    a_take_comes_before_the_loss_of_a_capability_or_not_at_all(c) {
        let project = c.project(1_000_000).await;
        for round in 0..12 {
            let a = c.join(&format!("n{round}")).await;
            let mut jobs = Vec::new();
            for _ in 0..SIXTEEN - 1 {
                jobs.push(c.submit_that_needs(project, 3, None, SECOND).await);
            }
            let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
            let takes = jobs.iter().map(|job| {
                let (c, fence) = (c.clone(), job.fence());
                async move { c.take(fence, a).await }
            });
            let takes = tokio::spawn(at_once(takes.collect::<Vec<_>>()));
            assert_eq!(c.ask(Ask::SetCan { member: a, can: FIRST }).await, Answer::Done);
            let seen = c.jobs(Ask::ReadJobs(ids.clone())).await;
            let answers = takes.await.expect("no panic");
            assert_eq!(c.jobs(Ask::ReadJobs(ids)).await, seen, "{answers:?}");
            let held = seen.iter().filter(|job| job.holder == Some(a)).count();
            assert_eq!(count(&answers, is_granted), held);
            assert_eq!(count(&answers, |answer| *answer == Answer::Refused), SIXTEEN - 1 - held, "{answers:?}");
        }
    }
}

case! {
    /// The same for claims.
    a_claim_comes_before_the_fence_of_its_taker_or_not_at_all(c) {
        let w = c.join("w").await;
        for round in 0..12 {
            let a = c.join(&format!("n{round}")).await;
            let target = Target::Project(c.project(1).await);
            let claim = {
                let c = c.clone();
                tokio::spawn(async move { c.claim(target, 0, a).await })
            };
            c.exited(a, w).await;
            let seen = c.claim_row(target).await;
            let answer = claim.await.expect("no panic");
            assert_eq!(c.claim_row(target).await, seen);
            assert_eq!(is_granted(&answer), seen.is_some_and(|row| row.holder == Some(a)));
        }
    }
}

case! {
    /// A fenced member can no longer fence another.
    two_members_cannot_fence_each_other(c) {
        for _ in 0..12 {
            let (a, b) = (c.join("a").await, c.join("b").await);
            let fences = [(a, b), (b, a)].map(|(member, by)| {
                let c = c.clone();
                async move { c.ask(Ask::Fence { member, evidence: Evidence::Exited, beat: None, by }).await }
            });
            let answers = at_once(fences).await;
            assert_eq!(count(&answers, |answer| *answer == Answer::Done), 1, "{answers:?}");
            assert_eq!(count(&answers, |answer| *answer == Answer::Refused), 1, "{answers:?}");
            assert_eq!(c.lists().await.0.len(), 1);
        }
    }
}

case! {
    /// In every interleaving of an action and the holder's end, a dead member holds only running jobs.
    an_action_and_the_end_of_the_holder_leave_no_orphan(c) {
        let w = c.join("w").await;
        for round in 0..12 {
            let a = c.join(&format!("n{round}")).await;
            let mut jobs = Vec::new();
            for _ in 0..5 {
                let fence = c.running(a).await;
                jobs.push(c.read(fence.job).await);
            }
            let acts = jobs.iter().zip([Action::Pause, Action::Discard, Action::Restart].into_iter().cycle());
            let acts: Vec<_> = acts
                .map(|(job, action)| {
                    let (c, job) = (c.clone(), *job);
                    async move { c.act(job, action).await }
                })
                .collect();
            let acts = tokio::spawn(at_once(acts));
            c.exited(a, w).await;
            let answers = acts.await.expect("no panic");
            assert_eq!(count(&answers, |answer| *answer == Answer::Done), jobs.len(), "{answers:?}");
            for job in jobs {
                let row = c.read(job.id).await;
                assert_eq!(row.holder, None, "{row:?}");
            }
        }
    }
}

case! {
    /// A release and PAUSE may come in any order. The final state is the same, except for which one was refused.
    a_release_and_an_action_agree_on_the_state(c) {
        let a = c.join("a").await;
        for _ in 0..8 {
            let fence = c.running(a).await;
            let job = c.read(fence.job).await;
            let (release, act) = tokio::join!(
                tokio::spawn({ let c = c.clone(); async move { c.release(fence, a, None).await } }),
                tokio::spawn({ let c = c.clone(); async move { c.act(job, Action::Pause).await } }),
            );
            assert_eq!(release.expect("no panic"), Answer::Done);
            let row = c.read(fence.job).await;
            let paused = act.expect("no panic") == Answer::Done;
            assert_eq!(row.state, if paused { JobState::Paused } else { JobState::Ready });
            assert_eq!(row.holder, None);
        }
    }
}

case! {
    /// Sixteen processes join as the same node. The last one stays alive.
    sixteen_joins_of_one_node_leave_one_alive(c) {
        let answers = at_once((0..SIXTEEN).map(|_| {
            let c = c.clone();
            async move { c.contract.ask("a", Ask::Join { role: Role::All, slots: 1, can: BOTH }).await }
        }))
        .await;
        let mut members: Vec<Member> = answers
            .iter()
            .map(|answer| match answer {
                Answer::Joined(member) => *member,
                other => panic!("a join was answered by {other:?}"),
            })
            .collect();
        members.sort_unstable();
        members.dedup();
        assert_eq!(members.len(), SIXTEEN, "each has an incarnation of its own");
        let (alive, ..) = c.lists().await;
        assert_eq!(alive.len(), 1);
        assert_eq!(Some(alive[0].member), members.last().copied(), "the last incarnation");
    }
}
