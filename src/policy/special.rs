//! Options of other programs that name a command to be run: tar, rsync, make, parallel and their like.

use super::command::{Command, Findings};
use super::ground::Ground;
use super::options::{self, Spec};
use super::program::among;
use super::{hidden, words};

/// An option whose value is a command.
struct Row {
    names: &'static str,
    spec: Spec,
    /// Letters, then names, of options whose value is plain words as a rule (`rsync -e ssh`), and looked at as such.
    command: (&'static str, &'static str),
    /// Letters, then names, of options that are refused.
    refused: (&'static str, &'static str),
}

const ROWS: &[Row] = &[
    Row {
        names: "tar gtar bsdtar",
        spec: Spec::new(
            "ICfbTXFg",
            "use-compress-program to-command checkpoint-action rsh-command info-script \
                                     new-volume-script rmt-command file directory",
        ),
        command: ("I", "use-compress-program"),
        refused: ("F", "to-command rsh-command info-script new-volume-script rmt-command"),
    },
    Row {
        names: "rsync",
        spec: Spec::new("efTBM", "rsh rsync-path exclude include filter"),
        command: ("e", "rsh rsync-path"),
        refused: ("", "early-input"),
    },
    Row { names: "scp sftp", spec: Spec::new("SoFiPcDJlRX", ""), command: ("SD", ""), refused: ("", "") },
    Row {
        names: "make gmake bmake ninja",
        spec: Spec::new("fCIojlEW", "file makefile directory include-dir eval"),
        command: ("", ""),
        refused: ("E", "eval"),
    },
    Row {
        names: "rg",
        spec: Spec::new("", "pre hostname-bin"),
        command: ("", "pre hostname-bin"),
        refused: ("", ""),
    },
    Row {
        names: "split csplit gsplit",
        spec: Spec::new("", "filter"),
        command: ("", "filter"),
        refused: ("", ""),
    },
    Row {
        names: "sort gsort",
        spec: Spec::new("koStT", "compress-program key output"),
        command: ("", "compress-program"),
        refused: ("", ""),
    },
    Row {
        names: "man",
        spec: Spec::new("PH", "pager html"),
        command: ("PH", "pager html"),
        refused: ("", ""),
    },
    Row {
        names: "zip",
        spec: Spec::new("", "unzip-command"),
        command: ("", "unzip-command"),
        refused: ("", ""),
    },
    Row { names: "tcpdump", spec: Spec::new("zwirFcCG", ""), command: ("z", ""), refused: ("", "") },
    Row {
        names: "xterm uxterm urxvt gnome-terminal konsole alacritty kitty",
        spec: Spec::new("", ""),
        command: ("", ""),
        refused: ("e", "command"),
    },
    Row {
        names: "cargo-watch watchexec nodemon",
        spec: Spec::new("sxwe", "shell exec"),
        command: ("x", "exec"),
        refused: ("s", ""),
    },
];

pub(super) fn inspect(name: &str, command: &Command, ground: &Ground<'_>, out: &mut Findings) {
    for row in ROWS.iter().filter(|row| among(name, row.names)) {
        option_commands(name, row, command, out);
    }
    match name {
        "parallel" | "sem" | "rush" => parallel(name, command, out),
        "tar" | "gtar" => checkpoint(name, command, out),
        "make" | "gmake" | "bmake" => make(name, command, ground, out),
        "su" => out.forbid("shell", "`su` starts a shell", "run as the user that runs the worker"),
        "eval" | "source" | "." => {
            out.forbid("shell", format!("`{name}` is a word of the shell"), "name a program");
        }
        "cargo" if command.argv.get(1).is_some_and(|sub| sub == "watch") => {
            let row = ROWS.iter().find(|row| among("cargo-watch", row.names));
            if let Some(row) = row {
                option_commands(name, row, command, out);
            }
        }
        _ => {}
    }
}

