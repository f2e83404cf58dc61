//! Joining, beating, evidence, fencing and claims.

use super::*;
use crate::event::Met;

fn is_fence(ask: &Ask) -> bool {
    matches!(ask, Ask::Fence { .. })
}

fn exited(test: &mut TestNode, node: u32) -> Effects {
    test.step(Event::Exited(m(node)))
}

fn asks_to_fence(node: u32) -> Ask {
    Ask::Fence { member: m(node), evidence: Evidence::Exited, beat: None, by: ME }
}

#[test]
fn a_failed_join_is_retried_after_a_pause() {
    let mut test = TestNode::starting(Settings::new(Role::All), 2);
    let join = Ask::Join { role: Role::All, slots: 30, can: Capabilities::ALL };
    assert_eq!(asks(&test.step(Event::Woke)), core::slice::from_ref(&join));
    assert_eq!(test.answer(|_| true, Answer::Unknown), []);
    assert_eq!(test.node.deadline(), (test.now + PAUSE, Timer::Membership));
    assert_eq!(test.wake_after(PAUSE - Span::from_micros(1)), []);
    assert_eq!(asks(&test.wake_after(Span::from_micros(1))), [join]);
}

#[test]
fn a_fenced_member_resigns_and_rejoins_when_its_attempts_have_ended() {
    let mut test = TestNode::of(2);
    test.claims[0] = ClaimRow { holder: Some(ME), epoch: Epoch(3), ..test.claims[0] };
    assert_eq!(others(test.reads_lists()), [Effect::Lead { target: Target::Leader, epoch: Epoch(3) }]);
    let fence = test.holds(1);
    test.wake_after(Span::from_secs(30));
    let effects = test.answer(|ask| matches!(ask, Ask::Beat { .. }), Answer::Refused);
    let cancel = Effect::Cancel { fence, why: Why::Fenced };
    assert_eq!(effects, [Effect::Note(Note::WasFenced(ME)), cancel, Effect::Resign(Target::Leader)]);
    assert_eq!(test.node.deadline(), (Time::NEVER, Timer::Answer), "it waits for its attempt");
    let effects = test.step(Event::AttemptEnded { fence, end: crate::event::End::Stopped });
    assert_eq!(asks(&effects), [Ask::Join { role: Role::All, slots: 30, can: Capabilities::ALL }]);
}

#[test]
fn a_drain_before_the_join_waits_for_it_and_a_leave_exits_at_once() {
    let joining = || {
        let mut test = TestNode::starting(Settings::new(Role::All), 2);
        test.step(Event::Woke);
        test
    };
    assert_eq!(joining().drains(true), [Effect::Exit]);
    let mut test = joining();
    assert_eq!(test.drains(false), []);
    assert!(asks(&test.answer(|_| true, Answer::Joined(ME))).contains(&Ask::Drain { by: ME }));
}

#[test]
fn a_member_takes_no_job_before_it_has_read_the_list_of_jobs() {
    let mut test = TestNode::starting(Settings::new(Role::All), 2);
    test.step(Event::Woke);
    test.answer(|ask| matches!(ask, Ask::Join { .. }), Answer::Joined(ME));
    let lists = test.lists();
    test.answer(is_beat, lists);
    assert_eq!(test.step(Event::Heard(vec![pending(2)])), [], "it may not know of an earlier job");
    assert_eq!(test.answer(|ask| *ask == Ask::ListJobs, Answer::Failed), []);
    assert_eq!(asks(&test.wake_after(PAUSE)), [Ask::ListJobs]);
    let takes = asks(&test.answer(|ask| *ask == Ask::ListJobs, Answer::Jobs(vec![pending(1), pending(2)])));
    assert_eq!(takes, [1, 2].map(|id| Ask::Take { fence: fence(id, 0), by: ME, in_order: false }));
}

