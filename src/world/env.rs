//! The one place that reads the environment of the process: variables, directories, names, terminals.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

/// A variable, if it is set to something that is not empty.
#[must_use]
pub fn var_os(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A variable as text, if it is set, not empty and UTF-8.
#[must_use]
pub fn var(name: &str) -> Option<String> {
    var_os(name)?.into_string().ok()
}

/// Whether a variable is set to anything, be it empty.
#[must_use]
pub fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

/// All variables whose name and value are UTF-8.
#[must_use]
pub fn all() -> std::collections::BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The current directory.
///
/// # Errors
///
/// When it was removed or may not be read.
pub fn current_dir() -> io::Result<PathBuf> {
    std::env::current_dir().map_err(|error| {
        let text = format!("current directory: {error}; change to a directory that exists");
        io::Error::new(error.kind(), text)
    })
}

/// The path of the running program.
///
/// # Errors
///
/// When the system cannot tell.
pub fn current_exe() -> io::Result<PathBuf> {
    std::env::current_exe()
        .map_err(|error| io::Error::new(error.kind(), format!("path of this program: {error}")))
}

/// The home directory, from `HOME`.
#[must_use]
pub fn home() -> Option<PathBuf> {
    var_os("HOME").map(PathBuf::from)
}

/// Login name: `USER`, else `LOGNAME`, else what `/etc/passwd` says, else the numeric user id.
#[must_use]
pub fn user_name() -> String {
    var("USER")
        .or_else(|| var("LOGNAME"))
        .or_else(name_of_user)
        .unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()))
}

/// The name of this user in `/etc/passwd`: services and containers often have no `USER`.
fn name_of_user() -> Option<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    line.split(':').next().map(str::to_owned)
}

/// Name of this machine without its domain; `localhost` where it has none.
#[must_use]
pub fn host_name() -> String {
    let uname = rustix::system::uname();
    let full = uname.nodename().to_string_lossy();
    let short = full.split('.').next().unwrap_or_default().trim();
    if short.is_empty() { "localhost".to_owned() } else { short.to_owned() }
}

/// Whether standard output is a terminal.
#[must_use]
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard error is a terminal.
#[must_use]
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// The variables whose names begin with `ORCH_`, as far as they are text.
#[must_use]
pub fn orch_pairs() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("ORCH_"))
        .collect()
}

/// Number of this process.
#[must_use]
pub fn own_pid() -> u32 {
    std::process::id()
}

/// Number of the process that started this one.
#[must_use]
pub fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

/// Whether something is at a path, as far as one can tell.
#[must_use]
pub fn exists(path: &std::path::Path) -> bool {
    path.exists()
}

/// A path with every link and `..` resolved.
///
/// # Errors
/// Something on the way does not exist or cannot be read.
pub fn real_path(path: &std::path::Path) -> std::io::Result<PathBuf> {
    path.canonicalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_empty() {
        assert!(!user_name().is_empty());
        assert!(!host_name().is_empty() && !host_name().contains('.'));
    }

    #[test]
    fn an_unset_variable_is_none() {
        assert_eq!(var("ORCH_TEST_NEVER_SET"), None);
        assert!(!is_set("ORCH_TEST_NEVER_SET"));
        assert!(var("PATH").is_some());
    }
}
