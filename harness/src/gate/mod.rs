//! The gate: compares what was measured with the objectives of `soak/slo.yaml`, one line each; and before a release
//! ([`rc`]) demands a fresh record of every layer.

pub mod rc;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

/// One objective.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// The measure of the report.
    pub measure: String,
    /// What it says, for people.
    pub says: String,
    /// The unit, for people.
    #[serde(default)]
    pub unit: String,
    /// It must not be more than this.
    pub at_most: Option<f64>,
    /// It must not be less than this.
    pub at_least: Option<f64>,
    /// To `at_most`, this many times another measure is added.
    pub plus: Option<Plus>,
    /// What a run must have for this to be asked of it: a trend needs time, whatever was measured in less.
    pub needs: Option<Needs>,
    /// What to tell beside it: a part of what was measured that is not orch's.
    pub beside: Option<Beside>,
}

/// A measure that explains another one.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// The measure, of the same unit.
    pub measure: String,
    /// What it says, for people.
    pub says: String,
}

/// What an objective needs to say anything.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// A measure of the run.
    pub measure: String,
    /// It has at least this; with less, the objective is not asked.
    pub at_least: f64,
}

/// A part of a target that depends on the run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plus {
    /// The other measure.
    pub measure: String,
    /// How many times it counts.
    pub times: f64,
}

/// What one layer owes before a release.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Its name, that of its record.
    pub layer: String,
    /// How to get it.
    pub run: String,
    /// The least numbers of its record.
    #[serde(default)]
    pub at_least: BTreeMap<String, f64>,
    /// The largest numbers of its record.
    #[serde(default)]
    pub at_most: BTreeMap<String, f64>,
    /// The command that its record must be of, word for word, where `record` makes it: that one knows no numbers.
    pub command: Option<String>,
    /// Whether the objectives are asked of its record, which is one of a soak.
    #[serde(default)]
    pub objectives: bool,
}

/// The objectives and what a release candidate owes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Objectives of a soak.
    pub objectives: Vec<Objective>,
    /// Layers that a release candidate needs.
    pub release: Vec<Layer>,
}

impl Slo {
    /// Reads objectives, and checks that they ask something.
    ///
    /// # Errors
    /// The file, and what is wrong with it.
    pub fn read(path: &Path) -> Result<Slo, String> {
        let slo: Slo = crate::yaml::read(path)?;
        slo.check().map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(slo)
    }

    /// Checks that there are objectives, and that each of them can fail.
    ///
    /// # Errors
    /// What asks nothing, and what to write.
    pub fn check(&self) -> Result<(), String> {
        if self.objectives.is_empty() {
            return Err(
                "`objectives` is empty, and would hold whatever was measured: name one at least".to_owned()
            );
        }
        for Objective { measure, at_most, at_least, plus, .. } in &self.objectives {
            if at_most.is_none() && at_least.is_none() {
                return Err(format!(
                    "the objective of `{measure}` has no target and would always hold: give it at_most or at_least"
                ));
            }
            if at_most.is_none() && plus.is_some() {
                return Err(format!(
                    "the objective of `{measure}` has `plus` without at_most, to which it is added"
                ));
            }
        }
        Ok(())
    }
}

/// The objectives that this program was built with.
pub const BUILT_IN: &str = include_str!("../../../soak/slo.yaml");

/// The judgement of one objective.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it says.
    pub says: String,
    /// The measure.
    pub measure: String,
    /// What was measured, if it was.
    pub measured: Option<f64>,
    /// The target, for people.
    pub target: String,
    /// The unit.
    pub unit: String,
    /// Whether it holds. What was not measured does not hold.
    pub holds: bool,
    /// Why it is not asked of this run, where it is not; it then stands in no one's way and shows nothing.
    pub unasked: Option<String>,
    /// What explains the measure, with its number.
    pub beside: Option<String>,
}

impl Line {
    /// What was measured, for people.
    #[must_use]
    pub fn measured(&self) -> String {
        match self.measured {
            Some(value) => format!("{} {}", exact(value), self.unit).trim().to_owned(),
            None => "not measured".to_owned(),
        }
    }

