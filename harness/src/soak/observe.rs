//! Looks at the remote from outside while the load runs: when a vanished session's lease moved, and when a machine
//! that was cut off has caught up. It reads refs with git and knows nothing else of orch.

use std::time::Instant;

use super::fleet::{Fleet, LEASES, Vanished};
use super::server::lock;

/// One look. What has not happened yet stays to be looked for.
pub fn look(fleet: &Fleet) {
    // Those who vanish from here on are looked for next time: their refs may be newer than what is listed now.
    let waiting = lock(&fleet.vanished).clone();
    if !waiting.is_empty()
        && let Some(refs) = fleet.remote_refs(LEASES)
    {
        let now = Instant::now();
        // A holder is waited for on the record that was there when it went: a ref that is gone was recovered,
        // finished by an operator, or folded; all of them end the wait.
        let there = |vanished: &Vanished| {
            refs.iter().any(|(task, object)| *task == vanished.task && *object == vanished.object)
        };
        for gone in waiting.iter().filter(|vanished| !there(vanished)) {
            recovered(fleet, gone, now);
            lock(&fleet.vanished).retain(|vanished| vanished != gone);
        }
    }
    let healed = lock(&fleet.healed).clone();
    for machine in healed {
        if has_tip(fleet, machine.machine, &machine.tip) {
            // Where another fault has struck meanwhile, it is that one that was waited for.
            if fleet.windows.another(machine.machine, machine.since) {
                fleet.tally.count("convergence.disturbed");
            } else {
                fleet.tally.time("convergence", machine.since.elapsed());
            }
            lock(&fleet.healed).retain(|other| other.since != machine.since);
        }
    }
}

fn recovered(fleet: &Fleet, vanished: &Vanished, now: Instant) {
    if fleet.ledger.forgotten(&vanished.task) {
        return;
    }
    let took = now.saturating_duration_since(vanished.since);
    let due = fleet.profile.lease.stale() + fleet.windows.remote_down(vanished.since);
    fleet.tally.count("recovered");
    fleet.tally.time("recovery", took);
    fleet.tally.time("recovery.late", took.saturating_sub(due));
    // Whoever takes it has seen the last renewal unchanged for so long by a clock of its own, and saw it for the first time
    // after it was sent.
    let (still, stale) = (now.saturating_duration_since(vanished.sent), fleet.profile.lease.stale());
    if still < stale {
        let what = format!(
            "{} was taken {still:?} after its last renewal was sent, stale is {stale:?}",
            vanished.task
        );
        fleet.violation("early_recovery", what);
    }
}

/// Whether a machine knows this commit as part of the shared branch.
#[must_use]
pub fn has_tip(fleet: &Fleet, machine: usize, tip: &str) -> bool {
    let git = fleet.place.machine(machine).join("state/.git");
    fleet.place.git(&git, &["merge-base", "--is-ancestor", tip, "refs/orch/remote/branch"]).is_ok()
}
