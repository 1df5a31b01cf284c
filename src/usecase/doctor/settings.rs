//! The settings: whether they can be read, and whether leases are safe and lively under them.

use crate::protocol::time::format_span;
use crate::store::settings::Settings;

use super::{Check, Patient};

const NAME: &str = "settings";

pub(super) fn check(patient: &dyn Patient) -> (Check, Option<Settings>) {
    match patient.settings() {
        Ok(settings) => (judge(&settings), Some(settings)),
        Err(error) => {
            let hint =
                error.hint.unwrap_or_else(|| "correct the file; nothing else works until then".to_owned());
            (Check::wrong(NAME, error.message).hint(hint), None)
        }
    }
}

fn judge(settings: &Settings) -> Check {
    if let Err((key, why)) = settings.check() {
        return Check::wrong(NAME, format!("{key}: {why}")).hint("change it in `orch.yaml`");
    }
    let lease = &settings.lease;
    let every = lease.heartbeat_every();
    let fine = format!(
        "a lease lasts {}, is renewed every {} and counts as lost after {}",
        format_span(lease.ttl),
        format_span(every),
        format_span(lease.stale_after(lease.ttl))
    );
    // A renewal may take twice the limit of one step; then two more are to fit before the deadline.
    if settings.remote.is_some() && every + settings.sync.timeout.saturating_mul(2) > lease.ttl {
        let text =
            format!("{fine}; one silent remote for {} uses that up", format_span(settings.sync.timeout * 2));
        return Check::fine(NAME, text)
            .hint("raise `lease.ttl` or lower `sync.timeout`, so that one slow push loses no lease");
    }
    Check::fine(NAME, fine)
}
