//! Reads a policy from a tree of values and proves its examples.

use super::decision::Decision;
use super::rules::{Layer, Policy, Rule};
use super::words;
use crate::protocol::value::Value;

/// The format that this version reads.
const FORMAT: i64 = 1;
/// More rules than anybody maintains.
const RULES_MAX: usize = 2_000;

/// What is wrong in a policy file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{message}", path, if path.is_empty() { "" } else { ": " })]
pub struct PolicyError {
    /// Where in the file: `rules[2].match[0]`; empty for the file as a whole.
    pub path: String,
    /// What is wrong, and what was expected.
    pub message: String,
}

type Loaded<T> = Result<T, PolicyError>;

impl Policy {
    /// Reads the tree of one policy file; `file` names it in later messages.
    ///
    /// # Errors
    /// The first key, word or example that is wrong.
    pub fn load(file: &str, tree: &Value) -> Loaded<Policy> {
        keys("", tree, &["format", "default", "rules"])?;
        format(tree)?;
        let default = tree.get("default").map_or(Ok(Decision::Allow), |value| decision("default", value))?;
        let rules = match tree.get("rules") {
            None | Some(Value::Null) => Vec::new(),
            Some(value) => list("rules", value)?
                .iter()
                .enumerate()
                .map(|(at, value)| rule(&format!("rules[{at}]"), value))
                .collect::<Loaded<Vec<_>>>()?,
        };
        if rules.len() > RULES_MAX {
            return wrong(
                "rules",
                format!("{} rules are more than the {RULES_MAX} that are read", rules.len()),
            );
        }
        Ok(Policy { layers: vec![Layer { file: file.to_owned(), default, rules }] })
    }
}

fn wrong<T>(path: impl Into<String>, message: impl Into<String>) -> Loaded<T> {
    Err(PolicyError { path: path.into(), message: message.into() })
}

fn format(tree: &Value) -> Loaded<()> {
    match tree.get("format") {
        Some(Value::Int(FORMAT)) => Ok(()),
        Some(Value::Int(n)) if *n > FORMAT => wrong(
            "format",
            format!("{n} is newer than this version of orch reads ({FORMAT}); install a newer one"),
        ),
        Some(_) => wrong("format", format!("expected {FORMAT}")),
        None => wrong("format", format!("is missing; write `format: {FORMAT}`")),
    }
}

fn rule(path: &str, value: &Value) -> Loaded<Rule> {
    keys(path, value, &["prefix", "decision", "reason", "instead", "match", "not_match"])?;
    let at = |key: &str| format!("{path}.{key}");
    let need = |key: &str, what: &str| {
        value.get(key).ok_or_else(|| PolicyError { path: at(key), message: format!("is missing; {what}") })
    };
    let rule = Rule {
        prefix: prefix(
            &at("prefix"),
            need("prefix", "write the first words of the command, like [git, push]")?,
        )?,
        decision: decision(&at("decision"), need("decision", "write allow, prompt or forbid")?)?,
        reason: text(&at("reason"), need("reason", "say why, for whoever meets this rule")?)?,
        instead: value.get("instead").map(|found| text(&at("instead"), found)).transpose()?,
    };
    examples(&rule, &at("match"), value.get("match"), true)?;
    examples(&rule, &at("not_match"), value.get("not_match"), false)?;
    Ok(rule)
}

fn prefix(path: &str, value: &Value) -> Loaded<Vec<Vec<String>>> {
    let words = list(path, value)?;
    if words.is_empty() {
        return wrong(path, "is empty and would match every command; use `default` for that");
    }
    let place = |at: usize, word: &Value| {
        let path = format!("{path}[{at}]");
        match word {
            Value::List(any) if any.is_empty() => wrong(path, "has no alternative"),
            Value::List(any) => any.iter().map(|word| text(&path, word)).collect(),
            one => text(&path, one).map(|word| vec![word]),
        }
    };
    words.iter().enumerate().map(|(at, word)| place(at, word)).collect()
}

fn examples(rule: &Rule, path: &str, value: Option<&Value>, expected: bool) -> Loaded<()> {
    let Some(value) = value else { return Ok(()) };
    for (at, example) in list(path, value)?.iter().enumerate() {
        let path = format!("{path}[{at}]");
        let argv = example_words(&path, example)?;
        if rule.matches_words(&argv) != expected {
            let verb = if expected { "does not match" } else { "matches" };
            return wrong(path, format!("the example `{}` {verb} the prefix of its rule", argv.join(" ")));
        }
    }
    Ok(())
}

/// An example is a list of words, or plain text that is split into words.
fn example_words(path: &str, value: &Value) -> Loaded<Vec<String>> {
    match value {
        Value::Str(line) => words::split(line).or_else(|why| {
            wrong(path, format!("only plain words can be split: {why}; write the example as a list"))
        }),
        other => list(path, other)?.iter().map(|word| text(path, word)).collect(),
    }
}

fn decision(path: &str, value: &Value) -> Loaded<Decision> {
    let word = text(path, value)?;
    Decision::ALL.into_iter().find(|decision| decision.word() == word).ok_or_else(|| PolicyError {
        path: path.to_owned(),
        message: format!(
            "`{word}` is no decision{}; write allow, prompt or forbid",
            meant(&word, &["allow", "prompt", "forbid"])
        ),
    })
}

fn list<'a>(path: &str, value: &'a Value) -> Loaded<&'a [Value]> {
    match value {
        Value::List(items) => Ok(items),
        other => wrong(path, format!("expected a list, found {}", other.kind())),
    }
}

fn text(path: &str, value: &Value) -> Loaded<String> {
    match value {
        Value::Str(text) if text.trim().is_empty() => wrong(path, "is empty"),
        Value::Str(text) => Ok(text.clone()),
        other => wrong(path, format!("expected text, found {}; put it in quotes", other.kind())),
    }
}

fn keys(path: &str, value: &Value, known: &[&str]) -> Loaded<()> {
    let Value::Map(entries) = value else {
        return wrong(path, format!("expected a map, found {}", value.kind()));
    };
    let Some((key, _)) = entries.iter().find(|(key, _)| !known.contains(&key.as_str())) else {
        return Ok(());
    };
    let dot = if path.is_empty() { "" } else { "." };
    let hint = meant(key, known);
    wrong(format!("{path}{dot}{key}"), format!("unknown key{hint}; known are {}", known.join(", ")))
}

/// `, did you mean …?` if something near is known.
fn meant(word: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|name| (distance(word, name), name)).min();
    match nearest {
        Some((steps, name)) if steps <= name.len() / 3 + 1 => format!(", did you mean `{name}`?"),
        _ => String::new(),
    }
}

/// Levenshtein distance, of the first 40 characters.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(40).collect(), b.chars().take(40).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let change = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
