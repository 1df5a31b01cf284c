//! git: options in front of the sub-command, and the many ways in which git starts something else.
//!
//! `git -C dir -c key=value push` is looked at again as `git push`, so that rules about `git push` meet it.

use super::assign::harmless;
use super::command::{Command, Findings};
use super::ground::Ground;
use super::options::{self, Opt, Spec};
use super::{git_destroy, program::among};

const LEADING: Spec =
    Spec::new("Cc", "git-dir work-tree namespace config-env super-prefix attr-source list-cmds");
const INSTEAD: &str = "put the setting into the configuration of the machine, and call git without it";

pub(super) fn inspect(name: &str, command: &Command, ground: &Ground<'_>, out: &mut Findings) {
    if name != "git" {
        return;
    }
    let (found, at) = options::leading(command.args(), &LEADING);
    if found.is_empty() {
        let Some((sub, args)) = command.args().split_first() else { return };
        starts_something(sub, args, command, out);
        git_destroy::inspect(sub, args, command, ground, out);
        return;
    }
    for opt in &found {
        global(opt, out);
    }
    let rest = &command.args()[at..];
    if !rest.is_empty() {
        out.transparent = true;
        let argv = std::iter::once(command.argv[0].clone()).chain(rest.iter().cloned()).collect();
        let mut inner = command.inner(argv);
        redirect(&found, &mut inner);
        out.run(inner);
    }
}

fn global(opt: &Opt<'_>, out: &mut Findings) {
    if opt.is("c", "config-env") {
        let (key, value) =
            opt.value.unwrap_or_default().split_once('=').unwrap_or((opt.value.unwrap_or_default(), "true"));
        // The value of --config-env is the name of a variable, so what it says cannot be seen.
        setting(key, if opt.long { "?" } else { value }, out);
    } else if opt.is("", "exec-path") && opt.value.is_some() {
        out.forbid("git", "`git --exec-path=…` replaces the programs of git", INSTEAD);
    }
}

