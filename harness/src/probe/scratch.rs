//! The refs of one trial: all of them lie below two prefixes that carry a random name, so that everything below
//! them may be removed, and nothing else ever is.

use std::time::Duration;

use orch::world::{Oid, PushOutcome, Random, RefUpdate};

use super::Field;

/// How often the removal is tried, and how long the pauses between are. A push that was cut off may still arrive.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(400);

/// Digits of a run's name.
const DIGITS: usize = 12;

/// The place of one trial on the remote.
#[derive(Debug, Clone)]
pub struct Scratch {
    run: String,
}

/// What cleaning left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// Refs that are still there.
    pub refs: Vec<String>,
    /// Why they could not be removed, or why nobody can tell whether any are left.
    pub why: Option<String>,
}

impl Scratch {
    /// A place that nobody else has.
    #[must_use]
    pub fn new(random: &dyn Random) -> Self {
        let mut dice = [0u8; DIGITS / 2];
        random.fill(&mut dice);
        Scratch { run: dice.iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    /// The place of an earlier run, to clean up after it; `None` for what no run is called.
    #[must_use]
    pub fn of_run(name: &str) -> Option<Self> {
        let fine =
            name.len() == DIGITS && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        fine.then(|| Scratch { run: name.to_owned() })
    }

    /// Name of the run.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The prefix below `refs/orch/`, where orch wants its leases.
    #[must_use]
    pub fn custom(&self) -> String {
        format!("refs/orch/probe/{}/", self.run)
    }

    /// The prefix below `refs/heads/`, for remotes that take branches only.
    #[must_use]
    pub fn branches(&self) -> String {
        format!("refs/heads/orch-probe/{}/", self.run)
    }

    /// Removes every ref of the run, each only as long as it is what was listed, and looks again.
    #[must_use]
    pub fn clean(&self, field: &Field<'_>, limit: Duration) -> Left {
        let (custom, branches) = (self.custom(), self.branches());
        let list = || field.a.remote.refs(&[&custom, &branches], limit).map_err(|error| error.to_string());
        let mut left = Left::default();
        for attempt in 0..TRIES {
            let refs = match list() {
                Ok(refs) => refs,
                Err(why) => {
                    left.why = Some(why);
                    field.clock.sleep(PAUSE);
                    continue;
                }
            };
            left.refs = refs.iter().map(|(name, _)| name.clone()).collect();
            if refs.is_empty() {
                // A push that was cut off may still be on its way: only a second look at nothing counts.
                left.why = None;
                if attempt > 0 {
                    return left;
                }
                field.clock.sleep(PAUSE);
                continue;
            }
            left.why = remove(field, &refs, limit);
            if left.why.is_some() {
                // Longer each time: a remote that asked for a slower pace is to get it.
                field.clock.sleep(PAUSE * (1 << attempt));
            }
        }
        match list() {
            Ok(refs) => left.refs = refs.into_iter().map(|(name, _)| name).collect(),
            Err(why) => left.why = Some(why),
        }
        if left.refs.is_empty() && left.why.is_none() { Left::default() } else { left }
    }
}

/// The command that removes later what a run had to leave. A remote that is told without its password has to be
/// completed by whoever runs it.
#[must_use]
pub fn clean_command(remote: &str, run: &str) -> String {
    format!("orch-harness probe --remote {} --clean {run}", crate::cli::quoted(remote))
}

/// One push that deletes; says why the first ref that stayed did so.
fn remove(field: &Field<'_>, refs: &[(String, Oid)], limit: Duration) -> Option<String> {
    let updates: Vec<RefUpdate> = refs
        .iter()
        .map(|(name, oid)| RefUpdate { name: name.clone(), expected: Some(*oid), new: None })
        .collect();
    field.a.remote.push(&updates, limit).into_iter().find_map(|outcome| match outcome {
        PushOutcome::Accepted => None,
        PushOutcome::Refused(why) | PushOutcome::Unknown(why) => Some(why),
    })
}
