//! Permanent refusals of the metastore affect only the request that causes them, and are not retried.

use futures::future::join_all;
use kirin_core::ask::{Fence, JobId, Priority, ProjectId};
use kirin_core::{Answer, Ask, Capabilities, JobState, Member, Outcome, Role};
use kirin_store::{Backend, Extra, JobFilter, NewJob, Publish, Store, StoreConfig, StoreError, Submitted};
use kirin_tests::servers::mariadb::MariaDb;
use kirin_tests::servers::postgres::Postgres;
use uuid::Uuid;

use super::{On, config, open};

async fn project(store: &Store) -> ProjectId {
    store.project_add("p", 1000, "", "{}").await.expect("it is made").expect("its name is new")
}

async fn join(store: &Store) -> Member {
    let text = String::new;
    let extra = Extra::Join { node: "a".to_owned(), link: text(), http: text(), version: text() };
    match store.ask(&Ask::Join { role: Role::All, slots: 9, can: Capabilities::ALL }, extra).await {
        Answer::Joined(member) => member,
        other => panic!("a join was answered by {other:?}"),
    }
}

async fn running(store: &Store, project: ProjectId, by: Member, key: u128) -> Fence {
    let ask =
        Ask::Submit { project, priority: Priority(3), placed: None, external: false, needs: Capabilities::NONE, key };
    let Answer::Accepted { row, .. } = store.ask(&ask, Extra::None).await else { panic!("it is accepted") };
    match store.ask(&Ask::Take { fence: row.fence(), by, in_order: false }, Extra::None).await {
        Answer::Granted { epoch, .. } => Fence { job: row.id, epoch },
        other => panic!("a take was answered by {other:?}"),
    }
}

async fn state(store: &Store, id: JobId) -> (JobState, u32, String) {
    let job = store.jobs_by_id(&[id]).await.expect("it is read").remove(0);
    (job.row.state, job.row.steps, job.failure.unwrap_or_default())
}

fn step(result: String) -> Extra {
    Extra::CommitStep { name: "build".to_owned(), result: Some(result), started_ms: None, ended_ms: None }
}

/// Makes the database refuse jobs with the subject `poison`.
async fn plant_a_trigger(on: On, config: &StoreConfig) {
    let table = format!("{}_job", config.identifier);
    match (on, &config.backend) {
        (On::Sqlite, Backend::Sqlite { path }) => {
            use sqlx::{ConnectOptions, Connection, Executor};
            let mut file = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.expect("it opens");
            let sql = format!(
                "CREATE TRIGGER poison BEFORE INSERT ON \"{table}\" WHEN NEW.subject = 'poison' \
                 BEGIN SELECT RAISE(ABORT, 'it is poisoned'); END"
            );
            file.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).await.expect("it is made");
            file.close().await.expect("it closes");
        }
        (On::Postgres, Backend::Postgres { url }) => {
            let sql = format!(
                "CREATE FUNCTION poison_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.subject = 'poison' \
                 THEN RAISE EXCEPTION 'it is poisoned'; END IF; RETURN NEW; END $$; CREATE TRIGGER poison BEFORE INSERT \
                 ON \"{table}\" FOR EACH ROW EXECUTE FUNCTION poison_{table}()"
            );
            let database = url.rsplit('/').next().expect("a database");
            Postgres::shared().query(database, &sql).expect("it is made");
        }
        (On::MariaDb, Backend::MySql { url }) => {
            let sql = format!(
                "DELIMITER //\nCREATE TRIGGER `poison_{table}` BEFORE INSERT ON `{table}` FOR EACH ROW BEGIN \
                 IF NEW.subject = 'poison' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'it is poisoned'; END IF; END//"
            );
            let database = url.rsplit('/').next().expect("a database");
            MariaDb::shared().query(database, &sql).expect("it is made");
        }
        (on, backend) => panic!("{on:?} is not {backend:?}"),
    }
}

