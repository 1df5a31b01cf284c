//! Arithmetic of leases: how long a holder may act, and how long an observer must wait.
//!
//! The holder counts from the moment before its renewal was sent, on a clock that counts suspend; the
//! observer counts from its own first sight, on one that does not. Both err to the safe side, so no
//! clock of one machine is ever compared with another's.

use std::time::Duration;

use super::task::Lease;
use super::time::scale;

/// How patient observers are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience {
    /// Largest ratio between the speeds of two clocks that is tolerated; at least 1.
    pub drift: f64,
    /// Margin on top.
    pub grace: Duration,
}

impl Patience {
    /// How long a lease must stand unchanged before it is stale: `ttl × drift + grace`.
    #[must_use]
    pub fn before_stale(&self, ttl: Duration) -> Duration {
        scale(ttl, self.drift.max(1.0)).saturating_add(self.grace)
    }
}

/// When a holder must stop: `ttl` after the moment before the last accepted renewal was sent.
#[must_use]
pub fn deadline(sent_at: Duration, ttl: Duration) -> Duration {
    sent_at.saturating_add(ttl)
}

/// How often a holder renews: a third of the time to live, so that two renewals may get lost.
#[must_use]
pub fn renewal_interval(ttl: Duration) -> Duration {
    ttl / 3
}

/// One look at a lease: what was seen, and when for the first time on the observer's own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// What identifies the exact state of the lease: an object id, or epoch and beat without a remote.
    pub token: String,
    /// Monotonic time of the first sight.
    pub since: Duration,
    /// Boot in which that clock ran.
    pub boot: String,
}

/// What an observer knows about a lease after looking at it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It moved, or is seen for the first time: the clock starts now.
    Fresh(Sighting),
    /// It has not moved for this long, which is not long enough.
    Waiting {
        /// How long it stands still.
        still: Duration,
        /// How long it must stand still.
        needed: Duration,
    },
    /// It has stood still for long enough.
    Stale,
}

/// Judges a lease by the observer's own monotonic clock alone.
#[must_use]
pub fn judge(
    known: Option<&Sighting>,
    token: &str,
    now: Duration,
    boot: &str,
    lease: &Lease,
    patience: Patience,
) -> Judgement {
    let fresh = || Judgement::Fresh(Sighting { token: token.to_owned(), since: now, boot: boot.to_owned() });
    let Some(known) = known else { return fresh() };
    if known.token != token || known.boot != boot || known.since > now {
        return fresh();
    }
    let still = now - known.since;
    let needed = patience.before_stale(lease.ttl);
    if still >= needed { Judgement::Stale } else { Judgement::Waiting { still, needed } }
}
