//! The two clocks that run inside an attempt: the longest run and the longest silence. (The third one, the
//! lease, is kept by whoever holds it.) Times are those of [`crate::world::Clock::monotonic`].

use std::time::Duration;

use crate::protocol::task::Reason;

/// What may not be exceeded, and when things last happened.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// When the attempt began.
    pub attempt_began: Duration,
    /// When the command began.
    pub step_began: Duration,
    /// When the command last wrote something; at first when it began.
    pub last_output: Duration,
    /// Longest attempt.
    pub runtime: Option<Duration>,
    /// Longest command.
    pub step_limit: Option<Duration>,
    /// Longest silence.
    pub stall: Option<Duration>,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// The attempt's time is up.
    Runtime,
    /// The command's time is up; the attempt may go on.
    Step,
    /// It was silent for too long.
    Stall,
}

impl Expired {
    /// The terminal reason that it gives.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Expired::Runtime | Expired::Step => Reason::Timeout,
            Expired::Stall => Reason::Stalled,
        }
    }
}

impl Clocks {
    /// The limit that is reached at `now`, if any.
    #[must_use]
    pub fn expired(&self, now: Duration) -> Option<Expired> {
        let over = |since: Duration, limit: Option<Duration>| {
            limit.is_some_and(|limit| now.saturating_sub(since) >= limit)
        };
        if over(self.attempt_began, self.runtime) {
            Some(Expired::Runtime)
        } else if over(self.step_began, self.step_limit) {
            Some(Expired::Step)
        } else if over(self.last_output, self.stall) {
            Some(Expired::Stall)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn each_limit_counts_from_its_own_beginning() {
        let clocks = Clocks {
            attempt_began: S(0),
            step_began: S(100),
            last_output: S(130),
            runtime: Some(S(1000)),
            step_limit: Some(S(200)),
            stall: Some(S(60)),
        };
        assert_eq!(clocks.expired(S(189)), None);
        assert_eq!(clocks.expired(S(190)), Some(Expired::Stall));
        assert_eq!(Clocks { last_output: S(290), ..clocks }.expired(S(300)), Some(Expired::Step));
        assert_eq!(
            Clocks { step_began: S(990), last_output: S(999), ..clocks }.expired(S(1000)),
            Some(Expired::Runtime)
        );
        assert_eq!(
            Clocks { runtime: None, step_limit: None, stall: None, ..clocks }.expired(S(99_999)),
            None
        );
        assert_eq!(clocks.expired(S(1)), None, "a clock before the beginning is no silence");
    }
}
