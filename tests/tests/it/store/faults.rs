//! Faults of the network and of the servers: deadlines are kept, and certain outcomes are correct.

use std::any::Any;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kirin_core::ask::{Epoch, Fence, Priority, ProjectId};
use kirin_core::{Answer, Ask, JobRow, JobState, Member, Outcome, Role};
use kirin_store::{Backend, Extra, Store, StoreConfig, StoreError};
use kirin_tests::servers::mariadb::MariaDb;
use kirin_tests::servers::pair::Pair;
use kirin_tests::servers::postgres::{Postgres, Stop};
use kirin_tests::servers::process::Place;
use kirin_tests::servers::proxy::{TcpProxy, Weather};
use sqlx::{Connection as _, MySqlConnection, PgConnection};

use super::{On, config, open};

const PATIENCE: Duration = Duration::from_millis(1500);

/// A store behind a proxy, and one with a direct connection.
async fn behind(on: On) -> (Store, Store, TcpProxy) {
    let straight = config(on);
    let port = match on {
        On::Postgres => Postgres::shared().port(),
        On::MariaDb => MariaDb::shared().port(),
        On::Sqlite => unreachable!("a file has no network"),
    };
    let target: SocketAddr = ([127, 0, 0, 1], port).into();
    let proxy = TcpProxy::to(target).await.expect("a proxy starts");
    let mut config = straight.clone();
    let swap = |url: &str| url.replace(&port.to_string(), &proxy.address().port().to_string());
    config.backend = match &straight.backend {
        Backend::Postgres { url } => Backend::Postgres { url: swap(url) },
        Backend::MySql { url } => Backend::MySql { url: swap(url) },
        other => other.clone(),
    };
    config.ask_timeout = PATIENCE;
    (open(&config).await, open(&straight).await, proxy)
}

async fn join(store: &Store, node: &str) -> Member {
    let text = String::new;
    let extra = Extra::Join { node: node.to_owned(), link: text(), http: text(), version: text() };
    match store.ask(&Ask::Join { role: Role::All, slots: 9, can: kirin_core::Capabilities::ALL }, extra).await {
        Answer::Joined(member) => member,
        other => panic!("a join was answered by {other:?}"),
    }
}

async fn submit(store: &Store, project: ProjectId, key: u128) -> Answer {
    let ask = Ask::Submit {
        project,
        priority: Priority(3),
        placed: None,
        external: false,
        needs: kirin_core::Capabilities::NONE,
        key,
    };
    store.ask(&ask, Extra::None).await
}

async fn job(store: &Store, project: ProjectId, key: u128) -> JobRow {
    match submit(store, project, key).await {
        Answer::Accepted { row, .. } => row,
        other => panic!("a submit was answered by {other:?}"),
    }
}

async fn project(store: &Store) -> ProjectId {
    store.project_add("p", 1000, "", "{}").await.expect("it is made").expect("its name is new")
}

async fn read(store: &Store, row: &JobRow) -> JobRow {
    match store.ask(&Ask::ReadJobs(vec![row.id]), Extra::None).await {
        Answer::Jobs(jobs) => jobs[0],
        other => panic!("a read was answered by {other:?}"),
    }
}

/// Retries until the metastore is available. An ended outage must have no lasting effect.
async fn recovered(store: &Store, by: Member) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match store.ask(&Ask::Beat { by, brief: None }, Extra::None).await {
            Answer::Listed { .. } => return,
            Answer::Failed | Answer::Unknown if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
            other => panic!("a beat was answered by {other:?}"),
        }
    }
}

