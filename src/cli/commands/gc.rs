//! `orch gc`: what retention archives, and removes on this machine.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::render::{text, time};
use crate::cli::reports;
use crate::usecase::error::Result;
use crate::usecase::gc::{self, Collected};

/// Archive old tasks, and remove what retention no longer wants on this machine
///
/// Tasks that were done or cancelled longer ago than `retention.done` move from `tasks/` to `archive/`, for all
/// machines; `show` and `log` still find them, and `retry` brings a cancelled one back. Removed are bundles older than
/// `retention.runs`, temporary files of crashed processes, observations of leases that have ended, and files of sessions that
/// vanished that long ago.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch gc --dry-run
  orch gc --json | jq .data.bytes")]
pub struct Gc {
    /// Only tell what would be archived and removed
    #[arg(long)]
    pub dry_run: bool,
}

impl Gc {
    /// Removes it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let report = context.queue(|queue| gc::gc(queue, self.dry_run))?;
        for what in &report.left {
            context.warn(format!("left as it was: {what}"));
        }
        context.print(|| reports::collected(&report, self.dry_run), |_| shown(&report, self.dry_run))
    }
}

fn shown(report: &Collected, dry_run: bool) -> String {
    let mut out = String::new();
    for bundle in &report.bundles {
        let (path, age) = (text::line(&bundle.path), time::rough(bundle.age));
        out.push_str(&format!("{path}  {} bytes, {age} old\n", bundle.bytes));
    }
    for id in &report.archived {
        out.push_str(&format!("{id}\n"));
    }
    let did = if dry_run { "to archive" } else { "archived" };
    out.push_str(&format!("{did}: {} tasks\n", report.archived.len()));
    let did = if dry_run { "to remove" } else { "removed" };
    out.push_str(&format!(
        "{did}: {} bundles ({} bytes), {} temporary files, {} observations, {} sessions\n",
        report.bundles.len(),
        report.bundles.iter().map(|bundle| bundle.bytes).sum::<u64>(),
        report.temps,
        report.observations,
        report.sessions
    ));
    out
}
