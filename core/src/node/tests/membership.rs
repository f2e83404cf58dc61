//! Joining, beating, evidence, fencing, claims.

use super::*;
use crate::event::Met;

fn is_fence(ask: &Ask) -> bool {
    matches!(ask, Ask::Fence { .. })
}

fn exited(mind: &mut Mind, node: u32) -> Effects {
    mind.step(Event::Exited(m(node)))
}

fn asks_to_fence(node: u32) -> Ask {
    Ask::Fence { member: m(node), evidence: Evidence::Exited, beat: None, by: ME }
}

#[test]
fn a_join_that_failed_is_tried_again_after_a_pause() {
    let mut mind = Mind::starting(Settings::new(Role::All), 2);
    let join = Ask::Join { role: Role::All, slots: 30 };
    assert_eq!(asks(&mind.step(Event::Woke)), [join.clone()]);
    assert_eq!(mind.answer(|_| true, Answer::Unknown), []);
    assert_eq!(mind.node.deadline(), (mind.now + PAUSE, Timer::Membership));
    assert_eq!(mind.wake_after(PAUSE - Span::from_micros(1)), []);
    assert_eq!(asks(&mind.wake_after(Span::from_micros(1))), [join]);
}

#[test]
fn a_member_that_was_fenced_resigns_and_joins_when_nothing_of_it_runs() {
    let mut mind = Mind::of(2);
    mind.claims[0] = ClaimRow { holder: Some(ME), epoch: Epoch(3), ..mind.claims[0] };
    assert_eq!(others(mind.reads_lists()), [Effect::Lead { target: Target::Leader, epoch: Epoch(3) }]);
    let fence = mind.holds(1);
    mind.wake_after(Span::from_secs(30));
    let orders = mind.answer(|ask| matches!(ask, Ask::Beat { .. }), Answer::Refused);
    let cancel = Effect::Cancel { fence, why: Why::Fenced };
    assert_eq!(orders, [Effect::Note(Note::WasFenced(ME)), cancel, Effect::Resign(Target::Leader)]);
    assert_eq!(mind.node.deadline(), (Time::NEVER, Timer::Answer), "it waits for its attempt");
    let orders = mind.step(Event::AttemptEnded { fence, end: crate::event::End::Stopped });
    assert_eq!(asks(&orders), [Ask::Join { role: Role::All, slots: 30 }]);
}

#[test]
fn a_drain_before_the_join_waits_for_it_unless_the_node_is_to_leave() {
    let joining = || {
        let mut mind = Mind::starting(Settings::new(Role::All), 2);
        mind.step(Event::Woke);
        mind
    };
    assert_eq!(joining().drains(true), [Effect::Exit]);
    let mut mind = joining();
    assert_eq!(mind.drains(false), []);
    assert!(asks(&mind.answer(|_| true, Answer::Joined(ME))).contains(&Ask::Drain { by: ME }));
}

#[test]
fn what_a_list_says_of_this_member_is_put_right() {
    let mut mind = Mind::of(2);
    let drain = Ask::Drain { by: ME };
    assert_eq!(asks(&mind.drains(false)), [drain.clone()]);
    assert_eq!(mind.reads_lists(), [], "it is being asked");
    assert_eq!(asks(&mind.answer(|ask| *ask == drain, Answer::Failed)), [Ask::List]);
    assert_eq!(asks(&mind.reads_lists()), [drain]);

    let mut mind = Mind::of(2);
    let slots = Ask::SetSlots { member: ME, slots: 5 };
    assert_eq!(asks(&mind.step(Event::SlotsWished(5))), [slots.clone()]);
    assert_eq!(mind.reads_lists(), [], "it is being asked");
    assert_eq!(asks(&mind.answer(|ask| *ask == slots, Answer::Done)), [Ask::List]);
    assert_eq!(asks(&mind.reads_lists()), [slots], "the list knows nothing of it");
    mind.members[0].slots = 5;
    mind.answer(|ask| matches!(ask, Ask::SetSlots { .. }), Answer::Done);
    assert_eq!(mind.reads_lists(), []);
    assert_eq!(mind.step(Event::SlotsWished(5)), [], "it is so");

    mind.members.remove(0);
    assert_eq!(asks(&mind.reads_lists()), [Ask::Beat { by: ME }], "dead, it seems: the next beat tells");
}

#[test]
fn homes_are_nodes_that_are_up_and_run_jobs() {
    let homes = |mind: &Mind| mind.node.queue.homes_possible().map(|node| node.0).collect::<Vec<_>>();
    let mut mind = Mind::of(5);
    assert_eq!(homes(&mind), [1, 2, 3, 4, 5]);
    mind.members[2].slots = 0;
    mind.members[3].role = Role::Query;
    mind.members[4].state = MemberState::Draining;
    mind.reads_lists();
    assert_eq!(homes(&mind), [1, 2]);
    mind.drains(false);
    assert_eq!(homes(&mind), [2], "it knows first that it drains");
    let alone = Mind::with(Settings { leader_only: true, ..Settings::new(Role::All) }, 3);
    assert_eq!(homes(&alone), [2], "the others stand by");
}

