//! What `add` and `edit` say about the work of a task before a worker meets it. Only the worker decides: it may
//! have another workspace, and a policy of its own that is tighter.

use std::path::Path;

use super::context::Context;
use super::policy_files;
use crate::policy::{Policy, Request, check};
use crate::protocol::id::TaskId;
use crate::protocol::task::{ExecStep, Run, Task};
use crate::usecase::error::Result;
use crate::usecase::queue::Queue;
use crate::usecase::run;
use crate::world::paths::RealPaths;

/// Warns of an agent type that `agents.yaml` does not have: no worker takes such a task, and nothing else
/// would say why it waits.
#[must_use]
pub fn agent(queue: &Queue, task: &Task) -> Option<String> {
    let Some(Run::Agent(name)) = &task.def().run else { return None };
    let types = run::agent_types(queue).ok()?;
    (!types.contains_key(name)).then(|| {
        format!(
            "{}: agents.yaml has no agent type `{name}`; no worker takes the task until it does",
            task.id()
        )
    })
}

/// Warns of commands that the policy, as it is here and now, would refuse.
///
/// # Errors
/// Not found where no queue is.
pub fn commands(context: &mut Context, task: &Task) -> Result<()> {
    let Some(Run::Exec(steps)) = &task.def().run else { return Ok(()) };
    let state = context.state()?;
    let workspace = state.parent().unwrap_or(&state);
    match policy_files::load(context.disk(), &state) {
        Ok(policy) => {
            for step in steps {
                if let Some(warning) = refused(&policy, task.id(), step, workspace, &state) {
                    context.warn(warning);
                }
            }
        }
        Err(error) => context.warn(error.message),
    }
    Ok(())
}

fn refused(policy: &Policy, id: &TaskId, step: &ExecStep, workspace: &Path, state: &Path) -> Option<String> {
    let env: Vec<_> = step.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let cwd = workspace.join(step.cwd.as_deref().unwrap_or("."));
    let request = Request { argv: &step.argv, env: &env, cwd: &cwd, workspace, state: Some(state) };
    let verdict = check(policy, &RealPaths::from_env(), &request).unattended();
    (!verdict.allowed()).then(|| format!("{id}: the policy would refuse to run this: {}", verdict.message()))
}
