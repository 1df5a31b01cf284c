//! Many files at once: writing them together, reading them, judging them without the disk, and telling the
//! index about those that are plainly in order. Whatever is not is left to be looked at one by one, under the
//! lock of its task.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::invariant;
use crate::protocol::task::Task;
use crate::world::{Oid, Stat, World};

use super::atomic;
use super::codec;
use super::error::StoreError;
use super::index::Row;
use super::place::Place;
use super::seal::Seal;
use super::task_lock::{self, TaskLock};
use super::tasks::{Publish, Store, row};

/// A file as it was read.
pub struct Raw {
    /// Whose file it is, by its name.
    pub id: TaskId,
    /// Where it lies.
    pub place: Place,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Its stat when it held that.
    pub stat: Stat,
    /// Object id of its bytes.
    pub oid: Oid,
}

/// A file that is in order, ready for the index.
pub struct Fit(Row);

/// Judges files: those that are valid, sealed, of the task that they are named after and equal to the replay
/// of their history, and the ids and places of the others. Touches nothing, so that a thread can do it.
#[must_use]
pub fn judge(files: Vec<(Raw, Publish)>) -> (Vec<Fit>, Vec<(TaskId, Place)>) {
    let mut fits = Vec::with_capacity(files.len());
    let mut others = Vec::new();
    for (raw, publish) in files {
        let decoded = codec::decode(&raw.bytes).ok().filter(|d| d.seal == Seal::Valid);
        match decoded.map(|d| d.task).filter(|t| *t.id() == raw.id && invariant::check(t).is_empty()) {
            Some(task) => {
                let row = row(&task, raw.stat, raw.oid, publish, None);
                fits.push(Fit(Row { place: raw.place, ..row }));
            }
            None => others.push((raw.id, raw.place)),
        }
    }
    (fits, others)
}

impl Store {
    /// Takes the locks of several tasks, in one order for all processes.
    ///
    /// # Errors
    /// As [`Store::lock_task`]; none is held then.
    pub fn lock_tasks(
        &self,
        world: &World,
        ids: &[TaskId],
        wait: Duration,
    ) -> Result<Vec<TaskLock>, StoreError> {
        Ok(task_lock::lock_tasks(&*world.disk, &self.layout, ids, wait)?)
    }

    /// Makes everything durable that lies among the tasks now, with one sync of the file system.
    ///
    /// # Errors
    /// The disk says no.
    pub fn make_durable(&self, world: &World) -> Result<(), StoreError> {
        let path = self.layout.tasks();
        world.disk.sync_fs(&path).map_err(|source| StoreError::Io {
            step: "sync the file system of",
            path,
            source,
        })
    }

    /// Writes the files of many tasks that have none yet, durably, with two syncs of the file system.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_many(&self, world: &World, tasks: &[(Task, Place, Publish)]) -> Result<(), StoreError> {
        if tasks.is_empty() {
            return Ok(());
        }
        let files: Vec<_> = tasks
            .iter()
            .map(|(task, place, _)| (self.layout.file(task.id(), *place), codec::encode(task)))
            .collect();
        if let Some(((task, ..), _)) = tasks.iter().zip(&files).find(|(_, (_, bytes))| !codec::fits(bytes)) {
            return Err(StoreError::TooLarge { id: task.id().to_string(), limit: codec::FILE_MAX as u64 });
        }
        let stats = atomic::write_many(&*world.disk, &files)?;
        let rows = tasks
            .iter()
            .zip(&files)
            .zip(stats)
            .map(|(((task, place, publish), (_, bytes)), stat)| {
                let row = row(task, stat, world.objects.hash_blob(bytes), *publish, None);
                Row { place: *place, ..row }
            })
            .collect::<Vec<_>>();
        self.with(|index| index.put(&rows))
    }

    /// Writes the files of tasks to another place, and removes them where they lay before.
    ///
    /// # Errors
    /// As [`Store::write`]; no file is lost then, some may lie in both places.
    pub fn move_many(&self, world: &World, tasks: &[(Task, Place, Publish)]) -> Result<(), StoreError> {
        let mut before = Vec::with_capacity(tasks.len());
        for (task, place, _) in tasks {
            let path = self.file(world, task.id())?;
            before.extend((path != self.layout.file(task.id(), *place)).then_some(path));
        }
        self.write_many(world, tasks)?;
        before.iter().try_for_each(|path| self.remove_local(world, path))
    }

    /// Reads a file without judging it; `None` if it is not there or cannot be read.
    #[must_use]
    pub fn read_raw(&self, world: &World, id: &TaskId, place: Place) -> Option<Raw> {
        let path = self.layout.file(id, place);
        let (bytes, stat) = atomic::read(&*world.disk, &path, codec::FILE_MAX as u64).ok().flatten()?;
        let oid = world.objects.hash_blob(&bytes);
        Some(Raw { id: id.clone(), place, bytes, stat, oid })
    }

    /// Tells the index about files that it does not know. Files that it does know by now are passed over:
    /// whoever told it wrote them under the lock of the task.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn admit_new(&self, fits: &[Fit]) -> Result<(), StoreError> {
        self.with(|index| index.put_new(fits.iter().map(|fit| &fit.0)))
    }
}
