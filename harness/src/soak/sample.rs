//! The time series: one line of JSON per sampling interval, with counters, latencies of the interval, memory and open
//! files of the steady watchdog, and how large every `.git` and the files beside it are.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::files::{self, size};
use super::fleet::Fleet;
use super::profile::Profile;
use super::server::lock;
use super::watchdogs::Watchdogs;

/// Its file in the folder of a run.
pub const FILE: &str = "series.jsonl";

/// What the profile of a run demands. A report is made without the profile, which may have changed since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owed {
    /// Milliseconds of load of a whole run; a shorter one owes less.
    pub whole: u64,
    /// How often each kind of fault must have struck in a whole run.
    pub faults: BTreeMap<String, u64>,
}

impl Owed {
    /// Its file in the folder of a run.
    pub const FILE: &str = "owed.json";

    /// What a profile demands.
    #[must_use]
    pub fn of(profile: &Profile) -> Owed {
        let whole = u64::try_from(profile.duration.0.as_millis()).unwrap_or(u64::MAX);
        let fault = |(kind, plan): (&super::fault::Kind, &super::profile::Plan)| {
            (kind.word().to_owned(), plan.at_least)
        };
        Owed { whole, faults: profile.faults.iter().map(fault).collect() }
    }

    /// How often a kind of fault must have struck in a run of that length. `None` if the profile does not have it.
    #[must_use]
    pub fn faults(&self, kind: &str, wanted: Duration) -> Option<u64> {
        Some(share(*self.faults.get(kind)?, wanted.as_millis(), u128::from(self.whole)))
    }

    /// Reads the one of a run; `None` if it has none.
    ///
    /// # Errors
    /// The file and what is wrong with it.
    pub fn read(dir: &Path) -> Result<Option<Owed>, String> {
        let path = dir.join(Owed::FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        serde_json::from_str(&text).map(Some).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Writes it into the folder of a run, whole or not at all.
    ///
    /// # Errors
    /// The file and why not.
    pub fn write(&self, dir: &Path) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|why| why.to_string())?;
        crate::record::replace(&dir.join(Owed::FILE), &text)
    }
}

/// What a run owes of something: a shorter one than the whole owes less, in proportion.
#[must_use]
pub fn share(all: u64, wanted: u128, whole: u128) -> u64 {
    u64::try_from(u128::from(all) * wanted / whole.max(1)).unwrap_or(u64::MAX).min(all)
}

/// Takes one sample. Beside the first one it is written down what the run owes.
pub fn take(fleet: &Fleet, dogs: &Watchdogs) {
    if !fleet.place.dir.join(Owed::FILE).exists()
        && let Err(why) = Owed::of(&fleet.profile).write(&fleet.place.dir)
    {
        eprintln!("warning: {why}");
    }
    let latency: Map<String, Value> =
        fleet.tally.recent().into_iter().map(|(name, histogram)| (name, histogram.summary())).collect();
    let clones: Vec<u64> =
        (0..fleet.profile.fleet.machines).map(|m| size(&fleet.place.machine(m).join("state/.git"))).collect();
    let states: Vec<u64> = (0..fleet.profile.fleet.machines)
        .map(|m| files::visible(&fleet.place.machine(m).join("state")))
        .collect();
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
            "states": states,
            "remote": size(&fleet.place.bare()),
            "violations": lock(&fleet.violations).len(),
        }),
    );
}

/// Free space below a folder, in MiB, as `df` tells it. `None` where it does not.
#[must_use]
pub fn free_mib(dir: &Path) -> Option<u64> {
    let text = super::place::output(std::process::Command::new("df").arg("-Pm").arg(dir)).ok()?;
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_run_owes_less_and_a_longer_one_no_more() {
        let text = include_str!("../../../soak/24h.yaml");
        let owed = Owed::of(&crate::yaml::parse(text, "24h.yaml").unwrap());
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        assert_eq!(owed.faults("kill", hours(24)), Some(2000));
        assert_eq!(owed.faults("kill", hours(6)), Some(500));
        assert_eq!(owed.faults("kill", hours(48)), Some(2000));
        assert_eq!(owed.faults("prune_clone", hours(24)), None);
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Owed::read(dir.path()), Ok(None));
        owed.write(dir.path()).unwrap();
        assert_eq!(Owed::read(dir.path()), Ok(Some(owed)));
    }
}
