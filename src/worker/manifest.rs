//! The manifest of a bundle: what ran, how it ended, and digests of what it left. Every text in it has
//! gone through the redactor.

use serde::Serialize;

use crate::protocol::task::Reason;

/// Version of the layout below.
pub const SCHEMA_VERSION: u32 = 1;

/// `manifest.json`. Times are wall-clock milliseconds since 1970, beside the same moment as RFC 3339 text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Task id.
    pub task: String,
    /// Its title.
    pub title: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Fencing token.
    pub epoch: u64,
    /// Holder.
    pub session: String,
    /// Its machine.
    pub machine: String,
    /// Who wrote this.
    pub runner: Runner,
    /// Beginning and end of the attempt.
    #[serde(flatten)]
    pub span: Span,
    /// The workspace.
    pub source: Source,
    /// The rules.
    pub policy: PolicyRecord,
    /// The confinement.
    pub sandbox: SandboxRecord,
    /// The environment, by name; values are never stored.
    pub env: EnvRecord,
    /// What ran, in order.
    pub commands: Vec<CommandRecord>,
    /// Names of commands that did not run.
    pub not_run: Vec<String>,
    /// Files that were left.
    pub artifacts: Vec<Artifact>,
    /// Digest of the prompt file, if there is one.
    pub prompt_sha256: Option<String>,
    /// What is missing in this bundle, and why.
    pub evidence_errors: Vec<String>,
    /// How it ended.
    pub result: ResultRecord,
}

/// The program that ran the attempt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Runner {
    /// `orch`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Operating system.
    pub os: &'static str,
    /// Processor architecture.
    pub arch: &'static str,
}

impl Default for Runner {
    fn default() -> Self {
        Runner {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
        }
    }
}

/// From when to when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Span {
    /// Beginning.
    pub started_at: String,
    /// Beginning, milliseconds.
    pub started_ms: i64,
    /// End.
    pub finished_at: String,
    /// End, milliseconds.
    pub finished_ms: i64,
    /// Length by the monotonic clock, milliseconds.
    pub duration_ms: u64,
}

/// The workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its path.
    pub workspace: String,
    /// Commit before.
    pub head_before: Option<String>,
    /// Commit after.
    pub head_after: Option<String>,
}

/// The rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyRecord {
    /// Their digest.
    pub digest: Option<String>,
    /// `allow` or `forbid`.
    pub decision: &'static str,
    /// Why not.
    pub why: Option<String>,
}

/// The confinement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SandboxRecord {
    /// What was wanted.
    pub requested: &'static str,
    /// What there was.
    pub effective: &'static str,
    /// Whether it was required.
    pub required: bool,
}

/// The environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvRecord {
    /// Names that children got.
    pub passed: Vec<String>,
    /// Those whose values are redacted.
    pub redacted: Vec<String>,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandRecord {
    /// Number, from 0.
    pub index: usize,
    /// Name.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The program file that was found.
    pub program: Option<String>,
    /// Working directory relative to the workspace.
    pub cwd: String,
    /// Beginning and end.
    #[serde(flatten)]
    pub span: Span,
    /// Its own limit, milliseconds.
    pub timeout_ms: Option<u64>,
    /// Exit code; null if a signal ended it or it never ran.
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Why it ended.
    pub reason: &'static str,
    /// More about that, if there is more.
    pub detail: Option<String>,
    /// Whether its failure did not count.
    pub continue_on_error: bool,
    /// Processes that outlived it and were ended.
    pub stragglers: u32,
    /// Processes that could not be ended.
    pub survivors: u32,
    /// Its standard output.
    pub stdout: Option<OutputRecord>,
    /// Its standard error.
    pub stderr: Option<OutputRecord>,
    /// What it used.
    pub usage: UsageRecord,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputRecord {
    /// Name of the log file in the bundle.
    pub path: String,
    /// Its size, bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// Bytes that the command wrote.
    pub produced_bytes: u64,
    /// Whether the middle is missing.
    pub truncated: bool,
    /// How many secrets were taken out.
    pub redactions: u64,
}

/// Resource use of a command and its descendants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct UsageRecord {
    /// Processor time in user mode, milliseconds.
    pub user_ms: u64,
    /// Processor time in the kernel, milliseconds.
    pub sys_ms: u64,
    /// Largest resident size of one process, KiB.
    pub max_rss_kb: u64,
}

/// A file that was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Artifact {
    /// Path relative to the workspace.
    pub path: String,
    /// Size, bytes; null if it could not be read.
    pub bytes: Option<u64>,
    /// SHA-256; null if it could not be read.
    pub sha256: Option<String>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResultRecord {
    /// The terminal reason.
    pub reason: &'static str,
    /// One line for people.
    pub notes: String,
    /// Name of the command at which it stopped early.
    pub stopped_at: Option<String>,
}

/// A reason as in task files.
#[must_use]
pub fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Success => "success",
        Reason::Error => "error",
        Reason::Timeout => "timeout",
        Reason::Stalled => "stalled",
        Reason::BudgetExceeded => "budget_exceeded",
        Reason::PolicyBlocked => "policy_blocked",
        Reason::SpawnFailed => "spawn_failed",
        Reason::LeaseLost => "lease_lost",
        Reason::Cancelled => "cancelled",
        Reason::DepFailed => "dep_failed",
        Reason::ReviewBlocked => "review_blocked",
        Reason::RateLimited => "rate_limited",
        Reason::Shutdown => "shutdown",
    }
}
