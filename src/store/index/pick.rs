//! The order of the queue: which ready tasks come first.
//!
//! A task rises one class per `ageing` that it has waited since it was added, never above P0; within a
//! class the order is due date (none last), creation, id. Nothing about ageing is stored: for each level
//! the classes that can contribute to it are read as windows of creation time, each from an index that
//! is in queue order already, and most windows are empty.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::parts::rows;
use super::row::{NO_DUE, due_of, id_at, priority_of};
use super::{Index, IndexError};
use crate::protocol::id::TaskId;
use crate::protocol::task::Priority;
use crate::protocol::time::Timestamp;

/// What to pick.
#[derive(Debug, Clone)]
pub struct Pick<'a> {
    /// The moment for `not_before` and ageing.
    pub now: Timestamp,
    /// Waiting time that lifts a task by one class; zero switches ageing off.
    pub ageing: Duration,
    /// How many at most.
    pub limit: usize,
    /// Tasks to pass over: lost races, tasks that another gate holds back.
    pub skip: &'a [TaskId],
}

/// A ready task in queue order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The task.
    pub id: TaskId,
    /// Its class as written.
    pub priority: Priority,
    /// Its class with ageing.
    pub level: Priority,
    /// Due date.
    pub due_at: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
}

/// Windows with at most this many tasks are sorted in memory instead of searched in queue order.
const SMALL: usize = 256;
/// So many tasks whose `not_before` has passed are worth a write that moves them to the main index.
const WAKE: usize = 256;

/// Ready without regard to time, and awake. Word for word the condition of the indexes `ready` and `dated`.
const READY: &str = "status = 0 AND unmet = 0 AND problem IS NULL AND asleep = 0";
/// The same, but asleep: the condition of the index `waking`. `?1` is now.
const WOKEN: &str = "status = 0 AND unmet = 0 AND problem IS NULL AND asleep = 1 AND start <= ?1";
/// No done task has the same idempotency key.
const UNIQUE: &str = "(idem IS NULL OR NOT EXISTS \
     (SELECT 1 FROM task AS twin WHERE twin.idem = task.idem AND twin.status = 3))";
/// A window of one class, and `not_before` has passed (clocks step back, so being awake is not enough).
const WITHIN: &str = "priority = ?2 AND created BETWEEN ?3 AND ?4 AND (start IS NULL OR start <= ?1)";
const SELECT: &str = "SELECT id, priority, due, created FROM task";
const IN_ORDER: &str = "ORDER BY due, created, id LIMIT ?5";

impl Index {
    /// The first ready tasks in queue order: pending, needs satisfied, `not_before` passed, no done task with
    /// the same idempotency key, file not quarantined. Whether the queue is paused is for others to ask.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn pick(&mut self, pick: &Pick<'_>) -> Result<Vec<Candidate>, IndexError> {
        let (found, woken) = self.reads(rows).run(|c| {
            let woken = woken(c, pick)?;
            let count = woken.len();
            Ok((first_ready(c, pick, woken)?, count))
        })?;
        if woken > WAKE {
            // Only a question of speed, so a busy index is no reason to fail.
            let _ = self
                .writes(rows)
                .run(|c| c.execute(&format!("UPDATE task SET asleep = 0 WHERE {WOKEN}"), [pick.now.0]));
        }
        Ok(found)
    }
}

/// Tasks that slept, and whose `not_before` has passed by now.
fn woken(c: &Connection, pick: &Pick<'_>) -> rusqlite::Result<Vec<Candidate>> {
    let mut statement =
        c.prepare_cached(&format!("{SELECT} INDEXED BY waking WHERE {WOKEN} AND {UNIQUE}"))?;
    let rows = statement.query_map([pick.now.0], |row| candidate(row, pick))?;
    rows.collect()
}

fn first_ready(
    c: &Connection,
    pick: &Pick<'_>,
    mut woken: Vec<Candidate>,
) -> rusqlite::Result<Vec<Candidate>> {
    let oldest = oldest(c)?;
    woken.sort_by(queue_order);
    let mut found = Vec::new();
    for level in 0..=3 {
        let awake_until = woken.partition_point(|task| task.level <= priority_of(level));
        let mut here: Vec<Candidate> = woken.drain(..awake_until).collect();
        add_level(c, pick, level, &oldest, &mut here)?;
        here.sort_by(queue_order);
        found.extend(here.into_iter().filter(|task| !pick.skip.contains(&task.id)));
        if found.len() >= pick.limit {
            break;
        }
    }
    found.truncate(pick.limit);
    Ok(found)
}

/// Order of the queue among tasks whose level is known.
fn queue_order(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    let due = |task: &Candidate| task.due_at.map_or(NO_DUE, |at| at.0);
    (a.level, due(a), a.created_at, &a.id).cmp(&(b.level, due(b), b.created_at, &b.id))
}