    /// The verdict as a word.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (&self.unasked, self.holds, self.measured) {
            (Some(_), ..) => "unasked",
            (None, true, _) => "holds",
            (None, false, Some(_)) => "broken",
            (None, false, None) => "unknown",
        }
    }

    /// What is told after it: why it is not asked, or what explains it.
    #[must_use]
    pub fn aside(&self) -> Option<&str> {
        self.unasked.as_deref().or(self.beside.as_deref())
    }

    /// Whether a release may happen as far as this is concerned.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.holds || self.unasked.is_some()
    }

    /// The line for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "measure": self.measure,
            "says": self.says,
            "measured": self.measured,
            "target": self.target,
            "holds": self.holds,
            "unasked": self.unasked,
            "beside": self.beside,
        })
    }
}

/// Judges measures by objectives.
#[must_use]
pub fn judge(slo: &Slo, numbers: &BTreeMap<String, f64>) -> Vec<Line> {
    slo.objectives.iter().map(|objective| line(objective, numbers)).collect()
}

fn line(objective: &Objective, numbers: &BTreeMap<String, f64>) -> Line {
    let measured = numbers.get(&objective.measure).copied();
    let plus = objective.plus.as_ref();
    let added = match plus {
        Some(plus) => numbers.get(&plus.measure).map(|value| value * plus.times),
        None => Some(0.0),
    };
    let most = objective.at_most.map(|most| added.map(|added| most + added));
    let mut target = Vec::new();
    match most {
        Some(Some(most)) => target.push(format!("≤ {}", exact(most))),
        Some(None) => target.push("unknown".to_owned()),
        None => {}
    }
    if let Some(least) = objective.at_least {
        target.push(format!("≥ {}", exact(least)));
    }
    let holds = measured.is_some_and(|value| {
        let low = objective.at_least.is_none_or(|least| value >= least);
        let high = match most {
            None => true,
            Some(most) => most.is_some_and(|most| value <= most),
        };
        low && high
    });
    let target = format!("{} {}", target.join(" and "), objective.unit).trim().to_owned();
    let unasked = objective.needs.as_ref().and_then(|needs| {
        // A run that does not say how much it has is asked.
        let has = numbers.get(&needs.measure).filter(|has| **has < needs.at_least)?;
        Some(format!("{} is {}, and this needs {}", needs.measure, exact(*has), exact(needs.at_least)))
    });
    let beside = objective.beside.as_ref().and_then(|beside| {
        let part = numbers.get(&beside.measure)?;
        Some(format!("{}: {} {}", beside.says, exact(*part), objective.unit).trim().to_owned())
    });
    let (says, measure, unit) = (objective.says.clone(), objective.measure.clone(), objective.unit.clone());
    Line { says, measure, measured, target, unit, holds, unasked, beside }
}

