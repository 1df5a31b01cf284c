//! The paths that a source names (`crate::store::wire`, `super::super::sync`, `use a::{b, c::d}`), each made
//! absolute, so that a direction between rooms can be judged however it is spelled.

use super::source::{Source, is_word};

/// One path, absolute: it begins with `crate` or with the name of another crate.
pub struct Named {
    /// Line on which it ends.
    pub line: usize,
    /// Its segments; a glob import ends in `*`.
    pub segments: Vec<String>,
}

impl Named {
    /// The path as one would write it.
    pub fn text(&self) -> String {
        self.segments.join("::")
    }

    /// The room of ours that it leads to.
    pub fn room(&self) -> Option<&str> {
        (self.segments.first()? == "crate").then(|| self.segments.get(1).map(String::as_str))?
    }

    /// Whether it is `path` or something below it.
    pub fn within(&self, path: &str) -> bool {
        let wanted: Vec<&str> = path.split("::").collect();
        self.segments.len() >= wanted.len() && self.segments.iter().zip(&wanted).all(|(a, b)| a == b)
    }
}

/// Module path of a file: `src/store/index/mod.rs` is `store::index`; the root is empty.
pub fn module_of(path: &str) -> Vec<String> {
    let inner = path.split_once("src/").map_or(path, |(_, rest)| rest);
    let mut parts: Vec<String> = inner.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// All paths of two or more segments, and everything that `use` brings in.
pub fn named(source: &Source) -> Vec<Named> {
    let tokens = tokens(&source.code);
    let mut reader = Reader { tokens: &tokens, at: 0, out: Vec::new(), module: module_of(&source.path) };
    reader.run();
    let line = |offset| source.line(offset);
    reader.out.into_iter().map(|(offset, segments)| Named { line: line(offset), segments }).collect()
}

/// A word, `::`, or a single mark, with its offset.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let bytes = code.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let end = if is_word(bytes[at]) {
            at + bytes[at..].iter().take_while(|b| is_word(**b)).count()
        } else if bytes[at..].starts_with(b"::") {
            at + 2
        } else {
            at + code[at..].chars().next().map_or(1, char::len_utf8)
        };
        if !code[at..end].trim().is_empty() {
            out.push((at, &code[at..end]));
        }
        at = end;
    }
    out
}

struct Reader<'a> {
    tokens: &'a [(usize, &'a str)],
    at: usize,
    out: Vec<(usize, Vec<String>)>,
    module: Vec<String>,
}

impl<'a> Reader<'a> {
    fn run(&mut self) {
        let (mut depth, mut inline) = (0usize, Vec::new());
        while self.at < self.tokens.len() {
            let word = self.word(0);
            if word == "use" && self.word(1) != "<" {
                self.at += 1;
                self.tree(&[]);
                continue;
            }
            if word == "mod" && self.word(2) == "{" {
                self.module.push(self.word(1).to_owned());
                inline.push(depth);
                self.at += 2;
                continue;
            }
            match word {
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    if inline.last() == Some(&depth) {
                        inline.pop();
                        self.module.pop();
                    }
                }
                _ => {}
            }
            if is_name(word) && self.word(1) == "::" && is_name(self.word(2)) {
                self.plain();
            } else {
                self.at += 1;
            }
        }
    }

    fn word(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).map_or("", |t| t.1)
    }

    /// A path in the middle of code.
    fn plain(&mut self) {
        let mut segments = vec![self.word(0).to_owned()];
        while self.word(1) == "::" && is_name(self.word(2)) {
            self.at += 2;
            segments.push(self.word(0).to_owned());
        }
        self.keep(segments);
        self.at += 1;
    }

    /// One branch of a `use` tree; stops at the `,`, `}` or `;` behind it.
    fn tree(&mut self, before: &[String]) {
        let mut segments = before.to_vec();
        while self.at < self.tokens.len() {
            match self.word(0) {
                "::" => {}
                "{" => {
                    self.at += 1;
                    while self.at < self.tokens.len() && self.word(0) != "}" {
                        self.tree(&segments);
                        if self.word(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "as" => self.at += 1,
                "," | "}" | ";" => {
                    self.at -= 1;
                    self.keep(segments);
                    self.at += 1;
                    return;
                }
                word => segments.push(word.to_owned()),
            }
            self.at += 1;
        }
    }

    fn keep(&mut self, segments: Vec<String>) {
        if segments.is_empty() {
            return;
        }
        let offset = self.tokens.get(self.at).map_or(0, |t| t.0);
        self.out.push((offset, self.absolute(segments)));
    }

    fn absolute(&self, segments: Vec<String>) -> Vec<String> {
        let mut base = self.module.clone();
        let mut rest = segments.as_slice();
        match rest[0].as_str() {
            "crate" | "orch" => base.clear(),
            "self" | "super" => {
                while let [first, tail @ ..] = rest {
                    match first.as_str() {
                        "super" => drop(base.pop()),
                        "self" => {}
                        _ => break,
                    }
                    rest = tail;
                }
                return ["crate".to_owned()].into_iter().chain(base).chain(rest.iter().cloned()).collect();
            }
            _ => return segments,
        }
        ["crate".to_owned()].into_iter().chain(rest[1..].iter().cloned()).collect()
    }
}

fn is_name(word: &str) -> bool {
    word.bytes().next().is_some_and(|b| is_word(b) && !b.is_ascii_digit())
}

#[test]
fn paths_are_found_however_they_are_spelled() {
    let text = "use std::{fs, io::{self, Read as R}};\npub(crate) use super::super::sync::round;\n\
                use self::wire::*;\nmod inner { use super::super::deep; }\nfn f() { crate::usecase::claim::run(std::env::var(x)); }\n";
    let named = named(&Source::new("src/store/index/schema.rs", text));
    let all: Vec<String> = named.iter().map(|n| format!("{}:{}", n.line, n.text())).collect();
    let expected = [
        "1:std::fs",
        "1:std::io::self",
        "1:std::io::Read",
        "2:crate::store::sync::round",
        "3:crate::store::index::schema::wire::*",
        "4:crate::store::index::deep",
        "5:crate::usecase::claim::run",
        "5:std::env::var",
    ];
    assert_eq!(all, expected);
}
