//! `/cluster`, `/epoch`, `/system` and `/health`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::answers;
use crate::text;

/// The query string of `GET /cluster`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterQuery {
    /// Whether to return only the node's own knowledge, as an [`OwnView`].
    #[serde(default, deserialize_with = "text::flag", skip_serializing_if = "Option::is_none")]
    pub own: Option<bool>,
}

/// `POST /cluster/nodes/{node}/drain`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Attempts that reach no step boundary within this time in milliseconds are stopped; `kirin.job.drain-timeout` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
    /// Whether the node leaves when its last attempt has ended.
    #[serde(default)]
    pub leave: bool,
}

/// `PUT /cluster/nodes/{node}/slots`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slots {
    /// The maximum number of jobs that the node runs at once.
    pub slots: u32,
}

/// `POST /epoch`: the node that receives the request takes the claims of these projects; without any, all claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    /// Names of projects.
    #[serde(default)]
    pub projects: Vec<String>,
    /// Whether claims are also taken from living nodes.
    #[serde(default)]
    pub force: bool,
}

/// The query string of `GET /system/servers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServersQuery {
    /// Whether to include the modes of the servers.
    #[serde(default, deserialize_with = "text::flag", skip_serializing_if = "Option::is_none")]
    pub ext: Option<bool>,
}

/// A member as numbers: the node's id and the incarnation.
pub type MemberNumbers = (u32, u32);

/// Details of a line of the history. The metastore stores them in this form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum HistoryDetail {
    /// None.
    #[default]
    None,
    /// Of a join.
    Joined {
        /// `all`, `job` or `query`.
        role: String,
        /// The version of the node's program.
        version: String,
    },
    /// Of a takeover.
    TookOver {
        /// The job's new epoch.
        epoch: u64,
        /// The first step of the new attempt.
        from_step: u32,
        /// The duration of each phase.
        phases: Vec<PhaseView>,
    },
    /// Of a handover.
    HandedOver {
        /// The job's epoch.
        epoch: u64,
        /// The number of committed steps.
        steps: u32,
    },
    /// Of a fence.
    Fenced {
        /// The duration of each phase.
        phases: Vec<PhaseView>,
    },
    /// Of a node that suspects itself.
    SuspectsItself {
        /// The number of members that look dead.
        dead: u32,
        /// The number of members that it observes.
        of: u32,
    },
    /// Written by another version.
    Other(Value),
}

impl HistoryDetail {
    /// The duration of each phase, if it has phases.
    pub fn phases(&self) -> &[PhaseView] {
        match self {
            Self::TookOver { phases, .. } | Self::Fenced { phases } => phases,
            _ => &[],
        }
    }
}

