//! `orch-harness probe`: is this remote fit to coordinate agents?

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use orch::sync::git::{GitObjects, Outside};
use orch::world::clock::RealClock;
use orch::world::git_command::{Git, transport};
use orch::world::random::RealRandom;
use orch::world::remote::GitRemote;
use orch::world::{env, folder};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::probe::scratch::Scratch;
use crate::probe::{Field, Plan, Side, probe};

const INVALID: u8 = 3;

/// Find out whether a remote is fit to coordinate agents.
///
/// Pushes small commits to refs of its own (refs/orch/probe/<run>/, or refs/heads/orch-probe/<run>/ where those
/// are refused) from two scratch repositories, and removes them again, also after Ctrl-C. Uses your own git with
/// its keys, helpers and proxies. Reads and changes nothing else on the remote.
///
/// Exit codes: 0 fit (perhaps with limits), 1 not fit, 2 usage, 3 could not be judged.
#[derive(Args)]
#[command(after_help = "Examples:
  orch-harness probe --remote git@github.com:me/queue.git
  orch-harness probe --remote /srv/git/queue.git --seconds 30 --json
  orch-harness probe --remote https://host/me/queue.git --rounds 3 --pushes 40
  orch-harness probe --remote URL --clean 0f3a5c7e9b1d    remove what an earlier run had to leave")]
pub struct ProbeArgs {
    /// The remote: a URL or a path.
    #[arg(long, value_name = "URL")]
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
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// Only remove what the run with this name had to leave.
    #[arg(long, value_name = "RUN")]
    clean: Option<String>,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
#[must_use]
pub fn main(args: &ProbeArgs) -> ExitCode {
    match run(args) {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(INVALID)
        }
    }
}

/// A folder that goes when this goes.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = folder::remove(&self.0) {
            eprintln!("note: {error}");
        }
    }
}

fn run(args: &ProbeArgs) -> Result<u8, String> {
    let url = absolute(&args.remote)?;
    Git::default().version(Duration::from_secs(10)).map_err(|error| error.message)?;
    let place = folder::make_temporary("orch-probe-").map(Temporary).map_err(|error| error.to_string())?;
    let machine = |name: &str| -> Result<(GitRemote, GitObjects), String> {
        let git_dir = place.0.join(name);
        let objects = GitObjects::init(&git_dir, "refs/heads/none", Outside::real(&git_dir));
        let objects = objects.map_err(|error| error.to_string())?;
        Ok((GitRemote::new(&git_dir, &url, args.repository.as_deref()), objects))
    };
    let (a, b) = (machine("a.git")?, machine("b.git")?);
    let stop = stop_flag(args.json)?;
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
    if let Some(name) = &args.clean {
        return clean(&field, name, limit);
    }
    let budget = Duration::from_secs(args.seconds);
    let report = probe(&field, &Plan { rounds: args.rounds, pushes: args.pushes, budget, limit });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    } else {
        println!("{}", report.text());
    }
    Ok(report.verdict.exit_code())
}

fn clean(field: &Field<'_>, name: &str, limit: Duration) -> Result<u8, String> {
    let scratch = Scratch::of_run(name)
        .ok_or_else(|| format!("`{name}` is no name of a run; it has twelve digits, like 0f3a5c7e9b1d"))?;
    let left = scratch.clean(field, limit);
    if left.refs.is_empty() && left.why.is_none() {
        println!("Nothing of run {name} is left on {}.", field.a.remote.url());
        return Ok(0);
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

/// The first signal ends the trial in an orderly way, the second one at once.
fn stop_flag(quiet: bool) -> Result<Arc<AtomicBool>, String> {
    let flag = Arc::new(AtomicBool::new(false));
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        let about = |error: std::io::Error| format!("cannot take signals over: {error}");
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&flag)).map_err(about)?;
        signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(about)?;
    }
    if !quiet {
        eprintln!("Ctrl-C ends the trial and removes what it made; a second one leaves at once.");
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
            eprintln!("{at}/{of} {what}");
        }
        None => {}
    }
}
