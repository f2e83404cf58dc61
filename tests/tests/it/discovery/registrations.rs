//! Registrations and discovery while the ZooKeeper servers are healthy.

use std::time::Duration;

use kirin_discovery::{
    Acl, Auth, Discovery, Error, Health, Layout, Permissions, Role, ZooKeeperConfig, ZooKeeperDiscovery,
};
use kirin_tests::logs;
use kirin_tests::servers::zookeeper::Ensemble;
use tokio::time::Instant;
use zookeeper_client::{Acls, Client, CreateMode};

use super::proxy::Proxy;
use super::{
    CLUSTER, Node, PATIENCE, SERVICES, SESSION, eventually, kylin5, of_layout, outsider, owner, unique_id, until,
};

#[tokio::test]
async fn nodes_see_each_other_join_change_and_leave() {
    let zk = Ensemble::of(3).start().await.expect("an ensemble");
    let config = kylin5(&zk.connect_string());
    let a = Node::start(config.clone(), Role::All, 1).await;
    let b = Node::start(config.clone(), Role::Job, 2).await;
    let mut c = Node::start(config.clone(), Role::Query, 3).await;
    for node in [&a, &b, &c] {
        node.until_sees(&["all:1", "job:2", "query:3"]).await;
        node.until_up().await;
    }
    // A change of a node's announcement is seen, including its role.
    c.said.metadata.insert("instance_status".to_owned(), "OUT_OF_SERVICE".to_owned());
    c.announce().await;
    until(a.discovery.peers(), "c is out of service", |peers| peers.iter().any(|peer| !peer.is_up())).await;
    c.said.role = Role::All;
    c.announce().await;
    a.until_sees(&["all:1", "all:3", "job:2"]).await;
    // A withdrawn node is no longer listed when the call returns, and still sees the others.
    b.discovery.withdraw().await.expect("withdrawn");
    a.until_sees(&["all:1", "all:3"]).await;
    b.until_sees(&["all:1", "all:3"]).await;
    b.announce().await;
    a.until_sees(&["all:1", "all:3", "job:2"]).await;
    // A stopped node ends its session.
    c.discovery.stop().await;
    assert_eq!(*c.discovery.health().borrow(), Health::Off);
    assert_eq!(c.discovery.announce(c.said.clone()).await, Err(Error::Stopped));
    a.until_sees(&["all:1", "job:2"]).await;
    // So does a dropped node.
    drop(b);
    a.until_sees(&["all:1"]).await;
}

#[tokio::test]
async fn joining_and_leaving_is_seen_within_milliseconds() {
    let zk = Ensemble::of(3).start().await.expect("an ensemble");
    let config = kylin5(&zk.connect_string());
    let observer = Node::start(config.clone(), Role::All, 1).await;
    observer.until_sees(&["all:1"]).await;
    let guest = Node::observer(config.clone());
    guest.until_up().await;
    let (mut joins, mut leaves) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let begun = Instant::now();
        guest.announce().await;
        observer.until_sees(&["all:1", "all:7070"]).await;
        joins.push(begun.elapsed());
        let begun = Instant::now();
        guest.discovery.withdraw().await.expect("withdrawn");
        observer.until_sees(&["all:1"]).await;
        leaves.push(begun.elapsed());
    }
    // A silently dead process is detected when its session expires.
    let mut ends = Vec::new();
    for _ in 0..3 {
        let wire = Proxy::to(zk.port(0)).await;
        let at_wire = wire.connect_string();
        let doomed = Node::start(kylin5(&at_wire), Role::All, 2).await;
        observer.until_sees(&["all:1", "all:2"]).await;
        let begun = Instant::now();
        wire.refuse(true);
        wire.cut();
        observer.until_sees(&["all:1"]).await;
        ends.push(begun.elapsed());
        doomed.discovery.stop().await;
    }
    for (what, times) in [("join", &mut joins), ("leave", &mut leaves), ("session end", &mut ends)] {
        times.sort();
        eprintln!("{what} seen after: median {:?}, worst {:?}", times[times.len() / 2], times[times.len() - 1]);
    }
    assert!(joins[10] < Duration::from_secs(1) && leaves[10] < Duration::from_secs(1));
    // The session timeout of 2 s, one or two ticks of the server, and a margin for a busy machine.
    assert!(ends[2] < SESSION + Duration::from_secs(5));
}

