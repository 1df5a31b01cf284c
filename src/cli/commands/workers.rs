//! `orch workers`: who holds what, and the table that `status` shows of it.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::render::style::{Style, Tone};
use crate::cli::render::table::{Cell, Table};
use crate::cli::render::time;
use crate::cli::reports;
use crate::usecase::error::Result;
use crate::usecase::status::Held;
use crate::usecase::workers;

/// Show who is at work, and on what
///
/// Times of leases that other machines hold are as exact as the clocks agree.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch workers
  orch workers --json | jq '.data[].tasks[].task'")]
pub struct Workers {}

impl Workers {
    /// Shows them.
    #[expect(clippy::unused_self, reason = "every command is carried out the same way")]
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let found = context.look(|queue| workers::workers(queue))?;
        if found.is_empty() {
            context.remark("nobody holds a task".to_owned());
        }
        context.print(
            || reports::workers(&found),
            |style| table(found.iter().flat_map(|worker| &worker.holds), style),
        )
    }
}

/// Leases as a table: who holds what, where, how far, for how long.
pub fn table<'h>(leases: impl Iterator<Item = &'h Held>, style: Style) -> String {
    let heads = ["SESSION", "MACHINE", "TASK", "TITLE", "EPOCH", "PROGRESS", "SEEN", "LEFT"];
    let mut table = Table::new(&heads, 3);
    let mut any = false;
    for held in leases {
        any = true;
        let left = match held.left {
            left if left.is_zero() => Cell::new("lapsed").tone(Tone::Red),
            left => time::rough(left).into(),
        };
        table.row(vec![
            held.session.as_str().into(),
            if held.here { "here".into() } else { held.machine.as_str().into() },
            held.task.as_str().into(),
            held.title.as_str().into(),
            held.epoch.to_string().into(),
            progress(held).into(),
            format!("{} ago", time::rough(held.renewed_ago)).into(),
            left,
        ]);
    }
    if any { table.render(style) } else { String::new() }
}

fn progress(held: &Held) -> String {
    let percent = held.progress.percent.map(|percent| format!("{percent}%"));
    let parts: Vec<String> = percent.into_iter().chain(held.progress.note.clone()).collect();
    parts.join(" ")
}
