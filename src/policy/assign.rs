//! Variables that make a program start another one.

use super::command::{Command, Findings};
use super::program::among;

/// Variables whose value is a command, run by a shell or split into words.
const COMMANDS: &str = "GIT_EXTERNAL_DIFF GIT_PAGER PAGER MANPAGER GIT_EDITOR EDITOR VISUAL GIT_SEQUENCE_EDITOR GIT_ASKPASS \
                        SSH_ASKPASS SUDO_ASKPASS BROWSER LESSOPEN LESSCLOSE CARGO_BUILD_RUSTC_WRAPPER \
                        RUSTC_WRAPPER";
/// Variables whose value is a command that gets a host and a command for it as arguments.
const REMOTE_SHELLS: &str = "RSYNC_RSH GIT_SSH CVS_RSH SVN_SSH";
/// Variables that put code of their own into every shell, every program, or every call of git.
const CODE: &str = "BASH_ENV ENV PROMPT_COMMAND LD_PRELOAD LD_AUDIT DYLD_INSERT_LIBRARIES GIT_SSH_COMMAND GIT_CONFIG_PARAMETERS \
                    GIT_CONFIG_COUNT GIT_CONFIG_GLOBAL GIT_CONFIG_SYSTEM GIT_EXEC_PATH \
                    GIT_PROXY_COMMAND GIT_TEMPLATE_DIR TAR_OPTIONS";

/// Looks at one variable that is set for a command.
pub(super) fn inspect(name: &str, value: &str, command: &Command, out: &mut Findings) {
    if harmless(value) {
        return;
    }
    if among(name, CODE) || name.starts_with("GIT_CONFIG_KEY_") || value.starts_with("() {") {
        let text = format!("the variable `{name}` would run code inside other programs");
        out.forbid("variable", text, "put the setting into the configuration of the program");
    } else if among(name, REMOTE_SHELLS) {
        out.run_text(name, &format!("{value} host true"), command);
    } else if among(name, COMMANDS) || name.ends_with("_RUNNER") {
        let mut inner = command.inner(Vec::new());
        inner.complete = false;
        out.run_text(name, value, &inner);
    }
}

/// Values that switch something off.
pub(super) fn harmless(value: &str) -> bool {
    matches!(
        value,
        "" | "0" | ":" | "true" | "false" | "cat" | "less" | "/dev/null" | "/bin/true" | "/bin/false"
    )
}

/// Looks at the assignments in front of a command; says how many words they are.
pub(super) fn skip(words: &[String], assigns: bool, command: &Command, out: &mut Findings) -> usize {
    if !assigns {
        return 0;
    }
    let pairs =
        words.iter().map_while(|word| word.split_once('=').filter(|(name, _)| !name.starts_with('-')));
    pairs.inspect(|(name, value)| inspect(name, value, command, out)).count()
}
