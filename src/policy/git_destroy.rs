//! What git would throw away: uncommitted work, commits, branches, history on a remote.

use super::command::{Command, Findings};
use super::ground::Ground;
use super::options::{self, Opt, Spec};

const KEEP: &str = "commit the work to a branch first; what is committed can be found again";
const PUSH: &str = "push a new commit to a branch of your own";

pub(super) fn inspect(
    sub: &str,
    args: &[String],
    command: &Command,
    ground: &Ground<'_>,
    out: &mut Findings,
) {
    let has = |letters: &str, names: &str, valued: &Spec| {
        options::all(args, valued).0.iter().any(|o| o.is(letters, names))
    };
    let plain = Spec::default();
    let first = args.first().map(String::as_str);
    match sub {
        "push" => push(args, out),
        "reset" if has("", "hard merge keep", &plain) => {
            refuse("git reset --hard", "drops uncommitted work", KEEP, out);
        }
        "clean" => clean(args, command, ground, out),
        "checkout" => checkout(args, command, ground, out),
        "switch" if has("fC", "force discard-changes force-create", &Spec::new("c", "create orphan")) => {
            refuse("git switch --force", "drops uncommitted work or moves a branch", KEEP, out);
        }
        "restore" => restore(args, command, ground, out),
        "branch" if has("DMCf", "force", &Spec::new("u", "set-upstream-to")) => {
            refuse(
                "git branch --force",
                "drops commits that nothing else may hold",
                "use `git branch -d`",
                out,
            );
        }
        "rm" => paths("git rm", &operands(args), command, ground, out),
        "stash" if matches!(first, Some("drop" | "clear")) => {
            refuse("git stash", "drops stashed work", KEEP, out);
        }
        "reflog" if matches!(first, Some("expire" | "delete")) => {
            refuse("git reflog", "drops the way back to lost commits", "leave the reflog to git", out);
        }
        "gc" if has("", "prune", &plain) => {
            refuse("git gc --prune", "drops unreachable commits", "use `git gc`", out);
        }
        "prune" => refuse("git prune", "drops unreachable commits", "use `git gc`", out),
        "update-ref" if has("d", "stdin", &Spec::new("m", "")) => {
            refuse("git update-ref", "deletes refs", "leave refs to the other commands of git", out);
        }
        "symbolic-ref" if has("d", "delete", &plain) => refuse("git symbolic-ref", "deletes refs", KEEP, out),
        "filter-repo" => refuse("git filter-repo", "rewrites history", "ask a person to do this", out),
        "worktree" if first == Some("remove") => {
            paths("git worktree remove", &operands(&args[1..]), command, ground, out);
        }
        _ => {}
    }
}

fn refuse(what: &str, why: &str, instead: &'static str, out: &mut Findings) {
    out.forbid("destructive", format!("`{what}` {why}"), instead);
}

fn push(args: &[String], out: &mut Findings) {
    let spec = Spec::new("o", "repo push-option receive-pack exec");
    let (found, operands) = options::all(args, &spec);
    let forces = |opt: &Opt<'_>| {
        opt.is("fd", "delete mirror prune") || (opt.long && opt.name.len() > 2 && is_force(opt.name))
    };
    // `+branch` forces and `:branch` deletes; the first operand is the remote.
    if found.iter().any(forces) || operands.iter().skip(1).any(|spec| spec.starts_with(['+', ':'])) {
        refuse("git push", "would overwrite or delete what is on the remote", PUSH, out);
    }
}

/// `--force`, `--force-with-lease`, and abbreviations; `--force-if-includes` alone forces nothing.
fn is_force(name: &str) -> bool {
    name != "force-if-includes" && (name.starts_with("force") || "force".starts_with(name))
}

fn clean(args: &[String], command: &Command, ground: &Ground<'_>, out: &mut Findings) {
    let (found, operands) = options::all(args, &Spec::new("e", "exclude"));
    if found.iter().any(|opt| opt.is("n", "dry-run")) {
        return;
    }
    if operands.is_empty() {
        refuse(
            "git clean",
            "deletes files everywhere that git does not know",
            "name the directory to be cleaned",
            out,
        );
    }
    paths("git clean", &operands, command, ground, out);
}

fn checkout(args: &[String], command: &Command, ground: &Ground<'_>, out: &mut Findings) {
    let spec = Spec::new("bBt", "orphan conflict pathspec-from-file");
    let (found, operands) = options::all(args, &spec);
    if found.iter().any(|opt| opt.is("fB", "force")) {
        refuse("git checkout --force", "drops uncommitted work or moves a branch", KEEP, out);
    }
    if found.iter().any(|opt| opt.is("", "pathspec-from-file")) {
        refuse(
            "git checkout --pathspec-from-file",
            "drops changes in files that cannot be seen here",
            KEEP,
            out,
        );
    }
    match args.iter().position(|arg| arg == "--") {
        Some(at) => {
            let named: Vec<&str> = args[at + 1..].iter().map(String::as_str).collect();
            paths("git checkout --", &named, command, ground, out);
        }
        // Without `--` an operand may be a branch or a path; these can only be paths that mean everything.
        None => {
            let whole: Vec<&str> = operands.into_iter().filter(|word| is_surely_path(word)).collect();
            paths("git checkout", &whole, command, ground, out);
        }
    }
}

fn is_surely_path(word: &str) -> bool {
    matches!(word, "." | ".." | "*" | "/")
        || word.starts_with(['/', ':'])
        || word.starts_with("./")
        || word.starts_with("../")
}

fn restore(args: &[String], command: &Command, ground: &Ground<'_>, out: &mut Findings) {
    let (found, operands) = options::all(args, &Spec::new("s", "source conflict pathspec-from-file"));
    let only_index =
        found.iter().any(|opt| opt.is("S", "staged")) && !found.iter().any(|opt| opt.is("W", "worktree"));
    if only_index {
        return;
    }
    if found.iter().any(|opt| opt.is("", "pathspec-from-file")) {
        refuse(
            "git restore --pathspec-from-file",
            "drops changes in files that cannot be seen here",
            KEEP,
            out,
        );
    }
    paths("git restore", &operands, command, ground, out);
}

fn operands(args: &[String]) -> Vec<&str> {
    options::all(args, &Spec::default()).1
}

/// git understands patterns and magic (`:/`, `*`), which reach further than they look.
fn paths(what: &str, named: &[&str], command: &Command, ground: &Ground<'_>, out: &mut Findings) {
    if !command.complete {
        refuse(what, "gets paths that cannot be seen here", "name the paths", out);
    }
    for path in named {
        let verdict = match path.starts_with(':') || path.contains(['*', '?', '[']) {
            true => Err(format!("`{path}` is a pattern that may match anything")),
            false => ground.may_destroy(command.dir.as_deref(), path),
        };
        if let Err(why) = verdict {
            refuse(what, &format!("throws changes away, and {why}"), KEEP, out);
        }
    }
}