#[tokio::test]
async fn two_clusters_that_share_a_zookeeper_and_an_identifier_never_mix() {
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let connect_string = zk.connect_string();
    let cluster = |url| of_layout(&connect_string, Layout::Kylin5 { unique_id: unique_id(url) });
    let a = Node::start(cluster("jdbc:postgresql://db1:5432/kylin"), Role::All, 1).await;
    let b = Node::start(cluster("jdbc:postgresql://db2:5432/kylin"), Role::All, 2).await;
    a.until_up().await;
    b.until_up().await;
    let c = Node::start(cluster("jdbc:postgresql://db2:5432/kylin?ssl=true"), Role::Job, 3).await;
    b.until_sees(&["all:2", "job:3"]).await;
    c.until_sees(&["all:2", "job:3"]).await;
    // Another schema of the same database is another cluster. The default schema is not.
    let d = Node::start(cluster("jdbc:postgresql://db2:5432/kylin?currentSchema=sales"), Role::All, 4).await;
    d.until_sees(&["all:4"]).await;
    let e = Node::start(cluster("jdbc:postgresql://db2:5432/kylin?currentSchema=public"), Role::Query, 5).await;
    for node in [&b, &c, &e] {
        node.until_sees(&["all:2", "job:3", "query:5"]).await;
    }
    assert_eq!((a.sees(), d.sees()), (vec!["all:1".to_owned()], vec!["all:4".to_owned()]));
}

#[tokio::test]
async fn the_older_layout_carries_the_mode_in_the_payload() {
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let layout = Layout::SelfDiscovery { cluster: "kylin_metadata".to_owned() };
    let config = of_layout(&zk.connect_string(), layout);
    let a = Node::start(config.clone(), Role::Job, 1).await;
    let b = Node::start(config, Role::Query, 2).await;
    for node in [&a, &b] {
        node.until_sees(&["job:1", "query:2"]).await;
    }
    let path = format!("/kylin/kylin_metadata/service/cluster_servers/{}", a.said.id);
    assert!(owner(&outsider(&zk).await, &path).await.is_some());
}

#[tokio::test]
async fn deleted_directories_are_created_by_the_next_node() {
    // Empty container directories are deleted, here within a fraction of a second.
    let zk = Ensemble::of(1).property("znode.container.checkIntervalMs", "100").start().await.expect("an ensemble");
    let config = ZooKeeperConfig { chroot: "/apps/olap".to_owned(), ..kylin5(&zk.connect_string()) };
    let observer = Node::observer(config.clone());
    observer.until_up().await;
    let outsider = outsider(&zk).await;
    for round in 0..3 {
        let guest = Node::start(config.clone(), Role::Job, 2).await;
        observer.until_sees(&["job:2"]).await;
        assert!(owner(&outsider, &format!("/apps/olap{}", guest.path())).await.is_some(), "round {round}");
        guest.discovery.stop().await;
        observer.until_sees(&[]).await;
        eventually("the directories are gone", async || {
            owner(&outsider, "/apps/olap/kylin").await.is_none().then_some(())
        })
        .await;
        // The chroot itself is kept, because other clients need it. Two cleanup rounds prove this.
        for _ in 0..2 {
            let empty = CreateMode::Container.with_acls(Acls::anyone_all());
            outsider.mkdir("/round/once", &empty).await.expect("created");
            outsider.delete("/round/once", None).await.expect("removed");
            eventually("the server cleaned up", async || owner(&outsider, "/round").await.is_none().then_some(()))
                .await;
        }
        assert!(owner(&outsider, "/apps/olap").await.is_some());
    }
    observer.until_up().await;
}

