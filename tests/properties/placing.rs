//! Homes and heirs.

use kirin_core::ask::{Epoch, JobId, Priority, ProjectId};
use kirin_core::job::JobState;
use kirin_core::placement::{Candidate, choose, score};
use kirin_core::{
    Answer, Ask, Capabilities, Effect, Effects, Event, JobRow, Member, MemberRow, MemberState, Node, NodeId,
    ProjectRow, Role, Settings, Time,
};
use proptest::prelude::*;

fn member(node: u32) -> Member {
    Member::new(node, 1).expect("incarnation 1")
}

/// A node that has joined a cluster with these nodes and slots, and knows these jobs.
pub(crate) struct TestNode {
    pub(crate) node: Node,
    now: u64,
}

impl TestNode {
    pub(crate) fn of(me: u32, nodes: &[(u32, u32)], jobs: &[JobRow]) -> Self {
        let settings = Settings { slots: 0, ..Settings::new(Role::Query) };
        let mut test = Self { node: Node::start(settings, 7, Time::ZERO), now: 0 };
        let effects = test.step(Event::Woke);
        let effects = test.answer(&effects, Answer::Joined(member(me)), |ask| matches!(ask, Ask::Join { .. }));
        let effects = test.answer(&effects, lists(nodes), |ask| matches!(ask, Ask::Beat { .. }));
        test.answer(&effects, Answer::Jobs(jobs.to_vec()), |ask| matches!(ask, Ask::ListJobs));
        test
    }

    pub(crate) fn step(&mut self, event: Event) -> Effects {
        self.now += 1;
        self.node.step(Time::from_micros(self.now), event)
    }

    fn answer(&mut self, effects: &Effects, answer: Answer, to: impl Fn(&Ask) -> bool) -> Effects {
        let id = effects.iter().find_map(|effect| match effect {
            Effect::Ask { id, ask } if to(ask) => Some(*id),
            _ => None,
        });
        self.step(Event::Answered { id: id.expect("it asks"), answer })
    }

    /// Processes a list with these nodes.
    pub(crate) fn sees(&mut self, nodes: &[(u32, u32)]) {
        let effects = self.step(Event::ListsChanged);
        self.answer(&effects, lists(nodes), |ask| matches!(ask, Ask::List));
    }

    pub(crate) fn homes(&self) -> Vec<(JobId, Option<NodeId>)> {
        self.node.queue().rows().map(|row| (row.id, self.node.queue().home(row.id))).collect()
    }
}

fn lists(nodes: &[(u32, u32)]) -> Answer {
    let row = |(node, slots): &(u32, u32)| MemberRow {
        member: member(*node),
        state: MemberState::Up,
        role: if *slots == 0 { Role::Query } else { Role::All },
        slots: *slots,
        can: Capabilities::ALL,
        beat: 1,
    };
    let projects = (1..4).map(|id| ProjectRow { id: ProjectId(id), limit: 1_000 }).collect();
    Answer::Listed { members: nodes.iter().map(row).collect(), claims: Vec::new(), projects }
}

pub(crate) fn waiting(id: u64, placed: Option<u32>) -> JobRow {
    JobRow {
        id: JobId(id),
        project: ProjectId(1 + (id % 3) as u32),
        priority: Priority(3),
        state: if placed.is_some() { JobState::Pending } else { JobState::Ready },
        epoch: Epoch(0),
        holder: None,
        placed: placed.map(NodeId),
        steps: 0,
        external: false,
        needs: Capabilities::NONE,
    }
}

