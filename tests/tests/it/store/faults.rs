//! The metastore when the network and the servers misbehave: deadlines hold, and what is certain is certain.

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

/// A store behind a proxy, and one that goes straight to the server.
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

/// Asks until the metastore is back; an outage that is over must not leave anything behind.
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
        // First on open connections, then on connections that are never greeted.
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
        // A person waits longer.
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
    // The held-back take is gone with its connection: the job is as it was, and can be taken.
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
        // Open connections, so that there is something to send on.
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
                other => panic!("a request without reply was answered by {other:?}"),
            }
            // A statement that commits by itself is done though its reply is lost; a longer transaction never gets to its
            // COMMIT.
            assert!(!happened || on == On::Postgres || answer == Answer::Unknown);
        }
        proxy.cut();
        proxy.set(Weather::Fair);
        recovered(&store, me).await;
    }
    assert!(unknown > 0, "no reply was lost in the middle");
}

async fn whatever_is_cut_is_all_or_nothing_and_told_truly(on: On) {
    let (store, straight, proxy) = behind(on).await;
    let (project, me) = (project(&straight).await, join(&store, "a").await);
    let mut told = (0, 0, 0);
    // How much a whole take says, from a new connection on: none idles that it could take.
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
        // Cut when some bytes of it have passed: at another point of the conversation in each round, twice at its end.
        let bytes = whole * (round as u64 % 30) / 28;
        let until = Instant::now() + PATIENCE;
        while proxy.carried() < before + bytes && Instant::now() < until && !take.is_finished() {
            tokio::task::yield_now().await;
        }
        proxy.cut();
        let answer = take.await.expect("no panic");
        // What a dying connection still carries must arrive before the truth is read.
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

/// The job once no transaction can be under way on it any more: writing to it needs its lock.
async fn settled(store: &Store, row: &JobRow) -> JobRow {
    let place = Ask::Release { fence: row.fence(), by: Member::new(99, 99).expect("not zero"), placed: None };
    store.ask(&place, Extra::None).await;
    read(store, row).await
}

/// Own servers are stopped, crashed, frozen; clients go on by themselves.
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
        // Acknowledged before the crash, there after it; and nothing else happened.
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
async fn postgres_restarts_and_clients_go_on() {
    let server = std::sync::Mutex::new(Postgres::start(true).expect("a private PostgreSQL starts"));
    let url = server.lock().expect("no panic").database().expect("a database can be made");
    restarts(
        StoreConfig::new(url.parse().expect("a URL")),
        |how| server.lock().expect("no panic").stop(how).expect("it stops"),
        || server.lock().expect("no panic").resume().expect("it starts"),
        |frozen| match (server.lock().expect("no panic"), frozen) {
            (server, true) => server.freeze().expect("it stands still"),
            (server, false) => server.thaw(),
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_restarts_and_clients_go_on() {
    let server = std::sync::Mutex::new(MariaDb::start(true).expect("a private MariaDB starts"));
    let url = server.lock().expect("no panic").database().expect("a database can be made");
    restarts(
        StoreConfig::new(url.parse().expect("a URL")),
        |how| server.lock().expect("no panic").stop(how).expect("it stops"),
        || server.lock().expect("no panic").resume().expect("it starts"),
        |frozen| match (server.lock().expect("no panic"), frozen) {
            (server, true) => server.freeze().expect("it stands still"),
            (server, false) => server.thaw(),
        },
    )
    .await;
}

/// A client that froze in the middle of a transaction keeps its locks no longer than the timeout.
async fn a_frozen_client_does_not_hold_its_locks(on: On) {
    let (store, straight, proxy) = behind(on).await;
    let (project, me) = (project(&straight).await, join(&store, "a").await);
    let witness = join(&straight, "w").await;
    let row = job(&straight, project, 1).await;
    proxy.set(Weather::Mute);
    // Its first locking reply is held back: from the server's view the client sits in its transaction and says nothing.
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
    whatever_is_cut_is_all_or_nothing_and_told_truly
    a_frozen_client_does_not_hold_its_locks
}

/// Two clients that lock two jobs crosswise: the victim is rolled back and runs again within its request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_victim_is_tried_again() {
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
    // The batch of both jobs takes the first and waits for the second.
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
        assert!(Instant::now() < until, "nobody waits for the lock");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Closes the circle, if the batch holds the first job. Its side is the one that looks for deadlocks, so it is the victim.
    other.execute(lock(&x)).await.expect("it gets the lock when the victim is rolled back, or at once");
    other.execute("ROLLBACK").await.expect("it ends");
    other.close().await.expect("it closes");
    for take in takes {
        let answer = take.await.expect("no panic");
        assert!(matches!(answer, Answer::Granted { .. }), "{answer:?}");
    }
}

/// Who holds what is read from the primary only.
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

/// With several hosts the primary among them is found, whichever it is. One whose place another has taken is not believed when
/// it comes back as a primary, although it writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_standby_takes_over_and_the_primary_of_the_past_is_not_believed() {
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
    assert_eq!(accepted(1).await, (before, false), "what was acknowledged is there");
    accepted(2).await;
    pair.split().expect("the old primary starts");
    for key in 3..9 {
        // All connections break, and whoever opens another asks the other host first.
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kirin'";
        pair.primary().query("postgres", sql).expect("connections can be ended");
        accepted(key).await;
    }
    let count = "SELECT count(*) FROM kylin_metadata_job";
    let of = |server: &Postgres| server.query("d0", count).expect("it answers");
    assert_eq!((of(pair.primary()), of(pair.standby())), ("8".to_owned(), "1".to_owned()));
}

/// A server that has no connection left is an outage, not a mistake of whoever asks; it is over when it has one again.
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
        // All are of this host: none is pushed out.
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

/// A server that is not there is said to be so at once, not after the timeout.
#[tokio::test]
async fn nobody_there_is_told_at_once() {
    let port = kirin_tests::servers::process::free_ports(1).expect("a port")[0];
    for scheme in ["postgres", "mysql"] {
        let config = StoreConfig::new(format!("{scheme}://u@127.0.0.1:{port}/d").parse().expect("a URL"));
        let begun = Instant::now();
        assert!(matches!(Store::open(&config).await, Err(StoreError::Unreachable(_))));
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}

/// Several processes share a SQLite file: another one that holds the write lock is waited for, within the deadline.
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
    assert!(matches!(store.ask(&Ask::List, Extra::None).await, Answer::Listed { .. }), "readers don't wait");
    let beat = {
        let store = store.clone();
        tokio::spawn(async move { store.ask(&Ask::Beat { by: me, brief: None }, Extra::None).await })
    };
    other.execute("ROLLBACK").await.expect("it ends");
    assert!(matches!(beat.await.expect("no panic"), Answer::Listed { .. }));
    other.close().await.expect("it closes");
}
