//! Task files and what is known about them: the door to the state directory for everybody above.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::op::Op;
use crate::protocol::task::Task;
use crate::protocol::time::Timestamp;
use crate::protocol::value::Value;
use crate::world::disk::RealDisk;
use crate::world::{Oid, Stat, World};

use super::atomic;
use super::codec;
use super::error::StoreError;
use super::index::{self, Facts, Index, MemoryIndex, Row};
use super::layout::Layout;
use super::place::Place;
use super::scan::{self, Scope, Seen};
use super::seal::{self, Seal};
use super::task_lock::{self, LockError, Named, NamedLock, TaskLock};
use super::{json, wire};

pub use super::index::Problem;

/// Longest task file, in bytes.
const FILE_MAX: u64 = codec::FILE_MAX as u64;
/// Rows that are looked at in one go.
pub(super) const BATCH: usize = 10_000;

/// The files of one state directory, with their index.
pub struct Store {
    /// Where everything lies.
    pub layout: Layout,
    index: RefCell<Index>,
    home: Home,
    boot: String,
}

/// Where the index is.
enum Home {
    File,
    Memory(MemoryIndex),
}

/// What a task's file holds.
#[derive(Debug, Clone, PartialEq)]
pub enum FileState {
    /// No file.
    Absent,
    /// A valid, sealed file.
    Task {
        /// The task.
        task: Box<Task>,
        /// The file's stat.
        stat: Stat,
        /// Object id of its bytes.
        oid: Oid,
    },
    /// A valid file that a person has changed: to be adopted.
    Edited {
        /// The task as the file tells it.
        task: Box<Task>,
    },
    /// Damaged, invalid or too new: it stays in place and blocks only its task.
    Problem(Problem),
}

/// Whether what is written waits to be published (or, without a remote, committed).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// It holds something that nobody else has.
    Waiting,
    /// It is what the branch and the lease ref hold.
    Published,
    /// It does not matter for publishing: as the file was before.
    AsBefore,
}

type Result<T> = std::result::Result<T, StoreError>;

impl Problem {
    /// A problem without a place in the file.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Problem { text: text.into(), line: None, column: None }
    }
}

impl Store {
    /// Opens the files of a state directory; the index is made anew where it is missing.
    ///
    /// # Errors
    /// The index cannot be opened or made.
    pub fn open(world: &World, layout: Layout) -> Result<Store> {
        let boot = world.clock.boot_id();
        let index = Index::open(&*world.disk, &layout, &boot)?;
        Ok(Store { layout, index: RefCell::new(index), home: Home::File, boot })
    }

    /// Opens the files of a state directory whose index is kept in memory: everything on disk is reached
    /// through the world then. The index must be that of this directory, and hold nothing but what it does.
    ///
    /// # Errors
    /// There is no memory.
    pub fn open_in_memory(world: &World, layout: Layout, memory: &MemoryIndex) -> Result<Store> {
        let boot = world.clock.boot_id();
        let index = Index::open_in_memory(memory, &boot)?;
        Ok(Store { layout, index: RefCell::new(index), home: Home::Memory(memory.clone()), boot })
    }

    fn rebuild(&self) -> std::result::Result<Index, index::IndexError> {
        match &self.home {
            // SQLite reaches the real disk by itself, so that is where its lock is.
            Home::File => Index::rebuild(&RealDisk, &self.layout, &self.boot),
            Home::Memory(memory) => Index::rebuild_in_memory(memory, &self.boot),
        }
    }

    /// Runs a query. If the index turns out to be damaged it is made anew, empty; the query still fails,
    /// because nothing in an empty index means that nothing is there: the next scan fills it.
    pub(super) fn with<T>(
        &self,
        body: impl FnOnce(&mut Index) -> std::result::Result<T, index::IndexError>,
    ) -> Result<T> {
        let mut index = self.index.borrow_mut();
        body(&mut index).map_err(|error| {
            if error.is_damaged()
                && let Ok(fresh) = self.rebuild()
            {
                *index = fresh;
            }
            error.into()
        })
    }

