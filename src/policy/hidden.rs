//! Shells and interpreters behind wrappers that nobody told us about.

use super::command::{Command, Findings};
use super::options::Opt;
use super::program::{among, base_name};
use super::{interpreters, shells};

/// Programs that only look at their arguments, so that `grep sh -c file` stays possible.
const READERS: &str = "echo printf grep egrep fgrep rg ag ack ls cat head tail wc test [ which type whereis man apropos info tldr \
                       basename dirname stat file git";

/// How many options are looked through behind something that looks like a shell.
const OPTIONS_MAX: usize = 32;

/// A shell or interpreter anywhere among the arguments, followed by its option for code, is taken for what it is,
/// whatever stands in front of it.
pub(super) fn inspect(name: &str, command: &Command, out: &mut Findings) {
    if among(name, READERS) {
        return;
    }
    for at in 1..command.argv.len() {
        let token = &command.argv[at];
        let args = &command.argv[at + 1..command.argv.len().min(at + 1 + OPTIONS_MAX)];
        // The option has to come at once, so that looking at every position stays cheap. A relative path is more
        // likely a directory (`go test ./cmd -v`) than a shell.
        let relative = token.contains('/') && !token.starts_with('/');
        if relative || !args.first().is_some_and(|next| next.starts_with(['-', '/', '+']) || next == "eval") {
            continue;
        }
        let inner = base_name(token);
        if inner == "cmd" && !args[0].starts_with('/') {
            continue;
        }
        if shells::usage(&inner, args) == Some(shells::Use::Text) || interpreters::takes_code(&inner, args) {
            let text =
                format!("`{inner}` among the arguments of `{name}` would run code from its own arguments");
            out.forbid("shell", text, "call the program directly, with an argument vector");
            return;
        }
    }
}

/// `-o ProxyCommand=…` and its like, of ssh, scp and sftp.
pub(super) fn ssh_options(name: &str, found: &[Opt<'_>], out: &mut Findings) {
    if !among(name, "ssh scp sftp autossh slogin") {
        return;
    }
    const KEYS: [&str; 6] = [
        "proxycommand",
        "localcommand",
        "knownhostscommand",
        "remotecommand",
        "permitlocalcommand",
        "xauthlocation",
    ];
    for value in found.iter().filter(|opt| opt.is("o", "")).filter_map(|opt| opt.value) {
        let value = value.trim().to_lowercase();
        if KEYS.iter().any(|key| value.starts_with(key)) && !value.ends_with("none") && !value.ends_with("no")
        {
            let text = format!("the option `{value}` of `{name}` would run a command");
            out.forbid("shell", text, "put it into the ssh configuration of the machine");
        }
    }
}
