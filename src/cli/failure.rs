//! Every error as words and as the one number that scripts rely on.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::hyphens;
use super::output::{complain, error_envelope};
use super::render::style::{Style, Tone};
use super::render::text;
use crate::usecase::error::{Error, Kind};

/// Exit code after success.
pub const OK: i32 = 0;
/// Exit code after an interrupt from the keyboard.
pub const INTERRUPTED: i32 = 130;
/// Exit code after a request to terminate.
pub const TERMINATED: i32 = 143;

/// The exit code of a kind of failure: its number in SPEC §10.
#[must_use]
pub fn exit_code(kind: Kind) -> i32 {
    kind as i32
}

/// Shows an error on standard error and gives its exit code.
pub fn show(error: &Error, notices: &[String], json: bool, style: Style) -> i32 {
    if json {
        complain(&error_envelope(error, notices));
    } else {
        complain(&words(error, style));
    }
    exit_code(error.kind)
}

/// An error for people: what happened, and the next step.
#[must_use]
pub fn words(error: &Error, style: Style) -> String {
    let mut out = format!("{} {}\n", style.paint(Tone::Red, "error:"), text::lines(&error.message));
    if let Some(hint) = &error.hint {
        out.push_str(&format!("{} {}\n", style.paint(Tone::Cyan, "hint:"), text::lines(hint)));
    }
    out
}

/// Notices for people, one per line.
#[must_use]
pub fn notices(notices: &[String], style: Style) -> String {
    let head = style.paint(Tone::Yellow, "note:");
    notices.iter().map(|notice| format!("{head} {}\n", text::lines(notice))).collect()
}

/// Adds what clap cannot know: a word that stands alone behind `add` was meant as the title.
#[must_use]
pub fn advised(mut error: clap::Error) -> clap::Error {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    // `Usage: orch add …`, under whatever name the program was started.
    let add = usage.split_whitespace().nth(2) == Some("add");
    if let (ErrorKind::UnknownArgument, true, Some(ContextValue::String(word))) =
        (error.kind(), add, error.get(ContextKind::InvalidArg))
        && !word.starts_with('-')
    {
        let quoted = word.replace('\'', r"'\''");
        let tip = format!("the title stands behind --title: orch add --title '{quoted}'");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Shows what clap has to say: help and version on standard output with 0, a wrong command line with 2.
pub fn show_clap(error: &clap::Error, json: bool) -> i32 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader of the help that went away is no failure.
            drop(error.print());
            OK
        }
        _ if json => show(&usage(error), &[], true, Style::PLAIN),
        _ => {
            drop(error.print());
            exit_code(Kind::Usage)
        }
    }
}

/// A wrong command line as an error of ours.
fn usage(error: &clap::Error) -> Error {
    let rendered = error.render().to_string();
    let message = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "a command is missing"
        }
        _ => rendered.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ").trim(),
    };
    let hint =
        suggestion(error).unwrap_or_else(|| "`orch help` lists the commands and their options".to_owned());
    Error::new(Kind::Usage, "usage", message).hint(hint)
}

/// The nearest name that clap found, or our own advice.
fn suggestion(error: &clap::Error) -> Option<String> {
    if let Some(ContextValue::StyledStrs(tips)) = error.get(ContextKind::Suggested)
        && let Some(tip) = tips.first()
    {
        return Some(tip.to_string());
    }
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    let named = kinds.iter().find_map(|kind| error.get(*kind))?;
    match named {
        ContextValue::String(name) => Some(format!("did you mean `{name}`?")),
        ContextValue::Strings(names) if !names.is_empty() => {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            Some(format!("did you mean {}?", names.join(" or ")))
        }
        _ => None,
    }
}

/// Whether a command line that could not be parsed asks for JSON.
#[must_use]
pub fn asks_for_json(args: &[OsString]) -> bool {
    hyphens::words(args).contains(&"--json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let table = [
            (Kind::Failure, 1),
            (Kind::Usage, 2),
            (Kind::NotFound, 3),
            (Kind::Conflict, 4),
            (Kind::Refused, 5),
            (Kind::Nothing, 6),
            (Kind::Timeout, 7),
            (Kind::Damaged, 8),
            (Kind::Fenced, 9),
            (Kind::Unreachable, 75),
            (Kind::Config, 78),
        ];
        for (kind, code) in table {
            assert_eq!(exit_code(kind), code, "{kind:?}");
        }
    }

    fn usage_of(args: &[&str]) -> Error {
        let args = std::iter::once("orch").chain(args.iter().copied());
        usage(&advised(command().try_get_matches_from(args).expect_err("the command line is wrong")))
    }

    /// A newcomer wrote `orch add "fix the tests"` and was told about an unexpected argument.
    #[test]
    fn a_title_without_its_option_is_told_where_it_belongs() {
        let error = usage_of(&["add", "it's late"]);
        assert_eq!(
            error.hint.as_deref(),
            Some(r"the title stands behind --title: orch add --title 'it'\''s late'")
        );
        assert_eq!(usage_of(&["claim", "T-1", "T-2"]).hint, usage_of(&["list", "x"]).hint);
    }

    #[test]
    fn a_wrong_command_line_names_what_was_meant() {
        let error = usage_of(&["lst"]);
        assert_eq!((error.kind, error.code), (Kind::Usage, "usage"));
        assert!(error.message.contains("lst"), "{}", error.message);
        assert!(error.hint.as_deref().unwrap_or_default().contains("list"), "{:?}", error.hint);
        let error = usage_of(&["list", "--statsu", "done"]);
        assert_eq!(error.hint.as_deref(), Some("did you mean `--status`?"));
        assert_eq!(usage_of(&[]).message, "a command is missing");
    }

    #[test]
    fn json_is_asked_for_only_before_the_double_dash() {
        let args = |list: &[&str]| list.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(asks_for_json(&args(&["lst", "--json"])));
        assert!(!asks_for_json(&args(&["add", "--", "x", "--json"])));
    }

    #[test]
    fn hostile_text_in_an_error_stays_text() {
        let error = Error::failure("file\u{1b}[2J is bad").hint("look\u{202e}");
        assert_eq!(words(&error, Style::PLAIN), "error: file is bad\nhint: look\n");
    }
}
