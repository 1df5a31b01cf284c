//! Where the remote lets refs be made, seen, replaced by unrelated ones, and deleted: `refs/orch/…`, or
//! `refs/heads/…` only, or nowhere.

use orch::world::PushOutcome;

use super::field::{Run, Trouble, unanswered, update, words};
use super::report::Check;

const NAME: &str = "refs";

/// Chooses the prefix for everything that follows.
pub(super) fn step(run: &mut Run<'_>) -> Result<Vec<Check>, Trouble> {
    // Whether it can be asked at all, before anything is written.
    run.list(run.a(), &run.scratch.custom())?;
    let Err(custom) = allowed(run, run.scratch.custom())? else {
        return Ok(vec![Check::held(NAME, "refs below refs/orch/ can be made, seen, replaced and deleted")]);
    };
    let Err(branch) = allowed(run, run.scratch.branches())? else {
        let told =
            format!("refs below refs/orch/ {custom}; branches can be made, seen, replaced and deleted");
        return Ok(vec![Check::limited(NAME, told, "set `sync: {lease_refs: branches}` in orch.yaml")]);
    };
    let told = format!("refs below refs/orch/ {custom}; and branches below refs/heads/orch-probe/ {branch}");
    let advice = "allow this account to push to, force-push to and delete refs/orch/*, or refs/heads/orch-* at the \
                  least (a ruleset may need a bypass); or use a repository of its own for the queue";
    Ok(vec![Check::broken(NAME, told).advise(advice)])
}

/// Tries one prefix; the inner error is what is not allowed there.
fn allowed(run: &mut Run<'_>, prefix: String) -> Result<Result<(), String>, Trouble> {
    run.prefix = prefix;
    let name = run.fresh("place");
    let (one, two) = (run.commit(run.a())?, run.commit(run.a())?);
    for (verb, seen, old, new) in [
        ("be made", "made but not be seen", None, Some(one)),
        // Neither is an ancestor of the other: heartbeats replace the tip of a lease ref.
        ("be replaced (forced)", "replaced but still show the old value", Some(one), Some(two)),
        ("be deleted", "deleted but are still there", Some(two), None),
    ] {
        let outcome = run.push(run.a(), update(&name, old, new))?;
        let now = run.read(run.a(), &name)?;
        match outcome {
            PushOutcome::Refused(why) => return Ok(Err(format!("cannot {verb} ({why})"))),
            // The answer was lost and it had arrived: as good as accepted.
            PushOutcome::Unknown(why) if now != new => return Err(unanswered(&why)),
            _ if now != new => return Ok(Err(format!("can be {seen}"))),
            PushOutcome::Accepted | PushOutcome::Unknown(_) => {}
        }
    }
    let outcome = run.push(run.a(), update(&name, None, Some(one)))?;
    let again = run.read(run.a(), &name)? == Some(one);
    Ok(if again { Ok(()) } else { Err(format!("cannot be made again after deletion ({})", words(&outcome))) })
}
