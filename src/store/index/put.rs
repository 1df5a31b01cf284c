//! Changing rows, and keeping the two counters of needs right while doing so.

use rusqlite::{Connection, OptionalExtension, params};

use super::parts::{Part, whole};
use super::row::{Facts, NO_DUE, Row};
use super::row::{
    RUN, inode_column, join_ids, join_tags, onf_code, priority_code, signed, split_ids, status_code,
};
use super::{Index, IndexError};
use crate::protocol::id::TaskId;
use crate::protocol::task::Status;
use crate::store::layout::{key_of, shard_of_key};
use crate::store::place::Month;
use crate::world::Oid;

/// How a task counts for those that need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Unknown, or not ended.
    Open,
    /// Done.
    Done,
    /// Failed or cancelled.
    Failed,
}

impl Class {
    fn of(status: Option<i64>) -> Class {
        match status {
            Some(code) if code == status_code(Status::Done) => Class::Done,
            Some(code) if code == status_code(Status::Failed) || code == status_code(Status::Cancelled) => {
                Class::Failed
            }
            _ => Class::Open,
        }
    }

    /// (unmet, doomed) that one need of this class adds to a task.
    fn weight(self, onf: i64) -> (i64, i64) {
        match self {
            Class::Open => (1, 0),
            Class::Done => (0, 0),
            Class::Failed if onf == RUN => (0, 0),
            Class::Failed => (1, 1),
        }
    }
}

/// What the row said before, as far as others depend on it.
#[derive(Default)]
struct Before {
    status: Option<i64>,
    onf: i64,
    needs: String,
    /// Where the file lay: none is among the tasks.
    archived: Option<u32>,
}

impl Index {
    /// Puts rows, all or none, replacing what was known of these tasks. A row without facts (a quarantined
    /// file) keeps the facts of the last valid version. Dependants are kept up to date.
    ///
    /// # Errors
    /// [`IndexError`]; nothing was changed then.
    pub fn put(&mut self, rows: &[Row]) -> Result<(), IndexError> {
        // In the order of the keys, many rows are written page by page instead of all over the file.
        let mut ordered: Vec<(i64, &Row)> = rows.iter().map(|row| (key_of(&row.id), row)).collect();
        ordered.sort_by_key(|(key, _)| *key);
        self.writes(|| whole(rows.iter().map(|row| &row.id)))
            .run(|c| ordered.iter().try_for_each(|(key, row)| put_one(c, *key, row)))
    }

    /// Puts rows of tasks that the index does not know, all or none; those that it knows stay as they are.
    ///
    /// # Errors
    /// [`IndexError`]; nothing was changed then.
    pub fn put_new<'r>(&mut self, rows: impl Iterator<Item = &'r Row>) -> Result<(), IndexError> {
        let mut ordered: Vec<(i64, &Row)> = rows.map(|row| (key_of(&row.id), row)).collect();
        if ordered.is_empty() {
            return Ok(());
        }
        ordered.sort_by_key(|(key, _)| *key);
        self.writes(|| whole(ordered.iter().map(|(_, row)| &row.id))).run(|c| {
            ordered.iter().try_for_each(|(key, row)| match before(c, *key)? {
                Some(_) => Ok(()),
                None => put_over(c, *key, row, &Before::default()),
            })
        })
    }

    /// Forgets tasks whose files are gone for good, all or none.
    ///
    /// # Errors
    /// [`IndexError`]; nothing was changed then.
    pub fn remove(&mut self, ids: &[TaskId]) -> Result<(), IndexError> {
        self.writes(|| whole(ids)).run(|c| ids.iter().try_for_each(|id| remove_one(c, key_of(id))))
    }

    /// Sets what the local commit holds for these tasks; unknown tasks are passed over.
    ///
    /// # Errors
    /// [`IndexError`]; nothing was changed then.
    pub fn set_bases(&mut self, bases: &[(TaskId, Option<Oid>)]) -> Result<(), IndexError> {
        self.writes(|| bases.iter().map(|(id, _)| Part::base(id)).collect()).run(|c| {
            let mut update = c.prepare_cached("UPDATE task SET base = ?2 WHERE key = ?1")?;
            bases.iter().try_for_each(|(id, base)| {
                update.execute(params![key_of(id), base.map(|oid| oid.0)]).map(drop)
            })
        })
    }
}

