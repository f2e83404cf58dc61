//! The user of a request, with permissions.
//!
//! The API creates a principal from a login, and every use case takes one. Records such as the submitter of a job
//! contain the principal's name.
//!
//! Passwords and their verification are not part of this module.

use std::fmt;
use std::sync::Arc;

use kirin_wire::ADMIN;

/// The setting that contains the hash of the administrator's password, as a PHC string.
pub const ADMIN_HASH: &str = "admin_password";

/// The user of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    name: Arc<str>,
    rights: Rights,
    on_machine: bool,
}

/// The permissions of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Everything.
    Admin,
}

impl Principal {
    /// The user with this name and these permissions.
    pub fn new(name: &str, rights: Rights) -> Self {
        Self { name: name.into(), rights, on_machine: false }
    }

    /// The administrator, the only predefined user.
    pub fn admin() -> Self {
        Self::new(ADMIN, Rights::Admin)
    }

    /// The same user, with the proof of running as the node's own user on the node's machine.
    #[must_use]
    pub fn on_machine(mut self) -> Self {
        self.on_machine = true;
        self
    }

    /// Whether it may use local files as sources of tables, because it can read them without the node, too.
    pub const fn is_on_machine(&self) -> bool {
        self.on_machine
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its permissions.
    pub const fn rights(&self) -> Rights {
        self.rights
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
