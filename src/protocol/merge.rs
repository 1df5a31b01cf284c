//! Merging by replay: what one side lacks is applied through [`super::transition::next`], or refused.
//!
//! No text is merged, no clock is compared, nobody's last write wins. The result depends only on the two
//! sides, so every machine that holds the same two sides gets the same file.

use std::collections::HashSet;

use super::id::OpId;
use super::op::{Action, Op};
use super::task::{State, Task};
use super::transition::{Rejected, next};

/// What came of a merge.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The base with everything that could be applied.
    pub task: Task,
    /// Operations that no longer fit, with the reason: kept and reported by the caller, never dropped.
    pub refused: Vec<(Op, Rejected)>,
}

/// Replays onto `base` the operations of a lease ref that it lacks.
///
/// The operations of a ref are a chain: each status change was based on the one before. Once one of them
/// is refused, the later ones that decide a status are refused too, because they were meant for a task
/// that never was (the claim should have withdrawn): the ref is void. A ref may be folded twice or late:
/// what the base lacks although it has a later operation of the ref was refused the first time, and stays so.
#[must_use]
pub fn overlay(base: &Task, tip: &Task) -> Merged {
    let mut merged = Merged { task: base.clone(), refused: Vec::new() };
    let mut broken: Option<Rejected> = None;
    let known: HashSet<OpId> = base.history.iter().map(|op| op.id).collect();
    let folded = tip.history.iter().rposition(|op| known.contains(&op.id)).unwrap_or(0);
    for (at, op) in tip.history.iter().enumerate().filter(|(_, op)| !known.contains(&op.id)) {
        let chained = op.action.based_on().is_some();
        let result = match &broken {
            _ if at < folded => Err(Rejected::RefusedBefore),
            Some(why) if chained => Err(why.clone()),
            _ => next(Some(&merged.task), base.id(), op),
        };
        match result {
            Ok(task) => merged.task = task,
            Err(why) => {
                if chained {
                    broken = Some(why.clone());
                }
                merged.refused.push((op.clone(), why));
            }
        }
    }
    adopt_lease(&mut merged.task, tip);
    merged
}

/// Replays onto `base` the operations of this machine's file that it lacks, each by itself.
///
/// Status operations of other machines are left out: a shared view that lacks them has dropped them (a
/// claim that was withdrawn, a lease ref that vanished), and only their own machine publishes them again.
#[must_use]
pub fn rebase(base: &Task, local: &Task, machine: &str) -> Merged {
    replay_some(base, local, machine, |op| op.machine == machine || op.action.based_on().is_none())
}

/// The same with the status operations of this machine alone: what belongs on a lease ref. An edit that
/// stands there between a claim and what followed would reach the base before them, and [`overlay`] takes an
/// operation that is missing before a known one for refused.
#[must_use]
pub fn rebase_acts(base: &Task, local: &Task, machine: &str) -> Merged {
    replay_some(base, local, machine, |op| op.machine == machine && op.action.based_on().is_some())
}

/// [`rebase`] without one operation: a claim that was never confirmed, so nobody was told of it.
#[must_use]
pub fn rebase_without(base: &Task, local: &Task, machine: &str, without: OpId) -> Merged {
    rebase_without_these(base, local, machine, &HashSet::from([without]))
}

/// The same without several operations.
#[must_use]
pub fn rebase_without_these(base: &Task, local: &Task, machine: &str, without: &HashSet<OpId>) -> Merged {
    replay_some(base, local, machine, |op| {
        !without.contains(&op.id) && (op.machine == machine || op.action.based_on().is_none())
    })
}

fn replay_some(base: &Task, local: &Task, machine: &str, fits: impl Fn(&Op) -> bool) -> Merged {
    let mut merged = Merged { task: base.clone(), refused: Vec::new() };
    for op in missing(base, local).filter(|op| fits(op)) {
        match next(Some(&merged.task), base.id(), op) {
            Ok(task) => merged.task = task,
            Err(why) => merged.refused.push((op.clone(), why)),
        }
    }
    if local.lease().is_some_and(|lease| lease.machine == machine) {
        adopt_lease(&mut merged.task, local);
    }
    merged
}

/// Operations of `other` that `base` lacks, in order.
pub fn missing<'a>(base: &Task, other: &'a Task) -> impl Iterator<Item = &'a Op> {
    let known: HashSet<OpId> = base.history.iter().map(|op| op.id).collect();
    other.history.iter().filter(move |op| !known.contains(&op.id))
}

/// Whether both sides descend from the same `add`; two machines may have used one id for two tasks.
#[must_use]
pub fn same_task(a: &Task, b: &Task) -> bool {
    match (a.history.first(), b.history.first()) {
        (Some(a), Some(b)) => a.id == b.id,
        _ => false,
    }
}

/// Heartbeats are not history, so a replayed lease is as old as its claim: the side that has seen more
/// beats of the same lease knows better. The same lease is one that began with the same operation: a holder
/// whose state directory was copied may have claimed one epoch twice.
fn adopt_lease(task: &mut Task, other: &Task) {
    let same = last_claim(task) == last_claim(other);
    if let (State::InProgress(mine), State::InProgress(theirs)) = (&mut task.state, &other.state)
        && same
        && mine.beat < theirs.beat
    {
        *mine = theirs.clone();
    }
}

/// The claim on which the newest lease of a task rests.
#[must_use]
pub fn last_claim(task: &Task) -> Option<OpId> {
    task.history.iter().rev().find(|op| matches!(op.action, Action::Claim { .. })).map(|op| op.id)
}
