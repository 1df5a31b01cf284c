//! Rust sources as the rules see them: the text, and the same text with comments, string contents and test
//! modules blanked out, so that a word in a message is never mistaken for code. Byte offsets stay equal.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::paths;

/// One source file.
pub struct Source {
    /// Path from the root of the repository, with `/`.
    pub path: String,
    /// As it stands in the file.
    pub text: String,
    /// Comments, contents of strings and test modules blanked.
    pub code: String,
    /// Only comments and test modules blanked: for rules about literals.
    pub literals: String,
    /// Whether the whole file is test code.
    pub is_test: bool,
}

impl Source {
    /// Takes a file apart. `is_test` is judged by the path alone; [`load`] knows more.
    pub fn new(path: &str, text: &str) -> Self {
        let (mut code, mut literals) = mask(text);
        for (from, to) in test_items(&code) {
            blank(&mut code, from, to);
            blank(&mut literals, from, to);
        }
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            code: into_text(code),
            literals: into_text(literals),
            is_test: !path.contains("src/"),
        }
    }

    /// Line number (from 1) of a byte offset.
    pub fn line(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset].iter().filter(|b| **b == b'\n').count() + 1
    }

    /// Room of the root crate in which the file lies: `store` for `src/store/…`; `None` outside `src/`
    /// and for `main.rs` and `lib.rs`, which only put the rooms together.
    pub fn room(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src/")?;
        let room = rest.split('/').next()?.trim_end_matches(".rs");
        (room != "main" && room != "lib").then_some(room)
    }

    /// Lines that hold one of the words in `code`, with the word: `(line, word)`.
    pub fn words(&self, words: &[&str]) -> Vec<(usize, String)> {
        let mut hits = Vec::new();
        for word in words {
            for (at, _) in self.code.match_indices(word) {
                let before = self.code.as_bytes()[..at].last().copied().unwrap_or(b' ');
                let joins = is_word(before) && word.as_bytes().first().is_some_and(|b| is_word(*b));
                if !joins {
                    hits.push((self.line(at), (*word).to_owned()));
                }
            }
        }
        hits
    }

    /// Number of lines that are not in a test module.
    pub fn lines_without_tests(&self) -> usize {
        let blanked: usize =
            test_items(&mask(&self.text).0).iter().map(|(from, to)| self.line(*to) - self.line(*from)).sum();
        self.text.lines().count() - blanked
    }
}

/// Whether a byte may be part of an identifier.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// All sources of the repository below `folders`, sorted by path.
pub fn load(root: &Path, folders: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    for folder in folders {
        walk(root, folder, &mut files);
    }
    files.sort();
    let mut sources: Vec<Source> = files
        .iter()
        .filter(|path| path.ends_with(".rs"))
        .map(|path| Source::new(path, &fs::read_to_string(root.join(path)).unwrap()))
        .collect();
    let test_modules: BTreeSet<Vec<String>> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let module = paths::module_of(&source.path);
        source.is_test |= source.path.ends_with("_tests.rs");
        source.is_test |= (1..=module.len()).any(|n| test_modules.contains(&module[..n]));
    }
    sources
}

/// Adds the files below `folder` to `files`; generated and foreign folders are left out.
pub fn walk(root: &Path, folder: &str, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && !matches!(name.as_str(), "target" | ".git") {
            walk(root, &path, files);
        } else if kind.is_file() && name != ".git" {
            files.push(path);
        }
    }
}

/// Modules that a file declares as `#[cfg(test)] mod name;`, by their whole path.
fn test_modules(source: &Source) -> Vec<Vec<String>> {
    let (code, _) = mask(&source.text);
    let found = test_items(&code).into_iter().filter_map(|(from, to)| {
        let item = std::str::from_utf8(&code[from..to]).ok()?;
        let name = item.split("mod ").nth(1)?.strip_suffix(';')?.trim();
        let mut module = paths::module_of(&source.path);
        module.push(name.to_owned());
        Some(module)
    });
    found.collect()
}

