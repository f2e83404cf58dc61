//! One session with ZooKeeper: how it begins, and requests that never wait for ever.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;
use zookeeper_client::{Client, Error as ZkError};

use super::config::ZooKeeperConfig;

/// No request waits longer than this for its answer, whatever the timeouts of session and connection are.
const PATIENCE_MAX: Duration = Duration::from_secs(5);
/// For how long the server is given to hear that a session ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// A session.
pub(super) struct Link {
    client: Client,
    patience: Duration,
}

impl Link {
    /// Tries every server once.
    ///
    /// The client would go on by itself, with waits that grow to half a minute; our own loop tries again sooner.
    pub(super) async fn open(config: &ZooKeeperConfig) -> Result<Self, ZkError> {
        let mut connector = Client::connector()
            .with_session_timeout(config.session_timeout)
            .with_connection_timeout(config.connection_timeout)
            .with_fail_eagerly();
        if let Some(auth) = &config.auth {
            connector = connector.with_auth(&auth.scheme, &auth.secret);
        }
        let client = connector.connect(&config.servers).await?;
        let patience = PATIENCE_MAX.min(config.connection_timeout).min(client.session_timeout());
        Ok(Link { client, patience })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the number of the session, as registrations carry it.
    pub(super) fn session(&self) -> i64 {
        self.client.session_id().0
    }

    /// Waits for an answer, with bounded patience. After [`ZkError::Timeout`] the request may or may not have been done.
    pub(super) async fn ask<T>(&self, request: impl Future<Output = Result<T, ZkError>>) -> Result<T, ZkError> {
        timeout(self.patience, request).await.unwrap_or(Err(ZkError::Timeout))
    }

    /// Ends the session, so that its registrations vanish at once; waits a moment for the server to hear it.
    pub(super) async fn close(self) {
        let mut states = self.client.state_watcher();
        drop(self.client);
        let ended = async { while !states.peek_state().is_terminated() && !states.changed().await.is_terminated() {} };
        _ = timeout(FAREWELL, ended).await;
    }
}
