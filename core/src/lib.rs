//! The pure state machine of Kirin. It decides which nodes are members, which are trusted or dead, which
//! jobs and claims each one holds, and where each job runs.
//!
//! One [`Node`] is the state machine of one cluster node. It receives [`Event`]s and returns [`Effect`]s. It has no
//! clock, socket, thread, file, hash map or random source of its own, so the same code runs in production and under a
//! simulator that controls all of these. The metastore is the only authority: a `Node` never acts on its own decision,
//! only on what the metastore granted (see [`Ask`] and [`Answer`]).
//!
//! | module | rule that lives there |
//! |---|---|
//! | [`time`], [`timing`] | monotonic time of one incarnation; the heart-beat settings and the spans derived from them |
//! | [`member`] | identities: node, incarnation, member, role |
//! | [`capability`] | what a node can run, what a job requires |
//! | [`lease`] | when a holder trusts itself, when it beats and retries |
//! | [`failure`] | the four kinds of evidence of death |
//! | [`job`] | the job's states: one `match` over (state, event) |
//! | [`placement`] | sticky bounded rendezvous hashing and heirs |
//! | [`queue`] | order, limits, fairness, and why a job waits |
//! | [`ask`] | the metastore contract: the closed list of requests and answers |
//! | [`event`], [`effect`] | the only input and the only output |
//! | [`node`] | `step`: events in, effects out |
//! | [`view`], [`digest`], [`describe`] | the state as plain data; the state in one number; events and effects in words |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod ask;
pub mod capability;
pub mod describe;
pub mod digest;
pub mod effect;
pub mod event;
pub mod failure;
pub mod job;
pub mod lease;
pub mod member;
pub mod node;
pub mod placement;
#[cfg(feature = "plants")]
pub mod plant;
#[cfg(not(feature = "plants"))]
mod plant;
pub mod queue;
pub mod time;
pub mod timing;
pub mod view;

pub use ask::{Answer, Ask, ClaimRow, JobRow, MemberRow, ProjectRow, Target};
pub use capability::Capabilities;
pub use effect::{AskId, Effect, Effects, Note};
pub use event::Event;
pub use job::{Action, JobState, Outcome};
pub use member::{Evidence, Incarnation, Member, MemberState, NodeId, Role};
pub use node::{Node, Settings};
pub use time::{Span, Time};
pub use timing::{Timing, UnsafeTiming};
