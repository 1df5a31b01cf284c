//! The files that say how tasks are run: a worker that cannot read them claims nothing, and says so only where
//! it runs.

use crate::protocol::value::Value;
use crate::usecase::queue::Queue;
use crate::usecase::run;

use super::{Check, Patient, Visit};

pub(super) fn check(patient: &dyn Patient, q: &Queue, visit: &mut Visit) {
    let hint = "mend the file in an editor; workers run nothing until then";
    let policy = Check::list("policy", "the policy can be read", policy(patient, q));
    visit.add(policy.hint_if_wrong(hint));
    visit.add(match run::agent_types(q) {
        Ok(types) => Check::fine("agents", format!("agents.yaml has {} agent types", types.len())),
        Err(error) => Check::wrong("agents", error.message).hint(hint),
    });
}

/// What is wrong with the shared policy and with this machine's own.
fn policy(patient: &dyn Patient, q: &Queue) -> Vec<String> {
    let files = match run::policies(q) {
        Ok(files) => files,
        Err(error) => return vec![error.message],
    };
    let wrong = |(name, tree): (String, Option<Value>)| {
        patient.policy_problem(&name, &tree?).map(|problem| format!("{name}: {problem}"))
    };
    files.into_iter().filter_map(wrong).collect()
}
