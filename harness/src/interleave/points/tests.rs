//! Small processes that only pass points, in every order.

use super::*;
use std::collections::BTreeSet;

thread_local! {
    static POINTS: RefCell<Option<Rc<Points>>> = const { RefCell::new(None) };
    static VALUE: Cell<u32> = const { Cell::new(0) };
    static SEEN: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    static ORDERS: RefCell<BTreeSet<u64>> = const { RefCell::new(BTreeSet::new()) };
    static HELD: Cell<bool> = const { Cell::new(false) };
    static NEW: Cell<bool> = const { Cell::new(false) };
}

fn pass(me: usize, access: Access) {
    points().pass(me, "use", &[(Thing::Remote, access)]);
}

fn points() -> Rc<Points> {
    POINTS.with_borrow(|points| points.clone().expect("an execution is running"))
}

/// Explores two processes, as often as something turns out to need a point, and gives what the value was after each
/// execution of the last time.
fn explored(bound: Option<usize>, process: fn(usize)) -> Vec<u32> {
    explored_with(bound, false, false, process)
}

fn explored_with(bound: Option<usize>, together: bool, cut: bool, process: fn(usize)) -> Vec<u32> {
    type How = (bool, Rc<RefCell<Known>>, Rc<RefCell<Asleep>>, fn(usize));
    thread_local! {
        static HOW: RefCell<Option<How>> = const { RefCell::new(None) };
        static LEFT: Cell<u32> = const { Cell::new(0) };
    }
    let known = Rc::new(RefCell::new(Known::default()));
    loop {
        HOW.set(Some((together, Rc::clone(&known), Rc::new(RefCell::new(Asleep::new(cut))), process)));
        SEEN.set(Vec::new());
        ORDERS.take();
        known.borrow_mut().settle();
        explore(bound, || {
            let (together, known, asleep, _) = HOW.with_borrow(|how| how.clone().expect("set above"));
            POINTS.set(Some(Rc::new(Points::new(2, together, known, asleep))));
            VALUE.set(0);
            HELD.set(false);
            LEFT.set(2);
            side_by_side(2, |me| {
                let process = HOW.with_borrow(|how| how.as_ref().expect("set above").3);
                let ended = std::panic::catch_unwind(|| process(me));
                assert!(ended.map_or_else(|why| why.is::<Cut>(), |()| true));
                points().let_go(me);
                LEFT.set(LEFT.get() - 1);
                if LEFT.get() == 0 {
                    let points = POINTS.take().expect("it was set above");
                    if !points.is_cut() {
                        SEEN.with_borrow_mut(|seen| seen.push(VALUE.get()));
                        ORDERS.with_borrow_mut(|orders| orders.insert(points.order()));
                    }
                }
            });
        });
        NEW.set(!known.borrow().contended().is_empty());
        if !known.borrow_mut().has_grown() {
            return SEEN.take();
        }
    }
}

fn increment(me: usize) {
    pass(me, Access::Read);
    let before = VALUE.get();
    pass(me, Access::Write);
    VALUE.set(before + 1);
}

#[test]
fn a_lost_update_is_found_and_the_other_endings_too() {
    let mut seen = explored(None, increment);
    let executions = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [1, 2]);
    assert!((4..=12).contains(&executions), "about as many as there are orders: {executions}");
    assert_eq!(explored(Some(0), increment), [2], "nobody is interrupted");
}

