//! The push budget: whether a push that can wait may be made now.
//!
//! The budget is for the whole fleet, so each machine takes its share of it. Every push counts, and claims and
//! ends of claims are never held up; edits, additions and folds wait for room, or at the latest for
//! their turn: a window that is as long as the share of one push, and doubles with every rejection.

use std::time::Duration;

use crate::store::memory::{PUSHES_KEPT, Pushes};
use crate::store::settings::PushBudget;
use crate::world::git_command::transport;

use super::error::{Error, Result};
use super::queue::Queue;

/// Rejections beyond this do not make the window longer: 8 times is enough to let others through.
const DOUBLINGS: u32 = 3;

/// How long a push that can wait has to wait; zero if it may be made now.
pub(crate) fn wait(q: &Queue) -> Result<Duration> {
    // A repository on a disk has no budget that anybody else pays for.
    let url = q.settings.remote.as_deref().unwrap_or_default();
    if !q.is_shared() || transport::is_path(url) {
        return Ok(Duration::ZERO);
    }
    let pushes = q.store.pushes().map_err(|e| Error::from_store(&e))?;
    Ok(Share::of(q.settings.sync.push_budget, machines(q)?).wait(&pushes, q.world.clock.monotonic()))
}

/// How many machines share the budget, as far as their leases tell; this one is always among them.
pub(crate) fn machines(q: &Queue) -> Result<usize> {
    let holding = q.store.holding_machines().map_err(|e| Error::from_store(&e))?;
    let this = usize::from(!holding.contains(&q.machine));
    Ok(holding.len() + this)
}

/// What a machine may push: at most so many in a span, or one in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    most: usize,
    span: Duration,
    window: Duration,
}

impl Share {
    fn of(budget: PushBudget, machines: usize) -> Share {
        let machines = u32::try_from(machines.max(1)).unwrap_or(u32::MAX);
        let kept = u32::try_from(PUSHES_KEPT).unwrap_or(u32::MAX);
        let most = (budget.count / machines).clamp(1, kept);
        let window = budget.interval().saturating_mul(machines);
        Share { most: most as usize, span: window.saturating_mul(most), window }
    }