fn put_one(c: &Connection, key: i64, row: &Row) -> rusqlite::Result<()> {
    let known = before(c, key)?;
    let archived = row.place.month().map(Month::code);
    if let Some(before) = known.as_ref().filter(|before| before.archived != archived) {
        // The file lies in both places until the old one is removed. Whoever dies in between leaves a folder that
        // looks as it was recorded, so that nobody would ever look into it again: the next scan is to list it.
        let left = before.archived.map_or_else(|| i64::from(shard_of_key(key)), i64::from);
        c.prepare_cached("DELETE FROM dir WHERE shard = ?1")?.execute([left])?;
    }
    put_over(c, key, row, &known.unwrap_or_default())
}

fn put_over(c: &Connection, key: i64, row: &Row, before: &Before) -> rusqlite::Result<()> {
    let Some(facts) = &row.facts else {
        return put_quarantined(c, key, row);
    };
    put_whole(c, key, row, facts)?;
    let doc = "REPLACE INTO doc(key, json, history) VALUES(?1, ?2, ?3)";
    c.prepare_cached(doc)?.execute(params![key, facts.doc, facts.history])?;
    // First those that depend on this task, by the edges that were counted so far; then its own counters
    // from nothing, which also settles a task that needs itself.
    let (was, is) = (Class::of(before.status), Class::of(Some(status_code(facts.status))));
    if was != is {
        shift_dependants(c, key, was, is)?;
    }
    let (onf, needs) = (onf_code(facts.on_need_failed), join_ids(&facts.needs));
    if needs != before.needs {
        put_edges(c, key, &before.needs, &facts.needs)?;
    }
    if needs != before.needs || (onf != before.onf && !needs.is_empty()) {
        recount(c, key, onf)?;
    }
    Ok(())
}

fn before(c: &Connection, key: i64) -> rusqlite::Result<Option<Before>> {
    c.prepare_cached("SELECT status, onf, needs, archived FROM task WHERE key = ?1")?
        .query_row([key], |row| {
            Ok(Before {
                status: row.get(0)?,
                onf: row.get::<_, Option<i64>>(1)?.unwrap_or_default(),
                needs: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
                archived: row.get(3)?,
            })
        })
        .optional()
}

/// The file of a task changed, but what it says is not to be believed.
fn put_quarantined(c: &Connection, key: i64, row: &Row) -> rusqlite::Result<()> {
    let problem = row.problem.as_ref();
    c.prepare_cached(
        "INSERT INTO task(key, id, size, mtime, ctime, inode, oid, base, problem, line, col, archived) \
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
         ON CONFLICT(key) DO UPDATE SET id = ?2, size = ?3, mtime = ?4, ctime = ?5, inode = ?6, oid = ?7, \
         base = ?8, problem = ?9, line = ?10, col = ?11, archived = ?12",
    )?
    .execute(params![
        key,
        row.id.as_str(),
        signed(row.stat.size),
        row.stat.mtime_ns,
        row.stat.ctime_ns,
        inode_column(&row.stat),
        row.oid.0,
        row.base.map(|oid| oid.0),
        problem.map_or("quarantined", |p| p.text.as_str()),
        problem.and_then(|p| p.line),
        problem.and_then(|p| p.column),
        row.place.month().map(Month::code),
    ])?;
    Ok(())
}

const PUT: &str = "
INSERT INTO task(key, id, size, mtime, ctime, inode, oid, base, status, priority, onf, due, created, updated, start,
  asleep, epoch, top_epoch, beat, attempt, session, machine, idem, title, tags, needs, parent, problem, line, col,
  archived)
VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?15 IS NOT NULL, ?16, ?16, ?17, ?18, ?19,
  ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29)
ON CONFLICT(key) DO UPDATE SET id = ?2, size = ?3, mtime = ?4, ctime = ?5, inode = ?6, oid = ?7, base = ?8,
  status = ?9, priority = ?10, onf = ?11, due = ?12, created = ?13, updated = ?14, start = ?15,
  asleep = ?15 IS NOT NULL, epoch = ?16, top_epoch = max(?16, ifnull(top_epoch, 0)), beat = ?17, attempt = ?18,
  session = ?19, machine = ?20, idem = ?21, title = ?22, tags = ?23, needs = ?24, parent = ?25, problem = ?26,
  line = ?27, col = ?28, archived = ?29";

