//! What is known of who uses what, from all executions so far: it decides where a point is needed.
//!
//! Two uses of a thing race when they are of two processes, at least one changes
//! it so that the other sees it, and no advisory lock was held during both. Only such uses need points, and only they are told to loom as depending on each other. Nothing is lost by that:
//! - Two uses under one lock never stand side by side as the next steps of two processes: whoever comes second has
//!   to take the lock first. To turn them round is to turn round the taking of the lock, which is a point, and which loom
//!   tries both ways.
//! - What is used by one process only, or only read, gives the same in every order.
//!
//! That no others race is not assumed but looked at in every execution, by the locks that were really held: after a use
//! that is seen for the first time and races with one that was seen before, the exploration begins anew with points
//! at both ([`Known::saw`], [`Known::settle`]). So whatever exploration ends without such a use had points at all that raced in
//! any of its executions. (The same holds for processes that do not wait for a lock: whoever tries can see it held, so
//! leaving it is a point too.)
//!
//! Until it begins anew nothing new becomes a point: loom wants the same points in every execution.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::points::{Access, Thing};

/// An advisory lock, by a number.
pub type LockId = u16;

/// One way in which a thing is used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Use {
    me: usize,
    access: Access,
    /// The locks that were held, in order.
    held: Vec<LockId>,
    /// Whether it was known when this exploration began.
    settled: bool,
}

impl Use {
    fn races(&self, other: &Use) -> bool {
        self.me != other.me
            && !self.access.commutes(other.access)
            && self.held.iter().all(|lock| !other.held.contains(lock))
    }
}

/// Two ways of using a thing that race: the number of the thing, and those of the ways in order.
pub type Race = (u32, u16, u16);

/// What all executions so far have shown.
#[derive(Default)]
pub struct Known {
    things: HashMap<Thing, u32>,
    used: Vec<Vec<Use>>,
    locks: HashMap<(usize, PathBuf), LockId>,
    /// Who tries a lock without waiting for it, and whether that was known when this exploration began.
    tried: Vec<Vec<(usize, bool)>>,
    /// Something was seen for the first time that needs a point.
    grown: bool,
}

impl Known {
    /// A process uses a thing while it holds these locks. Gives the races in which it takes part, as far as they are settled.
    pub fn saw(&mut self, thing: &Thing, me: usize, access: Access, held: &[LockId]) -> Vec<Race> {
        let number = match self.things.get(thing) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.used.len()).unwrap_or(u32::MAX);
                self.things.insert(thing.clone(), number);
                self.used.push(Vec::new());
                number
            }
        };
        let uses = &mut self.used[number as usize];
        let same = |one: &Use| one.me == me && one.access == access && one.held == held;
        let (at, new) = match uses.iter().position(same) {
            Some(at) => (at, false),
            None => {
                uses.push(Use { me, access, held: held.to_vec(), settled: false });
                (uses.len() - 1, true)
            }
        };
        if !uses[at].settled {
            self.grown |= new && uses.iter().any(|other| uses[at].races(other));
            return Vec::new();
        }
        let races = uses.iter().enumerate().filter(|(_, other)| other.settled && uses[at].races(other));
        let race = |(other, _): (usize, &Use)| (number, at.min(other) as u16, at.max(other) as u16);
        races.map(race).collect()
    }

    /// The number of a lock.
    pub fn lock(&mut self, machine: usize, path: &Path) -> LockId {
        let next = self.tried.len() as LockId;
        let lock = *self.locks.entry((machine, path.to_owned())).or_insert(next);
        if lock == next {
            self.tried.push(Vec::new());
        }
        lock
    }

    /// A process tries a lock without waiting for it.
    pub fn tries(&mut self, lock: LockId, me: usize) {
        let tried = &mut self.tried[usize::from(lock)];
        if !tried.iter().any(|(who, _)| *who == me) {
            tried.push((me, false));
            self.grown = true;
        }
    }

    /// Who tries a lock without waiting for it, beside this process.
    pub fn others_who_try(&self, lock: LockId, me: usize) -> Vec<usize> {
        let settled = self.tried[usize::from(lock)].iter().filter(|(_, settled)| *settled);
        settled.map(|(other, _)| *other).filter(|other| *other != me).collect()
    }

    /// Whether something was seen since the last question that needs a point and had none.
    pub fn has_grown(&mut self) -> bool {
        std::mem::take(&mut self.grown)
    }

    /// From here on all that was seen is known: an exploration begins.
    pub fn settle(&mut self) {
        self.used.iter_mut().flatten().for_each(|one| one.settled = true);
        self.tried.iter_mut().flatten().for_each(|(_, settled)| *settled = true);
    }

    /// What more than one process uses in ways that race.
    #[must_use]
    pub fn contended(&self) -> Vec<&Thing> {
        let races = |number: u32| {
            let uses = &self.used[number as usize];
            uses.iter().enumerate().any(|(at, one)| uses[..at].iter().any(|other| one.races(other)))
        };
        self.things.iter().filter(|(_, number)| races(**number)).map(|(thing, _)| thing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_under_one_lock_do_not_race_until_somebody_uses_it_without() {
        let mut known = Known::default();
        let (one, other) = (known.lock(0, Path::new("/l")), known.lock(0, Path::new("/k")));
        assert_ne!(one, other);
        assert_eq!(one, known.lock(0, Path::new("/l")));
        assert!(known.saw(&Thing::Remote, 0, Access::Write, &[one]).is_empty());
        assert!(known.saw(&Thing::Remote, 1, Access::Write, &[one, other]).is_empty());
        assert!(!known.has_grown() && known.contended().is_empty());
        // Without the lock: it races with the write of the other process, and not with its own.
        assert!(
            known.saw(&Thing::Remote, 1, Access::Read, &[other]).is_empty(),
            "not before all begins anew"
        );
        assert!(known.has_grown() && !known.has_grown());
        assert!(known.saw(&Thing::Remote, 0, Access::Write, &[one]).is_empty());
        known.settle();
        assert_eq!(known.saw(&Thing::Remote, 1, Access::Read, &[other]), [(0, 0, 2)]);
        assert_eq!(known.contended(), [&Thing::Remote]);
        assert_eq!(known.saw(&Thing::Remote, 0, Access::Write, &[one]), [(0, 0, 2)]);
        assert!(known.saw(&Thing::Remote, 1, Access::Write, &[one, other]).is_empty());
        assert!(!known.has_grown(), "all of this was known");
    }

    #[test]
    fn readers_do_not_race_and_neither_does_one_process_with_itself() {
        let mut known = Known::default();
        for me in 0..2 {
            assert!(known.saw(&Thing::Remote, me, Access::Read, &[]).is_empty());
        }
        assert!(known.saw(&Thing::Brought(0), 0, Access::Read, &[]).is_empty());
        assert!(known.saw(&Thing::Brought(0), 0, Access::Write, &[]).is_empty());
        assert!(!known.has_grown());
    }

    #[test]
    fn who_tries_a_lock_is_remembered() {
        let mut known = Known::default();
        let lock = known.lock(0, Path::new("/l"));
        known.tries(lock, 1);
        assert!(known.has_grown());
        assert_eq!(known.others_who_try(lock, 0), Vec::<usize>::new());
        known.settle();
        known.tries(lock, 1);
        assert!(!known.has_grown());
        assert_eq!((known.others_who_try(lock, 0), known.others_who_try(lock, 1)), (vec![1], vec![]));
    }
}
