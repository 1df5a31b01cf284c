//! Shell entry points: a shell that takes its commands from an argument or from standard input.
//!
//! A shell that runs a script file of the workspace is no entry point: such a script can be read, reviewed and
//! compared, like a Makefile. It is judged by the rules alone. A script from elsewhere is refused.

use super::command::{Command, Findings};
use super::ground::Ground;
use super::program::{among, unversioned};

const SHELLS: &str = "sh bash dash zsh ksh mksh pdksh oksh lksh yash ash fish csh tcsh rbash rksh rzsh rsh elvish nu \
                      xonsh oil osh ysh posh hush git-shell sash";
const POWERSHELLS: &str = "pwsh powershell pwsh-preview";
const INSTEAD: &str =
    "write each command as its own argument vector, or put the script into a file of the workspace";

/// How a shell is used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Use<'a> {
    /// Commands stand in an argument.
    Text,
    /// Commands come from standard input.
    Stdin,
    /// A script file.
    Script(&'a str),
    /// Only says its version or help.
    Info,
}

pub(super) fn inspect(name: &str, command: &Command, ground: &Ground<'_>, out: &mut Findings) {
    let text = match usage(name, command.args()) {
        None | Some(Use::Info) => return,
        Some(Use::Text) => format!("`{name}` would run commands from its arguments"),
        Some(Use::Stdin) => format!("`{name}` would run commands from its standard input"),
        Some(Use::Script(file)) => match ground.holds(command.dir.as_deref(), file) {
            Ok(()) => return,
            Err(why) => format!("`{name}` would run a script that nobody can review here: {why}"),
        },
    };
    out.forbid("shell", text, INSTEAD);
}

/// How the shell `name` is used with these arguments; `None` if it is no shell.
pub(super) fn usage<'a>(name: &str, args: &'a [String]) -> Option<Use<'a>> {
    if among(unversioned(name), SHELLS) {
        Some(posix(args))
    } else if among(unversioned(name), POWERSHELLS) {
        Some(powershell(args))
    } else {
        (name == "cmd" || name == "command.com").then_some(Use::Text)
    }
}

fn posix(args: &[String]) -> Use<'_> {
    let mut at = 0;
    while let Some(token) = args.get(at) {
        at += 1;
        match token.as_str() {
            "--" | "-" => return script(args.get(at)),
            "--version" | "--help" => return Use::Info,
            "--rcfile" | "--init-file" | "--emulate" | "--config" | "--env-config" => at += 1,
            long if long.starts_with("--") => {
                if ["--command", "--init-command", "--execute"].iter().any(|name| long.starts_with(name)) {
                    return Use::Text;
                }
            }
            cluster if cluster.starts_with(['-', '+']) => {
                if let Some(found) = letters(cluster, &mut at) {
                    return found;
                }
            }
            _ => return script(Some(token)),
        }
    }
    Use::Stdin
}

/// Looks through `-euo`, `+x`, `-lc`; moves `at` over the name that an `o` takes.
fn letters(cluster: &str, at: &mut usize) -> Option<Use<'static>> {
    let minus = cluster.starts_with('-');
    for letter in cluster.chars().skip(1) {
        match letter {
            'c' | 'C' if minus && (letter == 'c' || cluster.len() == 2) => return Some(Use::Text),
            's' if minus => return Some(Use::Stdin),
            'o' | 'O' => *at += 1,
            _ => {}
        }
    }
    None
}

fn script(file: Option<&String>) -> Use<'_> {
    match file.map(String::as_str) {
        None => Use::Stdin,
        Some(file) if is_stdin(file) => Use::Stdin,
        Some(file) => Use::Script(file),
    }
}

/// Whether a file name means standard input.
pub(super) fn is_stdin(file: &str) -> bool {
    file == "-"
        || file == "/dev/stdin"
        || file == "/dev/tty"
        || file.starts_with("/dev/fd/")
        || file.ends_with("/fd/0")
}

fn powershell(args: &[String]) -> Use<'_> {
    let mut at = 0;
    while let Some(token) = args.get(at) {
        at += 1;
        let lower = token.to_lowercase();
        let Some(option) = lower.strip_prefix(['-', '/']) else {
            return if lower.ends_with(".ps1") { Use::Script(token) } else { Use::Text };
        };
        match option.trim_start_matches('-') {
            "version" | "help" | "?" | "v" | "h" => return Use::Info,
            "file" | "f" => return script(args.get(at)),
            "executionpolicy" | "ep" | "ex" | "exec" | "windowstyle" | "w" | "workingdirectory" | "wd" => {
                at += 1;
            }
            "noprofile" | "nop" | "nologo" | "nol" | "noninteractive" | "noni" | "noexit" | "noe" | "sta"
            | "mta" => {}
            _ => return Use::Text,
        }
    }
    Use::Stdin
}
