//! What every part of the trial shares: names, commits, pushes that are counted and timed, reading.

use std::time::Duration;

use orch::world::remote::passing;
use orch::world::{NewCommit, Oid, PushOutcome, RefUpdate, RemoteError, RemoteFailure, Wanted};

use super::scratch::Scratch;
use super::{Field, Plan, Side};

/// Words by which hosts and proxies ask for a slower pace. They end the trial; nothing else rests on them.
const SLOWER: [&str; 7] = [
    "too many requests",
    "error: 429",
    "rate limit",
    "rate-limit",
    "throttl",
    "slow down",
    "abuse detection",
];

/// Why a part of the trial could not go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Trouble {
    /// The remote could not be asked.
    #[error("{0}")]
    Remote(RemoteError),
    /// It asked for a slower pace.
    #[error("the remote asks for a slower pace: {0}")]
    Throttled(String),
    /// Somebody ended the trial.
    #[error("stopped before it was through")]
    Stopped,
    /// Three times the time was used.
    #[error("the time was used up")]
    OutOfTime,
    /// What was found is enough.
    #[error("what was found is enough")]
    Hopeless,
    /// The scratch repository on this machine failed.
    #[error("scratch repository on this machine: {0}")]
    Local(String),
}

/// Spans that were measured.
#[derive(Debug, Clone, Default)]
pub struct Spans(Vec<Duration>);

impl Spans {
    /// One more.
    pub fn add(&mut self, span: Duration) {
        self.0.push(span);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest span that at least this share of all does not exceed; `None` without any.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
    }
}

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Push that creates a ref, and the listing after it.
    pub claims: Spans,
    /// Single pushes.
    pub pushes: Spans,
    /// Listings of the scratch prefix.
    pub listings: Spans,
    /// Fetches of one small commit.
    pub fetches: Spans,
    /// Pushes that were sent, all together.
    pub sent: u32,
    /// Pushes in a row, one after another: how many, and in what time.
    pub row: Option<(u32, Duration)>,
    /// The row ended because of this answer.
    pub row_ended: Option<String>,
}

/// The trial while it runs.
pub struct Run<'a> {
    field: Field<'a>,
    /// How much is tried.
    pub plan: Plan,
    /// The place of its refs.
    pub scratch: &'a Scratch,
    /// The prefix that the remote takes; set by the first part.
    pub prefix: String,
    /// What was measured so far.
    pub measured: Measured,
    started: Duration,
    names: u32,
}

impl<'a> Run<'a> {
    /// Starts the clock.
    #[must_use]
    pub fn new(field: Field<'a>, plan: Plan, scratch: &'a Scratch) -> Self {
        let started = field.clock.monotonic();
        let prefix = scratch.custom();
        Run { field, plan, scratch, prefix, measured: Measured::default(), started, names: 0 }
    }