fn running(id: u64, on: u32) -> JobRow {
    JobRow { state: JobState::Running, epoch: Epoch(1), holder: Some(member(on)), ..waiting(id, Some(on)) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// For any slots: no node exceeds the ceiling of its fair share. With equal slots, all loads differ by at most one.
    #[test]
    fn loads_are_within_one_of_the_fair_share(slots in proptest::collection::vec(1..9_u32, 1..12), jobs in 1..400_u64) {
        let mut on: Vec<_> =
            (1..).zip(&slots).map(|(node, slots)| Candidate { node: NodeId(node), slots: *slots, can: Capabilities::ALL, load: 0, running: 0 }).collect();
        for job in 0..jobs {
            let node = choose(job, &on).expect("there are nodes");
            on.iter_mut().find(|c| c.node == node).expect("one of them").load += 1;
        }
        let all: u64 = slots.iter().map(|s| u64::from(*s)).sum();
        for c in &on {
            prop_assert!(u64::from(c.load) <= (jobs * u64::from(c.slots)).div_ceil(all), "{:?}", on);
        }
        if slots.iter().all(|s| *s == slots[0]) {
            let loads = on.iter().map(|c| c.load);
            prop_assert!(loads.clone().max().unwrap_or(0) - loads.min().unwrap_or(0) <= 1, "{:?}", on);
        }
    }

    /// The choice has the highest score among the nodes below their share, as computed by a simple reference
    /// implementation.
    #[test]
    fn the_choice_has_the_best_score_below_its_share(
        loads in proptest::collection::vec((1..9_u32, 0..30_u32), 1..12),
        key in any::<u64>(),
    ) {
        let on: Vec<_> = (1..)
            .zip(&loads)
            .map(|(node, (slots, load))| Candidate { node: NodeId(node), slots: *slots, can: Capabilities::ALL, load: *load, running: 0 })
            .collect();
        let all: u64 = on.iter().map(|c| u64::from(c.load)).sum::<u64>() + 1;
        let slots: u64 = on.iter().map(|c| u64::from(c.slots)).sum();
        let under = on.iter().filter(|c| u64::from(c.load) < (all * u64::from(c.slots)).div_ceil(slots));
        let best = under.max_by_key(|c| (score(key, c.node), c.node)).map(|c| c.node);
        prop_assert!(best.is_some());
        prop_assert_eq!(choose(key, &on), best);
    }

    /// The loss of a node moves exactly the jobs that waited or ran on it, and all nodes with an equal view name the
    /// same heirs.
    #[test]
    fn only_the_lost_nodes_jobs_move_and_all_nodes_agree_on_the_heirs(
        nodes in 2..9_u32,
        lost in 0..8_u32,
        at in proptest::collection::vec((0..8_u32, any::<bool>()), 0..120),
    ) {
        let lost = 1 + lost % nodes;
        let cluster: Vec<_> = (1..=nodes).map(|n| (n, 4)).chain([(90, 0), (91, 0)]).collect();
        let left: Vec<_> = cluster.iter().copied().filter(|(n, _)| *n != lost).collect();
        let jobs: Vec<_> = (1..)
            .zip(&at)
            .map(|(id, (on, runs))| {
                let on = 1 + on % nodes;
                if *runs { running(id, on) } else { waiting(id, Some(on)) }
            })
            .collect();
        let mut tests = [TestNode::of(90, &cluster, &jobs), TestNode::of(91, &cluster, &jobs)];
        let before = tests[0].homes();
        for test in &mut tests {
            test.sees(&left);
        }
        let after = tests[0].homes();
        prop_assert_eq!(&after, &tests[1].homes());
        for ((job, was), (row, (_, is))) in before.iter().zip(jobs.iter().zip(&after)) {
            let stood_there = row.placed == Some(NodeId(lost));
            prop_assert_eq!(was != is, stood_there, "{:?}: {:?} to {:?}", job, was, is);
            prop_assert!(is.is_none_or(|home| home != NodeId(lost) && home.0 <= nodes));
        }
        // The moved jobs never push later ones above the ceiling.
        let queue = tests[0].node.queue();
        let moved = jobs.iter().filter(|row| row.placed == Some(NodeId(lost))).count() as u64;
        let share = (jobs.len() as u64).div_ceil(u64::from(nodes) - 1);
        for (node, _) in left.iter().filter(|(_, slots)| *slots > 0) {
            let own = jobs.iter().filter(|row| row.placed == Some(NodeId(*node))).count() as u64;
            let load = u64::from(queue.load(NodeId(*node)));
            prop_assert!(load <= share.max(own) && load <= own + moved);
        }
    }

    /// Every observer spreads unplaced jobs evenly.
    #[test]
    fn unplaced_jobs_are_spread_evenly(nodes in 1..12_u32, jobs in 0..200_u64) {
        let cluster: Vec<_> = (1..=nodes).map(|n| (n, 4)).chain([(90, 0)]).collect();
        let rows: Vec<_> = (1..=jobs).map(|id| waiting(id, None)).collect();
        let test = TestNode::of(90, &cluster, &rows);
        let loads: Vec<_> = (1..=nodes).map(|n| test.node.queue().load(NodeId(n))).collect();
        let (least, most) = (loads.iter().min().copied().unwrap_or(0), loads.iter().max().copied().unwrap_or(0));
        prop_assert!(most - least <= 1, "{:?}", loads);
    }
}
