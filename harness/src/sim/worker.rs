//! Workers: the real dispatcher, the real attempt and the real heartbeats of `orch work`, each thread of theirs a fiber,
//! with programs that the simulation makes up ([`super::tree`]).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use orch::protocol::id::TaskId;
use orch::protocol::task::Reason;
use orch::usecase::error::{Error, Kind, Result};
use orch::usecase::queue::Queue;
use orch::worker::dispatcher::{Decision, Dispatcher, Event, Mode};
use orch::worker::engine::{News, look, may_pass};
use orch::worker::holding::{Ask, Heard, Orders, Pulse};
use orch::worker::job::{Around, Ran};
use orch::worker::kit::Kit;
use orch::worker::pulse::{self, Claim};
use orch::world::Clock;
use orch::world::paths::Paths;

use super::dice::Dice;
use super::fiber::Fiber;
use super::kernel::{MINUTE, Micros, SECOND};
use super::load::{Birth, Yard, hit, is_certain, now, pause, told, told_claim};
use super::machine::{self, Ended, attempt};
use super::ports::{Port, unwinding};
use crate::history::Verb;

/// How long attempts may go on after a signal.
const DRAIN: Duration = Duration::from_secs(60);
/// How often the thread of the heartbeats looks for a question.
const TICK: Duration = Duration::from_millis(100);
/// Longest pause between two looks of the loop.
const LOOK: Duration = Duration::from_secs(5);

/// A worker that is started again and again, as a timer or a service does it.
pub fn worker(yard: &Rc<Yard>, fiber: &Rc<Fiber>, name: &str, mut dice: Dice) {
    while !yard.ending.get() {
        let idle = dice.exponential(90.0 * SECOND as f64) as Micros;
        pause(yard, fiber, idle);
        if yard.ending.get() {
            return;
        }
        if !yard.kernel.borrow().machines[fiber.machine].up {
            continue;
        }
        let port = Port::new(&yard.kernel, fiber);
        let told_to_end =
            dice.chance(0.3).then(|| now(yard) + dice.exponential(20.0 * MINUTE as f64) as Micros);
        let crew = Rc::new(Crew {
            yard: Rc::clone(yard),
            main: Rc::clone(fiber),
            port: port.clone(),
            name: name.to_owned(),
            begun: Cell::new(now(yard)),
            current: RefCell::new(None),
            stop: Cell::new(false),
            told_to_end,
            environment: BTreeMap::new(),
        });
        let ended = attempt(|| live(&crew, &mut dice));
        fiber.reprieve();
        port.end();
        if matches!(ended, Ended::Killed) {
            crew.told_nothing();
        }
        yard.oracle.borrow_mut().process_ended(fiber.machine, port.pid(), port.start());
        let at = now(yard);
        match ended {
            Ended::Told(()) | Ended::Killed => {}
            Ended::Failed(error) => note(yard, fiber, name, &format!("cannot work: {error}")),
            Ended::Panicked(text) => {
                yard.oracle.borrow_mut().broken(9, at, format!("{name} panicked: {text}"));
            }
        }
    }
}

fn note(yard: &Yard, fiber: &Fiber, name: &str, text: &str) {
    let mut kernel = yard.kernel.borrow_mut();
    let at = kernel.now;
    kernel.trace.note(at, fiber.machine, &format!("{name} {text}"));
}

/// One process from its start to its end.
fn live(crew: &Rc<Crew>, dice: &mut Dice) -> Result<()> {
    let (yard, port) = (&crew.yard, &crew.port);
    let modes = [Mode::Once, Mode::Once, Mode::UntilIdle, Mode::Every(Duration::from_secs(120))];
    let mut dispatcher = Dispatcher::new(*dice.pick(&modes), 1, DRAIN, port.monotonic());
    let mut signal = crew.told_to_end;
    while !yard.ending.get() {
        if signal.is_some_and(|at| at <= now(yard)) {
            signal = None;
            dispatcher.on(port.monotonic(), Event::Signal);
        }
        match dispatcher.decide(port.monotonic()) {
            Decision::Try(slot) => {
                let event = try_once(crew, slot).unwrap_or_else(|error| {
                    let text = format!("work: {}: {}", error.code, error.message);
                    note(yard, &crew.main, &crew.name, &text);
                    if error.kind == Kind::Unreachable {
                        hit(yard, "a command met a remote out of reach");
                    }
                    if crew.current.borrow().is_none() || !is_certain(&error) {
                        crew.told_nothing();
                    }
                    Event::Trouble { slot, passing: may_pass(error.kind) }
                });
                dispatcher.on(port.monotonic(), event);
            }
            Decision::StopAll => crew.stop.set(true),
            Decision::Leave(_) => return Ok(()),
            Decision::Wait(wait) => port.sleep(wait.min(LOOK)),
        }
    }
    Ok(())
}

