//! Two machines added the same id: the one that arrives second gets a new one, and says so.

use std::time::Duration;

use crate::protocol::id::{OpId, TaskId};
use crate::protocol::op::{Action, Op, Role};
use crate::protocol::task::Task;
use crate::protocol::transition::{next, replay};
use crate::store::tasks::Publish;

use super::context::{Cx, SyncError};

/// Gives a task of this machine a new id with a note that names both; nothing vanishes.
///
/// # Errors
/// Local files failed.
pub fn give_new_id(cx: &Cx<'_>, local: &Task) -> Result<TaskId, SyncError> {
    let old = local.id();
    let id = free_id(cx, old)?;
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

fn free_id(cx: &Cx<'_>, old: &TaskId) -> Result<TaskId, SyncError> {
    for number in 2..10_000u32 {
        let stem: String = old.as_str().chars().take(56).collect();
        let Ok(id) = TaskId::parse(&format!("{stem}-{number}")) else { continue };
        if cx.store.taken(cx.world, &id)?.is_none() {
            return Ok(id);
        }
    }
    Ok(old.clone())
}
