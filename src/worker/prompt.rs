//! The prompt of an agent: what the task asks for, and what those before it left behind.
//!
//! A template may be replaced by a file below `prompts/`; a variable that does not exist is an error,
//! because a typing error would otherwise leave a hole that nobody sees.

use std::path::PathBuf;

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use super::manifest::reason_name;
use crate::usecase::read::{self, Context};
use crate::usecase::run::rfc3339;

/// The template for types that have none of their own.
pub const DEFAULT: &str = include_str!("prompt.md");

/// What a template can name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Variables {
    id: String,
    title: String,
    description: String,
    criteria: Vec<String>,
    tags: Vec<String>,
    attempt: u32,
    epoch: u64,
    session: String,
    workspace: String,
    checkpoints: Vec<Said>,
    notes: Vec<Said>,
    attempts: Vec<Attempt>,
    bundles: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Said {
    at: String,
    by: String,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Attempt {
    epoch: u64,
    session: String,
    machine: String,
    from: String,
    to: String,
    ended: String,
    reason: String,
    notes: String,
    bundle: String,
}

impl Variables {
    /// The variables of a task that was just claimed; `bundles` are those on this machine.
    #[must_use]
    pub fn of(context: &Context, session: &str, workspace: &str, bundles: &[PathBuf]) -> Self {
        let task = &context.task;
        let said = |list: &[read::Said]| list.iter().map(Said::of).collect();
        let ended = context.attempts.iter().filter(|attempt| attempt.to.is_some());
        Variables {
            id: task.id().to_string(),
            title: task.def().title.clone(),
            description: task.def().description.trim_end().to_owned(),
            criteria: task.def().success_criteria.clone(),
            tags: task.def().tags.clone(),
            attempt: task.attempt(),
            epoch: task.epoch(),
            session: session.to_owned(),
            workspace: workspace.to_owned(),
            checkpoints: said(&context.checkpoints),
            notes: said(&context.notes),
            attempts: ended.map(Attempt::of).collect(),
            bundles: bundles.iter().map(|path| path.display().to_string()).collect(),
        }
    }
}

impl Said {
    fn of(said: &read::Said) -> Self {
        Said { at: rfc3339(said.at), by: said.by.clone(), text: said.text.clone() }
    }
}

impl Attempt {
    fn of(attempt: &read::Attempt) -> Self {
        Attempt {
            epoch: attempt.epoch,
            session: attempt.session.clone(),
            machine: attempt.machine.clone(),
            from: rfc3339(attempt.from),
            to: attempt.to.map(rfc3339).unwrap_or_default(),
            ended: attempt.ended.unwrap_or_default().to_owned(),
            reason: attempt.reason.map(reason_name).unwrap_or_default().to_owned(),
            notes: attempt.notes.clone().unwrap_or_default(),
            bundle: attempt.bundle.clone().unwrap_or_default(),
        }
    }
}

/// Renders a template; `name` is that of its file, for messages.
///
/// # Errors
/// What is wrong in the template, with its line.
pub fn render(name: &str, template: &str, variables: &Variables) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment.render_named_str(name, template, variables).map_err(|error| {
        let line = error.line().map(|line| format!(":{line}")).unwrap_or_default();
        let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        format!("{name}{line}: {}{detail}", error.kind())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        Variables {
            id: "T-1".to_owned(),
            title: "Mend <it>".to_owned(),
            description: "All of it.".to_owned(),
            criteria: vec!["tests pass".to_owned()],
            tags: Vec::new(),
            attempt: 2,
            epoch: 3,
            session: "w".to_owned(),
            workspace: "/w".to_owned(),
            checkpoints: vec![Said {
                at: "2026".to_owned(),
                by: "a".to_owned(),
                text: "half done".to_owned(),
            }],
            notes: vec![Said { at: "2026".to_owned(), by: "b".to_owned(), text: "mind the gap".to_owned() }],
            attempts: vec![Attempt {
                epoch: 1,
                session: "old".to_owned(),
                machine: "m".to_owned(),
                from: "x".to_owned(),
                to: "y".to_owned(),
                ended: "recover".to_owned(),
                reason: "lease_lost".to_owned(),
                notes: String::new(),
                bundle: "abc".to_owned(),
            }],
            bundles: vec!["/s/runs/T-1/1".to_owned()],
        }
    }

    #[test]
    fn the_built_in_prompt_hands_everything_on() {
        let text = render("built-in", DEFAULT, &variables()).expect("it renders");
        for part in [
            "T-1",
            "Mend <it>",
            "All of it.",
            "tests pass",
            "half done",
            "mind the gap",
            "lease_lost",
            "/s/runs/T-1/1",
            "attempt 2",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let first = Variables {
            attempt: 1,
            attempts: Vec::new(),
            bundles: Vec::new(),
            checkpoints: Vec::new(),
            notes: Vec::new(),
            criteria: Vec::new(),
            ..variables()
        };
        let text = render("built-in", DEFAULT, &first).expect("it renders");
        for part in ["Earlier", "Checkpoints", "Notes", "criteria"] {
            assert!(!text.contains(part), "{part} has nothing to say in\n{text}");
        }
    }

    #[test]
    fn a_variable_that_does_not_exist_is_an_error_with_its_place() {
        let error = render("prompts/x.md", "a\n{{ titel }}\n", &variables()).expect_err("it is misspelt");
        assert!(error.starts_with("prompts/x.md:2: undefined value"), "{error}");
        let error = render("prompts/x.md", "{% if %}", &variables()).expect_err("it is no template");
        assert!(error.starts_with("prompts/x.md:1: "), "{error}");
    }
}
