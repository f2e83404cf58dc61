//! Placement: the choice of the queue for a job. It is only advice; the claim in the metastore decides.
//!
//! - *Rendezvous hashing* (Thaler and Ravishankar, 1998): every node gets a score for every job, and the highest score
//!   wins. The order of the scores also names each job's heirs in advance.
//! - *Bounded* (Mirrokni, Thorup and Zadimoghaddam, 2016): a node is skipped when its load has reached the ceiling of
//!   its fair share. Shares are proportional to slots.
//! - *Sticky*: a job stays where it was placed while that node is up, so the loss of a node moves exactly its jobs.
//!
//! With ten nodes and 200 jobs, the ratio of the highest load to the mean is 1.00; a hash ring with 160 points a node
//! has 1.41.

use alloc::vec::Vec;

use crate::ask::JobId;
use crate::capability::Capabilities;
use crate::member::NodeId;

/// A node that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// How many attempts it runs at once: its weight. Never 0.
    pub slots: u32,
    /// What it is able to run.
    pub can: Capabilities,
    /// How many jobs it runs or has on its queue.
    pub load: u32,
    /// How many of them it runs.
    pub running: u32,
}

/// The index of the entry with `key` in a list sorted by it. Nodes are numbered from 1 and most of them exist, so the
/// first guess is usually right.
pub(crate) fn find<T, K: Ord>(sorted: &[T], node: NodeId, key: &K, of: impl Fn(&T) -> K) -> Option<usize> {
    let guess = (node.0 as usize).wrapping_sub(1);
    if sorted.get(guess).is_some_and(|entry| of(entry) == *key) {
        return Some(guess);
    }
    sorted.binary_search_by(|entry| of(entry).cmp(key)).ok()
}

/// The score of a node for a key. The same on every machine and in every version.
pub const fn score(key: u64, node: NodeId) -> u64 {
    // The finalizer of SplitMix64 (Steele, Lea and Flood, 2014) over both inputs, so that similar ids have unrelated
    // scores.
    let mut z = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (node.0 as u64).wrapping_mul(0xd1b5_4a32_d192_ed03);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key of a job.
pub const fn key(job: JobId) -> u64 {
    job.0
}

/// The node with the highest score among those whose load is below their fair share of `all loads + 1`; `None` if there
/// is no candidate.
pub fn choose(key: u64, candidates: &[Candidate]) -> Option<NodeId> {
    let (mut load, mut slots) = (1u64, 0u64);
    for candidate in candidates {
        load += u64::from(candidate.load);
        slots += u64::from(candidate.slots);
    }
    let mut best: Option<(u64, NodeId)> = None;
    for candidate in candidates {
        let scored = (score(key, candidate.node), candidate.node);
        // The share is computed only where the score could win. It means load < ceil(all · weight), without a division.
        if best.is_none_or(|b| scored > b) && u64::from(candidate.load) * slots < load * u64::from(candidate.slots) {
            best = Some(scored);
        }
    }
    best.map(|(_, node)| node)
}

/// The candidates in the order in which they inherit `key`.
pub fn heirs(key: u64, nodes: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
    let mut order: Vec<_> = nodes.map(|node| (core::cmp::Reverse(score(key, node)), node)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, node)| node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn nodes(n: u32, slots: u32) -> Vec<Candidate> {
        (1..=n)
            .map(|node| Candidate { node: NodeId(node), slots, can: Capabilities::ALL, load: 0, running: 0 })
            .collect()
    }

    fn place_all(jobs: core::ops::Range<u64>, on: &mut [Candidate]) -> Vec<(u64, NodeId)> {
        jobs.map(|job| {
            let node = choose(job, on).expect("there are nodes");
            on.iter_mut().find(|c| c.node == node).expect("a candidate was chosen").load += 1;
            (job, node)
        })
        .collect()
    }

    #[test]
    fn jobs_are_spread_within_one_of_the_fair_share() {
        let mut on = nodes(10, 4);
        place_all(1..201, &mut on);
        assert!(on.iter().all(|c| c.load == 20), "{on:?}");
    }

    #[test]
    fn the_first_heir_is_chosen_until_its_share_is_used_up() {
        let mut on = nodes(9, 4);
        for key in 0..50 {
            let order = heirs(key, on.iter().map(|c| c.node));
            assert_eq!(choose(key, &on), Some(order[0]));
            on[order[0].0 as usize - 1].load = 1;
            assert_eq!(choose(key, &on), Some(order[1]));
            on[order[0].0 as usize - 1].load = 0;
        }
    }

    #[test]
    fn shares_are_proportional_to_slots() {
        let mut on = nodes(2, 10);
        on[1].slots = 30;
        place_all(1..401, &mut on);
        assert_eq!((on[0].load, on[1].load), (100, 300));
    }

    #[test]
    fn the_loss_of_a_node_moves_exactly_its_jobs() {
        let mut on = nodes(10, 4);
        let before = place_all(1..1001, &mut on);
        on.remove(3);
        let lost: Vec<_> = before.iter().filter(|(_, node)| *node == NodeId(4)).map(|(job, _)| *job).collect();
        assert_eq!(lost.len(), 100);
        for job in lost {
            let node = choose(job, &on).expect("there are nodes");
            on.iter_mut().find(|c| c.node == node).expect("a candidate was chosen").load += 1;
        }
        let (least, most) = (on.iter().map(|c| c.load).min(), on.iter().map(|c| c.load).max());
        assert!(most <= least.map(|n| n + 1), "{on:?}");
    }

    /// Nodes of different versions must agree, so these numbers never change.
    #[test]
    fn scores_are_the_same_in_every_version() {
        let scores = [(1, 1), (1, 2), (2, 1), (u64::MAX, 90)].map(|(key, node)| score(key, NodeId(node)));
        assert_eq!(
            scores,
            [0xd28f_0491_68bd_d34c, 0x83c2_0ae7_ffc5_992f, 0xeae9_2fc5_d4ff_6387, 0x12ce_fa06_2910_7f79]
        );
        assert_eq!(key(JobId(77)), 77);
        let order = heirs(7, (1..=9).map(NodeId));
        assert!(order.is_sorted_by_key(|node| core::cmp::Reverse(score(7, *node))), "{order:?}");
    }

    #[test]
    fn every_node_computes_the_same_heirs() {
        let order = heirs(7, [NodeId(3), NodeId(1), NodeId(2)].into_iter());
        assert_eq!(order, heirs(7, [NodeId(1), NodeId(2), NodeId(3)].into_iter()));
        assert_eq!(order.len(), 3);
        assert_eq!(choose(7, &[]), None);
        assert_eq!(
            choose(7, &[Candidate { node: NodeId(9), slots: 1, can: Capabilities::ALL, load: 50, running: 0 }]),
            Some(NodeId(9)),
            "alone, all is fair"
        );
        assert_eq!(heirs(7, vec![].into_iter()), vec![]);
    }

    #[test]
    fn an_entry_is_found_at_every_position() {
        for sorted in [&[][..], &[1, 2, 3], &[2, 3, 4], &[1, 5, 9], &[7], &[0, 1]] {
            for node in 0..10 {
                let at = sorted.iter().position(|other| *other == node);
                assert_eq!(find(sorted, NodeId(node), &node, |other| *other), at, "{node} in {sorted:?}");
            }
        }
    }
}
