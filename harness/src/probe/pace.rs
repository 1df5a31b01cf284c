//! How long things take, whether a listing shows what was just pushed, and how many pushes in a row are borne.

use std::time::Duration;

use orch::world::{PushOutcome, RefUpdate};

use super::field::{Run, Trouble, unanswered, update, words};
use super::report::Check;

/// Pushes in a row, at most.
const ROW: u32 = 20;
/// A row takes at most this long.
const ROW_TIME: Duration = Duration::from_secs(30);
/// Fewer say nothing about the pace.
const ROW_LEAST: u32 = 5;
/// How long a listing that lags is watched.
const LAG: Duration = Duration::from_secs(10);
const LAG_STEP: Duration = Duration::from_millis(100);

/// Claims as orch makes them: create a ref, then read. The other machine must see it at once.
pub(super) fn claims(run: &mut Run<'_>) -> Result<Vec<Check>, Trouble> {
    const NAME: &str = "read after write";
    let mut done = 0;
    while run.more(done, run.plan.rounds, 3) {
        done += 1;
        let name = run.fresh("claim");
        let new = run.commit(run.a())?;
        let started = run.now();
        let outcome = run.push(run.a(), update(&name, None, Some(new)))?;
        let mine = run.read(run.a(), &name)?;
        let took = run.now().saturating_sub(started);
        if let PushOutcome::Unknown(why) = &outcome
            && mine.is_none()
        {
            return Err(unanswered(why));
        }
        if outcome == PushOutcome::Accepted {
            run.measured.claims.add(took);
        }
        let theirs = run.read(run.b(), &name)?;
        if mine != Some(new) || theirs != Some(new) {
            return Ok(vec![lag(run, &name, new, &outcome)?]);
        }
        run.fetch(run.b(), &name, new)?;
    }
    Ok(vec![Check::held(NAME, format!("{done} pushes, each seen at once by both machines"))])
}

/// A push that a listing did not show: for how long.
fn lag(
    run: &mut Run<'_>,
    name: &str,
    new: orch::world::Oid,
    outcome: &PushOutcome,
) -> Result<Check, Trouble> {
    const NAME: &str = "read after write";
    let started = run.now();
    while run.read(run.b(), name)? != Some(new) {
        if run.now().saturating_sub(started) > LAG {
            let told =
                format!("a push ({}) was still not in the listing after {} s", words(outcome), LAG.as_secs());
            return Ok(Check::broken(NAME, told));
        }
        run.sleep(LAG_STEP);
    }
    let late = run.now().saturating_sub(started).as_millis();
    let advice = "use the primary, not a mirror or a cache, for reads as well";
    Ok(Check::broken(NAME, format!("a listing did not show a push that was accepted, for {late} ms"))
        .advise(advice))
}

/// Pushes one after another, until a small number, a short time, or the first answer that is not a yes.
pub(super) fn in_a_row(run: &mut Run<'_>) -> Result<Vec<Check>, Trouble> {
    const NAME: &str = "pushes in a row";
    let name = run.fresh("row");
    let mut before = None;
    let started = run.now();
    let (mut done, mut ended) = (0, None);
    while ended.is_none() && run.more(done, ROW, ROW_LEAST) && run.now().saturating_sub(started) < ROW_TIME {
        let new = run.commit(run.a())?;
        match run.push(run.a(), RefUpdate { name: name.clone(), expected: before, new: Some(new) }) {
            Ok(PushOutcome::Accepted) => (before, done) = (Some(new), done + 1),
            Ok(outcome) => ended = Some(words(&outcome).to_owned()),
            Err(Trouble::Throttled(why)) => ended = Some(why),
            Err(other) => return Err(other),
        }
    }
    let took = run.now().saturating_sub(started);
    run.measured.row = Some((done, took));
    run.measured.row_ended.clone_from(&ended);
    let pace = format!("{done} pushes in {:.1} s", took.as_secs_f64());
    Ok(vec![match ended {
        None => Check::held(NAME, format!("{pace}, none refused; more were not tried")),
        Some(why) => Check::limited(NAME, format!("{pace}, then: {why}"), "keep sync.push_budget below that"),
    }])
}
