//! Compare-and-swap without a rival: every push that expects something else than what is there must leave the
//! ref alone and must not be called accepted.

use orch::world::{Oid, PushOutcome};

use super::Side;
use super::field::{Run, Trouble, update, words};
use super::report::Check;

const NAME: &str = "stale expectations";

/// What a push expects, what it wants, and how that is called.
type Attempt = (&'static str, Option<Oid>, Option<Oid>);

/// Tries each wrong expectation once.
pub(super) fn step(run: &mut Run<'_>) -> Result<Vec<Check>, Trouble> {
    let name = run.fresh("stale");
    let (here, other) = (run.commit(run.a())?, run.commit(run.b())?);
    let made = run.push(run.a(), update(&name, None, Some(here)))?;
    if run.read(run.a(), &name)? != Some(here) {
        let told = format!("a ref that was pushed ({}) is not there", words(&made));
        return Ok(vec![Check::broken(NAME, told)]);
    }
    let there: [Attempt; 3] = [
        ("creation of a ref that exists", None, Some(other)),
        ("a swap from another value", Some(other), Some(other)),
        ("deletion with another value", Some(other), None),
    ];
    for attempt in there {
        if let Some(wrong) = refuses(run, run.b(), &name, attempt, Some(here))? {
            return Ok(vec![wrong]);
        }
    }
    let absent = run.fresh("absent");
    for attempt in [
        ("a swap of a ref that is gone", Some(other), Some(other)),
        ("deletion of nothing", Some(other), None),
    ] {
        if let Some(wrong) = refuses(run, run.b(), &absent, attempt, None)? {
            return Ok(vec![wrong]);
        }
    }
    let mut checks = vec![Check::held(NAME, "five wrong expectations, five refusals, nothing moved")];
    checks.push(identical(run)?);
    Ok(checks)
}

/// The verdict if a push that must change nothing was accepted or changed something.
fn refuses(
    run: &mut Run<'_>,
    side: Side<'_>,
    name: &str,
    (what, expected, new): Attempt,
    before: Option<Oid>,
) -> Result<Option<Check>, Trouble> {
    let outcome = run.push(side, update(name, expected, new))?;
    let moved = run.read(side, name)? != before;
    let told = match (outcome == PushOutcome::Accepted, moved) {
        (false, false) => return Ok(None),
        (true, true) => format!("{what} was accepted, and the ref moved"),
        (true, false) => format!("{what} was called accepted, although nothing moved"),
        (false, true) => format!("{what} was refused, but the ref moved all the same"),
    };
    Ok(Some(Check::broken(NAME, told)))
}

/// Both machines push the very same commit, one after the other: the second must not believe that it won.
fn identical(run: &mut Run<'_>) -> Result<Check, Trouble> {
    const NAME: &str = "the same commit by two";
    let name = run.fresh("same");
    let content = name.clone().into_bytes();
    let (one, two) = (run.commit_of(run.a(), &content)?, run.commit_of(run.b(), &content)?);
    let first = run.push(run.a(), update(&name, None, Some(one)))?;
    let second = run.push(run.b(), update(&name, None, Some(two)))?;
    Ok(match (first, second) {
        (_, PushOutcome::Accepted) => Check::broken(NAME, "both were told that they had created the ref"),
        (PushOutcome::Accepted, _) => Check::held(NAME, "only the first is told that it created the ref"),
        (first, _) => {
            Check::limited(NAME, format!("nobody was told that it created the ref: {}", words(&first)), "")
        }
    })
}
