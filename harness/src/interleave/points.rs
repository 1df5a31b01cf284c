//! Where another process may come in between: the only file that names loom.
//!
//! Every thing that two processes can see is a row of loom mutexes, one for each process. Who reads it touches its own,
//! who writes it touches all of them, in one step. So two readers are independent of each other and loom tries only one of
//! their orders, while a writer is tried before and after every reader and every other writer. (loom's own
//! `RwLock` and atomics would not do: the first orders readers too, and the second remember one last access only, so
//! that a read before another read is never tried after the write that follows both.)

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;

use loom::sync::{Condvar, Mutex};

/// loom keeps one path of decisions in memory; an execution of three processes has a few hundred.
const MAX_DECISIONS: usize = 20_000;
/// Stack of a process, in the words that loom's coroutines count by: the deepest use is SQLite below a use case.
const STACK: usize = 128 * 1024;

/// Something that more than one process can see.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Thing {
    /// A file of a machine, or what its name leads to.
    File(usize, PathBuf),
    /// The names in a directory of a machine.
    Names(usize, PathBuf),
    /// The index of a machine.
    Index(usize),
    /// Which processes run on a machine.
    Processes(usize),
    /// One ref of a machine's repository.
    Ref(usize, String),
    /// Which refs a machine's repository has, and what they are.
    Refs(usize),
    /// Which objects a fetch has brought.
    Brought(usize),
    /// The refs of the remote.
    Remote,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Thing::File(machine, path) => write!(f, "m{machine}:{}", path.display()),
            Thing::Names(machine, path) => write!(f, "m{machine}:{}/", path.display()),
            Thing::Index(machine) => write!(f, "the index of m{machine}"),
            Thing::Processes(machine) => write!(f, "the processes of m{machine}"),
            Thing::Ref(machine, name) => write!(f, "m{machine}:{name}"),
            Thing::Refs(machine) => write!(f, "the refs of m{machine}"),
            Thing::Brought(machine) => write!(f, "what m{machine} has fetched"),
            Thing::Remote => write!(f, "the remote"),
        }
    }
}

/// What is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nobody else notices.
    Read,
    /// Others see a difference.
    Write,
}

/// Everything that the processes of one execution share, as far as loom has to know of it.
pub struct Points {
    processes: usize,
    /// What was seen to be written by one process and used by another: at everything else no point is needed.
    contended: Rc<HashSet<Thing>>,
    /// Who read and who wrote what here, one bit for each process.
    used: RefCell<HashMap<Thing, (u8, u8)>>,
    things: RefCell<HashMap<Thing, Rc<Vec<Mutex<()>>>>>,
    locks: RefCell<BTreeMap<(usize, PathBuf), Rc<Flock>>>,
    trail: RefCell<Vec<(usize, &'static str, What)>>,
}

/// What a step was about, for people.
enum What {
    Things(Vec<Thing>),
    Text(String),
}

/// An advisory lock: whose turn it is to look at it, and who waits for it.
pub struct Flock {
    turn: Mutex<()>,
    freed: Condvar,
}

/// Nobody panics while a point is passed.
const SOUND: &str = "a point is passed without a panic";

impl Points {
    /// Points for so many processes at what is contended; called inside an execution.
    #[must_use]
    pub fn new(processes: usize, contended: Rc<HashSet<Thing>>) -> Points {
        Points {
            processes,
            contended,
            used: RefCell::default(),
            things: RefCell::default(),
            locks: RefCell::default(),
            trail: RefCell::default(),
        }
    }

    /// What turned out to be contended in this execution and was not known to be. As long as that happens, orders were
    /// left out, and the exploration has to begin anew with more points. Once it does not, there is nothing that was
    /// used without a point and written by another process, in any execution.
    #[must_use]
    pub fn newly_contended(&self) -> Vec<Thing> {
        let used = self.used.borrow();
        let contended =
            used.iter().filter(|(_, (reads, writes))| *writes != 0 && ((reads | writes).count_ones() > 1));
        contended.map(|(thing, _)| thing.clone()).filter(|thing| !self.contended.contains(thing)).collect()
    }

    /// Notes something for people.
    pub fn note(&self, me: usize, verb: &'static str, what: &str) {
        self.trail.borrow_mut().push((me, verb, What::Text(what.to_owned())));
    }

