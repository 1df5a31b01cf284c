//! `orch show`: one task as a page.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::render::page;
use crate::cli::{data, values};
use crate::protocol::id::TaskId;
use crate::usecase::error::Result;
use crate::usecase::read;

/// Show one task with its history
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch show ORCH-010
  orch show ORCH-010 --json | jq .data.lease")]
pub struct Show {
    /// The task
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: TaskId,
}

impl Show {
    /// Shows it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let (task, archived) = context.queue(|queue| {
            let task = read::show(queue, &self.id)?;
            Ok((task, read::archived(queue, &self.id)?))
        })?;
        let now = context.now();
        let mut json = data::task(&task);
        if let Some(path) = archived {
            json["archived"] = path.into();
        }
        context.print(|| json, |style| page::page(&task, now, style))
    }
}
