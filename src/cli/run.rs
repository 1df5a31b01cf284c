//! From arguments to exit code.

use std::ffi::OsString;

use clap::FromArgMatches;

use super::app::{Cli, command, command_named};
use super::context::Context;
use super::failure;
use super::hyphens;
use super::render::style::ColorChoice;
use super::signals::AtOnce;
use crate::world::process::supervisor::supervisor_main;

/// How orch starts the supervisor of a child tree: no command for people, and no signal handling of ours.
const SUPERVISE: &str = "__supervise";

/// Runs one command line and gives the exit code of the process. The first argument is the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_some_and(|word| word == SUPERVISE) {
        return supervisor_main();
    }
    let signals = AtOnce::install();
    match parse(&args) {
        Ok(cli) => run(cli, signals),
        Err(error) => failure::show_clap(&failure::advised(error), failure::asks_for_json(&args)),
    }
}

fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    if let Some(cli) = command_named(args).and_then(|tool| in_order(tool, args)) {
        return Ok(cli);
    }
    let app = command().color(clap_colour(args));
    hyphens::check(&app, args)?;
    app.try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches))
}

/// What a line says to a tool that has the right words only for one that is in order.
fn in_order(tool: clap::Command, args: &[OsString]) -> Option<Cli> {
    if hyphens::are_doubtful(&tool, args) {
        return None;
    }
    Cli::from_arg_matches(&tool.try_get_matches_from(args).ok()?).ok()
}

fn run(cli: Cli, signals: AtOnce) -> i32 {
    let mut context = Context::new(cli.globals, signals);
    let outcome = cli.command.run(&mut context);
    context.finish(outcome)
}

/// The wish for colours, read before parsing because errors of parsing obey it too.
fn clap_colour(args: &[OsString]) -> clap::ColorChoice {
    let words = hyphens::words(args);
    let apart = words.windows(2).filter(|pair| pair[0] == "--color").map(|pair| pair[1]);
    let joined = words.iter().filter_map(|word| word.strip_prefix("--color="));
    let wish = apart
        .chain(joined)
        .last()
        .and_then(|word| <ColorChoice as clap::ValueEnum>::from_str(word, true).ok());
    match wish.unwrap_or_default() {
        ColorChoice::Auto => clap::ColorChoice::Auto,
        ColorChoice::Always => clap::ColorChoice::Always,
        ColorChoice::Never => clap::ColorChoice::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        std::iter::once("orch").chain(line.split(' ')).map(OsString::from).collect()
    }

    /// Building all commands to read the line of one took a millisecond and a half of every start.
    #[test]
    fn a_line_in_order_is_read_by_its_command_alone_and_means_the_same() {
        for line in [
            "list --json",
            "--json --session s --state d claim A-1",
            "--session claim claim A-1 --lease 15m",
            "claim pick",
            "add --title t --needs B-2 A-1 --tag x y x --success-criteria c,1 c2 -- cargo test --all",
            "note A-1 --text=--json",
            "done A-1 --notes -1 --epoch 3 --quiet",
            "config set lease.ttl 1h",
            "pick --wait --json",
            "heartbeat A-1 --percent 40 --color=never",
        ] {
            let args = words(line);
            let alone = command_named(&args).and_then(|tool| in_order(tool, &args));
            let whole = command().try_get_matches_from(&args).and_then(|it| Cli::from_arg_matches(&it));
            let whole = whole.unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(format!("{:?}", alone.expect(line)), format!("{whole:?}"), "{line}");
        }
    }

    #[test]
    fn the_whole_tool_is_asked_about_every_other_line() {
        for line in [
            "ls",
            "list --help",
            "--version",
            "help list",
            "--session list pick",
            "list --nonsense",
            "note A-1 --text --json",
            "done A-1 --notes --priority",
        ] {
            let args = words(line);
            assert!(command_named(&args).and_then(|tool| in_order(tool, &args)).is_none(), "{line}");
        }
    }

    #[test]
    fn the_wish_for_colours_is_found_in_any_position() {
        let wish = |list: &[&str]| clap_colour(&list.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(wish(&["orch", "list", "--color", "never"]), clap::ColorChoice::Never);
        assert_eq!(wish(&["orch", "--color=always", "lst"]), clap::ColorChoice::Always);
        assert_eq!(wish(&["orch", "add", "--", "--color=always"]), clap::ColorChoice::Auto);
    }
}
