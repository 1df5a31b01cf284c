//! Whether a branch of the remote is a queue's: a branch of somebody's code is left alone.

use crate::store::layout;
use crate::world::{Objects, ObjectsError, Oid};

use super::chain;
use super::context::{Cx, SyncError};

/// Names of files that are told.
const SHOWN: usize = 4;
/// The line of `.gitattributes` that orch writes keeps git from merging.
const NO_MERGE: &str = "-merge";
/// Where the settings of a queue say that they are ours.
const FORMAT: &str = "format:";

/// Refuses a branch that is no queue's, before anything of it is taken over or put onto it.
///
/// # Errors
/// [`SyncError::NotAQueue`]; the local repository failed.
pub fn refuse(cx: &Cx<'_>, tip: Oid) -> Result<(), SyncError> {
    if is_queue(&*cx.world.objects, tip)? {
        return Ok(());
    }
    Err(SyncError::NotAQueue {
        name: cx.names.branch.clone(),
        url: cx.remote()?.url(),
        holds: holds(&*cx.world.objects, tip)?,
    })
}

/// A queue's branch shows it at its tip, or did in its first commit.
///
/// The rule must never refuse a real queue, however somebody's commits have treated it. Where `orch.yaml` was deleted
/// tasks still tell; where all of it was deleted, the first commit of the branch does, because history only grows and
/// orch begins a branch with its own files and no parent. A branch of code has neither.
fn is_queue(objects: &dyn Objects, tip: Oid) -> Result<bool, ObjectsError> {
    if shows_queue(objects, tip)? {
        return Ok(true);
    }
    match chain::links(objects, tip)?.first() {
        Some(root) if root.commit != tip => shows_queue(objects, root.commit),
        _ => Ok(false),
    }
}

/// Settings that say that they are ours, because other programs may have a file of this name, or a task in its place.
fn shows_queue(objects: &dyn Objects, commit: Oid) -> Result<bool, ObjectsError> {
    let says = |path: &str, word: &str| -> Result<bool, ObjectsError> {
        let Some(entry) = objects.entry(commit, path)?.filter(|entry| entry.is_file) else {
            return Ok(false);
        };
        let bytes = objects.blob(entry.oid)?;
        Ok(String::from_utf8_lossy(&bytes).contains(word))
    };
    if objects.entry(commit, "orch.yaml")?.is_some_and(|entry| entry.is_file)
        && (says("orch.yaml", FORMAT)? || says(".gitattributes", NO_MERGE)?)
    {
        return Ok(true);
    }
    let all = objects.diff(None, Some(commit))?;
    Ok(all.iter().any(|change| matches!(layout::parse_tree_path(&change.path), Some(Ok(_)))))
}

/// What is on a branch, for a person who is to recognise it.
fn holds(objects: &dyn Objects, tip: Oid) -> Result<String, ObjectsError> {
    let mut names: Vec<String> = objects
        .diff(None, Some(tip))?
        .into_iter()
        .map(|change| change.path.split('/').next().unwrap_or_default().to_owned())
        .collect();
    names.dedup();
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let files = match names.len() {
        0 => "no files".to_owned(),
        many if many > SHOWN => format!("{shown} and {} more", many - SHOWN),
        _ => shown,
    };
    let message = objects.commit_info(tip)?.message;
    Ok(format!("{files}; its last commit says \"{}\"", message.lines().next().unwrap_or_default()))
}
