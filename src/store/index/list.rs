//! Lists of tasks by filter.
//!
//! Order: by status (as [`Status::ALL`]), then priority, due date (none last), creation, id; with `ready`,
//! the order in which `pick` would take them.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::parts::rows;
use super::pick::Pick;
use super::row::{due_of, id_at, priority_code, priority_of, split_tags, status_code, status_of};
use super::{Index, IndexError};
use crate::protocol::id::TaskId;
use crate::protocol::task::{Priority, Status};
use crate::protocol::time::Timestamp;
use crate::store::layout::key_of;

/// Which tasks to list. Empty lists and `None` do not filter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// One of these statuses.
    pub status: Vec<Status>,
    /// One of these priorities, as written.
    pub priority: Vec<Priority>,
    /// Session that holds the lease.
    pub owner: Option<String>,
    /// All of these labels.
    pub tag: Vec<String>,
    /// Only tasks that could be picked at this moment, in that order: now and the ageing span.
    pub ready: Option<(Timestamp, Duration)>,
    /// Text in id, title or description, without regard to case.
    pub search: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
    /// Tasks in the archive instead of those in the queue.
    pub archived: bool,
}

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The task.
    pub id: TaskId,
    /// Where it stands.
    pub status: Status,
    /// Its class as written.
    pub priority: Priority,
    /// One line.
    pub title: String,
    /// Session that holds the lease.
    pub owner: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// Due date.
    pub due_at: Option<Timestamp>,
    /// Not before.
    pub not_before: Option<Timestamp>,
    /// Needs that are not satisfied.
    pub unmet: u32,
    /// The task without history as compact JSON.
    pub doc: String,
}

const SELECT: &str = "SELECT t.id, t.status, t.priority, t.title, t.session, t.tags, t.due, t.start, t.unmet, d.json \
     FROM task AS t";

impl Index {
    /// The tasks that pass a filter; quarantined files are not among them (see [`Index::problems`]).
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn list(&mut self, filter: &Filter) -> Result<Vec<Entry>, IndexError> {
        let matcher = Matcher::new(filter);
        match filter.ready {
            Some((now, ageing)) => self.list_ready(&matcher, now, ageing),
            None => self.reads(rows).run(|c| by_status(c, &matcher)),
        }
    }

    fn list_ready(
        &mut self,
        m: &Matcher<'_>,
        now: Timestamp,
        ageing: Duration,
    ) -> Result<Vec<Entry>, IndexError> {
        // Where nothing else is asked, no more than the limit has to be put in order.
        let limit = if m.is_trivial() { m.limit } else { usize::MAX };
        let picked = self.pick(&Pick { now, ageing, limit, skip: &[] })?;
        self.reads(rows).run(|c| {
            let text = format!("{SELECT} JOIN doc AS d ON d.key = t.key WHERE t.key = ?1");
            let mut statement = c.prepare_cached(&text)?;
            let mut found = Vec::new();
            for candidate in picked {
                if found.len() >= m.limit {
                    break;
                }
                let entry = statement.query_row([key_of(&candidate.id)], |row| m.entry(row)).optional()?;
                found.extend(entry.flatten());
            }
            Ok(found)
        })
    }
}

fn by_status(c: &Connection, m: &Matcher<'_>) -> rusqlite::Result<Vec<Entry>> {
    let (index, place) =
        if m.filter.archived { ("archived", "IS NOT NULL") } else { ("by_status", "IS NULL") };
    let text = format!(
        "{SELECT} INDEXED BY {index} CROSS JOIN doc AS d ON d.key = t.key WHERE t.status = ?1 \
         AND t.problem IS NULL AND t.archived {place} ORDER BY t.priority, t.due, t.created, t.id"
    );
    let mut statement = c.prepare_cached(&text)?;
    let mut found = Vec::new();
    for status in Status::ALL.into_iter().filter(|status| m.has_status(*status)) {
        let mut rows = statement.query(params![status_code(status)])?;
        while found.len() < m.limit {
            let Some(row) = rows.next()? else { break };
            found.extend(m.entry(row)?);
        }
    }
    Ok(found)
}

/// A filter, prepared for comparing.
struct Matcher<'a> {
    filter: &'a Filter,
    search: Option<String>,
    limit: usize,
}

impl<'a> Matcher<'a> {
    fn new(filter: &'a Filter) -> Self {
        let search = filter.search.as_ref().map(|text| text.to_lowercase()).filter(|text| !text.is_empty());
        Matcher { filter, search, limit: filter.limit.unwrap_or(usize::MAX) }
    }

    fn is_trivial(&self) -> bool {
        let f = self.filter;
        f.status.is_empty()
            && f.priority.is_empty()
            && f.owner.is_none()
            && f.tag.is_empty()
            && self.search.is_none()
    }

    fn has_status(&self, status: Status) -> bool {
        self.filter.status.is_empty() || self.filter.status.contains(&status)
    }

    /// The entry of a row that passes; the cheap questions come first.
    fn entry(&self, row: &SqlRow<'_>) -> rusqlite::Result<Option<Entry>> {
        let status = status_of(row.get(1)?).ok_or_else(|| super::row::bad_value("status"))?;
        let priority: i64 = row.get(2)?;
        let wanted = &self.filter.priority;
        if !self.has_status(status)
            || !(wanted.is_empty() || wanted.iter().any(|p| priority_code(*p) == priority))
        {
            return Ok(None);
        }
        let owner = row.get_ref(4)?.as_str_or_null()?;
        if self.filter.owner.is_some() && self.filter.owner.as_deref() != owner {
            return Ok(None);
        }
        let tags = split_tags(row.get_ref(5)?.as_str()?);
        if !self.filter.tag.iter().all(|tag| tags.contains(tag)) || !self.finds(row)? {
            return Ok(None);
        }
        Ok(Some(Entry {
            id: id_at(row, 0)?,
            status,
            priority: priority_of(priority),
            title: row.get(3)?,
            owner: owner.map(str::to_owned),
            tags,
            due_at: due_of(row.get(6)?),
            not_before: row.get::<_, Option<i64>>(7)?.map(Timestamp),
            unmet: row.get(8)?,
            doc: row.get(9)?,
        }))
    }

    fn finds(&self, row: &SqlRow<'_>) -> rusqlite::Result<bool> {
        let Some(search) = &self.search else {
            return Ok(true);
        };
        let found = |text: &str| text.to_lowercase().contains(search);
        Ok(found(row.get_ref(0)?.as_str()?)
            || found(row.get_ref(3)?.as_str()?)
            || description(row.get_ref(9)?.as_str()?).is_some_and(|text| found(&text)))
    }
}

/// The description inside a document.
fn description(doc: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Described {
        description: Option<String>,
    }
    serde_json::from_str::<Described>(doc).ok()?.description
}
