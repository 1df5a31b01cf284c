//! When a need has failed: its dependants are blocked or cancelled, as each of them says.

use crate::protocol::id::TaskId;
use crate::protocol::op::{Action, Role};
use crate::protocol::task::Status;

use super::change::{self, Actor, Decision};
use super::error::{Error, Kind, Result};
use super::queue::Queue;

/// Applies failed needs to every pending task that has one; a cancelled dependant may be a failed need of
/// others, so this goes on until nothing changes. Gives the tasks that were changed.
pub(crate) fn propagate(q: &mut Queue) -> Result<Vec<TaskId>> {
    let mut changed = Vec::new();
    let role = q.role;
    q.role = Role::Source;
    let result = rounds(q, &mut changed);
    q.role = role;
    result.map(|()| changed)
}

fn rounds(q: &mut Queue, changed: &mut Vec<TaskId>) -> Result<()> {
    loop {
        let due = q.store.need_failures().map_err(|e| Error::from_store(&e))?;
        let before = changed.len();
        for (id, need) in due {
            if changed.contains(&id) {
                continue;
            }
            match apply(q, &id, &need) {
                Ok(()) => changed.push(id),
                // The watchdog, or the next command of a machine that can reach the remote, does it.
                Err(error) if matches!(error.kind, Kind::Unreachable) || error.code == "rewound" => {
                    return Ok(());
                }
                // Trouble with one task holds up no other.
                Err(error)
                    if matches!(
                        error.kind,
                        Kind::Conflict | Kind::Refused | Kind::Damaged | Kind::NotFound
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        if changed.len() == before {
            return Ok(());
        }
    }
}

fn apply(q: &mut Queue, id: &TaskId, need: &TaskId) -> Result<()> {
    change::status(q, id, Actor::Anyone, &mut |q, task| {
        let failed = q.store.status_of(need).map_err(|e| Error::from_store(&e))?;
        if !matches!(failed, Some(Status::Failed | Status::Cancelled)) {
            return Err(Error::new(Kind::Conflict, "conflict", format!("{need} has not failed")));
        }
        Ok(Decision::Do(Action::NeedFailed { epoch: task.epoch(), need: need.clone() }))
    })
    .map(drop)
}
