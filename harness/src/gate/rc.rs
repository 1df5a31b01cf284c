//! What a release candidate owes: a record of every layer, of this source, newer than its last change, with enough
//! done. What is missing is said precisely, with the command that makes it.

use std::path::Path;

use super::{Layer, Line, Slo};
use crate::record::{Record, Verdict, last_change};

/// The judgement of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The layer.
    pub layer: String,
    /// Why its record does not do; empty when it does.
    pub missing: Vec<String>,
    /// Whether its record is one of these sources and shows that something does not hold. Else what is missing was not
    /// shown, in one way or the other.
    pub broken: bool,
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
        let word = if self.broken { "broken " } else { "missing" };
        format!("{word}  {}: {}\n         get it by: {}", self.layer, self.missing.join("; "), self.run)
    }
}

/// Judges the records in a folder.
///
/// # Errors
/// The history of the sources cannot be read.
pub fn judge(sources: &Path, records: &Path, slo: &Slo) -> Result<Vec<Owed>, String> {
    let change = last_change(sources, "src").map_err(|why| {
        format!("{why}; a record has to be newer than the last change of src/: run this at the root of orch's sources")
    })?;
    let owed = slo.release.iter().map(|layer| {
        let path = records.join(format!("{}.json", layer.layer));
        let (missing, broken) = match Record::read(&path) {
            Ok(record) => {
                let mut missing = outdated(sources, &path, &record, layer, &change);
                let fresh = missing.is_empty();
                if record.verdict != Verdict::Held {
                    missing.push(format!("its last run is {}", record.verdict.word()));
                }
                missing.extend(short(&record, layer));
                let lines = if layer.objectives { super::judge(slo, &record.numbers) } else { Vec::new() };
                let told =
                    |line: &Line| format!("{}: {}, target {}", line.says, line.measured(), line.target);
                missing.extend(lines.iter().filter(|line| !line.passes()).map(told));
                (missing, fresh && shows_a_fault(&record, layer, &lines))
            }
            Err(_) if !path.exists() => (vec![format!("there is no {}", path.display())], false),
            Err(why) => (vec![why], false),
        };
        Owed { layer: layer.layer.clone(), missing, broken, run: layer.run.clone() }
    });
    Ok(owed.collect())
}

/// Whether a record says that something does not hold, and not only that too little was done: a run that was too small may
/// well have missed what a whole one has to meet.
fn shows_a_fault(record: &Record, layer: &Layer, lines: &[Line]) -> bool {
    let number = |name: &String| record.numbers.get(name);
    let enough = layer.at_least.iter().all(|(name, least)| number(name).is_some_and(|done| done >= least));
    let over = |(name, most): (&String, &f64)| number(name).is_some_and(|done| done > most);
    record.verdict == Verdict::Broken
        || (enough && layer.at_most.iter().any(over))
        || lines.iter().any(|line| !line.passes() && line.measured.is_some())
}

/// Why a record is none of a run of that layer with these sources.
fn outdated(
    sources: &Path,
    path: &Path,
    record: &Record,
    layer: &Layer,
    (changed, commit): &(u64, String),
) -> Vec<String> {
    let mut missing = Vec::new();
    if record.layer != layer.layer {
        missing.push(format!("{} is a record of {}", path.display(), record.layer));
    }
    if record.started < *changed {
        let short = &commit[..commit.len().min(10)];
        missing.push(format!(
            "it was begun {} s before src/ changed last, in {short}",
            changed - record.started
        ));
    }
    // Newer by the clock is not enough: another branch may have been checked out.
    if let Some(why) = crate::record::other_source(sources, &record.commit) {
        missing.push(why);
    }
    missing
}

