//! The words that people use in queue tables.

use crate::protocol::task::{Priority, Status};

use super::Column;

/// What a word for a status means to a queue that has not seen the task before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It stands there, and can be brought there.
    Stands(Status),
    /// Somebody is at it, elsewhere: here it waits to be claimed.
    Underway,
}

const COLUMNS: [(Column, &[&str]); 12] = [
    (Column::Id, &["id", "taskid", "key", "no", "nr", "number", "#", "ticket", "번호"]),
    (Column::Priority, &["priority", "prio", "p", "pri", "urgency", "우선순위"]),
    (Column::Status, &["status", "state", "done?", "상태"]),
    (
        Column::Task,
        &["task", "title", "name", "summary", "subject", "item", "todo", "what", "work", "작업", "제목"],
    ),
    (Column::Description, &["description", "details", "detail", "설명"]),
    (
        Column::Criteria,
        &[
            "successcriteria",
            "successcriterion",
            "criteria",
            "acceptancecriteria",
            "acceptance",
            "definitionofdone",
            "donewhen",
            "dod",
            "완료조건",
            "성공기준",
        ],
    ),
    (Column::Owner, &["owner", "assignee", "assignedto", "who", "agent", "session", "담당", "담당자"]),
    (Column::Due, &["due", "dueat", "duedate", "deadline", "by", "마감", "기한"]),
    (Column::DueKst, &["duekst", "dueatkst", "duedatekst", "deadlinekst", "마감kst"]),
    (Column::Notes, &["notes", "note", "comment", "comments", "remarks", "remark", "비고", "메모"]),
    (
        Column::Needs,
        &["needs", "dependson", "dependencies", "depends", "deps", "requires", "blockedby", "after"],
    ),
    (Column::Tags, &["tags", "tag", "labels", "label", "area", "type"]),
];

const STATUSES: [(Meaning, &[&str]); 7] = [
    (
        Meaning::Stands(Status::Pending),
        &[
            "",
            "pending",
            "todo",
            "open",
            "new",
            "backlog",
            "queued",
            "ready",
            "planned",
            "notstarted",
            "[]",
            "대기",
            "예정",
        ],
    ),
    (
        Meaning::Underway,
        &[
            "inprogress",
            "progress",
            "doing",
            "wip",
            "active",
            "started",
            "working",
            "claimed",
            "running",
            "진행",
            "진행중",
            "🚧",
        ],
    ),
    (Meaning::Stands(Status::InReview), &["inreview", "review", "reviewing", "검토", "검토중"]),
    (
        Meaning::Stands(Status::Done),
        &[
            "done",
            "complete",
            "completed",
            "closed",
            "finished",
            "resolved",
            "merged",
            "shipped",
            "x",
            "[x]",
            "yes",
            "✅",
            "✓",
            "✔",
            "완료",
        ],
    ),
    (Meaning::Stands(Status::Failed), &["failed", "failure", "error", "실패", "❌"]),
    (Meaning::Stands(Status::Blocked), &["blocked", "stuck", "onhold", "hold", "paused", "보류", "⛔"]),
    (
        Meaning::Stands(Status::Cancelled),
        &[
            "cancelled",
            "canceled",
            "dropped",
            "wontfix",
            "wontdo",
            "abandoned",
            "rejected",
            "skipped",
            "obsolete",
            "취소",
        ],
    ),
];

const PRIORITIES: [(Priority, &[&str]); 4] = [
    (Priority::P0, &["p0", "0", "critical", "urgent", "blocker", "highest"]),
    (Priority::P1, &["p1", "1", "high", "important"]),
    (Priority::P2, &["p2", "2", "medium", "normal", "default", "mid"]),
    (Priority::P3, &["p3", "3", "low", "lowest", "minor", "nicetohave"]),
];

/// A text without what does not distinguish words: case, spaces, punctuation between them.
fn folded(text: &str) -> String {
    let kept = text
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-' | '.' | ':' | '(' | ')' | '\'' | '’' | '*'));
    kept.flat_map(char::to_lowercase).collect()
}

fn find<T: Copy>(table: &[(T, &[&str])], text: &str) -> Option<T> {
    let wanted = folded(text);
    table.iter().find(|(_, words)| words.contains(&wanted.as_str())).map(|(meaning, _)| *meaning)
}

/// The column under a heading.
pub(super) fn column(heading: &str) -> Option<Column> {
    find(&COLUMNS, heading)
}

/// What a word in the column of statuses means.
#[must_use]
pub fn status(text: &str) -> Option<Meaning> {
    find(&STATUSES, text).or_else(|| {
        // `✅ done` says it twice.
        let words: Vec<&str> =
            text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).collect();
        if words.is_empty() { None } else { find(&STATUSES, &words.join(" ")) }
    })
}

/// What a word in the column of priorities means.
#[must_use]
pub fn priority(text: &str) -> Option<Priority> {
    find(&PRIORITIES, text)
}
