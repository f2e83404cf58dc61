//! `/cluster`, `/epoch`, `/system` and `/health`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::answers;
use crate::text;

/// The query string of `GET /cluster`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterQuery {
    /// Whether only what the node itself knows is wanted; the answer is then an [`OwnView`].
    #[serde(default, deserialize_with = "text::flag", skip_serializing_if = "Option::is_none")]
    pub own: Option<bool>,
}

/// `POST /cluster/nodes/{node}/drain`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Attempts that reach no step boundary within so many milliseconds are stopped; `kirin.drain.timeout` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
    /// Whether the node leaves when nothing runs any more.
    #[serde(default)]
    pub leave: bool,
}

/// `PUT /cluster/nodes/{node}/slots`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slots {
    /// How many jobs the node runs at once.
    pub slots: u32,
}

/// `POST /epoch`: the node that is asked takes the claims of these projects; without any, all claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    /// Names of projects.
    #[serde(default)]
    pub projects: Vec<String>,
    /// Whether claims are taken from nodes that live.
    #[serde(default)]
    pub force: bool,
}

/// The query string of `GET /system/servers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServersQuery {
    /// Whether the servers' modes are wanted too.
    #[serde(default, deserialize_with = "text::flag", skip_serializing_if = "Option::is_none")]
    pub ext: Option<bool>,
}

/// A member by its numbers: the node's and the incarnation's.
pub type MemberNumbers = (u32, u32);