    /// The first machine.
    #[must_use]
    pub fn a(&self) -> Side<'a> {
        self.field.a
    }

    /// The second machine.
    #[must_use]
    pub fn b(&self) -> Side<'a> {
        self.field.b
    }

    /// Time on the clock of the trial.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.field.clock.monotonic()
    }

    /// How long it has taken so far.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now().saturating_sub(self.started)
    }

    /// Waits.
    pub fn sleep(&self, span: Duration) {
        self.field.clock.sleep(span);
    }

    /// Whether another round is due: the least ones always, further ones while time and pushes last.
    #[must_use]
    pub fn more(&self, done: u32, wanted: u32, least: u32) -> bool {
        let rich = self.elapsed() < self.plan.budget && self.measured.sent < self.plan.pushes;
        done < least.min(wanted) || (done < wanted && rich)
    }

    /// A name below the prefix that was not used before.
    pub fn fresh(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{}{what}-{}", self.prefix, self.names)
    }

    /// A commit that is like no other.
    ///
    /// # Errors
    /// The scratch repository.
    pub fn commit(&self, side: Side<'_>) -> Result<Oid, Trouble> {
        let mut dice = [0u8; 16];
        self.field.random.fill(&mut dice);
        self.commit_of(side, &dice)
    }

    /// A commit with this content; the same content gives the same commit everywhere.
    ///
    /// # Errors
    /// The scratch repository.
    pub fn commit_of(&self, side: Side<'_>, content: &[u8]) -> Result<Oid, Trouble> {
        let commit = NewCommit {
            base: None,
            changes: &[("probe".to_owned(), Some(content.to_vec()))],
            parents: &[],
            author: "orch",
            at_s: 1_700_000_000,
            message: "probe [skip ci]\n",
        };
        side.objects.commit(&commit).map_err(|error| Trouble::Local(error.to_string()))
    }

    /// Called before every step on the network.
    fn go_on(&self) -> Result<(), Trouble> {
        if (self.field.stopped)() {
            return Err(Trouble::Stopped);
        }
        let most = self.plan.budget * 3 + Duration::from_secs(30);
        if self.elapsed() > most { Err(Trouble::OutOfTime) } else { Ok(()) }
    }

    /// One push of one ref.
    ///
    /// # Errors
    /// Stopped, out of time, or asked for a slower pace.
    pub fn push(&mut self, side: Side<'_>, update: RefUpdate) -> Result<PushOutcome, Trouble> {
        let limit = self.plan.limit;
        let started = self.now();
        let outcome = self.push_within(side, update, limit)?;
        if outcome == PushOutcome::Accepted {
            let span = self.now().saturating_sub(started);
            self.measured.pushes.add(span);
        }
        Ok(outcome)
    }

    /// The same with a time limit of its own, not measured.
    ///
    /// # Errors
    /// As [`Run::push`].
    pub fn push_within(
        &mut self,
        side: Side<'_>,
        update: RefUpdate,
        limit: Duration,
    ) -> Result<PushOutcome, Trouble> {
        self.go_on()?;
        self.measured.sent += 1;
        let outcomes = side.remote.push(&[update], limit);
        paced(&outcomes)?;
        Ok(outcomes.into_iter().next().unwrap_or_else(|| PushOutcome::Unknown("no answer".to_owned())))
    }

    /// One push of several refs, all or none.
    ///
    /// # Errors
    /// As [`Run::push`].
    pub fn push_atomic(
        &mut self,
        side: Side<'_>,
        updates: &[RefUpdate],
    ) -> Result<Vec<PushOutcome>, Trouble> {
        self.go_on()?;
        self.measured.sent += 1;
        let outcomes = side.remote.push_atomic(updates, self.plan.limit);
        paced(&outcomes)?;
        Ok(outcomes)
    }

    /// Two pushes at the same moment, one from each machine.
    ///
    /// # Errors
    /// As [`Run::push`].
    pub fn race(
        &mut self,
        one: &[RefUpdate],
        two: &[RefUpdate],
        atomic: bool,
    ) -> Result<[Vec<PushOutcome>; 2], Trouble> {
        self.go_on()?;
        self.measured.sent += 2;
        let limit = self.plan.limit;
        let start = std::sync::Barrier::new(2);
        let send = |remote: &(dyn orch::world::Remote + Sync), updates: &[RefUpdate]| {
            start.wait();
            if atomic { remote.push_atomic(updates, limit) } else { remote.push(updates, limit) }
        };
        let (a, b) = (self.field.a.remote, self.field.b.remote);
        let outcomes = std::thread::scope(|scope| {
            let other = scope.spawn(|| send(b, two));
            let mine = send(a, one);
            let lost = |_| vec![PushOutcome::Unknown("the pushing thread failed".to_owned()); two.len()];
            [mine, other.join().unwrap_or_else(lost)]
        });
        outcomes.iter().try_for_each(|one| paced(one))?;
        Ok(outcomes)
    }

    /// What a ref is on the remote, as this machine sees it.
    ///
    /// # Errors
    /// The remote could not be asked; as [`Run::push`].
    pub fn read(&mut self, side: Side<'_>, name: &str) -> Result<Option<Oid>, Trouble> {
        let found = self.list(side, name)?;
        Ok(found.into_iter().find(|(found, _)| found == name).map(|(_, oid)| oid))
    }

    /// Refs of the remote below a prefix.
    ///
    /// # Errors
    /// As [`Run::read`].
    pub fn list(&mut self, side: Side<'_>, prefix: &str) -> Result<Vec<(String, Oid)>, Trouble> {
        self.go_on()?;
        let started = self.now();
        let found = side.remote.refs(&[prefix], self.plan.limit).map_err(trouble)?;
        let span = self.now().saturating_sub(started);
        self.measured.listings.add(span);
        Ok(found)
    }

    /// Brings one ref to this machine, which was seen to hold this.
    ///
    /// # Errors
    /// As [`Run::read`].
    pub fn fetch(&mut self, side: Side<'_>, name: &str, oid: Oid) -> Result<(), Trouble> {
        self.go_on()?;
        let started = self.now();
        let local = "refs/orch/incoming/probe".to_owned();
        let wanted = [Wanted { name: name.to_owned(), oid, local }];
        side.remote.fetch(&wanted, self.plan.limit).map_err(trouble)?;
        let span = self.now().saturating_sub(started);
        self.measured.fetches.add(span);
        Ok(())
    }
}

/// An update of one ref.
#[must_use]
pub fn update(name: &str, expected: Option<Oid>, new: Option<Oid>) -> RefUpdate {
    RefUpdate { name: name.to_owned(), expected, new }
}

/// What an outcome says in words.
#[must_use]
pub fn words(outcome: &PushOutcome) -> &str {
    match outcome {
        PushOutcome::Accepted => "accepted",
        PushOutcome::Refused(why) | PushOutcome::Unknown(why) => why,
    }
}

/// A failure of the remote, from the words of a push that was not answered.
#[must_use]
pub fn unanswered(why: &str) -> Trouble {
    let kind = passing(why).unwrap_or(RemoteFailure::Other);
    Trouble::Remote(RemoteError { kind, message: why.to_owned() })
}

fn trouble(error: RemoteError) -> Trouble {
    if asks_for_less(&error.message) { Trouble::Throttled(error.message) } else { Trouble::Remote(error) }
}

fn asks_for_less(text: &str) -> bool {
    let lower = text.to_lowercase();
    SLOWER.iter().any(|word| lower.contains(word))
}

fn paced(outcomes: &[PushOutcome]) -> Result<(), Trouble> {
    let asks = outcomes.iter().map(words).find(|text| asks_for_less(text));
    asks.map_or(Ok(()), |text| Err(Trouble::Throttled(text.to_owned())))
}
