//! The answer to "may this run?", with everything a person needs to understand it.

use crate::protocol::value::{Value, map};
use std::fmt;
use std::path::PathBuf;

/// What is to be done with a command; later is stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Decision {
    /// It may run.
    #[default]
    Allow,
    /// A person has to agree first; where nobody is there to ask, it is refused.
    Prompt,
    /// It may not run.
    Forbid,
}

impl Decision {
    /// All of them, mildest first.
    pub const ALL: [Decision; 3] = [Decision::Allow, Decision::Prompt, Decision::Forbid];

    /// The word in files and answers: `allow`, `prompt` or `forbid`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Decision::Allow => "allow",
            Decision::Prompt => "prompt",
            Decision::Forbid => "forbid",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A check that is part of the program, by its name: `shell`, `destructive`, `git`, …
    Builtin(&'static str),
    /// A rule of a policy file; rules count from 0.
    Rule {
        /// The file, as it was named when the policy was loaded.
        file: String,
        /// Position in `rules`.
        index: usize,
    },
    /// The `default` of a policy file, because no rule of it matched.
    Default {
        /// The file, as it was named when the policy was loaded.
        file: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Builtin(name) => write!(f, "built-in check `{name}`"),
            Source::Rule { file, index } => write!(f, "{file}: rules[{index}]"),
            Source::Default { file } => write!(f, "{file}: default"),
        }
    }
}

/// One judgement about one of the commands that would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What this judgement asks for by itself.
    pub decision: Decision,
    /// Why, as one sentence.
    pub text: String,
    /// Who says so.
    pub source: Source,
    /// What to do instead, if there is a better way.
    pub instead: Option<String>,
}

/// The answer about one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The strictest of all reasons; allow when there is none.
    pub decision: Decision,
    /// Every judgement, strictest first.
    pub reasons: Vec<Reason>,
    /// The program file with links followed, if it was found.
    pub resolved: Option<PathBuf>,
    /// The commands found behind wrappers, in the order in which they were found.
    pub unwrapped: Vec<Vec<String>>,
}

impl Verdict {
    /// The same answer where nobody is there to ask: prompt means refused.
    #[must_use]
    pub fn unattended(mut self) -> Self {
        if self.decision == Decision::Prompt {
            self.decision = Decision::Forbid;
        }
        self
    }

    /// Whether the command may run without asking anybody.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.decision == Decision::Allow
    }

    /// Why it is not allowed, on one line, with the alternative; empty for allow.
    #[must_use]
    pub fn message(&self) -> String {
        let Some(reason) = self.reasons.iter().find(|reason| reason.decision > Decision::Allow) else {
            return String::new();
        };
        let instead = reason.instead.as_ref().map(|text| format!("; instead: {text}")).unwrap_or_default();
        format!("{} ({}){instead}", reason.text, reason.source)
    }

    /// The document that `orch check --json` prints:
    /// `{decision, reasons: [{decision, text, source, instead}], program, unwrapped}`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let words = |argv: &Vec<String>| Value::List(argv.iter().map(Value::str).collect());
        map([
            ("decision", Some(Value::str(self.decision.word()))),
            ("reasons", Some(Value::List(self.reasons.iter().map(Reason::to_value).collect()))),
            (
                "program",
                Some(self.resolved.as_ref().map_or(Value::Null, |path| Value::str(path.to_string_lossy()))),
            ),
            ("unwrapped", Some(Value::List(self.unwrapped.iter().map(words).collect()))),
        ])
    }
}

impl Reason {
    fn to_value(&self) -> Value {
        map([
            ("decision", Some(Value::str(self.decision.word()))),
            ("text", Some(Value::str(&self.text))),
            ("source", Some(Value::str(self.source.to_string()))),
            ("instead", Some(self.instead.as_ref().map_or(Value::Null, Value::str))),
        ])
    }
}
