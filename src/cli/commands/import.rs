//! `orch import`: tasks from a file that another queue, a program or a person wrote.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::context::Context;
use crate::cli::reports;
use crate::usecase::error::{Error, Kind, Result};
use crate::usecase::import::{self, Format};

/// Largest file, in bytes: about a quarter of a million tasks.
const LIMIT: u64 = 512 * 1024 * 1024;

/// Add the tasks of a file: JSON lines, or a Markdown queue table
///
/// The file is checked as a whole first: if anything in it is wrong, nothing is added. Importing it again adds
/// nothing. Of a table, columns may stand in any order (id, priority, status, task, success criteria, owner,
/// due, notes, needs, tags); what cannot be mapped is kept in a note of the task.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch import QUEUE.md
  orch import queue.jsonl --json
  ssh other orch export | orch import -")]
pub struct Import {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// How it is read [default: by its name, else by how it begins]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Form>,
}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One task or definition per line
    Jsonl,
    /// A table
    #[value(alias = "md")]
    Markdown,
}

impl Import {
    /// Adds them.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let bytes = Context::read_input_up_to(&self.file, LIMIT)?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Error::new(Kind::Refused, "invalid", format!("{}: this is no UTF-8 text", self.file.display()))
        })?;
        let format = match self.format {
            Some(Form::Jsonl) => Format::Jsonl,
            Some(Form::Markdown) => Format::Markdown,
            None => import::format_of(&self.file.to_string_lossy(), &text),
        };
        let report = context.queue(|queue| import::import(queue, format, &text))?;
        if !report.published {
            context.remark("the tasks are here and not published yet".to_owned());
        }
        context.print(
            || reports::imported(&report),
            |_| format!("{} imported, {} were here already\n", report.imported.len(), report.skipped.len()),
        )
    }
}
