//! The local repository `state/.git` through `git2`: objects and refs, no index, no work tree, no network.
//!
//! Trees are written from memory on top of an existing tree. Trees of other machines are hostile until
//! the contrary is shown: links, gitlinks and misnamed entries are reported and never followed.

mod diff;
mod transfer;
mod write;

pub use transfer::TRANSFER;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use git2::{ErrorClass, ErrorCode, ObjectType, Repository, RepositoryInitOptions};

use crate::world::clock::RealClock;
use crate::world::disk::RealDisk;
use crate::world::git_command::Git;
use crate::world::{
    Clock, CommitInfo, Disk, FileKind, NewCommit, Objects, ObjectsError, Oid, Pressure, TreeChange, TreeEntry,
};

/// How long a lock of another process on a ref is waited for, and in which steps: git holds one for
/// well below a millisecond.
const LOCK_STEPS: u32 = 40;
const LOCK_STEP: Duration = Duration::from_millis(2);

/// With this git itself takes no object away, whoever runs `git gc --prune=now` here: it would take what a
/// command has just written and is about to reference. Every git since 2.7 heeds it in every repository.
const PRECIOUS: &str = "extensions.preciousObjects";

/// `git gc` packs a million objects in well below a minute.
const LONGEST_MAINTENANCE: Duration = Duration::from_secs(600);

/// How long a lock file must stay the same to be called abandoned: one second, in steps.
const ABANDONED_STEPS: u32 = 40;
const ABANDONED_STEP: Duration = Duration::from_millis(25);

/// What the repository needs from outside the library.
pub struct Outside {
    /// Lists directories of the repository, for [`Objects::pressure`].
    pub disk: Box<dyn Disk>,
    /// Waits for a moment while a ref is locked.
    pub clock: Box<dyn Clock>,
    /// Runs `git gc` on the repository; the error is one or few lines of text.
    pub collect_garbage: Box<dyn Fn() -> Result<(), String>>,
}

impl Outside {
    /// This machine's disk, clock and `git`, for the repository at `git_dir`.
    #[must_use]
    pub fn real(git_dir: &Path) -> Self {
        let git_dir = git_dir.to_owned();
        let collect = move || Git::default().collect_garbage(&git_dir, LONGEST_MAINTENANCE);
        Outside {
            disk: Box::new(RealDisk),
            clock: Box::new(RealClock),
            collect_garbage: Box::new(move || collect().map_err(|error| error.to_string())),
        }
    }
}

/// An open local repository. One per thread.
pub struct GitObjects {
    repository: Repository,
    outside: Outside,
}

impl fmt::Debug for GitObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GitObjects").field(&self.repository.path()).finish()
    }
}

impl GitObjects {
    /// Opens the repository whose git directory this is.
    ///
    /// # Errors
    ///
    /// [`ObjectsError::Other`] when nothing is there, it belongs to another user, or its format is one
    /// that the library does not read.
    pub fn open(git_dir: &Path, outside: Outside) -> Result<Self, ObjectsError> {
        configure_library();
        let repository = Repository::open_bare(git_dir).map_err(|error| unusable(git_dir, &error))?;
        Ok(GitObjects { repository, outside })
    }

