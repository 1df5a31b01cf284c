//! The door for every change to a task: load, decide, commit, report.
//!
//! A change goes to the file when this machine is the register, or when it is an addition or an edit; and
//! to the lease ref when the task is shared and the change decides its status.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::merge::rebase;
use crate::protocol::op::{Action, Op};
use crate::protocol::task::Task;
use crate::protocol::transition::next;
use crate::store::tasks::{FileState, Publish};
use crate::sync::context::SyncError;
use crate::sync::fetch::{self, Fetched};
use crate::sync::register::{self, Swapped};
use crate::sync::shared::{self, Shared};
use crate::sync::{absorb, publish};

use super::error::{Error, Kind, Result};
use super::held;
use super::queue::Queue;

/// Lost races and passing failures before a change is given up.
const ROUNDS: u32 = 16;
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// What a use case wants to do, after looking at the task.
pub(crate) enum Decision {
    /// Issue this operation.
    Do(Action),
    /// It was done before: succeed without effect.
    Repeated,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// The task after it.
    pub task: Task,
    /// Whether other machines can see it.
    pub published: bool,
    /// Whether it had been done before and nothing happened now.
    pub repeated: bool,
    /// Pushes that had to be repeated.
    pub retries: u32,
}

/// Who answers for a change when the remote cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A holder whose claim was confirmed: its acts are kept here and pushed later.
    Holder,
    /// A claimer, an operator, a watchdog: refused when the remote cannot be reached.
    Anyone,
}

type Decide<'d> = &'d mut dyn FnMut(&Queue, &Task) -> Result<Decision>;

/// Applies an addition's sibling: an edit, note or snooze, which goes to the branch.
pub(crate) fn edit(q: &mut Queue, id: &TaskId, decide: Decide<'_>) -> Result<Changed> {
    let (task, repeated) = in_file(q, id, decide)?;
    let published = q.settle()?;
    Ok(Changed { task, published, repeated, retries: 0 })
}

/// Applies a change of status through the task's register.
pub(crate) fn status(q: &mut Queue, id: &TaskId, actor: Actor, decide: Decide<'_>) -> Result<Changed> {
    if !q.shared() {
        let sent = q.world.clock.boottime();
        let (task, repeated) = in_file(q, id, decide)?;
        if !repeated {
            held::renewed(q, &task, sent)?;
        }
        q.settle()?;
        return Ok(Changed { task, published: true, repeated, retries: 0 });
    }
    if q.no_sync {
        return offline(q, id, actor, decide, no_sync_refused(id));
    }
    match in_register(q, id, actor, decide) {
        Err(Attempt::Unreachable(error)) => offline(q, id, actor, decide, Error::from_sync(&error)),
        Err(Attempt::Failed(error)) => Err(error),
        Ok(changed) => Ok(changed),
    }
}

fn no_sync_refused(id: &TaskId) -> Error {
    Error::new(
        Kind::Refused,
        "no_sync",
        format!("{id}: this queue is shared, so only the remote can decide; --no-sync forbids asking it"),
    )
    .hint("run the command without --no-sync")
}

/// Without the remote a holder's act is kept and pushed later; everybody else is refused.
fn offline(q: &mut Queue, id: &TaskId, actor: Actor, decide: Decide<'_>, why: Error) -> Result<Changed> {
    if actor != Actor::Holder {
        return Err(why);
    }
    let (task, repeated) = in_file(q, id, decide)?;
    q.warn(format!("kept here, not published yet: {why}"));
    Ok(Changed { task, published: false, repeated, retries: 0 })
}

/// Changes the file under its lock.
fn in_file(q: &mut Queue, id: &TaskId, decide: Decide<'_>) -> Result<(Task, bool)> {
    let guard = q.store.lock_task(&q.world, id, LOCK_WAIT).map_err(|e| Error::from_store(&e))?;
    let task = q.load(id)?;
    let Decision::Do(action) = decide(q, &task)? else { return Ok((task, true)) };
    let heartbeat = matches!(action, Action::Heartbeat { .. });
    if heartbeat && q.shared() {
        // A renewal that nobody else sees extends nothing: the lease stays as it was last accepted.
        return Ok((task, true));
    }
    let op = q.op(action);
    let after = next(Some(&task), id, &op).map_err(|why| Error::rejected(id, &why))?;
    let publish = if heartbeat { Publish::AsBefore } else { Publish::Waiting };
    q.store.write(&q.world, &guard, &after, publish).map_err(|e| Error::from_store(&e))?;
    Ok((after, false))
}

enum Attempt {
    /// The network; a holder's act is kept.
    Unreachable(SyncError),
    /// Anything else.
    Failed(Error),
}

