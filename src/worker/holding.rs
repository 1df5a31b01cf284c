//! The holder's side of a running attempt: when the lease is renewed, and when the attempt has to stop.
//!
//! Decides only; what takes time (a heartbeat may wait for a remote) happens behind [`Pulse`], so that
//! limits, outputs and the deadline are looked at meanwhile.

use std::time::Duration;

use super::attempt::{Control, Decision, Progress, StopReason};
use crate::protocol::lease::renewal_interval;
use crate::world::Clock;

/// How often the task's file is looked at, in case the claim was ended on this machine.
const LOOK: Duration = Duration::from_secs(1);
/// Longest pause before a heartbeat that failed is repeated.
const LONGEST_RETRY: Duration = Duration::from_secs(15);

/// What the holder wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Renew the lease.
    Beat,
    /// Renew it only if the task's file says that the claim has ended: the answer tells why.
    Look,
}

/// What it learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The lease was renewed, or nothing has changed; it lasts until this time of
    /// [`Clock::boottime`].
    Lasts(Duration),
    /// It could not be renewed now; nothing is known.
    Nothing,
    /// The session itself has ended its claim, for example the agent by `orch done`.
    Over,
    /// It is lost.
    Lost(StopReason),
}

/// Carries heartbeats out, one at a time.
pub trait Pulse {
    /// Begins; the answer comes later, or at once.
    fn ask(&mut self, ask: Ask);
    /// The answer, if it is there.
    fn answer(&mut self) -> Option<Heard>;
}

impl Pulse for Box<dyn Pulse + '_> {
    fn ask(&mut self, ask: Ask) {
        (**self).ask(ask);
    }

    fn answer(&mut self) -> Option<Heard> {
        (**self).answer()
    }
}

/// Whoever may tell a running attempt to end.
pub trait Orders {
    /// Whether the worker has to go now.
    fn stop(&self) -> bool;
}

/// One claim while its attempt runs.
pub struct Holding<'a, P: Pulse> {
    clock: &'a dyn Clock,
    orders: &'a dyn Orders,
    pulse: P,
    ttl: Duration,
    /// When the claim ends unless it is renewed.
    fence: Duration,
    next_beat: Duration,
    next_look: Duration,
    waiting: Option<Ask>,
    over: bool,
    lost: Option<StopReason>,
}

impl<'a, P: Pulse> Holding<'a, P> {
    /// A claim that was just confirmed and lasts until `fence`, a time of [`Clock::boottime`].
    pub fn new(
        clock: &'a dyn Clock,
        orders: &'a dyn Orders,
        pulse: P,
        ttl: Duration,
        fence: Duration,
    ) -> Self {
        let now = clock.boottime();
        let sent = fence.saturating_sub(ttl);
        Holding {
            clock,
            orders,
            pulse,
            ttl,
            fence,
            next_beat: aligned(sent, ttl),
            next_look: now + LOOK,
            waiting: None,
            over: false,
            lost: None,
        }
    }

    /// Why nothing may be written any more, if so.
    #[must_use]
    pub fn lost(&self) -> Option<StopReason> {
        self.lost
    }

    fn hear(&mut self, heard: Heard, now: Duration) {
        let asked = self.waiting.take();
        match heard {
            Heard::Lasts(fence) => {
                if asked == Some(Ask::Beat) {
                    self.next_beat = aligned(now, self.ttl);
                }
                self.fence = self.fence.max(fence);
            }
            Heard::Nothing if asked == Some(Ask::Beat) => {
                self.next_beat = now + (self.ttl / 9).min(LONGEST_RETRY);
            }
            Heard::Nothing => {}
            Heard::Over => self.over = true,
            Heard::Lost(why) => self.lost = self.lost.or(Some(why)),
        }
        self.next_look = now + LOOK;
    }

    fn ask_if_due(&mut self, now: Duration) {
        if self.waiting.is_some() || self.over || self.lost.is_some() {
            return;
        }
        let ask = match () {
            () if now >= self.next_beat => Ask::Beat,
            () if now >= self.next_look => Ask::Look,
            () => return,
        };
        self.waiting = Some(ask);
        self.pulse.ask(ask);
    }

    /// A little before the deadline, so that the tree can end by itself before it is killed.
    fn expired(&self, now: Duration) -> bool {
        now + (self.ttl / 10).min(Duration::from_millis(500)) >= self.fence
    }
}

/// The next moment to renew, at most a third of the lease from `now`. All leases of a machine with the same
/// time to live have the same moments, counted from its boot, so that their heartbeats share pushes.
fn aligned(now: Duration, ttl: Duration) -> Duration {
    let step = renewal_interval(ttl).as_nanos().max(1);
    let at = (now.as_nanos() + step) / step * step;
    Duration::from_nanos(u64::try_from(at).unwrap_or(u64::MAX))
}

