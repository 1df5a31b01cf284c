//! The time series: one line of JSON per sampling interval, with counters, latencies of the interval, memory and open
//! files of the steady watchdog, and how large every `.git` is.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::files::size;
use super::fleet::Fleet;
use super::server::lock;
use super::watchdogs::Watchdogs;

/// Its file in the folder of a run.
pub const FILE: &str = "series.jsonl";

/// Takes one sample.
pub fn take(fleet: &Fleet, dogs: &Watchdogs) {
    let latency: Map<String, Value> =
        fleet.tally.recent().into_iter().map(|(name, histogram)| (name, histogram.summary())).collect();
    let clones: Vec<u64> =
        (0..fleet.profile.fleet.machines).map(|m| size(&fleet.place.machine(m).join("state/.git"))).collect();
    let watchdog = dogs.steady().map(|(pid, rss, fds)| json!({"pid": pid, "rss_kib": rss, "fds": fds}));
    let me = super::processes::usage(std::process::id());
    fleet.append(
        FILE,
        &json!({
            "at": fleet.now(),
            "unix_ms": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis()),
            "counts": fleet.tally.all().counts,
            "latency": latency,
            "watchdog": watchdog,
            "harness": me.map(|(rss, fds)| json!({"rss_kib": rss, "fds": fds})),
            "clones": clones,
            "remote": size(&fleet.place.bare()),
            "violations": lock(&fleet.violations).len(),
        }),
    );
}

/// Free space below a folder, in MiB, as `df` tells it. `None` where it does not.
#[must_use]
pub fn free_mib(dir: &std::path::Path) -> Option<u64> {
    let text = super::place::output(std::process::Command::new("df").arg("-Pm").arg(dir)).ok()?;
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}
