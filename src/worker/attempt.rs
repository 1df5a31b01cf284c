//! What goes into an attempt, what it says while it runs, and what comes out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::capture::DEFAULT_CAP;
use super::manifest::CommandRecord;
use super::sandbox::Sandbox;
use crate::protocol::id::TaskId;
use crate::protocol::task::{ExecStep, Reason};
use crate::world::process::Stream;

/// Says why a command may not run in a directory (absolute, links resolved).
pub type Policy<'a> = &'a dyn Fn(&[String], &Path) -> Result<(), String>;

/// One run of a task.
pub struct Attempt<'a> {
    /// The task.
    pub task: TaskId,
    /// Its title, for people who read the manifest.
    pub title: String,
    /// Fencing token of the claim.
    pub epoch: u64,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Who holds the claim.
    pub session: String,
    /// On which machine.
    pub machine: String,
    /// What to run.
    pub work: Work,
    /// Directory in which it runs, absolute.
    pub workspace: PathBuf,
    /// Directory for the evidence, absolute. If it exists already, `.e<epoch>` is appended to its name.
    pub bundle_dir: PathBuf,
    /// Limits.
    pub limits: RunLimits,
    /// The worker's own environment.
    pub environment: BTreeMap<String, String>,
    /// Names of it that children get besides the usual ones; a final `*` stands for anything.
    pub pass_env: Vec<String>,
    /// More variables for the children, beside `ORCH_TASK`, `ORCH_EPOCH`, `ORCH_SESSION`,
    /// `ORCH_ATTEMPT` and `ORCH_BUNDLE`, which are always set.
    pub extra_env: Vec<(String, String)>,
    /// Patterns of the names whose values are secret, as in the setting `secrets.names`.
    pub secret_names: Vec<String>,
    /// Asked about every command before the first one runs.
    pub policy: Policy<'a>,
    /// Digest of the rules behind `policy`.
    pub policy_digest: Option<String>,
    /// The confinement that is wanted.
    pub sandbox: Sandbox,
    /// Whether to refuse to run without it.
    pub require_sandbox: bool,
    /// Files, relative to the workspace, whose digests go into the manifest if they exist in the end.
    pub artifacts: Vec<String>,
    /// Writes wall-clock milliseconds since 1970 as RFC 3339 text.
    pub rfc3339: &'a dyn Fn(i64) -> String,
}

/// What an attempt runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Commands, one after another.
    Exec(Vec<ExecStep>),
    /// One program that gets a prompt, such as an agent.
    Command {
        /// Name for the logs.
        name: String,
        /// Program and arguments.
        argv: Vec<String>,
        /// What it reads from its standard input; also kept as `prompt.md`.
        prompt: Vec<u8>,
    },
}

/// Limits of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLimits {
    /// Longest run.
    pub runtime: Option<Duration>,
    /// Longest silence of a command.
    pub stall: Option<Duration>,
    /// Time between `SIGTERM` and `SIGKILL`.
    pub grace: Duration,
    /// The same after the lease was lost: somebody else may start soon.
    pub grace_lease_lost: Duration,
    /// About how many bytes of each output are kept.
    pub log_cap: u64,
}

impl Default for RunLimits {
    fn default() -> Self {
        RunLimits {
            runtime: None,
            stall: None,
            grace: Duration::from_secs(5),
            grace_lease_lost: Duration::from_millis(500),
            log_cap: DEFAULT_CAP,
        }
    }
}

/// How far an attempt is. Times are those of [`crate::world::Clock::monotonic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Now.
    pub now: Duration,
    /// Number of the command, from 0, and how many there are.
    pub step: usize,
    /// How many there are.
    pub steps: usize,
    /// Process number of the running command.
    pub pid: Option<u32>,
    /// When it last wrote something.
    pub last_output: Duration,
    /// Whether it is being stopped already.
    pub stopping: bool,
}

/// Whether an attempt goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a stop that is not obeyed lets two holders act"]
pub enum Decision {
    /// It goes on.
    Continue,
    /// It stops, for this reason.
    Stop(StopReason),
}

/// Why an attempt is stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The lease is no longer ours, or its deadline has come.
    LeaseLost,
    /// An operator cancelled the task.
    Cancelled,
    /// The worker has to end.
    Shutdown,
    /// Tokens or money are used up.
    BudgetExceeded,
    /// The provider asked to wait.
    RateLimited,
}

impl StopReason {
    /// The terminal reason that it gives.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            StopReason::LeaseLost => Reason::LeaseLost,
            StopReason::Cancelled => Reason::Cancelled,
            StopReason::Shutdown => Reason::Shutdown,
            StopReason::BudgetExceeded => Reason::BudgetExceeded,
            StopReason::RateLimited => Reason::RateLimited,
        }
    }
}

/// Whoever holds the lease, seen from a running attempt.
pub trait Control {
    /// Called at least five times a second while a command runs, also while it is being stopped, and
    /// before each command: here the caller heartbeats and notices cancellation. Children wait
    /// harmlessly while it works, but no clock is looked at meanwhile: see [`Control::fence_at`].
    fn tick(&mut self, progress: &Progress) -> Decision;

    /// The time of [`crate::world::Clock::boottime`] at which the children must be dead unless it is moved
    /// on. The supervisor keeps it, so it holds even if this process is stopped or stuck in `tick`.
    /// Asked after every `tick`.
    fn fence_at(&self) -> Option<Duration> {
        None
    }

    /// Output of a command, without secrets, cut anywhere.
    fn output(&mut self, _step: usize, _stream: Stream, _bytes: &[u8]) {}
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptReport {
    /// Why it ended.
    pub reason: Reason,
    /// One line for the task's notes, without secrets.
    pub notes: String,
    /// The evidence; `None` if not even its directory could be made.
    pub bundle: Option<PathBuf>,
    /// SHA-256 of the manifest; `None` if it could not be written.
    pub manifest_sha256: Option<String>,
    /// The commands that ran, or were about to.
    pub commands: Vec<CommandRecord>,
    /// What is missing in the evidence, and why; empty when nothing is.
    pub evidence_errors: Vec<String>,
}
