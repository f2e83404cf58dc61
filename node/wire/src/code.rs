//! Error codes. They are Kylin's where Kylin has the same case. No other module contains their texts.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $text:literal, $status:literal;)*) => {
        /// The kind of an error, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$meta])* $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as it is sent.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status of the response.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

codes! {
    /// The request is malformed.
    BadRequest = "KE-010000400", 400;
    /// The login is missing or wrong.
    NotAuthenticated = "KE-010000401", 401;
    /// No endpoint has this path.
    NoEndpoint = "KE-010000404", 404;
    /// The endpoint does not support the method.
    NoMethod = "KE-010000405", 405;
    /// The body did not arrive in time.
    TooSlow = "KE-010000408", 408;
    /// The object changed between read and write.
    Changed = "KE-010000409", 409;
    /// A table or model with this name exists.
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
    /// A query exceeded its timeout.
    QueryTimeout = "KE-010000504", 500;
    /// A query needs more memory than allowed.
    QueryMemory = "KE-010000507", 500;
    /// The metastore does not respond, or the node is stopping.
    Unavailable = "KE-010000503", 503;
    /// The project does not exist.
    NoProject = "KE-010001201", 404;
    /// A project with this name exists.
    ProjectExists = "KE-010001202", 409;
    /// The project has tables, models or open jobs.
    ProjectInUse = "KE-010001203", 409;
    /// The table or model does not exist.
    NoModel = "KE-010002201", 404;
    /// The model has no such segment.
    NoSegment = "KE-010022201", 404;
    /// The range overlaps a segment that exists or is under construction.
    Overlap = "KE-010022202", 409;
    /// A job builds the segment.
    SegmentBusy = "KE-010022203", 409;
    /// The manifest of the segment cannot be read.
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
    /// The code with this text; none if it is unknown.
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
    fn every_code_parses_to_itself_and_codes_are_unique() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(*code));
            assert!((400..600).contains(&code.status()), "{code}");
        }
        assert_eq!(Code::parse("KE-1"), None);
    }
}
