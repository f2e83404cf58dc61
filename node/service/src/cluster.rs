//! The cluster: members, claims, history and health; drains, slots and takeovers of claims.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kirin_core::ask::{Epoch, Target};
use kirin_core::view::{PeerView, View};
use kirin_core::{Event, Member, MemberState, NodeId, Role, Span};
use kirin_discovery::{Discovery, Health, Peers};
use kirin_executor::WorkingDir;
use kirin_executor::working_dir::Condition as DirCondition;
use kirin_metastore::{HistoryLine, MemberInfo, Store, Traffic, wall_ms};
use kirin_shell::CoreHandle;
use kirin_shell::Links;
use tokio::sync::mpsc;

use crate::directory::Directory;
use crate::error::{Error, Result};
use crate::principal::Principal;
use crate::ready::Ready;

/// The core counts as stuck if it does not respond within this time.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a fenced member is still shown.
const FENCED_SHOWN_MS: i64 = 600_000;

/// The cluster, as seen by one node.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) name: Arc<str>,
    pub(crate) store: Store,
    pub(crate) core: CoreHandle,
    pub(crate) links: Links,
    pub(crate) directory: Directory,
    pub(crate) discovery: Arc<dyn Discovery>,
    pub(crate) working_dir: WorkingDir,
    pub(crate) role: Role,
    pub(crate) ready: Arc<Ready>,
    /// The default time limit for the jobs of a draining node.
    pub(crate) drain_timeout: Duration,
    pub(crate) stop: mpsc::UnboundedSender<()>,
}

/// The cluster's state in the metastore, with this node's own observations.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The name of the leader.
    pub leader: Option<String>,
    /// The members.
    pub members: Vec<MemberOverview>,
    /// The claims with their holders.
    pub claims: Vec<Claim>,
    /// The number of waiting jobs.
    pub waiting: u64,
    /// The remaining time of this node's trust without another successful beat.
    pub trust_left: Option<Span>,
}

/// A member.
#[derive(Clone, Debug)]
pub struct MemberOverview {
    /// The member's data in the metastore.
    pub info: Arc<MemberInfo>,
    /// Its beat, if this node sees it.
    pub beat: Option<u64>,
    /// The time since its beat changed, if this node watches it.
    pub silent_for: Option<Span>,
    /// Jobs that it runs.
    pub running: u64,
    /// Jobs that wait in its queue.
    pub waiting: u64,
    /// The names of the nodes that would take over its jobs.
    pub heirs: Vec<String>,
}

/// A claim and its holder.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The target.
    pub target: Target,
    /// The name of the claimed project, if any.
    pub project: Option<String>,
    /// The name of the node that holds it.
    pub holder: Option<String>,
    /// The epoch.
    pub epoch: u64,
}

/// This node's own current knowledge.
#[derive(Clone, Debug)]
pub struct Own {
    /// Its identity, if it is a member.
    pub me: Option<Member>,
    /// Its phase.
    pub phase: &'static str,
    /// The name of the leader.
    pub leader: Option<String>,
    /// The living members and their names.
    pub members: Vec<(PeerView, String)>,
    /// The time since the members last changed.
    pub unchanged_for: Span,
    /// The remaining time of its trust without another successful beat.
    pub trust_left: Option<Span>,
    /// Its traffic with the metastore.
    pub traffic: Traffic,
}

/// A line of the history with names.
#[derive(Clone, Debug)]
pub struct Happened {
    /// The line of the history.
    pub line: HistoryLine,
    /// The name of the node concerned.
    pub node: Option<String>,
    /// The name of the node that did or reported it.
    pub by: Option<String>,
}

/// Whether this node can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its phase; none if its core does not respond.
    pub phase: Option<&'static str>,
    /// Whether the metastore responds.
    pub metastore: bool,
    /// The condition of the working directory.
    pub working_dir: DirCondition,
    /// The node's role.
    pub role: Role,
}

