//! The archive on the state branch: where the file of a task lies in a commit, and moving ended ones there.
//!
//! Only the place changes, by one commit that everybody else's compare-and-swap of the branch respects. Whatever
//! later fits a task in the archive (a retry) is decided by its register as ever, and its fold brings the file
//! back among the tasks. So no lock and no protocol stands between archiving and acting.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::task::Task;
use crate::store::codec;
use crate::store::place::{ARCHIVE, Month, Place};
use crate::store::task_lock::{Named, TaskLock};
use crate::store::tasks::{FileState, Publish};
use crate::world::{NewCommit, Oid, PushOutcome, RefUpdate, RemoteError, RemoteFailure, TreeEntry};

use super::context::{Cx, SyncError};
use super::fetch::{self, Fetched};
use super::files::FileChange;
use super::names::TRACKING_BRANCH;
use super::shared::known_leases;
use super::{absorb, group_push, local, message};

const ROUNDS: u32 = 12;
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Files that are moved together; each task is locked meanwhile, which takes an open file.
const TOGETHER: usize = 256;

/// Where a commit of the branch holds the file of a task, among the tasks or in the archive.
///
/// # Errors
/// The local repository cannot be read.
pub fn find(cx: &Cx<'_>, commit: Oid, id: &TaskId) -> Result<Option<(Place, TreeEntry)>, SyncError> {
    let at = |place: Place| -> Result<_, SyncError> {
        Ok(cx.world.objects.entry(commit, &place.tree_path(id))?.map(|entry| (place, entry)))
    };
    if let Some(found) = at(Place::Tasks)? {
        return Ok(Some(found));
    }
    let here = cx.store.place(id)?;
    if here != Place::Tasks
        && let Some(found) = at(here)?
    {
        return Ok(Some(found));
    }
    let months = cx.world.objects.list(commit, ARCHIVE)?;
    for (name, entry) in months.iter().rev() {
        if let Some(month) = Month::parse(name).filter(|_| !entry.is_file)
            && let Some(found) = at(Place::Archive(month))?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The files of a commit on top of `base` that brings a new version of a task: it lies among the tasks, and
/// no longer in the archive.
///
/// # Errors
/// The local repository cannot be read.
pub fn changes(cx: &Cx<'_>, base: Option<Oid>, task: &Task) -> Result<Vec<FileChange>, SyncError> {
    let id = task.id();
    let mut changes = vec![(Place::Tasks.tree_path(id), Some(codec::encode(task)))];
    if let Some(base) = base
        && let Some((place @ Place::Archive(_), _)) = find(cx, base, id)?
    {
        changes.push((place.tree_path(id), None));
    }
    Ok(changes)
}

/// The branch that counts here: that of the remote as of the last fetch, or the local one.
fn head(cx: &Cx<'_>) -> Result<Option<Oid>, SyncError> {
    let name = if cx.world.remote.is_some() { TRACKING_BRANCH } else { &cx.names.branch };
    Ok(cx.world.objects.get_ref(name)?)
}

/// Where a file with nothing but what is shared belongs: in the archive if the branch holds just this there.
///
/// # Errors
/// The local repository cannot be read.
pub fn place_of(cx: &Cx<'_>, task: &Task) -> Result<Place, SyncError> {
    let (Some(place), Some(head)) = (Place::in_archive(task), head(cx)?) else { return Ok(Place::Tasks) };
    let entry = |place: Place| cx.world.objects.entry(head, &place.tree_path(task.id()));
    if entry(Place::Tasks)?.is_some() {
        return Ok(Place::Tasks);
    }
    let same =
        |entry: TreeEntry| entry.is_file && entry.oid == cx.world.objects.hash_blob(&codec::encode(task));
    Ok(if entry(place)?.is_some_and(same) { place } else { Place::Tasks })
}

/// Writes a task's file where it belongs.
///
/// # Errors
/// Local files or the repository failed.
pub fn put(cx: &Cx<'_>, lock: &TaskLock, task: &Task, publish: Publish) -> Result<(), SyncError> {
    let place = if publish == Publish::Published { place_of(cx, task)? } else { Place::Tasks };
    match place {
        Place::Tasks => cx.store.write(cx.world, lock, task, publish)?,
        place => cx.store.write_archived(cx.world, lock, task, place)?,
    }
    Ok(())
}

/// Moves a task's file to where it belongs, if it lies elsewhere.
///
/// # Errors
/// Local files or the repository failed.
pub fn settle(cx: &Cx<'_>, lock: &TaskLock, task: &Task) -> Result<(), SyncError> {
    if task.status().is_terminal() && place_of(cx, task)? != cx.store.place(task.id())? {
        return put(cx, lock, task, Publish::Published);
    }
    Ok(())
}

/// Moves many files that hold just what the branch has in the archive; gives their ids. All others stay.
///
/// # Errors
/// Local files or the repository failed.
pub(super) fn settle_many(cx: &Cx<'_>, ids: &[TaskId]) -> Result<BTreeSet<TaskId>, SyncError> {
    let mut moved = BTreeSet::new();
    let mut due = Vec::new();
    for id in ids {
        // A look without the lock, so that only those are locked that are likely to move.
        if due_place(cx, id)?.is_some() {
            due.push(id.clone());
        }
    }
    for some in due.chunks(TOGETHER) {
        let guards = cx.store.lock_tasks(cx.world, some, LOCK_WAIT)?;
        let mut files = Vec::with_capacity(some.len());
        for id in some {
            if let Some((task, place)) = due_place(cx, id)? {
                files.push((task, place, Publish::Published));
            }
        }
        cx.store.move_many(cx.world, &files)?;
        moved.extend(files.into_iter().map(|(task, ..)| task.id().clone()));
        drop(guards);
    }
    Ok(moved)
}

/// The task in a file that lies among the tasks and belongs in the archive.
fn due_place(cx: &Cx<'_>, id: &TaskId) -> Result<Option<(Task, Place)>, SyncError> {
    if !cx.store.status_of(id)?.is_some_and(crate::protocol::task::Status::is_terminal) {
        return Ok(None);
    }
    let lease = super::names::tracking_lease(id);
    if cx.store.place(id)? != Place::Tasks || cx.world.objects.get_ref(&lease)?.is_some() {
        return Ok(None);
    }
    let FileState::Task { task, .. } = cx.store.read(cx.world, id)? else { return Ok(None) };
    match place_of(cx, &task)? {
        Place::Tasks => Ok(None),
        place => Ok(Some((*task, place))),
    }
}

/// What archiving did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archived {
    /// Tasks whose files lie in the archive now.
    pub moved: Vec<TaskId>,
    /// What the fetches brought to say.
    pub fetched: Fetched,
}

/// Moves tasks that have ended to the archive, on the branch and here: those of which the branch holds just
/// what lies here, and that no lease ref or waiting operation is about. All others stay where they are.
///
/// # Errors
/// The remote cannot be reached, or refuses the branch although nobody moved it.
pub fn archive(cx: &Cx<'_>, ids: &[TaskId]) -> Result<Archived, SyncError> {
    let mut report = Archived::default();
    if cx.world.remote.is_some() {
        shared(cx, ids, &mut report.fetched)?;
    } else {
        alone(cx, ids)?;
    }
    for id in ids {
        if cx.store.place(id)? != Place::Tasks {
            report.moved.push(id.clone());
        }
    }
    Ok(report)
}

fn shared(cx: &Cx<'_>, ids: &[TaskId], fetched: &mut Fetched) -> Result<(), SyncError> {
    let mut refused: Option<String> = None;
    for round in 0..ROUNDS {
        fetched.join(fetch::fetch(cx)?);
        let leased = known_leases(cx)?.into_iter().map(|(id, _)| id).collect();
        let base = head(cx)?;
        let Some((commit, moved)) = cx.again(|| commit(cx, base, ids, &leased))? else { return Ok(()) };
        if let Some(message) = refused.take() {
            return Err(SyncError::Declined { name: cx.names.branch.clone(), message });
        }
        let update = RefUpdate { name: cx.names.branch.clone(), expected: base, new: Some(commit) };
        match group_push::push(cx, std::slice::from_ref(&update))?.pop() {
            Some(PushOutcome::Accepted) => {
                cx.store.remember_unabsorbed(&moved)?;
                fetch::move_tracking(cx, base, Some(commit))?;
                return absorb::absorb_all(cx, &moved, fetched);
            }
            Some(PushOutcome::Refused(message)) if unmoved(cx, &update)? => {
                match crate::world::remote::passing(&message) {
                    Some(kind) => return Err(RemoteError { kind, message }.into()),
                    None => refused = Some(message),
                }
            }
            // The next fetch tells whose commit the branch holds now.
            _ => cx.back_off(round + 1),
        }
    }
    let message = format!("{ROUNDS} pushes lost against other machines; try again");
    Err(RemoteError { kind: RemoteFailure::Other, message }.into())
}

fn unmoved(cx: &Cx<'_>, update: &RefUpdate) -> Result<bool, SyncError> {
    let refs = cx.remote()?.refs(&[&update.name], cx.left())?;
    let now = refs.into_iter().find(|(name, _)| *name == update.name).map(|(_, oid)| oid);
    Ok(now == update.expected)
}

fn alone(cx: &Cx<'_>, ids: &[TaskId]) -> Result<(), SyncError> {
    let Some(guard) = cx.store.lock_named(cx.world, Named::Commit, LOCK_WAIT)? else { return Ok(()) };
    cx.again(|| {
        let base = head(cx)?;
        match commit(cx, base, ids, &BTreeSet::new())? {
            Some((commit, _)) => Ok(cx.world.objects.swap_ref(&cx.names.branch, base, Some(commit))?),
            None => Ok(()),
        }
    })?;
    drop(guard);
    // Also those that an earlier run committed before it died.
    settle_many(cx, ids)?;
    // Whoever met our lock relies on us, as in every commit.
    local::commit(cx).map(drop)
}

/// A commit that moves tasks to the archive, and those that it moves; `None` if there are none.
fn commit(
    cx: &Cx<'_>,
    base: Option<Oid>,
    ids: &[TaskId],
    leased: &BTreeSet<TaskId>,
) -> Result<Option<(Oid, Vec<TaskId>)>, SyncError> {
    let Some(branch) = base else { return Ok(None) };
    let (mut changes, mut moved): (Vec<FileChange>, _) = (Vec::new(), Vec::new());
    for id in ids.iter().filter(|id| !leased.contains(id)) {
        let FileState::Task { task, oid, .. } = cx.store.read(cx.world, id)? else { continue };
        let Some(place) = Place::in_archive(&task) else { continue };
        let entry = cx.world.objects.entry(branch, &Place::Tasks.tree_path(id))?;
        if entry.is_some_and(|entry| entry.is_file && entry.oid == oid) {
            changes.push((Place::Tasks.tree_path(id), None));
            changes.push((place.tree_path(id), Some(codec::encode(&task))));
            moved.push(id.clone());
        }
    }
    if moved.is_empty() {
        return Ok(None);
    }
    let mut dice = [0u8; 16];
    cx.world.random.fill(&mut dice);
    let commit = cx.world.objects.commit(&NewCommit {
        base,
        changes: &changes,
        parents: base.as_slice(),
        author: &message::author(cx.by),
        at_s: cx.world.clock.wall_ms() / 1000,
        message: &message::for_archive(&moved, dice),
    })?;
    Ok(Some((commit, moved)))
}
