//! `orch recover`: one look at every lease, and the table of what was found.

use std::time::Duration;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::render::style::Style;
use crate::cli::render::table::Table;
use crate::cli::render::time;
use crate::cli::{data, values};
use crate::protocol::transition::status_word;
use crate::usecase::error::Result;
use crate::usecase::watch::{self, Rules, Watched};

/// How leases are judged.
#[derive(Args, Debug)]
pub struct JudgeArgs {
    /// Decide at once by the timestamps in the files, tolerating clocks that differ by this much
    #[arg(long, value_name = "SKEW", num_args = 0..=1, default_missing_value = "5m", value_parser = values::span)]
    pub trust_clocks: Option<Duration>,
}

/// Take tasks back from sessions that have vanished
///
/// A lease is stale when it has not changed for long enough on this machine's own clock, counted from the
/// first look: what was seen is remembered from one run to the next. A lease of a process that died on this
/// machine is taken back at once.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch recover
  orch recover --json
  orch recover --trust-clocks          decide now, by timestamps, within 5m
  orch recover --trust-clocks=1m")]
pub struct Recover {
    /// How leases are judged.
    #[command(flatten)]
    pub judge: JudgeArgs,
}

impl Recover {
    /// Looks at every lease once.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let rules = Rules { trust_clocks: self.judge.trust_clocks };
        let watched = context.queue(|queue| watch::round(queue, rules))?;
        context.print(|| data::watched(&watched), |style| text(&watched, style))
    }
}

/// Recovered and watched leases as a table.
#[must_use]
pub fn text(watched: &Watched, style: Style) -> String {
    let mut table = Table::new(&["TASK", "SESSION", "EPOCH", "LEASE"], 3);
    for one in &watched.recovered {
        let what = format!("recovered, now {}", status_word(one.to));
        table.row(vec![
            one.id.as_str().into(),
            one.session.as_str().into(),
            one.epoch.to_string().into(),
            what.into(),
        ]);
    }
    for one in &watched.watching {
        let what = format!("still for {} of {}", time::rough(one.still), time::rough(one.needed));
        table.row(vec![
            one.id.as_str().into(),
            one.session.as_str().into(),
            one.epoch.to_string().into(),
            what.into(),
        ]);
    }
    let leases = watched.recovered.len() + watched.watching.len();
    let rows = if leases == 0 { String::new() } else { table.render(style) };
    format!(
        "{rows}{} recovered, {} watched, {} folded\n",
        watched.recovered.len(),
        watched.watching.len(),
        watched.folded
    )
}
