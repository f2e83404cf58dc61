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
        Self { name: name.into(), rights }
    }

    /// The administrator: the one user that exists from the start.
    pub fn admin() -> Self {
        Self::new(ADMIN, Rights::Admin)
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