async fn a_server_that_never_answers_is_given_up_in_time(on: On) {
    let (store, straight, proxy) = behind(on).await;
    let (project, me) = (project(&straight).await, join(&store, "a").await);
    let row = job(&store, project, 1).await;
    proxy.set(Weather::BlackHole);
    for round in 0..2 {
        // First with open connections, then with connections without a server greeting.
        let begun = Instant::now();
        let (take, beat) =
            (Ask::Take { fence: row.fence(), by: me, in_order: false }, Ask::Beat { by: me, brief: None });
        let contract = async {
            let answers = tokio::join!(
                store.ask(&beat, Extra::None),
                store.ask(&take, Extra::None),
                store.ask(&Ask::List, Extra::None),
            );
            (answers, begun.elapsed())
        };
        let (((beat, take, list), took), page) = tokio::join!(contract, store.projects());
        assert!(took < PATIENCE * 2, "{took:?}");
        // An interactive query waits longer.
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        assert!(matches!(beat, Answer::Failed | Answer::Unknown), "{beat:?}");
        assert!(matches!(take, Answer::Failed | Answer::Unknown), "{take:?}");
        assert_eq!(list, Answer::Failed, "a read changes nothing");
        assert!(page.is_err());
        if round == 1 {
            assert_eq!((beat, take), (Answer::Failed, Answer::Failed), "nothing was sent");
        }
    }
    assert_eq!(
        straight.ask(&Ask::Beat { by: me, brief: None }, Extra::None).await,
        straight.ask(&Ask::List, Extra::None).await
    );
    proxy.cut();
    proxy.set(Weather::Fair);
    recovered(&store, me).await;
    // The held-back take ended with its connection, so the job is unchanged and can be taken.
    assert_eq!(read(&straight, &row).await, row);
    let take = Ask::Take { fence: row.fence(), by: me, in_order: false };
    assert!(matches!(store.ask(&take, Extra::None).await, Answer::Granted { .. }));
}

async fn a_lost_reply_is_unknown_and_the_next_read_tells(on: On) {
    let (store, straight, proxy) = behind(on).await;
    let (project, me) = (project(&straight).await, join(&store, "a").await);
    let mut unknown = 0;
    for round in 0..5_u128 {
        let first = job(&straight, project, 2 * round).await;
        let take = Ask::Take { fence: first.fence(), by: me, in_order: false };
        let Answer::Granted { epoch, .. } = store.ask(&take, Extra::None).await else { panic!("not granted") };
        // Opens connections for the next requests.
        let (beat, list) = (Ask::Beat { by: me, brief: None }, Ask::ListJobs);
        tokio::join!(
            store.ask(&beat, Extra::None),
            store.ask(&list, Extra::None),
            store.ask(&list, Extra::None),
            store.ask(&list, Extra::None)
        );
        let Answer::Listed { members, .. } = straight.ask(&Ask::List, Extra::None).await else { panic!("no list") };
        let beats = members[0].beat;
        proxy.set(Weather::Mute);
        let begun = Instant::now();
        let finish = Ask::Finish { fence: Fence { job: first.id, epoch }, by: me, outcome: Outcome::Succeeded };
        let (submitted, finished, beaten) = tokio::join!(
            submit(&store, project, 2 * round + 1),
            store.ask(&finish, Extra::None),
            store.ask(&beat, Extra::None)
        );
        assert!(begun.elapsed() < PATIENCE * 2);
        let done = read(&straight, &first).await.state == JobState::Succeed;
        let Answer::Accepted { fresh, .. } = submit(&straight, project, 2 * round + 1).await else {
            panic!("not accepted")
        };
        let Answer::Listed { members, .. } = straight.ask(&Ask::List, Extra::None).await else { panic!("no list") };
        for (answer, happened) in [(submitted, !fresh), (finished, done), (beaten, members[0].beat > beats)] {
            match answer {
                Answer::Unknown => unknown += 1,
                Answer::Failed => assert!(!happened, "it certainly did not happen"),
                other => panic!("unexpected answer to a request without a reply: {other:?}"),
            }
            // A statement that commits by itself is executed although its reply is lost. A longer transaction never reaches its
            // COMMIT.
            assert!(!happened || on == On::Postgres || answer == Answer::Unknown);
        }
        proxy.cut();
        proxy.set(Weather::Fair);
        recovered(&store, me).await;
    }
    assert!(unknown > 0, "no reply was lost in the middle");
}

