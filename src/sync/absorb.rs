//! Letting shared changes into a task's file: the one place where what others did reaches the disk.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use crate::protocol::id::{OpId, TaskId};
use crate::protocol::merge::{Merged, last_claim, missing, rebase, rebase_without_these, same_task};
use crate::protocol::op::Op;
use crate::protocol::task::{Status, Task};
use crate::protocol::transition::{Rejected, next};
use crate::store::codec;
use crate::store::error::StoreError;
use crate::store::place::Place;
use crate::store::tasks::{FileState, Problem, Publish};

use super::archive;
use super::context::{Cx, SyncError};
use super::fetch::Fetched;
use super::names::{TRACKING_BRANCH, tracking_lease};
use super::rejected;
use super::shared;

const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Files that are written together; each task is locked meanwhile, which takes an open file.
const TOGETHER: usize = 256;

/// Brings a task's file up to date with the branch and the lease ref, and forgets that this was to be done.
///
/// The result is the shared view with this machine's unpublished operations replayed on top; what no
/// longer fits is kept under `rejected/`. A file that a person is in the middle of editing wrongly stays.
///
/// # Errors
/// Local files or the repository failed.
pub fn absorb(cx: &Cx<'_>, id: &TaskId, fetched: &mut Fetched) -> Result<(), SyncError> {
    absorb_all(cx, std::slice::from_ref(id), fetched)
}

/// The same for many tasks.
///
/// # Errors
/// As [`absorb`].
pub fn absorb_all(cx: &Cx<'_>, ids: &[TaskId], fetched: &mut Fetched) -> Result<(), SyncError> {
    let mut due = cx.store.unabsorbed()?;
    let these: BTreeSet<&TaskId> = ids.iter().collect();
    due.retain(|id, _| these.contains(id));
    into_files(cx, ids, fetched)?;
    Ok(cx.store.forget_unabsorbed(&due)?)
}

/// The same without forgetting anything. Files that are new here are written together: a fresh clone has
/// thousands.
///
/// # Errors
/// As [`absorb`].
pub(super) fn into_files(cx: &Cx<'_>, ids: &[TaskId], fetched: &mut Fetched) -> Result<(), SyncError> {
    for some in ids.chunks(TOGETHER) {
        let mut known = BTreeSet::new();
        if some.len() > 1 {
            known.extend(new_files(cx, some)?);
            known.extend(archive::settle_many(cx, some)?);
            known.extend(same_files(cx, some)?);
        }
        for id in some.iter().filter(|id| !known.contains(*id)) {
            into_file(cx, id, fetched)?;
        }
    }
    Ok(())
}

/// Writes the files of those tasks that have none here; gives their ids. Whatever is not as plain as that is
/// left to [`into_file`].
fn new_files(cx: &Cx<'_>, ids: &[TaskId]) -> Result<BTreeSet<TaskId>, SyncError> {
    let absent = |id: &&TaskId| {
        matches!(cx.store.file(cx.world, id).map(|path| cx.world.disk.stat(&path)), Ok(Ok(None)))
            && matches!(cx.store.taken(cx.world, id), Ok(taken) if taken.as_ref().is_none_or(|taken| taken == *id))
    };
    let mut ids: Vec<TaskId> = ids.iter().filter(absent).cloned().collect();
    // Ids that differ in case only are one lock and one task.
    let mut seen = BTreeSet::new();
    ids.retain(|id| seen.insert(id.folded()));
    let guards = cx.store.lock_tasks(cx.world, &ids, LOCK_WAIT)?;
    let mut files = Vec::with_capacity(ids.len());
    for id in ids.iter().filter(absent) {
        if let Ok(shared) = shared::read(cx, id)
            && let Some(view) = shared.view()
        {
            let place = archive::place_of(cx, &view.task)?;
            files.push((view.task, place, Publish::Published));
        }
    }
    cx.store.write_many(cx.world, &files)?;
    drop(guards);
    Ok(files.into_iter().map(|(task, ..)| task.id().clone()).collect())
}

/// Notes as published, in one transaction, which files are just what the branch has of tasks that nobody holds; gives
/// their ids. That is nearly all of what this machine has published a moment ago.
fn same_files(cx: &Cx<'_>, ids: &[TaskId]) -> Result<BTreeSet<TaskId>, SyncError> {
    let Some(head) = cx.world.objects.get_ref(TRACKING_BRANCH)? else { return Ok(BTreeSet::new()) };
    let guards = cx.store.lock_tasks(cx.world, ids, LOCK_WAIT)?;
    let mut same = Vec::with_capacity(ids.len());
    for id in ids {
        // What has ended may belong in the archive, and an unreadable file of the branch is looked at with care.
        if cx.store.status_of(id)?.is_none_or(Status::is_terminal)
            || cx.world.objects.get_ref(&tracking_lease(id))?.is_some()
        {
            continue;
        }
        let Some(raw) = cx.store.read_raw(cx.world, id, Place::Tasks) else { continue };
        let entry = cx.world.objects.entry(head, &Place::Tasks.tree_path(id))?;
        if entry.is_some_and(|entry| entry.is_file && entry.oid == raw.oid)
            && cx.store.is_known(id, raw.oid)?
        {
            same.push((id.clone(), raw.oid));
        }
    }
    cx.store.mark_committed(&same)?;
    drop(guards);
    Ok(same.into_iter().map(|(id, _)| id).collect())
}

