//! Who is where: names and addresses of members, as the metastore has them. A cache; what it lacks is read again.

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
    /// An empty directory over that metastore.
    pub fn new(store: Store) -> Self {
        Self { store, members: Arc::default(), reading: Arc::default() }
    }

    /// What is known of the member, without asking anybody.
    pub fn known(&self, member: Member) -> Option<Arc<MemberInfo>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).get(&member).cloned()
    }

    /// What the metastore knows of the member; `None` if it isn't alive or the metastore doesn't answer.
    pub async fn find(&self, member: Member) -> Option<Arc<MemberInfo>> {
        if let Some(known) = self.known(member) {
            return Some(known);
        }
        // Whoever joins wants to know everybody at once: one reads for all.
        let _reading = self.reading.lock().await;
        if let Some(known) = self.known(member) {
            return Some(known);
        }
        if let Err(error) = self.refresh().await {
            tracing::debug!(%error, "the directory could not be read");
        }
        self.known(member)
    }

    /// Reads the directory again and returns the living members.
    ///
    /// # Errors
    /// If the metastore does not answer; nothing is forgotten then.
    pub async fn refresh(&self) -> Result<Vec<Arc<MemberInfo>>, StoreError> {
        let rows = self.store.directory().await?;
        let rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.member, Arc::new(row))).collect();
        let living = rows.values().cloned().collect();
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        // Names of the dead are kept for people, as long as they are few.
        if members.len() > 4096 {
            members.clear();
        }
        members.extend(rows);
        Ok(living)
    }

    /// Makes sure that the names of these nodes are known, if the metastore knows them.
    pub async fn learn(&self, nodes: &[NodeId]) {
        let missing = {
            let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
            nodes.iter().any(|node| !members.keys().any(|member| member.node == *node))
        };
        if missing && let Ok(rows) = self.store.everybody().await {
            let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
            for row in rows {
                members.entry(row.member).or_insert_with(|| Arc::new(row));
            }
        }
    }

    /// The name of a node, or its number if that is not known.
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
