//! Operations of the store outside the core's contract: extra data, ranges, documents, settings, history, opening.

use std::collections::BTreeSet;
use std::sync::Arc;

use kirin_core::ask::{Epoch, Fence, JobId, ProjectId};
use kirin_core::{Action, Answer, Ask, Evidence, JobState, Member, Outcome, Role, Target};
use kirin_store::{
    AttemptEnd, Backend, DocKind, Extra, HistoryFilter, HistoryRow, JobFilter, JobSort, NewJob, NewSegment, Publish,
    Seen, SegmentState, Store, StoreConfig, StoreError, Submitted,
};
use uuid::Uuid;

use super::{On, config, open};

macro_rules! on_every_backend {
    ($($case:ident)*) => {
        on_every_backend!(@ sqlite, On::Sqlite; $($case)*);
        on_every_backend!(@ postgres, On::Postgres; $($case)*);
        on_every_backend!(@ mariadb, On::MariaDb; $($case)*);
    };
    (@ $backend:ident, $on:expr; $($case:ident)*) => {
        mod $backend {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(config($on)).await;
                }
            )*
        }
    };
}

on_every_backend! {
    ten_nodes_start_at_once_on_an_empty_database
    a_newer_schema_is_refused
    ranges_of_a_model_never_overlap
    of_sixteen_overlapping_submits_one_wins
    publishing_is_one_fenced_commit
    a_refresh_replaces_the_manifest
    a_job_whose_segment_was_dropped_ends_as_vanished
    reserved_ranges_of_failed_jobs_are_released
    the_extra_data_of_requests_is_stored
    every_attempt_is_recorded
    pages_of_jobs_can_be_filtered_and_sorted
    a_document_update_requires_the_current_revision
    a_document_can_be_conditional_on_the_whole_catalog
    the_first_start_has_one_winner
    history_is_paged_backwards
    a_default_limit_applies_to_projects_without_their_own
    a_project_with_open_jobs_stays
    a_claim_comes_before_the_end_of_its_project_or_not_at_all
    a_project_is_created_once_and_dropped_only_when_empty
    old_rows_are_deleted_in_small_batches
    finished_jobs_are_counted_exactly
    many_submits_share_a_statement
    two_clusters_share_a_database
    progress_is_fenced
    a_proof_is_stored_for_its_member_while_it_is_alive
    the_directory_contains_names_and_addresses
    traffic_is_counted_and_connections_are_few
    texts_are_stored_unchanged
}

async fn join(store: &Store, node: &str) -> Member {
    let extra = Extra::Join {
        node: node.to_owned(),
        link: format!("{node}:1"),
        http: format!("http://{node}:2"),
        version: "0.1".to_owned(),
    };
    match store.ask(&Ask::Join { role: Role::All, slots: 3, can: kirin_core::Capabilities::ALL }, extra).await {
        Answer::Joined(member) => member,
        other => panic!("a join was answered by {other:?}"),
    }
}

async fn project(store: &Store, name: &str) -> ProjectId {
    store.project_add(name, 100, "", "{}").await.expect("it is made").expect("its name is new")
}

fn new(project: ProjectId) -> NewJob {
    NewJob::new(project, Uuid::new_v4().as_u128())
}

fn range(model: &str, start_ms: i64, end_ms: i64) -> NewSegment {
    NewSegment { id: Uuid::new_v4(), model: model.to_owned(), start_ms, end_ms }
}

async fn accepted(store: &Store, job: NewJob) -> JobId {
    match store.submit(job).await.expect("the metastore answers") {
        Submitted::Accepted { row, fresh: true } => row.id,
        other => panic!("a submit was answered by {other:?}"),
    }
}

async fn take(store: &Store, job: JobId, by: Member) -> Fence {
    let seen = store.job(job).await.expect("it is read").expect("it exists").row.fence();
    match store.ask(&Ask::Take { fence: seen, by, in_order: false }, Extra::None).await {
        Answer::Granted { epoch, .. } => Fence { job, epoch },
        other => panic!("a take was answered by {other:?}"),
    }
}

async fn finish(store: &Store, fence: Fence, by: Member, outcome: Outcome, publish: Vec<Publish>) -> Answer {
    let extra = Extra::Finish { failure: None, result: None, publish };
    store.ask(&Ask::Finish { fence, by, outcome }, extra).await
}

async fn act(store: &Store, job: JobId, action: Action) -> Answer {
    let row = store.job(job).await.expect("it is read").expect("it exists").row;
    store.ask(&Ask::Act { fence: row.fence(), state: row.state, action }, Extra::None).await
}

async fn ten_nodes_start_at_once_on_an_empty_database(config: StoreConfig) {
    let opened = futures::future::join_all((0..10).map(|at| {
        let config = config.clone();
        tokio::spawn(async move {
            let store = Store::open(&config).await?;
            let member = join(&store, &format!("n{at}")).await;
            Ok::<_, StoreError>((store, member))
        })
    }))
    .await;
    let mut nodes = BTreeSet::new();
    for one in opened {
        let (_, member) = one.expect("no panic").expect("it opens");
        nodes.insert(member.node);
    }
    assert_eq!(nodes.len(), 10);
    let again = open(&config).await;
    assert_eq!(again.directory(false).await.expect("it is read").len(), 10);
}

/// Runs a statement without the store, as a newer version or an operator would.
async fn by_hand(config: &StoreConfig, sql: &str) {
    use kirin_tests::servers::{mariadb::MariaDb, postgres::Postgres};
    match &config.backend {
        Backend::Sqlite { path } => {
            use sqlx::{ConnectOptions, Connection};
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut conn = options.connect().await.expect("the file opens");
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.expect("it is run");
            conn.close().await.expect("it closes");
        }
        Backend::Postgres { url } => {
            let database = url.rsplit('/').next().expect("a database");
            Postgres::shared().query(database, sql).expect("it is run");
        }
        Backend::MySql { url } => {
            let database = url.rsplit('/').next().expect("a database");
            MariaDb::shared().query(database, &sql.replace('"', "`")).expect("it is run");
        }
    }
}

async fn a_newer_schema_is_refused(config: StoreConfig) {
    open(&config).await.close().await;
    by_hand(&config, &format!("INSERT INTO \"{}_schema\" (version, at_ms) VALUES (999, 0)", config.identifier)).await;
    match Store::open(&config).await {
        Err(StoreError::Newer { found: 999, known }) => assert!(known < 999),
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("opened"),
    }
}

