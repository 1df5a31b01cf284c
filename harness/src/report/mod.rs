//! The report of a soak: what its folder holds, put into measures, one page for people and its twin for programs. It
//! can be had at any moment of a run.

mod page;
pub mod planted;
mod plot;
pub mod trend;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::gate::{self, Line, Slo};
use crate::record::{self, Verdict};
use crate::soak::checkpoint::Checkpoint;
use crate::soak::fleet::Violation;
use crate::soak::{self, histogram::Histogram, sample};

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
    /// What the profile demanded; `None` for a run that did not write it down.
    pub owed: Option<sample::Owed>,
    /// Somebody works on it right now.
    pub goes_on: bool,
    /// The objectives that the run is compared with.
    pub slo: Slo,
    /// The table of planted bugs, if one was measured; or why it cannot be read.
    pub planted: Result<Option<planted::Table>, String>,
}

/// Name of the page in the folder of a run.
pub const PAGE: &str = "report.html";
/// Name of its twin.
pub const TWIN: &str = "report.json";

impl Report {
    /// Reads the folder of a run, and the table of planted bugs where records lie.
    ///
    /// # Errors
    /// There is none, or a file in it is damaged.
    pub fn of(dir: &Path) -> Result<Report, String> {
        Report::with(dir, &record::folder())
    }

    /// The same with another folder of records.
    ///
    /// # Errors
    /// There is no run, or a file in its folder is damaged.
    pub fn with(dir: &Path, records: &Path) -> Result<Report, String> {
        Ok(Report {
            checkpoint: Checkpoint::read(dir)?,
            violations: lines(&dir.join("violations.jsonl"))?,
            faults: lines(&dir.join("faults.jsonl"))?,
            growth: lines(&dir.join("growth.jsonl"))?,
            series: lines(&dir.join(sample::FILE))?,
            owed: sample::Owed::read(dir)?,
            goes_on: soak::is_taken(dir),
            slo: crate::yaml::parse(gate::BUILT_IN, "soak/slo.yaml")?,
            // It is of another layer: damaged, it takes nothing from this run.
            planted: planted::Table::read(records),
        })
    }

    /// Why the run has ended, if it has; one that was killed could not say so.
    #[must_use]
    pub fn why(&self) -> &str {
        match &self.checkpoint.end {
            Some(end) => &end.why,
            None if self.goes_on => "it goes on",
            None => "it was cut off, and goes on with --resume",
        }
    }

