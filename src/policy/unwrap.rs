//! Finds the command that a known wrapper starts.

use super::command::{Command, Findings};
use super::options::{self, Opt, Spec};
use super::program::among;
use super::wrappers::{self, Bare, Wrapper};
use super::{assign, hidden};
use std::path::PathBuf;

pub(super) fn inspect(name: &str, command: &Command, out: &mut Findings) {
    if among(name, "busybox toybox") {
        out.transparent = true;
        out.run(command.inner(command.args().to_vec()));
        return;
    }
    // The dynamic loader runs the program that it is given.
    if name.starts_with("ld-linux") || name.starts_with("ld-musl") || name == "ld.so" {
        let (_, at) = options::leading(
            command.args(),
            &Spec::new("", "library-path inhibit-rpath audit preload argv0"),
        );
        out.run(command.inner(command.args()[at..].to_vec()));
        return;
    }
    for wrapper in wrappers::about(name) {
        if let Some(at) = sub_command(wrapper, command.args()) {
            unwrap(name, wrapper, &command.args()[at..], command, out);
        }
    }
}

/// Where the arguments of the wrapper begin: behind its sub-command, if it has to have one.
fn sub_command(wrapper: &Wrapper, args: &[String]) -> Option<usize> {
    if wrapper.sub.is_empty() {
        return Some(0);
    }
    // Options may stand in front, with or without a value (`kubectl -n space exec`), and so may a group
    // (`docker container exec`, `docker compose run`); what is no sub-command of ours ends the search.
    let limit = args.len().min(12);
    let at = (0..limit).find(|at| among(&args[*at], wrapper.sub))?;
    let leads = |i: usize| {
        args[i].starts_with('-')
            || among(&args[i], "container compose")
            || (i > 0 && args[i - 1].starts_with('-'))
    };
    (0..at).all(leads).then_some(at + 1)
}

fn unwrap(name: &str, wrapper: &Wrapper, args: &[String], command: &Command, out: &mut Findings) {
    out.transparent |= wrapper.transparent;
    if among(name, "env genv") && split_string(args, command, out) {
        return;
    }
    let (found, mut at) = options::leading(args, &wrapper.options);
    let mut inner = command.inner(Vec::new());
    inner.dir = directory(wrapper, &found, command);
    inner.complete &= !wrapper.appends;
    if found.iter().any(|opt| opt.is(wrapper.shell.0, wrapper.shell.1)) {
        out.forbid("shell", format!("`{name}` would start a shell"), "name the program itself");
    }
    if among(name, "env genv") && args.get(at).is_some_and(|word| word == "-") {
        at += 1;
    }
    let texts: Vec<&str> = found
        .iter()
        .filter(|opt| opt.is(wrapper.text.0, wrapper.text.1))
        .filter_map(|opt| opt.value)
        .collect();
    for text in &texts {
        out.run_text(name, text, &inner);
    }
    at += assign::skip(&args[at..], wrapper.assigns, &inner, out);
    let words = behind_operands(wrapper, &args[at..]);
    if let (true, Some(package)) = (wrapper.fetches && !stays_local(&found), args.get(at)) {
        let text = format!("`{name}` may fetch `{package}` from the network and run it");
        out.prompt(
            "fetch",
            text,
            "install the tool as a pinned dependency of the project, or allow it by a rule",
        );
    }
    // `flock FILE -c TEXT`, `runuser USER -c TEXT`: the option may follow the operand.
    if wrapper.text.0.contains('c') && words.first().is_some_and(|word| word == "-c" || word == "--command") {
        words.iter().skip(1).take(1).for_each(|text| out.run_text(name, text, &inner));
        return;
    }
    if words.is_empty() && texts.is_empty() && !only_informs(name, &found) {
        without_command(name, wrapper, command, out);
    }
    pass_on(name, wrapper, words, &found, inner, out);
    hidden::ssh_options(name, &found, out);
}