#[test]
fn whom_to_watch_changes_with_who_is_silent() {
    let mut changes = 0;
    for silent in 2..8 {
        let mut mind = Mind::with(Settings { watchers: 3, ..Settings::new(Role::All) }, 8);
        let before = mind.node.watched.clone();
        mind.beats_but(&[silent]);
        mind.beats_but(&[silent]);
        let timeout = mind.node.settings.timing.timeout();
        assert_eq!(mind.node.watched, mind.node.roster.watched_by(ME, 3, timeout), "n{silent} is silent");
        changes += usize::from(before != mind.node.watched);
    }
    assert!(changes > 0, "the test looks at nothing");
}

#[test]
fn a_hint_is_followed_by_one_probe_at_a_time() {
    let mut mind = Mind::of(4);
    let (member, patience) = (m(2), Timing::kylin().ask_timeout());
    let hint = Event::Suspected(member);
    assert_eq!(mind.step(Event::Suspected(ME)), []);
    assert_eq!(mind.step(hint.clone()), [Effect::Probe(member)]);
    mind.now += patience - Span::from_micros(1);
    assert_eq!(mind.step(hint.clone()), []);
    mind.now += Span::from_micros(1);
    assert_eq!(mind.step(hint.clone()), [Effect::Probe(member)], "it has not come back");
    assert_eq!(mind.step(Event::Probed { member, met: Met::Nothing }), []);
    assert_eq!(mind.step(hint.clone()), [Effect::Probe(member)]);
    let orders = mind.step(Event::Probed { member, met: Met::Refused });
    assert_eq!(asks(&orders), [asks_to_fence(2)]);
    assert_eq!(mind.step(hint), [], "the metastore is being asked");
}

#[test]
fn a_probe_that_meets_another_run_of_the_node_reads_the_lists() {
    let mind = Mind::of(4);
    let met = |met: Member| {
        let mut mind = mind.clone();
        mind.step(Event::Suspected(m(2)));
        let orders = mind.step(Event::Probed { member: m(2), met: Met::Alive(met) });
        let suspected = mind.node.roster.get(m(2)).is_some_and(|peer| peer.suspicion.is_some());
        (asks(&orders), suspected)
    };
    assert_eq!(met(m(2)), (vec![], false));
    assert_eq!(met(m(3)), (vec![], false), "somebody else at that address");
    let again = Member::new(2, 2).expect("incarnation 2");
    assert_eq!(met(again).0, [Ask::List]);
}

#[test]
fn evidence_is_held_back_while_a_list_is_under_way_and_acted_upon_after_it() {
    let mut mind = Mind::of(4);
    assert_eq!(exited(&mut mind, 1), [], "this member lives");
    mind.step(Event::ListsChanged);
    assert_eq!(exited(&mut mind, 3), [], "perhaps it has just said good-bye");
    assert_eq!(asks(&mind.reads_lists()), [asks_to_fence(3)]);
    mind.step(Event::ListsChanged);
    exited(&mut mind, 4);
    mind.members.pop();
    let orders = mind.reads_lists();
    assert!(!asks(&orders).iter().any(is_fence), "{orders:?}");
}

#[test]
fn who_sees_most_of_the_others_dead_suspects_itself_once() {
    let seen = |nodes: u32, dead: u32| {
        let mut mind = Mind::of(nodes);
        let orders = (2..2 + dead).map(|node| exited(&mut mind, node)).collect::<Vec<_>>();
        let fences = orders.iter().flat_map(asks).filter(is_fence).count();
        let notes = orders.into_iter().flat_map(others).collect::<Vec<_>>();
        (fences, notes)
    };
    let suspects = |dead, of| vec![Effect::Note(Note::SuspectsItself { dead, of })];
    assert_eq!(seen(3, 2), (2, vec![]), "two others are too few to be a majority");
    assert_eq!(seen(4, 1), (1, vec![]));
    assert_eq!(seen(4, 2), (1, suspects(2, 3)));
    assert_eq!(seen(4, 3), (1, suspects(2, 3)));
    assert_eq!(seen(5, 2), (2, vec![]), "half is not most");
    assert_eq!(seen(6, 3), (2, suspects(3, 5)));
}

