//! Whether this node can use the working directory: the interface between the checks and the rest of the node.
//!
//! The owner of the checks holds [`Checks`]; attempts and health use [`WorkingDir`]. A failed attempt requests a check
//! before it reports its end. If the directory is unusable, the core knows this by then and hands the job back instead of
//! failing it. If the directory is usable, the job fails. The same node takes a job that it has handed back only after a
//! later check has found the directory usable.
//!
//! A step whose files other nodes read is committed only after a check. A directory may be unmounted during an attempt, and
//! then only this node can read the attempt's files. Such an attempt stops, and its job is handed back.

use kirin_core::Capabilities;
use tokio::sync::{mpsc, oneshot, watch};

use crate::KINDS;
use crate::kind::{DirNeed, Kind};

/// The problems of the working directory, each as a sentence for users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Why this node cannot write there.
    pub unwritable: Option<String>,
    /// Why this node cannot read there what other nodes write.
    pub unshared: Option<String>,
}

impl Condition {
    /// The capabilities of a node that has the capabilities `can` if the directory is usable.
    pub fn limits(&self, can: Capabilities) -> Capabilities {
        KINDS.iter().filter(|kind| !self.suits(kind)).fold(can, |can, kind| can.without(kind.needs))
    }

    /// Whether jobs of this kind can run in this condition.
    pub fn suits(&self, kind: &Kind) -> bool {
        self.unwritable.is_none() && (kind.dir == DirNeed::Writes || self.unshared.is_none())
    }

    /// The first problem, if any.
    pub fn trouble(&self) -> Option<&str> {
        self.unwritable.as_deref().or(self.unshared.as_deref())
    }
}

/// A handle to the condition of the working directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WorkingDir {
    requests: mpsc::UnboundedSender<oneshot::Sender<()>>,
    condition: watch::Receiver<Condition>,
}

/// The other end of a [`WorkingDir`], for the owner of the checks.
#[derive(Debug)]
pub struct Checks {
    /// Requests for a check. Each is answered after the core has received the result of the check.
    pub requests: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    /// The result of the last check.
    pub condition: watch::Sender<Condition>,
}

impl WorkingDir {
    /// Both ends. The directory counts as usable until it is checked.
    pub fn new() -> (Self, Checks) {
        let (requests, received) = mpsc::unbounded_channel();
        let (sender, condition) = watch::channel(Condition::default());
        (Self { requests, condition }, Checks { requests: received, condition: sender })
    }

    /// The result of the last check.
    pub fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// Requests a check and returns its result, which the core has received by then.
    pub async fn check(&self) -> Condition {
        let (reply, done) = oneshot::channel();
        if self.requests.send(reply).is_ok() {
            // A missing answer means that the node is exiting.
            let _ = done.await;
        }
        self.condition()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{build, command};

    #[test]
    fn a_problem_removes_only_the_kinds_that_it_affects() {
        let (build, command, other) = (build::KIND.needs, command::KIND.needs, Capabilities(1 << 9));
        let all = build.or(command).or(other);
        let why = || Some("why".to_owned());
        assert_eq!(Condition::default().limits(all), all);
        assert_eq!(Condition { unshared: why(), ..Condition::default() }.limits(all), command.or(other));
        assert_eq!(Condition { unwritable: why(), ..Condition::default() }.limits(all), other);
        assert_eq!(Condition::default().limits(build), build, "nothing is added");
    }

    #[tokio::test]
    async fn a_check_returns_its_result_and_never_blocks_an_exiting_node() {
        let (dir, mut checks) = WorkingDir::new();
        let asks = tokio::spawn({
            let dir = dir.clone();
            async move { dir.check().await }
        });
        let reply = checks.requests.recv().await.expect("a request");
        let found = Condition { unwritable: Some("full".to_owned()), unshared: None };
        checks.condition.send_replace(found.clone());
        reply.send(()).expect("the caller waits");
        assert_eq!(asks.await.expect("no panic"), found);
        drop(checks);
        assert_eq!(dir.check().await, found, "the last result");
    }
}
