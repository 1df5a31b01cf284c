//! The options that describe a task, shared by `add` and `edit`.

use clap::Args;

use super::values::{self, When};
use super::words;
use crate::protocol::id::TaskId;
use crate::protocol::op::Patch;
use crate::protocol::task::{ExecStep, OnNeedFailed, Priority, RetryPolicy, Review, Run};
use crate::protocol::time::Timestamp;

/// A task, or none. Clap reads a literal `Option<Option<…>>` as an option whose value may be left out, and
/// then looks for a value of the inner type, which the parser does not give.
type MaybeId = Option<TaskId>;

/// What a task is.
#[derive(Args, Debug, Clone, Default)]
pub struct DefinitionArgs {
    /// One line that says what is to be done
    #[arg(long, value_name = "TEXT", alias = "task")]
    pub title: Option<String>,

    /// Anything that whoever does it should know
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,

    /// P0 comes before P1, P1 before P2, P2 (the default) before P3
    #[arg(long, value_name = "P", value_parser = words::word::<Priority>(), ignore_case = true)]
    pub priority: Option<Priority>,

    /// When it counts as finished; may be repeated
    #[arg(long, value_name = "TEXT", visible_alias = "criterion")]
    pub success_criteria: Vec<String>,

    /// Tasks that must be done first; repeated or separated by commas
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = values::id_or_nothing, alias = "need")]
    pub needs: Vec<Option<TaskId>>,

    /// What happens to this task when one of them fails
    #[arg(long, value_name = "RULE", value_parser = words::word::<OnNeedFailed>(), ignore_case = true)]
    pub on_need_failed: Option<OnNeedFailed>,

    /// Labels; repeated or separated by commas
    #[arg(long, value_name = "TAG", value_delimiter = ',', alias = "tags")]
    pub tag: Vec<String>,

    /// When it should be finished: a date and time in any zone (UTC where none is named), or +2h
    #[arg(long, value_name = "TIME", value_parser = values::when)]
    pub due_at: Option<When>,

    /// The same in Korean time where no zone is named
    #[arg(long, value_name = "TIME", value_parser = values::when_kst, hide = true, conflicts_with = "due_at")]
    pub due_at_kst: Option<When>,

    /// Not to be started before this time, or +2h
    #[arg(long, value_name = "TIME", value_parser = values::when)]
    pub not_before: Option<When>,

    /// Adding twice with the same key adds once
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,

    /// Attempts before it fails for good
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: Option<u32>,

    /// Whether a reviewer decides when it is done
    #[arg(long, value_name = "RULE", value_parser = words::word::<Review>(), ignore_case = true)]
    pub review: Option<Review>,

    /// Type of the agent that does it (agents.yaml)
    #[arg(long, value_name = "TYPE", conflicts_with = "argv")]
    pub agent: Option<String>,

    /// The task that this one is a part of
    #[arg(long, value_name = "ID", value_parser = values::id_or_nothing)]
    pub parent: Option<MaybeId>,

    /// A command that does it, after `--`
    #[arg(last = true, value_name = "ARGV")]
    pub argv: Vec<String>,
}

impl DefinitionArgs {
    /// What was named, as a change; `retry` is what the task has now.
    #[must_use]
    pub fn patch(&self, retry: &RetryPolicy, now: Timestamp) -> Patch {
        Patch {
            title: self.title.clone(),
            description: self.description.clone(),
            priority: self.priority,
            success_criteria: named(&self.success_criteria).map(without_empty),
            needs: named(&self.needs).map(|ids| sorted(ids.iter().flatten().cloned().collect())),
            on_need_failed: self.on_need_failed,
            parent: self.parent.clone(),
            tags: named(&self.tag).map(|tags| sorted(without_empty(tags))),
            due_at: self.due_at.or(self.due_at_kst).map(|when| when.resolve(now)),
            not_before: self.not_before.map(|when| when.resolve(now)),
            idempotency_key: self
                .idempotency_key
                .as_ref()
                .map(|key| Some(key.clone()).filter(|k| !k.is_empty())),
            review: self.review,
            run: self.run(),
            retry: self.max_attempts.map(|max| RetryPolicy { max_attempts: Some(max), ..retry.clone() }),
            ..Patch::default()
        }
    }

    /// What a worker is to do with it; an empty agent type says that nothing is.
    #[expect(clippy::option_option, reason = "not given, nothing, and something are three different wishes")]
    fn run(&self) -> Option<Option<Run>> {
        let step = || ExecStep {
            argv: self.argv.clone(),
            name: None,
            cwd: None,
            env: std::collections::BTreeMap::new(),
            timeout: None,
            continue_on_error: false,
        };
        if !self.argv.is_empty() {
            return Some(Some(Run::Exec(vec![step()])));
        }
        let agent = self.agent.clone()?;
        Some((!values::is_nothing(&agent)).then_some(Run::Agent(agent)))
    }
}

/// A list option that was given at all.
fn named<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

fn without_empty(list: &[String]) -> Vec<String> {
    list.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}