    /// The verdict of the run itself; a run that has not ended has shown nothing yet, unless something is broken already.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &self.checkpoint.end {
            Some(end) => end.verdict,
            None if self.violations.is_empty() => Verdict::Invalid,
            None => Verdict::Broken,
        }
    }

    /// The run compared with each objective.
    #[must_use]
    pub fn objectives(&self) -> Vec<Line> {
        gate::judge(&self.slo, &self.numbers())
    }

    /// The verdict that a release needs: the run held, and so did every objective that is asked of it.
    #[must_use]
    pub fn release(&self) -> Verdict {
        match self.verdict() {
            Verdict::Held if !self.objectives().iter().all(Line::passes) => Verdict::Broken,
            verdict => verdict,
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

    /// The twin: what the page shows, for programs. `verdict` is that of the run itself, `release_verdict` also asks
    /// the objectives.
    #[must_use]
    pub fn twin(&self) -> Value {
        let run = &self.checkpoint;
        let objectives: Vec<Value> = self.objectives().iter().map(objective).collect();
        let slopes: BTreeMap<&str, Value> =
            self.slopes().into_iter().map(|(name, unit, slope)| (name, sloped(unit, slope))).collect();
        let faults: BTreeMap<String, Value> = self
            .faults_by_kind()
            .into_iter()
            .map(|(kind, (count, demanded))| (kind, json!({"count": count, "demanded": demanded})))
            .collect();
        let latency: BTreeMap<&String, Value> =
            run.numbers.latency.iter().map(|(name, histogram)| (name, histogram.summary())).collect();
        json!({
            "schema_version": 1,
            "profile": run.profile,
            "verdict": self.verdict().word(),
            "release_verdict": self.release().word(),
            "why": run.end.as_ref().map(|end| &end.why),
            "invalid": run.invalid,
            "notes": run.notes,
            "seed": run.seed,
            "commit": run.commit,
            "orch": run.orch,
            "began": run.began,
            "seconds": Duration::from_millis(run.elapsed).as_secs(),
            "parts": run.part + 1,
            "objectives": objectives,
            "measures": self.numbers(),
            "slopes": slopes,
            "faults": faults,
            "counts": run.numbers.counts,
            "latency_ms": latency,
            "violations": self.violations,
            "planted_bugs": self.planted.as_ref().ok(),
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
        for name in
            ["claims", "finished", "recovered", "commands", "checks", "pushes", "retries", "zombies.refused"]
        {
            put(name, Some(counted(name)));
        }
        let pushes = counted("pushes");
        put("retries_per_push", (pushes > 0.0).then(|| counted("retries") / pushes));
        put("violations", Some(number(self.violations.len() as u64)));
        put("faults", Some(number(self.faults.len() as u64)));
        // Zeros mean something only where somebody looked.
        let checked = (run.numbers.count("checks") > 0).then_some(());
        let mut known = 0.0;
        for (name, kind) in ZEROS {
            let count = number(self.violations.iter().filter(|v| v.kind == *kind).count() as u64);
            known += count;
            // Where workers tried often and finished nothing, no program ran that could have left a process behind.
            let idle = counted("works") >= 10.0 && counted("works.succeeded") == 0.0;
            let looked = count > 0.0 || !(idle && *name == "surviving_children");
            put(name, checked.filter(|()| looked).map(|()| count));
        }
        let left_out = |owed: &sample::Owed| {
            owed.faults.keys().filter(|kind| soak::is_left_out(kind, &run.notes)).count() as u64
        };
        put("faults_left_out", self.owed.as_ref().map(|owed| number(left_out(owed))));
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
        put("rss_hours", self.steady().map(|(_, hours)| hours));
        put("git_bytes_per_finished", self.bytes_per_finished());
        let beats = counted("calm.heartbeats");
        put("git_bytes_per_heartbeat", (beats > 0.0).then(|| counted("calm.heartbeat_bytes") / beats));
        all
    }

    /// Slope of the steady watchdog's memory in MiB per hour over the last half of the run.
    #[must_use]
    pub fn rss_slope(&self) -> Option<trend::Slope> {
        self.watchdog_slope(|dog| dog["rss_kib"].as_f64().map(|kib| kib / 1024.0))
    }

    /// Every steady watchdog: its points in time, in hours, with what was looked at. Some faults end one, and each part
    /// of a run has one of its own; the same number later is another process.
    fn watchdogs(&self) -> Vec<Vec<(f64, &Value)>> {
        let mut all: Vec<Vec<(f64, &Value)>> = Vec::new();
        let mut last = None;
        for line in &self.series {
            let pid = line["watchdog"]["pid"].as_u64();
            let Some(at) = line["unix_ms"].as_f64().filter(|_| pid.is_some()) else { continue };
            if last != pid {
                all.push(Vec::new());
                last = pid;
            }
            all.last_mut().expect("just begun").push((at / 3_600_000.0, &line["watchdog"]));
        }
        all
    }

    /// The one that was followed for longest, and for how many hours.
    fn steady(&self) -> Option<(Vec<(f64, &Value)>, f64)> {
        let hours = |points: &[(f64, &Value)]| points.last().map_or(0.0, |last| last.0 - points[0].0);
        let lives = self.watchdogs().into_iter().map(|points| (hours(&points), points));
        lives.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(hours, points)| (points, hours))
    }

    /// What must not grow for ever: name, unit, and the slope over the last half of the run. Processes by the hour of
    /// the wall clock; `.git` and the files beside it by the hour of load, since they grow by
    /// work.
    #[must_use]
    pub fn slopes(&self) -> [(&'static str, &'static str, Option<trend::Slope>); 5] {
        let by_load = |points: Vec<(f64, f64)>| {
            let hours: Vec<(f64, f64)> = points.into_iter().map(|(s, y)| (s / 3600.0, y)).collect();
            trend::last_half(&hours)
        };
        [
            ("rss", "MiB per hour", self.rss_slope()),
            ("fds", "files per hour", self.watchdog_slope(|dog| dog["fds"].as_f64())),
            (
                "git_remote",
                "MiB per hour of load",
                by_load(self.points(|line| line["remote"].as_f64().map(mib))),
            ),
            ("git_clones_mean", "MiB per hour of load", by_load(self.points(|line| mean(&line["clones"])))),
            ("state_mean", "MiB per hour of load", by_load(self.points(|line| mean(&line["states"])))),
        ]
    }

    /// Slope per hour of something of the steady watchdog over the last half of the run.
    fn watchdog_slope(&self, value: impl Fn(&Value) -> Option<f64>) -> Option<trend::Slope> {
        // By the clock of the wall, since memory grows at rest as well; and of one process only.
        let (points, _) = self.steady()?;
        let points: Vec<(f64, f64)> =
            points.into_iter().filter_map(|(at, dog)| Some((at, value(dog)?))).collect();
        trend::last_half(&points)
    }

    /// How often each kind of fault struck, and how often it had to. The second is missing where nobody wrote it down
    /// and where this computer could not have the fault.
    #[must_use]
    pub fn faults_by_kind(&self) -> BTreeMap<String, (u64, Option<u64>)> {
        let run = &self.checkpoint;
        let demanded = |kind: &str| {
            let left_out = soak::is_left_out(kind, &run.notes);
            self.owed.as_ref().filter(|_| !left_out)?.faults(kind, Duration::from_millis(run.wanted))
        };
        let struck = run.numbers.counts.keys().filter_map(|name| name.strip_prefix("faults."));
        let owed = self.owed.iter().flat_map(|owed| owed.faults.keys().map(String::as_str));
        let row =
            |kind: &str| (kind.to_owned(), (run.numbers.count(&format!("faults.{kind}")), demanded(kind)));
        struck.chain(owed).map(row).collect()
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
        let why = self.why();
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
        let objectives = self.objectives();
        text.push_str(&format!("\n  objectives: {}", outcomes(&objectives)));
        for line in objectives.iter().filter(|line| outcome(line) == "missed") {
            let aside = line.aside().map(|aside| format!(" ({aside})")).unwrap_or_default();
            text.push_str(&format!(
                "\n  - missed: {}: {}, {}{aside}",
                line.says,
                line.measured(),
                line.target
            ));
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
    ("calm_git_p50_ms", "calm.git", 0.5),
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
    "pushes",
    "retries",
    "retries_per_push",
    "zombies.refused",
    "violations",
    "faults",
    "duplicate_claims",
    "lost_operations",
    "old_epoch_acts",
    "invalid_files",
    "surviving_children",
    "faults_left_out",
    "claims_lost_without_rival",
    "other_violations",
    "calm_claim_p50_ms",
    "calm_claim_p99_ms",
    "calm_git_p50_ms",
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
    "rss_hours",
    "git_bytes_per_finished",
    "git_bytes_per_heartbeat",
];

/// What can become of an objective.
const OUTCOMES: [&str; 4] = ["held", "missed", "not measured", "not asked"];

/// What became of an objective, one of [`OUTCOMES`].
fn outcome(line: &Line) -> &'static str {
    let at = match (&line.unasked, line.holds, line.measured) {
        (Some(_), ..) => 3,
        (None, true, _) => 0,
        (None, false, Some(_)) => 1,
        (None, false, None) => 2,
    };
    OUTCOMES[at]
}

/// How many objectives held, were missed, were not measured, were not asked; what there is none of is left out.
fn outcomes(objectives: &[Line]) -> String {
    let many = |word| (objectives.iter().filter(|line| outcome(line) == word).count(), word);
    let parts = OUTCOMES.into_iter().map(many).filter(|(count, _)| *count > 0);
    parts.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// An objective for programs: as the gate tells it, with its unit and what became of it.
fn objective(line: &Line) -> Value {
    let mut value = line.json();
    value["unit"] = json!(line.unit);
    value["verdict"] = json!(outcome(line).replace(' ', "_"));
    value
}

fn sloped(unit: &str, slope: Option<trend::Slope>) -> Value {
    json!({
        "unit": unit,
        "median": slope.map(|slope| slope.median),
        "low": slope.map(|slope| slope.low),
        "high": slope.map(|slope| slope.high),
    })
}

fn mib(bytes: f64) -> f64 {
    bytes / 1024.0 / 1024.0
}

/// The mean of sizes of all machines, in MiB.
fn mean(sizes: &Value) -> Option<f64> {
    let sizes: Vec<f64> = sizes.as_array()?.iter().filter_map(Value::as_f64).collect();
    (!sizes.is_empty()).then(|| mib(sizes.iter().sum::<f64>() / number(sizes.len() as u64)))
}

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
