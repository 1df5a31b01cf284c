//! Files of the state branch that are no tasks: settings, policy, prompts.
//!
//! They have no operations, so they are compared as wholes: a side that did not change takes the other's
//! version; when both changed, the branch's takes its place, the local one is kept apart and reported.

use std::collections::BTreeSet;

use crate::protocol::id::TaskId;
use crate::store::error::StoreError;
use crate::store::layout;
use crate::store::parse::YamlError;
use crate::world::{Oid, Stat, TreeEntry};

use super::context::{Cx, SyncError};
use super::names::TRACKING_BRANCH;
use super::{rejected, valid};

/// Shared files by name; everything below `prompts/` belongs to them too.
pub const SHARED: [&str; 5] = [".gitattributes", "agents.yaml", "orch.yaml", "policy.yaml", "workflow.yaml"];
const FILE_MAX: u64 = 256 * 1024;

/// A file of a commit to be: its path and its bytes, `None` to remove it.
pub type FileChange = (String, Option<Vec<u8>>);

/// Whether a path of the branch is a shared file.
#[must_use]
pub fn is_shared(path: &str) -> bool {
    SHARED.contains(&path)
        || path.strip_prefix("prompts/").is_some_and(|name| {
            name.ends_with(".md") && !name.contains('/') && !name.starts_with('.') && name.len() < 200
        })
}

/// Takes over shared files that changed between two commits of the branch; gives the tasks that changed.
/// Entries that are neither are reported once and never followed.
///
/// # Errors
/// Local files or the repository failed.
pub fn absorb(
    cx: &Cx<'_>,
    old: Option<Oid>,
    new: Option<Oid>,
    problems: &mut Vec<String>,
) -> Result<BTreeSet<TaskId>, SyncError> {
    let mut tasks = BTreeSet::new();
    if old == new {
        return Ok(tasks);
    }
    for change in cx.world.objects.diff(old, new)? {
        if let Some(Ok(id)) = layout::parse_tree_path(&change.path) {
            tasks.insert(id);
        } else if !super::sessions::absorb(cx, &change, problems)? && is_shared(&change.path) {
            problems.extend(take_over(cx, &change.path, change.old, change.new)?);
        }
    }
    Ok(tasks)
}

fn take_over(
    cx: &Cx<'_>,
    path: &str,
    old: Option<TreeEntry>,
    new: Option<TreeEntry>,
) -> Result<Option<String>, SyncError> {
    let Some(new) = new.filter(|entry| entry.is_file) else { return Ok(None) };
    let full = cx.store.layout.state().join(path);
    let local = cx.world.disk.read(&full, FILE_MAX).ok();
    let local_oid = local.as_deref().map(|bytes| cx.world.objects.hash_blob(bytes));
    if local_oid == Some(new.oid) {
        return Ok(None);
    }
    let theirs = cx.world.objects.blob(new.oid)?;
    let changed_here = local_oid != old.map(|entry| entry.oid);
    // Both sides changed it: the branch's version counts, the one from here is kept and reported.
    let kept = match local.filter(|_| changed_here) {
        Some(mine) => Some(rejected::keep_file(cx, path, &mine)?),
        None => None,
    };
    cx.store.write_durable(cx.world, &full, &theirs)?;
    Ok(kept)
}

/// Shared files that this machine puts back when they vanish. Without `orch.yaml` there is no queue to do so.
const RESTORED: [&str; 4] = [".gitattributes", "agents.yaml", "policy.yaml", "workflow.yaml"];

/// The shared files besides `orch.yaml`, each with a word for its state on disk; `None` where it is not there.
///
/// # Errors
/// The disk does not say.
pub fn seen(cx: &Cx<'_>) -> Result<Vec<(&'static str, Option<String>)>, SyncError> {
    let state = cx.store.layout.state();
    let stats = cx.world.disk.stat_many(state, &RESTORED);
    let stats = stats.map_err(|source| StoreError::Io { step: "stat", path: state.to_owned(), source })?;
    Ok(RESTORED.into_iter().zip(stats.into_iter().map(|stat| stat.as_ref().map(token))).collect())
}

/// Whether the branch, as this machine knows it, has the file.
///
/// # Errors
/// The repository failed.
pub fn is_known(cx: &Cx<'_>, path: &str) -> Result<bool, SyncError> {
    Ok(on_branch(cx, path)?.is_some())
}

/// What is wrong with a shared file as it is here, and where.
///
/// # Errors
/// It cannot be read.
pub fn problem(cx: &Cx<'_>, path: &str) -> std::io::Result<Option<YamlError>> {
    let bytes = cx.world.disk.read(&cx.store.layout.state().join(path), FILE_MAX)?;
    Ok(valid::problem(path, &bytes))
}

