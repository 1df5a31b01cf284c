//! Queues of others: Markdown tables and JSON lines never make a reader panic, an error names its line, and what
//! was read can be written and read again.

use orch::protocol::id::{OpId, TaskId};
use orch::protocol::op::{Action, Op, Role};
use orch::protocol::task::{Definition, Task};
use orch::protocol::time::Timestamp;
use orch::protocol::transition::next;
use orch::store::codec;
use orch::store::table::{self, Column, HEADING, Row, TITLE_MAX};

/// Holds for any bytes as a Markdown text, and for each of their lines as one of JSON.
pub fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines = text.lines().count();
    match table::rows(text) {
        Ok(rows) => {
            assert!(rows.windows(2).all(|pair| pair[0].line < pair[1].line));
            assert!(rows.iter().all(|row| (1..=lines).contains(&row.line)));
            rows.iter().for_each(row);
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(errors.iter().all(|e| (1..=lines).contains(&e.line) && !e.message.is_empty()));
        }
    }
    text.lines().for_each(json_line);
}

fn row(row: &Row) {
    assert!(!row.get(Column::Task).is_empty(), "a row without a task was accepted");
    for (at, (column, text)) in row.known.iter().enumerate() {
        assert!(!text.is_empty() && row.known[..at].iter().all(|(other, _)| other != column));
    }
    let _ = (table::priority(row.get(Column::Priority)), table::status(row.get(Column::Status)));
    let title: String = row.get(Column::Task).replace('\n', " ").chars().take(TITLE_MAX).collect();
    let def = Definition {
        title,
        description: row.get(Column::Notes).to_owned(),
        success_criteria: vec![row.get(Column::Criteria).to_owned()],
        ..Definition::default()
    };
    let id = TaskId::parse(row.get(Column::Id)).or_else(|_| TaskId::parse("T-1")).expect("an id");
    written_row_is_read(&added(&id, def));
}

/// Whatever a task is called, its row is one row with the same number of cells.
fn written_row_is_read(task: &Task) {
    let text = format!("{HEADING}{}", table::line(task));
    match table::rows(&text) {
        Ok(rows) => {
            assert_eq!(rows.len(), 1, "{text}");
            assert_eq!(rows[0].get(Column::Id), task.id().as_str(), "{text}");
            assert_eq!(rows[0].get(Column::Status), "pending", "{text}");
            assert!(rows[0].other.is_empty(), "{text}");
        }
        // A title of dashes or marks alone is an empty cell.
        Err(errors) => {
            assert!(errors.iter().all(|e| e.message.contains("no text for the task")), "{errors:?}\n{text}");
        }
    }
}

fn json_line(line: &str) {
    match codec::task_from_json_line(line) {
        Ok(task) => {
            let written = codec::task_to_json_line(&task);
            assert_eq!(codec::task_from_json_line(&written).as_ref(), Ok(&task), "{written}");
            crate::task_file::survives(&task);
        }
        Err(problem) => crate::assert_place(line.as_bytes(), problem.line, problem.column, &problem.message),
    }
    match codec::definition_from_json_line(line) {
        Ok((id, def)) => {
            let id = id.or_else(|| TaskId::parse("T-1").ok()).expect("an id");
            if !def.needs.contains(&id) && def.parent.as_ref() != Some(&id) {
                crate::task_file::survives(&added(&id, def));
            }
        }
        Err(problem) => crate::assert_place(line.as_bytes(), problem.line, problem.column, &problem.message),
    }
}

fn added(id: &TaskId, def: Definition) -> Task {
    let op = Op {
        id: OpId::new(0, [1; 10]),
        at: Timestamp(0),
        by: "someone".to_owned(),
        machine: "m-1".to_owned(),
        role: Role::Source,
        action: Action::Add(Box::new(def)),
    };
    next(None, id, &op).expect("an addition makes a task")
}