#[test]
fn a_wrong_row_of_this_member_is_corrected() {
    let mut test = TestNode::of(2);
    let drain = Ask::Drain { by: ME };
    assert_eq!(asks(&test.drains(false)), core::slice::from_ref(&drain));
    assert_eq!(test.reads_lists(), [], "the request is in flight");
    assert_eq!(test.answer(|ask| *ask == drain, Answer::Failed), []);
    assert_eq!(test.wake_after(PAUSE - Span::from_micros(1)), []);
    assert_eq!(asks(&test.wake_after(Span::from_micros(1))), [Ask::List]);
    assert_eq!(asks(&test.reads_lists()), [drain]);

    let mut test = TestNode::of(2);
    let slots = Ask::SetSlots { member: ME, slots: 5 };
    assert_eq!(asks(&test.step(Event::SlotsWished(5))), core::slice::from_ref(&slots));
    assert_eq!(test.reads_lists(), [], "the request is in flight");
    assert_eq!(asks(&test.answer(|ask| *ask == slots, Answer::Done)), [Ask::List]);
    assert_eq!(asks(&test.reads_lists()), [slots], "the list does not show it");
    test.members[0].slots = 5;
    test.answer(|ask| matches!(ask, Ask::SetSlots { .. }), Answer::Done);
    assert_eq!(test.reads_lists(), []);
    assert_eq!(test.step(Event::SlotsWished(5)), [], "nothing changes");

    test.members.remove(0);
    assert_eq!(asks(&test.reads_lists()), [Ask::Beat { by: ME, brief: None }], "it seems dead: the next beat tells");
}

#[test]
fn only_nodes_that_are_up_and_run_jobs_are_homes() {
    let homes =
        |test: &TestNode| test.node.queue.homes_possible(Capabilities::NONE).map(|node| node.0).collect::<Vec<_>>();
    let mut test = TestNode::of(5);
    assert_eq!(homes(&test), [1, 2, 3, 4, 5]);
    test.members[2].slots = 0;
    test.members[3].role = Role::Query;
    test.members[4].state = MemberState::Draining;
    test.reads_lists();
    assert_eq!(homes(&test), [1, 2]);
    test.drains(false);
    assert_eq!(homes(&test), [2], "it knows of its own drain before the metastore does");
    let alone = TestNode::with(Settings { leader_only: true, ..Settings::new(Role::All) }, 3);
    assert_eq!(homes(&alone), [2], "the others stand by");
}

#[test]
fn the_watched_members_change_with_the_silent_members() {
    let mut changes = 0;
    for silent in 2..8 {
        let mut test = TestNode::with(Settings { watchers: 3, ..Settings::new(Role::All) }, 8);
        let before = test.node.watched.clone();
        test.beats_but(&[silent]);
        test.beats_but(&[silent]);
        let timeout = test.node.settings.timing.timeout();
        assert_eq!(test.node.watched, test.node.roster.watched_by(ME, 3, timeout), "n{silent} is silent");
        changes += usize::from(before != test.node.watched);
    }
    assert!(changes > 0, "the test never saw a change");
}

#[test]
fn a_hint_sends_one_probe_at_a_time() {
    let mut test = TestNode::of(4);
    let (member, patience) = (m(2), Timing::kylin().ask_timeout());
    let hint = Event::Suspected(member);
    assert_eq!(test.step(Event::Suspected(ME)), []);
    assert_eq!(test.step(hint.clone()), [Effect::Probe(member)]);
    test.now += patience - Span::from_micros(1);
    assert_eq!(test.step(hint.clone()), []);
    test.now += Span::from_micros(1);
    assert_eq!(test.step(hint.clone()), [Effect::Probe(member)], "the first probe is overdue");
    assert_eq!(test.step(Event::Probed { member, met: Met::Nothing }), []);
    assert_eq!(test.step(hint.clone()), [Effect::Probe(member)]);
    let effects = test.step(Event::Probed { member, met: Met::Refused });
    assert_eq!(asks(&effects), [asks_to_fence(2)]);
    assert_eq!(test.step(hint), [], "the request to fence is in flight");
}

#[test]
fn a_probe_that_finds_another_incarnation_reads_the_lists() {
    let test = TestNode::of(4);
    let met = |met: Member| {
        let mut test = test.clone();
        test.step(Event::Suspected(m(2)));
        let effects = test.step(Event::Probed { member: m(2), met: Met::Alive(met) });
        let suspected = test.node.roster.suspicion(m(2)).is_some();
        (asks(&effects), suspected)
    };
    assert_eq!(met(m(2)), (vec![], false));
    assert_eq!(met(m(3)), (vec![], false), "another node at that address");
    let again = Member::new(2, 2).expect("incarnation 2");
    assert_eq!(met(again).0, [Ask::List]);
}

