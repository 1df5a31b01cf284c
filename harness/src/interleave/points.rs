//! Where another process may come in between: the only file that names loom.
//!
//! What two processes can see is modelled by loom mutexes: for each two ways of using a thing that race ([`known`]), one
//! that both touch when they use it. So two readers are independent of each other, and so is what happens
//! under one lock; loom tries only one of their orders, while a writer is tried before and after every reader and every other
//! writer that could be beside it. (loom's own `RwLock` and atomics would not do: the first orders readers too, and the second
//! remember one last access only, so that a read before another read is never tried after the write that follows both.)
//!
//! An advisory lock is a loom mutex that is held as long as the lock is: who waits for it is blocked, and not one that looks
//! again and again.
//!
//! [`known`]: super::known

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use loom::sync::{Mutex, MutexGuard};
use orch::store::index::Part;

use super::asleep::Asleep;
use super::known::{Known, LockId, Race};
use super::order::Order;

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
    /// A part of the index of a machine.
    Index(usize, Part),
    /// Whether the process of that number runs on a machine.
    Process(usize, u32),
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
            Thing::Index(machine, part) => write!(f, "the index of m{machine}: {part}"),
            Thing::Process(machine, pid) => write!(f, "process {pid} of m{machine}"),
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
    /// Puts something into a set or takes it out, such as the names in a directory, which then shows this time: whoever
    /// looks at the set sees a difference. Two who do it at one time see none, unless what they put in or take out
    /// is the same, which is a thing of its own.
    Change(u64),
    /// Others see a difference.
    Write,
}

impl Access {
    /// Whether two of these on one thing may be done in either order.
    #[must_use]
    pub fn commutes(self, other: Access) -> bool {
        self == other && self != Access::Write
    }
}

