//! When the next attempt may start.

use std::time::Duration;

use super::task::{RetryPolicy, Task};
use super::time::scale;

/// Waiting times of a queue whose settings name none: SPEC §15.
pub const DEFAULT_BACKOFF: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(180), Duration::from_secs(600)];
/// Jitter of a queue whose settings name none.
pub const DEFAULT_JITTER: f64 = 0.1;

/// Waiting time after attempt number `attempt` (1 = the first) failed; the last entry repeats.
///
/// `dice` in `0..1` spreads it evenly over ± `jitter`, so that tasks that failed together do not come
/// back together.
#[must_use]
pub fn backoff(policy: &RetryPolicy, defaults: &RetryPolicy, attempt: u32, dice: f64) -> Duration {
    let steps = policy.backoff.as_deref().or(defaults.backoff.as_deref()).unwrap_or(&DEFAULT_BACKOFF);
    let jitter = policy.jitter.or(defaults.jitter).unwrap_or(DEFAULT_JITTER);
    let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) };
    let index = (attempt.max(1) as usize - 1).min(steps.len().saturating_sub(1));
    let base = steps.get(index).copied().unwrap_or_default();
    scale(base, 1.0 + jitter * (2.0 * dice.clamp(0.0, 1.0) - 1.0))
}

/// The same for a task, counting the attempt that just failed.
#[must_use]
pub fn backoff_of(task: &Task, defaults: &RetryPolicy, dice: f64) -> Duration {
    backoff(&task.def().retry, defaults, task.attempt(), dice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_climbs_then_repeats_and_stays_within_its_jitter() {
        let none = RetryPolicy::default();
        let at = |attempt, dice| backoff(&none, &none, attempt, dice).as_secs_f64();
        assert_eq!([at(1, 0.5), at(2, 0.5), at(3, 0.5), at(9, 0.5)], [60.0, 180.0, 600.0, 600.0]);
        assert!((at(1, 0.0) - 54.0).abs() < 1e-6 && (at(1, 1.0) - 66.0).abs() < 1e-6);
    }
}
