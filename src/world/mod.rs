//! The seams: everything that orch needs from outside itself, as a handful of small traits.
//!
//! Use cases take a [`World`] and nothing else, so the reliability harness can stop time, lose an
//! answer or kill a machine between any two steps. A method stands for one real hazard: a crash fits
//! between any two calls, and every call can fail. This room knows nothing of tasks.

pub mod clock;
pub mod disk;
pub mod env;
pub mod folder;
pub mod git_command;
pub mod inspect;
mod lock;
pub mod paths;
pub mod process;
pub mod program;
pub mod random;
pub mod remote;
pub mod watcher;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything outside, for one machine.
pub struct World {
    /// Wall, monotonic and suspend-counting time.
    pub clock: Box<dyn Clock>,
    /// Files and advisory locks.
    pub disk: Box<dyn Disk>,
    /// The local object store and local refs of `state/.git`.
    pub objects: Box<dyn Objects>,
    /// The remote that is shared with other machines, if there is one.
    pub remote: Option<Box<dyn Remote>>,
    /// Processes of this machine.
    pub process: Box<dyn Process>,
    /// Randomness.
    pub random: Box<dyn Random>,
}

/// Three clocks, because each answers a different question.
pub trait Clock {
    /// Wall clock, milliseconds since 1970. For people only: it steps, and machines disagree.
    fn wall_ms(&self) -> i64;
    /// Time since boot that stops during suspend (`CLOCK_MONOTONIC`): an observer waits by this one.
    fn monotonic(&self) -> Duration;
    /// Time since boot that counts suspend (`CLOCK_BOOTTIME`): a holder's deadline runs by this one.
    fn boottime(&self) -> Duration;
    /// Identity of the current boot; times of the two clocks above compare only within one boot.
    fn boot_id(&self) -> String;
    /// Waits.
    fn sleep(&self, span: Duration);
}

/// Randomness for ids and jitter.
pub trait Random {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);

    /// A number in `0.0..1.0`.
    fn unit(&self) -> f64 {
        let mut bytes = [0u8; 8];
        self.fill(&mut bytes);
        (u64::from_le_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What `stat` tells, enough to notice that a file was changed behind our back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Inode change time, nanoseconds since 1970: no program can set it.
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// What kind of thing it is.
    pub kind: FileKind,
}

/// Kinds of directory entry; whatever is neither file nor directory is never opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileKind {
    /// A regular file.
    #[default]
    File,
    /// A directory.
    Dir,
    /// A symbolic link, device, socket or pipe.
    Other,
}

/// Files of the state directory. Paths are absolute. No method follows a symbolic link in the last
/// component, none blocks on a pipe.
pub trait Disk {
    /// Reads a whole regular file of at most `limit` bytes (`InvalidData` above that, or for another kind).
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;
    /// `lstat`; `None` where nothing is.
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>>;
    /// `lstat` of many names inside one directory (cheaper than one call each).
    fn stat_many(&self, dir: &Path, names: &[&str]) -> io::Result<Vec<Option<Stat>>> {
        names.iter().map(|name| self.stat(&dir.join(name))).collect()
    }
    /// Names and kinds in a directory, sorted by name; an absent directory is empty.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileKind)>>;
    /// Creates a directory and its parents; says whether the last one is new.
    fn create_dir(&self, dir: &Path) -> io::Result<bool>;
    /// Writes a new file (`O_EXCL`, never through a link) whose name nobody else uses, in `dir`.
    fn write_temp(&self, dir: &Path, bytes: &[u8]) -> io::Result<PathBuf>;
    /// Makes the bytes of a file durable (`fsync`). After an error the file must be written anew.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Replaces `to` by `from` atomically, within one directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the entries of a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes everything written so far on this file system durable (`syncfs`): one call for a thousand files.
    fn sync_fs(&self, dir: &Path) -> io::Result<()>;
    /// Removes a file; absent is fine.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory; absent is fine.
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("{}: stays", dir.display())))
    }
    /// Appends to a log file that only this machine reads (`O_APPEND`, created when absent, not durable).
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Takes the advisory lock on a lock file, creating it, and waits at most `wait` for it.
    /// `Ok(None)` means somebody else still holds it. The lock file is checked to be the one that the
    /// path names (device and inode), so an unlinked lock file never yields two holders.
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn LockGuard>>>;
}

