//! What children get to see of the environment, and which of it is secret.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use super::attempt::{Attempt, Work};
use super::redact::Secrets;
use crate::world::process::MARK;

/// Names that every child gets if the worker has them.
const USUAL: [&str; 9] = ["PATH", "HOME", "USER", "LANG", "LC_*", "TERM", "TZ", "TMPDIR", "ORCH_*"];
/// Where programs are looked for when the worker has no `PATH`.
pub(super) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The environment of an attempt.
#[derive(Debug)]
pub struct Environment {
    /// Variables of every command; a step adds its own.
    pub vars: BTreeMap<String, String>,
    /// Names that were passed, of all steps, sorted.
    pub passed: Vec<String>,
    /// Those of them whose values are secret.
    pub redacted: Vec<String>,
    /// The secrets.
    pub secrets: Rc<Secrets>,
}

impl Environment {
    /// Chooses what the children of an attempt get. The bundle's place stands in `ORCH_BUNDLE`.
    #[must_use]
    pub fn of(attempt: &Attempt<'_>, bundle: &Path) -> Self {
        let vars = variables(attempt, bundle);
        let steps: &[_] = if let Work::Exec(steps) = &attempt.work { steps } else { &[] };
        let own = || steps.iter().flat_map(|step| &step.env);
        let secret = |name: &str| attempt.secret_names.iter().any(|pattern| matches(pattern, name));
        // Whoever starts a command adds the mark of its tree.
        let mark = MARK.to_owned();
        let names: BTreeSet<&String> =
            vars.keys().chain(own().map(|(name, _)| name)).chain([&mark]).collect();
        // A child can find more of the worker's environment than it was given (in /proc), so every secret
        // value goes, also those that were not passed.
        let values = attempt.environment.iter().chain(&vars).chain(own());
        let secrets = Secrets::new(values.filter(|(name, _)| secret(name)).map(|(_, value)| value.as_str()));
        let redacted = names.iter().filter(|name| secret(name)).map(|name| (*name).clone()).collect();
        Environment { passed: names.into_iter().cloned().collect(), redacted, secrets, vars }
    }
}

fn variables(attempt: &Attempt<'_>, bundle: &Path) -> BTreeMap<String, String> {
    let allowed = |name: &str| {
        USUAL
            .iter()
            .copied()
            .chain(attempt.pass_env.iter().map(String::as_str))
            .any(|pattern| matches(pattern, name))
    };
    let mut vars = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    vars.extend(
        attempt.environment.iter().filter(|(name, _)| allowed(name)).map(|(n, v)| (n.clone(), v.clone())),
    );
    vars.extend(attempt.extra_env.iter().cloned());
    vars.extend([
        ("ORCH_TASK".to_owned(), attempt.task.to_string()),
        ("ORCH_EPOCH".to_owned(), attempt.epoch.to_string()),
        ("ORCH_SESSION".to_owned(), attempt.session.clone()),
        ("ORCH_ATTEMPT".to_owned(), attempt.attempt.to_string()),
        ("ORCH_BUNDLE".to_owned(), bundle.to_string_lossy().into_owned()),
    ]);
    vars
}

/// Whether a name fits a pattern in which `*` stands for anything; case does not matter.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_uppercase(), name.to_ascii_uppercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(end) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, fits) in [
            ("PATH", "PATH", true),
            ("PATH", "PATHS", false),
            ("LC_*", "LC_ALL", true),
            ("LC_*", "XLC_ALL", false),
            ("*TOKEN*", "github_token_2", true),
            ("*_KEY", "API_KEY", true),
            ("*_KEY", "API_KEYS", false),
            ("*A*B*", "xAxBx", true),
            ("*A*B*", "xBxAx", false),
            ("A*A", "A", false),
            ("*", "", true),
            ("", "", true),
            ("", "A", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
