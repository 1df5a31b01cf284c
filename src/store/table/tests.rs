//! Tests of reading and writing queue tables.

use super::*;
use crate::protocol::id::{OpId, TaskId};
use crate::protocol::op::{Op, Role};
use crate::protocol::task::{Definition, Priority, Status};
use crate::protocol::time::Timestamp;
use crate::protocol::transition::next;

const TABLE: &str = "\
# Queue

Some text with a | in it.

| Status | ID | Task | Owner | Success Criteria | Due (KST) | Notes | Priority | Estimate |
|:--|---|:-:|---|---|---|---|---|---|
| todo | `ORCH-1` | **Write** the README | | a; b | 2026-02-08 18:00 | see x/y | P1 | 3d |
| ✅ done | ORCH-2 | Ship \\| it | jq | - | | line one<br>line two | high |

```
| id | task |
|----|------|
| NO | in a fence |
```

| fruit | colour |
|---|---|
| apple | red |
";

#[test]
fn columns_are_found_by_name_in_any_order() {
    let rows = rows(TABLE).unwrap();
    assert_eq!(rows.len(), 2);
    let (first, second) = (&rows[0], &rows[1]);
    assert_eq!(
        (first.line, first.get(Column::Id), first.get(Column::Task)),
        (7, "ORCH-1", "**Write** the README")
    );
    assert_eq!(first.get(Column::DueKst), "2026-02-08 18:00");
    assert_eq!(first.other, [("Estimate".to_owned(), "3d".to_owned())]);
    assert_eq!((second.get(Column::Task), second.get(Column::Criteria)), ("Ship | it", ""));
    assert_eq!(second.get(Column::Notes), "line one\nline two");
}

#[test]
fn every_wrong_row_is_named_with_its_line() {
    let text = "| task | status |\n|---|---|\n| a | todo | surplus |\n| | done |\n| b | todo |\n| | |\n";
    let errors = rows(text).unwrap_err();
    let lines: Vec<usize> = errors.iter().map(|e| e.line).collect();
    assert_eq!(lines, [3, 4]);
    assert!(errors[0].to_string().contains("as `/`"), "{}", errors[0]);
}

#[test]
fn words_for_statuses_and_priorities_are_understood() {
    for (word, meaning) in [
        ("Done", Status::Done),
        ("✅ Done", Status::Done),
        ("[x]", Status::Done),
        ("완료", Status::Done),
        ("To Do", Status::Pending),
        ("[ ]", Status::Pending),
        ("", Status::Pending),
        ("on hold", Status::Blocked),
        ("Won't fix", Status::Cancelled),
        ("in review", Status::InReview),
    ] {
        assert_eq!(status(word), Some(Meaning::Stands(meaning)), "{word:?}");
    }
    assert_eq!(status("In-Progress"), Some(Meaning::Underway));
    assert_eq!(status("half done, ask Kim"), None);
    assert_eq!(status("🤷"), None);
    assert_eq!(
        (priority("P0"), priority("Urgent"), priority("17")),
        (Some(Priority::P0), Some(Priority::P0), None)
    );
}

#[test]
fn a_written_row_is_read_again() {
    let def = Definition {
        title: "Say a | b".to_owned(),
        description: "one\ntwo".to_owned(),
        success_criteria: vec!["c1".to_owned(), "c2".to_owned()],
        ..Definition::default()
    };
    let op = Op {
        id: OpId::new(0, [1; 10]),
        at: Timestamp(0),
        by: "jq".to_owned(),
        machine: "m".to_owned(),
        role: Role::Author,
        action: Action::Add(Box::new(def)),
    };
    let id = TaskId::parse("A-1").unwrap();
    let task = next(None, &id, &op).unwrap();
    let text = format!("{HEADING}{}", line(&task));
    let rows = rows(&text).unwrap();
    assert_eq!(rows.len(), 1, "{text}");
    assert_eq!(rows[0].get(Column::Id), task.id().as_str());
    assert_eq!(rows[0].get(Column::Task), "Say a / b");
    assert_eq!((rows[0].get(Column::Criteria), rows[0].get(Column::Notes)), ("c1\nc2", "one\ntwo"));
    assert_eq!(rows[0].get(Column::Status), status_word(task.status()));
    assert!(rows[0].other.is_empty());
}