/// A held advisory lock; dropping it releases it. Children inherit nothing.
pub trait LockGuard {}

/// A git object id (SHA-1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Oid(pub [u8; 20]);

impl Oid {
    /// Parses forty hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 40 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0u8; 20];
        for (slot, at) in bytes.iter_mut().zip((0..40).step_by(2)) {
            *slot = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Oid(bytes))
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One entry of a tree that differs between two commits, or all of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeChange {
    /// Path from the root of the tree, `/`-separated; bytes that are no UTF-8 are replaced.
    pub path: String,
    /// What the old side held.
    pub old: Option<TreeEntry>,
    /// What the new side holds.
    pub new: Option<TreeEntry>,
}

/// A leaf of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeEntry {
    /// The object.
    pub oid: Oid,
    /// True for a plain, non-executable-or-executable file; false for links, gitlinks and others.
    pub is_file: bool,
}

/// A commit to be written.
#[derive(Debug, Clone)]
pub struct NewCommit<'a> {
    /// Commit whose tree is the starting point; `None` starts from an empty tree.
    pub base: Option<Oid>,
    /// Files to set (`Some`) or to remove (`None`), by `/`-separated path.
    pub changes: &'a [(String, Option<Vec<u8>>)],
    /// Parents.
    pub parents: &'a [Oid],
    /// Author and committer name (shown by `git log`), control characters already removed.
    pub author: &'a str,
    /// Seconds since 1970.
    pub at_s: i64,
    /// Whole message.
    pub message: &'a str,
}

/// Why the local object store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// An object is not there: a fetch has not brought it, or a concurrent `git gc` took it.
    #[error("object {0} is missing in the local repository")]
    Missing(Oid),
    /// A local ref is not what was expected any more.
    #[error("local ref {0} was changed by another process")]
    Changed(String),
    /// Another process holds a lock in the repository.
    #[error("the local repository is locked: {0}")]
    Locked(String),
    /// Anything else, in the words of the library.
    #[error("local repository: {0}")]
    Other(String),
}

/// Objects and refs of the local repository `state/.git`. Never touches an index or a work tree.
pub trait Objects {
    /// Bytes of a blob.
    fn blob(&self, oid: Oid) -> Result<Vec<u8>, ObjectsError>;
    /// Object id that these bytes have as a blob, without storing them.
    fn hash_blob(&self, bytes: &[u8]) -> Oid;
    /// The entry at a path in a commit's tree; a directory is one that is no file.
    fn entry(&self, commit: Oid, path: &str) -> Result<Option<TreeEntry>, ObjectsError>;
    /// Names and entries of a directory in a commit's tree; none where there is no such directory.
    fn list(&self, commit: Oid, path: &str) -> Result<Vec<(String, TreeEntry)>, ObjectsError>;
    /// Leaves that differ between two commits (`None` = empty tree), sorted by path. Sub-trees that are
    /// equal are never opened.
    fn diff(&self, old: Option<Oid>, new: Option<Oid>) -> Result<Vec<TreeChange>, ObjectsError>;
    /// Writes blobs, trees and a commit; no ref is touched.
    fn commit(&self, commit: &NewCommit<'_>) -> Result<Oid, ObjectsError>;
    /// Parents and message of a commit.
    fn commit_info(&self, commit: Oid) -> Result<CommitInfo, ObjectsError>;
    /// Whether the object is here.
    fn has(&self, oid: Oid) -> bool;
    /// Whether `ancestor` is reachable from `tip` (a commit is its own ancestor).
    fn is_ancestor(&self, ancestor: Oid, tip: Oid) -> Result<bool, ObjectsError>;
    /// Local refs below a prefix (or the ref itself), sorted by name.
    fn refs(&self, prefix: &str) -> Result<Vec<(String, Oid)>, ObjectsError>;
    /// One local ref.
    fn get_ref(&self, name: &str) -> Result<Option<Oid>, ObjectsError>;
    /// Compare-and-swap of one local ref; `None` as `new` deletes it. [`ObjectsError::Changed`] when lost.
    fn swap_ref(&self, name: &str, old: Option<Oid>, new: Option<Oid>) -> Result<(), ObjectsError>;
    /// Loose objects and packs, for maintenance.
    fn pressure(&self) -> Result<Pressure, ObjectsError>;
    /// Packs loose objects and drops what nothing reaches and is older than two weeks.
    fn maintain(&self) -> Result<(), ObjectsError>;
}

/// Parents, message and time of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// Parents in order.
    pub parents: Vec<Oid>,
    /// Whole message.
    pub message: String,
    /// Author name.
    pub author: String,
    /// Commit time, seconds since 1970.
    pub at_s: i64,
}