pub(super) async fn ranges_of_a_model_never_overlap(config: StoreConfig) {
    let store = open(&config).await;
    let (p, q) = (project(&store, "p").await, project(&store, "q").await);
    let mut job = new(p);
    job.segments = vec![range("m", 0, 10), range("m", 10, 20)];
    accepted(&store, job.clone()).await;
    // A repeated submit returns the first job and does not overlap with itself.
    assert!(matches!(store.submit(job).await, Ok(Submitted::Accepted { fresh: false, .. })));
    for (model, from, until, fits) in [
        ("m", 5, 6, false),
        ("m", -5, 1, false),
        ("m", 19, 30, false),
        ("m", -9, 99, false),
        ("m", 20, 30, true),
        ("n", 0, 20, true),
    ] {
        let mut job = new(p);
        let key = job.key;
        job.segments = vec![range(model, from, until)];
        let answer = store.submit(job).await.expect("the metastore answers");
        assert_eq!(
            matches!(answer, Submitted::Accepted { fresh: true, .. }),
            fits,
            "{model} {from}..{until}: {answer:?}"
        );
        let made = store.job_by_uuid(Uuid::from_u128(key)).await.expect("it is read").is_some();
        assert_eq!(made, fits, "the job and its ranges are one transaction");
    }
    let mut twice = new(p);
    twice.segments = vec![range("o", 0, 10), range("o", 9, 11)];
    assert!(matches!(store.submit(twice).await, Ok(Submitted::Overlaps(_))));
    let mut other = new(q);
    other.segments = vec![range("m", 0, 20)];
    accepted(&store, other).await;
    let segments = store.segments(p, None).await.expect("they are read");
    let ranges: Vec<_> = segments.iter().map(|s| (s.model.as_str(), s.start_ms, s.end_ms, s.state)).collect();
    let reserved = SegmentState::New;
    assert_eq!(
        ranges,
        [("m", 0, 10, reserved), ("m", 10, 20, reserved), ("m", 20, 30, reserved), ("n", 0, 20, reserved)]
    );
    assert_eq!(store.segments(p, Some("n")).await.expect("they are read").len(), 1);
}

pub(super) async fn of_sixteen_overlapping_submits_one_wins(config: StoreConfig) {
    let stores = [open(&config).await, open(&config).await, open(&config).await];
    let p = project(&stores[0], "p").await;
    for round in 0..4 {
        let tasks = (0..16).map(|at| {
            let store = stores[at % 3].clone();
            let mut job = new(p);
            // All ranges contain the time 100, and each is different.
            job.segments = vec![range("m", 1000 * round + 100 - at as i64, 1000 * round + 101 + at as i64)];
            tokio::spawn(async move { store.submit(job).await.expect("the metastore answers") })
        });
        let answers: Vec<Submitted> =
            futures::future::join_all(tasks).await.into_iter().map(|answer| answer.expect("no panic")).collect();
        let won = answers.iter().filter(|answer| matches!(answer, Submitted::Accepted { fresh: true, .. })).count();
        let lost = answers.iter().filter(|answer| matches!(answer, Submitted::Overlaps(_))).count();
        assert_eq!((won, lost), (1, 15), "{answers:?}");
        assert_eq!(store_len(&stores[0], p).await, round as usize + 1);
    }
}

async fn store_len(store: &Store, project: ProjectId) -> usize {
    store.segments(project, None).await.expect("they are read").len()
}

pub(super) async fn publishing_is_one_fenced_commit(config: StoreConfig) {
    let store = open(&config).await;
    let p = project(&store, "p").await;
    let (a, b) = (join(&store, "a").await, join(&store, "b").await);
    let mut job = new(p);
    job.segments = vec![range("m", 0, 10), range("m", 10, 20)];
    let owner = Uuid::from_u128(job.key);
    let ids: Vec<Uuid> = job.segments.iter().map(|segment| segment.id).collect();
    let id = accepted(&store, job).await;
    let mut foreign = new(p);
    foreign.segments = vec![range("m", 20, 30)];
    let foreign_segment = foreign.segments[0].id;
    accepted(&store, foreign).await;

    let old = take(&store, id, a).await;
    let fence = Ask::Fence { member: a, evidence: Evidence::Exited, beat: None, by: b };
    assert_eq!(store.ask(&fence, Extra::None).await, Answer::Done);
    let heir = take(&store, id, b).await;
    let publish = |text: &str| {
        let manifest = text.to_owned();
        ids.iter()
            .chain([&foreign_segment])
            .map(|segment| Publish { segment: *segment, manifest: manifest.clone() })
            .collect::<Vec<_>>()
    };
    let before = store.catalog_revision(p).await.expect("it is read");
    assert_eq!(finish(&store, old, a, Outcome::Succeeded, publish("zombie")).await, Answer::Refused);
    let segments = store.segments(p, None).await.expect("they are read");
    assert!(segments.iter().all(|segment| segment.state == SegmentState::New && segment.manifest.is_none()));
    assert_eq!(store.catalog_revision(p).await.expect("it is read"), before);

    assert_eq!(finish(&store, heir, b, Outcome::Succeeded, publish("heir")).await, Answer::Done);
    for segment in store.segments(p, None).await.expect("they are read") {
        if segment.id == foreign_segment {
            assert_eq!((segment.state, segment.manifest), (SegmentState::New, None), "another job's range");
        } else {
            assert_eq!((segment.state, segment.manifest.as_deref()), (SegmentState::Ready, Some("heir")));
            assert_eq!((segment.epoch, segment.job), (heir.epoch, owner));
        }
    }
    assert!(store.catalog_revision(p).await.expect("it is read") > before);
    // A failed attempt does not publish.
    let mut job = new(p);
    job.segments = vec![range("m", 40, 50)];
    let segment = job.segments[0].id;
    let id = accepted(&store, job).await;
    let fence = take(&store, id, b).await;
    let publish = vec![Publish { segment, manifest: "no".to_owned() }];
    assert_eq!(finish(&store, fence, b, Outcome::Failed, publish).await, Answer::Done);
    let segment = store.segment(segment).await.expect("it is read").expect("it stays reserved");
    assert_eq!((segment.state, segment.manifest), (SegmentState::New, None));
}

pub(super) async fn a_refresh_replaces_the_manifest(config: StoreConfig) {
    let store = open(&config).await;
    let p = project(&store, "p").await;
    let a = join(&store, "a").await;
    let mut job = new(p);
    job.segments = vec![range("m", 0, 10)];
    let segment = job.segments[0].id;
    let built = accepted(&store, job).await;
    let fence = take(&store, built, a).await;
    let publish = |text: &str| vec![Publish { segment, manifest: text.to_owned() }];
    assert_eq!(finish(&store, fence, a, Outcome::Succeeded, publish("first")).await, Answer::Done);
    let first = store.segment(segment).await.expect("it is read").expect("it exists");
    let annotate =
        async |text: &str| store.segment_annotate(first.id, first.job, first.epoch, text).await.expect("it is written");
    let revision = store.catalog_revision(p).await.expect("it is read");
    assert!(annotate("first, found wrong").await);
    let row = store.segment(segment).await.expect("it is read").expect("it exists");
    assert_eq!((row.epoch, row.manifest.as_deref()), (first.epoch, Some("first, found wrong")));
    assert!(store.catalog_revision(p).await.expect("it is read") > revision, "queries must see the new manifest");
    let revision = store.catalog_revision(p).await.expect("it is read");
    let refresh = accepted(&store, new(p)).await;
    let fence = take(&store, refresh, a).await;
    assert_eq!(finish(&store, fence, a, Outcome::Succeeded, publish("second")).await, Answer::Done);
    let row = store.segment(segment).await.expect("it is read").expect("it exists");
    assert_eq!((row.state, row.manifest.as_deref()), (SegmentState::Ready, Some("second")));
    assert!(store.catalog_revision(p).await.expect("it is read") > revision);
    assert!(!annotate("about another publication").await);
    let row = store.segment(segment).await.expect("it is read").expect("it exists");
    assert_eq!(row.manifest.as_deref(), Some("second"));
    assert!(store.segment_drop(segment).await.expect("it is written"));
    assert!(!store.segment_drop(segment).await.expect("it is written"));
    assert!(!store.segment_annotate(segment, row.job, row.epoch, "gone").await.expect("it is written"));
    assert_eq!(store_len(&store, p).await, 0);
}