async fn a_cut_connection_leaves_all_or_nothing_and_a_truthful_answer(on: On) {
    let (store, straight, proxy) = behind(on).await;
    let (project, me) = (project(&straight).await, join(&store, "a").await);
    let mut told = (0, 0, 0);
    // The number of bytes of a complete take on a new connection.
    store.close().await;
    recovered(&store, me).await;
    let before = proxy.carried();
    let row = job(&straight, project, 0).await;
    let take = Ask::Take { fence: row.fence(), by: me, in_order: false };
    assert!(matches!(store.ask(&take, Extra::None).await, Answer::Granted { .. }));
    let whole = proxy.carried() - before;
    for round in 1..60_u128 {
        let row = job(&straight, project, round).await;
        let before = proxy.carried();
        let take = {
            let store = store.clone();
            tokio::spawn(async move {
                store.ask(&Ask::Take { fence: row.fence(), by: me, in_order: false }, Extra::None).await
            })
        };
        // Cut after a number of bytes: at another point of the exchange in each round, twice at its end.
        let bytes = whole * (round as u64 % 30) / 28;
        let until = Instant::now() + PATIENCE;
        while proxy.carried() < before + bytes && Instant::now() < until && !take.is_finished() {
            tokio::task::yield_now().await;
        }
        proxy.cut();
        let answer = take.await.expect("no panic");
        // Data that is still in flight must arrive before the actual state is read.
        let now = settled(&straight, &row).await;
        match answer {
            Answer::Granted { epoch, .. } => {
                told.0 += 1;
                assert_eq!((now.holder, now.epoch), (Some(me), epoch));
            }
            Answer::Failed => {
                told.1 += 1;
                assert_eq!(now, row, "it certainly did not happen");
            }
            Answer::Unknown => {
                told.2 += 1;
                assert!(now == row || now.holder == Some(me) && now.epoch == Epoch(1), "{now:?}");
            }
            other => panic!("a take was answered by {other:?}"),
        }
    }
    assert!(told.0 > 0, "granted, failed, unknown: {told:?}");
}

/// The job's row after all its transactions have ended, because writing to it requires its lock.
async fn settled(store: &Store, row: &JobRow) -> JobRow {
    let place = Ask::Release { fence: row.fence(), by: Member::new(99, 99).expect("not zero"), placed: None };
    store.ask(&place, Extra::None).await;
    read(store, row).await
}

/// Stops, crashes and freezes a private server. Clients continue without intervention.
async fn restarts(config: StoreConfig, mut stop: impl FnMut(Stop), mut resume: impl FnMut(), freeze: impl Fn(bool)) {
    let mut config = config;
    config.ask_timeout = PATIENCE;
    let store = open(&config).await;
    let (project, me) = (project(&store).await, join(&store, "a").await);
    for how in [Stop::Fast, Stop::Immediate] {
        let key = if how == Stop::Fast { 1 } else { 2 };
        let row = job(&store, project, key).await;
        stop(how);
        let begun = Instant::now();
        let answers = [
            store.ask(&Ask::Beat { by: me, brief: None }, Extra::None).await,
            store.ask(&Ask::Take { fence: row.fence(), by: me, in_order: false }, Extra::None).await,
        ];
        assert!(answers.iter().all(|answer| matches!(answer, Answer::Failed | Answer::Unknown)), "{answers:?}");
        assert!(begun.elapsed() < PATIENCE * 3);
        resume();
        recovered(&store, me).await;
        // Acknowledged changes survive the crash, and nothing else happened.
        assert_eq!(read(&store, &row).await, row);
        let take = Ask::Take { fence: row.fence(), by: me, in_order: false };
        assert!(matches!(store.ask(&take, Extra::None).await, Answer::Granted { .. }));
    }
    freeze(true);
    let begun = Instant::now();
    let beat = store.ask(&Ask::Beat { by: me, brief: None }, Extra::None).await;
    assert!(matches!(beat, Answer::Failed | Answer::Unknown), "{beat:?}");
    assert!(begun.elapsed() < PATIENCE * 2);
    freeze(false);
    recovered(&store, me).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_continue_after_restarts_of_postgres() {
    let server = std::sync::Mutex::new(Postgres::start(true).expect("a private PostgreSQL starts"));
    let url = server.lock().expect("no panic").database().expect("a database can be made");
    restarts(
        StoreConfig::new(url.parse().expect("a URL")),
        |how| server.lock().expect("no panic").stop(how).expect("it stops"),
        || server.lock().expect("no panic").resume().expect("it starts"),
        |frozen| match (server.lock().expect("no panic"), frozen) {
            (server, true) => server.freeze().expect("it freezes"),
            (server, false) => server.thaw(),
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_continue_after_restarts_of_mariadb() {
    let server = std::sync::Mutex::new(MariaDb::start(true).expect("a private MariaDB starts"));
    let url = server.lock().expect("no panic").database().expect("a database can be made");
    restarts(
        StoreConfig::new(url.parse().expect("a URL")),
        |how| server.lock().expect("no panic").stop(how).expect("it stops"),
        || server.lock().expect("no panic").resume().expect("it starts"),
        |frozen| match (server.lock().expect("no panic"), frozen) {
            (server, true) => server.freeze().expect("it freezes"),
            (server, false) => server.thaw(),
        },
    )
    .await;
}

/// A client that freezes during a transaction keeps its locks no longer than the timeout.
async fn a_frozen_client_does_not_hold_its_locks(on: On) {
    let (store, straight, proxy) = behind(on).await;
    let (project, me) = (project(&straight).await, join(&store, "a").await);
    let witness = join(&straight, "w").await;
    let row = job(&straight, project, 1).await;
    proxy.set(Weather::Mute);
    // The first locking reply is held back, so the client appears idle in its transaction.
    let take = Ask::Take { fence: row.fence(), by: me, in_order: false };
    let frozen = tokio::spawn(async move { store.ask(&take, Extra::None).await });
    let begun = Instant::now();
    let fence = Ask::Fence { member: me, evidence: kirin_core::Evidence::Exited, beat: None, by: witness };
    loop {
        match straight.ask(&fence, Extra::None).await {
            Answer::Done => break,
            Answer::Failed if begun.elapsed() < Duration::from_secs(20) => {}
            other => panic!("a fence was answered by {other:?}"),
        }
    }
    assert!(matches!(frozen.await.expect("no panic"), Answer::Failed | Answer::Unknown));
}

macro_rules! on_servers {
    ($($case:ident)*) => {
        mod postgres {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(On::Postgres).await;
                }
            )*
        }
        mod mariadb {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(On::MariaDb).await;
                }
            )*
        }
    };
}

