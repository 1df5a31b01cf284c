//! `orch export`: the whole queue on standard output, written piece by piece.

use clap::{Args, ValueEnum};

use crate::cli::context::Context;
use crate::cli::progress::Bar;
use crate::cli::{failure, output};
use crate::usecase::error::Result;
use crate::usecase::export::{self, Format};

/// Bytes that are gathered before they are written.
const CHUNK: usize = 64 * 1024;

/// Write the whole queue out
///
/// JSON lines hold every task with its history, and `orch import` takes them over as they are. The Markdown
/// table is for people, and leaves out what has no column. --json changes nothing here.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch export > queue.jsonl
  orch export --format markdown > QUEUE.md")]
pub struct Export {
    /// How tasks are written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Form,
}

/// How tasks are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One task per line, with its history
    #[default]
    Jsonl,
    /// A table for people
    #[value(alias = "md")]
    Markdown,
}

impl Export {
    /// Writes it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let format = match self.format {
            Form::Jsonl => Format::Jsonl,
            Form::Markdown => Format::Markdown,
        };
        let bar = Bar::new(context, "exporting");
        context.look(|queue| {
            let mut waiting = String::new();
            export::export(queue, format, &mut |at, of| bar.at(at, of), &mut |piece| {
                waiting.push_str(piece);
                if waiting.len() < CHUNK { Ok(()) } else { output::write(&std::mem::take(&mut waiting)) }
            })?;
            output::write(&waiting)
        })?;
        Ok(failure::OK)
    }
}
