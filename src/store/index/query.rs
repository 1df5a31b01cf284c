//! Single rows, sets with a name, and small facts about the index itself.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Params, params};

use super::parts::{Part, notes, rows, rows_and_bases};
use super::row::{COLUMNS, Row, from_sql, id_at, place_at, status_code, status_of};
use super::{Index, IndexError};
use crate::protocol::id::TaskId;
use crate::protocol::task::Status;
use crate::store::layout::key_of;
use crate::store::place::Place;

/// How many tasks there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// By status, without the archive; statuses without a task are absent.
    pub by_status: BTreeMap<Status, u64>,
    /// Quarantined files.
    pub problems: u64,
    /// Files in the archive.
    pub archived: u64,
}

impl Index {
    /// What is known of a task, in whatever case its id is written.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn get(&self, id: &TaskId) -> Result<Option<Row>, IndexError> {
        let text =
            format!("SELECT {COLUMNS} FROM task AS t LEFT JOIN doc AS d ON d.key = t.key WHERE t.key = ?1");
        let row = self
            .reads(|| vec![Part::row(id), Part::base(id)])
            .run(|c| c.prepare_cached(&text)?.query_row([key_of(id)], from_sql).optional())?;
        // Two names with one key would take a search for a collision; then only one of them is known here.
        Ok(row.filter(|row| row.id.folded() == id.folded()))
    }

    /// Where the file of a task lies; an unknown one would lie among the tasks.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn place(&self, id: &TaskId) -> Result<Place, IndexError> {
        let place = self.reads(|| vec![Part::row(id)]).run(|c| {
            c.prepare_cached("SELECT archived FROM task WHERE key = ?1")?
                .query_row([key_of(id)], |row| place_at(row, 0))
                .optional()
        })?;
        Ok(place.unwrap_or_default())
    }

    /// Tasks whose file's bytes are not what the local commit holds, oldest change first, at most `limit`;
    /// quarantined files are not among them.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn uncommitted(&self, limit: usize) -> Result<Vec<TaskId>, IndexError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.reads(rows_and_bases).run(|c| {
            c.prepare_cached(
                "SELECT id FROM task INDEXED BY dirty WHERE base IS NOT oid AND problem IS NULL \
                 ORDER BY updated LIMIT ?1",
            )?
            .query_map([limit], |row| id_at(row, 0))?
            .collect()
        })
    }

    /// Tasks that somebody holds, by the file; quarantined files are not among them.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn in_progress(&self) -> Result<Vec<Row>, IndexError> {
        let status = status_code(Status::InProgress);
        self.rows(
            "by_status",
            "t.status = ?1 AND t.problem IS NULL AND t.archived IS NULL ORDER BY t.priority, t.due, t.created, t.id",
            [status],
        )
    }

    /// The machines that hold a lease, each once, sorted.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn holding_machines(&self) -> Result<Vec<String>, IndexError> {
        self.reads(rows).run(|c| {
            let mut statement = c.prepare_cached(
                "SELECT DISTINCT machine FROM task INDEXED BY by_status \
                 WHERE status = ?1 AND problem IS NULL AND archived IS NULL AND machine IS NOT NULL ORDER BY machine",
            )?;
            statement.query_map([status_code(Status::InProgress)], |row| row.get(0))?.collect()
        })
    }

    /// Quarantined files, by id.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn problems(&self) -> Result<Vec<Row>, IndexError> {
        self.rows("trouble", "t.problem IS NOT NULL ORDER BY t.id", [])
    }

    /// Tasks with this idempotency key, oldest first.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn with_key(&self, idempotency_key: &str) -> Result<Vec<Row>, IndexError> {
        self.rows("same", "t.idem = ?1 ORDER BY t.created, t.id", [idempotency_key])
    }

    /// Tasks that are a part of this one, oldest first.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn children(&self, id: &TaskId) -> Result<Vec<Row>, IndexError> {
        self.rows("child", "t.parent = ?1 ORDER BY t.created, t.id", [id.as_str()])
    }

    /// How many tasks there are in each status.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn counts(&self) -> Result<Counts, IndexError> {
        self.reads(rows).run(|c| {
            let mut statement = c.prepare_cached(
                "SELECT status, count(*) FROM task INDEXED BY by_status WHERE problem IS NULL \
                 AND archived IS NULL GROUP BY status",
            )?;
            let mut counts = Counts::default();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if let Some(status) = row.get::<_, Option<i64>>(0)?.and_then(status_of) {
                    counts.by_status.insert(status, row.get(1)?);
                }
            }
            counts.problems = c
                .prepare_cached("SELECT count(*) FROM task INDEXED BY trouble WHERE problem IS NOT NULL")?
                .query_row([], |row| row.get(0))?;
            counts.archived = c
                .prepare_cached("SELECT count(*) FROM task INDEXED BY archived WHERE archived IS NOT NULL")?
                .query_row([], |row| row.get(0))?;
            Ok(counts)
        })
    }

    /// The highest epoch that this index was ever told for a task, also by versions of its file that were
    /// replaced since; 0 for an unknown task. What must outlive the index is kept in the observations.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn max_epoch(&self, id: &TaskId) -> Result<u64, IndexError> {
        let top = self.reads(|| vec![Part::row(id)]).run(|c| {
            c.prepare_cached("SELECT top_epoch FROM task WHERE key = ?1")?
                .query_row([key_of(id)], |row| row.get::<_, Option<i64>>(0))
                .optional()
        })?;
        Ok(u64::try_from(top.flatten().unwrap_or(0)).unwrap_or(0))
    }

    /// Every known id, in no particular order.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn ids(&self) -> Result<Vec<TaskId>, IndexError> {
        self.reads(rows)
            .run(|c| c.prepare_cached("SELECT id FROM task")?.query_map([], |row| id_at(row, 0))?.collect())
    }

    /// A small value that was kept under a name.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn meta(&self, name: &str) -> Result<Option<String>, IndexError> {
        self.reads(|| vec![Part::note(name)]).run(|c| {
            c.prepare_cached("SELECT value FROM meta WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()
        })
    }

    /// Keeps a small value under a name (`boot` is taken), as long as the index lives.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn set_meta(&mut self, name: &str, value: &str) -> Result<(), IndexError> {
        self.writes(|| vec![Part::note(name)]).run(|c| put_meta(c, name, value))
    }

    /// Marks things under a prefix: each gets a new random token.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn mark(&mut self, prefix: &str, names: &[&str]) -> Result<(), IndexError> {
        self.writes(|| notes(prefix, names.iter().copied())).run(|c| {
            let mut put =
                c.prepare_cached("REPLACE INTO meta(name, value) VALUES(?1, hex(randomblob(8)))")?;
            names.iter().try_for_each(|name| put.execute([format!("{prefix}{name}")]).map(drop))
        })
    }

    /// What is marked under a prefix (that ends in a blank), with the tokens.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn marked(&self, prefix: &str) -> Result<Vec<(String, String)>, IndexError> {
        debug_assert!(prefix.ends_with(' '), "the end of the range is the next character");
        let end = format!("{}!", prefix.trim_end());
        self.reads(|| vec![Part::Notes(prefix.to_owned())]).run(|c| {
            c.prepare_cached("SELECT substr(name, ?3), value FROM meta WHERE name >= ?1 AND name < ?2")?
                .query_map(params![prefix, end, prefix.len() + 1], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    /// Takes marks away, unless they were renewed meanwhile.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn unmark(&mut self, prefix: &str, marks: &[(&str, &str)]) -> Result<(), IndexError> {
        self.writes(|| notes(prefix, marks.iter().map(|(name, _)| *name))).run(|c| {
            let mut delete = c.prepare_cached("DELETE FROM meta WHERE name = ?1 AND value = ?2")?;
            marks
                .iter()
                .try_for_each(|(name, token)| delete.execute([&format!("{prefix}{name}"), *token]).map(drop))
        })
    }

    /// The rows of one index; naming it keeps SQLite from choosing another, which it cannot know to be huge.
    pub(super) fn rows(
        &self,
        index: &str,
        clauses: &str,
        params: impl Params,
    ) -> Result<Vec<Row>, IndexError> {
        let text = format!(
            "SELECT {COLUMNS} FROM task AS t INDEXED BY {index} \
             LEFT JOIN doc AS d ON d.key = t.key WHERE {clauses}"
        );
        self.reads(rows_and_bases).run(|c| c.prepare_cached(&text)?.query_map(params, from_sql)?.collect())
    }
}

pub(super) fn put_meta(c: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    debug_assert_ne!(name, "boot", "this name says for which boot the index is valid");
    c.prepare_cached("REPLACE INTO meta(name, value) VALUES(?1, ?2)")?.execute(params![name, value]).map(drop)
}
