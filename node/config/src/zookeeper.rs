//! The ZooKeeper settings: ensemble, sessions, credentials and access lists.

use std::str::FromStr;
use std::time::Duration;

use super::address::HostPort;
use super::reader::{Reader, parts};
use kirin_shell::Secret;

const DEFAULT_PORT: u16 = 2_181;
const AUTH: &str = "kylin.env.zookeeper.zk-auth";
const ACL: &str = "kylin.env.zookeeper.zk-acl";

/// How to reach and use ZooKeeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeper {
    /// The ensemble; every port is set.
    pub servers: Vec<HostPort>,
    /// The chroot path of the connect string; empty, or starts with `/` and does not end with it.
    pub chroot: String,
    /// The path of locks; empty, or starts with `/` and does not end with it.
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
    /// What the id may do.
    pub permissions: ZkPermissions,
}

/// The permissions of an entry of an access list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZkPermissions {
    /// `r`
    pub read: bool,
    /// `w`
    pub write: bool,
    /// `c`
    pub create: bool,
    /// `d`
    pub delete: bool,
    /// `a`
    pub admin: bool,
}

impl std::fmt::Debug for ZkAcl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ZkAcl({}:…:{:?})", self.scheme, self.permissions)
    }
}

impl ZooKeeper {
    /// The ensemble without the chroot: `host:port,host:port`.
    pub fn servers(&self) -> String {
        self.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Option<Self> {
        let base_path = r.parsed("kylin.env.zookeeper-base-path", absolute_path).unwrap_or_default();
        let session_timeout = r.span("kylin.env.zookeeper-session-client-timeout-threshold");
        let connection_timeout = r.span("kylin.env.zookeeper-connection-client-timeout-threshold");
        let guarded = r.flag("kylin.env.zookeeper-acl-enabled");
        // Without access lists, neither key has an effect, whatever it contains.
        let (auth, acl) = if guarded {
            (r.parsed(AUTH, ZkAuth::from_str), r.parsed(ACL, access_list).unwrap_or_default())
        } else {
            _ = (r.entry(AUTH), r.entry(ACL));
            (None, vec![ZkAcl::open()])
        };
        if guarded && auth.is_none() && acl.iter().any(|acl| acl.scheme == "auth") {
            r.refuse(ACL, format!("the scheme auth requires {AUTH}"));
        }
        let (servers, chroot) = r.parsed("kylin.env.zookeeper-connect-string", ensemble)?;
        Some(Self { servers, chroot, base_path, session_timeout, connection_timeout, auth, acl })
    }
}

/// Parses an absolute path and removes the slash at its end; `/` becomes empty.
fn absolute_path(text: &str) -> Result<String, String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    if path.is_empty() && !text.is_empty() {
        return Ok(String::new());
    }
    let bad = |part: &str| matches!(part, "" | "." | "..") || part.contains(char::is_control);
    match path.strip_prefix('/') {
        Some(parts) if !parts.split('/').any(bad) => Ok(path.to_owned()),
        _ => Err("not an absolute path without empty parts, . and ..".into()),
    }
}

fn ensemble(text: &str) -> Result<(Vec<HostPort>, String), String> {
    if text.contains("://") {
        return Err("write host:port without a protocol; TLS is not supported".into());
    }
    let (list, chroot) = match text.find('/') {
        Some(at) => (&text[..at], absolute_path(&text[at..])?),
        None => (text, String::new()),
    };
    let mut servers: Vec<HostPort> = parts(list)?;
    for server in &mut servers {
        server.port.get_or_insert(DEFAULT_PORT);
    }
    if servers.is_empty() { Err("it contains no server".into()) } else { Ok((servers, chroot)) }
}

fn access_list(text: &str) -> Result<Vec<ZkAcl>, String> {
    match parts(text)? {
        acl if acl.is_empty() => Err("an empty list allows no access".into()),
        acl => Ok(acl),
    }
}

