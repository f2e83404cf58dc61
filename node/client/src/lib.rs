//! The client of the HTTP API: sends requests of [`kirin_wire`] to a list of nodes.
//!
//! The client skips a node that it cannot connect to. If a request was sent and got no answer, the client repeats it at
//! the
//! next node only if repeating is safe: reads, and submits with an idempotency key. Otherwise the error says that the
//! request
//! may have been carried out. Nothing else is retried.
//!
//! Terminals, exit codes and rendering are not part of this crate.

use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use kirin_wire::{Code, Envelope};

mod error;

pub use error::{Error, Kind};

type Result<T> = std::result::Result<T, Error>;

/// The media type of the public API.
pub const ACCEPT: &str = "application/vnd.apache.kylin-v4-public+json";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(30);
const NEXT_LOGIN: &str = "Log in with --user and --password (or KIRIN_PASSWORD). The first start of a cluster prints the administrator's password.";

/// The user and the password that requests carry.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    user: String,
    password: String,
}

impl Login {
    /// A login.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password in clear text.
    pub fn password(&self) -> &str {
        &self.password
    }
}

/// Omits the password.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A client of one or more nodes.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    nodes: Vec<Url>,
    login: Option<Login>,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    params: String,
    headers: Vec<(&'static str, String)>,
    body: Option<serde_json::Value>,
    repeatable: bool,
    timeout: Option<Duration>,
}

impl Request {
    fn new(method: Method, path: &[&str]) -> Self {
        let repeatable = method == Method::GET;
        let path = path.iter().map(|&part| part.to_owned()).collect();
        let (query, headers, params, timeout) = (Vec::new(), Vec::new(), String::new(), Some(TIMEOUT));
        Self { method, path, query, params, headers, body: None, repeatable, timeout }
    }

    /// A GET request. The parts of the path are percent-encoded.
    pub fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path)
    }

    /// A POST request.
    pub fn post(path: &[&str]) -> Self {
        Self::new(Method::POST, path)
    }

    /// A PUT request.
    pub fn put(path: &[&str]) -> Self {
        Self::new(Method::PUT, path)
    }

    /// A DELETE request.
    pub fn delete(path: &[&str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Sets the query string.
    ///
    /// # Errors
    /// If the parameters cannot be encoded as a query string.
    pub fn query(mut self, params: &impl Serialize) -> Result<Self> {
        self.params = serde_html_form::to_string(params)
            .map_err(|e| Error::failed(format!("cannot encode the query parameters: {e}")))?;
        Ok(self)
    }

    /// Sets the body.
    ///
    /// # Errors
    /// If the body cannot be encoded as JSON.
    pub fn body(mut self, body: &impl Serialize) -> Result<Self> {
        let body =
            serde_json::to_value(body).map_err(|e| Error::failed(format!("cannot encode the request as JSON: {e}")))?;
        self.body = Some(body);
        Ok(self)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Allows the client to repeat the request although it is not a read.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Waits for the answer without a timeout.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.timeout = None;
        self
    }
}

impl Client {
    /// The login that requests carry.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// A client of the nodes at `urls`, which are tried in this order.
    ///
    /// # Errors
    /// If one of them is not an http URL.
    pub fn new(urls: &[String], login: Option<Login>) -> Result<Self> {
        let nodes = urls.iter().map(|text| base(text)).collect::<Result<Vec<_>>>()?;
        if nodes.is_empty() {
            return Err(Error::usage("--url is empty; give the URL of a node, such as http://127.0.0.1:7070"));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("kirin/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::failed(format!("cannot set up the HTTP client: {e}")))?;
        Ok(Self { http, nodes, login })
    }

    /// Sends a request. Returns the data of the envelope unchanged.
    ///
    /// # Errors
    /// An [`Error`] of the kind that applies.
    pub async fn raw(&self, request: Request) -> Result<Box<RawValue>> {
        let (status, text) = self.send(&request).await?;
        let envelope = serde_json::from_str::<Envelope<Box<RawValue>>>(&text);
        match envelope {
            Ok(envelope) if status.is_success() && matches!(envelope.code.as_str(), "000" | "") => {
                Ok(envelope.data.unwrap_or_else(|| RawValue::NULL.to_owned()))
            }
            Ok(envelope) => Err(failure(status, &envelope)),
            Err(_) if !status.is_success() => Err(foreign(status, &text)),
            Err(e) => Err(Error::new(
                Kind::Failed,
                format!("the response is not Kylin's JSON envelope: {e}"),
                "Check that --url is the address of a Kirin node.",
            )),
        }
    }

    /// Sends a request. Returns the decoded data of the envelope.
    ///
    /// # Errors
    /// An [`Error`] of the kind that applies.
    pub async fn call<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        decode(&self.raw(request).await?)
    }

    /// Sends a request whose response is plain text, not an envelope.
    ///
    /// # Errors
    /// An [`Error`] of the kind that applies.
    pub async fn text(&self, request: Request) -> Result<String> {
        let (status, text) = self.send(&request).await?;
        if status.is_success() {
            return Ok(text);
        }
        Err(serde_json::from_str::<Envelope<Box<RawValue>>>(&text)
            .map_or_else(|_| foreign(status, &text), |envelope| failure(status, &envelope)))
    }

    async fn send(&self, request: &Request) -> Result<(StatusCode, String)> {
        let mut tried = Vec::new();
        for node in &self.nodes {
            match self.send_to(node, request).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_connect() || request.repeatable => {
                    tried.push(format!("{}: {}", node.origin().ascii_serialization(), reason(&error)));
                }
                Err(error) => {
                    return Err(Error::new(
                        Kind::Unreachable,
                        format!("no response from {}: {}", node.origin().ascii_serialization(), reason(&error)),
                        "The request may have been carried out. Check with `kirin job list` before you repeat it.",
                    ));
                }
            }
        }
        Err(Error::new(
            Kind::Unreachable,
            format!("cannot reach any node (tried {})", tried.join("; ")),
            "Start a node with `kirin start`, or set --url or KIRIN_URL (several URLs: comma-separated).",
        ))
    }

    async fn send_to(
        &self,
        node: &Url,
        request: &Request,
    ) -> std::result::Result<(StatusCode, String), reqwest::Error> {
        let mut url = node.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["kylin", "api"]).extend(&request.path);
        }
        if !request.params.is_empty() {
            url.set_query(Some(&request.params));
        }
        let mut builder = self.http.request(request.method.clone(), url).header("Accept", ACCEPT);
        if !request.query.is_empty() {
            builder = builder.query(&request.query);
        }
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(login) = &self.login {
            builder = builder.basic_auth(&login.user, Some(&login.password));
        }
        if let Some(body) = &request.body {
            builder = builder.json(body);
        }
        if let Some(timeout) = request.timeout {
            builder = builder.timeout(timeout);
        }
        let response = builder.send().await?;
        let status = response.status();
        Ok((status, response.text().await?))
    }
}

