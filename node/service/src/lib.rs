//! What a node does for its clients and its operators, without HTTP and without a command line.
//!
//! | module | what it does |
//! |---|---|
//! | [`catalog`] | what queries see: tables, models, published segments |
//! | [`verification`] | published segments checked |
//! | [`directory`] | names and addresses of members |
//! | [`history`] | the events of the cluster |

pub mod catalog;
pub mod directory;
pub mod history;
pub mod verification;
