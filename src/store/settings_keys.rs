//! Every setting once, with its reader and its writer.
//!
//! Files, environment variables and options of the command line all go through this table.

use std::collections::BTreeMap;
use std::time::Duration;

use super::settings::{LeaseRefs, PushBudget, Sandbox, Settings};
use super::settings_value::{count, flag, fraction, span, spans, text, texts, word};
use super::wire::{Word, bounds};
use crate::protocol::time::format_span;
use crate::protocol::value::{Value, map};

/// How the text of an environment variable or option becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As it is.
    Text,
    /// A number, `true`, `false`, or text.
    Scalar,
    /// Texts with commas between them, or `[a, b]`.
    List,
    /// `{a: 1, b: 2}`.
    Map,
}

/// One setting.
pub struct Key {
    /// Its name, like `lease.ttl`.
    pub name: &'static str,
    /// How it is written as text.
    pub kind: Kind,
    /// Sets it, within its bounds.
    pub read: fn(&mut Settings, &Value) -> Result<(), String>,
    /// Its value.
    pub show: fn(&Settings) -> Value,
}

/// All settings in the order of the documentation.
pub static KEYS: [Key; 24] = [
    Key {
        name: "remote",
        kind: Kind::Text,
        read: |s, v| match v {
            Value::Null => put(&mut s.remote, Ok(None)),
            v => put(&mut s.remote, remote(text(v)?).map(Some)),
        },
        show: |s| s.remote.as_ref().map_or(Value::Null, Value::str),
    },
    Key {
        name: "branch",
        kind: Kind::Text,
        read: |s, v| put(&mut s.branch, branch(text(v)?)),
        show: |s| Value::str(&s.branch),
    },
    Key {
        name: "lease.ttl",
        kind: Kind::Text,
        read: |s, v| {
            let ttl = span(v)?;
            bounds::ttl(ttl).map_err(|e| e.message)?;
            put(&mut s.lease.ttl, Ok(ttl))
        },
        show: |s| shown(s.lease.ttl),
    },
    Key {
        name: "lease.grace",
        kind: Kind::Text,
        read: |s, v| put(&mut s.lease.grace, span(v)),
        show: |s| shown(s.lease.grace),
    },
    Key {
        name: "lease.drift",
        kind: Kind::Scalar,
        read: |s, v| put(&mut s.lease.drift, fraction(v, 1.0, 10.0)),
        show: |s| Value::Float(s.lease.drift),
    },
    Key {
        name: "retry.max_attempts",
        kind: Kind::Scalar,
        read: |s, v| put(&mut s.retry.max_attempts, count(v, 1, bounds::ATTEMPTS_MAX)),
        show: |s| Value::Int(s.retry.max_attempts.into()),
    },
    Key {
        name: "retry.backoff",
        kind: Kind::List,
        read: |s, v| put(&mut s.retry.backoff, spans(v)),
        show: |s| Value::List(s.retry.backoff.iter().copied().map(shown).collect()),
    },
    Key {
        name: "retry.jitter",
        kind: Kind::Scalar,
        read: |s, v| put(&mut s.retry.jitter, fraction(v, 0.0, 1.0)),
        show: |s| Value::Float(s.retry.jitter),
    },
    Key {
        name: "queue.paused",
        kind: Kind::Scalar,
        read: |s, v| put(&mut s.queue.paused, flag(v)),
        show: |s| Value::Bool(s.queue.paused),
    },
    Key {
        name: "queue.stop_on_failure",
        kind: Kind::Scalar,
        read: |s, v| put(&mut s.queue.stop_on_failure, flag(v)),
        show: |s| Value::Bool(s.queue.stop_on_failure),
    },
    Key {
        name: "queue.max_concurrent",
        kind: Kind::Scalar,
        read: |s, v| put(&mut s.queue.max_concurrent, count(v, 0, 1_000_000)),
        show: |s| Value::Int(s.queue.max_concurrent.into()),
    },
    Key {
        name: "queue.limits",
        kind: Kind::Map,
        read: |s, v| put(&mut s.queue.limits, limits(v)),
        show: |s| {
            Value::Map(s.queue.limits.iter().map(|(k, n)| (k.clone(), Value::Int((*n).into()))).collect())
        },
    },
    Key {
        name: "queue.ageing",
        kind: Kind::Text,
        read: |s, v| put(&mut s.queue.ageing, span(v)),
        show: |s| shown(s.queue.ageing),
    },
    Key {
        name: "sync.lease_refs",
        kind: Kind::Text,
        read: |s, v| put(&mut s.sync.lease_refs, word(v)),
        show: |s| Value::str(s.sync.lease_refs.word()),
    },
    Key {
        name: "sync.push_budget",
        kind: Kind::Text,
        read: |s, v| put(&mut s.sync.push_budget, push_budget(text(v)?)),
        show: |s| Value::Str(format_budget(s.sync.push_budget)),
    },
    Key {
        name: "sync.timeout",
        kind: Kind::Text,
        read: |s, v| match span(v)? {
            t if (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&t) => {
                put(&mut s.sync.timeout, Ok(t))
            }
            t => Err(format!("{} is not between 1s and 10m", format_span(t))),
        },
        show: |s| shown(s.sync.timeout),
    },
    Key {
        name: "review.max_rounds",
        kind: Kind::Scalar,
        read: |s, v| put(&mut s.review.max_rounds, count(v, 1, 100)),
        show: |s| Value::Int(s.review.max_rounds.into()),
    },
    Key {
        name: "worker.pass_env",
        kind: Kind::List,
        read: |s, v| put(&mut s.worker.pass_env, texts(v)),
        show: |s| list(&s.worker.pass_env),
    },
    Key {
        name: "worker.sandbox",
        kind: Kind::Text,
        read: |s, v| put(&mut s.worker.sandbox, word(v)),
        show: |s| Value::str(s.worker.sandbox.word()),
    },
    Key {
        name: "worker.require_sandbox",
        kind: Kind::Scalar,
        read: |s, v| put(&mut s.worker.require_sandbox, flag(v)),
        show: |s| Value::Bool(s.worker.require_sandbox),
    },
    Key {
        name: "secrets.names",
        kind: Kind::List,
        read: |s, v| put(&mut s.secrets.names, texts(v)),
        show: |s| list(&s.secrets.names),
    },
    Key {
        name: "retention.done",
        kind: Kind::Text,
        read: |s, v| put(&mut s.retention.done, span(v)),
        show: |s| shown(s.retention.done),
    },
    Key {
        name: "retention.runs",
        kind: Kind::Text,
        read: |s, v| put(&mut s.retention.runs, span(v)),
        show: |s| shown(s.retention.runs),
    },
    // Not a setting, but a key of every settings file: its version.
    Key { name: "format", kind: Kind::Scalar, read: |_, v| format(v), show: |_| Value::Int(1) },
];

