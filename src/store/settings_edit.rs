//! Writes one setting into the text of a settings file and leaves the rest as it is, comments included.

use super::parse::{self, Step};
use super::settings::Settings;
use super::settings_keys::key;
use super::settings_load::{from_text, one_line, unknown};
use crate::protocol::value::Value;

/// The text of a new queue's `orch.yaml`.
#[must_use]
pub fn default_orch_yaml() -> &'static str {
    "\
# Settings of this queue, shared by every machine; `orch config show --origin` tells what is in effect.
# Durations are written like 90s, 15m, 2h or 30d.
format: 1
# A holder renews its lease every third of ttl. Others call it stale after ttl × drift + grace.
lease: {ttl: 15m, grace: 30s, drift: 1.25}
# What a task does not say itself. The last waiting time repeats.
retry: {max_attempts: 3, backoff: [1m, 3m, 10m], jitter: 0.1}
# max_concurrent: 0 is no limit; limits: {coding: 2} per agent type or tag; ageing: a waiting task rises.
queue: {paused: false, stop_on_failure: false, max_concurrent: 0, limits: {}, ageing: 24h}
# lease_refs: custom | branches. push_budget is for all machines together.
sync: {lease_refs: custom, push_budget: 6/min, timeout: 30s}
review: {max_rounds: 3}
# sandbox: auto | none | landlock | docker
worker: {pass_env: [], sandbox: auto, require_sandbox: false}
# Values of environment variables with such names never reach a log.
secrets: {names: [\"*TOKEN*\", \"*SECRET*\", \"*PASSW*\", \"*CREDENTIAL*\", \"*_KEY\"]}
retention: {done: 30d, runs: 14d}
"
}

/// Writes one setting into the text of a settings file.
///
/// # Errors
/// A sentence: the key is unknown, the value out of bounds, or the text cannot be edited safely (then a
/// person has to).
pub fn set(text: &str, name: &str, value: &str) -> Result<String, String> {
    let key = key(name).ok_or_else(|| unknown(name))?;
    let new = from_text(key, value)?;
    (key.read)(&mut Settings::default(), &new).map_err(|e| format!("{name}: {e}"))?;
    let path: Vec<&str> = name.split('.').collect();
    let empty = text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'));
    let before =
        if empty { Value::Map(Vec::new()) } else { parse::parse(text).map_err(|e| e.to_string())? };
    let edited = edit(text, &before, &path, &one_line(&new));
    // The edit works on text; that it did what was asked, and nothing else, is seen by reading it again.
    match parse::parse(&edited) {
        Ok(after) if sorted(&after) == sorted(&with(&before, &path, &new)) => Ok(edited),
        _ => Err(format!(
            "`{name}` cannot be written into this file; edit it by hand: {name}: {}",
            one_line(&new)
        )),
    }
}

fn edit(text: &str, before: &Value, path: &[&str], new: &str) -> String {
    let steps: Vec<Step> = path.iter().map(|key| Step::Key((*key).to_owned())).collect();
    let section = before.get(path[0]);
    match (path, section) {
        ([_], Some(_)) => replace(text, &steps, new),
        ([_, inner], Some(values)) if values.get(inner).is_some() => replace(text, &steps, new),
        ([_, inner], Some(Value::Map(entries))) => {
            insert(text, &steps[..1], &format!("{inner}: {new}"), entries.is_empty())
        }
        ([outer, inner], Some(_)) => replace(text, &steps[..1], &format!("{{{inner}: {new}}}"))
            .replace(&format!("{outer}:{{"), &format!("{outer}: {{")),
        ([outer, inner], None) => append(text, &format!("{outer}: {{{inner}: {new}}}")),
        _ => append(text, &format!("{}: {new}", path[0])),
    }
}

fn append(text: &str, line: &str) -> String {
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{gap}{line}\n")
}

/// Puts a new value where an old one stands.
fn replace(text: &str, path: &[Step], new: &str) -> String {
    let start = offset(text, path);
    let end = start + extent(&text[start..]);
    format!("{}{new}{}", &text[..start], &text[end..])
}

/// Puts a new entry in front of the first one of a section.
fn insert(text: &str, section: &[Step], entry: &str, empty: bool) -> String {
    let start = offset(text, section);
    let (before, after) = text.split_at(start);
    if let Some(rest) = after.strip_prefix('{') {
        let comma = if empty { "" } else { ", " };
        return format!("{before}{{{entry}{comma}{rest}");
    }
    let indent = &before[before.rfind('\n').map_or(0, |n| n + 1)..];
    format!("{before}{entry}\n{indent}{after}")
}

fn offset(text: &str, path: &[Step]) -> usize {
    let (line, column) = parse::locate(text, path);
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let within = text[start..].char_indices().nth(column - 1).map_or(text.len() - start, |(at, _)| at);
    start + within
}

/// How many bytes a value on one line takes.
fn extent(text: &str) -> usize {
    let mut depth = 0usize;
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q && before != '\\' => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if depth > 0 || at == 0 => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            (None, '\n') if depth == 0 => return text[..at].trim_end().len(),
            (None, ',' | ']' | '}') if depth == 0 => return text[..at].trim_end().len(),
            (None, '#') if depth == 0 && before == ' ' => return text[..at].trim_end().len(),
            _ => {}
        }
        before = c;
    }
    text.trim_end().len()
}