#[test]
fn silence_needs_no_majority_to_be_believed_and_names_the_beat() {
    let mut mind = Mind::of(4);
    let orders = mind.beats_but(&[2, 3, 4]);
    assert!(!asks(&orders).iter().any(is_fence), "a round of beats is missing: {orders:?}");
    let orders = mind.beats_but(&[2, 3, 4]);
    let fences: Vec<_> = asks(&orders).into_iter().filter(is_fence).collect();
    let silent = |node| Ask::Fence { member: m(node), evidence: Evidence::Silent, beat: Some(1), by: ME };
    assert_eq!(fences, [2, 3, 4].map(silent));
}

#[test]
fn the_answer_to_a_fence_says_what_comes_next() {
    let mut mind = Mind::of(4);
    exited(&mut mind, 3);
    let answered = |answer: Answer| {
        let mut mind = mind.clone();
        let orders = mind.answer(is_fence, answer);
        (asks(&orders), mind.node.roster.get(m(3)).map(|peer| peer.suspicion.is_some()), mind)
    };
    let (asked, peer, _) = answered(Answer::Refused);
    assert_eq!((asked, peer), (vec![Ask::List], Some(false)), "it lives");
    let (asked, peer, mut again) = answered(Answer::Failed);
    assert_eq!((asked, peer), (vec![], Some(true)), "the evidence stands");
    assert_eq!(again.node.deadline(), (again.now + PAUSE, Timer::Lists));
    assert_eq!(asks(&again.wake_after(PAUSE)), [Ask::List]);
    assert_eq!(asks(&again.reads_lists()), [asks_to_fence(3)]);
    let (asked, peer, _) = answered(Answer::Done);
    assert_eq!((asked, peer), (vec![Ask::ListNode(n(3)), Ask::List], None), "what did it hold?");
}

#[test]
fn a_member_that_is_gone_is_looked_into_by_its_watchers() {
    let mut mind = Mind::with(Settings { watchers: 3, ..Settings::new(Role::All) }, 8);
    let watched = mind.node.watched.clone();
    assert!(!watched.is_empty() && watched.len() < 7);
    for node in 2..9 {
        let mut mind = mind.clone();
        mind.members.retain(|row| row.member != m(node));
        let asked = asks(&mind.reads_lists());
        assert_eq!(asked.contains(&Ask::ListNode(n(node))), watched.contains(&m(node)), "n{node}");
    }
    mind.members.remove(0);
    assert!(!asks(&mind.reads_lists()).contains(&Ask::ListNode(ME.node)), "not into itself");
}

#[test]
fn a_claim_is_held_by_the_latest_word() {
    let mut mind = Mind::of(2);
    mind.claims[0] = ClaimRow { holder: None, epoch: Epoch(5), ..mind.claims[0] };
    let leader = Target::Leader;
    let wish = Event::ClaimWished { target: leader, force: true };
    assert_eq!(asks(&mind.step(wish)), [Ask::Claim { target: leader, epoch: Epoch(1), by: ME, force: true }]);
    let granted = |mind: &Mind, epoch| {
        let mut mind = mind.clone();
        mind.answer(|ask| matches!(ask, Ask::Claim { .. }), Answer::Granted { epoch: Epoch(epoch), steps: 0 });
        mind.node.leads(leader)
    };
    assert!(granted(&mind, 2));
    mind.reads_lists();
    assert!(!granted(&mind, 5), "it was given back again meanwhile");
    assert!(!granted(&mind, 4));
    assert!(granted(&mind, 6));
}

#[test]
fn a_draining_member_gives_its_claims_back_until_it_is_done() {
    let mut mind = Mind::of(2);
    let leader = Target::Leader;
    mind.claims[0].holder = Some(ME);
    mind.reads_lists();
    let orders = mind.drains(false);
    let give = Ask::Yield { target: leader, epoch: Epoch(1), by: ME };
    assert!(asks(&orders).contains(&give) && orders.contains(&Effect::Resign(leader)));
    let is_yield = |ask: &Ask| matches!(ask, Ask::Yield { .. });
    let holder = |mind: &Mind| mind.node.claims[&leader].row.holder;
    let mut failed = mind.clone();
    failed.answer(is_yield, Answer::Failed);
    assert_eq!(holder(&failed), Some(ME));
    assert!(asks(&failed.reads_lists()).contains(&give), "once more");
    assert_eq!(nudged(&mind.answer(is_yield, Answer::Done)), [(2, Nudge::Lists)]);
    assert_eq!(holder(&mind), None);
}

#[test]
fn a_claim_of_somebody_else_is_not_given_back() {
    let mut mind = Mind::of(2);
    let leader = Target::Leader;
    mind.claims[0].holder = Some(ME);
    mind.reads_lists();
    mind.drains(false);
    mind.claims[0] = ClaimRow { holder: Some(m(2)), epoch: Epoch(2), ..mind.claims[0] };
    mind.reads_lists();
    mind.answer(|ask| matches!(ask, Ask::Yield { .. }), Answer::Done);
    assert_eq!(mind.node.claims[&leader].row.holder, Some(m(2)));
}
