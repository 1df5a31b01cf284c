//! The newest version of a task that git knows: shared, or committed here.

use crate::protocol::id::TaskId;
use crate::protocol::task::Task;

use super::context::{Cx, SyncError};
use super::shared;

/// The newest version that git knows of a task.
///
/// # Errors
/// The local repository failed, or what it holds is no valid task.
pub fn newest(cx: &Cx<'_>, id: &TaskId) -> Result<Option<Task>, SyncError> {
    if cx.world.remote.is_some() {
        return Ok(shared::read(cx, id)?.view().map(|merged| merged.task));
    }
    let Some(head) = cx.world.objects.get_ref(&cx.names.branch)? else { return Ok(None) };
    shared::on_branch(cx, head, id)
}
