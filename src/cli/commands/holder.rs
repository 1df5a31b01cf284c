//! What all acts of a holder share: the task, and the epoch on which the act is based.

use clap::Args;

use crate::cli::values;
use crate::protocol::id::TaskId;
use crate::usecase::error::{Error, Kind, Result};
use crate::world::env;

/// The task, and the claim of it.
#[derive(Args, Debug, Clone)]
pub struct HolderArgs {
    /// The task [default: $ORCH_TASK, which a worker sets]
    #[arg(value_name = "ID", value_parser = values::id)]
    pub(super) id: Option<TaskId>,

    /// Epoch of the claim that acts [default: $ORCH_EPOCH if the task is $ORCH_TASK, else that of this session]
    #[arg(long, value_name = "N")]
    pub(super) epoch: Option<u64>,
}

impl HolderArgs {
    /// Task and epoch, from the arguments or from what a worker told its child.
    ///
    /// # Errors
    /// Without a task; when what the environment says is no task id or no number.
    pub fn resolve(&self) -> Result<(TaskId, Option<u64>)> {
        resolve(
            self.id.clone(),
            self.epoch,
            env::var("ORCH_TASK").as_deref(),
            env::var("ORCH_EPOCH").as_deref(),
        )
    }
}

fn resolve(
    id: Option<TaskId>,
    epoch: Option<u64>,
    env_task: Option<&str>,
    env_epoch: Option<&str>,
) -> Result<(TaskId, Option<u64>)> {
    let told = env_task.map(|text| values::id(text).map_err(|why| wrong(&format!("ORCH_TASK: {why}"))));
    let Some(id) = id.map_or_else(|| told.clone().transpose(), |id| Ok(Some(id)))? else {
        return Err(wrong("the task is missing").hint("name it: `orch list` shows the ids"));
    };
    let is_told = matches!(&told, Some(Ok(told)) if told.folded() == id.folded());
    let epoch = match (epoch, env_epoch) {
        (None, Some(text)) if is_told => Some(text.parse().map_err(|_| wrong("ORCH_EPOCH is no number"))?),
        (epoch, _) => epoch,
    };
    Ok((id, epoch))
}

fn wrong(message: &str) -> Error {
    Error::new(Kind::Usage, "usage", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Option<TaskId> {
        Some(TaskId::parse(text).unwrap())
    }

    #[test]
    fn the_epoch_of_the_environment_belongs_to_its_task_only() {
        let of =
            |id, epoch| resolve(id, epoch, Some("A-1"), Some("3")).map(|(id, epoch)| (id.to_string(), epoch));
        assert_eq!(of(None, None), Ok(("A-1".into(), Some(3))));
        assert_eq!(of(id("A-1"), None), Ok(("A-1".into(), Some(3))));
        assert_eq!(of(id("A-1"), Some(2)), Ok(("A-1".into(), Some(2))));
        assert_eq!(of(id("B-2"), None), Ok(("B-2".into(), None)));
    }

    #[test]
    fn a_missing_task_is_a_usage_error() {
        assert_eq!(resolve(None, None, None, None).map_err(|error| error.kind), Err(Kind::Usage));
        assert_eq!(resolve(None, None, Some("../x"), None).map_err(|error| error.kind), Err(Kind::Usage));
        assert!(resolve(id("A-1"), None, Some("../x"), Some("nonsense")).is_ok());
    }
}
