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
        let (_, at) = options::leading(command.args(), &Spec::new("", "library-path inhibit-rpath audit preload argv0"));
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
        args[i].starts_with('-') || among(&args[i], "container compose") || (i > 0 && args[i - 1].starts_with('-'))
    };
    (0..at).all(leads).then_some(at + 1)
}

fn unwrap(name: &str, wrapper: &Wrapper, args: &[String], command: &Command, out: &mut Findings) {
    let (found, mut at) = options::leading(args, &wrapper.options);
    out.transparent |= wrapper.transparent;
    let mut inner = command.inner(Vec::new());
    inner.dir = directory(wrapper, &found, command);
    inner.complete &= !wrapper.appends;
    if found.iter().any(|opt| opt.is(wrapper.shell.0, wrapper.shell.1)) {
        out.forbid("shell", format!("`{name}` would start a shell"), "name the program itself");
    }
    if name == "env" && lone_dash(args, at) {
        at += 1;
    }
    let texts = text_options(name, wrapper, &found, &args[at..], &inner, out);
    at += assign::skip(&args[at..], wrapper.assigns, &inner, out);
    let operands = &args[at..];
    if wrapper.fetches && !found.iter().any(|opt| opt.is("", "no no-install offline")) && !operands.is_empty() {
        let text = format!("`{name}` may fetch `{}` from the network and run it", operands[0]);
        out.prompt("fetch", text, "install the tool as a pinned dependency of the project, or allow it by a rule");
    }
    let mut words = operands.get(wrapper.skip..).unwrap_or_default();
    if words.first().is_some_and(|word| word == "--") {
        words = &words[1..];
    }
    // `flock FILE -c TEXT`, `runuser USER -c TEXT`: the option may follow the operand.
    if wrapper.text.0.contains('c') && words.first().is_some_and(|word| word == "-c" || word == "--command") {
        if let Some(text) = words.get(1) {
            out.run_text(name, text, &inner);
        }
        return;
    }
    if words.is_empty() && !texts && wrapper.bare == Bare::Shell && !only_informs(name, &found) {
        out.forbid("shell", format!("`{name}` without a command starts a shell"), "name the program itself");
    }
    pass_on(name, wrapper, words, &found, inner, out);
}

fn pass_on(name: &str, wrapper: &Wrapper, words: &[String], found: &[Opt<'_>], inner: Command, out: &mut Findings) {
    let entry = found.iter().find(|opt| wrapper.elsewhere && opt.is("", "entrypoint")).and_then(|opt| opt.value);
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
    hidden::ssh_options(name, found, out);
}

/// Options whose value is text; `env -S` puts the words that follow behind the split ones.
fn text_options(
    name: &str,
    wrapper: &Wrapper,
    found: &[Opt<'_>],
    rest: &[String],
    inner: &Command,
    out: &mut Findings,
) -> bool {
    let texts = found.iter().filter(|opt| opt.is(wrapper.text.0, wrapper.text.1)).filter_map(|opt| opt.value);
    let mut any = false;
    for text in texts {
        any = true;
        let before = out.runs.len();
        out.run_text(name, text, inner);
        if let Some(run) = out.runs.get_mut(before).filter(|_| name == "env") {
            run.argv.extend(rest.iter().cloned());
            // The split words may begin with options and assignments of env itself.
            run.argv.insert(0, "env".to_owned());
        }
    }
    any
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

fn lone_dash(args: &[String], at: usize) -> bool {
    args.get(at).is_some_and(|word| word == "-")
}

/// `ssh -N` forwards ports, `ssh -V` prints the version: no shell.
fn only_informs(name: &str, found: &[Opt<'_>]) -> bool {
    let letters = if name.ends_with("ssh") { "NVGQO" } else { "Vh" };
    found.iter().any(|opt| opt.is(letters, "version help"))
}
