//! Puts a simulated machine together: the counterpart of `orch::machine`, and the way a command runs on it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use orch::store::layout::Layout;
use orch::store::settings::Settings;
use orch::store::tasks::Store;
use orch::usecase::error::{Error, Result};
use orch::usecase::init;
use orch::usecase::queue::{About, Opening, Queue};

use super::fiber::{Fiber, Killed};
use super::kernel::{Micros, Shared};
use super::ports::Port;

/// How one command ended.
pub enum Ended<T> {
    /// It answered.
    Told(T),
    /// It failed with an answer.
    Failed(Error),
    /// Its process was killed.
    Killed,
    /// It panicked, which it never may.
    Panicked(String),
}

/// Opens the queue of the machine as a process of it.
///
/// # Errors
/// Those of opening.
pub fn open(
    kernel: &Shared,
    port: &Port,
    settings: &Settings,
    session: &str,
    machine: usize,
) -> Result<Queue> {
    let world = port.world(settings.remote.is_some());
    let (layout, index) = {
        let kernel = kernel.borrow();
        (Layout::new(kernel.machines[machine].state.clone()), kernel.machines[machine].index.clone())
    };
    let store =
        Store::open_in_memory(&world, layout, &index).map_err(|error| Error::failure(error.to_string()))?;
    Queue::open(Opening {
        world,
        store,
        settings: settings.clone(),
        session: session.to_owned(),
        machine: format!("m-{machine}"),
        no_sync: false,
        about: About::Queue,
        read_only: None,
    })
}

/// Runs one command as a process of its own. Gives how it ended, and when it began.
pub fn command<T>(
    kernel: &Shared,
    fiber: &Rc<Fiber>,
    settings: &Settings,
    session: &str,
    act: impl FnOnce(&mut Queue) -> Result<T>,
) -> (Ended<T>, Micros) {
    let begun = kernel.borrow().now;
    let port = Port::new(kernel, fiber);
    let ended = attempt(|| act(&mut open(kernel, &port, settings, session, fiber.machine)?));
    fiber.reprieve();
    port.end();
    (ended, begun)
}

/// Runs code that may be killed or panic.
pub fn attempt<T>(code: impl FnOnce() -> Result<T>) -> Ended<T> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(Ok(told)) => Ended::Told(told),
        Ok(Err(error)) => Ended::Failed(error),
        Err(payload) if payload.is::<Killed>() => Ended::Killed,
        Err(payload) => Ended::Panicked(
            payload
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "a panic without words".to_owned()),
        ),
    }
}

/// Lays a state directory out and joins the queue, until it works.
///
/// # Errors
/// What the last attempt failed with.
pub fn join(kernel: &Shared, fiber: &Rc<Fiber>, settings: &Settings) -> Result<()> {
    let port = Port::new(kernel, fiber);
    let world = port.world(false);
    let layout = Layout::new(kernel.borrow().machines[fiber.machine].state.clone());
    init::lay_out(&*world.disk, &*world.random, &layout)?;
    port.end();
    // The files that a real `init` writes last make everything before them durable.
    kernel.borrow_mut().machines[fiber.machine].disk.sync_all();
    let (ended, _) = command(kernel, fiber, settings, "setup", |queue| {
        if queue.is_shared() {
            init::take_over(queue)?;
        }
        init::publish_first(queue)
    });
    match ended {
        Ended::Told(()) => Ok(()),
        Ended::Failed(error) => Err(error),
        Ended::Killed => Err(Error::failure("killed while joining")),
        Ended::Panicked(text) => Err(Error::failure(text)),
    }
}
