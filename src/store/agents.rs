//! `agents.yaml`: the agent types of a queue, each a command line with how it gets its prompt and its limits.
//!
//! Unknown keys are errors with the nearest name: a limit with a typing error must not be no limit.

use std::collections::BTreeMap;
use std::time::Duration;

use super::nearest;
use super::parse::{self, Step, YamlError};
use super::settings_value as read;
use crate::protocol::value::Value;

/// Longest run of an agent whose type says nothing.
const RUNTIME: Duration = Duration::from_secs(2 * 3600);
/// Longest silence of an agent whose type says nothing.
const STALL: Duration = Duration::from_secs(600);
/// More types than anybody maintains.
const TYPES_MAX: usize = 200;

/// The agent types of a queue, by name.
pub type AgentTypes = BTreeMap<String, AgentType>;

/// One agent type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentType {
    /// Program and arguments; `{prompt}` stands for the prompt where it is passed as an argument.
    pub argv: Vec<String>,
    /// How the prompt is passed.
    pub prompt: PromptBy,
    /// Name of the template below `prompts/`; without one, that of the type, else the built-in one.
    pub template: Option<String>,
    /// Names of environment variables that it gets besides the usual ones.
    pub pass_env: Vec<String>,
    /// What counts as success besides exit code 0.
    pub expect: Expect,
    /// Longest run.
    pub runtime: Option<Duration>,
    /// Longest silence.
    pub stall: Option<Duration>,
}

/// How an agent gets its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PromptBy {
    /// On standard input, which is closed after it.
    #[default]
    Stdin,
    /// In place of `{prompt}` in an argument; the standard input is the same.
    Argument,
}

/// The effect that an agent must leave: exit code 0 alone is no proof of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// Exit code 0 is enough.
    #[default]
    Exit,
    /// It must have written something to its standard output.
    Output,
    /// The workspace must be at another commit than before.
    Commit,
}

const PROMPTS: [&str; 2] = ["stdin", "argument"];
const EXPECTS: [&str; 3] = ["exit", "output", "commit"];
const KEYS: [&str; 7] = ["type", "argv", "prompt", "template", "pass_env", "expect", "limits"];

/// What is wrong at a place in the tree.
struct Wrong {
    path: Vec<Step>,
    message: String,
}

type Read<T> = Result<T, Wrong>;

/// Reads `agents.yaml`.
///
/// # Errors
/// The first mistake, with its line and column.
pub fn load(bytes: &[u8]) -> Result<AgentTypes, YamlError> {
    let text = parse::text(bytes)?;
    let tree = parse::parse(text)?;
    file(&tree).map_err(|wrong| {
        let (line, column) = parse::locate(text, &wrong.path);
        YamlError { line, column, message: wrong.message }
    })
}

fn file(tree: &Value) -> Read<AgentTypes> {
    let at = Place(Vec::new());
    for (key, _) in at.entries(tree)? {
        at.known(key, &["format", "agents"])?;
    }
    match tree.get("format") {
        Some(Value::Int(1)) => {}
        Some(_) => return Err(at.key("format").wrong("expected 1; a newer orch may read more")),
        None => return Err(at.wrong("`format` is missing; write `format: 1`")),
    }
    let at = at.key("agents");
    let Some(agents) = tree.get("agents").filter(|agents| **agents != Value::Null) else {
        return Ok(AgentTypes::new());
    };
    let entries = at.entries(agents)?;
    if entries.len() > TYPES_MAX {
        return Err(at.wrong(format!("more than {TYPES_MAX} agent types")));
    }
    entries.iter().map(|(name, value)| Ok((name.clone(), agent(&at.key(name), value)?))).collect()
}

fn agent(at: &Place, tree: &Value) -> Read<AgentType> {
    for (key, _) in at.entries(tree)? {
        at.known(key, &KEYS)?;
    }
    let one = |key: &'static str, words: &[&str]| {
        tree.get(key).map_or(Ok(0), |value| at.key(key).word(value, words))
    };
    one("type", &["command"])?;
    let argv = tree.get("argv").ok_or_else(|| at.wrong("`argv` is missing; write [program, argument, …]"))?;
    let argv = at.key("argv").texts(argv)?;
    let prompt = if one("prompt", &PROMPTS)? == 1 { PromptBy::Argument } else { PromptBy::Stdin };
    if argv.first().is_none_or(String::is_empty) {
        return Err(at.key("argv").wrong("names no program"));
    }
    if prompt == PromptBy::Argument && !argv.iter().skip(1).any(|arg| arg.contains("{prompt}")) {
        return Err(at.key("argv").wrong("no argument has `{prompt}`, where the prompt would stand"));
    }
    let (runtime, stall) = limits(&at.key("limits"), tree.get("limits"))?;
    Ok(AgentType {
        argv,
        prompt,
        template: tree.get("template").map(|value| at.key("template").file_stem(value)).transpose()?,
        pass_env: tree.get("pass_env").map_or(Ok(Vec::new()), |value| at.key("pass_env").texts(value))?,
        expect: [Expect::Exit, Expect::Output, Expect::Commit][one("expect", &EXPECTS)?],
        runtime,
        stall,
    })
}

