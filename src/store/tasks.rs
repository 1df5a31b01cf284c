//! Task files and what is known about them: the door to the state directory for everybody above.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::task::{Status, Task};
use crate::protocol::time::Timestamp;
use crate::protocol::value::Value;
use crate::world::{Oid, Stat, World};

use super::atomic;
use super::codec;
use super::error::StoreError;
use super::index::{self, Facts, Index, Pick, Row};
use super::layout::Layout;
use super::scan::{self, Scope, Suspect};
use super::seal::Seal;
use super::task_lock::{self, LockError, Named, NamedLock, TaskLock};
use super::{json, wire};

pub use super::index::Problem;

/// Longest task file, in bytes.
const FILE_MAX: u64 = codec::FILE_MAX as u64;
/// Unpublished tasks that are looked at in one go.
const BATCH: usize = 10_000;

/// The files of one state directory, with their index.
pub struct Store {
    /// Where everything lies.
    pub layout: Layout,
    index: RefCell<Index>,
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
        let index = Index::open(&*world.disk, &layout, &world.clock.boot_id())?;
        Ok(Store { layout, index: RefCell::new(index) })
    }

    /// Runs a query; a damaged index is made anew first and the query then sees an empty one.
    pub(super) fn with<T>(
        &self,
        body: impl FnOnce(&mut Index) -> std::result::Result<T, index::IndexError>,
    ) -> Result<T> {
        Ok(body(&mut self.index.borrow_mut())?)
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

    /// Reads a task's file.
    ///
    /// # Errors
    /// The disk says no; what is wrong inside the file is a [`FileState`].
    pub fn read(&self, world: &World, id: &TaskId) -> Result<FileState> {
        let path = self.layout.task(id);
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
            return Ok(FileState::Problem(self.place(&bytes, "id", &text)));
        }
        let task = Box::new(decoded.task);
        match decoded.seal {
            Seal::Valid => Ok(FileState::Task { task, stat, oid: world.objects.hash_blob(&bytes) }),
            Seal::Broken => Ok(FileState::Edited { task }),
        }
    }

    /// Replaces a task's file durably, and tells the index. The lock shows that nobody else is doing so.
    ///
    /// # Errors
    /// The disk says no; the file is whole then, the old version or the new one.
    pub fn write(&self, world: &World, lock: &TaskLock, task: &Task, publish: Publish) -> Result<()> {
        debug_assert_eq!(lock.id().folded(), task.id().folded(), "the lock is that of the task");
        let bytes = codec::encode(task);
        if !codec::fits(&bytes) {
            return Err(StoreError::TooLarge { id: task.id().to_string(), limit: FILE_MAX });
        }
        let stat = atomic::write(&*world.disk, &self.layout.task(task.id()), &bytes)?;
        self.put(task, stat, world.objects.hash_blob(&bytes), publish)
    }

    /// Tells the index about a valid file that somebody else wrote.
    ///
    /// # Errors
    /// The file cannot be read, or the index does not answer.
    pub fn admit(&self, world: &World, task: &Task, publish: Publish) -> Result<()> {
        match self.read(world, task.id())? {
            FileState::Task { task, stat, oid } => self.put(&task, stat, oid, publish),
            _ => Ok(()),
        }
    }

    fn put(&self, task: &Task, stat: Stat, oid: Oid, publish: Publish) -> Result<()> {
        let known = match publish {
            Publish::AsBefore | Publish::Waiting => self.with(|index| index.get(task.id()))?,
            Publish::Published => None,
        };
        let row = row(task, stat, oid, publish, known);
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

    /// Tasks whose file holds something unpublished, oldest change first.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn unpublished(&self) -> Result<Vec<TaskId>> {
        let rows = self.with(|index| index.uncommitted(BATCH))?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// Remembers what was committed.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn mark_committed(&self, committed: &[(TaskId, Oid)]) -> Result<()> {
        let bases: Vec<_> = committed.iter().map(|(id, oid)| (id.clone(), Some(*oid))).collect();
        self.with(|index| index.set_bases(&bases))
    }

    /// Compares files with the index.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn scan(&self, world: &World, scope: Scope<'_>) -> Result<Vec<Suspect>> {
        let now = Timestamp(world.clock.wall_ms());
        self.with(|index| scan::scan(&*world.disk, &self.layout, index, now, scope))
    }

    /// The first ready tasks in the order of the queue.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn ready(
        &self,
        now: Timestamp,
        ageing: Duration,
        limit: usize,
        skip: &[TaskId],
    ) -> Result<Vec<TaskId>> {
        let found = self.with(|index| index.pick(&Pick { now, ageing, limit, skip }))?;
        Ok(found.into_iter().map(|candidate| candidate.id).collect())
    }

    /// Tasks that pass a filter, without history.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn list(&self, filter: &index::Filter) -> Result<Vec<Task>> {
        let entries = self.with(|index| index.list(filter))?;
        Ok(entries.iter().filter_map(|entry| from_doc(&entry.doc)).collect())
    }

    /// Tasks in progress, without history.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn in_progress(&self) -> Result<Vec<Task>> {
        let rows = self.with(|index| index.in_progress())?;
        Ok(rows.iter().filter_map(|row| from_doc(&row.facts.as_ref()?.doc)).collect())
    }

    /// How many tasks there are in each status, and how many files are quarantined.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn counts(&self) -> Result<index::Counts> {
        self.with(|index| index.counts())
    }

    /// Every known id, sorted.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn ids(&self) -> Result<Vec<TaskId>> {
        let mut ids = self.with(|index| index.ids())?;
        ids.sort();
        Ok(ids)
    }

    /// The status of a task; `None` if it is not known.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn status_of(&self, id: &TaskId) -> Result<Option<Status>> {
        Ok(self.with(|index| index.get(id))?.and_then(|row| row.facts).map(|facts| facts.status))
    }

    /// The first task with a status, by the order of lists.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn first_with_status(&self, status: Status) -> Result<Option<TaskId>> {
        let filter = index::Filter { status: vec![status], limit: Some(1), ..index::Filter::default() };
        Ok(self.with(|index| index.list(&filter))?.into_iter().next().map(|entry| entry.id))
    }

    /// Tasks that a task needs.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn needs_of(&self, id: &TaskId) -> Result<Vec<TaskId>> {
        Ok(self.with(|index| index.needs(id))?.into_iter().map(|(need, _)| need).collect())
    }

    /// Every task that has needs, with them.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn edges(&self) -> Result<Vec<(TaskId, Vec<TaskId>)>> {
        self.with(|index| index.edges())
    }

    /// Pending tasks with a failed or cancelled need, and that need.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn need_failures(&self) -> Result<Vec<(TaskId, TaskId)>> {
        let doomed = self.with(|index| index.doomed(BATCH))?;
        let mut found = Vec::new();
        for row in doomed {
            let needs = self.with(|index| index.needs(&row.id))?;
            let failed = needs
                .into_iter()
                .find(|(_, status)| matches!(status, Some(Status::Failed | Status::Cancelled)));
            found.extend(failed.map(|(need, _)| (row.id.clone(), need)));
        }
        Ok(found)
    }

    /// A done task with this idempotency key.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn done_with_key(&self, key: &str) -> Result<Option<TaskId>> {
        self.with_key_where(key, |status| status == Status::Done)
    }

    /// A task with this idempotency key that is done or may still be.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn with_key(&self, key: &str) -> Result<Option<TaskId>> {
        self.with_key_where(key, |status| !matches!(status, Status::Failed | Status::Cancelled))
    }

    fn with_key_where(&self, key: &str, fits: impl Fn(Status) -> bool) -> Result<Option<TaskId>> {
        let rows = self.with(|index| index.with_key(key))?;
        let found = rows.into_iter().find(|row| row.facts.as_ref().is_some_and(|facts| fits(facts.status)));
        Ok(found.map(|row| row.id))
    }

    /// The task that uses an id already, in whatever case it writes it.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn taken(&self, _world: &World, id: &TaskId) -> Result<Option<TaskId>> {
        Ok(self.with(|index| index.get(id))?.map(|row| row.id))
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
        let stat = world.disk.stat(&self.layout.task(id)).ok().flatten().unwrap_or_default();
        let known = self.with(|index| index.get(id))?;
        let row = Row {
            id: id.clone(),
            stat,
            oid: known.as_ref().map_or(Oid::default(), |row| row.oid),
            base: known.as_ref().and_then(|row| row.base),
            facts: None,
            problem: Some(problem.clone()),
        };
        self.with(|index| index.put(&[row]))
    }

    /// Quarantines a task because of what the remote holds; its file here stays as it is.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn quarantine_remote(&self, world: &World, id: &TaskId, problem: &str) -> Result<()> {
        self.quarantine(world, id, &Problem::plain(problem))
    }

    /// What is wrong with a task's file, with its path and place.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn problem_of(&self, id: &TaskId) -> Result<Option<String>> {
        let row = self.with(|index| index.get(id))?;
        Ok(row.and_then(|row| row.problem.map(|problem| self.show(&row.id, &problem))))
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
                let text = self.show(&row.id, row.problem.as_ref()?);
                Some((row.id, text))
            })
            .collect())
    }

    fn show(&self, id: &TaskId, problem: &Problem) -> String {
        let path = super::layout::tree_path(id);
        match (problem.line, problem.column) {
            (Some(line), Some(column)) => format!("{path}:{line}:{column}: {}", problem.text),
            (Some(line), None) => format!("{path}:{line}: {}", problem.text),
            _ => format!("{path}: {}", problem.text),
        }
    }

    /// A problem at a key of a task's file, with its line and column.
    #[must_use]
    pub fn point_at(&self, world: &World, id: &TaskId, key: &str, text: &str) -> Problem {
        match world.disk.read(&self.layout.task(id), FILE_MAX) {
            Ok(bytes) => self.place(&bytes, key, text),
            Err(_) => Problem::plain(text),
        }
    }

    fn place(&self, bytes: &[u8], key: &str, text: &str) -> Problem {
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

    /// A small value under a name, as long as the index lives.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn meta(&self, name: &str) -> Result<Option<String>> {
        self.with(|index| index.meta(name))
    }

    /// Keeps a small value under a name, as long as the index lives.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn set_meta(&self, name: &str, value: &str) -> Result<()> {
        self.with(|index| index.set_meta(name, value))
    }

    /// Notes that the remote was looked at just now.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn note_fetch(&self, world: &World) -> Result<()> {
        self.set_meta("fetched", &world.clock.monotonic().as_millis().to_string())
    }

    /// How long ago the remote was looked at; `None` if it was not in this boot.
    #[must_use]
    pub fn fetch_age(&self, world: &World) -> Option<Duration> {
        let at: u64 = self.meta("fetched").ok()??.parse().ok()?;
        world.clock.monotonic().checked_sub(Duration::from_millis(at))
    }

    /// Tasks whose shared version moved but has not reached their file yet: an interrupted fetch goes on here.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn unabsorbed(&self) -> Result<BTreeSet<TaskId>> {
        let text = self.meta("unabsorbed")?.unwrap_or_default();
        Ok(text.split_ascii_whitespace().filter_map(|id| TaskId::parse(id).ok()).collect())
    }

    /// Remembers tasks whose shared version moved.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn remember_unabsorbed(&self, ids: &BTreeSet<TaskId>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut all = self.unabsorbed()?;
        all.extend(ids.iter().cloned());
        self.set_meta("unabsorbed", &join(&all))
    }

    /// Forgets tasks whose shared version has reached their file.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn forget_unabsorbed(&self, ids: &BTreeSet<TaskId>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let left: BTreeSet<TaskId> = self.unabsorbed()?.difference(ids).cloned().collect();
        self.set_meta("unabsorbed", &join(&left))
    }

    /// The stat token at which a shared file last agreed with the branch.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn settled(&self, path: &str) -> Result<Option<String>> {
        self.meta(&format!("file:{path}"))
    }

    /// Remembers that a shared file agrees with the branch.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn settle(&self, path: &str, token: &str) -> Result<()> {
        self.set_meta(&format!("file:{path}"), token)
    }
}

fn join(ids: &BTreeSet<TaskId>) -> String {
    ids.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" ")
}

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
    Row { id: task.id().clone(), stat, oid, base, facts: Some(Facts::of(task, to_doc(task))), problem: None }
}

/// The task without its history: what lists show, and what is left of a file when it is damaged.
fn to_doc(task: &Task) -> String {
    let mut value = wire::task_to_value(task, wire::Form::File);
    if let Value::Map(entries) = &mut value {
        entries.retain(|(key, _)| key != "history");
    }
    json::to_text(&value)
}

fn from_doc(doc: &str) -> Option<Task> {
    wire::summary_from_value(&json::from_text(doc)?).ok()
}

fn located(problem: &codec::Problem) -> Problem {
    Problem {
        text: problem.message.clone(),
        line: u32::try_from(problem.line).ok(),
        column: u32::try_from(problem.column).ok(),
    }
}
