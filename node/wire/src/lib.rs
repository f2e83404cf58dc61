//! The contract of the HTTP API, as types: every request body, query string, answer and error code.
//!
//! The server and the clients use the same types, so that they cannot diverge. Field names are Kylin's where Kylin has
//! the same object.
//!
//! | kind | unknown fields | missing fields |
//! |---|---|---|
//! | request body | refused | an error, unless a default is documented |
//! | query string | ignored | an error, unless a default is documented |
//! | answer | ignored | the default, as is `null`: nodes and clients may differ in version |
//!
//! Times are milliseconds since 1970 (UTC), durations are milliseconds, and sizes are bytes, unless a field says otherwise.
//!
//! HTTP itself and the meaning of requests are not part of this crate.

mod answer;
mod cluster;
mod code;
mod envelope;
mod job;
mod model;
mod project;
mod query;
mod segment;
mod table;
mod text;
mod user;

pub use cluster::*;
pub use code::Code;
pub use envelope::{Done, Envelope, Page, Problem, Success};
pub use job::*;
pub use model::*;
pub use project::*;
pub use query::*;
pub use segment::*;
pub use table::*;
pub use text::Moment;
pub use user::*;

/// The only predefined user, as in Kylin.
pub const ADMIN: &str = "ADMIN";
/// The header with the token which shows that a command runs as the node's own user on the node's machine.
pub const LOCAL_HEADER: &str = "kirin-local";

/// The project of a request without one.
pub const DEFAULT_PROJECT: &str = "default";

/// The database (schema) of tables without one, under Kylin's name.
pub const DEFAULT_DATABASE: &str = "DEFAULT";

/// Kylin's default priority of a job.
pub const NORMAL_PRIORITY: u8 = 3;

/// The last priority of a job; 0 is the first.
pub const LAST_PRIORITY: u8 = 4;

/// The range of a segment that covers everything, in Kylin's form.
pub const FULL_RANGE: (i64, i64) = (0, i64::MAX);

fn default_project() -> String {
    DEFAULT_PROJECT.to_owned()
}

const fn normal_priority() -> u8 {
    NORMAL_PRIORITY
}
