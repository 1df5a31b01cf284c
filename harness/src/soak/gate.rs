//! The gate that agents pass before each action: closed, it parks them, so that the fleet can be judged at rest.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Default)]
struct State {
    closed: bool,
    ended: bool,
    inside: usize,
}

/// The gate. Open at first.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    /// Waits while the gate is closed, then goes inside. False when the run has ended.
    pub fn enter(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.changed.wait_while(state, |state| state.closed && !state.ended);
        let mut state = wait.unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return false;
        }
        state.inside += 1;
        true
    }

    /// Comes out again.
    pub fn leave(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).inside -= 1;
        self.changed.notify_all();
    }

    /// Whether whoever is inside should come out soon.
    #[must_use]
    pub fn closing(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed || state.ended
    }

    /// Closes the gate and waits until nobody is inside, at most so long. How many still are.
    pub fn close(&self, limit: Duration) -> usize {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        self.changed.notify_all();
        while state.inside > 0 && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = self.changed.wait_timeout(state, left);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.inside
    }

    /// Opens the gate.
    pub fn open(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = false;
        self.changed.notify_all();
    }

    /// Ends the run: nobody enters any more.
    pub fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_all();
    }

    /// Sleeps, but not longer than until the gate closes. Whether the time passed in full.
    pub fn sleep(&self, span: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.changed.wait_timeout_while(state, span, |state| !state.closed && !state.ended);
        wait.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_waits_for_those_inside_and_keeps_others_out() {
        let gate = Gate::default();
        assert!(gate.enter());
        assert_eq!(gate.close(Duration::from_millis(1)), 1);
        std::thread::scope(|scope| {
            let late = scope.spawn(|| gate.enter());
            gate.leave();
            assert_eq!(gate.close(Duration::from_secs(10)), 0);
            assert!(!late.is_finished());
            gate.open();
            assert!(late.join().unwrap());
        });
        gate.end();
        assert!(!gate.enter());
        assert!(!gate.sleep(Duration::from_secs(60)), "it does not sleep past the end");
    }
}