    fn wait(self, pushes: &Pushes, now: Duration) -> Duration {
        let Some(oldest) = pushes.recent.len().checked_sub(self.most) else { return Duration::ZERO };
        let room = (pushes.recent[oldest] + self.span).saturating_sub(now);
        let window = self.window.saturating_mul(1 << pushes.rejections.min(DOUBLINGS));
        let turn = pushes.deferred.map_or(Duration::ZERO, |last| (last + window).saturating_sub(now));
        room.min(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::op::Patch;
    use crate::usecase::races::rig::rig_clock;
    use crate::usecase::testing::{Yard, add, claim, finish, id};
    use crate::usecase::{edit, holder, metrics, sync, watch};
    use crate::world::Clock;
    use crate::world::clock::RealClock;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn budget(count: u32, per: u64) -> PushBudget {
        PushBudget { count, per: S(per) }
    }

    #[test]
    fn a_machine_may_use_its_share_at_once_and_then_gets_its_turns() {
        let share = Share::of(budget(6, 60), 2);
        assert_eq!(share, Share { most: 3, span: S(60), window: S(20) });
        let at = |recent: &[u64], deferred: Option<u64>, rejections| Pushes {
            total: recent.len() as u64,
            recent: recent.iter().copied().map(S).collect(),
            deferred: deferred.map(S),
            rejections,
            ..Pushes::default()
        };
        assert_eq!(share.wait(&at(&[], None, 0), S(100)), S(0));
        assert_eq!(share.wait(&at(&[98, 99], Some(99), 3), S(100)), S(0), "there is room");
        assert_eq!(share.wait(&at(&[97, 98, 99], None, 0), S(100)), S(0), "nothing had its turn yet");
        assert_eq!(share.wait(&at(&[97, 98, 99], Some(99), 0), S(100)), S(19));
        assert_eq!(share.wait(&at(&[97, 98, 99], Some(99), 1), S(100)), S(39), "a rejection doubles it");
        assert_eq!(share.wait(&at(&[97, 98, 99], Some(99), 99), S(100)), S(57), "room comes first");
        assert_eq!(share.wait(&at(&[1, 45, 98, 99], Some(99), 2), S(100)), S(5));
        // More than the account remembers is the same rate in a shorter span; many machines get one each.
        assert_eq!(Share::of(budget(640, 60), 1), Share { most: 32, span: S(3), window: S(60) / 640 });
        assert_eq!(Share::of(budget(6, 60), 30), Share { most: 1, span: S(300), window: S(300) });
    }

    /// A queue that believes its remote to be far away.
    fn far(yard: &Yard, name: &str) -> Queue {
        let mut q = yard.queue(name);
        q.settings.remote = Some("https://host.invalid/queue.git".to_owned());
        q
    }

    fn note(q: &mut Queue, text: &str) -> bool {
        edit::note(q, &id("T-0"), text).unwrap().published
    }

    /// The story: the budget only spaced folds, so a script that edited 100 tasks pushed 100 times.
    #[test]
    fn edits_wait_when_the_share_is_used_up_and_nothing_is_told_to_be_out_that_is_not() {
        let yard = Yard::shared();
        let mut q = far(&yard, "a");
        let clock = rig_clock(&mut q);
        clock.set(S(100));
        add(&mut q, "T-0", &[]);
        let told: Vec<bool> = (0..20).map(|n| note(&mut q, &format!("note {n}"))).collect();
        let out = told.iter().filter(|published| **published).count();
        assert!(told[0] && (3..6).contains(&out), "{told:?}");
        assert!(q.notices().iter().any(|text| text.contains("push budget")), "nobody says why");
        let tip = |q: &Queue| q.world.remote.as_ref().unwrap().refs(&["refs/heads/"], S(10)).unwrap();
        let before = tip(&q);
        assert!(!note(&mut q, "one more"));
        assert_eq!(tip(&q), before, "it said that it was not published");
        // When its turn has come the next command takes along whatever waits.
        clock.set(S(111));
        assert!(note(&mut q, "and the last"));
        let mut b = yard.queue("b");
        sync::sync(&mut b).unwrap();
        assert_eq!(b.load(&id("T-0")).unwrap().history().len(), 23);
    }

    #[test]
    fn claims_and_ends_are_never_held_up_and_sync_always_publishes() {
        let yard = Yard::shared();
        let mut q = far(&yard, "a");
        let clock = rig_clock(&mut q);
        clock.set(S(100));
        for n in 0..12 {
            add(&mut q, &format!("T-{n}"), &[]);
        }
        assert!(!q.store.unpublished().unwrap().is_empty(), "twelve additions fit into six pushes");
        let folded = q.store.meta("folded").unwrap();
        for n in 0..12 {
            // Claims of tasks that nobody else knew introduce them first.
            finish(&mut q, &format!("T-{n}"));
        }
        assert_eq!(watch::round(&mut q, watch::Rules::default()).unwrap().folded, 0, "folds wait");
        let leases =
            |q: &Queue| q.world.remote.as_ref().unwrap().refs(&["refs/orch/leases/"], S(10)).unwrap().len();
        assert!(leases(&q) >= 11, "{} of 12 wait for their fold", leases(&q));
        assert_ne!(q.store.pushes().unwrap().total, 0);
        assert_eq!(folded, None);
        sync::sync(&mut q).unwrap();
        assert_eq!(leases(&q), 0);
        assert!(q.store.unpublished().unwrap().is_empty());
    }

    /// A clock on which somebody else acts while this process sleeps.
    struct Meanwhile(std::cell::RefCell<Option<Box<dyn FnOnce()>>>);

    impl Clock for Meanwhile {
        fn wall_ms(&self) -> i64 {
            RealClock.wall_ms()
        }
        fn monotonic(&self) -> Duration {
            RealClock.monotonic()
        }
        fn boottime(&self) -> Duration {
            RealClock.boottime()
        }
        fn boot_id(&self) -> String {
            RealClock.boot_id()
        }
        fn sleep(&self, _: Duration) {
            let act = self.0.borrow_mut().take();
            if let Some(act) = act {
                act();
            }
        }
    }

    #[test]
    fn heartbeats_that_wait_for_company_share_one_push() {
        let yard = std::rc::Rc::new(Yard::shared());
        let mut q = yard.queue("a");
        for name in ["T-0", "T-1"] {
            add(&mut q, name, &[]);
            claim(&mut q, name);
        }
        let before = q.store.pushes().unwrap().total;
        let same = yard.clone();
        let other = move || {
            assert!(holder::heartbeat(&mut same.queue("a"), &id("T-1"), None, None).unwrap().published);
        };
        q.world.clock = Box::new(Meanwhile(std::cell::RefCell::new(Some(Box::new(other)))));
        q.await_company(S(1));
        assert!(holder::heartbeat(&mut q, &id("T-0"), None, None).unwrap().published);
        assert_eq!(q.store.pushes().unwrap().total, before + 1);
        let mut b = yard.queue("b");
        sync::sync(&mut b).unwrap();
        for name in ["T-0", "T-1"] {
            assert_eq!(b.load(&id(name)).unwrap().lease().unwrap().beat, 1, "{name}");
        }
    }

    #[test]
    fn a_remote_on_a_disk_has_no_budget() {
        let yard = Yard::shared();
        let mut q = yard.queue("a");
        add(&mut q, "T-0", &[]);
        assert!((0..20).all(|n| note(&mut q, &format!("note {n}"))));
    }

    #[test]
    fn the_share_shrinks_with_the_machines_that_hold_leases_and_pushes_are_counted() {
        let yard = Yard::shared();
        let mut a = far(&yard, "a");
        for name in ["T-0", "T-1", "T-2"] {
            add(&mut a, name, &[]);
        }
        assert_eq!(machines(&a).unwrap(), 1);
        claim(&mut a, "T-0");
        assert_eq!(machines(&a).unwrap(), 1);
        for (name, task) in [("b", "T-1"), ("c", "T-2")] {
            let mut other = yard.queue(name);
            sync::sync(&mut other).unwrap();
            claim(&mut other, task);
        }
        sync::sync(&mut a).unwrap();
        assert_eq!(machines(&a).unwrap(), 3);
        let before = a.store.pushes().unwrap().total;
        holder::heartbeat(&mut a, &id("T-0"), None, None).unwrap();
        assert_eq!(a.store.pushes().unwrap().total, before + 1);
        let shown = metrics::text(&metrics::metrics(&mut a).unwrap());
        assert!(shown.contains(&format!("\norch_pushes_total {}\n", before + 1)), "{shown}");
        let patch = Patch { title: Some("another".to_owned()), ..Patch::default() };
        edit::edit(&mut a, &id("T-0"), &patch).unwrap();
    }

    /// The story: answers told how often a push was repeated, and the metrics counted pushes only.
    #[test]
    fn pushes_that_others_overtook_are_counted() {
        let yard = Yard::shared();
        let (mut a, mut b) = (yard.queue("a"), yard.queue("b"));
        for name in ["T-0", "T-1"] {
            add(&mut a, name, &[]);
        }
        sync::sync(&mut b).unwrap();
        let title = |title: &str| Patch { title: Some(title.to_owned()), ..Patch::default() };
        edit::edit(&mut b, &id("T-0"), &title("from b")).unwrap();
        assert_eq!(a.store.pushes().unwrap().repeated, 0);
        let changed = edit::edit(&mut a, &id("T-1"), &title("from a")).unwrap();
        assert!(changed.published);
        assert_eq!((a.store.pushes().unwrap().repeated, b.store.pushes().unwrap().repeated), (1, 0));
        let shown = metrics::text(&metrics::metrics(&mut a).unwrap());
        assert!(shown.contains("\norch_push_retries_total 1\n"), "{shown}");
    }
}
