//! One task as a page for people.

use super::style::{Style, Tone, status_tone};
use super::{text, time, timeline};
use crate::protocol::gates::Gate;
use crate::protocol::task::{Definition, Lease, Limits, OnNeedFailed, Outcome, Review, Run, Task};
use crate::protocol::time::{Timestamp, format_span};
use crate::protocol::transition::{max_attempts, status_word};
use crate::protocol::value::Value;
use crate::store::json::to_json;
use crate::store::wire::Word;

/// Everything about a task: fields, texts, lease, result and history.
#[must_use]
pub fn page(task: &Task, now: Timestamp, style: Style) -> String {
    let mut out = headline(task, style);
    for (name, value) in facts(task, now) {
        out.push_str(&fact(name, &value, style));
    }
    let def = task.def();
    out.push_str(&section("Description", &def.description, style));
    out.push_str(&list("Success criteria", &def.success_criteria, style));
    if let Some(run) = &def.run {
        out.push_str(&list("Run", &steps(run), style));
    }
    if let Some(result) = task.result() {
        out.push_str(&outcome(result, style));
    }
    out.push_str(&format!("\n{}\n", style.paint(Tone::Bold, "History")));
    task.history().iter().for_each(|op| out.push_str(&format!("  {}", timeline::entry(None, op, style))));
    out
}

/// What a newer version of orch wrote: its keys as they are.
#[must_use]
pub fn foreign(tree: &Value, style: Style) -> String {
    let Value::Map(entries) = tree else { return String::new() };
    let shown = |value: &Value| match value {
        Value::Str(text) => text.clone(),
        other => to_json(other).to_string(),
    };
    entries.iter().map(|(key, value)| fact(&text::line(key), &shown(value), style)).collect()
}

/// The first line of a page: id, status and title.
#[must_use]
pub fn headline(task: &Task, style: Style) -> String {
    let status = task.status();
    format!(
        "{}  {}  {}\n",
        style.paint(Tone::Bold, task.id().as_str()),
        style.paint(status_tone(status), status_word(status)),
        text::line(&task.def().title)
    )
}

/// One `name: value` line of a page, for commands that add their own.
#[must_use]
pub fn fact(name: &str, value: &str, style: Style) -> String {
    format!("  {} {}\n", style.paint(Tone::Dim, &format!("{:<12}", format!("{name}:"))), text::line(value))
}

/// A headed block of prose; nothing where there is none.
#[must_use]
pub fn section(head: &str, body: &str, style: Style) -> String {
    let body = text::lines(body);
    if body.trim().is_empty() {
        return String::new();
    }
    format!("\n{}\n{}", style.paint(Tone::Bold, head), text::wrap(&body, style.prose(), "  "))
}

/// A headed list; nothing where it is empty.
#[must_use]
pub fn list(head: &str, items: &[String], style: Style) -> String {
    if items.is_empty() {
        return String::new();
    }
    let lines: String = items.iter().map(|item| format!("  - {}\n", text::line(item))).collect();
    format!("\n{}\n{lines}", style.paint(Tone::Bold, head))
}

/// Gates with their verdicts.
#[must_use]
pub fn gates(gates: &[Gate], style: Style) -> String {
    let one = |gate: &Gate| {
        let (mark, tone) = if gate.open { ("open  ", Tone::Green) } else { ("closed", Tone::Red) };
        format!("  {}  {:<12} {}\n", style.paint(tone, mark), gate.name, text::line(&gate.detail))
    };
    gates.iter().map(one).collect()
}

fn facts(task: &Task, now: Timestamp) -> Vec<(&'static str, String)> {
    let def = task.def();
    let mut facts = vec![("priority", format!("{:?}", def.priority))];
    if let Some(lease) = task.lease() {
        facts.extend(lease_facts(lease, now));
    }
    facts.push(("attempt", format!("{} of {}", task.attempt(), max_attempts(task))));
    facts.push(("epoch", task.epoch().to_string()));
    facts.extend(definition_facts(def, now));
    facts.push(("added", time::moment_and_distance(task.created_at(), now)));
    facts.push(("changed", time::moment_and_distance(task.updated_at(), now)));
    facts
}