/// One look, judged, and the attempt that may follow.
fn try_once(crew: &Rc<Crew>, slot: usize) -> Result<Event> {
    let (yard, fiber) = (&crew.yard, &crew.main);
    let mut queue = crew.open(&crew.port)?;
    let kit = Kit::with_paths(&queue, Box::new(Programs))?;
    crew.begun.set(now(yard));
    let pid = crew.port.pid();
    let desk = Desk(Rc::clone(crew));
    let event = look(&mut queue, &desk, &kit, slot, pid, &mut |news| match news {
        News::Claimed(told) => {
            let id = told.task.id();
            note(yard, fiber, &crew.name, &format!("work: claimed {id}, epoch {}", told.epoch));
            yard.oracle.borrow_mut().look(&mut yard.kernel.borrow_mut());
            // On the way to this one there may have been claims that were taken back.
            crew.told_nothing();
            told_claim(yard, fiber, &crew.name, crew.begun.get(), told);
            crew.begun.set(now(yard));
            *crew.current.borrow_mut() = Some((id.clone(), told.epoch));
        }
        News::Ran(ran) => crew.ran(&ran),
    });
    yard.oracle.borrow_mut().look(&mut yard.kernel.borrow_mut());
    event
}

/// What an attempt needs of the worker around it, as `orch::worker::engine` has it.
struct Crew {
    yard: Rc<Yard>,
    main: Rc<Fiber>,
    port: Port,
    name: String,
    /// When it began what it is about: to look for a task, or to run it.
    begun: Cell<Micros>,
    /// The claim whose attempt runs.
    current: RefCell<Option<(TaskId, u64)>>,
    stop: Cell<bool>,
    told_to_end: Option<Micros>,
    environment: BTreeMap<String, String>,
}

impl Crew {
    fn open(&self, port: &Port) -> Result<Queue> {
        machine::open(&self.yard.kernel, port, &self.yard.settings, &self.name, self.main.machine)
    }

    /// The end of an attempt.
    fn ran(&self, ran: &Ran) {
        let yard = &self.yard;
        let text = format!("work: {} ended: {:?}, {}: {}", ran.task, ran.reason, ran.outcome, ran.notes);
        note(yard, &self.main, &self.name, &text);
        let probe = match ran.reason {
            Reason::Success => Some("a program did its work"),
            Reason::Error => Some("a program failed"),
            Reason::Timeout => Some("a program took too long"),
            Reason::SpawnFailed => Some("a program could not be started"),
            Reason::Shutdown => Some("a worker gave its task back"),
            Reason::LeaseLost => Some("a worker lost its lease"),
            Reason::Cancelled => Some("a worker was told of a cancellation"),
            _ => None,
        };
        if let Some(probe) = probe {
            hit(yard, probe);
        }
        let begun =
            yard.kernel.borrow().last_at_work(ran.task.as_str(), ran.epoch).unwrap_or(self.begun.get());
        yard.oracle.borrow_mut().look(&mut yard.kernel.borrow_mut());
        match &ran.ended {
            Some(changed) => {
                told(yard, &self.main, &self.name, begun, changed);
                *self.current.borrow_mut() = None;
            }
            None => self.told_nothing(),
        }
    }

    /// Nobody was told what came of what it was about.
    fn told_nothing(&self) {
        let mut calls = self.yard.calls.borrow_mut();
        let begun = self.begun.get();
        match self.current.take() {
            Some((id, epoch)) => {
                for verb in [Verb::Done, Verb::Fail, Verb::Release] {
                    calls.unknown(Some(&id), &self.name, verb, Some(epoch), begun);
                }
            }
            None => calls.unknown(None, &self.name, Verb::Claim, None, begun),
        }
    }
}

