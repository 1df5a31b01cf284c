//! Noticing what happened to task files behind our back: hand edits, damage, vanished and foreign files.

use std::time::Duration;

use crate::protocol::edit::interpret;
use crate::protocol::id::TaskId;
use crate::protocol::merge::{missing, overlay};
use crate::protocol::op::Action;
use crate::protocol::task::Task;
use crate::protocol::transition::{Rejected, next};
use crate::store::codec;
use crate::store::scan::{Scope, Suspect, What};
use crate::store::tasks::{FileState, Problem, Publish};
use crate::sync::context::SyncError;
use crate::sync::{history, rejected};

use super::error::{Error, Result};
use super::queue::Queue;
use super::{adopt, around, edit};

const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Opening a queue looks at all files; the use case that follows at once only has to look at its own.
const RECENT: Duration = Duration::from_secs(1);

/// Looks for files that changed, as far as is cheap, and always at those of the tasks named.
pub(crate) fn look(q: &mut Queue, named: &[TaskId]) -> Result<()> {
    let now = q.world.clock.monotonic();
    if !named.is_empty() && q.looked.is_some_and(|then| now.saturating_sub(then) < RECENT) {
        return scan(q, Scope::Named(named));
    }
    q.looked = Some(now);
    let mut dice = [0u8; 8];
    q.world.random.fill(&mut dice);
    scan(q, Scope::Usual { named, turn: u64::from_le_bytes(dice) })
}

/// Looks at every file.
pub(crate) fn look_at_all(q: &mut Queue) -> Result<()> {
    scan(q, Scope::Full)
}

fn scan(q: &mut Queue, scope: Scope<'_>) -> Result<()> {
    if q.read_only {
        return Ok(());
    }
    let suspects = q.store.scan(&q.world, scope).map_err(|e| Error::from_store(&e))?;
    let nothing_new = suspects.is_empty();
    let mut adopted = false;
    if !matches!(scope, Scope::Named(_)) {
        q.strays.clear();
    }
    let new = |s: &Suspect| (s.what == What::New).then(|| s.id.clone()).flatten();
    let left = adopt::take_over(q, suspects.iter().filter_map(new).collect())?;
    adopted |= left.waiting;
    for id in &left.ids {
        adopted |= adopt_one(q, id)?;
    }
    for suspect in suspects.into_iter().filter(|s| new(s).is_none()) {
        match (&suspect.id, &suspect.what) {
            (Some(id), What::Changed) => adopted |= adopt_one(q, id)?,
            (Some(id), What::Vanished) => restore(q, id)?,
            (_, What::Temporary) => sweep(q, &suspect),
            _ => stray(q, &suspect),
        }
    }
    if matches!(scope, Scope::Named(_)) && nothing_new {
        return Ok(());
    }
    for (_, problem) in q.store.problems().map_err(|e| Error::from_store(&e))? {
        q.warn(problem);
    }
    if adopted {
        q.settle()?;
    }
    Ok(())
}

/// Removes what a killed process left behind; a living one is still writing.
fn sweep(q: &Queue, suspect: &Suspect) {
    let owner =
        suspect.path.file_name().and_then(|name| crate::store::atomic::temp_pid(&name.to_string_lossy()));
    if owner.is_some_and(|pid| q.world.process.identify(pid).is_none()) {
        // What cannot be removed now is seen again by the next command.
        let _ = q.store.remove_local(&q.world, &suspect.path);
    }
}

/// Something below `tasks/` that is no task's file: reported by every command, left alone.
fn stray(q: &mut Queue, suspect: &Suspect) {
    let why = match &suspect.what {
        What::Misnamed(why) | What::Unreadable(why) => why.as_str(),
        What::NotAFile => "it is not a plain file; orch never follows links or opens devices",
        What::New | What::Changed | What::Vanished | What::Temporary => "it belongs to no task",
    };
    let text = format!("{}: {why}", suspect.path.display());
    q.warn(text.clone());
    q.strays.push(text);
}