    /// What happened, in order.
    #[must_use]
    pub fn trail(&self) -> Vec<String> {
        let text = |(me, verb, what): &(usize, &'static str, What)| match what {
            What::Text(text) => format!("p{me} {verb} {text}"),
            What::Things(things) => {
                let names: Vec<String> = things.iter().map(ToString::to_string).collect();
                format!("p{me} {verb} {}", names.join(", "))
            }
        };
        self.trail.borrow().iter().map(text).collect()
    }

    fn cells(&self, thing: &Thing) -> Rc<Vec<Mutex<()>>> {
        if let Some(found) = self.things.borrow().get(thing) {
            return Rc::clone(found);
        }
        let cells = Rc::new((0..self.processes).map(|_| Mutex::new(())).collect::<Vec<_>>());
        self.things.borrow_mut().insert(thing.clone(), Rc::clone(&cells));
        cells
    }

    /// Another process may come in between here; what follows, up to the next point, happens in one step. `what` is
    /// all that the step touches.
    pub fn pass(&self, me: usize, verb: &'static str, what: &[(Thing, Access)]) {
        for (thing, access) in what {
            let mut used = self.used.borrow_mut();
            let (reads, writes) = match used.get_mut(thing) {
                Some(found) => found,
                None => used.entry(thing.clone()).or_default(),
            };
            *if *access == Access::Read { reads } else { writes } |= 1 << me;
        }
        let known = what.iter().filter(|(thing, _)| self.contended.contains(thing));
        let rows: Vec<_> = known.map(|(thing, access)| (self.cells(thing), *access)).collect();
        if rows.is_empty() {
            return;
        }
        let own = |(row, access): &(Rc<Vec<Mutex<()>>>, Access)| match access {
            Access::Read => me..me + 1,
            Access::Write => 0..row.len(),
        };
        let cells = rows.iter().flat_map(|row| own(row).map(|at| &row.0[at]));
        // One point: the first, before which another process may be tried. The others are touched in the same step, so
        // that loom knows of the dependence; what depends on them is tried before the first.
        let mut first = true;
        let one = cells.clone().count() == 1;
        for cell in cells {
            drop(cell.lock().expect(SOUND));
            if first && !one {
                loom::stop_exploring();
            }
            first = false;
        }
        if !one {
            loom::explore();
        }
        let things = what.iter().map(|(thing, _)| thing.clone()).collect();
        self.trail.borrow_mut().push((me, verb, What::Things(things)));
    }

    /// The advisory lock of that name.
    #[must_use]
    pub fn flock(&self, machine: usize, path: PathBuf) -> Rc<Flock> {
        if let Some(found) = self.locks.borrow().get(&(machine, path.clone())) {
            return Rc::clone(found);
        }
        let flock = Rc::new(Flock { turn: Mutex::new(()), freed: Condvar::new() });
        self.locks.borrow_mut().insert((machine, path), Rc::clone(&flock));
        flock
    }

    /// Lets everybody look again who waits for a lock of a machine: a process of it has died.
    pub fn wake_all(&self, machine: usize) {
        let all: Vec<Rc<Flock>> = self
            .locks
            .borrow()
            .iter()
            .filter(|((at, _), _)| *at == machine)
            .map(|(_, l)| Rc::clone(l))
            .collect();
        for flock in all {
            flock.change(|| ());
        }
    }
}

impl Flock {
    /// Tries to take the lock in one step, and waits for it to be freed while that gives nothing and `patient`.
    /// Whoever waits waits as long as it takes: a lock that is never freed is a deadlock, which loom reports.
    pub fn take<T>(&self, patient: bool, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
        let mut turn = self.turn.lock().expect(SOUND);
        loop {
            let taken = attempt();
            if taken.is_some() || !patient {
                return taken;
            }
            turn = self.freed.wait(turn).expect(SOUND);
        }
    }

