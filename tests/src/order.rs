//! A linearizability checker: searches for an order of concurrent calls that explains their answers.
//!
//! The calls of a history overlap in real time. A history is *linearizable* if each call can be assigned one point between its
//! request and its answer, such that a sequential model gives the observed answers in that order and reaches the observed final
//! state. A call without an answer may take effect at any time after its request, or never.
//!
//! The search is Wing and Gong's with Lowe's memoization, as in Porcupine: it tries each call that may come next, and never
//! visits the same state of the model with the same remaining calls twice. A call that changed nothing is placed first as soon
//! as its answer fits, because any order that explains the rest is still possible. A test compares the results with stateright's
//! tester, which has no memoization and may run very long when there is no order.

use std::collections::HashSet;
use std::hash::Hash;

/// A call and its answer.
pub trait Call: Sized {
    /// The sequential model that answers it.
    type Model: Clone + Eq + Hash;

    /// The time of the request, on a clock that advances with each request and each answer.
    fn asked_at(&self) -> u64;

    /// The time of the answer; `None` if the result is unknown.
    fn answered_at(&self) -> Option<u64>;

    /// The number of points at which it takes effect; more than one if it is not atomic.
    fn moments(&self) -> u8 {
        1
    }

    /// Whether its next point changes nothing, wherever it is placed. `past` of its points are over.
    fn changes_nothing(&self, _past: u8) -> bool {
        false
    }

    /// Whether its next point can be placed now; advances the model. `open` are the calls with points left, including this one.
    fn happens(&self, past: u8, model: &mut Self::Model, open: &[&Self]) -> bool;
}

/// The search. It keeps the longest explained order for the report.
pub struct Search<'a, C: Call> {
    calls: &'a [C],
    is_end: &'a dyn Fn(&C::Model) -> bool,
    seen: HashSet<(Vec<u8>, C::Model)>,
    path: Vec<usize>,
    /// The longest order found, as indices of the calls.
    pub best: Vec<usize>,
}

impl<'a, C: Call> Search<'a, C> {
    /// A search for an order of these calls whose final state satisfies `is_end`.
    pub fn new(calls: &'a [C], is_end: &'a dyn Fn(&C::Model) -> bool) -> Self {
        Self { calls, is_end, seen: HashSet::new(), path: Vec::new(), best: Vec::new() }
    }

    /// Whether there is an order that starts with this state of the model.
    pub fn finds(&mut self, begin: &C::Model) -> bool {
        self.goes_on(&mut vec![0; self.calls.len()], begin)
    }

    fn goes_on(&mut self, past: &mut Vec<u8>, model: &C::Model) -> bool {
        let calls = self.calls;
        if self.path.len() > self.best.len() {
            self.best.clone_from(&self.path);
        }
        let (places, open): (Vec<usize>, Vec<&C>) =
            calls.iter().enumerate().filter(|(at, call)| past[*at] < call.moments()).unzip();
        // The remaining calls were never answered and may never have happened.
        let Some(first_answer) = open.iter().filter_map(|call| call.answered_at()).min() else {
            return (self.is_end)(model);
        };
        let mut next = Vec::new();
        // A call that was requested after another's answer comes after it.
        for (at, call) in places.into_iter().zip(&open).filter(|(_, call)| call.asked_at() < first_answer) {
            let mut after = model.clone();
            if call.happens(past[at], &mut after, &open) {
                if call.changes_nothing(past[at]) {
                    next = vec![(at, after)];
                    break;
                }
                next.push((at, after));
            }
        }
        for (at, after) in next {
            past[at] += 1;
            self.path.push(at);
            if self.seen.insert((past.clone(), after.clone())) && self.goes_on(past, &after) {
                return true;
            }
            self.path.pop();
            past[at] -= 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stateright::semantics::register::{Register, RegisterOp, RegisterRet};
    use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec as _};

    use super::*;

    #[derive(Debug)]
    struct Asked {
        op: RegisterOp<u8>,
        at: u64,
        heard: Option<(u64, RegisterRet<u8>)>,
    }

    impl Call for Asked {
        type Model = u8;

        fn asked_at(&self) -> u64 {
            self.at
        }

        fn answered_at(&self) -> Option<u64> {
            Some(self.heard.as_ref()?.0)
        }

        fn happens(&self, _: u8, model: &mut u8, _: &[&Self]) -> bool {
            let mut register = Register(*model);
            let said = register.invoke(&self.op);
            *model = register.0;
            self.heard.as_ref().is_none_or(|(_, heard)| said == *heard)
        }
    }

    fn explains(calls: &[Asked]) -> bool {
        Search::new(calls, &|_| true).finds(&0)
    }

    /// A session sends a request, gets an answer, or goes silent: the session, and the request or answer.
    type Moment = (usize, bool, u8);

    /// The same history for both checkers.
    fn told(moments: &[Moment]) -> (Vec<Asked>, LinearizabilityTester<usize, Register<u8>>) {
        let mut calls: Vec<Asked> = Vec::new();
        let mut tester = LinearizabilityTester::new(Register(0));
        let mut open: [Option<usize>; 3] = [None; 3];
        for (at, (session, is_write, value)) in moments.iter().enumerate() {
            let at = at as u64;
            match open[*session].take() {
                None => {
                    let op = if *is_write { RegisterOp::Write(*value) } else { RegisterOp::Read };
                    tester.on_invoke(*session, op.clone()).unwrap();
                    open[*session] = Some(calls.len());
                    calls.push(Asked { op, at, heard: None });
                }
                Some(call) => {
                    let heard = match calls[call].op {
                        RegisterOp::Write(_) => RegisterRet::WriteOk,
                        RegisterOp::Read => RegisterRet::ReadOk(*value),
                    };
                    tester.on_return(*session, heard.clone()).unwrap();
                    calls[call].heard = Some((at, heard));
                }
            }
        }
        (calls, tester)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_result_equals_that_of_stateright(moments in prop::collection::vec((0..3_usize, any::<bool>(), 0..3_u8), 0..14)) {
            let (calls, tester) = told(&moments);
            prop_assert_eq!(explains(&calls), tester.is_consistent(), "{:?}", calls);
        }
    }

    #[test]
    fn both_verdicts_occur() {
        let ways = |read: u8| told(&[(0, true, 1), (0, true, 1), (1, false, 0), (1, false, read)]).0;
        assert!(explains(&ways(1)) && !explains(&ways(0)));
    }
}