/// Decodes data of a node.
///
/// # Errors
/// If this version does not know its structure.
pub fn decode<T: DeserializeOwned>(data: &RawValue) -> Result<T> {
    serde_json::from_str(data.get()).map_err(|e| {
        Error::new(
            Kind::Failed,
            format!("the node's response has an unknown structure: {e}"),
            "The node may run another version. `-o json` prints the response unchanged.",
        )
    })
}

/// A node's base URL. A plain `host:port` means http.
fn base(text: &str) -> Result<Url> {
    let text = text.trim();
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    match Url::parse(&full) {
        Ok(url) if url.scheme() == "http" && url.host().is_some() => Ok(url),
        Ok(url) if url.scheme() == "https" => {
            Err(Error::usage(format!("--url {text}: https is not supported; use a local proxy that terminates TLS")))
        }
        _ => Err(Error::usage(format!("--url '{text}' is not the URL of a node, such as http://127.0.0.1:7070"))),
    }
}

/// The innermost cause of an error, which says what happened.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// An error response without an envelope, from a proxy or from another kind of server.
fn foreign(status: StatusCode, text: &str) -> Error {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().take(200).collect();
    let what = format!("the response is {status} without the JSON of a Kirin node: {line}");
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::new(Kind::Auth, what, NEXT_LOGIN),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Error::new(Kind::Unreachable, what, "A proxy responds, but no node behind it does.")
        }
        _ => Error::new(Kind::Failed, what, "Check that --url is the address of a Kirin node."),
    }
}

fn failure(status: StatusCode, envelope: &Envelope<Box<RawValue>>) -> Error {
    let code = Code::parse(&envelope.error_code);
    let kind = kind(status, code);
    let text = [&envelope.msg, &envelope.exception].into_iter().find(|text| !text.is_empty());
    let what = match text {
        Some(text) if envelope.error_code.is_empty() || text.contains(&envelope.error_code) => text.clone(),
        Some(text) => format!("{}: {text}", envelope.error_code),
        None => format!("the node responded with {status}"),
    };
    let next = match (kind, status) {
        _ if !envelope.suggestion.is_empty() => envelope.suggestion.as_str(),
        (Kind::Auth, StatusCode::FORBIDDEN) => {
            "This user lacks the permission. Ask an administrator, or log in as another user."
        }
        (Kind::Auth, _) => NEXT_LOGIN,
        (Kind::NotFound, _) => {
            "The `list` commands list existing objects. --project or KIRIN_PROJECT selects the project."
        }
        (Kind::Refused, _) => "`kirin job show ID` shows the state. RESUME applies to failed and paused jobs only.",
        (_, StatusCode::SERVICE_UNAVAILABLE) => "The node is starting or draining. Try again, or use another node.",
        _ => "",
    };
    Error { kind, code, what, next: next.to_owned() }
}