#[test]
fn evidence_waits_for_a_list_in_flight() {
    let mut test = TestNode::of(4);
    assert_eq!(exited(&mut test, 1), [], "this member is alive");
    test.step(Event::ListsChanged);
    assert_eq!(exited(&mut test, 3), [], "it may just have left");
    assert_eq!(asks(&test.reads_lists()), [asks_to_fence(3)]);
    test.step(Event::ListsChanged);
    exited(&mut test, 4);
    test.members.pop();
    let effects = test.reads_lists();
    assert!(!asks(&effects).iter().any(is_fence), "{effects:?}");
}

#[test]
fn a_member_that_sees_most_others_dead_suspects_itself_once() {
    let seen = |nodes: u32, dead: u32| {
        let mut test = TestNode::of(nodes);
        let effects = (2..2 + dead).map(|node| exited(&mut test, node)).collect::<Vec<_>>();
        let fences = effects.iter().flat_map(asks).filter(is_fence).count();
        let notes = effects.into_iter().flat_map(others).collect::<Vec<_>>();
        (fences, notes)
    };
    let suspects = |dead, of| vec![Effect::Note(Note::SuspectsItself { dead, of })];
    assert_eq!(seen(3, 2), (2, vec![]), "two others are too few to be a majority");
    assert_eq!(seen(4, 1), (1, vec![]));
    assert_eq!(seen(4, 2), (1, suspects(2, 3)));
    assert_eq!(seen(4, 3), (1, suspects(2, 3)));
    assert_eq!(seen(5, 2), (2, vec![]), "half is not a majority");
    assert_eq!(seen(6, 3), (2, suspects(3, 5)));
}

#[test]
fn a_fence_for_silence_names_the_beat_and_needs_no_majority_check() {
    let mut test = TestNode::of(4);
    let effects = test.beats_but(&[2, 3, 4]);
    assert!(!asks(&effects).iter().any(is_fence), "a round of beats is missing: {effects:?}");
    let effects = test.beats_but(&[2, 3, 4]);
    let fences: Vec<_> = asks(&effects).into_iter().filter(is_fence).collect();
    let silent = |node| Ask::Fence { member: m(node), evidence: Evidence::Silent, beat: Some(1), by: ME };
    assert_eq!(fences, [2, 3, 4].map(silent));
}

#[test]
fn the_answer_to_a_fence_decides_the_next_request() {
    let mut test = TestNode::of(4);
    exited(&mut test, 3);
    let answered = |answer: Answer| {
        let mut test = test.clone();
        let effects = test.answer(is_fence, answer);
        let is_listed = test.node.roster.get(m(3)).is_some();
        (asks(&effects), is_listed.then(|| test.node.roster.suspicion(m(3)).is_some()), test)
    };
    for answer in [Answer::Refused, Answer::Failed, Answer::Unknown] {
        let (asked, peer, mut again) = answered(answer);
        assert_eq!((asked, peer), (vec![], Some(true)), "the evidence remains");
        assert_eq!(again.node.deadline(), (again.now + PAUSE, Timer::Lists));
        assert_eq!(asks(&again.wake_after(PAUSE)), [Ask::List]);
        assert_eq!(asks(&again.reads_lists()), [asks_to_fence(3)]);
    }
    let (asked, peer, _) = answered(Answer::Done);
    assert_eq!((asked, peer), (vec![Ask::ListNode(n(3)), Ask::List], None), "its jobs are listed");
}

#[test]
fn watchers_list_the_jobs_of_a_dead_member() {
    let mut test = TestNode::with(Settings { watchers: 3, ..Settings::new(Role::All) }, 8);
    let watched = test.node.watched.clone();
    assert!(!watched.is_empty() && watched.len() < 7);
    for node in 2..9 {
        let mut test = test.clone();
        test.members.retain(|row| row.member != m(node));
        let asked = asks(&test.reads_lists());
        assert_eq!(asked.contains(&Ask::ListNode(n(node))), watched.contains(&m(node)), "n{node}");
    }
    test.members.remove(0);
    assert!(!asks(&test.reads_lists()).contains(&Ask::ListNode(ME.node)), "not its own jobs");
}

