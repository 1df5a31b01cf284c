//! What anyone may change about a task: `edit`, `note`, `snooze`.

use std::time::Duration;

use clap::{ArgGroup, Args};

use crate::cli::advice;
use crate::cli::context::Context;
use crate::cli::definition::DefinitionArgs;
use crate::cli::values::{self, When};
use crate::protocol::id::TaskId;
use crate::protocol::op::Patch;
use crate::usecase::error::{Error, Kind, Result};
use crate::usecase::{edit, read};

/// Change fields of a task
///
/// A list replaces the old one; an empty value empties it. The file may also be edited by hand: orch records
/// that at its next command.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch edit ORCH-010 --priority P0 --due-at +4h
  orch edit ORCH-010 --needs ORCH-007,ORCH-008 --tag docs,release
  orch edit ORCH-010 --needs '' --due-at none
  orch edit ORCH-010 --title 'A better title' -- cargo test --workspace")]
pub struct Edit {
    /// The task
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: TaskId,

    /// What changes.
    #[command(flatten)]
    pub definition: DefinitionArgs,
}

impl Edit {
    /// Changes it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let now = context.now();
        let (changed, warning) = context.queue(|queue| {
            let task = read::show(queue, &self.id)?;
            let patch = self.definition.patch(&task.def().retry, now);
            if patch == Patch::default() {
                let error = Error::new(Kind::Usage, "usage", "nothing to change was named");
                return Err(error.hint("`orch edit --help` lists the fields"));
            }
            let changed = edit::edit(queue, &self.id, &patch)?;
            let warning = patch.run.as_ref().and_then(|_| advice::agent(queue, &changed.task));
            Ok((changed, warning))
        })?;
        if let Some(text) = warning {
            context.warn(text);
        }
        if !self.definition.argv.is_empty() {
            advice::commands(context, &changed.task)?;
        }
        context.changed(&changed)
    }
}

/// Add a note to the history of a task
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch note ORCH-010 --text 'the maintainer prefers short sentences'")]
pub struct Note {
    /// The task
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: TaskId,

    /// What to say
    #[arg(long, value_name = "TEXT", alias = "note", alias = "notes")]
    pub text: String,
}

impl Note {
    /// Adds it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let changed = context.queue(|queue| edit::note(queue, &self.id, &self.text))?;
        context.changed(&changed)
    }
}

/// Let a task wait until a moment
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("moment").required(true))]
#[command(after_help = "\
Examples:
  orch snooze ORCH-010 --for 2h
  orch snooze ORCH-010 --until 2026-02-08T09:00Z
  orch snooze ORCH-010 --until none      end the waiting")]
pub struct Snooze {
    /// The task
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: TaskId,

    /// This long from now
    #[arg(long = "for", value_name = "SPAN", value_parser = values::span, group = "moment")]
    pub span: Option<Duration>,

    /// Until this moment
    #[arg(long, value_name = "TIME", value_parser = values::when, group = "moment")]
    pub until: Option<When>,
}

impl Snooze {
    /// Snoozes it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let when = self.until.or(self.span.map(When::In)).unwrap_or(When::Never);
        let until = when.resolve(context.now());
        let changed = context.queue(|queue| edit::snooze(queue, &self.id, until))?;
        context.changed(&changed)
    }
}