pub(super) async fn a_job_whose_segment_was_dropped_ends_as_vanished(config: StoreConfig) {
    let store = open(&config).await;
    let p = project(&store, "p").await;
    let a = join(&store, "a").await;
    let mut job = new(p);
    job.segments = vec![range("m", 0, 10)];
    let segment = job.segments[0].id;
    let built = accepted(&store, job).await;
    let publish = |segment: Uuid| vec![Publish { segment, manifest: "{}".to_owned() }];
    let fence = take(&store, built, a).await;
    assert_eq!(finish(&store, fence, a, Outcome::Succeeded, publish(segment)).await, Answer::Done);
    assert_eq!(store.job(built).await.expect("it is read").expect("it exists").row.state, JobState::Succeed);
    // Two refreshes end at the same time: the segment of one of them is dropped, and not that of the other.
    let mut other = new(p);
    other.segments = vec![range("m", 10, 20)];
    let stays = other.segments[0].id;
    let other = accepted(&store, other).await;
    let (lost, other) = (take(&store, accepted(&store, new(p)).await, a).await, take(&store, other, a).await);
    assert!(store.segment_drop(segment).await.expect("it is written"));
    let ends = tokio::join!(
        finish(&store, lost, a, Outcome::Succeeded, publish(segment)),
        finish(&store, other, a, Outcome::Succeeded, publish(stays)),
    );
    assert_eq!(ends, (Answer::Done, Answer::Done));
    let info = store.job(lost.job).await.expect("it is read").expect("it exists");
    assert_eq!(info.row.state, JobState::Suicidal);
    let failure = info.failure.expect("it says why");
    assert!(failure.starts_with("the segment was dropped while this job ran"), "{failure}");
    let attempts = store.attempts(lost.job).await.expect("they are read");
    assert_eq!(attempts.iter().map(|attempt| attempt.end).collect::<Vec<_>>(), [Some(AttemptEnd::Vanished)]);
    let info = store.job(other.job).await.expect("it is read").expect("it exists");
    assert_eq!((info.row.state, info.failure), (JobState::Succeed, None));
    let segments = store.segments(p, None).await.expect("they are read");
    assert_eq!(segments.iter().map(|s| (s.id, s.state)).collect::<Vec<_>>(), [(stays, SegmentState::Ready)]);
    totals_are_right(&store, &[p]).await;
}

pub(super) async fn reserved_ranges_of_failed_jobs_are_released(config: StoreConfig) {
    let store = open(&config).await;
    let p = project(&store, "p").await;
    let a = join(&store, "a").await;
    for how in ["discard", "vanish", "pause"] {
        let mut job = new(p);
        job.segments = vec![range("m", 0, 10)];
        let segment = job.segments[0].id;
        let id = accepted(&store, job).await;
        let fence = take(&store, id, a).await;
        assert!(!store.segment_drop(segment).await.expect("it is written"), "a job reserves it");
        match how {
            "discard" => assert_eq!(act(&store, id, Action::Discard).await, Answer::Done),
            "vanish" => assert_eq!(finish(&store, fence, a, Outcome::Vanished, Vec::new()).await, Answer::Done),
            _ => assert_eq!(act(&store, id, Action::Pause).await, Answer::Done),
        }
        assert_eq!(store_len(&store, p).await, usize::from(how == "pause"), "after {how}");
    }
}

async fn the_extra_data_of_requests_is_stored(config: StoreConfig) {
    let store = open(&config).await;
    let p = project(&store, "p").await;
    let a = join(&store, "a").await;
    let key = Uuid::new_v4();
    let submit = Ask::Submit {
        project: p,
        priority: kirin_core::ask::Priority(2),
        placed: None,
        external: true,
        needs: kirin_core::Capabilities::NONE,
        key: key.as_u128(),
    };
    let extra = Extra::Submit {
        kind: "INDEX_BUILD".to_owned(),
        subject: "flights".to_owned(),
        submitter: "ADMIN".to_owned(),
        spec: "{\"a\":1}".to_owned(),
        segments: vec![range("flights", 0, 5)],
    };
    let Answer::Accepted { row, .. } = store.ask(&submit, extra).await else { panic!("not accepted") };
    let fence = take(&store, row.id, a).await;
    for (step, result) in [(0, Some("{\"rows\":7}")), (1, None)] {
        let extra = Extra::CommitStep {
            name: format!("part {step}"),
            result: result.map(str::to_owned),
            started_ms: Some(10),
            ended_ms: Some(20),
        };
        assert_eq!(store.ask(&Ask::CommitStep { fence, by: a, step }, extra).await, Answer::Done);
    }
    let info = store.job_by_uuid(key).await.expect("it is read").expect("it exists");
    assert_eq!(
        (info.kind.as_str(), info.subject.as_str(), info.submitter.as_str(), info.spec.as_str()),
        ("INDEX_BUILD", "flights", "ADMIN", "{\"a\":1}")
    );
    assert!(info.started_ms >= Some(info.created_ms) && info.ended_ms.is_none());
    let steps = store.steps(row.id).await.expect("they are read");
    assert_eq!(
        steps.iter().map(|step| (step.index, step.name.as_str())).collect::<Vec<_>>(),
        [(0, "part 0"), (1, "part 1")]
    );
    assert_eq!(steps[0].result.as_deref(), Some("{\"rows\":7}"));
    assert_eq!(
        (steps[0].epoch, steps[0].node, steps[0].started_ms, steps[0].ended_ms),
        (fence.epoch, a.node, Some(10), Some(20))
    );
    let extra =
        Extra::Finish { failure: Some("no disk".to_owned()), result: Some("{}".to_owned()), publish: Vec::new() };
    assert_eq!(store.ask(&Ask::Finish { fence, by: a, outcome: Outcome::Failed }, extra).await, Answer::Done);
    let info = store.job(row.id).await.expect("it is read").expect("it exists");
    assert_eq!((info.failure.as_deref(), info.result.as_deref()), (Some("no disk"), Some("{}")));
    assert!(info.ended_ms.is_some());
    assert_eq!(act(&store, row.id, Action::Restart).await, Answer::Done);
    let info = store.job(row.id).await.expect("it is read").expect("it exists");
    assert_eq!((info.failure, info.result, info.ended_ms), (None, None, None));
    assert_eq!(store.steps(row.id).await.expect("they are read"), []);
    assert_eq!(store_len(&store, p).await, 1, "a restart keeps the reservation");
}

