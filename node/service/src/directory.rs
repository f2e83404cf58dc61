//! Names and addresses of members: a cache of the metastore. Missing entries are read on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kirin_core::{Member, NodeId};
use kirin_shell::discovery_hints::Roster;
use kirin_shell::link::{Address, Addresses};
use tokio::sync::Mutex;

use kirin_metastore::{MemberInfo, Store, StoreError};

/// The cached directory of one node.
#[derive(Clone)]
pub struct Directory {
    store: Store,
    members: Arc<RwLock<BTreeMap<Member, Arc<MemberInfo>>>>,
    reading: Arc<Mutex<()>>,
}

impl Directory {
    /// An empty directory of this metastore.
    pub fn new(store: Store) -> Self {
        Self { store, members: Arc::default(), reading: Arc::default() }
    }

    /// The cached data of the member.
    pub fn known(&self, member: Member) -> Option<Arc<MemberInfo>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).get(&member).cloned()
    }

    /// The member's data, from the cache or the metastore; `None` if it is not alive or the metastore does not respond.
    pub async fn find(&self, member: Member) -> Option<Arc<MemberInfo>> {
        if let Some(known) = self.known(member) {
            return Some(known);
        }
        // A joining node looks up all members at once, so one request reads for all.
        let _reading = self.reading.lock().await;
        if let Some(known) = self.known(member) {
            return Some(known);
        }
        if let Err(error) = self.refresh().await {
            tracing::debug!(%error, "cannot read the directory of members");
        }
        self.known(member)
    }

    /// Reads the directory again and returns the living members.
    ///
    /// # Errors
    /// If the metastore does not respond. Then the cache is unchanged.
    pub async fn refresh(&self) -> Result<Vec<Arc<MemberInfo>>, StoreError> {
        let rows = self.store.directory().await?;
        let rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.member, Arc::new(row))).collect();
        let living = rows.values().cloned().collect();
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        // Names of dead members are kept for users while they are few.
        if members.len() > 4096 {
            members.clear();
        }
        members.extend(rows);
        Ok(living)
    }

    /// Caches the names of these nodes, as far as the metastore has them.
    pub async fn learn(&self, nodes: &[NodeId]) {
        let missing = {
            let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
            nodes.iter().any(|node| !members.keys().any(|member| member.node == *node))
        };
        if missing && let Ok(rows) = self.store.all_members().await {
            let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
            for row in rows {
                members.entry(row.member).or_insert_with(|| Arc::new(row));
            }
        }
    }

    /// The name of a node, or its id if the name is unknown.
    pub fn name(&self, node: NodeId) -> String {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members
            .iter()
            .rev()
            .find(|(member, _)| member.node == node)
            .map_or_else(|| format!("node {}", node.0), |(_, info)| info.name.clone())
    }
}

impl Roster for Directory {
    fn living(&self) -> BoxFuture<'_, Vec<(Member, String)>> {
        async { self.refresh().await.unwrap_or_default().iter().map(|info| (info.member, info.http.clone())).collect() }
            .boxed()
    }
}

impl Addresses for Directory {
    fn find(&self, member: Member) -> BoxFuture<'_, Option<Address>> {
        let address = |info: Arc<MemberInfo>| Address { name: info.name.clone(), at: info.link.clone() };
        async move { Self::find(self, member).await.map(address) }.boxed()
    }
}
