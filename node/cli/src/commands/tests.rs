//! Responses that no real node sends but a command must handle. Responses of real nodes are tested in `tests/contract`.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use clap::Parser;

use super::super::args::Command;
use super::*;

/// A node that responds with this data, by path.
#[derive(Clone, Default)]
struct Node(BTreeMap<&'static str, String>);

impl Node {
    fn on(mut self, path: &'static str, data: &str) -> Self {
        self.0.insert(path, format!(r#"{{"code":"000","data":{data},"msg":""}}"#));
        self
    }

    /// Runs a command line against the node.
    async fn run(self, line: &[&str]) -> (String, Result<(), Failure>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(self);
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let options = ["kirin", "--url", &url, "--user", "u", "--password", "p"];
        let line = options.iter().chain(line);
        let cli = Cli::try_parse_from(line).unwrap();
        let Command::Client(command) = cli.command else { panic!("{:?} sends no request to a node", cli.command) };
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, &cli.global);
        (screen.color, screen.interactive) = (false, false);
        let result = run(&cli.global, command, &mut screen).await;
        server.abort();
        (String::from_utf8(out).unwrap(), result)
    }
}

async fn answer(State(node): State<Node>, uri: Uri) -> (StatusCode, String) {
    let path = uri.path().strip_prefix("/kylin/api").unwrap_or("?");
    node.0.get(path).map_or((StatusCode::NOT_FOUND, String::new()), |answer| (StatusCode::OK, answer.clone()))
}

#[tokio::test]
async fn json_output_is_the_servers_response_unchanged() {
    let data = r#"{"value":[ {"id":"j1","later":1.50} ],"total_size":1}"#;
    let (out, result) = Node::default().on("/jobs", data).run(&["job", "list", "-o", "json"]).await;
    assert_eq!((out, result), (format!("{data}\n"), Ok(())));
}

#[tokio::test]
async fn an_exception_in_a_successful_response_is_exit_code_1() {
    let node = Node::default().on("/query", r#"{"isException":true,"exceptionMessage":"no model found"}"#);
    let failure = node.run(&["sql", "select"]).await.1.unwrap_err();
    assert_eq!((failure.exit, failure.what.as_str()), (Exit::Failed, "no model found"));
}

#[tokio::test]
async fn a_load_balancer_gets_the_addresses_of_the_members_that_serve_requests_and_nothing_else() {
    let members = r#"{ "members": [
        { "state": "up", "address": "10.0.0.2:7070" },
        { "state": "up", "address": "10.0.0.1:7070" },
        { "state": "draining", "address": "10.0.0.3:7070" },
        { "state": "left", "address": "10.0.0.4:7070" } ] }"#;
    let (text, result) = Node::default().on("/cluster", members).run(&["lb", "nginx"]).await;
    let servers: Vec<_> = text.lines().filter(|line| line.trim().starts_with("server 10.")).map(str::trim).collect();
    assert_eq!(servers, [1, 2, 3].map(|node| format!("server 10.0.0.{node}:7070 max_fails=1 fail_timeout=1s;")));
    assert_eq!(result, Ok(()));
    for members in [r#"{ "members": [] }"#, r#"{ "members": [{ "state": "up", "address": "x; }" }] }"#] {
        let (text, result) = Node::default().on("/cluster", members).run(&["lb", "nginx"]).await;
        assert_eq!((text.as_str(), result.unwrap_err().exit), ("", Exit::Failed));
    }
}

#[test]
fn a_load_balancer_listens_on_a_port_with_an_optional_address() {
    let parse = |listen: &str| Cli::try_parse_from(["kirin", "lb", "nginx", "--listen", listen]).is_ok();
    assert!(["8080", "127.0.0.1:80", "[::]:80", "*:80"].into_iter().all(parse));
    assert!(!["", "0", "80;", "x:y", ":80", "70000", "a b:80"].into_iter().any(parse));
}
