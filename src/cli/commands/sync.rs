//! `orch sync`: one exchange with the remote, and what came of it.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::data;
use crate::cli::render::text;
use crate::usecase::error::Result;
use crate::usecase::sync::{self, Synced};

/// Exchange everything with the remote
///
/// Publishes what waits here, brings what is new there, and folds finished tasks into the state branch.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch sync
  orch sync --json | jq .data.rejected")]
pub struct Sync {}

impl Sync {
    /// Exchanges.
    #[expect(clippy::unused_self, reason = "every command is carried out the same way")]
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let synced = context.queue(sync::sync)?;
        context.print(|| data::synced(&synced), |_| summary(&synced))
    }
}

fn summary(synced: &Synced) -> String {
    let mut out = format!(
        "fetched {}, pushed {}, folded {}, replayed {}, rejected {}, retries {}\n",
        synced.fetched,
        synced.pushed,
        synced.folded,
        synced.replayed,
        synced.rejected.len(),
        synced.retries
    );
    for one in &synced.rejected {
        out.push_str(&format!("rejected: {}: {}\n", text::line(&one.what()), text::line(&one.reason)));
    }
    out
}