    /// Creates the repository (bare, SHA-1, refs as files) with `HEAD` on `branch` (a full ref name), or
    /// completes one that was half created. It never maintains itself: orch does, under its own lock.
    ///
    /// # Errors
    ///
    /// [`ObjectsError::Other`] when the directory cannot be written.
    pub fn init(git_dir: &Path, branch: &str, outside: Outside) -> Result<Self, ObjectsError> {
        configure_library();
        let mut options = RepositoryInitOptions::new();
        options.bare(true).mkpath(true).external_template(false).initial_head(branch);
        let create = || -> Result<Repository, git2::Error> {
            let repository = Repository::init_opts(git_dir, &options)?;
            let mut config = repository.config()?;
            config.set_bool("core.bare", true)?;
            config.set_bool("core.logAllRefUpdates", false)?;
            config.set_i32("gc.auto", 0)?;
            config.set_bool("maintenance.auto", false)?;
            config.set_bool(PRECIOUS, true)?;
            // One that was begun for another branch keeps its `HEAD`; people look at the queue with `git log`.
            if repository.find_reference("HEAD")?.symbolic_target()? != Some(branch) {
                repository.set_head(branch)?;
            }
            Ok(repository)
        };
        let made = match create() {
            Err(error)
                if error.code() == ErrorCode::Locked
                    && break_abandoned(&outside, &git_dir.join("config.lock")) =>
            {
                create()
            }
            other => other,
        };
        let repository = made.map_err(|error| unusable(git_dir, &error))?;
        Ok(GitObjects { repository, outside })
    }

    /// The git directory.
    #[must_use]
    pub fn git_dir(&self) -> &Path {
        self.repository.path()
    }

    fn tree_of(&self, commit: Oid) -> Result<git2::Tree<'_>, ObjectsError> {
        let found = self.repository.find_commit(raw(commit)).map_err(about(commit))?;
        let tree = found.tree_id();
        self.repository.find_tree(tree).map_err(about(ours(tree)))
    }

    fn set_precious(&self, precious: bool) -> Result<(), ObjectsError> {
        let set = || self.repository.config()?.set_bool(PRECIOUS, precious);
        set().map_err(other)
    }

    /// Names in a directory of the repository.
    fn names(&self, directory: &str) -> Result<impl Iterator<Item = String>, ObjectsError> {
        let path: PathBuf = self.repository.path().join(directory);
        let found = self.outside.disk.list(&path).map_err(|error| ObjectsError::Other(error.to_string()))?;
        Ok(found.into_iter().filter(|(_, kind)| *kind == FileKind::File).map(|(name, _)| name))
    }

    /// Tries again for a moment while another process holds the lock.
    fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<T, ObjectsError>) -> Result<T, ObjectsError> {
        for _ in 0..LOCK_STEPS {
            match attempt() {
                Err(ObjectsError::Locked(_)) => self.outside.clock.sleep(LOCK_STEP),
                other => return other,
            }
        }
        attempt()
    }
}

impl Objects for GitObjects {
    fn blob(&self, oid: Oid) -> Result<Vec<u8>, ObjectsError> {
        let blob = self.repository.find_blob(raw(oid)).map_err(about(oid))?;
        Ok(blob.content().to_vec())
    }

    fn hash_blob(&self, bytes: &[u8]) -> Oid {
        let hashed = git2::Oid::hash_object(ObjectType::Blob, bytes);
        ours(hashed.expect("hashing bytes in memory has no way to fail"))
    }

    fn entry(&self, commit: Oid, path: &str) -> Result<Option<TreeEntry>, ObjectsError> {
        let tree = self.tree_of(commit)?;
        match tree.get_path(Path::new(path)) {
            Ok(entry) => Ok(Some(diff::leaf(&entry))),
            Err(error) if is_absence(&error, ErrorClass::Tree) => Ok(None),
            Err(error) => Err(missing_somewhere(error)),
        }
    }

    fn list(&self, commit: Oid, path: &str) -> Result<Vec<(String, TreeEntry)>, ObjectsError> {
        let tree = self.tree_of(commit)?;
        let entry = match tree.get_path(Path::new(path)) {
            Ok(entry) if entry.kind() == Some(ObjectType::Tree) => entry,
            Ok(_) => return Ok(Vec::new()),
            Err(error) if is_absence(&error, ErrorClass::Tree) => return Ok(Vec::new()),
            Err(error) => return Err(missing_somewhere(error)),
        };
        let below = self.repository.find_tree(entry.id()).map_err(about(ours(entry.id())))?;
        // A name that is no text cannot be one of ours; a diff reports it.
        Ok(below
            .iter()
            .filter_map(|entry| Some((entry.name().ok()?.to_owned(), diff::leaf(&entry))))
            .collect())
    }

