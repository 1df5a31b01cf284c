//! How many machines share the queue, and whether the push budget can hold with so many.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::lease::renewal_interval;
use crate::protocol::time::format_span;
use crate::store::memory::Pushes;
use crate::usecase::budget;
use crate::usecase::error::{Error, Result};
use crate::usecase::queue::Queue;

use super::{Check, Visit};

const NAME: &str = "fleet";
const MINUTE: f64 = 60.0;

pub(super) fn check(q: &mut Queue, visit: &mut Visit) -> Result<()> {
    if !q.is_shared() {
        return Ok(());
    }
    let busy = q.store.in_progress().map_err(|e| Error::from_store(&e))?;
    // Heartbeats of one machine share a push, so its shortest lease sets the pace.
    let mut shortest: BTreeMap<&str, Duration> = BTreeMap::new();
    for lease in busy.iter().filter_map(|task| task.lease()) {
        let ttl = shortest.entry(lease.machine.as_str()).or_insert(lease.ttl);
        *ttl = (*ttl).min(lease.ttl);
    }
    let here = shortest.get(q.machine.as_str()).copied();
    let pushes = q.store.pushes().map_err(|e| Error::from_store(&e))?;
    let load = Load {
        machines: budget::machines(q)?,
        beats: shortest.values().map(|ttl| beats(*ttl)).sum::<f64>() + 0.0,
        beating: shortest.len(),
        rest: (rate(&pushes, q.world.clock.monotonic()) - here.map_or(0.0, beats)).max(0.0),
        allowed: MINUTE / q.settings.sync.push_budget.interval().as_secs_f64().max(0.001),
    };
    let check = Check::fine(NAME, load.detail());
    visit.add(match load.advice() {
        Some(hint) => check.hint(hint),
        None => check,
    });
    Ok(())
}

/// Heartbeats a minute of a lease.
fn beats(ttl: Duration) -> f64 {
    MINUTE / renewal_interval(ttl).as_secs_f64().max(0.001)
}

/// Pushes a minute of this machine over the time that its account remembers, at least ten minutes.
fn rate(pushes: &Pushes, now: Duration) -> f64 {
    let Some(first) = pushes.recent.first() else { return 0.0 };
    let span = now.saturating_sub(*first).as_secs_f64();
    pushes.recent.len() as f64 * MINUTE / if pushes.is_full() { span.max(1.0) } else { span.max(600.0) }
}

/// What the fleet pushes in a minute, and what it may.
struct Load {
    machines: usize,
    /// Machines that hold leases.
    beating: usize,
    /// Heartbeats of all of them.
    beats: f64,
    /// Claims, ends, edits and folds of this machine; the others are taken to do as much.
    rest: f64,
    allowed: f64,
}

impl Load {
    fn work(&self) -> f64 {
        self.rest * self.machines as f64
    }

    fn needed(&self) -> f64 {
        self.beats + self.work()
    }

    fn detail(&self) -> String {
        format!(
            "{} machines hold leases; renewing them takes {:.1} pushes a minute, and work at the pace of this \
             machine {:.1}, of {:.0}",
            self.beating,
            self.beats,
            self.work(),
            self.allowed
        )
    }

    /// What to change, with numbers; `None` when the budget holds.
    fn advice(&self) -> Option<String> {
        if self.needed() <= self.allowed {
            return None;
        }
        let budget = format!(
            "give the queue a repository of its own and set `sync.push_budget` to {:.0}/min",
            self.needed().ceil()
        );
        // Three heartbeats in a lease, of each machine, have to fit into what work leaves.
        let left = self.allowed - self.work();
        let ttl = (3.0 * self.beating as f64 / left).ceil();
        Some(if self.beating > 0 && left > 0.0 && ttl <= MINUTE * 24.0 {
            let ttl = format_span(Duration::from_secs(60 * ttl as u64));
            format!("set `lease.ttl` to {ttl} or more, or {budget}")
        } else {
            format!("work alone exceeds it, so edits and folds wait: {budget}, or use fewer machines")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(beating: usize, ttl: u64, rest: f64) -> Load {
        let beats = beats(Duration::from_secs(ttl)) * beating as f64;
        Load { machines: beating.max(1), beating, beats, rest, allowed: 6.0 }
    }

    #[test]
    fn the_advice_makes_the_budget_hold() {
        assert_eq!(load(4, 900, 0.5).advice(), None);
        let tight = load(8, 120, 0.25);
        assert!(tight.detail().contains("takes 12.0 pushes a minute"), "{}", tight.detail());
        let hint = tight.advice().unwrap();
        assert!(hint.contains("`lease.ttl` to 6m or more") && hint.contains("14/min"), "{hint}");
        assert_eq!(load(8, 360, 0.25).advice(), None, "what was advised holds");
        assert_eq!(Load { allowed: 14.0, ..load(8, 120, 0.25) }.advice(), None, "and so does the other");
        let busy = load(8, 900, 2.0).advice().unwrap();
        assert!(!busy.contains("lease.ttl") && busy.contains("18/min"), "{busy}");
    }

    #[test]
    fn the_pace_of_a_machine_is_what_its_account_shows() {
        let pushes = |times: Vec<u64>| Pushes {
            recent: times.into_iter().map(Duration::from_secs).collect(),
            ..Pushes::default()
        };
        assert!(rate(&pushes(vec![]), Duration::from_secs(9)).abs() < 0.01);
        let few = rate(&pushes(vec![100, 101, 102, 103, 104]), Duration::from_secs(110));
        assert!((few - 0.5).abs() < 0.01, "a short burst is no pace: {few}");
        let many = rate(&pushes((0..32).collect()), Duration::from_secs(64));
        assert!((many - 30.0).abs() < 0.01, "{many}");
    }
}