impl Cluster {
    /// The name of this node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether discovery works.
    pub fn discovery(&self) -> Health {
        self.discovery.health().borrow().clone()
    }

    /// Whether this node can do its work, for load balancers, which do not log in.
    pub async fn condition(&self) -> Condition {
        let (phase, metastore) = tokio::join!(self.phase(), self.ready.metastore(&self.store));
        Condition { phase, metastore, working_dir: self.working_dir.condition(), role: self.role }
    }

    /// The phase of this node, for supervisors, which do not log in. `None` if its core does not respond.
    pub async fn phase(&self) -> Option<&'static str> {
        tokio::time::timeout(PATIENCE, self.core.look(|node, _| node.phase_name())).await.ok().flatten()
    }

    /// The members, the claims and the number of waiting jobs.
    ///
    /// # Errors
    /// If the metastore does not respond, or this node is stopping.
    pub async fn overview(&self, _who: &Principal) -> Result<Overview> {
        let members = self.directory.refresh().await?;
        let view = self.core.look(|node, now| node.view(now)).await.ok_or(Error::Stopping)?;
        let loads = self.store.loads().await?;
        let mut overviews = Vec::new();
        for info in members {
            let peer = view.members.iter().find(|peer| peer.row.member == info.member);
            let node = info.member.node;
            let load = loads.get(&node).copied().unwrap_or_default();
            let heirs = self.core.look(move |core, _| core.heirs_of(node)).await.unwrap_or_default();
            overviews.push(MemberOverview {
                beat: peer.map(|peer| peer.row.beat),
                silent_for: peer.and_then(|peer| peer.silent_for),
                running: load.running,
                waiting: load.waiting,
                heirs: heirs.into_iter().map(|heir| self.name_of(heir)).collect(),
                info,
            });
        }
        for info in self.lately_fenced(&overviews).await? {
            let load = loads.get(&info.member.node).copied().unwrap_or_default();
            overviews.push(MemberOverview {
                beat: None,
                silent_for: None,
                running: load.running,
                waiting: load.waiting,
                heirs: Vec::new(),
                info: Arc::new(info),
            });
        }
        let projects = self.store.projects().await?;
        let claim = |(target, holder, epoch): &(Target, Option<Member>, Epoch)| Claim {
            target: *target,
            project: match target {
                Target::Leader => None,
                Target::Project(id) => projects.iter().find(|p| p.id == *id).map(|project| project.name.clone()),
            },
            holder: holder.map(|holder| self.name_of(holder.node)),
            epoch: epoch.0,
        };
        Ok(Overview {
            leader: self.leader(&view),
            members: overviews,
            claims: view.claims.iter().map(claim).collect(),
            waiting: loads.values().map(|load| load.waiting).sum(),
            trust_left: view.trust_left,
        })
    }

    /// Members that were fenced recently and have not come back, so that an operator finds a node that died.
    async fn lately_fenced(&self, living: &[MemberOverview]) -> Result<Vec<MemberInfo>> {
        // Compares the wall clocks of several machines, only for display.
        let since = wall_ms() - FENCED_SHOWN_MS;
        let mut gone: BTreeMap<NodeId, MemberInfo> = BTreeMap::new();
        for info in self.store.all_members().await? {
            let node = info.member.node;
            let is_recent = info.state == MemberState::Fenced && info.ended_ms.is_some_and(|ended| ended >= since);
            if is_recent && living.iter().all(|other| other.info.member.node != node) {
                // In the order of incarnations, so the last one stays.
                gone.insert(node, info);
            }
        }
        Ok(gone.into_values().collect())
    }

    /// This node's own knowledge and its traffic with the metastore, without requests to other nodes.
    ///
    /// # Errors
    /// If this node is stopping.
    pub async fn own(&self, _who: &Principal) -> Result<Own> {
        let (view, now) = self.core.look(|node, now| (node.view(now), now)).await.ok_or(Error::Stopping)?;
        let unchanged_for = now.since(self.core.seen().borrow().since);
        let leader = self.leader(&view);
        let named = |peer: PeerView| {
            let name = self.name_of(peer.row.member.node);
            (peer, name)
        };
        Ok(Own {
            me: view.me,
            phase: view.phase,
            leader,
            members: view.members.into_iter().map(named).collect(),
            unchanged_for,
            trust_left: view.trust_left,
            traffic: self.store.traffic(),
        })
    }

    /// The last `limit` lines of the history, latest first.
    ///
    /// # Errors
    /// If the metastore does not respond.
    pub async fn history(&self, _who: &Principal, limit: u32) -> Result<Vec<Happened>> {
        let lines = self.store.history(limit).await?;
        let members = lines.iter().flat_map(|line| [line.member, line.by]).flatten();
        let nodes: Vec<_> = members.map(|member| member.node).collect();
        self.directory.learn(&nodes).await;
        let name = |member: Option<Member>| member.map(|member| self.name_of(member.node));
        Ok(lines.into_iter().map(|line| Happened { node: name(line.member), by: name(line.by), line }).collect())
    }

    /// Drains a node: it takes no more jobs, and ends or hands over those that it runs.
    ///
    /// # Errors
    /// If the node does not exist.
    pub async fn drain(&self, who: &Principal, node: &str, within: Option<Duration>, leave: bool) -> Result<()> {
        let within = within.unwrap_or(self.drain_timeout);
        let within = Span::from_millis(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        self.wish(who, node, Event::DrainWished { within, leave }).await
    }

    /// Ends a drain: the node takes jobs again, under a new incarnation.
    ///
    /// # Errors
    /// If the node does not exist.
    pub async fn undrain(&self, who: &Principal, node: &str) -> Result<()> {
        self.wish(who, node, Event::DrainUndone).await
    }

    /// Changes the maximum number of jobs that a node runs at once.
    ///
    /// # Errors
    /// If the node does not exist.
    pub async fn set_slots(&self, who: &Principal, node: &str, slots: u32) -> Result<()> {
        self.wish(who, node, Event::SlotsWished(slots)).await
    }

    /// Sends an event to the core of this or another node.
    async fn wish(&self, _who: &Principal, name: &str, event: Event) -> Result<()> {
        if name == &*self.name {
            self.core.tell(event);
            return Ok(());
        }
        let members = self.directory.refresh().await?;
        let info = members.iter().find(|info| info.name == name && info.state.is_alive());
        let info = info.ok_or_else(|| Error::NoNode(name.to_owned()))?;
        self.links.wish(info.member, event);
        Ok(())
    }

    /// Makes this node take the claims of these projects; without names, all claims including leadership.
    ///
    /// # Errors
    /// If a project does not exist. Then no claim is taken.
    pub async fn claim(&self, _who: &Principal, names: &[String], force: bool) -> Result<()> {
        let projects = self.store.projects().await?;
        let mut targets = Vec::new();
        for name in names {
            let project = projects.iter().find(|project| project.name.eq_ignore_ascii_case(name));
            targets.push(Target::Project(project.ok_or_else(|| Error::NoProject(name.clone()))?.id));
        }
        if targets.is_empty() {
            targets = projects.iter().map(|project| Target::Project(project.id)).collect();
            targets.push(Target::Leader);
        }
        for target in targets {
            self.core.tell(Event::ClaimWished { target, force });
        }
        Ok(())
    }

    /// The servers that discovery knows.
    pub fn servers(&self, _who: &Principal) -> Arc<Peers> {
        self.discovery.peers().borrow().clone()
    }

    /// Drains this node and ends its process.
    pub fn stop(&self, _who: &Principal) {
        // The receiver exists as long as the process.
        let _ = self.stop.send(());
    }

    fn leader(&self, view: &View) -> Option<String> {
        let claim = view.claims.iter().find(|claim| claim.0 == Target::Leader)?;
        claim.1.map(|holder| self.name_of(holder.node))
    }

    fn name_of(&self, node: NodeId) -> String {
        self.directory.name(node)
    }
}
