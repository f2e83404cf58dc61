//! The pure state machine of Kirin: who is a member, who is trusted, who is dead, who holds what, which job runs where.
//!
//! One [`Node`] is the mind of one cluster node. It is told facts ([`Event`]) and returns orders ([`Effect`]); it has no
//! clock, socket, thread, file, hash map or random source of its own, so the same code runs in the production binary and
//! under a simulator that controls every one of these. The metastore is the only authority: a `Node` never believes that
//! something is so because it decided it, only because the metastore granted it (see [`Ask`] and [`Answer`]).
//!
//! | module | rule that lives there |
//! |---|---|
//! | [`time`], [`timing`] | monotonic time of one incarnation; the heart-beat settings and what follows from them |
//! | [`member`] | identities: node, incarnation, member, role |
//! | [`capability`] | what a node is able to run, what a job requires |
//! | [`lease`] | when a holder trusts itself, when it beats and retries |
//! | [`failure`] | the four kinds of evidence of death |
//! | [`job`] | the job's states: one `match` over (state, event) |
//! | [`placement`] | sticky bounded rendezvous hashing and heirs |
//! | [`queue`] | order, limits, fairness, and why a job waits |
//! | [`ask`] | the metastore contract: the closed list of requests and answers |
//! | [`event`], [`effect`] | the only way in and the only way out |
//! | [`node`] | `step`: facts in, orders out |
//! | [`view`], [`digest`] | plain data for people; all of it in one number |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod ask;
pub mod capability;
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
pub mod say;
pub mod time;
pub mod timing;
pub mod view;

pub use ask::{Answer, Ask, ClaimRow, JobRow, MemberRow, ProjectRow, Target};
pub use capability::Capabilities;
pub use effect::{AskId, Effect, Effects, Note};
pub use event::Event;
pub use failure::Evidence;
pub use job::{Action, JobState, Outcome};
pub use member::{Incarnation, Member, MemberState, NodeId, Role};
pub use node::{Node, Settings};
pub use time::{Span, Time};
pub use timing::{Timing, UnsafeTiming};
