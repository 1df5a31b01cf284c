//! An agent: a thread that runs orch as processes, as an agent on a machine would. It keeps its own record of what it
//! was told, and it does not always behave.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::dice::Dice;
use super::fleet::{Fleet, Vanished};
use super::ledger::Told;
use super::processes::Ended;
use super::server::lock;
use super::unruly;

/// Argument of the process that would like to survive its attempt; no sane command sleeps for so long.
pub const SURVIVOR: &str = "7300.41";

/// One agent.
pub struct Agent<'f> {
    fleet: &'f Fleet,
    machine: usize,
    session: String,
    dice: Dice,
    count: u64,
}

/// A claim that was confirmed.
struct Held {
    task: String,
    epoch: u64,
    /// When the last accepted renewal was sent.
    sent: Instant,
    /// When it was answered.
    answered: Instant,
    /// Every renewal was answered and was on the remote by then.
    clean: bool,
}

/// How an attempt ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Done,
    Fail,
    Release,
    Vanish,
    Zombie,
}

impl<'f> Agent<'f> {
    /// Agent `number` of a machine. `part` tells the parts of a resumed run apart: sessions are never used twice.
    #[must_use]
    pub fn new(fleet: &'f Fleet, machine: usize, number: usize, part: u64) -> Agent<'f> {
        let session = format!("m{machine}a{number}p{part}");
        let dice = Dice::of(fleet.seed, &session);
        Agent { fleet, machine, session, dice, count: 0 }
    }

    /// Works until the run ends.
    pub fn run(mut self) {
        while self.fleet.gate.enter() {
            self.step();
            self.fleet.gate.leave();
            let pause = self.dice.around(self.fleet.profile.load.pace.0);
            self.fleet.gate.sleep(pause);
        }
    }

    fn step(&mut self) {
        let load = &self.fleet.profile.load;
        let fleet = &self.fleet.profile.fleet;
        let wanted = load.backlog * fleet.agents * fleet.machines;
        let open = self.fleet.open.load(Ordering::Relaxed);
        if usize::try_from(open).unwrap_or(0) < wanted {
            self.add(&[]);
        }
        if self.dice.chance(load.work) {
            return self.work();
        }
        match self.dice.below(20) {
            0 => return self.read(&["list", "--limit", "20"]),
            1 => return self.read(&["status"]),
            2 => return self.sync(),
            _ => {}
        }
        if let Some(held) = self.claim() {
            self.attempt(held);
        }
    }

    /// Text that no other text of the run contains.
    fn token(&mut self, word: &str) -> String {
        self.count += 1;
        format!("{word}-{}-{}x", self.session, self.count)
    }

    fn orch(&self, args: &[&str]) -> Ended {
        self.fleet.orch(self.machine, &self.session, args)
    }

    fn told(&self, verb: &str, task: &str, epoch: u64, token: String, data: &Value) {
        self.fleet.told(Told {
            at: self.fleet.now(),
            machine: self.machine,
            session: self.session.clone(),
            verb: verb.to_owned(),
            task: task.to_owned(),
            epoch,
            token,
            published: data["published"].as_bool().unwrap_or(true),
        });
    }

    /// Adds a task, with a command to run where one is given. Its id, if that was acknowledged.
    fn add(&mut self, run: &[&str]) -> Option<String> {
        let more = if run.is_empty() { &[][..] } else { &["--"][..] };
        self.add_as("add", &[more, run].concat())
    }

    /// Adds a task whose id begins with a word, with more of a command line. Its id, if that was acknowledged.
    fn add_as(&mut self, word: &str, more: &[&str]) -> Option<String> {
        let token = self.token(word);
        let priority = ["P0", "P1", "P2", "P3"][self.dice.below(4)];
        let args = ["add", "--id", &token, "--title", &token, "--priority", priority];
        let args = [&args[..], more].concat();
        let ended = self.orch(&args);
        // What a killed command has done is found by others or not; nobody was told.
        if ended.code != Some(0) {
            self.fleet.tally.count("add.not");
            return None;
        }
        self.fleet.tally.time("add", ended.took);
        self.fleet.tally.count("added");
        self.fleet.open.fetch_add(1, Ordering::Relaxed);
        self.told("add", &token, 0, token.clone(), &ended.data);
        Some(token)
    }

    fn read(&mut self, args: &[&str]) {
        let ended = self.orch(args);
        if ended.struck {
            return;
        }
        self.fleet.tally.count("reads");
        if ended.code == Some(0) {
            self.fleet.tally.time("read", ended.took);
        } else if !self.fleet.windows.excuse(self.machine, ended.started) {
            self.fleet.tally.count("reads.failed");
        }
    }

    fn sync(&mut self) {
        let ended = self.orch(&["sync"]);
        if ended.code == Some(0) {
            self.fleet.tally.time("sync", ended.took);
            self.fleet.tally.count("syncs");
        }
    }

    /// Claims something: mostly whatever is first, sometimes a task of its own.
    fn claim(&mut self) -> Option<Held> {
        let own = if self.dice.chance(20) { self.add(&[]) } else { None };
        let args: Vec<&str> = own.as_ref().map_or_else(|| vec!["pick"], |id| vec!["claim", id]);
        let sent = Instant::now();
        let ended = self.orch(&args);
        let tally = &self.fleet.tally;
        let excused = ended.struck || self.fleet.windows.excuse(self.machine, ended.started);
        if !excused {
            tally.count("claims.tried");
        }
        match ended.code {
            Some(0) => {}
            // Nothing ready, or somebody else was faster: an answer.
            Some(6 | 4) => {
                tally.count(if ended.code == Some(6) { "claims.nothing" } else { "claims.lost" });
                if ended.code == Some(6) {
                    self.add(&[]);
                }
                return None;
            }
            // Somebody has just broken its file: an answer as well. A task that is really lost is found at rest.
            Some(3 | 8) => {
                tally.count("claims.damaged");
                return None;
            }
            _ => {
                if !excused {
                    tally.count("claims.unavailable");
                    self.fleet.append(
                        "unavailable.jsonl",
                        &format!("{} {:?} {}", self.session, ended.code, ended.stderr),
                    );
                }
                return None;
            }
        }
        let claimed = (ended.data["task"]["id"].as_str(), ended.data["epoch"].as_u64());
        let (Some(task), Some(epoch)) = claimed else {
            self.fleet.violation("unreadable_answer", format!("exit 0 of a claim, and: {}", ended.data));
            return None;
        };
        let task = task.to_owned();
        if ended.data["confirmed"].as_bool() != Some(true) {
            self.fleet
                .violation("unconfirmed_claim", format!("{task}: exit 0 and not confirmed: {}", ended.data));
            return None;
        }
        tally.time("claim", ended.took);
        tally.count("claims");
        self.told("claim", &task, epoch, String::new(), &ended.data);
        Some(Held { task, epoch, sent, answered: Instant::now(), clean: true })
    }

    /// Lives through an attempt: beats, then an ending.
    fn attempt(&mut self, mut held: Held) {
        let load = &self.fleet.profile.load;
        let weights = [load.done, load.fail, load.release, load.vanish, load.zombie];
        let endings = [Ending::Done, Ending::Fail, Ending::Release, Ending::Vanish, Ending::Zombie];
        let ending = endings[self.dice.weighted(&weights)];
        let third = self.fleet.profile.lease.ttl.0 / 3;
        for _ in 0..self.dice.below(load.beats + 1) {
            if !self.fleet.gate.sleep(third) {
                break;
            }
            if !self.beat(&mut held) {
                return;
            }
        }
        match ending {
            Ending::Vanish => self.vanish(&held),
            Ending::Zombie => self.zombie(&held),
            _ => drop(self.end(&mut held, ending)),
        }
    }

    /// Renews. False when the task is no longer ours.
    fn beat(&mut self, held: &mut Held) -> bool {
        let epoch = held.epoch.to_string();
        let note = self.token("note");
        let checkpoint = self.dice.chance(30);
        let args: Vec<&str> = if checkpoint {
            vec!["checkpoint", &held.task, "--note", &note]
        } else {
            vec!["heartbeat", &held.task, "--epoch", &epoch, "--percent", "40"]
        };
        let sent = Instant::now();
        let ended = self.orch(&args);
        let verb = args[0];
        match ended.code {
            Some(0) => {
                self.fleet.tally.time(verb, ended.took);
                self.fleet.tally.count(verb);
                if checkpoint {
                    self.told(verb, &held.task, held.epoch, note.clone(), &ended.data);
                }
                // What is kept here renews nothing.
                if ended.data["published"].as_bool().unwrap_or(false) {
                    (held.sent, held.answered) = (sent, Instant::now());
                } else {
                    held.clean = checkpoint && held.clean && !ended.struck;
                    held.answered = Instant::now();
                }
                true
            }
            Some(9 | 4) => {
                self.lost(held, &ended);
                false
            }
            _ => {
                held.clean = false;
                true
            }
        }
    }

    /// We were told that the task is no longer ours. That may be so only if the lease could have run out, or the
    /// harness meddled.
    fn lost(&self, held: &Held, ended: &Ended) {
        self.fleet.tally.count("fenced");
        let age = held.sent.elapsed();
        let excused = ended.struck
            || !held.clean
            || self.fleet.ledger.forgotten(&held.task)
            || self.fleet.windows.excuse(self.machine, held.sent);
        if age < self.fleet.profile.lease.ttl.0 && !excused {
            let (task, epoch) = (&held.task, held.epoch);
            let what = format!("{task} epoch {epoch}, renewed {age:?} ago: {}", ended.stderr.trim());
            self.fleet.violation("false_expiry", what);
        }
    }

    fn end(&mut self, held: &mut Held, ending: Ending) -> Option<i32> {
        let (verb, notes) = match ending {
            Ending::Fail => ("fail", self.token("fail")),
            Ending::Release => ("release", String::new()),
            _ => ("done", self.token("done")),
        };
        let task = held.task.clone();
        let mut args = vec![verb, &task];
        if !notes.is_empty() {
            args.extend(["--notes", &notes]);
        }
        for _ in 0..4 {
            let ended = self.orch(&args);
            match ended.code {
                Some(0) => {
                    self.fleet.tally.time(verb, ended.took);
                    self.fleet.tally.count(verb);
                    // A repeated one has the notes of its first try, which are the same.
                    if verb != "release" {
                        self.told(verb, &held.task, held.epoch, notes.clone(), &ended.data);
                    }
                    if verb == "done" {
                        self.fleet.finished();
                    }
                    return Some(0);
                }
                Some(9 | 4) => {
                    self.lost(held, &ended);
                    return ended.code;
                }
                // Killed, or the remote is away: whoever is still there tries again while the lease lasts.
                // It may have been done all the same: a refusal of the next try proves nothing.
                _ => {
                    held.clean = false;
                    self.fleet.tally.count("end.again");
                    self.fleet.gate.sleep(Duration::from_millis(300));
                }
            }
        }
        None
    }

    /// Goes away without a word.
    fn vanish(&self, held: &Held) {
        self.fleet.tally.count("vanished");
        self.wait_for(held, self.fleet.lease_object(&held.task));
    }

    /// Has the recovery of a task waited for. Where a renewal may still be on its way, or a fault holds one up, the
    /// ref may move once more by our own doing: then it is the check at rest that sees to it.
    fn wait_for(&self, held: &Held, object: Option<String>) {
        let Some(object) = object else { return };
        if held.clean && !self.fleet.windows.excuse(self.machine, held.sent) {
            let (task, sent, since) = (held.task.clone(), held.sent, held.answered);
            lock(&self.fleet.vanished).push(Vanished { task, object, sent, since });
        }
    }

    /// Sleeps past the deadline, then tries to finish as if nothing had been.
    fn zombie(&mut self, held: &Held) {
        self.fleet.tally.count("zombies");
        let object = self.fleet.lease_object(&held.task);
        let over = self.fleet.profile.lease.ttl.0 + Duration::from_millis(500);
        let left = (held.answered + over).saturating_duration_since(Instant::now());
        if !self.fleet.gate.sleep(left) {
            return self.wait_for(held, object);
        }
        let code = self.end_late(held);
        match code {
            Some(9 | 4) => self.fleet.tally.count("zombies.refused"),
            Some(0) if held.clean => {
                let (task, epoch) = (&held.task, held.epoch);
                let what =
                    format!("{task} epoch {epoch} was finished {over:?} after the last renewal was answered");
                self.fleet.violation("old_epoch", what);
            }
            _ => {}
        }
    }

    fn end_late(&mut self, held: &Held) -> Option<i32> {
        let notes = self.token("late");
        let ended = self.orch(&["done", &held.task, "--notes", &notes]);
        if ended.code == Some(0) {
            self.told("done", &held.task, held.epoch, notes, &ended.data);
            self.fleet.finished();
        }
        ended.code
    }

    /// Lets orch run a task whose command leaves a process behind that forks away from its group; now and then one whose
    /// command does not end at all.
    fn work(&mut self) {
        let unruly = self.fleet.profile.load.unruly;
        let added = if unruly > 0 && self.dice.chance(unruly) {
            self.add_unruly()
        } else {
            self.add(&["setsid", "--fork", "sleep", SURVIVOR])
        };
        if added.is_none() {
            return;
        }
        let ended = self.orch(&["work", "--once"]);
        self.fleet.tally.count("works");
        unruly::judge(self.fleet, &ended);
        match ended.code {
            Some(0) => {
                self.fleet.tally.time("work", ended.took);
                self.fleet.tally.count("works.succeeded");
                self.fleet.finished();
            }
            Some(1) if !ended.struck && !self.fleet.windows.excuse(self.machine, ended.started) => {
                self.fleet.tally.count("works.failed");
                self.fleet
                    .append("works.jsonl", &format!("{} {} {}", self.session, ended.data, ended.stderr));
            }
            _ => {}
        }
    }

    /// Adds a task whose program has to be ended by its worker.
    fn add_unruly(&mut self) -> Option<String> {
        match unruly::task(&self.fleet.place, &self.session) {
            Ok(file) => self.add_as(unruly::PREFIX, &["--file", &file]),
            Err(why) => {
                self.fleet.violation("harness", why);
                None
            }
        }
    }
}
