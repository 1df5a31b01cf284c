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

Exit codes: 0 all objectives hold, 1 one does not, 2 usage, 3 the report is of an invalid run or missing")]
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
    #[arg(long, value_name = "DIR")]
    records: Option<PathBuf>,

    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Gate {
    /// Judges and prints.
    pub fn run(self) -> ExitCode {
        match self.gate() {
            Ok(verdict) => ExitCode::from(verdict.code()),
            Err(why) => {
                eprintln!("error: {why}");
                ExitCode::from(Verdict::Invalid.code())
            }
        }
    }

    fn gate(self) -> Result<Verdict, String> {
        let slo: Slo = match &self.slo {
            Some(path) => match absent::objectives(path).and_then(|()| crate::yaml::read(path)) {
                Ok(slo) => slo,
                Err(why) => {
                    eprintln!("error: {why}");
                    // Objectives that nobody can read are a matter of usage, as a profile is.
                    std::process::exit(2);
                }
            },
            None => crate::yaml::parse(gate::BUILT_IN, "soak/slo.yaml")?,
        };
        let path = self.report.clone().unwrap_or_else(|| absent::runs().join("24h"));
        let judged = read(&path);
        let owed = if self.rc {
            let records = self.records.clone().unwrap_or_else(record::folder);
            rc::judge(Path::new("."), &records, &slo)?
        } else {
            Vec::new()
        };
        let (verdict, lines) = match &judged {
            Ok(twin) => judge(&slo, twin),
            // Before a release everything that is missing is told at once.
            Err(_) if self.rc => (Verdict::Broken, Vec::new()),
            Err(why) => return Err(why.clone()),
        };
        let all_there = owed.iter().all(|owed| owed.missing.is_empty());
        let verdict = if all_there { verdict } else { Verdict::Broken };
        if self.json {
            let objectives: Vec<Value> = lines.iter().map(Line::json).collect();
            let layer = |o: &rc::Owed| json!({"layer": o.layer, "missing": o.missing, "run": o.run});
            let layers: Vec<Value> = owed.iter().map(layer).collect();
            let data = json!({"verdict": verdict.word(), "objectives": objectives, "release": layers});
            println!("{}", json!({"schema_version": 1, "data": data}));
            return Ok(verdict);
        }
        match &judged {
            Ok(twin) => {
                println!(
                    "{} ({}, {} s)",
                    path.display(),
                    twin["verdict"].as_str().unwrap_or("?"),
                    twin["seconds"]
                );
                println!("{}", gate::table(&lines));
            }
            Err(why) => println!("missing  report: {why}"),
        }
        for owed in &owed {
            println!("{}", owed.text());
        }
        let broken = lines.iter().filter(|line| !line.passes()).count()
            + owed.iter().filter(|o| !o.missing.is_empty()).count();
        println!(
            "{}",
            if verdict == Verdict::Held {
                "gate: all hold".to_owned()
            } else {
                format!("gate: {} ({broken} do not hold)", verdict.word())
            }
        );
        Ok(verdict)
    }
}

fn judge(slo: &Slo, twin: &Value) -> (Verdict, Vec<Line>) {
    let measures = twin["measures"].as_object().cloned().unwrap_or_default();
    let numbers: BTreeMap<String, f64> =
        measures.into_iter().filter_map(|(name, value)| Some((name, value.as_f64()?))).collect();
    let lines = gate::judge(slo, &numbers);
    let verdict = match twin["verdict"].as_str() {
        Some("invalid") => Verdict::Invalid,
        Some("held") if lines.iter().all(Line::passes) => Verdict::Held,
        _ => Verdict::Broken,
    };
    (verdict, lines)
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
