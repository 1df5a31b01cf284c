//! Writing: a tree on top of another one, a commit, and the compare-and-swap of a ref.

use std::collections::BTreeMap;
use std::path::Path;

use git2::build::TreeUpdateBuilder;
use git2::{ErrorClass, ErrorCode, FileMode, ObjectType, Repository, Signature, Time, Tree};

use crate::world::{NewCommit, ObjectsError, Oid};

use super::{about, is_absence, missing_somewhere, other, ours, raw};

/// Commits need an address; this one can belong to nobody.
const EMAIL: &str = "orch@orch.invalid";

/// Writes the blobs and the trees that contain them; of two changes of one path the last one counts.
/// Removing what is not there changes nothing.
pub(super) fn tree(
    repository: &Repository,
    base: Option<&Tree<'_>>,
    changes: &[(String, Option<Vec<u8>>)],
) -> Result<git2::Oid, ObjectsError> {
    let last: BTreeMap<&str, Option<&[u8]>> =
        changes.iter().map(|(path, bytes)| (path.as_str(), bytes.as_deref())).collect();
    let mut builder = TreeUpdateBuilder::new();
    for (path, bytes) in last {
        if !is_writable(path) {
            return Err(ObjectsError::Other(format!("{path:?} is no path for a file in a tree")));
        }
        match bytes {
            Some(bytes) => {
                let blob = repository.blob(bytes).map_err(other)?;
                builder.upsert(path, blob, FileMode::Blob);
            }
            None if is_there(base, path)? => {
                builder.remove(path);
            }
            None => {}
        }
    }
    match base {
        Some(base) => builder.create_updated(repository, base),
        None => empty(repository).and_then(|empty| builder.create_updated(repository, &empty)),
    }
    .map_err(missing_somewhere)
}

/// Writes the commit object; no ref moves.
pub(super) fn commit(
    repository: &Repository,
    tree: git2::Oid,
    commit: &NewCommit<'_>,
) -> Result<Oid, ObjectsError> {
    let tree = repository.find_tree(tree).map_err(about(ours(tree)))?;
    let parents = commit
        .parents
        .iter()
        .map(|parent| repository.find_commit(raw(*parent)).map_err(about(*parent)))
        .collect::<Result<Vec<_>, _>>()?;
    let parents: Vec<_> = parents.iter().collect();
    let who = signature(commit.author, commit.at_s).map_err(other)?;
    // A zero byte would end the message for every reader of the object.
    let message = commit.message.replace('\0', "");
    let written = repository.commit(None, &who, &who, &message, &tree, &parents);
    written.map(ours).map_err(other)
}

/// Compare-and-swap under the ref's own lock file, which git respects as well.
///
/// The library's `reference(…, force = false)` looks before it locks, so two processes may both create;
/// a transaction locks first.
pub(super) fn swap(
    repository: &Repository,
    name: &str,
    old: Option<Oid>,
    new: Option<Oid>,
) -> Result<(), ObjectsError> {
    let mut transaction = repository.transaction().map_err(other)?;
    transaction.lock_ref(name).map_err(other)?;
    let now = match repository.find_reference(name) {
        Ok(reference) => match reference.target() {
            Some(target) => Some(ours(target)),
            None => return Err(ObjectsError::Changed(name.to_owned())),
        },
        Err(error) if error.code() == ErrorCode::NotFound => None,
        Err(error) => return Err(other(error)),
    };
    if now != old {
        return Err(ObjectsError::Changed(name.to_owned()));
    }
    match new {
        Some(new) if !repository.odb().map_err(other)?.exists(raw(new)) => {
            return Err(ObjectsError::Missing(new));
        }
        Some(new) => {
            let who = signature("orch", 0).map_err(other)?;
            transaction.set_target(name, raw(new), Some(&who), "orch").map_err(other)?;
        }
        None if now.is_none() => return Ok(()),
        None => transaction.remove(name).map_err(other)?,
    }
    transaction.commit().map_err(other)
}

/// The empty tree as an object of this repository.
fn empty(repository: &Repository) -> Result<Tree<'_>, git2::Error> {
    let oid = repository.treebuilder(None)?.write()?;
    repository.find_tree(oid)
}

/// Whether the base has a leaf at the path; a directory of that name is not ours to remove.
fn is_there(base: Option<&Tree<'_>>, path: &str) -> Result<bool, ObjectsError> {
    match base.map(|base| base.get_path(Path::new(path))) {
        None => Ok(false),
        Some(Ok(entry)) => Ok(entry.kind() != Some(ObjectType::Tree)),
        Some(Err(error)) if is_absence(&error, ErrorClass::Tree) => Ok(false),
        Some(Err(error)) => Err(missing_somewhere(error)),
    }
}

/// Relative, without empty, special or secret parts. (The library checks more, but panics at a zero byte.)
fn is_writable(path: &str) -> bool {
    let fine = |part: &str| !matches!(part, "" | "." | "..") && !part.eq_ignore_ascii_case(".git");
    !path.contains('\0') && path.split('/').all(fine)
}

/// Commit headers end at a line break and bracket the address; a name that keeps nothing gets ours.
fn signature(author: &str, at_s: i64) -> Result<Signature<'static>, git2::Error> {
    let odd = |c: char| c.is_control() || c == '<' || c == '>';
    let name = author.replace(odd, "");
    let name = match name.trim() {
        "" => "orch",
        name => name,
    };
    let time = Time::new(at_s, 0);
    // The library also trims punctuation and refuses what is empty then.
    Signature::new(name, EMAIL, &time).or_else(|_| Signature::new("orch", EMAIL, &time))
}
