//! Rules: ordered prefixes of words with a decision, the strictest match of which counts.

use super::decision::{Decision, Reason, Source};
use super::program::{Program, base_name};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Counts changes of the built-in checks, which decide as much as the rules do and so belong into the digest.
const BUILTIN_VERSION: u32 = 1;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// For each of the first words, the words that it may be; the first is the program. Never empty.
    pub prefix: Vec<Vec<String>>,
    /// What a match means.
    pub decision: Decision,
    /// Why, for people.
    pub reason: String,
    /// What to do instead.
    pub instead: Option<String>,
}

/// The rules of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    /// The file, for messages.
    pub file: String,
    /// What holds where no rule matches.
    pub default: Decision,
    /// In the order of the file.
    pub rules: Vec<Rule>,
}

/// The policy in force: the shared one, and what a machine's own adds to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub(super) layers: Vec<Layer>,
}

impl Policy {
    /// The policy without any rule, under which only the built-in checks decide.
    #[must_use]
    pub fn open() -> Self {
        Policy {
            layers: vec![Layer { file: "policy".to_owned(), default: Decision::Allow, rules: Vec::new() }],
        }
    }

    /// Both together. Each is asked by itself and the stricter answer counts, so `machine` can only tighten.
    #[must_use]
    pub fn merge(shared: Policy, machine: Policy) -> Policy {
        Policy { layers: shared.layers.into_iter().chain(machine.layers).collect() }
    }

    /// SHA-256 of everything that decides, as 64 hexadecimal digits. Neither comments nor formatting nor the names of
    /// files change it.
    #[must_use]
    pub fn digest(&self) -> String {
        Sha256::digest(self.canonical()).iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Debug formatting quotes and escapes every text, so two different policies never look the same.
    fn canonical(&self) -> String {
        let mut text = format!("builtin {BUILTIN_VERSION}\n");
        for layer in &self.layers {
            text.push_str(&format!("default {}\n", layer.default));
            for Rule { prefix, decision, reason, instead } in &layer.rules {
                text.push_str(&format!("{decision} {prefix:?} {reason:?} {instead:?}\n"));
            }
        }
        text
    }

    /// What the rules say about one command: every match, or else the default of the file. The default is not about a
    /// command that only passes another one on.
    pub(super) fn judge(&self, program: &Program, argv: &[String], transparent: bool) -> Vec<Reason> {
        let mut reasons = Vec::new();
        for layer in &self.layers {
            let before = reasons.len();
            reasons.extend(layer.matches(program, argv));
            if reasons.len() == before && !transparent && layer.default > Decision::Allow {
                reasons.push(layer.fallback(program));
            }
        }
        reasons
    }

    /// Whether the shared policy allows this command by name. A machine's own may not: that would loosen.
    pub(super) fn answers(&self, program: &Program, argv: &[String]) -> bool {
        let allows = |layer: &Layer| layer.matches(program, argv).any(|r| r.decision == Decision::Allow);
        self.layers.first().is_some_and(allows)
    }
}

impl Layer {
    fn matches(&self, program: &Program, argv: &[String]) -> impl Iterator<Item = Reason> {
        self.rules.iter().enumerate().filter(|(_, rule)| rule.matches(program, argv)).map(|(index, rule)| {
            Reason {
                decision: rule.decision,
                text: rule.reason.clone(),
                source: Source::Rule { file: self.file.clone(), index },
                instead: rule.instead.clone(),
            }
        })
    }

    fn fallback(&self, program: &Program) -> Reason {
        Reason {
            decision: self.default,
            text: format!("no rule of {} is about `{}`", self.file, program.token),
            source: Source::Default { file: self.file.clone() },
            instead: Some("use a command that the policy allows, or ask for a rule".to_owned()),
        }
    }
}

impl Rule {
    fn matches(&self, program: &Program, argv: &[String]) -> bool {
        let restricts = self.decision > Decision::Allow;
        self.prefix.first().is_some_and(|names| names.iter().any(|name| program.is(name, restricts)))
            && self.rest_matches(argv)
    }

    /// The same by the words alone, for the examples in a policy.
    pub(super) fn matches_words(&self, argv: &[String]) -> bool {
        let Some((program, names)) = argv.first().zip(self.prefix.first()) else { return false };
        names.iter().any(|name| program == name || base_name(program) == base_name(name))
            && self.rest_matches(argv)
    }

    fn rest_matches(&self, argv: &[String]) -> bool {
        argv.len() >= self.prefix.len()
            && self.prefix.iter().zip(argv).skip(1).all(|(words, word)| words.contains(word))
    }
}
