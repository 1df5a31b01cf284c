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

/// Watches until it is told to end. Failures that may pass are told and waited for.
///
/// # Errors
/// Those that do not pass by themselves.
pub fn run(post: &mut dyn Post, timing: Timing, rules: Rules) -> Result<()> {
    let mut left = Duration::ZERO;
    loop {
        let pause = match look(post, timing, rules, &mut left) {
            Ok(pause) => pause,
            Err(error) if matches!(error.kind, Kind::Unreachable | Kind::Timeout | Kind::Conflict) => {
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
}
