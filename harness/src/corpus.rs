//! Plans that have once broken a promise, kept for ever: one small file each, in `harness/corpus/`.
//!
//! A plan without a broken guard is a bug that was mended: it has to be clean. A plan with a broken guard shows that
//! the simulation still notices: clean with the guard, caught without it. As any change of the code moves the
//! moments at which things meet, a guard may be noticed by one of a few variations of the plan.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::drive::{self, Outcome};
use crate::shrink::varied;
use crate::sim::oracle::Violation;
use crate::sim::plan::Plan;

/// Variations of a plan with a broken guard of which one has to be noticed.
const VARIATIONS: u64 = 20;

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What broke when it was found, in words.
    pub what: String,
    /// The promise that it broke.
    pub promise: u8,
    /// The run.
    pub plan: Plan,
}

impl Entry {
    /// An entry for a plan and what it broke.
    #[must_use]
    pub fn new(plan: &Plan, violation: &Violation) -> Entry {
        let what = violation.what.lines().next().unwrap_or_default().to_owned();
        Entry { what, promise: violation.promise, plan: plan.clone() }
    }

    /// The name of its file.
    #[must_use]
    pub fn name(&self) -> String {
        let guard = self.plan.broken.map(|guard| guard.name());
        guard.unwrap_or_else(|| format!("promise-{}-seed-{}", self.promise, self.plan.seed)) + ".json"
    }

    /// Writes it into a directory and gives its path.
    ///
    /// # Errors
    /// The disk says no.
    pub fn keep(&self, dir: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(dir)?;
        let path = dir.join(self.name());
        fs::write(&path, format!("{}\n", serde_json::to_string_pretty(self)?))?;
        Ok(path)
    }

    /// Runs it. Gives the runs that it took.
    ///
    /// # Errors
    /// What is wrong: a promise that breaks, or a broken guard that nobody notices.
    pub fn replay(&self) -> Result<u64, String> {
        let mended = Plan { broken: None, ..self.plan.clone() };
        if let Some(first) = drive::run(&mended).violations.first() {
            return Err(format!("promise {} is broken: {}", first.promise, first.what));
        }
        let Some(guard) = self.plan.broken else { return Ok(1) };
        let noticed = |number: &u64| !clean(&drive::run(&varied(&self.plan, *number)));
        match (0..VARIATIONS).find(noticed) {
            Some(number) => Ok(number + 2),
            None => Err(format!("without the guard {} nothing is noticed", guard.name())),
        }
    }
}

fn clean(outcome: &Outcome) -> bool {
    outcome.violations.is_empty()
}

/// Where plans come from, for whoever named something else.
const KEPT: &str = "those that are kept lie in harness/corpus; `orch-harness sim` says where it keeps one that broke a promise";

/// One entry.
///
/// # Errors
/// The file cannot be read, is no plan or one that cannot be run, with its name and where plans are.
pub fn read(path: &Path) -> Result<Entry, String> {
    let told =
        |what: &str, error: &dyn std::fmt::Display| format!("{}: {what}: {error}; {KEPT}", path.display());
    let bytes = fs::read(path).map_err(|error| told("this plan cannot be read", &error))?;
    let entry: Entry =
        serde_json::from_slice(&bytes).map_err(|error| told("this is no plan of a run", &error))?;
    entry.plan.check().map_err(|error| told("this plan cannot be run", &error))?;
    Ok(entry)
}

/// All entries of a directory, by name.
///
/// # Errors
/// A file that cannot be read or is none, with its name; or there are none.
pub fn load(dir: &Path) -> Result<Vec<(String, Entry)>, String> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .and_then(|files| files.map(|file| file.map(|file| file.path())).collect())
        .map_err(|error| format!("{}: these plans cannot be read: {error}; {KEPT}", dir.display()))?;
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "json"));
    paths.sort();
    if paths.is_empty() {
        return Err(format!("{}: there is no plan in it, no file *.json; {KEPT}", dir.display()));
    }
    paths
        .iter()
        .map(|path| {
            let entry = read(path)?;
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            Ok((name, entry))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::faults::Broken;

    fn stored() -> Vec<(String, Entry)> {
        load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap()
    }

    /// Only "No such file or directory" was told.
    #[test]
    fn what_is_no_plan_is_told_with_its_name_and_where_plans_are() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine.json");
        let missing = read(&file).err().unwrap();
        fs::write(&file, "{}").unwrap();
        let other = read(&file).err().unwrap();
        let nowhere = load(&file).err().unwrap();
        let plan = Plan { ttl: 0, ..Plan::draw(7, crate::sim::plan::Profile::Short, None) };
        let entry = Entry { what: String::new(), promise: 1, plan };
        fs::write(&file, serde_json::to_string(&entry).unwrap()).unwrap();
        let hopeless = read(&file).err().unwrap();
        let empty = dir.path().join("mine.json.d");
        fs::create_dir(&empty).unwrap();
        let none = load(&empty).err().unwrap();
        for (told, what) in [
            (missing, "cannot be read"),
            (other, "no plan of a run"),
            (nowhere, "cannot be read"),
            (hopeless, "this plan cannot be run: ttl (microseconds) is 0"),
            (none, "there is no plan in it"),
        ] {
            assert!(
                told.contains("mine.json") && told.contains(what) && told.contains("harness/corpus"),
                "{told}"
            );
        }
    }

    /// A guard that is called noticed has a plan that shows it.
    #[test]
    fn every_guard_that_is_noticed_is_in_the_corpus() {
        let kept = stored();
        for guard in Broken::NOTICED {
            assert!(kept.iter().any(|(_, entry)| entry.plan.broken == Some(guard)), "{guard:?}");
        }
        for (name, entry) in kept {
            assert_eq!(format!("{name}.json"), entry.name());
        }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan::draw(7, crate::sim::plan::Profile::Short, Some(Broken::NoFileSync));
        let entry = Entry::new(&plan, &Violation { promise: 8, at: 1, what: "half a file".to_owned() });
        entry.keep(dir.path()).unwrap();
        assert_eq!(load(dir.path()).unwrap(), [("no-file-sync".to_owned(), entry)]);
    }
}
