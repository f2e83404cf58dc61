//! The settings of ZooKeeper, checked before use.
//!
//! No `Debug`, log or error of this crate shows a password or the hash of one.

use std::fmt;
use std::time::Duration;

use zookeeper_client::{Acl, AuthId, Permission};

use super::layout::Layout;
use crate::address;
use crate::error::Error;

const CONNECT_STRING: &str = "kylin.env.zookeeper-connect-string";
const BASE_PATH: &str = "kylin.env.zookeeper-base-path";
const SESSION_TIMEOUT: &str = "kylin.env.zookeeper-session-client-timeout-threshold";
const CONNECTION_TIMEOUT: &str = "kylin.env.zookeeper-connection-client-timeout-threshold";
const AUTH: &str = "kylin.env.zookeeper.zk-auth";
const ACL: &str = "kylin.env.zookeeper.zk-acl";
const CLUSTER: &str = "kylin.server.cluster-name";

/// The port of an entry without one.
const DEFAULT_PORT: u16 = 2181;

/// The settings as written in `kylin.properties`. Not `Debug`, because `auth` and `acl` contain secrets.
#[derive(Clone)]
pub struct ZooKeeperSettings<'a> {
    /// `kylin.env.zookeeper-connect-string`: `host:port,host:port`, optionally followed by `/chroot`.
    pub connect_string: &'a str,
    /// `kylin.env.zookeeper-base-path`. Kylin 5 ignores it and registers below `/kylin`, so change it only for a cluster
    /// without Kylin nodes.
    pub base_path: &'a str,
    /// The session timeout to request. The server may grant less.
    pub session_timeout: Duration,
    /// How long a server may be silent before the next one is tried. Values above 3/5 of the session timeout have no effect.
    pub connection_timeout: Duration,
    /// `kylin.env.zookeeper-acl-enabled`: without it, `auth` and `acl` are ignored.
    pub acl_enabled: bool,
    /// `kylin.env.zookeeper.zk-auth`: `digest:user:password`; blank for none.
    pub auth: &'a str,
    /// `kylin.env.zookeeper.zk-acl`: `scheme:id:permissions`, several with commas between.
    pub acl: &'a str,
}

impl Default for ZooKeeperSettings<'_> {
    /// Kylin's defaults; the connect string has none.
    fn default() -> Self {
        ZooKeeperSettings {
            connect_string: "",
            base_path: "/kylin",
            session_timeout: Duration::from_secs(60),
            connection_timeout: Duration::from_secs(15),
            acl_enabled: false,
            auth: "",
            acl: "world:anyone:rwcda",
        }
    }
}

/// Settings that passed the checks.
#[derive(Clone)]
pub struct ZooKeeperConfig {
    /// `host:port,host:port`, without a chroot.
    pub(super) servers: String,
    /// The chroot of the connect string; empty, or begins with `/`. It is not passed to the client, which cannot create one.
    pub(super) chroot: String,
    /// The prefix of all paths, including the chroot; empty, or begins with `/`.
    pub(super) base: String,
    pub(super) layout: Layout,
    pub(super) session_timeout: Duration,
    pub(super) connection_timeout: Duration,
    pub(super) auth: Option<Auth>,
    pub(super) acl: Vec<Acl>,
}

/// A scheme and its secret.
#[derive(Clone)]
pub(super) struct Auth {
    pub(super) scheme: String,
    pub(super) secret: Vec<u8>,
}

impl ZooKeeperConfig {
    /// Checks the settings. The error names the invalid one.
    pub fn new(settings: &ZooKeeperSettings<'_>, layout: Layout) -> Result<Self, Error> {
        let (servers, chroot) = parse_connect_string(settings.connect_string)?;
        let base_path = parse_path(BASE_PATH, settings.base_path)?;
        let cluster = layout.cluster();
        if cluster.is_empty() || cluster.contains('/') || cluster == "." || cluster == ".." {
            return Err(wrong(CLUSTER, format!("{cluster:?} cannot be part of a path")));
        }
        if !(MIN_SESSION..=MAX_SESSION).contains(&settings.session_timeout) {
            return Err(wrong(SESSION_TIMEOUT, "allowed are 100 ms to 1 h".to_owned()));
        }
        if settings.connection_timeout.is_zero() {
            return Err(wrong(CONNECTION_TIMEOUT, "with 0, every server would time out at once".to_owned()));
        }
        let (auth, acl) = if settings.acl_enabled {
            (parse_auth(settings.auth)?, parse_acl(settings.acl)?)
        } else {
            (None, vec![Acl::new(Permission::ALL, AuthId::anyone())])
        };
        if auth.is_none() && acl.iter().any(|acl| acl.scheme() == "auth") {
            return Err(wrong(ACL, format!("the scheme auth needs {AUTH}")));
        }
        Ok(ZooKeeperConfig {
            servers,
            base: format!("{chroot}{base_path}"),
            chroot,
            layout,
            session_timeout: settings.session_timeout,
            connection_timeout: settings.connection_timeout,
            auth,
            acl,
        })
    }
}

