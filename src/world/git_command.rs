//! How orch calls the user's `git` executable: a scrubbed environment, fixed settings, no prompt, no
//! hook, and a limit on time and output (see [`run`]). What the verbs mean is in `remote.rs`.
//!
//! Nothing is used that needs a git newer than [`OLDEST`].

pub mod run;
pub mod transport;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use self::run::{Answer, Begun, Finished};
use super::env;
use super::remote::failure;
use super::{RemoteError, RemoteFailure};

/// The oldest git that everything here works with.
pub const OLDEST: Version = Version(2, 34, 0);

/// A version of git: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The `git` executable.
#[derive(Debug, Clone)]
pub struct Git {
    executable: PathBuf,
}

impl Default for Git {
    /// The one that `PATH` finds.
    fn default() -> Self {
        Git::new("git")
    }
}

/// What must not leak in from a hook or an alias that orch is run by: everything that
/// `git rev-parse --local-env-vars` names in any version, and what diverts a transfer.
const SCRUBBED: [&str; 25] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_ATTR_SOURCE",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_PROTOCOL",
    "GIT_QUARANTINE_PATH",
    "GIT_REF_PARANOIA",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
    // Translations: LC_MESSAGES below decides alone.
    "LANGUAGE",
    "LC_ALL",
    // Both would write into the output that is parsed.
    "GIT_CURL_VERBOSE",
    "GIT_TRACE",
];

/// Settings that hold whatever the user's configuration says. One that a git does not know is ignored.
const SETTINGS: [&str; 19] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.useReplaceRefs=false",
    "color.ui=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "credential.interactive=false",
    "protocol.version=2",
    "submodule.recurse=false",
    "push.followTags=false",
    "push.gpgSign=false",
    "push.negotiate=false",
    "push.recurseSubmodules=no",
    "push.useForceIfIncludes=false",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "fetch.prune=false",
    "fetch.pruneTags=false",
    // One process is enough for transfers that are mostly a few kilobytes.
    "pack.threads=1",
];

/// Used when the user has chosen no ssh command: never ask, and notice a dead peer.
const SSH: &str =
    "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=3";

impl Git {
    /// Another executable than the one that `PATH` finds.
    pub fn new(executable: impl Into<PathBuf>) -> Self {
        Git { executable: executable.into() }
    }

    /// A command on a repository, up to and without the verb. It runs inside the git directory, so
    /// a current directory that has gone does not matter (and a relative path would mean that one).
    #[must_use]
    pub fn command(&self, git_dir: &Path) -> Command {
        let mut command = self.scrubbed();
        command.current_dir(git_dir);
        command.arg("--git-dir").arg(git_dir);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command
    }

