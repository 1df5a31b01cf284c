//! Objects of git, in memory: one pool for all machines, and for each repository what is in it and its refs.
//!
//! Identities are those of git (SHA-1 over the same bytes), so two machines that write the same commit in the same
//! second get the same id here as well.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use orch::world::{CommitInfo, NewCommit, ObjectsError, Oid, TreeChange, TreeEntry};
use sha1::{Digest, Sha1};

use super::dice::Fast;

/// One entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leaf {
    oid: Oid,
    is_dir: bool,
}

/// An object.
#[derive(Debug)]
enum Object {
    Blob(Rc<Vec<u8>>),
    Tree(BTreeMap<String, Leaf>),
    Commit { tree: Oid, info: CommitInfo },
}

/// A path, part by part, and the blob to be there; none removes what is.
type Change<'p> = (Vec<&'p str>, Option<Oid>);

/// Every object that any repository holds.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    objects: HashMap<Oid, Rc<Object>, Fast>,
}

/// One repository: which objects it has, and its refs.
#[derive(Debug, Clone, Default)]
pub struct Repo {
    present: HashSet<Oid, Fast>,
    /// Refs by full name.
    pub refs: BTreeMap<String, Oid>,
}

/// The id that git gives to an object.
#[must_use]
pub fn identity(kind: &str, bytes: &[u8]) -> Oid {
    let mut hash = Sha1::new();
    hash.update(format!("{kind} {}\0", bytes.len()));
    hash.update(bytes);
    Oid(hash.finalize().into())
}

fn encode_tree(entries: &BTreeMap<String, Leaf>) -> Vec<u8> {
    let mut sorted: Vec<(String, &String, &Leaf)> = entries
        .iter()
        .map(|(name, leaf)| (if leaf.is_dir { format!("{name}/") } else { name.clone() }, name, leaf))
        .collect();
    sorted.sort();
    let mut bytes = Vec::new();
    for (_, name, leaf) in sorted {
        bytes.extend(format!("{} {name}\0", if leaf.is_dir { "40000" } else { "100644" }).into_bytes());
        bytes.extend(leaf.oid.0);
    }
    bytes
}

impl PartialOrd for Leaf {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Leaf {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.oid, self.is_dir).cmp(&(other.oid, other.is_dir))
    }
}

impl Repo {
    /// Whether an object is here.
    #[must_use]
    pub fn has(&self, oid: Oid) -> bool {
        self.present.contains(&oid)
    }

    /// How many objects are here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether nothing is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }
}

impl Pool {
    fn get(&self, repo: &Repo, oid: Oid) -> Result<&Object, ObjectsError> {
        if !repo.has(oid) {
            return Err(ObjectsError::Missing(oid));
        }
        self.objects.get(&oid).map(|object| &**object).ok_or(ObjectsError::Missing(oid))
    }

    fn put(&mut self, repo: &mut Repo, oid: Oid, object: Object) -> Oid {
        self.objects.entry(oid).or_insert_with(|| Rc::new(object));
        repo.present.insert(oid);
        oid
    }

    /// Bytes of a blob.
    ///
    /// # Errors
    /// It is not here, or no blob.
    pub fn blob(&self, repo: &Repo, oid: Oid) -> Result<Rc<Vec<u8>>, ObjectsError> {
        match self.get(repo, oid)? {
            Object::Blob(bytes) => Ok(Rc::clone(bytes)),
            _ => Err(ObjectsError::Other(format!("{oid} is no blob"))),
        }
    }

    fn tree(&self, repo: &Repo, oid: Oid) -> Result<&BTreeMap<String, Leaf>, ObjectsError> {
        match self.get(repo, oid)? {
            Object::Tree(entries) => Ok(entries),
            _ => Err(ObjectsError::Other(format!("{oid} is no tree"))),
        }
    }

