//! Error codes. The texts are Kylin's where Kylin has the case, and stand nowhere else.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $text:literal, $status:literal;)*) => {
        /// What went wrong, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$meta])* $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as it is sent.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status that it is sent with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

codes! {
    /// The request is malformed.
    BadRequest = "KE-010000400", 400;
    /// No login, or a wrong one.
    NotAuthenticated = "KE-010000401", 401;
    /// The path names no endpoint.
    NoEndpoint = "KE-010000404", 404;
    /// The endpoint does not have the method.
    NoMethod = "KE-010000405", 405;
    /// The body did not come in time.
    TooSlow = "KE-010000408", 408;
    /// The thing changed between being read and being written.
    Changed = "KE-010000409", 409;
    /// A table or model of that name exists.
    Exists = "KE-010000410", 409;
    /// A model uses the table.
    TableInUse = "KE-010000411", 409;
    /// The body is too large.
    TooLarge = "KE-010000413", 413;
    /// Too many wrong passwords from an address.
    TooManyLogins = "KE-010000429", 429;
    /// The SQL of a query is wrong: its syntax, a name, a type, or a construct that is not supported. `POST /query` answers
    /// it with 500 to Kylin's clients, which know no other status of a failed query.
    WrongSql = "KE-010000422", 400;
    /// A query failed. Kylin's clients expect 500.
    QueryFailed = "KE-010000500", 500;
    /// A query took longer than it may.
    QueryTimeout = "KE-010000504", 500;
    /// A query needs more memory than it may take.
    QueryMemory = "KE-010000507", 500;
    /// The metastore does not answer, or the node is stopping.
    Unavailable = "KE-010000503", 503;
    /// The project does not exist.
    NoProject = "KE-010001201", 404;
    /// A project of that name exists.
    ProjectExists = "KE-010001202", 409;
    /// The project holds tables, models or open jobs.
    ProjectInUse = "KE-010001203", 409;
    /// The table or model does not exist.
    NoModel = "KE-010002201", 404;
    /// The model has no such segment.
    NoSegment = "KE-010022201", 404;
    /// The range overlaps a segment that exists or is being built.
    Overlap = "KE-010022202", 409;
    /// The segment is being built.
    SegmentBusy = "KE-010022203", 409;
    /// The manifest of the segment can't be read.
    DamagedSegment = "KE-010022204", 409;
    /// The cluster has no such node.
    NoNode = "KE-010032208", 404;
    /// The job's state does not allow the action.
    WrongState = "KE-010032211", 409;
    /// The job or step does not exist.
    NoJob = "KE-010032219", 404;
    /// Any other failure of the node.
    Internal = "KE-060100201", 500;
}

impl Code {
    /// The code with that text; none if this version does not know it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_and_no_two_are_equal() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(*code));
            assert!((400..600).contains(&code.status()), "{code}");
        }
        assert_eq!(Code::parse("KE-1"), None);
    }
}
