//! awk and sed: small languages on the command line, harmless until they start a command.

use super::command::{Command, Findings};
use super::options::{self, Spec};
use super::program::{among, unversioned};
use super::shells::is_stdin;

const INSTEAD: &str = "let the program print, and run the command as one of its own";

pub(super) fn inspect(name: &str, command: &Command, out: &mut Findings) {
    if among(unversioned(name), "awk gawk mawk nawk original-awk goawk bwk") {
        awk(name, command.args(), out);
    } else if among(name, "sed gsed ssed") {
        sed(name, command.args(), out);
    }
}

fn awk(name: &str, args: &[String], out: &mut Findings) {
    let spec = Spec::new("FvfeiElW", "field-separator assign file source include exec load");
    let (found, at) = options::leading(args, &spec);
    let is_file = |opt: &options::Opt<'_>| opt.is("fE", "file exec");
    if found.iter().any(|opt| is_file(opt) && opt.value.is_some_and(is_stdin)) {
        out.forbid("interpreter", format!("`{name}` would run code from its standard input"), INSTEAD);
    }
    let sources = found.iter().filter(|opt| opt.is("e", "source")).filter_map(|opt| opt.value);
    let program =
        args.get(at).map(String::as_str).filter(|_| !found.iter().any(|o| is_file(o) || o.is("e", "source")));
    if sources.chain(program).any(awk_starts) {
        out.forbid("interpreter", format!("the `{name}` program would start a command"), INSTEAD);
    }
}

/// Whether an awk program calls `system`, or reads from or writes to a pipe.
fn awk_starts(program: &str) -> bool {
    let mut chars = program.chars().peekable();
    let mut word = String::new();
    // Whether a `/` here would divide rather than begin a regular expression.
    let mut value = false;
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() || c == '_' || c == '@' {
            word.push(c);
            value = true;
            continue;
        }
        if matches!(word.as_str(), "system" | "@load" | "@include") {
            return true;
        }
        if among(&word, "print printf return in getline") {
            value = false;
        }
        if !c.is_whitespace() || !word.is_empty() {
            word.clear();
        }
        match c {
            '"' => {
                skip_to(&mut chars, '"');
                value = true;
            }
            '/' if !value => {
                skip_regex(&mut chars, '/');
                value = true;
            }
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '|' if chars.peek() == Some(&'|') => {
                chars.next();
                value = false;
            }
            '|' => return true,
            _ if c.is_whitespace() => {}
            _ => value = matches!(c, ')' | ']' | '$'),
        }
    }
    word == "system"
}

fn skip_to(chars: &mut impl Iterator<Item = char>, end: char) {
    while let Some(c) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == end {
            return;
        }
    }
}

/// The same for a regular expression, in whose brackets the delimiter stands for itself (`/[/]e/`).
fn skip_regex(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, end: char) {
    while let Some(c) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == end {
            return;
        } else if c == '[' {
            chars.next_if_eq(&'^');
            chars.next_if_eq(&']');
            while chars.next_if(|c| *c != ']' && *c != '\n').is_some() {}
        }
    }
}

fn sed(name: &str, args: &[String], out: &mut Findings) {
    let (found, operands) = options::all(args, &Spec::new("efl", "expression file line-length"));
    if found.iter().any(|opt| opt.is("", "sandbox")) {
        return;
    }
    if found.iter().any(|opt| opt.is("f", "file") && opt.value.is_some_and(is_stdin)) {
        out.forbid("interpreter", format!("`{name}` would run code from its standard input"), INSTEAD);
    }
    let given = |opt: &&options::Opt<'_>| opt.is("e", "expression");
    let scripts: Vec<&str> = found.iter().filter(given).filter_map(|opt| opt.value).collect();
    let from_file = found.iter().any(|opt| opt.is("f", "file"));
    let first = operands.first().copied().filter(|_| scripts.is_empty() && !from_file);
    if scripts.into_iter().chain(first).any(sed_starts) {
        out.forbid("interpreter", format!("the `{name}` script would start a command (`e`)"), INSTEAD);
    }
}

/// Whether a sed script uses the command `e`, or the flag `e` of `s`.
fn sed_starts(script: &str) -> bool {
    let mut rest = script.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '/' => skip_regex(&mut rest, '/'),
            '\\' => {
                if let Some(end) = rest.next() {
                    skip_regex(&mut rest, end);
                }
            }
            'e' => return true,
            's' | 'y' => {
                let Some(end) = rest.next() else { return false };
                skip_regex(&mut rest, end);
                skip_to(&mut rest, end);
                if c == 's' && substitute_starts(&mut rest) {
                    return true;
                }
            }
            // Text, file names and labels: up to the end of the line, or of the command.
            'a' | 'i' | 'c' | 'r' | 'R' | 'w' | 'W' => while rest.next_if(|c| *c != '\n').is_some() {},
            'b' | 't' | 'T' | ':' | 'q' | 'Q' | 'v' | 'l' | 'L' => {
                while rest.next_if(|c| !matches!(c, '\n' | ';' | '}')).is_some() {}
            }
            _ => {}
        }
    }
    false
}

/// Reads the flags of `s`.
fn substitute_starts(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    while let Some(flag) = rest.next_if(|c| c.is_ascii_alphanumeric()) {
        match flag {
            'e' => return true,
            'w' => while rest.next_if(|c| *c != '\n').is_some() {},
            _ => {}
        }
    }
    false
}
