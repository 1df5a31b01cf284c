//! The three machines, and the folder that everything lies in.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::usecase::error::{Error, Result};
use crate::world::disk::RealDisk;
use crate::world::program::{self, Order, Program};
use crate::world::{Disk, folder};

/// No command of the rehearsal takes longer.
const LIMIT: Duration = Duration::from_secs(60);
/// Largest file that is looked at.
const FILE_MAX: u64 = 4 << 20;

/// The machine that loses its power.
pub const OFFICE: usize = 0;
/// The machine that loses its cable.
pub const LAPTOP: usize = 1;
/// The machine that nothing happens to.
pub const CI: usize = 2;
const NAMES: [&str; 3] = ["office", "laptop", "ci"];

/// Where everything lies.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The folder of the rehearsal.
    pub dir: PathBuf,
    /// The `orch` program.
    pub orch: PathBuf,
    /// The machines.
    pub machines: [Machine; 3],
}

/// One machine: a state directory, and the cable through which it reaches the remote.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its name among people.
    pub name: &'static str,
    /// Its id in task files, once it has one.
    pub id: String,
    /// Its folder.
    pub dir: PathBuf,
}

/// What a command of orch answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The exit code.
    pub code: i32,
    /// `data` of the envelope on standard output; null where there was none.
    pub data: Value,
    /// `error` of the envelope on standard error; null where there was none.
    pub error: Value,
}

/// An I/O error as an error of ours.
pub fn failed(error: io::Error) -> Error {
    Error::failure(error.to_string())
}

impl Stage {
    /// Sets up the folders, the bare remote and a cable for each machine. `dir` must be empty or absent.
    ///
    /// # Errors
    /// The folder is not empty, cannot be written, or git is missing.
    pub fn build(orch: PathBuf, dir: Option<&Path>) -> Result<Stage> {
        let dir = match dir {
            Some(dir) => folder::make_empty(dir),
            None => folder::make_temporary("orch-demo-"),
        };
        let dir = dir.map_err(|error| {
            failed(error).hint("name an empty or new folder with --dir, or leave it out for a temporary one")
        })?;
        let machine = |name| Machine { name, id: String::new(), dir: dir.join(name) };
        let stage = Stage { machines: NAMES.map(machine), orch, dir };
        for inner in ["hub", "project/inbox", "tasks", "logs"] {
            folder::make(&stage.dir.join(inner)).map_err(failed)?;
        }
        stage.git(&["init", "--quiet", "--bare", "hub/queue.git"])?;
        for machine in &stage.machines {
            folder::make(&machine.dir).map_err(failed)?;
            machine.plug_in()?;
        }
        Ok(stage)
    }

    /// A machine by name.
    #[must_use]
    pub fn machine(&self, which: usize) -> &Machine {
        &self.machines[which]
    }

    /// The folder in which the tasks run.
    #[must_use]
    pub fn project(&self) -> PathBuf {
        self.dir.join("project")
    }

    /// The bare remote.
    #[must_use]
    pub fn remote(&self) -> PathBuf {
        self.dir.join("hub").join("queue.git")
    }

    /// The name of a machine by its id.
    #[must_use]
    pub fn name_of(&self, id: &str) -> String {
        self.machines.iter().find(|one| one.id == id).map_or(id, |one| one.name).to_owned()
    }

    /// Runs git in the folder of the rehearsal; gives what it printed.
    ///
    /// # Errors
    /// It failed.
    pub fn git(&self, args: &[&str]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let order = Order { program: "git".into(), args, cwd: self.dir.clone() };
        let done = program::run(&order, LIMIT).map_err(failed)?;
        if done.code != Some(0) {
            let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            return Err(Error::failure(format!("git {} failed: {said}", order.args.join(" "))));
        }
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    fn order(&self, machine: &Machine, session: &str, args: &[&str]) -> Order {
        let state = machine.state().display().to_string();
        let globals = ["--state", &state, "--session", session];
        let args = globals.iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        Order { program: self.orch.clone(), args, cwd: machine.dir.clone() }
    }

    /// Runs one command of orch on a machine.
    ///
    /// # Errors
    /// It cannot be started, or does not end.
    pub fn orch(&self, which: usize, session: &str, args: &[&str]) -> Result<Answer> {
        let args: Vec<&str> = std::iter::once("--json").chain(args.iter().copied()).collect();
        let order = self.order(self.machine(which), session, &args);
        let done = program::run(&order, LIMIT).map_err(failed)?;
        let code = done.code.filter(|_| !done.timed_out).ok_or_else(|| {
            Error::failure(format!("`orch {}` did not end within {}s", args.join(" "), LIMIT.as_secs()))
        })?;
        let part = |bytes: &[u8], key: &str| {
            let text = String::from_utf8_lossy(bytes);
            let line = text.lines().rfind(|line| line.starts_with('{')).unwrap_or_default();
            let mut whole = serde_json::from_str::<Value>(line).unwrap_or_default();
            whole.get_mut(key).map(Value::take).unwrap_or_default()
        };
        Ok(Answer { code, data: part(&done.stdout, "data"), error: part(&done.stderr, "error") })
    }

    /// The same for a command that must succeed; gives its data.
    ///
    /// # Errors
    /// It failed.
    pub fn must(&self, which: usize, session: &str, args: &[&str]) -> Result<Value> {
        let answer = self.orch(which, session, args)?;
        if answer.code == 0 {
            return Ok(answer.data);
        }
        let (name, said) = (self.machine(which).name, answer.said());
        Err(Error::failure(format!(
            "`orch {}` on {name} failed with {}: {said}",
            args.join(" "),
            answer.code
        )))
    }

    /// Starts a worker that goes on until nothing is left to do.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_worker(&self, which: usize, session: &str) -> Result<Program> {
        let project = self.project().display().to_string();
        let order =
            self.order(self.machine(which), session, &["work", "--until-idle", "--workspace", &project]);
        Program::start(&order, &self.log_of(session)).map_err(failed)
    }

    /// Where the output of a worker goes.
    #[must_use]
    pub fn log_of(&self, session: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{session}.log"))
    }
}

impl Answer {
    /// The message of the error, for people.
    #[must_use]
    pub fn said(&self) -> String {
        self.error["message"].as_str().unwrap_or("it did not say why").to_owned()
    }
}

impl Machine {
    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// What it calls the remote: everything goes through its own cable.
    #[must_use]
    pub fn url(&self) -> String {
        format!("file://{}", self.dir.join("cable").join("queue.git").display())
    }

    /// Connects it with the remote.
    ///
    /// # Errors
    /// The link cannot be made.
    pub fn plug_in(&self) -> Result<()> {
        folder::link(Path::new("../hub"), &self.dir.join("cable")).map_err(failed)
    }

    /// Cuts it off from the remote.
    ///
    /// # Errors
    /// The link cannot be removed.
    pub fn pull_the_cable(&self) -> Result<()> {
        folder::unlink(&self.dir.join("cable")).map_err(failed)
    }
}

/// The text of a file, if it can be read.
#[must_use]
pub fn read(path: &Path) -> Option<String> {
    RealDisk.read(path, FILE_MAX).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Names in a folder; none where there is none.
#[must_use]
pub fn names(dir: &Path) -> Vec<String> {
    RealDisk.list(dir).unwrap_or_default().into_iter().map(|(name, _)| name).collect()
}
