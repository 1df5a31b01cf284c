//! The graph of needs.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension};

use super::parts::rows;
use super::row::{Row, id_at, split_ids, status_of};
use super::{Index, IndexError};
use crate::protocol::id::TaskId;
use crate::protocol::task::Status;
use crate::store::layout::key_of;

impl Index {
    /// Tasks that need this one, by id.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn dependants(&self, id: &TaskId) -> Result<Vec<TaskId>, IndexError> {
        self.reads(rows).run(|c| {
            c.prepare_cached(
                "SELECT t.id FROM need AS n JOIN task AS t ON t.key = n.task WHERE n.need = ?1 ORDER BY t.id",
            )?
            .query_map([key_of(id)], |row| id_at(row, 0))?
            .collect()
        })
    }

    /// The needs of a task with the status of each; `None` = no such task is known.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn needs(&self, id: &TaskId) -> Result<Vec<(TaskId, Option<Status>)>, IndexError> {
        self.reads(rows).run(|c| {
            let mut statement = c.prepare_cached("SELECT status FROM task WHERE key = ?1")?;
            let mut found = Vec::new();
            for need in needs_of(c, key_of(id))? {
                let code: Option<i64> =
                    statement.query_row([key_of(&need)], |row| row.get(0)).optional()?.flatten();
                found.push((need, code.and_then(status_of)));
            }
            Ok(found)
        })
    }

    /// Pending tasks with a need that failed or was cancelled, and that do not run regardless: they are to
    /// be blocked or cancelled. By id, at most `limit`.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn doomed(&self, limit: usize) -> Result<Vec<Row>, IndexError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.rows(
            "doomed",
            "t.status = 0 AND t.problem IS NULL AND t.doomed > 0 ORDER BY t.id LIMIT ?1",
            [limit],
        )
    }

    /// All edges: each task that has needs, with them.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn edges(&self) -> Result<Vec<(TaskId, Vec<TaskId>)>, IndexError> {
        self.reads(rows).run(|c| {
            c.prepare_cached("SELECT id, needs FROM task WHERE key IN (SELECT task FROM need) ORDER BY id")?
                .query_map([], |row| Ok((id_at(row, 0)?, split_ids(row.get_ref(1)?.as_str()?))))?
                .collect()
        })
    }

    /// A way along needs from one of `from` to `to`, both ends included: if `to` is to need the tasks in
    /// `from`, this is the cycle that it would close. `None` if there is no way. Looks only at tasks that
    /// can be reached.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn path(&self, from: &[TaskId], to: &TaskId) -> Result<Option<Vec<TaskId>>, IndexError> {
        self.reads(rows).run(|c| {
            let goal = key_of(to);
            let mut came_from: BTreeMap<i64, Option<i64>> = BTreeMap::new();
            let mut names: BTreeMap<i64, TaskId> = BTreeMap::new();
            let mut open: BTreeSet<i64> = BTreeSet::new();
            for id in from {
                came_from.insert(key_of(id), None);
                names.insert(key_of(id), id.clone());
                open.insert(key_of(id));
            }
            while let Some(key) = open.pop_first() {
                if key == goal {
                    return Ok(Some(walk_back(&came_from, &names, key)));
                }
                for need in needs_of(c, key)? {
                    let next = key_of(&need);
                    if let std::collections::btree_map::Entry::Vacant(slot) = came_from.entry(next) {
                        slot.insert(Some(key));
                        names.insert(next, need);
                        open.insert(next);
                    }
                }
            }
            Ok(None)
        })
    }
}

fn walk_back(came_from: &BTreeMap<i64, Option<i64>>, names: &BTreeMap<i64, TaskId>, end: i64) -> Vec<TaskId> {
    let steps = std::iter::successors(Some(end), |key| came_from.get(key).copied().flatten());
    let mut way: Vec<TaskId> = steps.filter_map(|key| names.get(&key).cloned()).collect();
    way.reverse();
    way
}

fn needs_of(c: &Connection, key: i64) -> rusqlite::Result<Vec<TaskId>> {
    let column: Option<String> = c
        .prepare_cached("SELECT needs FROM task WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?
        .flatten();
    Ok(split_ids(&column.unwrap_or_default()))
}
