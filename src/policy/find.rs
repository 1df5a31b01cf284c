//! `find` and `fd`: commands that they run for every file, and deletion.

use super::command::{Command, Findings};
use super::ground::Ground;
use super::program::among;

/// More starting points than are put in the place of `{}`.
const STARTS_MAX: usize = 100;

const INSTEAD: &str = "name a directory below the workspace as the starting point";

pub(super) fn inspect(name: &str, command: &Command, ground: &Ground<'_>, out: &mut Findings) {
    if among(name, "find gfind bfs") {
        find(name, command, ground, out);
    } else if among(name, "fd fdfind") {
        fd(command, out);
    }
}

fn find(name: &str, command: &Command, ground: &Ground<'_>, out: &mut Findings) {
    let args = command.args();
    let mut starts = starts(args);
    // With these, what is found may lie anywhere.
    let strays = starts.len() > STARTS_MAX || args.iter().any(|arg| among(arg, "-L -H -follow -files0-from"));
    starts.truncate(STARTS_MAX);
    let mut at = 0;
    while let Some(token) = args.get(at) {
        at += 1;
        match token.as_str() {
            "-delete" => delete(name, &starts, strays, command, ground, out),
            "-exec" | "-ok" | "-execdir" | "-okdir" => {
                let end = args[at..].iter().position(|word| word == ";").map_or(args.len(), |end| at + end);
                let mut inner = command.inner(fill(&args[at..end], &starts));
                // Relative names mean something else in every directory.
                if strays || token.ends_with("dir") {
                    inner.dir = None;
                }
                out.run(inner);
                at = end;
            }
            _ => {}
        }
    }
}

/// The directories in which it begins: operands in front of the first expression.
fn starts(args: &[String]) -> Vec<&str> {
    let mut at = 0;
    while args.get(at).is_some_and(|arg| among(arg, "-H -L -P -D --") || arg.starts_with("-O")) {
        at += if args[at] == "-D" { 2 } else { 1 };
    }
    let rest = args.get(at..).unwrap_or_default();
    let found: Vec<&str> = rest
        .iter()
        .map(String::as_str)
        .take_while(|arg| !arg.starts_with(['-', '(', ')', '!', ',']))
        .collect();
    if found.is_empty() { vec!["."] } else { found }
}

/// What is found lies below a starting point or is one, so the starting points stand for it.
fn fill(words: &[String], starts: &[&str]) -> Vec<String> {
    let plus = words.last().is_some_and(|word| word == "+");
    let words = &words[..words.len() - usize::from(plus)];
    let filled = |word: &String| -> Vec<String> {
        match word.contains("{}") {
            true => starts.iter().map(|start| word.replace("{}", start)).collect(),
            false => vec![word.clone()],
        }
    };
    words.iter().flat_map(filled).collect()
}

fn delete(
    name: &str,
    starts: &[&str],
    strays: bool,
    command: &Command,
    ground: &Ground<'_>,
    out: &mut Findings,
) {
    if strays || !command.complete {
        out.forbid(
            "destructive",
            format!("`{name} -delete` follows links or lists, so it may delete anything"),
            INSTEAD,
        );
        return;
    }
    for start in starts {
        if let Err(why) = ground.may_destroy(command.dir.as_deref(), start) {
            out.forbid("destructive", format!("`{name} -delete` deletes, and {why}"), INSTEAD);
        }
    }
}

/// `fd … -x CMD`: the rest is a command to which what was found is appended.
fn fd(command: &Command, out: &mut Findings) {
    let runs = |arg: &String| among(arg, "-x -X --exec --exec-batch");
    if let Some(at) = command.args().iter().position(runs) {
        let inner = command.inner(command.args()[at + 1..].to_vec());
        out.run(Command { complete: false, ..inner });
    }
}