async fn a_poisoned_row_spoils_no_batch(on: On) {
    let config = config(on);
    let store = open(&config).await;
    let project = project(&store).await;
    plant_a_trigger(on, &config).await;
    let jobs = (0..60_u128).map(|key| {
        let mut job = NewJob::new(project, key + 1);
        job.subject = if key % 20 == 7 { "poison" } else { "good" }.to_owned();
        store.submit(job)
    });
    let answers = join_all(jobs).await;
    for (key, answer) in answers.iter().enumerate() {
        match answer {
            Ok(Submitted::Accepted { fresh: true, .. }) if key % 20 != 7 => {}
            Err(StoreError::Refused(why)) if key % 20 == 7 => assert!(why.contains("it is poisoned"), "{why}"),
            other => panic!("submit {key} on {on:?} was answered by {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_row_does_not_fail_its_batch_on_sqlite() {
    a_poisoned_row_spoils_no_batch(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_row_does_not_fail_its_batch_on_postgresql() {
    a_poisoned_row_spoils_no_batch(On::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_row_does_not_fail_its_batch_on_mariadb() {
    a_poisoned_row_spoils_no_batch(On::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_do_not_fit_are_refused_equally_on_every_database() {
    for on in [On::Sqlite, On::Postgres, On::MariaDb] {
        let store = open(&config(on)).await;
        let project = project(&store).await;
        for (key, subject) in [(1, "a\0b".to_owned()), (2, "x".repeat(181))] {
            let answer = store.submit(NewJob { subject, ..NewJob::new(project, key) }).await;
            assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?} on {on:?}");
        }
        let longest = NewJob { subject: "ж".repeat(180), ..NewJob::new(project, 3) };
        assert!(matches!(store.submit(longest).await, Ok(Submitted::Accepted { .. })), "on {on:?}");
    }
}

/// PostgreSQL cannot store the result of a step: its job fails with the reason, and other jobs of the batch continue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permanently_refused_step_ends_its_job_in_error() {
    let store = open(&config(On::Postgres)).await;
    let (project, by) = (project(&store).await, join(&store).await);
    let mut fences = Vec::new();
    for key in 1..=8 {
        fences.push(running(&store, project, by, key).await);
    }
    let commits = fences.iter().enumerate().map(|(at, fence)| {
        let (fence, store) = (*fence, store.clone());
        let result = if at == 3 { "a\0b" } else { "fine" }.to_owned();
        async move { store.ask(&Ask::CommitStep { fence, by, step: 0 }, step(result)).await }
    });
    let answers = join_all(commits).await;
    for (at, (answer, fence)) in answers.iter().zip(&fences).enumerate() {
        let (state, steps, failure) = state(&store, fence.job).await;
        if at == 3 {
            assert_eq!((answer, state, steps), (&Answer::Refused, JobState::Error, 0));
            assert!(failure.contains("cannot store the job's result"), "{failure}");
        } else {
            assert_eq!((answer, state, steps), (&Answer::Done, JobState::Running, 1));
        }
    }
    // A text for users never causes a refusal.
    let (fence, name) = (fences[0], "a\0b".to_owned());
    let commit = Extra::CommitStep { name, result: None, started_ms: None, ended_ms: None };
    assert_eq!(store.ask(&Ask::CommitStep { fence, by, step: 1 }, commit).await, Answer::Done);
    let failed = Extra::Finish { failure: Some("exit 1\0".to_owned()), result: None, publish: Vec::new() };
    assert_eq!(store.ask(&Ask::Finish { fence, by, outcome: Outcome::Failed }, failed).await, Answer::Done);
    assert_eq!(state(&store, fence.job).await, (JobState::Error, 2, "exit 1\u{fffd}".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_stay_below_the_servers_limit_and_a_request_above_it_is_refused() {
    let server = MariaDb::start(false).expect("a private MariaDB starts");
    server.query("", "SET GLOBAL max_allowed_packet = 1048576").expect("it is set");
    let mut config = StoreConfig::new(server.database().expect("a database").parse().expect("a URL"));
    // Thirty transactions of 250 kB each, on a busy machine.
    config.ask_timeout = std::time::Duration::from_secs(60);
    let store = open(&config).await;
    let (project, by) = (project(&store).await, join(&store).await);
    let job = |key, bytes| NewJob { spec: format!("\"{}\"", "x".repeat(bytes)), ..NewJob::new(project, key) };
    for answer in join_all((1..=60).map(|key| store.submit(job(key, 100_000)))).await {
        assert!(matches!(answer, Ok(Submitted::Accepted { fresh: true, .. })), "{answer:?}");
    }
    match store.submit(job(99, 2_000_000)).await {
        Err(StoreError::TooLarge { bytes, limit }) => assert!(bytes > 2_000_000 && limit < 1_048_576),
        other => panic!("a submit of 2 MB was answered by {other:?}"),
    }
    // Quotes grow by escaping. The sent size is what counts.
    let grows = NewJob { spec: "\"".repeat(600_000), ..NewJob::new(project, 100) };
    assert!(matches!(store.submit(grows).await, Err(StoreError::TooLarge { .. })));
    // The same for results of attempts, whose error only the job can show.
    let (first, second) = (running(&store, project, by, 101).await, running(&store, project, by, 102).await);
    let commit = Ask::CommitStep { fence: first, by, step: 0 };
    assert_eq!(store.ask(&commit, step("x".repeat(2_000_000))).await, Answer::Refused);
    let finish = Ask::Finish { fence: second, by, outcome: Outcome::Succeeded };
    let publish = vec![Publish { segment: Uuid::from_u128(7), manifest: "x".repeat(2_000_000) }];
    let extra = Extra::Finish { failure: None, result: None, publish };
    assert_eq!(store.ask(&finish, extra).await, Answer::Refused);
    for fence in [first, second] {
        let (state, _, failure) = state(&store, fence.job).await;
        assert_eq!(state, JobState::Error);
        assert!(failure.contains("2000") && failure.contains("at most"), "{failure}");
    }
}

/// Runs a statement without the store.
async fn past_the_store(on: On, config: &StoreConfig, sql: &str) {
    match &config.backend {
        Backend::Sqlite { path } => {
            use sqlx::{ConnectOptions, Connection, Executor};
            let mut file = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.expect("it opens");
            file.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))).await.expect("it runs");
            file.close().await.expect("it closes");
        }
        Backend::Postgres { url } | Backend::MySql { url } => {
            let database = url.rsplit('/').next().expect("a database");
            let ran = match on {
                On::Postgres => Postgres::shared().query(database, sql),
                _ => MariaDb::shared().query(database, &sql.replace('"', "`")),
            };
            ran.expect("it runs");
        }
    }
}

async fn a_row_that_no_longer_parses_disturbs_nothing_and_can_be_discarded(on: On) {
    let config = config(on);
    let store = open(&config).await;
    let (project, by) = (project(&store).await, join(&store).await);
    let good = running(&store, project, by, 1).await;
    for (key, damage) in [
        (2_u128, "epoch = -7"),
        (3, "state = 4, steps = -1"),
        (4, "priority = -3"),
        (5, "state = -9"),
        (6, "project = -1"),
    ] {
        let held = running(&store, project, by, key).await;
        let table = format!("\"{}_job\"", config.identifier);
        past_the_store(on, &config, &format!("UPDATE {table} SET {damage} WHERE id = {}", held.job.0)).await;
        // Nodes see the other jobs, and users see the error.
        let Answer::Jobs(jobs) = store.ask(&Ask::ListJobs, Extra::None).await else { panic!("jobs are listed") };
        assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [good.job], "{damage} on {on:?}");
        store.loads().await.expect("loads are read");
        let page = store.jobs(&JobFilter::default()).await.expect("a page is read");
        let broken: Vec<_> = page.jobs.iter().filter(|job| job.broken.is_some()).map(|job| job.uuid).collect();
        assert_eq!(broken, [Uuid::from_u128(key)], "{damage} on {on:?}");
        assert!(store.discard_by_force(Uuid::from_u128(key)).await.expect("it is discarded"));
        let job = store.job_by_uuid(Uuid::from_u128(key)).await.expect("it is read").expect("it is there");
        assert_eq!(
            (job.broken, job.row.state, job.row.holder),
            (None, JobState::Discarded, None),
            "{damage} on {on:?}"
        );
        let commit = Ask::CommitStep { fence: held, by, step: 0 };
        assert_eq!(store.ask(&commit, Extra::None).await, Answer::Refused, "its fence is stale");
    }
    assert!(!store.discard_by_force(Uuid::from_u128(99)).await.expect("it is answered"));
    let page = store.jobs(&JobFilter { states: vec![JobState::Discarded], ..JobFilter::default() }).await;
    assert_eq!(page.expect("a page is read").total, 5);
    assert_eq!(store.ask(&Ask::CommitStep { fence: good, by, step: 0 }, Extra::None).await, Answer::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_row_on_sqlite() {
    a_row_that_no_longer_parses_disturbs_nothing_and_can_be_discarded(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_row_on_postgresql() {
    a_row_that_no_longer_parses_disturbs_nothing_and_can_be_discarded(On::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_row_on_mariadb() {
    a_row_that_no_longer_parses_disturbs_nothing_and_can_be_discarded(On::MariaDb).await;
}
