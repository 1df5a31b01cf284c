//! What a run is at, written every few seconds, so that one that was killed goes on with `--resume` and a report can
//! be had at any moment.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use super::numbers::Numbers;
use crate::record::Verdict;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it ended.
    pub why: String,
}

/// What a run is at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Name of the profile.
    pub profile: String,
    /// What the profile is for.
    pub about: String,
    /// The seed.
    pub seed: u64,
    /// Commit of the harness's sources when the run began, or `unknown`.
    pub commit: String,
    /// What `orch version` said.
    pub orch: String,
    /// Which part of the run this is, from 0; each resume begins another.
    pub part: u64,
    /// When the run began, in seconds since 1970.
    pub began: u64,
    /// Milliseconds of load so far.
    pub elapsed: u64,
    /// Milliseconds of load that are wanted.
    pub wanted: u64,
    /// Number of machines and of agents on each.
    pub fleet: (usize, usize),
    /// Milliseconds after which a lease is stale, and between two rounds of a watchdog.
    pub lease: (u64, u64),
    /// Ports of the proxies, by machine.
    pub ports: Vec<u16>,
    /// Tasks added and not finished.
    pub open: i64,
    /// Counters and latencies.
    pub numbers: Numbers,
    /// Writing and syncing a small file, before the run.
    pub fsync: Histogram,
    /// Pushing one ref by path, before the run.
    pub push: Histogram,
    /// What the run did without, and why.
    pub notes: Vec<String>,
    /// Why the run counts for nothing, if it does.
    pub invalid: Vec<String>,
    /// How it ended, if it has.
    pub end: Option<End>,
}

/// Its file in the folder of a run.
pub const FILE: &str = "checkpoint.json";

impl Checkpoint {
    /// Reads the one of a run.
    ///
    /// # Errors
    /// The file and what is wrong with it.
    pub fn read(dir: &Path) -> Result<Checkpoint, String> {
        let path = dir.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        serde_json::from_str(&text).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The file and why not.
    pub fn write(&self, dir: &Path) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|why| why.to_string())?;
        crate::record::replace(&dir.join(FILE), &text)
    }
}
