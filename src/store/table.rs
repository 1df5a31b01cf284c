//! The queue as a Markdown table: what a person kept in a file before, and what `export` writes for one.
//!
//! Columns may stand in any order and carry the usual names. `|` inside a cell is written as `/`, a line
//! break as `<br>`. What a cell means is for the use case that imports it.

use sha2::{Digest, Sha256};

use crate::protocol::op::Action;
use crate::protocol::task::Task;
use crate::protocol::transition::status_word;

use super::time;

mod words;

pub use super::wire::bounds::TITLE_MAX;
pub use words::{Meaning, priority, status};

/// A column that has a meaning here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Column {
    /// The task's id.
    Id,
    /// P0 to P3, or a word for it.
    Priority,
    /// Where it stands.
    Status,
    /// One line: the title.
    Task,
    /// More about it.
    Description,
    /// When it counts as finished.
    Criteria,
    /// Who has it.
    Owner,
    /// When it should be finished; without a zone in UTC.
    Due,
    /// The same, without a zone in Korean time.
    DueKst,
    /// Anything.
    Notes,
    /// Tasks that must be done first.
    Needs,
    /// Labels.
    Tags,
}

/// A row of a queue table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its line in the file, from 1.
    pub line: usize,
    /// Cells under a known heading, without Markdown around them; empty ones are left out.
    pub known: Vec<(Column, String)>,
    /// Other cells with their heading; empty ones are left out.
    pub other: Vec<(String, String)>,
}

impl Row {
    /// The text under a heading; empty where there is none.
    #[must_use]
    pub fn get(&self, column: Column) -> &str {
        self.known.iter().find(|(c, _)| *c == column).map_or("", |(_, text)| text)
    }
}

/// A table that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct TableError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

/// The rows of every queue table of a Markdown text: tables with a column for the task.
///
/// # Errors
/// All rows that have more cells than their heading, or no text for the task.
pub fn rows(text: &str) -> Result<Vec<Row>, Vec<TableError>> {
    let mut found = Vec::new();
    let mut wrong = Vec::new();
    let mut heads: Option<Vec<Head>> = None;
    let mut before: Option<&str> = None;
    let mut fenced = false;
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            fenced = !fenced;
        }
        if fenced || !trimmed.contains('|') {
            (heads, before) = (None, None);
            continue;
        }
        match (&heads, before) {
            (None, Some(head)) if is_separator(trimmed) => {
                heads = Some(cells(head).iter().map(|c| Head::of(c)).collect());
            }
            (Some(_), _) if is_separator(trimmed) => {}
            (Some(heads), _) if heads.iter().any(|head| head.column == Some(Column::Task)) => {
                match row(heads, &cells(trimmed), at + 1) {
                    Ok(Some(row)) => found.push(row),
                    Ok(None) => {}
                    Err(error) => wrong.push(error),
                }
            }
            _ => {}
        }
        before = Some(trimmed);
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

/// A heading.
struct Head {
    text: String,
    column: Option<Column>,
}

impl Head {
    fn of(text: &str) -> Head {
        let text = plain(text);
        Head { column: words::column(&text), text }
    }
}

/// `|---|:--:|`.
fn is_separator(line: &str) -> bool {
    let parts = cells(line);
    let dashes = |cell: &String| {
        let inner = cell.trim_start_matches(':').trim_end_matches(':');
        !inner.is_empty() && inner.chars().all(|c| c == '-')
    };
    !parts.is_empty() && parts.iter().all(dashes)
}

/// The cells of a line; `\|` stands for `|`.
fn cells(line: &str) -> Vec<String> {
    let mut inner = line.trim();
    inner = inner.strip_prefix('|').unwrap_or(inner);
    if !inner.ends_with("\\|") {
        inner = inner.strip_suffix('|').unwrap_or(inner);
    }
    let hidden = inner.replace("\\|", "\u{1}");
    hidden.split('|').map(|cell| cell.replace('\u{1}', "|").trim().to_owned()).collect()
}

fn row(heads: &[Head], cells: &[String], line: usize) -> Result<Option<Row>, TableError> {
    if cells.iter().all(String::is_empty) {
        return Ok(None);
    }
    if cells.len() > heads.len() {
        let message =
            format!("{} cells under {} headings; write `|` inside a cell as `/`", cells.len(), heads.len());
        return Err(TableError { line, message });
    }
    let mut row = Row { line, known: Vec::new(), other: Vec::new() };
    for (head, cell) in heads.iter().zip(cells) {
        let text = plain(cell);
        match head.column {
            _ if text.is_empty() => {}
            // A second column of the same name says something else.
            Some(column) if row.get(column).is_empty() => row.known.push((column, text)),
            _ => row.other.push((head.text.clone(), text)),
        }
    }
    if row.get(Column::Task).is_empty() {
        return Err(TableError { line, message: "the row has no text for the task".to_owned() });
    }
    Ok(Some(row))
}

/// A cell without what Markdown puts around it: emphasis, code marks, line breaks.
fn plain(cell: &str) -> String {
    let mut text = cell.trim().to_owned();
    for mark in ["<br>", "<br/>", "<br />"] {
        text = text.replace(mark, "\n");
    }
    for mark in ["**", "__", "~~", "`"] {
        let inner = text.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
        if let Some(inner) = inner.filter(|inner| !inner.is_empty() && !inner.contains(mark)) {
            text = inner.to_owned();
        }
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    match lines.join("\n").trim() {
        "-" | "–" | "—" => String::new(),
        text => text.to_owned(),
    }
}

/// Eight characters that tell one text from another, fit for an id.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let digest = Sha256::digest(text.as_bytes());
    digest[..8].iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

/// Heading of the table that [`line`] writes the rows of.
pub const HEADING: &str = "\
| id | priority | status | task | success criteria | owner | due | notes |
|----|----------|--------|------|------------------|-------|-----|-------|
";

/// A task as a row of the table.
#[must_use]
pub fn line(task: &Task) -> String {
    let def = task.def();
    let mut notes = vec![def.description.as_str()];
    notes.extend(task.history().iter().filter_map(|op| match &op.action {
        Action::Note { text } => Some(text.as_str()),
        _ => None,
    }));
    notes.extend(task.result().map(|result| result.notes.as_str()));
    notes.retain(|note| !note.trim().is_empty());
    format!(
        "| {} | {:?} | {} | {} | {} | {} | {} | {} |\n",
        task.id(),
        def.priority,
        status_word(task.status()),
        cell(&def.title),
        def.success_criteria.iter().map(|c| cell(c)).collect::<Vec<_>>().join("<br>"),
        task.lease().map_or_else(String::new, |lease| cell(&lease.session)),
        def.due_at.map_or_else(String::new, time::format),
        notes.iter().map(|note| cell(note)).collect::<Vec<_>>().join("<br>"),
    )
}

fn cell(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            line.chars().filter(|c| !c.is_control()).collect::<String>().replace('|', "/").trim().to_owned()
        })
        .collect();
    lines.join("<br>")
}

#[cfg(test)]
mod tests;
