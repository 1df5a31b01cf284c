//! A profile: how many machines and agents, which load, which faults how often, and what a run must have done to
//! count. Data in `soak/*.yaml`; unknown keys are refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::fault::Kind;

/// A span of time as people write it: `500ms`, `90s`, `15m`, `24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        orch::protocol::time::parse_span(&text).map(Span).map_err(serde::de::Error::custom)
    }
}

/// How a machine reaches the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By path: git itself, no socket.
    Path,
    /// `git http-backend` behind a server of the harness.
    Http,
    /// `sshd` on loopback.
    Ssh,
}

/// The machines.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// How many machines (state directories).
    pub machines: usize,
    /// How many agents on each.
    pub agents: usize,
    /// How they reach the remote, in turns; the first machine takes the first.
    pub ways: Vec<Way>,
    /// How many watchdogs run on each machine.
    pub watchdogs: usize,
}

/// Leases and periods.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Time to live of a lease.
    pub ttl: Span,
    /// How much longer than `ttl × drift` a watchdog waits.
    pub grace: Span,
    /// The drift factor.
    pub drift: f64,
    /// Pause between two rounds of a watchdog, each of which is a sync.
    pub watch: Span,
}

impl Lease {
    /// After how long without a change a lease is stale.
    #[must_use]
    pub fn stale(&self) -> Duration {
        self.ttl.0.mul_f64(self.drift) + self.grace.0
    }
}

/// What agents do. Endings are weights.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Pause between two actions of an agent, halved to one and a half.
    pub pace: Span,
    /// Ready tasks per agent that are kept in store.
    pub backlog: usize,
    /// Heartbeats and checkpoints in one attempt, at most.
    pub beats: usize,
    /// Weight of `done`.
    pub done: u32,
    /// Weight of `fail`.
    pub fail: u32,
    /// Weight of `release`.
    pub release: u32,
    /// Weight of going away without a word.
    pub vanish: u32,
    /// Weight of coming back after the lease is over, and trying to finish.
    pub zombie: u32,
    /// Of a hundred attempts, how many are run by `orch work` with a process tree that would like to survive.
    pub work: u32,
    /// Of a hundred of those, how many run a program that floods its output, ignores SIGTERM and hangs.
    #[serde(default)]
    pub unruly: u32,
}

/// How often a fault strikes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Once in such a span, halved to one and a half.
    pub every: Span,
    /// How long it stays.
    #[serde(default)]
    pub lasts: Span,
    /// How often it must have struck, else the run is invalid.
    #[serde(default)]
    pub at_least: u64,
}

/// What must have been done, else the run is invalid.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    /// Confirmed claims.
    pub claims: u64,
    /// Finished tasks.
    pub finished: u64,
    /// Tasks that were recovered from a vanished session.
    pub recovered: u64,
    /// Tasks that a worker has run and finished.
    #[serde(default)]
    pub works: u64,
}

/// When to end early.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    /// So many violations are enough.
    pub violations: usize,
    /// Less free space than this, in MiB, below the folder of the run.
    pub free_mib: u64,
    /// Nothing was finished for so long.
    pub stuck: Span,
}

/// What the computer must be able to do, measured before the run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preconditions {
    /// The 99th percentile of writing and syncing a small file.
    pub fsync_p99: Span,
    /// The 99th percentile of one push of one ref by path.
    pub push_p99: Span,
}

/// A whole profile.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name, which is also the layer of its record: `soak-<name>`.
    pub name: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// The seed of load and faults, unless the command line gives another.
    pub seed: u64,
    /// How long the load runs.
    pub duration: Span,
    /// One line of the time series per such span.
    pub sample: Span,
    /// After such spans everything is healed, waited for and judged.
    pub check: Span,
    /// How long nobody does anything before claims at rest are timed: files are made slowly for a while behind a load.
    #[serde(default)]
    pub quiet: Span,
    /// The machines.
    pub fleet: Fleet,
    /// Leases and periods.
    pub lease: Lease,
    /// What agents do.
    pub load: Load,
    /// Faults by kind.
    #[serde(default)]
    pub faults: BTreeMap<Kind, Plan>,
    /// The least work.
    pub demand: Demand,
    /// When to end early.
    pub abort: Abort,
    /// What the computer must be able to do.
    pub preconditions: Preconditions,
}

