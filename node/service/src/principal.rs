//! Who asks for something, and with what rights.
//!
//! The API makes a principal of a login, and every use case takes one. What is kept under a name, such as the submitter of
//! a job, is kept under the principal's.
//!
//! Not here: passwords and how they are verified.

use std::fmt;
use std::sync::Arc;

use kirin_wire::ADMIN;

/// The setting under which the administrator's password is kept, as a PHC string.
pub const ADMIN_HASH: &str = "admin_password";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    name: Arc<str>,
    rights: Rights,
    on_machine: bool,
}

/// What a principal may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Everything.
    Admin,
}

impl Principal {
    /// The user of that name, with these rights.
    pub fn new(name: &str, rights: Rights) -> Self {
        Self { name: name.into(), rights, on_machine: false }
    }

    /// The administrator: the one user that exists from the start.
    pub fn admin() -> Self {
        Self::new(ADMIN, Rights::Admin)
    }

    /// The same user, who has proved to be the user that the node runs as, on the node's machine.
    #[must_use]
    pub fn on_machine(mut self) -> Self {
        self.on_machine = true;
        self
    }

    /// Whether it may open local files to tables: it can read them without the node, too.
    pub const fn is_on_machine(&self) -> bool {
        self.on_machine
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it may do.
    pub const fn rights(&self) -> Rights {
        self.rights
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
