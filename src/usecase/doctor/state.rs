//! The state directory: whose it is, who may write there, and on what it lies.

use super::{Check, Patient};

const NAME: &str = "state";

pub(super) fn check(patient: &dyn Patient) -> Check {
    let layout = patient.layout();
    let mut problems = Vec::new();
    for path in [layout.state().to_owned(), layout.tasks(), layout.git(), layout.own()] {
        match patient.permissions(&path) {
            Err(error) => problems.push(error),
            Ok(seen) if seen.ours && seen.mode & 0o700 != 0o700 => {
                let text = "its owner needs to read, write and enter it";
                problems.push(format!("{}: permissions {:o}: {text}", path.display(), seen.mode));
            }
            Ok(seen) if seen.mode & 0o002 != 0 => {
                let text = "everybody on this machine may write there";
                problems.push(format!("{}: permissions {:o}: {text}", path.display(), seen.mode));
            }
            Ok(_) => {}
        }
    }
    let fine = format!("{} can be used", layout.state().display());
    let check = Check::list(NAME, fine, problems);
    let check = check.hint_if_wrong("correct the permissions with `chmod`, or move the state directory");
    match patient.file_system() {
        Ok(seen) if check.ok => match seen.network {
            Some(kind) => Check::fine(NAME, format!("{} lies on {kind}", layout.state().display())).hint(
                "a local disk is faster and its locks are surer; the check `locks` says whether they work",
            ),
            None => check,
        },
        _ => check,
    }
}
