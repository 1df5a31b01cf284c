//! Locks between the processes of one machine: one per task, and a few with names.
//!
//! They are an optimisation: what two machines, or a file system whose locks do nothing, might both do
//! is decided by compare-and-swap (`sync`). A lock file is never renamed over and never removed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::layout::Layout;
use crate::protocol::id::TaskId;
use crate::world::{Disk, LockGuard};

/// Locks that are not about one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// One push at a time; whoever holds it pushes for all.
    Sync,
    /// One local commit at a time.
    Commit,
    /// One fetch at a time; taken with [`Named::Sync`] held or without it, never the other way round.
    Fetch,
    /// Setting up a new index.
    Index,
}

impl Named {
    fn name(self) -> &'static str {
        match self {
            Named::Sync => "sync",
            Named::Commit => "commit",
            Named::Index => "index",
            Named::Fetch => "fetch",
        }
    }
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else held it for the whole time.
    #[error("{what} is locked by another process of this machine ({}, waited {waited:?}); try again", path.display())]
    Timeout {
        /// The lock file.
        path: PathBuf,
        /// What it protects.
        what: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The lock file could not be opened or locked.
    #[error("cannot lock {}: {source}; run `orch doctor` to test locks on this file system", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The lock of one task is held as long as this lives. What was read before must be read again.
#[must_use = "the lock is released when the guard is dropped"]
pub struct TaskLock {
    id: TaskId,
    _guard: Box<dyn LockGuard>,
}

impl TaskLock {
    /// The task that is locked.
    #[must_use]
    pub fn id(&self) -> &TaskId {
        &self.id
    }
}

/// A named lock is held as long as this lives.
#[must_use = "the lock is released when the guard is dropped"]
pub struct NamedLock {
    which: Named,
    _guard: Box<dyn LockGuard>,
}

impl NamedLock {
    /// Which lock it is.
    #[must_use]
    pub fn which(&self) -> Named {
        self.which
    }
}

/// Takes the lock of a task, waiting at most `wait`.
///
/// # Errors
/// [`LockError`], which names the lock file.
pub fn lock_task(
    disk: &dyn Disk,
    layout: &Layout,
    id: &TaskId,
    wait: Duration,
) -> Result<TaskLock, LockError> {
    let guard = lock(disk, &layout.task_lock(id), &format!("task {id}"), wait)?;
    Ok(TaskLock { id: id.clone(), _guard: guard })
}

/// Takes the locks of several tasks, each waiting at most `wait`, in one order for all processes so that
/// two of them never wait for each other. Ids that are the same name give one lock.
///
/// # Errors
/// [`LockError`] for the first that could not be taken; the others are released.
pub fn lock_tasks(
    disk: &dyn Disk,
    layout: &Layout,
    ids: &[TaskId],
    wait: Duration,
) -> Result<Vec<TaskLock>, LockError> {
    let mut ordered: Vec<(String, &TaskId)> = ids.iter().map(|id| (id.folded(), id)).collect();
    ordered.sort();
    ordered.dedup_by(|a, b| a.0 == b.0);
    ordered.into_iter().map(|(_, id)| lock_task(disk, layout, id, wait)).collect()
}

/// Takes a named lock, waiting at most `wait`.
///
/// # Errors
/// [`LockError`], which names the lock file.
pub fn lock_named(
    disk: &dyn Disk,
    layout: &Layout,
    which: Named,
    wait: Duration,
) -> Result<NamedLock, LockError> {
    let guard = lock(disk, &layout.named_lock(which.name()), which.name(), wait)?;
    Ok(NamedLock { which, _guard: guard })
}

fn lock(disk: &dyn Disk, path: &Path, what: &str, wait: Duration) -> Result<Box<dyn LockGuard>, LockError> {
    let taken = match disk.lock(path, wait) {
        // The directory is made when it is needed; nothing in it has to survive a power failure.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(false), |dir| disk.create_dir(dir)).and_then(|_| disk.lock(path, wait))
        }
        other => other,
    };
    match taken {
        Ok(Some(guard)) => Ok(guard),
        Ok(None) => Err(LockError::Timeout { path: path.to_owned(), what: what.to_owned(), waited: wait }),
        Err(source) => Err(LockError::Io { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_disk::{FailAt, TestDisk};

    fn id(text: &str) -> TaskId {
        TaskId::parse(text).unwrap()
    }

    #[test]
    fn a_second_holder_times_out_with_the_name_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let first = lock_task(&TestDisk, &layout, &id("A-1"), Duration::ZERO).unwrap();
        let second = lock_task(&TestDisk, &layout, &id("a-1"), Duration::from_millis(5));
        let message = second.err().unwrap().to_string();
        assert!(message.contains("task a-1") && message.contains("a-1.lock"), "{message}");
        let other = lock_task(&TestDisk, &layout, &id("B-1"), Duration::ZERO).unwrap();
        assert_eq!(other.id().as_str(), "B-1");
        drop(first);
        assert!(lock_task(&TestDisk, &layout, &id("a-1"), Duration::ZERO).is_ok());
    }

    #[test]
    fn named_locks_are_apart_and_errors_are_no_locks() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let sync = lock_named(&TestDisk, &layout, Named::Sync, Duration::ZERO).unwrap();
        assert_eq!(sync.which(), Named::Sync);
        assert!(lock_named(&TestDisk, &layout, Named::Commit, Duration::ZERO).is_ok());
        assert!(matches!(
            lock_named(&TestDisk, &layout, Named::Sync, Duration::ZERO),
            Err(LockError::Timeout { .. })
        ));
        let broken = lock_named(&FailAt::new(0, true), &layout, Named::Index, Duration::ZERO);
        assert!(matches!(broken, Err(LockError::Io { .. })));
    }

    #[test]
    fn several_locks_in_opposite_orders_never_wait_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let names = ["a", "B", "c", "A"];
        std::thread::scope(|scope| {
            for turn in 0..4 {
                let layout = &layout;
                scope.spawn(move || {
                    let mut ids: Vec<TaskId> = names.iter().map(|name| id(name)).collect();
                    ids.rotate_left(turn);
                    for _ in 0..50 {
                        let held = lock_tasks(&TestDisk, layout, &ids, Duration::from_secs(20)).unwrap();
                        assert_eq!(held.len(), 3);
                    }
                });
            }
        });
    }
}
