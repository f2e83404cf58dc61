//! `/user/authentication`.

use crate::answer::answers;

answers! {
    /// The logged-in user.
    Authentication {
        /// Its name.
        username: String,
        /// Its permissions.
        authorities: Vec<Authority>,
        /// Whether the user is disabled.
        disabled: bool,
        /// Whether the user is locked.
        locked: bool,
        /// Whether the password is Kylin's default password. Kirin has no default password.
        default_password: bool,
        /// The same, at the location that clients of Kylin 4 expect.
        #[serde(rename = "userDetails")]
        user_details: UserDetails,
    }
    /// A user, in the form of Kylin 4.
    UserDetails {
        /// Its name.
        username: String,
        /// Its permissions.
        authorities: Vec<Authority>,
    }
    /// A permission.
    Authority {
        /// The permission's name, for example `ROLE_ADMIN`.
        authority: String,
    }
}

impl Authority {
    /// The permission with this name.
    pub fn of(name: &str) -> Self {
        Self { authority: name.to_owned() }
    }
}
