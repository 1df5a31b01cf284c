//! Letting shared changes into a task's file: the one place where what others did reaches the disk.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::merge::{missing, rebase, same_task};
use crate::protocol::task::Task;
use crate::store::tasks::{FileState, Problem, Publish};

use super::context::{Cx, SyncError};
use super::fetch::Fetched;
use super::rejected;
use super::shared::{self, Shared};

/// Files that are written together; each task is locked meanwhile, which takes an open file.
const TOGETHER: usize = 256;

/// Brings a task's file up to date with the branch and the lease ref.
///
/// The result is the shared view with this machine's unpublished operations replayed on top; what no
/// longer fits is kept under `rejected/`. A file that a person is in the middle of editing wrongly stays.
///
/// # Errors
/// Local files or the repository failed.
pub fn absorb(cx: &Cx<'_>, id: &TaskId, fetched: &mut Fetched) -> Result<(), SyncError> {
    match shared::read(cx, id) {
        Ok(shared) => with_shared(cx, id, &shared, fetched),
        Err(SyncError::Quarantined { id, problem }) => {
            // The last good version stays in place; the task is blocked until the remote's can be read.
            fetched.problems.push(format!("{id}: {problem}"));
            Ok(cx.store.quarantine(cx.world, &id, &Problem::plain(problem))?)
        }
        Err(error) => Err(error),
    }
}

/// The same for many tasks. Files that are new here are written together: a fresh clone has thousands.
///
/// # Errors
/// Local files or the repository failed.
pub fn absorb_all(cx: &Cx<'_>, ids: &BTreeSet<TaskId>, fetched: &mut Fetched) -> Result<(), SyncError> {
    let ids: Vec<TaskId> = ids.iter().cloned().collect();
    for some in ids.chunks(TOGETHER) {
        let known = if some.len() > 1 { new_files(cx, some)? } else { BTreeSet::new() };
        for id in some.iter().filter(|id| !known.contains(*id)) {
            absorb(cx, id, fetched)?;
        }
    }
    Ok(())
}

/// Writes the files of those tasks that have none here; gives their ids. Whatever is not as plain as that is
/// left to [`absorb`].
fn new_files(cx: &Cx<'_>, ids: &[TaskId]) -> Result<BTreeSet<TaskId>, SyncError> {
    let absent = |id: &&TaskId| matches!(cx.world.disk.stat(&cx.store.layout.task(id)), Ok(None));
    let ids: Vec<TaskId> = ids.iter().filter(absent).cloned().collect();
    let guards = cx.store.lock_tasks(cx.world, &ids, Duration::from_secs(10))?;
    let mut files = Vec::with_capacity(ids.len());
    for id in ids.iter().filter(absent) {
        if let Ok(shared) = shared::read(cx, id)
            && let Some(view) = shared.view()
        {
            files.push((view.task, Publish::Published));
        }
    }
    cx.store.write_many(cx.world, &files)?;
    drop(guards);
    Ok(files.into_iter().map(|(task, _)| task.id().clone()).collect())
}

/// The same with versions that were read already (after a swap of our own).
///
/// # Errors
/// Local files or the repository failed.
pub fn with_shared(
    cx: &Cx<'_>,
    id: &TaskId,
    shared: &Shared,
    fetched: &mut Fetched,
) -> Result<(), SyncError> {
    let guard = cx.store.lock_task(cx.world, id, Duration::from_secs(10))?;
    let file = cx.store.read(cx.world, id)?;
    // Nothing is shared about it: if it was never published it stays, and absence is never a deletion.
    let Some(view) = shared.view() else { return Ok(()) };
    let view = view.task;
    let local = match file {
        FileState::Task { task, .. } => Some(*task),
        FileState::Absent => None,
        // Invalid files stay in place and block only their task; edits are adopted by the next command.
        FileState::Edited { .. } | FileState::Problem(_) => return Ok(()),
    };
    match local {
        Some(local) if !same_task(&view, &local) => {
            let new_id = super::rename::give_new_id(cx, &local)?;
            cx.store.write(cx.world, &guard, &view, Publish::Published)?;
            fetched.renamed.push((id.clone(), new_id));
            Ok(())
        }
        Some(local) => merge_in(cx, &guard, &view, &local),
        None => Ok(cx.store.write(cx.world, &guard, &view, Publish::Published)?),
    }
}

fn merge_in(
    cx: &Cx<'_>,
    guard: &crate::store::task_lock::TaskLock,
    view: &Task,
    local: &Task,
) -> Result<(), SyncError> {
    let merged = rebase(view, local, cx.machine);
    for (op, why) in &merged.refused {
        rejected::keep(cx, view.id(), op, &why.to_string())?;
    }
    if local.epoch() > merged.task.epoch() {
        cx.store.raise_epoch_floor(cx.world, view.id(), local.epoch())?;
    }
    let waiting = missing(view, &merged.task).next().is_some() || merged.task.lease() != view.lease();
    let publish = if waiting { Publish::Waiting } else { Publish::Published };
    if merged.task == *local {
        return Ok(cx.store.mark(cx.world, local, publish)?);
    }
    Ok(cx.store.write(cx.world, guard, &merged.task, publish)?)
}