/// What the file should mean afterwards.
fn with(value: &Value, path: &[&str], new: &Value) -> Value {
    let Some((first, rest)) = path.split_first() else { return new.clone() };
    let mut entries = match value {
        Value::Map(entries) => entries.clone(),
        _ => Vec::new(),
    };
    match entries.iter_mut().find(|(key, _)| key == first) {
        Some((_, old)) => *old = with(old, rest, new),
        None => entries.push(((*first).to_owned(), with(&Value::Null, rest, new))),
    }
    Value::Map(entries)
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Map(entries)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_setting_changes_and_comments_stay() {
        let paused = set(default_orch_yaml(), "queue.paused", "true");
        assert_eq!(paused, Ok(default_orch_yaml().replace("paused: false", "paused: true")));
        for (text, name, value, expected) in [
            ("", "lease.ttl", "1m", "lease: {ttl: 1m}\n"),
            ("# mine\n", "remote", "/srv/q.git", "# mine\nremote: /srv/q.git\n"),
            ("remote: a # old\n", "remote", "b", "remote: b # old\n"),
            (
                "lease:\n  ttl: 1m # short\n  drift: 2\n",
                "lease.ttl",
                "2m",
                "lease:\n  ttl: 2m # short\n  drift: 2\n",
            ),
            ("lease:\n  # why\n  drift: 2\n", "lease.ttl", "2m", "lease:\n  # why\n  ttl: 2m\n  drift: 2\n"),
            ("queue: {}\n", "queue.paused", "true", "queue: {paused: true}\n"),
            (
                "queue: {limits: {a: 1}} # x\n",
                "queue.paused",
                "true",
                "queue: {paused: true, limits: {a: 1}} # x\n",
            ),
            (
                "queue: {limits: {a: 1}, paused: no}",
                "queue.limits",
                "{b: 2}",
                "queue: {limits: {b: 2}, paused: no}",
            ),
            (
                "retry: {backoff: [1m, 2m], jitter: 0}\n",
                "retry.backoff",
                "5m,6m",
                "retry: {backoff: [5m, 6m], jitter: 0}\n",
            ),
        ] {
            assert_eq!(set(text, name, value).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_set_is_refused() {
        let unknown = set("", "lease.tll", "1m");
        assert_eq!(unknown, Err("`lease.tll` is no setting; did you mean `lease.ttl`?".to_owned()));
        assert!(set("", "lease.ttl", "1ms").is_err());
        assert!(set("lease: [", "lease.ttl", "1m").is_err());
        assert!(set("lease: {ttl: |\n", "lease.ttl", "1m").is_err());
    }
}