#[test]
fn the_next_member_watches_the_members_that_a_dead_one_watched() {
    let test = TestNode::with(Settings { watchers: 3, ..Settings::new(Role::All) }, 8);
    let before = test.node.watched.clone();
    let mut added = 0;
    for dead in &before {
        let mut test = test.clone();
        test.step(Event::Suspected(*dead));
        test.step(Event::Probed { member: *dead, met: Met::Refused });
        let effects = test.answer(is_fence, Answer::Done);
        let watched = test.node.roster.watched_by(ME, 3, Timing::kylin().timeout());
        added += watched.iter().filter(|member| !before.contains(member)).count();
        assert_eq!(effects[0], Effect::Watch(watched), "{dead:?} died");
    }
    assert!(added > 0, "no watcher was replaced");
}

#[test]
fn the_latest_epoch_decides_who_holds_a_claim() {
    let mut test = TestNode::of(2);
    test.claims[0] = ClaimRow { holder: None, epoch: Epoch(5), ..test.claims[0] };
    let leader = Target::Leader;
    let wish = Event::ClaimWished { target: leader, force: true };
    assert_eq!(asks(&test.step(wish)), [Ask::Claim { target: leader, epoch: Epoch(1), by: ME, force: true }]);
    let granted = |test: &TestNode, epoch| {
        let mut test = test.clone();
        test.answer(|ask| matches!(ask, Ask::Claim { .. }), Answer::Granted { epoch: Epoch(epoch), steps: 0 });
        test.node.leads(leader)
    };
    assert!(granted(&test, 2));
    test.reads_lists();
    assert!(!granted(&test, 5), "it was given back meanwhile");
    assert!(!granted(&test, 4));
    assert!(granted(&test, 6));
}

#[test]
fn a_draining_member_retries_giving_its_claims_back() {
    let mut test = TestNode::of(2);
    let leader = Target::Leader;
    test.claims[0].holder = Some(ME);
    test.reads_lists();
    let effects = test.drains(false);
    let give = Ask::Yield { target: leader, epoch: Epoch(1), by: ME };
    assert!(asks(&effects).contains(&give) && effects.contains(&Effect::Resign(leader)));
    let is_yield = |ask: &Ask| matches!(ask, Ask::Yield { .. });
    let holder = |test: &TestNode| test.node.claims[&leader].row.holder;
    let mut failed = test.clone();
    failed.answer(is_yield, Answer::Failed);
    assert_eq!(holder(&failed), Some(ME));
    assert!(asks(&failed.reads_lists()).contains(&give), "once more");
    assert_eq!(nudged(&test.answer(is_yield, Answer::Done)), [(2, Nudge::Lists)]);
    assert_eq!(holder(&test), None);
}

#[test]
fn a_member_gives_back_only_its_own_claims() {
    let mut test = TestNode::of(2);
    let leader = Target::Leader;
    test.claims[0].holder = Some(ME);
    test.reads_lists();
    test.drains(false);
    test.claims[0] = ClaimRow { holder: Some(m(2)), epoch: Epoch(2), ..test.claims[0] };
    test.reads_lists();
    test.answer(|ask| matches!(ask, Ask::Yield { .. }), Answer::Done);
    assert_eq!(test.node.claims[&leader].row.holder, Some(m(2)));
}

#[test]
fn a_failed_beat_is_retried_at_once_and_then_often() {
    let mut test = TestNode::of(2);
    assert_eq!(asks(&test.wake_after(Span::from_secs(30)))[0], Ask::Beat { by: ME, brief: None });
    assert_eq!(asks(&test.answer(is_beat, Answer::Failed)), [Ask::Beat { by: ME, brief: None }]);
    assert_eq!(asks(&test.answer(is_beat, Answer::Unknown)), []);
    let again = Timing::kylin().retry_every();
    assert_eq!(test.node.deadline(), (test.now + again, Timer::Beat));
    assert_eq!(asks(&test.wake_after(again)), [Ask::Beat { by: ME, brief: None }]);
}

