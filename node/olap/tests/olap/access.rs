//! Which files and buckets may be sources, and which are refused.

use crate::shop::*;
use crate::sources::Files;
use kirin_olap::*;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// An engine that may read below these directories.
fn below(roots: &[&Path]) -> Engine {
    let local = Local::Below(roots.iter().map(|root| root.to_path_buf()).collect());
    let access = Access { local, ..Access::default() };
    Engine::new(EngineConfig { threads: 2, access, ..EngineConfig::default() }).unwrap()
}

fn csv_at(path: &Path) -> Source {
    Source { format: Format::Csv, location: path.display().to_string(), csv: None, granted: None }
}

async fn refused(engine: &Engine, source: &Source) -> String {
    let error = engine.describe(source).await.expect_err(&source.location).to_string();
    let table = Table {
        name: "t".into(),
        source: source.clone(),
        columns: vec![Column { name: "k".into(), type_name: "BIGINT".into() }],
    };
    assert!(engine.check(&table).await.is_err(), "{error}");
    let snapshot = engine.open(Catalog { tables: vec![table], ..Catalog::default() }).unwrap();
    assert!(snapshot.ask("select k from t", raw()).await.is_err(), "the check also applies to stored tables: {error}");
    error
}

#[tokio::test]
async fn tables_read_only_files_below_the_configured_roots() {
    let files = Files::new().text("a.csv", "k\n1\n");
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.csv"), "k\n1\n").unwrap();
    let root = files.dir.path().join("t");
    let engine = below(&[&root]);
    assert_eq!(engine.describe(&csv_at(&root)).await.unwrap().files, 1);
    assert_eq!(engine.describe(&csv_at(&root.join("a.csv"))).await.unwrap().files, 1);
    assert_eq!(engine.describe(&csv_at(&root.join("*.csv"))).await.unwrap().files, 1);

    let there = refused(&engine, &csv_at(&outside.path().join("secret.csv"))).await;
    assert!(there.contains("kirin.source.roots") && there.contains("kirin table add"), "{there}");
    let nothing = refused(&engine, &csv_at(&outside.path().join("nothing.csv"))).await;
    assert_eq!(there.replace("secret", "nothing"), nothing, "a refusal does not tell what exists");
    for place in ["*.csv", ".", "s*.csv"] {
        let error = refused(&engine, &csv_at(&outside.path().join(place))).await;
        assert!(error.contains("kirin.source.roots"), "{error}");
    }
    let up = root.join("../../").join(outside.path().file_name().unwrap()).join("secret.csv");
    assert!(refused(&engine, &csv_at(&up)).await.contains("kirin.source.roots"));
    let url = Source { location: format!("file://{}/secret.csv", outside.path().display()), ..csv_at(&root) };
    assert!(refused(&engine, &url).await.contains("kirin.source.roots"));
    assert!(refused(&below(&[]), &csv_at(&root)).await.contains("kirin.source.roots"), "by default nothing is allowed");
}

#[tokio::test]
async fn a_granted_path_is_readable_through_its_table_only() {
    let files = Files::new().text("a.csv", "k\n1\n").text("b.csv", "k\n2\n");
    let (engine, place) = (below(&[]), files.dir.path().join("t"));
    let mut granted = csv_at(&place.join("a.csv"));
    granted.granted = granted.local_root().map(|root| root.display().to_string());
    assert_eq!(engine.describe(&granted).await.unwrap().files, 1);
    let pattern = csv_at(&place.join("*.csv"));
    assert_eq!(pattern.local_root(), place.canonicalize().ok());
    refused(&engine, &csv_at(&place.join("a.csv"))).await;
    refused(&engine, &Source { location: place.join("b.csv").display().to_string(), ..granted }).await;
}

#[tokio::test]
async fn symbolic_links_that_leave_the_roots_are_refused() {
    let files = Files::new().text("a.csv", "k\n1\n");
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir(outside.path().join("d=1")).unwrap();
    for name in ["secret.csv", "d=1/secret.csv"] {
        std::fs::write(outside.path().join(name), "k\n1\n").unwrap();
    }
    let root = files.dir.path().join("t");
    let engine = below(&[&root]);
    symlink("a.csv", root.join("b.csv")).unwrap();
    assert_eq!(engine.describe(&csv_at(&root)).await.unwrap().files, 2, "a link that stays inside is followed");
    for (name, target) in [("c.csv", "secret.csv"), ("d=1", "d=1"), ("e", "")] {
        let link = root.join(name);
        symlink(outside.path().join(target), &link).unwrap();
        let place = if name == "e" { link.clone() } else { root.clone() };
        let error = refused(&engine, &csv_at(&place)).await;
        assert!(error.contains("symbolic link") && error.contains(name), "{error}");
        std::fs::remove_file(&link).unwrap();
    }
    // The root itself may be a link.
    let alias = outside.path().join("alias");
    symlink(&root, &alias).unwrap();
    assert_eq!(below(&[&alias]).describe(&csv_at(&root)).await.unwrap().files, 2);
    assert_eq!(below(&[&alias]).describe(&csv_at(&alias)).await.unwrap().files, 2);
}

