//! The ZooKeeper settings: ensemble, sessions, credentials and access lists.

use std::str::FromStr;
use std::time::Duration;

use super::address::HostPort;
use super::reader::{Reader, parts};
use kirin_shell::Secret;

const DEFAULT_PORT: u16 = 2_181;

/// How to reach and use ZooKeeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeper {
    /// The ensemble; every port is set.
    pub servers: Vec<HostPort>,
    /// The chroot path of the connect string, if any. It starts with `/` and does not end with it.
    pub chroot: Option<String>,
    /// The path of locks.
    pub base_path: String,
    /// The requested session timeout.
    pub session_timeout: Duration,
    /// The timeout for connecting.
    pub connection_timeout: Duration,
    /// The authentication, if access lists are enabled.
    pub auth: Option<ZkAuth>,
    /// The access list of the node's entries. Without access lists, all clients have all permissions.
    pub acl: Vec<ZkAcl>,
}

/// A ZooKeeper authentication: `digest` and `user:password`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZkAuth {
    /// The scheme.
    pub scheme: String,
    /// The credentials of the scheme.
    pub credentials: Secret,
}

/// An entry of an access list: `world:anyone:rwcda`. `Debug` omits the id, which may contain a digest.
#[derive(Clone, PartialEq, Eq)]
pub struct ZkAcl {
    /// The scheme.
    pub scheme: String,
    /// The id, in the format of the scheme. It may contain colons.
    pub id: String,
    /// Some of `r`, `w`, `c`, `d`, `a`, each at most once, in this order.
    pub permissions: String,
}

impl std::fmt::Debug for ZkAcl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ZkAcl({}:…:{})", self.scheme, self.permissions)
    }
}

impl ZooKeeper {
    /// The connect string, with ports and chroot.
    pub fn connect_string(&self) -> String {
        let servers: Vec<_> = self.servers.iter().map(ToString::to_string).collect();
        servers.join(",") + self.chroot.as_deref().unwrap_or("")
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Option<Self> {
        let base_path = r.parsed("kylin.env.zookeeper-base-path", absolute_path).unwrap_or_default();
        let session_timeout = r.span("kylin.env.zookeeper-session-client-timeout-threshold");
        let connection_timeout = r.span("kylin.env.zookeeper-connection-client-timeout-threshold");
        let guarded = r.flag("kylin.env.zookeeper-acl-enabled");
        let auth = r.parsed("kylin.env.zookeeper.zk-auth", ZkAuth::from_str).filter(|_| guarded);
        let mut acl = r.list::<ZkAcl>("kylin.env.zookeeper.zk-acl");
        if !guarded {
            acl = vec![ZkAcl { scheme: "world".into(), id: "anyone".into(), permissions: "rwcda".into() }];
        }
        let (servers, chroot) = r.parsed("kylin.env.zookeeper-connect-string", ensemble)?;
        Some(Self { servers, chroot, base_path, session_timeout, connection_timeout, auth, acl })
    }
}

fn absolute_path(text: &str) -> Result<String, String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    if !path.starts_with('/') || path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
        return Err("not an absolute path without empty parts".into());
    }
    Ok(path.to_owned())
}

fn ensemble(text: &str) -> Result<(Vec<HostPort>, Option<String>), String> {
    let (list, chroot) = match text.find('/') {
        Some(at) if text[at..].len() > 1 => (&text[..at], Some(absolute_path(&text[at..])?)),
        Some(at) => (&text[..at], None),
        None => (text, None),
    };
    let mut servers: Vec<HostPort> = parts(list)?;
    for server in &mut servers {
        server.port.get_or_insert(DEFAULT_PORT);
    }
    if servers.is_empty() { Err("it contains no server".into()) } else { Ok((servers, chroot)) }
}

impl FromStr for ZkAuth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((scheme, credentials)) if !scheme.is_empty() && !credentials.is_empty() => {
                Ok(Self { scheme: scheme.to_owned(), credentials: Secret::new(credentials) })
            }
            _ => Err("not scheme:credentials".into()),
        }
    }
}

impl FromStr for ZkAcl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write each entry as scheme:id:permissions".to_owned();
        let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (id, given) = rest.rsplit_once(':').ok_or_else(wrong)?;
        if scheme.is_empty() || given.is_empty() || !given.chars().all(|c| "rwcda".contains(c)) {
            return Err("write each entry as scheme:id:permissions, with permissions of r, w, c, d, a".into());
        }
        let permissions = "rwcda".chars().filter(|&c| given.contains(c)).collect();
        Ok(Self { scheme: scheme.to_owned(), id: id.to_owned(), permissions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ensemble_may_have_a_chroot_and_ports_have_a_default() {
        let (servers, chroot) = ensemble("zk1:2182, zk2,[::1]:2183/kylin/a/").unwrap();
        let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
        assert_eq!((servers.join(" ").as_str(), chroot.as_deref()), ("zk1:2182 zk2:2181 [::1]:2183", Some("/kylin/a")));
        assert_eq!(ensemble("zk1/").unwrap().1, None);
        for bad in [",", "/x", "zk1:0", "zk1/a//b", "zk1/../b"] {
            assert!(ensemble(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_access_list_keeps_colons_in_its_ids() {
        let acl: ZkAcl = "digest:user:aGFzaA=:adr".parse().unwrap();
        assert_eq!((acl.scheme.as_str(), acl.id.as_str(), acl.permissions.as_str()), ("digest", "user:aGFzaA=", "rda"));
        assert_eq!(format!("{acl:?}"), "ZkAcl(digest:…:rda)");
        for bad in ["world", "world:anyone", "world:anyone:", "world:anyone:x", ":a:r"] {
            assert!(bad.parse::<ZkAcl>().is_err(), "{bad}");
        }
    }
}
