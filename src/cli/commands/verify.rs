//! `orch verify`: whether everything is as promised; the exit code says so, too.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::progress::Bar;
use crate::cli::render::style::{Style, Tone};
use crate::cli::render::text;
use crate::cli::{failure, reports};
use crate::usecase::error::{Kind, Result};
use crate::usecase::verify::{self, Trouble, Verified};

/// Check every task: its file, its seal, its history, and the tasks together
///
/// With a remote it also checks what is shared, as of the last fetch. Nothing is repaired: that is for
/// `orch doctor --repair`. Ends with 8 while a problem remains; warnings do not count.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch verify
  orch verify --json | jq '.data.problems[]'")]
pub struct Verify {}

impl Verify {
    /// Checks it.
    #[expect(clippy::unused_self, reason = "every command is carried out the same way")]
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let bar = Bar::new(context, "verifying");
        let report = context.queue(|queue| verify::verify(queue, &mut |at, of| bar.at(at, of)))?;
        drop(bar);
        context.print(|| reports::verified(&report), |style| shown(&report, style))?;
        Ok(if report.ok() { failure::OK } else { failure::exit_code(Kind::Damaged) })
    }
}

fn shown(report: &Verified, style: Style) -> String {
    let mut out = String::new();
    for (troubles, tone, word) in
        [(&report.problems, Tone::Red, "problem:"), (&report.warnings, Tone::Yellow, "warning:")]
    {
        for trouble in troubles {
            out.push_str(&format!("{} {}\n", style.paint(tone, word), line(trouble)));
        }
    }
    let (problems, warnings) = (report.problems.len(), report.warnings.len());
    let verdict = if report.ok() { style.paint(Tone::Green, "ok") } else { format!("{problems} problems") };
    let also = if warnings > 0 { format!(", {warnings} warnings") } else { String::new() };
    out.push_str(&format!("{} tasks: {verdict}{also}\n", report.tasks));
    out
}

fn line(trouble: &Trouble) -> String {
    let numbers = [trouble.line, trouble.column].into_iter().flatten().map(|n| n.to_string());
    let place: Vec<String> = trouble.file.clone().into_iter().chain(numbers).collect();
    let broken = trouble.promise.map(|number| format!(" (promise {number})")).unwrap_or_default();
    let gap = if place.is_empty() { "" } else { ": " };
    format!("{}{gap}{}{broken}", text::line(&place.join(":")), text::line(&trouble.what))
}