on_servers! {
    a_server_that_never_answers_is_given_up_in_time
    a_lost_reply_is_unknown_and_the_next_read_tells
    a_cut_connection_leaves_all_or_nothing_and_a_truthful_answer
    a_frozen_client_does_not_hold_its_locks
}

/// Two clients lock two jobs in opposite order: the victim is rolled back and repeated within its request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_victim_is_retried() {
    use sqlx::{ConnectOptions, Connection, Executor};
    let config = config(On::Postgres);
    let Backend::Postgres { url } = &config.backend else { panic!("PostgreSQL") };
    let store = open(&config).await;
    let (project, me) = (project(&store).await, join(&store, "a").await);
    let (x, y) = (job(&store, project, 1).await, job(&store, project, 2).await);
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
    let mut other = options.connect().await.expect("it connects");
    let lock = |row: &JobRow| {
        let sql = format!("SELECT 1 FROM \"{}_job\" WHERE id = {} FOR UPDATE", config.identifier, row.id.0);
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
    };
    other.execute("SET deadlock_timeout = '10s'; BEGIN").await.expect("it begins");
    other.execute(lock(&y)).await.expect("it locks");
    // The batch of both jobs locks the first and waits for the second.
    let busy = job(&store, project, 3).await;
    let (hold, first, second) = (busy.fence(), x.fence(), y.fence());
    let ask = |fence| {
        let store = store.clone();
        tokio::spawn(async move { store.ask(&Ask::Take { fence, by: me, in_order: false }, Extra::None).await })
    };
    let takes = [ask(hold), ask(first), ask(second)];
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let (count,): (i64,) = sqlx::query_as(waiting).fetch_one(&mut other).await.expect("it is read");
        if count > 0 {
            break;
        }
        assert!(Instant::now() < until, "no transaction waits for the lock");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Completes the deadlock if the batch holds the first job. The batch detects the deadlock, so it is the victim.
    other.execute(lock(&x)).await.expect("it gets the lock when the victim is rolled back, or at once");
    other.execute("ROLLBACK").await.expect("it ends");
    other.close().await.expect("it closes");
    for take in takes {
        let answer = take.await.expect("no panic");
        assert!(matches!(answer, Answer::Granted { .. }), "{answer:?}");
    }
}

/// Holders are read only from the primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_server_is_refused() {
    let server = MariaDb::start(false).expect("a private MariaDB starts");
    let url = server.database().expect("a database can be made");
    server.query("", "SET GLOBAL read_only = 1").expect("it is set");
    let config = StoreConfig::new(url.parse().expect("a URL"));
    match Store::open(&config).await {
        Err(StoreError::Standby) => {}
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("opened"),
    }
}

