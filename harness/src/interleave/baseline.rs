//! How many executions each exploration had when somebody last looked: a run with far fewer has lost points, and says
//! less than it seems to.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::bound::Bound;
use super::stage::Outcome;

/// One exploration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Executions.
    pub iterations: u64,
    /// What they took on the machine that wrote this down; for people only.
    pub seconds: f64,
}

/// By scenario and bound.
pub type Baseline = BTreeMap<String, BTreeMap<String, Run>>;

impl Run {
    /// What came of an exploration.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Run {
        Run { iterations: outcome.iterations, seconds: (outcome.took.as_secs_f64() * 10.0).round() / 10.0 }
    }
}

/// What is tracked.
///
/// # Panics
/// When the tracked file is not valid, which a test finds first.
#[must_use]
pub fn tracked() -> Baseline {
    serde_json::from_str(include_str!("baseline.json")).expect("the tracked file is valid")
}

/// Why a run shows less than it should: its executions are less than four fifths of those that are tracked, or nothing is
/// tracked that they could be compared with.
#[must_use]
pub fn shrunk(scene: &str, bound: Bound, run: &Run) -> Option<String> {
    match tracked().get(scene).and_then(|runs| runs.get(&bound.to_string())) {
        Some(before) => less(before, run),
        None => Some("there is no number to compare it with; note this one with --record".to_owned()),
    }
}

fn less(before: &Run, now: &Run) -> Option<String> {
    let shrunk = now.iterations * 5 < before.iterations * 4;
    shrunk.then(|| {
        format!(
            "{} executions, there used to be {}; if that is meant, note it with --record",
            now.iterations, before.iterations
        )
    })
}

/// Writes what was found into a file of this form; what is there of other scenarios and bounds stays.
///
/// # Errors
/// Why the file cannot be read or written.
pub fn write(file: &Path, found: &Baseline) -> Result<(), String> {
    let mut all: Baseline = match std::fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text).map_err(|why| why.to_string())?,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Baseline::new(),
        Err(why) => return Err(why.to_string()),
    };
    for (scene, runs) in found {
        all.entry(scene.clone()).or_default().extend(runs.iter().map(|(bound, run)| (bound.clone(), *run)));
    }
    let text = serde_json::to_string_pretty(&all).map_err(|why| why.to_string())? + "\n";
    std::fs::write(file, text).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interleave::scenes::{SCENES, named};

    fn run(iterations: u64) -> Run {
        Run { iterations, seconds: 1.0 }
    }

    #[test]
    fn a_fifth_less_is_told_and_a_little_less_or_more_is_not() {
        assert_eq!(less(&run(100), &run(80)), None);
        assert_eq!(less(&run(100), &run(500)), None);
        let told = less(&run(100), &run(79));
        assert!(told.is_some_and(|text| text.contains("there used to be 100")));
    }

    /// Most explorations were compared with nothing: a scenario that nobody had noted was taken for one that had not shrunk.
    #[test]
    fn what_is_tracked_is_what_there_is() {
        let tracked = tracked();
        for scene in tracked.keys() {
            assert!(named(scene).is_some(), "{scene}");
        }
        for scene in SCENES {
            for bound in scene.full.iter().chain([&scene.ci]) {
                let noted = tracked.get(scene.name).is_some_and(|runs| runs.contains_key(&bound.to_string()));
                assert!(noted, "{} within {bound}", scene.name);
            }
        }
        assert!(
            shrunk("claim-claim", Bound::Within(99), &run(1_000_000))
                .is_some_and(|why| why.contains("--record"))
        );
    }

    #[test]
    fn notes_of_other_runs_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("b.json");
        let note = |scene: &str, bound: &str, count| {
            let runs = BTreeMap::from([(bound.to_owned(), run(count))]);
            write(&file, &BTreeMap::from([(scene.to_owned(), runs)])).unwrap();
        };
        note("one", "2", 10);
        note("one", "all", 20);
        note("two", "2", 30);
        note("one", "2", 11);
        let all: Baseline = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!((all["one"]["2"], all["one"]["all"], all["two"]["2"]), (run(11), run(20), run(30)));
    }
}
