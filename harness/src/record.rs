//! What one layer of the harness has shown, as a small file that `gate --rc` reads: which layer, of which commit,
//! when, how long, with what verdict, and its numbers. Files lie in `target/harness/<layer>.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything held.
    Held,
    /// Something did not hold.
    Broken,
    /// Too little work or too few faults, or what it needs is missing: it shows nothing.
    Invalid,
}

impl Verdict {
    /// The exit code of a command that ends so.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Verdict::Held => 0,
            Verdict::Broken => 1,
            Verdict::Invalid => 3,
        }
    }

    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Held => "held",
            Verdict::Broken => "broken",
            Verdict::Invalid => "invalid",
        }
    }
}

/// One run of one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The layer, which is also the name of the file: `tests`, `loom-full`, `sim`, `bugs`, `model`, `soak-24h`, ….
    pub layer: String,
    /// The commit of the sources, 40 digits; `-dirty` is appended when files differed from it.
    pub commit: String,
    /// When the run began, in seconds since 1970.
    pub started: u64,
    /// How long it took.
    pub seconds: f64,
    /// How it ended.
    pub verdict: Verdict,
    /// What was counted and measured.
    pub numbers: BTreeMap<String, f64>,
    /// The command that was run, if it is none of this program that writes its own record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

impl Record {
    /// A record of a run that began at `started` and ends now, of the sources in the current folder.
    #[must_use]
    pub fn of(layer: &str, started: SystemTime, verdict: Verdict, numbers: BTreeMap<String, f64>) -> Record {
        let seconds = started.elapsed().unwrap_or(Duration::ZERO).as_secs_f64();
        let commit = commit(Path::new(".")).unwrap_or_else(|_| "unknown".to_owned());
        let started = started.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let command = Vec::new();
        Record { layer: layer.to_owned(), commit, started, seconds, verdict, numbers, command }
    }

    /// Whether this record, of an earlier run, must stay because a later one adds nothing: both held, of the same
    /// sources, and in no number the later one is better.
    #[must_use]
    pub fn outweighs(&self, later: &Record) -> bool {
        let same = self.commit == later.commit && self.commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        let better = |(name, number): (&String, &f64)| {
            self.numbers.get(name).is_none_or(|before| {
                if FEWER_ARE_BETTER.contains(&name.as_str()) { number < before } else { number > before }
            })
        };
        let held = [self, later].iter().all(|record| record.verdict == Verdict::Held);
        same && held && self.numbers != later.numbers && !later.numbers.iter().any(better)
    }

    /// Writes it to `folder/<layer>.json`, whole or not at all.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, String> {
        let path = folder.join(format!("{}.json", self.layer));
        let text = serde_json::to_string_pretty(self).map_err(|why| why.to_string())? + "\n";
        std::fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        replace(&path, &text)?;
        Ok(path)
    }

    /// Reads one.
    ///
    /// # Errors
    /// The file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Record, String> {
        let shown = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|why| shown(&why))?;
        serde_json::from_str(&text).map_err(|why| shown(&why))
    }
}

/// Numbers of records that should be small; of all others more is better.
const FEWER_ARE_BETTER: [&str; 4] = ["failures", "missed", "mutants_missed", "probes_missed"];

/// Puts a file in place, whole or not at all.
///
/// # Errors
/// The file and why it cannot be written.
pub fn replace(path: &Path, text: &str) -> Result<(), String> {
    let next = path.with_extension("new");
    let written = std::fs::write(&next, text).and_then(|()| std::fs::rename(&next, path));
    written.map_err(|why| format!("{}: {why}", path.display()))
}

/// Where records lie, seen from the root of the sources.
#[must_use]
pub fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("harness")
}

/// The commit that a folder of sources is at, with `-dirty` where tracked files differ.
///
/// # Errors
/// There is no git, or no repository here.
pub fn commit(sources: &Path) -> Result<String, String> {
    let head = git(sources, &["rev-parse", "HEAD"])?;
    let changed = git(sources, &["status", "--porcelain", "--untracked-files=no"])?;
    Ok(if changed.is_empty() { head } else { head + "-dirty" })
}

