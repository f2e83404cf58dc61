//! The contract of the HTTP API: every request body, query string, answer and error code, as types.
//!
//! The server builds these types and the clients decode the same ones, so the two cannot drift apart. Field names are
//! Kylin's where Kylin has the thing.
//!
//! | kind | unknown fields | missing fields |
//! |---|---|---|
//! | request body | refused | an error, unless a default is documented |
//! | query string | ignored | an error, unless a default is documented |
//! | answer | ignored | the default, as is `null`: nodes and clients may differ in version |
//!
//! Moments are milliseconds since 1970 (UTC), spans are milliseconds, sizes are bytes, unless a field says otherwise.
//!
//! Not here: HTTP itself, and any decision about what a request means.

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

/// The one user that exists from the start, as in Kylin.
pub const ADMIN: &str = "ADMIN";
/// The header by which a command proves that the node's own user runs it on the node's own machine.
pub const LOCAL_HEADER: &str = "kirin-local";

/// The project of a request that names none.
pub const DEFAULT_PROJECT: &str = "default";

/// The database (schema) that tables without one belong to, as Kylin names it.
pub const DEFAULT_DATABASE: &str = "DEFAULT";

/// Kylin's default priority of a job.
pub const NORMAL_PRIORITY: u8 = 3;

/// The last priority of a job; 0 is the first.
pub const LAST_PRIORITY: u8 = 4;

/// The ends of a segment that covers everything, as Kylin writes them.
pub const FULL_RANGE: (i64, i64) = (0, i64::MAX);

fn default_project() -> String {
    DEFAULT_PROJECT.to_owned()
}

const fn normal_priority() -> u8 {
    NORMAL_PRIORITY
}
