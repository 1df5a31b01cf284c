//! Queries over the queue as a whole: for reports, never for decisions.

use super::parts::rows_and_bases;
use super::row::{id_at, place_at, priority_of, split_ids, status_of};
use super::{Index, IndexError};
use crate::protocol::id::TaskId;
use crate::protocol::task::{Priority, Status};
use crate::protocol::time::Timestamp;
use crate::store::place::Place;
use crate::world::Oid;

/// A task in one line, as reports about the whole queue need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// The task.
    pub id: TaskId,
    /// Git object id of its file's bytes.
    pub oid: Oid,
    /// Where it stands; `None` for a quarantined file of which nothing else is known.
    pub status: Option<Status>,
    /// Its class as written.
    pub priority: Priority,
    /// One line.
    pub title: String,
    /// Tasks that must be done first.
    pub needs: Vec<TaskId>,
    /// Time of its last operation.
    pub updated_at: Timestamp,
    /// Whether its file is quarantined.
    pub quarantined: bool,
    /// Where its file lies.
    pub place: Place,
    /// Whether the file holds what was published or committed last.
    pub settled: bool,
}

impl Index {
    /// Every task, the one with the newest operation first.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn briefs(&self) -> Result<Vec<Brief>, IndexError> {
        self.reads(rows_and_bases).run(|c| {
            c.prepare_cached(
                "SELECT id, oid, status, priority, title, needs, updated, problem IS NOT NULL, \
                 archived, base IS oid FROM task \
                 ORDER BY updated DESC, id",
            )?
            .query_map([], |row| {
                let oid: Option<[u8; 20]> = row.get_ref(1)?.as_blob()?.try_into().ok();
                Ok(Brief {
                    id: id_at(row, 0)?,
                    oid: Oid(oid.unwrap_or_default()),
                    status: row.get::<_, Option<i64>>(2)?.and_then(status_of),
                    priority: priority_of(row.get::<_, Option<i64>>(3)?.unwrap_or(2)),
                    title: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
                    needs: split_ids(&row.get::<_, Option<String>>(5)?.unwrap_or_default()),
                    updated_at: Timestamp(row.get::<_, Option<i64>>(6)?.unwrap_or(0)),
                    quarantined: row.get(7)?,
                    place: place_at(row, 8)?,
                    settled: row.get(9)?,
                })
            })?
            .collect()
        })
    }

    /// How many tasks hold something that is not committed or published yet.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn count_uncommitted(&self) -> Result<u64, IndexError> {
        self.reads(rows_and_bases).run(|c| {
            c.prepare_cached(
                "SELECT count(*) FROM task INDEXED BY dirty WHERE base IS NOT oid AND problem IS NULL",
            )?
            .query_row([], |row| row.get(0))
        })
    }
}