answers! {
    /// `GET /cluster`.
    ClusterView {
        /// The node that served the request.
        answered_by: String,
        /// The leader; empty if there is none.
        leader: String,
        /// The members.
        members: Vec<MemberView>,
        /// The claims and their holders.
        claims: Vec<ClaimView>,
        /// Jobs that wait in all queues.
        waiting: u64,
        /// The remaining time of the serving node's trust; none if it has ended.
        trust_left_ms: Option<u64>,
        /// The state of discovery.
        discovery: DiscoveryView,
    }
    /// A member.
    MemberView {
        /// The node's name.
        node: String,
        /// The number of the node's starts.
        incarnation: u32,
        /// `up`, `draining`, `left` or `fenced`.
        state: String,
        /// `all`, `job` or `query`.
        role: String,
        /// The address of its HTTP API.
        address: String,
        /// The version of its program.
        version: String,
        /// Its latest beat; none if the serving node has not seen one.
        beat: Option<u64>,
        /// The time since the serving node saw a new beat.
        silent_ms: Option<u64>,
        /// Jobs that it runs.
        running: u64,
        /// Jobs that wait in its queue.
        waiting: u64,
        /// The maximum number of jobs that it runs at once.
        slots: u32,
        /// The kinds of job that it can run, of those that require a capability; empty for a node that runs no jobs.
        able_to_run: Vec<String>,
        /// The problem with its working directory.
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
    /// `GET /cluster?own=true`: the node's own current knowledge, without requests to other nodes or the metastore.
    OwnView {
        /// The node that served the request.
        answered_by: String,
        /// Its member; none before the join.
        member: Option<MemberNumbers>,
        /// Its phase: `joining`, `up`, `draining` …
        phase: String,
        /// The leader; empty if there is none.
        leader: String,
        /// The members.
        members: Vec<OwnMember>,
        /// The time since its list of members changed, in microseconds.
        unchanged_us: u64,
        /// As in [`ClusterView`].
        trust_left_ms: Option<u64>,
        /// The state of discovery.
        discovery: DiscoveryView,
        /// Its traffic with the metastore.
        metastore: TrafficView,
    }
    /// A member, as known by one node.
    OwnMember {
        /// The node's name.
        node: String,
        /// The member's numbers.
        member: MemberNumbers,
        /// The number of the node's starts.
        incarnation: u32,
        /// As in [`MemberView`].
        state: String,
        /// As in [`MemberView`].
        role: String,
        /// Its latest beat.
        beat: u64,
        /// The time since a new beat was seen.
        silent_ms: Option<u64>,
        /// The maximum number of jobs that it runs at once.
        slots: u32,
    }
    /// The traffic between a node and the metastore since the node's start.
    TrafficView {
        /// Open connections.
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
        /// The time, by the metastore's clock.
        at: i64,
        /// `join`, `leave`, `fence`, `takeover`, `handover` …
        event: String,
        /// The node concerned; may be empty.
        node: String,
        /// The incarnation of this node; 0 without a node.
        incarnation: u32,
        /// The node that acted or wrote the line; may be empty.
        by: String,
        /// The evidence as a sentence.
        reason: String,
        /// `left`, `replaced`, `exited` or `silent`.
        evidence: Option<String>,
        /// The job whose holder changed.
        job_id: Option<String>,
        /// The duration of each phase.
        phases: Vec<PhaseView>,
        /// Details, by kind of event.
        detail: HistoryDetail,
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
    /// The state of the cluster, in Kylin's form.
    ServersStatus {
        /// Always false; maintenance mode is not supported.
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
        /// Whether the metastore responds.
        #[serde(rename = "metaStore")]
        metastore: HealthPart,
        /// Whether the node is a member.
        member: HealthPart,
        /// Whether discovery works. The reason of a failure requires a login.
        discovery: HealthPart,
        /// Whether the node can use the working directory. A node with the role `job` is not ready without it.
        #[serde(rename = "workingDirectory")]
        working_dir: HealthPart,
    }
    /// One part of the health.
    HealthPart {
        /// `UP` or `DOWN`; for discovery, as in [`DiscoveryView`].
        status: String,
        /// Details.
        #[serde(skip_serializing_if = "Option::is_none")]
        details: Option<HealthDetails>,
    }
    /// Details of a part of the health.
    HealthDetails {
        /// As in [`OwnView`].
        #[serde(skip_serializing_if = "Option::is_none")]
        phase: Option<String>,
        /// The problem, without file names. `GET /cluster` has the details.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
}

/// A server: its address, or its address and mode.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_of_the_history_are_typed_and_unknown_ones_are_kept() {
        let phases = vec![PhaseView { name: "fenced".to_owned(), ms: 1.5 }];
        for (detail, stored) in [
            (HistoryDetail::None, json!(null)),
            (
                HistoryDetail::Joined { role: "all".to_owned(), version: "1".to_owned() },
                json!({ "role": "all", "version": "1" }),
            ),
            (
                HistoryDetail::TookOver { epoch: 7, from_step: 2, phases: phases.clone() },
                json!({ "epoch": 7, "from_step": 2, "phases": [{ "name": "fenced", "ms": 1.5 }] }),
            ),
            (HistoryDetail::HandedOver { epoch: 7, steps: 2 }, json!({ "epoch": 7, "steps": 2 })),
            (HistoryDetail::Fenced { phases }, json!({ "phases": [{ "name": "fenced", "ms": 1.5 }] })),
            (HistoryDetail::SuspectsItself { dead: 2, of: 3 }, json!({ "dead": 2, "of": 3 })),
            (HistoryDetail::Other(json!({ "phases": [], "later": 1 })), json!({ "phases": [], "later": 1 })),
        ] {
            assert_eq!(serde_json::to_value(&detail).unwrap(), stored);
            assert_eq!(serde_json::from_value::<HistoryDetail>(stored).unwrap(), detail);
        }
    }
}