/// The setting with this name.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// All settings as a map of sections, for `config show --json`.
#[must_use]
pub fn to_value(settings: &Settings) -> Value {
    let section = |name: &str| {
        let inside = |key: &Key| {
            Some((key.name.strip_prefix(name)?.strip_prefix('.')?.to_owned(), (key.show)(settings)))
        };
        Value::Map(KEYS.iter().filter_map(inside).collect())
    };
    map([
        ("format", Some(Value::Int(1))),
        ("remote", Some(settings.remote.as_ref().map_or(Value::Null, Value::str))),
        ("branch", Some(Value::str(&settings.branch))),
        ("lease", Some(section("lease"))),
        ("retry", Some(section("retry"))),
        ("queue", Some(section("queue"))),
        ("sync", Some(section("sync"))),
        ("review", Some(section("review"))),
        ("worker", Some(section("worker"))),
        ("secrets", Some(section("secrets"))),
        ("retention", Some(section("retention"))),
    ])
}

impl Word for LeaseRefs {
    const WORDS: &'static [(&'static str, Self)] =
        &[("custom", LeaseRefs::Custom), ("branches", LeaseRefs::Branches)];
}

impl Word for Sandbox {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Sandbox::Auto),
        ("none", Sandbox::None),
        ("landlock", Sandbox::Landlock),
        ("docker", Sandbox::Docker),
    ];
}

fn put<T>(slot: &mut T, value: Result<T, String>) -> Result<(), String> {
    *slot = value?;
    Ok(())
}

fn shown(span: Duration) -> Value {
    Value::Str(format_span(span))
}

fn list(items: &[String]) -> Value {
    Value::List(items.iter().map(Value::str).collect())
}

fn format(value: &Value) -> Result<(), String> {
    match value {
        Value::Int(1) => Ok(()),
        Value::Int(n) if *n > 1 => {
            Err(format!("format {n} was written by a newer version; this one reads format 1; upgrade orch"))
        }
        _ => Err("expected format 1".to_owned()),
    }
}

/// A URL or path that git cannot take for an option.
fn remote(url: &str) -> Result<String, String> {
    if url.trim().is_empty() || url.starts_with('-') || url.chars().any(char::is_control) || url.len() > 2000
    {
        return Err("expected a URL or path of a git repository".to_owned());
    }
    Ok(url.to_owned())
}

/// First parts of branch names below which leases and test refs stand.
const RESERVED_BRANCHES: [&str; 3] = ["orch-leases", "orch-queues", "orch-probe"];

/// A branch name within what git accepts everywhere.
fn branch(name: &str) -> Result<String, String> {
    let good = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
            && !part.contains("..")
            && !part.ends_with('.')
            && !part.ends_with(".lock")
    };
    if name.len() > 200 || name == "HEAD" || !name.split('/').all(good) {
        return Err("expected the name of a branch, like orch-state".to_owned());
    }
    // A remote that only takes branches has leases and test refs there, and no ref can lie below another one.
    if name.split('/').next().is_some_and(|first| RESERVED_BRANCHES.contains(&first)) {
        return Err(format!("{name} is where orch keeps leases; expected another name, like orch-state"));
    }
    Ok(name.to_owned())
}

fn limits(value: &Value) -> Result<BTreeMap<String, u32>, String> {
    let Value::Map(entries) = value else {
        return Err(format!("expected a map of names and numbers, found {}", value.kind()));
    };
    entries
        .iter()
        .map(|(name, v)| {
            count(v, 0, 1_000_000).map(|n| (name.clone(), n)).map_err(|e| format!("{name}: {e}"))
        })
        .collect()
}

const PERIODS: [(&str, u64); 6] = [("min", 60), ("m", 60), ("s", 1), ("sec", 1), ("h", 3600), ("hour", 3600)];

fn push_budget(text: &str) -> Result<PushBudget, String> {
    let wrong = || format!("`{text}` is no push budget; write it like 6/min");
    let (count, period) = text.split_once('/').ok_or_else(wrong)?;
    let count = count.trim().parse().ok().filter(|n| (1..=100_000).contains(n)).ok_or_else(wrong)?;
    let seconds = PERIODS.iter().find(|(name, _)| *name == period.trim()).ok_or_else(wrong)?.1;
    Ok(PushBudget { count, per: Duration::from_secs(seconds) })
}

fn format_budget(budget: PushBudget) -> String {
    let period =
        PERIODS.iter().find(|(_, s)| Duration::from_secs(*s) == budget.per).map_or("min", |(name, _)| name);
    format!("{}/{period}", budget.count)
}
