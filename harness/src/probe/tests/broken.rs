//! Remotes that break a promise: a real one behind a wrapper that lies. Each must be called unfit, by the
//! question that is about that promise.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use orch::sync::git::GitObjects;
use orch::world::git_command::Git;
use orch::world::remote::GitRemote;
use orch::world::{Oid, PushOutcome, RefUpdate, RemoteError, Wanted};

use super::*;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// Nothing: the wrapper itself does no harm.
    None,
    /// Whatever is expected, the ref moves.
    NoCompare,
    /// The expected value is looked at before, not while the ref moves.
    LooksFirst,
    /// The second push of one and the same commit is called accepted.
    UpToDateIsAccepted,
    /// Listings are those of a moment ago.
    Lags,
    /// Says no and does it.
    RefusesAndMoves,
    /// Says yes and does nothing, from the fifth push on.
    AcceptsAndForgets,
    /// Atomic pushes are ordinary ones.
    Piecemeal,
    /// Atomic pushes are refused.
    NoAtomic,
    /// Asks for a slower pace after some pushes.
    Throttles(u32),
    /// A push that was cut off blocks its ref for ever.
    StaysLocked,
}

struct Liar {
    inner: GitRemote,
    lie: Lie,
    pushes: AtomicU32,
    /// What a listing shows, for the one that lags.
    seen: Mutex<Vec<(String, Oid)>>,
    locked: Mutex<Option<String>>,
}

impl Liar {
    fn now(&self, name: &str, limit: Duration) -> Option<Oid> {
        let found = self.inner.refs(&[name], limit).ok()?;
        found.into_iter().find(|(found, _)| found == name).map(|(_, oid)| oid)
    }

    /// Moves the ref whatever it is, and says that all is well; a push that is to be cut off comes through, too.
    fn force(&self, update: &RefUpdate) -> PushOutcome {
        let limit = SMALL.limit;
        for _ in 0..20 {
            let expected = self.now(&update.name, limit);
            if expected == update.new {
                break;
            }
            let update = RefUpdate { expected, ..update.clone() };
            if self.inner.push(&[update], limit).first() == Some(&PushOutcome::Accepted) {
                break;
            }
        }
        PushOutcome::Accepted
    }

    fn one(&self, update: &RefUpdate, limit: Duration) -> PushOutcome {
        let count = self.pushes.fetch_add(1, Ordering::SeqCst) + 1;
        let honest = || self.inner.push(std::slice::from_ref(update), limit).remove(0);
        match self.lie {
            Lie::NoCompare => self.force(update),
            Lie::LooksFirst if self.now(&update.name, limit) == update.expected => self.force(update),
            Lie::UpToDateIsAccepted
                if self.now(&update.name, limit) == update.new && update.expected.is_none() =>
            {
                PushOutcome::Accepted
            }
            Lie::RefusesAndMoves => match honest() {
                PushOutcome::Accepted if count.is_multiple_of(4) => PushOutcome::Refused("no".to_owned()),
                other => other,
            },
            Lie::AcceptsAndForgets if count > 5 => PushOutcome::Accepted,
            Lie::Throttles(most) if count > most => {
                PushOutcome::Unknown("The requested URL returned error: 429".to_owned())
            }
            Lie::StaysLocked => {
                let mut locked = self.locked.lock().unwrap();
                if locked.as_ref() == Some(&update.name) && update.new.is_some() {
                    return PushOutcome::Refused("[remote rejected] (cannot lock ref)".to_owned());
                }
                let outcome = honest();
                if matches!(outcome, PushOutcome::Unknown(_)) {
                    *locked = Some(update.name.clone());
                }
                outcome
            }
            _ => honest(),
        }
    }
}

impl Remote for Liar {
    fn url(&self) -> String {
        self.inner.url()
    }

    fn refs(&self, prefixes: &[&str], limit: Duration) -> Result<Vec<(String, Oid)>, RemoteError> {
        let now = self.inner.refs(prefixes, limit)?;
        if self.lie != Lie::Lags {
            return Ok(now);
        }
        Ok(std::mem::replace(&mut *self.seen.lock().unwrap(), now))
    }

    fn fetch(&self, wanted: &[Wanted], limit: Duration) -> Result<(), RemoteError> {
        self.inner.fetch(wanted, limit)
    }

    fn push(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        updates.iter().map(|update| self.one(update, limit)).collect()
    }

    fn push_atomic(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        match self.lie {
            Lie::Piecemeal => self.inner.push(updates, limit),
            Lie::NoAtomic => {
                vec![PushOutcome::Refused("does not support --atomic push".to_owned()); updates.len()]
            }
            _ => self.inner.push_atomic(updates, limit),
        }
    }
}

fn liar((inner, objects): (GitRemote, GitObjects), lie: Lie) -> (Liar, GitObjects) {
    let liar = Liar {
        inner,
        lie,
        pushes: AtomicU32::new(0),
        seen: Mutex::new(Vec::new()),
        locked: Mutex::new(None),
    };
    (liar, objects)
}

fn try_liar(hub: &Hub, lie: Lie) -> Report {
    let (a, b) = (hub.machine("a", &Git::default()), hub.machine("b", &Git::default()));
    let (a, b) = (liar(a, lie), liar(b, lie));
    // Both stand for one remote: what one has locked is locked for the other.
    let other: &(dyn Remote + Sync) = if lie == Lie::StaysLocked { &a.0 } else { &b.0 };
    try_with(Side { remote: &a.0, objects: &a.1 }, Side { remote: other, objects: &b.1 }, &|| false)
}