#[test]
fn a_member_unwatches_a_fenced_member_and_reports_the_detection_times_to_the_heirs() {
    let mut test = TestNode::of(3);
    assert_eq!(test.node.watched, [m(2), m(3)]);
    test.step(Event::Suspected(m(3)));
    test.now += Span::from_millis(2);
    test.step(Event::Probed { member: m(3), met: Met::Refused });
    test.now += Span::from_millis(3);
    let effects = test.answer(is_fence, Answer::Done);
    assert_eq!(effects[0], Effect::Watch(vec![m(2)]));
    let (confirmed, fenced) = (Span::from_millis(2), Span::from_millis(3));
    let found = Found { evidence: Evidence::Exited, confirmed, fenced, listed: Span::ZERO };
    assert_eq!(effects[1], Effect::Note(Note::Fenced { member: m(3), found }));
    assert_eq!(nudged(&effects), [(2, Nudge::Lists)]);
    test.now += Span::from_millis(5);
    let orphan = JobRow { placed: Some(n(2)), ..running(1, 3, 1) };
    let effects = test.answer(|ask| matches!(ask, Ask::ListNode(_)), Answer::Jobs(vec![orphan]));
    let found = Found { listed: Span::from_millis(5), ..found };
    let told = Nudge::Orphans(crate::effect::Orphans { of: m(3), found, jobs: vec![orphan] });
    assert_eq!(nudged(&effects), [(2, told)]);
}

#[test]
fn the_jobs_of_an_unlisted_member_wait_for_an_heir() {
    let mut test = TestNode::of(3);
    test.members[1].role = Role::Query;
    test.step(Event::Heard(vec![running(1, 3, 1)]));
    assert!(!asks(&test.reads_lists()).iter().any(is_take), "its holder is alive");
    test.members.pop();
    let take = Ask::Take { fence: fence(1, 1), by: ME, in_order: false };
    assert!(asks(&test.reads_lists()).contains(&take));
}

/// The members in the order in which they take a vacant claim.
fn turns(target: Target, able: &[u32]) -> Vec<u32> {
    let key = match target {
        Target::Leader => u64::MAX,
        Target::Project(project) => (1 << 41) + u64::from(project.0),
    };
    crate::placement::heirs(key, able.iter().copied().map(NodeId)).into_iter().map(|node| node.0).collect()
}

#[test]
fn candidates_try_a_vacant_claim_in_turn_one_pause_apart() {
    let mut test = TestNode::of(7);
    test.members[5].role = Role::Query;
    test.members[6].state = MemberState::Draining;
    test.projects = (1..12).map(|id| ProjectRow { id: ProjectId(id), limit: 100 }).collect();
    let targets: Vec<_> =
        core::iter::once(Target::Leader).chain((1..12).map(|p| Target::Project(ProjectId(p)))).collect();
    let vacant = |target: &Target| ClaimRow { target: *target, holder: None, epoch: Epoch(4) };
    test.claims = targets.iter().map(vacant).collect();
    let turn = |target: Target| turns(target, &[1, 2, 3, 4, 5]).iter().position(|node| *node == 1);
    let mut effects = test.reads_lists();
    let mut seen = 0;
    for round in 0..5 {
        let asked: Vec<_> = asks(&effects).into_iter().filter(|ask| matches!(ask, Ask::Claim { .. })).collect();
        let mine = targets.iter().filter(|target| turn(**target) == Some(round));
        let claim = |target: &Target| Ask::Claim { target: *target, epoch: Epoch(4), by: ME, force: false };
        assert_eq!(asked, mine.map(claim).collect::<Vec<_>>(), "after {round} pauses");
        seen += usize::from(!asked.is_empty());
        for _ in asked {
            test.answer(|ask| matches!(ask, Ask::Claim { .. }), Answer::Granted { epoch: Epoch(5), steps: 0 });
        }
        assert!(
            !asks(&test.wake_after(PAUSE - Span::from_micros(1))).iter().any(|ask| matches!(ask, Ask::Claim { .. }))
        );
        effects = test.wake_after(Span::from_micros(1));
    }
    assert!(seen > 2, "the test saw too few claims");
}

#[test]
fn only_a_listed_job_node_that_is_up_takes_a_vacant_claim() {
    let claims = |test: &mut TestNode| {
        test.claims[0] = ClaimRow { holder: None, epoch: Epoch(4), ..test.claims[0] };
        let mut effects = test.reads_lists();
        effects.append(&mut test.wake_after(PAUSE + PAUSE));
        let claims = asks(&effects).into_iter().filter(|ask| matches!(ask, Ask::Claim { .. }));
        let wish = test.step(Event::ClaimWished { target: Target::Leader, force: false });
        (claims.count(), wish.len())
    };
    assert_eq!(claims(&mut TestNode::of(2)), (1, 1), "once by itself, once for the operator");
    assert_eq!(claims(&mut TestNode::with(Settings::new(Role::Query), 2)), (0, 0));
    let mut draining = TestNode::of(2);
    draining.drains(false);
    assert_eq!(claims(&mut draining), (0, 0));
    let mut dead = TestNode::of(2);
    dead.members.remove(0);
    assert_eq!(claims(&mut dead).0, 0, "it would be refused");
}

