//! `orch-harness gate`: objectives against what was measured, and what a release candidate owes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::gate::{self, Line, Slo, rc};
use crate::record::{self, Verdict};
use crate::report::{Report, TWIN};
use crate::soak::absent;

/// Compare a report with the objectives; before a release, demand every layer
///
/// One line for each objective: verdict, what it says, measured, target. What was not measured does not hold.
/// What needs a longer run is not asked of a short one, and the line says so.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch-harness gate --report target/soak/ci
  orch-harness gate --report target/soak/24h/report.json --slo soak/slo.yaml
  orch-harness gate --rc                         the 24 h report, and a fresh record of every layer

Exit codes: 0 all objectives hold, 1 one does not (with --rc: or a layer shows a fault), 2 usage, or
objectives that ask nothing, 3 the report is missing or of an invalid run (with --rc: or the record
of a layer is missing, older than the sources, or of too little), and nothing is broken")]
pub struct Gate {
    /// Folder of a run, or its report.json [default with --rc: target/soak/24h]
    #[arg(long, value_name = "PATH", required_unless_present = "rc")]
    report: Option<PathBuf>,

    /// Objectives [default: soak/slo.yaml, as this program was built with]
    #[arg(long, value_name = "FILE")]
    slo: Option<PathBuf>,

    /// Also demand a record of every other layer, of these sources and newer than their last change
    #[arg(long)]
    rc: bool,

    /// Folder of the records [default: target/harness]
    #[arg(long, value_name = "DIR", requires = "rc")]
    records: Option<PathBuf>,

    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Gate {
    /// Judges and prints.
    pub fn run(self) -> ExitCode {
        match self.judged() {
            Ok(judged) => {
                if self.json {
                    println!("{}", judged.json());
                } else {
                    println!("{}", judged.text());
                }
                ExitCode::from(judged.verdict().code())
            }
            Err((code, why)) => {
                eprintln!("error: {why}");
                ExitCode::from(code)
            }
        }
    }

    /// The judgement.
    ///
    /// # Errors
    /// The exit code, and why nothing could be judged.
    fn judged(&self) -> Result<Judged, (u8, String)> {
        let invalid = |why: String| (Verdict::Invalid.code(), why);
        let slo = match &self.slo {
            // Objectives that nobody can use are a matter of usage, as a profile is.
            Some(path) => absent::objectives(path).and_then(|()| Slo::read(path)).map_err(|why| (2, why))?,
            None => crate::yaml::parse(gate::BUILT_IN, "soak/slo.yaml").map_err(invalid)?,
        };
        let path = self.report.clone().unwrap_or_else(|| absent::runs().join("24h"));
        let owed = if self.rc {
            if slo.release.is_empty() {
                let slo = self.slo.as_deref().unwrap_or(Path::new("soak/slo.yaml"));
                let why =
                    "`release` is empty, and --rc would demand nothing: name a layer, or leave --rc out";
                return Err((2, format!("{}: {why}", slo.display())));
            }
            let records = self.records.clone().unwrap_or_else(record::folder);
            rc::judge(Path::new("."), &records, &slo).map_err(invalid)?
        } else {
            Vec::new()
        };
        let report = read(&path);
        // Before a release everything that is missing is told at once.
        if let (Err(why), false) = (&report, self.rc) {
            return Err(invalid(why.clone()));
        }
        let lines = report.as_ref().map(|twin| gate::judge(&slo, &numbers(twin))).unwrap_or_default();
        Ok(Judged { path, report, lines, owed })
    }
}

/// What was judged.
struct Judged {
    path: PathBuf,
    /// The twin of the report, or why there is none.
    report: Result<Value, String>,
    lines: Vec<Line>,
    owed: Vec<rc::Owed>,
}

impl Judged {
    /// What is broken counts for more than what was not shown.
    fn verdict(&self) -> Verdict {
        let report = match self.report.as_ref().map(|twin| twin["verdict"].as_str()) {
            Err(_) | Ok(Some("invalid")) => Verdict::Invalid,
            Ok(Some("held")) => super::held_or_broken(self.lines.iter().all(Line::passes)),
            Ok(_) => Verdict::Broken,
        };
        let layers = self.owed.iter().filter(|owed| !owed.missing.is_empty());
        let layers = layers.map(|owed| if owed.broken { Verdict::Broken } else { Verdict::Invalid });
        let all: Vec<Verdict> = layers.chain([report]).collect();
        let worst = [Verdict::Broken, Verdict::Invalid].into_iter().find(|verdict| all.contains(verdict));
        worst.unwrap_or(Verdict::Held)
    }

    /// How much stands in the way: objectives, layers, and a report that is not there.
    fn failing(&self) -> usize {
        self.lines.iter().filter(|line| !line.passes()).count()
            + self.owed.iter().filter(|owed| !owed.missing.is_empty()).count()
            + usize::from(self.report.is_err())
    }

