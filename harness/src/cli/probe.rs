//! `orch-harness probe`: is this remote fit to coordinate agents?

use std::cell::RefCell;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use orch::sync::git::{GitObjects, Outside, TRANSFER};
use orch::world::Remote as _;
use orch::world::clock::RealClock;
use orch::world::git_command::{Git, transport};
use orch::world::random::RealRandom;
use orch::world::remote::GitRemote;
use orch::world::{env, folder};

use super::quoted;
use crate::probe::scratch::{Scratch, clean_command};
use crate::probe::{Field, Plan, Side, probe};

const INVALID: u8 = 3;

/// Find out whether a remote is fit to coordinate agents.
///
/// Pushes small commits to refs of its own (refs/orch/probe/<run>/, or refs/heads/orch-probe/<run>/ where those
/// are refused) from two scratch repositories, and removes them again, also after Ctrl-C or when the terminal is
/// closed. Uses your own git with its keys, helpers and proxies. Reads and changes nothing else on the remote.
///
/// Exit codes: 0 fit (perhaps with limits), 1 not fit, 2 usage, 3 could not be judged.
#[derive(Args)]
#[command(after_help = "Examples:
  orch-harness probe --remote git@github.com:me/queue.git
  orch-harness probe --remote /srv/git/queue.git --seconds 30 --json
  orch-harness probe --remote https://host/me/queue.git --rounds 3 --pushes 40
  orch-harness probe --remote URL --clean 0f3a5c7e9b1d    remove what an earlier run had to leave;
                                                          its first line names it")]
pub struct ProbeArgs {
    /// The remote: a URL or a path.
    #[arg(long, value_name = "URL", value_parser = remote)]
    remote: String,
    /// After this time only the least is tried.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Races of each kind.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(3..=10_000))]
    rounds: u32,
    /// Most pushes; the least of each part is tried all the same.
    #[arg(long, value_name = "N", default_value_t = 120)]
    pushes: u32,
    /// Longest time for one step on the network, seconds.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Take credentials and proxies also from this repository's configuration.
    #[arg(long, value_name = "DIR", value_parser = repository)]
    repository: Option<PathBuf>,
    /// Only remove what the run with this name had to leave.
    #[arg(long, value_name = "RUN", value_parser = run_name)]
    clean: Option<String>,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
}

/// A remote. Nothing at all would be the current folder.
fn remote(text: &str) -> Result<String, String> {
    let named = !text.trim().is_empty();
    named.then(|| text.to_owned()).ok_or_else(|| "it is empty: name a URL, or a path".to_owned())
}

/// The name of a run, as the first line of one tells it.
fn run_name(text: &str) -> Result<String, String> {
    let run = Scratch::of_run(text).map(|scratch| scratch.run().to_owned());
    run.ok_or_else(|| "it is no name of a run; that has twelve digits, like 0f3a5c7e9b1d".to_owned())
}

/// A repository whose configuration git can read.
fn repository(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if !path.is_dir() {
        return Err("there is no such folder: name a clone, or leave it out".to_owned());
    }
    match crate::record::git(&path, &["rev-parse", "--git-dir"]) {
        Ok(_) => Ok(path),
        Err(why) => Err(format!("git finds no repository there: name a clone, or leave it out ({why})")),
    }
}

/// Runs the command.
#[must_use]
pub fn main(args: &ProbeArgs) -> ExitCode {
    let told = run(args).and_then(|(text, code)| match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => Ok(code),
        // Whoever reads the output may go, here as elsewhere.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(141),
        Err(error) => Err(format!("the report cannot be written: {error}")),
    });
    ExitCode::from(told.unwrap_or_else(|message| {
        say(&format!("error: {message}"));
        INVALID
    }))
}

/// A line for whoever watches. Nobody may be there any more; the trial goes on to its end all the same, because it has
/// to remove what it made.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A folder that goes when this goes.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = folder::remove(&self.0) {
            say(&format!("note: {error}"));
        }
    }
}

