//! What the index answers about tasks: which are ready, what depends on what, which ids are taken.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::task::{Status, Task};
use crate::protocol::time::Timestamp;
use crate::world::World;

use super::error::StoreError;
use super::index::{self, Pick};
use super::place::Month;
use super::tasks::{BATCH, Store, from_doc};

type Result<T> = std::result::Result<T, StoreError>;

impl Store {
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

    /// The machines that hold a lease, each once, sorted.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn holding_machines(&self) -> Result<Vec<String>> {
        self.with(|index| index.holding_machines())
    }

    /// How many tasks there are in each status, and how many files are quarantined.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn counts(&self) -> Result<index::Counts> {
        self.with(|index| index.counts())
    }

    /// The months of which the archive holds files, oldest first.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn months(&self) -> Result<Vec<Month>> {
        self.with(|index| index.months())
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
}