    /// Parents, message and time of a commit.
    ///
    /// # Errors
    /// It is not here, or no commit.
    pub fn info(&self, repo: &Repo, oid: Oid) -> Result<&CommitInfo, ObjectsError> {
        match self.get(repo, oid)? {
            Object::Commit { info, .. } => Ok(info),
            _ => Err(ObjectsError::Other(format!("{oid} is no commit"))),
        }
    }

    fn root(&self, repo: &Repo, commit: Oid) -> Result<Oid, ObjectsError> {
        match self.get(repo, commit)? {
            Object::Commit { tree, .. } => Ok(*tree),
            _ => Err(ObjectsError::Other(format!("{commit} is no commit"))),
        }
    }

    /// The entry at a path of a commit's tree.
    ///
    /// # Errors
    /// A tree on the way is not here.
    pub fn entry(&self, repo: &Repo, commit: Oid, path: &str) -> Result<Option<TreeEntry>, ObjectsError> {
        let mut at = Leaf { oid: self.root(repo, commit)?, is_dir: true };
        for part in path.split('/') {
            if !at.is_dir {
                return Ok(None);
            }
            match self.tree(repo, at.oid)?.get(part) {
                Some(leaf) => at = *leaf,
                None => return Ok(None),
            }
        }
        Ok(Some(TreeEntry { oid: at.oid, is_file: !at.is_dir }))
    }

    /// Names and entries of a directory of a commit's tree; none where there is no such directory.
    ///
    /// # Errors
    /// A tree on the way is not here.
    pub fn list(
        &self,
        repo: &Repo,
        commit: Oid,
        path: &str,
    ) -> Result<Vec<(String, TreeEntry)>, ObjectsError> {
        let oid = if path.is_empty() {
            self.root(repo, commit)?
        } else {
            match self.entry(repo, commit, path)? {
                Some(entry) if !entry.is_file => entry.oid,
                _ => return Ok(Vec::new()),
            }
        };
        let entries = self.tree(repo, oid)?;
        let one = |(name, leaf): (&String, &Leaf)| {
            (name.clone(), TreeEntry { oid: leaf.oid, is_file: !leaf.is_dir })
        };
        Ok(entries.iter().map(one).collect())
    }

    /// Writes blobs, trees and a commit.
    ///
    /// # Errors
    /// The base is not here.
    pub fn commit(&mut self, repo: &mut Repo, new: &NewCommit<'_>) -> Result<Oid, ObjectsError> {
        let base = new.base.map(|base| self.root(repo, base)).transpose()?;
        for parent in new.parents {
            self.info(repo, *parent)?;
        }
        let strange = |part: &str| matches!(part, "" | "." | "..") || part.eq_ignore_ascii_case(".git");
        if let Some((path, _)) = new.changes.iter().find(|(path, _)| path.split('/').any(strange)) {
            return Err(ObjectsError::Other(format!("{path:?} is no path in a tree")));
        }
        let mut changes: Vec<Change<'_>> = Vec::new();
        for (path, bytes) in new.changes {
            let oid = bytes.as_ref().map(|bytes| {
                let oid = identity("blob", bytes);
                self.put(repo, oid, Object::Blob(Rc::new(bytes.clone())))
            });
            changes.push((path.split('/').collect(), oid));
        }
        let tree = self.grow(repo, base, &changes)?.unwrap_or_else(|| {
            let empty = BTreeMap::new();
            let oid = identity("tree", &encode_tree(&empty));
            self.put(repo, oid, Object::Tree(empty))
        });
        let who = format!("{} <orch@orch.invalid> {} +0000", new.author, new.at_s);
        let mut text = format!("tree {tree}\n");
        for parent in new.parents {
            text.push_str(&format!("parent {parent}\n"));
        }
        text.push_str(&format!("author {who}\ncommitter {who}\n\n{}", new.message));
        let info = CommitInfo {
            parents: new.parents.to_vec(),
            message: new.message.to_owned(),
            author: new.author.to_owned(),
            at_s: new.at_s,
        };
        let oid = identity("commit", text.as_bytes());
        Ok(self.put(repo, oid, Object::Commit { tree, info }))
    }