    /// Takes the lock of a task.
    ///
    /// # Errors
    /// Somebody held it for the whole time, or locks do not work here.
    pub fn lock_task(&self, world: &World, id: &TaskId, wait: Duration) -> Result<TaskLock> {
        Ok(task_lock::lock_task(&*world.disk, &self.layout, id, wait)?)
    }

    /// Takes a named lock; `None` when somebody held it for the whole time.
    ///
    /// # Errors
    /// Locks do not work here.
    pub fn lock_named(&self, world: &World, which: Named, wait: Duration) -> Result<Option<NamedLock>> {
        match task_lock::lock_named(&*world.disk, &self.layout, which, wait) {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::Timeout { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Where a task's file lies, as far as the index knows.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn place(&self, id: &TaskId) -> Result<Place> {
        self.with(|index| index.place(id))
    }

    /// Where a task's file lies: among the tasks if there is one, else where the index knows it.
    fn found_at(&self, world: &World, id: &TaskId) -> Result<Place> {
        match self.place(id)? {
            Place::Archive(_) if matches!(world.disk.stat(&self.layout.task(id)), Ok(Some(_))) => {
                Ok(Place::Tasks)
            }
            place => Ok(place),
        }
    }

    /// The file of a task, wherever it lies.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn file(&self, world: &World, id: &TaskId) -> Result<PathBuf> {
        Ok(self.layout.file(id, self.found_at(world, id)?))
    }

    /// Reads a task's file, wherever it lies.
    ///
    /// # Errors
    /// The disk says no; what is wrong inside the file is a [`FileState`].
    pub fn read(&self, world: &World, id: &TaskId) -> Result<FileState> {
        match self.read_at(world, id, Place::Tasks)? {
            FileState::Absent => match self.place(id)? {
                Place::Tasks => Ok(FileState::Absent),
                place => self.read_at(world, id, place),
            },
            state => Ok(state),
        }
    }

    /// Reads the file of a task that lies at a place.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_at(&self, world: &World, id: &TaskId, place: Place) -> Result<FileState> {
        let path = self.layout.file(id, place);
        let read = match atomic::read(&*world.disk, &path, FILE_MAX) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Ok(FileState::Problem(Problem::plain(error.to_string())));
            }
            Err(source) => return Err(StoreError::Io { step: "read", path, source }),
        };
        let Some((bytes, stat)) = read else { return Ok(FileState::Absent) };
        let decoded = match codec::decode(&bytes) {
            Ok(decoded) => decoded,
            Err(problem) => return Ok(FileState::Problem(located(&problem))),
        };
        if decoded.task.id() != id {
            let text = format!("the file is named {id} but holds {}", decoded.task.id());
            return Ok(FileState::Problem(Self::pointed(&bytes, "id", &text)));
        }
        let task = Box::new(decoded.task);
        match decoded.seal {
            Seal::Valid => Ok(FileState::Task { task, stat, oid: world.objects.hash_blob(&bytes) }),
            Seal::Broken => Ok(FileState::Edited { task }),
        }
    }

    /// Replaces a task's file durably, and tells the index. The lock shows that nobody else is doing so. A file
    /// in the archive gives way to the one among the tasks.
    ///
    /// # Errors
    /// The disk says no; the file is whole then, the old version or the new one.
    pub fn write(&self, world: &World, lock: &TaskLock, task: &Task, publish: Publish) -> Result<()> {
        debug_assert_eq!(lock.id().folded(), task.id().folded(), "the lock is that of the task");
        let bytes = codec::encode(task);
        if !codec::fits(&bytes) {
            return Err(StoreError::TooLarge { id: task.id().to_string(), limit: FILE_MAX });
        }
        let before = self.place(task.id())?;
        let stat = atomic::write(&*world.disk, &self.layout.task(task.id()), &bytes)?;
        self.put(task, stat, world.objects.hash_blob(&bytes), Place::Tasks, publish)?;
        if before != Place::Tasks {
            self.remove_local(world, &self.layout.file(task.id(), before))?;
        }
        Ok(())
    }

    /// The same for a file that somebody else put there: who died may have made its folder and not have made that durable.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_found(&self, world: &World, lock: &TaskLock, task: &Task, publish: Publish) -> Result<()> {
        let path = self.layout.tasks();
        if let Err(source) = world.disk.sync_dir(&path) {
            return Err(StoreError::Io { step: "sync the directory", path, source });
        }
        self.write(world, lock, task, publish)
    }

    /// Writes the file of a published task that has ended to its place in the archive, tells the index, and
    /// removes the one among the tasks. A death in between leaves two files, of which the next scan removes one.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_archived(&self, world: &World, lock: &TaskLock, task: &Task, place: Place) -> Result<()> {
        debug_assert_eq!(lock.id().folded(), task.id().folded(), "the lock is that of the task");
        let bytes = codec::encode(task);
        let before = self.found_at(world, task.id())?;
        let stat = atomic::write(&*world.disk, &self.layout.file(task.id(), place), &bytes)?;
        self.put(task, stat, world.objects.hash_blob(&bytes), place, Publish::Published)?;
        if before != place {
            self.remove_local(world, &self.layout.file(task.id(), before))?;
        }
        Ok(())
    }

    /// Tells the index about a valid file that somebody else wrote.
    ///
    /// # Errors
    /// The file cannot be read, or the index does not answer.
    pub fn admit(&self, world: &World, task: &Task, publish: Publish) -> Result<()> {
        self.admit_at(world, task, self.found_at(world, task.id())?, publish)
    }

    /// The same for the file at a place.
    ///
    /// # Errors
    /// As [`Store::admit`].
    pub fn admit_at(&self, world: &World, task: &Task, place: Place, publish: Publish) -> Result<()> {
        match self.read_at(world, task.id(), place)? {
            FileState::Task { task, stat, oid } => self.put(&task, stat, oid, place, publish),
            _ => Ok(()),
        }
    }

    fn put(&self, task: &Task, stat: Stat, oid: Oid, place: Place, publish: Publish) -> Result<()> {
        let known = match publish {
            Publish::AsBefore | Publish::Waiting => self.with(|index| index.get(task.id()))?,
            Publish::Published => None,
        };
        let row = Row { place, ..row(task, stat, oid, publish, known) };
        self.with(|index| index.put(&[row]))
    }

    /// Says whether a file holds something unpublished, without writing it.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn mark(&self, world: &World, task: &Task, publish: Publish) -> Result<()> {
        let id = task.id();
        let known = match self.with(|index| index.get(id))? {
            Some(known) if known.problem.is_none() => known,
            _ => return self.admit(world, task, publish),
        };
        let base = match publish {
            Publish::Published => Some(known.oid),
            Publish::Waiting if known.base == Some(known.oid) => None,
            Publish::Waiting | Publish::AsBefore => known.base,
        };
        if base == known.base {
            return Ok(());
        }
        self.with(|index| index.set_bases(&[(id.clone(), base)]))
    }

    /// Whether these are the bytes of a task's file that the index knows, and nothing is wrong with them.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn is_known(&self, id: &TaskId, oid: Oid) -> Result<bool> {
        let row = self.with(|index| index.get(id))?;
        Ok(row.is_some_and(|row| row.id == *id && row.oid == oid && row.problem.is_none()))
    }

    /// Whether a task's file holds nothing but what was published.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn is_published(&self, id: &TaskId) -> Result<bool> {
        Ok(self.with(|index| index.get(id))?.is_some_and(|row| row.base == Some(row.oid)))
    }

    /// Tasks whose file holds something unpublished, oldest change first.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn unpublished(&self) -> Result<Vec<TaskId>> {
        self.with(|index| index.uncommitted(BATCH))
    }

    /// Remembers what was committed.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn mark_committed(&self, committed: &[(TaskId, Oid)]) -> Result<()> {
        let bases: Vec<_> = committed.iter().map(|(id, oid)| (id.clone(), Some(*oid))).collect();
        self.with(|index| index.set_bases(&bases))
    }

    /// Compares files with the index. Which folders are in order is for [`Store::note_look`].
    ///
    /// # Errors
    /// The index does not answer.
    pub fn scan(&self, world: &World, scope: Scope<'_>) -> Result<Seen> {
        let now = Timestamp(world.clock.wall_ms());
        self.with(|index| scan::scan(&*world.disk, &self.layout, index, now, scope))
    }

    /// Forgets a task whose file is gone for good.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn forget(&self, id: &TaskId) -> Result<()> {
        self.with(|index| index.remove(std::slice::from_ref(id)))
    }

    /// Quarantines a file: it stays in place, is not synced, and blocks only its task.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn quarantine(&self, world: &World, id: &TaskId, problem: &Problem) -> Result<()> {
        self.quarantine_at(world, id, self.found_at(world, id)?, problem)
    }

    /// The same for the file at a place.
    ///
    /// # Errors
    /// As [`Store::quarantine`].
    pub fn quarantine_at(&self, world: &World, id: &TaskId, place: Place, problem: &Problem) -> Result<()> {
        let stat = world.disk.stat(&self.layout.file(id, place)).ok().flatten().unwrap_or_default();
        let known = self.with(|index| index.get(id))?;
        let row = Row {
            id: id.clone(),
            stat,
            oid: known.as_ref().map_or(Oid::default(), |row| row.oid),
            base: known.as_ref().and_then(|row| row.base),
            place,
            facts: None,
            problem: Some(problem.clone()),
        };
        self.with(|index| index.put(&[row]))
    }

    /// A task without its history, as the index last saw it valid.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn summary(&self, id: &TaskId) -> Result<Option<Task>> {
        let row = self.with(|index| index.get(id))?;
        Ok(row.and_then(|row| from_doc(&row.facts?.doc)))
    }

    /// Whether a task has the history that the index last saw in a valid file of it.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn has_known_history(&self, task: &Task) -> Result<bool> {
        let row = self.with(|index| index.get(task.id()))?;
        let known = row.and_then(|row| row.facts).map(|facts| facts.history);
        Ok(known.is_some_and(|known| !known.is_empty() && known == to_doc(task).1))
    }

    /// The highest epoch that this machine has seen of a task, also in versions that are gone.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn highest_epoch(&self, world: &World, id: &TaskId) -> Result<u64> {
        let seen = self.with(|index| index.max_epoch(id))?;
        Ok(seen.max(self.epoch_floor(world, id)))
    }

    /// What is wrong with a task's file, with its path and place.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn problem_of(&self, id: &TaskId) -> Result<Option<String>> {
        let row = self.with(|index| index.get(id))?;
        Ok(row.and_then(|row| row.problem.map(|problem| Self::show(&row.id, row.place, &problem))))
    }

    /// Every quarantined file, with its path, place and reason.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn problems(&self) -> Result<Vec<(TaskId, String)>> {
        let rows = self.with(|index| index.problems())?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let text = Self::show(&row.id, row.place, row.problem.as_ref()?);
                Some((row.id, text))
            })
            .collect())
    }

    fn show(id: &TaskId, place: Place, problem: &Problem) -> String {
        let path = place.tree_path(id);
        match (problem.line, problem.column) {
            (Some(line), Some(column)) => format!("{path}:{line}:{column}: {}", problem.text),
            (Some(line), None) => format!("{path}:{line}: {}", problem.text),
            _ => format!("{path}: {}", problem.text),
        }
    }

    /// A problem at a key of a task's file, with its line and column.
    #[must_use]
    pub fn point_at(&self, world: &World, id: &TaskId, key: &str, text: &str) -> Problem {
        let read = self.file(world, id).map(|path| world.disk.read(&path, FILE_MAX));
        match read {
            Ok(Ok(bytes)) => Self::pointed(&bytes, key, text),
            _ => Problem::plain(text),
        }
    }

    fn pointed(bytes: &[u8], key: &str, text: &str) -> Problem {
        let file = String::from_utf8_lossy(bytes);
        let (line, column) = super::parse::locate(&file, &[super::parse::Step::Key(key.to_owned())]);
        Problem { text: text.to_owned(), line: u32::try_from(line).ok(), column: u32::try_from(column).ok() }
    }

    /// Writes a small file of this machine, atomically but not durably.
    ///
    /// # Errors
    /// The disk says no.
    pub fn write_local(&self, world: &World, path: &Path, bytes: &[u8]) -> Result<()> {
        atomic::write_fast(&*world.disk, path, bytes)?;
        Ok(())
    }

    /// Writes a file durably.
    ///
    /// # Errors
    /// The disk says no.
    pub fn write_durable(&self, world: &World, path: &Path, bytes: &[u8]) -> Result<()> {
        atomic::write(&*world.disk, path, bytes)?;
        Ok(())
    }

    /// Removes a small file of this machine; absent is fine.
    ///
    /// # Errors
    /// The disk says no.
    pub fn remove_local(&self, world: &World, path: &Path) -> Result<()> {
        let io = |source| StoreError::Io { step: "remove", path: path.to_owned(), source };
        world.disk.remove(path).map_err(io)
    }

    /// Names in a directory of this machine, sorted; absent is empty.
    ///
    /// # Errors
    /// The disk says no.
    pub fn list_local(&self, world: &World, dir: &Path) -> Result<Vec<String>> {
        let io = |source| StoreError::Io { step: "list", path: dir.to_owned(), source };
        Ok(world.disk.list(dir).map_err(io)?.into_iter().map(|(name, _)| name).collect())
    }
}

