//! The fleet: machines, what reaches the remote, the record of what was told, and what went wrong. Shared by all
//! threads of a run.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::Windows;
use super::gate::Gate;
use super::ledger::{Ledger, Told};
use super::link::Links;
use super::numbers::Tally;
use super::place::Place;
use super::processes::{Ended, Processes};
use super::profile::Profile;
use super::server::lock;

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Violation {
    /// Seconds of load since the run began.
    pub at: u64,
    /// The kind: `duplicate_claim`, `lost_operation`, `old_epoch`, `invalid_file`, ….
    pub kind: String,
    /// What was seen.
    pub what: String,
}

/// A task whose holder has gone away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vanished {
    /// The task.
    pub task: String,
    /// The object of its lease ref when the holder went.
    pub object: String,
    /// When the last renewal was sent.
    pub sent: Instant,
    /// When it was acknowledged.
    pub since: Instant,
}

/// A machine that was cut off and is not any more.
#[derive(Debug, Clone)]
pub struct Healed {
    /// The machine.
    pub machine: usize,
    /// When its link was healed.
    pub since: Instant,
    /// The tip of the remote then.
    pub tip: String,
}

/// Everything that the threads of a run share.
pub struct Fleet {
    /// What is to be done.
    pub profile: Profile,
    /// The seed.
    pub seed: u64,
    /// Where.
    pub place: Place,
    /// Links to the remote.
    pub links: Links,
    /// Running processes.
    pub processes: Processes,
    /// What was told.
    pub ledger: Ledger,
    /// Counters and latencies.
    pub tally: Tally,
    /// Parks agents.
    pub gate: Gate,
    /// When which fault was in force.
    pub windows: Windows,
    /// Tasks added and not finished.
    pub open: AtomicI64,
    /// Tasks whose holder has gone away.
    pub vanished: Mutex<Vec<Vanished>>,
    /// Machines that were cut off.
    pub healed: Mutex<Vec<Healed>>,
    /// Pushes that each machine had counted when it was asked last.
    pub pushes: Mutex<BTreeMap<usize, u64>>,
    /// Files that others have committed on the branch, with what they hold; nothing where a roll-back came since.
    pub foreign: Mutex<BTreeMap<String, Option<String>>>,
    /// Milliseconds of load that are wanted.
    pub wanted: u64,
    /// Milliseconds of load that earlier parts of the run took.
    pub before: u64,
    /// When this part began.
    pub start: Instant,
    /// Since when the fleet is at rest, if it is, and how long it was before.
    pub rested: Mutex<(Option<Instant>, Duration)>,
    /// When something was finished last, in milliseconds of load.
    pub progress: AtomicU64,
    /// Where libfaketime lies, if the clock of a machine is to jump.
    pub faketime: Option<PathBuf>,
    /// What does not hold.
    pub violations: Mutex<Vec<Violation>>,
}

/// The machine whose clock jumps.
pub const CLOCK_MACHINE: usize = 1;

impl Fleet {
    /// Milliseconds of load since the run began. Time at rest does not count.
    #[must_use]
    pub fn now(&self) -> u64 {
        let (since, rested) = *lock(&self.rested);
        let rested = rested + since.map_or(Duration::ZERO, |since| since.elapsed());
        let load = self.start.elapsed().saturating_sub(rested);
        self.before + u64::try_from(load.as_millis()).unwrap_or(u64::MAX)
    }

    /// The fleet comes to rest, or goes on.
    pub fn rest(&self, begins: bool) {
        let mut rested = lock(&self.rested);
        match (begins, rested.0) {
            (true, None) => rested.0 = Some(Instant::now()),
            (false, Some(since)) => *rested = (None, rested.1 + since.elapsed()),
            _ => {}
        }
    }

    /// Notes that something does not hold. What each check finds again is one violation.
    pub fn violation(&self, kind: &str, what: impl Into<String>) {
        let violation = Violation { at: self.now() / 1000, kind: kind.to_owned(), what: what.into() };
        let known = |other: &Violation| (&other.kind, &other.what) == (&violation.kind, &violation.what);
        if lock(&self.violations).iter().any(known) {
            return;
        }
        self.tally.count(&format!("violations.{kind}"));
        self.append("violations.jsonl", &violation);
        lock(&self.violations).push(violation);
    }