/// Everything that the processes of one execution share, as far as loom has to know of it.
pub struct Points {
    known: Rc<RefCell<Known>>,
    asleep: Rc<RefCell<Asleep>>,
    /// What processes held that unwind: it is let go once they have.
    left: RefCell<Vec<Vec<MutexGuard<'static, ()>>>>,
    /// What two steps have in common that depend on each other. (Behind `left`, which points into it.)
    cells: RefCell<HashMap<u64, Rc<Mutex<()>>>>,
    /// The advisory locks that each process holds, in order.
    held: RefCell<Vec<Vec<LockId>>>,
    cut: Cell<bool>,
    /// What a process does at home in a row is one step.
    together: bool,
    /// Processes that are in the middle of such a step.
    at_home: RefCell<Vec<bool>>,
    orders: RefCell<Order>,
    trail: RefCell<Vec<(usize, &'static str, What)>>,
}

/// What a step was about, for people.
enum What {
    Things(Vec<Thing>),
    Text(String),
}

/// What a process unwinds with whose execution repeats another one.
pub struct Cut;

/// An advisory lock that is held.
pub struct Holding {
    guard: Option<MutexGuard<'static, ()>>,
    // Behind the guard, which points into it.
    _cell: Rc<Mutex<()>>,
    points: Rc<Points>,
    me: usize,
    lock: LockId,
}

/// Nobody panics while a point is passed.
const SOUND: &str = "a point is passed without a panic";

/// What the uses of a thing that race have in common.
fn of_race((thing, one, other): Race) -> u64 {
    u64::from(thing) << 32 | u64::from(one) << 16 | u64::from(other)
}

/// What all have in common who take a lock.
fn of_lock(lock: LockId) -> u64 {
    1 << 63 | u64::from(lock) << 8
}

/// What a process that tries a lock has in common with those who take and leave it.
fn of_try(lock: LockId, who: usize) -> u64 {
    of_lock(lock) | (1 + who as u64)
}

impl Points {
    /// Points for so many processes; called inside an execution.
    #[must_use]
    pub fn new(
        processes: usize,
        together: bool,
        known: Rc<RefCell<Known>>,
        asleep: Rc<RefCell<Asleep>>,
    ) -> Points {
        asleep.borrow_mut().begin();
        Points {
            known,
            asleep,
            cells: RefCell::default(),
            held: RefCell::new(vec![Vec::new(); processes]),
            left: RefCell::new((0..processes).map(|_| Vec::new()).collect()),
            cut: Cell::new(false),
            together,
            at_home: RefCell::new(vec![false; processes]),
            orders: RefCell::new(Order::new(processes)),
            trail: RefCell::default(),
        }
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

    /// Whether this execution repeats another one, and was cut off.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// The same number for executions in which all steps that depend on each other came in the same order.
    #[must_use]
    pub fn order(&self) -> u64 {
        self.orders.borrow().sum()
    }

    fn cell(&self, key: u64) -> Rc<Mutex<()>> {
        Rc::clone(self.cells.borrow_mut().entry(key).or_insert_with(|| Rc::new(Mutex::new(()))))
    }

    /// One point, at which loom hears of everything that a step touches: another process may be tried before the first. The
    /// others are touched in the same step, so that loom knows of the dependence; what depends on them is tried before
    /// the first.
    fn touch(&self, keys: &[u64]) {
        let Some((first, others)) = keys.split_first() else { return };
        self.goes_on();
        drop(self.cell(*first).lock().expect(SOUND));
        self.touch_too(others);
    }

    fn touch_too(&self, keys: &[u64]) {
        self.goes_on();
        if keys.is_empty() {
            return;
        }
        loom::stop_exploring();
        for key in keys {
            drop(self.cell(*key).lock().expect(SOUND));
        }
        loom::explore();
    }

    /// Unwinds if this execution was cut off.
    fn goes_on(&self) {
        if self.cut.get() {
            std::panic::resume_unwind(Box::new(Cut));
        }
    }

    /// A step of a process, which may be one that was explored in another order.
    fn stepped(&self, me: usize, keys: Vec<u64>) {
        if self.asleep.borrow_mut().is_explored(me, &keys) {
            self.cut.set(true);
            loom::skip_branch();
        }
        self.goes_on();
        self.orders.borrow_mut().step(me, &keys);
    }

    /// Another process may come in between here, if what follows could make a difference to it or the other way round; what
    /// follows, up to the next point, happens in one step. `what` is all that the step touches.
    pub fn pass(&self, me: usize, verb: &'static str, what: &[(Thing, Access)]) {
        self.goes_on();
        let held = self.held.borrow()[me].clone();
        let mut keys: Vec<u64> = Vec::new();
        for (thing, access) in what {
            keys.extend(self.known.borrow_mut().saw(thing, me, *access, &held).into_iter().map(of_race));
        }
        if keys.is_empty() {
            return;
        }
        let asks = what.iter().any(|(thing, _)| *thing == Thing::Remote);
        let goes_on = std::mem::replace(&mut self.at_home.borrow_mut()[me], !asks) && !asks && self.together;
        if goes_on {
            self.touch_too(&keys);
            self.asleep.borrow_mut().goes_on(&keys);
            self.orders.borrow_mut().step(me, &keys);
        } else {
            self.touch(&keys);
            self.stepped(me, keys);
        }
        let things = what.iter().map(|(thing, _)| thing.clone()).collect();
        self.trail.borrow_mut().push((me, verb, What::Things(things)));
    }

    /// Takes an advisory lock with `attempt`, in one step, as soon as nobody holds it; whoever waits waits as long as it
    /// takes, and a lock that is never freed is a deadlock, which loom reports. Without `patient` the attempt is
    /// made at once.
    pub fn take<T>(
        self: &Rc<Self>,
        me: usize,
        (machine, path): (usize, &Path),
        patient: bool,
        attempt: impl FnOnce() -> Option<T>,
    ) -> Option<(T, Holding)> {
        self.at_home.borrow_mut()[me] = false;
        let lock = self.known.borrow_mut().lock(machine, path);
        let cell = self.cell(of_lock(lock));
        let others: Vec<u64> =
            self.known.borrow().others_who_try(lock, me).into_iter().map(|who| of_try(lock, who)).collect();
        if patient {
            self.goes_on();
            let holding = self.hold(me, lock, &cell, cell.lock().expect(SOUND));
            self.touch_too(&others);
            self.stepped(me, [of_lock(lock)].into_iter().chain(others).collect());
            return attempt().map(|taken| (taken, holding));
        }
        self.known.borrow_mut().tries(lock, me);
        let mut keys = vec![of_try(lock, me)];
        self.touch(&keys);
        let taken = attempt();
        let holding = taken.is_some().then(|| {
            loom::stop_exploring();
            let guard = cell.try_lock().expect("nobody holds a lock that could be taken");
            loom::explore();
            let holding = self.hold(me, lock, &cell, guard);
            self.touch_too(&others);
            keys.push(of_lock(lock));
            keys.extend(others);
            holding
        });
        self.stepped(me, keys);
        taken.zip(holding)
    }

    fn hold(
        self: &Rc<Self>,
        me: usize,
        lock: LockId,
        cell: &Rc<Mutex<()>>,
        guard: MutexGuard<'_, ()>,
    ) -> Holding {
        let held = &mut self.held.borrow_mut()[me];
        held.push(lock);
        held.sort_unstable();
        // SAFETY: the guard borrows from the mutex behind `cell`, which does not move and lives as long as the `Holding`;
        // the guard is taken out of it before that ends, or moved to `Points::left`, and the mutex is in `Points::cells`.
        let guard = unsafe { std::mem::transmute::<MutexGuard<'_, ()>, MutexGuard<'static, ()>>(guard) };
        Holding { guard: Some(guard), _cell: Rc::clone(cell), points: Rc::clone(self), me, lock }
    }

    /// A process is about to die: whoever tries one of its locks may do that before or after.
    pub fn dies(&self, me: usize) {
        let held = self.held.borrow()[me].clone();
        let tried = held.iter().flat_map(|lock| {
            self.known.borrow().others_who_try(*lock, me).into_iter().map(|who| of_try(*lock, who))
        });
        let keys: Vec<u64> = tried.collect();
        if !keys.is_empty() {
            self.touch(&keys);
            self.stepped(me, keys);
        }
    }

    /// Frees the locks of a process that has unwound.
    pub fn let_go(&self, me: usize) {
        let left = std::mem::take(&mut self.left.borrow_mut()[me]);
        drop(left);
        self.held.borrow_mut()[me].clear();
    }
}

impl Holding {
    /// Leaves the lock with `leave`. That is a point only if somebody tries the lock without waiting for it: whoever waits
    /// cannot tell when it was left, only who had it before.
    pub fn leave(mut self, leave: impl FnOnce()) {
        let (me, lock) = (self.me, self.lock);
        self.points.at_home.borrow_mut()[me] = false;
        let others = self.points.known.borrow().others_who_try(lock, me);
        let keys: Vec<u64> = others.into_iter().map(|who| of_try(lock, who)).collect();
        if !keys.is_empty() {
            self.points.touch(&keys);
            self.points.stepped(me, keys);
        }
        leave();
        drop(self.guard.take());
        self.points.held.borrow_mut()[me].retain(|held| *held != lock);
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        if std::thread::panicking() {
            // A mutex that is left in a panic is poisoned.
            self.points.left.borrow_mut()[self.me].push(guard);
        } else {
            drop(guard);
            self.points.held.borrow_mut()[self.me].retain(|held| *held != self.lock);
        }
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
mod tests;
