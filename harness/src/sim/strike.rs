//! One call of a port, chosen by its number, that is struck: for whoever tries every call in turn.
//!
//! A first pass counts ([`Striker::count`]); it also says at which calls a death differs from a death at the call
//! before, because something was changed in between. Later passes strike ([`Striker::strike`]).

use std::io;

use rustix::io::Errno;

/// What happens at the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// The process is killed before the call has an effect.
    Kill,
    /// The call fails: an error of the disk ([`Striker::error`]), or a message or answer that is lost.
    Fail,
}

/// What a disk answers with: a bad block, too many open files, no space left, a file system that is read-only.
const ERRORS: [Errno; 4] = [Errno::IO, Errno::MFILE, Errno::NOSPC, Errno::ROFS];

/// What is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Planned {
    at: u64,
    blow: Blow,
    /// Also at every later call.
    for_good: bool,
}

/// Counts calls, and strikes one of them.
#[derive(Debug, Clone, Default)]
pub struct Striker {
    counting: bool,
    planned: Option<Planned>,
    calls: u64,
    changed: bool,
    deaths: Vec<u64>,
    struck: bool,
}

impl Striker {
    /// Counts calls from here on.
    #[must_use]
    pub fn count() -> Self {
        // The first call of all is a place to die as well: nothing was done.
        Striker { counting: true, changed: true, ..Striker::default() }
    }

    /// Strikes the call of that number (from 1), or also all that come after it.
    #[must_use]
    pub fn strike(at: u64, blow: Blow, for_good: bool) -> Self {
        Striker { planned: Some(Planned { at, blow, for_good }), ..Striker::count() }
    }

    /// A call begins: whether it is struck.
    pub(super) fn meets(&mut self) -> Option<Blow> {
        if !self.counting {
            return None;
        }
        self.calls += 1;
        if std::mem::take(&mut self.changed) {
            self.deaths.push(self.calls);
        }
        let planned = self.planned?;
        let hit = self.calls == planned.at || (planned.for_good && self.calls > planned.at);
        self.struck |= hit;
        hit.then_some(planned.blow)
    }

    /// The error of a call that is struck. Calls get all of them in turn; from a planned call on it stays the same.
    pub(super) fn error(&self) -> io::Error {
        let at = self.planned.map_or(self.calls, |planned| planned.at + u64::from(planned.for_good));
        ERRORS[(at % ERRORS.len() as u64) as usize].into()
    }

    /// The call that has begun changes something that outlives the process.
    pub(super) fn changes(&mut self) {
        self.changed = true;
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Whether the planned blow has fallen.
    #[must_use]
    pub fn struck(&self) -> bool {
        self.struck
    }

    /// The calls at which a death leaves something else behind than a death at the call before.
    #[must_use]
    pub fn deaths(&self) -> &[u64] {
        &self.deaths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_counts_only_where_something_was_changed_since_the_last_one() {
        let mut striker = Striker::count();
        for changes in [false, true, false, true, true, false] {
            assert_eq!(striker.meets(), None);
            if changes {
                striker.changes();
            }
        }
        assert_eq!((striker.calls(), striker.deaths()), (6, [1, 3, 5, 6].as_slice()));
    }

    /// Every failing disk had a bad block: that a full one, a read-only one and one without a handle left are told apart was
    /// never tried.
    #[test]
    fn neighbouring_calls_fail_in_different_ways_and_each_call_in_two() {
        let error = |at, for_good| Striker::strike(at, Blow::Fail, for_good).error().raw_os_error();
        let once: std::collections::BTreeSet<_> = (1..=4).map(|at| error(at, false)).collect();
        assert_eq!(once, ERRORS.map(|errno| Some(errno.raw_os_error())).into());
        assert!((1..=4).all(|at| error(at, true) != error(at, false)));
        let mut striker = Striker::strike(2, Blow::Fail, true);
        let seen: Vec<_> =
            (0..4).filter_map(|_| striker.meets().map(|_| striker.error().raw_os_error())).collect();
        assert_eq!(seen, vec![seen[0]; 3]);
    }

    #[test]
    fn the_chosen_call_is_struck_once_or_from_then_on() {
        let blows = |mut striker: Striker| (0..4).map(|_| striker.meets().is_some()).collect::<Vec<_>>();
        assert_eq!(blows(Striker::strike(2, Blow::Fail, false)), [false, true, false, false]);
        assert_eq!(blows(Striker::strike(2, Blow::Fail, true)), [false, true, true, true]);
        assert_eq!(blows(Striker::default()), [false; 4]);
    }
}