/// Follows `-C`, and gives up on `--git-dir` and `--work-tree`, which make paths mean something else.
fn redirect(found: &[Opt<'_>], inner: &mut Command) {
    for opt in found {
        if opt.is("", "git-dir work-tree super-prefix") {
            inner.dir = None;
        } else if let (true, Some(dir)) = (opt.is("C", ""), opt.value) {
            inner.dir = inner.dir.take().map(|at| at.join(dir));
        }
    }
}

/// A configuration setting whose value is run as a command.
fn setting(key: &str, value: &str, out: &mut Findings) {
    let key = key.trim().to_lowercase();
    let aliases_git = key.starts_with("alias.") && !value.trim_start().starts_with('!') && value != "?";
    let helper_name = key.starts_with("credential.") && !value.starts_with(['!', '/', '?']);
    if runs(&key) && !harmless(value) && !aliases_git && !helper_name {
        out.forbid("git", format!("the git setting `{key}` would run a command"), INSTEAD);
    }
    if aliases_git && runs_hidden(value) {
        out.forbid(
            "git",
            format!("the git setting `{key}` hides a sub-command"),
            "call the sub-command itself",
        );
    }
}

/// An alias may stand for a destructive sub-command, which no rule would see.
fn runs_hidden(value: &str) -> bool {
    value
        .split_whitespace()
        .next()
        .is_some_and(|sub| !among(sub, "status log diff show branch rev-parse ls-files"))
}

fn runs(key: &str) -> bool {
    const EXACT: &str = "core.sshcommand core.pager core.editor core.fsmonitor core.hookspath core.askpass core.gitproxy \
                         core.alternaterefscommand core.worktree sequence.editor gpg.program diff.external \
                         interactive.difffilter uploadpack.packobjectshook init.templatedir include.path \
                         protocol.ext.allow protocol.allow web.browser help.browser sendemail.smtpserver \
                         sendemail.sendmailcmd sendemail.tocmd sendemail.cccmd receive.procreceiverefs \
                         rebase.instructionformat.exec core.attributesfile.exec";
    const SECTIONS: [&str; 5] = ["alias.", "pager.", "includeif.", "hook.", "credential."];
    const ENDINGS: [&str; 14] = [
        ".command",
        ".cmd",
        ".textconv",
        ".clean",
        ".smudge",
        ".process",
        ".driver",
        ".program",
        ".uploadpack",
        ".receivepack",
        ".vcs",
        ".proxy-command",
        ".helper",
        ".defaultkeycommand",
    ];
    let credential_name = key.starts_with("credential.") && !key.ends_with(".helper");
    among(key, EXACT)
        || (SECTIONS.iter().any(|start| key.starts_with(start)) && !credential_name)
        || ENDINGS.iter().any(|end| key.ends_with(end))
}

fn starts_something(sub: &str, args: &[String], command: &Command, out: &mut Findings) {
    if args.iter().any(|arg| arg.starts_with("ext::") || arg.contains("=ext::")) {
        out.forbid("git", "an `ext::` address runs a command", "use an ssh, https or file address");
    }
    match sub {
        "fetch" | "pull" | "ls-remote" | "fetch-pack" | "clone" | "submodule" => {
            remote_program(args, if sub == "clone" { "u" } else { "" }, "upload-pack exec", out);
        }
        "push" | "send-pack" | "archive" => remote_program(args, "", "receive-pack exec", out),
        "grep" => remote_program(args, "O", "open-files-in-pager", out),
        "difftool" => remote_program(args, "x", "extcmd", out),
        "rebase" => texts(
            args,
            &Spec::new("xsXCS", "exec onto strategy strategy-option"),
            ("x", "exec"),
            command,
            out,
        ),
        "filter-branch" | "daemon" | "shell" | "remote-ext" | "upload-pack" | "receive-pack" | "instaweb" => {
            out.forbid("git", format!("`git {sub}` runs commands for others"), "ask a person to do this");
        }
        "bisect" if args.first().is_some_and(|word| word == "run") => {
            out.run(command.inner(args[1..].to_vec()));
        }
        "submodule--helper" => {
            out.forbid("git", "`git submodule--helper` is internal to git", "use git submodule");
        }
        "config" => config(args, out),
        _ => {}
    }
    if sub == "submodule" {
        foreach(args, command, out);
    }
    if sub == "clone" || sub == "init" {
        let (found, _) = options::all(
            args,
            &Spec::new("cbojuS", "config template branch origin upload-pack reference depth"),
        );
        for opt in found.iter().filter(|opt| sub == "clone" && opt.is("c", "config")) {
            let (key, value) = opt.value.unwrap_or_default().split_once('=').unwrap_or_default();
            setting(key, value, out);
        }
        if found.iter().any(|opt| opt.is("", "template") && opt.value.is_some_and(|dir| !dir.is_empty())) {
            out.forbid("git", format!("`git {sub} --template` installs hooks"), INSTEAD);
        }
    }
}

fn remote_program(args: &[String], letters: &str, names: &str, out: &mut Findings) {
    let (found, _) = options::all(args, &Spec::default());
    if found.iter().any(|opt| opt.is(letters, names)) {
        out.forbid("git", "an option of git names a program to run", "leave the option out");
    }
}

fn texts(args: &[String], spec: &Spec, which: (&str, &str), command: &Command, out: &mut Findings) {
    let (found, _) = options::all(args, spec);
    for text in found.iter().filter(|opt| opt.is(which.0, which.1)).filter_map(|opt| opt.value) {
        out.run_text("git", text, &command.inner(Vec::new()));
    }
}

/// `git submodule foreach TEXT` runs a shell in every submodule.
fn foreach(args: &[String], command: &Command, out: &mut Findings) {
    if let Some(at) = args.iter().position(|word| word == "foreach") {
        let (_, skip) = options::leading(&args[at + 1..], &Spec::default());
        let inner = Command { dir: None, ..command.inner(Vec::new()) };
        out.run_text("git submodule foreach", &args[at + 1 + skip..].join(" "), &inner);
    }
}

/// `git config KEY VALUE`, also in its new form `git config set KEY VALUE`.
fn config(args: &[String], out: &mut Findings) {
    let (found, operands) = options::all(args, &Spec::new("ft", "file type default blob value comment"));
    if found.iter().any(|opt| opt.is("e", "edit")) || operands.first() == Some(&"edit") {
        out.forbid("git", "`git config --edit` waits for an editor", "set the key by name");
    }
    let operands = match operands.first() {
        Some(&"set") => &operands[1..],
        Some(&("get" | "list" | "unset")) => return,
        _ => &operands[..],
    };
    if let [key, value, ..] = operands {
        setting(key, value, out);
    }
}
