//! Turns the work of an attempt into commands that may run. All are looked at before the first one runs.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::attempt::{Attempt, Work};
use crate::protocol::task::{ExecStep, Reason};
use crate::world::World;

/// Longest part of a name in the name of a log file.
const NAME_MAX: usize = 40;

/// A command that is going to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Number, from 0.
    pub index: usize,
    /// Name, as given.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Directory relative to the workspace, as given.
    pub cwd: String,
    /// Its own variables.
    pub env: BTreeMap<String, String>,
    /// What it reads.
    pub stdin: Vec<u8>,
    /// Its own limit.
    pub timeout: Option<Duration>,
    /// Whether the next one runs if this one fails.
    pub continue_on_error: bool,
}

/// `NN-name`, the beginning of the names of a command's log files. The name is free of secrets already.
#[must_use]
pub fn stem(index: usize, name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let name: String = name.chars().take(NAME_MAX).map(safe).collect();
    format!("{index:02}-{name}")
}

/// Why a command may not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Number of the command.
    pub index: usize,
    /// The terminal reason.
    pub reason: Reason,
    /// A sentence for people.
    pub why: String,
}

/// The commands of an attempt.
#[must_use]
pub fn plan(work: &Work) -> Vec<Planned> {
    match work {
        Work::Exec(steps) => steps.iter().enumerate().map(|(index, step)| planned(index, step)).collect(),
        Work::Command { name, argv, prompt } => vec![Planned {
            index: 0,
            name: name.clone(),
            argv: argv.clone(),
            cwd: ".".to_owned(),
            env: BTreeMap::new(),
            stdin: prompt.clone(),
            timeout: None,
            continue_on_error: false,
        }],
    }
}

fn planned(index: usize, step: &ExecStep) -> Planned {
    let program = step.argv.first().map_or("", String::as_str);
    let base = program.rsplit('/').next().unwrap_or_default();
    Planned {
        index,
        name: step.name.clone().unwrap_or_else(|| base.to_owned()),
        argv: step.argv.clone(),
        cwd: step.cwd.clone().unwrap_or_else(|| ".".to_owned()),
        env: step.env.clone(),
        stdin: Vec::new(),
        timeout: step.timeout,
        continue_on_error: step.continue_on_error,
    }
}

/// When a command is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the first command: its directory may be missing, since a command before it may make it.
    BeforeAll,
    /// Right before it runs.
    Now,
}

/// Checks one command; returns the directory in which it runs.
///
/// # Errors
/// [`Refused`]: no program, a directory outside the workspace or without existence, or the policy.
pub fn check(world: &World, attempt: &Attempt<'_>, step: &Planned, when: When) -> Result<PathBuf, Refused> {
    let refuse = |reason, why| Refused { index: step.index, reason, why };
    if step.argv.first().is_none_or(String::is_empty) {
        return Err(refuse(Reason::PolicyBlocked, format!("command `{}` names no program", step.name)));
    }
    // Without the workspace no command of anybody can run on this machine: the attempt is given back.
    let root = world.process.real_dir(&attempt.workspace);
    let root = root.map_err(|error| refuse(Reason::SpawnFailed, format!("workspace: {error}")))?;
    let cwd = inside(world, &root, &step.cwd, when).map_err(|(reason, why)| refuse(reason, why))?;
    (attempt.policy)(&step.argv, &cwd).map_err(|why| refuse(Reason::PolicyBlocked, why))?;
    Ok(cwd)
}

/// The directory that `cwd` means, links resolved, if it lies below `root`. Before everything runs, the part
/// that does not exist yet is taken as it is written.
fn inside(world: &World, root: &Path, cwd: &str, when: When) -> Result<PathBuf, (Reason, String)> {
    let mut existing = root.join(cwd);
    let mut missing = Vec::new();
    let base = loop {
        match world.process.real_dir(&existing) {
            Ok(base) => break base,
            Err(error) if when == When::Now || error.kind() != ErrorKind::NotFound => {
                return Err((Reason::Error, format!("cwd `{cwd}`: {error}")));
            }
            Err(_) => {}
        }
        // A path that ends in `..` has no name; below something that is not there it means nothing.
        let Some(name) = existing.file_name().map(ToOwned::to_owned) else {
            return Err((Reason::PolicyBlocked, format!("cwd `{cwd}` does not exist")));
        };
        missing.push(name);
        existing.pop();
    };
    let dir = missing.iter().rev().fold(base, |dir, name| dir.join(name));
    if dir.starts_with(root) {
        return Ok(dir);
    }
    let outside =
        format!("cwd `{cwd}` leads to {}, which is outside the workspace {}", dir.display(), root.display());
    Err((Reason::PolicyBlocked, outside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_log_files_are_safe_and_sorted() {
        assert_eq!(stem(0, "env"), "00-env");
        assert_eq!(stem(1, "../a b/ü"), "01-.._a_b__");
        assert_eq!(stem(2, &"x".repeat(99)).len(), 43);
    }
}
