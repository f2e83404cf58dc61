//! The simulated ZooKeeper, as seen by its unmodified client: answers, errors, watches and sessions are those of a real
//! server.

use std::future::Future;
use std::time::Duration;

use kirin_shell_sim::hosts::{Host, Hosts};
use kirin_shell_sim::node::ZOOKEEPER;
use madsim::runtime::Runtime;
use tokio::net::{TcpListener, links};
use tokio::time::{sleep, timeout};
use zookeeper::{Ensemble, Settings};
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Error, EventType, SessionState};

const SESSION: Duration = Duration::from_secs(4);

/// Runs a test on a machine of its own with three servers, two of them running.
fn with_servers<F>(test: impl FnOnce(Hosts, Ensemble) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    Runtime::new().block_on(async {
        let ensemble = Ensemble::new(Settings { servers: 3, tick: Duration::from_millis(500) });
        let mut hosts = Hosts::default();
        for server in 0..3 {
            let ensemble = ensemble.clone();
            hosts.add(Host::ZooKeeper(server), move || {
                let ensemble = ensemble.clone();
                async move {
                    let at = (Host::ZooKeeper(server).address(), ZOOKEEPER);
                    ensemble.serve(server, TcpListener::bind(at).await.expect("bound")).await;
                }
            });
        }
        hosts.add(Host::Users, std::future::pending);
        let users = madsim::runtime::Handle::current().get_node(hosts.id(Host::Users)).expect("added");
        users.spawn(test(hosts, ensemble)).await.expect("the test ends");
    });
}

async fn connect(servers: &[usize]) -> Client {
    let at: Vec<_> = servers.iter().map(|s| format!("{}:{ZOOKEEPER}", Host::ZooKeeper(*s).address())).collect();
    Client::connector().with_session_timeout(SESSION).connect(&at.join(",")).await.expect("a session")
}

fn options(mode: CreateMode) -> CreateOptions<'static> {
    mode.with_acls(Acls::anyone_all())
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), what).await.expect("in time")
}

#[test]
fn answers_and_errors_match_a_real_server() {
    with_servers(|_, _| async {
        let client = connect(&[0]).await;
        let (lasting, passing) = (options(CreateMode::Persistent), options(CreateMode::Ephemeral));
        client.mkdir("/a/b", &options(CreateMode::Container)).await.expect("made");
        assert_eq!(client.create("/a/b", b"", &lasting).await.err(), Some(Error::NodeExists));
        assert_eq!(client.create("/x/y", b"", &lasting).await.err(), Some(Error::NoNode));
        let (stat, _) = client.create("/a/b/e", b"one", &passing).await.expect("made");
        assert_eq!(stat.ephemeral_owner, client.session_id().0);
        assert_eq!(client.create("/a/b/e/f", b"", &lasting).await.err(), Some(Error::NoChildrenForEphemerals));
        assert_eq!(client.list_ephemerals("/a").await.as_deref(), Ok(&["/a/b/e".to_owned()][..]));
        let stat = client.set_data("/a/b/e", b"two", Some(0)).await.expect("set");
        assert_eq!((stat.version, stat.data_length), (1, 3));
        assert_eq!(client.set_data("/a/b/e", b"three", Some(0)).await.err(), Some(Error::BadVersion));
        assert_eq!(client.delete("/a/b", None).await, Err(Error::NotEmpty));
        let numbered = options(CreateMode::PersistentSequential);
        let (_, first) = client.create("/a/b/n-", b"", &numbered).await.expect("made");
        let (_, second) = client.create("/a/b/n-", b"", &numbered).await.expect("made");
        assert_eq!((first.to_string(), second.to_string()), ("0000000001".into(), "0000000002".into()));
        let (children, stat) = client.get_children("/a/b").await.expect("listed");
        assert_eq!((children.len(), stat.num_children, stat.cversion), (3, 3, 3));
        client.sync("/a").await.expect("synced");
    });
}

