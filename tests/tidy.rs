//! House rules that neither the compiler nor clippy can check, checked against our own sources.
//!
//! A rule is a row: what it forbids, why, what to do instead, and snippets on which it must and must not
//! fire. The snippets matter as much as the sources: a rule that never fires would go unnoticed for ever.

mod crates;
mod paths;
mod rooms;
mod source;
mod style;
mod tree;

use std::path::Path;

use source::Source;

/// Lines (from 1) at which a rule is broken, each with the offending words.
pub type Hits = Vec<(usize, String)>;

/// One house rule.
pub struct Rule {
    /// What is forbidden, in a few words.
    pub name: &'static str,
    /// The number under "Forbidden directions" in ARCHITECTURE.md, if it stands there.
    pub direction: Option<u8>,
    /// Why.
    pub why: &'static str,
    /// What to do instead.
    pub instead: &'static str,
    /// Finds violations in one file.
    pub check: fn(&Source) -> Hits,
    /// Path and text of snippets on which it must fire.
    pub bad: &'static [(&'static str, &'static str)],
    /// Path and text of snippets on which it must not fire.
    pub good: &'static [(&'static str, &'static str)],
}

/// The rules of all files below.
fn rules() -> impl Iterator<Item = &'static Rule> {
    rooms::RULES.iter().chain(crates::RULES).chain(style::RULES)
}

/// The folders with sources of ours.
const FOLDERS: [&str; 5] = ["src", "tests", "benches", "harness", "fuzz"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a rule has to say about a file, ready to be read by whoever broke it.
fn complaints(rule: &Rule, source: &Source) -> Vec<String> {
    let mut hits = (rule.check)(source);
    hits.sort();
    hits.dedup();
    let told = |(line, what): &(usize, String)| {
        let Rule { name, why, instead, .. } = rule;
        format!("{}:{line}: `{what}`\n    rule: {name}\n    why: {why}\n    instead: {instead}", source.path)
    };
    hits.iter().map(told).collect()
}

#[test]
fn sources_keep_the_house_rules() {
    let sources = source::load(root(), &FOLDERS);
    assert!(sources.iter().any(|s| s.path == "src/lib.rs"), "no sources found; the rules checked nothing");
    let broken: Vec<String> =
        sources.iter().flat_map(|source| rules().flat_map(|rule| complaints(rule, source))).collect();
    assert!(broken.is_empty(), "{} violations\n\n{}\n", broken.len(), broken.join("\n\n"));
}

#[test]
fn every_rule_fires_on_its_bad_snippets_and_on_nothing_else() {
    for rule in rules() {
        assert!(!rule.bad.is_empty(), "rule `{}` has no snippet that shows that it works", rule.name);
        for (path, text) in rule.bad {
            let hits = (rule.check)(&Source::new(path, text));
            assert!(!hits.is_empty(), "rule `{}` overlooks this in {path}:\n{text}", rule.name);
        }
        for (path, text) in rule.good {
            let hits = (rule.check)(&Source::new(path, text));
            assert!(hits.is_empty(), "rule `{}` fires on {path}: {hits:?}\n{text}", rule.name);
        }
    }
}

/// Numbers of the list below the heading "Forbidden directions".
fn numbered(architecture: &str) -> Vec<u8> {
    let section = architecture.split("## Forbidden directions").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    section.lines().filter_map(|line| line.split_once(". ")?.0.parse().ok()).collect()
}

#[test]
fn every_forbidden_direction_has_a_rule_and_the_reverse() {
    let listed = numbered(&std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap());
    let checked: Vec<u8> = (1..=99).filter(|n| rules().any(|rule| rule.direction == Some(*n))).collect();
    assert_eq!(listed, checked, "ARCHITECTURE.md lists {listed:?}, tests/tidy checks {checked:?}");
    assert_eq!(numbered("## Forbidden directions\n\n1. a\n   3.5 MB\n2. b\n\n## Next\n\n3. c\n"), [1, 2]);
}