const MIN_SESSION: Duration = Duration::from_millis(100);
const MAX_SESSION: Duration = Duration::from_secs(3600);

impl fmt::Debug for ZooKeeperConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZooKeeperConfig")
            .field("servers", &self.servers)
            .field("base", &self.base)
            .field("layout", &self.layout)
            .field("session_timeout", &self.session_timeout)
            .field("connection_timeout", &self.connection_timeout)
            .field("auth", &self.auth.as_ref().map(|auth| &auth.scheme))
            .field("acl", &self.acl.iter().map(Acl::scheme).collect::<Vec<_>>())
            .finish()
    }
}

fn wrong(setting: &'static str, reason: String) -> Error {
    Error::Setting { setting, reason }
}

/// Splits off the chroot and checks every server.
fn parse_connect_string(text: &str) -> Result<(String, String), Error> {
    if text.contains("://") {
        return Err(wrong(CONNECT_STRING, "write host:port without a protocol; TLS is not supported".to_owned()));
    }
    let (servers, chroot) = match text.trim().split_once('/') {
        Some((servers, chroot)) => (servers, parse_path(CONNECT_STRING, &format!("/{chroot}"))?),
        None => (text.trim(), String::new()),
    };
    let mut checked = Vec::new();
    for entry in servers.split(',').map(str::trim) {
        if entry.is_empty() {
            return Err(wrong(CONNECT_STRING, "a server is missing; write host:port,host:port".to_owned()));
        }
        let (host, port) = address::parse_host_and_perhaps_port(entry)
            .map_err(|reason| wrong(CONNECT_STRING, format!("entry {entry:?}: {reason}")))?;
        checked.push(address::join(&host, port.unwrap_or(DEFAULT_PORT)));
    }
    Ok((checked.join(","), chroot))
}

/// Checks an absolute path and removes the slash at its end; `/` becomes empty.
fn parse_path(setting: &'static str, path: &str) -> Result<String, Error> {
    let path = path.trim().trim_end_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    let Some(segments) = path.strip_prefix('/') else {
        return Err(wrong(setting, format!("{path:?} does not begin with /")));
    };
    let bad = |segment: &str| matches!(segment, "" | "." | "..") || segment.contains(char::is_control);
    if segments.split('/').any(bad) {
        return Err(wrong(setting, format!("{path:?} has a segment that is empty, . or ..")));
    }
    Ok(path.to_owned())
}

fn parse_auth(text: &str) -> Result<Option<Auth>, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    // The text is a secret: an error must not repeat it.
    match text.split_once(':') {
        Some(("digest", secret)) if secret.split_once(':').is_some_and(|(user, _)| !user.is_empty()) => {
            Ok(Some(Auth { scheme: "digest".to_owned(), secret: secret.as_bytes().to_vec() }))
        }
        _ => Err(wrong(AUTH, "write digest:user:password".to_owned())),
    }
}

fn parse_acl(text: &str) -> Result<Vec<Acl>, Error> {
    let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    if entries.is_empty() {
        return Err(wrong(ACL, "an empty list allows no access; the default is world:anyone:rwcda".to_owned()));
    }
    entries.into_iter().enumerate().map(|(i, entry)| parse_acl_entry(i + 1, entry)).collect()
}

