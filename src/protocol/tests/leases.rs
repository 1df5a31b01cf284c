//! When an observer may call a lease stale: the table of client-go's leader election, restated for
//! leases that are judged by the observer's own clock alone.

use super::*;
use crate::protocol::lease::{Judgement, Patience, Sighting, deadline, judge, renewal_interval};
use crate::protocol::task::Lease;
use proptest::prelude::*;

const PATIENCE: Patience = Patience { drift: 1.25, grace: Duration::from_secs(30) };
/// `900 s × 1.25 + 30 s`.
const NEEDED: Duration = Duration::from_secs(1_155);

fn lease() -> Lease {
    task_in(Status::InProgress).lease().expect("it is held").clone()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn seen(token: &str, since: u64) -> Sighting {
    Sighting { token: token.to_owned(), since: seconds(since), boot: "boot-1".to_owned() }
}

fn look(known: Option<&Sighting>, token: &str, now: u64, boot: &str) -> Judgement {
    judge(known, token, seconds(now), boot, &lease(), PATIENCE)
}

#[test]
fn the_first_look_never_finds_a_lease_stale_however_old_its_timestamps() {
    // The lease of the tests was taken in 1970 and this observer's clock has run for ten years.
    let now = 320_000_000;
    assert_eq!(look(None, "a", now, "boot-1"), Judgement::Fresh(seen("a", now)));
}

#[test]
fn an_unchanged_lease_is_stale_after_exactly_ttl_times_drift_plus_grace() {
    assert_eq!(PATIENCE.before_stale(TTL), NEEDED);
    let known = seen("a", 100);
    let waiting = |still| Judgement::Waiting { still: seconds(still), needed: NEEDED };
    assert_eq!(look(Some(&known), "a", 100, "boot-1"), waiting(0));
    assert_eq!(look(Some(&known), "a", 100 + 1_154, "boot-1"), waiting(1_154));
    assert_eq!(look(Some(&known), "a", 100 + 1_155, "boot-1"), Judgement::Stale);
    assert_eq!(look(Some(&known), "a", 100 + 90_000, "boot-1"), Judgement::Stale);
}

#[test]
fn a_lease_that_moved_starts_the_clock_anew() {
    let known = seen("a", 100);
    assert_eq!(look(Some(&known), "b", 90_000, "boot-1"), Judgement::Fresh(seen("b", 90_000)));
}

#[test]
fn an_observation_from_another_boot_or_from_the_future_counts_for_nothing() {
    let known = seen("a", 100);
    let other_boot = Judgement::Fresh(Sighting { boot: "boot-2".to_owned(), ..seen("a", 90_000) });
    assert_eq!(look(Some(&known), "a", 90_000, "boot-2"), other_boot);
    assert_eq!(look(Some(&known), "a", 99, "boot-1"), Judgement::Fresh(seen("a", 99)));
}

#[test]
fn a_drift_below_one_does_not_make_observers_hasty() {
    for drift in [0.0, -3.0, 0.99, f64::NAN] {
        let patience = Patience { drift, grace: seconds(30) };
        assert_eq!(patience.before_stale(TTL), seconds(930), "drift {drift}");
    }
}

#[test]
fn absurd_settings_wait_for_ever_instead_of_overflowing() {
    for (drift, ttl) in [(1.25, Duration::MAX), (f64::INFINITY, TTL), (1e300, TTL)] {
        let patience = Patience { drift, grace: Duration::MAX };
        assert_eq!(patience.before_stale(ttl), Duration::MAX, "drift {drift}");
    }
    assert_eq!(deadline(Duration::MAX, TTL), Duration::MAX);
}

#[test]
fn a_holder_stops_one_ttl_after_the_moment_before_it_sent_the_renewal() {
    assert_eq!(deadline(seconds(50), TTL), seconds(950));
    assert_eq!(renewal_interval(TTL), seconds(300), "two renewals may get lost");
}

proptest! {
    /// Whatever the delay of the answer and the speed of the two clocks within the tolerated ratio, the
    /// holder has stopped before an observer may start.
    #[test]
    fn holder_and_successor_never_overlap(
        sent in 0u64..1_000_000,
        ttl in 1u64..1_000_000,
        delay in 0u64..1_000_000,
        rate in 0.8f64..1.0,
    ) {
        let ttl = seconds(ttl);
        let stops = deadline(seconds(sent), ttl).as_secs_f64();
        // The observer sees the renewal when the remote has it, never before it was sent; its clock runs
        // at `1 / rate` of the holder's.
        let first_sight = (sent + delay) as f64;
        let starts = first_sight + PATIENCE.before_stale(ttl).as_secs_f64() * rate;
        prop_assert!(starts >= stops, "starts {starts}, the holder stops {stops}");
    }

    /// The judgement depends on the span alone, and is monotone in it.
    #[test]
    fn stale_stays_stale(since in 0u64..10_000, still in 0u64..5_000, more in 0u64..5_000) {
        let known = seen("a", since);
        let first = look(Some(&known), "a", since + still, "boot-1");
        let later = look(Some(&known), "a", since + still + more, "boot-1");
        prop_assert_eq!(first == Judgement::Stale, seconds(still) >= NEEDED);
        if first == Judgement::Stale {
            prop_assert_eq!(later, Judgement::Stale);
        }
    }
}

#[test]
fn waiting_times_after_failures_survive_absurd_policies() {
    use crate::protocol::retry::backoff;
    let none = RetryPolicy::default();
    let policy = |backoff: Vec<Duration>, jitter| RetryPolicy {
        max_attempts: None,
        backoff: Some(backoff),
        jitter: Some(jitter),
    };
    assert_eq!(backoff(&policy(vec![], 0.1), &none, 1, 0.5), Duration::ZERO);
    assert_eq!(backoff(&policy(vec![seconds(60)], f64::NAN), &none, 1, 0.5), seconds(60));
    assert_eq!(backoff(&policy(vec![seconds(60)], 0.0), &none, u32::MAX, 0.9), seconds(60));
    assert_eq!(backoff(&policy(vec![Duration::MAX], 1.0), &none, 1, 1.0), Duration::MAX);
    assert_eq!(backoff(&policy(vec![seconds(60)], 9.0), &none, 1, 0.0), Duration::ZERO);
    // The queue's settings apply where the task has none; the task's come first.
    let queue = policy(vec![seconds(7)], 0.0);
    assert_eq!(backoff(&none, &queue, 1, 0.5), seconds(7));
    assert_eq!(backoff(&policy(vec![seconds(8)], 0.0), &queue, 1, 0.5), seconds(8));
}
