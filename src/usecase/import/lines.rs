//! JSON lines: whole tasks as `export` writes them, and plain definitions.

use crate::protocol::invariant;
use crate::protocol::task::Status;
use crate::store::codec;
use crate::usecase::queue::Queue;

use super::Complaint;
use super::draft::{self, Draft, Wish};
use super::rows::Namer;

/// Reads every line.
pub(super) fn read(q: &Queue, text: &str) -> Result<Vec<Draft>, Vec<Complaint>> {
    let mut drafts = Vec::new();
    let mut wrong = Vec::new();
    let mut namer = Namer::default();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match read_line(q, line, at + 1, &mut namer) {
            Ok(draft) => drafts.push(draft),
            Err(what) => wrong.push((at + 1, what)),
        }
    }
    if wrong.is_empty() { Ok(drafts) } else { Err(wrong) }
}

fn read_line(q: &Queue, text: &str, line: usize, namer: &mut Namer) -> Result<Draft, String> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|e| format!("this is not valid JSON: {e}"))?;
    if value.get("history").is_some_and(|history| !history.is_null()) {
        let task = codec::task_from_json_line(text).map_err(|problem| problem.message)?;
        if let Some(violation) = invariant::check(&task).first() {
            return Err(format!("{}: {}", task.id(), violation.what));
        }
        return Ok(Draft { line, task: draft::checked(task)?, whole: true, remarks: Vec::new() });
    }
    let (id, mut def) = codec::definition_from_json_line(text).map_err(|problem| problem.message)?;
    let id = match id {
        Some(id) => id,
        None => {
            let (id, key) = namer.name(&value.to_string())?;
            def.idempotency_key.get_or_insert(key);
            id
        }
    };
    let wish = Wish { status: Status::Pending, note: None };
    Ok(Draft { line, task: draft::fresh(q, &id, def, &wish)?, whole: false, remarks: Vec::new() })
}
