//! Advisory locks: of two that open the same file, one gets the lock; and it is free again afterwards.

use std::time::Duration;

use super::{Check, Patient};

const NAME: &str = "locks";

pub(super) fn check(patient: &dyn Patient) -> Check {
    let path = patient.layout().named_lock("doctor");
    let take = || patient.disk().lock(&path, Duration::ZERO);
    let place = match patient.file_system() {
        Ok(seen) => seen.network.map_or(String::new(), |kind| format!(" on {kind}")),
        Err(_) => String::new(),
    };
    let hint =
        "keep the state directory on a local disk: two commands at once could overwrite each other here";
    let first = match take() {
        Ok(Some(guard)) => guard,
        Ok(None) => return Check::fine(NAME, "another `orch doctor` holds the test lock, so locks work"),
        Err(error) => return Check::wrong(NAME, format!("locks fail{place}: {error}")).hint(hint),
    };
    let second = take();
    drop(first);
    match second {
        Ok(None) => {}
        Ok(Some(_)) => {
            return Check::wrong(NAME, format!("locks are without effect{place}: two got the same one"))
                .hint(hint);
        }
        Err(error) => return Check::wrong(NAME, format!("locks fail{place}: {error}")).hint(hint),
    }
    match take() {
        Ok(_) => Check::fine(NAME, format!("locks exclude each other{place}")),
        Err(error) => {
            Check::wrong(NAME, format!("a lock that was given back fails{place}: {error}")).hint(hint)
        }
    }
}
