//! Values that begin with a hyphen: a note that is a list (`--text '- first'`), or a number below zero, which deserves to be
//! told why it is wrong. An option that stands where a value is missing stays an error.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

/// The kinds of value that may begin with one, by the names that the help gives them.
const KINDS: [&str; 7] = ["TEXT", "N", "SPAN", "TIME", "P", "PID", "SKEW"];

fn may_begin_with_one(arg: &Arg) -> bool {
    let names = arg.get_value_names().unwrap_or_default();
    // Where a value may be left out, or several may follow, the next option would be taken for one.
    let one = arg.get_num_args().is_none_or(|count| count.min_values() == 1 && count.max_values() == 1);
    arg.get_long().is_some() && one && names.len() == 1 && KINDS.contains(&names[0].as_str())
}

/// The same commands, whose options take such values.
#[must_use]
pub fn allowed(command: Command) -> Command {
    let allow = |arg: Arg| {
        let yes = may_begin_with_one(&arg);
        if yes { arg.allow_hyphen_values(true) } else { arg }
    };
    command.mut_subcommands(move |sub| allowed(sub.mut_args(allow)))
}

/// The error for an option that stands where the value of another one is missing.
///
/// # Errors
/// That of a missing value, as clap words it.
pub fn check(command: &Command, args: &[OsString]) -> Result<(), clap::Error> {
    for pair in words(args).windows(2) {
        let is_option = |word: &str| known(command, word.split('=').next().unwrap_or_default()).is_some();
        if let Some(arg) = known(command, pair[0]).filter(|arg| may_begin_with_one(arg))
            && is_option(pair[1])
        {
            let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(command);
            let value = arg.get_value_names().and_then(<[_]>::first).map_or("VALUE", |name| name.as_str());
            let named = format!("{} <{value}>", pair[0]);
            error.insert(ContextKind::InvalidArg, ContextValue::String(named));
            error.insert(ContextKind::InvalidValue, ContextValue::String(String::new()));
            return Err(error);
        }
    }
    Ok(())
}

/// Whether an option of the command might take the option after it for its value.
#[must_use]
pub fn are_doubtful(command: &Command, args: &[OsString]) -> bool {
    let takes = |word: &str| known(command, word).is_some_and(may_begin_with_one);
    words(args).windows(2).any(|pair| pair[1].starts_with("--") && takes(pair[0]))
}

/// The words of a line that are orch's own: those before the command of a task.
#[must_use]
pub fn words(args: &[OsString]) -> Vec<&str> {
    args.iter().take_while(|arg| *arg != "--").filter_map(|arg| arg.to_str()).collect()
}

/// The option that a word names, of whatever command.
fn known<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let long = word.strip_prefix("--").filter(|name| !name.is_empty())?;
    let named = |arg: &&Arg| {
        arg.get_long() == Some(long) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&long))
    };
    command.get_arguments().find(named).or_else(|| command.get_subcommands().find_map(|sub| known(sub, word)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    fn parse(args: &[&str]) -> Result<clap::ArgMatches, clap::Error> {
        let args: Vec<OsString> =
            std::iter::once("orch").chain(args.iter().copied()).map(Into::into).collect();
        let command = command();
        check(&command, &args)?;
        command.try_get_matches_from(args)
    }

    /// An agent wrote its notes as a list, and was told about an unexpected argument; the advice made them part of a command.
    #[test]
    fn a_text_may_be_a_list() {
        let matches = parse(&["note", "A", "--text", "- first\n- second", "--json"]).unwrap();
        let (_, note) = matches.subcommand().unwrap();
        assert_eq!(note.get_one::<String>("text").map(String::as_str), Some("- first\n- second"));
        assert!(parse(&["done", "A", "--notes", "-1 is gone"]).is_ok());
    }

    #[test]
    fn a_number_below_zero_is_told_why_it_is_wrong() {
        let error = parse(&["add", "--title", "x", "--max-attempts", "-1"]).unwrap_err().to_string();
        assert!(error.contains("'-1' for '--max-attempts"), "{error}");
        let error = parse(&["snooze", "A", "--for", "-5m"]).unwrap_err().to_string();
        assert!(error.contains("'-5m' for '--for"), "{error}");
    }

    #[test]
    fn an_option_is_not_taken_for_the_text_before_it() {
        for args in [&["note", "A", "--text", "--json"][..], &["done", "A", "--notes", "--epoch=1"]] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains("a value is required for '--"), "{error}");
        }
        assert!(parse(&["note", "A", "--text=--json"]).is_ok());
        assert!(parse(&["add", "--title", "x", "--tag", "a", "--json"]).is_ok());
    }
}
