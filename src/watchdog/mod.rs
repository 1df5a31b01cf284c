//! Looks after leases, again and again, and exchanges with the remote in between. It decides nothing itself:
//! whether a lease is stale is decided by [`crate::usecase::watch`].

use std::time::Duration;

use crate::protocol::lease::renewal_interval;
use crate::usecase::error::{Error, Kind, Result};
use crate::usecase::queue::Queue;
use crate::usecase::sync::{self, Synced};
use crate::usecase::watch::{self, Rules, Watched};

/// Rounds are at least this far apart, whatever was asked for.
const SHORTEST: Duration = Duration::from_millis(200);
/// Pause after a remote that did not answer, where none is named.
const UNREACHABLE: Duration = Duration::from_secs(60);

/// How often to look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Pause between rounds; default is a third of the queue's lease.
    pub every: Option<Duration>,
    /// Pause between exchanges with the remote in between; none by default.
    pub sync: Option<Duration>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// A round over all leases.
    Round(Watched),
    /// An exchange with the remote.
    Synced(Synced),
    /// The remote did not answer, or another failure that may pass.
    Trouble(Error),
    /// What a person may want to know besides.
    Notice(String),
}

/// Where it runs: each look opens the queue anew, so that it sees what others have changed.
pub trait Post {
    /// Opens the queue.
    ///
    /// # Errors
    /// Those of opening.
    fn open(&mut self) -> Result<Queue>;
    /// Passes a report on.
    ///
    /// # Errors
    /// Where it cannot be written; the watch ends.
    fn tell(&mut self, told: Told) -> Result<()>;
    /// Waits; false when the watch is to end.
    fn pause(&mut self, span: Duration) -> bool;
}

/// Watches until it is told to end. Failures that may pass are told and waited for, and once a look has succeeded also those
/// that somebody else may mend meanwhile: a hook on the remote, a branch that was rewound, a full disk.
///
/// # Errors
/// Those of the first looks that do not pass by themselves, and later those of this machine's configuration.
pub fn run(post: &mut dyn Post, timing: Timing, rules: Rules) -> Result<()> {
    let mut left = Duration::ZERO;
    let mut looked = false;
    loop {
        let pause = match look(post, timing, rules, &mut left) {
            Ok(pause) => {
                looked = true;
                pause
            }
            Err(error) if passes(error.kind) || (looked && is_mended_elsewhere(error.kind)) => {
                post.tell(Told::Trouble(error))?;
                timing.every.unwrap_or(UNREACHABLE).min(UNREACHABLE)
            }
            Err(error) => return Err(error),
        };
        let pause = pause.max(SHORTEST);
        left = left.saturating_sub(pause);
        if !post.pause(pause) {
            return Ok(());
        }
    }
}

fn passes(kind: Kind) -> bool {
    matches!(kind, Kind::Unreachable | Kind::Timeout | Kind::Conflict)
}

/// Whether somebody may mend it without this watchdog: where it is the only one, leases stand still as long as it is away.
fn is_mended_elsewhere(kind: Kind) -> bool {
    matches!(kind, Kind::Failure | Kind::Refused | Kind::Damaged)
}