    /// A tree with changes below it; `None` when nothing is left of it.
    fn grow(
        &mut self,
        repo: &mut Repo,
        base: Option<Oid>,
        changes: &[Change<'_>],
    ) -> Result<Option<Oid>, ObjectsError> {
        let mut entries = match base {
            Some(base) => self.tree(repo, base)?.clone(),
            None => BTreeMap::new(),
        };
        let mut below: BTreeMap<&str, Vec<Change<'_>>> = BTreeMap::new();
        for (path, oid) in changes {
            match (path.as_slice(), oid) {
                ([name], Some(oid)) => {
                    entries.insert((*name).to_owned(), Leaf { oid: *oid, is_dir: false });
                }
                ([name], None) => {
                    entries.remove(*name);
                }
                ([name, rest @ ..], oid) => below.entry(name).or_default().push((rest.to_vec(), *oid)),
                ([], _) => {}
            }
        }
        for (name, changes) in below {
            let base = entries.get(name).filter(|leaf| leaf.is_dir).map(|leaf| leaf.oid);
            match self.grow(repo, base, &changes)? {
                Some(oid) => entries.insert(name.to_owned(), Leaf { oid, is_dir: true }),
                None => entries.remove(name),
            };
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let oid = identity("tree", &encode_tree(&entries));
        Ok(Some(self.put(repo, oid, Object::Tree(entries))))
    }

    /// Leaves that differ between two commits.
    ///
    /// # Errors
    /// A tree is not here.
    pub fn diff(
        &self,
        repo: &Repo,
        old: Option<Oid>,
        new: Option<Oid>,
    ) -> Result<Vec<TreeChange>, ObjectsError> {
        let root = |commit: Option<Oid>| commit.map(|commit| self.root(repo, commit)).transpose();
        let mut found = Vec::new();
        self.compare(repo, "", root(old)?, root(new)?, &mut found)?;
        found.sort_by(|a: &TreeChange, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn compare(
        &self,
        repo: &Repo,
        at: &str,
        old: Option<Oid>,
        new: Option<Oid>,
        found: &mut Vec<TreeChange>,
    ) -> Result<(), ObjectsError> {
        if old == new {
            return Ok(());
        }
        let empty = BTreeMap::new();
        let tree = |oid: Option<Oid>| oid.map_or(Ok(&empty), |oid| self.tree(repo, oid));
        let (before, after) = (tree(old)?, tree(new)?);
        let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let (was, is) = (before.get(name).copied(), after.get(name).copied());
            if was == is {
                continue;
            }
            let path = if at.is_empty() { name.clone() } else { format!("{at}/{name}") };
            let sub = |leaf: Option<Leaf>| leaf.filter(|leaf| leaf.is_dir).map(|leaf| leaf.oid);
            let file = |leaf: Option<Leaf>| {
                leaf.filter(|leaf| !leaf.is_dir).map(|leaf| TreeEntry { oid: leaf.oid, is_file: true })
            };
            self.compare(repo, &path, sub(was), sub(is), found)?;
            if file(was) != file(is) {
                found.push(TreeChange { path, old: file(was), new: file(is) });
            }
        }
        Ok(())
    }

    /// Whether `ancestor` is reachable from `tip`.
    ///
    /// # Errors
    /// One of them is not here.
    pub fn is_ancestor(&self, repo: &Repo, ancestor: Oid, tip: Oid) -> Result<bool, ObjectsError> {
        self.info(repo, ancestor)?;
        let (mut open, mut seen) = (vec![tip], HashSet::<Oid, Fast>::default());
        while let Some(oid) = open.pop() {
            if oid == ancestor {
                return Ok(true);
            }
            if seen.insert(oid) {
                open.extend(&self.info(repo, oid)?.parents);
            }
        }
        Ok(false)
    }

    /// Brings a commit with everything that it reaches from one repository into another.
    pub fn copy(&self, from: &Repo, to: &mut Repo, tip: Oid) {
        let mut open = vec![tip];
        while let Some(oid) = open.pop() {
            if !from.has(oid) || !to.present.insert(oid) {
                continue;
            }
            match self.objects.get(&oid).map(|object| &**object) {
                Some(Object::Commit { tree, info }) => {
                    open.push(*tree);
                    open.extend(&info.parents);
                }
                Some(Object::Tree(entries)) => open.extend(entries.values().map(|leaf| leaf.oid)),
                Some(Object::Blob(_)) | None => {}
            }
        }
    }

    /// Forgets objects that no ref of the repository reaches (`git gc --prune=now`).
    pub fn collect(&self, repo: &mut Repo) {
        let mut kept = Repo { refs: repo.refs.clone(), ..Repo::default() };
        for tip in repo.refs.values() {
            self.copy(repo, &mut kept, *tip);
        }
        *repo = kept;
    }

    /// Forgets objects that none of these repositories holds.
    pub fn tidy<'r>(&mut self, repos: impl Iterator<Item = &'r Repo>) {
        let used: HashSet<Oid, Fast> = repos.flat_map(|repo| repo.present.iter().copied()).collect();
        self.objects.retain(|oid, _| used.contains(oid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(pool: &mut Pool, repo: &mut Repo, base: Option<Oid>, path: &str, text: Option<&str>) -> Oid {
        let changes = [(path.to_owned(), text.map(|text| text.as_bytes().to_vec()))];
        let parents: Vec<Oid> = base.into_iter().collect();
        let new =
            NewCommit { base, changes: &changes, parents: &parents, author: "a", at_s: 1, message: "m\n" };
        pool.commit(repo, &new).unwrap()
    }

    #[test]
    fn identities_are_those_of_git() {
        // `printf 'hello\n' | git hash-object --stdin`, and the empty tree that every git knows.
        assert_eq!(identity("blob", b"hello\n").to_string(), "ce013625030ba8dba906f756967f9e9ca394464a");
        let empty = identity("tree", &encode_tree(&BTreeMap::new()));
        assert_eq!(empty.to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
    }

    #[test]
    fn trees_grow_shrink_and_are_compared() {
        let (mut pool, mut repo) = (Pool::default(), Repo::default());
        let one = write(&mut pool, &mut repo, None, "tasks/aa/T-1.yaml", Some("1"));
        let two = write(&mut pool, &mut repo, Some(one), "tasks/ab/T-2.yaml", Some("2"));
        let diff = pool.diff(&repo, Some(one), Some(two)).unwrap();
        assert_eq!(diff.len(), 1);
        assert_eq!(diff[0].path, "tasks/ab/T-2.yaml");
        let three = write(&mut pool, &mut repo, Some(two), "tasks/ab/T-2.yaml", None);
        assert_eq!(pool.diff(&repo, Some(one), Some(three)).unwrap(), []);
        assert!(pool.is_ancestor(&repo, one, three).unwrap());
        assert!(!pool.is_ancestor(&repo, three, one).unwrap());
        assert!(pool.entry(&repo, two, "tasks/ab").unwrap().is_some_and(|entry| !entry.is_file));
    }

    #[test]
    fn a_collector_takes_what_no_ref_reaches_and_a_copy_brings_everything() {
        let (mut pool, mut repo) = (Pool::default(), Repo::default());
        let one = write(&mut pool, &mut repo, None, "a/b", Some("1"));
        let two = write(&mut pool, &mut repo, Some(one), "a/c", Some("2"));
        repo.refs.insert("refs/heads/x".to_owned(), one);
        let mut other = Repo::default();
        pool.copy(&repo, &mut other, two);
        assert_eq!(other.len(), repo.len());
        pool.collect(&mut repo);
        assert!(repo.has(one) && !repo.has(two));
        assert!(matches!(pool.info(&repo, two), Err(ObjectsError::Missing(_))));
    }
}