#[tokio::test]
async fn a_file_that_becomes_a_link_after_it_was_pinned_is_not_read() {
    let files = Files::new().text("a.csv", "k\n1\n");
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.csv");
    std::fs::write(&secret, "k\n2\n").unwrap();
    let root = files.dir.path().join("t");
    let engine = below(&[&root]);
    let source = csv_at(&root);
    let columns = engine.describe(&source).await.unwrap().columns;
    let table = Table { name: "t".into(), source, columns };
    let snapshot = engine.open(Catalog { tables: vec![table], ..Catalog::default() }).unwrap();
    assert_eq!(shown(&snapshot.ask("select k from t", raw()).await.unwrap()), ["1"]);
    std::fs::remove_file(root.join("a.csv")).unwrap();
    symlink(&secret, root.join("a.csv")).unwrap();
    let error = snapshot.ask("select k from t", raw()).await.unwrap_err().to_string();
    assert!(error.contains("symbolic link"), "{error}");
}

#[tokio::test]
async fn only_regular_files_are_opened() {
    let files = Files::new().text("a.csv", "k\n1\n");
    let root = files.dir.path().join("t");
    let pipe = root.join("pipe.csv");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    symlink("/dev/zero", root.join("zero.csv")).unwrap();
    let engine = files.engine.clone();
    let described = engine.describe(&csv_at(&root)).await.unwrap();
    assert_eq!(described.files, 1, "the pipe and the device are passed over: {described:?}");
    for path in [pipe, root.join("zero.csv"), "/dev/zero".into()] {
        let error = refused(&engine, &csv_at(&path)).await;
        assert!(error.contains("not a regular file"), "{error}");
    }
}

/// Counts connections and answers each with 404.
fn counting_server() -> (String, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (url, count)
}

#[tokio::test]
async fn helper_process_opens_a_bucket() {
    let Some(role) = std::env::var_os("KIRIN_BUCKET_CHILD") else { return };
    let open_within = if role == "hasty" { Duration::from_millis(200) } else { Duration::from_secs(60) };
    let access = Access { s3_instance_role: role == "role", open_within, ..Access::default() };
    let engine = Engine::new(EngineConfig { threads: 2, access, ..EngineConfig::default() }).unwrap();
    let location = "s3://bucket/t/*.csv".into();
    let source = Source { format: Format::Csv, location, csv: None, granted: None };
    println!("refused: {}", engine.describe(&source).await.expect_err("there is no such bucket"));
}

/// The output of a process that opens a bucket.
fn child(role: &str, metadata: &str, endpoint: &str, keys: &[(&str, &str)]) -> String {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "access::helper_process_opens_a_bucket", "--nocapture"]).env("KIRIN_BUCKET_CHILD", role);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().to_ascii_uppercase().starts_with("AWS_") {
            child.env_remove(name);
        }
    }
    child.env("AWS_METADATA_ENDPOINT", metadata).env("AWS_ENDPOINT_URL", endpoint).env("AWS_ALLOW_HTTP", "true");
    let output = child.envs(keys.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("refused: "), "{text}");
    text
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];

#[test]
fn opening_a_bucket_never_requests_credentials_of_the_machine() {
    // Stand-ins on the loopback for the cloud's metadata service and its store.
    let ((metadata, asked), (endpoint, stored)) = (counting_server(), counting_server());
    let text = child("none", &metadata, &endpoint, &[]);
    assert!(text.contains("AWS_ACCESS_KEY_ID") && text.contains("kirin.source.s3.instance-role"), "{text}");
    assert_eq!((asked.load(Ordering::SeqCst), stored.load(Ordering::SeqCst)), (0, 0), "nothing was sent");
    child("none", &metadata, &endpoint, &KEYS);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "with keys there is nothing to ask for");
    assert!(stored.load(Ordering::SeqCst) > 0, "the store was asked");
    child("role", &metadata, &endpoint, &[]);
    assert!(asked.load(Ordering::SeqCst) > 0, "the switch is for that");
}

#[test]
fn opening_a_source_has_a_deadline() {
    // The kernel accepts connections, but no process answers them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let text = child("hasty", &endpoint, &endpoint, &KEYS);
    assert!(text.contains("did not answer within 200ms"), "{text}");
}
