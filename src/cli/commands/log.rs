//! `orch log`: what was done, once or as it happens.

use std::time::Duration;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::render::style::{Style, Tone};
use crate::cli::render::{text, timeline};
use crate::cli::{failure, output, reports, values};
use crate::protocol::id::TaskId;
use crate::protocol::time::{Timestamp, parse_span};
use crate::store::time;
use crate::usecase::error::{Kind, Result};
use crate::usecase::log::{self, Cursor, Entry, Request};
use crate::usecase::queue::Queue;

/// Operations of the whole queue that are shown where nobody asks for another number.
const USUAL: usize = 100;
/// Pause between two looks at the files.
const PAUSE: Duration = Duration::from_millis(500);
/// Looks at the files between two looks at the remote.
const LOOKS: u32 = 30;

/// Show what was done, newest last
///
/// Without a task it is the log of the whole queue, by the clocks of those who acted; operations of one task stand in
/// the order in which they count, which is another one where machines acted apart. What the register refused is
/// marked: it changed nothing. With --follow every new operation is printed as it arrives, under --json one
/// document per line.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch log
  orch log ORCH-010
  orch log --since 2h --limit 20
  orch log --follow --json | jq -c 'select(.do == \"done\")'")]
pub struct Log {
    /// Only this task
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: Option<TaskId>,

    /// Go on with what happens from now on, until a signal ends it
    #[arg(long, short = 'f')]
    pub follow: bool,

    /// Only since this moment, or for so long: 2026-02-08T09:00Z, 2h
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<Since>,

    /// Only the newest ones; 0 is all [default: 100 without a task, else all]
    #[arg(long, short = 'n', value_name = "N")]
    pub limit: Option<usize>,
}

/// A moment in the past.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// This one.
    At(Timestamp),
    /// So long ago.
    Ago(Duration),
}

fn since(given: &str) -> std::result::Result<Since, String> {
    match parse_span(given) {
        Ok(span) => Ok(Since::Ago(span)),
        Err(_) => time::parse(given).map(Since::At),
    }
}

impl Log {
    /// Shows it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let request = self.request(context.now());
        if self.follow {
            return follow(context, &request);
        }
        let found = context.look(|queue| log::log(queue, &request))?;
        if found.is_empty() {
            context.remark("no such operation".to_owned());
        }
        let with_task = self.id.is_none();
        context.print(
            || found.iter().map(reports::entry).collect(),
            |style| found.iter().map(|entry| line(entry, with_task, style)).collect(),
        )
    }

    fn request(&self, now: Timestamp) -> Request {
        let usual = if self.id.is_none() && self.since.is_none() { Some(USUAL) } else { None };
        Request {
            id: self.id.clone(),
            since: self.since.map(|since| match since {
                Since::At(at) => at,
                Since::Ago(span) => {
                    Timestamp(now.0.saturating_sub(span.as_millis().try_into().unwrap_or(i64::MAX)))
                }
            }),
            limit: self.limit.map_or(usual, |limit| Some(limit).filter(|limit| *limit > 0)),
        }
    }
}

fn line(entry: &Entry, with_task: bool, style: Style) -> String {
    let shown = timeline::entry(with_task.then_some(&entry.task), &entry.op, style);
    match &entry.rejected {
        None => shown,
        Some(why) => {
            let mark = style.paint(Tone::Red, &format!("refused: {}", text::line(why)));
            format!("{}  {mark}\n", shown.trim_end())
        }
    }
}

fn follow(context: &mut Context, request: &Request) -> Result<i32> {
    let (style, json, quiet) = (context.style(), context.globals.json, context.globals.quiet);
    let clock = Context::new(context.globals.clone(), context.signals.clone());
    let print = |entries: &[Entry]| {
        let shown = entries.iter().map(|entry| match json {
            true => format!("{}\n", reports::entry(entry)),
            false => line(entry, request.id.is_none(), style),
        });
        output::write(&shown.collect::<String>())
    };
    context.queue(|queue| {
        let mut cursor = Cursor::at_end(queue, request.id.clone())?;
        print(&log::log(queue, request)?)?;
        let mut told = Vec::new();
        for look in 1u32.. {
            clock.sleep(PAUSE);
            if look % LOOKS == 0 {
                refresh(queue, &mut told)?;
            }
            print(&cursor.next(queue)?)?;
            let notices: Vec<String> = queue.notices().into_iter().filter(|n| !told.contains(n)).collect();
            if !quiet && !notices.is_empty() {
                output::complain(&failure::notices(&notices, Style::PLAIN));
            }
            told.extend(notices);
        }
        Ok(failure::OK)
    })
}

/// A remote that does not answer is asked again later; the files here are followed meanwhile.
fn refresh(queue: &mut Queue, told: &mut Vec<String>) -> Result<()> {
    match log::refresh(queue) {
        Err(error) if error.kind == Kind::Unreachable => {
            if !told.contains(&error.message) {
                output::complain(&failure::notices(std::slice::from_ref(&error.message), Style::PLAIN));
                told.push(error.message);
            }
            Ok(())
        }
        other => other,
    }
}
