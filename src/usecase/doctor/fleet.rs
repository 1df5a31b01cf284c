//! How many machines share the queue, and whether the push budget can hold with so many.

use std::collections::BTreeSet;

use crate::usecase::error::{Error, Result};
use crate::usecase::queue::Queue;

use super::{Check, Visit};

const NAME: &str = "fleet";

pub(super) fn check(q: &mut Queue, visit: &mut Visit) -> Result<()> {
    if !q.is_shared() {
        return Ok(());
    }
    let busy = q.store.in_progress().map_err(|e| Error::from_store(&e))?;
    let leases = || busy.iter().filter_map(|task| task.lease());
    let machines: BTreeSet<&str> = leases().map(|lease| lease.machine.as_str()).collect();
    // Heartbeats of one machine share a push, so its shortest lease sets the pace.
    let pace = |machine: &&str| {
        let shortest = leases().filter(|lease| lease.machine == **machine).map(|lease| lease.ttl).min();
        shortest.map_or(0.0, |ttl| 180.0 / ttl.as_secs_f64().max(1.0))
    };
    // An empty sum is minus zero.
    let needed = machines.iter().map(pace).sum::<f64>() + 0.0;
    let allowed = 60.0 / q.settings.sync.push_budget.interval().as_secs_f64().max(0.001);
    let detail = format!(
        "{} machines hold leases; renewing them takes {needed:.1} pushes a minute of {allowed:.0}",
        machines.len()
    );
    let check = Check::fine(NAME, detail);
    visit.add(if needed > allowed {
        check
            .hint("raise `lease.ttl`, or give the queue a repository of its own and raise `sync.push_budget`")
    } else {
        check
    });
    Ok(())
}
