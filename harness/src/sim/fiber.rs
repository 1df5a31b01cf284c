//! Fibers: stackful coroutines of which one runs at a time, so that ordinary synchronous code can be stopped at a
//! port, left there for as long as somebody likes, or be killed there.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::{Rc, Weak};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::kernel::{Micros, Shared};

/// Stack of a fiber: the deepest use is SQLite below a use case.
const STACK: usize = 512 * 1024;

/// What a killed process unwinds with; nobody reports it.
pub struct Killed;

type Switch = Yielder<(), Micros>;

/// The running end of a fiber: how code inside it gives way.
pub struct Fiber {
    switch: Cell<*const Switch>,
    /// The process in it is to die at the next port.
    doomed: Cell<bool>,
    /// It is stopped (SIGSTOP) until then.
    stopped: Cell<Micros>,
    /// The machine that it runs on.
    pub machine: usize,
    /// For people.
    pub name: String,
    /// Other threads of its process: what happens to one happens to all.
    kin: RefCell<Vec<Weak<Fiber>>>,
    /// Waits in its own way, where somebody else decides whose turn it is.
    wait: Option<Box<dyn Fn(Micros)>>,
}

impl Fiber {
    /// A process whose turns somebody else decides: it never gives way by itself, and `wait` is told until when it waits.
    #[must_use]
    pub fn led(name: &str, machine: usize, wait: impl Fn(Micros) + 'static) -> Fiber {
        Fiber {
            switch: Cell::new(std::ptr::null()),
            doomed: Cell::new(false),
            stopped: Cell::new(0),
            machine,
            name: name.to_owned(),
            kin: RefCell::default(),
            wait: Some(Box::new(wait)),
        }
    }

    /// The same fiber as a process of another machine would see it, for statements about two machines at once.
    #[cfg(test)]
    pub fn on(&self, machine: usize) -> Fiber {
        Fiber {
            switch: self.switch.clone(),
            doomed: self.doomed.clone(),
            stopped: self.stopped.clone(),
            machine,
            name: self.name.clone(),
            kin: RefCell::default(),
            wait: None,
        }
    }

    /// Gives way until then.
    pub fn wait_until(&self, at: Micros) {
        if let Some(wait) = &self.wait {
            return wait(at);
        }
        let switch = self.switch.get();
        assert!(!switch.is_null(), "only code inside the fiber gives way");
        // SAFETY: the pointer is set by `Fibers::start` from the reference that the coroutine gives to the closure in
        // which this code runs, which outlives every call from inside that closure; fibers never leave their thread.
        unsafe { &*switch }.suspend(at);
    }

    /// Whether the process in it has to die.
    pub fn is_doomed(&self) -> bool {
        self.doomed.get()
    }

    /// Takes the sentence back once it was carried out.
    pub fn reprieve(&self) {
        self.doomed.set(false);
    }

    /// Kills the process in it at its next step.
    pub fn doom(&self) {
        self.doomed.set(true);
        self.all_kin(|kin| kin.doomed.set(true));
    }

    /// Makes another fiber a thread of the same process.
    pub fn join(self: &Rc<Self>, other: &Rc<Self>) {
        self.kin.borrow_mut().push(Rc::downgrade(other));
        other.kin.borrow_mut().push(Rc::downgrade(self));
    }

    fn all_kin(&self, each: impl Fn(&Fiber)) {
        self.kin.borrow_mut().retain(|kin| kin.upgrade().inspect(|kin| each(kin)).is_some());
    }

    /// Until when it is or was stopped.
    pub fn stopped_until(&self) -> Micros {
        self.stopped.get()
    }

    /// Stops it until then.
    pub fn stop_until(&self, at: Micros) {
        let stop = |fiber: &Fiber| fiber.stopped.set(at);
        stop(self);
        self.all_kin(stop);
    }
}

struct Slot {
    fiber: Rc<Fiber>,
    code: Coroutine<(), Micros, ()>,
}

/// All fibers, and who is next.
#[derive(Default)]
pub struct Fibers {
    slots: Vec<Option<Slot>>,
    due: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    order: u64,
}

impl Fibers {
    /// Starts code on a machine.
    pub fn start(&mut self, name: &str, machine: usize, at: Micros, body: impl FnOnce(Rc<Fiber>) + 'static) {
        let fiber = Rc::new(Fiber {
            switch: Cell::new(std::ptr::null()),
            doomed: Cell::new(false),
            stopped: Cell::new(0),
            machine,
            name: name.to_owned(),
            kin: RefCell::default(),
            wait: None,
        });
        let inside = Rc::clone(&fiber);
        let stack = DefaultStack::new(STACK).expect("address space for half a megabyte");
        let code = Coroutine::with_stack(stack, move |switch: &Switch, ()| {
            inside.switch.set(switch);
            body(inside);
        });
        self.slots.push(Some(Slot { fiber, code }));
        self.schedule(at, self.slots.len() - 1);
    }

    fn schedule(&mut self, at: Micros, slot: usize) {
        self.order += 1;
        self.due.push(Reverse((at, self.order, slot)));
    }

    /// When the next one is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Micros> {
        self.due.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Runs the next one until it gives way.
    pub fn step(&mut self, kernel: &Shared) {
        let Some(Reverse((at, _, index))) = self.due.pop() else { return };
        let Some(slot) = self.slots[index].as_mut() else { return };
        let stopped = slot.fiber.stopped.get();
        if stopped > at && !slot.fiber.is_doomed() {
            return self.schedule(stopped, index);
        }
        // On a machine that sleeps nobody runs, not even to die of a signal that was sent before.
        let asleep = kernel
            .borrow()
            .machines
            .get(slot.fiber.machine)
            .map_or(0, |m| if m.up { m.clocks.asleep_until } else { 0 });
        if asleep > at {
            return self.schedule(asleep, index);
        }
        {
            let mut kernel = kernel.borrow_mut();
            kernel.now = kernel.now.max(at);
            kernel.deliver_late();
        }
        match slot.code.resume(()) {
            CoroutineResult::Yield(at) => {
                let now = kernel.borrow().now;
                self.schedule(at.max(now), index);
            }
            CoroutineResult::Return(()) => self.slots[index] = None,
        }
    }

    /// Those that are still running.
    pub fn running(&self) -> impl Iterator<Item = &Rc<Fiber>> {
        self.slots.iter().flatten().map(|slot| &slot.fiber)
    }
}
