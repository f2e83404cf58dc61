//! Describes events and effects in a few words each, for transcripts and replays.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::ask::{Fence, Target};
use crate::effect::Nudge;
use crate::{Answer, Ask, Effect, Event, JobRow, Note, Span};

/// Describes an event in one line.
pub fn event(event: &Event) -> String {
    match event {
        Event::Woke => "time passed".to_owned(),
        Event::Answered { id, answer: it } => format!("answer {}: {}", id.0, answer(it)),
        Event::Told(jobs) => format!("accepted here: {}", rows(jobs)),
        Event::Heard(jobs) => format!("heard of {}", rows(jobs)),
        Event::Inherited(orphans) => {
            format!("told of orphans of {:?}, {}: {}", orphans.of, orphans.found.evidence, rows(&orphans.jobs))
        }
        Event::ListsChanged => "told that the lists have changed".to_owned(),
        Event::Suspected(member) => format!("the link to {member:?} broke"),
        Event::Probed { member, met } => format!("probe of {member:?}: {met:?}"),
        Event::Exited(member) => format!("{member:?} has exited"),
        Event::StepEnded { fence: at, step } => format!("step {step} of {} is ready", fence(*at)),
        Event::AttemptEnded { fence: at, end } => format!("attempt {} ended: {end:?}", fence(*at)),
        Event::DrainWished { leave: true, .. } => "an operator stops the node".to_owned(),
        Event::DrainWished { leave: false, .. } => "an operator drains the node".to_owned(),
        Event::DrainUndone => "an operator undoes the drain".to_owned(),
        Event::ClaimWished { target: of, force } => {
            format!("an operator wants {} here{}", target(*of), if *force { ", by force" } else { "" })
        }
        Event::SlotsWished(slots) => format!("an operator wants {slots} slots"),
        Event::CanChanged(can) => format!("this node is able to run {can:?}"),
    }
}

/// Describes an answer in one line.
pub fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Jobs(jobs) if jobs.len() > 8 => format!("{} jobs", jobs.len()),
        Answer::Jobs(jobs) => format!("jobs: {}", rows(jobs)),
        Answer::Listed { members, .. } => format!("lists, {} members", members.len()),
        Answer::Beats(beats) => format!("beats of {} members", beats.len()),
        Answer::Granted { epoch, steps } => format!("granted, epoch {}, {steps} steps done", epoch.0),
        Answer::Accepted { row, .. } => format!("accepted {}", fence(row.fence())),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Describes an effect in one line.
pub fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Ask { ask: it, .. } => ask(it),
        Effect::Begin { fence: at, step } => format!("begin {} at step {step}", fence(*at)),
        Effect::Proceed { fence: at, step } => format!("proceed {} with step {step}", fence(*at)),
        Effect::Cancel { fence: at, why } => format!("cancel {} because {why:?}", fence(*at)),
        Effect::Watch(members) => format!("watch {members:?}"),
        Effect::Probe(member) => format!("probe {member:?}"),
        Effect::Nudge { to, nudge: Nudge::Jobs(jobs) } => format!("nudge {to:?}: {}", rows(jobs)),
        Effect::Nudge { to, nudge: Nudge::Orphans(orphans) } => {
            format!("nudge {to:?}: orphans of {:?}, {}: {}", orphans.of, orphans.found.evidence, rows(&orphans.jobs))
        }
        Effect::Nudge { to, nudge: Nudge::Lists } => format!("nudge {to:?}: lists"),
        Effect::Lead { target: of, epoch } => format!("lead {} under {}", target(*of), epoch.0),
        Effect::Resign(of) => format!("resign {}", target(*of)),
        Effect::Note(it) => format!("note {}", note(it)),
        Effect::Exit => "exit".to_owned(),
    }
}

fn fence(fence: Fence) -> String {
    format!("job{}@{}", fence.job.0, fence.epoch.0)
}

fn target(target: Target) -> String {
    match target {
        Target::Leader => "leader".to_owned(),
        Target::Project(project) => format!("p{}", project.0),
    }
}

fn rows(rows: &[JobRow]) -> String {
    let each = rows.iter().map(|row| {
        let holder = row.holder.map(|h| format!(" held by {h:?}")).unwrap_or_default();
        let placed = row.placed.filter(|_| row.state.is_waiting()).map(|n| format!(" on {n:?}")).unwrap_or_default();
        format!("{} {}{holder}{placed}", fence(row.fence()), row.state.name())
    });
    each.collect::<Vec<_>>().join(", ")
}

