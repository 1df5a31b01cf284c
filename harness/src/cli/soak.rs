//! `orch-harness soak`: real processes under real faults, for minutes or days.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::record::{self, Record, Verdict};
use crate::soak::checkpoint::Checkpoint;
use crate::soak::profile::Profile;
use crate::soak::{Options, Progress, absent, end_leftovers, run};

/// Run real orch processes under real faults, and judge them
///
/// Machines are state directories, agents are threads that run orch as processes, and the remote is a bare
/// repository reached by path, HTTP and SSH on loopback. A run leaves its time series, its record and a report in one
/// folder. Ctrl-C ends it with a last check and a report.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch-harness soak                                          two minutes
  orch-harness soak --profile soak/24h.yaml --for 60m
  orch-harness soak --profile soak/72h.yaml --resume         go on after a reboot
  orch-harness soak --profile soak/network.yaml --seed 7 --orch ./orch

Exit codes: 0 everything held, 1 something did not, 2 usage, 3 the run is invalid")]
pub struct Soak {
    /// What to run
    #[arg(long, value_name = "FILE", default_value = "soak/smoke.yaml")]
    profile: PathBuf,

    /// Folder of the run [default: target/soak/<profile>]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Another seed than the profile's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Another length than the profile's; the least work is scaled with it
    #[arg(long = "for", value_name = "SPAN", value_parser = some_time)]
    length: Option<Duration>,

    /// Go on with the run that was interrupted
    #[arg(long, conflicts_with_all = ["seed", "length"])]
    resume: bool,

    /// The program under test [default: the orch beside this program, built where it is missing]
    #[arg(long, value_name = "PATH")]
    orch: Option<PathBuf>,
}

/// A span in which something can be done.
fn some_time(text: &str) -> Result<Duration, String> {
    let span = orch::protocol::time::parse_span(text)?;
    if span < Duration::from_secs(1) {
        return Err("in less than a second nothing can be done".to_owned());
    }
    Ok(span)
}

impl Soak {
    /// Runs it, writes record and report, tells the verdict.
    pub fn run(self) -> ExitCode {
        match self.soak() {
            Ok(verdict) => ExitCode::from(verdict.code()),
            Err(why) => {
                eprintln!("error: {why}");
                ExitCode::from(Verdict::Invalid.code())
            }
        }
    }

    fn soak(self) -> Result<Verdict, String> {
        let read = absent::profile(&self.profile).and_then(|()| Profile::read(&self.profile));
        let profile = match read {
            Ok(profile) => profile,
            Err(why) => {
                eprintln!("error: {why}");
                // A profile that says nonsense is a matter of usage.
                std::process::exit(2);
            }
        };
        let dir = self.dir.unwrap_or_else(|| absent::runs().join(&profile.name));
        if self.resume {
            absent::run(&dir, "the run that --resume goes on with; without it a new one begins")?;
        }
        let Soak { orch, seed, length, resume, .. } = self;
        let options = Options { profile, dir, orch, seed, length, resume };
        let stop = Arc::new(AtomicBool::new(false));
        listen(&stop, &options)?;
        let mut teller = Teller::new(&options.profile.name);
        let checkpoint = run(&options, &stop, &mut |progress| teller.tell(progress))?;
        teller.end();
        finish(&options, &checkpoint)
    }
}

/// Whoever says once that it is enough gets a last check and a report; who says it again does not wait for them.
fn listen(stop: &Arc<AtomicBool>, options: &Options) -> Result<(), String> {
    let (stop, dir) = (stop.clone(), options.dir.clone());
    // Where the terminal has gone away nobody reads it.
    let tell = |text: &str| drop(writeln!(std::io::stderr(), "{text}"));
    super::signals::listen(
        move || {
            stop.store(true, Ordering::SeqCst);
            tell("note: a last check and the report follow; once more ends it at once");
        },
        move |_| {
            for left in end_leftovers(&dir.join("world")) {
                tell(&format!("note: ended {left}"));
            }
            tell(&format!("note: {} can go on with --resume", dir.display()));
            std::process::exit(i32::from(Verdict::Invalid.code()));
        },
    )
}

/// Writes record and report and prints what came out.
fn finish(options: &Options, checkpoint: &Checkpoint) -> Result<Verdict, String> {
    let verdict = checkpoint.end.as_ref().map_or(Verdict::Invalid, |end| end.verdict);
    let report = crate::report::Report::of(&options.dir)?;
    let page = report.write(&options.dir)?;
    let began = UNIX_EPOCH + Duration::from_secs(checkpoint.began);
    // An hour of the 24 says nothing of them, and takes nothing away that does.
    let whole = u128::from(checkpoint.wanted) >= options.profile.duration.0.as_millis();
    let layer = format!("soak-{}{}", checkpoint.profile, if whole { "" } else { "-short" });
    let mut record = Record::of(&layer, began, verdict, report.numbers());
    // Time in which the run was interrupted shows nothing.
    record.seconds = Duration::from_millis(checkpoint.elapsed).as_secs_f64();
    record.commit.clone_from(&checkpoint.commit);
    let path = record.write(&record::folder())?;
    println!("{}", report.summary());
    println!("report  {}", page.display());
    println!("record  {}", path.display());
    Ok(verdict)
}

/// Tells how it goes: a bar on a terminal, else a line now and then.
struct Teller {
    bar: ProgressBar,
    plain: bool,
    told: Instant,
    /// What went on when something was told last.
    what: String,
}

impl Teller {
    fn new(name: &str) -> Teller {
        let bar = ProgressBar::new(1);
        let template = "{prefix} {bar:30} {elapsed} of {len}s, {eta} left  {msg}";
        let template = template.replace("{elapsed} of {len}s", "{pos} of {len} s");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_prefix(format!("soak {name}"));
        let plain = bar.is_hidden();
        Teller { bar, plain, told: Instant::now(), what: "load".to_owned() }
    }

    fn tell(&mut self, progress: Progress<'_>) {
        let [claims, finished, faults, violations] = progress.counts;
        let said = format!(
            "{}: {claims} claims, {finished} finished, {faults} faults, {violations} violations",
            progress.what
        );
        let (done, wanted) = (progress.done.as_secs(), progress.wanted.as_secs());
        if self.plain {
            let news = progress.what != self.what && progress.what != "load";
            progress.what.clone_into(&mut self.what);
            if self.told.elapsed() >= Duration::from_secs(30) || news {
                self.told = Instant::now();
                eprintln!("{done} of {wanted} s, {said}");
            }
            return;
        }
        self.bar.set_length(wanted);
        self.bar.set_position(done.min(wanted));
        self.bar.set_message(said);
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
