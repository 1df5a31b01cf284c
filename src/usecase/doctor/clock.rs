//! The clocks of this machine. None is compared with another machine's.

use super::{Check, Patient};

const NAME: &str = "clock";
const YEAR_2020_MS: i64 = 1_577_836_800_000;
const YEAR_2100_MS: i64 = 4_102_444_800_000;
/// The two clocks are read one after the other.
const APART_MS: u128 = 50;
/// A step back that nobody has to know about.
const STEP_MS: i64 = 2_000;

pub(super) fn check(patient: &dyn Patient) -> Check {
    let clock = patient.clock();
    let wall = clock.wall_ms();
    if !(YEAR_2020_MS..YEAR_2100_MS).contains(&wall) {
        let text = format!("the wall clock says {} seconds since 1970, which cannot be", wall / 1000);
        return Check::wrong(NAME, text)
            .hint("set the clock; leases do not depend on it, but people read it");
    }
    let (monotonic, boottime) = (clock.monotonic(), clock.boottime());
    if boottime.as_millis() + APART_MS < monotonic.as_millis() {
        let text = "the clock that counts suspend is behind the one that does not";
        return Check::wrong(NAME, text)
            .hint("leases cannot be kept safely on this machine; run its agents elsewhere");
    }
    if let Some(back) = stepped_back(patient, wall) {
        return Check::fine(
            NAME,
            format!("the wall clock went back by {} seconds since the last command", back / 1000),
        )
        .hint(
            "times in files may be out of order; leases and the order of operations do not depend on them",
        );
    }
    Check::fine(NAME, "wall, monotonic and boot time fit together")
}

/// The index is written by nearly every command, so its file shows when the last one was.
fn stepped_back(patient: &dyn Patient, now: i64) -> Option<i64> {
    let stat = patient.disk().stat(&patient.layout().index()).ok()??;
    let back = stat.mtime_ns / 1_000_000 - now;
    (back > STEP_MS).then_some(back)
}
