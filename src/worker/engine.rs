//! Carries out what the dispatcher decides: one thread per claimed task, one loop that waits for them, for
//! files, for signals and for a request to drain.
//!
//! A queue belongs to one thread, so each opens its own; what they share is in [`Shared`].

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::dispatcher::{Decision, Dispatcher, Event, Leaving, Mode};
use super::holding::{Orders, Pulse};
use super::job::{Around, Ran, own_pid, run_claimed, session_name};
use super::kit::Kit;
use super::pulse::{self, Claim};
use crate::protocol::task::Reason;
use crate::usecase::claim::{Claimed, Terms, pick};
use crate::usecase::drain::{self, Request};
use crate::usecase::error::{Error, Kind, Result};
use crate::usecase::queue::Queue;
use crate::usecase::{run, watch};

/// Longest wait between two looks at signals.
const TICK: Duration = Duration::from_millis(100);
/// How often it is looked whether somebody asks to drain.
const DRAIN_LOOK: Duration = Duration::from_millis(500);

/// Opens the queue as a session.
pub type Open = Arc<dyn Fn(&str) -> Result<Queue> + Send + Sync>;
/// Counts signals that have arrived since it was last asked.
pub type Signals<'a> = &'a mut dyn FnMut() -> u32;

/// What a worker is to do.
pub struct Setup {
    /// What it is there for.
    pub mode: Mode,
    /// How many tasks it runs at once, at least one.
    pub slots: usize,
    /// How long attempts may go on after a signal.
    pub drain_time: Duration,
    /// Where tasks run; default is the folder that holds the state directory.
    pub workspace: Option<PathBuf>,
    /// Its name; with several slots each adds its number.
    pub session: String,
    /// The environment of the worker.
    pub environment: BTreeMap<String, String>,
    /// Opens the queue.
    pub open: Open,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// An attempt has ended.
    Ran(Box<Ran>),
    /// A person may want to know.
    Notice(String),
}

/// How a worker ended.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub leaving: Leaving,
    /// The failure behind [`Leaving::Trouble`] or [`Leaving::Nothing`].
    pub error: Option<Error>,
}

enum Message {
    Event(Event),
    Failed(usize, Error),
    Told(Told),
}

/// What all threads of a worker share.
pub struct Shared {
    open: Open,
    workspace: Option<PathBuf>,
    environment: BTreeMap<String, String>,
    stop: AtomicBool,
    tell: Sender<Message>,
}

impl Shared {
    /// Opens the queue as a session.
    ///
    /// # Errors
    /// Those of opening.
    pub fn open(&self, session: &str) -> Result<Queue> {
        (self.open)(session)
    }

    fn send(&self, message: Message) {
        // The loop may have ended by force; then nobody listens.
        let _ = self.tell.send(message);
    }
}

impl Orders for Arc<Shared> {
    fn stop(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

impl Around for Arc<Shared> {
    fn workspace(&self, q: &Queue) -> PathBuf {
        let beside = || q.root().parent().unwrap_or(q.root()).to_owned();
        self.workspace.clone().unwrap_or_else(beside)
    }

    fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    fn say(&self, notice: String) {
        self.send(Message::Told(Told::Notice(notice)));
    }

    fn pulse(&self, claim: &Claim) -> Box<dyn Pulse> {
        Box::new(pulse::start(Arc::clone(self), claim.clone()))
    }
}

/// Wakes a worker when files change.
#[derive(Clone)]
pub struct Waker(Arc<Shared>);

impl Waker {
    /// Something has changed.
    pub fn wake(&self) {
        self.0.send(Message::Event(Event::Changed));
    }

    /// Passes something on to people.
    pub fn say(&self, notice: String) {
        self.0.say(notice);
    }
}

/// A worker that is about to start.
pub struct Engine {
    setup: Setup,
    shared: Arc<Shared>,
    inbox: Receiver<Message>,
}

impl Engine {
    /// Prepares a worker.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let (tell, inbox) = channel();
        let shared = Arc::new(Shared {
            open: Arc::clone(&setup.open),
            workspace: setup.workspace.clone(),
            environment: setup.environment.clone(),
            stop: AtomicBool::new(false),
            tell,
        });
        Engine { setup, shared, inbox }
    }

    /// What a watcher of files calls.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.shared))
    }

