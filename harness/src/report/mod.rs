//! The report of a soak: what its folder holds, put into measures, one page for people and its twin for programs. It
//! can be had at any moment of a run.

mod page;
mod plot;
pub mod trend;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::record::Verdict;
use crate::soak::checkpoint::Checkpoint;
use crate::soak::fleet::Violation;
use crate::soak::{histogram::Histogram, sample};

/// One fault that struck.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Struck {
    /// Milliseconds of load when it began.
    pub from: u64,
    /// When it ended.
    pub to: u64,
    /// Its kind.
    pub kind: String,
    /// The machine, `None` for all.
    pub machine: Option<usize>,
}

/// What a run at rest took on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// Milliseconds of load.
    pub at: u64,
    /// Tasks finished so far.
    pub finished: u64,
    /// Bytes of the state branch, packed.
    pub bytes: u64,
}

/// The report.
pub struct Report {
    /// What the run is at.
    pub checkpoint: Checkpoint,
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// Faults in the order in which they ended.
    pub faults: Vec<Struck>,
    /// Growth, one point per check.
    pub growth: Vec<Growth>,
    /// The time series as it was written.
    pub series: Vec<Value>,
}

/// Name of the page in the folder of a run.
pub const PAGE: &str = "report.html";
/// Name of its twin.
pub const TWIN: &str = "report.json";

impl Report {
    /// Reads the folder of a run.
    ///
    /// # Errors
    /// There is none, or a file in it is damaged.
    pub fn of(dir: &Path) -> Result<Report, String> {
        Ok(Report {
            checkpoint: Checkpoint::read(dir)?,
            violations: lines(&dir.join("violations.jsonl"))?,
            faults: lines(&dir.join("faults.jsonl"))?,
            growth: lines(&dir.join("growth.jsonl"))?,
            series: lines(&dir.join(sample::FILE))?,
        })
    }

    /// The verdict; a run that has not ended has shown nothing yet, unless something is broken already.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &self.checkpoint.end {
            Some(end) => end.verdict,
            None if self.violations.is_empty() => Verdict::Invalid,
            None => Verdict::Broken,
        }
    }

    /// Writes the page and its twin into a folder. The path of the page.
    ///
    /// # Errors
    /// The file and why not.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, String> {
        let put = |name: &str, text: String| {
            let path = dir.join(name);
            std::fs::write(&path, text).map_err(|why| format!("{}: {why}", path.display())).map(|()| path)
        };
        put(TWIN, serde_json::to_string_pretty(&self.twin()).map_err(|why| why.to_string())? + "\n")?;
        put(PAGE, page::html(self))
    }

    /// The twin: verdict, measures, counters, latencies and violations.
    #[must_use]
    pub fn twin(&self) -> Value {
        let run = &self.checkpoint;
        let latency: BTreeMap<&String, Value> =
            run.numbers.latency.iter().map(|(name, histogram)| (name, histogram.summary())).collect();
        json!({
            "schema_version": 1,
            "profile": run.profile,
            "verdict": self.verdict().word(),
            "why": run.end.as_ref().map(|end| &end.why),
            "invalid": run.invalid,
            "notes": run.notes,
            "seed": run.seed,
            "commit": run.commit,
            "orch": run.orch,
            "began": run.began,
            "seconds": Duration::from_millis(run.elapsed).as_secs(),
            "parts": run.part + 1,
            "measures": self.numbers(),
            "counts": run.numbers.counts,
            "latency_ms": latency,
            "violations": self.violations,
        })
    }

    /// The measures that objectives name. What was never measured is missing.
    #[must_use]
    pub fn numbers(&self) -> BTreeMap<String, f64> {
        let run = &self.checkpoint;
        let mut all = BTreeMap::new();
        let mut put = |name: &str, value: Option<f64>| {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                all.insert(name.to_owned(), value);
            }
        };
        let counted = |name: &str| number(run.numbers.count(name));
        put("hours", Some(number(run.elapsed) / 3_600_000.0));
        for name in ["claims", "finished", "recovered", "commands", "checks", "retries", "zombies.refused"] {
            put(name, Some(counted(name)));
        }
        put("violations", Some(number(self.violations.len() as u64)));
        put("faults", Some(number(self.faults.len() as u64)));
        // Zeros mean something only where somebody looked.
        let checked = (run.numbers.count("checks") > 0).then_some(());
        let mut known = 0.0;
        for (name, kind) in ZEROS {
            let count = number(self.violations.iter().filter(|v| v.kind == *kind).count() as u64);
            known += count;
            put(name, checked.map(|()| count));
        }
        put("other_violations", checked.map(|()| number(self.violations.len() as u64) - known));
        for (name, histogram, share) in TIMES {
            put(name, run.numbers.latency.get(*histogram).and_then(|h| millis(h, *share)));
        }
        let (tried, down) = (counted("claims.tried"), counted("claims.unavailable"));
        put("claim_availability_percent", (tried > 0.0).then(|| 100.0 * (tried - down) / tried));
        let period = number(run.lease.1);
        put("watch_period_ms", Some(period));
        let converged = run.numbers.latency.get("convergence").and_then(|h| millis(h, 0.99));
        put("convergence_p99_periods", converged.map(|ms| ms / period));
        // What is certain of it: the noise of a short run is no trend.
        put("rss_slope_mib_per_hour", self.rss_slope().map(|slope| slope.low.max(0.0)));
        put("git_bytes_per_finished", self.bytes_per_finished());
        let beats = counted("calm.heartbeats");
        put("git_bytes_per_heartbeat", (beats > 0.0).then(|| counted("calm.heartbeat_bytes") / beats));
        all
    }

    /// Slope of the steady watchdog's memory in MiB per hour over the last half of the run.
    #[must_use]
    pub fn rss_slope(&self) -> Option<trend::Slope> {
        // By the clock of the wall, since memory grows at rest as well; and of one process only.
        let pid = self.series.iter().rev().find_map(|line| line["watchdog"]["pid"].as_u64())?;
        let mine = self.series.iter().filter(|line| line["watchdog"]["pid"].as_u64() == Some(pid));
        let point = |line: &Value| {
            Some((line["unix_ms"].as_f64()? / 3_600_000.0, line["watchdog"]["rss_kib"].as_f64()? / 1024.0))
        };
        let points: Vec<(f64, f64)> = mine.filter_map(point).collect();
        let hours = &points[points.len() / 2..];
        trend::slope(hours)
    }

    fn bytes_per_finished(&self) -> Option<f64> {
        let (first, last) = (self.growth.first()?, self.growth.last()?);
        let finished = last.finished.saturating_sub(first.finished);
        (finished > 0).then(|| number(last.bytes.saturating_sub(first.bytes)) / number(finished))
    }

    /// One value of each line of the series, with its second.
    fn points(&self, value: impl Fn(&Value) -> Option<f64>) -> Vec<(f64, f64)> {
        let point = |line: &Value| Some((line["at"].as_f64()? / 1000.0, value(line)?));
        self.series.iter().filter_map(point).collect()
    }

    /// The result in a few lines of text.
    #[must_use]
    pub fn summary(&self) -> String {
        let run = &self.checkpoint;
        let numbers = self.numbers();
        let whole = |name: &str| numbers.get(name).copied().unwrap_or(0.0);
        let why = run.end.as_ref().map_or("it goes on", |end| end.why.as_str());
        let mut text = format!(
            "soak {} {}: {} s, {} claims, {} finished, {} recovered, {} faults, {} violations ({why})",
            run.profile,
            self.verdict().word(),
            run.elapsed / 1000,
            whole("claims"),
            whole("finished"),
            whole("recovered"),
            whole("faults"),
            self.violations.len(),
        );
        for note in run.notes.iter().chain(&run.invalid) {
            text.push_str(&format!("\n  - {note}"));
        }
        for violation in self.violations.iter().take(10) {
            text.push_str(&format!("\n  ! {} s {}: {}", violation.at, violation.kind, violation.what));
        }
        text
    }
}