    /// Changes who holds it in one step, and lets the others look again.
    pub fn change(&self, body: impl FnOnce()) {
        let turn = self.turn.lock().expect(SOUND);
        body();
        self.freed.notify_all();
        drop(turn);
    }
}

/// Explores every order of what the processes of `body` do, within the bound. `body` runs once for each execution and
/// must begin from the same state each time. Returns only when there is nothing left to explore.
///
/// # Panics
/// As `body` does, and when an execution deadlocks.
pub fn explore(bound: Option<usize>, body: fn()) {
    let mut builder = loom::model::Builder::new();
    // What the environment says is for whoever debugs by hand: here every limit is named, and none cuts silently.
    builder.max_threads = loom::MAX_THREADS;
    builder.max_branches = MAX_DECISIONS;
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.preemption_bound = bound;
    builder.checkpoint_file = None;
    builder.log = false;
    builder.location = false;
    builder.check(body);
}

/// Starts `body(0)`, …, `body(count - 1)` side by side. Nobody waits for them: waiting is something that loom would
/// order as well, and the execution lasts until all have ended anyway.
pub fn side_by_side(count: usize, body: fn(usize)) {
    for at in 0..count {
        let thread = loom::thread::Builder::new().stack_size(STACK);
        thread.spawn(move || body(at)).expect("a simulated thread needs nothing that can be used up");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static POINTS: RefCell<Option<Rc<Points>>> = const { RefCell::new(None) };
        static VALUE: Cell<u32> = const { Cell::new(0) };
        static SEEN: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
        static NEW: RefCell<Vec<Thing>> = const { RefCell::new(Vec::new()) };
    }

    fn pass(me: usize, access: Access) {
        let points = POINTS.with_borrow(|points| points.clone().expect("an execution is running"));
        points.pass(me, "use", &[(Thing::Remote, access)]);
    }

    /// Explores two processes that use one thing, and gives what the thing held after each execution.
    fn explored(contended: bool, bound: Option<usize>, process: fn(usize)) -> Vec<u32> {
        thread_local! {
            static HOW: Cell<(bool, fn(usize))> = const { Cell::new((false, |_| ())) };
            static LEFT: Cell<u32> = const { Cell::new(0) };
        }
        HOW.set((contended, process));
        SEEN.set(Vec::new());
        explore(bound, || {
            let known = if HOW.get().0 { HashSet::from([Thing::Remote]) } else { HashSet::new() };
            POINTS.set(Some(Rc::new(Points::new(2, Rc::new(known)))));
            VALUE.set(0);
            LEFT.set(2);
            side_by_side(2, |me| {
                HOW.get().1(me);
                LEFT.set(LEFT.get() - 1);
                if LEFT.get() == 0 {
                    SEEN.with_borrow_mut(|seen| seen.push(VALUE.get()));
                    let points = POINTS.take().expect("it was set above");
                    NEW.set(points.newly_contended());
                }
            });
        });
        SEEN.take()
    }

    fn increment(me: usize) {
        pass(me, Access::Read);
        let before = VALUE.get();
        pass(me, Access::Write);
        VALUE.set(before + 1);
    }

    #[test]
    fn a_lost_update_is_found_and_the_other_endings_too() {
        let mut seen = explored(true, None, increment);
        let executions = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [1, 2]);
        assert!((4..=12).contains(&executions), "about as many as there are orders: {executions}");
        assert_eq!(explored(true, Some(0), increment), [2], "nobody is interrupted");
    }

    #[test]
    fn readers_are_not_ordered_and_a_writer_is_ordered_with_each_reader() {
        assert_eq!(explored(true, None, |me| pass(me, Access::Read)).len(), 1);
        let mut seen = explored(true, None, |me| {
            if me == 0 {
                pass(me, Access::Write);
                VALUE.set(VALUE.get() + 1);
            } else {
                pass(me, Access::Read);
                let first = VALUE.get();
                pass(me, Access::Read);
                VALUE.set(VALUE.get() + 10 * first + 100 * VALUE.get());
            }
        });
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [1, 101, 111], "after, between and before the two reads");
    }

    #[test]
    fn what_is_written_without_a_point_is_told() {
        explored(false, None, increment);
        assert_eq!(NEW.take(), [Thing::Remote]);
        explored(false, None, |me| pass(me, Access::Read));
        assert_eq!(NEW.take(), []);
        explored(false, None, |me| {
            if me == 0 {
                increment(me);
            }
        });
        assert_eq!(NEW.take(), [], "one process alone needs no point");
    }

    #[test]
    fn whoever_waits_for_a_lock_gets_it_when_it_is_free() {
        thread_local!(static HELD: Cell<bool> = const { Cell::new(false) });
        let seen = explored(true, None, |_| {
            let points = POINTS.with_borrow(|points| points.clone().expect("an execution is running"));
            let flock = points.flock(0, PathBuf::from("/l"));
            let taken = flock.take(true, || (!HELD.replace(true)).then_some(()));
            assert!(taken.is_some());
            VALUE.set(VALUE.get() + 1);
            flock.change(|| HELD.set(false));
        });
        assert!(seen.len() > 1 && seen.iter().all(|value| *value == 2), "{seen:?}");
    }
}
