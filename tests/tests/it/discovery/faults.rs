//! Discovery while servers, connections and sessions fail.

use kirin_discovery::{Discovery, Error, Role, ZooKeeperConfig};
use kirin_tests::servers::zookeeper::Ensemble;

use super::proxy::Proxy;
use super::{History, Node, PATIENCE, SESSION, eventually, kylin5, outsider, owner};

#[tokio::test]
async fn a_node_whose_session_expired_is_registered_again_and_only_once() {
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let observer = Node::observer(kylin5(&zk.connect_string()));
    let wire = Proxy::to(zk.port(0)).await;
    let node = Node::start(kylin5(&wire.connect_string()), Role::All, 1).await;
    observer.until_sees(&["all:1"]).await;
    let outsider = outsider(&zk).await;
    let before = owner(&outsider, &node.path()).await.expect("registered");
    // Like a long freeze: nothing passes until the server has expired the session.
    wire.stall(true);
    observer.until_sees(&[]).await;
    node.until_degraded("cannot reach any ZooKeeper server").await;
    let history = History::of(&observer);
    wire.cut();
    wire.stall(false);
    observer.until_sees(&["all:1"]).await;
    node.until_up().await;
    node.until_sees(&["all:1"]).await;
    let after = owner(&outsider, &node.path()).await.expect("registered");
    assert_ne!(before, after);
    assert_eq!(history.end(), [vec![], vec!["all:1".to_owned()]]);
}

#[tokio::test]
async fn a_silently_replaced_session_counts_as_expired() {
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let observer = Node::observer(kylin5(&zk.connect_string()));
    let wire = Proxy::to(zk.port(0)).await;
    let node = Node::start(kylin5(&wire.connect_string()), Role::All, 1).await;
    observer.until_sees(&["all:1"]).await;
    let outsider = outsider(&zk).await;
    let before = owner(&outsider, &node.path()).await.expect("registered");
    let history = History::of(&observer);
    // The client reconnects and silently gets another session. Its registration exists under the old session.
    wire.forget_sessions(true);
    wire.cut();
    let after = eventually("it is registered under another session", async || {
        owner(&outsider, &node.path()).await.filter(|owner| *owner != before)
    })
    .await;
    wire.forget_sessions(false);
    node.until_up().await;
    // No observer saw a gap, neither then nor when the old session expired.
    eventually("the old session is gone", async || {
        let sessions = zk.command(0, "dump").await.ok()?;
        (!sessions.contains(&format!("{before:#x}"))).then_some(())
    })
    .await;
    assert_eq!(owner(&outsider, &node.path()).await, Some(after));
    assert!(history.end().iter().all(|seen| seen == &["all:1"]), "a gap was seen");
}

#[tokio::test]
async fn a_short_disconnection_changes_nothing() {
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let observer = Node::observer(kylin5(&zk.connect_string()));
    let wire = Proxy::to(zk.port(0)).await;
    let node = Node::start(kylin5(&wire.connect_string()), Role::All, 1).await;
    observer.until_sees(&["all:1"]).await;
    node.until_up().await;
    let outsider = outsider(&zk).await;
    let before = owner(&outsider, &node.path()).await.expect("registered");
    let history = History::of(&observer);
    for port in 2..5 {
        wire.cut();
        node.until_degraded("cannot reach any ZooKeeper server").await;
        node.until_up().await;
        // Changes after the cut are seen.
        let guest = Node::start(kylin5(&zk.connect_string()), Role::Job, port).await;
        node.until_sees(&["all:1", &format!("job:{port}")]).await;
        guest.discovery.stop().await;
        node.until_sees(&["all:1"]).await;
    }
    assert_eq!(owner(&outsider, &node.path()).await, Some(before));
    assert!(history.end().iter().all(|seen| seen.contains(&"all:1".to_owned())), "a gap was seen");
}

#[tokio::test]
async fn a_zookeeper_that_starts_later_is_found() {
    let mut zk = Ensemble::of(1).prepare().expect("a plan");
    let config = kylin5(&zk.connect_string());
    let a = Node::start(config.clone(), Role::All, 1).await;
    let b = Node::start(config, Role::Query, 2).await;
    for node in [&a, &b] {
        node.until_degraded("cannot reach any ZooKeeper server").await;
        assert!(node.sees().is_empty());
    }
    zk.start_all().expect("started");
    for node in [&a, &b] {
        node.until_sees(&["all:1", "query:2"]).await;
        node.until_up().await;
    }
}

#[tokio::test]
async fn when_the_leader_dies_no_node_is_lost_and_new_nodes_are_seen() {
    let mut zk = Ensemble::of(3).start().await.expect("an ensemble");
    let config = kylin5(&zk.connect_string());
    let a = Node::start(config.clone(), Role::All, 1).await;
    let b = Node::start(config.clone(), Role::Job, 2).await;
    a.until_sees(&["all:1", "job:2"]).await;
    b.until_sees(&["all:1", "job:2"]).await;
    let (seen_by_a, seen_by_b) = (History::of(&a), History::of(&b));
    zk.kill_leader().await.expect("killed");
    let c = Node::start(config, Role::Query, 3).await;
    for node in [&a, &b, &c] {
        node.until_sees(&["all:1", "job:2", "query:3"]).await;
        node.until_up().await;
    }
    for list in seen_by_a.end().iter().chain(&seen_by_b.end()) {
        assert!(list.len() >= 2, "a node was lost: {list:?}");
    }
}

