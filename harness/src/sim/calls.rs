//! What sessions called and were told about claims and their ends, as a history that the [witness
//! checker](crate::history::witness) judges at the end of a run: the operations of each task stand in an order that explains
//! everything that anybody was told.
//!
//! Refusals are left out: what a holder is refused by its own clock, or a claim because of something that the task waits
//! for, is right for reasons that the checker does not know. An act that is kept on its machine may stand in the chain at any
//! later time, or never.

use std::collections::BTreeMap;

use orch::protocol::id::TaskId;

use super::kernel::Micros;
use crate::history::witness::{Rules, check_by};
use crate::history::{Call, Link, Outcome, Verb};

/// All calls of a run.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    of_tasks: BTreeMap<TaskId, Vec<Call>>,
    /// Calls that claim whatever is ready: which task that is nobody may be told, and on the way to it there may have
    /// been claims of others that were taken back.
    picks: Vec<Call>,
}

impl Calls {
    /// Somebody was told of an operation. `returned` is `None` where others do not see it yet.
    pub fn told(&mut self, task: &TaskId, by: &str, link: &Link, invoked: Micros, returned: Option<Micros>) {
        let outcome = match returned {
            Some(_) => Outcome::Ok { op: link.op.clone(), epoch: link.epoch },
            None => Outcome::Unknown,
        };
        let (by, verb, epoch) = (by.to_owned(), link.verb, Some(link.epoch));
        let known = self.of_tasks.entry(task.clone()).or_default();
        // What is told a second time happened once.
        let told_before =
            |call: &Call| matches!(&call.outcome, Outcome::Ok { op, .. } if *op == link.op && call.by == by);
        if !known.iter().any(told_before) {
            known.push(Call { by, verb, epoch, invoked, returned, outcome });
        }
    }

    /// Nobody knows what came of a call.
    pub fn unknown(&mut self, task: Option<&TaskId>, by: &str, verb: Verb, epoch: Option<u64>, at: Micros) {
        let outcome = Outcome::Unknown;
        let call = Call { by: by.to_owned(), verb, epoch, invoked: at, returned: None, outcome };
        match task {
            Some(task) => self.of_tasks.entry(task.clone()).or_default().push(call),
            None => self.picks.push(call),
        }
    }

    /// What the order of the operations of a task does not explain.
    #[must_use]
    pub fn judge(&self, id: &TaskId, chain: &[Link]) -> Vec<String> {
        let mut calls = self.of_tasks.get(id).cloned().unwrap_or_default();
        let mut may_be = |by: &str, verb, epoch, invoked| {
            let outcome = Outcome::Unknown;
            calls.push(Call { by: by.to_owned(), verb, epoch, invoked, returned: None, outcome });
        };
        // A round of a watchdog tells at the end what it took back, or dies before; that it made one is known.
        for link in chain.iter().filter(|link| link.verb == Verb::Recover) {
            may_be(&link.by, Verb::Recover, Some(link.epoch), 0);
        }
        let claims = |pick: &Call| chain.iter().any(|link| link.verb == Verb::Claim && link.by == pick.by);
        for pick in self.picks.iter().filter(|pick| claims(pick)) {
            may_be(&pick.by, pick.verb, pick.epoch, pick.invoked);
        }
        let rules = Rules { refusals: false, ..Rules::ALL };
        let wrong = check_by(rules, &calls, chain);
        wrong.into_iter().map(|what| format!("{id}: {what}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(op: &str, by: &str, verb: Verb, epoch: u64) -> Link {
        Link { op: op.to_owned(), by: by.to_owned(), verb, epoch, over: false }
    }

    /// Two holders, one after the other.
    fn story() -> (TaskId, Vec<Link>) {
        let links =
            [("a", Verb::Claim, 1), ("a", Verb::Fail, 1), ("b", Verb::Claim, 2), ("b", Verb::Done, 2)];
        let links = links.iter().enumerate();
        let chain = links.map(|(n, (by, verb, epoch))| link(&format!("op-{n}"), by, *verb, *epoch)).collect();
        (TaskId::parse("T-1").unwrap(), chain)
    }

    /// Each was called at its turn and told so, except where `leave_out` says otherwise.
    fn told(id: &TaskId, chain: &[Link], leave_out: Option<usize>) -> Calls {
        let mut calls = Calls::default();
        for (turn, link) in chain.iter().enumerate().filter(|(turn, _)| Some(*turn) != leave_out) {
            let at = 10 * turn as Micros;
            calls.told(id, &link.by, link, at, Some(at + 5));
        }
        calls
    }

    #[test]
    fn what_everybody_was_told_is_explained() {
        let (id, chain) = story();
        assert_eq!(told(&id, &chain, None).judge(&id, &chain), Vec::<String>::new());
    }

    /// A claim was answered for the first time as the repetition of one that had been killed, and counted as called by
    /// nobody.
    #[test]
    fn what_is_told_a_second_time_happened_once() {
        let (id, chain) = story();
        let mut calls = told(&id, &chain, Some(2));
        for at in [21, 22] {
            calls.told(&id, "b", &chain[2], 0, Some(at));
        }
        assert_eq!(calls.judge(&id, &chain), Vec::<String>::new());
    }

    #[test]
    fn what_was_told_and_does_not_stand_is_noticed() {
        let (id, chain) = story();
        let calls = told(&id, &chain, None);
        assert!(!calls.judge(&id, &chain[..3]).is_empty());
    }

    #[test]
    fn what_stands_after_something_that_began_when_it_had_ended_is_noticed() {
        let (id, chain) = story();
        let mut calls = told(&id, &chain, Some(0));
        calls.told(&id, "a", &chain[0], 90, Some(95));
        assert!(!calls.judge(&id, &chain).is_empty());
    }

    #[test]
    fn what_nobody_called_is_noticed_and_what_nobody_was_told_of_is_not() {
        let (id, chain) = story();
        for (place, is_claim) in [(1, false), (2, true)] {
            let mut calls = told(&id, &chain, Some(place));
            assert!(!calls.judge(&id, &chain).is_empty(), "{place}");
            let link = &chain[place];
            let (task, epoch) = if is_claim { (None, None) } else { (Some(&id), Some(link.epoch)) };
            calls.unknown(task, &link.by, link.verb, epoch, 10);
            assert_eq!(calls.judge(&id, &chain), Vec::<String>::new(), "{place}");
        }
    }
    /// The story: a session picked a task, which was taken back before it had looked again, and the pick went on to
    /// another one. Its claim stood in the chain, and a later claim of that session was taken for it: seed 80326.
    #[test]
    fn a_claim_that_a_pick_went_on_from_stands_where_it_was_made() {
        let (id, chain) = story();
        let mut calls = told(&id, &chain, Some(0));
        calls.unknown(Some(&id), "a", Verb::Claim, None, 90);
        assert!(!calls.judge(&id, &chain).is_empty());
        calls.unknown(None, "a", Verb::Claim, None, 0);
        assert_eq!(calls.judge(&id, &chain), Vec::<String>::new());
    }
}
