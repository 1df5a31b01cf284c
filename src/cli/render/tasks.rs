//! Tasks as rows of a table.

use super::style::{Style, Tone, status_tone};
use super::table::{Cell, Table};
use super::time;
use crate::protocol::task::{Lease, Task};
use crate::protocol::time::Timestamp;
use crate::protocol::transition::status_word;

/// A list of tasks: id, status, priority, title, owner, due date and what is left of the lease.
#[must_use]
pub fn table(tasks: &[Task], now: Timestamp, style: Style) -> String {
    let mut table = Table::new(&["ID", "STATUS", "PRIO", "TITLE", "OWNER", "DUE", "LEASE"], 3);
    for task in tasks {
        table.row(row(task, now));
    }
    if tasks.is_empty() { String::new() } else { table.render(style) }
}

fn row(task: &Task, now: Timestamp) -> Vec<Cell> {
    let status = task.status();
    let due = task.def().due_at.map_or_else(String::new, |at| time::distance(at, now));
    let late = task.def().due_at.is_some_and(|at| at < now) && !status.is_terminal();
    vec![
        task.id().as_str().into(),
        Cell::new(status_word(status)).tone(status_tone(status)),
        format!("{:?}", task.def().priority).into(),
        task.def().title.as_str().into(),
        task.lease().map_or("", |lease| lease.session.as_str()).into(),
        if late { Cell::new(&due).tone(Tone::Red) } else { due.into() },
        task.lease().map_or_else(|| "".into(), |lease| lease_left(lease, now)),
    ]
}

fn lease_left(lease: &Lease, now: Timestamp) -> Cell {
    match lease.expires_at.since(now) {
        left if left.is_zero() => Cell::new("lapsed").tone(Tone::Red),
        left => time::rough(left).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn a_hostile_title_stays_in_its_row() {
        let task = samples::task("A-1", "evil\u{1b}[2J\n\u{202e}title");
        let shown = table(&[task], Timestamp(0), Style::PLAIN);
        assert_eq!(shown, "ID   STATUS   PRIO  TITLE\nA-1  pending  P2    evil title\n");
    }

    #[test]
    fn a_held_task_shows_its_owner_and_what_is_left_of_the_lease() {
        let task = samples::claimed("A-1", "t", "agent:7");
        let shown = table(std::slice::from_ref(&task), samples::AT, Style::PLAIN);
        assert!(
            shown.contains("in_progress") && shown.contains("agent:7") && shown.contains("15m"),
            "{shown}"
        );
        let late = table(&[task], Timestamp(samples::AT.0 + 900_001), Style::PLAIN);
        assert!(late.contains("lapsed"), "{late}");
    }
}
