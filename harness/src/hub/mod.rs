//! Real bare repositories for tests, reached by path, through `git daemon`, or through `git http-backend`; on
//! loopback, on a port that the system chose.

mod serve;

use std::path::{Path, PathBuf};
use std::process::Command;

use orch::sync::git::{GitObjects, Outside, TRANSFER};
use orch::world::git_command::Git;
use orch::world::program::install;
use orch::world::remote::GitRemote;

use serve::Server;

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By path.
    Path,
    /// `git://`.
    Daemon,
    /// `http://`, smart.
    Http,
}

/// All ways.
pub(crate) const WAYS: [Way; 3] = [Way::Path, Way::Daemon, Way::Http];

/// A bare repository and room for machines, in one temporary directory.
pub(crate) struct Hub {
    dir: tempfile::TempDir,
    url: String,
    server: Option<Server>,
}

impl Hub {
    /// An empty one.
    pub(crate) fn new(way: Way) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("hub.git");
        git(&path, &["init", "-q", "--bare", "."]);
        git(&path, &["config", "http.receivepack", "true"]);
        let server = Server::start(way, dir.path());
        let url = match &server {
            None => path.display().to_string(),
            Some(server) => server.url("hub.git"),
        };
        Hub { dir, url, server }
    }

    /// The bare repository.
    pub(crate) fn git_dir(&self) -> PathBuf {
        self.dir.path().join("hub.git")
    }

    /// What a machine calls it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Runs git on it.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.git_dir(), args)
    }

    /// Names of all its refs.
    pub(crate) fn refs(&self) -> Vec<String> {
        self.git(&["for-each-ref", "--format=%(refname)"]).lines().map(str::to_owned).collect()
    }

    /// Installs a hook.
    pub(crate) fn hook(&self, name: &str, script: &str) {
        let path = self.git_dir().join("hooks").join(name);
        install(&path, &format!("#!/bin/sh\n{script}\n")).expect("it can be installed");
    }

    /// Nobody answers any more.
    pub(crate) fn vanish(&mut self) {
        match self.server.take() {
            Some(server) => drop(server),
            None => std::fs::remove_dir_all(self.git_dir()).expect("it can be removed"),
        }
    }

    /// A machine: its repository and its way here, with one of this computer's gits.
    pub(crate) fn machine(&self, name: &str, executable: &Git) -> (GitRemote, GitObjects) {
        let git_dir = self.dir.path().join(name);
        let objects = GitObjects::init(&git_dir, "refs/heads/none", Outside::real(&git_dir));
        let remote =
            GitRemote::new(&git_dir, &self.url, None).with_git(executable.clone()).with_repository(TRANSFER);
        (remote, objects.expect("a repository can be made"))
    }
}

/// Every git of this computer that is new enough.
pub(crate) fn gits() -> Vec<Git> {
    let mut gits = vec![Git::default()];
    gits.extend(["/usr/bin/git"].iter().filter(|path| Path::new(path).exists()).map(Git::new));
    gits.retain(|git| git.version(std::time::Duration::from_secs(10)).is_ok());
    assert!(!gits.is_empty(), "the tests need git");
    gits
}

/// Runs git in a directory, without the user's settings.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    std::fs::create_dir_all(dir).expect("it can be made");
    let mut command = Command::new("git");
    command.current_dir(dir).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.args(args).output().expect("git can be run");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