/// Measures that must be zero, and the kind of violation that each counts.
const ZEROS: &[(&str, &str)] = &[
    ("duplicate_claims", "duplicate_claim"),
    ("lost_operations", "lost_operation"),
    ("old_epoch_acts", "old_epoch"),
    ("invalid_files", "invalid_file"),
    ("surviving_children", "survivor"),
    ("claims_lost_without_rival", "lost_without_rival"),
];

/// Measures in milliseconds: name, histogram, share.
const TIMES: &[(&str, &str, f64)] = &[
    ("calm_claim_p50_ms", "calm.claim", 0.5),
    ("calm_claim_p99_ms", "calm.claim", 0.99),
    ("claim_p50_ms", "claim", 0.5),
    ("claim_p99_ms", "claim", 0.99),
    ("done_p99_ms", "done", 0.99),
    ("sync_p99_ms", "sync", 0.99),
    ("recovery_p50_ms", "recovery", 0.5),
    ("recovery_p99_ms", "recovery", 0.99),
    ("recovery_late_p99_ms", "recovery.late", 0.99),
];

/// Every measure that a report can have.
pub const MEASURES: &[&str] = &[
    "hours",
    "claims",
    "finished",
    "recovered",
    "commands",
    "checks",
    "retries",
    "zombies.refused",
    "violations",
    "faults",
    "duplicate_claims",
    "lost_operations",
    "old_epoch_acts",
    "invalid_files",
    "surviving_children",
    "claims_lost_without_rival",
    "other_violations",
    "calm_claim_p50_ms",
    "calm_claim_p99_ms",
    "claim_p50_ms",
    "claim_p99_ms",
    "done_p99_ms",
    "sync_p99_ms",
    "recovery_p50_ms",
    "recovery_p99_ms",
    "recovery_late_p99_ms",
    "claim_availability_percent",
    "watch_period_ms",
    "convergence_p99_periods",
    "rss_slope_mib_per_hour",
    "git_bytes_per_finished",
    "git_bytes_per_heartbeat",
];

fn millis(histogram: &Histogram, share: f64) -> Option<f64> {
    histogram.quantile(share).map(|span| span.as_secs_f64() * 1000.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]
fn number(of: u64) -> f64 {
    of as f64
}

/// The lines of a file of JSON lines. A last line that is cut off belongs to a run that was killed.
fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, String> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let whole = text.rfind('\n').map_or(0, |at| at + 1);
    let mut all = Vec::new();
    for (at, line) in text[..whole].lines().enumerate() {
        let parsed =
            serde_json::from_str(line).map_err(|why| format!("{}:{}: {why}", path.display(), at + 1))?;
        all.push(parsed);
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
