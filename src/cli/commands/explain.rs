//! `orch explain`: every gate of one task with its verdict.

use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::render::page;
use crate::cli::{data, values};
use crate::protocol::id::TaskId;
use crate::usecase::error::Result;
use crate::usecase::read;

/// Say why a task is ready or not
///
/// Lists every gate that a task has to pass before it can be claimed, with its verdict.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch explain ORCH-010
  orch explain ORCH-010 --json | jq '.data.gates[] | select(.open | not)'")]
pub struct Explain {
    /// The task
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: TaskId,
}

impl Explain {
    /// Explains it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let told = context.look(|queue| read::explain(queue, &self.id))?;
        context.print(
            || json!({ "task": data::task(&told.task), "ready": told.ready, "gates": data::gates(&told.gates) }),
            |style| {
                let verdict = if told.ready { "ready" } else { "not ready" };
                let head = page::headline(&told.task, style);
                format!("{head}{}{}", page::fact("verdict", verdict, style), page::gates(&told.gates, style))
            },
        )
    }
}