/// A handle that its threads share.
struct Desk(Rc<Crew>);

impl Orders for Desk {
    fn stop(&self) -> bool {
        let crew = &self.0;
        let late = |at| at + DRAIN.as_micros() as Micros <= now(&crew.yard);
        crew.stop.get() || crew.told_to_end.is_some_and(late) || crew.yard.ending.get()
    }
}

impl Around for Desk {
    fn workspace(&self, q: &Queue) -> PathBuf {
        q.root().parent().unwrap_or(q.root()).to_owned()
    }

    fn environment(&self) -> &BTreeMap<String, String> {
        &self.0.environment
    }

    fn say(&self, notice: String) {
        note(&self.0.yard, &self.0.main, &self.0.name, &notice);
    }

    fn pulse(&self, claim: &Claim) -> Box<dyn Pulse> {
        let mail = Rc::new(Mail::default());
        let (desk, claim, inside) = (Desk(Rc::clone(&self.0)), claim.clone(), Rc::clone(&mail));
        let name = format!("{} beats", self.0.name);
        let machine = self.0.main.machine;
        let body = Box::new(move |fiber: Rc<Fiber>| beats(&desk, &fiber, &claim, &inside));
        self.0.yard.births.borrow_mut().push(Birth { name, machine, body });
        Box::new(Threaded(mail))
    }
}

/// Between an attempt and its heartbeats.
#[derive(Default)]
struct Mail {
    asked: Cell<Option<Ask>>,
    heard: RefCell<VecDeque<Heard>>,
    closed: Cell<bool>,
    thread: RefCell<Option<Rc<Fiber>>>,
}

/// The attempt's end of it; the thread ends when this is dropped, after the heartbeat that is under way.
struct Threaded(Rc<Mail>);

impl Pulse for Threaded {
    fn ask(&mut self, ask: Ask) {
        self.0.asked.set(Some(ask));
    }

    fn answer(&mut self) -> Option<Heard> {
        self.0.heard.borrow_mut().pop_front()
    }
}

impl Drop for Threaded {
    fn drop(&mut self) {
        self.0.closed.set(true);
        // All threads of a killed process die with it.
        if let (true, Some(thread)) = (unwinding(), &*self.0.thread.borrow()) {
            thread.doom();
        }
    }
}

/// The thread of the heartbeats of one claim.
fn beats(desk: &Desk, fiber: &Rc<Fiber>, claim: &Claim, mail: &Mail) {
    if mail.closed.get() {
        return;
    }
    let crew = &desk.0;
    fiber.join(&crew.main);
    *mail.thread.borrow_mut() = Some(Rc::clone(fiber));
    let yard = &crew.yard;
    let port = crew.port.thread(fiber);
    let open = || crew.open(&port);
    let mut queue = None;
    let ended = attempt(|| {
        while !mail.closed.get() {
            if let Some(ask) = mail.asked.take() {
                let begun = now(yard);
                let heard = pulse::serve(desk, &open, &mut queue, claim, ask);
                let mut oracle = yard.oracle.borrow_mut();
                oracle.look(&mut yard.kernel.borrow_mut());
                if let (Ask::Beat, Heard::Lasts(_)) = (ask, heard) {
                    hit(yard, "a heartbeat was accepted");
                    let what = format!("heartbeat by {}", crew.name);
                    oracle.held_still(
                        &yard.kernel.borrow(),
                        &claim.id,
                        claim.epoch,
                        begun,
                        fiber.machine,
                        &what,
                    );
                }
                mail.heard.borrow_mut().push_back(heard);
            }
            port.sleep(TICK);
        }
        Ok::<(), Error>(())
    });
    match ended {
        // The kill struck here, and meets the whole process.
        Ended::Killed if !mail.closed.get() => crew.main.doom(),
        Ended::Panicked(text) => {
            yard.oracle.borrow_mut().broken(9, now(yard), format!("{} panicked: {text}", fiber.name));
        }
        _ => {}
    }
}

/// The one program, wherever it is looked for.
struct Programs;

impl Paths for Programs {
    fn find(&self, program: &str, _: &Path) -> Option<PathBuf> {
        Some(PathBuf::from("/bin").join(program))
    }

    fn link(&self, _: &Path) -> io::Result<Option<PathBuf>> {
        Ok(None)
    }
}
