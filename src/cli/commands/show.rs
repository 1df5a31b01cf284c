//! `orch show`: one task as a page.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::render::page;
use crate::cli::{data, values};
use crate::protocol::id::TaskId;
use crate::store::json::to_json;
use crate::usecase::error::Result;
use crate::usecase::read::{self, Shown};

/// Show one task with its history
///
/// What a newer version of orch wrote is shown key by key, and can only be changed by that version.
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
        let (shown, archived) = context.look(|queue| {
            let shown = read::shown(queue, &self.id)?;
            Ok((shown, read::archived(queue, &self.id)?))
        })?;
        let now = context.now();
        let marked = |mut json: serde_json::Value| {
            if let Some(path) = archived {
                json["archived"] = path.into();
            }
            json
        };
        match shown {
            Shown::Task(task) => {
                context.print(|| marked(data::task(&task)), |style| page::page(&task, now, style))
            }
            Shown::Newer(tree) => context.print(|| to_json(&tree), |style| page::foreign(&tree, style)),
        }
    }
}