    /// Appends a line to a file of the run.
    pub fn append(&self, name: &str, line: &impl Serialize) {
        let text = serde_json::to_string(line).unwrap_or_default() + "\n";
        let path = self.place.dir.join(name);
        let file = std::fs::File::options().create(true).append(true).open(&path);
        if let Err(why) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
            eprintln!("warning: {}: {why}", path.display());
        }
    }

    /// A command line of orch on a machine, with what its clock asks for.
    #[must_use]
    pub fn command(&self, machine: usize, args: &[&str]) -> std::process::Command {
        let state = self.place.machine(machine).join("state").display().to_string();
        // The state directory is named, so that whatever survives can be told by its command line.
        let args: Vec<&str> = ["--state", &state].into_iter().chain(args.iter().copied()).collect();
        let mut command = self.place.orch(machine, &self.profile.lease, &args);
        if let Some(library) = self.faketime.as_ref().filter(|_| machine == CLOCK_MACHINE) {
            command.env("LD_PRELOAD", library);
            command.env("FAKETIME_TIMESTAMP_FILE", self.place.world("clock")).env("FAKETIME_NO_CACHE", "1");
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
            command.env("NO_FAKE_STAT", "1");
        }
        command
    }

    /// Runs orch with `--json` on a machine and counts how it ended. What must never happen is noted.
    pub fn orch(&self, machine: usize, session: &str, args: &[&str]) -> Ended {
        // Options of orch come before `--`, behind which the task's own command begins.
        let all: Vec<&str> =
            ["--json", "--session", session].into_iter().chain(args.iter().copied()).collect();
        let mut command = self.command(machine, &all);
        let stderr = self.place.world(format!("logs/{session}.err"));
        let ended = self.processes.run(machine, &mut command, &stderr, COMMAND_LIMIT);
        let ended = ended.unwrap_or_else(|why| {
            self.violation("harness", format!("{} cannot be run: {why}", args.join(" ")));
            let (code, data, error) = (None, Value::Null, String::new());
            let (started, took, struck) = (Instant::now(), Duration::ZERO, true);
            Ended { code, data, error, stderr: why, started, took, struck }
        });
        self.look(machine, args, &ended);
        ended
    }

    fn look(&self, machine: usize, args: &[&str], ended: &Ended) {
        let verb = args.first().copied().unwrap_or_default();
        self.tally.count("commands");
        match ended.code {
            Some(code) => self.tally.count(&format!("exit.{code}")),
            None => self.tally.count("exit.signal"),
        }
        self.tally.add("retries", ended.data["retries"].as_u64().unwrap_or(0));
        let excused = ended.struck || self.windows.excuse(machine, ended.started);
        let shown = || {
            let line = args.join(" ");
            let said: String = ended.stderr.chars().take(600).collect();
            format!("`orch {line}` on m{machine} took {:?}, ended with {:?}: {said}", ended.took, ended.code)
        };
        if ended.stderr.contains("panicked at") || ended.code == Some(101) {
            self.violation("panic", shown());
        } else if ended.error == "harness_timeout" {
            if !excused {
                self.violation("hang", shown());
            }
        } else if ended.code == Some(2) || (!excused && matches!(ended.code, Some(1 | 78)) && verb != "work")
        {
            self.violation("unexpected_failure", shown());
        } else if ended.code == Some(0) && ended.data.is_null() {
            self.violation("unreadable_answer", shown());
        } else if ended.code.is_none() && !ended.struck {
            self.violation("unexpected_signal", shown());
        } else if !excused && matches!(ended.code, Some(5 | 7 | 75)) {
            self.tally.count(&format!("unexcused.{verb}"));
        }
    }

    /// Writes down what an agent was told.
    pub fn told(&self, told: Told) {
        let claim = told.verb == "claim";
        if let Some(why) = self.ledger.tell(told) {
            self.violation(if claim { "duplicate_claim" } else { "ledger" }, why);
        }
    }

    /// Something was finished.
    pub fn finished(&self) {
        self.tally.count("finished");
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.progress.store(self.now(), Ordering::Relaxed);
    }

    /// What the refs of the remote with this prefix hold, by name without the prefix. `None` while it is away.
    #[must_use]
    pub fn remote_refs(&self, prefix: &str) -> Option<Vec<(String, String)>> {
        let format = "--format=%(objectname) %(refname)";
        let text = self.place.git(&self.place.bare(), &["for-each-ref", format, prefix]).ok()?;
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let short = |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_owned();
        Some(lines.map(|(object, name)| (short(name), object.to_owned())).collect())
    }

    /// The object of the lease ref of a task, on the remote.
    #[must_use]
    pub fn lease_object(&self, task: &str) -> Option<String> {
        let refs = self.remote_refs(&format!("{LEASES}{task}"))?;
        refs.into_iter().find(|(rest, _)| rest.is_empty()).map(|(_, object)| object)
    }

    /// The tip of the state branch on the remote.
    #[must_use]
    pub fn remote_tip(&self) -> Option<String> {
        self.remote_refs("refs/heads/orch-state")?.pop().map(|(_, object)| object)
    }
}

/// Where lease refs lie.
pub const LEASES: &str = "refs/orch/leases/";

/// No command of orch takes longer: twice the limit of its network steps, and as much again for a busy computer.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
