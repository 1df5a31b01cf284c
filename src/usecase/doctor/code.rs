//! The code repository around the state directory: it must not see it, and its `git fetch` should not fetch it.

use crate::store::settings::Settings;

use super::{Check, Patient, Visit};

const NAME: &str = "code";

pub(super) fn check(patient: &dyn Patient, settings: &Settings, visit: &mut Visit) {
    let Some(mut code) = patient.code_repository(settings) else { return };
    if !code.excluded && visit.request.repair {
        match patient.exclude(&code) {
            Ok(()) => {
                code.excluded = true;
                visit.repaired(format!("{} leaves the state directory out now", code.root.display()));
            }
            Err(error) => return visit.add(Check::wrong(NAME, error)),
        }
    }
    if !code.excluded {
        let text = format!("{} does not leave the state directory out", code.root.display());
        let hint = "`orch doctor --repair` adds it to `.git/info/exclude`, so that `git add` there cannot take it up";
        return visit.add(Check::wrong(NAME, text).hint(hint));
    }
    let check = Check::fine(NAME, format!("{} leaves the state directory out", code.root.display()));
    let refspec = format!("^refs/heads/{}", settings.branch);
    visit.add(if code.shares_remote && !code.fetches.contains(&refspec) {
        check.hint(format!(
            "`git config --add remote.origin.fetch '{refspec}'` in the code repository keeps its `git fetch` from \
             tripping over a branch that moves all the time (git 2.29 or newer)"
        ))
    } else {
        check
    });
}