/// How much maintenance is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// Loose objects (estimated from one of 256 directories).
    pub loose: u64,
    /// Packs.
    pub packs: u64,
}

/// One ref that a push wants to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// Full name on the remote.
    pub name: String,
    /// What the remote must hold for the update to be accepted; `None` = the ref must not exist.
    pub expected: Option<Oid>,
    /// The new value; `None` deletes the ref.
    pub new: Option<Oid>,
}

/// What became of one ref of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushOutcome {
    /// The remote says that it moved this ref for this push.
    Accepted,
    /// The remote, or git before sending, says no. Why is never read from the words: read the ref again.
    Refused(String),
    /// No answer, or one that is not understood: it may have happened.
    Unknown(String),
}

/// Why a remote could not be read. The kind decides the exit code only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RemoteError {
    /// What kind of failure it looks like.
    pub kind: RemoteFailure,
    /// What git said, or what happened, on one or few lines, without escapes or secrets.
    pub message: String,
}

/// Kinds of remote failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteFailure {
    /// No such repository.
    NotFound,
    /// Name resolution, connection, server error.
    Unreachable,
    /// No answer within the time limit; the process group was killed.
    Timeout,
    /// Credentials missing, expired or refused.
    Auth,
    /// A lock file was left behind on the remote.
    Locked,
    /// An object that should be there is not (often a concurrent `git gc`): worth another try.
    MissingObject,
    /// `git` itself is missing or too old.
    Tool,
    /// Anything else.
    Other,
}

/// A remote ref as a listing showed it, to be brought here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its full name there.
    pub name: String,
    /// What it held.
    pub oid: Oid,
    /// The local ref that shall hold that.
    pub local: String,
}

/// The repository that machines share. Every method ends within the limit it is given.
pub trait Remote {
    /// The URL or path, without credentials, for messages.
    fn url(&self) -> String;
    /// Refs whose full name begins with one of the prefixes.
    fn refs(&self, prefixes: &[&str], limit: Duration) -> Result<Vec<(String, Oid)>, RemoteError>;
    /// Brings what a listing showed: each object with all that it needs, and the local ref beside it is set to it,
    /// whatever it was before. Where the host hands out any object that it has, it does not matter what became of the
    /// ref meanwhile. Other hosts (protocol 0) hand out what their refs hold: there a ref that has gone makes the whole
    /// call fail, and one that has moved brings what it holds now. So look whether the object is here, and list again
    /// if it is not.
    fn fetch(&self, wanted: &[Wanted], limit: Duration) -> Result<(), RemoteError>;
    /// One push of many refs, each compare-and-swap by itself. Outcomes stand in the order of the updates.
    fn push(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome>;
    /// The same as [`Remote::push`], but all or none; refused as a whole where the remote cannot do it.
    fn push_atomic(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome>;
}

/// Identity of a process that survives reuse of its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessId {
    /// Process number.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub start: u64,
    /// The boot in which it was started.
    pub boot: String,
}

/// Processes of this machine.
pub trait Process {
    /// This process.
    fn me(&self) -> ProcessId;
    /// Identity of a running process; `None` if there is none with that number.
    fn identify(&self, pid: u32) -> Option<ProcessId>;
    /// Whether exactly this process still runs (a zombie does not).
    fn alive(&self, who: &ProcessId) -> bool {
        self.identify(who.pid).as_ref() == Some(who)
    }
    /// A directory as an absolute path without links.
    fn real_dir(&self, dir: &Path) -> io::Result<PathBuf>;
    /// The program file that a name means: through the absolute entries of `path` (`:`-separated), or
    /// relative to `cwd` when it contains a slash. Links are kept, since programs ask for their own name.
    fn find_program(&self, name: &str, cwd: &Path, path: &str) -> io::Result<PathBuf>;
    /// Starts a supervised child tree (see [`process`]).
    fn spawn(&self, command: &process::Command) -> io::Result<Box<dyn process::Child>>;
}
