//! Compatibility with the real Curator: it reads Kirin's registrations, and Kirin reads its registrations.

use std::path::Path;
use std::process::{Command, Stdio};

use kirin_discovery::{Layout, Role};
use kirin_tests::servers::zookeeper::Ensemble;

use super::{Node, SERVICES, kylin5, of_layout};

const JARS: [(&str, &str); 12] = [
    ("curator-x-discovery", "libcurator-discovery-java"),
    ("curator-recipes", "libcurator-recipes-java"),
    ("curator-framework", "libcurator-framework-java"),
    ("curator-client", "libcurator-client-java"),
    ("zookeeper", "zookeeper"),
    ("zookeeper-jute", "zookeeper"),
    ("guava", "libguava-java"),
    ("jackson-core", "libjackson2-core-java"),
    ("jackson-databind", "libjackson2-databind-java"),
    ("jackson-annotations", "libjackson2-annotations-java"),
    ("slf4j-api", "libslf4j-java"),
    ("slf4j-simple", "libslf4j-java"),
];

/// Prepares a run of the probe. Panics if a package is missing.
fn probe(zk: &Ensemble, arguments: &[&str]) -> Command {
    let jars: Vec<String> = JARS
        .iter()
        .map(|(name, package)| {
            let jar = format!("/usr/share/java/{name}.jar");
            assert!(Path::new(&jar).exists(), "{jar} is missing: apt-get install {package}");
            jar
        })
        .collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/discovery/Probe.java");
    let mut command = Command::new("java");
    command
        .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", &jars.join(":")])
        .arg(source)
        .arg(zk.connect_string())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Returns the lines that the probe prints.
async fn listed(zk: &Ensemble, arguments: &[&str]) -> Vec<String> {
    let command = tokio::process::Command::from(probe(zk, arguments)).kill_on_drop(true).output();
    let output = command.await.expect("java runs, from default-jdk-headless");
    assert!(output.status.success(), "the probe failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

/// Registers a node through Curator until the child is dropped.
fn registered(zk: &Ensemble, arguments: &[&str]) -> tokio::process::Child {
    let mut command = tokio::process::Command::from(probe(zk, arguments));
    command.kill_on_drop(true).spawn().expect("java runs, from default-jdk-headless")
}

#[tokio::test]
async fn curator_and_kirin_see_each_other_in_the_tree_of_kylin_5() {
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let a = Node::start(kylin5(&zk.connect_string()), Role::All, 1).await;
    let b = Node::start(kylin5(&zk.connect_string()), Role::Job, 2).await;
    a.until_sees(&["all:1", "job:2"]).await;
    b.until_sees(&["all:1", "job:2"]).await;
    let mut seen = listed(&zk, &["spring", SERVICES]).await;
    seen.sort();
    let expected = [(&a, "all", 1), (&b, "job", 2)].map(|(node, role, port)| {
        format!("{role} {} http://127.0.0.1:{port} DYNAMIC true {role}-1/{role}/{{instance_status=UP}}", node.said.id)
    });
    assert_eq!(seen, expected);
    let foreign = registered(&zk, &["spring", SERVICES, "query", "a-foreign-id", "127.0.0.1", "3"]);
    a.until_sees(&["all:1", "job:2", "query:3"]).await;
    {
        let peers = kirin_discovery::Discovery::peers(&a.discovery).borrow().clone();
        let peer = peers.with_role(Role::Query).next().expect("seen");
        assert_eq!((peer.id.as_str(), peer.is_up(), peer.registered_at_ms.is_some()), ("a-foreign-id", true, true));
    }
    // A killed process leaves when its session ends.
    drop(foreign);
    a.until_sees(&["all:1", "job:2"]).await;
}

#[tokio::test]
async fn curator_and_kirin_see_each_other_in_the_older_tree() {
    let zk = Ensemble::of(1).start().await.expect("an ensemble");
    let layout = Layout::SelfDiscovery { cluster: "kylin_metadata".to_owned() };
    let config = of_layout(&zk.connect_string(), layout);
    let a = Node::start(config, Role::Query, 1).await;
    a.until_sees(&["query:1"]).await;
    let base = "/kylin/kylin_metadata/service";
    let seen = listed(&zk, &["map", base]).await;
    assert_eq!(seen, [format!("cluster_servers {} 127.0.0.1:1 DYNAMIC true {{description=query}}", a.said.id)]);
    let _foreign = registered(&zk, &["map", base, "cluster_servers", "a-foreign-id", "127.0.0.1", "3"]);
    a.until_sees(&["job:3", "query:1"]).await;
}
