//! Settings of a queue and of a machine: types and defaults. What each key may hold is in
//! [`super::settings_keys`], where values come from in [`super::settings_load`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::wire::Word;
use crate::protocol::time::format_span;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The repository that machines share; `None` works alone.
    pub remote: Option<String>,
    /// The state branch, without `refs/heads/`.
    pub branch: String,
    /// Leases and their supervision.
    pub lease: LeaseSettings,
    /// What a task's own retry policy leaves open.
    pub retry: RetrySettings,
    /// What may be picked.
    pub queue: QueueSettings,
    /// Talking to the remote.
    pub sync: SyncSettings,
    /// Reviews.
    pub review: ReviewSettings,
    /// Running things.
    pub worker: WorkerSettings,
    /// What must never be logged.
    pub secrets: SecretSettings,
    /// How long things are kept.
    pub retention: RetentionSettings,
}

/// `lease:`
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseSettings {
    /// How long one renewal lasts; at least one second.
    pub ttl: Duration,
    /// What an observer waits beyond the drift.
    pub grace: Duration,
    /// Factor on `ttl` for clocks that run at different speeds; at least 1.
    pub drift: f64,
}

/// `retry:`
#[derive(Debug, Clone, PartialEq)]
pub struct RetrySettings {
    /// Attempts in all.
    pub max_attempts: u32,
    /// Waiting time before attempt 2, 3, …; the last one repeats.
    pub backoff: Vec<Duration>,
    /// Fraction of the waiting time by which it is varied.
    pub jitter: f64,
}

/// `queue:`
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSettings {
    /// Nothing is picked.
    pub paused: bool,
    /// A failed task pauses the queue.
    pub stop_on_failure: bool,
    /// Most tasks in progress at once; 0 is no limit.
    pub max_concurrent: u32,
    /// Most tasks in progress per agent type or tag.
    pub limits: BTreeMap<String, u32>,
    /// After each such time of waiting a task rises by one priority; 0 is never.
    pub ageing: Duration,
}

/// `sync:`
#[derive(Debug, Clone, PartialEq)]
pub struct SyncSettings {
    /// Where leases stand on the remote.
    pub lease_refs: LeaseRefs,
    /// Pushes that the whole fleet may make.
    pub push_budget: PushBudget,
    /// No network step takes longer.
    pub timeout: Duration,
}

/// Where leases stand on the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LeaseRefs {
    /// `refs/orch/leases/*`.
    #[default]
    Custom,
    /// `refs/heads/orch-leases/*`, for hosts that refuse other namespaces.
    Branches,
}

/// A number of pushes in a time, like `6/min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushBudget {
    /// Pushes, at least 1.
    pub count: u32,
    /// Per second, minute or hour.
    pub per: Duration,
}

impl PushBudget {
    /// The mean time between two pushes.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.per / self.count.max(1)
    }
}

/// `review:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewSettings {
    /// Rounds until a person has to look.
    pub max_rounds: u32,
}

/// `worker:`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerSettings {
    /// Environment variables that children inherit beyond the fixed ones.
    pub pass_env: Vec<String>,
    /// What confines them.
    pub sandbox: Sandbox,
    /// Without the sandbox nothing runs.
    pub require_sandbox: bool,
}

/// What confines a child, or is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sandbox {
    /// The best that this machine has.
    #[default]
    Auto,
    /// Nothing.
    None,
    /// Writes only below workspace and bundle (Linux).
    Landlock,
    /// A container.
    Docker,
}

impl Sandbox {
    /// As in settings and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.word()
    }
}

/// `secrets:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSettings {
    /// Patterns of names whose values are redacted.
    pub names: Vec<String>,
}

/// `retention:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionSettings {
    /// Ended tasks move to the archive after this time.
    pub done: Duration,
    /// Bundles are removed after this time.
    pub runs: Duration,
}

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 3600;

impl Default for Settings {
    fn default() -> Self {
        Settings {
            remote: None,
            branch: "orch-state".to_owned(),
            lease: LeaseSettings::default(),
            retry: RetrySettings::default(),
            queue: QueueSettings::default(),
            sync: SyncSettings::default(),
            review: ReviewSettings::default(),
            worker: WorkerSettings::default(),
            secrets: SecretSettings::default(),
            retention: RetentionSettings::default(),
        }
    }
}

impl Default for LeaseSettings {
    fn default() -> Self {
        LeaseSettings { ttl: Duration::from_secs(15 * MINUTE), grace: Duration::from_secs(30), drift: 1.25 }
    }
}

impl Default for RetrySettings {
    fn default() -> Self {
        let backoff = [1, 3, 10].map(|minutes| Duration::from_secs(minutes * MINUTE)).to_vec();
        RetrySettings { max_attempts: 3, backoff, jitter: 0.1 }
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        QueueSettings {
            paused: false,
            stop_on_failure: false,
            max_concurrent: 0,
            limits: BTreeMap::new(),
            ageing: Duration::from_secs(DAY),
        }
    }
}

impl Default for SyncSettings {
    fn default() -> Self {
        let push_budget = PushBudget { count: 6, per: Duration::from_secs(MINUTE) };
        SyncSettings { lease_refs: LeaseRefs::Custom, push_budget, timeout: Duration::from_secs(30) }
    }
}

impl Default for ReviewSettings {
    fn default() -> Self {
        ReviewSettings { max_rounds: 3 }
    }
}

impl Default for SecretSettings {
    fn default() -> Self {
        let names = ["*TOKEN*", "*SECRET*", "*PASSW*", "*CREDENTIAL*", "*_KEY"].map(str::to_owned).to_vec();
        SecretSettings { names }
    }
}

impl Default for RetentionSettings {
    fn default() -> Self {
        RetentionSettings { done: Duration::from_secs(30 * DAY), runs: Duration::from_secs(14 * DAY) }
    }
}

impl LeaseSettings {
    /// How often a holder renews: a third of the time to live, so that two renewals may be lost.
    #[must_use]
    pub fn heartbeat_every(&self) -> Duration {
        self.ttl / 3
    }

    /// How long an observer sees no change before a lease is stale: `ttl × drift + grace`.
    #[must_use]
    pub fn stale_after(&self, ttl: Duration) -> Duration {
        ttl.mul_f64(self.drift) + self.grace
    }
}

impl Settings {
    /// Checks what no single key can know; says which key and why.
    ///
    /// # Errors
    /// Settings under which a holder may still act when somebody else already starts.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let lease = &self.lease;
        if lease.stale_after(lease.ttl) <= lease.ttl {
            let ttl = format_span(lease.ttl);
            return Err((
                "lease.grace",
                format!(
                    "`ttl × drift + grace` must exceed `ttl` ({ttl}): the holder of a lapsed lease needs time to stop before anyone else starts; raise drift or grace"
                ),
            ));
        }
        Ok(())
    }
}
