//! One machine: a folder with a state directory, and a session that works in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::env::TestEnv;
use super::run::Run;

/// A machine as one of its sessions sees it.
#[derive(Clone)]
pub struct Machine {
    /// The world that it lives in.
    pub env: TestEnv,
    dir: PathBuf,
    session: String,
    variables: Vec<(&'static str, String)>,
}

impl Machine {
    pub(super) fn new(env: &TestEnv, name: &str) -> Machine {
        let dir = env.path(name);
        std::fs::create_dir(&dir).expect("each machine has a name of its own");
        Machine { env: env.clone(), dir, session: format!("{name}-session"), variables: Vec::new() }
    }

    /// The same machine in another session.
    pub fn session(&self, session: &str) -> Machine {
        Machine { session: session.to_owned(), ..self.clone() }
    }

    /// The same machine and session with one more environment variable.
    pub fn with(&self, name: &'static str, value: &str) -> Machine {
        let mut other = self.clone();
        other.variables.push((name, value.to_owned()));
        other
    }

    /// A machine that calls a lease of one second stale after 1.3 seconds.
    pub fn impatient(&self) -> Machine {
        self.with("ORCH_LEASE_TTL", "1s").with("ORCH_LEASE_GRACE", "300ms").with("ORCH_LEASE_DRIFT", "1.0")
    }

    /// A copy of the whole machine under another name, as a backup or a file synchroniser would make it.
    pub fn copy(&self, name: &str) -> Machine {
        let dir = self.env.path(name);
        let mut command = self.env.command("/bin/cp");
        Run::of(command.arg("-a").arg(&self.dir).arg(&dir)).ok();
        Machine { dir, ..self.clone() }
    }

    /// The name of the session.
    pub fn session_name(&self) -> &str {
        &self.session
    }

    /// The folder in which commands run.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path in the state directory.
    pub fn state(&self, inner: impl AsRef<Path>) -> PathBuf {
        self.dir.join("state").join(inner)
    }

    /// A command line of orch, ready to be run.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.env.command(env!("CARGO_BIN_EXE_orch"));
        command.current_dir(&self.dir).env("ORCH_SESSION", &self.session).args(args);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs orch.
    pub fn orch<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        Run::of(&mut self.command(args))
    }

    /// Runs orch with `--json`, expects success, yields `data`.
    #[track_caller]
    pub fn json<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Value {
        self.try_json(args).ok().data()
    }

    /// Runs orch with `--json`.
    pub fn try_json<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Run {
        self.orch(args.into_iter().chain(["--json"]))
    }

    /// Adds a task.
    #[track_caller]
    pub fn add(&self, id: &str) {
        self.orch(["add", "--id", id, "--title", &format!("Task {id}")]).ok();
    }

    /// The task as JSON.
    #[track_caller]
    pub fn show(&self, id: &str) -> Value {
        self.json(["show", id])
    }

    /// The task's status.
    #[track_caller]
    pub fn status(&self, id: &str) -> String {
        self.show(id)["status"].as_str().expect("a status is text").to_owned()
    }

    /// Runs git in the state directory.
    pub fn git(&self, args: &[&str]) -> Run {
        self.env.git(&self.state(""), args)
    }

    /// The task's file, which must exist.
    #[track_caller]
    pub fn task_path(&self, id: &str) -> PathBuf {
        let found = self.find_task(id);
        found.unwrap_or_else(|| panic!("{} has no file of task {id}", self.dir.display()))
    }

    /// The task's file, if there is one.
    pub fn find_task(&self, id: &str) -> Option<PathBuf> {
        let shards = std::fs::read_dir(self.state("tasks")).ok()?;
        shards.flatten().map(|shard| shard.path().join(format!("{id}.yaml"))).find(|path| path.exists())
    }

    /// The text of the task's file.
    #[track_caller]
    pub fn read_task(&self, id: &str) -> String {
        std::fs::read_to_string(self.task_path(id)).expect("the file is readable")
    }

    /// Changes the text of the task's file, as a person with an editor would.
    #[track_caller]
    pub fn edit_task(&self, id: &str, change: impl FnOnce(String) -> String) {
        let before = self.read_task(id);
        let after = change(before.clone());
        assert_ne!(before, after, "the edit changes something");
        std::fs::write(self.task_path(id), after).expect("the file is writable");
    }

    /// Names and bytes of all task files, sorted.
    pub fn task_files(&self) -> Vec<(String, String)> {
        let mut files = Vec::new();
        for shard in std::fs::read_dir(self.state("tasks")).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(shard.path()).into_iter().flatten().flatten() {
                let name = file.file_name().to_string_lossy().into_owned();
                // What a killed process left behind is no task yet; orch clears it away in time.
                if name.starts_with('.') {
                    continue;
                }
                files.push((name, std::fs::read_to_string(file.path()).expect("a readable file")));
            }
        }
        files.sort();
        files
    }

    /// Every file is whole, sealed, and equal to the replay of its history; git finds no damage either.
    #[track_caller]
    pub fn verify(&self) {
        for (name, text) in self.task_files() {
            let decoded = orch::store::codec::decode(text.as_bytes());
            let decoded = decoded.unwrap_or_else(|why| panic!("{name}:{why}\n{text}"));
            assert_eq!(decoded.seal, orch::store::seal::Seal::Valid, "{name}");
            assert_eq!(format!("{}.yaml", decoded.task.id()), name);
            assert_eq!(orch::protocol::invariant::check(&decoded.task), vec![], "{name}\n{text}");
            let again = orch::store::codec::encode(&decoded.task);
            assert_eq!(String::from_utf8_lossy(&again), text, "{name} is canonical");
        }
        self.git(&["fsck", "--strict", "--no-dangling"]).ok();
    }
}
