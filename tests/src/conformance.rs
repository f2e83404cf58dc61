//! The metastore contract as tests: every sentence of [`kirin_core::ask`], held against whatever implements [`Contract`].
//!
//! A case gets an empty metastore of its own. Sequential cases pin each sentence and each refusal; races pin the outcome
//! that all interleavings must have, from sixteen clients at once.

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

/// Something that answers the contract's requests.
pub trait Contract: Send + Sync + 'static {
    /// Asks. Of all requests only a join needs the node's name: the same name is the same node.
    fn ask(&self, node: &str, ask: Ask) -> BoxFuture<'_, Answer>;

    /// Makes a project with this limit.
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
            draining_is_told_once_and_again
            leaving_ends_a_member
            a_fence_ends_a_member
            a_fence_for_silence_needs_the_beat_that_was_seen
            a_fence_needs_a_living_witness
            the_end_of_a_member_lets_go_of_what_does_not_run
            a_claim_is_granted_once_per_epoch
            a_claim_without_a_row_is_put_back_under_the_epoch_that_is_known
            a_claim_needs_a_member_that_is_up
            a_claim_is_free_when_its_holder_is_not_alive
            a_claim_that_was_given_back_is_free
            a_claim_of_a_former_life_is_free
            a_claim_can_be_forced
            a_yield_is_scoped_by_epoch_and_holder
            a_submit_is_accepted_once_per_key
            a_submit_needs_its_project
            the_list_of_jobs_has_what_is_not_over_or_held
            jobs_are_read_whatever_their_state
            the_list_of_a_node_has_what_it_holds_and_what_waits_for_it
            a_place_needs_a_waiting_job_that_nobody_holds
            a_take_is_granted_once_per_epoch
            a_take_needs_a_member_that_is_up
            a_take_needs_a_member_that_is_able_to_run_the_job
            a_take_needs_a_job_that_waits_or_runs
            a_job_of_a_dead_member_is_taken_over
            a_job_of_a_former_life_is_taken_over
            a_project_that_is_full_says_so
            strict_order_holds_over_all_nodes
            a_step_is_scoped_by_job_epoch_holder_state_and_number
            a_finish_is_scoped_by_job_epoch_holder_and_state
            a_release_is_scoped_by_epoch_and_holder
            a_release_keeps_what_a_user_wanted
            an_action_is_scoped_by_epoch_and_state
            an_action_is_legal_where_the_job_says_so
            a_restart_forgets_the_steps
            an_action_clears_a_holder_that_is_not_alive
            slots_and_limits_can_be_changed
            what_a_member_can_run_can_be_changed_while_it_is_alive
            requests_about_nothing_are_refused
            of_sixteen_claims_one_wins
            of_sixteen_takes_one_wins
            of_sixteen_takeovers_one_wins
            of_sixteen_equal_submits_one_is_fresh
            a_limit_is_exact_for_sixteen_takers
            a_step_is_committed_once_by_sixteen_zombies
            a_release_is_done_once_by_sixteen_zombies
            a_beat_and_a_fence_for_silence_exclude_each_other
            a_finish_and_a_takeover_exclude_each_other
            a_takeover_is_granted_whether_the_dead_let_go_or_not
            a_take_comes_before_the_fence_of_its_taker_or_not_at_all
            a_take_comes_before_the_loss_of_an_ability_or_not_at_all
            a_claim_comes_before_the_fence_of_its_taker_or_not_at_all
            two_members_cannot_fence_each_other
            an_action_and_the_end_of_the_holder_leave_no_orphan
            a_release_and_an_action_agree_on_the_state
            sixteen_joins_of_one_node_leave_one_alive
        }
    };
}

/// Verbs on a contract, so that a case reads as a story.
#[derive(Clone)]
struct Cluster {
    contract: Arc<dyn Contract>,
}

static KEYS: AtomicU64 = AtomicU64::new(1);
const SIXTEEN: usize = 16;

/// What the members of this suite are able to run when they join.
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

    /// Takes a job that can be taken; its fence.
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

    /// A job of a project of its own, held by this member.
    async fn running(&self, by: Member) -> Fence {
        let project = self.project(10).await;
        let job = self.submit(project).await;
        self.hold(job.id, by).await
    }

    /// A job of a project of its own in this state, held by nobody.
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

/// All of these at once, as tasks of their own.
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
    /// Incarnations of a node grow and are never reused; other nodes have other numbers.
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
        assert_eq!(c.read(fence.job).await.holder, Some(first), "what runs waits for an heir");
        assert_eq!(c.ask(Ask::Drain { by: second }).await, Answer::Done);
        let third = c.join("a").await;
        assert_eq!(c.member(second).await, None);
        assert_eq!(c.member(third).await.map(|row| row.state), Some(MemberState::Up));
    }
}

