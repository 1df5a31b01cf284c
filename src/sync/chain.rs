//! Walking history: the commits of a branch from its root, and whether everything that they name is here.

use std::collections::HashSet;

use crate::store::layout;
use crate::world::{Objects, ObjectsError, Oid};

use super::files;

/// One commit of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The commit.
    pub commit: Oid,
    /// Its parents; the chain goes on with the first.
    pub parents: Vec<Oid>,
}

/// The commits from the root to `tip`, along first parents, oldest first.
///
/// # Errors
/// A commit is missing or cannot be read.
pub fn links(objects: &dyn Objects, tip: Oid) -> Result<Vec<Link>, ObjectsError> {
    let mut found = Vec::new();
    let mut at = Some(tip);
    while let Some(commit) = at {
        let parents = objects.commit_info(commit)?.parents;
        at = parents.first().copied();
        found.push(Link { commit, parents });
    }
    found.reverse();
    Ok(found)
}

/// The newest commit that two chains share.
///
/// # Errors
/// As [`links`].
pub fn common(objects: &dyn Objects, a: Oid, b: Oid) -> Result<Option<Oid>, ObjectsError> {
    let known: HashSet<Oid> = links(objects, a)?.into_iter().map(|link| link.commit).collect();
    let newest = links(objects, b)?.into_iter().rev().find(|link| known.contains(&link.commit));
    Ok(newest.map(|link| link.commit))
}

/// Whether a path may stand on the state branch.
#[must_use]
pub fn is_ours(path: &str) -> bool {
    let below = ["sessions/", "events/"].iter().any(|dir| path.starts_with(dir));
    below || files::is_shared(path) || matches!(layout::parse_tree_path(path), Some(Ok(_)))
}

/// What local refs need and the repository does not have, or has in a state that cannot be read; nothing
/// when it is whole. Every commit of each chain is looked at, and every file of each tip is read.
///
/// # Errors
/// The refs themselves cannot be listed.
pub fn damage(objects: &dyn Objects) -> Result<Vec<String>, ObjectsError> {
    let mut found = Vec::new();
    let mut read = HashSet::new();
    let mut walked = HashSet::new();
    for (name, tip) in objects.refs("refs/")? {
        if let Err(error) = look(objects, tip, &mut walked, &mut read) {
            found.push(format!("{name}: {error}"));
        }
    }
    Ok(found)
}

fn look(
    objects: &dyn Objects,
    tip: Oid,
    walked: &mut HashSet<Oid>,
    read: &mut HashSet<Oid>,
) -> Result<(), ObjectsError> {
    for change in objects.diff(None, Some(tip))? {
        let Some(entry) = change.new.filter(|entry| entry.is_file && read.insert(entry.oid)) else {
            continue;
        };
        objects.blob(entry.oid)?;
    }
    let mut at = Some(tip);
    while let Some(commit) = at.filter(|commit| walked.insert(*commit)) {
        let before = objects.commit_info(commit)?.parents.first().copied();
        for entry in objects.diff(before, Some(commit))?.iter().filter_map(|change| change.new) {
            if entry.is_file && !objects.has(entry.oid) {
                return Err(ObjectsError::Missing(entry.oid));
            }
        }
        at = before;
    }
    Ok(())
}