#[test]
fn a_leave_is_retried_until_the_node_gives_up() {
    let leave = Ask::Leave { by: ME };
    let mut test = TestNode::of(2);
    test.drains(true);
    let effects = test.answer(|ask| matches!(ask, Ask::Drain { .. }), Answer::Done);
    assert!(asks(&effects).contains(&leave));
    let mut heard = test.clone();
    let effects = heard.answer(|ask| *ask == leave, Answer::Done);
    assert_eq!(effects, [Effect::Nudge { to: m(2), nudge: Nudge::Lists }, Effect::Exit]);
    test.reads_lists();
    assert!(!asks(&test.answer(|ask| *ask == leave, Answer::Failed)).contains(&leave));
    assert!(!asks(&test.wake_after(PAUSE - Span::from_micros(1))).contains(&leave));
    assert_eq!(test.node.deadline(), (test.now + Span::from_micros(1), Timer::Membership));
    assert!(asks(&test.wake_after(Span::from_micros(1))).contains(&leave));
    let give_up = Timing::kylin().ask_timeout().scaled(2, 1) - PAUSE;
    assert_eq!(others(test.wake_after(give_up - Span::from_micros(1))), []);
    assert_eq!(others(test.wake_after(Span::from_micros(1))), [Effect::Exit]);
}

#[test]
fn a_drain_waits_for_running_attempts_until_its_deadline() {
    let mut test = TestNode::of(2);
    let at = test.holds(1);
    test.drains(true);
    assert_eq!(test.drains(false).len(), 1, "a drain can become a leave");
    let is_leave = |ask: &Ask| matches!(ask, Ask::Leave { .. });
    for _ in 0..2 {
        assert!(!asks(&test.answer(|ask| matches!(ask, Ask::Drain { .. }), Answer::Done)).iter().any(is_leave));
    }
    assert_eq!(others(test.wake_after(Span::from_secs(20) - Span::from_micros(1))), []);
    let cancel = Effect::Cancel { fence: at, why: Why::Drained };
    assert_eq!(others(test.wake_after(Span::from_micros(1))), [cancel]);
    test.step(Event::AttemptEnded { fence: at, end: crate::event::End::Stopped });
    let effects = test.answer(is_release, Answer::Done);
    assert_eq!(asks(&effects), [Ask::ReadJobs(vec![at.job])], "it does not leave yet");
    let row = JobRow { placed: Some(n(2)), epoch: at.epoch, ..pending(1) };
    let effects = test.answer(is_read, Answer::Jobs(vec![row]));
    assert_eq!(nudged(&effects), [(2, Nudge::Jobs(vec![row]))], "its heir is told");
    assert!(asks(&effects).iter().any(is_leave));
}

#[test]
fn a_drain_waits_for_takes_in_flight() {
    let mut test = TestNode::of(2);
    test.step(Event::Heard(vec![pending(1)]));
    test.drains(true);
    let is_leave = |ask: &Ask| matches!(ask, Ask::Leave { .. });
    assert!(!asks(&test.answer(|ask| matches!(ask, Ask::Drain { .. }), Answer::Done)).iter().any(is_leave));
    assert!(!asks(&test.answer(is_take, Answer::Refused)).iter().any(is_leave));
    assert!(asks(&test.answer(is_read, Answer::Unknown)).iter().any(is_leave), "whatever became of the job");
}

#[test]
fn undoing_a_drain_starts_a_new_incarnation() {
    let mut test = TestNode::of(2);
    test.drains(false);
    test.answer(|ask| matches!(ask, Ask::Drain { .. }), Answer::Done);
    assert_eq!(test.node.view(test.now).phase, "draining", "it still drains");
    let effects = test.step(Event::DrainUndone);
    assert_eq!(asks(&effects), [Ask::Join { role: Role::All, slots: 30, can: Capabilities::ALL }]);
}

/// A cluster in which each node watches a few of the others.
fn in_a_large_cluster() -> TestNode {
    TestNode::with(Settings { observers: 4, ..Settings::new(Role::All) }, 12)
}