/// One look; `left` is the time until the next round is due. Gives the pause after it.
fn look(post: &mut dyn Post, timing: Timing, rules: Rules, left: &mut Duration) -> Result<Duration> {
    let mut q = post.open()?;
    if left.is_zero() {
        let watched = watch::round(&mut q, rules)?;
        *left = timing.every.unwrap_or_else(|| renewal_interval(q.settings().lease.ttl));
        post.tell(Told::Round(watched))?;
    } else if q.settings().remote.is_some() {
        let synced = sync::sync(&mut q)?;
        post.tell(Told::Synced(synced))?;
    }
    for notice in q.notices() {
        post.tell(Told::Notice(notice))?;
    }
    Ok(timing.sync.map_or(*left, |sync| sync.min(*left)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{self, InitRequest, Options};
    use crate::protocol::id::TaskId;
    use crate::protocol::task::{Definition, Status};
    use crate::usecase::add::add;
    use crate::usecase::claim::{Terms, claim};

    struct Guard {
        options: Options,
        told: Vec<Told>,
        pauses: Vec<Duration>,
    }

    impl Post for Guard {
        fn open(&mut self) -> Result<Queue> {
            machine::open(&self.options)
        }
        fn tell(&mut self, told: Told) -> Result<()> {
            self.told.push(told);
            Ok(())
        }
        fn pause(&mut self, span: Duration) -> bool {
            self.pauses.push(span);
            self.pauses.len() < 4
        }
    }

    #[test]
    fn it_looks_at_its_pace_and_takes_back_at_once_what_a_dead_process_held() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        machine::init(&InitRequest { state: state.clone(), ..InitRequest::default() }).unwrap();
        let options = Options { state, ..Options::default() };
        let id = TaskId::parse("T-1").unwrap();
        let mut q = machine::open(&options).unwrap();
        let definition = Definition { title: "t".to_owned(), ..Definition::default() };
        add(&mut q, Some(id.clone()), definition).unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        claim(&mut q, &id, &Terms { pid: Some(child.id()), ..Terms::default() }).unwrap();
        drop(q);
        child.kill().unwrap();
        child.wait().unwrap();
        let mut guard = Guard { options, told: Vec::new(), pauses: Vec::new() };
        let (every, sync) = (Duration::from_secs(60), Duration::from_secs(25));
        run(&mut guard, Timing { every: Some(every), sync: Some(sync) }, Rules::default()).unwrap();
        let seconds: Vec<u64> = guard.pauses.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [25, 25, 10, 25], "the fourth pause follows a second round");
        let rounds: Vec<&Watched> = guard
            .told
            .iter()
            .filter_map(|told| if let Told::Round(watched) = told { Some(watched) } else { None })
            .collect();
        assert_eq!(rounds.len(), 2);
        assert_eq!(
            rounds[0].recovered.iter().map(|one| (&one.id, one.to)).collect::<Vec<_>>(),
            [(&id, Status::Pending)]
        );
        assert_eq!(rounds[1], &Watched::default());
    }

    /// A queue that fails in the same way from the `from`th time that it is opened on.
    struct Failing {
        guard: Guard,
        kind: Kind,
        from: usize,
        opened: usize,
    }

    impl Post for Failing {
        fn open(&mut self) -> Result<Queue> {
            self.opened += 1;
            if self.opened > self.from {
                return Err(Error::new(self.kind, "made_up", "made up"));
            }
            self.guard.open()
        }
        fn tell(&mut self, told: Told) -> Result<()> {
            self.guard.tell(told)
        }
        fn pause(&mut self, span: Duration) -> bool {
            self.guard.pause(span)
        }
    }

    /// A few seconds of maintenance on the remote ended every watchdog of the fleet for good, and so did a branch that
    /// somebody had set back, although both are mended by others.
    #[test]
    fn it_waits_for_what_others_mend_and_ends_where_it_never_worked() {
        let ends = |kind, from| {
            let dir = tempfile::tempdir().unwrap();
            let state = dir.path().join("state");
            machine::init(&InitRequest { state: state.clone(), ..InitRequest::default() }).unwrap();
            let options = Options { state, ..Options::default() };
            let guard = Guard { options, told: Vec::new(), pauses: Vec::new() };
            let mut post = Failing { guard, kind, from, opened: 0 };
            let ended = run(&mut post, Timing::default(), Rules::default());
            let troubles = post.guard.told.iter().filter(|told| matches!(told, Told::Trouble(_))).count();
            (ended.is_err(), troubles)
        };
        for kind in [Kind::Refused, Kind::Damaged, Kind::Failure] {
            assert_eq!(ends(kind, 1), (false, 3), "{kind:?}");
            assert_eq!(ends(kind, 0), (true, 0), "{kind:?} at once");
        }
        assert_eq!(ends(Kind::Unreachable, 0), (false, 4));
        assert_eq!(ends(Kind::Config, 1), (true, 0));
    }
}
