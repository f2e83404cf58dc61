//! Claims: holdings other than jobs, such as leadership.

use kirin_core::ask::Epoch;
use kirin_core::{Answer, Member, Target};

use crate::beat::{done_if, target_name};
use crate::connection::{Connection, Work};
use crate::error::Fault;
use crate::wire::{Table, args};

/// [`kirin_core::Ask::Claim`].
pub(crate) struct Claim {
    pub(crate) target: Target,
    pub(crate) epoch: Epoch,
    pub(crate) by: Member,
    pub(crate) force: bool,
}

impl Work for Claim {
    type Out = Answer;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        let (node, incarnation) = (self.by.node.0, self.by.incarnation.get());
        let target = target_name(self.target);
        let seen = self.epoch.0.cast_signed();
        connection.begin().await?;
        if connection.rows(|sql| &sql.member_up, args![node, incarnation]).await?.is_empty() {
            return Ok(Answer::Refused);
        }
        // A claim after the end of its project would never be deleted.
        if let Target::Project(project) = self.target {
            let project = Table::default().ints([i64::from(project.0)]);
            if connection.rows(|sql| &sql.project_share, args![project]).await?.is_empty() {
                return Ok(Answer::Refused);
            }
        }
        // The claim was never held, or its row was deleted. The row is restored with the epoch that the caller knows.
        connection.run(|sql| &sql.claim_add, args![&target, seen]).await?;
        let force = i64::from(self.force);
        if connection.run(|sql| &sql.claim_take, args![&target, node, incarnation, seen, force]).await? == 0 {
            return Ok(Answer::Refused);
        }
        connection.commit().await?;
        Ok(Answer::Granted { epoch: Epoch(self.epoch.0 + 1), steps: 0 })
    }
}

/// [`kirin_core::Ask::Yield`].
pub(crate) struct Yield {
    pub(crate) target: Target,
    pub(crate) epoch: Epoch,
    pub(crate) by: Member,
}

impl Work for Yield {
    type Out = Answer;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        let (node, incarnation) = (self.by.node.0, self.by.incarnation.get());
        let target = target_name(self.target);
        let hit = connection
            .alone(|sql| &sql.claim_yield, args![&target, self.epoch.0.cast_signed(), node, incarnation])
            .await?;
        Ok(done_if(hit > 0))
    }
}
