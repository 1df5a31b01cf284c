//! Two machines added the same id: the one that arrives second gets a new one, and says so.

use std::time::Duration;

use crate::protocol::id::{OpId, TaskId};
use crate::protocol::merge::same_task;
use crate::protocol::op::{Action, Op, Role};
use crate::protocol::task::Task;
use crate::protocol::transition::{next, replay};
use crate::store::tasks::{FileState, Publish};

use super::context::{Cx, SyncError};
use super::fetch::Fetched;

/// Gives a task of this machine a new id with a note that names both; nothing vanishes.
///
/// # Errors
/// Local files failed.
pub fn give_new_id(cx: &Cx<'_>, local: &Task) -> Result<TaskId, SyncError> {
    let old = local.id();
    let id = match given(cx, local)? {
        // Interrupted the last time, after the file was written.
        (Some(id), _) => return Ok(id),
        (None, free) => free,
    };
    let guard = cx.store.lock_task(cx.world, &id, Duration::from_secs(10))?;
    // The history of a task does not name it, so the same operations make the same task under a new name.
    let moved = replay(&id, local.history()).unwrap_or_else(|_| local.clone());
    let mut dice = [0u8; 10];
    cx.world.random.fill(&mut dice);
    let at = crate::protocol::time::Timestamp(cx.world.clock.wall_ms());
    let note = Op {
        id: OpId::new(at.0, dice),
        at,
        by: cx.by.to_owned(),
        machine: cx.machine.to_owned(),
        role: Role::Source,
        action: Action::Note {
            text: format!("two machines had added {old}; this task, the second to arrive, is {id} now"),
        },
    };
    let moved = next(Some(&moved), &id, &note).unwrap_or(moved);
    cx.store.write(cx.world, &guard, &moved, Publish::Waiting)?;
    Ok(id)
}

/// The id that a task of this machine was given because its own was taken.
///
/// # Errors
/// Local files failed.
pub fn new_id_of(cx: &Cx<'_>, local: &Task) -> Result<Option<TaskId>, SyncError> {
    Ok(given(cx, local)?.0)
}

/// The id that the task has got already, and else the first that is free.
fn given(cx: &Cx<'_>, local: &Task) -> Result<(Option<TaskId>, TaskId), SyncError> {
    let old = local.id();
    for number in 2..10_000u32 {
        let stem: String = old.as_str().chars().take(56).collect();
        let Ok(id) = TaskId::parse(&format!("{stem}-{number}")) else { continue };
        let Some(other) = cx.store.taken(cx.world, &id)? else { return Ok((None, id)) };
        match cx.store.read(cx.world, &other)? {
            FileState::Task { task, .. } if same_task(&task, local) => return Ok((Some(other), id)),
            _ => {}
        }
    }
    Ok((None, old.clone()))
}

/// Whether a task that others share may be written here. A task of this machine whose id differs in case
/// only, and that nobody else has seen, makes room for it under another id.
///
/// # Errors
/// Local files failed.
pub fn make_room(cx: &Cx<'_>, id: &TaskId, fetched: &mut Fetched) -> Result<bool, SyncError> {
    let Some(other) = cx.store.taken(cx.world, id)?.filter(|other| other != id) else { return Ok(true) };
    let FileState::Task { task: local, .. } = cx.store.read(cx.world, &other)? else { return Ok(true) };
    if super::shared::read(cx, &other)?.view().is_some() {
        fetched
            .problems
            .push(format!("{id}: on the remote it differs from {other} in case only; it is left out"));
        return Ok(false);
    }
    let new_id = give_new_id(cx, &local)?;
    cx.store.remove_local(cx.world, &cx.store.file(cx.world, &other)?)?;
    fetched.renamed.push((other, new_id));
    Ok(true)
}
