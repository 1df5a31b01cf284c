//! What a run has counted and measured so far: counters by name, latencies by verb, for the whole run and since the
//! last sample.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use super::server::lock;

/// Counters and latencies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbers {
    /// How often something happened.
    pub counts: BTreeMap<String, u64>,
    /// How long it took.
    pub latency: BTreeMap<String, Histogram>,
}

impl Numbers {
    /// A counter; 0 when nothing was counted.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }
}

/// The numbers of a run that goes on.
#[derive(Default)]
pub struct Tally(Mutex<(Numbers, BTreeMap<String, Histogram>)>);

impl Tally {
    /// Goes on from what a checkpoint held.
    #[must_use]
    pub fn from(numbers: Numbers) -> Tally {
        Tally(Mutex::new((numbers, BTreeMap::new())))
    }

    /// Counts one.
    pub fn count(&self, name: &str) {
        self.add(name, 1);
    }

    /// Counts several.
    pub fn add(&self, name: &str, times: u64) {
        if times == 0 {
            return;
        }
        let mut inner = lock(&self.0);
        match inner.0.counts.get_mut(name) {
            Some(count) => *count += times,
            None => drop(inner.0.counts.insert(name.to_owned(), times)),
        }
    }

    /// Measures one.
    pub fn time(&self, name: &str, span: Duration) {
        let mut inner = lock(&self.0);
        inner.0.latency.entry(name.to_owned()).or_default().record(span);
        inner.1.entry(name.to_owned()).or_default().record(span);
    }

    /// A counter.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        lock(&self.0).0.count(name)
    }

    /// Everything so far.
    #[must_use]
    pub fn all(&self) -> Numbers {
        lock(&self.0).0.clone()
    }

    /// The latencies since this was asked last.
    #[must_use]
    pub fn recent(&self) -> BTreeMap<String, Histogram> {
        std::mem::take(&mut lock(&self.0).1)
    }
}
