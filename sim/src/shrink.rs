//! Shrinking: finds the smallest script that still has the same effect.
//!
//! First it drops acts, in halves, quarters and so on down to single ones (delta debugging; Zeller and Hildebrandt,
//! 2002). Then it simplifies the rest: no weather, good clocks, fewer nodes, shorter waits. A change is kept only if
//! the script still has the effect. All changes are tried again until nothing gets smaller. The result is meant to be
//! read.

use kirin_core::Span;

use crate::act::{Act, Work};
use crate::search::Script;
use crate::setup::{Setup, Weather};

/// The maximum number of runs. A script of thousands of acts becomes small enough long before it is minimal.
const RUNS_MAX: u32 = 4_000;

/// Returns the smallest script found for which `still` holds, starting from one for which it holds.
pub fn smallest(script: &Script, still: impl FnMut(&Script) -> bool) -> Script {
    let mut shrinking = Shrinking { best: script.clone(), still, runs: 0 };
    loop {
        let before = shrinking.best.clone();
        shrinking.drop_acts();
        shrinking.calm_down();
        shrinking.drop_nodes();
        shrinking.simplify_acts();
        if shrinking.best == before || shrinking.runs >= RUNS_MAX {
            return shrinking.best;
        }
    }
}

struct Shrinking<F> {
    best: Script,
    still: F,
    runs: u32,
}

impl<F: FnMut(&Script) -> bool> Shrinking<F> {
    /// Keeps the other script if it still has the effect.
    fn keep_if(&mut self, other: Script) -> bool {
        if other == self.best || self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let kept = (self.still)(&other);
        if kept {
            self.best = other;
        }
        kept
    }

    fn drop_acts(&mut self) {
        let mut chunk = self.best.acts.len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < self.best.acts.len() {
                let mut fewer = self.best.clone();
                let end = (at + chunk).min(fewer.acts.len());
                fewer.acts.drain(at..end);
                if !self.keep_if(fewer) {
                    at = end;
                }
            }
            if chunk == 1 {
                return;
            }
            chunk = chunk.div_ceil(2);
        }
    }

    fn calm_down(&mut self) {
        let plain = Setup::of(self.best.setup.nodes());
        let clocks = plain.clocks.clone();
        self.change(|setup| setup.weather = Weather::calm());
        self.change(|setup| setup.weather.tail_ppm = 0);
        self.change(|setup| setup.weather.lose_request_ppm = 0);
        self.change(|setup| setup.weather.lose_reply_ppm = 0);
        self.change(|setup| setup.weather.late_ppm = 0);
        self.change(|setup| setup.weather.rollback_ppm = 0);
        self.change(|setup| setup.weather.lose_nudge_ppm = 0);
        self.change(|setup| setup.weather.double_nudge_ppm = 0);
        self.change(|setup| setup.weather.link_tail_ppm = 0);
        self.change(|setup| setup.weather.lose_watch_ppm = 0);
        self.change(|setup| setup.weather.hung_lands_ppm = 0);
        self.change(|setup| setup.weather.orphan_ppm = 0);
        self.change(|setup| setup.zookeeper = plain.zookeeper);
        self.change(|setup| setup.versions = plain.versions.clone());
        self.change(|setup| setup.clocks = clocks);
        for host in 0..self.best.setup.clocks.len() {
            self.change(|setup| setup.clocks[host] = plain.clocks[host]);
        }
        self.change(|setup| setup.in_order = false);
        self.change(|setup| setup.leader_only = false);
        self.change(|setup| setup.timing = plain.timing);
        self.change(|setup| setup.limits = plain.limits.clone());
        self.change(|setup| setup.can = plain.can.clone());
        self.change(|setup| setup.slots = plain.slots);
        self.change(|setup| setup.roles = plain.roles.clone());
    }

    fn change(&mut self, change: impl FnOnce(&mut Setup)) {
        let mut other = self.best.clone();
        change(&mut other.setup);
        self.keep_if(other);
    }

    /// The last nodes are dropped first, so the others keep their numbers. An act on a missing node does nothing.
    fn drop_nodes(&mut self) {
        while self.best.setup.nodes() > 1 {
            let mut other = self.best.clone();
            other.setup.roles.pop();
            other.setup.clocks.pop();
            other.setup.versions.pop();
            if !self.keep_if(other) {
                return;
            }
        }
    }

    fn simplify_acts(&mut self) {
        for at in 0..self.best.acts.len() {
            match self.best.acts[at].clone() {
                Act::Run(span) => self.shorten(span, |script, span| script.acts[at] = Act::Run(span)),
                Act::Post(work) => {
                    let plain = Work { step: work.step, steps: work.steps, ..Work::named(&work.name) };
                    for simpler in
                        [plain, Work { via: None, ..work.clone() }, Work { fails: 0, stuck: 0, ..work.clone() }]
                    {
                        let mut other = self.best.clone();
                        other.acts[at] = Act::Post(simpler);
                        if self.keep_if(other) {
                            break;
                        }
                    }
                    self.shorten(work.step, |script, span| {
                        if let Act::Post(work) = &mut script.acts[at] {
                            work.step = span;
                        }
                    });
                }
                _ => {}
            }
        }
    }

    /// Shortens a span to whole seconds, then by halves.
    fn shorten(&mut self, span: Span, set: impl Fn(&mut Script, Span)) {
        let mut span = span;
        let whole = Span::from_secs(span.micros().div_ceil(1_000_000));
        for next in [Span::from_secs(span.micros() / 1_000_000), whole] {
            let mut other = self.best.clone();
            set(&mut other, next);
            if next != Span::ZERO && self.keep_if(other) {
                span = next;
                break;
            }
        }
        while span.micros() > 1_000_000 {
            let half = Span::from_secs(span.micros() / 2_000_000);
            let mut other = self.best.clone();
            set(&mut other, half);
            if half == Span::ZERO || !self.keep_if(other) {
                return;
            }
            span = half;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::Host;

    #[test]
    fn irrelevant_acts_are_dropped() {
        let script = Script::of_seed(7);
        let mut script = Script { acts: script.acts, ..script };
        script.acts.insert(script.acts.len() / 2, Act::Kill(Host(2)));
        script.acts.push(Act::Run(Span::from_millis(90_500)));
        let kills = |script: &Script| {
            script.acts.contains(&Act::Kill(Host(2)))
                && script.acts.iter().any(|act| matches!(act, Act::Run(span) if span.millis() > 10_000))
        };
        let small = smallest(&script, kills);
        assert_eq!(small.acts.len(), 2, "{}", small.text());
        assert!(
            small.acts.iter().any(|act| matches!(act, Act::Run(span) if span.millis() < 30_000)),
            "{}",
            small.text()
        );
        assert_eq!(small.setup, Setup { seed: 7, ..Setup::of(1) });
    }
}
