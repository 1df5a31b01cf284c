//! Decides when a worker tries to claim, waits, stops its attempts or ends: events in, decisions out.
//!
//! Pure: it is told the time and never asks. [`super::engine`] carries its decisions out.

use std::time::Duration;

/// Pause after the first look that found nothing; it grows with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause between two looks; not every reason to look again is a file that changes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause after a failure that may pass.
const LONGEST_TROUBLE: Duration = Duration::from_secs(60);
/// Failures in a row after which a worker with an end of its own gives up.
const PATIENCE: u32 = 6;
/// Looks are at least this far apart, however many files change.
const SHORTEST: Duration = Duration::from_millis(100);
/// A wait without a known end.
const LONG: Duration = Duration::from_secs(3600);

/// What a worker is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One task, if one is ready.
    Once,
    /// Until nothing is ready or in progress.
    UntilIdle,
    /// Until it is told to end.
    Forever,
    /// One task per tick, whatever still runs.
    Every(Duration),
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A slot has claimed a task and runs it.
    Started(usize),
    /// A slot found nothing ready.
    Idle {
        /// Which.
        slot: usize,
        /// Whether anybody works on a task.
        in_progress: bool,
    },
    /// A slot could not look, or lost what it had.
    Trouble {
        /// Which.
        slot: usize,
        /// Whether the same may work later.
        passing: bool,
    },
    /// An attempt has ended.
    Ended {
        /// Which slot.
        slot: usize,
        /// Whether it succeeded.
        success: bool,
    },
    /// Task files have changed.
    Changed,
    /// The process was told to end.
    Signal,
    /// The workers of this machine were asked to drain.
    Drain,
    /// That was taken back.
    DrainCancelled,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a decision that is not carried out is taken again for ever"]
pub enum Decision {
    /// Let this slot claim a task and run it.
    Try(usize),
    /// Stop all attempts and give their tasks back.
    StopAll,
    /// Wait for an event, at most this long.
    Wait(Duration),
    /// The end.
    Leave(Leaving),
}

/// Why a worker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// What it was there for is done; the attempt of [`Mode::Once`] succeeded.
    Finished,
    /// The attempt of [`Mode::Once`] did not succeed.
    Failed,
    /// [`Mode::Once`] found nothing ready.
    Nothing,
    /// It cannot work.
    Trouble,
    /// It was asked to drain, and has.
    Drained,
    /// It was told to end, and its attempts have ended or were given back.
    Signalled,
    /// It was told to end at once.
    Forced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Free,
    Trying,
    Running,
}

/// How far an end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Draining {
    since: Duration,
    signals: u32,
    stopped: bool,
}

/// The state of a worker.
#[derive(Debug)]
pub struct Dispatcher {
    mode: Mode,
    drain_time: Duration,
    slots: Vec<Slot>,
    next_try: Duration,
    last_try: Duration,
    pause: Duration,
    troubles: u32,
    draining: Option<Draining>,
    leaving: Option<Leaving>,
}

impl Dispatcher {
    /// A worker with so many slots (at least one), whose attempts get `drain_time` to end by themselves.
    #[must_use]
    pub fn new(mode: Mode, slots: usize, drain_time: Duration, now: Duration) -> Self {
        Dispatcher {
            mode,
            drain_time,
            slots: vec![Slot::Free; slots.max(1)],
            next_try: now,
            last_try: now,
            pause: FIRST_PAUSE,
            troubles: 0,
            draining: None,
            leaving: None,
        }
    }

    /// Takes note of an event.
    pub fn on(&mut self, now: Duration, event: Event) {
        match event {
            Event::Started(slot) => {
                self.slots[slot] = Slot::Running;
                self.calm(now);
            }
            Event::Idle { slot, in_progress } => {
                self.slots[slot] = Slot::Free;
                self.idle(now, in_progress);
            }
            Event::Trouble { slot, passing } => {
                self.slots[slot] = Slot::Free;
                self.trouble(now, passing);
            }
            Event::Ended { slot, success } => {
                self.slots[slot] = Slot::Free;
                self.calm(now);
                if self.mode == Mode::Once && (success || self.draining.is_none()) {
                    self.leaving = Some(if success { Leaving::Finished } else { Leaving::Failed });
                }
            }
            Event::Changed => {
                if !matches!(self.mode, Mode::Every(_)) && self.troubles == 0 {
                    self.next_try = self.next_try.min(self.last_try + SHORTEST);
                    self.pause = FIRST_PAUSE;
                }
            }
            Event::Signal => {
                let draining = self.drain(now);
                if draining.signals == 0 {
                    draining.since = now;
                }
                draining.signals += 1;
            }
            Event::Drain => {
                self.drain(now);
            }
            Event::DrainCancelled => {
                if self.draining.is_some_and(|draining| draining.signals == 0 && !draining.stopped) {
                    self.draining = None;
                }
            }
        }
    }