case! {
    /// Each beat adds one and answers with the lists, each sorted.
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
    /// Where the lists still are what the asker believes, the beats of those whom it names are the answer; each change of the
    /// lists brings the lists.
    a_beat_is_answered_briefly_while_the_lists_are_the_same(c) {
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
        assert_eq!(beat(&seen).await, Answer::Beats(vec![(a, 3), (b, 2)]), "beats are no change");

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
        assert!(matches!(beats.as_slice(), [(one, _)] if *one == a), "who is not alive has no beat: {beats:?}");
        assert_eq!(c.ask(Ask::Leave { by: a }).await, Answer::Done);
        assert_eq!(beat(&seen).await, Answer::Refused);
    }
}

case! {
    /// Whoever left, was fenced or never joined is refused, and nothing is counted.
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
    /// Reading the lists leaves every beat as it is.
    a_list_does_not_beat(c) {
        let a = c.join("a").await;
        listed(c.ask(Ask::Beat { by: a, brief: None }).await);
        c.lists().await;
        assert_eq!(c.member(a).await.map(|row| row.beat), Some(1));
    }
}

case! {
    /// Up becomes draining; draining stays; a member that is not alive is refused and stays ended.
    draining_is_told_once_and_again(c) {
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
    /// Evidence other than silence needs no beat; a member that is not alive already is as good as fenced.
    a_fence_ends_a_member(c) {
        let w = c.join("w").await;
        for (node, evidence) in [("a", Evidence::Exited), ("b", Evidence::Replaced), ("c", Evidence::Left)] {
            let member = c.join(node).await;
            listed(c.ask(Ask::Beat { by: member, brief: None }).await);
            let fence = Ask::Fence { member, evidence, beat: Some(0), by: w };
            assert_eq!(c.ask(fence.clone()).await, Answer::Done);
            assert_eq!(c.member(member).await, None);
            assert_eq!(c.ask(fence).await, Answer::Done, "it isn't alive already");
        }
        assert!(c.member(w).await.is_some());
    }
}

case! {
    /// Whoever beat meanwhile is not silent, and silence without a beat is no evidence.
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
        assert_eq!(c.ask(fence(Some(2))).await, Answer::Done, "it isn't alive already");
    }
}