async fn every_attempt_is_recorded(config: StoreConfig) {
    let store = open(&config).await;
    let p = project(&store, "p").await;
    let (a, b) = (join(&store, "a").await, join(&store, "b").await);
    let job = accepted(&store, new(p)).await;
    let fence = take(&store, job, a).await;
    assert_eq!(store.ask(&Ask::CommitStep { fence, by: a, step: 0 }, Extra::None).await, Answer::Done);
    let exited = Ask::Fence { member: a, evidence: Evidence::Exited, beat: None, by: b };
    assert_eq!(store.ask(&exited, Extra::None).await, Answer::Done);
    let fence = take(&store, job, b).await;
    assert_eq!(store.ask(&Ask::Release { fence, by: b, placed: None }, Extra::None).await, Answer::Done);
    let fence = take(&store, job, b).await;
    assert_eq!(finish(&store, fence, b, Outcome::Failed, Vec::new()).await, Answer::Done);
    assert_eq!(act(&store, job, Action::Resume).await, Answer::Done);
    let c = join(&store, "c").await;
    take(&store, job, c).await;
    assert_eq!(act(&store, job, Action::Pause).await, Answer::Done);
    assert_eq!(store.ask(&Ask::Leave { by: c }, Extra::None).await, Answer::Done);
    assert_eq!(act(&store, job, Action::Resume).await, Answer::Done);
    let d = join(&store, "d").await;
    take(&store, job, d).await;
    let open = store.attempts(job).await.expect("they are read");
    let told: Vec<_> =
        open.iter().map(|attempt| (attempt.epoch.0, attempt.by, attempt.from_step, attempt.end)).collect();
    assert_eq!(
        told,
        [
            (1, a, 0, Some(AttemptEnd::TakenOver)),
            (2, b, 1, Some(AttemptEnd::Released)),
            (3, b, 1, Some(AttemptEnd::Failed)),
            (4, c, 1, Some(AttemptEnd::Lost)),
            (5, d, 1, None),
        ]
    );
    assert!(open.iter().all(|attempt| attempt.started_ms.is_some()));
    assert!(open.iter().all(|attempt| attempt.ended_ms.is_some() == attempt.end.is_some()));
    assert_eq!(store.ask(&Ask::Leave { by: d }, Extra::None).await, Answer::Done);
    assert_eq!(act(&store, job, Action::Discard).await, Answer::Done);
    let all = store.attempts(job).await.expect("they are read");
    assert_eq!(all.last().map(|attempt| (attempt.by, attempt.end)), Some((d, Some(AttemptEnd::Lost))));
}

async fn pages_of_jobs_can_be_filtered_and_sorted(config: StoreConfig) {
    let store = open(&config).await;
    let (p, q) = (project(&store, "p").await, project(&store, "q").await);
    let mut ids = Vec::new();
    for (at, (project, kind, subject)) in
        [(p, "BUILD", "Flights_2013"), (p, "MERGE", "flights%"), (q, "BUILD", "weather"), (p, "BUILD", "zoo")]
            .into_iter()
            .enumerate()
    {
        let mut job = new(project);
        (job.kind, job.subject) = (kind.to_owned(), subject.to_owned());
        job.priority = kirin_core::ask::Priority(at as u8);
        ids.push((accepted(&store, job.clone()).await, Uuid::from_u128(job.key)));
    }
    assert_eq!(act(&store, ids[3].0, Action::Pause).await, Answer::Done);
    let page = |filter: JobFilter| {
        let store = store.clone();
        let ids = ids.clone();
        async move {
            let page = store.jobs(&filter).await.expect("it is read");
            let at = |id| ids.iter().position(|(known, _)| *known == id).expect("a known job");
            (page.jobs.iter().map(|job| at(job.row.id)).collect::<Vec<_>>(), page.total)
        }
    };
    let all = JobFilter::default();
    assert_eq!(page(all.clone()).await, (vec![0, 1, 2, 3], 4));
    assert_eq!(page(JobFilter { reverse: true, limit: 2, ..all.clone() }).await, (vec![3, 2], 4));
    assert_eq!(page(JobFilter { offset: 3, ..all.clone() }).await, (vec![3], 4));
    assert_eq!(page(JobFilter { project: Some(p), ..all.clone() }).await, (vec![0, 1, 3], 3));
    assert_eq!(page(JobFilter { states: vec![JobState::Paused, JobState::Error], ..all.clone() }).await, (vec![3], 1));
    assert_eq!(page(JobFilter { kinds: vec!["MERGE".into(), "X".into()], ..all.clone() }).await, (vec![1], 1));
    assert_eq!(page(JobFilter { subject: Some("weather".into()), ..all.clone() }).await, (vec![2], 1));
    assert_eq!(page(JobFilter { key: Some("FLIGHTS".into()), ..all.clone() }).await, (vec![0, 1], 2));
    assert_eq!(page(JobFilter { key: Some("s%".into()), ..all.clone() }).await, (vec![1], 1), "no wildcard");
    assert_eq!(page(JobFilter { key: Some("s_2".into()), ..all.clone() }).await, (vec![0], 1), "no wildcard");
    assert_eq!(page(JobFilter { key: Some(ids[2].1.to_string()), ..all.clone() }).await, (vec![2], 1));
    assert_eq!(page(JobFilter { created_until_ms: Some(1), ..all.clone() }).await, (vec![], 0));
    assert_eq!(page(JobFilter { created_from_ms: Some(1), project: Some(q), ..all.clone() }).await, (vec![2], 1));
    for sort in [JobSort::Changed, JobSort::Kind, JobSort::Subject, JobSort::Project, JobSort::State, JobSort::Duration]
    {
        assert_eq!(page(JobFilter { sort, ..all.clone() }).await.1, 4, "{sort:?}");
    }
    // The end of a finished job is its last change.
    assert_eq!(act(&store, ids[1].0, Action::Discard).await, Answer::Done);
    assert_eq!(act(&store, ids[2].0, Action::Pause).await, Answer::Done);
    let latest = JobFilter { sort: JobSort::Changed, reverse: true, ..all.clone() };
    let (order, total) = page(latest.clone()).await;
    let jobs = store.jobs(&latest).await.expect("it is read").jobs;
    assert!(jobs.is_sorted_by_key(|job| std::cmp::Reverse((job.ended_ms.unwrap_or(job.changed_ms), job.row.id))));
    assert_eq!((order.len(), total), (4, 4));
    for (offset, at) in order.iter().enumerate() {
        let one = JobFilter { limit: 1, offset: offset as u64, ..latest.clone() };
        assert_eq!(page(one).await, (vec![*at], 4));
    }
    let over = JobFilter { states: vec![JobState::Discarded], ..latest.clone() };
    assert_eq!(page(over).await, (vec![1], 1));
    let waits = JobFilter { states: vec![JobState::Paused], reverse: false, ..latest };
    assert_eq!(page(JobFilter { sort: JobSort::Created, ..waits.clone() }).await, (vec![2, 3], 2));
    assert_eq!(page(waits).await.1, 2);
    assert_eq!(page(JobFilter { sort: JobSort::Kind, ..all.clone() }).await.0, [0, 2, 3, 1]);
    assert_eq!(page(JobFilter { sort: JobSort::State, reverse: true, ..all }).await.0, [1, 3, 2, 0]);
}