    /// For programs.
    fn json(&self) -> Value {
        let layer = |o: &rc::Owed| json!({"layer": o.layer, "missing": o.missing, "run": o.run});
        let data = json!({
            "verdict": self.verdict().word(),
            "report": {"path": self.path, "missing": self.report.as_ref().err()},
            "failing": self.failing(),
            "objectives": self.lines.iter().map(Line::json).collect::<Vec<_>>(),
            "release": self.owed.iter().map(layer).collect::<Vec<_>>(),
        });
        json!({"schema_version": 1, "data": data})
    }

    /// For people.
    fn text(&self) -> String {
        let mut lines = match &self.report {
            Ok(twin) => {
                let verdict = twin["verdict"].as_str().unwrap_or("?");
                let head = format!("{} ({verdict}, {} s)", self.path.display(), twin["seconds"]);
                vec![head, gate::table(&self.lines)]
            }
            Err(why) => vec![format!("missing  report: {why}")],
        };
        lines.extend(self.owed.iter().map(rc::Owed::text));
        lines.push(match self.verdict() {
            Verdict::Held => "gate: all hold".to_owned(),
            other => format!("gate: {} ({} do not hold)", other.word(), self.failing()),
        });
        lines.join("\n")
    }
}

/// The measures of a report.
fn numbers(twin: &Value) -> BTreeMap<String, f64> {
    let measures = twin["measures"].as_object().cloned().unwrap_or_default();
    measures.into_iter().filter_map(|(name, value)| Some((name, value.as_f64()?))).collect()
}

/// The twin of a report, from the folder of a run or from its file.
fn read(path: &Path) -> Result<Value, String> {
    absent::report(path, TWIN)?;
    if path.is_dir() && path.join(crate::soak::checkpoint::FILE).exists() {
        return Report::of(path).map(|report| report.twin());
    }
    let file = if path.is_dir() { path.join(TWIN) } else { path.to_owned() };
    let text = std::fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
    let twin: Value =
        serde_json::from_str(&text).map_err(|why| absent::no_report(&file, &why.to_string()))?;
    if !twin["measures"].is_object() {
        return Err(absent::no_report(&file, "it holds no `measures`"));
    }
    Ok(twin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owed(missing: &[&str], broken: bool) -> rc::Owed {
        let missing = missing.iter().map(|&why| why.to_owned()).collect();
        rc::Owed { layer: "sim".to_owned(), missing, broken, run: "orch-harness sim".to_owned() }
    }

    fn judged(report: Result<&str, &str>, owed: Vec<rc::Owed>) -> Judged {
        let slo = "objectives: [{measure: lost, says: a, at_most: 0}]\nrelease: []\n";
        let slo: Slo = crate::yaml::parse(slo, "slo.yaml").unwrap();
        let report = report.map_err(str::to_owned);
        let report =
            report.map(|verdict| json!({"verdict": verdict, "seconds": 9, "measures": {"lost": 0.0}}));
        let lines = report.as_ref().map(|twin| gate::judge(&slo, &numbers(twin))).unwrap_or_default();
        Judged { path: PathBuf::from("x"), report, lines, owed }
    }

    /// A missing report was told, and neither counted nor in the document; with it the exit code was 1.
    #[test]
    fn a_report_that_is_missing_counts_and_is_told_to_programs() {
        let judged = judged(Err("x: there is no such folder"), vec![owed(&[], false)]);
        assert_eq!((judged.verdict(), judged.failing()), (Verdict::Invalid, 1));
        assert!(judged.text().ends_with("gate: invalid (1 do not hold)"), "{}", judged.text());
        let data = &judged.json()["data"];
        assert_eq!(data["report"], json!({"path": "x", "missing": "x: there is no such folder"}));
        assert_eq!((&data["verdict"], &data["failing"]), (&json!("invalid"), &json!(1)));
    }

    #[test]
    fn what_is_broken_counts_for_more_than_what_was_not_shown() {
        let late = || owed(&["there is no sim.json"], false);
        let fault = || owed(&["its last run is broken"], true);
        for (report, layers, verdict) in [
            (Ok("held"), vec![owed(&[], false)], Verdict::Held),
            (Ok("held"), vec![late()], Verdict::Invalid),
            (Ok("invalid"), vec![], Verdict::Invalid),
            (Ok("broken"), vec![late()], Verdict::Broken),
            (Err("none"), vec![late(), fault()], Verdict::Broken),
        ] {
            assert_eq!(judged(report, layers).verdict(), verdict, "{report:?}");
        }
        assert_eq!(judged(Ok("held"), Vec::new()).json()["data"]["report"]["missing"], Value::Null);
    }
}
