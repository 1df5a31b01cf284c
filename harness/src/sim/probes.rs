//! "This branch was taken": what the simulation has to reach at least once to be worth anything.

use std::collections::BTreeMap;

/// Every probe by name. A nightly run in which one is missing has stopped testing something.
pub const ALL: [&str; 50] = [
    "a claim was told",
    "a claim was repeated",
    "a claim lost its race",
    "a claim of a task that is not ready was refused",
    "a task was picked",
    "nothing was ready",
    "a heartbeat was accepted",
    "a heartbeat stayed here",
    "a holder was fenced",
    "a holder finished",
    "a finish stayed here",
    "a task failed and waits",
    "a task was given back",
    "an operator cancelled",
    "an operator retried",
    "an operator was refused",
    "a watchdog recovered",
    "a dead process was noticed",
    "a task was edited",
    "a hand edit was made",
    "a broken hand edit was made",
    "a damaged file was reported",
    "a file was removed by hand",
    "an id was taken twice",
    "a process was killed",
    "a process was stopped",
    "the power failed",
    "a machine was suspended",
    "a clock stepped",
    "a link was cut or mute",
    "the remote was away",
    "a clone was collected",
    "an answer was lost",
    "a push was lost",
    "a late push arrived",
    "a late push was refused",
    "a push arrived twice",
    "a fetch brought what had moved",
    "a fetch by name came too late",
    "the disk was full",
    "a disk answered with an error",
    "a command met a remote out of reach",
    "a push was refused by a rule",
    "a disk was slow",
    "a local ref was locked",
    "somebody committed to the branch",
    "the branch was rewound",
    "the branch was deleted",
    "a lease ref was deleted",
    "a machine published its state again",
];

/// Those of workers and the programs that they run.
pub const OF_WORKERS: [&str; 8] = [
    "a program did its work",
    "a program failed",
    "a program took too long",
    "a program could not be started",
    "a supervisor ended its program",
    "a worker gave its task back",
    "a worker lost its lease",
    "a worker was told of a cancellation",
];

/// How often each was hit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probes(BTreeMap<&'static str, u64>);

impl Probes {
    /// Counts one.
    pub fn hit(&mut self, name: &'static str) {
        debug_assert!(ALL.contains(&name) || OF_WORKERS.contains(&name), "{name} is not listed");
        *self.0.entry(name).or_default() += 1;
    }

    /// Adds those of another run.
    pub fn join(&mut self, other: &Probes) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    /// How often one was hit.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Those that were never hit, of a load with or without workers.
    #[must_use]
    pub fn missing(&self, workers: bool) -> Vec<&'static str> {
        let of_workers = OF_WORKERS.into_iter().filter(|_| workers);
        ALL.into_iter().chain(of_workers).filter(|name| self.count(name) == 0).collect()
    }
}