/// Takes over a file that somebody else wrote; says whether it holds something new to publish.
fn adopt_one(q: &mut Queue, id: &TaskId) -> Result<bool> {
    let guard = q.store.lock_task(&q.world, id, LOCK_WAIT).map_err(|e| Error::from_store(&e))?;
    let state = q.store.read(&q.world, id).map_err(|e| Error::from_store(&e))?;
    let known = known(q, id)?;
    let store = |e| Error::from_store(&e);
    match state {
        FileState::Absent => Ok(false),
        FileState::Problem(problem) => {
            q.store.quarantine(&q.world, id, &problem).map_err(store)?;
            Ok(false)
        }
        FileState::Task { task, .. } => match interpret(&task, known.as_ref()) {
            Ok((told, None)) => {
                let whole = with_known(q, told, known.as_ref())?;
                let publish =
                    if known.as_ref() == Some(&whole) { Publish::Published } else { Publish::Waiting };
                if whole == *task {
                    q.store.admit(&q.world, &whole, publish).map_err(store)?;
                } else {
                    q.store.write(&q.world, &guard, &whole, publish).map_err(store)?;
                }
                Ok(publish == Publish::Waiting)
            }
            // A valid seal over a state that its history does not tell: written by no version of orch.
            Ok((_, Some(_))) => {
                let problem =
                    Problem::plain("its seal is valid but its history does not tell its definition");
                q.store.quarantine(&q.world, id, &problem).map_err(store)?;
                Ok(false)
            }
            Err(why) => {
                let problem = q.store.point_at(&q.world, id, why.key(), &why.to_string());
                q.store.quarantine(&q.world, id, &problem).map_err(store)?;
                Ok(false)
            }
        },
        FileState::Edited { task } => match edited(q, &task, known.as_ref()) {
            Ok(after) => {
                q.store.write(&q.world, &guard, &after, Publish::Waiting).map_err(store)?;
                Ok(true)
            }
            Err((key, text)) => {
                let problem = q.store.point_at(&q.world, id, key, &text);
                q.store.quarantine(&q.world, id, &problem).map_err(store)?;
                Ok(false)
            }
        },
    }
}

/// A person's edit, as an operation on top of what was known.
fn edited(q: &Queue, task: &Task, known: Option<&Task>) -> std::result::Result<Task, (&'static str, String)> {
    let (told, patch) = interpret(task, known).map_err(|why| (why.key(), why.to_string()))?;
    check_lease(q, task)?;
    let whole = with_known(q, told, known).map_err(|error| ("history", error.message))?;
    let Some(patch) = patch else { return Ok(whole) };
    if let Some(needs) = &patch.needs {
        match around::cycle(q, task.id(), needs) {
            Ok(Some(path)) => return Err(("needs", edit::cycle(&path).message)),
            Ok(None) => {}
            Err(error) => return Err(("needs", error.message)),
        }
    }
    let op = q.op(Action::Edit(Box::new(patch)));
    let after = next(Some(&whole), task.id(), &op).map_err(|why| ("status", why.to_string()))?;
    // The history keeps what the fields say once more.
    if !codec::has_room(Some(&whole), &after, &op) {
        return Err(("history", Rejected::TooLarge.to_string()));
    }
    Ok(after)
}

/// Heartbeats are not history, so the replay cannot tell whether the lease was edited: the index can.
fn check_lease(q: &Queue, task: &Task) -> std::result::Result<(), (&'static str, String)> {
    let seen = q.store.summary(task.id()).ok().flatten();
    match (task.lease(), seen.as_ref().and_then(Task::lease)) {
        (Some(mine), Some(seen)) if mine.epoch == seen.epoch && mine != seen => Err((
            "lease",
            "`lease` cannot be edited by hand: use `orch heartbeat` or `orch release`".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The file's history together with operations that are known and that it lacks: an older copy put back,
/// or an editor that was open while the task moved on, loses nothing.
fn with_known(q: &Queue, told: Task, known: Option<&Task>) -> Result<Task> {
    match known {
        Some(known) if missing(&told, known).next().is_some() => {
            let merged = overlay(known, &told);
            for (op, why) in merged.refused.iter().filter(|(op, _)| op.machine == q.machine) {
                rejected::keep(&q.cx(), known.id(), op, &why.to_string())
                    .map_err(|e| Error::from_sync(&e))?;
            }
            Ok(merged.task)
        }
        _ => Ok(told),
    }
}

/// The newest version that git knows.
fn known(q: &Queue, id: &TaskId) -> Result<Option<Task>> {
    match history::newest(&q.cx(), id) {
        Ok(known) => Ok(known),
        Err(SyncError::Quarantined { .. }) => Ok(None),
        Err(error) => Err(Error::from_sync(&error)),
    }
}

/// A file that vanished is put back: absence is never a deletion.
fn restore(q: &mut Queue, id: &TaskId) -> Result<()> {
    let guard = q.store.lock_task(&q.world, id, LOCK_WAIT).map_err(|e| Error::from_store(&e))?;
    let state = q.store.read(&q.world, id).map_err(|e| Error::from_store(&e))?;
    if !matches!(state, FileState::Absent) {
        return Ok(());
    }
    let known = match history::newest(&q.cx(), id) {
        // What the remote holds cannot be read, so nobody knows what to put back.
        Err(SyncError::Quarantined { .. }) => return Ok(()),
        other => other.map_err(|e| Error::from_sync(&e))?,
    };
    match known {
        Some(task) => {
            q.store.write(&q.world, &guard, &task, Publish::Published).map_err(|e| Error::from_store(&e))?;
            q.warn(format!("{id}: its file had vanished and was restored; to end a task use `orch cancel`"));
        }
        None => {
            q.store.forget(id).map_err(|e| Error::from_store(&e))?;
            q.warn(format!("{id}: its file has vanished before it was committed and cannot be restored"));
        }
    }
    Ok(())
}
