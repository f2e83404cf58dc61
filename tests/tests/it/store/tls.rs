//! Encrypted connections to real servers, with certificates of a private authority.

use std::path::{Path, PathBuf};
use std::process::Command;

use kirin_store::{Backend, Store, StoreConfig, StoreError, Tls, TlsMode};
use kirin_tests::servers::mariadb::MariaDb;
use kirin_tests::servers::postgres::Postgres;

use super::{On, config, open};

/// An authority, its certificate for 127.0.0.1, and an unrelated authority.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn make() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let openssl = |args: &[&str]| {
            let out = Command::new("openssl").args(args).current_dir(directory.path()).output().expect("openssl runs");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        };
        for name in ["ca", "other"] {
            let subject = format!("/CN=Kirin test {name}");
            let [key, certificate] = ["key", "crt"].map(|kind| format!("{name}.{kind}"));
            let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
            openssl(&[&new[..], &["-subj", &subject, "-keyout", &key, "-out", &certificate]].concat());
        }
        let ask = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=server"];
        openssl(&[&ask[..], &["-keyout", "server.key", "-out", "server.csr"]].concat());
        std::fs::write(directory.path().join("names"), "subjectAltName=IP:127.0.0.1\n").expect("it is written");
        let sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
        openssl(&[&sign[..], &["-days", "2", "-extfile", "names", "-out", "server.crt"]].concat());
        Self(directory)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn with(url: &str, mode: TlsMode, root: Option<&Path>) -> StoreConfig {
    let mut config = StoreConfig::new(url.parse().expect("a URL"));
    config.tls = Some(Tls { mode, root: root.map(Path::to_owned), ..Tls::default() });
    config
}

async fn refused(config: &StoreConfig) -> String {
    match Store::open(config).await {
        Err(StoreError::Unusable(why)) => why,
        Err(other) => panic!("refused for another reason: {other:?}"),
        Ok(_) => panic!("opened"),
    }
}

/// Checks for both servers: a connection requires a trusted authority and the correct name.
async fn verification_follows_the_configuration(url: &str, certificates: &Certificates) {
    let (ca, other) = (certificates.file("ca.crt"), certificates.file("other.crt"));
    let elsewhere = url.replace("127.0.0.1", "localhost");
    for mode in [TlsMode::Prefer, TlsMode::Require] {
        open(&with(url, mode, None)).await.close().await;
    }
    for mode in [TlsMode::VerifyCa, TlsMode::VerifyFull] {
        open(&with(url, mode, Some(&ca))).await.close().await;
        let why = refused(&with(url, mode, Some(&other))).await;
        assert!(why.contains("UnknownIssuer"), "{why}");
        refused(&with(url, mode, None)).await;
    }
    open(&with(&elsewhere, TlsMode::VerifyCa, Some(&ca))).await.close().await;
    let why = refused(&with(&elsewhere, TlsMode::VerifyFull, Some(&ca))).await;
    assert!(why.contains("not valid for name") || why.contains("NotValidForName"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_postgresql_are_encrypted_and_verified() {
    let certificates = Certificates::make();
    let mut server = Postgres::start(false).expect("a private PostgreSQL starts");
    let plain = server.database().expect("a database");
    refused(&with(&plain, TlsMode::Require, None)).await;
    server.encrypt(&certificates.file("server.crt"), &certificates.file("server.key")).expect("it starts again");
    let encrypted = |wanted: bool| {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
             WHERE application_name = 'kirin' AND ssl = {wanted}"
        );
        server.query("postgres", &sql).expect("it answers").parse::<u32>().expect("a number")
    };
    let url = server.database().expect("a database");
    let store = open(&with(&url, TlsMode::VerifyFull, Some(&certificates.file("ca.crt")))).await;
    assert!(encrypted(true) > 0 && encrypted(false) == 0);
    store.projects().await.expect("it answers");
    assert!(encrypted(true) > 0 && encrypted(false) == 0);
    let clear = open(&with(&url, TlsMode::Disable, None)).await;
    assert!(encrypted(false) > 0);
    clear.close().await;
    verification_follows_the_configuration(&url, &certificates).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_mariadb_are_encrypted_and_verified() {
    let certificates = Certificates::make();
    let mut server = MariaDb::start(false).expect("a private MariaDB starts");
    let url = server.database().expect("a database");
    refused(&with(&url, TlsMode::Require, None)).await;
    server.encrypt(&certificates.file("server.crt"), &certificates.file("server.key")).expect("it starts again");
    // The server accepts only encrypted connections.
    assert!(Store::open(&with(&url, TlsMode::Disable, None)).await.is_err());
    verification_follows_the_configuration(&url, &certificates).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_schema_is_a_separate_cluster() {
    let base = config(On::Postgres);
    let Backend::Postgres { url } = &base.backend else { panic!("PostgreSQL") };
    let database = url.rsplit('/').next().expect("a database");
    let run = |sql: &str| Postgres::shared().query(database, sql).expect("it answers");
    run(&format!("CREATE SCHEMA \"one_{0}\"; CREATE SCHEMA \"two_{0}\"", base.identifier.to_lowercase()));
    let mut stores = Vec::new();
    for schema in ["one", "two"] {
        let mut config = base.clone();
        config.schema = Some(format!("{schema}_{},public", base.identifier.to_lowercase()));
        let store = open(&config).await;
        assert!(store.project_add(schema, 1, "", "{}").await.expect("it is made").is_some());
        stores.push(store);
    }
    for (store, schema) in stores.iter().zip(["one", "two"]) {
        let names: Vec<_> = store.projects().await.expect("they are read").into_iter().map(|it| it.name).collect();
        assert_eq!(names, [schema]);
    }
    let mut missing = base.clone();
    missing.schema = Some("three,public".to_owned());
    match Store::open(&missing).await {
        Err(StoreError::Config(why)) => assert!(why.contains("the database has no schema three"), "{why}"),
        other => panic!("a missing schema was answered by {:?}", other.err()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_may_be_an_ipv6_address() {
    let port = kirin_tests::servers::process::free_ports(1).expect("a port")[0];
    let listener = tokio::net::TcpListener::bind(("::1", port)).await;
    let Ok(listener) = listener else { panic!("this machine has no IPv6 loopback, so the test cannot run") };
    for scheme in ["postgres", "mysql"] {
        let config = StoreConfig::new(format!("{scheme}://u@[::1]:{port}/d").parse().expect("a URL"));
        let (connected, opened) = tokio::join!(
            async {
                // The client connected, and its connection is closed.
                listener.accept().await.map(drop)
            },
            Store::open(&config),
        );
        connected.expect("the address is parsed");
        assert!(opened.is_err());
    }
}
