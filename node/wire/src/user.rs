//! `/user/authentication`.

use crate::answer::answers;

answers! {
    /// The user that is logged in.
    Authentication {
        /// Its name.
        username: String,
        /// Its rights.
        authorities: Vec<Authority>,
        /// Whether the user is disabled.
        disabled: bool,
        /// Whether the user is locked.
        locked: bool,
        /// Whether the password is the one that Kylin ships with. Kirin has no such password.
        default_password: bool,
        /// The same again, where clients of Kylin 4 look for it.
        #[serde(rename = "userDetails")]
        user_details: UserDetails,
    }
    /// A user, as clients of Kylin 4 know it.
    UserDetails {
        /// Its name.
        username: String,
        /// Its rights.
        authorities: Vec<Authority>,
    }
    /// A right.
    Authority {
        /// The right's name, as in `ROLE_ADMIN`.
        authority: String,
    }
}

impl Authority {
    /// The right of that name.
    pub fn of(name: &str) -> Self {
        Self { authority: name.to_owned() }
    }
}