/// The row of a file among the tasks.
pub(super) fn row(task: &Task, stat: Stat, oid: Oid, publish: Publish, known: Option<Row>) -> Row {
    let base = match publish {
        Publish::Published => Some(oid),
        Publish::Waiting => known.and_then(|row| row.base).filter(|base| *base != oid),
        Publish::AsBefore => match known {
            Some(row) if row.base == Some(row.oid) => Some(oid),
            Some(row) => row.base,
            None => None,
        },
    };
    let (doc, history) = to_doc(task);
    let (id, facts) = (task.id().clone(), Some(Facts::of(task, doc, history)));
    Row { id, stat, oid, base, place: Place::Tasks, facts, problem: None }
}

/// The task without its history: what lists show, and what is left of a file when it is damaged. Then the digest of the
/// history.
fn to_doc(task: &Task) -> (String, String) {
    let mut value = wire::task_to_value(task, wire::Form::File);
    let mut digest = String::new();
    if let Value::Map(entries) = &mut value
        && let Some(at) = entries.iter().position(|(key, _)| key == "history")
    {
        digest = seal::digest(json::to_text(&entries.remove(at).1).as_bytes());
    }
    (json::to_text(&value), digest)
}

pub(super) fn from_doc(doc: &str) -> Option<Task> {
    wire::summary_from_value(&json::from_text(doc)?).ok()
}

fn located(problem: &codec::Problem) -> Problem {
    Problem {
        text: problem.message.clone(),
        line: u32::try_from(problem.line).ok(),
        column: u32::try_from(problem.column).ok(),
    }
}

/// Whether a file can hold an operation.
///
/// # Errors
/// The bound that it breaks, in words.
pub fn check_bounds(op: &Op) -> std::result::Result<(), String> {
    wire::bounds::check_op(op).map_err(|e| e.to_string())
}