    /// The executable in a clean environment.
    fn scrubbed(&self) -> Command {
        let mut command = Command::new(&self.executable);
        for name in SCRUBBED {
            command.env_remove(name);
        }
        command
            .env("LC_MESSAGES", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GCM_INTERACTIVE", "never")
            .env("GIT_HTTP_LOW_SPEED_LIMIT", "1")
            .env("GIT_HTTP_LOW_SPEED_TIME", "30");
        command
    }

    /// Adds what a network transport needs: the code repository's own credentials and proxies, and an
    /// ssh that never asks unless the user has chosen one.
    ///
    /// # Errors
    ///
    /// When `git config` cannot be run at all. A repository without a readable configuration adds nothing.
    pub fn authenticate(
        &self,
        command: &mut Command,
        git_dir: &Path,
        code_repository: Option<&Path>,
        url: &str,
        limit: Duration,
    ) -> Result<(), RemoteError> {
        let mut query = self.scrubbed();
        match code_repository {
            Some(repository) => query.arg("-C").arg(repository),
            None => query.arg("--git-dir").arg(git_dir),
        };
        query.args(["config", "--includes", "--show-scope", "-z", "--get-regexp"]);
        query.arg(transport::WANTED);
        let answer = self.run(query, limit, 1 << 20)?;
        let known = transport::parse(&answer.stdout);
        let mut pairs = transport::for_call(&known, url);
        pairs.extend(inherited_pairs());
        transport::hand_over(command, &pairs);
        let chosen = env::is_set("GIT_SSH_COMMAND") || env::is_set("GIT_SSH");
        if !chosen && !known.iter().any(|setting| setting.key == "core.sshcommand") {
            command.env("GIT_SSH_COMMAND", SSH);
        }
        Ok(())
    }

    /// The program of git that serves a repository in a folder, `receive-pack` or `upload-pack`, with settings of ours. It
    /// runs inside a directory that is there; `folder` is absolute.
    #[must_use]
    pub fn service(&self, git_dir: &Path, program: &str, folder: &Path, settings: &[&str]) -> Command {
        let mut command = self.scrubbed();
        command.current_dir(git_dir);
        for setting in settings {
            command.args(["-c", setting]);
        }
        command.arg(program).arg(folder);
        command
    }

    /// Runs a command to its end (any end), within the limit.
    ///
    /// # Errors
    ///
    /// [`RemoteFailure::Tool`] when git cannot be started, [`RemoteFailure::Timeout`] when it was
    /// stopped, [`RemoteFailure::Other`] when it wrote more than `most_output` bytes.
    pub fn run(
        &self,
        command: Command,
        limit: Duration,
        most_output: usize,
    ) -> Result<Finished, RemoteError> {
        self.ended(run::run(command, limit, most_output), limit, most_output)
    }

    /// The same with a command that is told one thing.
    ///
    /// # Errors
    ///
    /// As [`Git::run`].
    pub fn talk(
        &self,
        command: Command,
        limit: Duration,
        most_output: usize,
        answer: &mut Answer<'_>,
    ) -> Result<Finished, RemoteError> {
        self.ended(run::talk(command, limit, most_output, answer), limit, most_output)
    }

    /// Goes on with a command that was started ahead by [`run::begin`].
    ///
    /// # Errors
    ///
    /// As [`Git::run`].
    pub fn talk_to(
        &self,
        begun: Begun,
        limit: Duration,
        most_output: usize,
        answer: &mut Answer<'_>,
    ) -> Result<Finished, RemoteError> {
        self.ended(Ok(begun.talk(limit, answer)), limit, most_output)
    }

    fn ended(
        &self,
        ran: std::io::Result<Finished>,
        limit: Duration,
        most_output: usize,
    ) -> Result<Finished, RemoteError> {
        let finished = ran.map_err(|error| RemoteError {
            kind: RemoteFailure::Tool,
            message: format!(
                "cannot run {}: {error}; is git {OLDEST} or newer installed?",
                self.executable.display()
            ),
        })?;
        if finished.timed_out {
            return Err(failure::timeout(limit, &finished.stderr));
        }
        if finished.truncated {
            let message = format!("git answered with more than {most_output} bytes");
            return Err(RemoteError { kind: RemoteFailure::Other, message });
        }
        Ok(finished)
    }

    /// Version of the executable, for `doctor` and `init`.
    ///
    /// # Errors
    ///
    /// [`RemoteFailure::Tool`] when it cannot be run, or is older than [`OLDEST`].
    pub fn version(&self, limit: Duration) -> Result<Version, RemoteError> {
        let mut command = self.scrubbed();
        command.arg("version");
        let answer = self.run(command, limit, 4096)?;
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let tool = |message| RemoteError { kind: RemoteFailure::Tool, message };
        let version = parse_version(&text)
            .ok_or_else(|| tool(format!("`git version` said {:?}", failure::clean(&text))))?;
        if version < OLDEST {
            let message = format!("git {version} is too old; orch needs {OLDEST} or newer");
            return Err(tool(message));
        }
        Ok(version)
    }

    /// The value of a setting of a repository on disk; `None` if it has none or cannot be asked.
    #[must_use]
    pub fn config_get(&self, repository: &Path, key: &str) -> Option<String> {
        self.line(repository, &["config", "--get", key])
    }

    /// Every value of a setting of a repository on disk; none if it has none or cannot be asked.
    #[must_use]
    pub fn config_all(&self, repository: &Path, key: &str) -> Vec<String> {
        let lines = self.line(repository, &["config", "--get-all", key]).unwrap_or_default();
        lines.lines().map(str::to_owned).collect()
    }

    /// Whether a repository leaves a path out of its sight, by whatever rule.
    #[must_use]
    pub fn ignores(&self, repository: &Path, path: &Path) -> bool {
        let mut command = self.scrubbed();
        command.arg("-C").arg(repository).args(["check-ignore", "--quiet", "--no-index", "--"]).arg(path);
        self.run(command, Duration::from_secs(10), 1 << 16).is_ok_and(|answer| answer.code == Some(0))
    }

    /// The git directory that all work trees of a repository share.
    #[must_use]
    pub fn common_dir(&self, repository: &Path) -> Option<PathBuf> {
        let dir = self.line(repository, &["rev-parse", "--git-common-dir"])?;
        Some(repository.join(dir))
    }

    /// What a quick local command prints on its only line.
    fn line(&self, repository: &Path, args: &[&str]) -> Option<String> {
        let mut command = self.scrubbed();
        command.arg("-C").arg(repository).args(args);
        let answer = self.run(command, Duration::from_secs(10), 1 << 16).ok()?;
        let text = String::from_utf8(answer.stdout).ok()?.trim().to_owned();
        (answer.code == Some(0) && !text.is_empty()).then_some(text)
    }

    /// Adds to one repository on disk what refs of another one need, by way of a file that is made and left to the
    /// caller. Nothing is taken away on either side, and no ref moves.
    ///
    /// # Errors
    ///
    /// As [`Git::run`], and when git fails.
    pub fn copy_objects(
        &self,
        from: &Path,
        refs: &str,
        to: &Path,
        file: &Path,
        limit: Duration,
    ) -> Result<(), RemoteError> {
        let mut pack = self.command(from);
        pack.args(["bundle", "create", "--quiet"]).arg(file).arg(format!("--glob={refs}"));
        let mut unpack = self.command(to);
        unpack.args(["bundle", "unbundle"]).arg(file);
        for command in [pack, unpack] {
            let answer = self.run(command, limit, 1 << 20)?;
            if answer.code != Some(0) {
                return Err(failure::classify(&answer));
            }
        }
        Ok(())
    }

    /// Packs the loose objects of a repository and drops what nothing reaches and is older than two
    /// weeks; what another process has just written and not yet referenced is younger.
    ///
    /// # Errors
    ///
    /// As [`Git::run`], and when git fails: nothing is lost then, the next call tries again.
    pub fn collect_garbage(&self, git_dir: &Path, limit: Duration) -> Result<(), RemoteError> {
        let mut command = self.command(git_dir);
        command.args(["gc", "--quiet", "--prune=2.weeks.ago"]);
        let answer = self.run(command, limit, 1 << 16)?;
        if answer.code == Some(0) { Ok(()) } else { Err(failure::classify(&answer)) }
    }
}

/// `git version 2.39.5 (Apple Git-154)` and its like.
fn parse_version(text: &str) -> Option<Version> {
    let mut numbers = text
        .strip_prefix("git version ")?
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|part| part.parse().ok());
    let major = numbers.next()?;
    let minor = numbers.next()?;
    Some(Version(major, minor, numbers.next().unwrap_or(0)))
}

