//! One command while it is being taken apart, and what was found in it.

use super::decision::Decision;
use super::words;
use std::path::PathBuf;

/// More judgements about one command than anybody reads.
pub(super) const REASONS_MAX: usize = 32;
/// More commands than one command may start by its arguments.
const RUNS_MAX: usize = 1_000;

/// A command that would be started, by us or by another command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Where it would run; `None` if that is another machine, a container, or nobody can tell.
    pub dir: Option<PathBuf>,
    /// False if whoever starts it appends arguments that cannot be seen here (`xargs`).
    pub complete: bool,
    /// How many wrappers stand around it.
    pub depth: usize,
}

impl Command {
    /// The arguments after the program.
    pub fn args(&self) -> &[String] {
        self.argv.get(1..).unwrap_or_default()
    }

    /// Another command that this one starts in the same place.
    pub fn inner(&self, argv: Vec<String>) -> Command {
        Command { argv, dir: self.dir.clone(), complete: self.complete, depth: self.depth + 1 }
    }
}

/// A judgement of a built-in check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Concern {
    pub decision: Decision,
    pub check: &'static str,
    pub text: String,
    pub instead: &'static str,
}

/// Everything that the built-in checks found in one command.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Commands that it would start.
    pub runs: Vec<Command>,
    /// What is wrong with it.
    pub concerns: Vec<Concern>,
    /// True if it only passes another command on, so that the default of a policy is about that other one.
    pub transparent: bool,
}

impl Findings {
    /// It may not run.
    pub fn forbid(&mut self, check: &'static str, text: impl Into<String>, instead: &'static str) {
        self.concern(Decision::Forbid, check, text.into(), instead);
    }

    /// Somebody has to agree, unless a rule allows it by name.
    pub fn prompt(&mut self, check: &'static str, text: impl Into<String>, instead: &'static str) {
        self.concern(Decision::Prompt, check, text.into(), instead);
    }

    fn concern(&mut self, decision: Decision, check: &'static str, text: String, instead: &'static str) {
        // Nobody reads more than this, and comparing each with all others would take long.
        if self.concerns.len() >= REASONS_MAX && self.concerns.iter().any(|known| known.decision >= decision)
        {
            return;
        }
        let concern = Concern { decision, check, text, instead };
        if !self.concerns.contains(&concern) {
            self.concerns.push(concern);
        }
    }

    /// It starts this command; no words mean that it starts nothing.
    pub fn run(&mut self, command: Command) {
        if self.runs.len() >= RUNS_MAX {
            let text = format!("it would start more than {RUNS_MAX} commands");
            return self.forbid("depth", text, "start fewer at once");
        }
        if !command.argv.is_empty() && !self.runs.contains(&command) {
            self.runs.push(command);
        }
    }

    /// It hands this text to a shell. Plain words are one command; anything that only a shell understands
    /// is a shell entry point.
    pub fn run_text(&mut self, by: &str, text: &str, like: &Command) {
        match words::split(text) {
            Ok(argv) => self.run(Command { argv, ..like.inner(Vec::new()) }),
            Err(why) => self.forbid(
                "shell",
                format!("`{by}` hands text to a shell, and it is more than plain words: {why}"),
                "write each command as its own argument vector",
            ),
        }
    }
}
