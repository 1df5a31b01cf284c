//! `orch resume`: what an earlier attempt left for the next one.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::render::style::{Style, Tone};
use crate::cli::render::{page, text, time};
use crate::cli::{data, values};
use crate::protocol::id::TaskId;
use crate::protocol::time::Timestamp;
use crate::store::wire::Word;
use crate::usecase::error::Result;
use crate::usecase::read::{self, Attempt, Context as Handed, Said};

/// Show what a session needs to go on where another one stopped
///
/// Description, criteria, earlier attempts with their reasons and bundles, checkpoints and notes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch resume ORCH-010
  orch resume
  orch resume ORCH-010 --json | jq .data.checkpoints")]
pub struct Resume {
    /// The task; without it the one that this session holds, or last left a checkpoint on
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: Option<TaskId>,
}

impl Resume {
    /// Shows it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let handed = context.look(|queue| {
            let id = self.id.map_or_else(|| read::held_by_me(queue), Ok)?;
            read::resume(queue, &id)
        })?;
        let now = context.now();
        context.print(|| to_json(&handed), |style| to_text(&handed, now, style))
    }
}

fn to_json(handed: &Handed) -> Value {
    json!({
        "task": data::task(&handed.task),
        "attempts": handed.attempts.iter().map(attempt_to_json).collect::<Vec<_>>(),
        "checkpoints": handed.checkpoints.iter().map(said_to_json).collect::<Vec<_>>(),
        "notes": handed.notes.iter().map(said_to_json).collect::<Vec<_>>(),
    })
}

fn attempt_to_json(attempt: &Attempt) -> Value {
    json!({
        "epoch": attempt.epoch,
        "session": attempt.session,
        "machine": attempt.machine,
        "from": data::moment(attempt.from),
        "to": attempt.to.map(data::moment),
        "ended": attempt.ended,
        "reason": attempt.reason.map(Word::word),
        "notes": attempt.notes,
        "bundle": attempt.bundle,
    })
}

fn said_to_json(said: &Said) -> Value {
    json!({ "at": data::moment(said.at), "by": said.by, "text": said.text })
}

fn to_text(handed: &Handed, now: Timestamp, style: Style) -> String {
    let def = handed.task.def();
    let mut out = page::headline(&handed.task, style);
    out.push_str(&page::section("Description", &def.description, style));
    out.push_str(&page::list("Success criteria", &def.success_criteria, style));
    let attempts: Vec<String> = handed.attempts.iter().map(attempt_line).collect();
    out.push_str(&page::list("Attempts", &attempts, style));
    out.push_str(&said("Checkpoints", &handed.checkpoints, now, style));
    out.push_str(&said("Notes", &handed.notes, now, style));
    out
}

fn attempt_line(attempt: &Attempt) -> String {
    let to = attempt.to.map_or_else(|| "still running".to_owned(), time::moment);
    let ended = attempt.ended.map(|ended| format!(", {ended}")).unwrap_or_default();
    let reason = attempt.reason.map(|reason| format!(" ({})", reason.word())).unwrap_or_default();
    let notes = attempt.notes.as_deref().map(|notes| format!(": {notes}")).unwrap_or_default();
    let (epoch, session, from) = (attempt.epoch, &attempt.session, time::moment(attempt.from));
    format!("epoch {epoch} by {session}, {from} to {to}{ended}{reason}{notes}")
}

fn said(head: &str, all: &[Said], now: Timestamp, style: Style) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut out = format!("\n{}\n", style.paint(Tone::Bold, head));
    for said in all {
        let when = style.paint(Tone::Dim, &time::moment_and_distance(said.at, now));
        out.push_str(&format!("  {when}  {}\n", text::line(&said.by)));
        out.push_str(&text::wrap(&text::lines(&said.text), style.prose(), "    "));
    }
    out
}
