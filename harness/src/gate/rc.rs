//! What a release candidate owes: a record of every layer, of this source, newer than its last change, with enough
//! done. What is missing is said precisely, with the command that makes it.

use std::path::Path;

use super::Layer;
use crate::record::{Record, Verdict, last_change};

/// The judgement of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The layer.
    pub layer: String,
    /// Why its record does not do; empty when it does.
    pub missing: Vec<String>,
    /// The command that makes it.
    pub run: String,
}

impl Owed {
    /// One line, and the command where something is missing.
    #[must_use]
    pub fn text(&self) -> String {
        if self.missing.is_empty() {
            return format!("holds    {}", self.layer);
        }
        format!("missing  {}: {}\n         get it by: {}", self.layer, self.missing.join("; "), self.run)
    }
}

/// Judges the records in a folder.
///
/// # Errors
/// The history of the sources cannot be read.
pub fn judge(sources: &Path, records: &Path, layers: &[Layer]) -> Result<Vec<Owed>, String> {
    let (changed, commit) = last_change(sources, "src")?;
    let owed = layers.iter().map(|layer| {
        let missing = lacks(sources, records, layer, changed, &commit);
        Owed { layer: layer.layer.clone(), missing, run: layer.run.clone() }
    });
    Ok(owed.collect())
}

fn lacks(sources: &Path, records: &Path, layer: &Layer, changed: u64, commit: &str) -> Vec<String> {
    let path = records.join(format!("{}.json", layer.layer));
    if !path.exists() {
        return vec![format!("there is no {}", path.display())];
    }
    let record = match Record::read(&path) {
        Ok(record) => record,
        Err(why) => return vec![why],
    };
    let mut missing = Vec::new();
    if record.layer != layer.layer {
        missing.push(format!("{} is a record of {}", path.display(), record.layer));
    }
    if record.verdict != Verdict::Held {
        missing.push(format!("its last run is {}", record.verdict.word()));
    }
    if record.started < changed {
        let short = &commit[..commit.len().min(10)];
        missing.push(format!(
            "it was begun {} s before src/ changed last, in {short}",
            changed - record.started
        ));
    }
    // Newer by the clock is not enough: another branch may have been checked out.
    if let Some(why) = other_source(sources, &record.commit) {
        missing.push(why);
    }
    for (name, least) in &layer.at_least {
        match record.numbers.get(name) {
            Some(done) if done >= least => {}
            Some(done) => missing.push(format!("{name} is {done}, at least {least} is needed")),
            None => missing.push(format!("it does not say {name}, of which {least} is needed")),
        }
    }
    for (name, most) in &layer.at_most {
        match record.numbers.get(name) {
            Some(done) if done <= most => {}
            Some(done) => missing.push(format!("{name} is {done}, at most {most} is allowed")),
            None => missing.push(format!("it does not say {name}, of which at most {most} is allowed")),
        }
    }
    missing
}

/// Why a record of that commit says nothing about the sources as they are.
fn other_source(sources: &Path, commit: &str) -> Option<String> {
    let short = &commit[..commit.len().min(10)];
    if commit.ends_with("-dirty") {
        return Some(format!("it was made from {short} with changes that were not committed"));
    }
    match crate::record::git(
        sources,
        &["diff", "--quiet", commit, "HEAD", "--", "src", "Cargo.toml", "Cargo.lock"],
    ) {
        Ok(_) => None,
        Err(_) => {
            Some(format!("src/ or its dependencies are not as they were in {short}, which it was made from"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    fn git(dir: &Path, args: &[&str]) {
        let all = [&["-c", "user.name=t", "-c", "user.email=t@example.invalid"], args].concat();
        crate::record::git(dir, &all).unwrap();
    }

    fn repository() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "--quiet"]);
        std::fs::create_dir(dir.path().join("src")).unwrap();
        change(dir.path(), "one");
        dir
    }

    fn change(dir: &Path, text: &str) {
        std::fs::write(dir.join("src/lib.rs"), text).unwrap();
        git(dir, &["add", "."]);
        git(dir, &["commit", "--quiet", "--message", text]);
    }

    fn write(dir: &Path, verdict: Verdict, seeds: f64, started: SystemTime) {
        let numbers = BTreeMap::from([("seeds".to_owned(), seeds)]);
        let commit = crate::record::commit(dir).unwrap();
        let started = started.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let record = Record { layer: "sim".to_owned(), commit, started, seconds: 1.0, verdict, numbers };
        record.write(&dir.join("records")).unwrap();
    }

    fn missing(dir: &Path) -> String {
        let at_least = BTreeMap::from([("seeds".to_owned(), 1000.0)]);
        let (layer, run, at_most) = ("sim".to_owned(), "orch-harness sim".to_owned(), BTreeMap::new());
        let layer = Layer { layer, run, at_least, at_most };
        let owed = judge(dir, &dir.join("records"), &[layer]).unwrap();
        owed[0].missing.join("; ")
    }

    #[test]
    fn a_fresh_record_with_enough_done_is_all_that_is_owed() {
        let dir = repository();
        let later = SystemTime::now() + Duration::from_secs(5);
        assert!(missing(dir.path()).contains("there is no "));
        write(dir.path(), Verdict::Held, 1000.0, later);
        assert_eq!(missing(dir.path()), "");
        write(dir.path(), Verdict::Held, 999.0, later);
        assert!(missing(dir.path()).contains("seeds is 999, at least 1000"));
        write(dir.path(), Verdict::Broken, 1000.0, later);
        assert!(missing(dir.path()).contains("its last run is broken"));
        write(dir.path(), Verdict::Held, 1000.0, later - Duration::from_secs(3600));
        assert!(missing(dir.path()).contains("before src/ changed last"));
    }

    #[test]
    fn a_record_of_another_source_shows_nothing_also_when_it_is_newer() {
        let dir = repository();
        let later = SystemTime::now() + Duration::from_secs(500);
        write(dir.path(), Verdict::Held, 1000.0, later);
        change(dir.path(), "two");
        assert!(missing(dir.path()).contains("are not as they were"), "{}", missing(dir.path()));
        std::fs::write(dir.path().join("src/lib.rs"), "three").unwrap();
        write(dir.path(), Verdict::Held, 1000.0, later);
        assert!(missing(dir.path()).contains("not committed"));
    }
}