#[test]
fn a_remote_that_breaks_a_promise_is_not_fit() {
    for (lie, questions) in [
        (Lie::NoCompare, &["stale expectations"][..]),
        (Lie::LooksFirst, &["race to create", "race to swap"]),
        (Lie::UpToDateIsAccepted, &["the same commit by two"]),
        (Lie::Lags, &["refs", "read after write"]),
        (Lie::RefusesAndMoves, &["refs", "race to create", "race to swap", "lost answers"]),
        (Lie::AcceptsAndForgets, &["stale expectations", "the same commit by two", "race to create"]),
        (Lie::Piecemeal, &["atomic pushes"]),
    ] {
        let hub = Hub::new(Way::Path);
        let report = try_liar(&hub, lie);
        assert_eq!(report.verdict, Verdict::Unfit, "{lie:?}: {}", report.text());
        let broken: Vec<&str> = report
            .checks
            .iter()
            .filter(|check| check.held == Held::Broken)
            .map(|check| check.name.as_str())
            .collect();
        assert!(broken.iter().any(|name| questions.contains(name)), "{lie:?}: {}", report.text());
        assert!(report.settings.is_empty(), "{lie:?}: nothing to set makes it fit");
    }
}

/// The pair of the test above: the wrapper itself is not what is found.
#[test]
fn a_wrapper_that_does_not_lie_is_fit() {
    let hub = Hub::new(Way::Path);
    let report = try_liar(&hub, Lie::None);
    assert_eq!(report.verdict.exit_code(), 0, "{}", report.text());
}

#[test]
fn without_atomic_pushes_it_is_fit_with_limits() {
    let hub = Hub::new(Way::Path);
    let report = try_liar(&hub, Lie::NoAtomic);
    assert_eq!((report.verdict, held(&report, "atomic pushes")), (Verdict::Limits, Held::Limited));
    assert!(report.sentence.contains("does not support --atomic push"), "{}", report.sentence);
}

#[test]
fn a_ref_that_stays_locked_after_a_push_was_cut_off_is_not_fit() {
    let hub = Hub::new(Way::Path);
    let report = try_liar(&hub, Lie::StaysLocked);
    // On a loaded computer no push may have been cut off; then it is not claimed to be fit without limits.
    let found = held(&report, "lost answers");
    assert!(found == Held::Broken || found == Held::Untried, "{}", report.text());
    assert_ne!(report.verdict, Verdict::Fit);
}

/// Asked for a slower pace, the trial stops at once, whatever it knows by then, and cleans up.
#[test]
fn a_remote_that_asks_for_a_slower_pace_is_left_alone() {
    for (most, verdict) in [(2, Verdict::Unknown), (9, Verdict::Unknown), (25, Verdict::Limits)] {
        let hub = Hub::new(Way::Path);
        let report = try_liar(&hub, Lie::Throttles(most));
        assert_eq!(report.verdict, verdict, "{}", report.text());
        assert!(report.sentence.contains("asks for a slower pace"), "{}", report.sentence);
        assert!(report.next.as_ref().is_some_and(|next| next.contains("wait some minutes")));
    }
}

/// Its pushes end in the middle: what is known is said, and what was made is removed.
#[test]
fn a_row_that_is_throttled_gives_half_of_it_as_the_budget() {
    let hub = Hub::new(Way::Path);
    let (a, b) = (hub.machine("a", &Git::default()), hub.machine("b", &Git::default()));
    let throttle_at_the_row = Cell::new(false);
    let (a, b) = (liar(a, Lie::None), liar(b, Lie::None));
    let row = RowThrottle { inner: &a.0, armed: Mutex::new(None) };
    let field = Field {
        a: Side { remote: &row, objects: &a.1 },
        b: Side { remote: &b.0, objects: &b.1 },
        clock: &RealClock,
        random: &RealRandom,
        stopped: &|| false,
        told: &|_, _, what| {
            if what == "pushes in a row" {
                throttle_at_the_row.set(true);
                *row.armed.lock().unwrap() = Some(9);
            } else {
                *row.armed.lock().unwrap() = None;
            }
        },
    };
    let report = probe(&field, &SMALL, &Scratch::new(&RealRandom));
    assert!(throttle_at_the_row.get());
    assert_eq!((report.verdict, report.pushes_per_minute), (Verdict::Limits, Some(9)), "{}", report.text());
    let budget = report.settings.iter().find(|setting| setting.key == "sync.push_budget").unwrap();
    assert_eq!(budget.value, "4/min");
    assert_eq!(hub.refs(), Vec::<String>::new());
}

/// Throttles after a number of pushes, once it is armed.
struct RowThrottle<'a> {
    inner: &'a Liar,
    armed: Mutex<Option<u32>>,
}

impl Remote for RowThrottle<'_> {
    fn url(&self) -> String {
        self.inner.url()
    }
    fn refs(&self, prefixes: &[&str], limit: Duration) -> Result<Vec<(String, Oid)>, RemoteError> {
        self.inner.refs(prefixes, limit)
    }
    fn fetch(&self, wanted: &[Wanted], limit: Duration) -> Result<(), RemoteError> {
        self.inner.fetch(wanted, limit)
    }
    fn push(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        let mut armed = self.armed.lock().unwrap();
        match &mut *armed {
            Some(0) => vec![PushOutcome::Refused("rate limit exceeded".to_owned()); updates.len()],
            left => {
                *left = left.map(|count| count - 1);
                drop(armed);
                self.inner.push(updates, limit)
            }
        }
    }
    fn push_atomic(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        self.inner.push_atomic(updates, limit)
    }
}