impl<P: Pulse> Control for Holding<'_, P> {
    fn tick(&mut self, _: &Progress) -> Decision {
        let now = self.clock.boottime();
        while let Some(heard) = self.pulse.answer() {
            self.hear(heard, now);
        }
        // Also while it is being stopped: a task that is given back must still be ours then.
        self.ask_if_due(now);
        if self.lost.is_none() && self.expired(now) {
            self.lost = Some(StopReason::LeaseLost);
        }
        match self.lost {
            Some(why) => Decision::Stop(why),
            None if self.orders.stop() => Decision::Stop(StopReason::Shutdown),
            None => Decision::Continue,
        }
    }

    fn fence_at(&self) -> Option<Duration> {
        Some(self.fence)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;
    use std::rc::Rc;

    use super::*;

    #[derive(Default)]
    struct Script {
        now: Cell<Duration>,
        asked: RefCell<Vec<(Duration, Ask)>>,
        answers: RefCell<VecDeque<Heard>>,
        stop: Cell<bool>,
    }

    impl Clock for Script {
        fn wall_ms(&self) -> i64 {
            0
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
        fn boottime(&self) -> Duration {
            self.now.get()
        }
        fn boot_id(&self) -> String {
            "b".to_owned()
        }
        fn sleep(&self, _: Duration) {}
    }

    impl Orders for Script {
        fn stop(&self) -> bool {
            self.stop.get()
        }
    }

    struct Scripted(Rc<Script>);

    impl Pulse for Scripted {
        fn ask(&mut self, ask: Ask) {
            self.0.asked.borrow_mut().push((self.0.now.get(), ask));
        }
        fn answer(&mut self) -> Option<Heard> {
            self.0.answers.borrow_mut().pop_front()
        }
    }

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn go(script: &Rc<Script>, holding: &mut Holding<'_, Scripted>, at: Duration) -> Decision {
        script.now.set(at);
        holding.tick(&Progress {
            now: Duration::ZERO,
            step: 0,
            steps: 1,
            pid: None,
            last_output: Duration::ZERO,
            stopping: false,
        })
    }

    fn beats(script: &Script) -> Vec<Duration> {
        let asked = script.asked.borrow();
        asked.iter().filter(|(_, ask)| *ask == Ask::Beat).map(|(at, _)| *at).collect()
    }

    #[test]
    fn the_lease_is_renewed_every_third_of_its_life_and_the_deadline_follows() {
        let script = Rc::new(Script::default());
        let mut holding = Holding::new(&*script, &*script, Scripted(Rc::clone(&script)), S(90), S(90));
        for second in 0..100 {
            // Each question is answered with the next tick.
            let answers = script.asked.borrow().len();
            if answers > 0 {
                let last = script.asked.borrow()[answers - 1];
                let fence = if last.1 == Ask::Beat { last.0 + S(90) } else { holding.fence };
                script.answers.borrow_mut().push_back(Heard::Lasts(fence));
            }
            assert_eq!(go(&script, &mut holding, S(second)), Decision::Continue, "second {second}");
        }
        let times = beats(&script);
        assert!(times.len() == 3 && times[0] == S(30), "{times:?}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= S(32)), "{times:?}");
        assert_eq!(holding.fence_at(), Some(times[2] + S(90)));
    }

    /// The story: each slot of a worker renewed a third after its own claim, so a machine with many slots
    /// pushed once for each.
    #[test]
    fn leases_of_a_machine_are_renewed_at_the_same_moments_and_never_late() {
        for ttl in [S(90), S(900)] {
            let step = ttl / 3;
            for claimed in [0u64, 1, 17, 29, 30, 31, 299, 300, 301].map(S) {
                let first = aligned(claimed, ttl);
                assert!(first > claimed && first <= claimed + step, "{claimed:?}");
                assert_eq!(first.as_nanos() % step.as_nanos(), 0);
                // The answer takes a while.
                assert_eq!(aligned(first + S(4), ttl), first + step);
            }
        }
    }

    #[test]
    fn what_is_not_published_extends_nothing_and_the_holder_fences_itself() {
        let script = Rc::new(Script::default());
        let mut holding = Holding::new(&*script, &*script, Scripted(Rc::clone(&script)), S(90), S(90));
        let mut stopped = None;
        for second in 0..=90 {
            script.answers.borrow_mut().push_back(Heard::Nothing);
            if let (None, Decision::Stop(why)) = (stopped, go(&script, &mut holding, S(second))) {
                stopped = Some((second, why));
            }
        }
        assert_eq!(stopped, Some((90, StopReason::LeaseLost)));
        assert_eq!(holding.fence_at(), Some(S(90)));
        assert!(beats(&script).len() > 2, "it tries again");
    }

    #[test]
    fn a_heartbeat_that_hangs_stops_neither_clock_nor_orders() {
        let script = Rc::new(Script::default());
        let mut holding = Holding::new(&*script, &*script, Scripted(Rc::clone(&script)), S(9), S(9));
        assert_eq!(go(&script, &mut holding, S(4)), Decision::Continue);
        script.stop.set(true);
        assert_eq!(go(&script, &mut holding, S(5)), Decision::Stop(StopReason::Shutdown));
        assert_eq!(holding.lost(), None, "given back, not lost");
        assert_eq!(go(&script, &mut holding, S(9)), Decision::Stop(StopReason::LeaseLost));
        assert_eq!(beats(&script), [S(4)], "one question at a time");
    }

    #[test]
    fn cancellation_stops_and_a_claim_that_the_session_ended_itself_does_not() {
        let script = Rc::new(Script::default());
        let mut holding = Holding::new(&*script, &*script, Scripted(Rc::clone(&script)), S(90), S(90));
        script.answers.borrow_mut().push_back(Heard::Over);
        assert_eq!(go(&script, &mut holding, S(40)), Decision::Continue);
        assert_eq!(beats(&script), [], "nothing is left to renew");
        let mut holding = Holding::new(&*script, &*script, Scripted(Rc::clone(&script)), S(900), S(900));
        script.answers.borrow_mut().push_back(Heard::Lost(StopReason::Cancelled));
        assert_eq!(go(&script, &mut holding, S(41)), Decision::Stop(StopReason::Cancelled));
        assert_eq!(holding.lost(), Some(StopReason::Cancelled));
    }
}
