//! One session with ZooKeeper: its start, and requests with a bounded wait.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;
use zookeeper_client::{Client, Error as ZkError};

use super::config::ZooKeeperConfig;

/// The longest wait for an answer, whatever the timeouts of session and connection are.
const PATIENCE_MAX: Duration = Duration::from_secs(5);
/// The longest wait for the server to end a session.
const FAREWELL: Duration = Duration::from_secs(1);

/// A session.
pub(super) struct Link {
    client: Client,
    patience: Duration,
}

impl Link {
    /// Tries every server once.
    ///
    /// The client's own retries wait up to half a minute; our loop tries again sooner.
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

    /// Returns the session id, as registrations contain it.
    pub(super) fn session(&self) -> i64 {
        self.client.session_id().0
    }

    /// Waits for an answer, up to a limit. After [`ZkError::Timeout`] the request may or may not have been executed.
    pub(super) async fn ask<T>(&self, request: impl Future<Output = Result<T, ZkError>>) -> Result<T, ZkError> {
        timeout(self.patience, request).await.unwrap_or(Err(ZkError::Timeout))
    }

    /// Ends the session, so that its registrations disappear at once. Waits briefly for the server.
    pub(super) async fn close(self) {
        let mut states = self.client.state_watcher();
        drop(self.client);
        let ended = async { while !states.peek_state().is_terminated() && !states.changed().await.is_terminated() {} };
        _ = timeout(FAREWELL, ended).await;
    }
}
