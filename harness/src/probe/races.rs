//! Compare-and-swap with a rival: two machines push different commits at the same moment, each expecting what
//! is there. However often: exactly one wins, and the ref is what the winner pushed.

use orch::world::{Oid, PushOutcome};

use super::field::{Run, Trouble, update};
use super::report::Check;

/// Fewer rounds say nothing.
pub(super) const LEAST: u32 = 3;

/// What the rounds of one kind gave.
#[derive(Default)]
struct Tally {
    rounds: u32,
    /// Nobody was told that it won, and the ref did not move.
    nobody: u32,
    /// The winner's answer was lost; reading told.
    lost: u32,
    /// The loser had sent its push before it could see the winner's: the remote itself decided.
    close: u32,
}

/// Races for a ref that does not exist, then from one value to the next.
pub(super) fn step(run: &mut Run<'_>) -> Result<Vec<Check>, Trouble> {
    let mut checks = Vec::new();
    for (name, swap) in [("race to create", false), ("race to swap", true)] {
        let mut tally = Tally::default();
        let mut at = (run.fresh("race"), None);
        if swap {
            let first = run.commit(run.a())?;
            run.push(run.a(), update(&at.0, None, Some(first)))?;
            at.1 = run.read(run.a(), &at.0)?;
        }
        let mut wrong = None;
        while wrong.is_none() && run.more(tally.rounds, run.plan.rounds, LEAST) {
            let now = round(run, &at.0, at.1, &mut tally)?;
            match now {
                Ok(now) if swap => at.1 = now,
                Ok(_) => at.0 = run.fresh("race"),
                Err(told) => wrong = Some(told),
            }
        }
        checks.push(match wrong {
            Some(told) => Check::broken(name, format!("round {}: {told}", tally.rounds)),
            None => tally.check(name),
        });
    }
    Ok(checks)
}

/// One race; the value after it, or what must not be.
fn round(
    run: &mut Run<'_>,
    name: &str,
    before: Option<Oid>,
    tally: &mut Tally,
) -> Result<Result<Option<Oid>, String>, Trouble> {
    let (one, two) = (run.commit(run.a())?, run.commit(run.b())?);
    let [first, second] =
        run.race(&[update(name, before, Some(one))], &[update(name, before, Some(two))], false)?;
    let now = run.read(run.a(), name)?;
    tally.rounds += 1;
    let outcomes = [(one, first), (two, second)].map(|(oid, outcomes)| (oid, outcomes.into_iter().next()));
    let winners: Vec<Oid> = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == Some(PushOutcome::Accepted))
        .map(|(oid, _)| *oid)
        .collect();
    tally.close += u32::from(outcomes.iter().any(|(_, outcome)| {
        matches!(outcome, Some(PushOutcome::Refused(why)) if why.starts_with("[remote rejected]"))
    }));
    let refused_but_there = outcomes
        .iter()
        .any(|(oid, outcome)| matches!(outcome, Some(PushOutcome::Refused(_))) && now == Some(*oid));
    Ok(match winners.as_slice() {
        _ if refused_but_there => Err("one was refused, and yet the ref is what it pushed".to_owned()),
        [winner] if now == Some(*winner) => Ok(now),
        [_] => Err("one was told that it won, and the ref is something else".to_owned()),
        [] if now == before => {
            tally.nobody += 1;
            Ok(now)
        }
        [] if now == Some(one) || now == Some(two) => {
            tally.lost += 1;
            Ok(now)
        }
        [] => Err("the ref is what nobody pushed".to_owned()),
        _ => Err("both were told that they won".to_owned()),
    })
}

impl Tally {
    fn check(&self, name: &'static str) -> Check {
        let Tally { rounds, nobody, lost, close } = self;
        if *rounds < LEAST {
            return Check::untried(name, &format!("only {rounds} rounds, {LEAST} are needed"));
        }
        let mut told =
            format!("{rounds} races of two, one winner each; {close} decided by the remote itself");
        if *lost > 0 {
            told = format!("{told}; {lost} answers were lost, reading told who had won");
        }
        if *nobody == 0 {
            return Check::held(name, told);
        }
        let won = rounds - nobody;
        let told = format!("{rounds} races of two: one winner in {won}, none in {nobody}, never two");
        let advice = "safe, but claims under contention take another try";
        if won == 0 { Check::broken(name, told) } else { Check::limited(name, told, advice) }
    }
}
