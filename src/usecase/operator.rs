//! What an operator does: block, unblock, cancel, retry, replan, review.

use crate::protocol::id::TaskId;
use crate::protocol::op::{Action, Role, Verdict};

use super::change::{self, Actor, Changed, Decision};
use super::error::Result;
use super::queue::Queue;
use super::{holder, needs};

/// Takes a task out of the queue until a person has looked. Whoever names an epoch acts as its holder.
///
/// # Errors
/// Conflict (4) when it is neither pending nor in progress, or to a holder's act as in SPEC §15; fenced (9)
/// when that epoch is over; unreachable (75).
pub fn block(q: &mut Queue, id: &TaskId, named: Option<u64>, notes: &str) -> Result<Changed> {
    let action = |epoch| Action::Block { epoch, notes: notes.to_owned() };
    match named {
        None => act(q, id, &mut |epoch| action(epoch)),
        Some(_) => holder::act(q, id, named, "block", &mut |_, epoch| Ok(action(epoch))),
    }
}

/// Puts a blocked task back.
///
/// # Errors
/// Conflict (4) when it is not blocked, unreachable (75).
pub fn unblock(q: &mut Queue, id: &TaskId, notes: Option<&str>) -> Result<Changed> {
    act(q, id, &mut |epoch| Action::Unblock { epoch, notes: notes.map(str::to_owned) })
}

/// Gives a task up; a holder learns it at its next heartbeat.
///
/// # Errors
/// Conflict (4) when it has ended, unreachable (75).
pub fn cancel(q: &mut Queue, id: &TaskId, notes: &str) -> Result<Changed> {
    let changed = act(q, id, &mut |epoch| Action::Cancel { epoch, notes: notes.to_owned() })?;
    needs::propagate(q)?;
    Ok(changed)
}

/// Gives a failed, blocked or cancelled task a fresh allowance of attempts.
///
/// # Errors
/// Conflict (4) in any other status, unreachable (75).
pub fn retry(q: &mut Queue, id: &TaskId, notes: Option<&str>) -> Result<Changed> {
    act(q, id, &mut |epoch| Action::Retry { epoch, notes: notes.map(str::to_owned) })
}

/// What a replan changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replan {
    /// Why; required.
    pub notes: String,
    /// New description.
    pub description: Option<String>,
    /// New criteria.
    pub success_criteria: Option<Vec<String>>,
}

/// Rewrites what is to be done and starts again.
///
/// # Errors
/// Conflict (4) when it is done, unreachable (75).
pub fn replan(q: &mut Queue, id: &TaskId, what: &Replan) -> Result<Changed> {
    act(q, id, &mut |epoch| Action::Replan {
        epoch,
        notes: what.notes.clone(),
        description: what.description.clone(),
        success_criteria: what.success_criteria.clone(),
    })
}

/// Passes a verdict on a task in review or in progress.
///
/// # Errors
/// Conflict (4) in any other status, unreachable (75).
pub fn review(q: &mut Queue, id: &TaskId, verdict: Verdict, notes: &str) -> Result<Changed> {
    q.set_role(Role::Reviewer);
    act(q, id, &mut |epoch| Action::Review { epoch, verdict, notes: notes.to_owned() })
}

fn act(q: &mut Queue, id: &TaskId, action: &mut dyn FnMut(u64) -> Action) -> Result<Changed> {
    super::notice::look(q, std::slice::from_ref(id))?;
    change::status(q, id, Actor::Anyone, &mut |_, task| Ok(Decision::Do(action(task.epoch()))))
}
