//! Several refs in one push, all or none.

use orch::world::{Oid, PushOutcome};

use super::field::{Run, Trouble, update, words};
use super::report::Check;

const NAME: &str = "atomic pushes";
const ADVICE: &str = "claims do not need it; delivering work together with its lease (`orch deliver`) will";

/// One that must fail as a whole, one that must succeed as a whole, and races for two refs.
pub(super) fn step(run: &mut Run<'_>) -> Result<Vec<Check>, Trouble> {
    Ok(vec![atomic(run)?])
}

fn atomic(run: &mut Run<'_>) -> Result<Check, Trouble> {
    let (good, stale) = (run.fresh("atomic"), run.fresh("atomic"));
    let (here, new) = (run.commit(run.a())?, run.commit(run.a())?);
    run.push(run.a(), update(&stale, None, Some(here)))?;
    // The other machine does not know what is there.
    let other = run.commit(run.b())?;
    let outcomes =
        run.push_atomic(run.b(), &[update(&good, None, Some(other)), update(&stale, Some(other), None)])?;
    let now = (run.read(run.b(), &good)?, run.read(run.b(), &stale)?);
    if now != (None, Some(here)) || outcomes.contains(&PushOutcome::Accepted) {
        return Ok(
            Check::broken(NAME, "one of two refs moved although the other one had to fail").advise(ADVICE)
        );
    }
    let outcomes =
        run.push_atomic(run.a(), &[update(&good, None, Some(new)), update(&stale, Some(here), Some(new))])?;
    let now = (run.read(run.a(), &good)?, run.read(run.a(), &stale)?);
    match now {
        (Some(a), Some(b)) if a == new && b == new => {}
        (None, Some(b)) if b == here => {
            let why = outcomes.first().map_or("no answer", words);
            return Ok(Check::limited(NAME, format!("not possible: {why}"), ADVICE));
        }
        _ => return Ok(Check::broken(NAME, "one of two refs moved, the other one did not").advise(ADVICE)),
    }
    races(run, &[good, stale], new)
}

/// Both machines want both refs, named in opposite orders.
fn races(run: &mut Run<'_>, names: &[String; 2], mut before: Oid) -> Result<Check, Trouble> {
    let mut rounds = 0;
    while run.more(rounds, run.plan.rounds.div_ceil(2), 2) {
        rounds += 1;
        let (one, two) = (run.commit(run.a())?, run.commit(run.b())?);
        let mine = [0, 1].map(|at: usize| update(&names[at], Some(before), Some(one)));
        let theirs = [1, 0].map(|at: usize| update(&names[at], Some(before), Some(two)));
        let outcomes = run.race(&mine, &theirs, true)?;
        let now = (run.read(run.a(), &names[0])?, run.read(run.a(), &names[1])?);
        let won = |outcomes: &[PushOutcome]| outcomes.iter().all(|outcome| *outcome == PushOutcome::Accepted);
        if now.0 != now.1 {
            return Ok(Check::broken(NAME, "two machines at once: each got one of two refs").advise(ADVICE));
        }
        if won(&outcomes[0]) && won(&outcomes[1]) {
            return Ok(
                Check::broken(NAME, "two machines at once were both told that they won").advise(ADVICE)
            );
        }
        before = now.0.unwrap_or(before);
    }
    Ok(Check::held(NAME, format!("all or none, also in {rounds} races for two refs")))
}