    /// The next thing to do; after [`Decision::Wait`] there is nothing more until then.
    pub fn decide(&mut self, now: Duration) -> Decision {
        if let Some(leaving) = self.leaving {
            return Decision::Leave(leaving);
        }
        if let Some(draining) = self.draining {
            return self.end(now, draining);
        }
        let trying = self.slots.contains(&Slot::Trying);
        let free = self.slots.iter().position(|slot| *slot == Slot::Free);
        match free {
            // One look at a time: two slots of one worker need not race.
            Some(slot) if !trying && now >= self.next_try => {
                self.slots[slot] = Slot::Trying;
                self.last_try = now;
                if let Mode::Every(period) = self.mode {
                    self.next_try = now + period;
                }
                Decision::Try(slot)
            }
            Some(_) if !trying => Decision::Wait(self.next_try.saturating_sub(now)),
            _ => Decision::Wait(LONG),
        }
    }

    /// After a claim or an end the next look is due at once.
    fn calm(&mut self, now: Duration) {
        self.pause = FIRST_PAUSE;
        self.troubles = 0;
        match self.mode {
            Mode::Every(_) => {}
            Mode::Once => self.next_try = now + LONG,
            Mode::UntilIdle | Mode::Forever => self.next_try = now,
        }
    }

    fn idle(&mut self, now: Duration, in_progress: bool) {
        self.troubles = 0;
        match self.mode {
            Mode::Once => self.leaving = Some(Leaving::Nothing),
            Mode::UntilIdle if !in_progress && self.slots.iter().all(|slot| *slot == Slot::Free) => {
                self.leaving = Some(Leaving::Finished);
            }
            Mode::Every(_) => {}
            Mode::UntilIdle | Mode::Forever => {
                self.next_try = now + self.pause;
                self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
            }
        }
    }

    fn trouble(&mut self, now: Duration, passing: bool) {
        self.troubles += 1;
        let patient = match self.mode {
            Mode::Once => false,
            Mode::UntilIdle => self.troubles < PATIENCE,
            Mode::Forever | Mode::Every(_) => true,
        };
        if !passing || !patient {
            self.leaving = Some(Leaving::Trouble);
        }
        let pause = Duration::from_secs(1 << self.troubles.min(6)).min(LONGEST_TROUBLE);
        if !matches!(self.mode, Mode::Every(_)) {
            self.next_try = now + pause;
        }
    }

    fn drain(&mut self, now: Duration) -> &mut Draining {
        self.draining.get_or_insert(Draining { since: now, signals: 0, stopped: false })
    }

    /// The first signal waits for attempts, the second stops them, the third does not wait for that either.
    fn end(&mut self, now: Duration, draining: Draining) -> Decision {
        if draining.signals > 2 {
            return Decision::Leave(Leaving::Forced);
        }
        if self.slots.iter().all(|slot| *slot == Slot::Free) {
            let signalled = draining.signals > 0;
            return Decision::Leave(if signalled { Leaving::Signalled } else { Leaving::Drained });
        }
        let until = draining.since + self.drain_time;
        // Who asks by file has time: only a signal means that the process has to go soon.
        let due = draining.signals > 1 || (draining.signals > 0 && now >= until);
        if due && !draining.stopped {
            self.draining = Some(Draining { stopped: true, ..draining });
            return Decision::StopAll;
        }
        Decision::Wait(if draining.stopped || draining.signals == 0 {
            LONG
        } else {
            until.saturating_sub(now)
        })
    }
}

#[cfg(test)]
#[path = "dispatcher_tests.rs"]
mod tests;