/// Longest run and longest silence; an explicit null lifts a limit.
fn limits(at: &Place, tree: Option<&Value>) -> Read<(Option<Duration>, Option<Duration>)> {
    let Some(tree) = tree else { return Ok((Some(RUNTIME), Some(STALL))) };
    for (key, _) in at.entries(tree)? {
        at.known(key, &["runtime", "stall"])?;
    }
    let span = |key: &'static str, usual: Duration| match tree.get(key) {
        None => Ok(Some(usual)),
        Some(Value::Null) => Ok(None),
        Some(value) => read::span(value).map(Some).map_err(|why| at.key(key).wrong(why)),
    };
    Ok((span("runtime", RUNTIME)?, span("stall", STALL)?))
}

/// Where in the file we are.
struct Place(Vec<Step>);

impl Place {
    fn key(&self, key: &str) -> Place {
        let mut path = self.0.clone();
        path.push(Step::Key(key.to_owned()));
        Place(path)
    }

    fn wrong(&self, message: impl Into<String>) -> Wrong {
        let keys = self.0.iter().filter_map(|step| match step {
            Step::Key(key) | Step::Name(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        let path: Vec<&str> = keys.collect();
        let dot = if path.is_empty() { "" } else { ": " };
        Wrong { path: self.0.clone(), message: format!("{}{dot}{}", path.join("."), message.into()) }
    }

    fn entries<'v>(&self, value: &'v Value) -> Read<&'v [(String, Value)]> {
        match value {
            Value::Map(entries) => Ok(entries),
            other => Err(self.wrong(format!("expected a map, found {}", other.kind()))),
        }
    }

    fn known(&self, key: &str, known: &[&str]) -> Read<()> {
        if known.contains(&key) {
            return Ok(());
        }
        let mut wrong = self.wrong(format!("unknown key: {}", nearest::none_of(key, known)));
        wrong.path.push(Step::Name(key.to_owned()));
        Err(wrong)
    }

    fn texts(&self, value: &Value) -> Read<Vec<String>> {
        read::texts(value).map_err(|why| self.wrong(why))
    }

    /// The position of a word among those that are allowed.
    fn word(&self, value: &Value, words: &[&str]) -> Read<usize> {
        let word = read::text(value).map_err(|why| self.wrong(why))?;
        words.iter().position(|w| *w == word).ok_or_else(|| self.wrong(nearest::none_of(word, words)))
    }

    /// A name that is safe as the stem of a file.
    fn file_stem(&self, value: &Value) -> Read<String> {
        let name = read::text(value).map_err(|why| self.wrong(why))?;
        if is_stem(name) {
            return Ok(name.to_owned());
        }
        Err(self.wrong("expected the name of a file below prompts/, without `.md` and without folders"))
    }
}

/// Whether a name may be used as `prompts/<name>.md`.
#[must_use]
pub fn is_stem(name: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_read_with_its_defaults_and_limits() {
        let text = b"format: 1\nagents:\n  coding: {argv: [claude, -p], pass_env: [API_KEY], limits: {stall: null}}\n  \
                     other: {type: command, argv: [x, '{prompt}'], prompt: argument, expect: commit, template: fix}\n";
        let types = load(text).unwrap();
        let coding = &types["coding"];
        assert_eq!(coding.argv, ["claude", "-p"]);
        assert_eq!((coding.runtime, coding.stall), (Some(RUNTIME), None));
        assert_eq!((coding.prompt, coding.expect), (PromptBy::Stdin, Expect::Exit));
        assert_eq!(coding.pass_env, ["API_KEY"]);
        let other = &types["other"];
        assert_eq!((other.prompt, other.expect), (PromptBy::Argument, Expect::Commit));
        assert_eq!(other.template.as_deref(), Some("fix"));
        assert_eq!(load(b"format: 1\nagents: {}\n").unwrap(), AgentTypes::new());
        assert_eq!(load(b"format: 1\nagents:\n").unwrap(), AgentTypes::new());
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, line, part) in [
            ("format: 1\nagents:\n  a:\n    agrv: [x]\n", 4, "did you mean `argv`?"),
            ("format: 1\nagents:\n  a:\n    argv: []\n", 4, "names no program"),
            ("format: 1\nagents:\n  a: {}\n", 3, "`argv` is missing"),
            ("format: 1\nagents:\n  a:\n    argv: [x]\n    prompt: stdni\n", 5, "did you mean `stdin`?"),
            ("format: 1\nagents:\n  a:\n    argv: [x]\n    prompt: argument\n", 4, "{prompt}"),
            (
                "format: 1\nagents:\n  a:\n    argv: [x]\n    limits: {runtme: 1h}\n",
                5,
                "did you mean `runtime`?",
            ),
            (
                "format: 1\nagents:\n  a:\n    argv: [x]\n    limits: {runtime: soon}\n",
                5,
                "agents.a.limits.runtime",
            ),
            ("format: 1\nagents:\n  a:\n    argv: [x]\n    template: ../x\n", 5, "without folders"),
            ("format: 2\nagents: {}\n", 1, "expected 1"),
            ("agents: {}\n", 1, "`format` is missing"),
            ("format: 1\nagent: {}\n", 2, "did you mean `agents`?"),
        ] {
            let error = load(text.as_bytes()).expect_err(text);
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.message.contains(part), "{text}: {error}");
        }
    }
}
