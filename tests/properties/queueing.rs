//! Order and limits, on one node that processes a random queue.

use kirin_core::ask::ProjectId;
use kirin_core::{Span, Timing};
use kirin_sim::act::{Act, Work};
use kirin_sim::{Setup, World};
use proptest::prelude::*;

fn works() -> impl Strategy<Value = Vec<(u32, u8, u32, u64)>> {
    proptest::collection::vec((1..4_u32, 0..5_u8, 0..3_u32, 5..400_u64), 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Jobs of one project and priority start in the order of acceptance, limits and slots hold (the judge checks each
    /// start), and all jobs end.
    #[test]
    fn a_queue_is_processed_in_order(
        works in works(),
        seed in any::<u64>(),
        nodes in 1..4_u32,
        slots in 1..4_u32,
        limits in proptest::collection::vec(1..4_u32, 3),
        in_order in any::<bool>(),
    ) {
        let mut world = World::new(Setup { seed, slots, limits, in_order, ..Setup::of(nodes) }, None);
        world.act(&Act::Run(Span::from_secs(5)));
        for (n, (project, prio, steps, step)) in works.iter().enumerate() {
            let name = format!("j{n}");
            let (project, prio, steps, step) = (*project, *prio, *steps, Span::from_millis(*step));
            world.act(&Act::Post(Work { project, prio, steps, step, ..Work::named(&name) }));
        }
        world.heal_and_wait();
        prop_assert_eq!(world.violation(), None);
        for project in 1..4 {
            prop_assert_eq!(world.store().load(ProjectId(project)).0, 0);
        }
    }
}

#[test]
fn every_accepted_timing_is_safe() {
    // For every accepted pair, trust ends before the timeout by more than both rate errors, and the retries fit.
    for timeout in [1_u64, 2, 3, 10, 60, 86_400] {
        for part in 2..20 {
            let interval = Span::from_micros(timeout * 1_000_000 / part);
            let timing = Timing::new(Span::from_secs(timeout), interval).expect("a safe pair");
            let (slow, fast) = (timing.trust_for().scaled(100, 95), timing.timeout().scaled(100, 105));
            assert!(slow < fast, "{timing:?}");
            assert!(timing.ask_timeout() < timing.retry_every(), "{timing:?}");
            assert!(interval + timing.retry_every().scaled(10, 1) <= timing.trust_for(), "{timing:?}");
        }
    }
}
