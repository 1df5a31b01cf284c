//! Each commit of the branch, and each lease ref, as steps of tasks.

use std::collections::HashMap;

use crate::protocol::id::{OpId, TaskId};
use crate::protocol::invariant::{check, check_progress};
use crate::protocol::task::Task;
use crate::store::{codec, layout, place, seal::Seal};
use crate::sync::chain::{self, Link};
use crate::sync::shared::known_leases;
use crate::world::{ObjectsError, Oid, TreeChange, TreeEntry};

use super::Found;
use crate::usecase::error::{Error, Result};
use crate::usecase::queue::Queue;

/// What has been seen so far.
#[derive(Default)]
pub(super) struct Steps {
    /// The newest version of each task on the branch.
    branch: HashMap<TaskId, Task>,
    /// Which task each operation belongs to.
    ops: HashMap<OpId, TaskId>,
}

fn unreadable(error: ObjectsError) -> Error {
    Error::from_sync(&error.into())
}

impl Steps {
    pub(super) fn tasks(&self) -> usize {
        self.branch.len()
    }

    pub(super) fn operations(&self) -> usize {
        self.ops.len()
    }

    /// The task in which an operation was seen.
    pub(super) fn owner(&self, op: OpId) -> Option<&TaskId> {
        self.ops.get(&op)
    }

    /// One commit of the branch.
    pub(super) fn commit(&mut self, q: &Queue, link: &Link, found: &mut Found) -> Result<()> {
        let commit = link.commit;
        if link.parents.len() > 1 {
            found.foreign(commit, "a merge commit: orch replays operations and keeps the branch linear");
        }
        let changes =
            q.world.objects.diff(link.parents.first().copied(), Some(commit)).map_err(unreadable)?;
        for change in &changes {
            match layout::parse_tree_path(&change.path) {
                Some(Ok(id)) => self.change(q, commit, &id, change, &changes, found)?,
                Some(Err(misnamed)) => found.foreign(commit, misnamed.to_string()),
                None if chain::is_ours(&change.path) => {}
                None => found.foreign(commit, format!("{} is no file of a queue", change.path)),
            }
        }
        Ok(())
    }

    fn change(
        &mut self,
        q: &Queue,
        commit: Oid,
        id: &TaskId,
        change: &TreeChange,
        changes: &[TreeChange],
        found: &mut Found,
    ) -> Result<()> {
        let Some(new) = change.new else {
            // Moved to the archive, or back: the same commit brings the file at its new place.
            let moved = |other: &TreeChange| {
                other.new.is_some() && matches!(place::parse(&other.path), Some(Ok((same, _))) if same == *id)
            };
            if !changes.iter().any(moved) {
                found.problem(4, Some(id), Some(commit), "its file was deleted");
            }
            return Ok(());
        };
        let Some(task) = read(q, commit, id, new, found)? else { return Ok(()) };
        step(commit, &task, self.branch.get(id), found);
        self.note(commit, &task, found);
        self.branch.insert(id.clone(), task);
        Ok(())
    }

    /// Every operation belongs to one task, once.
    fn note(&mut self, commit: Oid, task: &Task, found: &mut Found) {
        for op in task.history() {
            let owner = self.ops.entry(op.id).or_insert_with(|| task.id().clone());
            if owner != task.id() {
                let what = format!("operation {} also stands in the history of {owner}", op.id);
                found.problem(6, Some(task.id()), Some(commit), what);
            }
        }
    }

    /// The lease refs that are known: each is a chain of its own.
    pub(super) fn leases(&mut self, q: &Queue, found: &mut Found) -> Result<()> {
        for (id, tip) in known_leases(&q.cx()).map_err(|e| Error::from_sync(&e))? {
            let mut before: Option<Task> = None;
            for link in chain::links(&*q.world.objects, tip).map_err(unreadable)? {
                let path = layout::tree_path(&id);
                let entry = q.world.objects.entry(link.commit, &path).map_err(unreadable)?;
                let Some(entry) = entry else {
                    found.problem(
                        6,
                        Some(&id),
                        Some(link.commit),
                        "a lease ref that does not hold its task's file",
                    );
                    continue;
                };
                let Some(task) = read(q, link.commit, &id, entry, found)? else { continue };
                step(link.commit, &task, before.as_ref(), found);
                before = Some(task);
            }
            if let Some(task) = before {
                self.note(tip, &task, found);
            }
        }
        Ok(())
    }
}

/// One version of a task by itself, and against the one before.
fn step(commit: Oid, task: &Task, before: Option<&Task>, found: &mut Found) {
    let mut broken = check(task);
    if let Some(before) = before {
        broken.extend(check_progress(before, task));
        if let Some(at) = rewritten(before, task) {
            let what = format!("operation {} of its history was changed or moved", at + 1);
            found.problem(6, Some(task.id()), Some(commit), what);
        }
    }
    for violation in broken {
        found.problem(violation.promise, Some(task.id()), Some(commit), violation.what);
    }
}

/// The first operation of the older history that is not at its place in the newer one, content included.
/// What is missing altogether is reported as lost.
fn rewritten(before: &Task, after: &Task) -> Option<usize> {
    let pairs = before.history().iter().zip(after.history());
    pairs.enumerate().find(|(_, (old, new))| old != new).map(|(at, _)| at)
}

fn read(q: &Queue, commit: Oid, id: &TaskId, entry: TreeEntry, found: &mut Found) -> Result<Option<Task>> {
    let mut bad = |what: String| {
        found.problem(6, Some(id), Some(commit), what);
        Ok(None)
    };
    if !entry.is_file {
        return bad("a link or submodule stands in the place of its file".to_owned());
    }
    let bytes = q.world.objects.blob(entry.oid).map_err(unreadable)?;
    match codec::decode(&bytes) {
        Err(problem) => bad(format!("its file cannot be read: {problem}")),
        Ok(decoded) if decoded.task.id() != id => bad(format!("its file names {}", decoded.task.id())),
        Ok(decoded) if decoded.seal != Seal::Valid => bad("its file does not match its seal".to_owned()),
        Ok(decoded) => Ok(Some(decoded.task)),
    }
}
