//! Putting whole tasks, with a history that others made, onto the shared branch at once.
//!
//! The ordinary way publishes only what this machine itself decided; an import brings decisions of other
//! queues. It only ever adds tasks that nobody here has, so it can overwrite nothing.

use crate::protocol::id::TaskId;
use crate::protocol::op::Op;
use crate::protocol::task::Task;
use crate::store::codec;
use crate::store::layout;
use crate::world::{NewCommit, PushOutcome, RefUpdate};

use super::context::{Cx, SyncError};
use super::fetch;
use super::group_push;
use super::message;
use super::names::TRACKING_BRANCH;
use super::shared;

const ROUNDS: u32 = 12;

/// Adds tasks to the branch in one commit, and gives those whose id another machine had used meanwhile.
///
/// # Errors
/// The remote cannot be reached, or refuses the branch although nobody moved it; then nothing was added.
pub fn add(cx: &Cx<'_>, tasks: &[Task]) -> Result<Vec<TaskId>, SyncError> {
    let mut refused: Option<String> = None;
    for round in 0..ROUNDS {
        fetch::fetch(cx)?;
        let base = cx.world.objects.get_ref(TRACKING_BRANCH)?;
        let (open, taken) = sort(cx, tasks)?;
        if open.is_empty() {
            return Ok(taken);
        }
        if let Some(message) = refused.take() {
            return Err(SyncError::Declined { name: cx.names.branch.clone(), message });
        }
        let changes: Vec<(String, Option<Vec<u8>>)> =
            open.iter().map(|task| (layout::tree_path(task.id()), Some(codec::encode(task)))).collect();
        let ops: Vec<(String, Op)> =
            open.iter().filter_map(|t| Some((t.id().to_string(), t.history().first()?.clone()))).collect();
        let commit = cx.world.objects.commit(&NewCommit {
            base,
            changes: &changes,
            parents: base.as_slice(),
            author: &message::author(cx.by),
            at_s: cx.world.clock.wall_ms() / 1000,
            message: &message::for_branch(&ops),
        })?;
        let update = RefUpdate { name: cx.names.branch.clone(), expected: base, new: Some(commit) };
        match group_push::push(cx, std::slice::from_ref(&update))?.pop() {
            Some(PushOutcome::Accepted) => {
                // What is there now is brought by the fetch, like everything that others did.
                fetch::fetch(cx)?;
                return Ok(taken);
            }
            Some(PushOutcome::Refused(message)) if unmoved(cx, &update)? => {
                match crate::world::remote::passing(&message) {
                    Some(kind) => return Err(crate::world::RemoteError { kind, message }.into()),
                    None => refused = Some(message),
                }
            }
            _ => cx.back_off(round + 1),
        }
    }
    let message = format!("{ROUNDS} pushes lost against other machines; try again");
    Err(crate::world::RemoteError { kind: crate::world::RemoteFailure::Other, message }.into())
}

/// Tasks that nobody has yet, and ids that another task has. A task that is there already, with the same
/// history, is neither.
fn sort<'t>(cx: &Cx<'_>, tasks: &'t [Task]) -> Result<(Vec<&'t Task>, Vec<TaskId>), SyncError> {
    let (mut open, mut taken) = (Vec::new(), Vec::new());
    for task in tasks {
        match shared::read(cx, task.id()).map(|shared| shared.view()) {
            Ok(None) => open.push(task),
            Ok(Some(view)) if starts_with(view.task.history(), task.history()) => {}
            Ok(Some(_)) | Err(SyncError::Quarantined { .. }) => taken.push(task.id().clone()),
            Err(error) => return Err(error),
        }
    }
    Ok((open, taken))
}

fn starts_with(history: &[Op], beginning: &[Op]) -> bool {
    history.len() >= beginning.len() && history.iter().zip(beginning).all(|(a, b)| a.id == b.id)
}

fn unmoved(cx: &Cx<'_>, update: &RefUpdate) -> Result<bool, SyncError> {
    let refs = cx.remote()?.refs(&[&update.name], cx.limit)?;
    let now = refs.into_iter().find(|(name, _)| *name == update.name).map(|(_, oid)| oid);
    Ok(now == update.expected)
}
