//! A world of its own for each test: folders, home, git configuration and the git that is used.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::machine::Machine;
use super::remote::{Kind, Remote};
use super::run::Run;

/// Everything a test creates lives below one folder that goes away with it.
#[derive(Clone)]
pub struct TestEnv {
    root: Arc<tempfile::TempDir>,
}

impl TestEnv {
    /// A world with the first git of the search path.
    pub fn new() -> Self {
        let gits = gits();
        Self::with_git(gits.first().expect("git is installed"))
    }

    /// A world in which `git` is this executable.
    pub fn with_git(git: &Path) -> Self {
        let root = tempfile::Builder::new().prefix("orch-test-").tempdir().expect("a temporary folder");
        let env = TestEnv { root: Arc::new(root) };
        for dir in ["bin", "home", "tmp", "remotes"] {
            std::fs::create_dir(env.path(dir)).expect("a new folder");
        }
        std::os::unix::fs::symlink(git, env.path("bin/git")).expect("a new link");
        env.git_config(
            "[user]\n\tname = Test\n\temail = test@example.invalid\n[init]\n\tdefaultBranch = main\n",
        );
        env
    }

    /// A path below the root.
    pub fn path(&self, inner: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(inner)
    }

    /// The root as text, for filters.
    pub fn root(&self) -> String {
        self.root.path().display().to_string()
    }

    /// Adds to the user's git configuration.
    pub fn git_config(&self, text: &str) {
        let path = self.path("home/.gitconfig");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, before + text).expect("the home is writable");
    }

    /// A command that inherits nothing but what every command of this world has.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear();
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        command.env("HOME", self.path("home"));
        command.env("TMPDIR", self.path("tmp"));
        command.env("USER", "tester");
        command.env("LC_ALL", "C.UTF-8");
        command.env("TZ", "UTC");
        command.env("NO_COLOR", "1");
        command.env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_CONFIG_GLOBAL", self.path("home/.gitconfig"));
        command.env("GIT_TERMINAL_PROMPT", "0");
        command
    }

    /// Runs git in a folder.
    pub fn git(&self, dir: &Path, args: &[&str]) -> Run {
        let mut command = self.command(self.path("bin/git"));
        command.current_dir(dir).args(args);
        Run::of(&mut command)
    }

    /// A machine without a state directory yet; its default session is `<name>-session`.
    pub fn machine(&self, name: &str) -> Machine {
        Machine::new(self, name)
    }

    /// A machine with an initialised local queue.
    pub fn local(&self, name: &str) -> Machine {
        let machine = self.machine(name);
        machine.orch(["init"]).ok();
        machine
    }

    /// A machine whose queue is shared through the remote.
    pub fn joined(&self, name: &str, remote: &Remote) -> Machine {
        let machine = self.machine(name);
        machine.orch(["init", "--remote", remote.url()]).ok();
        machine
    }

    /// An empty bare repository that is reached in this way. `None` if this computer cannot serve it; the
    /// reason is printed, and it is a failure where `CI` is set.
    pub fn try_remote(&self, kind: Kind) -> Option<Remote> {
        Remote::start(self, kind)
    }

    /// An empty bare repository by path.
    pub fn remote(&self) -> Remote {
        self.try_remote(Kind::Path).expect("a path needs no server")
    }
}

/// Every different git of this computer, the newest first.
pub fn gits() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/local/bin".into(), "/usr/bin".into()]);
    let mut found: Vec<(Vec<u32>, PathBuf)> = Vec::new();
    for git in dirs.map(|dir| dir.join("git")).filter(|git| git.is_file()) {
        let version = version(&git);
        if !version.is_empty() && found.iter().all(|(known, _)| *known != version) {
            found.push((version, git));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, git)| git).collect()
}

fn version(git: &Path) -> Vec<u32> {
    let Ok(output) = Command::new(git).arg("--version").output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let word = text.split_whitespace().nth(2).unwrap_or_default().to_owned();
    word.split('.').map_while(|part| part.parse().ok()).collect()
}
