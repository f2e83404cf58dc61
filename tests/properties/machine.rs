//! The life of a job, compared with an independent table and with the model of the metastore.

use kirin_core::ask::{Epoch, Fence, Priority, ProjectId};
use kirin_core::job::{Action, JobEvent, JobState, Outcome};
use kirin_core::{Answer, Ask, Capabilities, Evidence, JobRow, Member, NodeId, ProjectRow, Role};
use kirin_sim::store::Store;
use proptest::prelude::*;

const EVENTS: [JobEvent; 10] = [
    JobEvent::Place,
    JobEvent::Take,
    JobEvent::Finish(Outcome::Succeeded),
    JobEvent::Finish(Outcome::Failed),
    JobEvent::Finish(Outcome::Vanished),
    JobEvent::Release,
    JobEvent::Act(Action::Resume),
    JobEvent::Act(Action::Pause),
    JobEvent::Act(Action::Restart),
    JobEvent::Act(Action::Discard),
];

/// One row per state, one column per event, in the order of `EVENTS`. A dash marks an illegal event.
const TABLE: &str = "
READY      PENDING  RUNNING  -        -      -         READY      -      PAUSED  -      DISCARDED
PENDING    PENDING  RUNNING  -        -      -         PENDING    -      PAUSED  -      DISCARDED
RUNNING    -        RUNNING  SUCCEED  ERROR  SUICIDAL  READY      -      PAUSED  READY  DISCARDED
ERROR      -        -        -        -      -         -          READY  -       READY  DISCARDED
PAUSED     -        -        -        -      -         PAUSED     READY  -       READY  DISCARDED
DISCARDED  -        -        -        -      -         DISCARDED  -      -       -      -
SUCCEED    -        -        -        -      -         -          -      -       -      -
SUICIDAL   -        -        -        -      -         -          -      -       -      -
";

#[test]
fn the_state_machine_matches_the_table() {
    let mut rows = 0;
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let state = words.next().and_then(JobState::from_name).expect("a state");
        for (event, word) in EVENTS.into_iter().zip(words) {
            assert_eq!(state.after(event).ok(), JobState::from_name(word), "{state:?} {event:?}");
        }
        rows += 1;
    }
    assert_eq!(rows, JobState::ALL.len());
}

/// Requests of the metastore's clients, from small domains so that they conflict.
#[derive(Clone, Debug)]
enum Try {
    Submit(u32),
    Take { job: u64, by: usize, back: u64 },
    Commit { job: u64, by: usize, back: u64 },
    Finish { job: u64, by: usize, back: u64, outcome: Outcome },
    Release { job: u64, by: usize },
    Act { job: u64, action: Action },
    Die { member: usize, by: usize },
    Join(u32),
}

