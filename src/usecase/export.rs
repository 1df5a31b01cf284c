//! Writing the queue out: whole tasks as JSON lines, or a Markdown table for people.

use crate::protocol::task::Task;
use crate::store::codec;
use crate::store::table;
use crate::store::tasks::FileState;

use super::error::Result;
use super::queue::Queue;
use super::survey::{self, Progress};

/// How tasks are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// One task per line with its whole history; `import` takes it over as it is.
    #[default]
    Jsonl,
    /// A table; what has no column is left out.
    Markdown,
}

/// Writes every task, in the order of ids, piece by piece; gives how many were written. Files that cannot
/// be read are left out, and reported as every command does.
///
/// # Errors
/// Those of the index and of `out`.
pub fn export(
    q: &Queue,
    format: Format,
    progress: Progress<'_>,
    out: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<usize> {
    if format == Format::Markdown {
        out(table::HEADING)?;
    }
    let mut count = 0;
    survey::each(q, progress, &mut |_, state| {
        if let FileState::Task { task, .. } = state {
            count += 1;
            out(&line(format, &task))?;
        }
        Ok(())
    })?;
    Ok(count)
}

fn line(format: Format, task: &Task) -> String {
    match format {
        Format::Jsonl => codec::task_to_json_line(task) + "\n",
        Format::Markdown => table::line(task),
    }
}
