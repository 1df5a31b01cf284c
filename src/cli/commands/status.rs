//! `orch status`: the queue at a glance.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::render::style::{Style, Tone, status_tone};
use crate::cli::render::{text, time};
use crate::cli::{commands::workers, reports};
use crate::protocol::time::Timestamp;
use crate::protocol::transition::status_word;
use crate::usecase::error::Result;
use crate::usecase::status::{self, Report};

/// Show the queue at a glance
///
/// How many tasks stand where, who holds what and for how long, and how well this machine knows the remote.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch status
  orch status --json | jq .data.counts")]
pub struct Status {}

impl Status {
    /// Shows it.
    #[expect(clippy::unused_self, reason = "every command is carried out the same way")]
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let report = context.look(status::status)?;
        let now = context.now();
        context.print(|| reports::status(&report), |style| shown(&report, now, style))
    }
}

fn shown(report: &Report, now: Timestamp, style: Style) -> String {
    let mut out = String::new();
    let counts: Vec<String> = report
        .counts
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(status, n)| format!("{n} {}", style.paint(status_tone(*status), status_word(*status))))
        .collect();
    let tasks = if counts.is_empty() { "none yet".to_owned() } else { counts.join(", ") };
    line(&mut out, "tasks", &tasks, style);
    if report.archived > 0 {
        line(&mut out, "archived", &report.archived.to_string(), style);
    }
    let oldest = report.oldest_ready.map(|at| format!(", the oldest added {}", time::distance(at, now)));
    line(&mut out, "ready", &format!("{}{}", report.ready, oldest.unwrap_or_default()), style);
    if let Some(why) = &report.paused {
        line(&mut out, "paused", &style.paint(Tone::Yellow, &text::line(why)), style);
    }
    let remote = match (&report.remote, report.fetch_age) {
        (None, _) => "none: the queue is on this machine only".to_owned(),
        (Some(url), Some(age)) => format!("{}, looked at {} ago", text::line(url), time::rough(age)),
        (Some(url), None) => format!("{}, not looked at since this machine started", text::line(url)),
    };
    line(&mut out, "remote", &remote, style);
    let here = format!("{}, branch {}", text::line(&report.machine), text::line(&report.branch));
    line(&mut out, "machine", &here, style);
    for (name, count, what) in [
        ("unpublished", report.unpublished, "wait to be published; `orch sync` tries again"),
        ("rejected", report.rejected, "refused when they arrived; `orch log` names them"),
        ("quarantined", report.quarantined, "cannot be used; `orch verify` lists them"),
        (
            "strays",
            report.strays,
            "below tasks/ or archive/ that belong to no task; `orch verify` lists them",
        ),
    ] {
        if count > 0 {
            line(&mut out, name, &format!("{} {what}", style.paint(Tone::Yellow, &count.to_string())), style);
        }
    }
    if let Some(alarm) = &report.alarm {
        line(&mut out, "alarm", &style.paint(Tone::Red, &text::line(alarm)), style);
    }
    if !report.leases.is_empty() {
        out.push('\n');
        out.push_str(&workers::table(report.leases.iter(), style));
    }
    out
}

fn line(out: &mut String, name: &str, what: &str, style: Style) {
    out.push_str(&format!("{} {what}\n", style.paint(Tone::Bold, &format!("{name:<12}"))));
}
