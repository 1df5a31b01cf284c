//! Rules about single files: documentation, length, and words that do not belong into shipped code.

use super::source::{Source, is_word, item_end};
use super::{Hits, Rule};

/// Longest file, in lines without its test modules.
const FILE_LINES: usize = 600;
/// Longest function, in lines from `fn` to its closing brace.
const FUNCTION_LINES: usize = 70;

/// Functions that may be longer: file, name, and the length they may have.
///
/// For exhaustive matches and event loops that would be harder to read in pieces. The number is a ratchet:
/// a test fails when the function is more than ten lines shorter than it says, so that room never piles up.
const LONG_FUNCTIONS: [(&str, &str, usize); 2] =
    [("src/protocol/transition.rs", "decide", 76), ("src/store/prescan.rs", "tokens", 88)];

/// Functions with their first line and length in lines.
fn functions(source: &Source) -> Vec<(usize, String, usize)> {
    let code = source.code.as_bytes();
    let mut found = Vec::new();
    for (at, _) in source.code.match_indices("fn ") {
        let name: String =
            source.code[at + 3..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if (at > 0 && is_word(code[at - 1])) || name.is_empty() {
            continue;
        }
        let (first, last) = (source.line(at), source.line(item_end(code, at) - 1));
        found.push((first, name, last - first + 1));
    }
    found
}

fn listed(path: &str, name: &str) -> Option<usize> {
    LONG_FUNCTIONS.iter().find(|(p, n, _)| *p == path && *n == name).map(|(_, _, lines)| *lines)
}

fn too_long(source: &Source) -> Hits {
    if source.is_test {
        return Vec::new();
    }
    let over = |(_, name, lines): &(usize, String, usize)| {
        *lines > listed(&source.path, name).unwrap_or(FUNCTION_LINES)
    };
    let found = functions(source).into_iter().filter(over);
    found.map(|(line, name, lines)| (line, format!("fn {name}: {lines} lines"))).collect()
}

fn shipped_words(source: &Source, words: &[&str]) -> Hits {
    if source.is_test || !(source.path.starts_with("src/") || source.path.starts_with("harness/src/")) {
        return Vec::new();
    }
    source.words(words)
}

/// House rules that hold for each file by itself.
pub static RULES: &[Rule] = &[
    Rule {
        name: "every file begins with `//!`",
        direction: None,
        why: "a reader who opens a file must learn in one to five sentences what it is and what it leaves to others",
        instead: "begin the file with a module comment of prose",
        check: |source| {
            let first = source.text.lines().next().unwrap_or_default();
            let fine = first.starts_with("//! ") && first.len() > 20;
            if fine { Vec::new() } else { vec![(1, first.to_owned())] }
        },
        bad: &[
            ("src/store/a.rs", "use std::fmt;\n"),
            ("tests/a.rs", "\n//! Late.\n"),
            ("src/a.rs", "//! to come\n"),
        ],
        good: &[("src/store/a.rs", "//! Where the files of the queue lie.\n")],
    },
    Rule {
        name: "no file has more than 600 lines without tests",
        direction: None,
        why: "a file that long holds two things; nobody finds the second",
        instead: "split it along its nouns",
        check: |source| {
            let lines = if source.is_test { 0 } else { source.lines_without_tests() };
            if lines > FILE_LINES { vec![(lines, format!("{lines} lines"))] } else { Vec::new() }
        },
        bad: &[("src/store/a.rs", LONG_TEXT)],
        good: &[("src/store/a.rs", "//! Short.\n"), ("src/store/b.rs", LONG_TESTS)],
    },
    Rule {
        name: "no function has more than 70 lines",
        direction: None,
        why: "what does not fit on a screen is not read as a whole",
        instead: "split it; if it is one exhaustive match, list it in LONG_FUNCTIONS with its length",
        check: too_long,
        bad: &[("src/store/a.rs", LONG_FUNCTION)],
        good: &[("src/store/a.rs", "fn f(g: fn (u8) -> u8) {\n}\ntrait T {\n fn h();\n}\n")],
    },
    Rule {
        name: "no `#[allow(…)]`",
        direction: None,
        why: "an allowance outlives its cause unnoticed; an expectation that is not met is reported",
        instead: "`#[expect(lint, reason = \"…\")]`",
        // What benches share is used in part by each, so nothing can be expected of all of them.
        check: |source| match source.path.starts_with("benches/support/") {
            true => Vec::new(),
            false => source.words(&["#[allow(", "#![allow("]),
        },
        bad: &[
            ("src/store/a.rs", "#[allow(dead_code)]\nfn f() {}"),
            ("src/lib.rs", "#![allow(missing_docs)]"),
        ],
        good: &[("src/store/a.rs", "#[expect(dead_code, reason = \"x\")]\nfn f() {} // #[allow(\n")],
    },
    Rule {
        name: "no `.unwrap()` outside tests",
        direction: None,
        why: "whoever meets it learns neither what failed nor what to do",
        instead: "return an error that names the file, or `.expect(\"why it cannot happen\")`",
        check: |source| shipped_words(source, &[".unwrap()", ".unwrap_err()", ".expect(\"\")"]),
        bad: &[
            ("src/store/a.rs", "fn f() { g().unwrap(); }"),
            ("harness/src/a.rs", "fn f() { g().unwrap(); }"),
        ],
        good: &[
            ("src/store/a.rs", "fn f() { g().unwrap_or(1); h().expect(\"the lock was taken above\"); }"),
            ("src/store/b.rs", "#[cfg(test)]\nmod tests { fn f() { g().unwrap(); } }"),
        ],
    },
    Rule {
        name: "no unfinished business",
        direction: None,
        why: "a placeholder that ships is a panic or a noise in somebody's terminal",
        instead: "finish it, or leave it out and say so in docs/ROADMAP.md",
        check: |source| shipped_words(source, &["todo!", "unimplemented!", "dbg!"]),
        bad: &[("src/a.rs", "fn f() { todo!() }"), ("src/a.rs", "fn f() { dbg!(1); }")],
        good: &[("src/a.rs", "fn f() { g(\"todo!\"); }")],
    },
];

macro_rules! repeat {
    ($line:expr) => {
        concat!($line, $line, $line, $line, $line, $line, $line, $line, $line, $line)
    };
}
const TEN: &str = repeat!("let a = 1;\n");
const HUNDRED: &str = repeat!(repeat!("// 1\n"));
const LONG_TEXT: &str = repeat!(repeat!(repeat!("// 1\n")));
const LONG_TESTS: &str =
    concat!("//! Short.\n#[cfg(test)]\nmod tests {\n", repeat!(repeat!(repeat!("// 1\n"))), "}\n");
const LONG_FUNCTION: &str = concat!("fn f() {\n", repeat!(repeat!("let a = 1;\n")), "}\n");

#[test]
fn lengths_are_counted_in_lines() {
    let text = format!("//! Doc.\npub fn f() -> [u8; 2] {{\n{TEN}}}\nfn g(); {HUNDRED}");
    let counted = functions(&Source::new("src/a.rs", &text));
    assert_eq!(counted, [(2, "f".to_owned(), 12), (14, "g".to_owned(), 1)]);
}

#[test]
fn listed_long_functions_are_as_long_as_listed() {
    let sources = super::source::load(super::root(), &super::FOLDERS);
    for (path, name, lines) in LONG_FUNCTIONS {
        let source = sources.iter().find(|s| s.path == path);
        let functions = source.map(functions).unwrap_or_default();
        let now = functions.iter().filter(|f| f.1 == name).map(|f| f.2).max().unwrap_or(0);
        assert!(
            now + 10 >= lines,
            "{path}: `{name}` has {now} lines now; lower its entry in LONG_FUNCTIONS, or drop it"
        );
    }
}
