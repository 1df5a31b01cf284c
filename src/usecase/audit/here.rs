//! The files of this machine against what is shared: promises 4 and 7.

use std::collections::HashSet;

use crate::protocol::id::TaskId;
use crate::store::tasks::FileState;
use crate::sync::context::SyncError;
use crate::sync::history;

use super::Found;
use super::steps::Steps;
use crate::usecase::error::{Error, Result};
use crate::usecase::queue::Queue;

/// Compares each file that holds nothing unpublished. Files that are invalid, damaged or being edited are left
/// out: `verify` reports them.
pub(super) fn compare(q: &Queue, steps: &Steps, found: &mut Found) -> Result<()> {
    let store = |e| Error::from_store(&e);
    let waiting: HashSet<TaskId> = q.store.unpublished().map_err(store)?.into_iter().collect();
    for id in q.store.ids().map_err(store)?.iter().filter(|id| !waiting.contains(*id)) {
        let FileState::Task { task, .. } = q.store.read(&q.world, id).map_err(store)? else { continue };
        for op in task.history().iter().filter(|op| steps.owner(op.id) != Some(id)) {
            let what =
                format!("operation {} ({}) was published and is not in the history", op.id, op.action.verb());
            found.problem(4, Some(id), None, what);
        }
        match history::newest(&q.cx(), id) {
            Ok(Some(shared)) if shared == *task => {}
            // Heartbeats are not history, and without a remote nobody else waits for them: no commit holds them.
            Ok(Some(shared)) if !q.is_shared() && shared.history() == task.history() => {}
            // What is lacking altogether was reported as lost.
            Ok(None) | Err(SyncError::Quarantined { .. }) => {}
            Ok(Some(_)) => {
                let what =
                    "its file here differs from what is shared, although nothing waits to be published";
                found.problem(7, Some(id), None, what);
            }
            Err(error) => return Err(Error::from_sync(&error)),
        }
    }
    Ok(())
}