impl FromStr for ZkAuth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text is a secret, so the error does not repeat it.
        match text.split_once(':') {
            Some(("digest", secret)) if secret.split_once(':').is_some_and(|(user, _)| !user.is_empty()) => {
                Ok(Self { scheme: "digest".to_owned(), credentials: Secret::new(secret) })
            }
            _ => Err("write digest:user:password".into()),
        }
    }
}

impl ZkAcl {
    /// All permissions for every client.
    fn open() -> Self {
        let permissions = ZkPermissions { read: true, write: true, create: true, delete: true, admin: true };
        Self { scheme: "world".into(), id: "anyone".into(), permissions }
    }
}

impl FromStr for ZkAcl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write each entry as scheme:id:permissions".to_owned();
        let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (id, given) = rest.rsplit_once(':').ok_or_else(wrong)?;
        match scheme {
            "world" if id != "anyone" => return Err("the only id of the scheme world is anyone".into()),
            "digest" if !id.contains(':') => return Err("write digest:user:hash:permissions".into()),
            "world" | "digest" | "auth" | "ip" | "sasl" | "x509" => {}
            _ => return Err("the scheme must be world, auth, digest, ip, sasl or x509".into()),
        }
        let mut permissions = ZkPermissions::default();
        for letter in given.chars() {
            match letter {
                'r' => permissions.read = true,
                'w' => permissions.write = true,
                'c' => permissions.create = true,
                'd' => permissions.delete = true,
                'a' => permissions.admin = true,
                _ => return Err("permissions are some of the letters r, w, c, d, a".into()),
            }
        }
        if permissions == ZkPermissions::default() {
            return Err("the permissions are missing; write some of the letters r, w, c, d, a".into());
        }
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
        assert_eq!((servers.join(" ").as_str(), chroot.as_str()), ("zk1:2182 zk2:2181 [::1]:2183", "/kylin/a"));
        assert_eq!(ensemble("zk1/").unwrap().1, "");
        for bad in [",", "/x", "zk1:0", "zk1:99999", "zk1/a//b", "zk1/../b"] {
            assert!(ensemble(bad).is_err(), "{bad}");
        }
        assert!(ensemble("tcp+tls://zk1:2181").unwrap_err().contains("TLS"));
    }

    #[test]
    fn paths_are_absolute() {
        for (text, path) in [("/", ""), ("/kylin", "/kylin"), ("/a/b/", "/a/b")] {
            assert_eq!(absolute_path(text).as_deref(), Ok(path));
        }
        for bad in ["", "kylin", "//", "/a//b", "/a/../b", "/a\0b"] {
            assert!(absolute_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_access_list_keeps_colons_in_its_ids() {
        let acl: ZkAcl = "digest:user:aGFzaA=:adr".parse().unwrap();
        assert_eq!((acl.scheme.as_str(), acl.id.as_str()), ("digest", "user:aGFzaA="));
        assert_eq!(acl.permissions, ZkPermissions { read: true, delete: true, admin: true, ..Default::default() });
        assert!(!format!("{acl:?}").contains("aGFzaA"), "{acl:?}");
        assert_eq!("auth::r".parse::<ZkAcl>().map(|acl| acl.id), Ok(String::new()));
        for bad in
            ["world", "world:anyone", "world:anyone:", "world:anyone:x", ":a:r", "world:x:r", "digest:x:r", "a:b:r"]
        {
            assert!(bad.parse::<ZkAcl>().is_err(), "{bad}");
        }
        assert!(access_list(" , ").is_err());
        let refused = access_list("digest:kylin:aGFzaA==:z").unwrap_err();
        assert!(!refused.contains("aGFzaA"), "{refused}");
    }

    #[test]
    fn a_refused_secret_is_not_repeated() {
        assert_eq!("digest:kylin:a:b".parse::<ZkAuth>().unwrap().credentials.reveal(), "kylin:a:b");
        for bad in ["digist:kylin:s3cret", "digest:s3cret", "digest::s3cret", "s3cret"] {
            assert_eq!(bad.parse::<ZkAuth>().unwrap_err(), "write digest:user:password");
        }
    }
}