/// A number without digits that say nothing.
fn exact(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The lines as a table.
#[must_use]
pub fn table(lines: &[Line]) -> String {
    let wide =
        |text: &dyn Fn(&Line) -> String| lines.iter().map(|l| text(l).chars().count()).max().unwrap_or(0);
    let (says, measured) = (wide(&|l| l.says.clone()), wide(&Line::measured));
    let target = wide(&|l| l.target.clone());
    let row = |line: &Line| {
        let mark = line.verdict();
        let why = line.aside().map(|why| format!("  ({why})")).unwrap_or_default();
        format!(
            "{mark:<7}  {:<says$}  {:>measured$}  {:<target$}{why}",
            line.says,
            line.measured(),
            line.target
        )
    };
    lines.iter().map(|line| row(line).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> BTreeMap<String, f64> {
        [("lost_operations", 0.0), ("late", 5500.0), ("period", 1000.0), ("up", 99.95)]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    fn one(text: &str) -> Line {
        let slo: Slo =
            crate::yaml::parse(&format!("objectives:\n  - {text}\nrelease: []\n"), "slo.yaml").unwrap();
        judge(&slo, &numbers()).remove(0)
    }

    #[test]
    fn an_objective_holds_up_to_its_target_and_not_beyond() {
        assert!(one("{measure: lost_operations, says: a, at_most: 0}").holds);
        assert!(one("{measure: late, says: a, at_most: 5000, plus: {measure: period, times: 1}}").holds);
        assert!(!one("{measure: late, says: a, at_most: 5000, plus: {measure: period, times: 0.4}}").holds);
        assert!(one("{measure: up, says: a, at_least: 99.9}").holds);
        assert!(!one("{measure: up, says: a, at_least: 99.99}").holds);
    }

    #[test]
    fn what_was_not_measured_does_not_hold() {
        let line = one("{measure: nothing, says: a, at_most: 5}");
        assert_eq!(
            (line.holds, line.verdict(), line.measured().as_str()),
            (false, "unknown", "not measured")
        );
        let line = one("{measure: late, says: a, at_most: 1e9, plus: {measure: nothing, times: 1}}");
        assert!(!line.holds);
    }

    /// The two minutes of a smoke run showed 1.6 MiB an hour: 50 KiB of warm-up, and the gate was red for good.
    #[test]
    fn a_trend_is_asked_only_of_a_run_that_is_long_enough() {
        let text = |least: &str| {
            format!("{{measure: late, says: a, at_most: 1, needs: {{measure: period, at_least: {least}}}}}")
        };
        let short = one(&text("1001"));
        assert_eq!((short.verdict(), short.passes(), short.holds), ("unasked", true, false));
        assert!(table(std::slice::from_ref(&short)).ends_with("(period is 1000, and this needs 1001)"));
        let long = one(&text("1000"));
        assert_eq!((long.verdict(), long.passes()), ("broken", false));
        let unknown = one("{measure: late, says: a, at_most: 1, needs: {measure: nothing, at_least: 1}}");
        assert!(!unknown.passes(), "what does not say how long it took is asked");
    }

    /// A gate was red because a claim took 62 ms, and nobody could tell that 37 of them were git's own on that computer.
    #[test]
    fn what_explains_a_measure_is_told_beside_it_and_changes_no_verdict() {
        let line =
            one("{measure: late, says: a, unit: ms, at_most: 40, beside: {measure: period, says: git}}");
        assert_eq!((line.verdict(), line.passes()), ("broken", false));
        assert!(table(std::slice::from_ref(&line)).ends_with("≤ 40 ms  (git: 1000 ms)"));
        assert_eq!(line.json()["beside"], "git: 1000 ms");
        let without = one("{measure: late, says: a, at_most: 40, beside: {measure: nothing, says: git}}");
        assert_eq!((without.aside(), without.verdict()), (None, "broken"));
    }

    #[test]
    fn the_objectives_that_we_ship_name_measures_that_reports_have() {
        let slo: Slo = crate::yaml::parse(BUILT_IN, "slo.yaml").unwrap();
        let known = crate::report::MEASURES;
        for objective in &slo.objectives {
            assert!(known.contains(&objective.measure.as_str()), "no report has {}", objective.measure);
            if let Some(needs) = &objective.needs {
                assert!(known.contains(&needs.measure.as_str()), "no report has {}", needs.measure);
            }
            if let Some(beside) = &objective.beside {
                assert!(known.contains(&beside.measure.as_str()), "no report has {}", beside.measure);
            }
        }
        assert_eq!(slo.check(), Ok(()));
    }

    /// `objectives: []` was "all hold", and an objective whose target was forgotten held whatever was measured.
    #[test]
    fn objectives_that_ask_nothing_are_a_fault_of_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.yaml");
        for (objectives, says) in [
            ("[]", "`objectives` is empty"),
            ("[{measure: late, says: a}]", "the objective of `late` has no target"),
            (
                "[{measure: late, says: a, at_least: 1, plus: {measure: up, times: 1}}]",
                "the objective of `late` has `plus` without at_most",
            ),
        ] {
            std::fs::write(&path, format!("objectives: {objectives}\nrelease: []\n")).unwrap();
            let why = Slo::read(&path).unwrap_err();
            assert!(why.starts_with(&format!("{}: {says}", path.display())), "{why}");
        }
        std::fs::write(&path, "objectives: [{measure: late, says: a, at_most: 0}]\nrelease: []\n").unwrap();
        assert_eq!(Slo::read(&path).unwrap().objectives.len(), 1);
    }
}
