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
    let join = Ask::Join { role: Role::All, slots: 30, can: Capabilities::ALL };
    assert_eq!(asks(&mind.step(Event::Woke)), core::slice::from_ref(&join));
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
    assert_eq!(asks(&orders), [Ask::Join { role: Role::All, slots: 30, can: Capabilities::ALL }]);
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
    assert_eq!(asks(&mind.drains(false)), core::slice::from_ref(&drain));
    assert_eq!(mind.reads_lists(), [], "it is being asked");
    assert_eq!(asks(&mind.answer(|ask| *ask == drain, Answer::Failed)), [Ask::List]);
    assert_eq!(asks(&mind.reads_lists()), [drain]);

    let mut mind = Mind::of(2);
    let slots = Ask::SetSlots { member: ME, slots: 5 };
    assert_eq!(asks(&mind.step(Event::SlotsWished(5))), core::slice::from_ref(&slots));
    assert_eq!(mind.reads_lists(), [], "it is being asked");
    assert_eq!(asks(&mind.answer(|ask| *ask == slots, Answer::Done)), [Ask::List]);
    assert_eq!(asks(&mind.reads_lists()), [slots], "the list knows nothing of it");
    mind.members[0].slots = 5;
    mind.answer(|ask| matches!(ask, Ask::SetSlots { .. }), Answer::Done);
    assert_eq!(mind.reads_lists(), []);
    assert_eq!(mind.step(Event::SlotsWished(5)), [], "it is so");

    mind.members.remove(0);
    assert_eq!(asks(&mind.reads_lists()), [Ask::Beat { by: ME, brief: None }], "dead, it seems: the next beat tells");
}