/// Advances by one interval and expects a brief beat; the members `silent` do not beat.
fn brief_beat(test: &mut TestNode, silent: &[u32]) -> Effects {
    test.wake_after(test.node.settings.timing.interval());
    let brief = test.open.iter().find_map(|(_, ask)| match ask {
        Ask::Beat { brief, .. } => brief.clone(),
        _ => None,
    });
    let brief = brief.expect("the beat is brief");
    assert_eq!(brief.census, Census::of(&test.members, &test.claims, &test.projects));
    assert!(brief.of.contains(&ME) && brief.of.len() < 12, "{:?}", brief.of);
    test.members.iter_mut().filter(|row| !silent.contains(&row.member.node.0)).for_each(|row| row.beat += 1);
    let beats = test.members.iter().filter(|row| brief.of.contains(&row.member)).map(|row| (row.member, row.beat));
    let beats = Answer::Beats(beats.collect());
    test.answer(is_beat, beats)
}

#[test]
fn in_a_large_cluster_a_beat_returns_a_few_beats_and_renews_trust() {
    let mut test = in_a_large_cluster();
    let (others, watched) = (test.node.roster.observed().expect("not all members"), test.node.watched.clone());
    for _ in 0..5 {
        assert_eq!(asks(&brief_beat(&mut test, &[])), []);
        assert!(test.node.lease.is_trusted(test.now));
    }
    assert_eq!((test.node.roster.observed(), &test.node.watched), (Some(others.clone()), &watched));
    let known = |member: &Member| {
        test.node.view(test.now).members.iter().any(|peer| peer.row.member == *member && peer.silent_for.is_some())
    };
    assert!(test.members.iter().all(|row| known(&row.member) == others.contains(&row.member)));
}

#[test]
fn in_a_large_cluster_a_watched_silent_member_is_fenced_with_the_last_seen_beat() {
    let mut test = in_a_large_cluster();
    let silent = test.node.watched[0];
    brief_beat(&mut test, &[]);
    brief_beat(&mut test, &[silent.node.0]);
    let effects = brief_beat(&mut test, &[silent.node.0]);
    let fence = Ask::Fence { member: silent, evidence: Evidence::Silent, beat: Some(2), by: ME };
    assert_eq!(asks(&effects), [fence]);
}

#[test]
fn in_a_large_cluster_a_due_list_is_read_with_the_beat() {
    let mut test = in_a_large_cluster();
    test.now += test.node.settings.timing.interval();
    assert_eq!(asks(&test.step(Event::ListsChanged))[0], Ask::Beat { by: ME, brief: None });
    test.members.retain(|row| row.member != m(12));
    let lists = test.lists();
    test.answer(is_beat, lists);
    assert!(!test.node.roster.is_alive(m(12)));
    let census = Census::of(&test.members, &test.claims, &test.projects);
    assert_eq!(test.node.census, Some(census));
}

#[test]
fn in_a_large_cluster_beats_older_than_a_death_are_read_again() {
    let mut test = in_a_large_cluster();
    let dead = test.node.watched[0];
    test.wake_after(test.node.settings.timing.interval());
    test.now += Span::from_millis(1);
    test.step(Event::Exited(dead));
    test.answer(|ask| matches!(ask, Ask::Fence { .. }), Answer::Done);
    assert!(asks(&test.step(Event::Woke)).is_empty() && test.open.iter().any(|(_, ask)| *ask == Ask::List));
    test.members.retain(|row| row.member != dead);
    test.reads_lists();
    assert_eq!(asks(&test.answer(is_beat, Answer::Beats(vec![(dead, 9)]))), [Ask::List]);
    assert!(!test.node.roster.is_alive(dead));
}

#[test]
fn the_claim_of_a_dropped_project_is_forgotten_and_resigned() {
    let mut test = TestNode::of(2);
    let (target, epoch) = (Target::Project(ProjectId(2)), Epoch(2));
    let row = test.claims.iter().position(|row| row.target == target).expect("it is claimed");
    test.claims[row] = ClaimRow { target, holder: Some(ME), epoch };
    assert!(others(test.reads_lists()).contains(&Effect::Lead { target, epoch }));
    test.projects.retain(|project| project.id != ProjectId(2));
    // The row may outlive the project for a moment.
    let effects = test.reads_lists();
    assert_eq!(others(effects), [Effect::Resign(target)]);
    assert!(!test.node.claims.contains_key(&target) && test.node.claims.contains_key(&Target::Leader));
    test.claims.remove(row);
    assert_eq!(others(test.reads_lists()), []);
}

