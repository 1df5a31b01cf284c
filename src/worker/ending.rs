//! What is written about an attempt when it has ended.

use super::attempt::AttemptReport;
use crate::protocol::task::Reason;
use crate::usecase::holder::{Failure, Finish};

/// Longest notes, in characters.
const NOTES_MAX: usize = 2_000;

/// The act that ends a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It worked.
    Done(Finish),
    /// It did not.
    Fail(Failure),
    /// The task is given back.
    Release(String),
    /// The claim is not ours any more: nothing may be written.
    Nothing,
}

/// The act that fits a report.
#[must_use]
pub fn ending(report: &AttemptReport) -> Ending {
    let notes = notes(report);
    let bundle = report.manifest_sha256.clone();
    match report.reason {
        Reason::Success => Ending::Done(Finish { notes, artifacts: Vec::new(), bundle }),
        Reason::Shutdown => Ending::Release(notes),
        Reason::LeaseLost | Reason::Cancelled => Ending::Nothing,
        reason => Ending::Fail(Failure {
            notes,
            reason,
            permanent: reason == Reason::PolicyBlocked,
            retry_after: None,
            bundle,
        }),
    }
}

/// One or few lines that are never empty.
fn notes(report: &AttemptReport) -> String {
    let mut notes = report.notes.trim().to_owned();
    if notes.is_empty() {
        "the attempt has ended".clone_into(&mut notes);
    }
    if let Some(first) = report.evidence_errors.first() {
        notes.push_str(&format!("; the evidence is incomplete: {first}"));
    }
    notes.chars().take(NOTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(reason: Reason, notes: &str) -> AttemptReport {
        AttemptReport {
            reason,
            notes: notes.to_owned(),
            bundle: None,
            manifest_sha256: Some("d".to_owned()),
            commands: Vec::new(),
            evidence_errors: Vec::new(),
        }
    }

    #[test]
    fn every_reason_has_its_ending() {
        for reason in Reason::ALL {
            let ending = ending(&report(reason, "n"));
            let fits = match reason {
                Reason::Success => matches!(&ending, Ending::Done(f) if f.bundle.as_deref() == Some("d")),
                Reason::Shutdown => ending == Ending::Release("n".to_owned()),
                Reason::LeaseLost | Reason::Cancelled => ending == Ending::Nothing,
                _ => matches!(&ending, Ending::Fail(f) if f.reason == reason
                    && f.permanent == (reason == Reason::PolicyBlocked) && f.notes == "n"),
            };
            assert!(fits, "{reason:?}: {ending:?}");
        }
    }

    #[test]
    fn notes_are_never_empty_nor_endless_and_name_missing_evidence() {
        assert_eq!(
            ending(&report(Reason::Shutdown, " ")),
            Ending::Release("the attempt has ended".to_owned())
        );
        let Ending::Release(long) = ending(&report(Reason::Shutdown, &"x".repeat(9999))) else { panic!() };
        assert_eq!(long.len(), NOTES_MAX);
        let mut missing = report(Reason::Shutdown, "n");
        missing.evidence_errors.push("a.log: disk full".to_owned());
        assert_eq!(
            ending(&missing),
            Ending::Release("n; the evidence is incomplete: a.log: disk full".to_owned())
        );
    }
}