/// The words of the command, behind the operands of the wrapper itself.
fn behind_operands<'a>(wrapper: &Wrapper, args: &'a [String]) -> &'a [String] {
    let mut words = args.get(wrapper.skip..).unwrap_or_default();
    if wrapper.permutes {
        words = &words[options::leading(words, &wrapper.options).1..];
    }
    match words.first() {
        Some(word) if word == "--" => &words[1..],
        _ => words,
    }
}

fn without_command(name: &str, wrapper: &Wrapper, command: &Command, out: &mut Findings) {
    if !command.complete {
        out.forbid(
            "shell",
            format!("`{name}` would run commands that cannot be seen here"),
            "name the command",
        );
    } else if wrapper.bare == Bare::Shell {
        out.forbid("shell", format!("`{name}` without a command starts a shell"), "name the program itself");
    }
}

/// `env -S TEXT` puts the words of a text in its own place, where they may be anything that env takes.
fn split_string(args: &[String], command: &Command, out: &mut Findings) -> bool {
    let spec = Spec::new("uCSa", "unset chdir split-string argv0");
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(next) =
        args.get(at).filter(|arg| *arg != "--").and_then(|_| options::step(args, at, &spec, &mut found))
    {
        let text = found.last().filter(|opt| opt.is("S", "split-string")).and_then(|opt| opt.value);
        if let Some(text) = text {
            let before = out.runs.len();
            out.run_text("env -S", text, command);
            if let Some(run) = out.runs.get_mut(before) {
                let rest = args.get(next..).unwrap_or_default();
                let words = std::iter::once("env".to_owned())
                    .chain(args[..at].iter().cloned())
                    .chain(run.argv.drain(..));
                run.argv = words.collect::<Vec<_>>().into_iter().chain(rest.iter().cloned()).collect();
            }
            return true;
        }
        at = next;
    }
    false
}

fn pass_on(
    name: &str,
    wrapper: &Wrapper,
    words: &[String],
    found: &[Opt<'_>],
    inner: Command,
    out: &mut Findings,
) {
    let entry =
        found.iter().find(|opt| wrapper.elsewhere && opt.is("", "entrypoint")).and_then(|opt| opt.value);
    let direct = name == "watch" && found.iter().any(|opt| opt.is("x", "exec"));
    if let Some(entry) = entry {
        let argv = std::iter::once(entry.to_owned()).chain(words.iter().cloned()).collect();
        out.run(Command { argv, ..inner });
    } else if wrapper.joined && !direct {
        out.run_text(name, &words.join(" "), &inner);
    } else if name == "hyperfine" {
        words.iter().filter(|word| !word.starts_with('-')).for_each(|text| out.run_text(name, text, &inner));
    } else {
        out.run(Command { argv: words.to_vec(), ..inner });
    }
}

fn directory(wrapper: &Wrapper, found: &[Opt<'_>], command: &Command) -> Option<PathBuf> {
    if wrapper.elsewhere {
        return None;
    }
    let mut dir = command.dir.clone()?;
    for opt in found.iter().filter(|opt| opt.is(wrapper.dir.0, wrapper.dir.1)) {
        // Another root makes every path mean something else.
        if opt.is("R", "root chroot") {
            return None;
        }
        dir = dir.join(opt.value?);
    }
    Some(dir)
}

/// `npx --no-install` runs what is installed, or nothing.
fn stays_local(found: &[Opt<'_>]) -> bool {
    found.iter().any(|opt| opt.long && matches!(opt.name, "no" | "no-install" | "offline"))
}

/// `ssh -N` forwards ports, `ssh -V` prints the version: no shell.
fn only_informs(name: &str, found: &[Opt<'_>]) -> bool {
    let letters = if name.ends_with("ssh") { "NVGQO" } else { "Vh" };
    found.iter().any(|opt| opt.is(letters, "version help"))
}