fn lease_facts(lease: &Lease, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("owner", format!("{} on {}", lease.session, lease.machine)),
        ("lease", format!("{}, expires {}", format_span(lease.ttl), time::distance(lease.expires_at, now))),
        ("heartbeat", format!("{}, {}", lease.beat, time::distance(lease.renewed_at, now))),
    ];
    if let Some(progress) = &lease.progress {
        let percent = progress.percent.map(|percent| format!("{percent} %"));
        let said: Vec<String> = percent.into_iter().chain(progress.note.clone()).collect();
        facts.push(("progress", said.join(", ")));
    }
    facts
}

fn definition_facts(def: &Definition, now: Timestamp) -> Vec<(&'static str, String)> {
    let needs: Vec<&str> = def.needs.iter().map(|id| id.as_str()).collect();
    let rule = match def.on_need_failed {
        OnNeedFailed::Block => None,
        OnNeedFailed::Skip => Some("skip this task"),
        OnNeedFailed::Run => Some("run regardless"),
    };
    let facts = [
        ("needs", (!needs.is_empty()).then(|| needs.join(" "))),
        ("failed need", rule.map(str::to_owned)),
        ("parent", def.parent.as_ref().map(ToString::to_string)),
        ("tags", (!def.tags.is_empty()).then(|| def.tags.join(" "))),
        ("due", def.due_at.map(|at| time::moment_and_distance(at, now))),
        ("not before", def.not_before.map(|at| time::moment_and_distance(at, now))),
        ("key", def.idempotency_key.clone()),
        ("review", (def.review == Review::Required).then(|| "required".to_owned())),
        ("limits", Some(limits(&def.limits)).filter(|text| !text.is_empty())),
        ("other", Some(def.extra.keys().cloned().collect::<Vec<_>>().join(" ")).filter(|t| !t.is_empty())),
    ];
    facts.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
}

fn limits(limits: &Limits) -> String {
    let spans = [("lease", limits.lease), ("runtime", limits.runtime), ("stall", limits.stall)];
    let spans = spans.into_iter().filter_map(|(name, span)| Some(format!("{name} {}", format_span(span?))));
    let tokens = limits.tokens.map(|tokens| format!("{tokens} tokens"));
    let cost = limits.cost_usd.map(|cost| format!("{cost} USD"));
    spans.chain(tokens).chain(cost).collect::<Vec<_>>().join(", ")
}

fn steps(run: &Run) -> Vec<String> {
    match run {
        Run::Agent(kind) => vec![format!("agent {kind}")],
        Run::Exec(steps) => steps.iter().map(|step| step.argv.join(" ")).collect(),
    }
}

fn outcome(result: &Outcome, style: Style) -> String {
    let (status, reason) = (status_word(result.outcome), result.reason.word());
    let head = format!("Result: {status} ({reason}) at {}", time::moment(result.at));
    let mut out = format!("\n{}\n", style.paint(Tone::Bold, &head));
    out.push_str(&text::wrap(&text::lines(&result.notes), style.prose(), "  "));
    for artifact in &result.artifacts {
        out.push_str(&format!("  artifact: {}\n", text::line(artifact)));
    }
    if let Some(bundle) = &result.bundle {
        out.push_str(&format!("  bundle: {}\n", text::line(bundle)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;
    use crate::protocol::op::Action;

    #[test]
    fn a_page_shows_what_the_file_holds_without_its_escapes() {
        let def = Definition {
            title: "T\u{1b}[2J".to_owned(),
            description: "line one\n\u{1b}]0;x\u{7}line two".to_owned(),
            success_criteria: vec!["it\u{202e} works".to_owned()],
            tags: vec!["docs".to_owned()],
            ..Definition::default()
        };
        let shown = page(&samples::defined("A-1", def), samples::AT, Style::PLAIN);
        assert!(shown.starts_with("A-1  pending  T\n"), "{shown}");
        assert!(shown.contains("  line one\n  line two\n") && shown.contains("  - it works\n"), "{shown}");
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'));
    }

    #[test]
    fn a_finished_task_shows_its_result() {
        let held = samples::claimed("A-1", "t", "s");
        let done = Action::Done {
            epoch: 1,
            notes: "it is\ndone".into(),
            artifacts: vec!["out.txt".into()],
            bundle: None,
        };
        let shown = page(&samples::apply(&held, samples::op("s", 3, done)), samples::AT, Style::PLAIN);
        assert!(shown.contains("Result: done (success)"), "{shown}");
        assert!(shown.contains("  it is\n  done\n  artifact: out.txt\n"), "{shown}");
    }
}