#[tokio::test]
async fn foreign_and_malformed_registrations_are_ignored_and_reported_once() {
    let log = logs::capture();
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let config = kylin5(&zk.connect_string());
    let a = Node::start(config.clone(), Role::All, 1).await;
    a.until_sees(&["all:1"]).await;
    let outsider = outsider(&zk).await;
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let put = async |name: &str, data: &[u8]| {
        outsider.create(&format!("{SERVICES}/all/{name}"), data, &options).await.expect("created");
    };
    put("rubbish", b"\xfe\xed no json").await;
    put("nothing", b"").await;
    put("least", br#"{"name":"all","id":"least","address":"10.0.0.5","port":7075}"#).await;
    put("newer", br#"{"name":"all","id":"n","address":"10.0.0.6","port":7076,"payload":null,"enabled":true,"x":{}}"#)
        .await;
    let all = ["all:7075", "all:7076", "all:1"];
    a.until_sees(&all).await;
    a.until_up().await;
    // Other nodes read the malformed entries again later, without another report.
    for _ in 0..3 {
        let guest = Node::start(config.clone(), Role::Job, 9).await;
        until(a.discovery.peers(), "the guest is seen", |peers| peers.iter().any(|peer| peer.port == 9)).await;
        guest.discovery.stop().await;
        a.until_sees(&all).await;
    }
    let reports = |name: &str| {
        log.lines()
            .iter()
            .filter(|line| line.contains("ignoring an unusable registration") && line.contains(name))
            .count()
    };
    // Each of the four nodes reported it once.
    assert_eq!((reports("rubbish"), reports("nothing")), (4, 4), "{:#?}", log.lines());
    // A malformed entry that becomes valid is used.
    outsider
        .set_data(&format!("{SERVICES}/all/rubbish"), br#"{"address":"10.0.0.7","port":7077}"#, None)
        .await
        .expect("changed");
    a.until_sees(&["all:7075", "all:7076", "all:7077", "all:1"]).await;
}

#[tokio::test]
async fn registrations_of_an_earlier_run_are_removed_once() {
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let config = kylin5(&zk.connect_string());
    let observer = Node::observer(config.clone());
    let outsider = outsider(&zk).await;
    // The earlier run had another id and role, and its session has not expired yet.
    let earlier = Node::start(config.clone(), Role::All, 1).await;
    observer.until_sees(&["all:1"]).await;
    let created = async || outsider.check_stat(&earlier.path()).await.expect("an answer").map(|stat| stat.czxid);
    let before = created().await.expect("registered");
    let later = Node::start(config.clone(), Role::Job, 1).await;
    later.until_up().await;
    // The earlier process is alive: two nodes share an address by mistake. It registers again, and both entries stay.
    eventually("the earlier one is back", async || created().await.filter(|now| *now > before)).await;
    observer.until_sees(&["all:1"]).await;
    let owners = (owner(&outsider, &earlier.path()).await, owner(&outsider, &later.path()).await);
    for _ in 0..5 {
        let guest = Node::start(config.clone(), Role::Query, 9).await;
        until(observer.discovery.peers(), "the guest is seen", |peers| peers.iter().any(|peer| peer.port == 9)).await;
        guest.discovery.stop().await;
        until(observer.discovery.peers(), "the guest is gone", |peers| peers.len() == 1).await;
        assert_eq!((owner(&outsider, &earlier.path()).await, owner(&outsider, &later.path()).await), owners);
    }
}

#[tokio::test]
async fn of_two_processes_with_one_id_the_newer_is_registered_and_the_older_is_degraded() {
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let config = kylin5(&zk.connect_string());
    let observer = Node::observer(config.clone());
    let older = Node::start(config.clone(), Role::All, 1).await;
    observer.until_sees(&["all:1"]).await;
    let mut newer = Node::observer(config.clone());
    newer.said = older.said.clone();
    newer.said.port = 2;
    newer.announce().await;
    observer.until_sees(&["all:2"]).await;
    newer.until_up().await;
    older.until_degraded("another process has registered under this node's id").await;
    assert_eq!(older.sees(), ["all:2"]);
    newer.discovery.stop().await;
    observer.until_sees(&["all:1"]).await;
    older.until_up().await;
}

#[tokio::test]
async fn a_removed_registration_is_created_again() {
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let config = kylin5(&zk.connect_string());
    let a = Node::start(config, Role::All, 1).await;
    a.until_up().await;
    let outsider = outsider(&zk).await;
    let created = async || outsider.check_stat(&a.path()).await.expect("an answer").map(|stat| stat.czxid);
    let before = created().await.expect("registered");
    outsider.delete(&a.path(), None).await.expect("removed");
    eventually("it is registered again", async || created().await.filter(|now| *now > before)).await;
    a.until_up().await;
    assert_eq!(a.sees(), ["all:1"]);
}

#[tokio::test]
async fn access_lists_refuse_unauthenticated_clients() {
    let log = logs::capture();
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let connect_string = zk.connect_string();
    let password = |text: &str| Some(Auth { scheme: "digest".to_owned(), secret: text.as_bytes().to_vec() });
    let secured = ZooKeeperConfig {
        auth: password("kylin:s3cret"),
        acl: vec![Acl { scheme: "auth".to_owned(), id: String::new(), permissions: Permissions::ALL }],
        ..kylin5(&connect_string)
    };
    let a = Node::start(secured.clone(), Role::All, 1).await;
    let b = Node::start(secured.clone(), Role::Job, 2).await;
    for node in [&a, &b] {
        node.until_sees(&["all:1", "job:2"]).await;
        node.until_up().await;
    }
    let stranger = outsider(&zk).await;
    assert_eq!(stranger.get_data(&a.path()).await.expect_err("kept out"), zookeeper_client::Error::NoAuth);
    // A node without the password reports the error, and a node with the password sees all nodes.
    let wrong = ZooKeeperConfig { auth: password("kylin:guess"), ..secured.clone() };
    let without = Node::start(wrong, Role::Query, 3).await;
    without.until_degraded("denied access").await;
    assert!(without.sees().is_empty());
    // The same list, with the hash that ZooKeeper computes from user and password.
    let (acls, _) = Client::connector()
        .with_auth("digest", b"kylin:s3cret")
        .connect(&connect_string)
        .await
        .expect("a session")
        .get_acl(&a.path())
        .await
        .expect("the list");
    let hashed = Acl { scheme: "digest".to_owned(), id: acls[0].id().to_owned(), permissions: Permissions::ALL };
    let readable = Acl { permissions: Permissions { read: true, ..Permissions::default() }, ..Acl::open() };
    let d = Node::start(ZooKeeperConfig { acl: vec![hashed, readable], ..secured.clone() }, Role::Query, 4).await;
    a.until_sees(&["all:1", "job:2", "query:4"]).await;
    d.until_up().await;
    // An unreadable registration does not hide the others.
    let other = Client::connector().with_auth("digest", b"other:pw").connect(&connect_string).await.expect("a session");
    other.create("/other", b"", &CreateMode::Ephemeral.with_acls(Acls::creator_all())).await.expect("created");
    let (only_other, _) = other.get_acl("/other").await.expect("the list");
    // Only the node may write into the directory, but not only its own entries.
    let keeper = Client::connector().with_auth("digest", b"kylin:s3cret").connect(&connect_string).await;
    let locked = CreateMode::Ephemeral.with_acls(Acls::new(&only_other));
    let keeper = keeper.expect("a session");
    keeper.create(&format!("{SERVICES}/all/locked"), br#"{"address":"h","port":5}"#, &locked).await.expect("created");
    let e = Node::start(secured.clone(), Role::Job, 6).await;
    for node in [&a, &e] {
        node.until_sees(&["all:1", "job:2", "job:6", "query:4"]).await;
        node.until_up().await;
    }
    // Even the most detailed log contains no password or hash.
    let log = log.lines().join("\n");
    assert!(log.contains("sending request") && log.contains("registered in ZooKeeper"));
    for secret in ["s3cret", "guess", acls[0].id()] {
        assert!(!log.contains(secret), "{secret} was logged");
    }
}

#[tokio::test]
async fn start_stop_and_withdrawal_do_not_wait_for_an_unreachable_zookeeper() {
    let zk = Ensemble::of(1).prepare().expect("a plan");
    let begun = Instant::now();
    let idle = ZooKeeperDiscovery::start(kylin5(&zk.connect_string()));
    assert_eq!(idle.withdraw().await, Ok(()), "there is nothing to withdraw");
    idle.stop().await;
    let node = Node::start(kylin5(&zk.connect_string()), Role::All, 1).await;
    node.until_degraded("cannot reach any ZooKeeper server").await;
    node.discovery.stop().await;
    assert!(begun.elapsed() < PATIENCE / 10, "{:?}", begun.elapsed());
    assert_eq!(CLUSTER.len() + "/kylin//services".len(), SERVICES.len());
}
