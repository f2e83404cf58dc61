//! The numbers of the protocol: request types and error codes.

/// An error code of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    RuntimeInconsistency,
    MarshallingError,
    Unimplemented,
    BadArguments,
    NoNode,
    BadVersion,
    NoChildrenForEphemerals,
    NodeExists,
    NotEmpty,
    AuthFailed,
    NoWatcher,
}

impl Code {
    pub(crate) const fn number(self) -> i32 {
        match self {
            Self::RuntimeInconsistency => -2,
            Self::MarshallingError => -5,
            Self::Unimplemented => -6,
            Self::BadArguments => -8,
            Self::NoNode => -101,
            Self::BadVersion => -103,
            Self::NoChildrenForEphemerals => -108,
            Self::NodeExists => -110,
            Self::NotEmpty => -111,
            Self::AuthFailed => -115,
            Self::NoWatcher => -121,
        }
    }
}

/// The types of requests.
pub(crate) mod op {
    pub(crate) const CREATE: i32 = 1;
    pub(crate) const DELETE: i32 = 2;
    pub(crate) const EXISTS: i32 = 3;
    pub(crate) const GET_DATA: i32 = 4;
    pub(crate) const SET_DATA: i32 = 5;
    pub(crate) const GET_CHILDREN: i32 = 8;
    pub(crate) const SYNC: i32 = 9;
    pub(crate) const PING: i32 = 11;
    pub(crate) const GET_CHILDREN2: i32 = 12;
    pub(crate) const CHECK: i32 = 13;
    pub(crate) const MULTI: i32 = 14;
    pub(crate) const CREATE2: i32 = 15;
    pub(crate) const REMOVE_WATCHES: i32 = 18;
    pub(crate) const CREATE_CONTAINER: i32 = 19;
    pub(crate) const AUTH: i32 = 100;
    pub(crate) const SET_WATCHES: i32 = 101;
    pub(crate) const GET_EPHEMERALS: i32 = 103;
    pub(crate) const SET_WATCHES2: i32 = 105;
    pub(crate) const CLOSE_SESSION: i32 = -11;
    /// The result of an operation in a failed multi.
    pub(crate) const ERROR: i32 = -1;
}
