//! The `git` executable, which does all that goes over the network.

use super::{Check, Patient};

const NAME: &str = "git";

pub(super) fn check(patient: &dyn Patient) -> Check {
    match patient.git_version() {
        Ok(version) => Check::fine(NAME, format!("git {version}")),
        Err(error) => {
            Check::wrong(NAME, error).hint("install a current git, and see that `PATH` finds it first")
        }
    }
}
