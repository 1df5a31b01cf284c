//! Without a remote: every change ends as a commit on the local branch, many at a time.
//!
//! The file is what is durable; the commit follows. Whoever gets the commit lock commits for all, looks
//! once more after letting go, and so nobody's change is left behind.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::merge::missing;
use crate::protocol::op::Op;
use crate::protocol::task::Task;
use crate::store::codec;
use crate::store::task_lock::Named;
use crate::store::tasks::FileState;
use crate::world::{NewCommit, Oid};

use super::archive;
use super::context::{Cx, SyncError};
use super::files;
use super::message;
use super::sessions;

/// Rounds in which the same tasks may keep waiting (others change them meanwhile) before the next command
/// goes on.
const STANDSTILL: u32 = 8;

/// Commits whatever is not committed yet, unless another process is at it.
///
/// # Errors
/// Local files or the repository failed; the files themselves are safe.
pub fn commit(cx: &Cx<'_>) -> Result<usize, SyncError> {
    let mut total = 0;
    let mut standstill = 0;
    loop {
        let Some(guard) = cx.store.lock_named(cx.world, Named::Commit, Duration::ZERO)? else {
            return Ok(total);
        };
        let (count, seen) = cx.again(|| commit_once(cx))?;
        drop(guard);
        total += count;
        // Somebody who met our lock relies on this second look, also where there was nothing at first. What
        // was seen and could not be committed waits for whoever mends it.
        let left = cx.store.unpublished()?;
        let same = left == seen;
        standstill = if same { standstill + 1 } else { 0 };
        if left.is_empty() || (count == 0 && same) || standstill > STANDSTILL {
            return Ok(total);
        }
    }
}

/// Gives how many files were committed, and which tasks had been waiting.
fn commit_once(cx: &Cx<'_>) -> Result<(usize, Vec<TaskId>), SyncError> {
    let ids = cx.store.unpublished()?;
    let head = cx.world.objects.get_ref(&cx.names.branch)?;
    let mut changes = files::waiting(cx, head)?;
    let mut ops = Vec::new();
    let mut committed = Vec::new();
    for id in &ids {
        let FileState::Task { task, oid, .. } = cx.store.read(cx.world, id)? else { continue };
        ops.extend(new_ops(cx, head, &task)?.into_iter().map(|op| (id.to_string(), op)));
        // What counts as committed is the file as it is, also where another program wrote it in other words.
        committed.push((id.clone(), oid));
        changes.extend(archive::changes(cx, head, &task)?);
    }
    if changes.is_empty() {
        return Ok((0, ids));
    }
    let sessions = sessions::waiting(cx, head)?;
    changes.extend(sessions.changes);
    let commit = cx.world.objects.commit(&NewCommit {
        base: head,
        changes: &changes,
        parents: head.as_slice(),
        author: &message::author(cx.by),
        at_s: cx.world.clock.wall_ms() / 1000,
        message: &message::for_branch(&ops),
    })?;
    cx.world.objects.swap_ref(&cx.names.branch, head, Some(commit))?;
    cx.store.mark_committed(&committed)?;
    cx.store.forget_sessions(&sessions.marks)?;
    files::published(cx, commit)?;
    Ok((changes.len(), ids))
}

fn new_ops(cx: &Cx<'_>, head: Option<Oid>, task: &Task) -> Result<Vec<Op>, SyncError> {
    let known = match head {
        Some(head) => archive::find(cx, head, task.id())?,
        None => None,
    };
    let Some((_, entry)) = known else { return Ok(task.history().to_vec()) };
    let before = codec::decode(&cx.world.objects.blob(entry.oid)?).ok();
    Ok(match before {
        Some(before) => missing(&before.task, task).cloned().collect(),
        None => task.history().to_vec(),
    })
}
