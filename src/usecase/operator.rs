//! What an operator does: block, unblock, cancel, retry, replan, review.

use crate::protocol::id::TaskId;
use crate::protocol::op::{Action, Op, Role, Verdict};
use crate::protocol::task::Task;

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

/// Passes a verdict on a task in review or in progress. RETRY in the last of `review.max_rounds` rounds blocks the
/// task: author and reviewer would go on for ever, so a person has to look.
///
/// # Errors
/// Conflict (4) in any other status, unreachable (75).
pub fn review(q: &mut Queue, id: &TaskId, verdict: Verdict, notes: &str) -> Result<Changed> {
    q.set_role(Role::Reviewer);
    let cap = q.settings.review.max_rounds;
    let mut told = None;
    super::notice::look(q, std::slice::from_ref(id))?;
    let changed = change::status(q, id, Actor::Anyone, &mut |_, task| {
        let round = rounds(task) + 1;
        told = (verdict == Verdict::Retry && round >= cap && !notes.trim().is_empty())
            .then(|| format!("round {round} of {cap} (`review.max_rounds`), so a person has to look"));
        let (verdict, notes) = match &told {
            Some(why) => (Verdict::Block, format!("{notes}\n{why}")),
            None => (verdict, notes.to_owned()),
        };
        Ok(Decision::Do(Action::Review { epoch: task.epoch(), verdict, notes }))
    })?;
    if let Some(why) = told {
        q.warn(format!("{id}: blocked instead of tried again: {why}"));
    }
    Ok(changed)
}

/// How often reviewers have sent a task back since a person last looked at it.
fn rounds(task: &Task) -> u32 {
    let person =
        |op: &&Op| matches!(op.action, Action::Unblock { .. } | Action::Retry { .. } | Action::Replan { .. });
    let sent_back = |op: &&Op| matches!(op.action, Action::Review { verdict: Verdict::Retry, .. });
    let since = task.history().iter().rev().take_while(|op| !person(op));
    u32::try_from(since.filter(sent_back).count()).unwrap_or(u32::MAX)
}

fn act(q: &mut Queue, id: &TaskId, action: &mut dyn FnMut(u64) -> Action) -> Result<Changed> {
    super::notice::look(q, std::slice::from_ref(id))?;
    change::status(q, id, Actor::Anyone, &mut |_, task| Ok(Decision::Do(action(task.epoch()))))
}
