//! `orch list`: filter options in, a table or tasks without history out.

use std::time::Duration;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::render::tasks;
use crate::cli::{data, words};
use crate::protocol::task::{Priority, Status};
use crate::protocol::time::Timestamp;
use crate::usecase::error::Result;
use crate::usecase::read::{self, Filter};

/// List tasks
///
/// Options of different kinds narrow each other down; several values of one kind widen it. Tasks in the archive are
/// shown with --archived only.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch list
  orch list --ready --limit 5
  orch list --status in_progress,in_review --owner agent:7
  orch ls --priority P0,P1 --tag docs --search readme --json")]
pub struct List {
    /// Only tasks with this status; repeated or separated by commas
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = words::word::<Status>(), ignore_case = true)]
    pub status: Vec<Status>,

    /// Only tasks with this priority; repeated or separated by commas
    #[arg(long, value_name = "P", value_delimiter = ',', value_parser = words::word::<Priority>(), ignore_case = true)]
    pub priority: Vec<Priority>,

    /// Only tasks that this session holds
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,

    /// Only tasks with this label; with several, those that have all
    #[arg(long, value_name = "TAG", value_delimiter = ',', alias = "tags")]
    pub tag: Vec<String>,

    /// Only tasks that could be claimed now, first one first
    #[arg(long)]
    pub ready: bool,

    /// Ended tasks that `orch gc` has moved to the archive, instead of those in the queue
    #[arg(long, conflicts_with = "ready")]
    pub archived: bool,

    /// Only tasks that contain this text
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,

    /// At most this many
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

impl List {
    /// Lists them.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let now = context.now();
        let found = context.look(|queue| {
            let ready = self.ready.then(|| (now, queue.settings().queue.ageing));
            read::list(queue, &self.filter(ready))
        })?;
        if found.is_empty() {
            context.remark(self.nothing().to_owned());
        }
        context.print_text(|| data::tasks(&found), |style| tasks::table(&found, now, style))
    }

    /// What an empty list means.
    fn nothing(&self) -> &'static str {
        let chosen = !(self.status.is_empty() && self.priority.is_empty() && self.tag.is_empty())
            || self.owner.is_some()
            || self.search.is_some();
        match (self.archived, self.ready, chosen) {
            (_, _, true) => "no task is like that",
            (true, ..) => "the archive is empty",
            (_, true, _) => "no task is ready; `orch list` shows what they wait for",
            _ => "the queue is empty; `orch add --title TEXT` adds a task",
        }
    }

    fn filter(&self, ready: Option<(Timestamp, Duration)>) -> Filter {
        Filter {
            status: self.status.clone(),
            priority: self.priority.clone(),
            owner: self.owner.clone(),
            tag: self.tag.clone(),
            ready,
            search: self.search.clone(),
            limit: self.limit,
            archived: self.archived,
        }
    }
}
