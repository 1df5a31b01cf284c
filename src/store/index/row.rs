//! One row of the index and its mapping to columns.

use rusqlite::Row as SqlRow;

use crate::protocol::id::TaskId;
use crate::protocol::task::{OnNeedFailed, Priority, Status, Task};
use crate::protocol::time::Timestamp;
use crate::store::place::{Month, Place};
use crate::world::{FileKind, Oid, Stat};

/// What the index knows about one task file.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The task; unique without regard to case.
    pub id: TaskId,
    /// The file as it was when its bytes were read or written.
    pub stat: Stat,
    /// Git object id of the file's bytes.
    pub oid: Oid,
    /// Object id that the local commit holds for this task; `None` = not committed yet.
    pub base: Option<Oid>,
    /// Where the file lies.
    pub place: Place,
    /// What a valid file says. Beside a problem: what the last valid version said, if one was known here.
    pub facts: Option<Facts>,
    /// Why the file is quarantined.
    pub problem: Option<Problem>,
}

/// What a valid task file says, as far as queries need it.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Where the task stands.
    pub status: Status,
    /// Urgency as written, without ageing.
    pub priority: Priority,
    /// What a failed need does.
    pub on_need_failed: OnNeedFailed,
    /// When it should be finished.
    pub due_at: Option<Timestamp>,
    /// First operation.
    pub created_at: Timestamp,
    /// Last operation.
    pub updated_at: Timestamp,
    /// Not to be claimed before.
    pub not_before: Option<Timestamp>,
    /// Fencing token (saturates at 2^63-1).
    pub epoch: u64,
    /// Heartbeats of the current epoch; 0 without a lease.
    pub beat: u64,
    /// Attempts that count.
    pub attempt: u32,
    /// Who holds it.
    pub holder: Option<Holder>,
    /// At most one done task per key.
    pub idempotency_key: Option<String>,
    /// One line.
    pub title: String,
    /// Labels.
    pub tags: Vec<String>,
    /// Tasks that must be done first.
    pub needs: Vec<TaskId>,
    /// The task that this is a part of.
    pub parent: Option<TaskId>,
    /// The task without its history, as compact JSON with the keys of the file.
    pub doc: String,
    /// Digest of its history, by which an edit by hand of the rest of the file is told from one of the history.
    pub history: String,
}

/// A holder of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Session.
    pub session: String,
    /// Its machine.
    pub machine: String,
}

/// Why a file is quarantined, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong and what to do.
    pub text: String,
    /// Line, from 1, where known.
    pub line: Option<u32>,
    /// Column, from 1, where known.
    pub column: Option<u32>,
}

impl Facts {
    /// The facts of a task; `doc` is its JSON text without history, `history` the digest of that.
    #[must_use]
    pub fn of(task: &Task, doc: String, history: String) -> Self {
        let def = task.def();
        let lease = task.lease();
        Facts {
            status: task.status(),
            priority: def.priority,
            on_need_failed: def.on_need_failed,
            due_at: def.due_at,
            created_at: task.created_at(),
            updated_at: task.updated_at(),
            not_before: def.not_before,
            epoch: task.epoch(),
            beat: lease.map_or(0, |l| l.beat),
            attempt: task.attempt(),
            holder: lease.map(|l| Holder { session: l.session.clone(), machine: l.machine.clone() }),
            idempotency_key: def.idempotency_key.clone(),
            title: def.title.clone(),
            tags: def.tags.clone(),
            needs: def.needs.clone(),
            parent: def.parent.clone(),
            doc,
            history,
        }
    }
}

/// `due` of a task without a due date: they come last.
pub(super) const NO_DUE: i64 = i64::MAX;
/// Between the labels of one column.
const TAG_SEPARATOR: char = '\u{1f}';

/// Columns of a row in the order of [`from_sql`], for `SELECT`; `t` is the task and `d` its document.
pub(super) const COLUMNS: &str = "t.id, t.size, t.mtime, t.ctime, t.inode, t.oid, t.base, t.problem, t.line, t.col, \
     t.status, t.priority, t.onf, t.due, t.created, t.updated, t.start, t.epoch, t.beat, t.attempt, \
     t.session, t.machine, t.idem, t.title, t.tags, t.needs, t.parent, d.json, t.archived, d.history";

/// Numbers of statuses in the file; their order is the order in which lists show them.
pub(super) fn status_code(status: Status) -> i64 {
    Status::ALL.iter().position(|s| *s == status).unwrap_or(0) as i64
}

/// The status with this number.
pub(super) fn status_of(code: i64) -> Option<Status> {
    usize::try_from(code).ok().and_then(|at| Status::ALL.get(at)).copied()
}

pub(super) fn priority_code(priority: Priority) -> i64 {
    match priority {
        Priority::P0 => 0,
        Priority::P1 => 1,
        Priority::P2 => 2,
        Priority::P3 => 3,
    }
}

