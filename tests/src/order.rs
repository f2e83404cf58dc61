//! Is there an order of concurrent calls that explains what was heard?
//!
//! The calls of a history overlap in real time. It is *linearizable* if each call can be given one moment between its
//! question and its answer such that a model, asked in the order of the moments, answers what was heard. A call without an
//! answer may have its moment at any time after its question, or never.
//!
//! The search is Wing and Gong's with Lowe's memory, as Porcupine does it: of the calls that may come next try each, and never
//! look twice at the same state of the model with the same calls left. That it says the same as stateright's tester, which
//! has no such memory, is a test here.

use std::collections::HashSet;
use std::hash::Hash;

/// What calls are about, asked one after the other.
pub trait Model: Clone + Eq + Hash {
    /// A question.
    type Op;
    /// An answer.
    type Heard;

    /// Goes on by one call; false if it would not have been answered so. Nothing was heard: whatever the answer.
    fn goes_on(&mut self, op: &Self::Op, heard: Option<&Self::Heard>) -> bool;
}

/// A question, and its answer.
#[derive(Clone, Debug)]
pub struct Call<Op, Heard> {
    /// What was asked.
    pub op: Op,
    /// When, on a clock that ticks with each question and each answer.
    pub asked_at: u64,
    /// When it was answered, and what; nothing if nobody knows what came of it.
    pub heard: Option<(u64, Heard)>,
}

/// Whether the calls are linearizable, from this state on.
pub fn explains<M: Model>(begin: &M, calls: &[Call<M::Op, M::Heard>]) -> bool {
    Search { calls, seen: HashSet::new() }.finds(&mut vec![false; calls.len()], begin)
}

struct Search<'a, M: Model> {
    calls: &'a [Call<M::Op, M::Heard>],
    seen: HashSet<(Vec<bool>, M)>,
}

impl<M: Model> Search<'_, M> {
    fn finds(&mut self, past: &mut Vec<bool>, model: &M) -> bool {
        let calls = self.calls;
        let answers = calls.iter().zip(&*past).filter(|(_, past)| !**past);
        let Some(first_answer) = answers.filter_map(|(call, _)| Some(call.heard.as_ref()?.0)).min() else {
            // What is left was never answered: it may never have happened.
            return true;
        };
        for (at, call) in calls.iter().enumerate() {
            // Whoever asked after an answer comes after it.
            if past[at] || call.asked_at > first_answer {
                continue;
            }
            let mut after = model.clone();
            if !after.goes_on(&call.op, call.heard.as_ref().map(|(_, heard)| heard)) {
                continue;
            }
            past[at] = true;
            if self.seen.insert((past.clone(), after.clone())) && self.finds(past, &after) {
                return true;
            }
            past[at] = false;
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

    impl Model for u8 {
        type Op = RegisterOp<u8>;
        type Heard = RegisterRet<u8>;

        fn goes_on(&mut self, op: &Self::Op, heard: Option<&Self::Heard>) -> bool {
            let mut register = Register(*self);
            let said = register.invoke(op);
            *self = register.0;
            heard.is_none_or(|heard| said == *heard)
        }
    }

    /// A session asks, is answered, or turns silent: who, and what it would ask or hear.
    type Moment = (usize, bool, u8);

    type Calls = Vec<Call<RegisterOp<u8>, RegisterRet<u8>>>;

    /// The same history for both.
    fn told(moments: &[Moment]) -> (Calls, LinearizabilityTester<usize, Register<u8>>) {
        let mut calls: Vec<Call<_, _>> = Vec::new();
        let mut tester = LinearizabilityTester::new(Register(0));
        let mut open: [Option<usize>; 3] = [None; 3];
        for (at, (session, is_write, value)) in moments.iter().enumerate() {
            let at = at as u64;
            match open[*session].take() {
                None => {
                    let op = if *is_write { RegisterOp::Write(*value) } else { RegisterOp::Read };
                    tester.on_invoke(*session, op.clone()).unwrap();
                    open[*session] = Some(calls.len());
                    calls.push(Call { op, asked_at: at, heard: None });
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
            prop_assert_eq!(explains(&0_u8, &calls), tester.is_consistent(), "{:?}", calls);
        }
    }

    #[test]
    fn both_verdicts_occur() {
        let ways = |read: u8| told(&[(0, true, 1), (0, true, 1), (1, false, 0), (1, false, read)]).0;
        assert!(explains(&0_u8, &ways(1)) && !explains(&0_u8, &ways(0)));
    }
}
