//! Counts the pushes of all machines, watchdogs included: each machine keeps an account of its own, which
//! `orch metrics` tells. How often one had to be repeated is told by claims and syncs in their answers.

use std::time::Duration;

use super::fleet::Fleet;
use super::server::lock;

/// Session of who asks.
const SESSION: &str = "accountant";
/// Not more often than this: asking costs a process for each machine, which is load as well.
const EVERY: Duration = Duration::from_secs(10);

/// Asks again and again until the run ends. It is a reader as agents are: faults meet it, and at rest it waits.
pub fn keep(fleet: &Fleet) {
    while fleet.gate.enter() {
        pushes(fleet);
        fleet.gate.leave();
        fleet.gate.sleep(fleet.profile.sample.0.max(EVERY));
    }
}

/// Asks each machine once, and counts what was pushed since it was asked last.
pub fn pushes(fleet: &Fleet) {
    for machine in 0..fleet.profile.fleet.machines {
        let ended = fleet.orch(machine, SESSION, &["metrics"]);
        let Some(total) = ended.data["orch_pushes_total"].as_u64() else { continue };
        let before = lock(&fleet.pushes).insert(machine, total);
        fleet.tally.add("pushes", since(before, total));
    }
}

/// How many pushes are new. What was there before the first look is none of this part of the run: it set machines up, or
/// an earlier part has counted it.
fn since(before: Option<u64>, total: u64) -> u64 {
    match before {
        None => 0,
        Some(before) if before <= total => total - before,
        // The account was begun anew, together with the machine's index.
        Some(_) => total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_counts_and_an_account_that_was_begun_anew_counts_from_nothing() {
        assert_eq!(
            [since(None, 70), since(Some(70), 75), since(Some(75), 75), since(Some(75), 3)],
            [0, 5, 0, 3]
        );
    }
}
