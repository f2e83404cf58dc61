//! Whether this node can use the working directory, as the rest of the node asks it.
//!
//! The node that owns the checks answers through [`Checks`]; attempts and health ask through [`WorkingDir`]. An attempt that
//! failed has the directory checked before it reports its end. If the directory is out of order, the core has been told so
//! by then, and hands the job back instead of failing it. If it is in order, the failure is the job's. A job that is handed
//! back is taken again by the same node only after a later check has found the directory in order.
//!
//! A step whose files other nodes read is committed only after a check: a directory may be unmounted under an attempt, and
//! what it writes then is seen by its node alone. Such an attempt stops, and its job is handed back.

use kirin_core::Capabilities;
use tokio::sync::{mpsc, oneshot, watch};

use crate::KINDS;
use crate::kind::{DirNeed, Kind};

/// What is wrong with the working directory; each a sentence for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Why this node can't write there.
    pub unwritable: Option<String>,
    /// Why this node does not see there what others write.
    pub unshared: Option<String>,
}

impl Condition {
    /// What a node is able to run that could run all of `can` with a good directory.
    pub fn limits(&self, can: Capabilities) -> Capabilities {
        KINDS.iter().filter(|kind| !self.suits(kind)).fold(can, |can, kind| can.without(kind.needs))
    }

    /// Whether jobs of this kind can run with it.
    pub fn suits(&self, kind: &Kind) -> bool {
        self.unwritable.is_none() && (kind.dir == DirNeed::Writes || self.unshared.is_none())
    }

    /// What is wrong, if anything is.
    pub fn trouble(&self) -> Option<&str> {
        self.unwritable.as_deref().or(self.unshared.as_deref())
    }
}

/// Asks for the condition of the working directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WorkingDir {
    wishes: mpsc::UnboundedSender<oneshot::Sender<()>>,
    condition: watch::Receiver<Condition>,
}

/// The answering end of a [`WorkingDir`].
#[derive(Debug)]
pub struct Checks {
    /// Requests for a check; each is answered after the core was told what the check found.
    pub wishes: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    /// What the last check found.
    pub condition: watch::Sender<Condition>,
}

impl WorkingDir {
    /// Both ends. The directory counts as good until it is checked.
    pub fn new() -> (Self, Checks) {
        let (wishes, wished) = mpsc::unbounded_channel();
        let (tells, condition) = watch::channel(Condition::default());
        (Self { wishes, condition }, Checks { wishes: wished, condition: tells })
    }

    /// What the last check found.
    pub fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// Has the directory checked and returns what was found. The core knows it by then.
    pub async fn check(&self) -> Condition {
        let (reply, done) = oneshot::channel();
        if self.wishes.send(reply).is_ok() {
            // Without an answer the node is ending.
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
    fn each_kind_loses_what_it_needs_of_the_directory_and_no_more() {
        let (build, command, other) = (build::KIND.needs, command::KIND.needs, Capabilities(1 << 9));
        let all = build.or(command).or(other);
        let why = || Some("why".to_owned());
        assert_eq!(Condition::default().limits(all), all);
        assert_eq!(Condition { unshared: why(), ..Condition::default() }.limits(all), command.or(other));
        assert_eq!(Condition { unwritable: why(), ..Condition::default() }.limits(all), other);
        assert_eq!(Condition::default().limits(build), build, "nothing is added");
    }

    #[tokio::test]
    async fn a_check_is_answered_with_what_it_found_and_never_blocks_an_ending_node() {
        let (dir, mut checks) = WorkingDir::new();
        let asks = tokio::spawn({
            let dir = dir.clone();
            async move { dir.check().await }
        });
        let reply = checks.wishes.recv().await.expect("it asks");
        let found = Condition { unwritable: Some("full".to_owned()), unshared: None };
        checks.condition.send_replace(found.clone());
        reply.send(()).expect("it waits");
        assert_eq!(asks.await.expect("no panic"), found);
        drop(checks);
        assert_eq!(dir.check().await, found, "the last word");
    }
}
