//! The cluster's history: joins, leaves, fences and takeovers, with evidence and the duration of each phase.
//!
//! Joins, leaves and fences are recorded by the transactions that perform them. This module adds what only the acting member
//! knows: takeovers, and the phases, measured on its own clock.

use kirin_core::effect::Note;
use kirin_core::failure::Found;
use kirin_core::{Member, Span};
use kirin_metastore::{HistoryLine, Store, kinds, wall_ms};
use kirin_wire::{HistoryDetail, PhaseView};

use crate::directory::Directory;

/// Appends notes to the history.
#[derive(Clone)]
pub struct History {
    store: Store,
}

impl History {
    /// A history in this metastore.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Logs a note, and appends it to the history if it belongs there.
    pub fn write(&self, by: Option<Member>, note: &Note, directory: &Directory) {
        let Some(line) = line(by, note, directory) else { return };
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.append_history(line).await {
                tracing::warn!(%error, "cannot append to the history");
            }
        });
    }
}

fn line(by: Option<Member>, note: &Note, directory: &Directory) -> Option<HistoryLine> {
    let name = |member: &Member| directory.name(member.node);
    let mut line = HistoryLine { at_ms: wall_ms(), by, ..HistoryLine::default() };
    match note {
        Note::TookOver { fence, from, found, taken, first_step, from_step } => {
            tracing::info!(?fence, from = name(from), ?found, ?taken, ?first_step, from_step, "took over a job");
            let mut phases = found.map_or_else(Vec::new, |found| of_finding(&found));
            phases.push(phase("claimed", *taken));
            phases.push(phase("first step", *first_step));
            line.kind = kinds::TOOK_OVER.to_owned();
            line.member = Some(*from);
            line.job = Some(fence.job);
            line.evidence = found.map(|found| found.evidence.name().to_owned());
            line.detail = HistoryDetail::TookOver { epoch: fence.epoch.0, from_step: *from_step, phases };
        }
        Note::HandedOver { fence, steps } => {
            tracing::info!(?fence, steps, "handed over a job");
            line.kind = kinds::HANDED_OVER.to_owned();
            line.member = by;
            line.job = Some(fence.job);
            line.detail = HistoryDetail::HandedOver { epoch: fence.epoch.0, steps: *steps };
        }
        Note::Fenced { member, found } => {
            tracing::warn!(member = name(member), ?found, "a member is dead");
            line.kind = kinds::FENCED.to_owned();
            line.member = Some(*member);
            line.evidence = Some(found.evidence.name().to_owned());
            line.detail = HistoryDetail::Fenced { phases: of_finding(found) };
        }
        Note::WasFenced(me) => {
            tracing::warn!(?me, "this member was fenced; stopping its attempts and joining again");
            return None;
        }
        Note::TrustEnded => {
            tracing::warn!(
                "trust ended: no contact with the metastore for too long; starting nothing until it responds"
            );
            return None;
        }
        Note::TrustRestored => {
            tracing::info!("trust restored: the metastore responds");
            return None;
        }
        Note::Refused(fence) => {
            tracing::info!(?fence, "a write was refused because the job's holder or state has changed");
            return None;
        }
        Note::SuspectsItself { dead, of } => {
            tracing::error!(
                dead,
                of,
                "most of the cluster looks dead at once, so this node may be at fault; waiting for the metastore"
            );
            line.kind = "suspects itself".to_owned();
            line.member = by;
            line.detail = HistoryDetail::SuspectsItself { dead: *dead, of: *of };
        }
    }
    Some(line)
}

fn of_finding(found: &Found) -> Vec<PhaseView> {
    vec![phase("confirmed", found.confirmed), phase("fenced", found.fenced), phase("listed", found.listed)]
}

fn phase(name: &str, span: Span) -> PhaseView {
    // Milliseconds with three decimals; an f64 holds a span of 285 years to the microsecond.
    #[expect(clippy::cast_precision_loss, reason = "for users")]
    let ms = span.micros() as f64 / 1000.0;
    PhaseView { name: name.to_owned(), ms }
}
