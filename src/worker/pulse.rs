//! Heartbeats in a thread of their own, with a queue of their own: a slow remote holds nothing up.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::attempt::StopReason;
use super::engine::Shared;
use super::holding::{Ask, Heard, Pulse};
use super::job::Around;
use crate::protocol::id::TaskId;
use crate::protocol::task::Status;
use crate::usecase::error::{Error, Kind};
use crate::usecase::queue::Queue;
use crate::usecase::{holder, read, run};

/// How long a heartbeat waits for those of other tasks of this machine, which are due at the same moment.
const COMPANY: Duration = Duration::from_millis(250);

/// The two ends of the thread. It ends when this is dropped, after the heartbeat that is under way.
pub struct Threaded {
    ask: Sender<Ask>,
    heard: Receiver<Heard>,
}

/// Which claim is renewed.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The task.
    pub id: TaskId,
    /// Fencing token.
    pub epoch: u64,
    /// Whose claim.
    pub session: String,
    /// Time to live of the lease.
    pub ttl: Duration,
}

/// Starts the thread. The queue is opened with the first question: most short attempts ask none.
#[must_use]
pub fn start(shared: Arc<Shared>, claim: Claim) -> Threaded {
    let (ask, asked) = channel::<Ask>();
    let (tell, heard) = channel::<Heard>();
    thread::spawn(move || {
        let mut queue = None;
        let open = || shared.open(&claim.session);
        for ask in asked {
            if tell.send(serve(&shared, &open, &mut queue, &claim, ask)).is_err() {
                return;
            }
        }
    });
    Threaded { ask, heard }
}

impl Pulse for Threaded {
    fn ask(&mut self, ask: Ask) {
        // If the thread has gone no answer will come, and the deadline ends the attempt.
        let _ = self.ask.send(ask);
    }

    fn answer(&mut self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }
}

/// Answers one question, with a queue that is opened with the first one and kept for the next.
pub fn serve(
    around: &dyn Around,
    open: &dyn Fn() -> Result<Queue, Error>,
    queue: &mut Option<Queue>,
    claim: &Claim,
    ask: Ask,
) -> Heard {
    let q = match queue {
        Some(q) => q,
        None => match open() {
            Ok(mut opened) => {
                opened.await_company(COMPANY.min(claim.ttl / 30));
                queue.insert(opened)
            }
            Err(error) => return unheard(around, claim, &error),
        },
    };
    let heard = match ask {
        Ask::Look if !run::moved(q, &claim.id, claim.epoch) => lasts(q, claim),
        Ask::Look | Ask::Beat => beat(q, claim),
    };
    for notice in q.notices() {
        around.say(notice);
    }
    heard.unwrap_or_else(|error| unheard(around, claim, &error))
}

fn unheard(around: &dyn Around, claim: &Claim, error: &Error) -> Heard {
    around.say(format!("{}: no heartbeat: {error}", claim.id));
    Heard::Nothing
}

/// Renews the lease and says what that means for whoever runs the task.
///
/// # Errors
/// What tells nothing about the lease.
pub fn beat(q: &mut Queue, claim: &Claim) -> Result<Heard, Error> {
    match holder::heartbeat(q, &claim.id, Some(claim.epoch), None) {
        Ok(beat) if beat.published => lasts(q, claim),
        Ok(_) => Ok(Heard::Nothing),
        Err(error) => match (error.kind, error.code) {
            (Kind::Fenced, "cancelled") => Ok(Heard::Lost(StopReason::Cancelled)),
            (Kind::Fenced | Kind::NotFound, _) | (Kind::Conflict, "not_holder") => {
                Ok(Heard::Lost(StopReason::LeaseLost))
            }
            (Kind::Conflict, "conflict") => Ok(ended_by_itself(q, claim)),
            _ => Err(error),
        },
    }
}

/// The session ended its claim itself. An agent may finish its task so and go on a little; but where a person
/// who goes by the same name has cancelled it, it has to stop.
fn ended_by_itself(q: &mut Queue, claim: &Claim) -> Heard {
    match read::show(q, &claim.id).map(|task| task.status()) {
        Ok(Status::Cancelled) => Heard::Lost(StopReason::Cancelled),
        _ => Heard::Over,
    }
}

/// Until when the claim lasts by what was accepted.
///
/// # Errors
/// The task cannot be read.
pub fn lasts(q: &Queue, claim: &Claim) -> Result<Heard, Error> {
    let now = q.world().clock.boottime();
    Ok(Heard::Lasts(now + run::time_left(q, &claim.id, claim.epoch)?))
}
