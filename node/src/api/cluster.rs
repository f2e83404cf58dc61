//! The cluster: members, who holds what, history, health.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kirin_core::ask::Target;
use kirin_core::{Event, Member, Span};
use kirin_discovery::Health;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::metastore::Counts;

use super::{ApiError, Body, Context, Data, Page, Paging, Params, Result, Shared};

/// `GET /cluster`.
#[derive(Debug, Deserialize)]
pub(super) struct Whose {
    /// Only what this node itself believes.
    #[serde(default)]
    own: bool,
}

/// `GET /cluster`: the one page of truth.
pub(super) async fn cluster(State(context): Shared, Params(whose): Params<Whose>) -> Result<Value> {
    if whose.own {
        return own(&context).await;
    }
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
        value.push(json!({
            "node": info.name,
            "incarnation": info.member.incarnation.get(),
            "state": info.state,
            "role": info.role,
            "address": info.http,
            "version": info.version,
            "beat": peer.map(|peer| peer.row.beat),
            "silent_ms": peer.and_then(|peer| peer.silent_for).map(Span::millis),
            "running": load.running,
            "waiting": load.waiting,
            "slots": info.slots,
            "heirs": heirs.into_iter().map(|heir| context.directory.name(heir)).collect::<Vec<_>>(),
            "joined_at": info.joined_ms,
        }));
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
            json!({ "target": name, "holder": holder.map(|h| context.directory.name(h.node)), "epoch": epoch.0 })
        })
        .collect();
    Ok(Data(json!({
        "answered_by": context.name,
        "leader": leader.and_then(|claim| claim.1).map(|holder| context.directory.name(holder.node)).unwrap_or_default(),
        "members": value,
        "claims": claims,
        "waiting": loads.values().map(|load| load.waiting).sum::<u64>(),
        "trust_left_ms": view.trust_left.map(Span::millis),
        "discovery": discovery_json(&context),
    })))
}

/// What this node itself believes at this moment, and what it asked of the metastore so far. Nobody else is asked.
async fn own(context: &Context) -> Result<Value> {
    let stopping = || ApiError::unavailable("this node is stopping");
    let (view, now) = context.mind.look(|node, now| (node.view(now), now)).await.ok_or_else(stopping)?;
    let unchanged_for = now.since(context.mind.seen().borrow().since);
    let number = |member: Member| json!([member.node.0, member.incarnation.get()]);
    let leader = view.claims.iter().find(|claim| claim.0 == Target::Leader).and_then(|claim| claim.1);
    let members = view.members.iter().map(|peer| {
        json!({
            "node": context.directory.name(peer.row.member.node),
            "member": number(peer.row.member),
            "incarnation": peer.row.member.incarnation.get(),
            "state": peer.row.state,
            "role": peer.row.role,
            "beat": peer.row.beat,
            "silent_ms": peer.silent_for.map(Span::millis),
            "slots": peer.row.slots,
        })
    });
    let traffic = context.store.traffic();
    let counts = |counts: Counts| json!({ "statements": counts.statements, "bytes_sent": counts.sent, "bytes_received": counts.received });
    Ok(Data(json!({
        "answered_by": context.name,
        "member": view.me.map(number),
        "phase": view.phase,
        "leader": leader.map(|holder| context.directory.name(holder.node)).unwrap_or_default(),
        "members": members.collect::<Vec<_>>(),
        "unchanged_us": unchanged_for.micros(),
        "trust_left_ms": view.trust_left.map(Span::millis),
        "discovery": discovery_json(context),
        "metastore": {
            "connections": traffic.connections,
            "contract": counts(traffic.contract),
            "people": counts(traffic.people),
        },
    })))
}

fn discovery_json(context: &Context) -> Value {
    match &*context.discovery.health().borrow() {
        Health::Up => json!({ "status": "UP" }),
        Health::Degraded { reason, .. } => json!({ "status": "DEGRADED", "reason": reason }),
        Health::Off => json!({ "status": "OFF" }),
    }
}

/// `GET /cluster/history`: what happened to whom, the latest first.
pub(super) async fn history(State(context): Shared, Params(paging): Params<Paging>) -> Result<Page<Value>> {
    let limit = paging.page_offset.saturating_add(1).saturating_mul(paging.page_size).min(10_000);
    let lines = context.store.history(u32::try_from(limit).unwrap_or(u32::MAX)).await?;
    let members = lines.iter().flat_map(|line| [line.member, line.by]).flatten();
    let nodes: Vec<_> = members.map(|member| member.node).collect();
    context.directory.learn(&nodes).await;
    let value = lines.into_iter().map(|line| crate::history::json(&context.directory, line)).collect();
    Ok(Data(Page::cut(value, paging.page_offset, paging.page_size)))
}

/// How a drain is to be done.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Drain {
    /// Attempts that reach no step boundary within so many milliseconds are stopped where they are.
    within_ms: Option<u64>,
    /// Whether the node leaves when nothing runs any more.
    #[serde(default)]
    leave: bool,
}

