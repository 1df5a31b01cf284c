//! Answers that get lost: a push is cut off after a part of the time that pushes take here (the process group of
//! git is killed). Whether it arrived must be told by reading, and the ref must go on working.

use std::time::Duration;

use orch::world::{Oid, PushOutcome};

use super::field::{Run, Trouble, update, words};
use super::report::Check;

const NAME: &str = "lost answers";

/// Pushes that are cut off.
const CUTS: u32 = 12;
/// When the first one is, as a part of the median; the next ones later or earlier, so that they come close to the
/// moment in which the ref has moved and the answer is on its way.
const FIRST: f64 = 0.9;
const LATER: f64 = 1.06;
const EARLIER: f64 = 0.93;
/// How long a push that was cut off may block the ref.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(250);

#[derive(Default)]
struct Tally {
    cut: u32,
    arrived: u32,
    late: u32,
    blocked: Duration,
}

/// Cuts pushes off and goes on from what is there.
pub(super) fn step(run: &mut Run<'_>) -> Result<Vec<Check>, Trouble> {
    let Some(median) = run.measured.pushes.quantile(0.5) else {
        return Ok(vec![Check::untried(NAME, "no push was accepted that could tell how long they take")]);
    };
    let name = run.fresh("lost");
    let first = run.commit(run.a())?;
    run.push(run.a(), update(&name, None, Some(first)))?;
    let mut before = run.read(run.a(), &name)?;
    let mut tally = Tally::default();
    let mut done = 0;
    let mut part = FIRST;
    while run.more(done, CUTS, 4) {
        let limit = median.mul_f64(part);
        let cut_before = tally.cut;
        done += 1;
        match one(run, &name, before, limit, &mut tally)? {
            Ok(now) => before = now,
            Err(told) => return Ok(vec![Check::broken(NAME, told)]),
        }
        part = (part * if tally.cut > cut_before { LATER } else { EARLIER }).clamp(0.2, 2.0);
    }
    Ok(vec![tally.check(done)])
}

/// One push that is cut off, and one after it that must work.
fn one(
    run: &mut Run<'_>,
    name: &str,
    before: Option<Oid>,
    limit: Duration,
    tally: &mut Tally,
) -> Result<Result<Option<Oid>, String>, Trouble> {
    let cut = run.commit(run.a())?;
    let outcome = run.push_within(run.a(), update(name, before, Some(cut)), limit)?;
    let mut now = run.read(run.b(), name)?;
    let told = match outcome {
        PushOutcome::Accepted if now != Some(cut) => Some("accepted, but the ref is something else"),
        PushOutcome::Refused(_) if now == Some(cut) => Some("refused, but the ref moved"),
        _ if now != before && now != Some(cut) => Some("the ref is what nobody pushed"),
        _ => None,
    };
    if let Some(told) = told {
        return Ok(Err(format!("a push that was cut off: {told}")));
    }
    if matches!(outcome, PushOutcome::Unknown(_)) {
        tally.cut += 1;
        tally.arrived += u32::from(now == Some(cut));
    }
    let next = run.commit(run.b())?;
    let started = run.now();
    loop {
        let outcome = run.push_within(run.b(), update(name, now, Some(next)), run.plan.limit)?;
        let seen = run.read(run.b(), name)?;
        if seen == Some(next) {
            tally.blocked = tally.blocked.max(run.now().saturating_sub(started));
            return Ok(Ok(seen));
        }
        if seen == Some(cut) && now != seen {
            // It was still on its way when the ref was read; the compare-and-swap noticed.
            tally.late += 1;
        } else if run.now().saturating_sub(started) > PATIENCE {
            // The rest is git's general advice.
            let why: Vec<&str> = words(&outcome).lines().take(2).collect();
            return Ok(Err(format!(
                "after a push was cut off, the ref takes no other one: {}",
                why.join(" ")
            )));
        } else {
            run.sleep(STEP);
        }
        now = seen;
    }
}

impl Tally {
    fn check(&self, done: u32) -> Check {
        let Tally { cut, arrived, late, blocked } = self;
        if *cut == 0 {
            return Check::untried(
                NAME,
                &format!("{done} pushes, and none could be cut off before its answer"),
            );
        }
        let mut told = match arrived {
            0 => format!(
                "{cut} of {done} pushes were cut off, all before they had an effect; the ref stayed usable"
            ),
            _ => format!(
                "{cut} of {done} pushes were cut off, {arrived} had arrived all the same: reading told which"
            ),
        };
        if *late > 0 {
            told = format!("{told}; {late} arrived after they were looked for, and were noticed");
        }
        if *blocked > Duration::from_secs(3) {
            let told = format!("{told}; the ref was blocked for {:.1} s", blocked.as_secs_f64());
            return Check::limited(NAME, told, "claims of that task fail meanwhile and are tried again");
        }
        Check::held(NAME, told)
    }
}
