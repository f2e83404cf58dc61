//! Is there an order of concurrent calls that explains what was heard?
//!
//! The calls of a history overlap in real time. It is *linearizable* if each call can be given one moment between its
//! question and its answer such that a model, asked in the order of the moments, answers what was heard, and ends where the
//! server ended. A call without an answer may have its moment at any time after its question, or never.
//!
//! The search is Wing and Gong's with Lowe's memory, as Porcupine does it: of the calls that may come next try each, and never
//! look twice at the same state of the model with the same calls left. A call whose answer says that it changed nothing goes
//! first, as soon as that is the right answer: whatever order explains the rest still does. That the search says the same as
//! stateright's tester is a test here; that one has no such memory, so that saying "there is none" may take it for ever.

use std::collections::HashSet;
use std::hash::Hash;

/// A question, and what was heard.
pub trait Call: Sized {
    /// What it is about.
    type Model: Clone + Eq + Hash;

    /// When it was asked, on a clock that ticks with each question and each answer.
    fn asked_at(&self) -> u64;

    /// When it was answered; nothing if nobody knows what came of it.
    fn answered_at(&self) -> Option<u64>;

    /// How many moments it has: more than one if it is not done at once.
    fn moments(&self) -> u8 {
        1
    }

    /// Whether its next moment leaves everything as it is, whenever it is. `past` of its moments are over.
    fn changes_nothing(&self, _past: u8) -> bool {
        false
    }

    /// Whether its next moment can be this one; the model goes on. `open` are the calls, itself included, that have moments
    /// left.
    fn happens(&self, past: u8, model: &mut Self::Model, open: &[&Self]) -> bool;
}

/// The search; what it explained at best is kept for people.
pub struct Search<'a, C: Call> {
    calls: &'a [C],
    is_end: &'a dyn Fn(&C::Model) -> bool,
    seen: HashSet<(Vec<u8>, C::Model)>,
    path: Vec<usize>,
    /// The longest order that was found, as places among the calls.
    pub best: Vec<usize>,
}

impl<'a, C: Call> Search<'a, C> {
    /// A search for an order of these calls after which the model is as `is_end` wants it.
    pub fn new(calls: &'a [C], is_end: &'a dyn Fn(&C::Model) -> bool) -> Self {
        Self { calls, is_end, seen: HashSet::new(), path: Vec::new(), best: Vec::new() }
    }

    /// Whether there is one that begins at this model.
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
        // What is left was never answered: it may never have happened.
        let Some(first_answer) = open.iter().filter_map(|call| call.answered_at()).min() else {
            return (self.is_end)(model);
        };
        let mut next = Vec::new();
        // Whoever asked after an answer comes after it.
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

    /// A session asks, is answered, or turns silent: who, and what it would ask or hear.
    type Moment = (usize, bool, u8);

    /// The same history for both.
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
        fn it_says_what_stateright_says(moments in prop::collection::vec((0..3_usize, any::<bool>(), 0..3_u8), 0..14)) {
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
