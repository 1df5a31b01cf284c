//! Looking at the queue from outside: task files as they lie on the machines, and bundles as they grow.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::cast::{Machine, Stage, names, read};
use crate::protocol::task::{Status, Task};
use crate::protocol::transition::status_word;
use crate::store::codec;

/// The newest state of every task that any of the machines has.
pub type View = BTreeMap<String, Task>;

/// One line of the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The task.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Where it stands.
    pub status: Status,
    /// Who holds it, or who finished it.
    pub holder: String,
    /// Claims so far.
    pub epoch: u64,
}

/// What the audience sees while it plays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    /// Every task, in the order in which they were added.
    pub rows: Vec<Row>,
    /// Seconds since the beginning.
    pub seconds: u64,
}

impl Board {
    /// How many tasks are done.
    #[must_use]
    pub fn done(&self) -> usize {
        self.rows.iter().filter(|row| row.status == Status::Done).count()
    }
}

impl Row {
    /// The status in the words of the command line.
    #[must_use]
    pub fn status_word(&self) -> &'static str {
        status_word(self.status)
    }
}

/// Names and bytes of the task files of a machine, sorted.
#[must_use]
pub fn task_files(machine: &Machine) -> Vec<(String, String)> {
    let tasks = machine.state().join("tasks");
    let mut files = Vec::new();
    for shard in names(&tasks) {
        let shard = tasks.join(shard);
        let read_one = |name: String| read(&shard.join(&name)).map(|text| (name, text));
        files.extend(names(&shard).into_iter().filter(|name| name.ends_with(".yaml")).filter_map(read_one));
    }
    files.sort();
    files
}

/// Adds what these machines know; where they differ, the newer epoch and the longer history count.
pub fn look(view: &mut View, stage: &Stage, machines: &[usize]) {
    for which in machines {
        for (_, text) in task_files(stage.machine(*which)) {
            let Ok(found) = codec::decode(text.as_bytes()) else { continue };
            let task = found.task;
            match view.get(task.id().as_str()) {
                Some(known) if age(known) >= age(&task) => {}
                _ => drop(view.insert(task.id().to_string(), task)),
            }
        }
    }
}

fn age(task: &Task) -> (u64, usize, u64) {
    (task.epoch(), task.history().len(), task.lease().map_or(0, |lease| lease.beat))
}

/// The board of a view; tasks stand in the order of `ids`.
#[must_use]
pub fn board(view: &View, ids: &[String], seconds: u64) -> Board {
    let row = |task: &Task| Row {
        id: task.id().to_string(),
        title: task.def().title.clone(),
        status: task.status(),
        holder: holder(task),
        epoch: task.epoch(),
    };
    Board { rows: ids.iter().filter_map(|id| view.get(id)).map(row).collect(), seconds }
}

fn holder(task: &Task) -> String {
    let finished = || task.history().last().filter(|_| task.status() == Status::Done).map(|op| op.by.clone());
    task.lease().map(|lease| lease.session.clone()).or_else(finished).unwrap_or_default()
}

/// A program that a worker runs at the moment, as its bundle tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The task.
    pub task: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Process number of the program.
    pub pid: u32,
}

/// Every bundle of a machine: task and directory, sorted.
#[must_use]
pub fn bundles(machine: &Machine) -> Vec<(String, PathBuf)> {
    let runs = machine.state().join("runs");
    let of_task = |task: String| {
        let dir = runs.join(&task);
        names(&dir).into_iter().map(move |name| (task.clone(), dir.join(name))).collect::<Vec<_>>()
    };
    names(&runs).into_iter().flat_map(of_task).collect()
}

/// The program with exactly these arguments that runs on a machine now.
#[must_use]
pub fn running_step(machine: &Machine, argv: &[&str]) -> Option<Step> {
    bundles(machine).into_iter().find_map(|(task, bundle)| {
        let events = read(&bundle.join("events.jsonl"))?;
        // The last line may be half written.
        let mut events = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let last = events.rfind(|event| event["event"] == "started" || event["event"] == "ended")?;
        let pid = last["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())?;
        (last["event"] == "started" && last["argv"] == argv.iter().copied().collect::<Value>())
            .then_some(Step { task, bundle, pid })
    })
}

/// How the attempt of a bundle ended, if its manifest has been written.
#[must_use]
pub fn reason_of(bundle: &std::path::Path) -> Option<String> {
    let manifest: Value = serde_json::from_str(&read(&bundle.join("manifest.json"))?).ok()?;
    manifest["result"]["reason"].as_str().map(str::to_owned)
}
