//! `orch audit`: how far it is while it runs, what it found, and exit code 8 if that is anything.

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::failure;
use crate::cli::render::style::{Style, Tone};
use crate::cli::render::text;
use crate::usecase::audit::{self, Audit as Found, Problem};
use crate::usecase::error::{Kind, Result};
use crate::world::env;

/// Check the whole shared history against what is promised
///
/// Walks every commit of the state branch and every lease: histories only grow, epochs only grow, each epoch is
/// claimed and ended once, done is final, every state is the replay of its history, and this machine's files agree
/// with what is shared. Exits 8 if anything is found.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch audit
  orch audit --json | jq '.data.problems[]'
  orch audit --no-sync              what this machine knows, without asking the remote")]
pub struct Audit {}

impl Audit {
    /// Audits.
    #[expect(clippy::unused_self, reason = "every command is carried out the same way")]
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let shown = env::stderr_is_terminal() && !context.globals.quiet && !context.globals.json;
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let found = context.queue(|queue| {
            audit::audit(queue, &mut |done, all| {
                bar.set_length(all as u64);
                bar.set_position(done as u64);
            })
        });
        bar.finish_and_clear();
        let found = found?;
        context.print(|| data(&found), |style| page(&found, style))?;
        Ok(if found.ok { failure::OK } else { Kind::Damaged as i32 })
    }
}

fn data(found: &Found) -> Value {
    let problem = |problem: &Problem| {
        json!({
            "promise": problem.promise,
            "task": problem.task.as_ref().map(ToString::to_string),
            "commit": problem.commit,
            "what": problem.what,
        })
    };
    json!({
        "ok": found.ok,
        "commits": found.commits,
        "tasks": found.tasks,
        "operations": found.operations,
        "problems": found.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

fn page(found: &Found, style: Style) -> String {
    let mut out = String::new();
    for problem in &found.problems {
        let promise = match problem.promise {
            Some(number) => format!("promise {number}"),
            None => "foreign".to_owned(),
        };
        let task = problem.task.as_ref().map(|id| format!("{id}: ")).unwrap_or_default();
        let commit = problem.commit.as_ref().map(|oid| format!(" (commit {oid})")).unwrap_or_default();
        let promise = style.paint(Tone::Red, &promise);
        out.push_str(&format!("{promise}  {task}{}{commit}\n", text::line(&problem.what)));
    }
    let verdict = if found.ok { "every promise was kept" } else { "promises were broken" };
    out.push_str(&format!(
        "{verdict}: {} commits, {} tasks, {} operations, {} problems\n",
        found.commits,
        found.tasks,
        found.operations,
        found.problems.len()
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::id::TaskId;

    #[test]
    fn problems_are_told_with_promise_task_and_commit() {
        let problem = Problem {
            promise: Some(5),
            task: TaskId::parse("T-1").ok(),
            commit: Some("abc".into()),
            what: "a done task is not done any more".into(),
        };
        let found = Found { ok: false, commits: 3, tasks: 1, operations: 4, problems: vec![problem] };
        assert_eq!(
            page(&found, Style::PLAIN),
            "promise 5  T-1: a done task is not done any more (commit abc)\n\
             promises were broken: 3 commits, 1 tasks, 4 operations, 1 problems\n"
        );
        let data = data(&found);
        assert_eq!(data["problems"][0]["promise"], 5);
        assert_eq!(data["problems"][0]["task"], "T-1");
    }
}