    fn diff(&self, old: Option<Oid>, new: Option<Oid>) -> Result<Vec<TreeChange>, ObjectsError> {
        if old == new {
            return Ok(Vec::new());
        }
        let old = old.map(|commit| self.tree_of(commit)).transpose()?;
        let new = new.map(|commit| self.tree_of(commit)).transpose()?;
        diff::trees(&self.repository, old.as_ref(), new.as_ref())
    }

    fn commit(&self, commit: &NewCommit<'_>) -> Result<Oid, ObjectsError> {
        let base = commit.base.map(|base| self.tree_of(base)).transpose()?;
        let tree = write::tree(&self.repository, base.as_ref(), commit.changes)?;
        write::commit(&self.repository, tree, commit)
    }

    fn commit_info(&self, commit: Oid) -> Result<CommitInfo, ObjectsError> {
        let found = self.repository.find_commit(raw(commit)).map_err(about(commit))?;
        Ok(CommitInfo {
            parents: found.parent_ids().map(ours).collect(),
            message: String::from_utf8_lossy(found.message_raw_bytes()).into_owned(),
            author: String::from_utf8_lossy(found.author().name_bytes()).into_owned(),
            at_s: found.time().seconds(),
        })
    }

    fn has(&self, oid: Oid) -> bool {
        self.repository.odb().is_ok_and(|odb| odb.exists(raw(oid)))
    }

    fn is_ancestor(&self, ancestor: Oid, tip: Oid) -> Result<bool, ObjectsError> {
        for oid in [tip, ancestor] {
            self.repository.find_commit(raw(oid)).map_err(about(oid))?;
        }
        if ancestor == tip {
            return Ok(true);
        }
        self.repository.graph_descendant_of(raw(tip), raw(ancestor)).map_err(about(tip))
    }