fn into_file(cx: &Cx<'_>, id: &TaskId, fetched: &mut Fetched) -> Result<(), SyncError> {
    let guard = cx.store.lock_task(cx.world, id, LOCK_WAIT)?;
    // Only now: what was read before the lock may be older than what another process has written since.
    let shared = match shared::read(cx, id) {
        Ok(shared) => shared,
        Err(SyncError::Quarantined { id, problem }) => {
            // The last good version stays in place; the task is blocked until the remote's can be read.
            fetched.problems.push(format!("{id}: {problem}"));
            cx.store.quarantine(cx.world, &id, &Problem::plain(problem))?;
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let file = cx.store.read(cx.world, id)?;
    let Some(view) = shared.view() else { return not_shared(cx, id, &file, fetched) };
    let view = view.task;
    let local = match file {
        FileState::Task { task, .. } => Some(*task),
        FileState::Absent if !super::rename::make_room(cx, id, fetched)? => return Ok(()),
        FileState::Absent => None,
        // Invalid files stay in place and block only their task; edits are adopted by the next command.
        FileState::Edited { .. } | FileState::Problem(_) => return Ok(()),
    };
    match local {
        Some(local) if !same_task(&view, &local) => {
            let new_id = super::rename::give_new_id(cx, &local)?;
            archive::put(cx, &guard, &view, Publish::Published)?;
            fetched.renamed.push((id.clone(), new_id));
            Ok(())
        }
        Some(local) => merge_in(cx, &guard, &view, &local, fetched),
        None => archive::put(cx, &guard, &view, Publish::Published),
    }
}

/// Nothing is shared about a task. If it never was, its file waits to be published already; if it was, somebody has
/// deleted it on the branch. Absence is never a deletion: whoever has the file publishes it again.
fn not_shared(cx: &Cx<'_>, id: &TaskId, file: &FileState, fetched: &mut Fetched) -> Result<(), SyncError> {
    let FileState::Task { task, .. } = file else { return Ok(()) };
    if cx.store.is_published(id)? {
        cx.store.mark(cx.world, task, Publish::Waiting)?;
        fetched.problems.push(format!(
            "{id}: somebody has deleted its file on the state branch; it is published again (to end a task use \
             `orch cancel`)"
        ));
    }
    Ok(())
}

fn merge_in(
    cx: &Cx<'_>,
    guard: &crate::store::task_lock::TaskLock,
    view: &Task,
    local: &Task,
    fetched: &mut Fetched,
) -> Result<(), SyncError> {
    let merged = replayed(cx, view, local);
    for (op, why) in &merged.refused {
        fetched.problems.push(format!(
            "{}: `{}` of {} was refused: {why}",
            view.id(),
            op.action.verb(),
            op.by
        ));
        rejected::keep(cx, view.id(), op, &why.to_string())?;
    }
    if local.epoch() > merged.task.epoch() {
        cx.store.raise_epoch_floor(cx.world, view.id(), local.epoch())?;
    }
    let waiting = missing(view, &merged.task).next().is_some() || merged.task.lease() != view.lease();
    let publish = if waiting { Publish::Waiting } else { Publish::Published };
    if merged.task == *local {
        cx.store.mark(cx.world, local, publish)?;
        return if waiting { Ok(()) } else { archive::settle(cx, guard, local) };
    }
    match archive::put(cx, guard, &merged.task, publish) {
        // One task must not hold up all others.
        Err(SyncError::Store(error @ StoreError::TooLarge { .. })) => {
            fetched.problems.push(error.to_string());
            Ok(())
        }
        other => other,
    }
}

/// This machine's file on top of what all machines share, as far as one file has room for both.
#[must_use]
pub fn replayed(cx: &Cx<'_>, view: &Task, local: &Task) -> Merged {
    let overflow = overflow(view, local);
    let mut without: HashSet<OpId> = overflow.iter().map(|op| op.id).collect();
    without.extend(unconfirmed(cx, view, local));
    if without.is_empty() {
        return rebase(view, local, cx.machine);
    }
    let mut merged = rebase_without_these(view, local, cx.machine, &without);
    merged.refused.extend(overflow.into_iter().map(|op| (op.clone(), Rejected::TooLarge)));
    merged
}

/// Texts of a file that there is no room for beside what others wrote meanwhile, each within its own bounds. What the
/// branch has counts, and then what comes first in the file.
pub(super) fn overflow<'t>(view: &Task, local: &'t Task) -> Vec<&'t Op> {
    let lacking: Vec<&Op> = missing(view, local).filter(|op| op.action.based_on().is_none()).collect();
    if lacking.is_empty() || codec::surely_shareable(view, local) {
        return Vec::new();
    }
    let mut task = view.clone();
    let mut left_out = Vec::new();
    for op in lacking {
        match next(Some(&task), view.id(), op) {
            Ok(after) if codec::is_shareable(&after) => task = after,
            Ok(_) => left_out.push(op),
            // It does not fit for another reason, which the replay gives.
            Err(_) => {}
        }
    }
    left_out
}

/// A claim of this machine that the others do not see and that nobody was told of: another process has
/// pushed it, found out that it does not stand, and withdrawn it.
pub(super) fn unconfirmed(cx: &Cx<'_>, view: &Task, local: &Task) -> Option<OpId> {
    let lease = local.lease().filter(|lease| lease.machine == cx.machine)?;
    let told = cx.store.held(cx.world, local.id());
    if told.is_some_and(|held| held.epoch == lease.epoch && held.session == lease.session) {
        return None;
    }
    let claim = last_claim(local)?;
    missing(view, local).any(|op| op.id == claim).then_some(claim)
}
