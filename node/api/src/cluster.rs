//! `/cluster`, `/epoch`, `/system` and `/health`.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kirin_core::ask::Target;
use kirin_core::{Capabilities, Member, Role, Span};
use kirin_discovery::Health;
use kirin_metastore::Counts;
use kirin_service::Principal;
use kirin_service::cluster::{Claim, Condition, Happened, MemberOverview};
use kirin_wire::{
    ClaimRequest, ClaimView, ClusterQuery, ClusterView, CountsView, DiscoveryView, Done, Drain, HealthComponents,
    HealthDetails, HealthPart, HealthView, HistoryView, MemberView, OwnMember, OwnView, Page, Paging, ServerView,
    ServersQuery, ServersStatus, ServersView, Slots, TrafficView,
};
use serde::Serialize;

use super::{Body, Context, Data, Params, Result, Shared, Who, page};

/// The default number of lines of a page of the history.
const PAGE: u64 = 10;
/// The maximum number of lines of the history that are read.
const LINES_MAX: u64 = 10_000;

/// `GET /cluster`: the state of the cluster.
pub(super) async fn cluster(State(context): Shared, Who(who): Who, Params(query): Params<ClusterQuery>) -> Response {
    if query.own == Some(true) {
        own(&context, &who).await.into_response()
    } else {
        all(&context, &who).await.into_response()
    }
}

async fn all(context: &Context, who: &Principal) -> Result<ClusterView> {
    let cluster = &context.service.cluster;
    let overview = cluster.overview(who).await?;
    Ok(Data(ClusterView {
        answered_by: cluster.name().to_owned(),
        leader: overview.leader.unwrap_or_default(),
        members: overview.members.into_iter().map(member_view).collect(),
        claims: overview.claims.into_iter().map(claim_view).collect(),
        waiting: overview.waiting,
        trust_left_ms: overview.trust_left.map(Span::millis),
        discovery: discovery_view(&cluster.discovery()),
    }))
}

fn member_view(of: MemberOverview) -> MemberView {
    let MemberOverview { info, beat, silent_for, running, waiting, heirs } = of;
    MemberView {
        node: info.name.clone(),
        incarnation: info.member.incarnation.get(),
        state: word(info.state),
        role: word(info.role),
        address: info.http.clone(),
        version: info.version.clone(),
        beat,
        silent_ms: silent_for.map(Span::millis),
        running,
        waiting,
        slots: info.slots,
        able_to_run: if info.role.runs_jobs() { able_to_run(info.can) } else { Vec::new() },
        trouble: info.trouble.clone(),
        heirs,
        joined_at: info.joined_ms,
    }
}

fn able_to_run(can: Capabilities) -> Vec<String> {
    kirin_executor::capable_of(can).into_iter().map(str::to_owned).collect()
}

fn claim_view(claim: Claim) -> ClaimView {
    let target = match (claim.target, claim.project) {
        (Target::Leader, _) => "leader".to_owned(),
        (Target::Project(_), Some(name)) => format!("project/{name}"),
        (Target::Project(id), None) => format!("project {}", id.0),
    };
    ClaimView { target, holder: claim.holder, epoch: claim.epoch }
}

/// The name of a state or role.
fn word(of: impl Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// This node's own current knowledge, without requests to other nodes.
async fn own(context: &Context, who: &Principal) -> Result<OwnView> {
    let cluster = &context.service.cluster;
    let own = cluster.own(who).await?;
    let numbers = |member: Member| (member.node.0, member.incarnation.get());
    let members = own.members.into_iter().map(|(peer, node)| OwnMember {
        node,
        member: numbers(peer.row.member),
        incarnation: peer.row.member.incarnation.get(),
        state: word(peer.row.state),
        role: word(peer.row.role),
        beat: peer.row.beat,
        silent_ms: peer.silent_for.map(Span::millis),
        slots: peer.row.slots,
    });
    let counts = |counts: Counts| CountsView {
        statements: counts.statements,
        bytes_sent: counts.sent,
        bytes_received: counts.received,
    };
    Ok(Data(OwnView {
        answered_by: cluster.name().to_owned(),
        member: own.me.map(numbers),
        phase: own.phase.to_owned(),
        leader: own.leader.unwrap_or_default(),
        members: members.collect(),
        unchanged_us: own.unchanged_for.micros(),
        trust_left_ms: own.trust_left.map(Span::millis),
        discovery: discovery_view(&cluster.discovery()),
        metastore: TrafficView {
            connections: own.traffic.connections,
            contract: counts(own.traffic.contract),
            people: counts(own.traffic.people),
        },
    }))
}

fn discovery_view(health: &Health) -> DiscoveryView {
    let (status, reason) = match health {
        Health::Up => ("UP", None),
        Health::Degraded { reason, .. } => ("DEGRADED", Some(reason.to_string())),
        Health::Off => ("OFF", None),
    };
    DiscoveryView { status: status.to_owned(), reason }
}

/// `GET /cluster/history`: the events of the cluster, latest first.
pub(super) async fn history(
    State(context): Shared,
    Who(who): Who,
    Params(paging): Params<Paging>,
) -> Result<Page<HistoryView>> {
    let (offset, size) = page(paging, PAGE)?;
    let limit = offset.saturating_add(1).saturating_mul(size).min(LINES_MAX);
    let happened = context.service.cluster.history(&who, u32::try_from(limit).unwrap_or(u32::MAX)).await?;
    Ok(Data(Page::cut(happened.into_iter().map(history_view).collect(), offset, size)))
}

fn history_view(of: Happened) -> HistoryView {
    let Happened { line, node, by } = of;
    HistoryView {
        at: line.at_ms,
        event: line.kind,
        node: node.unwrap_or_default(),
        incarnation: line.member.map_or(0, |member| member.incarnation.get()),
        by: by.unwrap_or_default(),
        reason: reason(line.evidence.as_deref()).to_owned(),
        evidence: line.evidence,
        job_id: line.job_uuid.map(|uuid| uuid.to_string()),
        phases: line.detail.phases().to_vec(),
        detail: line.detail,
    }
}

fn reason(evidence: Option<&str>) -> &'static str {
    match evidence {
        Some("left") => "the member left",
        Some("replaced") => "the same node joined again",
        Some("exited") => "its process has exited",
        Some("silent") => "its beat did not change for the heart-beat timeout",
        _ => "",
    }
}