#[test]
fn a_multi_is_atomic() {
    with_servers(|_, _| async {
        let client = connect(&[0]).await;
        let lasting = options(CreateMode::Persistent);
        let mut writes = client.new_multi_writer();
        writes.add_create("/a", b"1", &lasting).expect("good");
        writes.add_set_data("/a", b"2", Some(0)).expect("good");
        assert_eq!(writes.commit().await.expect("done").len(), 2);
        let mut writes = client.new_multi_writer();
        writes.add_delete("/a", None).expect("good");
        writes.add_create("/b/c", b"", &lasting).expect("good");
        writes.add_create("/d", b"", &lasting).expect("good");
        assert_eq!(writes.commit().await.err().map(Error::from), Some(Error::NoNode));
        let (data, stat) = client.get_data("/a").await.expect("still there");
        assert_eq!((data.as_slice(), stat.version), (&b"2"[..], 1));
        assert_eq!(client.check_stat("/d").await, Ok(None));
    });
}

#[test]
fn a_watch_fires_once_even_for_changes_during_a_disconnection() {
    with_servers(|_, _| async move {
        let (watcher, writer) = (connect(&[0, 1]).await, connect(&[2]).await);
        let lasting = options(CreateMode::Persistent);
        let (_, born) = watcher.check_and_watch_stat("/a").await.expect("asked");
        writer.create("/a", b"", &lasting).await.expect("made");
        assert_eq!(soon(born.changed()).await.event_type, EventType::NodeCreated);
        let (_, _, data) = watcher.get_and_watch_data("/a").await.expect("read");
        let (_, children) = watcher.list_and_watch_children("/a").await.expect("listed");
        let (_, unborn) = watcher.check_and_watch_stat("/b").await.expect("asked");
        let (_, later) = watcher.check_and_watch_stat("/c").await.expect("asked");

        let session = watcher.session_id();
        let mut states = watcher.state_watcher();
        for server in [0, 1] {
            links::cut(Host::ZooKeeper(server).address(), Host::Users.address());
        }
        while soon(states.changed()).await != SessionState::Disconnected {}
        writer.set_data("/a", b"2", None).await.expect("set");
        writer.create("/a/x", b"", &lasting).await.expect("made");
        writer.create("/b", b"", &lasting).await.expect("made");
        links::mend_all();
        assert_eq!(soon(data.changed()).await.event_type, EventType::NodeDataChanged);
        assert_eq!(soon(children.changed()).await.event_type, EventType::NodeChildrenChanged);
        assert_eq!(soon(unborn.changed()).await.event_type, EventType::NodeCreated);
        writer.create("/c", b"", &lasting).await.expect("made");
        assert_eq!(soon(later.changed()).await.event_type, EventType::NodeCreated);
        assert_eq!(watcher.session_id(), session);
    });
}

#[test]
fn a_session_expires_with_its_ephemeral_nodes() {
    with_servers(|mut hosts, ensemble| async move {
        let (client, other) = (connect(&[0]).await, connect(&[1, 2]).await);
        client.create("/mine", b"", &options(CreateMode::Ephemeral)).await.expect("made");
        let (_, gone) = other.check_and_watch_stat("/mine").await.expect("asked");
        links::cut(Host::Users.address(), Host::ZooKeeper(0).address());
        links::cut(Host::ZooKeeper(0).address(), Host::Users.address());
        assert_eq!(soon(gone.changed()).await.event_type, EventType::NodeDeleted);
        links::mend_all();
        let mut states = client.state_watcher();
        let state = soon(async {
            loop {
                match states.peek_state() {
                    state @ (SessionState::Expired | SessionState::Closed) => return state,
                    _ => drop(states.changed().await),
                }
            }
        });
        assert_eq!(state.await, SessionState::Expired);

        // Without a quorum no session expires. With a quorum again, each one has its full timeout again.
        other.create("/others", b"", &options(CreateMode::Ephemeral)).await.expect("made");
        for server in [0, 1, 2] {
            hosts.kill(Host::ZooKeeper(server));
        }
        // The client gives up by itself.
        while other.state() != SessionState::Expired {
            sleep(SESSION / 10).await;
        }
        sleep(2 * SESSION).await;
        for server in [1, 2] {
            hosts.start(Host::ZooKeeper(server));
        }
        sleep(SESSION * 9 / 10).await;
        assert_eq!(ensemble.ephemerals("/").len(), 1);
        sleep(SESSION / 2).await;
        assert!(ensemble.ephemerals("/").is_empty() && ensemble.sessions().is_empty());

        let client = connect(&[1, 2]).await;
        client.create("/mine", b"", &options(CreateMode::Ephemeral)).await.expect("made");
        drop(client);
        sleep(SESSION / 10).await;
        assert!(ensemble.ephemerals("/").is_empty(), "its client closed the session");
    });
}