/// Settings that the user handed to us through `GIT_CONFIG_COUNT`: some machines carry credentials there.
fn inherited_pairs() -> Vec<(OsString, OsString)> {
    let count: usize = env::var("GIT_CONFIG_COUNT").and_then(|text| text.parse().ok()).unwrap_or(0);
    (0..count.min(1000))
        .filter_map(|at| {
            let key = env::var(&format!("GIT_CONFIG_KEY_{at}"))?;
            let value = env::var_os(&format!("GIT_CONFIG_VALUE_{at}")).unwrap_or_default();
            transport::is_wanted(&key).then(|| (key.into(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_vendors_are_understood() {
        for (text, want) in [
            ("git version 2.47.3\n", Some(Version(2, 47, 3))),
            ("git version 2.39.5 (Apple Git-154)", Some(Version(2, 39, 5))),
            ("git version 2.34.GIT", Some(Version(2, 34, 0))),
            ("git version 2.50.0.rc1", Some(Version(2, 50, 0))),
            ("hub version 2.14", None),
            ("git version ?", None),
        ] {
            assert_eq!(parse_version(text), want, "{text}");
        }
    }

    #[test]
    fn the_installed_git_is_new_enough() {
        let version = Git::default().version(Duration::from_secs(10)).unwrap();
        assert!(version >= OLDEST);
    }

    #[test]
    fn a_missing_git_is_a_tool_failure() {
        let error = Git::new("/nonexistent/git").version(Duration::from_secs(10)).unwrap_err();
        assert_eq!(error.kind, RemoteFailure::Tool);
        assert!(error.message.contains("/nonexistent/git"), "{error}");
    }

    #[test]
    fn every_local_variable_of_the_installed_git_is_scrubbed() {
        let mut command = Git::default().scrubbed();
        command.args(["rev-parse", "--local-env-vars"]);
        let answer = run::run(command, Duration::from_secs(10), 1 << 16).unwrap();
        let text = String::from_utf8(answer.stdout).unwrap();
        assert!(text.lines().count() > 10, "{text}");
        for name in text.lines() {
            assert!(SCRUBBED.contains(&name), "{name} is not scrubbed");
        }
    }
}