/// `POST /cluster/nodes/{name}/drain`.
pub(super) async fn drain(
    State(context): Shared,
    Who(who): Who,
    Path(node): Path<String>,
    Body(body): Body<Drain>,
) -> Result<Done> {
    let within = body.within_ms.map(Duration::from_millis);
    context.service.cluster.drain(&who, &node, within, body.leave).await?;
    Ok(Data(Done))
}

/// `DELETE /cluster/nodes/{name}/drain`: the node takes jobs again, under a new incarnation.
pub(super) async fn undrain(State(context): Shared, Who(who): Who, Path(node): Path<String>) -> Result<Done> {
    context.service.cluster.undrain(&who, &node).await?;
    Ok(Data(Done))
}

/// `PUT /cluster/nodes/{name}/slots`: the maximum number of jobs that the node runs at once.
pub(super) async fn slots(
    State(context): Shared,
    Who(who): Who,
    Path(node): Path<String>,
    Body(body): Body<Slots>,
) -> Result<Done> {
    context.service.cluster.set_slots(&who, &node, body.slots).await?;
    Ok(Data(Done))
}

/// `POST /epoch`: this node takes the claims of the given projects; without any, all claims including leadership.
pub(super) async fn claim(State(context): Shared, Who(who): Who, Body(body): Body<ClaimRequest>) -> Result<Done> {
    context.service.cluster.claim(&who, &body.projects, body.force).await?;
    Ok(Data(Done))
}

/// `GET /system/servers`: the servers that discovery knows.
pub(super) async fn servers(
    State(context): Shared,
    Who(who): Who,
    Params(query): Params<ServersQuery>,
) -> Result<ServersView> {
    let peers = context.service.cluster.servers(&who);
    let with_mode = query.ext == Some(true);
    let server = |peer: &kirin_discovery::Peer| {
        let host = peer.address().to_string();
        if with_mode {
            ServerView::Full { host, mode: peer.role.as_str().to_owned() }
        } else {
            ServerView::Address(host)
        }
    };
    let status = ServersStatus { maintenance_mode: false };
    Ok(Data(ServersView { status, servers: peers.iter().map(server).collect() }))
}

/// `GET /system/host`.
pub(super) async fn host(State(context): Shared) -> Result<String> {
    Ok(Data(context.service.cluster.name().to_owned()))
}

/// `POST /system/stop`: drains this node and ends its process.
pub(super) async fn stop(State(context): Shared, Who(who): Who) -> Result<Done> {
    context.service.cluster.stop(&who);
    Ok(Data(Done))
}

/// `GET /health`: for load balancers. 200 while this node can answer queries, which requires the metastore. A draining
/// node still can, but returns 503 so that the balancer chooses another. A node that only runs jobs is not ready without a
/// usable working directory.
pub(super) async fn health(State(context): State<Context>) -> Response {
    let cluster = &context.service.cluster;
    let Condition { phase, metastore, working_dir, role } = cluster.condition().await;
    let phase = phase.unwrap_or("stopping");
    let is_member = matches!(phase, "up" | "joining" | "outside");
    // This endpoint requires no login, so the reason contains no file names.
    let reason = match (&working_dir.unwritable, &working_dir.unshared) {
        (Some(_), _) => Some("this node cannot write to the working directory; see `kirin cluster list`"),
        (None, Some(_)) => {
            Some("the working directory of this node is not that of the cluster; see `kirin cluster list`")
        }
        (None, None) => None,
    };
    let up = is_member && metastore && (reason.is_none() || role != Role::Job);
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let part = |ok: bool| HealthPart { status: if ok { "UP" } else { "DOWN" }.to_owned(), details: None };
    let member =
        HealthPart { details: Some(HealthDetails { phase: Some(phase.to_owned()), reason: None }), ..part(is_member) };
    let details = reason.map(|reason| HealthDetails { phase: None, reason: Some(reason.to_owned()) });
    let working_dir = HealthPart { details, ..part(reason.is_none()) };
    // The reason for degraded discovery requires a login.
    let discovery = HealthPart { status: discovery_view(&cluster.discovery()).status, details: None };
    let components = HealthComponents { metastore: part(metastore), member, discovery, working_dir };
    (status, axum::Json(HealthView { status: part(up).status, components })).into_response()
}

/// `GET /health/live`: for supervisors that restart stuck processes. 200 while this process works, regardless of the
/// metastore.
pub(super) async fn alive(State(context): State<Context>) -> Response {
    let alive = context.service.cluster.phase().await.is_some();
    let status = if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if alive { "UP" } else { "DOWN" };
    (status, axum::Json(HealthPart { status: word.to_owned(), details: None })).into_response()
}