    /// Works until there is a reason to end. Attempts that run then have ended, except after
    /// [`Leaving::Forced`]: the end of this process ends those.
    ///
    /// # Errors
    /// The queue cannot be opened, or its settings cannot be read.
    pub fn run(self, signals: Signals<'_>, tell: &mut dyn FnMut(Told)) -> Result<Ended> {
        let mut desk = self.shared.open(&self.setup.session)?;
        for notice in desk.notices() {
            tell(Told::Notice(notice));
        }
        Kit::load(&desk, &self.setup.environment)?;
        let mut asked = DrainFile::new(&desk);
        let now = || desk.world().clock.monotonic();
        let Setup { mode, slots, drain_time, .. } = self.setup;
        let mut dispatcher = Dispatcher::new(mode, slots, drain_time, now());
        let mut error = None;
        loop {
            for _ in 0..signals() {
                dispatcher.on(now(), Event::Signal);
            }
            if let Some(event) = asked.look(&desk, now()) {
                dispatcher.on(now(), event);
            }
            let wait = match dispatcher.decide(now()) {
                Decision::Try(slot) => {
                    self.start(slot, own_pid(desk.world()));
                    continue;
                }
                Decision::StopAll => {
                    self.shared.stop.store(true, Ordering::SeqCst);
                    continue;
                }
                Decision::Leave(leaving) => {
                    self.empty(tell);
                    return Ok(Ended { leaving, error });
                }
                Decision::Wait(wait) => wait.min(TICK),
            };
            match self.inbox.recv_timeout(wait) {
                Ok(Message::Event(event)) => dispatcher.on(now(), event),
                Ok(Message::Failed(slot, failure)) => {
                    let passing = may_pass(failure.kind);
                    dispatcher.on(now(), Event::Trouble { slot, passing });
                    if mode != Mode::Once {
                        tell(Told::Notice(failure.message.clone()));
                    }
                    error = Some(failure);
                }
                Ok(Message::Told(told)) => tell(told),
                // Nothing has come within the time; the senders live as long as `self`.
                Err(_) => {}
            }
        }
    }

    /// What was told before the end.
    fn empty(&self, tell: &mut dyn FnMut(Told)) {
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Told(told) = message {
                tell(told);
            }
        }
    }

    fn start(&self, slot: usize, pid: u32) {
        let shared = Arc::clone(&self.shared);
        let session = session_name(&self.setup.session, slot, self.setup.slots);
        thread::spawn(move || {
            let work = || work(&shared, slot, &session, pid);
            let message = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(event)) => Message::Event(event),
                Ok(Err(error)) => Message::Failed(slot, error),
                Err(_) => Message::Failed(slot, Error::failure("a slot of the worker has panicked")),
            };
            shared.send(message);
        });
    }
}

/// Whether waiting may help: a full disk or a remote that is away, but not a file that a person has to mend.
#[must_use]
pub fn may_pass(kind: Kind) -> bool {
    !matches!(kind, Kind::Usage | Kind::NotFound | Kind::Refused | Kind::Config)
}

/// One look of one slot, in a queue of its own.
fn work(shared: &Arc<Shared>, slot: usize, session: &str, pid: u32) -> Result<Event> {
    let mut q = shared.open(session)?;
    let kit = Kit::load(&q, &shared.environment)?;
    look(&mut q, shared, &kit, slot, pid, &mut |news| {
        shared.send(match news {
            News::Claimed(_) => Message::Event(Event::Started(slot)),
            News::Ran(ran) => Message::Told(Told::Ran(ran)),
        });
    })
}

/// What happens during a look.
pub enum News<'a> {
    /// A task was claimed, and its attempt begins.
    Claimed(&'a Claimed),
    /// The attempt has ended.
    Ran(Box<Ran>),
}

/// One look of one slot, and the attempt that may follow. `pid` is the process that stands for the claim.
///
/// # Errors
/// Nothing could be claimed for another reason than that nothing is ready.
pub fn look(
    q: &mut Queue,
    around: &dyn Around,
    kit: &Kit,
    slot: usize,
    pid: u32,
    tell: &mut dyn FnMut(News<'_>),
) -> Result<Event> {
    let terms = Terms { pid: Some(pid), choice: kit.choice(), ..Terms::default() };
    let picked = pick(q, &terms);
    for notice in q.notices() {
        around.say(notice);
    }
    let claimed = match picked {
        Ok(claimed) => claimed,
        Err(error) if error.kind == Kind::Nothing => return idle(q, slot),
        Err(error) => return Err(error),
    };
    tell(News::Claimed(&claimed));
    let ran = run_claimed(q, around, kit, &claimed);
    for notice in q.notices() {
        around.say(notice);
    }
    let success = ran.reason == Reason::Success;
    tell(News::Ran(Box::new(ran)));
    Ok(Event::Ended { slot, success })
}

/// Nothing is ready. What died on this machine is taken back now, since somebody has time for it.
fn idle(q: &mut Queue, slot: usize) -> Result<Event> {
    let mut idle = run::idle(q)?;
    if idle.stale {
        watch::round(q, watch::Rules::default())?;
        idle = run::idle(q)?;
    }
    Ok(Event::Idle { slot, in_progress: idle.in_progress })
}

/// The request to drain, as the loop saw it last. One that stood before the start was meant for others.
struct DrainFile {
    before: Option<Request>,
    now: Option<Request>,
    next_look: Duration,
}

impl DrainFile {
    fn new(q: &Queue) -> Self {
        let before = drain::asked(q);
        DrainFile { now: before.clone(), before, next_look: Duration::ZERO }
    }

    fn look(&mut self, q: &Queue, now: Duration) -> Option<Event> {
        if now < self.next_look {
            return None;
        }
        self.next_look = now + DRAIN_LOOK;
        let found = drain::asked(q);
        if found == self.now {
            return None;
        }
        self.now = found;
        if self.now.is_none() {
            self.before = None;
            return Some(Event::DrainCancelled);
        }
        (self.now != self.before).then_some(Event::Drain)
    }
}
