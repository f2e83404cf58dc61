//! The suite detects bugs: without the fencing of any one statement, a case fails.
//!
//! Each row plants one bug in one statement and names the case that must detect it. If the bug opens a race, the case is
//! repeated until it fails.

use futures::future::BoxFuture;
use kirin_store::{Planted, StoreConfig};
use kirin_tests::conformance;

use super::{Clients, On, config, operations};

type Case = fn(StoreConfig) -> BoxFuture<'static, ()>;

macro_rules! suite {
    ($case:ident) => {
        (
            stringify!($case),
            (|config| Box::pin(async move { conformance::$case(Clients::of(&config, 3).await).await })) as Case,
        )
    };
}

macro_rules! operations {
    ($case:ident) => {
        (stringify!($case), (|config| Box::pin(operations::$case(config))) as Case)
    };
}

/// The maximum number of runs of a race until it counts as undetected.
const TRIES_MAX: usize = 40;

/// Runs the case with the bug. Returns whether the case fails.
async fn trips(on: On, planted: Planted, case: Case) -> bool {
    for _ in 0..TRIES_MAX {
        let mut config = config(on);
        config.planted = Some(planted);
        config.connections = 8;
        // Unbatched, so that only the database separates the clients.
        config.batch = false;
        if let Err(failure) = tokio::spawn(case(config)).await {
            let panic = failure.into_panic();
            let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            // An invalid statement proves nothing.
            let nonsense = ["by Failed", "left: Failed", "refused a statement"].iter().any(|words| why.contains(words));
            assert!(!nonsense, "{planted:?} is an invalid statement, not a bug: {why}");
            return true;
        }
    }
    false
}

macro_rules! planted {
    ($($on:ident { $($statement:ident: $part:literal => $instead:literal trips $case:expr;)* })*) => {
        /// Every bug, in every dialect that has the statement.
        const BUGS: &[(On, Planted, (&str, Case))] = &[$($(
            (On::$on, Planted { statement: stringify!($statement), part: $part, instead: $instead }, $case),
        )*)*];
    };
}