/// `POST /cluster/nodes/{name}/drain`.
pub(super) async fn drain(State(context): Shared, Path(node): Path<String>, Body(body): Body<Drain>) -> Result<Value> {
    let within = body.within_ms.map_or(context.config.jobs.drain_timeout, Duration::from_millis);
    let within = Span::from_millis(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
    wish(&context, &node, Event::DrainWished { within, leave: body.leave }).await?;
    Ok(Data(json!("")))
}

/// `DELETE /cluster/nodes/{name}/drain`: the node takes jobs again, under a new incarnation.
pub(super) async fn undrain(State(context): Shared, Path(node): Path<String>) -> Result<Value> {
    wish(&context, &node, Event::DrainUndone).await?;
    Ok(Data(json!("")))
}

/// `PUT /cluster/nodes/{name}/slots`.
#[derive(Debug, Deserialize)]
pub(super) struct Slots {
    slots: u32,
}

/// `PUT /cluster/nodes/{name}/slots`: how many jobs the node runs at once.
pub(super) async fn slots(State(context): Shared, Path(node): Path<String>, Body(body): Body<Slots>) -> Result<Value> {
    wish(&context, &node, Event::SlotsWished(body.slots)).await?;
    Ok(Data(json!("")))
}

/// Tells the node, wherever it is, what is wanted of it.
async fn wish(context: &Context, name: &str, event: Event) -> std::result::Result<(), ApiError> {
    if name == context.name {
        context.mind.tell(event);
        return Ok(());
    }
    let members = context.directory.refresh().await?;
    let info = members.iter().find(|info| info.name == name && info.state.is_alive()).ok_or_else(|| {
        ApiError::not_found("KE-010032208", format!("there is no node '{name}' in the cluster"))
            .suggest("see `kirin cluster list`")
    })?;
    context.links.wish(info.member, event);
    Ok(())
}

/// `POST /epoch`.
#[derive(Debug, Deserialize)]
pub(super) struct Claim {
    #[serde(default)]
    projects: Vec<String>,
    #[serde(default)]
    force: bool,
}

/// `POST /epoch`: this node takes the claims of the projects; of all and the leader's too if none is named.
pub(super) async fn claim(State(context): Shared, Body(body): Body<Claim>) -> Result<Value> {
    let projects = context.store.projects().await?;
    let mut targets = Vec::new();
    for name in &body.projects {
        let project = projects.iter().find(|project| project.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            ApiError::not_found("KE-010001201", format!("there is no project '{name}'"))
                .suggest("see `kirin project list`")
        })?;
        targets.push(Target::Project(project.id));
    }
    if targets.is_empty() {
        targets = projects.iter().map(|project| Target::Project(project.id)).collect();
        targets.push(Target::Leader);
    }
    for target in targets {
        context.mind.tell(Event::ClaimWished { target, force: body.force });
    }
    Ok(Data(json!("")))
}

/// `GET /system/servers`.
#[derive(Debug, Deserialize)]
pub(super) struct Servers {
    ext: Option<String>,
}

/// `GET /system/servers`: who is found through discovery.
pub(super) async fn servers(State(context): Shared, Params(params): Params<Servers>) -> Result<Value> {
    let peers = context.discovery.peers().borrow().clone();
    let servers: Vec<Value> = if params.ext.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        peers.iter().map(|peer| json!({ "host": peer.address(), "mode": peer.role.as_str() })).collect()
    } else {
        peers.iter().map(|peer| json!(peer.address())).collect()
    };
    Ok(Data(json!({ "status": { "maintenance_mode": false }, "servers": servers })))
}

/// `GET /system/host`.
pub(super) async fn host(State(context): Shared) -> Result<Value> {
    Ok(Data(json!(context.name)))
}

/// `POST /system/stop`: drains this node and ends its process.
pub(super) async fn stop(State(context): Shared) -> Result<Value> {
    // The receiver lives as long as the process.
    let _ = context.stop.send(());
    Ok(Data(json!("")))
}

/// `GET /health`: what a load balancer asks. 200 as long as this node can answer queries.
pub(super) async fn health(State(context): State<Context>) -> Response {
    let looked = tokio::time::timeout(Duration::from_secs(1), context.mind.look(|node, now| node.view(now))).await;
    let view = looked.ok().flatten();
    let trusted = view.as_ref().is_some_and(|view| view.trust_left.is_some());
    let phase = view.map_or("stopping", |view| view.phase);
    let up = matches!(phase, "up" | "joining" | "outside");
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = |ok: bool| if ok { "UP" } else { "DOWN" };
    let body = json!({
        "status": word(up),
        "components": {
            "metaStore": { "status": word(trusted) },
            "member": { "status": word(up), "details": { "phase": phase } },
            // Why it is degraded is for those who are logged in.
            "discovery": { "status": discovery_json(&context)["status"] },
        },
    });
    (status, axum::Json(body)).into_response()
}