pub(super) fn priority_of(code: i64) -> Priority {
    match code {
        ..=0 => Priority::P0,
        1 => Priority::P1,
        2 => Priority::P2,
        _ => Priority::P3,
    }
}

pub(super) fn onf_code(onf: OnNeedFailed) -> i64 {
    match onf {
        OnNeedFailed::Block => 0,
        OnNeedFailed::Skip => 1,
        OnNeedFailed::Run => RUN,
    }
}

/// Number of [`OnNeedFailed::Run`].
pub(super) const RUN: i64 = 2;

fn onf_of(code: i64) -> OnNeedFailed {
    match code {
        1 => OnNeedFailed::Skip,
        RUN => OnNeedFailed::Run,
        _ => OnNeedFailed::Block,
    }
}

pub(super) fn due_of(column: i64) -> Option<Timestamp> {
    (column != NO_DUE).then_some(Timestamp(column))
}

/// Needs as one column: ids have no spaces.
pub(super) fn join_ids(ids: &[TaskId]) -> String {
    ids.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" ")
}

pub(super) fn split_ids(column: &str) -> Vec<TaskId> {
    column.split_ascii_whitespace().filter_map(|text| TaskId::parse(text).ok()).collect()
}

pub(super) fn join_tags(tags: &[String]) -> String {
    tags.join(&TAG_SEPARATOR.to_string())
}

pub(super) fn split_tags(column: &str) -> Vec<String> {
    if column.is_empty() { Vec::new() } else { column.split(TAG_SEPARATOR).map(str::to_owned).collect() }
}

/// A value that is not what this version writes, as SQLite would say it.
pub(super) fn bad_value(column: &'static str) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnName(column.to_owned())
}

pub(super) fn id_at(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<TaskId> {
    TaskId::parse(row.get_ref(at)?.as_str()?).map_err(|_| bad_value("id"))
}

/// Unsigned numbers are kept in SQLite's signed ones; beyond them they saturate.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Inode numbers use all bits, and are only compared.
pub(super) fn inode_column(stat: &Stat) -> i64 {
    stat.inode.cast_signed()
}

/// The stat in four columns from `at`.
pub(super) fn stat_at(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Stat> {
    Ok(Stat {
        size: unsigned(row.get(at)?),
        mtime_ns: row.get(at + 1)?,
        ctime_ns: row.get(at + 2)?,
        inode: row.get::<_, i64>(at + 3)?.cast_unsigned(),
        kind: FileKind::File,
    })
}

fn oid_at(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Option<Oid>> {
    let Some(blob) = row.get_ref(at)?.as_blob_or_null()? else {
        return Ok(None);
    };
    blob.try_into().map(|bytes| Some(Oid(bytes))).map_err(|_| bad_value("oid"))
}

/// Where a file lies, from the column `archived`.
pub(super) fn place_at(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Place> {
    match row.get::<_, Option<u32>>(at)? {
        None => Ok(Place::Tasks),
        Some(code) => Month::from_code(code).map(Place::Archive).ok_or_else(|| bad_value("archived")),
    }
}

/// Reads the columns of [`COLUMNS`].
pub(super) fn from_sql(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let problem: Option<String> = row.get(7)?;
    let (line, column) = (row.get(8)?, row.get(9)?);
    Ok(Row {
        id: id_at(row, 0)?,
        stat: stat_at(row, 1)?,
        oid: oid_at(row, 5)?.ok_or_else(|| bad_value("oid"))?,
        base: oid_at(row, 6)?,
        place: place_at(row, 28)?,
        facts: facts_at(row)?,
        problem: problem.map(|text| Problem { text, line, column }),
    })
}

fn facts_at(row: &SqlRow<'_>) -> rusqlite::Result<Option<Facts>> {
    let Some(status) = row.get::<_, Option<i64>>(10)? else {
        return Ok(None);
    };
    let session: Option<String> = row.get(20)?;
    let machine: Option<String> = row.get(21)?;
    let parent: Option<String> = row.get(26)?;
    Ok(Some(Facts {
        status: status_of(status).ok_or_else(|| bad_value("status"))?,
        priority: priority_of(row.get(11)?),
        on_need_failed: onf_of(row.get(12)?),
        due_at: due_of(row.get(13)?),
        created_at: Timestamp(row.get(14)?),
        updated_at: Timestamp(row.get(15)?),
        not_before: row.get::<_, Option<i64>>(16)?.map(Timestamp),
        epoch: unsigned(row.get(17)?),
        beat: unsigned(row.get(18)?),
        attempt: row.get(19)?,
        holder: session.zip(machine).map(|(session, machine)| Holder { session, machine }),
        idempotency_key: row.get(22)?,
        title: row.get(23)?,
        tags: split_tags(row.get_ref(24)?.as_str()?),
        needs: split_ids(row.get_ref(25)?.as_str()?),
        parent: parent.and_then(|text| TaskId::parse(&text).ok()),
        doc: row.get::<_, Option<String>>(27)?.unwrap_or_default(),
        history: row.get::<_, Option<String>>(29)?.unwrap_or_default(),
    }))
}
