//! `orch doctor`: one line per check, what was mended, and exit code 8 while problems remain.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::failure;
use crate::cli::render::style::{Style, Tone};
use crate::cli::render::text;
use crate::usecase::doctor::{Check, Report};
use crate::usecase::error::{Kind, Result};

/// Test everything that the queue stands on, and mend what is damaged
///
/// Tests disk, locks, clocks, git, the remote (by making and deleting a test ref), settings, the local repository
/// and every task file. Nothing is changed without --repair. A repair loses nothing: damaged bytes are kept,
/// an invalid edit is left to its author, and nothing is ever pushed over something that was not looked at. Exits 8
/// while problems remain.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch doctor
  orch doctor --repair
  orch doctor --json | jq '.data.checks[] | select(.ok | not)'
  orch doctor --no-sync             leave the remote alone")]
pub struct Doctor {
    /// Restore damaged files, make a damaged repository or index anew, publish again what the remote has lost
    #[arg(long)]
    pub repair: bool,
}

impl Doctor {
    /// Examines.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let report = context.doctor(self.repair)?;
        context.print(|| data(&report), |style| page(&report, style))?;
        Ok(if report.ok { failure::OK } else { Kind::Damaged as i32 })
    }
}

fn data(report: &Report) -> Value {
    let check = |check: &Check| {
        json!({
            "name": check.name,
            "ok": check.ok,
            "detail": check.detail,
            "hint": check.hint,
            "problems": check.problems,
        })
    };
    json!({
        "ok": report.ok,
        "problems": report.problems,
        "checks": report.checks.iter().map(check).collect::<Vec<_>>(),
        "repaired": report.repaired,
    })
}

fn page(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for check in &report.checks {
        let mark = match (check.ok, &check.hint) {
            (true, None) => style.paint(Tone::Green, "ok  "),
            (true, Some(_)) => style.paint(Tone::Yellow, "note"),
            (false, _) => style.paint(Tone::Red, "BAD "),
        };
        out.push_str(&format!("{mark}  {:<13} {}\n", check.name, text::line(&check.detail)));
        if check.problems.len() > 1 {
            for problem in &check.problems {
                out.push_str(&format!("      {}\n", text::line(problem)));
            }
        }
        if let Some(hint) = &check.hint {
            out.push_str(&format!("      {}\n", style.paint(Tone::Dim, &text::line(hint))));
        }
    }
    for what in &report.repaired {
        out.push_str(&format!("repaired: {}\n", text::line(what)));
    }
    out.push_str(&match report.problems.len() {
        0 => "no problems\n".to_owned(),
        1 => "1 problem\n".to_owned(),
        many => format!("{many} problems\n"),
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let fine = Check { name: "disk", ok: true, detail: "fine".into(), hint: None, problems: Vec::new() };
        let bad = Check {
            name: "files",
            ok: false,
            detail: "2 problems".into(),
            hint: Some("correct them".into()),
            problems: vec!["tasks/aa/A.yaml:3:1: \u{1b}[31mno".into(), "tasks/bb/B.yaml:1:1: torn".into()],
        };
        let problems = bad.problems.iter().map(|text| format!("files: {text}")).collect();
        Report { ok: false, problems, checks: vec![fine, bad], repaired: vec!["an index".into()] }
    }

    #[test]
    fn the_page_names_every_problem_without_escapes() {
        let page = page(&report(), Style::PLAIN);
        assert_eq!(
            page,
            "ok    disk          fine\nBAD   files         2 problems\n      tasks/aa/A.yaml:3:1: no\n      \
             tasks/bb/B.yaml:1:1: torn\n      correct them\nrepaired: an index\n2 problems\n"
        );
    }

    #[test]
    fn data_has_the_documented_keys() {
        let data = data(&report());
        assert_eq!(data["ok"], false);
        assert_eq!(data["problems"].as_array().map(Vec::len), Some(2));
        assert_eq!(data["checks"][0]["hint"], Value::Null);
        assert_eq!(data["checks"][1]["name"], "files");
    }
}
