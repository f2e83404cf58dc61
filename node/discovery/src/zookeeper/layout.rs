//! The paths of registrations in ZooKeeper, and how they separate clusters.

use uuid::Uuid;

use crate::peer::Role;

/// The layout of paths; Kylin has had two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Kylin 5: `<base>/<unique-id>/services/{all|job|query}/<uuid>`. The role is the service name.
    Kylin5 {
        /// The cluster's name, one segment of a path. It distinguishes clusters that share a ZooKeeper.
        unique_id: String,
    },
    /// Kylin 3 and 4 with `kylin.server.self-discovery-enabled`: `<base>/<cluster>/service/cluster_servers/<uuid>`. The role is
    /// in the payload.
    SelfDiscovery {
        /// `kylin.server.cluster-name`, one segment of a path.
        cluster: String,
    },
}

/// One directory of registrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) path: String,
    /// The role of all its entries; `None` if each payload names its own.
    pub(super) role: Option<Role>,
}

impl Layout {
    /// Returns every directory that must be read to know all peers.
    pub(super) fn containers(&self, base: &str) -> Vec<Container> {
        match self {
            Layout::Kylin5 { .. } => Role::EVERY
                .into_iter()
                .map(|role| Container { path: self.container(base, role), role: Some(role) })
                .collect(),
            Layout::SelfDiscovery { .. } => vec![Container { path: self.container(base, Role::All), role: None }],
        }
    }

    /// Returns the directory in which a node of a role registers.
    pub(super) fn container(&self, base: &str, role: Role) -> String {
        match self {
            Layout::Kylin5 { unique_id } => format!("{base}/{unique_id}/services/{role}"),
            Layout::SelfDiscovery { cluster } => format!("{base}/{cluster}/service/{SELF_DISCOVERY_SERVICE}"),
        }
    }

    /// Returns the path at which a node registers.
    pub(super) fn entry(&self, base: &str, role: Role, id: Uuid) -> String {
        format!("{}/{id}", self.container(base, role))
    }
}

/// The service name of Kylin 3 and 4.
pub(super) const SELF_DISCOVERY_SERVICE: &str = "cluster_servers";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_kylins() {
        let five = Layout::Kylin5 { unique_id: "k_x".to_owned() };
        assert_eq!(
            five.entry("/kylin", Role::Job, Uuid::nil()),
            "/kylin/k_x/services/job/00000000-0000-0000-0000-000000000000"
        );
        assert_eq!(five.containers("/kylin").len(), 3);
        let older = Layout::SelfDiscovery { cluster: "k".to_owned() };
        assert_eq!(
            older.entry("/kylin", Role::Job, Uuid::nil()),
            "/kylin/k/service/cluster_servers/00000000-0000-0000-0000-000000000000"
        );
        assert_eq!(
            older.containers("/kylin"),
            [Container { path: "/kylin/k/service/cluster_servers".to_owned(), role: None }]
        );
    }
}
