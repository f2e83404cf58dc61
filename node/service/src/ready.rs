//! The availability of the metastore, for `/health`.
//!
//! `/health` needs no login. For any number of clients, this module sends at most one request per second to the
//! metastore, and one at a time.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use kirin_metastore::Store;

/// How long an answer is reused.
const FRESH: Duration = Duration::from_secs(1);

/// The metastore counts as down after this time. Load balancers expect an answer within half a second.
const PATIENCE: Duration = Duration::from_millis(400);

/// The last answer, with its time.
#[derive(Debug, Default)]
pub(crate) struct Ready(Mutex<Option<(Instant, bool)>>);

impl Ready {
    /// Whether the metastore responded, at most a second ago.
    pub(crate) async fn metastore(&self, store: &Store) -> bool {
        let mut last = self.0.lock().await;
        let now = kirin_shell::clock::instant_tokio();
        if let Some((at, answers)) = *last
            && now.duration_since(at) < FRESH
        {
            return answers;
        }
        let asked = tokio::time::timeout(PATIENCE, store.setting(crate::principal::ADMIN_HASH)).await;
        let answers = matches!(asked, Ok(Ok(_)));
        *last = Some((kirin_shell::clock::instant_tokio(), answers));
        answers
    }
}