impl Profile {
    /// Reads and checks a profile.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong in it.
    pub fn read(path: &Path) -> Result<Profile, String> {
        let profile: Profile = crate::yaml::read(path)?;
        profile.check().map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(profile)
    }

    fn check(&self) -> Result<(), String> {
        let fleet = &self.fleet;
        let plain = self.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if self.name.is_empty() || !plain {
            return Err("`name` is made of letters, digits and hyphens".to_owned());
        }
        if !(1..=64).contains(&fleet.machines) || !(1..=64).contains(&fleet.agents) {
            return Err("`fleet` needs 1 to 64 machines and 1 to 64 agents on each".to_owned());
        }
        if fleet.ways.first() != Some(&Way::Path) {
            return Err(
                "`fleet.ways` begins with path: the first machine is the one on which faults of the \
                        network never strike, so that somebody always watches"
                    .to_owned(),
            );
        }
        if fleet.watchdogs == 0 {
            return Err("`fleet.watchdogs` is at least 1: without one nothing is ever recovered".to_owned());
        }
        if self.lease.ttl.0 < Duration::from_secs(1) || !(1.0..=10.0).contains(&self.lease.drift) {
            return Err("`lease` needs a ttl of at least 1s and a drift of 1.0 to 10.0".to_owned());
        }
        let spans = [self.duration, self.sample, self.check, self.lease.watch];
        if spans.iter().any(|span| span.0.is_zero()) {
            return Err("`duration`, `sample`, `check` and `lease.watch` are longer than nothing".to_owned());
        }
        if self.load.done == 0 {
            return Err("`load.done` is a weight above 0: without it nothing ever ends".to_owned());
        }
        for (kind, plan) in &self.faults {
            if plan.every.0.is_zero() {
                return Err(format!("`faults.{}.every` is longer than nothing", kind.word()));
            }
            let sockets = fleet.ways.iter().take(fleet.machines).any(|way| *way != Way::Path);
            if kind.needs_socket() && !sockets {
                return Err(format!(
                    "`faults.{}` needs a machine that is reached by http or ssh",
                    kind.word()
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../soak")
    }

    #[test]
    fn every_profile_that_we_ship_is_valid_and_carries_its_own_name() {
        let mut seen = Vec::new();
        for entry in std::fs::read_dir(folder()).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            if stem == "slo" {
                continue;
            }
            let profile = Profile::read(&path).unwrap();
            assert_eq!(profile.name, stem);
            assert!(profile.demand.claims > 0 && profile.demand.finished > 0, "{stem} demands work");
            assert!(profile.faults.values().any(|plan| plan.at_least > 0), "{stem} demands faults");
            seen.push(stem);
        }
        for name in ["smoke", "ci", "24h", "72h", "kills", "network", "disk", "clock", "strangers"] {
            assert!(seen.contains(&name.to_owned()), "soak/{name}.yaml is missing");
        }
    }

    #[test]
    fn what_nobody_knows_and_what_cannot_be_are_refused() {
        let good = std::fs::read_to_string(folder().join("smoke.yaml")).unwrap();
        let parse = |text: &str| {
            crate::yaml::parse::<Profile>(text, "p.yaml")
                .and_then(|profile| profile.check().map(|()| profile))
        };
        parse(&good).unwrap();
        assert!(parse(&format!("{good}colour: red\n")).unwrap_err().contains("unknown field `colour`"));
        let odd = good.replace("  kill: ", "  earthquake: ");
        assert!(parse(&odd).unwrap_err().contains("unknown variant `earthquake`"), "{:?}", parse(&odd).err());
        let unwatched = good.replace("watchdogs: 1", "watchdogs: 0");
        assert!(parse(&unwatched).unwrap_err().contains("watchdogs"));
        let far = good.replace("ways: [path, http, ssh]", "ways: [http]");
        assert!(parse(&far).unwrap_err().contains("fleet.ways"));
    }
}
