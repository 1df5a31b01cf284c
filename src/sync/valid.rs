//! Whether a shared file can be used: what those who read it would say, asked before it is published. One machine's typing
//! error would stop the workers of all others.

use crate::policy::{Policy, PolicyError};
use crate::store::agents;
use crate::store::parse::{self, Step, YamlError};
use crate::store::settings_load::{self, File, Origin, Sources};

/// What is wrong with the content of a shared file, and where. Of the workflow it is only asked whether it is YAML.
#[must_use]
pub fn problem(path: &str, bytes: &[u8]) -> Option<YamlError> {
    match path {
        "orch.yaml" => settings(path, bytes).err(),
        "agents.yaml" => agents::load(bytes).err(),
        "policy.yaml" => policy(path, bytes).err(),
        "workflow.yaml" => parse::text(bytes).and_then(parse::parse).err(),
        _ => None,
    }
}

/// Reads a policy; `file` names it in what it says later.
///
/// # Errors
/// The first mistake, with its line and column.
pub fn policy(file: &str, bytes: &[u8]) -> Result<Policy, YamlError> {
    let text = parse::text(bytes)?;
    let tree = parse::parse(text)?;
    Policy::load(file, &tree).map_err(|error| {
        let (line, column) = parse::locate(text, &steps(&error));
        YamlError { line, column, message: error.to_string() }
    })
}

/// The way to a place like `rules[2].match[0]`.
fn steps(error: &PolicyError) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in error.path.split('.').filter(|part| !part.is_empty()) {
        let mut pieces = part.split('[');
        steps.extend(pieces.next().map(|key| Step::Key(key.to_owned())));
        let number = |piece: &str| piece.strip_suffix(']').and_then(|digits| digits.parse().ok());
        steps.extend(pieces.filter_map(number).map(Step::Index));
    }
    // A key that is not known is pointed at itself, everything else at the value.
    if let (Some(Step::Key(key)), true) = (steps.last().cloned(), error.message.starts_with("unknown key")) {
        steps.pop();
        steps.push(Step::Name(key));
    }
    steps
}

fn settings(name: &str, bytes: &[u8]) -> Result<(), YamlError> {
    let sources = Sources { shared: Some(File { name, bytes }), ..Sources::default() };
    settings_load::load(&sources).map(drop).map_err(|error| {
        let (line, column) = match error.origin {
            Origin::File { line, column, .. } => (line, column),
            _ => (1, 1),
        };
        YamlError { line, column, message: error.message }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages about `policy.yaml` had no line, and whoever had two hundred rules had to count.
    #[test]
    fn mistakes_are_named_with_their_place() {
        for (path, text, place) in [
            ("policy.yaml", "format: 1\nrulez: []\n", (2, 1)),
            (
                "policy.yaml",
                "format: 1\nrules:\n  - {prefix: [a], reason: r, decision: allow}\n  - {prefix: [b], reason: r, decision: maybe}\n",
                (4, 40),
            ),
            ("policy.yaml", "format: 1\nrules:\n  - prefix: [a]\n    decison: allow\n", (4, 5)),
            ("policy.yaml", "format: 1\nrules: {\n", (3, 1)),
            ("policy.yaml", "format: 2\n", (1, 9)),
            ("agents.yaml", "format: 1\nagents: []\n", (2, 9)),
            ("orch.yaml", "format: 1\nleese: {}\n", (2, 1)),
            ("orch.yaml", "format: 1\nlease: {ttl: soon}\n", (2, 14)),
            ("workflow.yaml", "format: 1\na: [\n", (3, 1)),
        ] {
            let found = problem(path, text.as_bytes()).expect(text);
            assert_eq!((found.line, found.column), place, "{text}: {found}");
        }
    }

    #[test]
    fn what_a_new_queue_gets_is_valid() {
        assert_eq!(problem("policy.yaml", crate::policy::DEFAULT.as_bytes()), None);
        let settings = crate::store::settings_edit::default_orch_yaml();
        assert_eq!(problem("orch.yaml", settings.as_bytes()), None);
        assert_eq!(problem("prompts/a.md", b"{{ nobody checks this }"), None);
    }
}