fn put_whole(c: &Connection, key: i64, row: &Row, facts: &Facts) -> rusqlite::Result<()> {
    let (holder, problem) = (facts.holder.as_ref(), row.problem.as_ref());
    c.prepare_cached(PUT)?.execute(params![
        key,
        row.id.as_str(),
        signed(row.stat.size),
        row.stat.mtime_ns,
        row.stat.ctime_ns,
        inode_column(&row.stat),
        row.oid.0,
        row.base.map(|oid| oid.0),
        status_code(facts.status),
        priority_code(facts.priority),
        onf_code(facts.on_need_failed),
        facts.due_at.map_or(NO_DUE, |at| at.0),
        facts.created_at.0,
        facts.updated_at.0,
        facts.not_before.map(|at| at.0),
        signed(facts.epoch),
        signed(facts.beat),
        facts.attempt,
        holder.map(|h| &h.session),
        holder.map(|h| &h.machine),
        facts.idempotency_key,
        facts.title,
        join_tags(&facts.tags),
        join_ids(&facts.needs),
        facts.parent.as_ref().map(TaskId::as_str),
        problem.map(|p| &p.text),
        problem.and_then(|p| p.line),
        problem.and_then(|p| p.column),
        row.place.month().map(Month::code),
    ])?;
    Ok(())
}

fn remove_one(c: &Connection, key: i64) -> rusqlite::Result<()> {
    let before = before(c, key)?.unwrap_or_default();
    let was = Class::of(before.status);
    if was != Class::Open {
        shift_dependants(c, key, was, Class::Open)?;
    }
    put_edges(c, key, &before.needs, &[])?;
    c.prepare_cached("DELETE FROM task WHERE key = ?1")?.execute([key])?;
    c.prepare_cached("DELETE FROM doc WHERE key = ?1")?.execute([key])?;
    Ok(())
}

/// Moves the counters of all that need this task from one class to the other.
fn shift_dependants(c: &Connection, key: i64, was: Class, is: Class) -> rusqlite::Result<()> {
    let step = |onf| {
        let ((unmet, doomed), (unmet_now, doomed_now)) = (was.weight(onf), is.weight(onf));
        (unmet_now - unmet, doomed_now - doomed)
    };
    let ((unmet_run, doomed_run), (unmet, doomed)) = (step(RUN), step(RUN - 1));
    c.prepare_cached(
        "UPDATE task SET unmet = unmet + iif(onf = 2, ?2, ?4), doomed = doomed + iif(onf = 2, ?3, ?5) \
         WHERE key IN (SELECT task FROM need WHERE need = ?1)",
    )?
    .execute([key, unmet_run, doomed_run, unmet, doomed])?;
    Ok(())
}

fn put_edges(c: &Connection, key: i64, old: &str, new: &[TaskId]) -> rusqlite::Result<()> {
    let mut delete = c.prepare_cached("DELETE FROM need WHERE need = ?1 AND task = ?2")?;
    for need in split_ids(old) {
        delete.execute([key_of(&need), key])?;
    }
    let mut insert = c.prepare_cached("INSERT OR IGNORE INTO need(need, task) VALUES(?1, ?2)")?;
    for need in new {
        insert.execute([key_of(need), key])?;
    }
    Ok(())
}

/// Counts the needs of one task from nothing.
fn recount(c: &Connection, key: i64, onf: i64) -> rusqlite::Result<()> {
    let needs: Option<String> =
        c.prepare_cached("SELECT needs FROM task WHERE key = ?1")?.query_row([key], |row| row.get(0))?;
    let mut keys: Vec<i64> = split_ids(&needs.unwrap_or_default()).iter().map(key_of).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut status = c.prepare_cached("SELECT status FROM task WHERE key = ?1")?;
    let (mut unmet, mut doomed) = (0, 0);
    for need in keys {
        let known: Option<i64> = status.query_row([need], |row| row.get(0)).optional()?.flatten();
        let (more_unmet, more_doomed) = Class::of(known).weight(onf);
        unmet += more_unmet;
        doomed += more_doomed;
    }
    c.prepare_cached("UPDATE task SET unmet = ?2, doomed = ?3 WHERE key = ?1")?
        .execute([key, unmet, doomed])?;
    Ok(())
}