    fn refs(&self, prefix: &str) -> Result<Vec<(String, Oid)>, ObjectsError> {
        let glob = format!("{}*", checked(prefix)?);
        let mut found = Vec::new();
        for reference in self.repository.references_glob(&glob).map_err(other)? {
            let reference = reference.map_err(other)?;
            if let (Ok(name), Some(target)) = (reference.name(), reference.target())
                && is_below(name, prefix)
            {
                found.push((name.to_owned(), ours(target)));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn get_ref(&self, name: &str) -> Result<Option<Oid>, ObjectsError> {
        match self.repository.find_reference(checked(name)?) {
            Ok(reference) => Ok(reference.target().map(ours)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(other(error)),
        }
    }

    fn swap_ref(&self, name: &str, old: Option<Oid>, new: Option<Oid>) -> Result<(), ObjectsError> {
        let name = checked(name)?;
        let swap = || self.patiently(|| write::swap(&self.repository, name, old, new));
        match swap() {
            Err(ObjectsError::Locked(why)) => {
                let git_dir = self.repository.path();
                let locks = [git_dir.join(format!("{name}.lock")), git_dir.join("packed-refs.lock")];
                if locks.iter().any(|lock| break_abandoned(&self.outside, lock)) {
                    swap()
                } else {
                    Err(ObjectsError::Locked(why))
                }
            }
            other => other,
        }
    }

    fn pressure(&self) -> Result<Pressure, ObjectsError> {
        let loose = self.names("objects/17")?.filter(|name| name.len() == 38).count();
        let packs = self.names("objects/pack")?.filter(|name| name.ends_with(".pack")).count();
        Ok(Pressure { loose: loose as u64 * 256, packs: packs as u64 })
    }

    fn maintain(&self) -> Result<(), ObjectsError> {
        // For this one collection, which spares young objects. Killed here, the next one sets it again.
        self.set_precious(false)?;
        let collected = (self.outside.collect_garbage)().map_err(ObjectsError::Other);
        self.set_precious(true).and(collected)
    }
}

/// Removes a lock file that a killed process left behind; says whether another try is worth it.
///
/// Writers of this repository hold a lock for well below a millisecond. One that is the same file after a
/// whole second has nobody who would ever remove it, and without this a kill in that moment would stop
/// every later command.
fn break_abandoned(outside: &Outside, lock: &Path) -> bool {
    let look = || outside.disk.stat(lock).ok().flatten().map(|stat| (stat.inode, stat.mtime_ns));
    let Some(first) = look() else { return false };
    for _ in 0..ABANDONED_STEPS {
        outside.clock.sleep(ABANDONED_STEP);
        if look() != Some(first) {
            return true;
        }
    }
    outside.disk.remove(lock).is_ok()
}

/// Sets the switches of the library, once per process. Its checks of hashes while reading and of
/// references while writing stay on: without them a commit was about 5 % faster, and a damaged tree
/// would be built upon.
fn configure_library() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Trees of more than 4 KiB are not cached otherwise, and every step of a walk unpacks and
        // parses them again: ten times slower with 100,000 tasks.
        //
        // SAFETY: the function writes one number of the library's global settings. It must not race
        // with other uses of the library; it stands before the first one in this room, which is the
        // only user, and `Once` keeps a second thread waiting.
        let raised = unsafe { git2::opts::set_cache_object_limit(ObjectType::Tree, 8 << 20) };
        debug_assert!(raised.is_ok(), "a slower cache is all that is at stake");
    });
}

/// The name itself, or something below it.
fn is_below(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// Names go to a C library: a zero byte would end them (the binding panics), a wildcard would match others.
fn checked(name: &str) -> Result<&str, ObjectsError> {
    let odd = |c: char| c.is_ascii_control() || "*?[\\".contains(c);
    if name.starts_with("refs/") && !name.contains(odd) {
        Ok(name)
    } else {
        Err(ObjectsError::Other(format!("{name:?} is no full ref name")))
    }
}

fn raw(oid: Oid) -> git2::Oid {
    git2::Oid::from_bytes(&oid.0).expect("an object id has the twenty bytes of a SHA-1")
}

fn ours(oid: git2::Oid) -> Oid {
    let mut bytes = [0u8; 20];
    bytes.copy_from_slice(oid.as_bytes());
    Oid(bytes)
}

/// Whether something named is not there, as opposed to an object that should be (class `Odb`).
fn is_absence(error: &git2::Error, class: ErrorClass) -> bool {
    error.code() == ErrorCode::NotFound && error.class() == class
}

/// Turns an error that arose while reading an object into ours: `.map_err(about(oid))`.
fn about(oid: Oid) -> impl FnOnce(git2::Error) -> ObjectsError {
    move |error| match error.code() {
        ErrorCode::NotFound => ObjectsError::Missing(oid),
        _ => ObjectsError::Other(format!("object {oid}: {}", error.message())),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn other(error: git2::Error) -> ObjectsError {
    match error.code() {
        ErrorCode::Locked => ObjectsError::Locked(error.message().to_owned()),
        _ => ObjectsError::Other(error.message().to_owned()),
    }
}

/// An error while existing trees are read; only the library's words say which object it missed, and for
/// a sub-tree on the way to a path it forgets the code.
fn missing_somewhere(error: git2::Error) -> ObjectsError {
    let named = error.message().split(|c: char| !c.is_ascii_hexdigit()).find_map(Oid::parse);
    match (error.class(), named) {
        (ErrorClass::Odb, Some(oid)) if error.message().contains("not found") => ObjectsError::Missing(oid),
        _ => other(error),
    }
}

fn unusable(git_dir: &Path, error: &git2::Error) -> ObjectsError {
    let advice = match error.code() {
        ErrorCode::Owner => "; it belongs to another user: run orch as that user",
        ErrorCode::NotFound => "; run `orch init`, or `orch doctor` if this queue existed before",
        _ => "; run `orch doctor`",
    };
    ObjectsError::Other(format!("{}: {}{advice}", git_dir.display(), error.message()))
}

#[cfg(test)]
mod tests;
