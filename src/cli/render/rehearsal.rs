//! The end of a rehearsal for people: timelines, evidence, checks, and what to try next.

use super::style::{Style, Tone, status_tone};
use super::text;
use crate::demo::report::{Expectation, Report, Verdict};
use crate::demo::story::{Chapter, Story};

/// Everything after the play.
#[must_use]
pub fn summary(report: &Report, style: Style) -> String {
    let head = |title: &str| format!("\n{}\n", style.paint(Tone::Bold, title));
    let mut out = head("Timeline of each task");
    let began = report.tasks.iter().flat_map(|task| &task.chapters).map(|one| one.from_ms).min().unwrap_or(0);
    report.tasks.iter().for_each(|task| out.push_str(&timeline(task, began, style)));
    out.push_str(&head("Evidence"));
    out.push_str(&evidence(report));
    out.push_str(&head("Checks"));
    report.expectations.iter().for_each(|one| out.push_str(&check(one, style)));
    out.push_str(&head("Audit"));
    report.verdicts.iter().for_each(|one| out.push_str(&verdict(one, style)));
    if !report.next.is_empty() {
        out.push_str(&head("What to try next"));
        for one in &report.next {
            out.push_str(&format!("  {}\n      {}\n", one.command, style.paint(Tone::Dim, one.shows)));
        }
    }
    out.push_str(&format!("\n{}\n", last_line(report, style)));
    out
}

fn timeline(task: &Story, began: i64, style: Style) -> String {
    let status = style.paint(status_tone(task.status), task.status_word());
    let mut out =
        format!("  {:<12} {status}  {}\n", task.id, style.paint(Tone::Dim, &text::line(&task.title)));
    task.chapters.iter().for_each(|one| out.push_str(&chapter(one, began, style)));
    out
}

fn chapter(one: &Chapter, began: i64, style: Style) -> String {
    let second = |ms: i64| (ms - began) as f64 / 1000.0;
    let to = one.to_ms.map_or_else(|| "     …".to_owned(), |ms| format!("{:5.1}s", second(ms)));
    let tone = if one.ended == "done" { Tone::Green } else { Tone::Yellow };
    format!(
        "      epoch {}  {:5.1}s – {to}  {:<14} {}\n",
        one.epoch,
        second(one.from_ms),
        text::line(&one.session),
        style.paint(tone, &text::line(&one.ended))
    )
}

fn evidence(report: &Report) -> String {
    let count: usize = report.tasks.iter().map(|task| task.bundles.len()).sum();
    let dir = report.dir.display();
    if report.removed {
        return format!("  {count} bundles lay in {dir}, which has been removed\n");
    }
    let runs = format!("{dir}/<machine>/state/runs/<task>/<attempt>/");
    format!("  {count} bundles in {runs}\n  the published report in {dir}/project/site/\n")
}

fn mark(ok: bool, style: Style) -> String {
    if ok { style.paint(Tone::Green, "holds ") } else { style.paint(Tone::Red, "BROKEN") }
}

fn check(one: &Expectation, style: Style) -> String {
    let found = style.paint(Tone::Dim, &format!("({})", text::line(&one.found)));
    format!("  {}  {} {found}\n", mark(one.held, style), text::line(&one.what))
}

fn verdict(one: &Verdict, style: Style) -> String {
    let mut out = format!("  {}  orch {} on {}\n", mark(one.ok, style), one.command, one.machine);
    for problem in &one.problems {
        out.push_str(&format!("          {}\n", text::line(problem)));
    }
    out
}

fn last_line(report: &Report, style: Style) -> String {
    let broken = report.expectations.iter().filter(|one| !one.held).count();
    let seconds = format!("{:.1}s", report.seconds);
    let place = if report.removed {
        String::new()
    } else {
        format!("; everything is kept in {}", report.dir.display())
    };
    if report.ok() {
        let count = report.expectations.len();
        return style
            .paint(Tone::Green, &format!("All {count} checks and every audit hold, after {seconds}{place}"));
    }
    let audit = if report.audit_holds() { "the audits hold" } else { "an audit fails" };
    style.paint(Tone::Red, &format!("{broken} checks are broken and {audit}, after {seconds}{place}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::report::Next;
    use crate::protocol::task::Status;

    fn report(held: bool) -> Report {
        let chapter = |epoch, ended: &str| Chapter {
            epoch,
            session: format!("worker-{epoch}"),
            machine: "ci".into(),
            from_ms: 1_000 * epoch as i64,
            to_ms: Some(1_000 * epoch as i64 + 500),
            ended: ended.into(),
        };
        Report {
            seconds: 1.26,
            dir: "/tmp/x".into(),
            removed: false,
            scenes: Vec::new(),
            tasks: vec![Story {
                id: "a".into(),
                title: "T\u{1b}[2J".into(),
                status: Status::Done,
                chapters: vec![chapter(1, "lease lapsed; recovered by ci"), chapter(2, "done")],
                bundles: vec!["/tmp/x/ci/state/runs/a/1".into()],
            }],
            expectations: vec![Expectation { what: "it works".into(), held, found: "seen".into() }],
            verdicts: vec![Verdict {
                machine: "ci".into(),
                command: "audit",
                ok: true,
                problems: Vec::new(),
            }],
            next: vec![Next { command: "orch init".into(), shows: "a queue" }],
        }
    }

    #[test]
    fn a_summary_tells_who_when_where_and_whether() {
        let text = summary(&report(true), Style::PLAIN);
        assert!(text.contains("  a            done  T\n"), "{text}");
        assert!(
            text.contains("      epoch 1    0.0s –   0.5s  worker-1       lease lapsed; recovered by ci\n"),
            "{text}"
        );
        assert!(text.contains("      epoch 2    1.0s –   1.5s  worker-2       done\n"), "{text}");
        assert!(text.contains("1 bundles in /tmp/x/<machine>") && text.contains("  orch init\n"), "{text}");
        assert!(
            text.ends_with("All 1 checks and every audit hold, after 1.3s; everything is kept in /tmp/x\n"),
            "{text}"
        );
    }

    #[test]
    fn a_broken_check_is_loud_and_no_evidence_is_no_proof() {
        let broken = report(false);
        assert!(!broken.ok());
        let text = summary(&broken, Style::PLAIN);
        assert!(
            text.contains("  BROKEN  it works (seen)\n") && text.contains("1 checks are broken"),
            "{text}"
        );
        assert!(!Report { verdicts: Vec::new(), ..report(true) }.ok());
        assert!(!Report { expectations: Vec::new(), ..report(true) }.ok());
    }
}