/// Parses `scheme:id:permissions`. The id may contain colons, as in `digest:user:hash:rwcda`.
fn parse_acl_entry(position: usize, entry: &str) -> Result<Acl, Error> {
    // An id may be the hash of a password, so the error names only the position.
    let wrong = |reason: &str| wrong(ACL, format!("entry {position}: {reason}"));
    let shape = "write scheme:id:permissions, for example world:anyone:rwcda";
    let (scheme, rest) = entry.split_once(':').ok_or_else(|| wrong(shape))?;
    let (id, letters) = rest.rsplit_once(':').ok_or_else(|| wrong(shape))?;
    match scheme {
        "world" if id != "anyone" => return Err(wrong("the only id of the scheme world is anyone")),
        "digest" if !id.contains(':') => return Err(wrong("write digest:user:hash:permissions")),
        "world" | "digest" | "auth" | "ip" | "sasl" | "x509" => {}
        _ => return Err(wrong("the scheme must be world, auth, digest, ip, sasl or x509")),
    }
    let mut permission = Permission::NONE;
    for letter in letters.chars() {
        permission = permission
            | match letter {
                'r' => Permission::READ,
                'w' => Permission::WRITE,
                'c' => Permission::CREATE,
                'd' => Permission::DELETE,
                'a' => Permission::ADMIN,
                _ => return Err(wrong("permissions are letters of rwcda")),
            };
    }
    if permission == Permission::NONE {
        return Err(wrong("the permissions are missing; letters are rwcda"));
    }
    Ok(Acl::new(permission, AuthId::new(scheme, id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut ZooKeeperSettings<'static>)) -> Result<ZooKeeperConfig, Error> {
        let mut settings = ZooKeeperSettings { connect_string: "zk1:2181,zk2", ..Default::default() };
        change(&mut settings);
        ZooKeeperConfig::new(&settings, Layout::Kylin5 { unique_id: "k".to_owned() })
    }

    fn refused(change: impl FnOnce(&mut ZooKeeperSettings<'static>)) -> String {
        config(change).expect_err("refused").to_string()
    }

    #[test]
    fn servers_get_a_default_port_and_the_chroot_precedes_the_base_path() {
        let plain = config(|_| {}).expect("valid");
        assert_eq!((plain.servers.as_str(), plain.base.as_str()), ("zk1:2181,zk2:2181", "/kylin"));
        let rooted = config(|s| s.connect_string = "zk1,[::1]:2182/apps/olap/").expect("valid");
        assert_eq!((rooted.servers.as_str(), rooted.base.as_str()), ("zk1:2181,[::1]:2182", "/apps/olap/kylin"));
        let bare = config(|s| s.base_path = "/").expect("valid");
        assert_eq!(bare.base, "");
    }

    #[test]
    fn bad_settings_are_refused_by_name() {
        assert!(refused(|s| s.connect_string = "").starts_with(CONNECT_STRING));
        assert!(refused(|s| s.connect_string = "zk1:99999").contains("\"zk1:99999\""));
        assert!(refused(|s| s.connect_string = "tcp+tls://zk1:2181").contains("TLS"));
        assert!(refused(|s| s.base_path = "kylin").starts_with(BASE_PATH));
        assert!(refused(|s| s.base_path = "/a//b").starts_with(BASE_PATH));
        assert!(refused(|s| s.session_timeout = Duration::ZERO).starts_with(SESSION_TIMEOUT));
        assert!(refused(|s| s.connection_timeout = Duration::ZERO).starts_with(CONNECTION_TIMEOUT));
        let layout = Layout::SelfDiscovery { cluster: "a/b".to_owned() };
        let settings = ZooKeeperSettings { connect_string: "zk1", ..Default::default() };
        assert!(ZooKeeperConfig::new(&settings, layout).expect_err("refused").to_string().starts_with(CLUSTER));
    }

    #[test]
    fn access_lists_are_parsed_only_when_enabled() {
        let acl = |text: &'static str| {
            config(|s| {
                (s.acl_enabled, s.auth, s.acl) = (true, "digest:kylin:s3cret", text);
            })
        };
        assert_eq!(
            acl("world:anyone:r,digest:kylin:aGFzaA==:rwcda").expect("valid").acl,
            [
                Acl::new(Permission::READ, AuthId::anyone()),
                Acl::new(Permission::ALL, AuthId::new("digest", "kylin:aGFzaA==")),
            ]
        );
        assert_eq!(acl("auth::rwcda").expect("valid").acl, [Acl::new(Permission::ALL, AuthId::authed())]);
        assert!(acl("world:somebody:r").is_err());
        assert!(acl("world:anyone:x").is_err());
        assert!(acl("").is_err());
        assert!(config(|s| s.acl = "nonsense").is_ok());
        assert!(refused(|s| (s.acl_enabled, s.acl) = (true, "auth::rwcda")).contains(AUTH));
    }

    #[test]
    fn no_text_contains_a_secret() {
        let with_secrets = config(|s| {
            (s.acl_enabled, s.auth, s.acl) = (true, "digest:kylin:s3cret", "digest:kylin:aGFzaA==:rwcda");
        })
        .expect("valid");
        let shown = format!("{with_secrets:?}");
        assert!(shown.contains("digest") && !shown.contains("s3cret") && !shown.contains("aGFzaA"), "{shown}");
        let error = refused(|s| (s.acl_enabled, s.auth) = (true, "digist:kylin:s3cret"));
        assert!(!error.contains("s3cret"), "{error}");
        let error = refused(|s| (s.acl_enabled, s.acl) = (true, "digest:kylin:aGFzaA==:z"));
        assert!(!error.contains("aGFzaA"), "{error}");
    }
}
