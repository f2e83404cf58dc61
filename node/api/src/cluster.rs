//! The cluster: members, who holds what, history, health.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kirin_core::ask::Target;
use kirin_core::{Event, Member, Span};
use kirin_discovery::Health;
use kirin_wire::{
    ClaimRequest, ClaimView, ClusterQuery, ClusterView, Code, CountsView, DiscoveryView, Done, Drain, HealthComponents,
    HealthDetails, HealthPart, HealthView, HistoryView, MemberView, OwnMember, OwnView, Page, Paging, ServerView,
    ServersQuery, ServersStatus, ServersView, Slots, TrafficView,
};
use serde::Serialize;

use kirin_metastore::Counts;

use super::{ApiError, Body, Context, Data, Params, Result, Shared, page};

/// `GET /cluster`: the one page of truth.
pub(super) async fn cluster(State(context): Shared, Params(query): Params<ClusterQuery>) -> Response {
    if query.own == Some(true) { own(&context).await.into_response() } else { all(&context).await.into_response() }
}

async fn all(context: &Context) -> Result<ClusterView> {
    let members = context.directory.refresh().await?;
    let view = context
        .mind
        .look(|node, now| node.view(now))
        .await
        .ok_or_else(|| ApiError::unavailable("this node is stopping"))?;
    let loads = context.store.loads().await?;
    let mut value = Vec::new();
    for info in &members {
        let peer = view.members.iter().find(|peer| peer.row.member == info.member);
        let load = loads.get(&info.member.node).copied().unwrap_or_default();
        let node = info.member.node;
        let heirs = context.mind.look(move |core, _| core.heirs_of(node)).await.unwrap_or_default();
        value.push(MemberView {
            node: info.name.clone(),
            incarnation: info.member.incarnation.get(),
            state: word(info.state),
            role: word(info.role),
            address: info.http.clone(),
            version: info.version.clone(),
            beat: peer.map(|peer| peer.row.beat),
            silent_ms: peer.and_then(|peer| peer.silent_for).map(Span::millis),
            running: load.running,
            waiting: load.waiting,
            slots: info.slots,
            heirs: heirs.into_iter().map(|heir| context.directory.name(heir)).collect(),
            joined_at: info.joined_ms,
        });
    }
    let leader = view.claims.iter().find(|claim| claim.0 == Target::Leader);
    let projects = context.store.projects().await?;
    let claims: Vec<_> = view
        .claims
        .iter()
        .map(|(target, holder, epoch)| {
            let name = match target {
                Target::Leader => "leader".to_owned(),
                Target::Project(id) => projects
                    .iter()
                    .find(|project| project.id == *id)
                    .map_or_else(|| format!("project {}", id.0), |project| format!("project/{}", project.name)),
            };
            ClaimView { target: name, holder: holder.map(|h| context.directory.name(h.node)), epoch: epoch.0 }
        })
        .collect();
    Ok(Data(ClusterView {
        answered_by: context.name.clone(),
        leader: leader.and_then(|claim| claim.1).map(|holder| context.directory.name(holder.node)).unwrap_or_default(),
        members: value,
        claims,
        waiting: loads.values().map(|load| load.waiting).sum::<u64>(),
        trust_left_ms: view.trust_left.map(Span::millis),
        discovery: discovery_view(context),
    }))
}