pub(super) async fn a_document_update_requires_the_current_revision(config: StoreConfig) {
    let store = open(&config).await;
    let p = project(&store, "p").await;
    let put = |body: &'static str, seen| {
        let store = store.clone();
        async move { store.doc_put(p, DocKind::Model, "m", body, seen).await.expect("it is written") }
    };
    assert_eq!(put("{}", 3).await, None);
    let mut revision = store.catalog_revision(p).await.expect("it is read");
    assert_eq!(put("{}", 0).await, Some(1));
    assert_eq!(put("x", 0).await, None);
    assert_eq!(put("{1}", 1).await, Some(2));
    assert_eq!(put("{2}", 1).await, None);
    let doc = store.doc(p, DocKind::Model, "m").await.expect("it is read").expect("it exists");
    assert_eq!((doc.body.as_str(), doc.revision), ("{1}", 2));
    assert_eq!(store.doc(p, DocKind::Table, "m").await.expect("it is read"), None, "another kind");
    let seen = store.catalog_revision(p).await.expect("it is read");
    assert_eq!(seen, revision.map(|before| before + 2), "refused writes do not count");
    revision = seen;
    let tasks = (0..16).map(|_| tokio::spawn(put("race", 2)));
    let won = futures::future::join_all(tasks).await.into_iter().filter(|put| matches!(put, Ok(Some(3)))).count();
    assert_eq!(won, 1);
    let tasks = (0..16).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.doc_put(p, DocKind::Table, "t", "", 0).await.expect("it is written") })
    });
    let won = futures::future::join_all(tasks).await.into_iter().filter(|put| matches!(put, Ok(Some(1)))).count();
    assert_eq!(won, 1);
    assert!(!store.doc_drop(p, DocKind::Model, "m", 2).await.expect("it is written"));
    assert!(store.doc_drop(p, DocKind::Model, "m", 3).await.expect("it is written"));
    assert_eq!(store.docs(p, DocKind::Model).await.expect("they are read"), []);
    assert_eq!(store.docs(p, DocKind::Table).await.expect("they are read").len(), 1);
    assert_eq!(store.catalog_revision(p).await.expect("it is read"), revision.map(|before| before + 3));
    let nowhere = ProjectId(p.0 + 1000);
    assert_eq!(store.catalog_revision(nowhere).await.expect("it is read"), None);
    assert_eq!(store.doc_put(nowhere, DocKind::Table, "t", "", 0).await.expect("it is written"), None);
}

/// A model depends on its table, so a write of one of them is conditional on the other.
pub(super) async fn a_document_can_be_conditional_on_the_whole_catalog(config: StoreConfig) {
    let store = open(&config).await;
    for round in 0..8 {
        let p = project(&store, &format!("p{round}")).await;
        assert_eq!(store.doc_put(p, DocKind::Table, "t", "", 0).await.expect("it is written"), Some(1));
        let before = store.catalog_revision(p).await.expect("it is read").expect("the project exists");
        let (ours, theirs) = (store.clone(), store.clone());
        let (table, model) = (Seen { revision: 1, catalog: Some(before) }, Seen { revision: 0, catalog: Some(before) });
        let (dropped, added) = tokio::join!(
            tokio::spawn(async move { ours.doc_drop(p, DocKind::Table, "t", table).await.expect("it is written") }),
            tokio::spawn(
                async move { theirs.doc_put(p, DocKind::Model, "m", "", model).await.expect("it is written") }
            ),
        );
        let (dropped, added) = (dropped.expect("no panic"), added.expect("no panic"));
        assert_ne!(dropped, added.is_some(), "exactly one of the writes succeeds");
        let left = |kind| store.docs(p, kind);
        let tables = left(DocKind::Table).await.expect("they are read").len();
        let models = left(DocKind::Model).await.expect("they are read").len();
        assert_eq!((tables, models), if dropped { (0, 0) } else { (1, 1) });
        assert_eq!(
            store.catalog_revision(p).await.expect("it is read"),
            Some(before + 1),
            "refused writes do not count"
        );
        let late = Seen { revision: 0, catalog: Some(before) };
        assert_eq!(store.doc_put(p, DocKind::Model, "late", "", late).await.expect("it is written"), None);
        let late = Seen { catalog: Some(before + 1), ..late };
        assert_eq!(store.doc_put(p, DocKind::Model, "late", "", late).await.expect("it is written"), Some(1));
    }
}

async fn the_first_start_has_one_winner(config: StoreConfig) {
    let stores = Arc::new([open(&config).await, open(&config).await, open(&config).await]);
    let tasks = (0..16).map(|at| {
        let stores = stores.clone();
        tokio::spawn(
            async move { stores[at % 3].setting_or("secret", &format!("s{at}")).await.expect("it is written") },
        )
    });
    let answers: Vec<(String, bool)> =
        futures::future::join_all(tasks).await.into_iter().map(|answer| answer.expect("no panic")).collect();
    assert_eq!(answers.iter().filter(|(_, ours)| *ours).count(), 1, "{answers:?}");
    let value = stores[0].setting("secret").await.expect("it is read").expect("it is there");
    assert!(answers.iter().all(|(told, _)| *told == value), "{answers:?}");
    stores[1].setting_put("secret", "other").await.expect("it is written");
    assert_eq!(stores[2].setting("secret").await.expect("it is read").as_deref(), Some("other"));
    stores[1].setting_put("fresh", "x").await.expect("it is written");
    assert_eq!(stores[2].setting("fresh").await.expect("it is read").as_deref(), Some("x"));
    assert_eq!(stores[2].setting("none").await.expect("it is read"), None);
}

async fn history_is_paged_backwards(config: StoreConfig) {
    let store = open(&config).await;
    let a = Member::new(1, 2).expect("not zero");
    for (at, kind) in ["join", "fence", "takeover", "fence"].into_iter().enumerate() {
        let row = HistoryRow {
            kind: kind.to_owned(),
            member: Some(a),
            job: (kind == "takeover").then_some(JobId(9)),
            by: (kind == "fence").then_some(a),
            evidence: (kind == "fence").then(|| "exited".to_owned()),
            detail: Some(format!("{{\"at\":{at}}}")),
            ..HistoryRow::default()
        };
        store.history_add(&row).await.expect("it is written");
    }
    let all = store.history(&HistoryFilter::default()).await.expect("it is read");
    let kinds: Vec<_> = all.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds, ["fence", "takeover", "fence", "join"]);
    assert_eq!((all[0].by, all[0].evidence.as_deref(), all[1].job), (Some(a), Some("exited"), Some(JobId(9))));
    assert!(all[0].at_ms > 0 && all[3].by.is_none());
    let filter = HistoryFilter { kinds: vec!["fence".into()], before: Some(all[0].id), ..HistoryFilter::default() };
    let page = store.history(&filter).await.expect("it is read");
    assert_eq!(page.iter().map(|row| row.detail.as_deref()).collect::<Vec<_>>(), [Some("{\"at\":1}")]);
    let of_job = HistoryFilter { job: Some(JobId(9)), limit: 1, ..HistoryFilter::default() };
    assert_eq!(store.history(&of_job).await.expect("it is read").len(), 1);
    assert_eq!(all[1].uuid, None, "there is no such job");
    let job = accepted(&store, new(project(&store, "p").await)).await;
    store.history_add(&HistoryRow { job: Some(job), ..HistoryRow::default() }).await.expect("it is written");
    let last = store.history(&HistoryFilter { limit: 1, ..HistoryFilter::default() }).await.expect("it is read");
    let known = store.job(job).await.expect("it is read").expect("it was accepted");
    assert_eq!((last[0].job, last[0].uuid), (Some(job), Some(known.uuid)));
}