fn tries() -> impl Strategy<Value = Vec<Try>> {
    let job = 1..6_u64;
    let outcome = prop_oneof![Just(Outcome::Succeeded), Just(Outcome::Failed), Just(Outcome::Vanished)];
    let action = prop_oneof![Just(Action::Resume), Just(Action::Pause), Just(Action::Restart), Just(Action::Discard)];
    let one = prop_oneof![
        (1..3_u32).prop_map(Try::Submit),
        (job.clone(), 0..8_usize, 0..2_u64).prop_map(|(job, by, back)| Try::Take { job, by, back }),
        (job.clone(), 0..8_usize, 0..2_u64).prop_map(|(job, by, back)| Try::Commit { job, by, back }),
        (job.clone(), 0..8_usize, 0..2_u64, outcome).prop_map(|(job, by, back, outcome)| Try::Finish {
            job,
            by,
            back,
            outcome
        }),
        (job.clone(), 0..8_usize).prop_map(|(job, by)| Try::Release { job, by }),
        (job, action).prop_map(|(job, action)| Try::Act { job, action }),
        (0..8_usize, 0..8_usize).prop_map(|(member, by)| Try::Die { member, by }),
        (1..4_u32).prop_map(Try::Join),
    ];
    proptest::collection::vec(one, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// For any sequence of requests: states follow the state machine, epochs grow with holders, a stale fence writes
    /// nothing, limits hold, and outside RUNNING a holder is alive.
    #[test]
    fn the_metastore_keeps_its_contract(tries in tries()) {
        let limit = 2;
        let mut store = Store::new([1, 2].map(|id| ProjectRow { id: ProjectId(id), limit }));
        let mut members: Vec<Member> = Vec::new();
        for node in 1..4 {
            join(&mut store, &mut members, node);
        }
        for (n, what) in tries.iter().enumerate() {
            let before: Vec<JobRow> = store.jobs().copied().collect();
            let (ask, by) = ask_of(what, n, &store, &mut members);
            let alive = by.is_some_and(|by| store.is_alive(by));
            let answer = store.ask(by.map_or(NodeId(1), |by| by.node), &ask);
            if let (Ask::Join { .. }, Answer::Joined(me)) = (&ask, &answer) {
                members.push(*me);
            }
            for old in &before {
                let new = store.job(old.id).expect("no job is ever lost");
                prop_assert!(new.epoch >= old.epoch);
                if new.holder != old.holder && new.holder.is_some() {
                    prop_assert_eq!(new.epoch, Epoch(old.epoch.0 + 1));
                    prop_assert!(alive);
                } else {
                    prop_assert_eq!(new.epoch, old.epoch);
                }
                let legal = EVENTS.iter().any(|event| old.state.after(*event) == Ok(new.state))
                    || old.state == JobState::Running && new.state == JobState::Pending;
                prop_assert!(new.state == old.state || legal, "{:?} to {:?}", old, new);
                if let Ask::CommitStep { fence, by, .. } | Ask::Finish { fence, by, .. } = &ask
                    && fence.job == old.id
                    && (fence.epoch != old.epoch || old.holder != Some(*by))
                {
                    prop_assert_eq!(&answer, &Answer::Refused);
                    prop_assert_eq!(new, old);
                }
                if let Some(holder) = new.holder.filter(|_| new.state != JobState::Running) {
                    prop_assert!(store.is_alive(holder), "{:?} is held by a dead member", new);
                }
            }
            for project in [1, 2] {
                prop_assert!(store.load(ProjectId(project)).0 <= limit);
            }
        }
    }
}

fn join(store: &mut Store, members: &mut Vec<Member>, node: u32) {
    if let Answer::Joined(me) =
        store.ask(NodeId(node), &Ask::Join { role: Role::All, slots: 1, can: Capabilities::ALL })
    {
        members.push(me);
    }
}

fn ask_of(what: &Try, n: usize, store: &Store, members: &mut [Member]) -> (Ask, Option<Member>) {
    let member = |at: usize| members[at % members.len()];
    let row = |job: u64| store.jobs().nth(job as usize - 1).copied();
    let fence = |job: u64, back: u64| {
        let row = row(job);
        let epoch = row.map_or(0, |row| row.epoch.0).saturating_sub(back);
        Fence { job: kirin_core::ask::JobId(job), epoch: Epoch(epoch) }
    };
    match *what {
        Try::Submit(project) => {
            let (project, key) = (ProjectId(project), n as u128);
            (
                Ask::Submit {
                    project,
                    priority: Priority(3),
                    placed: None,
                    external: false,
                    needs: Capabilities::NONE,
                    key,
                },
                None,
            )
        }
        Try::Take { job, by, back } => {
            (Ask::Take { fence: fence(job, back), by: member(by), in_order: false }, Some(member(by)))
        }
        Try::Commit { job, by, back } => {
            let step = row(job).map_or(0, |row| row.steps);
            (Ask::CommitStep { fence: fence(job, back), by: member(by), step }, Some(member(by)))
        }
        Try::Finish { job, by, back, outcome } => {
            (Ask::Finish { fence: fence(job, back), by: member(by), outcome }, Some(member(by)))
        }
        Try::Release { job, by } => {
            (Ask::Release { fence: fence(job, 0), by: member(by), placed: None }, Some(member(by)))
        }
        Try::Act { job, action } => {
            let state = row(job).map_or(JobState::Ready, |row| row.state);
            (Ask::Act { fence: fence(job, 0), state, action }, None)
        }
        Try::Die { member: dead, by } => {
            let ask = Ask::Fence { member: member(dead), evidence: Evidence::Exited, beat: None, by: member(by) };
            (ask, Some(member(by)))
        }
        Try::Join(node) => (Ask::Join { role: Role::All, slots: 1, can: Capabilities::ALL }, Member::new(node, 1)),
    }
}