/// The word that a state or a role is written as.
fn word(of: impl Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// What this node itself believes at this moment, and what it asked of the metastore so far. No other node is asked.
async fn own(context: &Context) -> Result<OwnView> {
    let stopping = || ApiError::unavailable("this node is stopping");
    let (view, now) = context.mind.look(|node, now| (node.view(now), now)).await.ok_or_else(stopping)?;
    let unchanged_for = now.since(context.mind.seen().borrow().since);
    let numbers = |member: Member| (member.node.0, member.incarnation.get());
    let leader = view.claims.iter().find(|claim| claim.0 == Target::Leader).and_then(|claim| claim.1);
    let members = view.members.iter().map(|peer| OwnMember {
        node: context.directory.name(peer.row.member.node),
        member: numbers(peer.row.member),
        incarnation: peer.row.member.incarnation.get(),
        state: word(peer.row.state),
        role: word(peer.row.role),
        beat: peer.row.beat,
        silent_ms: peer.silent_for.map(Span::millis),
        slots: peer.row.slots,
    });
    let traffic = context.store.traffic();
    let counts = |counts: Counts| CountsView {
        statements: counts.statements,
        bytes_sent: counts.sent,
        bytes_received: counts.received,
    };
    Ok(Data(OwnView {
        answered_by: context.name.clone(),
        member: view.me.map(numbers),
        phase: view.phase.to_owned(),
        leader: leader.map(|holder| context.directory.name(holder.node)).unwrap_or_default(),
        members: members.collect(),
        unchanged_us: unchanged_for.micros(),
        trust_left_ms: view.trust_left.map(Span::millis),
        discovery: discovery_view(context),
        metastore: TrafficView {
            connections: traffic.connections,
            contract: counts(traffic.contract),
            people: counts(traffic.people),
        },
    }))
}

fn discovery_view(context: &Context) -> DiscoveryView {
    let (status, reason) = match &*context.discovery.health().borrow() {
        Health::Up => ("UP", None),
        Health::Degraded { reason, .. } => ("DEGRADED", Some(reason.to_string())),
        Health::Off => ("OFF", None),
    };
    DiscoveryView { status: status.to_owned(), reason }
}

/// `GET /cluster/history`: the events of the cluster, latest first.
pub(super) async fn history(State(context): Shared, Params(paging): Params<Paging>) -> Result<Page<HistoryView>> {
    let (offset, size) = page(paging, 10)?;
    let limit = offset.saturating_add(1).saturating_mul(size).min(10_000);
    let lines = context.store.history(u32::try_from(limit).unwrap_or(u32::MAX)).await?;
    let members = lines.iter().flat_map(|line| [line.member, line.by]).flatten();
    let nodes: Vec<_> = members.map(|member| member.node).collect();
    context.directory.learn(&nodes).await;
    let value = lines.into_iter().map(|line| kirin_service::history::view(&context.directory, line)).collect();
    Ok(Data(Page::cut(value, offset, size)))
}

/// `POST /cluster/nodes/{name}/drain`.
pub(super) async fn drain(State(context): Shared, Path(node): Path<String>, Body(body): Body<Drain>) -> Result<Done> {
    let within = body.within_ms.map_or(context.config.jobs.drain_timeout, Duration::from_millis);
    let within = Span::from_millis(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
    wish(&context, &node, Event::DrainWished { within, leave: body.leave }).await?;
    Ok(Data(Done))
}

/// `DELETE /cluster/nodes/{name}/drain`: the node takes jobs again, under a new incarnation.
pub(super) async fn undrain(State(context): Shared, Path(node): Path<String>) -> Result<Done> {
    wish(&context, &node, Event::DrainUndone).await?;
    Ok(Data(Done))
}

/// `PUT /cluster/nodes/{name}/slots`: how many jobs the node runs at once.
pub(super) async fn slots(State(context): Shared, Path(node): Path<String>, Body(body): Body<Slots>) -> Result<Done> {
    wish(&context, &node, Event::SlotsWished(body.slots)).await?;
    Ok(Data(Done))
}

/// Tells the node, wherever it is, what is wanted of it.
async fn wish(context: &Context, name: &str, event: Event) -> std::result::Result<(), ApiError> {
    if name == context.name {
        context.mind.tell(event);
        return Ok(());
    }
    let members = context.directory.refresh().await?;
    let info = members.iter().find(|info| info.name == name && info.state.is_alive()).ok_or_else(|| {
        ApiError::new(Code::NoNode, format!("there is no node '{name}' in the cluster"))
            .suggest("see `kirin cluster list`")
    })?;
    context.links.wish(info.member, event);
    Ok(())
}

/// `POST /epoch`: this node takes the claims of the projects; of all and the leader's too if none is named.
pub(super) async fn claim(State(context): Shared, Body(body): Body<ClaimRequest>) -> Result<Done> {
    let projects = context.store.projects().await?;
    let mut targets = Vec::new();
    for name in &body.projects {
        let project = projects
            .iter()
            .find(|project| project.name.eq_ignore_ascii_case(name))
            .ok_or_else(|| ApiError::no_project(name))?;
        targets.push(Target::Project(project.id));
    }
    if targets.is_empty() {
        targets = projects.iter().map(|project| Target::Project(project.id)).collect();
        targets.push(Target::Leader);
    }
    for target in targets {
        context.mind.tell(Event::ClaimWished { target, force: body.force });
    }
    Ok(Data(Done))
}

/// `GET /system/servers`: the servers that discovery knows.
pub(super) async fn servers(State(context): Shared, Params(query): Params<ServersQuery>) -> Result<ServersView> {
    let peers = context.discovery.peers().borrow().clone();
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
    Ok(Data(context.name.clone()))
}

/// `POST /system/stop`: drains this node and ends its process.
pub(super) async fn stop(State(context): Shared) -> Result<Done> {
    // The receiver lives as long as the process.
    let _ = context.stop.send(());
    Ok(Data(Done))
}

/// `GET /health`: for load balancers. 200 while this node can answer queries, which requires the metastore. A draining
/// node still can, but returns 503 so that the balancer chooses another.
pub(super) async fn health(State(context): State<Context>) -> Response {
    let (phase, metastore) = tokio::join!(phase(&context), context.ready.metastore(&context.store));
    let phase = phase.unwrap_or("stopping");
    let is_member = matches!(phase, "up" | "joining" | "outside");
    let up = is_member && metastore;
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let part = |ok: bool| HealthPart { status: if ok { "UP" } else { "DOWN" }.to_owned(), details: None };
    let member = HealthPart { details: Some(HealthDetails { phase: phase.to_owned() }), ..part(is_member) };
    // Why discovery is degraded is told only after a login.
    let discovery = HealthPart { status: discovery_view(&context).status, details: None };
    let components = HealthComponents { metastore: part(metastore), member, discovery };
    (status, axum::Json(HealthView { status: part(up).status, components })).into_response()
}

/// `GET /health/live`: what a supervisor asks that restarts what hangs. 200 as long as this process works, whatever the
/// metastore does.
pub(super) async fn alive(State(context): State<Context>) -> Response {
    let alive = phase(&context).await.is_some();
    let status = if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if alive { "UP" } else { "DOWN" };
    (status, axum::Json(HealthPart { status: word.to_owned(), details: None })).into_response()
}

/// Where this node is in its life, unless its core does not answer.
async fn phase(context: &Context) -> Option<&'static str> {
    let looked = tokio::time::timeout(Duration::from_secs(1), context.mind.look(|node, _| node.phase_name())).await;
    looked.ok().flatten()
}