pub(super) async fn a_default_limit_applies_to_projects_without_their_own(config: StoreConfig) {
    let store = open(&config).await;
    let own = project(&store, "own").await;
    let made = store.project_add_by_default("follows", 20, "", "{}").await;
    made.expect("it is made").expect("its name is new");
    let changed = store.project_add_by_default("changed", 20, "", "{}").await;
    let changed = changed.expect("it is made").expect("its name is new");
    let shown = async || {
        let projects = store.projects().await.expect("they are read");
        projects.into_iter().map(|p| (p.name, p.limit, p.own_limit)).collect::<Vec<_>>()
    };
    let rows = |rows: &[(&str, u32, bool)]| -> Vec<_> {
        rows.iter().map(|(name, limit, own)| ((*name).to_owned(), *limit, *own)).collect()
    };
    assert_eq!(shown().await, rows(&[("changed", 20, false), ("follows", 20, false), ("own", 100, true)]));
    let set = async |project, limit| store.ask(&Ask::SetLimit { project, limit }, Extra::None).await;
    assert_eq!(set(changed, 3).await, Answer::Done);
    store.project_default_limit(7).await.expect("it is written");
    assert_eq!(shown().await, rows(&[("changed", 3, true), ("follows", 7, false), ("own", 100, true)]));
    // Limits of version 3: what equals the default follows it, everything else is the project's own.
    by_hand(&config, &format!("UPDATE \"{}_project\" SET own_limit = 2", config.identifier)).await;
    store.project_default_limit(7).await.expect("it is written");
    assert_eq!(shown().await, rows(&[("changed", 3, true), ("follows", 7, false), ("own", 100, true)]));
    store.project_default_limit(100).await.expect("it is written");
    assert_eq!(shown().await, rows(&[("changed", 3, true), ("follows", 100, false), ("own", 100, true)]));
    assert_eq!(set(own, 100).await, Answer::Done);
    store.project_default_limit(1).await.expect("it is written");
    assert_eq!(shown().await, rows(&[("changed", 3, true), ("follows", 1, false), ("own", 100, true)]));
}

pub(super) async fn a_project_with_open_jobs_stays(config: StoreConfig) {
    let store = open(&config).await;
    let p = project(&store, "p").await;
    assert_eq!(store.project_add("p", 1, "", "").await.expect("it is written"), None, "the name is taken");
    assert!(store.project_update(p, "all of it", "{1}").await.expect("it is written"));
    let projects = store.projects().await.expect("they are read");
    assert_eq!(
        (projects[0].description.as_str(), projects[0].settings.as_str(), projects[0].limit),
        ("all of it", "{1}", 100)
    );
    let job = accepted(&store, new(p)).await;
    assert!(!store.project_drop(p).await.expect("it is written"));
    assert_eq!(store.projects().await.expect("they are read").len(), 1);
    assert_eq!(act(&store, job, Action::Discard).await, Answer::Done);
    store.doc_put(p, DocKind::Table, "t", "", 0).await.expect("it is written");
    assert!(!store.project_drop(p).await.expect("it is written"), "a table is left");
    assert!(store.doc_drop(p, DocKind::Table, "t", 1).await.expect("it is written"));
    assert!(store.project_drop(p).await.expect("it is written"));
    assert_eq!(store.catalog_revision(p).await.expect("it is read"), None);
    assert_eq!(store.projects().await.expect("they are read"), []);
    assert_eq!(store.submit(new(p)).await.expect("the metastore answers"), Submitted::NoProject);
    let again = project(&store, "p").await;
    assert_ne!(again, p, "numbers are not reused");
    // A drop concurrent with submits: every accepted job has its project.
    for round in 0..6 {
        let p = project(&store, &format!("r{round}")).await;
        let submit = |_| {
            let store = store.clone();
            tokio::spawn(async move { store.submit(new(p)).await.expect("the metastore answers") })
        };
        let submits: Vec<_> = (0..8).map(submit).collect();
        let dropped = store.project_drop(p).await.expect("it is written");
        let answers = futures::future::join_all(submits).await;
        let accepted = answers.iter().filter(|answer| matches!(answer, Ok(Submitted::Accepted { .. }))).count();
        assert!(!dropped || accepted == 0, "dropped, and {accepted} jobs accepted");
    }
}

/// A later claim would never be deleted.
pub(super) async fn a_claim_comes_before_the_end_of_its_project_or_not_at_all(config: StoreConfig) {
    let store = open(&config).await;
    let a = join(&store, "a").await;
    for round in 0..8 {
        let p = project(&store, &format!("p{round}")).await;
        let target = Target::Project(p);
        let claim = |_| {
            let store = store.clone();
            let claim = Ask::Claim { target, epoch: Epoch(0), by: a, force: false };
            tokio::spawn(async move { store.ask(&claim, Extra::None).await })
        };
        let claims: Vec<_> = (0..6).map(claim).collect();
        assert!(store.project_drop(p).await.expect("it is written"));
        for answer in futures::future::join_all(claims).await {
            let answer = answer.expect("no panic");
            assert!(matches!(answer, Answer::Granted { .. } | Answer::Refused), "{answer:?}");
        }
        let Answer::Listed { claims, .. } = store.ask(&Ask::List, Extra::None).await else { panic!("no lists") };
        assert_eq!(claims, [], "the project is gone");
    }
}

pub(super) async fn a_project_is_created_once_and_dropped_only_when_empty(config: StoreConfig) {
    let store = open(&config).await;
    for round in 0..6 {
        let name = format!("p{round}");
        let make = |_| {
            let (store, name) = (store.clone(), name.clone());
            tokio::spawn(async move { store.project_add(&name, 1, "", "").await.expect("it is written") })
        };
        let made = futures::future::join_all((0..8).map(make)).await;
        let mut made = made.into_iter().filter_map(|one| one.expect("no panic"));
        let (Some(p), None) = (made.next(), made.next()) else { panic!("exactly one of eight creates it") };
        // A drop concurrent with documents: every accepted document has its project.
        let put = |n: u32| {
            let store = store.clone();
            tokio::spawn(async move {
                store.doc_put(p, DocKind::Table, &format!("t{n}"), "", 0).await.expect("it is written").is_some()
            })
        };
        let puts: Vec<_> = (0..4).map(put).collect();
        let dropped = store.project_drop(p).await.expect("it is written");
        let accepted = futures::future::join_all(puts).await.into_iter().filter(|put| matches!(put, Ok(true))).count();
        let left = store.docs(p, DocKind::Table).await.expect("they are read").len();
        assert_eq!(left, accepted, "every accepted document exists");
        assert!(!dropped || accepted == 0, "dropped, and {accepted} documents accepted");
    }
}