answers! {
    /// `GET /cluster`.
    ClusterView {
        /// The node that answered.
        answered_by: String,
        /// The leader; empty if there is none.
        leader: String,
        /// The members.
        members: Vec<MemberView>,
        /// Who holds which claim.
        claims: Vec<ClaimView>,
        /// Jobs that wait on all queues.
        waiting: u64,
        /// How long the answering node may still trust what it holds; none if it may not.
        trust_left_ms: Option<u64>,
        /// The state of discovery.
        discovery: DiscoveryView,
    }
    /// A member.
    MemberView {
        /// The node's name.
        node: String,
        /// The count of the node's starts.
        incarnation: u32,
        /// `up`, `draining`, `left` or `fenced`.
        state: String,
        /// `all`, `job` or `query`.
        role: String,
        /// Where its HTTP API listens.
        address: String,
        /// The version of its program.
        version: String,
        /// Its latest beat; none if the answering node has not seen one.
        beat: Option<u64>,
        /// For how long the answering node has seen no beat.
        silent_ms: Option<u64>,
        /// Jobs that it runs.
        running: u64,
        /// Jobs that wait on its queue.
        waiting: u64,
        /// Jobs that it runs at once.
        slots: u32,
        /// The kinds of job that it is able to run, of those that not every node runs; empty for a node that runs no jobs.
        able_to_run: Vec<String>,
        /// What it finds wrong with its working directory.
        #[serde(skip_serializing_if = "Option::is_none")]
        trouble: Option<String>,
        /// The nodes that would take over its jobs.
        heirs: Vec<String>,
        /// When it joined.
        joined_at: i64,
    }
    /// A claim.
    ClaimView {
        /// `leader`, or `project/` and the project's name.
        target: String,
        /// The node that holds it.
        holder: Option<String>,
        /// The epoch of the holding.
        epoch: u64,
    }
    /// The state of discovery.
    DiscoveryView {
        /// `UP`, `DEGRADED` or `OFF`.
        status: String,
        /// Why it is degraded.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    /// `GET /cluster?own=true`: what the node itself knows at this moment. No other node and no metastore is asked.
    OwnView {
        /// The node that answered.
        answered_by: String,
        /// Its member; none before it has joined.
        member: Option<MemberNumbers>,
        /// What it is about: `joining`, `up`, `draining` …
        phase: String,
        /// The leader; empty if there is none.
        leader: String,
        /// The members.
        members: Vec<OwnMember>,
        /// For how long its list of members is unchanged, in microseconds.
        unchanged_us: u64,
        /// As in [`ClusterView`].
        trust_left_ms: Option<u64>,
        /// The state of discovery.
        discovery: DiscoveryView,
        /// What it asked of the metastore.
        metastore: TrafficView,
    }
    /// A member, as one node knows it.
    OwnMember {
        /// The node's name.
        node: String,
        /// The member's numbers.
        member: MemberNumbers,
        /// The count of the node's starts.
        incarnation: u32,
        /// As in [`MemberView`].
        state: String,
        /// As in [`MemberView`].
        role: String,
        /// Its latest beat.
        beat: u64,
        /// For how long no beat was seen.
        silent_ms: Option<u64>,
        /// Jobs that it runs at once.
        slots: u32,
    }
    /// What a node asked of the metastore since its start.
    TrafficView {
        /// Connections that are open.
        connections: u64,
        /// For the cluster.
        contract: CountsView,
        /// For users.
        people: CountsView,
    }
    /// Statements and bytes.
    CountsView {
        /// Statements.
        statements: u64,
        /// Bytes sent.
        bytes_sent: u64,
        /// Bytes received.
        bytes_received: u64,
    }
    /// A line of `GET /cluster/history`.
    HistoryView {
        /// When, by the wall clock of the node that wrote it.
        at: i64,
        /// `join`, `leave`, `fence`, `takeover`, `handover` …
        event: String,
        /// The node that it is about; may be empty.
        node: String,
        /// The count of that node's starts; 0 if it is about none.
        incarnation: u32,
        /// The node that wrote it or acted; may be empty.
        by: String,
        /// The evidence as a sentence.
        reason: String,
        /// `left`, `replaced`, `exited` or `silent`.
        evidence: Option<String>,
        /// The job that changed hands.
        job_id: Option<String>,
        /// How long each phase took.
        phases: Vec<PhaseView>,
        /// More, by kind of event.
        detail: Value,
    }
    /// A phase of an event.
    PhaseView {
        /// Its name.
        name: String,
        /// Milliseconds.
        ms: f64,
    }
    /// `GET /system/servers`.
    ServersView {
        /// The state of the cluster.
        status: ServersStatus,
        /// The servers that discovery knows.
        servers: Vec<ServerView>,
    }
    /// The state of the cluster, as Kylin has it.
    ServersStatus {
        /// Always false: there is no maintenance mode.
        maintenance_mode: bool,
    }
    /// `GET /health`, without an envelope.
    HealthView {
        /// `UP` or `DOWN`.
        status: String,
        /// The parts.
        components: HealthComponents,
    }
    /// The parts of the health.
    HealthComponents {
        /// Whether the metastore answers.
        #[serde(rename = "metaStore")]
        metastore: HealthPart,
        /// Whether the node is a member.
        member: HealthPart,
        /// Whether discovery works. Why it does not is told only after a login.
        discovery: HealthPart,
        /// Whether the node can use the working directory. A node of the role `job` is not ready without it.
        #[serde(rename = "workingDirectory")]
        working_dir: HealthPart,
    }
    /// One part of the health.
    HealthPart {
        /// `UP` or `DOWN`; of discovery, as in [`DiscoveryView`].
        status: String,
        /// More.
        #[serde(skip_serializing_if = "Option::is_none")]
        details: Option<HealthDetails>,
    }
    /// More about a part of the health.
    HealthDetails {
        /// As in [`OwnView`].
        #[serde(skip_serializing_if = "Option::is_none")]
        phase: Option<String>,
        /// What is wrong, without names of files. `GET /cluster` says more.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
}

/// A server: its address alone, or with its mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ServerView {
    /// Its address.
    Address(String),
    /// Its address and its mode.
    Full {
        /// Its address.
        host: String,
        /// `all`, `job` or `query`.
        mode: String,
    },
}
