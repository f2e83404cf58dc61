//! The settings of ZooKeeper, as typed values. The configuration has parsed and checked them.
//!
//! No `Debug`, log or error of this crate shows a password or the hash of one.

use std::fmt;
use std::time::Duration;

use zookeeper_client as zk;

use super::layout::Layout;

/// The settings of discovery through ZooKeeper.
#[derive(Clone)]
pub struct ZooKeeperConfig {
    /// The servers in the format of the client: `host:port,host:port`, without a chroot.
    pub servers: String,
    /// The chroot of the connect string; empty, or begins with `/`. It is not passed to the client, which cannot create one.
    pub chroot: String,
    /// The path of all registrations below the chroot; empty, or begins with `/`. Kylin 5 always uses `/kylin`, so change it
    /// only for a cluster without Kylin nodes.
    pub base_path: String,
    /// The layout of the paths below the base path.
    pub layout: Layout,
    /// The session timeout to request. The server may grant less.
    pub session_timeout: Duration,
    /// How long a server may be silent before the next one is tried. Values above 3/5 of the session timeout have no effect.
    pub connection_timeout: Duration,
    /// How the node authenticates; `None` for not at all.
    pub auth: Option<Auth>,
    /// The access list of the node's entries.
    pub acl: Vec<Acl>,
}

/// A scheme and its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// The scheme, for example `digest`.
    pub scheme: String,
    /// The secret, for example `user:password`.
    pub secret: Vec<u8>,
}

/// An entry of an access list. Its id may contain the hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Acl {
    /// The scheme, for example `digest`.
    pub scheme: String,
    /// The id, in the format of the scheme.
    pub id: String,
    /// What the id may do.
    pub permissions: Permissions,
}

/// The permissions of an entry of an access list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Read data and list children.
    pub read: bool,
    /// Write data.
    pub write: bool,
    /// Create children.
    pub create: bool,
    /// Delete children.
    pub delete: bool,
    /// Change the access list.
    pub admin: bool,
}

impl Permissions {
    /// All permissions.
    pub const ALL: Self = Self { read: true, write: true, create: true, delete: true, admin: true };
}

impl Acl {
    /// All permissions for every client.
    pub fn open() -> Self {
        Self { scheme: "world".to_owned(), id: "anyone".to_owned(), permissions: Permissions::ALL }
    }

    fn for_client(&self) -> zk::Acl {
        let Permissions { read, write, create, delete, admin } = self.permissions;
        let allowed = [
            (read, zk::Permission::READ),
            (write, zk::Permission::WRITE),
            (create, zk::Permission::CREATE),
            (delete, zk::Permission::DELETE),
            (admin, zk::Permission::ADMIN),
        ];
        let allowed = allowed.into_iter().filter(|(given, _)| *given);
        let permission = allowed.fold(zk::Permission::NONE, |all, (_, permission)| all | permission);
        zk::Acl::new(permission, zk::AuthId::new(&self.scheme, &self.id))
    }
}

impl ZooKeeperConfig {
    /// The default settings: Kylin's path and timeouts, and no access list.
    pub fn new(servers: impl Into<String>, layout: Layout) -> Self {
        Self {
            servers: servers.into(),
            chroot: String::new(),
            base_path: "/kylin".to_owned(),
            layout,
            session_timeout: Duration::from_secs(120),
            connection_timeout: Duration::from_secs(15),
            auth: None,
            acl: vec![Acl::open()],
        }
    }

    /// The prefix of all paths, with the chroot.
    pub(super) fn base(&self) -> String {
        format!("{}{}", self.chroot, self.base_path)
    }

    pub(super) fn acls(&self) -> Vec<zk::Acl> {
        self.acl.iter().map(Acl::for_client).collect()
    }
}

impl fmt::Debug for ZooKeeperConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZooKeeperConfig")
            .field("servers", &self.servers)
            .field("base", &self.base())
            .field("layout", &self.layout)
            .field("session_timeout", &self.session_timeout)
            .field("connection_timeout", &self.connection_timeout)
            .field("auth", &self.auth.as_ref().map(|auth| &auth.scheme))
            .field("acl", &self.acl.iter().map(|acl| &acl.scheme).collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ZooKeeperConfig {
        ZooKeeperConfig::new("zk1:2181", Layout::Kylin5 { unique_id: "k".to_owned() })
    }

    #[test]
    fn the_chroot_precedes_the_base_path() {
        assert_eq!(config().base(), "/kylin");
        assert_eq!(ZooKeeperConfig { chroot: "/apps".to_owned(), ..config() }.base(), "/apps/kylin");
    }

    #[test]
    fn access_lists_are_passed_to_the_client() {
        let readable = Permissions { read: true, ..Permissions::default() };
        let hash = Acl { scheme: "digest".to_owned(), id: "kylin:aGFzaA==".to_owned(), permissions: Permissions::ALL };
        let acl = vec![Acl { permissions: readable, ..Acl::open() }, hash];
        assert_eq!(
            ZooKeeperConfig { acl, ..config() }.acls(),
            [
                zk::Acl::new(zk::Permission::READ, zk::AuthId::anyone()),
                zk::Acl::new(zk::Permission::ALL, zk::AuthId::new("digest", "kylin:aGFzaA==")),
            ]
        );
        assert_eq!(config().acls(), [zk::Acl::new(zk::Permission::ALL, zk::AuthId::anyone())]);
    }

    #[test]
    fn no_text_contains_a_secret() {
        let auth = Some(Auth { scheme: "digest".to_owned(), secret: b"kylin:s3cret".to_vec() });
        let acl = vec![Acl { scheme: "digest".to_owned(), id: "kylin:aGFzaA==".to_owned(), ..Acl::open() }];
        let shown = format!("{:?}", ZooKeeperConfig { auth, acl, ..config() });
        assert!(shown.contains("digest") && !shown.contains("s3cret") && !shown.contains("aGFzaA"), "{shown}");
    }
}
