//! PgBouncer in front of PostgreSQL, with sessions that move between transactions.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::future::join_all;
use kirin_core::ask::Fence;
use kirin_core::{Answer, Ask, Capabilities, JobState, Outcome, Role};
use kirin_store::{Backend, Extra, JobFilter, NewJob, Store, StoreConfig, StoreError, Submitted};
use kirin_tests::servers::postgres::Postgres;
use kirin_tests::servers::process::{Place, Server, directory, free_ports, program, until, user};

use super::{On, config};

/// A private pooler, stopped with the test.
struct Pooler {
    port: u16,
    _server: Server,
    _directory: tempfile::TempDir,
}

impl Pooler {
    /// Starts it in front of the shared PostgreSQL, with few sessions, so that clients share them.
    fn start(mode: &str) -> Self {
        let owner = user("postgres").expect("there is a user");
        let directory = directory(owner).expect("a directory");
        let port = free_ports(1).expect("a port")[0];
        let path = directory.path();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\ndefault_pool_size = 3\n\
             ignore_startup_parameters = extra_float_digits\n",
            Postgres::shared().port(),
            path.join("users").display()
        );
        std::fs::write(path.join("users"), "\"postgres\" \"\"\n").expect("it is written");
        std::fs::write(path.join("pgbouncer.ini"), text).expect("it is written");
        let mut command = Command::new(program(&["/usr/sbin/pgbouncer"], "pgbouncer").expect("it is installed"));
        command.arg(path.join("pgbouncer.ini")).current_dir(path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = owner {
            command.uid(uid).gid(gid);
        }
        let server = Server::spawn_at(&Place::loopback(), command, libc::SIGKILL).expect("it starts");
        let listens = || Ok(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        until("PgBouncer listens", Duration::from_secs(20), listens).expect("it listens");
        Self { port, _server: server, _directory: directory }
    }

    fn config(&self) -> StoreConfig {
        let mut config = config(On::Postgres);
        let Backend::Postgres { url } = &config.backend else { panic!("PostgreSQL") };
        let url = url.replace(&Postgres::shared().port().to_string(), &self.port.to_string());
        config.backend = Backend::Postgres { url };
        config
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_moves_sessions_is_refused_with_advice() {
    match Store::open(&Pooler::start("transaction").config()).await {
        Err(StoreError::Config(why)) => assert!(why.contains("prepareThreshold=0"), "{why}"),
        Err(other) => panic!("refused for another reason: {other:?}"),
        Ok(_) => panic!("opened"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_unnamed_statements_a_pooler_that_moves_sessions_is_accepted() {
    let pooler = Pooler::start("transaction");
    let mut config = pooler.config();
    config.named_statements = false;
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(Store::open(&config).await.expect("it opens"));
    }
    let project = stores[0].project_add("p", 1000, "", "{}").await.expect("it is made").expect("its name is new");
    let text = String::new;
    let extra = Extra::Join { node: "a".to_owned(), link: text(), http: text(), version: text() };
    let Answer::Joined(by) =
        stores[0].ask(&Ask::Join { role: Role::All, slots: 99, can: Capabilities::ALL }, extra).await
    else {
        panic!("it joins")
    };
    // More concurrent jobs than sessions, each with its own life cycle.
    let lives = (0..60_u128).map(|key| {
        let store = stores[key as usize % 3].clone();
        async move {
            let Submitted::Accepted { row, .. } = store.submit(NewJob::new(project, key + 1)).await.expect("accepted")
            else {
                panic!("it is accepted")
            };
            let take = Ask::Take { fence: row.fence(), by, in_order: false };
            let Answer::Granted { epoch, .. } = store.ask(&take, Extra::None).await else { panic!("it is granted") };
            let fence = Fence { job: row.id, epoch };
            assert_eq!(store.ask(&Ask::CommitStep { fence, by, step: 0 }, Extra::None).await, Answer::Done);
            let finish = Ask::Finish { fence, by, outcome: Outcome::Succeeded };
            assert_eq!(store.ask(&finish, Extra::None).await, Answer::Done);
            assert!(matches!(store.ask(&Ask::List, Extra::None).await, Answer::Listed { .. }));
        }
    });
    join_all(lives).await;
    let done = JobFilter { states: vec![JobState::Succeed], ..JobFilter::default() };
    assert_eq!(stores[1].jobs(&done).await.expect("a page is read").total, 60);
}
