//! From arguments to exit code.

use std::ffi::OsString;

use clap::FromArgMatches;

use super::app::{Cli, command};
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
    let app = command().color(clap_colour(args));
    hyphens::check(&app, args)?;
    app.try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches))
}

fn run(cli: Cli, signals: AtOnce) -> i32 {
    let mut context = Context::new(cli.globals, signals);
    let outcome = cli.command.run(&mut context);
    context.finish(outcome)
}

/// The wish for colours, read before parsing because errors of parsing obey it too.
fn clap_colour(args: &[OsString]) -> clap::ColorChoice {
    let words: Vec<&str> =
        args.iter().take_while(|arg| *arg != "--").filter_map(|arg| arg.to_str()).collect();
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

    #[test]
    fn the_wish_for_colours_is_found_in_any_position() {
        let wish = |list: &[&str]| clap_colour(&list.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(wish(&["orch", "list", "--color", "never"]), clap::ColorChoice::Never);
        assert_eq!(wish(&["orch", "--color=always", "lst"]), clap::ColorChoice::Always);
        assert_eq!(wish(&["orch", "add", "--", "--color=always"]), clap::ColorChoice::Auto);
    }
}