impl From<SyncError> for Attempt {
    fn from(error: SyncError) -> Self {
        if error.is_unreachable() {
            Attempt::Unreachable(error)
        } else {
            Attempt::Failed(Error::from_sync(&error))
        }
    }
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        Attempt::Failed(error)
    }
}

/// Swaps the lease ref until the operation stands or does not fit any more.
fn in_register(
    q: &mut Queue,
    id: &TaskId,
    actor: Actor,
    decide: Decide<'_>,
) -> std::result::Result<Changed, Attempt> {
    let mut retries = 0;
    let mut looked = false;
    for round in 0..ROUNDS {
        let Some((shared, view)) = known(q, id)? else {
            // Only this machine knows the task: other machines must see it before anybody can claim it.
            if !looked {
                looked = true;
                publish::publish(&q.cx(), publish::Scope::Waiting)?;
                fetch_now(q)?;
                continue;
            }
            return Err(Attempt::Failed(Error::no_task(id)));
        };
        let action = match decide(q, &view) {
            Ok(Decision::Do(action)) => action,
            Ok(Decision::Repeated) => {
                return Ok(Changed { task: view, published: true, repeated: true, retries });
            }
            // What this machine knows may be old: look once before refusing.
            Err(_) if !looked => {
                looked = true;
                fetch_now(q)?;
                continue;
            }
            Err(error) => return Err(Attempt::Failed(error)),
        };
        let op = q.op(action);
        let sent = q.world.clock.boottime();
        let proposal = match register::propose(&q.cx(), id, &shared, &view, &op)? {
            Ok(proposal) => proposal,
            Err(_) if !looked => {
                looked = true;
                fetch_now(q)?;
                continue;
            }
            Err(why) => return Err(Attempt::Failed(Error::rejected(id, &why))),
        };
        if register::swap(&q.cx(), &proposal, &mut retries)? == Swapped::Lost {
            retries += 1;
            looked = true;
            fetch_now(q)?;
            continue;
        }
        if let Some(task) = settle_swap(q, id, actor, &proposal, &shared, &op)? {
            held::renewed(q, &task, sent)?;
            return Ok(Changed { task, published: true, repeated: false, retries });
        }
        retries += 1;
        looked = true;
        q.cx().back_off(round);
        fetch_now(q)?;
    }
    let message = format!("{id}: {ROUNDS} attempts lost against other machines");
    Err(Attempt::Failed(Error::new(Kind::Conflict, "contention", message).hint("try again")))
}

/// After an accepted swap: an acknowledgement to anybody but a confirmed holder needs another look at the
/// branch first. `None` = it does not stand and was withdrawn.
fn settle_swap(
    q: &mut Queue,
    id: &TaskId,
    actor: Actor,
    proposal: &register::Proposal,
    before: &Shared,
    op: &Op,
) -> std::result::Result<Option<Task>, Attempt> {
    if actor == Actor::Holder {
        absorb::absorb(&q.cx(), id, &mut Fetched::default())?;
        return Ok(Some(q.load(id)?));
    }
    let stands = register::stands(&q.cx(), id, op)?;
    let Some(shared) = stands else {
        register::withdraw(&q.cx(), proposal, before.tip.as_ref())?;
        return Ok(None);
    };
    absorb::with_shared(&q.cx(), id, &shared, &mut Fetched::default())?;
    match shared.view() {
        Some(merged) => Ok(Some(merged.task)),
        None => Ok(Some(q.load(id)?)),
    }
}

/// The shared versions of a task, and the task as this machine sees it; `None` if nobody else knows it.
fn known(q: &Queue, id: &TaskId) -> std::result::Result<Option<(Shared, Task)>, Attempt> {
    let shared = shared::read(&q.cx(), id)?;
    let Some(merged) = shared.view() else { return Ok(None) };
    let file = q.store.read(&q.world, id).map_err(|e| Error::from_store(&e))?;
    let view = match file {
        FileState::Task { task, .. } => rebase(&merged.task, &task, &q.machine).task,
        FileState::Absent => merged.task,
        FileState::Edited { .. } | FileState::Problem(_) => {
            return Err(q
                .load(id)
                .err()
                .map_or_else(|| Attempt::Failed(Error::no_task(id)), Attempt::Failed));
        }
    };
    Ok(Some((shared, view)))
}

/// Fetches now, and passes on what it found to say.
pub(crate) fn fetch_now(q: &mut Queue) -> std::result::Result<Fetched, SyncError> {
    let fetched = fetch::fetch(&q.cx())?;
    for problem in &fetched.problems {
        q.warn(problem.clone());
    }
    for (old, new) in &fetched.renamed {
        q.warn(format!("two machines had added {old}; the one from this machine is {new} now"));
    }
    Ok(fetched)
}