/// Describes a request in one line.
pub fn ask(ask: &Ask) -> String {
    match ask {
        Ask::Join { role, slots, .. } => format!("ask to join as {role:?} with {slots} slots"),
        Ask::Beat { .. } => "ask beat".to_owned(),
        Ask::List => "ask lists".to_owned(),
        Ask::Drain { .. } => "ask to drain".to_owned(),
        Ask::Leave { .. } => "ask to leave".to_owned(),
        Ask::Fence { member, evidence, .. } => format!("ask to fence {member:?}, {evidence}"),
        Ask::Claim { target: of, epoch, force, .. } => {
            format!("ask to claim {} after {}{}", target(*of), epoch.0, if *force { ", by force" } else { "" })
        }
        Ask::Yield { target: of, epoch, .. } => format!("ask to yield {} of {}", target(*of), epoch.0),
        Ask::ListJobs => "ask jobs".to_owned(),
        Ask::ReadJobs(ids) => {
            format!("ask jobs {}", ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(", "))
        }
        Ask::ListNode(node) => format!("ask jobs of {node:?}"),
        Ask::Submit { .. } => "ask to submit".to_owned(),
        Ask::Place { fence: at, node } => format!("ask to place {} on {node:?}", fence(*at)),
        Ask::Take { fence: at, in_order, .. } => {
            format!("ask to take {}{}", fence(*at), if *in_order { " in order" } else { "" })
        }
        Ask::CommitStep { fence: at, step, .. } => format!("ask to commit step {step} of {}", fence(*at)),
        Ask::Finish { fence: at, outcome, .. } => format!("ask to finish {}: {outcome:?}", fence(*at)),
        Ask::Release { fence: at, placed, .. } => {
            let to = placed.map(|node| format!(" to {node:?}")).unwrap_or_default();
            format!("ask to hand back {}{to}", fence(*at))
        }
        Ask::Act { fence: at, action, .. } => format!("ask to {} {}", action.name(), fence(*at)),
        Ask::SetSlots { slots, .. } => format!("ask for {slots} slots"),
        Ask::SetCan { can, .. } => format!("ask to be listed as able to run {can:?}"),
        Ask::SetLimit { project, limit } => format!("ask for limit {limit} of p{}", project.0),
    }
}

fn note(note: &Note) -> String {
    let ms = |span: &Span| span.millis();
    match note {
        Note::TookOver { fence: at, from, found, taken, first_step, from_step } => {
            let found = found.as_ref().map_or_else(
                || "found in a list".to_owned(),
                |f| {
                    let (confirmed, fenced, listed) = (ms(&f.confirmed), ms(&f.fenced), ms(&f.listed));
                    format!("{} after {confirmed} ms, fenced {fenced} ms, listed {listed} ms", f.evidence)
                },
            );
            let (taken, first) = (ms(taken), ms(first_step));
            format!(
                "took over {} from {from:?}: {found}, taken {taken} ms, step {from_step} after {first} ms",
                fence(*at)
            )
        }
        Note::HandedOver { fence: at, steps } => format!("handed over {} after {steps} steps", fence(*at)),
        Note::Fenced { member, found } => format!("fenced {member:?}, {}", found.evidence),
        Note::WasFenced(member) => format!("{member:?} was fenced"),
        Note::TrustEnded => "trust ended".to_owned(),
        Note::TrustRestored => "trust restored".to_owned(),
        Note::Refused(at) => format!("write under {} refused", fence(*at)),
        Note::SuspectsItself { dead, of } => format!("suspects itself: {dead} of {of} look dead"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::{Epoch, JobId, Priority, ProjectId};
    use crate::{AskId, JobState, Member, NodeId};

    #[test]
    fn each_effect_is_described_in_one_line() {
        let (by, at) = (Member::new(2, 1).expect("incarnation 1"), Fence { job: JobId(7), epoch: Epoch(4) });
        let claim = Ask::Claim { target: Target::Project(ProjectId(3)), epoch: Epoch(1), by, force: true };
        assert_eq!(effect(&Effect::Ask { id: AskId(1), ask: claim }), "ask to claim p3 after 1, by force");
        assert_eq!(effect(&Effect::Resign(Target::Leader)), "resign leader");
        assert_eq!(effect(&Effect::Begin { fence: at, step: 2 }), "begin job7@4 at step 2");
        let found = crate::failure::Found {
            evidence: crate::Evidence::Exited,
            confirmed: Span::from_millis(1),
            fenced: Span::from_millis(2),
            listed: Span::from_millis(3),
        };
        let fenced = Note::Fenced { member: by, found };
        assert_eq!(effect(&Effect::Note(fenced)), "note fenced n2.1, exited");
    }

    #[test]
    fn each_event_is_described_in_one_line() {
        let member = Member::new(2, 1).expect("incarnation 1");
        let row = JobRow {
            id: JobId(7),
            project: ProjectId(1),
            priority: Priority(3),
            state: JobState::Pending,
            epoch: Epoch(4),
            holder: None,
            placed: Some(NodeId(2)),
            steps: 0,
            external: false,
            needs: crate::Capabilities::NONE,
        };
        let held = JobRow { state: JobState::Running, holder: Some(member), ..row };
        assert_eq!(event(&Event::Suspected(member)), "the link to n2.1 broke");
        assert_eq!(
            event(&Event::Heard([row, held].to_vec())),
            "heard of job7@4 PENDING on n2, job7@4 RUNNING held by n2.1"
        );
        let answered = |answer| event(&Event::Answered { id: AskId(3), answer });
        assert_eq!(answered(Answer::Granted { epoch: Epoch(5), steps: 2 }), "answer 3: granted, epoch 5, 2 steps done");
        assert_eq!(answered(Answer::Refused), "answer 3: refused");
        assert_eq!(answered(Answer::Jobs([row].to_vec())), "answer 3: jobs: job7@4 PENDING on n2");
        assert_eq!(answered(Answer::Jobs([row; 9].to_vec())), "answer 3: 9 jobs");
        assert_eq!(answered(Answer::Jobs([row; 8].to_vec())).matches("job7@4").count(), 8, "few enough to list them");
    }
}