/// What is to be printed, and the exit code.
fn run(args: &ProbeArgs) -> Result<(String, u8), String> {
    let url = absolute(&args.remote)?;
    Git::default().version(Duration::from_secs(10)).map_err(|error| error.message)?;
    let earlier = args.clean.as_deref().and_then(Scratch::of_run);
    let scratch = earlier.unwrap_or_else(|| Scratch::new(&RealRandom));
    let place = folder::make_temporary("orch-probe-").map(Temporary).map_err(|error| error.to_string())?;
    let machine = |name: &str| -> Result<(GitRemote, GitObjects), String> {
        let git_dir = place.0.join(name);
        let objects = GitObjects::init(&git_dir, "refs/heads/none", Outside::real(&git_dir));
        let objects = objects.map_err(|error| error.to_string())?;
        let remote = GitRemote::new(&git_dir, &url, args.repository.as_deref()).with_repository(TRANSFER);
        Ok((remote, objects))
    };
    let (a, b) = (machine("a.git")?, machine("b.git")?);
    let again = again(&a.0.url(), scratch.run(), args.repository.as_deref());
    if args.clean.is_none() {
        say(&format!(
            "run {}: refs below {}, removed at the end; left over? {again}",
            scratch.run(),
            scratch.custom()
        ));
    }
    let stop = stop_flag(args.json, &again)?;
    let bar = progress();
    let last = RefCell::new(String::new());
    let field = Field {
        a: Side { remote: &a.0, objects: &a.1 },
        b: Side { remote: &b.0, objects: &b.1 },
        clock: &RealClock,
        random: &RealRandom,
        stopped: &|| stop.load(Ordering::SeqCst),
        told: &|at, of, what| tell(bar.as_ref(), &last, at, of, what),
    };
    let limit = Duration::from_secs(args.timeout);
    if args.clean.is_some() {
        return clean(&field, &scratch, limit);
    }
    let budget = Duration::from_secs(args.seconds);
    let plan = Plan { rounds: args.rounds, pushes: args.pushes, budget, limit };
    let report = probe(&field, &plan, &scratch);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let text = match args.json {
        true => serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?,
        false => report.text(),
    };
    Ok((text, report.verdict.exit_code()))
}

/// The command that cleans up after a run.
fn again(url: &str, run: &str, repository: Option<&Path>) -> String {
    let from = repository.map(|path| format!(" --repository {}", quoted(&path.to_string_lossy())));
    clean_command(url, run) + &from.unwrap_or_default()
}

fn clean(field: &Field<'_>, scratch: &Scratch, limit: Duration) -> Result<(String, u8), String> {
    let (left, name) = (scratch.clean(field, limit), scratch.run());
    if left.refs.is_empty() && left.why.is_none() {
        return Ok((format!("Nothing of run {name} is left on {}.", field.a.remote.url()), 0));
    }
    let why = left.why.unwrap_or_else(|| "the remote keeps them".to_owned());
    Err(format!("{}: {} refs of run {name} are left: {why}", field.a.remote.url(), left.refs.len()))
}

/// Paths are made absolute, because git runs in a repository of the trial's own. Whether something is there, the
/// trial finds out.
fn absolute(url: &str) -> Result<String, String> {
    if !transport::is_path(url) || url.starts_with("file:") {
        return Ok(url.to_owned());
    }
    let here = env::current_dir().map_err(|error| error.to_string())?;
    Ok(here.join(url).to_string_lossy().into_owned())
}

/// Set when the trial is to end in an orderly way. Whoever asks again leaves at once, with the command that cleans up later.
fn stop_flag(quiet: bool, again: &str) -> Result<Arc<AtomicBool>, String> {
    let flag = Arc::new(AtomicBool::new(false));
    let (set, again) = (Arc::clone(&flag), again.to_owned());
    super::signals::listen(
        move || set.store(true, Ordering::SeqCst),
        move |signal| {
            say(&format!("\nleft at once; refs may be left over: {again}"));
            std::process::exit(128 + signal);
        },
    )?;
    if !quiet {
        say("Ctrl-C ends the trial and removes what it made; a second one leaves at once.");
    }
    Ok(flag)
}

/// A bar on a terminal only.
fn progress() -> Option<ProgressBar> {
    let style =
        ProgressStyle::with_template("{bar:20} {pos}/{len} {msg} ({elapsed}, about {eta} left)").ok()?;
    env::stderr_is_terminal().then(|| {
        let bar = ProgressBar::new(1).with_style(style);
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    })
}

fn tell(bar: Option<&ProgressBar>, last: &RefCell<String>, at: usize, of: usize, what: &str) {
    match bar {
        Some(bar) => {
            bar.set_length(of as u64);
            bar.set_position(at as u64);
            bar.set_message(what.to_owned());
        }
        None if *last.borrow() != what => {
            what.clone_into(&mut last.borrow_mut());
            say(&format!("{at}/{of} {what}"));
        }
        None => {}
    }
}
