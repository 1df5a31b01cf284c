//! The leaves in which two trees differ, found by walking both at once. The library's own diff opens
//! sub-trees that are equal and is ten times slower with 100,000 tasks.

use std::cmp::Ordering;

use git2::{ObjectType, Repository, Tree};

use crate::world::{ObjectsError, TreeChange, TreeEntry};

use super::{about, ours};

/// Deeper sub-trees are reported like one strange leaf. Ours have at most four levels.
const DEEPEST: usize = 16;

/// A tree that unfolds into more leaves was made to fill our memory: each level may name one sub-tree
/// many times. A queue has at most a million tasks.
const MOST_CHANGES: usize = 4_000_000;

/// The differing leaves, sorted by path; `None` is the empty tree.
pub(super) fn trees(
    repository: &Repository,
    old: Option<&Tree<'_>>,
    new: Option<&Tree<'_>>,
) -> Result<Vec<TreeChange>, ObjectsError> {
    let mut walk = Walk { repository, path: String::new(), depth: 0, found: Vec::new() };
    walk.compare(old, new)?;
    walk.found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(pair_up(walk.found))
}

/// A leaf as the seam describes it. An entry under a name that no honest writer uses is never a file, so
/// that nobody opens it under the path that results.
pub(super) fn leaf(entry: &git2::TreeEntry<'_>) -> TreeEntry {
    let plain = entry.filemode() & 0o170_000 == 0o100_000;
    TreeEntry { oid: ours(entry.id()), is_file: plain && is_honest(entry.name_bytes()) }
}

/// A name that means one step down and survives the conversion to text.
fn is_honest(name: &[u8]) -> bool {
    let special = name == b"." || name == b".." || name.eq_ignore_ascii_case(b".git");
    !special && !name.contains(&b'/') && std::str::from_utf8(name).is_ok()
}

#[derive(Clone, Copy)]
enum Side {
    Old,
    New,
}

struct Walk<'r> {
    repository: &'r Repository,
    /// Path of the current tree, with a slash at its end unless it is the root.
    path: String,
    depth: usize,
    found: Vec<TreeChange>,
}

impl<'r> Walk<'r> {
    /// Goes through two lists that are in git's order. In a hostile tree they are not: then equal
    /// entries may be reported as changes, which is true enough.
    fn compare(&mut self, old: Option<&Tree<'_>>, new: Option<&Tree<'_>>) -> Result<(), ObjectsError> {
        let (mut i, mut j) = (0, 0);
        loop {
            let before = old.and_then(|tree| tree.get(i));
            let after = new.and_then(|tree| tree.get(j));
            match order(before.as_ref(), after.as_ref()) {
                None => return Ok(()),
                Some((Ordering::Less, one, _)) => {
                    self.one_side(one, Side::Old)?;
                    i += 1;
                }
                Some((Ordering::Greater, _, one)) => {
                    self.one_side(one, Side::New)?;
                    j += 1;
                }
                Some((Ordering::Equal, before, after)) => {
                    self.both(before, after)?;
                    (i, j) = (i + 1, j + 1);
                }
            }
        }
    }

    fn both(
        &mut self,
        before: &git2::TreeEntry<'_>,
        after: &git2::TreeEntry<'_>,
    ) -> Result<(), ObjectsError> {
        if before.id() == after.id() && before.filemode() == after.filemode() {
            return Ok(());
        }
        if !self.descends(before) || !self.descends(after) {
            return self.report(before, Some(leaf(before)), Some(leaf(after)));
        }
        let (old, new) = (self.tree(before)?, self.tree(after)?);
        self.below(before, |walk| walk.compare(Some(&old), Some(&new)))
    }

    fn one_side(&mut self, entry: &git2::TreeEntry<'_>, side: Side) -> Result<(), ObjectsError> {
        if !self.descends(entry) {
            return match side {
                Side::Old => self.report(entry, Some(leaf(entry)), None),
                Side::New => self.report(entry, None, Some(leaf(entry))),
            };
        }
        let tree = self.tree(entry)?;
        self.below(entry, |walk| match side {
            Side::Old => walk.compare(Some(&tree), None),
            Side::New => walk.compare(None, Some(&tree)),
        })
    }

    /// Whether an entry is a sub-tree that is walked into.
    fn descends(&self, entry: &git2::TreeEntry<'_>) -> bool {
        entry.kind() == Some(ObjectType::Tree) && self.depth < DEEPEST && is_honest(entry.name_bytes())
    }

    fn tree(&self, entry: &git2::TreeEntry<'_>) -> Result<Tree<'r>, ObjectsError> {
        self.repository.find_tree(entry.id()).map_err(about(ours(entry.id())))
    }

    fn below(
        &mut self,
        entry: &git2::TreeEntry<'_>,
        walk: impl FnOnce(&mut Self) -> Result<(), ObjectsError>,
    ) -> Result<(), ObjectsError> {
        let length = self.path.len();
        self.path.push_str(&String::from_utf8_lossy(entry.name_bytes()));
        self.path.push('/');
        self.depth += 1;
        let done = walk(self);
        self.depth -= 1;
        self.path.truncate(length);
        done
    }

    fn report(
        &mut self,
        entry: &git2::TreeEntry<'_>,
        old: Option<TreeEntry>,
        new: Option<TreeEntry>,
    ) -> Result<(), ObjectsError> {
        if self.found.len() >= MOST_CHANGES {
            let text = format!("more than {MOST_CHANGES} files differ; this is no queue of orch's");
            return Err(ObjectsError::Other(text));
        }
        let name = String::from_utf8_lossy(entry.name_bytes());
        let path = format!("{}{name}", self.path);
        self.found.push(TreeChange { path, old, new });
        Ok(())
    }
}

/// Which of the next two entries comes first in git's order (a tree counts as if its name ended with
/// a slash); `None` at the end of both. The entry that is not meant repeats the other one.
fn order<'a, 't>(
    before: Option<&'a git2::TreeEntry<'t>>,
    after: Option<&'a git2::TreeEntry<'t>>,
) -> Option<(Ordering, &'a git2::TreeEntry<'t>, &'a git2::TreeEntry<'t>)> {
    match (before, after) {
        (None, None) => None,
        (Some(one), None) => Some((Ordering::Less, one, one)),
        (None, Some(one)) => Some((Ordering::Greater, one, one)),
        (Some(a), Some(b)) => Some((sort_key(a).cmp(sort_key(b)), a, b)),
    }
}

fn sort_key<'a>(entry: &'a git2::TreeEntry<'_>) -> impl Iterator<Item = u8> + 'a {
    let slash = (entry.kind() == Some(ObjectType::Tree)).then_some(b'/');
    entry.name_bytes().iter().copied().chain(slash)
}

/// A path whose removal and addition were met apart (a link that became an unopened tree) is one change.
fn pair_up(found: Vec<TreeChange>) -> Vec<TreeChange> {
    let mut paired: Vec<TreeChange> = Vec::with_capacity(found.len());
    for change in found {
        match paired.last_mut() {
            Some(last) if last.path == change.path && last.new.is_none() && change.old.is_none() => {
                last.new = change.new;
            }
            Some(last) if last.path == change.path && last.old.is_none() && change.new.is_none() => {
                last.old = change.old;
            }
            _ => paired.push(change),
        }
    }
    paired
}
