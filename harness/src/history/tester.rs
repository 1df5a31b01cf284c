//! The same question, answered by a checker that others wrote: `stateright` looks for an order of all calls that a
//! fenced lock explains. It tries orders until one fits, so it is for small histories.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use super::{Call, Link, Outcome, Verb};

/// A lock whose every owner has a higher epoch than the one before, and which counts what was done to it.
#[derive(Debug, Clone, Default)]
struct FencedLock {
    version: usize,
    epoch: u64,
    holder: Option<String>,
    over: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Asked {
    by: String,
    verb: Verb,
    epoch: Option<u64>,
}

/// What is told. The version stands for the place in the chain.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Ok { version: usize, epoch: u64 },
    Refused,
    Version(usize),
}

impl SequentialSpec for FencedLock {
    /// `None` reads the version.
    type Op = Option<Asked>;
    type Ret = Told;

    fn invoke(&mut self, op: &Option<Asked>) -> Told {
        let Some(op) = op else { return Told::Version(self.version) };
        if op.verb == Verb::Claim {
            if self.holder.is_some() || self.over {
                return Told::Refused;
            }
            self.epoch += 1;
            self.holder = Some(op.by.clone());
        } else {
            let held =
                self.holder.as_ref().is_some_and(|holder| *holder == op.by || op.verb == Verb::Recover);
            if !held || op.epoch.is_some_and(|epoch| epoch != self.epoch) {
                return Told::Refused;
            }
            self.holder = None;
            self.over = op.verb == Verb::Done;
        }
        self.version += 1;
        Told::Ok { version: self.version, epoch: self.epoch }
    }
}

/// Whether there is an order of the calls, in keeping with real time, that explains what everybody was told and
/// that is the chain's. Epochs must be counted without gaps; takeovers and operators are not known here.
#[must_use]
pub fn linearizable(calls: &[Call], chain: &[Link]) -> bool {
    let mut tester = LinearizabilityTester::new(FencedLock::default());
    let told: Vec<Option<Told>> = told(calls, chain);
    // Moments at which calls begin and end; those whose outcome is unknown end after everything else. What is
    // unknown and does not stand in the chain had no effect: in flight, it could take the place of what stands.
    let mut moments: Vec<(u64, bool, usize)> = Vec::new();
    for (number, call) in calls.iter().enumerate().filter(|(number, _)| told[*number].is_some()) {
        moments.push((call.invoked, true, number));
        moments.push((call.returned.unwrap_or(u64::MAX), false, number));
    }
    // What begins at the moment at which another ends is concurrent with it.
    moments.sort_by_key(|(at, begins, number)| (*at, !begins, *number));
    for (_, begins, number) in moments {
        let call = &calls[number];
        let recorded = if begins {
            let asked = Asked { by: call.by.clone(), verb: call.verb, epoch: call.epoch };
            tester.on_invoke(number, Some(asked)).is_ok()
        } else {
            let Some(told) = told[number].clone() else { continue };
            tester.on_return(number, told).is_ok()
        };
        if !recorded {
            return false;
        }
    }
    let reader = calls.len();
    let read = tester.on_invoke(reader, None).is_ok()
        && tester.on_return(reader, Told::Version(chain.len())).is_ok();
    read && tester.is_consistent()
}

/// What each call was told, with its place in the chain; `None` for an unknown one that does not stand in it. What was
/// told and does not stand gets a version that the lock never tells.
fn told(calls: &[Call], chain: &[Link]) -> Vec<Option<Told>> {
    let mut taken = vec![false; chain.len()];
    let mut told: Vec<Option<Told>> = calls
        .iter()
        .map(|call| match &call.outcome {
            Outcome::Ok { op, epoch } => {
                let version = chain.iter().position(|link| link.op == *op).filter(|place| {
                    let link = &chain[*place];
                    let same = link.by == call.by && link.verb == call.verb && link.epoch == *epoch;
                    same && !std::mem::replace(&mut taken[*place], true)
                });
                Some(Told::Ok { version: version.map_or(0, |place| place + 1), epoch: *epoch })
            }
            Outcome::Refused => Some(Told::Refused),
            Outcome::Unknown => None,
        })
        .collect();
    let mut unknown: Vec<usize> =
        (0..calls.len()).filter(|n| calls[*n].outcome == Outcome::Unknown).collect();
    unknown.sort_by_key(|number| calls[*number].invoked);
    for (place, link) in chain.iter().enumerate().filter(|(place, _)| !taken[*place]) {
        let of = |number: &&usize| {
            let call = &calls[**number];
            let named = call.verb == Verb::Claim || call.epoch.is_none_or(|epoch| epoch == link.epoch);
            told[**number].is_none() && call.by == link.by && call.verb == link.verb && named
        };
        if let Some(number) = unknown.iter().find(of).copied() {
            told[number] = Some(Told::Ok { version: place + 1, epoch: link.epoch });
        }
    }
    told
}