planted! {
    Sqlite {
        member_drain: "AND state <= 1" => "" trips suite!(draining_is_idempotent);
        member_die: "AND state <= 1" => "" trips suite!(leaving_ends_a_member);
        member_slots: "AND state <= 1" => "" trips suite!(slots_and_limits_can_be_changed);
        member_can: "AND state <= 1" => "" trips suite!(the_capabilities_of_a_living_member_can_be_changed);
        member_can: "AND incarnation = $2" => "AND $2 = $2" trips suite!(the_capabilities_of_a_living_member_can_be_changed);
        beat_brief: "m.node * m.can" => "0" trips suite!(a_beat_has_a_brief_answer_while_the_lists_are_unchanged);
        member_alive_of_node: "AND state <= 1" => "AND state = 0" trips suite!(a_join_replaces_the_living_member_of_its_node);
        beat: "AND incarnation = $2" => "" trips suite!(a_join_replaces_the_living_member_of_its_node);
        beat_end_if: "AND beat = $3" => "AND $3 = $3" trips suite!(a_fence_for_silence_needs_the_beat_that_was_seen);
        orphan_lock: "AND state <> 2" => "" trips suite!(the_end_of_a_member_releases_jobs_that_do_not_run);
        orphan_lock: "holder_node = $1 AND holder_incarnation = $2" => "$1 = $1 AND $2 = $2 AND holder_node IS NOT NULL"
            trips suite!(the_end_of_a_member_releases_jobs_that_do_not_run);
        claim_take: "AND epoch = $4" => "AND $4 = $4" trips suite!(a_claim_is_granted_once_per_epoch);
        claim_take: "$5 = 1 OR" => "1 = 1 OR $5 = 1 OR" trips suite!(a_claim_is_granted_once_per_epoch);
        claim_take: "b.incarnation = {p}_claim.holder_incarnation" => "1 = 1" trips suite!(a_claim_of_an_earlier_incarnation_is_free);
        member_up: "AND state = 0" => "" trips suite!(a_claim_needs_a_member_that_is_up);
        claim_yield: "AND epoch = $2" => "AND $2 = $2" trips suite!(a_yield_is_scoped_by_epoch_and_holder);
        claim_yield: "AND holder_node = $3" => "AND $3 = $3" trips suite!(a_yield_is_scoped_by_epoch_and_holder);
        claim_yield: "AND holder_incarnation = $4" => "AND $4 = $4" trips suite!(a_yield_is_scoped_by_epoch_and_holder);
        place: "AND epoch = $2" => "AND $2 = $2" trips suite!(a_place_requires_a_waiting_job_without_a_holder);
        place: "AND state IN (0, 1)" => "" trips suite!(a_place_requires_a_waiting_job_without_a_holder);
        place: "AND holder_node IS NULL" => "" trips suite!(a_place_requires_a_waiting_job_without_a_holder);
        act: "AND epoch = $2" => "AND $2 = $2" trips suite!(an_action_is_scoped_by_epoch_and_state);
        act: "AND state = $3" => "AND $3 = $3" trips suite!(an_action_is_scoped_by_epoch_and_state);
        take_member: "AND m.state = 0" => "" trips suite!(a_take_needs_a_member_that_is_up);
        take_candidates: "AND (j.needs & q.can) = j.needs" => "AND q.can >= 0"
            trips suite!(a_take_requires_a_member_with_the_capability_for_the_job);
        take_earlier: "AND (w.needs & $3) = w.needs" => "AND $3 = $3"
            trips suite!(a_take_requires_a_member_with_the_capability_for_the_job);
        take_candidates: "AND j.epoch = q.seen" => "" trips suite!(a_take_is_granted_once_per_epoch);
        take_candidates: "AND j.state <= 2" => "" trips suite!(a_take_needs_a_job_that_waits_or_runs);
        take_candidates: "AND NOT EXISTS" => "AND 1 = 1 OR EXISTS" trips suite!(a_take_is_granted_once_per_epoch);
        take_candidates: "AND b.incarnation = j.holder_incarnation" => "" trips suite!(a_job_of_an_earlier_incarnation_is_taken_over);
        take_room: "r.state = 2" => "r.state = 9" trips suite!(a_take_in_a_full_project_is_refused);
        take_room: "AND r.state = 2" => "" trips suite!(a_take_in_a_full_project_is_refused);
        take_room: "r.project = p.id AND" => "" trips suite!(a_take_in_a_full_project_is_refused);
        take_earlier: "w.state IN (0, 1)" => "1 = 0" trips suite!(strict_order_holds_over_all_nodes);
        take_earlier: "AND w.holder_node IS NULL" => "" trips suite!(strict_order_holds_over_all_nodes);
        step_lock: "AND j.epoch = q.held" => "" trips suite!(a_step_is_scoped_by_job_epoch_holder_state_and_number);
        step_lock: "AND j.holder_node = q.node" => "" trips suite!(a_step_is_scoped_by_job_epoch_holder_state_and_number);
        step_lock: "AND j.holder_incarnation = q.incarnation" => ""
            trips suite!(a_step_is_scoped_by_job_epoch_holder_state_and_number);
        step_lock: "AND j.state = 2" => "" trips suite!(a_step_is_scoped_by_job_epoch_holder_state_and_number);
        step_lock: "AND j.steps = q.step" => "" trips suite!(a_step_is_scoped_by_job_epoch_holder_state_and_number);
        finish_lock: "AND j.epoch = q.held" => "" trips suite!(a_finish_is_scoped_by_job_epoch_holder_and_state);
        finish_lock: "AND j.holder_node = q.node" => "" trips suite!(a_finish_is_scoped_by_job_epoch_holder_and_state);
        finish_lock: "AND j.holder_incarnation = q.incarnation" => ""
            trips suite!(a_finish_is_scoped_by_job_epoch_holder_and_state);
        finish_lock: "AND j.state = 2" => "" trips suite!(a_finish_is_scoped_by_job_epoch_holder_and_state);
        release_lock: "AND j.epoch = q.held" => "" trips suite!(a_release_is_scoped_by_epoch_and_holder);
        release_lock: "AND j.holder_node = q.node" => "" trips suite!(a_release_is_scoped_by_epoch_and_holder);
        release_lock: "AND j.holder_incarnation = q.incarnation" => "" trips suite!(a_release_is_scoped_by_epoch_and_holder);
        over_add: "q.jobs FROM" => "q.jobs + 1 FROM" trips operations!(finished_jobs_are_counted_exactly);
        submit: "WHERE q.project IN (SELECT id FROM {p}_project)" => "WHERE 1 = 1" trips suite!(a_submit_needs_its_project);
        segment_overlap: "s.start_ms < q.end_at" => "1 = 0" trips operations!(ranges_of_a_model_never_overlap);
        segment_publish: "AND (j.state = 1 OR j.job = {uuid q.owner})" => "" trips operations!(publishing_is_one_fenced_commit);
        segment_unreserve: "AND state = 0" => "AND state = 1" trips operations!(reserved_ranges_of_failed_jobs_are_released);
        segment_annotate: "AND job = {uuid $2}" => "AND {uuid $2} = {uuid $2}" trips operations!(a_refresh_replaces_the_manifest);
        segment_drop: "AND state = 1" => "" trips operations!(reserved_ranges_of_failed_jobs_are_released);
        member_proof: "AND incarnation = $2" => "AND $2 = $2" trips operations!(a_proof_is_stored_for_its_member_while_it_is_alive);
        member_proof: "AND state <= 1" => "" trips operations!(a_proof_is_stored_for_its_member_while_it_is_alive);
        progress: "AND epoch = $2" => "AND $2 = $2" trips operations!(progress_is_fenced);
        progress: "AND holder_node = $3" => "AND $3 = $3" trips operations!(progress_is_fenced);
        progress: "AND state = 2" => "" trips operations!(progress_is_fenced);
        doc_replace: "AND revision = $6" => "AND $6 = $6" trips operations!(a_document_update_requires_the_current_revision);
        doc_drop: "AND revision = $4" => "AND $4 = $4" trips operations!(a_document_update_requires_the_current_revision);
        catalog_bump: "revision + 1" => "revision" trips operations!(a_document_can_be_conditional_on_the_whole_catalog);
        project_limit: "own_limit = 1" => "own_limit = own_limit" trips operations!(a_default_limit_applies_to_projects_without_their_own);
        project_default_limit: "own_limit = 0 AND" => "own_limit >= 0 AND" trips operations!(a_default_limit_applies_to_projects_without_their_own);
        project_open_jobs: "state <= 4" => "state < 0" trips operations!(a_project_with_open_jobs_stays);
        project_docs: "COUNT(*)" => "0" trips operations!(a_project_with_open_jobs_stays);
    }
    Postgres {
        take: "AND (j.needs & me.can) = j.needs" => "" trips suite!(a_take_requires_a_member_with_the_capability_for_the_job);
        take: "AND (w.needs & me.can) = w.needs" => "" trips suite!(a_take_requires_a_member_with_the_capability_for_the_job);
        take: "WHERE m.state = 0" => "WHERE m.state < 9" trips suite!(a_take_needs_a_member_that_is_up);
        take: "FOR SHARE OF m" => "" trips suite!(a_take_comes_before_the_fence_of_its_taker_or_not_at_all);
        take: "j.epoch = v.seen AND" => "" trips suite!(a_take_is_granted_once_per_epoch);
        take: "AND j.epoch = v.seen AND j.state <= 2 AND (j.state = 2) = v.running" => "" trips suite!(of_sixteen_takes_one_wins);
        take: "AND j.state <= 2" => "" trips suite!(a_take_needs_a_job_that_waits_or_runs);
        take: "AND NOT EXISTS (
        SELECT FROM {p}_beat AS b WHERE b.node = j.holder_node AND b.incarnation = j.holder_incarnation)" => ""
            trips suite!(a_take_is_granted_once_per_epoch);
        take: "AND b.incarnation = j.holder_incarnation" => "" trips suite!(a_job_of_an_earlier_incarnation_is_taken_over);
        take: "WHEN $2 = 1 THEN 0
        WHEN" => "WHEN 1 = 1 THEN 0
        WHEN" trips suite!(a_limit_is_exact_for_sixteen_takers);
        take_scope_lock: "FOR NO KEY UPDATE" => "" trips suite!(a_limit_is_exact_for_sixteen_takers);
        take: "AND w.state IN (0, 1)" => "AND w.state = 9" trips suite!(strict_order_holds_over_all_nodes);
        take: "AND w.holder_node IS NULL" => "" trips suite!(strict_order_holds_over_all_nodes);
        step: "AND j.epoch = q.held" => "" trips suite!(a_step_is_scoped_by_job_epoch_holder_state_and_number);
        step: "AND j.holder_node = q.node" => "" trips suite!(a_step_is_scoped_by_job_epoch_holder_state_and_number);
        step: "AND j.holder_incarnation = q.incarnation" => ""
            trips suite!(a_step_is_scoped_by_job_epoch_holder_state_and_number);
        step: "AND j.state = 2" => "" trips suite!(a_step_is_scoped_by_job_epoch_holder_state_and_number);
        step: "AND j.steps = q.step" => "" trips suite!(a_step_is_scoped_by_job_epoch_holder_state_and_number);
        finish: "AND j.epoch = q.held" => "" trips suite!(a_finish_is_scoped_by_job_epoch_holder_and_state);
        finish: "AND j.holder_node = q.node" => "" trips suite!(a_finish_is_scoped_by_job_epoch_holder_and_state);
        finish: "AND j.holder_incarnation = q.incarnation" => "" trips suite!(a_finish_is_scoped_by_job_epoch_holder_and_state);
        finish: "AND j.state = 2" => "" trips suite!(a_finish_is_scoped_by_job_epoch_holder_and_state);
        finish: "FROM hit WHERE state > 4" => "FROM hit" trips operations!(finished_jobs_are_counted_exactly);
        over_lock: "{for_update}" => "" trips operations!(finished_jobs_are_counted_exactly);
        release: "AND j.epoch = q.held" => "" trips suite!(a_release_is_scoped_by_epoch_and_holder);
        release: "AND j.holder_node = q.node" => "" trips suite!(a_release_is_scoped_by_epoch_and_holder);
        release: "AND j.holder_incarnation = q.incarnation" => "" trips suite!(a_release_is_scoped_by_epoch_and_holder);
        member_lock: "{for_update}" => "" trips suite!(two_members_cannot_fence_each_other);
        member_up: "{for_share}" => "" trips suite!(a_claim_comes_before_the_fence_of_its_taker_or_not_at_all);
        member_shared: "{for_share}" => "" trips suite!(an_action_and_the_end_of_the_holder_leave_no_orphan);
        project_lock: "{for_update}" => "" trips operations!(of_sixteen_overlapping_submits_one_wins);
        submit: "WHERE q.project IN (SELECT id FROM p)" => "" trips suite!(a_submit_needs_its_project);
        submit: "FOR KEY SHARE" => "" trips operations!(a_project_with_open_jobs_stays);
        project_share: "{for_share}" => "" trips operations!(a_claim_comes_before_the_end_of_its_project_or_not_at_all);
        doc_add: "FOR KEY SHARE" => "" trips operations!(a_project_is_created_once_and_dropped_only_when_empty);
    }
    MariaDb {
        take_member: "{for_share}" => "" trips suite!(a_take_comes_before_the_fence_of_its_taker_or_not_at_all);
        take_candidates: "{for_update}" => "" trips suite!(of_sixteen_takes_one_wins);
        project_lock: "{for_update}" => "" trips suite!(a_limit_is_exact_for_sixteen_takers);
        step_lock: "{for_update}" => "" trips suite!(a_step_is_committed_once_by_sixteen_zombies);
        finish_lock: "{for_update}" => "" trips suite!(a_finish_and_a_takeover_exclude_each_other);
        over_lock: "{for_update}" => "" trips operations!(finished_jobs_are_counted_exactly);
        release_lock: "{for_update}" => "" trips suite!(a_release_is_done_once_by_sixteen_zombies);
        member_lock: "{for_update}" => "" trips suite!(two_members_cannot_fence_each_other);
        member_up: "{for_share}" => "" trips suite!(a_claim_comes_before_the_fence_of_its_taker_or_not_at_all);
        project_share: "{for_share}" => "" trips operations!(a_project_with_open_jobs_stays);
        project_share: "{for_share}" => "" trips operations!(a_claim_comes_before_the_end_of_its_project_or_not_at_all);
        doc_add: "{for_share}" => "" trips operations!(a_project_is_created_once_and_dropped_only_when_empty);
    }
}

async fn every_bug_is_found(on: On) {
    let mut missed = Vec::new();
    for (_, planted, (name, case)) in BUGS.iter().filter(|(where_, ..)| *where_ == on) {
        let begun = std::time::Instant::now();
        let found = trips(on, *planted, *case).await;
        let Planted { statement, part, instead } = planted;
        let mark = if found { "found" } else { "MISSED" };
        println!("{mark} {on:?} {statement}: {part:?} -> {instead:?} by {name} in {:?}", begun.elapsed());
        if !found {
            missed.push(*planted);
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bug_is_found_on_sqlite() {
    every_bug_is_found(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bug_is_found_on_postgres() {
    every_bug_is_found(On::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bug_is_found_on_mariadb() {
    every_bug_is_found(On::MariaDb).await;
}
