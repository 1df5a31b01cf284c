//! The watchdog and the exchange with the remote beside a worker, in a thread of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::machine::{self, Options};
use crate::usecase::error::Result;
use crate::usecase::queue::Queue;
use crate::usecase::watch::Rules;
use crate::watchdog::{self, Post, Timing, Told};
use crate::worker::engine::Waker;
use crate::world::Clock;
use crate::world::clock::RealClock;

/// Longest wait between two looks whether it is to end.
const TICK: Duration = Duration::from_millis(100);
/// Pause after a failure that ended the watch.
const AGAIN: Duration = Duration::from_secs(60);

/// Ends the thread when it is dropped, after the look that is under way.
pub struct Keeper(Arc<AtomicBool>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Starts it. Nobody waits for its end: a process that ends in the middle of a look is a crash like any other.
pub fn start(options: Options, timing: Timing, waker: Waker) -> Keeper {
    let stop = Arc::new(AtomicBool::new(false));
    let mut beat = Beat { options, waker, stop: Arc::clone(&stop) };
    thread::spawn(move || {
        // A broken setting, say: once it is mended the watch goes on.
        while let Err(error) = watchdog::run(&mut beat, timing, Rules::default()) {
            beat.waker.say(format!("watchdog: {error}"));
            if !beat.pause(AGAIN) {
                return;
            }
        }
    });
    Keeper(stop)
}

struct Beat {
    options: Options,
    waker: Waker,
    stop: Arc<AtomicBool>,
}

impl Post for Beat {
    fn open(&mut self) -> Result<Queue> {
        machine::open(&self.options)
    }

    fn tell(&mut self, told: Told) -> Result<()> {
        match told {
            Told::Round(watched) => {
                for one in &watched.recovered {
                    self.waker.say(format!(
                        "{}: taken back from {}, which has vanished (epoch {})",
                        one.id, one.session, one.epoch
                    ));
                }
                if !watched.recovered.is_empty() {
                    self.waker.wake();
                }
            }
            Told::Synced(synced) => {
                for one in &synced.rejected {
                    self.waker.say(format!("rejected: {}: {}", one.what(), one.reason));
                }
                if synced.fetched > 0 {
                    self.waker.wake();
                }
            }
            Told::Notice(notice) => self.waker.say(notice),
            Told::Trouble(error) => self.waker.say(format!("watchdog: {error}")),
        }
        Ok(())
    }

    fn pause(&mut self, span: Duration) -> bool {
        let until = RealClock.monotonic() + span;
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return false;
            }
            let left = until.saturating_sub(RealClock.monotonic());
            if left.is_zero() {
                return true;
            }
            RealClock.sleep(left.min(TICK));
        }
    }
}
