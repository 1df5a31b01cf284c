//! The policy against a table of command lines, and against commands nobody thought of.

mod fake;
mod properties;
mod rules;

use super::{Decision, Policy, Request, Verdict, check};
use fake::Fake;
use std::path::Path;

const TABLE: &str = include_str!("table.txt");

fn verdict(policy: &Policy, argv: &[String]) -> Verdict {
    check(policy, &Fake, &request(argv))
}

fn request(argv: &[String]) -> Request<'_> {
    Request {
        argv,
        env: &[],
        cwd: Path::new("/ws"),
        workspace: Path::new("/ws"),
        state: Some(Path::new("/ws/state")),
    }
}

/// Rows of the table: line number, expected decision, words.
fn rows() -> Vec<(usize, Decision, Vec<String>)> {
    let lines = TABLE.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(at, line)| {
            let (word, command) = line.split_once('|').unwrap();
            let decision = Decision::ALL.into_iter().find(|d| d.word() == word.trim());
            (at + 1, decision.unwrap(), words(command.trim()))
        })
        .collect()
}

/// Splits at blanks; double quotes hold words together, and a backslash in them takes a quote.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(chars.next()),
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_row_of_the_table_is_judged_as_it_says() {
    let policy = fake::default_policy();
    let rows = rows();
    assert!(rows.len() >= 300, "only {} rows were read", rows.len());
    let wrong: Vec<String> = rows
        .into_iter()
        .filter_map(|(line, expected, argv)| {
            let found = verdict(&policy, &argv);
            let text = || {
                format!("line {line}: {argv:?} is {}, not {expected}: {}", found.decision, found.message())
            };
            (found.decision != expected).then(text)
        })
        .collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_refusal_says_why_and_by_whom() {
    for (line, expected, argv) in rows() {
        let found = verdict(&fake::default_policy(), &argv);
        assert_eq!(found.message().is_empty(), expected == Decision::Allow, "line {line}: {found:?}");
    }
}

#[test]
fn words_with_a_nul_or_beyond_any_limit_are_refused() {
    let huge = vec!["x".to_owned(), "y".repeat(2 << 20)];
    let many: Vec<String> = std::iter::once("find".to_owned())
        .chain((0..30_000).map(|n| format!("d{n}")))
        .chain(["-exec".to_owned(), "rm".to_owned()])
        .chain((0..3).map(|_| "{}".to_owned()))
        .chain([";".to_owned()])
        .collect();
    let nul = vec!["ls".to_owned(), "a\0b".to_owned()];
    let repeated = |program: &str, words: &[&str]| -> Vec<String> {
        let many = std::iter::repeat_n(words, 12_000).flatten();
        std::iter::once(program).chain(many.copied()).map(str::to_owned).collect()
    };
    let braces = [repeated("find", &["d"]), repeated("-exec", &["rm", "{}"])].concat();
    let outside: Vec<String> =
        std::iter::once("rm".to_owned()).chain((0..40_000).map(|n| format!("/{n}"))).collect();
    let commands: Vec<String> = ["parallel", ":::"]
        .map(str::to_owned)
        .into_iter()
        .chain((0..30_000).map(|n| format!("c{n}")))
        .collect();
    let options = [repeated("x", &["python", "-W"]), words("sh -c ls")].concat();
    for argv in [vec![], huge, many, nul, braces, outside, commands, options] {
        assert_eq!(verdict(&Policy::open(), &argv).decision, Decision::Forbid, "{} words", argv.len());
    }
}

#[test]
fn too_many_wrappers_are_refused_even_around_nothing_bad() {
    let argv: Vec<String> = std::iter::repeat_n("env", 40).chain(["ls"]).map(str::to_owned).collect();
    let found = verdict(&Policy::open(), &argv);
    assert_eq!(found.decision, Decision::Forbid);
    assert!(found.message().contains("built-in check `depth`"), "{}", found.message());
}

#[test]
fn variables_of_the_command_itself_are_looked_at() {
    let argv = words("git fetch");
    for (name, value, expected) in [
        ("GIT_SSH_COMMAND", "./x", Decision::Forbid),
        ("BASH_ENV", "x", Decision::Forbid),
        ("EDITOR", "sh -c ls", Decision::Forbid),
        ("EDITOR", "vim", Decision::Allow),
        ("RUST_LOG", "a;b", Decision::Allow),
    ] {
        let env = [(name.to_owned(), value.to_owned())];
        let found = check(&Policy::open(), &Fake, &Request { env: &env, ..request(&argv) });
        assert_eq!(found.decision, expected, "{name}={value}: {}", found.message());
    }
}

#[test]
fn the_answer_names_the_file_and_what_was_unwrapped() {
    let found = verdict(&Policy::open(), &words("/bin/env FOO=1 timeout 5 cargo test"));
    assert_eq!(found.resolved.as_deref(), Some(Path::new("/usr/bin/env")));
    assert_eq!(found.unwrapped, [words("timeout 5 cargo test"), words("cargo test")]);
}

#[test]
fn a_prompt_is_a_refusal_where_nobody_can_be_asked() {
    let found = verdict(&Policy::open(), &words("npx eslint"));
    assert_eq!((found.decision, found.clone().unattended().decision), (Decision::Prompt, Decision::Forbid));
    assert!(found.message().contains("npx") && !found.allowed(), "{}", found.message());
}
