//! The life of a job: one `match` over (state, event). An illegal pair is an error.
//!
//! A job's *state* says what its users want; its *holder* is the member that may still be working on it. The two are
//! separate on purpose. PAUSE, DISCARD and RESTART change the state at once, from any node, even if the holder is dead.
//! The holder stays recorded until it reports that its attempt has stopped, or until it is not alive any more. A job
//! with a living holder cannot be taken, so two obedient attempts never overlap. A commit needs state RUNNING and the
//! current epoch, so a disobedient attempt is refused.
//!
//! States, actions and their names are Kylin's.

use core::fmt;

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "UPPERCASE"))]
pub enum JobState {
    /// Accepted, not yet on any node's queue.
    Ready,
    /// On a node's queue.
    Pending,
    /// An attempt holds it.
    Running,
    /// The last attempt failed; RESUME or RESTART tries again.
    Error,
    /// Stopped on request; RESUME continues after the last committed step.
    Paused,
    /// Abandoned on request. Final.
    Discarded,
    /// Done; its result is published. Final.
    Succeed,
    /// The object that the job was for does not exist any more. Final.
    Suicidal,
}

/// What a user wants done with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "UPPERCASE"))]
pub enum Action {
    /// Continue after the last committed step.
    Resume,
    /// Stop; keep the committed steps.
    Pause,
    /// Forget the committed steps and begin again.
    Restart,
    /// Abandon it for good.
    Discard,
}

/// How an attempt ended, as the executor reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Outcome {
    /// All steps are committed; the result may be published.
    Succeeded,
    /// A step failed.
    Failed,
    /// The object that the job was for does not exist any more.
    Vanished,
}

/// What can happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobEvent {
    /// It was put on a node's queue.
    Place,
    /// A member takes it: first claim or takeover.
    Take,
    /// Its attempt ended.
    Finish(Outcome),
    /// Its holder hands it back unfinished.
    Release,
    /// A user performs an action on it.
    Act(Action),
}

/// A pair (state, event) that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Illegal {
    /// The state of the job.
    pub state: JobState,
    /// The event that is not allowed in it.
    pub event: JobEvent,
}

impl JobState {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 8] = [
        Self::Ready,
        Self::Pending,
        Self::Running,
        Self::Error,
        Self::Paused,
        Self::Discarded,
        Self::Succeed,
        Self::Suicidal,
    ];

    /// The state after `event`.
    ///
    /// # Errors
    /// [`Illegal`] if the event is not allowed in this state.
    pub const fn after(self, event: JobEvent) -> Result<Self, Illegal> {
        use Action::{Discard, Pause, Restart, Resume};
        use JobEvent::{Act, Finish, Place, Release, Take};
        Ok(match (self, event) {
            (Self::Ready | Self::Pending, Place) => Self::Pending,
            (Self::Ready | Self::Pending | Self::Running, Take) => Self::Running,
            (Self::Running, Finish(Outcome::Succeeded)) => Self::Succeed,
            (Self::Running, Finish(Outcome::Failed)) => Self::Error,
            (Self::Running, Finish(Outcome::Vanished)) => Self::Suicidal,
            (Self::Running, Release) => Self::Ready,
            // The state was changed while the attempt ran. Handing the job back only clears the holder.
            (Self::Ready | Self::Pending | Self::Paused | Self::Discarded, Release) => self,
            (Self::Ready | Self::Pending | Self::Running, Act(Pause)) => Self::Paused,
            (Self::Error | Self::Paused, Act(Resume)) => Self::Ready,
            (Self::Running | Self::Error | Self::Paused, Act(Restart)) => Self::Ready,
            (Self::Ready | Self::Pending | Self::Running | Self::Error | Self::Paused, Act(Discard)) => Self::Discarded,
            (state, event) => return Err(Illegal { state, event }),
        })
    }

    /// Whether the state is final.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Discarded | Self::Succeed | Self::Suicidal)
    }

    /// Whether the job waits for a node to run it.
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Ready | Self::Pending)
    }

    /// Kylin's name of the state inside the metastore and in `scheduler_state`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Error => "ERROR",
            Self::Paused => "PAUSED",
            Self::Discarded => "DISCARDED",
            Self::Succeed => "SUCCEED",
            Self::Suicidal => "SUICIDAL",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl Action {
    /// Kylin's name of the action.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resume => "RESUME",
            Self::Pause => "PAUSE",
            Self::Restart => "RESTART",
            Self::Discard => "DISCARD",
        }
    }

    /// The states in which the action is legal.
    pub fn allowed_in(self) -> impl Iterator<Item = JobState> {
        JobState::ALL.into_iter().filter(move |state| state.after(JobEvent::Act(self)).is_ok())
    }
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not possible for a job in state {}", self.event, self.state.name())
    }
}

impl core::error::Error for Illegal {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    #[test]
    fn names_are_kylins_and_read_back() {
        let names = ["READY", "PENDING", "RUNNING", "ERROR", "PAUSED", "DISCARDED", "SUCCEED", "SUICIDAL"];
        assert_eq!(JobState::ALL.map(JobState::name), names);
        assert_eq!(names.map(JobState::from_name), JobState::ALL.map(Some));
        assert_eq!(JobState::from_name("ready"), None);
        let actions = [Action::Resume, Action::Pause, Action::Restart, Action::Discard];
        assert_eq!(actions.map(Action::name), ["RESUME", "PAUSE", "RESTART", "DISCARD"]);
    }

    #[test]
    fn waiting_and_final_states_are_distinguished() {
        use JobState::{Discarded, Error, Paused, Pending, Ready, Running, Succeed, Suicidal};
        let those = |of: fn(JobState) -> bool| JobState::ALL.into_iter().filter(|s| of(*s)).collect::<Vec<_>>();
        assert_eq!(those(JobState::is_waiting), [Ready, Pending]);
        assert_eq!(those(JobState::is_final), [Discarded, Succeed, Suicidal]);
        let allowed = |action: Action| action.allowed_in().collect::<Vec<_>>();
        assert_eq!(allowed(Action::Pause), [Ready, Pending, Running]);
        assert_eq!(allowed(Action::Resume), [Error, Paused]);
        assert_eq!(allowed(Action::Restart), [Running, Error, Paused]);
        assert_eq!(allowed(Action::Discard), [Ready, Pending, Running, Error, Paused]);
    }

    #[test]
    fn an_illegal_pair_names_the_event_and_the_state() {
        let illegal = JobState::Succeed.after(JobEvent::Take).expect_err("a final state");
        assert_eq!(illegal.to_string(), "Take is not possible for a job in state SUCCEED");
    }
}