fn option_commands(name: &str, row: &Row, command: &Command, out: &mut Findings) {
    let (found, _) = options::all(command.args(), &row.spec);
    for opt in &found {
        if opt.is(row.refused.0, row.refused.1) {
            let text = format!("the option `{}` of `{name}` would run a command", opt.name);
            out.forbid("shell", text, "run the command by itself");
        } else if let (true, Some(value)) = (opt.is(row.command.0, row.command.1), opt.value) {
            let inner = Command { complete: false, ..command.inner(Vec::new()) };
            // A remote shell gets a host and a command; without them it would look like a login.
            let host = if among(name, "rsync scp sftp") { " host true" } else { "" };
            out.run_text(name, &format!("{value}{host}"), &inner);
        }
    }
    hidden::ssh_options(name, &found, out);
}

fn checkpoint(name: &str, command: &Command, out: &mut Findings) {
    let (found, _) = options::all(command.args(), &ROWS[0].spec);
    let action = |opt: &options::Opt<'_>| {
        opt.is("", "checkpoint-action") && opt.value.is_none_or(|v| v.starts_with("exec"))
    };
    if found.iter().any(action) {
        out.forbid(
            "shell",
            format!("`{name} --checkpoint-action=exec` would run a command"),
            "run the command by itself",
        );
    }
}

/// Variables on the command line of make replace its shell; a makefile must be a file of the workspace.
fn make(name: &str, command: &Command, ground: &Ground<'_>, out: &mut Findings) {
    let variables = command.args().iter().filter_map(|arg| arg.split_once('='));
    for (variable, value) in variables {
        let variable = variable.trim_end_matches([':', '+', '?', '!']);
        if among(variable, "SHELL .SHELLFLAGS MAKE MAKESHELL")
            || value.contains("$(shell")
            || value.contains("${shell")
        {
            let text = format!("`{variable}=` on the command line of `{name}` would run a command");
            out.forbid("shell", text, "set it in the makefile");
        }
    }
    let (found, _) =
        options::all(command.args(), &Spec::new("fCIojlEW", "file makefile directory include-dir eval"));
    let moved = found.iter().any(|opt| opt.is("C", "directory"));
    for file in found.iter().filter(|opt| opt.is("f", "file makefile")).filter_map(|opt| opt.value) {
        if file == "-" || (!moved && ground.holds(command.dir.as_deref(), file).is_err()) {
            let text = format!("`{name} -f {file}` takes its rules from outside the workspace");
            out.forbid("shell", text, "use a makefile of the workspace");
        }
    }
}

/// `parallel CMD ::: ARGS` hands the command to a shell; without a command every argument is one.
fn parallel(name: &str, command: &Command, out: &mut Findings) {
    let spec = Spec::new(
        "jaISNnLlPsECdMX",
        "jobs arg-file max-args colsep delay timeout joblog results retries sshlogin \
                                           sshloginfile tmpdir delimiter halt load memfree nice replace workdir env",
    );
    let (found, at) = options::leading(command.args(), &spec);
    let rest = &command.args()[at..];
    let end = rest.iter().position(|word| word.starts_with(":::")).unwrap_or(rest.len());
    let mut inner = command.inner(Vec::new());
    if found.iter().any(|opt| opt.is("S", "sshlogin sshloginfile workdir")) {
        inner.dir = None;
    }
    if end > 0 {
        // Words that are plain by themselves stay as they are; the shell would see the same.
        let joined = rest[..end].join(" ");
        return match words::split(&joined) {
            Ok(argv) => out.run(Command { argv, complete: false, ..inner }),
            Err(_) => out.run_text(name, &joined, &inner),
        };
    }
    if rest.get(end).is_none_or(|word| word != ":::" && word != ":::+")
        && name == "parallel"
        && !informs(&found)
    {
        out.forbid(
            "shell",
            format!("`{name}` would run commands from its standard input or a file"),
            "name the command",
        );
    }
    rest.iter()
        .skip(end)
        .filter(|word| !word.starts_with(":::"))
        .for_each(|text| out.run_text(name, text, &inner));
}

fn informs(found: &[options::Opt<'_>]) -> bool {
    found.iter().any(|opt| opt.is("Vh", "version help citation number-of-cores number-of-cpus"))
}