#[test]
fn homes_are_nodes_that_are_up_and_run_jobs() {
    let homes = |mind: &Mind| mind.node.queue.homes_possible(Capabilities::NONE).map(|node| node.0).collect::<Vec<_>>();
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
        let suspected = mind.node.roster.suspicion(m(2)).is_some();
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
        let is_listed = mind.node.roster.get(m(3)).is_some();
        (asks(&orders), is_listed.then(|| mind.node.roster.suspicion(m(3)).is_some()), mind)
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
fn whom_the_dead_watched_is_watched_by_the_next() {
    let mind = Mind::with(Settings { watchers: 3, ..Settings::new(Role::All) }, 8);
    let before = mind.node.watched.clone();
    let mut added = 0;
    for dead in &before {
        let mut mind = mind.clone();
        mind.step(Event::Suspected(*dead));
        mind.step(Event::Probed { member: *dead, met: Met::Refused });
        let orders = mind.answer(is_fence, Answer::Done);
        let watched = mind.node.roster.watched_by(ME, 3, Timing::kylin().timeout());
        added += watched.iter().filter(|member| !before.contains(member)).count();
        assert_eq!(orders[0], Effect::Watch(watched), "{dead:?} died");
    }
    assert!(added > 0, "nobody came in anybody's place");
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

#[test]
fn a_beat_that_failed_is_tried_again_at_once_and_then_often() {
    let mut mind = Mind::of(2);
    assert_eq!(asks(&mind.wake_after(Span::from_secs(30)))[0], Ask::Beat { by: ME, brief: None });
    assert_eq!(asks(&mind.answer(is_beat, Answer::Failed)), [Ask::Beat { by: ME, brief: None }]);
    assert_eq!(asks(&mind.answer(is_beat, Answer::Unknown)), []);
    let again = Timing::kylin().retry_every();
    assert_eq!(mind.node.deadline(), (mind.now + again, Timer::Beat));
    assert_eq!(asks(&mind.wake_after(again)), [Ask::Beat { by: ME, brief: None }]);
}

#[test]
fn whom_this_member_had_fenced_it_watches_no_more_and_tells_the_heirs_how_long_it_took() {
    let mut mind = Mind::of(3);
    assert_eq!(mind.node.watched, [m(2), m(3)]);
    mind.step(Event::Suspected(m(3)));
    mind.now += Span::from_millis(2);
    mind.step(Event::Probed { member: m(3), met: Met::Refused });
    mind.now += Span::from_millis(3);
    let orders = mind.answer(is_fence, Answer::Done);
    assert_eq!(orders[0], Effect::Watch(vec![m(2)]));
    let (confirmed, fenced) = (Span::from_millis(2), Span::from_millis(3));
    let found = Found { evidence: Evidence::Exited, confirmed, fenced, listed: Span::ZERO };
    assert_eq!(orders[1], Effect::Note(Note::Fenced { member: m(3), found }));
    assert_eq!(nudged(&orders), [(2, Nudge::Lists)]);
    mind.now += Span::from_millis(5);
    let orphan = JobRow { placed: Some(n(2)), ..running(1, 3, 1) };
    let orders = mind.answer(|ask| matches!(ask, Ask::ListNode(_)), Answer::Jobs(vec![orphan]));
    let found = Found { listed: Span::from_millis(5), ..found };
    let told = Nudge::Orphans(crate::effect::Orphans { of: m(3), found, jobs: vec![orphan] });
    assert_eq!(nudged(&orders), [(2, told)]);
}

#[test]
fn what_a_member_held_that_is_not_listed_any_more_waits_for_an_heir() {
    let mut mind = Mind::of(3);
    mind.members[1].role = Role::Query;
    mind.step(Event::Heard(vec![running(1, 3, 1)]));
    assert!(!asks(&mind.reads_lists()).iter().any(is_take), "its holder lives");
    mind.members.pop();
    let take = Ask::Take { fence: fence(1, 1), by: ME, in_order: false };
    assert!(asks(&mind.reads_lists()).contains(&take));
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
fn a_vacant_claim_is_taken_by_turns_a_pause_apart() {
    let mut mind = Mind::of(7);
    mind.members[5].role = Role::Query;
    mind.members[6].state = MemberState::Draining;
    mind.projects = (1..12).map(|id| ProjectRow { id: ProjectId(id), limit: 100 }).collect();
    let targets: Vec<_> =
        core::iter::once(Target::Leader).chain((1..12).map(|p| Target::Project(ProjectId(p)))).collect();
    let vacant = |target: &Target| ClaimRow { target: *target, holder: None, epoch: Epoch(4) };
    mind.claims = targets.iter().map(vacant).collect();
    let turn = |target: Target| turns(target, &[1, 2, 3, 4, 5]).iter().position(|node| *node == 1);
    let mut orders = mind.reads_lists();
    let mut seen = 0;
    for round in 0..5 {
        let asked: Vec<_> = asks(&orders).into_iter().filter(|ask| matches!(ask, Ask::Claim { .. })).collect();
        let mine = targets.iter().filter(|target| turn(**target) == Some(round));
        let claim = |target: &Target| Ask::Claim { target: *target, epoch: Epoch(4), by: ME, force: false };
        assert_eq!(asked, mine.map(claim).collect::<Vec<_>>(), "after {round} pauses");
        seen += usize::from(!asked.is_empty());
        for _ in asked {
            mind.answer(|ask| matches!(ask, Ask::Claim { .. }), Answer::Granted { epoch: Epoch(5), steps: 0 });
        }
        assert!(
            !asks(&mind.wake_after(PAUSE - Span::from_micros(1))).iter().any(|ask| matches!(ask, Ask::Claim { .. }))
        );
        orders = mind.wake_after(Span::from_micros(1));
    }
    assert!(seen > 2, "the test looks at little");
}

#[test]
fn a_vacant_claim_is_taken_only_by_who_can_lead_those_that_run_jobs() {
    let claims = |mind: &mut Mind| {
        mind.claims[0] = ClaimRow { holder: None, epoch: Epoch(4), ..mind.claims[0] };
        let mut orders = mind.reads_lists();
        orders.append(&mut mind.wake_after(PAUSE + PAUSE));
        let claims = asks(&orders).into_iter().filter(|ask| matches!(ask, Ask::Claim { .. }));
        let wish = mind.step(Event::ClaimWished { target: Target::Leader, force: false });
        (claims.count(), wish.len())
    };
    assert_eq!(claims(&mut Mind::of(2)), (1, 1), "asked once, and once more by the operator");
    assert_eq!(claims(&mut Mind::with(Settings::new(Role::Query), 2)), (0, 0));
    let mut draining = Mind::of(2);
    draining.drains(false);
    assert_eq!(claims(&mut draining), (0, 0));
    let mut dead = Mind::of(2);
    dead.members.remove(0);
    assert_eq!(claims(&mut dead).0, 0, "it would be refused");
}

#[test]
fn a_node_that_leaves_says_so_again_and_again_until_it_gives_up() {
    let leave = Ask::Leave { by: ME };
    let mut mind = Mind::of(2);
    mind.drains(true);
    let orders = mind.answer(|ask| matches!(ask, Ask::Drain { .. }), Answer::Done);
    assert!(asks(&orders).contains(&leave));
    let mut heard = mind.clone();
    let orders = heard.answer(|ask| *ask == leave, Answer::Done);
    assert_eq!(orders, [Effect::Nudge { to: m(2), nudge: Nudge::Lists }, Effect::Exit]);
    mind.reads_lists();
    assert!(!asks(&mind.answer(|ask| *ask == leave, Answer::Failed)).contains(&leave));
    assert!(!asks(&mind.wake_after(PAUSE - Span::from_micros(1))).contains(&leave));
    assert_eq!(mind.node.deadline(), (mind.now + Span::from_micros(1), Timer::Membership));
    assert!(asks(&mind.wake_after(Span::from_micros(1))).contains(&leave));
    let give_up = Timing::kylin().ask_timeout().scaled(2, 1) - PAUSE;
    assert_eq!(others(mind.wake_after(give_up - Span::from_micros(1))), []);
    assert_eq!(others(mind.wake_after(Span::from_micros(1))), [Effect::Exit]);
}

#[test]
fn a_drain_waits_for_what_runs_until_its_end() {
    let mut mind = Mind::of(2);
    let at = mind.holds(1);
    mind.drains(true);
    assert_eq!(mind.drains(false).len(), 1, "who is to leave leaves");
    let is_leave = |ask: &Ask| matches!(ask, Ask::Leave { .. });
    for _ in 0..2 {
        assert!(!asks(&mind.answer(|ask| matches!(ask, Ask::Drain { .. }), Answer::Done)).iter().any(is_leave));
    }
    assert_eq!(others(mind.wake_after(Span::from_secs(20) - Span::from_micros(1))), []);
    let cancel = Effect::Cancel { fence: at, why: Why::Drained };
    assert_eq!(others(mind.wake_after(Span::from_micros(1))), [cancel]);
    mind.step(Event::AttemptEnded { fence: at, end: crate::event::End::Stopped });
    let orders = mind.answer(is_release, Answer::Done);
    assert_eq!(asks(&orders), [Ask::ReadJobs(vec![at.job])], "and nothing of leaving");
    let row = JobRow { placed: Some(n(2)), epoch: at.epoch, ..pending(1) };
    let orders = mind.answer(is_read, Answer::Jobs(vec![row]));
    assert_eq!(nudged(&orders), [(2, Nudge::Jobs(vec![row]))], "its heir knows of it");
    assert!(asks(&orders).iter().any(is_leave));
}

#[test]
fn a_drain_waits_for_what_is_being_taken() {
    let mut mind = Mind::of(2);
    mind.step(Event::Heard(vec![pending(1)]));
    mind.drains(true);
    let is_leave = |ask: &Ask| matches!(ask, Ask::Leave { .. });
    assert!(!asks(&mind.answer(|ask| matches!(ask, Ask::Drain { .. }), Answer::Done)).iter().any(is_leave));
    assert!(!asks(&mind.answer(is_take, Answer::Refused)).iter().any(is_leave));
    assert!(asks(&mind.answer(is_read, Answer::Unknown)).iter().any(is_leave), "whatever it is now");
}

#[test]
fn a_drain_that_is_undone_ends_in_a_new_incarnation() {
    let mut mind = Mind::of(2);
    mind.drains(false);
    mind.answer(|ask| matches!(ask, Ask::Drain { .. }), Answer::Done);
    assert_eq!(mind.node.view(mind.now).phase, "draining", "it stays so");
    let orders = mind.step(Event::DrainUndone);
    assert_eq!(asks(&orders), [Ask::Join { role: Role::All, slots: 30, can: Capabilities::ALL }]);
}

/// Every node but one watches few of these.
fn in_a_large_cluster() -> Mind {
    Mind::with(Settings { observers: 4, ..Settings::new(Role::All) }, 12)
}

/// An interval passes. It must want the beats of a few, and these members don't beat.
fn brief_beat(mind: &mut Mind, silent: &[u32]) -> Effects {
    mind.wake_after(mind.node.settings.timing.interval());
    let brief = mind.open.iter().find_map(|(_, ask)| match ask {
        Ask::Beat { brief, .. } => brief.clone(),
        _ => None,
    });
    let brief = brief.expect("a few beats are enough");
    assert_eq!(brief.census, Census::of(&mind.members, &mind.claims, &mind.projects));
    assert!(brief.of.contains(&ME) && brief.of.len() < 12, "{:?}", brief.of);
    mind.members.iter_mut().filter(|row| !silent.contains(&row.member.node.0)).for_each(|row| row.beat += 1);
    let beats = mind.members.iter().filter(|row| brief.of.contains(&row.member)).map(|row| (row.member, row.beat));
    let beats = Answer::Beats(beats.collect());
    mind.answer(is_beat, beats)
}

#[test]
fn in_a_large_cluster_a_beat_brings_a_few_beats_and_keeps_the_trust() {
    let mut mind = in_a_large_cluster();
    let (others, watched) = (mind.node.roster.observed().expect("not everybody"), mind.node.watched.clone());
    for _ in 0..5 {
        assert_eq!(asks(&brief_beat(&mut mind, &[])), []);
        assert!(mind.node.lease.is_trusted(mind.now));
    }
    assert_eq!((mind.node.roster.observed(), &mind.node.watched), (Some(others.clone()), &watched));
    let known = |member: &Member| {
        mind.node.view(mind.now).members.iter().any(|peer| peer.row.member == *member && peer.silent_for.is_some())
    };
    assert!(mind.members.iter().all(|row| known(&row.member) == others.contains(&row.member)));
}

#[test]
fn in_a_large_cluster_who_is_watched_and_silent_is_fenced_by_the_beat_that_was_seen() {
    let mut mind = in_a_large_cluster();
    let silent = mind.node.watched[0];
    brief_beat(&mut mind, &[]);
    brief_beat(&mut mind, &[silent.node.0]);
    let orders = brief_beat(&mut mind, &[silent.node.0]);
    let fence = Ask::Fence { member: silent, evidence: Evidence::Silent, beat: Some(2), by: ME };
    assert_eq!(asks(&orders), [fence]);
}

#[test]
fn in_a_large_cluster_who_wants_the_lists_gets_them_with_the_beat() {
    let mut mind = in_a_large_cluster();
    mind.now += mind.node.settings.timing.interval();
    assert_eq!(asks(&mind.step(Event::ListsChanged))[0], Ask::Beat { by: ME, brief: None });
    mind.members.retain(|row| row.member != m(12));
    let lists = mind.lists();
    mind.answer(is_beat, lists);
    assert!(!mind.node.roster.is_alive(m(12)));
    let census = Census::of(&mind.members, &mind.claims, &mind.projects);
    assert_eq!(mind.node.census, Some(census));
}

#[test]
fn in_a_large_cluster_beats_that_are_older_than_a_death_make_it_look_again() {
    let mut mind = in_a_large_cluster();
    let dead = mind.node.watched[0];
    mind.wake_after(mind.node.settings.timing.interval());
    mind.now += Span::from_millis(1);
    mind.step(Event::Exited(dead));
    mind.answer(|ask| matches!(ask, Ask::Fence { .. }), Answer::Done);
    assert!(asks(&mind.step(Event::Woke)).is_empty() && mind.open.iter().any(|(_, ask)| *ask == Ask::List));
    mind.members.retain(|row| row.member != dead);
    mind.reads_lists();
    assert_eq!(asks(&mind.answer(is_beat, Answer::Beats(vec![(dead, 9)]))), [Ask::List]);
    assert!(!mind.node.roster.is_alive(dead));
}

#[test]
fn with_a_project_its_claim_is_forgotten_and_given_up() {
    let mut mind = Mind::of(2);
    let (target, epoch) = (Target::Project(ProjectId(2)), Epoch(2));
    let row = mind.claims.iter().position(|row| row.target == target).expect("it is claimed");
    mind.claims[row] = ClaimRow { target, holder: Some(ME), epoch };
    assert!(others(mind.reads_lists()).contains(&Effect::Lead { target, epoch }));
    mind.projects.retain(|project| project.id != ProjectId(2));
    // The row may outlive the project for a moment.
    let orders = mind.reads_lists();
    assert_eq!(others(orders), [Effect::Resign(target)]);
    assert!(!mind.node.claims.contains_key(&target) && mind.node.claims.contains_key(&Target::Leader));
    mind.claims.remove(row);
    assert_eq!(others(mind.reads_lists()), []);
}

#[test]
fn what_a_node_is_able_to_run_is_written_down_until_the_lists_show_it() {
    let can = Capabilities(1);
    let mut mind = Mind::of(2);
    let set = Ask::SetCan { member: ME, can };
    assert_eq!(mind.step(Event::CanChanged(Capabilities::ALL)), [], "nothing has changed");
    assert_eq!(asks(&mind.step(Event::CanChanged(can))), core::slice::from_ref(&set));
    assert_eq!(asks(&mind.reads_lists()), [], "it is under way");
    let orders = mind.answer(|ask| *ask == set, Answer::Unknown);
    assert_eq!(asks(&orders), [Ask::List], "the list shows whether it is so");
    assert_eq!(asks(&mind.reads_lists()), core::slice::from_ref(&set), "it is not");
    mind.answer(|ask| *ask == set, Answer::Done);
    mind.members[0].can = can;
    assert_eq!(asks(&mind.reads_lists()), []);
}

#[test]
fn a_fenced_node_joins_again_as_able_to_run_what_it_can_by_then() {
    let mut mind = Mind::of(2);
    mind.step(Event::CanChanged(Capabilities(2)));
    mind.wake_after(mind.node.settings.timing.interval());
    let orders = mind.answer(is_beat, Answer::Refused);
    assert_eq!(asks(&orders), [Ask::Join { role: Role::All, slots: 30, can: Capabilities(2) }]);
}

#[test]
fn a_claim_whose_row_is_gone_is_given_up_and_put_back_under_its_next_epoch() {
    let mut mind = Mind::of(1);
    let claim = |epoch| Ask::Claim { target: Target::Leader, epoch: Epoch(epoch), by: ME, force: false };
    let is_claim = |ask: &Ask| matches!(ask, Ask::Claim { target: Target::Leader, .. });
    assert_eq!(asks(&mind.reads_lists()), [], "the claims of the dead are asked for already");
    mind.claims.iter_mut().for_each(|row| (row.holder, row.epoch) = (Some(ME), Epoch(5)));
    assert!(others(mind.reads_lists()).contains(&Effect::Lead { target: Target::Leader, epoch: Epoch(5) }));
    mind.open.retain(|(_, ask)| !matches!(ask, Ask::Claim { .. }));
    mind.node.claims.values_mut().for_each(|claim| claim.asked = false);
    mind.claims.retain(|row| row.target != Target::Leader);
    let orders = mind.reads_lists();
    assert_eq!(asks(&orders), [claim(5)]);
    assert_eq!(others(orders), [Effect::Resign(Target::Leader)]);
    let orders = mind.answer(is_claim, Answer::Granted { epoch: Epoch(6), steps: 0 });
    assert_eq!(others(orders), [Effect::Lead { target: Target::Leader, epoch: Epoch(6) }]);
}

#[test]
fn the_belief_in_a_claim_follows_the_table_and_no_list_that_may_be_older() {
    let row = |epoch, holder| ClaimRow { target: Target::Leader, holder: Some(m(holder)), epoch: Epoch(epoch) };
    let projects = [1, 2].map(|id| ProjectRow { id: ProjectId(id), limit: 100 });
    let listed = |rows: &[ClaimRow], later: bool| {
        let mut mind = Mind::of(3);
        let known_at = mind.now + Span::from_secs(1);
        mind.now = known_at + Span::from_secs(1);
        let claim = mind.node.claims.get_mut(&Target::Leader).expect("it is known");
        (claim.row, claim.known_at) = (row(5, 2), known_at);
        let asked_at = if later { known_at } else { Time::from_micros(known_at.micros() - 1) };
        mind.node.claims_listed(mind.now, asked_at, rows, &projects);
        mind.node.claims[&Target::Leader].row
    };
    assert_eq!(listed(&[row(6, 3)], false), row(6, 3), "a later epoch is later, whenever it was read");
    assert_eq!(listed(&[row(5, 3)], false), row(5, 2));
    assert_eq!(listed(&[row(4, 3)], false), row(5, 2));
    assert_eq!(listed(&[], false), row(5, 2), "it may have been read before the grant");
    assert_eq!(listed(&[row(4, 3)], true), row(4, 3), "the table was set back");
    assert_eq!(listed(&[], true), ClaimRow { holder: None, ..row(5, 2) });
}
