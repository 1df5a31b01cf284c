//! The log of tasks: one line per operation, who did what, when and why.

use super::style::{Style, Tone};
use super::text;
use super::time;
use crate::protocol::id::TaskId;
use crate::protocol::op::{Action, Op, Role};
use crate::protocol::time::format_span;
use crate::store::wire::Word;

/// One operation on one line.
#[must_use]
pub fn entry(task: Option<&TaskId>, op: &Op, style: Style) -> String {
    let at = style.paint(Tone::Dim, &time::moment(op.at));
    let task = task.map_or_else(String::new, |id| format!("{}  ", style.paint(Tone::Bold, id.as_str())));
    let verb = style.paint(verb_tone(&op.action), &format!("{:<10}", op.action.verb()));
    let by = style.paint(Tone::Cyan, &text::line(&op.by));
    let said = details(&op.action);
    let gap = if said.is_empty() { "" } else { "  " };
    format!("{at}  {task}{verb}  {by}{}{gap}{said}\n", role(op.role))
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Author => "",
        Role::Reviewer => " (reviewer)",
        Role::Source => " (source)",
    }
}

fn verb_tone(action: &Action) -> Tone {
    match action {
        Action::Done { .. } => Tone::Green,
        Action::Fail { .. } | Action::Recover { .. } | Action::NeedFailed { .. } => Tone::Red,
        Action::Block { .. } | Action::Cancel { .. } => Tone::Yellow,
        Action::Claim { .. } => Tone::Blue,
        _ => Tone::Bold,
    }
}

/// What an operation says, on one line.
fn details(action: &Action) -> String {
    match action {
        Action::Add(def) => text::line(&def.title),
        Action::Edit(patch) => fields(patch).join(", "),
        Action::Note { text: said } | Action::Checkpoint { note: said, .. } => text::line(said),
        Action::Snooze { until } => {
            until.map_or_else(|| "over".to_owned(), |at| format!("until {}", time::moment(at)))
        }
        Action::Claim { epoch, ttl, over, .. } => {
            let how = if over.is_some() { ", taken over" } else { "" };
            format!("epoch {epoch} for {}{how}", format_span(*ttl))
        }
        Action::Heartbeat { epoch, .. } => format!("epoch {epoch}"),
        Action::Done { notes, .. }
        | Action::Block { notes, .. }
        | Action::Cancel { notes, .. }
        | Action::Replan { notes, .. } => text::line(notes),
        Action::Fail { reason, notes, permanent, .. } => {
            let how = if *permanent { ", for good" } else { "" };
            format!("{}{how}: {}", reason.word(), text::line(notes))
        }
        Action::Release { notes, .. } | Action::Unblock { notes, .. } | Action::Retry { notes, .. } => {
            notes.as_deref().map(text::line).unwrap_or_default()
        }
        Action::Review { verdict, notes, .. } => format!("{}: {}", verdict.word(), text::line(notes)),
        Action::Recover { epoch, beat, .. } => format!("epoch {epoch}, last heartbeat {beat}"),
        Action::NeedFailed { need, .. } => format!("{need} has failed or was cancelled"),
    }
}

/// Names of the fields that an edit changes.
fn fields(patch: &crate::protocol::op::Patch) -> Vec<String> {
    let known = [
        ("title", patch.title.is_some()),
        ("description", patch.description.is_some()),
        ("priority", patch.priority.is_some()),
        ("success_criteria", patch.success_criteria.is_some()),
        ("needs", patch.needs.is_some()),
        ("on_need_failed", patch.on_need_failed.is_some()),
        ("parent", patch.parent.is_some()),
        ("tags", patch.tags.is_some()),
        ("due_at", patch.due_at.is_some()),
        ("not_before", patch.not_before.is_some()),
        ("idempotency_key", patch.idempotency_key.is_some()),
        ("review", patch.review.is_some()),
        ("run", patch.run.is_some()),
        ("retry", patch.retry.is_some()),
        ("limits", patch.limits.is_some()),
    ];
    let named = known.iter().filter(|(_, changed)| *changed).map(|(name, _)| (*name).to_owned());
    named.chain(patch.extra.iter().map(|(name, _)| text::line(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;
    use crate::protocol::op::Patch;

    #[test]
    fn an_entry_is_one_line_whatever_was_said() {
        let op = samples::op("eve\u{1b}[1m", 3, Action::Note { text: "first\nsecond\u{202e}".to_owned() });
        assert_eq!(entry(None, &op, Style::PLAIN), "2026-02-02 02:40:00Z  note        eve  first second\n");
    }

    #[test]
    fn an_edit_names_what_it_changed() {
        let patch = Patch { title: Some("new".into()), due_at: Some(None), ..Patch::default() };
        let op = samples::op("jq", 3, Action::Edit(Box::new(patch)));
        let id = TaskId::parse("A-1").unwrap();
        assert!(entry(Some(&id), &op, Style::PLAIN).ends_with("A-1  edit        jq  title, due_at\n"));
    }
}