#[test]
fn capabilities_are_written_until_the_lists_show_them() {
    let can = Capabilities(1);
    let mut test = TestNode::of(2);
    let set = Ask::SetCan { member: ME, can };
    assert_eq!(test.step(Event::CanChanged(Capabilities::ALL)), [], "nothing has changed");
    assert_eq!(asks(&test.step(Event::CanChanged(can))), core::slice::from_ref(&set));
    assert_eq!(asks(&test.reads_lists()), [], "the request is in flight");
    assert_eq!(test.answer(|ask| *ask == set, Answer::Unknown), []);
    assert_eq!(asks(&test.wake_after(PAUSE)), [Ask::List], "the list shows whether it happened");
    assert_eq!(asks(&test.reads_lists()), core::slice::from_ref(&set), "it did not happen");
    test.answer(|ask| *ask == set, Answer::Done);
    test.members[0].can = can;
    assert_eq!(asks(&test.reads_lists()), []);
}

#[test]
fn a_fenced_node_rejoins_with_its_current_capabilities() {
    let mut test = TestNode::of(2);
    test.step(Event::CanChanged(Capabilities(2)));
    test.wake_after(test.node.settings.timing.interval());
    let effects = test.answer(is_beat, Answer::Refused);
    assert_eq!(asks(&effects), [Ask::Join { role: Role::All, slots: 30, can: Capabilities(2) }]);
}

#[test]
fn a_claim_without_a_row_is_resigned_and_recreated_under_the_next_epoch() {
    let mut test = TestNode::of(1);
    let claim = |epoch| Ask::Claim { target: Target::Leader, epoch: Epoch(epoch), by: ME, force: false };
    let is_claim = |ask: &Ask| matches!(ask, Ask::Claim { target: Target::Leader, .. });
    assert_eq!(asks(&test.reads_lists()), [], "the claims of dead members are already requested");
    test.claims.iter_mut().for_each(|row| (row.holder, row.epoch) = (Some(ME), Epoch(5)));
    assert!(others(test.reads_lists()).contains(&Effect::Lead { target: Target::Leader, epoch: Epoch(5) }));
    test.open.retain(|(_, ask)| !matches!(ask, Ask::Claim { .. }));
    test.node.claims.values_mut().for_each(|claim| claim.asked = false);
    test.claims.retain(|row| row.target != Target::Leader);
    let effects = test.reads_lists();
    assert_eq!(asks(&effects), [claim(5)]);
    assert_eq!(others(effects), [Effect::Resign(Target::Leader)]);
    let effects = test.answer(is_claim, Answer::Granted { epoch: Epoch(6), steps: 0 });
    assert_eq!(others(effects), [Effect::Lead { target: Target::Leader, epoch: Epoch(6) }]);
}

#[test]
fn a_claim_follows_the_table_and_ignores_outdated_lists() {
    let row = |epoch, holder| ClaimRow { target: Target::Leader, holder: Some(m(holder)), epoch: Epoch(epoch) };
    let projects = [1, 2].map(|id| ProjectRow { id: ProjectId(id), limit: 100 });
    let listed = |rows: &[ClaimRow], later: bool| {
        let mut test = TestNode::of(3);
        let known_at = test.now + Span::from_secs(1);
        test.now = known_at + Span::from_secs(1);
        let claim = test.node.claims.get_mut(&Target::Leader).expect("it is known");
        (claim.row, claim.known_at) = (row(5, 2), known_at);
        let asked_at = if later { known_at } else { Time::from_micros(known_at.micros() - 1) };
        test.node.claims_listed(test.now, asked_at, rows, &projects);
        test.node.claims[&Target::Leader].row
    };
    assert_eq!(listed(&[row(6, 3)], false), row(6, 3), "a greater epoch is later, whenever it was read");
    assert_eq!(listed(&[row(5, 3)], false), row(5, 2));
    assert_eq!(listed(&[row(4, 3)], false), row(5, 2));
    assert_eq!(listed(&[], false), row(5, 2), "it may have been read before the grant");
    assert_eq!(listed(&[row(4, 3)], true), row(4, 3), "the table was restored from a backup");
    assert_eq!(listed(&[], true), ClaimRow { holder: None, ..row(5, 2) });
}
