//! Whether the metastore answers, for `/health`.
//!
//! `/health` needs no login. However many clients ask, the metastore is asked at most once per second, and by one request
//! at a time.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use kirin_metastore::Store;

/// How long an answer holds.
const FRESH: Duration = Duration::from_secs(1);

/// The metastore is down if it takes longer to answer. Load balancers expect an answer within half a second.
const PATIENCE: Duration = Duration::from_millis(400);

/// The last answer, and when it came.
#[derive(Debug, Default)]
pub(crate) struct Ready(Mutex<Option<(Instant, bool)>>);

impl Ready {
    /// Whether the metastore answers, as it was at most a second ago.
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
