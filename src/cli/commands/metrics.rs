//! `orch metrics`: numbers for monitoring.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::reports;
use crate::usecase::error::Result;
use crate::usecase::metrics;

/// Print numbers for monitoring, in the text format of Prometheus
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch metrics > /var/lib/node_exporter/orch.prom
  orch metrics --json | jq .data.orch_ready")]
pub struct Metrics {}

impl Metrics {
    /// Prints them.
    #[expect(clippy::unused_self, reason = "every command is carried out the same way")]
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let found = context.queue(metrics::metrics)?;
        context.print(|| reports::metrics(&found), |_| metrics::text(&found))
    }
}