case! {
    /// Whoever says so must be alive; draining is alive.
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
    /// Left, replaced or fenced: jobs that it held and that do not run are let go; those that run wait for an heir.
    the_end_of_a_member_lets_go_of_what_does_not_run(c) {
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
                assert_eq!(c.read(fence.job).await.holder, Some(a), "an action leaves the holder");
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
    /// Epoch 0 is a claim that nobody ever held. The epoch must be the one seen, and it grows by one.
    a_claim_is_granted_once_per_epoch(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        for target in [Target::Leader, Target::Project(c.project(1).await)] {
            assert_eq!(c.claim(target, 0, a).await, Answer::Granted { epoch: Epoch(1), steps: 0 });
            assert_eq!(c.claim_row(target).await, Some(ClaimRow { target, holder: Some(a), epoch: Epoch(1) }));
            assert_eq!(c.claim(target, 1, b).await, Answer::Refused, "its holder lives");
            assert_eq!(c.claim(target, 1, a).await, Answer::Refused, "its holder lives");
            assert_eq!(c.ask(Ask::Yield { target, epoch: Epoch(1), by: a }).await, Answer::Done);
            assert_eq!(c.claim(target, 0, b).await, Answer::Refused);
            assert_eq!(c.claim(target, 2, b).await, Answer::Refused);
            assert_eq!(c.claim(target, 1, b).await, Answer::Granted { epoch: Epoch(2), steps: 0 });
            assert_eq!(c.claim_row(target).await, Some(ClaimRow { target, holder: Some(b), epoch: Epoch(2) }));
        }
    }
}

case! {
    /// Draining, left, fenced or unknown: refused, also with force, and nothing is changed.
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
    /// The dead holder stays on record until the next one; a draining holder is alive.
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
    /// By whom it was given back, and by anybody else.
    a_claim_that_was_given_back_is_free(c) {
        let a = c.join("a").await;
        let target = Target::Leader;
        assert!(is_granted(&c.claim(target, 0, a).await));
        assert_eq!(c.ask(Ask::Yield { target, epoch: Epoch(1), by: a }).await, Answer::Done);
        assert_eq!(c.claim_row(target).await, Some(ClaimRow { target, holder: None, epoch: Epoch(1) }));
        assert_eq!(c.claim(target, 1, a).await, Answer::Granted { epoch: Epoch(2), steps: 0 });
    }
}

case! {
    /// A node that joined again is not the member that held the claim, not even for itself.
    a_claim_of_a_former_life_is_free(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        assert!(is_granted(&c.claim(Target::Leader, 0, a).await));
        let next = c.join("a").await;
        assert_eq!(c.claim_row(Target::Leader).await.and_then(|row| row.holder), Some(a));
        assert_eq!(c.claim(Target::Leader, 1, b).await, Answer::Granted { epoch: Epoch(2), steps: 0 });
        assert_eq!(c.claim(Target::Leader, 2, next).await, Answer::Refused);
    }
}

case! {
    /// From a living holder too, but never under a stale epoch.
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
    /// Another epoch, another member, another target: refused.
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
    /// A claim without a row was never held, or its row was deleted: who knows its epoch goes on from there.
    a_claim_without_a_row_is_put_back_under_the_epoch_that_is_known(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        for target in [Target::Leader, Target::Project(c.project(1).await)] {
            assert_eq!(c.ask(Ask::Yield { target, epoch: Epoch(7), by: a }).await, Answer::Refused);
            assert_eq!(c.claim_row(target).await, None);
            assert_eq!(c.claim(target, 7, a).await, Answer::Granted { epoch: Epoch(8), steps: 0 });
            assert_eq!(c.claim_row(target).await, Some(ClaimRow { target, holder: Some(a), epoch: Epoch(8) }));
            for known in [0, 7, 8, 9] {
                assert_eq!(c.claim(target, known, b).await, Answer::Refused, "it has a row, whose holder lives");
            }
        }
    }
}

case! {
    /// READY, or PENDING on a node's queue; the same key again answers with the job of the first time.
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
    /// No project, no job.
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
    /// Everything that is not over, and what is over but still held.
    the_list_of_jobs_has_what_is_not_over_or_held(c) {
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
    /// In any state, sorted, each once, unknown ones left out.
    jobs_are_read_whatever_their_state(c) {
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
    /// What any incarnation of the node holds, in whatever state, and what waits on its queue; nothing else.
    the_list_of_a_node_has_what_it_holds_and_what_waits_for_it(c) {
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
        assert!(failed.placed.is_some(), "it ran there, but it does not wait");
        let next = c.join("a").await;
        let own = c.running(next).await;
        assert_eq!(ids(c.jobs(Ask::ListNode(a.node)).await), [held.job, waiting.id, own.job], "of any incarnation");
        assert_eq!(c.jobs(Ask::ListNode(NodeId(a.node.0 + 1000))).await, []);
    }
}

case! {
    /// READY or PENDING becomes PENDING on that queue, under the epoch that was seen.
    a_place_needs_a_waiting_job_that_nobody_holds(c) {
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
    /// READY or PENDING becomes RUNNING; holder, place and epoch change together; who comes with an old epoch is refused.
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
            assert_eq!(c.take(row.fence(), b).await, Answer::Refused, "its holder lives");
            assert_eq!(c.take(row.fence(), a).await, Answer::Refused, "its holder lives");
            assert_eq!(c.read(job.id).await, row);
            // Handed back after a step: the same epoch until the next take, which tells how far the job is.
            assert_eq!(c.step(row.fence(), a, 0).await, Answer::Done);
            assert_eq!(c.release(row.fence(), a, None).await, Answer::Done);
            assert_eq!(c.read(job.id).await.epoch, Epoch(1));
            assert_eq!(c.take(job.fence(), b).await, Answer::Refused);
            assert_eq!(c.take(row.fence(), b).await, Answer::Granted { epoch: Epoch(2), steps: 1 });
        }
    }
}

case! {
    /// Draining, left, fenced, unknown: refused.
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
    /// A member has to have all that the job requires, by its row of that moment; also when it takes over, and in strict
    /// order only what it is able to run stands before a job.
    a_take_needs_a_member_that_is_able_to_run_the_job(c) {
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
        assert!(is_granted(&c.ask(ordered).await), "the other can't be run there");
        assert!(is_granted(&c.take(job.fence(), b).await));
        assert_eq!(c.ask(Ask::Leave { by: b }).await, Answer::Done);
        let orphan = c.read(job.id).await;
        assert_eq!(c.take(orphan.fence(), a).await, Answer::Refused, "no takeover either");
        assert_eq!(c.ask(can(Capabilities::ALL)).await, Answer::Done);
        assert!(is_granted(&c.take(orphan.fence(), a).await));
    }
}

case! {
    /// ERROR, PAUSED and what is over can't be taken. A job that waits but has a living holder can't either.
    a_take_needs_a_job_that_waits_or_runs(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        for state in [JobState::Error, JobState::Paused, JobState::Discarded, JobState::Succeed, JobState::Suicidal] {
            let job = c.job_in(state, a).await;
            assert_eq!(c.take(job.fence(), a).await, Answer::Refused, "{state:?}");
            assert_eq!(c.read(job.id).await, job);
        }
        let fence = c.running(a).await;
        assert_eq!(c.act(c.read(fence.job).await, Action::Restart).await, Answer::Done);
        assert_eq!(c.take(fence, b).await, Answer::Refused, "READY, but its holder lives");
        assert_eq!(c.release(fence, a, None).await, Answer::Done);
        assert!(is_granted(&c.take(fence, b).await));
    }
}

case! {
    /// RUNNING by the dead becomes RUNNING by the heir, in one transition; the dead one is refused from then on.
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
    /// A node that joined again does not go on with what its former life held: it takes it over like anybody else.
    a_job_of_a_former_life_is_taken_over(c) {
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
    /// The limit counts RUNNING jobs of the project, whoever holds them; a takeover needs no room; `Full` only if nothing
    /// else stands against it.
    a_project_that_is_full_says_so(c) {
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
        // Lowered: what runs goes on, and changes hands.
        assert_eq!(c.ask(Ask::SetLimit { project, limit: 0 }).await, Answer::Done);
        assert_eq!(c.take(z.fence(), a).await, Answer::Full);
        c.exited(b, a).await;
        assert_eq!(c.take(z.fence(), a).await, Answer::Full, "what the dead one ran still counts");
        assert!(is_granted(&c.take(Fence { job: y.id, epoch: Epoch(1) }, a).await), "a takeover");
        assert_eq!(c.ask(Ask::SetLimit { project, limit: 2 }).await, Answer::Done);
        assert_eq!(c.take(z.fence(), a).await, Answer::Full);
        assert_eq!(c.finish(held, a, Outcome::Failed).await, Answer::Done);
        assert!(is_granted(&c.take(z.fence(), a).await), "one ended");
        // One that was paused does not run, though it is held.
        assert_eq!(c.act(c.read(z.id).await, Action::Pause).await, Answer::Done);
        let last = c.submit(project).await;
        assert!(is_granted(&c.take(last.fence(), a).await));
    }
}

case! {
    /// A job is refused while an earlier one waits whose project has room.
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
        assert!(is_granted(&c.ask(ordered(late)).await), "the one before it can't start");
        assert!(is_granted(&c.ask(ordered(later)).await));
        let open = c.submit_at(q, 3, None).await;
        assert_eq!(c.finish(c.read(urgent.id).await.fence(), a, Outcome::Succeeded).await, Answer::Done);
        assert_eq!(c.ask(ordered(open)).await, Answer::Refused, "its project has room again");
        assert!(is_granted(&c.take(open.fence(), a).await), "without strict order it is free");
        assert!(is_granted(&c.ask(ordered(blocked)).await));
        // One that was restarted can't start before its attempt has stopped: it is in nobody's way.
        assert_eq!(c.act(c.read(open.id).await, Action::Restart).await, Answer::Done);
        let (behind, last) = (c.submit_at(q, 3, None).await, c.submit_at(q, 3, None).await);
        assert!(is_granted(&c.ask(ordered(behind)).await), "the one before it is held");
        assert_eq!(c.release(c.read(open.id).await.fence(), a, None).await, Answer::Done);
        assert_eq!(c.ask(ordered(last)).await, Answer::Refused, "it waits for anybody again");
        // What runs has had its turn: its heir waits for nobody.
        let b = c.join("b").await;
        let orphan = c.hold(last.id, b).await;
        c.exited(b, a).await;
        assert!(is_granted(&c.ask(Ask::Take { fence: orphan, by: a, in_order: true }).await), "a takeover");
    }
}

case! {
    /// Another epoch, another holder, another state, another number: refused, and nothing is counted.
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
    /// Another epoch, another holder, another state: refused. Each outcome has its state; the holder is cleared.
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
    /// RUNNING becomes READY, or PENDING on a queue. Another epoch or holder: refused.
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
    /// A job whose state was changed under the attempt keeps that state; only the holder goes.
    a_release_keeps_what_a_user_wanted(c) {
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
    /// The state and the epoch must be the ones that were seen.
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
    /// Where the job's `match` allows it, and nowhere else; the holder and the epoch stay.
    an_action_is_legal_where_the_job_says_so(c) {
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
                            assert_eq!(row.placed, None, "READY is on no queue");
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
    /// RESTART begins at the first step again; RESUME and PAUSE keep what is committed.
    a_restart_forgets_the_steps(c) {
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
    /// Nobody is left to clear it later.
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
        assert_eq!(c.jobs(Ask::ListJobs).await.len(), 1, "the discarded one is over");
    }
}

case! {
    /// While alive, and while there is such a project.
    slots_and_limits_can_be_changed(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let (project, other) = (c.project(4).await, c.project(5).await);
        assert_eq!(c.ask(Ask::SetSlots { member: a, slots: 9 }).await, Answer::Done);
        assert_eq!(c.ask(Ask::SetSlots { member: a, slots: 9 }).await, Answer::Done, "the same again");
        assert_eq!(c.ask(Ask::SetLimit { project, limit: 7 }).await, Answer::Done);
        assert_eq!(c.ask(Ask::SetLimit { project, limit: 7 }).await, Answer::Done, "the same again");
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
    /// While alive; the lists show it, and a new incarnation says it anew.
    what_a_member_can_run_can_be_changed_while_it_is_alive(c) {
        let (a, b) = (c.join("a").await, c.join("b").await);
        let shown = async || c.lists().await.0.iter().map(|row| row.can).collect::<Vec<_>>();
        assert_eq!(c.ask(Ask::SetCan { member: a, can: FIRST }).await, Answer::Done);
        assert_eq!(c.ask(Ask::SetCan { member: a, can: FIRST }).await, Answer::Done, "the same again");
        assert_eq!(shown().await, [FIRST, BOTH]);
        assert_eq!(c.ask(Ask::Drain { by: b }).await, Answer::Done);
        assert_eq!(c.ask(Ask::SetCan { member: b, can: Capabilities::ALL }).await, Answer::Done, "draining is alive");
        assert_eq!(shown().await, [FIRST, Capabilities::ALL]);
        assert_eq!(c.ask(Ask::Leave { by: b }).await, Answer::Done);
        assert_eq!(c.ask(Ask::SetCan { member: b, can: FIRST }).await, Answer::Refused);
        c.join("a").await;
        assert_eq!(c.ask(Ask::SetCan { member: a, can: FIRST }).await, Answer::Refused, "of a former life");
        assert_eq!(shown().await, [BOTH]);
    }
}

case! {
    /// A job that does not exist can be neither taken nor written.
    requests_about_nothing_are_refused(c) {
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
        assert_eq!(c.ask(fence).await, Answer::Done, "it certainly isn't alive");
    }
}

case! {
    /// Sixteen members claim the same epoch at once, several times over.
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
            // While the winner's grant is not visible, the limit does not stand against the others either; once it is, the
            // epoch does. Only a full project may be named by whom the epoch did not stop yet.
            assert_eq!(count(&answers, |answer| matches!(answer, Answer::Refused | Answer::Full)), SIXTEEN - 1);
            let winner = members[answers.iter().position(is_granted).expect("one won")];
            let row = c.read(job.id).await;
            assert_eq!((row.holder, row.epoch, row.state), (Some(winner), Epoch(1), JobState::Running));
        }
    }
}

case! {
    /// A dead member's jobs are wanted by everybody at once.
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
    /// One key, sixteen submits: one job.
    of_sixteen_equal_submits_one_is_fresh(c) {
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
    /// A job that is handed back sixteen times at once is handed back once, and can be taken once.
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
        // Both orders are legal; how often each comes is up to the scheduler.
        assert!(fenced <= 24);
    }
}

case! {
    /// Of a finish by the fenced holder and a takeover by an heir exactly one is done.
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
    /// A dead member's last words, or a user's RESTART, come before the takeover or after it: the heir gets the job, and
    /// the place of the job in its full project with it.
    a_takeover_is_granted_whether_the_dead_let_go_or_not(c) {
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
    /// What the metastore shows after a fence stays: no grant to the fenced member becomes visible later.
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
    /// A take that meets the loss of what the job requires is granted before it or refused.
    a_take_comes_before_the_loss_of_an_ability_or_not_at_all(c) {
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
    /// Whoever is fenced first can't witness any more.
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
    /// However an action and the holder's end interleave, nothing that does not run is held by the dead.
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
    /// Handing back and PAUSE may come in any order; the end is the same but for who was refused.
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
    /// Sixteen processes that claim to be the same node: the last one stays.
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