fn token(stat: &Stat) -> String {
    format!("{} {} {}", stat.size, stat.mtime_ns, stat.inode)
}

/// Puts a shared file back if it is not here and the branch has it; says whether. Whoever calls holds the lock of
/// fetches, which put newer versions in place.
///
/// # Errors
/// Local files or the repository failed.
pub fn restore(cx: &Cx<'_>, path: &str) -> Result<bool, SyncError> {
    let full = cx.store.layout.state().join(path);
    let stat = cx.world.disk.stat(&full);
    let stat = stat.map_err(|source| StoreError::Io { step: "stat", path: full.clone(), source })?;
    let (None, Some(oid)) = (stat, on_branch(cx, path)?) else { return Ok(false) };
    cx.store.write_durable(cx.world, &full, &cx.world.objects.blob(oid)?)?;
    Ok(true)
}

/// Whether a shared file here is the one on the branch, as this machine knows it.
///
/// # Errors
/// The repository failed.
pub fn agrees(cx: &Cx<'_>, path: &str) -> Result<bool, SyncError> {
    let local = cx.world.disk.read(&cx.store.layout.state().join(path), FILE_MAX).ok();
    Ok(on_branch(cx, path)? == local.as_deref().map(|bytes| cx.world.objects.hash_blob(bytes)))
}

/// The file on the branch as this machine knows it.
fn on_branch(cx: &Cx<'_>, path: &str) -> Result<Option<Oid>, SyncError> {
    let Some(head) = known_head(cx)? else { return Ok(None) };
    let entry = cx.world.objects.entry(head, path)?;
    Ok(entry.filter(|entry| entry.is_file).map(|entry| entry.oid))
}

/// The branch as this machine knows it.
fn known_head(cx: &Cx<'_>) -> Result<Option<Oid>, SyncError> {
    let shared = match &cx.world.remote {
        Some(_) => cx.world.objects.get_ref(TRACKING_BRANCH)?,
        None => None,
    };
    Ok(match shared {
        Some(head) => Some(head),
        None => cx.world.objects.get_ref(&cx.names.branch)?,
    })
}

/// Shared files that differ from the branch at `head` and are to be published: those that this machine
/// changed since it last agreed with the branch.
///
/// # Errors
/// Local files or the repository failed.
pub fn waiting(cx: &Cx<'_>, head: Option<Oid>) -> Result<Vec<FileChange>, SyncError> {
    let mut found = Vec::new();
    let prompts = cx.world.disk.list(&cx.store.layout.state().join("prompts")).unwrap_or_default();
    let prompts = prompts.into_iter().map(|(name, _)| format!("prompts/{name}"));
    for path in SHARED.iter().map(|name| (*name).to_owned()).chain(prompts) {
        if !is_shared(&path) {
            continue;
        }
        let full = cx.store.layout.state().join(&path);
        let Some(stat) = cx.world.disk.stat(&full).ok().flatten() else { continue };
        let token = token(&stat);
        if cx.store.settled(&path)? == Some(token) {
            continue;
        }
        let Ok(bytes) = cx.world.disk.read(&full, FILE_MAX) else { continue };
        let known = match head {
            Some(head) => cx.world.objects.entry(head, &path)?,
            None => None,
        };
        if known.is_some_and(|entry| !entry.is_file) {
            // A link or a directory in its place on the branch is nothing that a file could replace.
            continue;
        }
        let differs = known.map(|entry| entry.oid) != Some(cx.world.objects.hash_blob(&bytes));
        // What nobody could use stays here until it is mended; every command names it.
        if differs && valid::problem(&path, &bytes).is_none() {
            found.push((path, Some(bytes)));
        }
    }
    Ok(found)
}

/// Remembers that the shared files agree with the branch, so that the next command need not read them.
///
/// # Errors
/// Local files or the repository failed.
pub fn published(cx: &Cx<'_>, head: Oid) -> Result<(), SyncError> {
    for path in SHARED {
        let full = cx.store.layout.state().join(path);
        let Some(stat) = cx.world.disk.stat(&full).ok().flatten() else { continue };
        let token = token(&stat);
        if cx.store.settled(path)?.as_ref() == Some(&token) {
            continue;
        }
        let Ok(bytes) = cx.world.disk.read(&full, FILE_MAX) else { continue };
        let known = cx.world.objects.entry(head, path)?.map(|entry| entry.oid);
        if known == Some(cx.world.objects.hash_blob(&bytes)) {
            cx.store.settle(path, &token)?;
        }
    }
    Ok(())
}
