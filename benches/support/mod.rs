//! Queues to measure with, and how figures are shown. Everything lies below one temporary folder, next to the
//! target directory unless `TMPDIR` says otherwise: a figure about durability needs a real disk.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use orch::machine::{self, InitRequest, Options};
use orch::protocol::id::TaskId;
use orch::protocol::task::{Definition, Priority};
use orch::usecase::add;
use orch::usecase::queue::Queue;

/// Tasks that are added in one go.
const BATCH: usize = 10_000;

/// A folder that goes away with its value.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("orch-bench-").tempdir().unwrap()
}

/// An empty bare repository.
pub fn bare(dir: &Path) -> PathBuf {
    let path = dir.join("remote.git");
    let done = Command::new("git").args(["init", "--quiet", "--bare"]).arg(&path).status().unwrap();
    assert!(done.success());
    path
}

/// Makes a state directory.
pub fn init(dir: &Path, remote: Option<&Path>) -> PathBuf {
    let state = dir.join("state");
    let remote = remote.map(|path| path.display().to_string());
    machine::init(&InitRequest { state: state.clone(), remote, ..InitRequest::default() }).unwrap();
    state
}

/// Opens a state directory as a session.
pub fn open(state: &Path, session: &str) -> Queue {
    let (state, session) = (state.to_owned(), Some(session.to_owned()));
    machine::open(&Options { state, session, no_sync: false, ..Default::default() }).unwrap()
}

/// The id of the task with this number.
pub fn id(number: usize) -> TaskId {
    TaskId::parse(&format!("T-{number:06}")).unwrap()
}

/// A task of ordinary size: one kilobyte as a file.
pub fn definition(number: usize) -> Definition {
    Definition {
        title: format!("Bring chapter {number} of the manual up to date"),
        description: "Read the chapter, compare it with what the program does now, and rewrite what has \
                      changed since.\nKeep the examples short; each must run as it stands.\n"
            .to_owned(),
        priority: [Priority::P0, Priority::P1, Priority::P2, Priority::P3][number % 4],
        success_criteria: vec!["every example runs".to_owned(), "no option is missing".to_owned()],
        tags: vec!["docs".to_owned(), format!("part-{}", number % 10)],
        ..Definition::default()
    }
}

/// Adds tasks with the numbers `0..count`.
pub fn fill(queue: &mut Queue, count: usize) {
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(BATCH) {
        add::add_all(queue, some.iter().map(|n| (Some(id(*n)), definition(*n))).collect()).unwrap();
    }
}

/// A local queue of so many tasks.
pub fn filled(dir: &Path, count: usize) -> PathBuf {
    let state = init(dir, None);
    fill(&mut open(&state, "setup"), count);
    state
}

/// The floor of a durable replacement: write, fsync, rename, fsync of the directory; nothing else.
pub fn raw_floor(dir: &Path, bytes: &[u8]) {
    let temp = dir.join(".raw");
    let mut file = File::create(&temp).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    std::fs::rename(&temp, dir.join("raw")).unwrap();
    File::open(dir).unwrap().sync_all().unwrap();
}

/// Measured times.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Runs the body and keeps how long it took.
    pub fn time<T>(&mut self, body: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let value = body();
        self.0.push(start.elapsed());
        value
    }

    /// Measures a body so many times.
    pub fn of(times: usize, mut body: impl FnMut(usize)) -> Times {
        let mut all = Times::default();
        for n in 0..times {
            all.time(|| body(n));
        }
        all
    }

    /// The time below which this share of all lies, in milliseconds.
    pub fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let place = ((sorted.len() as f64 - 1.0) * share).round() as usize;
        sorted.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    /// Prints name, p50 and p99.
    pub fn show(&self, name: &str) {
        println!(
            "{name:<58} p50 {:>8.2} ms   p99 {:>8.2} ms   n {}",
            self.at(0.5),
            self.at(0.99),
            self.0.len()
        );
    }
}
