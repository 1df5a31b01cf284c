//! Rows of a Markdown queue table: what has a field goes there, everything else into a note.

use std::collections::BTreeMap;

use crate::protocol::id::TaskId;
use crate::protocol::task::{Definition, Status};
use crate::protocol::time::Timestamp;
use crate::store::table::{self, Column, Meaning, Row, TITLE_MAX};
use crate::store::time;
use crate::usecase::queue::Queue;

use super::Complaint;
use super::draft::{self, Draft, Wish};

/// Reads every row of every queue table.
pub(super) fn read(q: &Queue, text: &str) -> Result<Vec<Draft>, Vec<Complaint>> {
    let rows = table::rows(text)
        .map_err(|errors| errors.into_iter().map(|e| (e.line, e.message)).collect::<Vec<_>>())?;
    if rows.is_empty() {
        let what = "there is no queue table: a Markdown table with a column `task` (or `title`) and rows";
        return Err(vec![(1, what.to_owned())]);
    }
    let mut namer = Namer::default();
    let mut drafts = Vec::new();
    let mut wrong = Vec::new();
    for row in &rows {
        match read_row(q, row, &mut namer) {
            Ok(draft) => drafts.push(draft),
            Err(what) => wrong.push((row.line, what)),
        }
    }
    if wrong.is_empty() { Ok(drafts) } else { Err(wrong) }
}

/// Names for rows without an id: the same row gets the same name in every import, so that it is found again.
#[derive(Default)]
pub(super) struct Namer {
    seen: BTreeMap<String, usize>,
}

impl Namer {
    /// An id and an idempotency key for a row that says this.
    pub(super) fn name(&mut self, what: &str) -> Result<(TaskId, String), String> {
        // Two rows that say the same are two tasks.
        let count = self.seen.entry(what.to_owned()).or_insert(0);
        *count += 1;
        let print = table::fingerprint(&format!("{what}\u{1}{count}"));
        let id = TaskId::parse(&format!("i-{print}")).map_err(|e| e.to_string())?;
        Ok((id, format!("import:{print}")))
    }
}

/// What a row says that has no field, line by line.
#[derive(Default)]
struct Rest {
    lines: Vec<String>,
    remarks: Vec<String>,
}

impl Rest {
    fn keep(&mut self, heading: &str, text: &str) {
        self.lines.push(format!("{heading}: {text}"));
    }

    /// Keeps a cell that was not understood, and says so.
    fn remark(&mut self, heading: &str, text: &str) {
        self.keep(heading, text);
        self.remarks.push(format!("the {heading} `{text}` was not understood and is kept in a note"));
    }
}

fn read_row(q: &Queue, row: &Row, namer: &mut Namer) -> Result<Draft, String> {
    let mut rest = Rest::default();
    let mut def =
        Definition { description: row.get(Column::Description).to_owned(), ..Definition::default() };
    let title = row.get(Column::Task).replace('\n', " ");
    def.title = title.chars().take(TITLE_MAX).collect();
    if def.title.len() < title.len() {
        def.description = format!("{title}\n\n{}", def.description).trim_end().to_owned();
    }
    if !row.get(Column::Notes).is_empty() {
        rest.lines.push(row.get(Column::Notes).to_owned());
    }
    let id = id(row, &mut def, namer, &mut rest)?;
    let status = status(row, &mut rest);
    fields(row, &mut def, &mut rest);
    for (heading, text) in &row.other {
        rest.keep(heading, text);
    }
    let note = (!rest.lines.is_empty()).then(|| rest.lines.join("\n"));
    let task = draft::fresh(q, &id, def, &Wish { status, note })?;
    Ok(Draft { line: row.line, task, whole: false, remarks: rest.remarks })
}

/// The id that stands there, or one made from the row together with an idempotency key.
fn id(row: &Row, def: &mut Definition, namer: &mut Namer, rest: &mut Rest) -> Result<TaskId, String> {
    let text = linked(row.get(Column::Id)).trim_start_matches('#');
    if let Ok(id) = TaskId::parse(text) {
        return Ok(id);
    }
    if !text.is_empty() {
        rest.remark("id", row.get(Column::Id));
    }
    // Who has it, and how far it is, changes from one import to the next; what is to be done does not.
    let (id, key) = namer.name(&format!("{text}\n{}", row.get(Column::Task)))?;
    def.idempotency_key = Some(key);
    Ok(id)
}

/// The text of a Markdown link.
fn linked(text: &str) -> &str {
    let inner = text.strip_prefix('[').and_then(|rest| rest.split_once("](")).map(|(inner, _)| inner);
    inner.unwrap_or(text).trim()
}

fn status(row: &Row, rest: &mut Rest) -> Status {
    let (text, owner) = (row.get(Column::Status), row.get(Column::Owner));
    if !owner.is_empty() {
        rest.keep("owner", owner);
    }
    match table::status(text) {
        Some(Meaning::Stands(status)) => status,
        Some(Meaning::Underway) => {
            rest.keep("status", text);
            Status::Pending
        }
        None => {
            rest.remark("status", text);
            Status::Pending
        }
    }
}

fn fields(row: &Row, def: &mut Definition, rest: &mut Rest) {
    let urgency = row.get(Column::Priority);
    match table::priority(urgency) {
        Some(priority) => def.priority = priority,
        None if urgency.is_empty() => {}
        None => rest.remark("priority", urgency),
    }
    let pieces = |text: &str, between: &[char]| -> Vec<String> {
        text.split(between).map(str::trim).filter(|piece| !piece.is_empty()).map(str::to_owned).collect()
    };
    def.success_criteria = pieces(row.get(Column::Criteria), &[';', '\n']);
    def.tags = pieces(row.get(Column::Tags), &[',', ';', '\n']);
    let needs = pieces(row.get(Column::Needs), &[',', ';', ' ', '\n']);
    match needs.iter().map(|need| TaskId::parse(linked(need))).collect::<Result<Vec<_>, _>>() {
        Ok(ids) => def.needs = ids,
        Err(_) => rest.remark("needs", row.get(Column::Needs)),
    }
    def.due_at = due(row, rest);
}

fn due(row: &Row, rest: &mut Rest) -> Option<Timestamp> {
    let (utc, kst) = (row.get(Column::Due), row.get(Column::DueKst));
    let read = |text: &str, parsed: Result<Timestamp, String>, rest: &mut Rest| match parsed {
        _ if text.is_empty() => None,
        Ok(at) => Some(at),
        Err(_) => {
            rest.remark("due", text);
            None
        }
    };
    let first = read(kst, time::parse_kst(kst), rest);
    let second = read(utc, time::parse(utc), rest);
    first.or(second)
}
