//! `orch demo`: plays the rehearsal for whoever watches, and tells how it went.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::data;
use crate::cli::failure;
use crate::cli::render::live::{self, Live};
use crate::cli::render::rehearsal;
use crate::demo::play::{self, Audience, Request};
use crate::demo::report::Report;
use crate::demo::story::Story;
use crate::demo::view::Board;
use crate::protocol::time::Timestamp;
use crate::usecase::error::{Error, Result};
use crate::world::env;

/// See a queue survive a power cut and a pulled cable
///
/// Makes a bare repository and three machines in a temporary folder, gives them twelve real tasks, kills one
/// machine in the middle of its work, cuts another off from the remote, and audits what is left. It takes
/// about twenty seconds, touches nothing else, and exits with 0 only if every check holds.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch demo
  orch demo --dir /tmp/look-around
  orch demo --remove --json | jq .data.ok")]
pub struct Demo {
    /// Play in this folder, which must be empty or new [default: a new temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Remove the folder in the end if every check holds [default: keep it]
    #[arg(long, conflicts_with = "keep")]
    pub remove: bool,

    /// Keep the folder in the end, as is done anyway
    #[arg(long)]
    pub keep: bool,
}

/// Somebody who only waits for the document.
struct Nobody;

impl Audience for Nobody {
    fn scene(&mut self, _: &str) {}
    fn line(&mut self, _: &str) {}
    fn board(&mut self, _: &Board) {}
}

impl Demo {
    /// Plays it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let orch = env::current_exe().map_err(|error| Error::failure(error.to_string()))?;
        let dir = self.dir.as_deref().map(|dir| context.absolute(dir)).transpose()?;
        let request = Request { orch, dir, remove: self.remove };
        let style = context.style();
        let report = if context.globals.json || context.globals.quiet {
            play::run(&request, &mut Nobody)?
        } else {
            let mut live = Live::new(style, live::screen());
            let report = play::run(&request, &mut live);
            live.end();
            report?
        };
        context.print(|| document(&report), |style| rehearsal::summary(&report, style))?;
        Ok(if report.ok() { failure::OK } else { 1 })
    }
}

fn document(report: &Report) -> Value {
    let scene = |one: &crate::demo::report::Scene| json!({ "title": one.title, "lines": one.lines });
    let check = |one: &crate::demo::report::Expectation| json!({ "what": one.what, "held": one.held, "found": one.found });
    let verdict = |one: &crate::demo::report::Verdict| json!({ "machine": one.machine, "command": one.command, "ok": one.ok, "problems": one.problems });
    let next = |one: &crate::demo::report::Next| json!({ "command": one.command, "shows": one.shows });
    json!({
        "ok": report.ok(),
        "seconds": (report.seconds * 10.0).round() / 10.0,
        "dir": report.dir.display().to_string(),
        "removed": report.removed,
        "scenes": report.scenes.iter().map(scene).collect::<Vec<_>>(),
        "tasks": report.tasks.iter().map(task).collect::<Vec<_>>(),
        "expectations": report.expectations.iter().map(check).collect::<Vec<_>>(),
        "audit": {
            "ok": report.audit_holds(),
            "machines": report.verdicts.iter().map(verdict).collect::<Vec<_>>(),
        },
        "next": report.next.iter().map(next).collect::<Vec<_>>(),
    })
}

fn task(story: &Story) -> Value {
    let at = |ms: i64| data::moment(Timestamp(ms));
    let epochs = story.chapters.iter().map(|one| {
        json!({
            "epoch": one.epoch,
            "session": one.session,
            "machine": one.machine,
            "claimed_at": at(one.from_ms),
            "ended_at": one.to_ms.map(at),
            "ended": one.ended,
        })
    });
    json!({
        "id": story.id,
        "title": story.title,
        "status": story.status_word(),
        "epochs": epochs.collect::<Vec<_>>(),
        "bundles": story.bundles,
    })
}