/// Byte ranges of the items that stand behind `#[cfg(test)]`, the attribute included.
fn test_items(code: &[u8]) -> Vec<(usize, usize)> {
    let text = String::from_utf8_lossy(code);
    let starts = ["#[cfg(test)]", "#[cfg(all(test", "#[test]"];
    let mut found: Vec<(usize, usize)> = Vec::new();
    for start in starts {
        for (from, _) in text.match_indices(start) {
            let inside = found.iter().any(|(a, b)| (*a..*b).contains(&from));
            if !inside {
                found.push((from, item_end(code, from + start.len())));
            }
        }
    }
    found
}

/// End of the item that begins after `from`: behind its `;` or behind the brace that closes its body.
pub fn item_end(code: &[u8], from: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in code.iter().enumerate().skip(from) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if *byte == b'}' && depth == 0 {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("only whole comments and literals were blanked")
}

fn blank(bytes: &mut [u8], from: usize, to: usize) {
    for byte in &mut bytes[from..to] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// The two masked views of a text: without comments and string contents, and without comments only.
fn mask(text: &str) -> (Vec<u8>, Vec<u8>) {
    let bytes = text.as_bytes();
    let (mut code, mut literals) = (bytes.to_vec(), bytes.to_vec());
    let mut at = 0;
    while at < bytes.len() {
        let (end, is_comment) = match skip(bytes, at) {
            Some(found) => found,
            None => {
                at += 1;
                continue;
            }
        };
        if is_comment {
            blank(&mut code, at, end);
            blank(&mut literals, at, end);
        } else {
            // The quotes stay, so that an argument is still seen to be there.
            blank(&mut code, (at + 1).min(end), end.saturating_sub(1).max((at + 1).min(end)));
        }
        at = end;
    }
    (code, literals)
}

/// If a comment or literal begins at `at`: its end, and whether it is a comment.
fn skip(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    let rest = &bytes[at..];
    let starts = |mark: &[u8]| rest.starts_with(mark);
    let fresh = at == 0 || !is_word(bytes[at - 1]) || matches!(bytes[at - 1], b'b' | b'c');
    if starts(b"//") {
        return Some((at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()), true));
    }
    if starts(b"/*") {
        return Some((at + block_comment(rest), true));
    }
    if starts(b"\"") {
        return Some((at + quoted(rest, b'"'), false));
    }
    if fresh && starts(b"r") {
        let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
        return (rest.get(1 + hashes) == Some(&b'"')).then(|| (at + raw_string(rest, hashes), false));
    }
    if starts(b"'") {
        let next = std::str::from_utf8(&rest[1..]).ok()?.chars().next()?;
        let is_char = next == '\\' || rest.get(1 + next.len_utf8()) == Some(&b'\'');
        return is_char.then(|| (at + quoted(rest, b'\''), false));
    }
    None
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0usize);
    while at < rest.len() {
        match rest.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8], hashes: usize) -> usize {
    let close: Vec<u8> = [b'"'].into_iter().chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = 2 + hashes;
    let found = rest[body..].windows(close.len()).position(|w| w == close.as_slice());
    found.map_or(rest.len(), |n| body + n + close.len())
}

#[test]
fn comments_strings_and_tests_are_no_code() {
    let text = "fn a<'x>() { let _ = (\"std::fs\", r#\"a\"std::env\"#, 'q', '\\'', b'\"'); } // std::io\n\
                /* a /* nested */ std::net */ fn b() {}\n#[cfg(test)]\nmod tests {\n    fn c() { x.unwrap(); }\n}\n";
    let source = Source::new("src/store/a.rs", text);
    for hidden in ["std::", "unwrap", "nested"] {
        assert!(!source.code.contains(hidden), "{hidden} is still in {}", source.code);
    }
    assert!(source.code.contains("fn a<'x>()") && source.code.contains("fn b() {}"));
    assert!(source.literals.contains("\"std::fs\"") && !source.literals.contains("std::io"));
    assert_eq!(source.text.len(), source.code.len());
    assert_eq!(source.lines_without_tests(), 3);
}

#[test]
fn rooms_are_named_by_the_first_folder() {
    let room = |path| Source::new(path, "").room().map(str::to_owned);
    assert_eq!(room("src/store/index/schema.rs").as_deref(), Some("store"));
    assert_eq!(room("src/primitives.rs").as_deref(), Some("primitives"));
    assert_eq!(room("src/main.rs"), None);
    assert_eq!(room("harness/src/main.rs"), None);
}