#[tokio::test]
async fn without_a_quorum_the_list_is_kept_and_recovers_afterwards() {
    let mut zk = Ensemble::of(3).start().await.expect("an ensemble");
    let config = kylin5(&zk.connect_string());
    let a = Node::start(config.clone(), Role::All, 1).await;
    let b = Node::start(config, Role::Job, 2).await;
    for node in [&a, &b] {
        node.until_sees(&["all:1", "job:2"]).await;
        node.until_up().await;
    }
    zk.kill(0);
    zk.kill(1);
    for node in [&a, &b] {
        node.until_degraded("cannot reach any ZooKeeper server").await;
        assert_eq!(node.sees(), ["all:1", "job:2"]);
    }
    zk.start_all().expect("started");
    for node in [&a, &b] {
        node.until_up().await;
        node.until_sees(&["all:1", "job:2"]).await;
    }
}

#[tokio::test]
async fn after_an_outage_longer_than_the_session_every_node_is_registered_once() {
    let mut zk = Ensemble::of(1).start().await.expect("an ensemble");
    let config = kylin5(&zk.connect_string());
    let a = Node::start(config.clone(), Role::All, 1).await;
    let b = Node::start(config, Role::Job, 2).await;
    for node in [&a, &b] {
        node.until_sees(&["all:1", "job:2"]).await;
        node.until_up().await;
    }
    zk.kill_all();
    let outage = tokio::time::Instant::now();
    a.until_degraded("cannot reach any ZooKeeper server").await;
    b.until_degraded("cannot reach any ZooKeeper server").await;
    // Longer than the session timeout by the clients' clocks. The server restarts its timers when it returns.
    tokio::time::sleep_until(outage + SESSION * 2).await;
    zk.start_all().expect("started");
    for node in [&a, &b] {
        node.until_up().await;
        node.until_sees(&["all:1", "job:2"]).await;
    }
    let outsider = outsider(&zk).await;
    for (node, role) in [(&a, "all"), (&b, "job")] {
        let names = outsider.list_children(&format!("{}/{role}", super::SERVICES)).await.expect("a list");
        assert_eq!(names, [node.said.id.to_string()]);
    }
}

#[tokio::test]
async fn a_client_leaves_a_hanging_server_for_another() {
    let zk = Ensemble::of(3).start().await.expect("an ensemble");
    let leader = zk.leader().await.expect("a leader");
    let hung = (leader + 1) % 3;
    // Both clients would return to the hanging server only if it were the only one.
    let order = format!("127.0.0.1:{},127.0.0.1:{}", zk.port(hung), zk.port(leader));
    let a = Node::start(kylin5(&order), Role::All, 1).await;
    let b = Node::start(kylin5(&order), Role::Job, 2).await;
    a.until_sees(&["all:1", "job:2"]).await;
    zk.freeze(hung).expect("frozen");
    let c = Node::start(kylin5(&order), Role::Query, 3).await;
    for node in [&a, &b, &c] {
        node.until_sees(&["all:1", "job:2", "query:3"]).await;
        node.until_up().await;
    }
    zk.thaw(hung).expect("thawed");
    let begun = tokio::time::Instant::now();
    a.discovery.stop().await;
    b.until_sees(&["job:2", "query:3"]).await;
    assert!(begun.elapsed() < PATIENCE);
}

#[tokio::test]
async fn an_unanswered_withdrawal_is_retried() {
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let observer = Node::observer(kylin5(&zk.connect_string()));
    let wire = Proxy::to(zk.port(0)).await;
    // A long session, so that only a withdrawal can end the registration within the test's timeout.
    let at_wire = wire.connect_string();
    let patient = ZooKeeperConfig { session_timeout: 20 * PATIENCE, ..kylin5(&at_wire) };
    let node = Node::start(patient, Role::All, 1).await;
    observer.until_sees(&["all:1"]).await;
    wire.refuse(true);
    wire.cut();
    node.until_degraded("cannot reach any ZooKeeper server").await;
    assert!(matches!(node.discovery.withdraw().await, Err(Error::Unconfirmed(_))));
    assert_eq!(observer.sees(), ["all:1"]);
    wire.refuse(false);
    observer.until_sees(&[]).await;
    node.until_up().await;
}

#[tokio::test]
async fn after_an_outage_shorter_than_the_session_a_node_reconnects() {
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let wire = Proxy::to(zk.port(0)).await;
    let at_wire = wire.connect_string();
    let patient = ZooKeeperConfig { session_timeout: 20 * PATIENCE, ..kylin5(&at_wire) };
    let node = Node::start(patient, Role::All, 1).await;
    node.until_sees(&["all:1"]).await;
    let outsider = outsider(&zk).await;
    let before = owner(&outsider, &node.path()).await.expect("registered");
    wire.refuse(true);
    wire.cut();
    // The client alone would wait for increasing times. Instead, a new session starts and takes over the registration.
    tokio::time::sleep_until(tokio::time::Instant::now() + SESSION * 4).await;
    wire.refuse(false);
    let back = tokio::time::Instant::now();
    node.until_up().await;
    assert!(back.elapsed() < SESSION * 3, "{:?}", back.elapsed());
    let after = owner(&outsider, &node.path()).await.expect("registered");
    assert_ne!(before, after);
    node.until_sees(&["all:1"]).await;
}