/// Why something that was made from that commit says nothing about the sources as they are.
#[must_use]
pub fn other_source(sources: &Path, commit: &str) -> Option<String> {
    let short = &commit[..commit.len().min(10)];
    if commit.ends_with("-dirty") {
        return Some(format!("it was made from {short} with changes that were not committed"));
    }
    match git(sources, &["diff", "--quiet", commit, "HEAD", "--", "src", "Cargo.toml", "Cargo.lock"]) {
        Ok(_) => None,
        Err(_) => {
            Some(format!("src/ or its dependencies are not as they were in {short}, which it was made from"))
        }
    }
}

/// When a path of the sources last changed by a commit, in seconds since 1970, and by which.
///
/// # Errors
/// There is no git, no repository, or no such commit.
pub fn last_change(sources: &Path, path: &str) -> Result<(u64, String), String> {
    let line = git(sources, &["log", "-1", "--format=%ct %H", "--", path])?;
    let (seconds, commit) = line.split_once(' ').ok_or_else(|| format!("no commit touches {path}"))?;
    let seconds = seconds.parse().map_err(|_| format!("git log printed {line:?}"))?;
    Ok((seconds, commit.to_owned()))
}

/// Runs git in a folder of sources and gives what it printed.
///
/// # Errors
/// Git is missing or did not succeed.
pub fn git(sources: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(sources)
        .args(args)
        .output()
        .map_err(|why| format!("git cannot be started: {why}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("git {} in {}: {}", args.join(" "), sources.display(), why.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let numbers = BTreeMap::from([("seeds".to_owned(), 1000.0)]);
        let mut record = Record::of("sim", SystemTime::now(), Verdict::Held, numbers);
        for command in [Vec::new(), vec!["cargo".to_owned(), "test".to_owned()]] {
            record.command = command;
            let path = record.write(dir.path()).unwrap();
            assert_eq!(path, dir.path().join("sim.json"));
            assert_eq!(Record::read(&path).unwrap(), record);
        }
    }

    /// Fifty seeds took the place of the twenty thousand that a release asks for.
    #[test]
    fn a_small_run_does_not_take_the_place_of_a_large_one_of_the_same_sources() {
        let of = |commit: &str, verdict, seeds: f64, missed: f64| {
            let numbers = [("seeds", seeds), ("failures", 0.0), ("probes_missed", missed)];
            let numbers = numbers.map(|(name, number)| (name.to_owned(), number)).into();
            Record { commit: commit.to_owned(), ..Record::of("sim", SystemTime::now(), verdict, numbers) }
        };
        let (here, there) = ("a".repeat(40), "b".repeat(40));
        let dirty = format!("{here}-dirty");
        let large = of(&here, Verdict::Held, 20_000.0, 0.0);
        assert!(large.outweighs(&of(&here, Verdict::Held, 50.0, 7.0)));
        for (later, why) in [
            (large.clone(), "the newer of two equal ones"),
            (of(&here, Verdict::Held, 30_000.0, 1.0), "more was done"),
            (of(&here, Verdict::Broken, 50.0, 7.0), "something did not hold"),
            (of(&there, Verdict::Held, 50.0, 7.0), "other sources"),
        ] {
            assert!(!large.outweighs(&later), "{why}");
        }
        let few = of(&here, Verdict::Held, 50.0, 7.0);
        assert!(!of(&here, Verdict::Held, 60.0, 9.0).outweighs(&few), "fewer missed");
        assert!(!of(&here, Verdict::Broken, 60.0, 0.0).outweighs(&few), "what did not hold is mended");
        assert!(!of(&dirty, Verdict::Held, 60.0, 0.0).outweighs(&of(&dirty, Verdict::Held, 50.0, 0.0)));
    }

    #[test]
    fn a_record_with_a_field_that_nobody_knows_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        std::fs::write(&path, "{\"layer\": \"x\", \"colour\": 1}").unwrap();
        assert!(Record::read(&path).unwrap_err().contains("unknown field `colour`"));
    }
}
