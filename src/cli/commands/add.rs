//! `orch add`: a task from options, from a file, or from both. What is valid is decided by the use case.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::advice;
use crate::cli::context::Context;
use crate::cli::data;
use crate::cli::definition::DefinitionArgs;
use crate::cli::values;
use crate::protocol::id::TaskId;
use crate::protocol::task::Definition;
use crate::store::codec;
use crate::usecase::add;
use crate::usecase::error::{Error, Kind, Result};

/// Add a task
///
/// Prints its id. A short random id is made unless one is named; adding twice with the same idempotency key
/// adds once. What follows `--` is a command that a worker runs without a shell.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch add --title 'Bring the README up to date' --priority P1 --tag docs
  orch add --id ORCH-011 --title 'Release' --needs ORCH-009,ORCH-010 --due-at 2026-02-08T09:00Z
  orch add --title 'Run the tests' --max-attempts 2 -- cargo test --workspace
  orch add --title 'Fix the login' --agent coding --review required \\
      --success-criteria 'tests pass' --success-criteria 'the page loads'
  orch add --file task.yaml
  cat task.yaml | orch add --file -")]
pub struct Add {
    /// Id of the task
    #[arg(long, value_name = "ID", value_parser = values::id)]
    pub id: Option<TaskId>,

    /// Read the task from a YAML file with the fields of a task file (`-` for standard input); options win
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// What the task is.
    #[command(flatten)]
    pub definition: DefinitionArgs,
}

impl Add {
    /// Adds the task.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let (id, mut definition) = self.read_file()?;
        self.definition.patch(&definition.retry, context.now()).apply(&mut definition);
        let (added, warning) = context.queue(|queue| {
            let added = add::add(queue, self.id.or(id), definition)?;
            let warning = advice::agent(queue, &added.task);
            Ok((added, warning))
        })?;
        let id = added.task.id();
        if added.created {
            if let Some(text) = warning {
                context.warn(text);
            }
            advice::commands(context, &added.task)?;
        }
        match (added.created, added.published) {
            (false, _) => context.remark(format!("{id} was added before, with the same idempotency key")),
            (true, false) => context.unpublished(&format!("{id} is added here")),
            (true, true) => {}
        }
        context.print(
            || json!({ "task": data::task(&added.task), "created": added.created, "published": added.published }),
            |_| format!("{id}\n"),
        )
    }

    fn read_file(&self) -> Result<(Option<TaskId>, Definition)> {
        let Some(path) = &self.file else { return Ok((None, Definition::default())) };
        let text = Context::read_input(path)?;
        codec::decode_definition(&text).map_err(|problem| {
            let name =
                if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() };
            let place = format!("{name}:{}:{}", problem.line, problem.column);
            Error::new(Kind::Refused, "invalid", format!("{place}: {}", problem.message))
                .hint("`orch schema task` describes the fields")
        })
    }
}