fn candidate(row: &rusqlite::Row<'_>, pick: &Pick<'_>) -> rusqlite::Result<Candidate> {
    let (priority, created): (i64, i64) = (row.get(1)?, row.get(3)?);
    Ok(Candidate {
        id: id_at(row, 0)?,
        priority: priority_of(priority),
        level: priority_of(priority - steps(pick, created)),
        due_at: due_of(row.get(2)?),
        created_at: Timestamp(created),
    })
}

/// How many classes a task that was added then has risen.
fn steps(pick: &Pick<'_>, created: i64) -> i64 {
    let (ageing, waited) = (span(pick.ageing), pick.now.0.saturating_sub(created));
    if ageing == 0 || waited < ageing { 0 } else { waited / ageing }
}

fn span(ageing: Duration) -> i64 {
    i64::try_from(ageing.as_millis()).unwrap_or(i64::MAX)
}

/// Creation times, both ends included, of the tasks of one class that stand at one level.
#[derive(Debug, Clone, Copy)]
struct Window {
    class: i64,
    from: i64,
    to: i64,
    /// Whether these tasks have risen to this level.
    risen: bool,
}

fn windows(pick: &Pick<'_>, level: i64) -> Vec<Window> {
    let (ageing, now) = (span(pick.ageing), pick.now.0);
    let waited = |steps: i64| now.saturating_sub(ageing.saturating_mul(steps));
    let classes = if ageing == 0 { level..=level } else { level..=3 };
    classes
        .map(|class| {
            let risen = class - level;
            // At the top level everything that is old enough has arrived, however old.
            let from = if level == 0 || ageing == 0 { i64::MIN } else { waited(risen + 1).saturating_add(1) };
            let to = if risen == 0 { i64::MAX } else { waited(risen) };
            Window { class, from, to, risen: risen > 0 }
        })
        .collect()
}

/// Adds the first awake candidates of one level, more than enough of them, in no order.
fn add_level(
    c: &Connection,
    pick: &Pick<'_>,
    level: i64,
    oldest: &[i64; 4],
    here: &mut Vec<Candidate>,
) -> rusqlite::Result<()> {
    let want = pick.limit.saturating_add(pick.skip.len());
    let mut windows = windows(pick, level);
    windows.retain(|window| oldest[window.class as usize] <= window.to);
    let before = here.len();
    for window in &windows {
        add_dated(c, pick, *window, want, here)?;
    }
    // Due dates come first, so the rest of the level is only of interest if these were not enough.
    if here.len() - before < want {
        for window in &windows {
            let text = format!(
                "{SELECT} INDEXED BY ready WHERE {READY} AND due = {NO_DUE} AND {WITHIN} AND {UNIQUE} {IN_ORDER}"
            );
            add(c, &text, pick, *window, want, here)?;
        }
    }
    Ok(())
}

/// A window of risen tasks may be a few among many that have not: those are found by time and sorted later.
/// Among tasks that have not risen nearly every one fits, as the risen ones were looked at before.
fn add_dated(
    c: &Connection,
    pick: &Pick<'_>,
    window: Window,
    want: usize,
    here: &mut Vec<Candidate>,
) -> rusqlite::Result<()> {
    if window.risen {
        let before = here.len();
        let text = format!(
            "{SELECT} INDEXED BY dated WHERE {READY} AND due < {NO_DUE} AND {WITHIN} AND {UNIQUE} LIMIT ?5"
        );
        add(c, &text, pick, window, SMALL + 1, here)?;
        if here.len() - before <= SMALL {
            return Ok(());
        }
        here.truncate(before);
    }
    let text = format!(
        "{SELECT} INDEXED BY ready WHERE {READY} AND due < {NO_DUE} AND {WITHIN} AND {UNIQUE} {IN_ORDER}"
    );
    add(c, &text, pick, window, want, here)
}

fn add(
    c: &Connection,
    text: &str,
    pick: &Pick<'_>,
    window: Window,
    limit: usize,
    here: &mut Vec<Candidate>,
) -> rusqlite::Result<()> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = c.prepare_cached(text)?;
    let rows = statement
        .query_map(params![pick.now.0, window.class, window.from, window.to, limit], |row| {
            candidate(row, pick)
        })?;
    for row in rows {
        here.push(row?);
    }
    Ok(())
}

/// Earliest creation of an awake ready task of each class; the end of time for an empty one.
fn oldest(c: &Connection) -> rusqlite::Result<[i64; 4]> {
    let text = format!(
        "SELECT min(ifnull((SELECT created FROM task INDEXED BY dated WHERE {READY} AND due < {NO_DUE} AND \
         priority = ?1 ORDER BY created LIMIT 1), {NO_DUE}), ifnull((SELECT created FROM task INDEXED BY ready \
         WHERE {READY} AND due = {NO_DUE} AND priority = ?1 ORDER BY created LIMIT 1), {NO_DUE}))"
    );
    let mut statement = c.prepare_cached(&text)?;
    let mut ages = [NO_DUE; 4];
    for (class, slot) in (0i64..).zip(&mut ages) {
        *slot = statement.query_row([class], |row| row.get(0))?;
    }
    Ok(ages)
}