async fn old_rows_are_deleted_in_small_batches(config: StoreConfig) {
    let store = open(&config).await;
    let p = project(&store, "p").await;
    let a = join(&store, "a").await;
    let later = i64::MAX;
    let over = accepted(&store, new(p)).await;
    let fence = take(&store, over, a).await;
    assert_eq!(store.ask(&Ask::CommitStep { fence, by: a, step: 0 }, Extra::None).await, Answer::Done);
    assert_eq!(finish(&store, fence, a, Outcome::Succeeded, Vec::new()).await, Answer::Done);
    let held = accepted(&store, new(p)).await;
    take(&store, held, a).await;
    assert_eq!(act(&store, held, Action::Discard).await, Answer::Done);
    let failed = accepted(&store, new(p)).await;
    let fence = take(&store, failed, a).await;
    assert_eq!(finish(&store, fence, a, Outcome::Failed, Vec::new()).await, Answer::Done);
    assert_eq!(store.retain_jobs(1).await.expect("it is written"), 0, "nothing is that old");
    assert_eq!(store.retain_jobs(later).await.expect("it is written"), 1);
    assert_eq!(store.retain_jobs(later).await.expect("it is written"), 0);
    assert_eq!(store.job(over).await.expect("it is read"), None);
    assert_eq!(store.steps(over).await.expect("they are read"), []);
    assert_eq!(store.attempts(over).await.expect("they are read"), []);
    assert!(store.job(held).await.expect("it is read").is_some(), "its holder may still work on it");
    assert!(store.job(failed).await.expect("it is read").is_some(), "it is not finished");
    let running = accepted(&store, new(p)).await;
    take(&store, running, a).await;
    let b = join(&store, "a").await;
    assert_eq!(store.retain_members(later).await.expect("it is written"), 0, "a job names it");
    let c = join(&store, "a").await;
    assert_ne!(b, c);
    assert_eq!(store.retain_members(later).await.expect("it is written"), 1);
    let known: Vec<_> = store.directory(true).await.expect("it is read").iter().map(|info| info.member).collect();
    assert_eq!(known, [a, c]);
    store
        .history_add(&HistoryRow { kind: "x".into(), at_ms: 5, ..HistoryRow::default() })
        .await
        .expect("it is written");
    store.history_add(&HistoryRow { kind: "y".into(), ..HistoryRow::default() }).await.expect("it is written");
    assert_eq!(store.retain_history(6).await.expect("it is written"), 1);
    assert_eq!(store.history(&HistoryFilter::default()).await.expect("it is read").len(), 1);
}

pub(super) async fn finished_jobs_are_counted_exactly(mut config: StoreConfig) {
    // Without group commit, so that there are many rows to add up.
    config.batch = false;
    let stores = Arc::new([open(&config).await, open(&config).await, open(&config).await]);
    let store = &stores[0];
    let p = store.project_add("p", 1_000, "", "{}").await.expect("it is made").expect("its name is new");
    let q = store.project_add("q", 1_000, "", "{}").await.expect("it is made").expect("its name is new");
    let a = join(store, "a").await;
    let jobs: Vec<NewJob> = (0..240).map(|at| new(if at % 7 == 0 { q } else { p })).collect();
    let accepted = store.submit_many(&jobs).await.expect("they are written");
    let ends = accepted.into_iter().enumerate().map(|(at, job)| {
        let stores = stores.clone();
        tokio::spawn(async move {
            let store = &stores[at % 3];
            let Submitted::Accepted { row, .. } = job else { panic!("a submit was answered by {job:?}") };
            let fence = take(store, row.id, a).await;
            let outcome = [Outcome::Succeeded, Outcome::Failed, Outcome::Vanished][at / 3 % 3];
            let end = finish(store, fence, a, outcome, Vec::new());
            let discard = Ask::Act { fence, state: JobState::Running, action: Action::Discard };
            if at % 4 == 0 {
                let _ = tokio::join!(end, stores[(at + 1) % 3].ask(&discard, Extra::None));
            } else {
                end.await;
            }
        })
    });
    for end in futures::future::join_all(ends).await {
        end.expect("it ends");
    }
    totals_are_right(store, &[p, q]).await;
    let sums = (0..6).map(|at| stores[at % 3].sum_up());
    futures::future::try_join_all(sums).await.expect("they are written");
    totals_are_right(store, &[p, q]).await;
    let forgotten = (0..6).map(|at| stores[at % 3].retain_jobs(i64::MAX));
    let forgotten: u64 = futures::future::try_join_all(forgotten).await.expect("they are written").iter().sum();
    assert!(forgotten > 80, "{forgotten} were deleted");
    totals_are_right(store, &[p, q]).await;
    assert_eq!(store.jobs(&JobFilter::default()).await.expect("it is read").total, 240 - forgotten);
}

/// Checks the totals of lists with various filters.
async fn totals_are_right(store: &Store, projects: &[ProjectId]) {
    for project in projects.iter().copied().map(Some).chain([None]) {
        for state in JobState::ALL.into_iter().map(Some).chain([None]) {
            let states = state.into_iter().collect();
            let all = JobFilter { project, states, limit: 10_000, ..JobFilter::default() };
            let page = store.jobs(&all).await.expect("it is read");
            assert_eq!(page.total, page.jobs.len() as u64, "{project:?} {state:?}");
        }
    }
}

async fn many_submits_share_a_statement(config: StoreConfig) {
    let store = open(&config).await;
    let p = project(&store, "p").await;
    let mut jobs: Vec<NewJob> = (0..200).map(|_| new(p)).collect();
    let answers = store.submit_many(&jobs).await.expect("they are written");
    assert!(answers.iter().all(|answer| matches!(answer, Submitted::Accepted { fresh: true, .. })));
    let stranger = ProjectId(p.0 + 1000);
    jobs.truncate(3);
    jobs.push(new(p));
    jobs.push(new(stranger));
    jobs.push(jobs[3].clone());
    let answers = store.submit_many(&jobs).await.expect("they are written");
    let known = |answer: &Submitted| matches!(answer, Submitted::Accepted { fresh: false, .. });
    assert!(answers[..3].iter().all(known), "{answers:?}");
    assert!(matches!(answers[3], Submitted::Accepted { fresh: true, .. }), "{answers:?}");
    assert_eq!(answers[4], Submitted::NoProject);
    assert_eq!(store.submit_many(&[]).await.expect("nothing to do"), []);
    assert_eq!(store.jobs(&JobFilter::default()).await.expect("it is read").total, 201);
}

async fn two_clusters_share_a_database(one: StoreConfig) {
    let mut other = one.clone();
    other.identifier = format!("{}x", one.identifier);
    let (one, other) = (open(&one).await, open(&other).await);
    project(&one, "p").await;
    join(&one, "a").await;
    assert_eq!(other.projects().await.expect("they are read"), []);
    assert_eq!(other.directory(true).await.expect("it is read"), []);
}