fn kind(status: StatusCode, code: Option<Code>) -> Kind {
    // Kylin's nodes respond with 500 to every refused request. Only the code tells the kind.
    let status = match code {
        Some(code) if status == StatusCode::INTERNAL_SERVER_ERROR => code.status(),
        _ => status.as_u16(),
    };
    match status {
        401 | 403 => Kind::Auth,
        404 => Kind::NotFound,
        409 | 412 | 423 => Kind::Refused,
        400 | 422 => Kind::Usage,
        _ => Kind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Responds to each connection with the next of `answers`. Returns the requests.
    fn serve(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let answer = |answer: &String| {
                let mut stream = listener.accept().unwrap().0;
                let mut request = Vec::new();
                let mut chunk = [0; 4_096];
                while !whole(&request) {
                    let n = stream.read(&mut chunk).unwrap();
                    request.extend_from_slice(&chunk[..n]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(request).unwrap()
            };
            answers.iter().map(answer).collect()
        });
        (url, thread)
    }

    fn whole(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        body.len() >= length.map_or(0, |n| n.trim().parse().unwrap())
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    /// An address without a listener.
    fn unused_address() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    fn client(urls: &[String]) -> Client {
        Client::new(urls, Some(Login::new("u", "p"))).unwrap()
    }

    #[tokio::test]
    async fn an_unreachable_node_is_skipped_and_the_request_has_kylins_form() {
        let (url, served) = serve(vec![answer("200 OK", r#"{"code":"000","data":{"x":  1},"msg":""}"#)]);
        let request = Request::post(&["jobs", "a b/c", "d"]).with("project", "p q").body(&[1]).unwrap();
        let data = client(&[unused_address(), url]).raw(request).await.unwrap();
        assert_eq!(data.get(), r#"{"x":  1}"#);
        let seen = served.join().unwrap().remove(0);
        assert!(seen.starts_with("POST /kylin/api/jobs/a%20b%2Fc/d?project=p+q HTTP/1.1"), "{seen}");
        let lower = seen.to_lowercase();
        assert!(lower.contains(&format!("accept: {ACCEPT}")) && lower.contains("authorization: basic"), "{seen}");
        assert!(seen.ends_with("[1]"), "{seen}");
    }

    #[tokio::test]
    async fn unreachable_nodes_are_listed_in_the_error() {
        let failure = client(&[unused_address(), unused_address()]).raw(Request::get(&["x"])).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Unreachable);
        assert_eq!(failure.what.matches("refused").count(), 2, "{failure}");
        assert!(failure.next.contains("kirin start"));
    }

    #[tokio::test]
    async fn a_write_with_a_lost_answer_is_repeated_only_if_it_is_repeatable() {
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_owned();
        let good = || answer("200 OK", r#"{"code":"000","data":7,"msg":""}"#);
        let (first, served) = serve(vec![cut.clone()]);
        let failure = client(&[first, unused_address()]).raw(Request::post(&["x"])).await.unwrap_err();
        assert!(failure.kind == Kind::Unreachable && failure.next.contains("may have been carried out"), "{failure}");
        served.join().unwrap();
        let ((first, one), (second, two)) = (serve(vec![cut]), serve(vec![good()]));
        let data: u32 = client(&[first, second]).call(Request::post(&["x"]).repeatable()).await.unwrap();
        assert_eq!(data, 7);
        one.join().unwrap();
        two.join().unwrap();
    }

    #[tokio::test]
    async fn the_kind_of_an_error_follows_from_status_and_code() {
        let kylin = |code: &str| format!(r#"{{"code":"999","data":null,"msg":"{code}: no","error_code":"{code}"}}"#);
        for (status, body, kind) in [
            ("401 Unauthorized", String::new(), Kind::Auth),
            ("403 Forbidden", kylin("unknown-1"), Kind::Auth),
            ("500 Oops", kylin(Code::NoJob.as_str()), Kind::NotFound),
            ("500 Oops", kylin(Code::NoProject.as_str()), Kind::NotFound),
            ("500 Oops", kylin(Code::WrongState.as_str()), Kind::Refused),
            ("409 Conflict", kylin(Code::Overlap.as_str()), Kind::Refused),
            ("409 Conflict", kylin(""), Kind::Refused),
            ("404 Not Found", kylin(""), Kind::NotFound),
            ("404 Not Found", "<html>\n".into(), Kind::Failed),
            ("502 Bad Gateway", "<html>\n".into(), Kind::Unreachable),
            ("400 Bad Request", kylin("unknown-2"), Kind::Usage),
            ("500 Oops", kylin("unknown-3"), Kind::Failed),
            ("200 OK", kylin("unknown-3"), Kind::Failed),
            ("200 OK", "<html>".into(), Kind::Failed),
        ] {
            let (url, served) = serve(vec![answer(status, &body)]);
            let failure = client(&[url]).raw(Request::get(&["x"])).await.unwrap_err();
            assert_eq!(failure.kind, kind, "{status} {body}: {failure}");
            served.join().unwrap();
        }
    }

    #[test]
    fn a_node_address_is_a_url_or_host_and_port() {
        assert_eq!(base("h:7070").unwrap().as_str(), "http://h:7070/");
        assert!(base("https://h").unwrap_err().what.contains("https is not supported"));
        assert_eq!(base("ftp://h").unwrap_err().kind, Kind::Usage);
    }
}
