//! The faults of a soak by name, and when each of them was in force: what was measured meanwhile is judged with
//! that in mind.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// SIGKILL to one running command, or to it and its children.
    Kill,
    /// SIGKILL to a watchdog; it is started again.
    KillWatchdog,
    /// SIGSTOP to one running command and its children for longer than the lease, then SIGCONT.
    Pause,
    /// The link of a machine to the remote is cut, open connections too.
    Cut,
    /// The link of a machine swallows everything: connections open and nothing passes.
    Hole,
    /// The link of a machine is slow.
    Slow,
    /// The remote does what it is asked, and its answer is lost.
    LoseAnswer,
    /// The whole remote is gone, for every machine.
    Away,
    /// The file system of one machine is full.
    DiskFull,
    /// The wall clock of one machine jumps by hours, and back.
    Clock,
    /// `git gc` in the clone of a machine.
    GcClone,
    /// `git gc --prune=now` in the clone of a machine, which takes objects that are being written.
    PruneClone,
    /// `git gc` in the remote, with git's own grace for young objects: without it git itself loses what is being
    /// pushed, and no program could help it.
    GcRemote,
    /// A person edits a task file, validly.
    Edit,
    /// A person breaks a task file, and takes it back later.
    BreakFile,
    /// Somebody deletes a lease ref on the remote.
    DeleteRef,
    /// Lock files of git lie around: in a clone and on the remote.
    StaleLock,
    /// Somebody rolls the state branch of the remote back by some commits. Later a person lets each machine publish its
    /// state again.
    ForcePush,
    /// Somebody without orch commits a file on the state branch.
    ForeignCommit,
    /// A hook on the remote forbids every push, for every machine.
    Refusals,
}

impl Kind {
    /// Its name in profiles.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::KillWatchdog => "kill_watchdog",
            Kind::Pause => "pause",
            Kind::Cut => "cut",
            Kind::Hole => "hole",
            Kind::Slow => "slow",
            Kind::LoseAnswer => "lose_answer",
            Kind::Away => "away",
            Kind::DiskFull => "disk_full",
            Kind::Clock => "clock",
            Kind::GcClone => "gc_clone",
            Kind::PruneClone => "prune_clone",
            Kind::GcRemote => "gc_remote",
            Kind::Edit => "edit",
            Kind::BreakFile => "break_file",
            Kind::DeleteRef => "delete_ref",
            Kind::StaleLock => "stale_lock",
            Kind::ForcePush => "force_push",
            Kind::ForeignCommit => "foreign_commit",
            Kind::Refusals => "refusals",
        }
    }

    /// Whether it strikes at a socket, so that a machine by path cannot meet it.
    #[must_use]
    pub fn needs_socket(self) -> bool {
        matches!(self, Kind::Cut | Kind::Hole | Kind::Slow | Kind::LoseAnswer)
    }

    /// Whether a person does it to a file of a machine. What orch makes of that file is asked for afterwards.
    #[must_use]
    pub fn by_hand(self) -> bool {
        matches!(self, Kind::Edit | Kind::BreakFile)
    }

    /// Whether a command of a machine that it strikes may fail without anybody being to blame.
    #[must_use]
    pub fn excuses(self) -> bool {
        use Kind::{Cut, DiskFull, Hole, LoseAnswer, Pause, Slow};
        self.takes_remote() || matches!(self, Pause | Cut | Hole | Slow | LoseAnswer | DiskFull)
    }

    /// Whether it changes what the remote is to everybody. One such fault at a time: what lies in the remote cannot be
    /// taken back while it is away, and nothing can be published again where every push is forbidden.
    #[must_use]
    pub fn takes_remote(self) -> bool {
        matches!(self, Kind::Away | Kind::StaleLock | Kind::ForcePush | Kind::Refusals)
    }
}

/// One fault in force.
#[derive(Debug, Clone)]
struct Window {
    kind: Kind,
    machine: Option<usize>,
    from: Instant,
    to: Option<Instant>,
}

/// When which fault was in force.
#[derive(Default)]
pub struct Windows(Mutex<Vec<Window>>);

/// A fault that goes on until it is ended.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    kind: Kind,
    from: Instant,
}

impl Windows {
    /// A fault begins; `None` is every machine.
    pub fn begin(&self, kind: Kind, machine: Option<usize>) -> Ticket {
        let from = Instant::now();
        self.with(|all| {
            // What ended long ago excuses nothing any more.
            all.retain(|w| w.to.is_none_or(|to| to.elapsed() < Duration::from_secs(600)));
            all.push(Window { kind, machine, from, to: None });
        });
        Ticket { kind, from }
    }

    /// It ends.
    pub fn end(&self, ticket: Ticket) {
        self.with(|all| {
            let mine =
                all.iter_mut().find(|w| w.kind == ticket.kind && w.from == ticket.from && w.to.is_none());
            if let Some(window) = mine {
                window.to = Some(Instant::now());
            }
        });
    }

    /// Whether something that excuses a failure was in force on a machine at any moment since then.
    #[must_use]
    pub fn excuse(&self, machine: usize, since: Instant) -> bool {
        self.with(|all| {
            all.iter().any(|w| {
                let here = w.machine.is_none_or(|at| at == machine);
                here && w.kind.excuses() && w.to.is_none_or(|to| to + AFTERMATH >= since)
            })
        })
    }

    /// Whether another fault was in force on a machine since the one that ended then.
    #[must_use]
    pub fn another(&self, machine: usize, ended: Instant) -> bool {
        let later = ended + Duration::from_millis(100);
        self.with(|all| {
            all.iter().any(|w| {
                let here = w.machine.is_none_or(|at| at == machine);
                here && w.kind.excuses() && w.to.is_none_or(|to| to > later)
            })
        })
    }

    /// For how long since then the remote was away, or locked, for everybody.
    #[must_use]
    pub fn remote_down(&self, since: Instant) -> Duration {
        self.with(|all| {
            let down = all.iter().filter(|w| w.machine.is_none() && w.kind.excuses());
            down.map(|w| w.to.unwrap_or_else(Instant::now).saturating_duration_since(since.max(w.from))).sum()
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Vec<Window>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// A command may still wait for what a fault held up when it has ended.
const AFTERMATH: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_excuses_its_own_machine_and_one_without_machine_excuses_all() {
        let windows = Windows::default();
        let start = Instant::now();
        let cut = windows.begin(Kind::Cut, Some(1));
        assert!(windows.excuse(1, start) && !windows.excuse(0, start));
        windows.end(cut);
        let late = Instant::now() + AFTERMATH + Duration::from_secs(1);
        assert!(!windows.excuse(1, late));
        let ended = Instant::now();
        assert!(!windows.another(1, ended), "its own end is no other fault");
        windows.begin(Kind::GcRemote, None);
        assert!(!windows.excuse(0, late), "a collector excuses nothing");
        windows.begin(Kind::Away, None);
        assert!(windows.excuse(0, late) && windows.another(1, ended));
    }
}
