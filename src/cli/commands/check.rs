//! `orch check`: asks the policy about one command and runs nothing. The answer is data, also when it is no.

use std::path::PathBuf;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure;
use crate::cli::policy_files;
use crate::cli::render::style::{Style, Tone};
use crate::cli::render::text;
use crate::policy::{Request, Verdict, check};
use crate::store::json::to_json;
use crate::usecase::error::{Kind, Result};
use crate::world::paths::RealPaths;

/// Say whether policy lets a command run, without running it
///
/// Ends with 0 if it may run, with 5 if not, also where the policy says `prompt` and nobody is there to ask.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch check -- cargo test --workspace
  orch check --json -- rm -rf build
  orch check --workspace ../other -- git push --force")]
pub struct Check {
    /// Directory in which the command would run [default: the one that holds the state directory]
    #[arg(long, value_name = "DIR")]
    pub workspace: Option<PathBuf>,

    /// Program and arguments
    #[arg(last = true, required = true, value_name = "ARGV")]
    pub argv: Vec<String>,
}

impl Check {
    /// Judges it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let state = context.state()?;
        // Opening the queue puts back a policy that vanished. One that is here is asked also where no queue opens.
        let opened = context.look(|_| Ok(()));
        if !policy_files::is_there(context.disk(), &state)? {
            opened?;
        }
        let policy = policy_files::load(context.disk(), &state)?;
        let workspace = match &self.workspace {
            Some(dir) => context.absolute(dir)?,
            None => state.parent().unwrap_or(&state).to_owned(),
        };
        let request = Request {
            argv: &self.argv,
            env: &[],
            cwd: &workspace,
            workspace: &workspace,
            state: Some(&state),
        };
        let verdict = check(&policy, &RealPaths::from_env(), &request).unattended();
        context.print(|| to_json(&verdict.to_value()), |style| to_text(&verdict, style))?;
        Ok(if verdict.allowed() { failure::OK } else { failure::exit_code(Kind::Refused) })
    }
}

fn to_text(verdict: &Verdict, style: Style) -> String {
    let tone = if verdict.allowed() { Tone::Green } else { Tone::Red };
    let mut out = format!("{}\n", style.paint(tone, verdict.decision.word()));
    for reason in &verdict.reasons {
        out.push_str(&format!(
            "  {} ({})\n",
            text::line(&reason.text),
            text::line(&reason.source.to_string())
        ));
        if let Some(instead) = &reason.instead {
            out.push_str(&format!("    instead: {}\n", text::line(instead)));
        }
    }
    out
}