/// What was too little, too much, or another command.
fn short(record: &Record, layer: &Layer) -> Vec<String> {
    let mut missing = Vec::new();
    if let Some(wanted) = layer.command.as_ref().filter(|wanted| **wanted != record.command.join(" ")) {
        missing.push(match record.command.join(" ") {
            none if none.is_empty() => format!("it does not say that `{wanted}` was run"),
            other => format!("it is one of `{other}`, not of `{wanted}`"),
        });
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

    fn record(dir: &Path, verdict: Verdict, seeds: f64, started: SystemTime) -> Record {
        let numbers = BTreeMap::from([("seeds".to_owned(), seeds)]);
        let commit = crate::record::commit(dir).unwrap();
        let started = started.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (layer, command) = ("sim".to_owned(), Vec::new());
        Record { layer, commit, started, seconds: 1.0, verdict, numbers, command }
    }

    fn write(dir: &Path, verdict: Verdict, seeds: f64, started: SystemTime) {
        record(dir, verdict, seeds, started).write(&dir.join("records")).unwrap();
    }

    fn missing_of(dir: &Path, slo: &str) -> String {
        let slo: Slo = crate::yaml::parse(slo, "slo.yaml").unwrap();
        let owed = judge(dir, &dir.join("records"), &slo).unwrap();
        owed[0].missing.join("; ")
    }

    fn missing(dir: &Path) -> String {
        missing_of(
            dir,
            "objectives: []\nrelease: [{layer: sim, run: orch-harness sim, at_least: {seeds: 1000}}]\n",
        )
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

    /// A release that has not been looked at and one that has failed had the same exit code.
    #[test]
    fn a_fault_that_was_shown_is_told_from_what_was_not_shown() {
        let dir = repository();
        let later = SystemTime::now() + Duration::from_secs(5);
        let broken = || {
            let slo = "objectives: [{measure: seeds, says: a, at_most: 2000}]\n\
                       release: [{layer: sim, run: a, at_least: {seeds: 1000}, at_most: {seeds: 3000}, objectives: true}]\n";
            let slo: Slo = crate::yaml::parse(slo, "slo.yaml").unwrap();
            let owed = judge(dir.path(), &dir.path().join("records"), &slo).unwrap().remove(0);
            (owed.missing.is_empty(), owed.broken)
        };
        assert_eq!(broken(), (false, false), "there is no record");
        for (verdict, seeds, expected) in [
            (Verdict::Held, 1000.0, (true, false)),
            (Verdict::Held, 999.0, (false, false)),
            (Verdict::Invalid, 1000.0, (false, false)),
            (Verdict::Broken, 1000.0, (false, true)),
            (Verdict::Held, 2001.0, (false, true)),
            (Verdict::Held, 3001.0, (false, true)),
        ] {
            write(dir.path(), verdict, seeds, later);
            assert_eq!(broken(), expected, "{verdict:?} {seeds}");
        }
        write(dir.path(), Verdict::Broken, 1000.0, later - Duration::from_secs(3600));
        assert_eq!(broken(), (false, false), "a run of older sources");
    }

    /// Twenty seeds cannot hit every probe; the gate called that a fault, in a line that said `missing`.
    #[test]
    fn a_run_that_was_too_small_shows_no_fault_by_what_it_has_missed() {
        let dir = repository();
        let later = SystemTime::now() + Duration::from_secs(5);
        let slo = "objectives: []\nrelease: [{layer: sim, run: a, at_least: {seeds: 1000}, at_most: {seeds: 500}}]\n";
        let slo: Slo = crate::yaml::parse(slo, "slo.yaml").unwrap();
        for (seeds, broken, word) in [(600.0, false, "missing  sim: "), (1000.0, true, "broken   sim: ")] {
            write(dir.path(), Verdict::Held, seeds, later);
            let owed = judge(dir.path(), &dir.path().join("records"), &slo).unwrap().remove(0);
            assert_eq!(owed.broken, broken, "{seeds}");
            assert!(owed.text().starts_with(word), "{}", owed.text());
        }
    }

    #[test]
    fn outside_of_the_sources_the_next_step_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let slo: Slo = crate::yaml::parse(crate::gate::BUILT_IN, "slo.yaml").unwrap();
        let why = judge(dir.path(), dir.path(), &slo).unwrap_err();
        assert!(why.ends_with("run this at the root of orch's sources"), "{why}");
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

    /// `record tests -- true` was a test suite that had passed.
    #[test]
    fn a_record_of_another_command_shows_nothing() {
        let dir = repository();
        let later = SystemTime::now() + Duration::from_secs(5);
        let slo = "objectives: []\nrelease: [{layer: sim, run: a, command: cargo test --workspace}]\n";
        for (command, says) in [
            ("", "it does not say that `cargo test --workspace` was run"),
            ("true", "it is one of `true`, not of `cargo test --workspace`"),
            ("cargo test --workspace one", "not of `cargo test --workspace`"),
            ("cargo test --workspace", ""),
        ] {
            let command = command.split_whitespace().map(str::to_owned).collect();
            let record = Record { command, ..record(dir.path(), Verdict::Held, 1.0, later) };
            record.write(&dir.path().join("records")).unwrap();
            let missing = missing_of(dir.path(), slo);
            assert!(if says.is_empty() { missing.is_empty() } else { missing.contains(says) }, "{missing}");
        }
    }

    /// The longest soak owed hours without a violation, and could be as slow as it liked.
    #[test]
    fn the_objectives_are_asked_of_the_record_of_a_soak() {
        let dir = repository();
        let later = SystemTime::now() + Duration::from_secs(5);
        write(dir.path(), Verdict::Held, 7.0, later);
        let slo = |most: u32, asked: bool| {
            format!(
                "objectives: [{{measure: seeds, says: a claim, unit: ms, at_most: {most}}}]\n\
                 release: [{{layer: sim, run: a, objectives: {asked}}}]\n"
            )
        };
        assert_eq!(missing_of(dir.path(), &slo(7, true)), "");
        assert_eq!(missing_of(dir.path(), &slo(6, true)), "a claim: 7 ms, target ≤ 6 ms");
        assert_eq!(missing_of(dir.path(), &slo(6, false)), "");
    }

    /// A command that succeeds is no layer, whatever it is called.
    #[test]
    fn no_layer_of_ours_is_content_with_any_command_that_succeeds() {
        let dir = repository();
        let later = SystemTime::now() + Duration::from_secs(5);
        let slo: Slo = crate::yaml::parse(crate::gate::BUILT_IN, "slo.yaml").unwrap();
        for layer in &slo.release {
            let (name, command) = (layer.layer.clone(), vec!["true".to_owned()]);
            let record = Record { layer: name, command, ..record(dir.path(), Verdict::Held, 1.0, later) };
            let record = Record { numbers: BTreeMap::new(), ..record };
            record.write(&dir.path().join("records")).unwrap();
        }
        let owed = judge(dir.path(), &dir.path().join("records"), &slo).unwrap();
        let content: Vec<&Owed> = owed.iter().filter(|owed| owed.missing.is_empty()).collect();
        assert!(content.is_empty(), "{content:?}");
    }

    /// The gate demanded what no step of the workflow made or fetched, so that it could not be passed.
    #[test]
    fn the_release_workflow_makes_or_fetches_every_layer() {
        let workflows = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows");
        let text = std::fs::read_to_string(workflows.join("release.yml")).unwrap();
        let workflow: serde_json::Value = crate::yaml::parse(&text, "release.yml").unwrap();
        let made = workflow["jobs"]["layers"]["strategy"]["matrix"]["include"].as_array().unwrap();
        let slo: Slo = crate::yaml::parse(crate::gate::BUILT_IN, "slo.yaml").unwrap();
        for Layer { layer, run, .. } in &slo.release {
            if layer.starts_with("soak-") {
                assert!(text.contains(&format!("fetch {layer} ")), "nothing fetches {layer}");
                assert!(workflows.join(format!("{layer}.yml")).exists(), "nothing makes {layer}");
                continue;
            }
            let ours = made.iter().find(|step| step["layer"] == **layer).map(|step| &step["run"]);
            let words = run.strip_prefix("cargo run --release -p orch-harness -- ");
            let words = words.or_else(|| run.strip_prefix("orch-harness ")).unwrap();
            assert_eq!(ours.and_then(|run| run.as_str()), Some(words), "{layer}");
        }
    }
}
