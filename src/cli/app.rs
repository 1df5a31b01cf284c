//! The table of commands.

use std::ffi::OsString;

use clap::{Args, Command as ClapCommand, CommandFactory, Parser, Subcommand};

use super::commands as c;
use super::context::Context;
use super::globals::Globals;
use super::hyphens;
use crate::usecase::error::Result;

const EXIT_CODES: &str = "\
Exit codes:
  0 ok            4 conflict: held by another, or wrong status    8 damaged state
  1 failure       5 refused by policy or validation               9 fenced: lease lost
  2 usage         6 nothing to do                                75 remote unreachable
  3 not found     7 timeout                                      78 bad configuration
  130, 143 ended by a signal

Examples:
  orch init
  orch add --title 'Bring the README up to date' --priority P1
  orch pick --json
  orch heartbeat ID --percent 40
  orch done ID --notes 'what was done'";

/// A work queue for AI agents that lives in a git repository
#[derive(Parser, Debug)]
#[command(name = "orch", version, propagate_version = false, max_term_width = 100, after_help = EXIT_CODES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub globals: Globals,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Writes the table once: each command with the type of its arguments, and the call of its `run`.
macro_rules! commands {
    ($($(#[$attribute:meta])* $name:ident($args:ty),)*) => {
        /// All commands.
        #[derive(Subcommand, Debug)]
        pub enum Command {
            $($(#[$attribute])* #[doc = concat!("See [`", stringify!($args), "`].")] $name($args),)*
        }

        /// Each name, capitalized, and what adds the arguments of its command.
        const TABLE: &[(&str, fn(ClapCommand) -> ClapCommand)] =
            &[$((stringify!($name), <$args as Args>::augment_args),)*];

        impl Command {
            /// Carries it out and gives the exit code of success.
            ///
            /// # Errors
            /// What went wrong, with its kind.
            pub fn run(self, context: &mut Context) -> Result<i32> {
                match self {
                    $(Command::$name(args) => args.run(context),)*
                }
            }
        }
    };
}

commands! {
    Init(c::init::Init),
    Add(c::add::Add),
    #[command(visible_alias = "ls")]
    List(c::list::List),
    Show(c::show::Show),
    Explain(c::explain::Explain),
    Resume(c::resume::Resume),
    Pick(c::claim::Pick),
    Claim(c::claim::Claim),
    Heartbeat(c::heartbeat::Heartbeat),
    Checkpoint(c::checkpoint::Checkpoint),
    Done(c::finish::Done),
    Fail(c::finish::Fail),
    Release(c::finish::Release),
    Block(c::operator::Block),
    Unblock(c::operator::Unblock),
    Cancel(c::operator::Cancel),
    Retry(c::operator::Retry),
    Replan(c::operator::Replan),
    Review(c::operator::Review),
    Edit(c::edit::Edit),
    Note(c::edit::Note),
    Snooze(c::edit::Snooze),
    Recover(c::recover::Recover),
    Watchdog(c::watchdog::Watchdog),
    Sync(c::sync::Sync),
    Log(c::log::Log),
    Status(c::status::Status),
    Workers(c::workers::Workers),
    Sessions(c::sessions::Sessions),
    Graph(c::graph::Graph),
    Verify(c::verify::Verify),
    Metrics(c::metrics::Metrics),
    Export(c::export::Export),
    Import(c::import::Import),
    Gc(c::gc::Gc),
    Work(c::work::Work),
    Dispatch(c::dispatch::Dispatch),
    Up(c::up::Up),
    Drain(c::drain::Drain),
    Doctor(c::doctor::Doctor),
    Audit(c::audit::Audit),
    Check(c::check::Check),
    Config(c::config::Config),
    Schema(c::schema::Schema),
    Completions(c::completions::Completions),
    Man(c::man::Man),
    Demo(c::demo::Demo),
    Version(c::version::Version),
}

/// The whole tool as clap knows it: for parsing, completions and manual pages.
#[must_use]
pub fn command() -> ClapCommand {
    adjusted(Cli::command())
}

/// The tool with one command alone, the first that the words name. It reads a line that is in order as the whole one does,
/// and is made in a tenth of the time; for anything else, from help to advice, only the whole one has the words.
#[must_use]
pub fn command_named(words: &[OsString]) -> Option<ClapCommand> {
    let named = |word: &&OsString| {
        let name = word.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase()))?;
        TABLE.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    let (name, arguments) = words.iter().skip(1).find_map(|word| named(&word))?;
    let command = arguments(ClapCommand::new(&*name.to_ascii_lowercase().leak()));
    Some(adjusted(Globals::augment_args(ClapCommand::new("orch")).subcommand(command)))
}

/// What holds for the arguments of all commands, and for `add`: it has no positional argument before `--`, so a list option
/// there may take several words.
fn adjusted(tool: ClapCommand) -> ClapCommand {
    hyphens::allowed(tool).mut_subcommands(|sub| {
        if sub.get_name() != "add" {
            return sub;
        }
        let lists = ["success_criteria", "needs", "tag"];
        let several = |arg: clap::Arg| arg.num_args(1..).allow_hyphen_values(false);
        lists.into_iter().fold(sub, |add, list| add.mut_arg(list, several))
    })
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    fn parse(line: &str) -> Cli {
        let words = std::iter::once("orch").chain(line.split(' '));
        let matches = command().try_get_matches_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        Cli::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn the_table_is_sound_and_every_command_has_help_with_examples() {
        command().debug_assert();
        for sub in command().get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let name = sub.get_name();
            assert!(sub.get_about().is_some(), "{name} has no help text");
            let after = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains(&format!("orch {name}")), "{name} has no example of its own");
        }
    }

    #[test]
    fn each_command_can_be_made_alone() {
        for sub in command().get_subcommands() {
            let alone = command_named(&["orch".into(), sub.get_name().into()]).unwrap();
            let names: Vec<&str> = alone.get_subcommands().map(ClapCommand::get_name).collect();
            assert_eq!(names, [sub.get_name()]);
            alone.debug_assert();
        }
        assert!(command_named(&["orch".into(), "nonsense".into()]).is_none());
        assert!(command_named(&["orch".into(), "LIST".into()]).is_none());
    }

    #[test]
    fn global_options_work_before_and_after_the_command() {
        for line in [
            "--state d --json --session s --quiet --color never --no-sync list",
            "list --state d --json --session s --quiet --color never --no-sync",
            "--json list --state=d -q --owner-session s --no-sync --color=never",
        ] {
            let globals = parse(line).globals;
            assert_eq!(globals.named_state().as_deref(), Some(std::path::Path::new("d")), "{line}");
            assert_eq!(globals.named_session().as_deref(), Some("s"), "{line}");
            assert!(globals.json && globals.quiet && globals.no_sync, "{line}");
            assert!(!globals.color.colours(true), "{line}");
        }
    }

    #[test]
    fn lists_are_repeated_separated_by_commas_or_by_spaces() {
        use crate::protocol::task::RetryPolicy;
        use crate::protocol::time::Timestamp;
        for line in [
            "add --title t --needs B-2,A-1 --tag x,y --success-criteria c,1 --success-criteria c2",
            "add --task t --needs B-2 --needs A-1 --tag y --tag x --success-criteria c,1 c2",
            "add --title t --needs B-2 A-1 --tag x y x --success-criteria c,1 c2 -- cargo test --all",
        ] {
            let Command::Add(add) = parse(line).command else { panic!("{line} is add") };
            let patch = add.definition.patch(&RetryPolicy::default(), Timestamp(0));
            let needs: Vec<String> = patch.needs.unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(needs, ["A-1", "B-2"], "{line}");
            assert_eq!(patch.tags.unwrap(), ["x", "y"], "{line}");
            assert_eq!(patch.success_criteria.unwrap(), ["c,1", "c2"], "{line}");
            assert_eq!(patch.title.as_deref(), Some("t"));
        }
    }

    #[test]
    fn what_follows_the_double_dash_is_a_command_and_none_of_our_options() {
        let cli = parse("add --title t -- cargo test --json --state x");
        assert!(!cli.globals.json);
        let Command::Add(add) = cli.command else { panic!("it is add") };
        assert_eq!(add.definition.argv, ["cargo", "test", "--json", "--state", "x"]);
    }

    #[test]
    fn words_are_read_in_any_case_and_aliases_keep_working() {
        for line in [
            "ls --status in-progress,DONE --priority p1",
            "list --status in_progress --status done --priority P1",
        ] {
            let Command::List(list) = parse(line).command else { panic!("{line} is list") };
            use crate::protocol::task::{Priority, Status};
            assert_eq!(list.status, [Status::InProgress, Status::Done]);
            assert_eq!(list.priority, [Priority::P1]);
        }
    }

    #[test]
    fn waiting_takes_a_span_or_none() {
        let wait = |line: &str| match parse(line).command {
            Command::Pick(pick) => pick.wait,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait("pick"), None);
        assert_eq!(wait("pick --wait"), Some(None));
        assert_eq!(wait("pick --wait 90s"), Some(Some(std::time::Duration::from_secs(90))));
        assert_eq!(wait("pick --wait --json"), Some(None));
    }

    #[test]
    fn wrong_values_are_usage_errors() {
        for line in [
            "show a..b",
            "list --status nonsense",
            "add --title t --priority P9",
            "add --title t --max-attempts 0",
            "heartbeat A-1 --percent 101",
            "claim A-1 --lease 15",
            "done A-1",
            "snooze A-1",
            "snooze A-1 --for 1h --until 2030-01-01",
            "add --title t --agent coding -- cargo test",
            "nonsense",
        ] {
            let words = std::iter::once("orch").chain(line.split(' '));
            let error = command().try_get_matches_from(words).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
