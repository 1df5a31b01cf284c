//! `orch sessions`: who ever acted, and what came of it.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::progress::Bar;
use crate::cli::render::table::Table;
use crate::cli::render::{text, time};
use crate::cli::reports;
use crate::usecase::error::Result;
use crate::usecase::sessions::{self, Session};

/// Show every session that ever acted, and what it did
///
/// As the histories of the tasks tell it: the one that acted last comes first. Below the table stands what the session
/// that asks holds, and the last checkpoint that it left.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch sessions
  orch sessions --json | jq '.data[] | select(.lost > 0)'")]
pub struct Sessions {}

impl Sessions {
    /// Shows them.
    #[expect(clippy::unused_self, reason = "every command is carried out the same way")]
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let bar = Bar::new(context, "reading");
        let (found, me) = context.look(|queue| {
            let found = sessions::sessions(queue, &mut |at, of| bar.at(at, of))?;
            Ok((found, (queue.session().to_owned(), queue.machine().to_owned())))
        })?;
        drop(bar);
        let now = context.now();
        context.print(
            || reports::sessions(&found),
            |style| {
                let heads =
                    ["SESSION", "MACHINE", "LAST", "ACT", "HOLDS", "CLAIMED", "DONE", "FAILED", "LOST"];
                let mut table = Table::new(&heads, 0);
                for one in &found {
                    let mut row = vec![
                        one.session.as_str().into(),
                        one.machine.as_str().into(),
                        time::distance(one.last_at, now).into(),
                        one.last_act.into(),
                    ];
                    let numbers = [one.held, one.claimed, one.done, one.failed, one.lost];
                    row.extend(numbers.map(|n| n.to_string().into()));
                    table.row(row);
                }
                if found.is_empty() { String::new() } else { table.render(style) + &mine(&found, &me) }
            },
        )
    }
}

/// What a session that was started again wants to know.
fn mine(found: &[Session], me: &(String, String)) -> String {
    let Some(one) = found.iter().find(|one| (&one.session, &one.machine) == (&me.0, &me.1)) else {
        return String::new();
    };
    let mut out = String::new();
    for (id, epoch) in &one.holds {
        out.push_str(&format!("you hold {id} in epoch {epoch}; `orch resume {id}` tells where it stands\n"));
    }
    if let Some(left) = &one.checkpoint {
        let (at, note) = (time::moment(left.at), text::line(&left.note));
        out.push_str(&format!("your last checkpoint, on {} at {at}: {note}\n", left.task));
    }
    if out.is_empty() { out } else { format!("\n{out}") }
}