#[test]
fn readers_are_not_ordered_and_a_writer_is_ordered_with_each_reader() {
    assert_eq!(explored(None, |me| pass(me, Access::Read)).len(), 1);
    let mut seen = explored(None, |me| {
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
fn what_needs_a_point_is_found_out() {
    explored(None, increment);
    assert!(NEW.get());
    explored(None, |me| pass(me, Access::Read));
    assert!(!NEW.get());
    explored(None, |me| pass(me, Access::Change(7)));
    assert!(!NEW.get(), "two who put something into a set at one time");
    explored(None, |me| pass(me, Access::Change(me as u64)));
    assert!(NEW.get(), "the set shows who was the last");
    explored(None, |me| {
        if me == 0 {
            increment(me);
        }
    });
    assert!(!NEW.get(), "one process alone needs no point");
}

fn lock(me: usize, patient: bool) -> Option<Holding> {
    let taken = points().take(me, (0, Path::new("/l")), patient, || (!HELD.replace(true)).then_some(()));
    taken.map(|((), holding)| holding)
}

fn leave(holding: Holding) {
    holding.leave(|| HELD.set(false));
}

#[test]
fn whoever_waits_for_a_lock_gets_it_and_what_is_used_under_it_needs_no_point() {
    let seen = explored(None, |me| {
        let holding = lock(me, true).expect("who waits gets it");
        increment(me);
        leave(holding);
    });
    assert!(seen.iter().all(|value| *value == 2), "{seen:?}");
    assert_eq!(ORDERS.take().len(), 2, "who is first, and nothing else");
    assert!(!NEW.get());
    let mut seen = explored(None, |me| {
        let holding = (me == 0).then(|| lock(me, true).expect("who waits gets it"));
        increment(me);
        if let Some(holding) = holding {
            leave(holding);
        }
    });
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [1, 2], "one of them does not care for the lock");
    assert!(NEW.get());
}

#[test]
fn whoever_does_not_wait_finds_a_lock_free_and_held() {
    let mut seen = explored(None, |me| {
        if let Some(holding) = lock(me, me == 0) {
            VALUE.set(VALUE.get() + 1 + 10 * me as u32);
            leave(holding);
        }
    });
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [1, 12], "held, and free before or after");
}

/// Two readers of two things that two writers write: many orders, and loom alone tries some of them twice.
#[test]
fn what_is_cut_off_was_seen_before() {
    fn process(me: usize) {
        let things = [Thing::Remote, Thing::Brought(0), Thing::Brought(1), Thing::Refs(0)];
        for (at, thing) in things.into_iter().enumerate() {
            let access = if (at + me).is_multiple_of(2) { Access::Read } else { Access::Write };
            points().pass(me, "use", &[(thing, access)]);
            if access == Access::Write {
                VALUE.set(VALUE.get() * 3 + me as u32);
            }
        }
    }
    let all = explored_with(None, false, false, process);
    let orders = ORDERS.take();
    let fewer = explored_with(None, false, true, process);
    assert_eq!(orders, ORDERS.take());
    assert_eq!((fewer.len(), all.len() > fewer.len()), (orders.len(), true), "{} {}", fewer.len(), all.len());
}

/// Adds to the value in two steps, of which the other process sees both; before and after that it asks the remote.
fn add_at_home(me: usize) {
    pass(me, Access::Write);
    for access in [Access::Read, Access::Write] {
        points().pass(me, "use", &[(Thing::Brought(0), access)]);
        if access == Access::Read {
            VALUE.set(VALUE.get() + 1);
        } else {
            VALUE.set(VALUE.get() * 2);
        }
    }
    pass(me, Access::Write);
}

#[test]
fn what_is_done_at_home_is_one_step_between_questions_to_the_remote() {
    let distinct = |mut seen: Vec<u32>| {
        seen.sort_unstable();
        seen.dedup();
        seen
    };
    assert_eq!(distinct(explored(None, add_at_home)), [6, 8], "one of them in the middle of the other");
    let all = ORDERS.take();
    let whole = explored_with(None, true, false, add_at_home);
    let orders = ORDERS.take();
    assert_eq!(distinct(whole), [6], "one after the other");
    assert!(orders.is_subset(&all) && orders.len() < all.len(), "{} of {}", orders.len(), all.len());
    let fewer = explored_with(None, true, true, add_at_home);
    assert_eq!(
        (ORDERS.take(), fewer.len()),
        (orders.clone(), orders.len()),
        "none is lost, none is seen twice"
    );
    // Which of them asks when: six orders, and in four of those either may be first at home.
    assert_eq!(orders.len(), 10);
}