/// With several hosts, the store finds the primary. A former primary that returns and accepts writes is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_the_standby_is_used_and_the_former_primary_is_refused() {
    let mut pair = Pair::start_at(Place::loopback(), Place::loopback()).expect("two private PostgreSQL start");
    let mut config = StoreConfig::new(pair.database().expect("a database can be made").parse().expect("a URL"));
    config.ask_timeout = PATIENCE;
    let store = open(&config).await;
    let p = project(&store).await;
    let before = job(&store, p, 1).await;
    pair.fail_over().expect("the standby takes over");
    let accepted = async |key: u128| {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match submit(&store, p, key).await {
                Answer::Accepted { row, fresh } => return (row, fresh),
                other => assert!(Instant::now() < until, "still {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(accepted(1).await, (before, false), "the acknowledged job exists");
    accepted(2).await;
    pair.split().expect("the old primary starts");
    for key in 3..9 {
        // All connections break, and new ones try the other host first.
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kirin'";
        pair.primary().query("postgres", sql).expect("connections can be ended");
        accepted(key).await;
    }
    let count = "SELECT count(*) FROM kylin_metadata_job";
    let of = |server: &Postgres| server.query("d0", count).expect("it answers");
    assert_eq!((of(pair.primary()), of(pair.standby())), ("8".to_owned(), "1".to_owned()));
}

/// A server without a free connection is an outage, not an error of the request. It ends when a connection is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_free_connection_is_unreachable() {
    let postgres = Postgres::start_with(Place::loopback(), false, 20).expect("a private PostgreSQL starts");
    let mariadb = MariaDb::start(false).expect("a private MariaDB starts");
    mariadb.query("", "SET GLOBAL max_connections = 20").expect("it is set");
    for (database, url) in [(postgres.database(), postgres.url("postgres")), (mariadb.database(), mariadb.url("mysql"))]
    {
        let mut config = StoreConfig::new(database.expect("a database can be made").parse().expect("a URL"));
        config.ask_timeout = PATIENCE;
        let store = open(&config).await;
        let p = project(&store).await;
        // All are from this host, so none is disconnected.
        let mut crowd = Vec::new();
        loop {
            let other = match url.starts_with("mysql") {
                true => MySqlConnection::connect(&url).await.map(|session| Box::new(session) as Box<dyn Any>),
                false => PgConnection::connect(&url).await.map(|session| Box::new(session) as Box<dyn Any>),
            };
            match other {
                Ok(session) => crowd.push(session),
                Err(_) => break,
            }
        }
        match Store::open(&config).await {
            Err(StoreError::Unreachable(_)) => {}
            Err(other) => panic!("refused for another reason: {other:?}"),
            Ok(_) => panic!("opened"),
        }
        drop(crowd);
        let until = Instant::now() + Duration::from_secs(20);
        while !matches!(submit(&store, p, 1).await, Answer::Accepted { .. }) {
            assert!(Instant::now() < until, "no connection");
        }
    }
}

/// An unreachable server is reported at once, not after the timeout.
#[tokio::test]
async fn an_unreachable_server_is_reported_at_once() {
    let port = kirin_tests::servers::process::free_ports(1).expect("a port")[0];
    for scheme in ["postgres", "mysql"] {
        let config = StoreConfig::new(format!("{scheme}://u@127.0.0.1:{port}/d").parse().expect("a URL"));
        let begun = Instant::now();
        assert!(matches!(Store::open(&config).await, Err(StoreError::Unreachable(_))));
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}

/// Several processes share a SQLite file: a request waits for the write lock of another process until its deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_file_is_waited_for() {
    use sqlx::{ConnectOptions, Connection, Executor};
    let mut config = config(On::Sqlite);
    config.ask_timeout = PATIENCE;
    let Backend::Sqlite { path } = &config.backend else { panic!("SQLite") };
    let store = open(&config).await;
    let me = join(&store, "a").await;
    let mut other = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.expect("it opens");
    other.execute("BEGIN IMMEDIATE").await.expect("it locks");
    let begun = Instant::now();
    assert_eq!(
        store.ask(&Ask::Beat { by: me, brief: None }, Extra::None).await,
        Answer::Failed,
        "not within its deadline"
    );
    assert!((PATIENCE / 2..PATIENCE * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert!(matches!(store.ask(&Ask::List, Extra::None).await, Answer::Listed { .. }), "readers do not wait");
    let beat = {
        let store = store.clone();
        tokio::spawn(async move { store.ask(&Ask::Beat { by: me, brief: None }, Extra::None).await })
    };
    other.execute("ROLLBACK").await.expect("it ends");
    assert!(matches!(beat.await.expect("no panic"), Answer::Listed { .. }));
    other.close().await.expect("it closes");
}