pub(super) async fn a_proof_is_stored_for_its_member_while_it_is_alive(config: StoreConfig) {
    let store = open(&config).await;
    let (a, b) = (join(&store, "a").await, join(&store, "b").await);
    let shown = async || {
        let members = store.directory(false).await.expect("it is read");
        members.into_iter().map(|info| (info.name, info.token, info.trouble)).collect::<Vec<_>>()
    };
    let row = |name: &str, token: Option<&str>, trouble: Option<&str>| {
        (name.to_owned(), token.map(str::to_owned), trouble.map(str::to_owned))
    };
    assert_eq!(shown().await, [row("a", None, None), row("b", None, None)]);
    assert!(store.member_proof(a, Some("t1"), None).await.expect("it is written"));
    let trouble = "'/ä' is read-only; ".repeat(40);
    assert!(store.member_proof(b, None, Some(&trouble)).await.expect("it is written"));
    assert_eq!(shown().await, [row("a", Some("t1"), None), row("b", None, Some(&trouble))]);
    assert!(store.member_proof(b, Some("t2"), None).await.expect("it is written"));
    assert_eq!(shown().await, [row("a", Some("t1"), None), row("b", Some("t2"), None)]);
    let again = join(&store, "a").await;
    assert!(!store.member_proof(a, Some("t3"), None).await.expect("it is asked"), "of an earlier incarnation");
    assert_eq!(shown().await, [row("a", None, None), row("b", Some("t2"), None)]);
    assert!(store.member_proof(again, Some("t4"), None).await.expect("it is written"));
    assert_eq!(store.ask(&Ask::Leave { by: again }, Extra::None).await, Answer::Done);
    assert!(!store.member_proof(again, Some("t5"), None).await.expect("it is asked"), "it has left");
}

pub(super) async fn progress_is_fenced(config: StoreConfig) {
    let store = open(&config).await;
    let p = project(&store, "p").await;
    let (a, b) = (join(&store, "a").await, join(&store, "b").await);
    let job = accepted(&store, new(p)).await;
    let fence = take(&store, job, a).await;
    assert!(store.progress(fence, a, "{\"done\":1}").await.expect("it is written"));
    assert!(!store.progress(fence, b, "b").await.expect("it is written"), "another holder");
    for epoch in [fence.epoch.0 - 1, fence.epoch.0 + 1] {
        let stale = Fence { epoch: Epoch(epoch), ..fence };
        assert!(!store.progress(stale, a, "stale").await.expect("it is written"));
    }
    let text = || async { store.job(job).await.expect("it is read").expect("it exists").progress };
    assert_eq!(text().await.as_deref(), Some("{\"done\":1}"));
    assert_eq!(act(&store, job, Action::Pause).await, Answer::Done);
    assert!(!store.progress(fence, a, "late").await.expect("it is written"), "it does not run");
    assert_eq!(text().await.as_deref(), Some("{\"done\":1}"));
}

async fn the_directory_contains_names_and_addresses(config: StoreConfig) {
    let store = open(&config).await;
    let (a, b) = (join(&store, "a").await, join(&store, "b").await);
    let exited = Ask::Fence { member: a, evidence: Evidence::Exited, beat: None, by: b };
    assert_eq!(store.ask(&exited, Extra::None).await, Answer::Done);
    let alive = store.directory(false).await.expect("it is read");
    assert_eq!(alive.len(), 1);
    let info = &alive[0];
    assert_eq!((info.member, info.name.as_str(), info.slots), (b, "b", 3));
    assert_eq!((info.link.as_str(), info.http.as_str(), info.version.as_str()), ("b:1", "http://b:2", "0.1"));
    assert!(info.joined_ms > 0 && info.ended_ms.is_none() && info.ended_by.is_none());
    let all = store.directory(true).await.expect("it is read");
    assert_eq!((all[0].member, all[0].ended_by, all[0].evidence.as_deref()), (a, Some(b), Some("exited")));
    assert!(all[0].ended_ms.is_some());
}

async fn traffic_is_counted_and_connections_are_few(config: StoreConfig) {
    let store = open(&config).await;
    let me = join(&store, "a").await;
    let before = store.traffic();
    // On PostgreSQL, a second connection was opened to detect a pooler.
    let compared = matches!(config.backend, Backend::Postgres { .. });
    assert_eq!(before.connections, if compared { 2 } else { 1 }, "changes of members use idle connections");
    assert!(before.contract.statements > 0 && before.people.statements == 0, "{before:?}");
    assert!(matches!(store.ask(&Ask::Beat { by: me, brief: None }, Extra::None).await, Answer::Listed { .. }));
    assert!(matches!(store.ask(&Ask::ListNode(me.node), Extra::None).await, Answer::Jobs(_)));
    let after = store.traffic();
    assert_eq!(after.connections, 2, "beats have their own connection, and the other requests share one");
    assert!(after.contract.statements >= before.contract.statements + 3, "{after:?}");
    assert!(after.contract.sent > before.contract.sent, "{after:?}");
    let is_file = matches!(config.backend, Backend::Sqlite { .. });
    assert_eq!(after.contract.received > before.contract.received, !is_file, "{after:?}");
    store.directory(false).await.expect("it is read");
    assert_eq!(store.traffic().connections, 3);
    assert!(store.traffic().people.statements > 0);
    store.close().await;
    assert_eq!(store.traffic().connections, 0);
}

async fn texts_are_stored_unchanged(config: StoreConfig) {
    let store = open(&config).await;
    let p = project(&store, "Prüfung 'ß' \"x\" \\ ✈ 航班").await;
    assert_ne!(project(&store, "PRÜFUNG 'ß' \"x\" \\ ✈ 航班").await, p, "names differ by case");
    let mut job = new(p);
    job.subject = "日本 🛫 'quoted' \"twice\" \\n".to_owned();
    job.spec = format!("{{\"text\":\"{}\",\"nul\":null}}", "é\u{1F600}".repeat(3000));
    let id = accepted(&store, job.clone()).await;
    let info = store.job(id).await.expect("it is read").expect("it exists");
    assert_eq!((info.subject, info.spec), (job.subject.clone(), job.spec));
    // Also in filters: complete, partial, and with characters that could end a literal or be a placeholder.
    let any = JobFilter::default();
    let whole = JobFilter { subject: Some(job.subject.clone()), ..any.clone() };
    let part = |key: &str| JobFilter { key: Some(key.to_owned()), ..any.clone() };
    for (filter, count) in
        [(whole, 1), (part("🛫 'QUOTED'"), 1), (part("\\"), 1), (part("?' OR 1 = 1 -- "), 0), (part("_"), 0)]
    {
        assert_eq!(store.jobs(&filter).await.expect("it is read").total, count, "{filter:?}");
    }
    let mut long = new(p);
    long.subject = "ж".repeat(1000);
    match store.submit(long).await {
        Err(StoreError::Refused(why)) => assert!(why.contains("1000 characters"), "not shortened: {why}"),
        other => panic!("a long subject was answered by {other:?}"),
    }
}

#[test]
fn a_password_is_never_printed() {
    let mut config =
        StoreConfig::new("jdbc:postgresql://kirin:hunter2@db:5432/kylin?password=hunter3".parse().expect("a URL"));
    config.password = Some("hunter4".to_owned());
    let printed = format!("{config:?} {:?}", config.backend);
    assert!(!printed.contains("hunter"), "{printed}");
    assert!(printed.contains("postgres://db:5432/kylin"), "{printed}");
}

#[tokio::test]
async fn invalid_configurations_are_refused_at_once() {
    for url in ["oracle://x", "db:5432", "", "sqlite:"] {
        assert!(url.parse::<Backend>().is_err(), "{url}");
    }
    for identifier in ["", "a-b", "a;b", "a\"b", &"x".repeat(41)] {
        let mut config = config(On::Sqlite);
        config.identifier = identifier.to_owned();
        assert!(matches!(Store::open(&config).await, Err(StoreError::Config(_))), "{identifier}");
    }
}
