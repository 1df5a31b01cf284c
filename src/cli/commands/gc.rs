//! `orch gc`: what retention removes on this machine.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::render::{text, time};
use crate::cli::reports;
use crate::usecase::error::Result;
use crate::usecase::gc::{self, Collected};

/// Remove what retention no longer wants on this machine
///
/// Bundles older than `retention.runs`, temporary files of crashed processes, and observations of leases that
/// have ended. Tasks stay, however old they are.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch gc --dry-run
  orch gc --json | jq .data.bytes")]
pub struct Gc {
    /// Only tell what would be removed
    #[arg(long)]
    pub dry_run: bool,
}

impl Gc {
    /// Removes it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let report = context.queue(|queue| gc::gc(queue, self.dry_run))?;
        for what in &report.left {
            context.warn(format!("it could not be removed: {what}"));
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
    let did = if dry_run { "to remove" } else { "removed" };
    out.push_str(&format!(
        "{did}: {} bundles ({} bytes), {} temporary files, {} observations\n",
        report.bundles.len(),
        report.bundles.iter().map(|bundle| bundle.bytes).sum::<u64>(),
        report.temps,
        report.observations
    ));
    out
}
